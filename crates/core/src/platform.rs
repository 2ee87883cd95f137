//! Everything that a server, the command line or an embedding program uses, put together once.

use crate::admin::AdminService;
use crate::apps::AppService;
use crate::auth::{
    self, AuthParts, AuthService, JwtKeys, PasswordGate, PasswordRules, Passwords, Principals,
};
use crate::engine::{Engine, EventService, HostFactory, Parts, QueueCoordinator};
use crate::error::Error;
use crate::event_types::{EventTypeService, OwnEventService};
use crate::events::{Catalogue, UserShape};
use crate::functions::FunctionService;
use crate::idempotency::IdempotencyService;
use crate::invocations::{DeadLetterService, InvocationService};
use crate::ports::dispatch::Coordinator;
use crate::ports::runtime::Runtimes;
use crate::ports::store::Store;
use crate::rights::{Access, Actor, Principal};
use crate::roles::{self, RoleService};
use crate::room::Taken;
use crate::secrets::SecretService;
use crate::subscribers::SubscriberService;
use crate::time::Clock;
use crate::users;
use crate::users::Births;
use crate::users::UserService;
use crate::users::events::UserParams;
use std::sync::Arc;

/// The event types of the platform itself, in the order of the API's list. An embedding program registers
/// its own behind them.
pub fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    catalogue.describe_users(UserShape::of::<UserParams>());
    let features = [
        users::events::register,
        auth::events::register,
        users::password::register,
        roles::events::register,
    ];
    for register in features {
        register(&mut catalogue).expect("the platform's own names differ");
    }
    catalogue
}

/// What a platform is made of.
pub struct PlatformParts {
    /// The engine's parts.
    pub engine: Parts,
    /// Signs tokens.
    pub jwt_keys: JwtKeys,
    /// Sites are sub-domains of it; none means single-site mode.
    pub base_domain: Option<String>,
    /// Which new passwords are good enough.
    pub password_rules: PasswordRules,
}

/// All services around one engine.
pub struct Platform {
    /// Sign-in and credentials.
    pub auth: AuthService,
    /// Roles.
    pub roles: RoleService,
    /// Users.
    pub users: UserService,
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
    /// What only the program itself may do.
    pub admin: AdminService,
    /// The store, for health checks.
    pub store: Arc<dyn Store>,
    /// The runtimes, for health checks.
    pub runtimes: Runtimes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
}

impl Platform {
    /// Puts everything together.
    pub fn new(parts: PlatformParts) -> Arc<Self> {
        let PlatformParts {
            engine: parts,
            jwt_keys,
            base_domain,
            password_rules,
        } = parts;
        let store = Arc::clone(&parts.store);
        let clock = Arc::clone(&parts.clock);
        let entropy = Arc::clone(&parts.entropy);
        let runtimes = parts.runtimes.clone();
        let passwords = Arc::new(Passwords::new(Arc::clone(&entropy), password_rules));
        let principals = Arc::new(Principals::new(Arc::clone(&store), Arc::clone(&clock)));
        let engine = Engine::new(parts, Arc::clone(&principals) as _);
        let births = Arc::new(Births::new(Arc::clone(&engine)));
        let gate = PasswordGate::new(Arc::clone(&store), &clock, Arc::clone(&passwords));
        let gate = Arc::new(gate);
        let events = EventService::new(Arc::clone(&engine));
        let auth = AuthService::new(AuthParts {
            events: events.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            entropy,
            jwt_keys,
            base_domain,
            gate: Arc::clone(&gate),
            principals: Arc::clone(&principals),
        });
        Arc::new(Self {
            auth,
            roles: RoleService::new(Arc::clone(&engine), Arc::clone(&principals)),
            users: UserService::new(
                Arc::clone(&engine),
                Arc::clone(&births),
                Arc::clone(&passwords),
                gate,
                Arc::clone(&principals),
            ),
            apps: AppService::new(Arc::clone(&engine)),
            functions: FunctionService::new(Arc::clone(&engine)),
            subscribers: SubscriberService::new(Arc::clone(&engine)),
            secrets: SecretService::new(Arc::clone(&engine)),
            invocations: InvocationService::new(Arc::clone(&engine)),
            dead_letters: DeadLetterService::new(Arc::clone(&engine)),
            idempotency: IdempotencyService::new(Arc::clone(&store), Arc::clone(&clock)),
            events,
            event_types: EventTypeService::new(Arc::clone(&engine)),
            own_events: OwnEventService::new(Arc::clone(&engine)),
            admin: AdminService::new(Arc::clone(&engine), births, passwords, principals),
            store,
            runtimes,
            clock,
            engine,
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

#[cfg(test)]
#[path = "platform_tests.rs"]
mod tests;
