//! Identifiers: one newtype per entity, so that a user's id can never be passed as a function's.
//!
//! Wire numbers stay numbers (the user's document shows `"function_id": 123`). This module must
//! never generate an id: that takes a clock and randomness, see [`crate::entropy`].

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! numeric_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
            schemars::JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numeric_id! {
    /// A site, the tenant.
    SiteId,
    /// A user of one site.
    UserId,
    /// An app, which groups functions within a site.
    AppId,
    /// A function within an app.
    FunctionId,
    /// One stored version of a function's code.
    VersionId,
    /// The link between a function and an event type.
    SubscriberId,
    /// One invocation record.
    InvocationId,
    /// One API key record.
    ApiKeyId,
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    )+};
}

uuid_id! {
    /// One task: stays the same on every attempt of an invocation.
    TaskId,
    /// One published event: shared by every invocation that it caused.
    EventId,
}
