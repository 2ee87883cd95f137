//! Event types of apps: declared by whoever deploys to the app, published by its functions, subscribed by any
//! function of the site whose app's readers may know of it.
//!
//! What a type is and what checks its parameters stands in [`crate::events::own`]. There must be no way to
//! publish from outside: the one door is a running function's.

mod input;
mod publish;
mod service;

pub use input::{DeclareType, UpdateType};
pub use publish::OwnEventService;
pub use service::EventTypeService;
