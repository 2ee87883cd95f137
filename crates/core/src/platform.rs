//! Everything that a server, the command line or an embedding program uses, put together once.

use crate::admin::AdminService;
use crate::auth::{
    self, AuthParts, AuthService, JwtKeys, PasswordGate, PasswordRules, Passwords, Principals,
};
use crate::engine::{Engine, EventService, Parts};
use crate::events::{Catalogue, UserShape};
use crate::roles::{self, RoleService};
use crate::services::Services;
use crate::users::events::UserParams;
use crate::users::{self, Births, UserService};
use std::ops::Deref;
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

/// An engine with the platform's accounts around it. Its services are those of the engine, and these.
pub struct Platform {
    /// Sign-in and credentials.
    pub auth: AuthService,
    /// Roles.
    pub roles: RoleService,
    /// Users.
    pub users: UserService,
    /// What only the program itself may do.
    pub admin: AdminService,
    services: Arc<Services>,
}

impl Deref for Platform {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
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
        let passwords = Arc::new(Passwords::new(Arc::clone(&entropy), password_rules));
        let bus = Arc::clone(&parts.bus);
        let principals = Principals::new(Arc::clone(&store), Arc::clone(&clock), &*bus);
        let engine = Engine::new(parts, Arc::clone(&principals) as _);
        let births = Arc::new(Births::new(Arc::clone(&engine)));
        let gate = PasswordGate::new(Arc::clone(&store), &clock, Arc::clone(&passwords));
        let gate = Arc::new(gate);
        let auth = AuthService::new(AuthParts {
            events: EventService::new(Arc::clone(&engine)),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            entropy,
            jwt_keys,
            base_domain,
            gate: Arc::clone(&gate),
            principals,
            bus,
        });
        Arc::new(Self {
            auth,
            roles: RoleService::new(Arc::clone(&engine)),
            users: UserService::new(
                Arc::clone(&engine),
                Arc::clone(&births),
                Arc::clone(&passwords),
                gate,
            ),
            admin: AdminService::new(Arc::clone(&engine), births, passwords),
            services: Services::new(&engine),
        })
    }

    /// The engine's own services.
    pub const fn services(&self) -> &Arc<Services> {
        &self.services
    }
}

#[cfg(test)]
#[path = "platform_tests.rs"]
mod tests;
