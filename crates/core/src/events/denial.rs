//! `POST_<X>_DENIED`: a refusal is an event itself. Who was refused what, by which function, and why.

use super::{EventType, LifecycleEvent};
use crate::ids::{EventId, FunctionId, InvocationId, TaskId};
use crate::tasks::FailureKind;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a PRE event carries, and what tells of its refusal.
pub trait Announcement: LifecycleEvent {
    /// The event that follows when a function did not agree.
    const DENIED: EventType;

    /// Why these values cannot be saved, if they cannot. Asked of what a function has changed.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What tells of a refused `E`: nothing of it was saved.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{E}Denied", bound = "E: Announcement")]
pub struct Denial<E> {
    /// The event that was refused.
    #[schemars(schema_with = "name_of::<E>")]
    pub event: String,
    /// That event's id.
    #[schemars(with = "Option<String>")]
    pub event_id: Option<EventId>,
    /// What was proposed, as the functions were given it.
    pub params: E,
    /// The function that did not agree.
    pub refused_by: DeniedBy,
}

/// A function that did not agree.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeniedBy {
    /// Its number.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// Its slug.
    pub function_slug: String,
    /// Its run.
    #[schemars(with = "String")]
    pub task_id: TaskId,
    /// Its run's record.
    pub invocation_id: InvocationId,
    /// `"denied"`, or the kind of failure.
    #[schemars(schema_with = "kinds")]
    pub kind: String,
    /// Why, for the log.
    pub message: String,
    /// What the end user was told instead: a text, or texts by language.
    #[schemars(schema_with = "texts")]
    pub user_message: Option<Value>,
}

fn name_of<E: Announcement>(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string", "enum": [E::TYPE]})
}

fn kinds(_: &mut SchemaGenerator) -> Schema {
    let failures = FailureKind::ALL
        .into_iter()
        .filter(|kind| kind.is_of_pre_runs());
    let kinds: Vec<_> = std::iter::once("denied")
        .chain(failures.map(FailureKind::as_str))
        .collect();
    schemars::json_schema!({"type": "string", "enum": kinds})
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": ["string", "object", "null"]})
}

impl DeniedBy {
    fn sample() -> Self {
        Self {
            function_id: FunctionId(17),
            function_name: "Validate User Data".to_owned(),
            function_slug: "validate-user-data".to_owned(),
            task_id: TaskId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0004)),
            invocation_id: InvocationId(42),
            kind: "denied".to_owned(),
            message: "blocked.example is on the list".to_owned(),
            user_message: Some("Please use another e-mail address".into()),
        }
    }
}

impl<E: Announcement> LifecycleEvent for Denial<E> {
    const TYPE: EventType = E::DENIED;

    fn sample() -> Self {
        Self {
            event: E::TYPE.as_str().to_owned(),
            event_id: Some(EventId(Uuid::from_u128(
                0x0190_0000_0000_7000_8000_0000_0000_0002,
            ))),
            params: E::sample(),
            refused_by: DeniedBy::sample(),
        }
    }
}
