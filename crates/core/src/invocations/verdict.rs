//! What a run's record keeps of a PRE function's decision.

use crate::text::text_enum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which decision it was, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Go on, unchanged.
    Allow,
    /// Go on, with changes.
    Enrich,
    /// The function said no.
    Deny,
    /// The function broke.
    Broken,
}

text_enum!(VerdictKind {
    Allow => "allow",
    Enrich => "enrich",
    Deny => "deny",
    Broken => "broken",
});

impl VerdictKind {
    /// The word that people and programs are shown.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Enrich => "enriched",
            Self::Deny => "denied",
            Self::Broken => "broken",
        }
    }
}

/// A verdict as its run's record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedVerdict {
    /// Which of the four it is.
    pub kind: VerdictKind,
    /// The reason of a denial, cut to [`crate::limits::VERDICT_MESSAGE_BYTES`].
    pub message: Option<String>,
}
