//! Credentials: what proves who somebody is, how they get it, and how it ends.

mod attempts;
mod credentials;
pub mod events;
mod families;
mod gate;
mod jwt;
mod keys;
mod lanes;
mod password;
mod password_rules;
mod principals;
mod scopes;
mod service;
mod sign_in;
mod sites;

pub use credentials::{CreateApiKey, CreatedApiKey, Credential};
pub use families::{Session, TokenPair};
pub use gate::{PasswordGate, Typed};
pub use jwt::JwtKeys;
pub use password::{Password, Passwords};
pub use password_rules::PasswordRules;
pub use principals::Principals;
pub use service::{AuthParts, AuthService, SignIn};
pub use sites::{DEFAULT_SITE, SiteDirectory};
