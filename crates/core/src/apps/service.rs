//! Apps: create, list, change, delete, and entering one with a right.

use super::App;
use crate::draft::Draft;
use crate::engine::{Engine, deleted};
use crate::error::Error;
use crate::functions::{Function, Variables, VariablesChange, may_name_secrets, may_replace};
use crate::idempotency::Remember;
use crate::ids::{AppId, FunctionId};
use crate::ports::store::{Conflict, NewApp, Page, PageRequest, StoreError, to_the_end};
use crate::rights::{AppAccess, Permission, Principal, Right, SiteAccess, right};
use crate::site::TenantScope;
use crate::text;
use crate::time::Timestamp;
use crate::validation::{check_damaged, check_texts, slug};
use std::sync::Arc;

/// An app to be created.
#[derive(Debug, Clone)]
pub struct CreateApp {
    /// Name for people.
    pub name: String,
    /// Name in paths; made of the name when none.
    pub slug: Option<String>,
    /// What it is for.
    pub description: String,
    /// Environment variables of all its functions. Nothing is its own yet, so secrets among them are the site's.
    pub variables: Variables,
}

/// New values for an app; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateApp {
    /// Name for people.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Environment variables of all its functions.
    pub env: Option<VariablesChange>,
    /// Those that have the value of a secret.
    pub secret_env: Option<VariablesChange>,
    /// When what the change was made for was last changed; another state is not overwritten.
    pub expected: Option<Timestamp>,
}

/// Operations on apps.
#[derive(Clone)]
pub struct AppService {
    engine: Arc<Engine>,
}

impl AppService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Creates an app.
    ///
    /// # Errors
    /// Values that cannot be stored, or a slug that is taken.
    pub async fn create(
        &self,
        access: &SiteAccess<right::AppsCreate>,
        draft: Draft<CreateApp>,
        remember: Option<Remember<App>>,
    ) -> Result<App, Error> {
        let (mut errors, look) = (Vec::new(), draft.look());
        check_texts((&look.name, &look.description), None, &mut errors);
        let slug = slug(look.slug.clone(), &look.name, draft.faults(), &mut errors);
        let (principal, none) = (access.principal(), Variables::default());
        look.variables.check(&mut errors);
        self.engine
            .check_secrets(principal.scope(), None, &look.variables, &mut errors)
            .await?;
        let input = draft.checked(errors)?;
        may_name_secrets(principal, None, &none, &input.variables)?;
        let app = NewApp {
            name: input.name,
            slug,
            description: input.description,
            variables: input.variables,
            created_at: self.engine.clock.now(),
            remember,
        };
        Ok(self
            .engine
            .scoped(access.principal().scope())
            .insert_app(app)
            .await?)
    }

    /// Apps by slug order. Any credential of the site will do.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, principal: &Principal, page: PageRequest) -> Result<Page<App>, Error> {
        let store = self.engine.scoped(principal.scope());
        let page = store.list_apps(page).await?;
        let items = page.items.into_iter();
        Ok(Page {
            items: items.map(|it| shown(principal, it)).collect(),
            total: page.total,
        })
    }

    /// One app. Any credential of the site will do.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, principal: &Principal, slug: &str) -> Result<App, Error> {
        let app = app(&self.engine, principal, slug).await?;
        Ok(shown(principal, app))
    }

    /// Finds an app and checks the right `R` in it.
    ///
    /// # Errors
    /// [`Error::NotFound`], then [`Error::Forbidden`].
    pub async fn enter<R: Right>(
        &self,
        principal: Principal,
        slug: &str,
    ) -> Result<AppAccess<R>, Error> {
        let app = app(&self.engine, &principal, slug).await?;
        AppAccess::check(principal, app)
    }

    /// Changes an app. With other variables, functions that PRE events call are loaded first.
    ///
    /// # Errors
    /// Values that cannot be stored; variables with which such a function does not load; [`Error::Forbidden`] for
    /// variables to whoever does not hold what functions of the app may do, or may not read a secret that is new
    /// among them.
    pub async fn update(
        &self,
        access: &AppAccess<right::AppsManage>,
        draft: Draft<UpdateApp>,
    ) -> Result<App, Error> {
        let (before, input) = (access.app(), draft.look().clone());
        let app = changed(before.clone(), input, self.engine.clock.now());
        let mut errors = Vec::new();
        let new = (app.name.as_str(), app.description.as_str());
        let old = (before.name.as_str(), before.description.as_str());
        check_texts(new, Some(old), &mut errors);
        let (look, scope) = (draft.look(), access.principal().scope());
        let fields = [
            ("name", look.name.is_some()),
            ("description", look.description.is_some()),
            ("variables", look.env.is_some() && look.secret_env.is_some()),
        ];
        check_damaged(&app.damaged, &fields, &mut errors);
        let has_new_variables = app.variables != before.variables;
        if has_new_variables {
            app.variables.check(&mut errors);
            let (id, of_app) = (Some(app.id), &app.variables);
            self.engine
                .check_secrets(scope, id, of_app, &mut errors)
                .await?;
        }
        let expected = draft.checked(errors)?.expected;
        let functions = if has_new_variables {
            self.functions_with(access, &app).await?
        } else {
            Vec::new()
        };
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let written = to_the_end(&self.engine.supervisor, async move {
            let app = store.update_app(app, expected).await?;
            engine.functions_changed(scope.site_id());
            engine.variables_changed(scope, &functions).await;
            Ok(app)
        });
        Ok(written.await?)
    }

    /// The functions that get other variables with this change of their app, once those that are to be ready are, and
    /// whoever asks may change what runs in them.
    async fn functions_with(
        &self,
        access: &AppAccess<right::AppsManage>,
        after: &App,
    ) -> Result<Vec<FunctionId>, Error> {
        let (scope, before) = (access.principal().scope(), access.app());
        let functions = self.functions(scope, before.id).await?;
        let affected = |function: &Function| {
            let own = &function.options.variables;
            function.is_active && own.over(&before.variables) != own.over(&after.variables)
        };
        let functions: Vec<_> = functions.into_iter().filter(affected).collect();
        let may = |principal: &Principal| {
            let (old, new) = (&before.variables, &after.variables);
            may_name_secrets(principal, Some(before.id), old, new)?;
            let mut all = functions.iter();
            all.try_for_each(|function| may_replace(principal, function))
        };
        may(access.principal())?;
        let ids: Vec<_> = functions.iter().map(|it| it.id).collect();
        self.engine.load_with(scope, &ids, &after.variables).await?;
        // Loading takes its time, and rights hold when they are used.
        may(self.engine.still(access).await?.principal())?;
        Ok(ids)
    }

    async fn functions(&self, scope: TenantScope, app: AppId) -> Result<Vec<Function>, Error> {
        let page = PageRequest {
            limit: u32::MAX,
            offset: 0,
        };
        Ok(self
            .engine
            .scoped(scope)
            .list_functions(app, page)
            .await?
            .items)
    }

    /// Deletes an app with its functions, their subscriptions, its roles, its event types and all subscriptions
    /// to them; running functions end.
    ///
    /// # Errors
    /// An app that was last changed at another time than `expected`, or is gone where that is asked.
    pub async fn delete(
        &self,
        access: &AppAccess<right::AppsManage>,
        expected: Option<Timestamp>,
    ) -> Result<(), Error> {
        let scope = access.principal().scope();
        let store = self.engine.scoped(scope);
        let functions = self.functions(scope, access.app().id).await?;
        let engine = Arc::clone(&self.engine);
        let app = access.app().id;
        let deleted = to_the_end(&self.engine.supervisor, async move {
            let was_there = store.delete_app(app, engine.clock.now(), expected).await?;
            if !was_there && expected.is_some() {
                return Err(StoreError::Conflict(Conflict::Gone));
            }
            let functions = functions.into_iter().map(|it| it.id);
            engine.functions_stopped(scope.site_id(), functions, &deleted());
            engine.principal_changed(scope.site_id(), None);
            Ok(())
        });
        Ok(deleted.await?)
    }
}

/// The app with its new values.
fn changed(before: App, input: UpdateApp, now: Timestamp) -> App {
    App {
        name: input.name.unwrap_or(before.name),
        description: input.description.unwrap_or(before.description),
        variables: before.variables.changed(input.env, input.secret_env),
        updated_at: now.after(before.updated_at),
        ..before
    }
}

/// What `principal` is shown of an app: variables only where they may look at functions.
fn shown(principal: &Principal, mut app: App) -> App {
    if !principal.may(Permission::FunctionsRead, Some(app.id)) {
        app.variables = Variables::default();
    }
    app
}

/// An app of the caller's site.
pub(crate) async fn app(engine: &Engine, principal: &Principal, slug: &str) -> Result<App, Error> {
    let app = engine.scoped(principal.scope()).app(slug).await?;
    app.ok_or_else(|| Error::NotFound(format!("App '{}'", text::prefix(slug, 64))))
}
