//! Everything that is done with an engine, put together once: the same for the server and for other programs.
//!
//! Must never know who keeps accounts.

use crate::apps::AppService;
use crate::engine::{Engine, EventService, HostFactory, QueueCoordinator};
use crate::error::Error;
use crate::event_types::{EventTypeService, OwnEventService};
use crate::functions::FunctionService;
use crate::idempotency::IdempotencyService;
use crate::invocations::{DeadLetterService, InvocationService};
use crate::ports::dispatch::Coordinator;
use crate::ports::runtime::Runtimes;
use crate::ports::store::Store;
use crate::rights::{Access, Actor, Principal};
use crate::room::Taken;
use crate::secrets::{OfEngine, SecretService};
use crate::subscribers::SubscriberService;
use crate::time::Clock;
use std::sync::Arc;

/// All services of one engine.
pub struct Services {
    /// Apps.
    pub apps: AppService,
    /// Functions.
    pub functions: FunctionService,
    /// Subscriptions.
    pub subscribers: SubscriberService,
    /// Secrets.
    pub secrets: SecretService,
    /// Runs.
    pub invocations: InvocationService,
    /// Runs that failed for good.
    pub dead_letters: DeadLetterService,
    /// Keys of creating requests.
    pub idempotency: IdempotencyService,
    /// Publishing.
    pub events: EventService,
    /// Event types of apps.
    pub event_types: EventTypeService,
    /// Publishing by functions.
    pub own_events: OwnEventService,
    /// The store, for health checks.
    pub store: Arc<dyn Store>,
    /// The runtimes, for health checks.
    pub runtimes: Runtimes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
}

impl Services {
    /// The services of `engine`.
    pub fn new(engine: &Arc<Engine>) -> Arc<Self> {
        let (store, clock) = (Arc::clone(&engine.store), Arc::clone(&engine.clock));
        for runtime in engine.runtimes.all() {
            runtime.attach(Arc::new(OfEngine::new(engine)));
        }
        let engine = || Arc::clone(engine);
        Arc::new(Self {
            apps: AppService::new(engine()),
            functions: FunctionService::new(engine()),
            subscribers: SubscriberService::new(engine()),
            secrets: SecretService::new(engine()),
            invocations: InvocationService::new(engine()),
            dead_letters: DeadLetterService::new(engine()),
            idempotency: IdempotencyService::new(Arc::clone(&store), Arc::clone(&clock)),
            events: EventService::new(engine()),
            event_types: EventTypeService::new(engine()),
            own_events: OwnEventService::new(engine()),
            store,
            runtimes: engine().runtimes.clone(),
            clock,
            engine: engine(),
        })
    }

    /// What the dispatcher asks about queued runs: hand it over when starting the dispatcher.
    pub fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(QueueCoordinator::new(Arc::clone(&self.engine)))
    }

    /// Says that the server stops: runs whose callers are sent away from now on end for that reason.
    pub fn stop_waiting(&self) {
        self.engine.stop_waiting();
    }

    /// Lets running functions reach the API. Call it once.
    pub fn serve_functions(&self, host: Arc<dyn HostFactory>) {
        self.engine.serve_functions(host);
    }

    /// The same access, if it is still held.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the caller's credential has ended, [`Error::Forbidden`] when the
    /// right has.
    pub async fn still<A: Access>(&self, access: &A) -> Result<A, Error> {
        self.engine.still(access).await
    }

    /// Room in memory for a request of so many bytes of a function's `sdk_client`, until it is answered. It waits
    /// for it, and what its run holds is given back meanwhile. None where none is needed.
    ///
    /// # Errors
    /// When there never is as much.
    pub async fn room_for(&self, actor: &Actor, bytes: usize) -> Result<Option<Taken>, Error> {
        self.engine.room_for(actor, bytes).await
    }

    /// The rights of a run at this moment, for one call of its `sdk_client`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when whoever it acts for is gone, [`Error::Forbidden`] when its
    /// function is.
    pub async fn principal_of(&self, actor: &Actor) -> Result<Principal, Error> {
        self.engine.principal_of(actor).await
    }
}
