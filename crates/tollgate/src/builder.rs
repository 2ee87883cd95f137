//! Puts an engine together around the program's own tables.

use crate::actor::{Actor, Asked, May, People, principal};
use crate::events::Described;
use crate::functions::SystemFunction;
use crate::random::OsEntropy;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::bus::LocalBus;
use tollgate_core::engine::{Engine, Parts, Settings};
use tollgate_core::entropy::Entropy;
use tollgate_core::events::{Catalogue, EventSpec, RegisteredTwice};
use tollgate_core::ids::SiteId;
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::ports::runtime::{Runtime, Runtimes};
use tollgate_core::ports::store::{Reason, Store, StoreError};
use tollgate_core::rights::Principal;
use tollgate_core::services::Services;
use tollgate_core::site::{Authority, Site};
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::{Clock, SystemClock};
use tollgate_core::vault::{Vault, VaultKey};
use tollgate_exec::{Executor, ExecutorConfig};
use tollgate_runtimes::SystemRuntime;
use tollgate_store_sqlite::folder::{FolderError, create_private, read_private, write_private};
use tollgate_store_sqlite::{DATABASE_FILE, OpenError, SqliteOptions, SqliteStore, folder};

/// Seals what must not be read in the database.
const SECRETS_KEY: &str = "secrets.key";
/// Where the functions of a program stand that has one tenant.
const SITE: &str = "default";

/// How long what runs have left may take to be carried to its end, once the last run has ended.
const CARRIED_MAX: Duration = Duration::from_secs(5);

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`Builder::sqlite`] was not called.
    #[error("name the folder of the database: Tollgate::builder().sqlite(folder)")]
    NoDatabase,
    /// Two of the events have the same name.
    #[error(transparent)]
    Event(#[from] RegisteredTwice),
    /// The folder, or a file in it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database, once it was open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that seals secrets is damaged.
    #[error("{} is not a key; restore it from a backup, or delete it with the secrets that it seals", .0.display())]
    Key(PathBuf),
    /// The runtime of Python functions, or of webhooks.
    #[error("functions cannot run")]
    Runtime(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Collects what an engine is made of.
pub struct Builder {
    folder: Option<PathBuf>,
    events: Vec<EventSpec>,
    functions: Vec<SystemFunction>,
    people: Option<Box<dyn People>>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    #[cfg(feature = "python")]
    python: Option<crate::python::Python>,
}

impl Builder {
    /// Keeps everything in this folder, which is made if it does not exist: the engine's tables and yours are in the one file
    /// [`Tollgate::database`]. The engine's own are `schema_migrations` and those that it lists.
    #[must_use]
    pub fn sqlite(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// An event type of the program's own.
    #[must_use]
    pub fn event<E: Described>(mut self) -> Self {
        self.events.push(E::spec());
        self
    }

    /// A function that is your own Rust; [`App::system`](crate::App::system) offers it to events.
    #[must_use]
    pub fn function(mut self, function: SystemFunction) -> Self {
        self.functions.push(function);
        self
    }

    /// Who tells what functions are told of somebody. Without, runs that are taken up after a restart are told of nobody.
    #[must_use]
    pub fn people(mut self, people: impl People) -> Self {
        self.people = Some(Box::new(people));
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long all functions of a PRE event may take together: 300 seconds unless set.
    #[must_use]
    pub const fn pre_budget(mut self, budget: Duration) -> Self {
        self.settings.pre_budget = budget;
        self
    }

    /// Runs Python functions.
    #[cfg(feature = "python")]
    #[must_use]
    pub fn python(mut self, python: crate::python::Python) -> Self {
        self.python = Some(python);
        self
    }

    /// Opens the database, takes up what an earlier process left, and begins to run queued work.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(self) -> Result<Tollgate, StartError> {
        let folder = self.folder.clone().ok_or(StartError::NoDatabase)?;
        let mut catalogue = Catalogue::default();
        for spec in &self.events {
            catalogue.register(spec.clone())?;
        }
        folder::secure(&folder)?;
        let supervisor = Supervisor::default();
        let options = SqliteOptions {
            clock: Arc::clone(&self.clock),
            supervisor: supervisor.clone(),
            ..SqliteOptions::default()
        };
        let sqlite = SqliteStore::open(&folder, options)?;
        let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let vault = Arc::new(Vault::new(&key(&folder)?));
        let runtimes = self.runtimes(&folder, &store, &vault, &supervisor)?;
        let executor = Executor::new(
            Arc::clone(&store),
            runtimes.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&entropy),
            ExecutorConfig {
                supervisor: supervisor.clone(),
                ..ExecutorConfig::default()
            },
        );
        let site = site(&*store, &*self.clock).await?;
        let asked = Asked {
            authority: Authority::of_this_program(),
            people: self.people,
        };
        let carried = supervisor.group();
        let parts = Parts {
            bus: Arc::new(LocalBus::default()),
            store,
            dispatcher: Arc::clone(&executor) as _,
            runtimes,
            clock: self.clock,
            entropy,
            vault,
            catalogue,
            settings: self.settings,
            supervisor: carried.clone(),
        };
        let engine = Engine::new(parts, Arc::new(asked));
        let services = Services::new(&engine);
        let coordinator = services.coordinator();
        executor.start(&coordinator).await?;
        let authority = Authority::of_this_program();
        let inner = Inner {
            services,
            program: principal(&authority, site.id, May::Everything, None, None),
            authority,
            site,
            executor,
            _coordinator: coordinator,
            store: sqlite,
            supervisor,
            carried,
            database: folder.join(DATABASE_FILE),
        };
        Ok(Tollgate {
            inner: Arc::new(inner),
        })
    }

    fn system(&self) -> Arc<dyn Runtime> {
        let mut runtime = SystemRuntime::new(Arc::clone(&self.clock));
        for function in &self.functions {
            runtime.register(function.slug, function.run);
        }
        Arc::new(runtime)
    }

    #[cfg(not(feature = "webhooks"))]
    #[expect(clippy::unnecessary_wraps, reason = "with more features it can fail")]
    fn runtimes(
        &self,
        _: &Path,
        _: &Arc<dyn Store>,
        _: &Arc<Vault>,
        _: &Supervisor,
    ) -> Result<Runtimes, StartError> {
        Ok(Runtimes {
            python: None,
            node: None,
            proxy: None,
            system: Some(self.system()),
        })
    }

    #[cfg(feature = "webhooks")]
    fn runtimes(
        &self,
        folder: &Path,
        store: &Arc<dyn Store>,
        vault: &Arc<Vault>,
        supervisor: &Supervisor,
    ) -> Result<Runtimes, StartError> {
        use tollgate_core::functions::webhook::SigningKeys;
        use tollgate_runtimes::{Outbound, OutboundConfig, ProxyRuntime};
        let outbound = Outbound::new(OutboundConfig::default(), supervisor);
        let outbound = outbound.map_err(|error| StartError::Runtime(Box::new(error)))?;
        let clock = || Arc::clone(&self.clock);
        let keys = SigningKeys::new(Arc::clone(store), Arc::clone(vault), clock());
        #[cfg(feature = "python")]
        let python = self.python_runtime(folder, &outbound, supervisor)?;
        #[cfg(not(feature = "python"))]
        let (python, _) = (None, folder);
        let proxy = ProxyRuntime::new(outbound, Arc::new(keys), clock());
        Ok(Runtimes {
            python,
            node: None,
            proxy: Some(Arc::new(proxy)),
            system: Some(self.system()),
        })
    }

    #[cfg(feature = "python")]
    fn python_runtime(
        &self,
        folder: &Path,
        outbound: &tollgate_runtimes::Outbound,
        supervisor: &Supervisor,
    ) -> Result<Option<Arc<dyn Runtime>>, StartError> {
        use tollgate_runtimes::{LauncherSpec, ProcessConfig, ProcessRuntime};
        let Some(python) = &self.python else {
            return Ok(None);
        };
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Runtime(error);
        let launcher = match &python.launcher {
            Some(launcher) => launcher.clone(),
            None => LauncherSpec::this_binary().map_err(|error| failed(error.into()))?,
        };
        let scratch = folder.join("scratch");
        let config = ProcessConfig::discover(&python.program, launcher, scratch);
        let mut config = config.map_err(|error| failed(error.into()))?;
        config.sandbox = python.sandbox;
        config.hidden = vec![folder.to_owned()];
        config.outbound = Some(outbound.clone());
        config.supervisor = supervisor.clone();
        let runtime = ProcessRuntime::start(config, Arc::clone(&self.clock));
        let runtime = runtime.map_err(|error| failed(error.into()))?;
        Ok(Some(runtime as _))
    }
}

/// The key that seals secrets; one is made at the first start.
fn key(folder: &Path) -> Result<VaultKey, StartError> {
    let path = folder.join(SECRETS_KEY);
    if let Some(bytes) = read_private(&path)? {
        let text = String::from_utf8(bytes).ok();
        let key = text.and_then(|text| VaultKey::from_hex(text.trim()));
        return key.ok_or(StartError::Key(path));
    }
    let key = VaultKey::generate(&OsEntropy);
    drop(create_private(&path)?);
    write_private(&path, key.to_hex().as_bytes())?;
    Ok(key)
}

/// The one site, which is made at the first start.
async fn site(store: &dyn Store, clock: &dyn Clock) -> Result<Site, StoreError> {
    let system = store.system(Reason::Administer);
    let known = system.sites().await?;
    if let Some(site) = known.into_iter().find(|site| site.slug == SITE) {
        return Ok(site);
    }
    let new = Site {
        id: SiteId(0),
        slug: SITE.to_owned(),
        name: SITE.to_owned(),
        domains: Vec::new(),
        created_at: clock.now(),
        damaged: Vec::new(),
    };
    system.insert_site(new).await
}

/// An engine within this program. Cloning is cheap.
#[derive(Clone)]
pub struct Tollgate {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) services: Arc<Services>,
    /// The program itself, which may do everything.
    pub(crate) program: Principal,
    pub(crate) authority: Authority,
    pub(crate) site: Site,
    executor: Arc<Executor>,
    /// The executor holds it weakly.
    _coordinator: Arc<dyn Coordinator>,
    store: Arc<SqliteStore>,
    supervisor: Supervisor,
    /// What runs and requests have left to be carried to its end.
    carried: Supervisor,
    database: PathBuf,
}

impl Tollgate {
    /// Begins an engine.
    pub fn builder() -> Builder {
        Builder {
            folder: None,
            events: Vec::new(),
            functions: Vec::new(),
            people: None,
            clock: Arc::new(SystemClock),
            settings: Settings::default(),
            #[cfg(feature = "python")]
            python: None,
        }
    }

    /// Somebody whom the program knows by a number. `data` is an object: what functions and filters see as `user_data` and
    /// `user`.
    pub fn actor(&self, id: i64, data: Value) -> Actor {
        self.actor_who(May::Nothing, Some(id), Some(&data))
    }

    /// Nobody in particular: what the program does by itself.
    pub fn nobody(&self) -> Actor {
        self.actor_who(May::Nothing, None, None)
    }

    /// Somebody who may see and change functions, subscriptions, runs and secrets, beside causing events: for the routes of
    /// the feature `axum`.
    pub fn manager(&self, id: i64, data: Value) -> Actor {
        self.actor_who(May::Manage, Some(id), Some(&data))
    }

    fn actor_who(&self, may: May, id: Option<i64>, data: Option<&Value>) -> Actor {
        let Inner {
            authority, site, ..
        } = &*self.inner;
        Actor(principal(authority, site.id, may, id, data))
    }

    /// The database file, for reading your own tables with a connection of your own. Writes go through
    /// [`Self::around`] and [`Self::write`].
    pub fn database(&self) -> &Path {
        &self.inner.database
    }

    /// Waits until a part of the engine has broken, and says which: what it promises does not hold then. End the program,
    /// and start it again.
    pub async fn broken(&self) -> String {
        self.inner.supervisor.broken().await.to_string()
    }

    /// Lets running work end for at most `grace`, hands the rest back, and closes the database. What was handed back is
    /// taken up by the next start.
    pub async fn stop(&self, grace: Duration) {
        // What could not be handed back is taken up when its lease has ended.
        let _ = self.inner.executor.stop(grace).await;
        self.inner.carried.stop();
        self.inner.carried.joined(CARRIED_MAX).await;
        self.inner.store.close();
    }
}
