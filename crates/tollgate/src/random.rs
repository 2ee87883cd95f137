//! The operating system's randomness.

use tollgate_core::entropy::Entropy;

#[derive(Debug, Clone, Copy)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}
