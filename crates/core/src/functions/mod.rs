//! Functions: their versions, options and declared rights, and the service that changes them.

mod grants;
mod model;
mod service;
mod sources;
pub mod webhook;

pub use grants::RightsInput;
pub use model::*;
pub use service::{
    CreateFunction, CreatedFunction, FunctionService, RotatedSecret, UpdateFunction,
};
pub use sources::HeadersChange;
