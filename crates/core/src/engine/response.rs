//! What `publish_event` answers: the API document's two shapes.

use crate::events::EventType;
use crate::ids::{FunctionId, InvocationId, TaskId};
use crate::invocations::NewInvocation;
use crate::subscribers::Subscription;
use serde::Serialize;

/// One queued function, as the API document shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedTask {
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// The task.
    pub task_id: TaskId,
    /// Its record.
    pub invocation_id: InvocationId,
}

/// What `publish_event` answers: the API document's two shapes.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum PublishResponse {
    /// Every function was queued.
    Success {
        /// For people.
        message: &'static str,
        /// What was queued.
        data: PublishedData,
    },
    /// A function could not be queued.
    Error {
        /// Always `EXECUTION_ERROR`.
        code: &'static str,
        /// For people.
        message: &'static str,
        /// Which function.
        data: UnqueuedFunction,
    },
}

/// What was queued.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedData {
    /// The event type.
    pub event: EventType,
    /// One entry per function, in order of priority, then subscription id.
    pub task_ids: Vec<PublishedTask>,
    /// How many.
    pub total_subscribers: usize,
}

/// The function that could not be queued.
#[derive(Debug, Clone, Serialize)]
pub struct UnqueuedFunction {
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// Always `"error"`.
    pub status: &'static str,
    /// Always none.
    pub task_id: Option<TaskId>,
}

pub(super) fn published(subscription: &Subscription, invocation: &NewInvocation) -> PublishedTask {
    PublishedTask {
        function_id: invocation.function_id,
        function_name: subscription.executable.function_name.clone(),
        task_id: invocation.task_id,
        invocation_id: invocation.id,
    }
}

pub(super) fn success(event: EventType, task_ids: Vec<PublishedTask>) -> PublishResponse {
    let total_subscribers = task_ids.len();
    PublishResponse::Success {
        message: "Event published successfully",
        data: PublishedData {
            event,
            task_ids,
            total_subscribers,
        },
    }
}

pub(super) fn unqueued(subscription: &Subscription) -> PublishResponse {
    PublishResponse::Error {
        code: "EXECUTION_ERROR",
        message: "Function execution failed",
        data: UnqueuedFunction {
            function_id: subscription.executable.function_id,
            function_name: subscription.executable.function_name.clone(),
            status: "error",
            task_id: None,
        },
    }
}
