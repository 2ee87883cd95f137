//! Functions: deploy, change, roll back, delete. Each change of what runs is a new version.

use super::grants::{RightsInput, may_change_what_runs, may_name_secrets, may_replace};
use super::raw::RequestForm;
use super::sources::{Given, HeadersChange, check_options, check_request, source};
use super::variables::{Variables, VariablesChange};
use crate::draft::{Draft, Faults};
use crate::egress::EgressHosts;
use crate::engine::{Engine, deleted, switched_off};
use crate::error::Error;
use crate::functions::webhook::WebhookState;
use crate::functions::{
    BundleDigest, Environment, Executable, ExecutionMode, Function, FunctionOptions,
    FunctionVersion, Network, Source, VersionEntry,
};
use crate::idempotency::Remember;
use crate::ids::AppId;
use crate::ports::runtime::CheckError;
use crate::ports::store::{
    Conflict, FunctionChange, Instead, NewFunction, Page, PageRequest, to_the_end,
};
use crate::rights::{AppAccess, FunctionRights, Permission, Principal, right};
use crate::site::TenantScope;
use crate::time::Timestamp;
use crate::validation::{FieldError, check_damaged, check_filter, check_texts, slug};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A function to be created.
#[derive(Debug, Clone)]
pub struct CreateFunction {
    /// Name for people.
    pub name: String,
    /// Name in paths; made of the name when none.
    pub slug: Option<String>,
    /// What it does.
    pub description: String,
    /// How it is run.
    pub execution_mode: ExecutionMode,
    /// The language of `code`.
    pub environment: Environment,
    /// For `app` functions.
    pub code: Option<String>,
    /// For `app` functions: `module:function`.
    pub entrypoint: Option<String>,
    /// For `app` functions: the files, which [`FunctionService::keep_bundle`] has stored.
    pub bundle: Option<BundleDigest>,
    /// For `proxy` functions.
    pub webhook_url: Option<String>,
    /// For `proxy` functions.
    pub headers: Option<BTreeMap<String, String>>,
    /// Runs at all.
    pub is_active: bool,
    /// Runs without a credential.
    pub is_public: bool,
    /// Queued unless the caller says otherwise.
    pub async_mode: bool,
    /// Limits and conditions.
    pub options: FunctionOptions,
    /// What it may do.
    pub rights: RightsInput,
}

/// New values for a function; what is none stays, and an option that is `Some(None)` is unset. Mode,
/// language and slug never change.
#[derive(Debug, Clone, Default)]
pub struct UpdateFunction {
    /// Name for people.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// A new version's code.
    pub code: Option<String>,
    /// A new version's entry point.
    pub entrypoint: Option<String>,
    /// A new version's files, as in [`CreateFunction`].
    pub bundle: Option<BundleDigest>,
    /// A new version's address.
    pub webhook_url: Option<String>,
    /// A new version's headers.
    pub headers: Option<HeadersChange>,
    /// Runs at all.
    pub is_active: Option<bool>,
    /// Runs without a credential.
    pub is_public: Option<bool>,
    /// Queued unless the caller says otherwise.
    pub async_mode: Option<bool>,
    /// Time limit of one run in seconds.
    pub timeout_seconds: Option<Option<f64>>,
    /// Memory limit of one worker in MiB.
    pub memory_mb: Option<Option<u32>>,
    /// Most runs at the same time.
    pub max_concurrency: Option<Option<u32>>,
    /// How often it may be called.
    pub rate_limit: Option<Option<String>>,
    /// Attempts of a POST or queued run.
    pub max_attempts: Option<Option<u32>>,
    /// Network reach.
    pub network: Option<Network>,
    /// A condition for running at all.
    pub filter_conditions: Option<Option<String>>,
    /// What it is given of a public call.
    pub request: Option<RequestForm>,
    /// Environment variables.
    pub env: Option<VariablesChange>,
    /// Environment variables that have the value of a secret.
    pub secret_env: Option<VariablesChange>,
    /// What it may do.
    pub rights: RightsInput,
    /// When what the change was made for was last changed; another state is not overwritten.
    pub expected: Option<Timestamp>,
}

impl UpdateFunction {
    /// Whether what runs stays.
    const fn keeps_source(&self) -> bool {
        self.code.is_none()
            && self.entrypoint.is_none()
            && self.bundle.is_none()
            && self.webhook_url.is_none()
            && self.headers.is_none()
    }

    /// The fields of a record that may be damaged, and whether this sets them.
    fn fields(&self) -> [(&'static str, bool); 8] {
        [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("execution_mode", false),
            ("environment", false),
            ("options", false),
            ("permissions", self.rights.permissions.is_some()),
            ("permissions_scope", self.rights.scope.is_some()),
            ("acts_as", self.rights.acts_as.is_some()),
        ]
    }
}

/// A function that was made just now.
#[derive(Debug)]
pub struct CreatedFunction {
    /// The function.
    pub function: Function,
    /// What signs its deliveries, for a proxy: shown in this answer only.
    pub webhook_secret: Option<Zeroizing<String>>,
}

/// Operations on functions.
#[derive(Clone)]
pub struct FunctionService {
    pub(super) engine: Arc<Engine>,
}

impl FunctionService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Creates a function with its version 1.
    ///
    /// # Errors
    /// Values that cannot be stored, code that does not parse, has no `main` or does not load, a taken
    /// slug.
    pub async fn create(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        draft: Draft<CreateFunction>,
        remember: Option<Remember<Function>>,
    ) -> Result<CreatedFunction, Error> {
        let look = draft.look();
        if look.execution_mode == ExecutionMode::System && !access.principal().is_superuser() {
            let message = "Only a superuser may offer the operator's own functions";
            return Err(Error::Forbidden(message.to_owned()));
        }
        let scope = access.principal().scope();
        let mut errors = Vec::new();
        let app = access.app().id;
        self.check_new(scope, app, look, &mut errors).await?;
        let slug = slug(look.slug.clone(), &look.name, draft.faults(), &mut errors);
        let bundle = self
            .bundle(scope, look.bundle.as_ref(), &mut errors)
            .await?;
        let given = Given {
            code: look.code.clone(),
            entrypoint: look.entrypoint.clone(),
            bundle,
            webhook_url: look.webhook_url.clone(),
            headers: look.headers.clone().map(HeadersChange::all),
        };
        let source = source(look.execution_mode, look.environment, given, None);
        self.check_source(scope, source.as_ref(), draft.faults(), &mut errors)
            .await?;
        let input = draft.checked(errors)?;
        let source = source.map_err(Error::Validation)?;
        let now = self.engine.clock.now();
        may_have(access.principal(), app, &input.options)?;
        let rights = input.rights.clone().applied_to(
            &FunctionRights::default(),
            access.principal(),
            access.app().id,
            now,
        )?;
        let secret = (input.execution_mode == ExecutionMode::Proxy)
            .then(|| self.new_secret(scope, access.app().id, &slug));
        let (webhook_secret, shown) = secret.unzip();
        let new = NewFunction {
            author: None,
            app_id: access.app().id,
            name: input.name,
            slug,
            description: input.description,
            execution_mode: input.execution_mode,
            environment: input.environment,
            is_active: input.is_active,
            is_public: input.is_public,
            async_mode: input.async_mode,
            options: input.options,
            rights,
            source,
            webhook_secret,
            created_at: now,
            ids: Some(self.engine.new_function_ids().await?),
            remember,
        };
        let function = self.insert(access, new, input.rights).await?;
        Ok(CreatedFunction {
            function,
            webhook_secret: shown,
        })
    }

    /// Adds what is wrong with a new function, what it runs excepted.
    async fn check_new(
        &self,
        scope: TenantScope,
        app: AppId,
        look: &CreateFunction,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        let users = self.engine.catalogue.users();
        check_texts((&look.name, &look.description), None, errors);
        check_options(&look.options, look.execution_mode, users, errors);
        check_request(Some(look.options.request), look.is_public, errors);
        let own = &look.options.variables;
        self.engine
            .check_secrets(scope, Some(app), own, errors)
            .await?;
        errors.extend(look.rights.unknown());
        Ok(())
    }

    /// Stores a function once a worker has loaded its code, which then waits for its first call.
    async fn insert(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        new: NewFunction,
        declared: RightsInput,
    ) -> Result<Function, Error> {
        let scope = access.principal().scope();
        let store = self.engine.scoped(scope);
        if store.function(new.app_id, &new.slug).await?.is_some() {
            return Err(Conflict::Slug.into());
        }
        // What only the operator's own program offers, or somebody else's address, has no code to load.
        if new.is_active
            && matches!(new.source, Source::App { .. })
            && let Some(executable) = store.executable_of_new(&new).await?
        {
            self.engine.load(&Arc::new(executable)).await?;
        }
        let ids = new.ids;
        let inserted = self.insert_loaded(access, new, declared).await;
        if let (Err(_), Some((id, _))) = (&inserted, ids) {
            self.engine.retire(scope.site_id(), id, None);
        }
        inserted
    }

    async fn insert_loaded(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        new: NewFunction,
        declared: RightsInput,
    ) -> Result<Function, Error> {
        // Loading takes its time, and rights hold when they are used.
        let now = self.engine.still(access).await?;
        let (principal, none) = (now.principal(), FunctionRights::default());
        let rights = declared.applied_to(&none, principal, new.app_id, new.created_at)?;
        may_have(principal, new.app_id, &new.options)?;
        let new = NewFunction {
            author: principal.author(),
            rights,
            ..new
        };
        let store = self.engine.scoped(principal.scope());
        Ok(store.insert_function(new).await?)
    }

    /// Functions of an app by slug order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        access: &AppAccess<right::FunctionsRead>,
        page: PageRequest,
    ) -> Result<Page<Function>, Error> {
        let store = self.engine.scoped(access.principal().scope());
        let page = store.list_functions(access.app().id, page).await?;
        let items = page.items.into_iter();
        Ok(Page {
            items: items.map(|it| shown(access.principal(), it)).collect(),
            total: page.total,
        })
    }

    /// One function, what it runs, and how its webhook does if it has one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(
        &self,
        access: &AppAccess<right::FunctionsRead>,
        slug: &str,
    ) -> Result<(Function, Source, Option<WebhookState>), Error> {
        let function = self.find(access, slug).await?;
        let scope = access.principal().scope();
        let source = self.source_of(scope, &function).await?;
        let webhook = match &source {
            // What is damaged is called by nobody.
            Source::Proxy { .. } if function.damaged.is_empty() => {
                let executable = self.executable(scope, &function).await?;
                let runtime = self.engine.runtimes.of(&executable.source).ok();
                runtime.and_then(|runtime| runtime.webhook(&executable))
            }
            _ => None,
        };
        let mut function = shown(access.principal(), function);
        if source == Source::System && function.execution_mode != ExecutionMode::System {
            function.damaged.push("source");
        }
        Ok((function, source, webhook))
    }

    /// One function, for whoever may change it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn deployed(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        slug: &str,
    ) -> Result<Function, Error> {
        self.find(access, slug).await
    }

    /// Changes a function. A change of code, address or headers is a new version, which becomes the
    /// active one once a worker has loaded it.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::Forbidden`] to whoever does not hold what the function may do;
    /// code that does not load. The new version is on record then, and the function is as it was.
    pub async fn update(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        slug: &str,
        draft: Draft<UpdateFunction>,
    ) -> Result<Function, Error> {
        let scope = access.principal().scope();
        let before = self.find(access, slug).await?;
        let look = draft.look();
        refuse_changed(&before, look.expected)?;
        let was_active = before.is_active;
        let wished = changed(before.clone(), look.clone());
        let mut errors = look.rights.unknown();
        check_damaged(&before.damaged, &look.fields(), &mut errors);
        let new = (wished.name.as_str(), wished.description.as_str());
        check_texts(new, Some((&before.name, &before.description)), &mut errors);
        self.check_values(scope, &wished, &mut errors).await?;
        check_request(look.request, wished.is_public, &mut errors);
        let source = self.new_source(scope, &before, look, &mut errors).await?;
        if let Some(source) = &source {
            self.check_source(scope, source.as_ref(), draft.faults(), &mut errors)
                .await?;
        }
        let input = draft.checked(errors)?;
        let source = source.transpose();
        let source = source.map_err(Error::Validation)?;
        let decided = |access: &AppAccess<_>| {
            let (now, is_new) = (self.engine.clock.now(), source.is_some());
            decided(access.principal(), &before, input.clone(), is_new, now)
        };
        let function = decided(access)?;
        let version = match &source {
            Some(source) => Some(self.new_version(scope, &function, source.clone()).await?),
            None if function.is_active
                && (!was_active || has_new_variables(&before, &function)) =>
            {
                // It may have been deployed while switched off, so it was never loaded.
                self.load(scope, &function, function.version).await?;
                None
            }
            None => None,
        };
        let access = self.engine.still(access).await?;
        let function = decided(&access)?;
        let change = FunctionChange {
            author: access.principal().author(),
            declares: !function.rights.same_as(&before.rights),
            at: self.engine.clock.now().after(function.updated_at),
            function,
            version,
        };
        self.write(scope, change).await
    }

    /// Writes a change, and lets everything that has kept the function know.
    async fn write(&self, scope: TenantScope, change: FunctionChange) -> Result<Function, Error> {
        let is_active = change.function.is_active;
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let written = to_the_end(&self.engine.supervisor, async move {
            let function = store.update_function(change).await?;
            if is_active {
                engine.functions_changed(scope.site_id());
            } else {
                engine.functions_stopped(scope.site_id(), [function.id], &switched_off());
            }
            Ok(function)
        });
        let function = written.await?;
        if is_active {
            self.engine.settle_workers(scope, function.id).await;
        }
        Ok(function)
    }

    async fn check_values(
        &self,
        scope: TenantScope,
        function: &Function,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        let users = self.engine.catalogue.users();
        check_options(&function.options, function.execution_mode, users, errors);
        let (app, own) = (function.app_id, &function.options.variables);
        self.engine
            .check_secrets(scope, Some(app), own, errors)
            .await?;
        let field = "filter_conditions";
        let conditions = function.options.filter_conditions.as_deref();
        if conditions.is_none() || errors.iter().any(|it| it.field == field) {
            return Ok(());
        }
        // They must hold for every event that the function is subscribed to already.
        let store = self.engine.scoped(scope);
        for event in self.engine.event_types(scope).await? {
            if store.subscriber(event, function.id).await?.is_some() {
                let spec = self.engine.find_event(scope, event.as_str()).await?;
                check_filter(field, conditions, spec.as_ref(), users, errors);
            }
        }
        Ok(())
    }

    /// Checks what is to run, as far as the draft tells what that is.
    ///
    /// # Errors
    /// What is wrong with it, if nothing else is wrong; else that is added to `errors`.
    async fn check_source(
        &self,
        scope: TenantScope,
        source: Result<&Source, &Vec<FieldError>>,
        faults: &Faults,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        // In another language or mode, other things would be wrong.
        if ["execution_mode", "environment"].map(|it| faults.concern(it)) != [false, false] {
            return Ok(());
        }
        let source = match source {
            Ok(source) => source,
            Err(found) => {
                errors.extend(found.iter().cloned());
                return Ok(());
            }
        };
        let Err(refusal) = self.check(scope, source).await else {
            return Ok(());
        };
        if errors.is_empty() && faults.is_empty() {
            return Err(refusal);
        }
        match refusal {
            Error::Validation(found) => errors.extend(found),
            Error::Code(error) => errors.push(FieldError {
                line: error.line,
                column: error.column,
                ..FieldError::new("code", error.message)
            }),
            // What else is wrong will be mended first.
            _ => {}
        }
        Ok(())
    }

    /// Stores a version and loads it; its number.
    async fn new_version(
        &self,
        scope: TenantScope,
        function: &Function,
        source: Source,
    ) -> Result<u32, Error> {
        let (store, now) = (self.engine.scoped(scope), self.engine.clock.now());
        let version = store.insert_version(function.id, source, now).await?.entry;
        if function.is_active {
            self.load(scope, function, version.number).await?;
        }
        Ok(version.number)
    }

    /// Loads a version under the function's limits.
    async fn load(
        &self,
        scope: TenantScope,
        function: &Function,
        number: u32,
    ) -> Result<(), Error> {
        let store = self.engine.scoped(scope);
        let under = Instead::options(&function.options);
        let executable = store.executable_of(function.id, number, under).await?;
        let executable = executable.ok_or_else(|| no_version(number, &function.slug))?;
        self.engine.load(&Arc::new(executable)).await
    }

    /// Deletes a function and its subscriptions; its running and waiting runs end as failed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a function that was last changed at another time than `expected`.
    pub async fn delete(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        slug: &str,
        expected: Option<Timestamp>,
    ) -> Result<(), Error> {
        let scope = access.principal().scope();
        let function = self.find(access, slug).await?;
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let deleted = to_the_end(&self.engine.supervisor, async move {
            store
                .delete_function(function.id, engine.clock.now(), expected)
                .await?;
            engine.functions_stopped(scope.site_id(), [function.id], &deleted());
            Ok(())
        });
        Ok(deleted.await?)
    }

    /// Versions without what they run, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn versions(
        &self,
        access: &AppAccess<right::FunctionsRead>,
        slug: &str,
        page: PageRequest,
    ) -> Result<Page<VersionEntry>, Error> {
        let function = self.find(access, slug).await?;
        let store = self.engine.scoped(access.principal().scope());
        Ok(store.versions(function.id, page).await?)
    }

    /// One version with what it runs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the function or the version.
    pub async fn version(
        &self,
        access: &AppAccess<right::FunctionsRead>,
        slug: &str,
        number: u32,
    ) -> Result<FunctionVersion, Error> {
        let function = self.find(access, slug).await?;
        let store = self.engine.scoped(access.principal().scope());
        let found = store.version(function.id, number).await?;
        found.ok_or_else(|| no_version(number, &function.slug))
    }

    /// Makes another version the one that runs, once a worker has loaded it. Runs under way end on
    /// theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the function or the version; [`Error::Forbidden`] to whoever does not
    /// hold what the function may do; code that does not load; a change by somebody else meanwhile.
    pub async fn activate(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        slug: &str,
        number: u32,
    ) -> Result<Function, Error> {
        let scope = access.principal().scope();
        let function = self.find(access, slug).await?;
        if number == function.version {
            // Nothing changes: what a webhook has closed stays closed.
            return Ok(function);
        }
        may_replace(access.principal(), &function)?;
        let store = self.engine.scoped(scope);
        let stored = Instead::default();
        let executable = store.executable_of(function.id, number, stored).await?;
        let executable = executable.ok_or_else(|| {
            Error::NotFound(format!("Version {number} of function '{}'", function.slug))
        })?;
        if let Source::Proxy { .. } = executable.source {
            // What may be called may have changed since it was stored.
            self.check(scope, &executable.source).await?;
        }
        if function.is_active {
            self.load(scope, &function, number).await?;
        }
        let access = self.engine.still(access).await?;
        may_replace(access.principal(), &function)?;
        let change = FunctionChange {
            author: access.principal().author(),
            declares: false,
            at: self.engine.clock.now().after(function.updated_at),
            function,
            version: Some(number),
        };
        self.write(scope, change).await
    }

    pub(super) async fn find<R: crate::rights::Right>(
        &self,
        access: &AppAccess<R>,
        slug: &str,
    ) -> Result<Function, Error> {
        let store = self.engine.scoped(access.principal().scope());
        let function = store.function(access.app().id, slug).await?;
        function
            .ok_or_else(|| Error::NotFound(format!("Function '{}'", crate::text::prefix(slug, 64))))
    }

    /// What a function runs, as it can be shown: nothing, where that is damaged.
    async fn source_of(&self, scope: TenantScope, function: &Function) -> Result<Source, Error> {
        let store = self.engine.scoped(scope);
        let version = store.version(function.id, function.version).await?;
        Ok(version.map_or(Source::System, |version| version.source))
    }

    async fn executable(
        &self,
        scope: TenantScope,
        function: &Function,
    ) -> Result<Executable, Error> {
        let executable = self.engine.scoped(scope).executable(function.id).await?;
        executable.ok_or_else(|| Error::NotFound(format!("Function '{}'", function.slug)))
    }

    /// The new version's source, if the change touches what runs; or what is wrong with it.
    async fn new_source(
        &self,
        scope: TenantScope,
        before: &Function,
        input: &UpdateFunction,
        errors: &mut Vec<FieldError>,
    ) -> Result<Option<Result<Source, Vec<FieldError>>>, Error> {
        if input.keeps_source() {
            return Ok(None);
        }
        let current = self.source_of(scope, before).await?;
        // Another entry point is looked for in the files that are there.
        let stays = match &current {
            Source::App {
                bundle: Some(bundle),
                ..
            } if input.code.is_none() => Some(&bundle.digest),
            _ => None,
        };
        let digest = input.bundle.as_ref().or(stays);
        let bundle = self.bundle(scope, digest, errors).await?;
        let given = Given {
            code: input.code.clone(),
            entrypoint: input.entrypoint.clone(),
            bundle,
            webhook_url: input.webhook_url.clone(),
            headers: input.headers.clone(),
        };
        let (mode, environment) = (before.execution_mode, before.environment);
        let new = source(mode, environment, given, Some(&current));
        Ok((new.as_ref() != Ok(&current)).then_some(new))
    }

    async fn check(&self, scope: TenantScope, source: &Source) -> Result<(), Error> {
        let hosts = match source {
            Source::Proxy { .. } => self.engine.queue().egress_hosts(scope.site_id()).await?,
            Source::App { .. } | Source::System => EgressHosts::default(),
        };
        let runtime = self.engine.runtimes.of(source);
        let runtime = runtime.map_err(|failure| Error::BadRequest(failure.message))?;
        let checked = runtime.check(scope.site_id(), source, &hosts).await;
        checked.map_err(|error| match error {
            CheckError::Code(error) => Error::Code(error),
            CheckError::Field(error) => Error::Validation(vec![error]),
            CheckError::Unavailable(reason) => Error::Unavailable(reason),
        })
    }
}

fn no_version(number: u32, slug: &str) -> Error {
    Error::NotFound(format!("Version {number} of function '{slug}'"))
}

fn refuse_changed(before: &Function, expected: Option<Timestamp>) -> Result<(), Error> {
    if expected.is_some_and(|at| at != before.updated_at) {
        return Err(Conflict::Changed.into());
    }
    Ok(())
}

/// What `principal` is shown of a function: conditions only where they may subscribe it.
fn shown(principal: &Principal, mut function: Function) -> Function {
    if !principal.may(Permission::EventsSubscribe, Some(function.app_id)) {
        function.options.filter_conditions = None;
    }
    function
}

/// The function as it will stand, if `principal` may have it so.
fn decided(
    principal: &Principal,
    before: &Function,
    input: UpdateFunction,
    has_new_source: bool,
    now: Timestamp,
) -> Result<Function, Error> {
    let rights = input.rights.clone();
    let rights = rights.applied_to(&before.rights, principal, before.app_id, now)?;
    let after = Function {
        rights,
        ..changed(before.clone(), input)
    };
    may_change_what_runs(principal, before, &after, has_new_source)?;
    let (old, new) = (&before.options.variables, &after.options.variables);
    may_name_secrets(principal, Some(before.app_id), old, new)?;
    Ok(after)
}

/// Refuses a new function variables with secrets that `principal` may not read.
fn may_have(principal: &Principal, app: AppId, options: &FunctionOptions) -> Result<(), Error> {
    may_name_secrets(
        principal,
        Some(app),
        &Variables::default(),
        &options.variables,
    )
}

fn has_new_variables(before: &Function, after: &Function) -> bool {
    before.options.variables != after.options.variables
}

/// The function with its new values, its rights excepted.
fn changed(before: Function, input: UpdateFunction) -> Function {
    let old = before.options;
    Function {
        name: input.name.unwrap_or(before.name),
        description: input.description.unwrap_or(before.description),
        is_active: input.is_active.unwrap_or(before.is_active),
        is_public: input.is_public.unwrap_or(before.is_public),
        async_mode: input.async_mode.unwrap_or(before.async_mode),
        options: FunctionOptions {
            timeout_seconds: input.timeout_seconds.unwrap_or(old.timeout_seconds),
            memory_mb: input.memory_mb.unwrap_or(old.memory_mb),
            max_concurrency: input.max_concurrency.unwrap_or(old.max_concurrency),
            rate_limit: input.rate_limit.unwrap_or(old.rate_limit),
            max_attempts: input.max_attempts.unwrap_or(old.max_attempts),
            network: input.network.unwrap_or(old.network),
            filter_conditions: input.filter_conditions.unwrap_or(old.filter_conditions),
            request: input.request.unwrap_or(old.request),
            variables: old.variables.changed(input.env, input.secret_env),
        },
        ..before
    }
}
