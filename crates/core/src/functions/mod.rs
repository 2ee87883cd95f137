//! Functions: their versions, options and declared rights, and the service that changes them.

mod bundle;
mod entrypoint;
mod files;
mod grants;
mod model;
mod raw;
mod service;
mod signing;
mod sources;
mod variables;
pub mod webhook;

pub use bundle::{Bundle, BundleDigest, BundleFault, BundleRef, PackedBundle};
pub use entrypoint::{Entrypoint, MAIN};
pub use grants::RightsInput;
pub(crate) use grants::{may_name_secrets, may_replace};
pub use model::*;
pub use raw::{RawAnswer, RawRequest, RequestForm};
pub use service::{CreateFunction, CreatedFunction, FunctionService, UpdateFunction};
pub use signing::RotatedSecret;
pub use sources::HeadersChange;
pub(crate) use variables::field as field_of_variable;
pub use variables::{InForce, Variables, VariablesChange, VariablesRevision};
