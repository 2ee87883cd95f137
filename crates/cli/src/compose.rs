//! Puts the parts together: the only place where store, executor, runtimes and engine meet.

use crate::config::{Config, Sandbox};
use crate::keys;
use crate::operator::Operator;
use crate::random::OsEntropy;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::bus::LocalBus;
use tollgate_core::engine::{Parts, Settings};
use tollgate_core::entropy::Entropy;
use tollgate_core::functions::webhook::SigningKeys;
use tollgate_core::platform::{self, Platform, PlatformParts};
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::ports::runtime::{Runtime, Runtimes};
use tollgate_core::ports::store::{Recovered, Store, StoreError};
use tollgate_core::site::Authority;
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::{Clock, SystemClock};
use tollgate_core::vault::Vault;
use tollgate_exec::{Executor, ExecutorConfig};
use tollgate_runtimes::{
    Interpreter, Language, LauncherSpec, Outbound, ProcessConfig, ProcessRuntime, ProxyRuntime,
    SystemRuntime,
};
use tollgate_store_sqlite::{SqliteOptions, SqliteStore, folder};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A whole engine in this process.
pub(crate) struct Composition {
    pub(crate) platform: Arc<Platform>,
    executor: Arc<Executor>,
    /// The executor holds it weakly.
    coordinator: Arc<dyn Coordinator>,
    python: Option<Arc<ProcessRuntime>>,
    store: Arc<SqliteStore>,
    /// Owns what all parts have started.
    pub(crate) supervisor: Supervisor,
    /// Of these, what runs and requests have left to be carried to its end.
    carried: Supervisor,
}

/// How long that may take once the last run has ended.
const CARRIED_MAX: Duration = Duration::from_secs(5);

impl Composition {
    /// Opens the data folder and puts an engine around it, whose loops `supervisor` owns. Nothing runs
    /// before [`Self::start`].
    pub(crate) fn open(config: &Config, supervisor: Supervisor) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let options = SqliteOptions {
            clock: Arc::clone(&clock),
            supervisor: supervisor.clone(),
            ..SqliteOptions::default()
        };
        folder::secure(&config.data_dir)?;
        let sqlite = SqliteStore::open(config.database_dir(), options)?;
        let store: Arc<dyn Store> = Arc::clone(&sqlite) as Arc<dyn Store>;
        let jwt_keys = keys::jwt_keys(&config.data_dir)?;
        let secrets_key = keys::secrets_key(config)?;
        let vault = Arc::new(Vault::new(&secrets_key));
        let outbound = outbound(config, &supervisor)?;
        let python = python(
            config,
            &config.data_dir,
            &clock,
            outbound.clone(),
            &supervisor,
        );
        let keys = SigningKeys::new(Arc::clone(&store), Arc::clone(&vault), Arc::clone(&clock));
        let runtimes = runtimes(python.as_ref(), (outbound, keys), &clock);
        let executor = Executor::new(
            Arc::clone(&store),
            runtimes.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            executor_config(config, &supervisor),
        );
        let base_domain = (!config.base_domain.is_empty()).then(|| config.base_domain.clone());
        let carried = supervisor.group();
        let engine = Parts {
            bus: Arc::new(LocalBus::default()),
            store,
            dispatcher: Arc::clone(&executor) as _,
            runtimes,
            clock,
            entropy,
            vault,
            catalogue: platform::catalogue(),
            settings: settings(config),
            supervisor: carried.clone(),
        };
        let platform = Platform::new(PlatformParts {
            engine,
            jwt_keys,
            base_domain,
            password_rules: config.auth.password_rules(),
        });
        let coordinator = platform.coordinator();
        Ok(Self {
            platform,
            executor,
            coordinator,
            python,
            store: sqlite,
            supervisor,
            carried,
        })
    }

    /// What the operator's requests need. It keeps the folder in use.
    pub(crate) fn operator(&self, config: &Config, url: Option<String>) -> Operator {
        Operator {
            platform: Arc::clone(&self.platform),
            store: Arc::clone(&self.store),
            config: config.clone(),
            python: self.python.clone(),
            url,
        }
    }

    /// Tells of the runs under way.
    pub(crate) fn executor(&self) -> Arc<Executor> {
        Arc::clone(&self.executor)
    }

    /// Takes up what an earlier process left, and begins to run queued work.
    pub(crate) async fn start(&self) -> Result<Recovered, StoreError> {
        self.executor.start(&self.coordinator).await
    }

    /// What those have to know who share this server, if there are several sites and a wall between
    /// them is missing.
    pub(crate) async fn between_sites(&self) -> Option<String> {
        between_sites(&self.platform, self.python.as_deref()).await
    }

    /// Lets running work end, hands the rest back, ends the interpreters, closes the store: each after what uses
    /// it (ADR 33).
    pub(crate) async fn stop(self, grace: Duration) {
        match self.executor.stop(grace).await {
            Ok(left) if left != Recovered::default() => {
                tracing::info!(
                    requeued = left.requeued,
                    cancelled = left.cancelled,
                    "handed work back"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "could not hand work back; the next start will"),
        }
        self.carried.stop();
        self.carried.joined(CARRIED_MAX).await;
        if let Some(python) = &self.python {
            python.shutdown().await;
        }
        self.store.close();
    }
}

/// What those have to know who share a server, if there are several sites and a wall between them is
/// missing.
pub(crate) async fn between_sites(
    platform: &Platform,
    python: Option<&ProcessRuntime>,
) -> Option<String> {
    let sites = platform.admin.sites(&Authority::of_this_program()).await;
    if sites.map_or(0, |sites| sites.len()) < 2 {
        return None;
    }
    // Why functions cannot run at all is told elsewhere.
    python?.ready(Language::Python).await.ok()?.between_sites()
}

/// The engine's settings.
fn settings(config: &Config) -> Settings {
    Settings {
        pre_budget: config.events.pre_budget_seconds.get(),
        queue_per_site: u64::try_from(config.execution.waiting_per_site).unwrap_or(u64::MAX),
    }
}

/// The executor's settings.
fn executor_config(config: &Config, supervisor: &Supervisor) -> ExecutorConfig {
    ExecutorConfig {
        running: config.execution.running,
        in_memory: config.execution.in_memory,
        lease: config.execution.lease_seconds.get(),
        retention: config.retention.periods(),
        supervisor: supervisor.clone(),
        ..ExecutorConfig::default()
    }
}

/// The client for requests that users ask for; says so when it reaches the operator's own network.
fn outbound(config: &Config, supervisor: &Supervisor) -> Result<Outbound, Error> {
    if config.outbound.allow_private {
        tracing::warn!(
            "outbound.allow_private = true: webhooks and functions reach this machine and its private \
             networks"
        );
    }
    Ok(Outbound::new(config.outbound.client(), supervisor)?)
}

fn runtimes(
    process: Option<&Arc<ProcessRuntime>>,
    (outbound, keys): (Outbound, SigningKeys),
    clock: &Arc<dyn Clock>,
) -> Runtimes {
    let process = || process.cloned().map(|runtime| runtime as Arc<dyn Runtime>);
    let proxy = ProxyRuntime::new(outbound, Arc::new(keys), Arc::clone(clock));
    Runtimes {
        python: process(),
        // The same: it says why where there is no Node.
        node: process(),
        proxy: Some(Arc::new(proxy)),
        system: Some(Arc::new(SystemRuntime::new(Arc::clone(clock)))),
    }
}

/// The Python runtime, or none with a warning: a server without Python still serves the rest.
pub(crate) fn python(
    config: &Config,
    data_dir: &Path,
    clock: &Arc<dyn Clock>,
    outbound: Outbound,
    supervisor: &Supervisor,
) -> Option<Arc<ProcessRuntime>> {
    match start_python(config, data_dir, clock, outbound, supervisor) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            tracing::warn!(%error, "Python functions cannot run; see `tollgate doctor`");
            None
        }
    }
}

fn start_python(
    config: &Config,
    data_dir: &Path,
    clock: &Arc<dyn Clock>,
    outbound: Outbound,
    supervisor: &Supervisor,
) -> Result<Arc<ProcessRuntime>, Error> {
    let mut process = process_config(config, data_dir)?;
    if !process.sandbox {
        tracing::warn!(
            "functions.sandbox = \"off\": function code can do whatever this server's user can"
        );
    }
    if let Err(reason) = &process.node {
        tracing::info!(reason, "Node functions cannot run; see `tollgate doctor`");
    }
    process.outbound = Some(outbound);
    process.supervisor = supervisor.clone();
    Ok(ProcessRuntime::start(process, Arc::clone(clock))?)
}

/// The Python runtime's settings, with its scratch space in `data_dir`.
pub(crate) fn process_config(config: &Config, data_dir: &Path) -> Result<ProcessConfig, Error> {
    let launcher = LauncherSpec::this_binary()?;
    let scratch = data_dir.join("scratch");
    let mut process = ProcessConfig::discover(&config.python.program, launcher, scratch)?;
    process.node = Interpreter::find_node(&config.node.program).map_err(|error| error.to_string());
    process.idle = config.python.idle_seconds.get();
    process.workers_max = config.python.workers;
    process.workers_per_site = config.python.workers_per_site;
    process.hosts_max = config.python.hosts;
    process.sandbox = config.functions.sandbox == Sandbox::On;
    let memory = config.functions.memory_mb;
    process.memory_bytes = (memory > 0).then_some(memory << 20);
    process.hidden = vec![config.data_dir.clone(), config.database_dir().to_owned()];
    Ok(process)
}
