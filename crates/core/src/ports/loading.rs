//! The port to what a version has while it is loaded, beside its code.
//!
//! An implementation must never give a secret to anything but the runtime that loads the version.

use super::runtime::HostCalls;
use crate::functions::{BundleRef, Executable};
use crate::tasks::Failure;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What code has while it is loaded, when nobody has called it yet. Asked anew for every worker.
#[async_trait]
pub trait Loading: Send + Sync {
    /// Its environment variables, those with the value of a secret included. They must reach nobody but the
    /// worker.
    ///
    /// # Errors
    /// Why it cannot be loaded: a secret that is not there.
    async fn variables(&self, executable: &Executable) -> Result<LoadedVariables, Failure>;

    /// The files of a version that has more than one, as [`crate::functions::Bundle::encode`] gives them.
    ///
    /// # Errors
    /// When they cannot be read now, or are gone.
    async fn files(&self, executable: &Executable, bundle: &BundleRef) -> Result<Vec<u8>, Failure>;

    /// Answers what the top level of its module asks of the platform.
    fn host(&self, executable: &Executable) -> Arc<dyn HostCalls>;
}

/// Environment variables by name, as a worker is given them.
pub type LoadedVariables = BTreeMap<String, Zeroizing<String>>;
