//! Users of a site: what one is, what may be proposed, and the operations with PRE and POST around.

pub mod events;
pub mod identity;
mod input;
mod model;
pub mod password;
mod preferences;
mod proposal;
mod rights;
mod service;

pub use input::{CreateUser, UpdateUser};
pub(crate) use model::is_of_a_username;
pub use model::{Profile, User};
pub use preferences::{Preferences, PreferencesChange};
pub use proposal::ProposedUser;
pub(crate) use rights::{Standing, functions_may_change};
pub use service::UserService;
