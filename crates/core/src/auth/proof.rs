//! The credential that a caller came with: what is kept of it, so that it can be asked again whether it
//! still holds.

use super::jwt::Origin;

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
