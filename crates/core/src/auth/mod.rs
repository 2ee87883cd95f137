//! Who may do what: principals, roles, permissions, and the credentials that prove them.

mod access;
mod actor;
mod attempts;
mod ceiling;
mod credentials;
mod families;
mod gate;
mod jwt;
mod lanes;
mod password;
mod password_rules;
mod permission;
mod principal;
mod principals;
mod proof;
mod roles;
mod service;
mod sites;

pub use access::{Access, AppAccess, Right, SiteAccess, right};
pub use actor::Actor;
pub use ceiling::{ActsAs, Ceiling, FunctionRights, GrantScope, Granted};
pub use credentials::{CreateApiKey, CreatedApiKey, Credential};
pub use families::{Session, TokenPair};
pub use gate::{PasswordGate, Typed};
pub use jwt::JwtKeys;
pub use password::{Password, Passwords};
pub use password_rules::PasswordRules;
pub use permission::{Permission, RoleName};
pub use principal::Principal;
pub use principals::Principals;
pub(crate) use proof::Proof;
pub use roles::{AppRole, RoleChange, RoleService};
pub(crate) use service::BAD_CREDENTIAL;
pub use service::{AuthParts, AuthService, NO_CREDENTIAL, SignIn};
pub use sites::{DEFAULT_SITE, SiteDirectory};
