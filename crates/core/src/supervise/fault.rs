//! What is wrong with a process one of whose loops is gone.

use std::fmt;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The loop's name.
    pub name: &'static str,
    pub(super) panicked: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.panicked { "panicked" } else { "ended" };
        write!(
            f,
            "the loop '{}' {how}; this is a bug of Tollgate's",
            self.name
        )
    }
}
