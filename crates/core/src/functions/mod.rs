//! Functions: their versions, options and declared rights, and the service that changes them.

mod bundle;
mod entrypoint;
mod files;
mod grants;
mod model;
mod service;
mod sources;
pub mod webhook;

pub use bundle::{Bundle, BundleDigest, BundleFault, BundleRef, PackedBundle};
pub use entrypoint::{Entrypoint, MAIN};
pub use grants::RightsInput;
pub use model::*;
pub use service::{
    CreateFunction, CreatedFunction, FunctionService, RotatedSecret, UpdateFunction,
};
pub use sources::HeadersChange;
