//! Identifiers: one newtype per entity, so that a user's id can never be passed as a function's.
//!
//! Wire numbers stay numbers (the user's document shows `"function_id": 123`). This module must
//! never generate an id: that takes a clock and randomness, see [`crate::entropy`].

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

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

impl EventId {
    /// When the event happened, to the millisecond: it is part of the id, so that every delivery and
    /// every replay of the event says the same.
    pub fn occurred_at(self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let since = Duration::from_secs(seconds) + Duration::from_nanos(nanos.into());
        Some(Timestamp::from_micros(0).plus(since))
    }
}
