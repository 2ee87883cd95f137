//! The credential that a caller came with: what is kept of it, so that it can be asked again whether it
//! still holds.

use crate::ids::UserId;
use crate::ports::store::Epoch;
use uuid::Uuid;

/// The answer to a credential that proves nothing.
pub(crate) const BAD_CREDENTIAL: &str = "The credential is not valid, or has expired.";

/// Where a token comes from, and what ends it before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whose it is.
    pub(crate) user: UserId,
    /// The sign-in that it goes back to.
    pub(crate) family: Uuid,
    /// How often all tokens of this user had been ended when it was made.
    pub(crate) epoch: Epoch,
}

/// What was verified. Never the secret itself.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// An access token.
    Token(Origin),
    /// An API key, by its hash.
    Key(String),
    /// A session token, by its hash.
    Session(String),
}
