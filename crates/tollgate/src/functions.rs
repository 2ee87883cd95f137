//! The functions that events run: your own Rust, Python, webhooks.

use crate::builder::Tollgate;
use serde_json::Value;
use std::pin::Pin;
use tollgate_core::apps;
use tollgate_core::error::Error;
use tollgate_core::events::LifecycleEvent;
use tollgate_core::functions::{
    CreateFunction, Environment, ExecutionMode, FunctionOptions, RightsInput, UpdateFunction,
    Variables,
};
use tollgate_core::ids::FunctionId;
use tollgate_core::ports::store::Conflict;
use tollgate_core::rights::{AppAccess, right};
use tollgate_core::subscribers::{Subscribe, SubscriberOptions, SubscriberPatch};
use tollgate_runtimes::SystemCall;

/// A future on the heap.
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Run = fn(SystemCall) -> BoxFuture<Result<Value, String>>;

/// A function that is your own Rust: it runs in this process, and is trusted like the rest of it. Made by
/// [`macro@crate::function`].
#[derive(Clone, Copy)]
pub struct SystemFunction {
    pub(crate) slug: &'static str,
    pub(crate) run: Run,
}

impl SystemFunction {
    /// A function under its slug: lower-case letters, digits and dashes.
    pub const fn new(slug: &'static str, run: Run) -> Self {
        Self { slug, run }
    }

    /// Its name in paths.
    pub const fn slug(&self) -> &'static str {
        self.slug
    }
}

/// Where functions of one part of the program stand together.
pub struct App<'a> {
    tollgate: &'a Tollgate,
    slug: String,
}

impl Tollgate {
    /// The app with this slug, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Validation`] for what is no slug, and when the database cannot be used.
    pub async fn app(&self, slug: &str) -> Result<App<'_>, Error> {
        let program = &self.inner.program;
        let new = apps::CreateApp {
            name: slug.to_owned(),
            slug: Some(slug.to_owned()),
            description: String::new(),
            variables: Variables::default(),
        };
        let access = tollgate_core::rights::SiteAccess::check(program.clone())?;
        match self
            .inner
            .services
            .apps
            .create(&access, new.into(), None)
            .await
        {
            Ok(_) | Err(Error::Conflict(Conflict::Slug)) => {}
            Err(error) => return Err(error),
        }
        Ok(App {
            tollgate: self,
            slug: slug.to_owned(),
        })
    }

    /// Lets an event run a function. Options that are there already are replaced.
    ///
    /// # Errors
    /// [`Error::Validation`] that names the option; [`Error::NotFound`].
    pub async fn subscribe<E: LifecycleEvent>(
        &self,
        function: FunctionId,
        options: SubscriberOptions,
    ) -> Result<(), Error> {
        let (subscribers, program) = (&self.inner.services.subscribers, &self.inner.program);
        let new = Subscribe {
            function,
            options: options.clone(),
        };
        let made = subscribers.subscribe(program, E::TYPE, new.into(), None);
        match made.await {
            Ok(_) => Ok(()),
            Err(Error::AlreadySubscribed { .. }) => {
                let patch = SubscriberPatch {
                    priority: Some(options.priority),
                    filter: Some(options.filter),
                    timeout_seconds: Some(options.timeout_seconds),
                    on_timeout: Some(options.on_timeout),
                    max_attempts: Some(options.max_attempts),
                    is_active: Some(true),
                    expected: None,
                };
                let changed = subscribers.update(program, E::TYPE, function, patch.into());
                changed.await.map(drop)
            }
            Err(error) => Err(error),
        }
    }
}

impl App<'_> {
    /// One of the functions that the builder was given, under its slug.
    ///
    /// # Errors
    /// [`Error::Validation`], and when the database cannot be used.
    pub async fn system(&self, function: SystemFunction) -> Result<FunctionId, Error> {
        let new = CreateFunction {
            execution_mode: ExecutionMode::System,
            ..self.plain(function.slug)
        };
        self.deploy(new).await
    }

    /// A function in Python: the text of a module with a `main`. Other code than before becomes a new version.
    ///
    /// # Errors
    /// [`Error::Validation`] with the place for code that does not load.
    #[cfg(feature = "python")]
    pub async fn python(&self, slug: &str, code: &str) -> Result<FunctionId, Error> {
        let new = CreateFunction {
            code: Some(code.to_owned()),
            ..self.plain(slug)
        };
        self.deploy(new).await
    }

    /// A webhook.
    ///
    /// # Errors
    /// [`Error::Validation`] for an address that is not allowed.
    #[cfg(feature = "webhooks")]
    pub async fn webhook(&self, slug: &str, url: &str) -> Result<FunctionId, Error> {
        let new = CreateFunction {
            execution_mode: ExecutionMode::Proxy,
            webhook_url: Some(url.to_owned()),
            ..self.plain(slug)
        };
        self.deploy(new).await
    }

    fn plain(&self, slug: &str) -> CreateFunction {
        CreateFunction {
            name: slug.to_owned(),
            slug: Some(slug.to_owned()),
            description: String::new(),
            execution_mode: ExecutionMode::App,
            environment: Environment::Python,
            code: None,
            entrypoint: None,
            bundle: None,
            webhook_url: None,
            headers: None,
            is_active: true,
            is_public: false,
            async_mode: false,
            options: FunctionOptions::default(),
            rights: RightsInput::default(),
        }
    }

    /// Makes a function, or gives the one that is there new code.
    async fn deploy(&self, new: CreateFunction) -> Result<FunctionId, Error> {
        let inner = &self.tollgate.inner;
        let entered = inner.services.apps.enter(inner.program.clone(), &self.slug);
        let access: AppAccess<right::FunctionsDeploy> = entered.await?;
        let slug = new.slug.clone().unwrap_or_default();
        let update = UpdateFunction {
            code: new.code.clone(),
            webhook_url: new.webhook_url.clone(),
            is_active: Some(true),
            ..UpdateFunction::default()
        };
        match inner
            .services
            .functions
            .create(&access, new.into(), None)
            .await
        {
            Ok(created) => Ok(created.function.id),
            Err(Error::Conflict(Conflict::Slug)) => {
                let updated = inner
                    .services
                    .functions
                    .update(&access, &slug, update.into())
                    .await?;
                Ok(updated.id)
            }
            Err(error) => Err(error),
        }
    }
}
