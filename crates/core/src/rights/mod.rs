//! Who may do what: principals, permissions, and what functions may do for whom.
//!
//! Must never know how somebody proves who they are: that is for whoever keeps accounts.

mod access;
mod actor;
mod ceiling;
mod permission;
mod principal;
mod proof;

pub use access::{Access, AppAccess, Right, SiteAccess, right};
pub use actor::Actor;
pub use ceiling::{ActsAs, Ceiling, FunctionRights, GrantScope, Granted};
pub use permission::{Permission, RoleName};
pub use principal::{NO_CREDENTIAL, Principal};
#[cfg(feature = "accounts")]
pub(crate) use proof::Origin;
pub(crate) use proof::{BAD_CREDENTIAL, Proof};
