//! Users of a site: what one is, what may be proposed, and the operations with PRE and POST around.

#[cfg(feature = "accounts")]
mod births;
pub mod events;
pub mod identity;
#[cfg(feature = "accounts")]
mod input;
mod model;
#[cfg(feature = "accounts")]
pub mod password;
mod preferences;
#[cfg(feature = "accounts")]
mod preferring;
#[cfg(feature = "accounts")]
mod proposal;
#[cfg(feature = "accounts")]
mod rights;
#[cfg(feature = "accounts")]
mod service;

#[cfg(feature = "accounts")]
pub(crate) use births::Births;
#[cfg(feature = "accounts")]
pub use input::{CreateUser, UpdateUser};
#[cfg(feature = "accounts")]
pub(crate) use model::is_of_a_username;
pub use model::{Profile, User};
pub use preferences::{Preferences, PreferencesChange};
#[cfg(feature = "accounts")]
pub use proposal::ProposedUser;
#[cfg(feature = "accounts")]
pub(crate) use rights::{Standing, functions_may_change};
#[cfg(feature = "accounts")]
pub use service::UserService;
