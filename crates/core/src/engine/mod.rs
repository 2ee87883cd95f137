//! The engine: the parts put together, shared by all services.
//!
//! Services are thin and stateless around one [`Engine`]; what is kept between requests (caches,
//! id blocks) stands here.

mod backlog;
mod birth;
mod callers;
mod completion;
mod explain;
mod gate;
mod hear;
mod host;
mod ids;
mod operation;
mod params;
mod patch;
mod proposal;
mod publish;
mod resolve;
mod response;
mod stage;
mod strangers;
mod types;
mod user_message;
pub mod verdict;
mod waited;
mod workers;

use backlog::Backlogs;
pub(crate) use backlog::Queuer;
pub(crate) use birth::{Cause, on_behalf, redrive_limits};
pub use callers::{Callers, HostActor, Rights};
pub use completion::completion;
pub(crate) use explain::in_order;
pub use explain::{Explained, Hindrance};
pub use gate::Condition;
pub(crate) use gate::{Gate, Occurrence, Passage, Subscribed};
pub use host::{HostFactory, NobodysHost};
pub use operation::Saving;
#[cfg(test)]
pub(crate) use patch::enrich;
pub use proposal::{Fixed, Proposal, Unsavable};
pub use publish::{EventService, Prepared, Publication};
pub use resolve::QueueCoordinator;
pub(crate) use resolve::{deleted, switched_off};
pub use response::{PublishResponse, PublishedTask};
pub use stage::{Agreement, PreStage, Verdicts};
pub use user_message::UserMessage;
pub(crate) use waited::WaitedRun;

use crate::cache::Cache;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::events::{Catalogue, EventSpec, EventType};
use crate::functions::Executable;
use crate::ids::{FunctionId, SiteId, UserId, VersionId};
use crate::invocations::{Completion, InvocationChanged};
use crate::limits;
use crate::ports::bus::{Bus, News};
use crate::ports::dispatch::Dispatcher;
use crate::ports::runtime::{HostCalls, Runtimes};
use crate::ports::store::{IdKind, Reason, ScopedStore, Store, SystemStore};
use crate::rate::Rates;
use crate::rights::{Actor, Ceiling};
use crate::secrets::{OwnApp, Told};
use crate::site::TenantScope;
use crate::supervise::Supervisor;
use crate::time::Clock;
use crate::vault::Vault;
pub(crate) use ids::IdSource;
use params::ParamsRooms;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
pub(crate) use strangers::{Admitted, Strangers};
use tokio::sync::broadcast;

/// What an engine is made of.
pub struct Parts {
    /// Storage.
    pub store: Arc<dyn Store>,
    /// Carries tasks to runtimes.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// Tells this process and others what was written.
    pub bus: Arc<dyn Bus>,
    /// Runs code.
    pub runtimes: Runtimes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Seals what must not be read in the store.
    pub vault: Arc<Vault>,
    /// What can be published and subscribed.
    pub catalogue: Catalogue,
    /// What an operator may change.
    pub settings: Settings,
    /// Owns what runs and requests began and leave to be carried to its end. Whoever stops the engine waits for it
    /// between the last run and the store.
    pub supervisor: Supervisor,
}

/// What an operator may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long the whole PRE stage of one operation may take.
    pub pre_budget: Duration,
    /// Queued runs of one site that may wait.
    pub queue_per_site: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pre_budget: limits::PRE_BUDGET_DEFAULT,
            queue_per_site: limits::QUEUE_PER_SITE,
        }
    }
}

type Subscriptions = Arc<[Subscribed]>;
type OwnTypes = Cache<(SiteId, Box<str>), EventSpec>;
type Ceilings = Cache<(SiteId, FunctionId, Option<VersionId>), Option<Arc<Ceiling>>>;

/// The shared heart of all services.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dispatcher: Arc<dyn Dispatcher>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) runtimes: Runtimes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) catalogue: Catalogue,
    pub(crate) settings: Settings,
    pub(crate) supervisor: Supervisor,
    pub(crate) invocation_ids: IdSource,
    own_types: OwnTypes,
    checks: types::Checks,
    subscriptions: Cache<(SiteId, EventType), Subscriptions>,
    versions: Cache<(SiteId, VersionId), Option<Arc<Executable>>>,
    ceilings: Ceilings,
    active: Cache<(SiteId, FunctionId), Option<Arc<Executable>>>,
    changes: broadcast::Sender<InvocationChanged>,
    host: OnceLock<Arc<dyn HostFactory>>,
    pub(crate) backlogs: Backlogs,
    pub(crate) rates: Rates,
    pub(crate) strangers: Strangers,
    pub(crate) params: ParamsRooms,
    pub(crate) callers: Arc<dyn Callers>,
    told: Arc<Told>,
    stopping: AtomicBool,
    pub(crate) gate: Gate,
}

/// Changes that a slow watcher may lag behind before it loses some.
const CHANGES_KEPT: usize = 1024;

impl Engine {
    /// From now on, who stops waiting does so because the server stops.
    pub(crate) fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Why a run ends for which nobody waits any more.
    pub(crate) fn why_abandoned(&self) -> &'static str {
        if self.stopping.load(Ordering::Relaxed) {
            "The server stopped before this run ended"
        } else {
            "The caller went away"
        }
    }

    /// Puts the parts together.
    pub fn new(parts: Parts, callers: Arc<dyn Callers>) -> Arc<Self> {
        let rates = Rates::new(Arc::clone(&parts.clock));
        let clock = || Arc::clone(&parts.clock);
        let (kept, age) = (limits::KEPT_IN_MEMORY, limits::MEMORY_AGE);
        let engine = Arc::new(Self {
            own_types: Cache::new(clock(), limits::EVENT_TYPES_IN_MEMORY, age),
            subscriptions: Cache::new(clock(), kept, age),
            versions: Cache::new(clock(), kept, age),
            ceilings: Cache::new(clock(), kept, age),
            active: Cache::new(clock(), kept, age),
            store: parts.store,
            dispatcher: parts.dispatcher,
            bus: parts.bus,
            runtimes: parts.runtimes,
            clock: parts.clock,
            entropy: parts.entropy,
            vault: parts.vault,
            catalogue: parts.catalogue,
            settings: parts.settings,
            supervisor: parts.supervisor,
            invocation_ids: IdSource::new(IdKind::Invocation),
            checks: types::Checks::default(),
            changes: broadcast::channel(CHANGES_KEPT).0,
            host: OnceLock::new(),
            backlogs: Backlogs::default(),
            rates,
            strangers: Strangers::default(),
            params: ParamsRooms::default(),
            callers,
            told: Arc::default(),
            stopping: AtomicBool::new(false),
            gate: Gate::default(),
        });
        let listener: Weak<Self> = Arc::downgrade(&engine);
        engine.bus.listen(listener);
        engine
    }

    pub(crate) fn scoped(&self, scope: TenantScope) -> Arc<dyn ScopedStore> {
        self.store.scoped(scope)
    }

    pub(crate) fn queue(&self) -> Arc<dyn SystemStore> {
        self.store.system(Reason::Execute)
    }

    /// Every change of an invocation's state that is told of, all sites mixed: callers filter.
    pub fn watch(&self) -> broadcast::Receiver<InvocationChanged> {
        self.changes.subscribe()
    }

    pub(crate) fn tell_watchers(&self, change: InvocationChanged) {
        self.bus.tell(&News::RunChanged(change));
    }

    /// Writes ends of runs and then tells those who watch.
    pub(crate) async fn complete(
        &self,
        store: &dyn ScopedStore,
        completions: Vec<Completion>,
    ) -> Result<(), Error> {
        let changes: Vec<_> = completions.iter().map(Completion::change).collect();
        let written = store.complete(completions).await?;
        let of_this = changes
            .into_iter()
            .zip(written)
            .filter(|(_, written)| *written);
        of_this.for_each(|(change, _)| self.tell_watchers(change));
        Ok(())
    }

    /// The same for ends that must not be given up because one write failed.
    pub(crate) async fn complete_or_later(
        self: &Arc<Self>,
        store: &Arc<dyn ScopedStore>,
        completions: Vec<Completion>,
    ) {
        if let Err(error) = self.complete(&**store, completions.clone()).await {
            tracing::warn!(%error, runs = completions.len(), "ends of runs are written later");
            self.complete_later(&**store, completions);
        }
    }

    /// The same without waiting.
    pub(crate) fn complete_later(
        self: &Arc<Self>,
        store: &dyn ScopedStore,
        completions: Vec<Completion>,
    ) {
        let changes: Vec<_> = completions.iter().map(Completion::change).collect();
        let engine = Arc::clone(self);
        let announce = move || changes.into_iter().for_each(|it| engine.tell_watchers(it));
        store.complete_later(completions, Box::new(announce));
    }

    /// Numbers for a function and its first version, before they are written.
    pub(crate) async fn new_function_ids(&self) -> Result<(FunctionId, VersionId), Error> {
        let store = self.queue();
        let function = store.reserve_ids(IdKind::Function, 1).await?;
        let version = store.reserve_ids(IdKind::Version, 1).await?;
        Ok((FunctionId(function.start), VersionId(version.start)))
    }

    /// What publishing `event` in this site runs, in order of priority, then id.
    pub(crate) async fn subscriptions(
        &self,
        scope: TenantScope,
        event: EventType,
    ) -> Result<Subscriptions, Error> {
        let load = async {
            let stored = self.scoped(scope).subscriptions(event).await?;
            let spec = self.find_event(scope, event.as_str()).await?;
            let users = self.catalogue.users();
            let compile = move || {
                let compiled = stored.into_iter();
                compiled
                    .map(|subscription| Subscribed::new(spec.as_ref(), users, subscription))
                    .collect()
            };
            // Many conditions take a while to compile, in which this thread serves others.
            let compiled = tokio::task::spawn_blocking(compile).await;
            let what = "The conditions of subscriptions were not read";
            compiled.map_err(|cause| Error::BrokenOff { what, cause })
        };
        self.subscriptions
            .get_or_load((scope.site_id(), event), load)
            .await
    }

    /// What a stored row's version runs; none when its function is gone or switched off.
    pub(crate) async fn version(
        &self,
        site: SiteId,
        version: VersionId,
    ) -> Result<Option<Arc<Executable>>, Error> {
        let load = async {
            Ok(self
                .queue()
                .executable_version(site, version)
                .await?
                .map(Arc::new))
        };
        self.versions.get_or_load((site, version), load).await
    }

    /// What a function's active version runs; none when it is gone or switched off.
    pub(crate) async fn active(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<Option<Arc<Executable>>, Error> {
        let load = async {
            let found = self.queue().executable(site, function).await?;
            Ok(found.map(Arc::new))
        };
        self.active.get_or_load((site, function), load).await
    }

    /// Functions, subscriptions, event types or hosts of a site were written.
    pub(crate) fn functions_changed(&self, site: SiteId) {
        self.bus.tell(&News::FunctionsChanged { site });
    }

    /// Somebody's account, roles or sign-ins were written; everybody's when no user is named.
    pub(crate) fn principal_changed(&self, site: SiteId, user: Option<UserId>) {
        self.bus.tell(&News::PrincipalChanged { site, user });
    }

    /// Lets running functions reach the API. Called once, when the API has been put together; a
    /// second call changes nothing.
    pub fn serve_functions(&self, host: Arc<dyn HostFactory>) {
        let _ = self.host.set(host);
    }

    /// What a function may read, whoever calls it.
    pub(crate) fn own_app(&self, actor: &Actor, executable: &Executable) -> OwnApp {
        OwnApp::of(actor.scope(), executable, &self.told)
    }

    /// Answers a function's `sdk_client`.
    pub(crate) fn host_of(&self, actor: Actor, executable: &Executable) -> Arc<dyn HostCalls> {
        match self.host.get() {
            Some(factory) => {
                let own = self.own_app(&actor, executable);
                factory.host(actor, own)
            }
            None => Arc::new(NobodysHost),
        }
    }
}
