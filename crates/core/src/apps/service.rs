//! Apps: create, list, change, delete, and entering one with a right.

use super::App;
use crate::draft::Draft;
use crate::engine::{Engine, deleted};
use crate::error::Error;
use crate::idempotency::Remember;
use crate::ports::store::{Conflict, NewApp, Page, PageRequest, StoreError, to_the_end};
use crate::rights::{AppAccess, Principal, Right, SiteAccess, right};
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
}

/// New values for an app; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateApp {
    /// Name for people.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
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
        let input = draft.checked(errors)?;
        let app = NewApp {
            name: input.name,
            slug,
            description: input.description,
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
        Ok(self
            .engine
            .scoped(principal.scope())
            .list_apps(page)
            .await?)
    }

    /// One app. Any credential of the site will do.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, principal: &Principal, slug: &str) -> Result<App, Error> {
        app(&self.engine, principal, slug).await
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
        let app = self.get(&principal, slug).await?;
        AppAccess::check(principal, app)
    }

    /// Changes an app.
    ///
    /// # Errors
    /// Values that cannot be stored.
    pub async fn update(
        &self,
        access: &AppAccess<right::AppsManage>,
        draft: Draft<UpdateApp>,
    ) -> Result<App, Error> {
        let before = access.app().clone();
        let old = (before.name.clone(), before.description.clone());
        let input = draft.look().clone();
        let app = App {
            name: input.name.unwrap_or(before.name),
            description: input.description.unwrap_or(before.description),
            updated_at: self.engine.clock.now().after(before.updated_at),
            ..before
        };
        let mut errors = Vec::new();
        let new = (app.name.as_str(), app.description.as_str());
        check_texts(new, Some((&old.0, &old.1)), &mut errors);
        let look = draft.look();
        let fields = [
            ("name", look.name.is_some()),
            ("description", look.description.is_some()),
        ];
        check_damaged(&app.damaged, &fields, &mut errors);
        let expected = draft.checked(errors)?.expected;
        let scope = access.principal().scope();
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let written = to_the_end(&self.engine.supervisor, async move {
            let app = store.update_app(app, expected).await?;
            engine.functions_changed(scope.site_id());
            Ok(app)
        });
        Ok(written.await?)
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
        let page = PageRequest {
            limit: u32::MAX,
            offset: 0,
        };
        let functions = store.list_functions(access.app().id, page).await?.items;
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

/// An app of the caller's site.
pub(crate) async fn app(engine: &Engine, principal: &Principal, slug: &str) -> Result<App, Error> {
    let app = engine.scoped(principal.scope()).app(slug).await?;
    app.ok_or_else(|| Error::NotFound(format!("App '{}'", text::prefix(slug, 64))))
}
