//! Dead letters of one site: finding them in order, and acting on them.
//!
//! Which state follows is [`crate::tasks`]'s decision; every write here guards on the state `dead`.

use super::{InvocationQuery, OnCommit, StoreError};
use crate::events::EventType;
use crate::ids::{FunctionId, InvocationId, UserId, VersionId};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::time::Duration;

/// Where a dead letter stands in their order. Numbers alone do not tell: a larger one may be older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterPlace {
    /// When it was queued.
    pub queued_at: Timestamp,
    /// The record.
    pub id: InvocationId,
}

/// What a redrive needs to know of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record.
    pub id: InvocationId,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Its function, which may be deleted.
    pub function_id: FunctionId,
    /// The event type, if an event caused it.
    pub event: Option<EventType>,
}

impl DeadLetter {
    /// Where it stands in their order.
    pub const fn place(&self) -> DeadLetterPlace {
        DeadLetterPlace {
            queued_at: self.queued_at,
            id: self.id,
        }
    }
}

/// A dead letter to be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redrive {
    /// The record.
    pub id: InvocationId,
    /// What it runs from now on; none leaves its version and limits as they were.
    pub version: Option<RedriveVersion>,
    /// Who asks: it acts for them from now on.
    pub asker: UserId,
    /// Its function, if that acts by its own right.
    pub acting_function: Option<FunctionId>,
}

/// The version that a redriven run moves to, with the limits that hold there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedriveVersion {
    /// The version.
    pub version_id: VersionId,
    /// Its number.
    pub version: u32,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Most attempts, counted from the redrive.
    pub max_attempts: u32,
}

/// Dead letters. They are listed like all invocations, with the state `dead`.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Up to `limit` dead letters that match, oldest first, beginning after the place `after`.
    /// The query's states are ignored.
    async fn dead_letters(
        &self,
        query: InvocationQuery,
        after: Option<DeadLetterPlace>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Makes dead letters pending, before their first attempt and due at once. One flag each: false
    /// when the record is not dead.
    async fn redrive(
        &self,
        redrives: Vec<Redrive>,
        on_commit: OnCommit,
    ) -> Result<Vec<bool>, StoreError>;

    /// Makes a dead letter failed history. False when the record is not dead.
    async fn discard(&self, id: InvocationId, at: Timestamp) -> Result<bool, StoreError>;
}
