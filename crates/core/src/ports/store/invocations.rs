//! Invocation records of one site.

use super::{OnCommit, Page, PageRequest, StoreError, Work};
use crate::events::EventType;
use crate::idempotency::Remember;
use crate::ids::{AppId, InvocationId, TaskId, UserId};
use crate::invocations::{Completion, Invocation};
use crate::tasks::{FailureKind, State};
use async_trait::async_trait;

/// Which invocations to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct InvocationQuery {
    /// Of the function with this slug.
    pub function_slug: Option<String>,
    /// Only what this caller may see.
    pub visible_to: Option<Visibility>,
    /// Caused by this event type.
    pub event: Option<EventType>,
    /// In one of these states; empty means any.
    pub states: Vec<State>,
    /// With an error or without.
    pub has_error: Option<bool>,
    /// With this kind of failure.
    pub kind: Option<FailureKind>,
    /// Of a function of the app with this slug.
    pub app_slug: Option<String>,
}

/// What a caller may see who may not see everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility {
    /// What this user caused or asked for again, if one is named.
    pub user: Option<UserId>,
    /// Of that, only runs of functions of this app, if one is named.
    pub own_in: Option<AppId>,
    /// And everything of functions of these apps.
    pub apps: Vec<AppId>,
}

/// Invocation records.
#[async_trait]
pub trait InvocationStore: Send + Sync {
    /// Writes a unit of work and waits for the disk.
    ///
    /// # Errors
    /// [`super::Conflict`] when what it rests on does not hold, [`StoreError::Refused`] when the host's change says so.
    /// Nothing is written then.
    async fn commit(&self, work: Work) -> Result<(), StoreError>;

    /// Writes ends of attempts, with the records that are not there yet, and waits for the disk. One flag
    /// each: false when the record had already ended, or has another hold, and was left alone.
    async fn complete(&self, completions: Vec<Completion>) -> Result<Vec<bool>, StoreError>;

    /// The same for one end, with the answer of the request that waited for it. The answer is stored
    /// only if the end is written. Conflict: [`super::Conflict::IdempotencyKey`].
    async fn complete_and_remember(
        &self,
        completion: Completion,
        remember: Remember<Invocation>,
    ) -> Result<bool, StoreError>;

    /// The same as [`Self::complete`] without waiting, for ends that nobody waits for.
    fn complete_later(&self, completions: Vec<Completion>, on_commit: OnCommit);

    /// One record with its logs.
    async fn invocation(&self, id: InvocationId) -> Result<Option<Invocation>, StoreError>;

    /// One record by its task, with its logs.
    async fn invocation_by_task(&self, id: TaskId) -> Result<Option<Invocation>, StoreError>;

    /// Records that match, newest first, without their logs.
    async fn list_invocations(
        &self,
        query: InvocationQuery,
        page: PageRequest,
    ) -> Result<Page<Invocation>, StoreError>;
}
