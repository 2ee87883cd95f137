//! What a PRE function decided, as a closed type, and how the stage's decisions add up.

use crate::event::EventType;
use crate::function::text_enum;
use crate::ids::{FunctionId, InvocationId, SubscriberId, TaskId};
use crate::invocation::{Failure, FailureKind};
use crate::json::JsonText;
use crate::limits;
use crate::subscriber::OnTimeout;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// One PRE function's decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Go on, unchanged.
    Allow,
    /// Go on, with this merge patch applied to the proposed fields.
    Enrich(Value),
    /// No: the function said so.
    Deny {
        /// Its reason.
        message: String,
        /// Its reasons per field, as it gave them.
        errors: Option<JsonText>,
    },
    /// No: the function broke.
    Broken(Failure),
}

/// The same without its contents, for the record.
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

/// The keys of a returned object that mean something; the rest is the function's own business.
#[derive(Deserialize)]
struct Returned<'a> {
    #[serde(borrow)]
    success: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl Verdict {
    /// Which of the four it is.
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::Allow => VerdictKind::Allow,
            Self::Enrich(_) => VerdictKind::Enrich,
            Self::Deny { .. } => VerdictKind::Deny,
            Self::Broken(_) => VerdictKind::Broken,
        }
    }

    /// Reads a run's result. `on_timeout` decides what a timeout means.
    pub fn of(result: &Result<JsonText, Failure>, on_timeout: OnTimeout) -> Self {
        match result {
            Ok(returned) => Self::of_returned(returned),
            Err(failure)
                if failure.kind == FailureKind::Timeout && on_timeout == OnTimeout::Allow =>
            {
                Self::Allow
            }
            Err(failure) => Self::Broken(failure.clone()),
        }
    }

    fn of_returned(returned: &JsonText) -> Self {
        // Anything but an object is "anything else": allow. An object that cannot be read may have
        // meant to refuse.
        if !returned.as_str().trim_start().starts_with('{') {
            return Self::Allow;
        }
        let object = match returned.read::<Returned<'_>>() {
            Ok(object) => object,
            Err(error) => {
                let message = format!("The returned object cannot be read: {error}");
                return Self::Broken(Failure::new(FailureKind::NotJson, message));
            }
        };
        if object.success.is_some_and(|raw| raw.get() == "false") {
            let message = text_of(object.error)
                .or_else(|| text_of(object.message))
                .unwrap_or_else(|| "The function gave no reason".to_owned());
            let errors = object.errors.filter(|raw| raw.get() != "null");
            let errors = errors.map(|raw| JsonText::from(raw.to_owned()));
            return Self::Deny { message, errors };
        }
        let params = object.params.map(RawValue::get);
        if let Some(params) = params
            && params.len() > limits::ENRICHMENT_BYTES
        {
            let message = format!(
                "The enrichment is {} bytes of JSON; the limit is {}",
                params.len(),
                limits::ENRICHMENT_BYTES
            );
            return Self::Broken(Failure::new(FailureKind::Enrichment, message));
        }
        match params.map(serde_json::from_str) {
            Some(Ok(patch @ Value::Object(_))) => Self::Enrich(patch),
            Some(Ok(_)) | None => Self::Allow,
            // For example a number that no field can hold.
            Some(Err(error)) => {
                let message = format!("The returned params cannot be read: {error}");
                Self::Broken(Failure::new(FailureKind::NotJson, message))
            }
        }
    }
}

/// A reason as text: a string as it is, anything else as its JSON; `null` is no reason.
fn text_of(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?.get();
    if !raw.starts_with('"') {
        // One that is long is shown as it came: as a tree it could be a hundred times as large.
        let is_short = raw.len() <= limits::ERROR_BYTES;
        let tree = is_short.then(|| serde_json::from_str::<Value>(raw).ok());
        let text = tree
            .flatten()
            .map_or_else(|| raw.to_owned(), |it| it.to_string());
        return (raw != "null").then_some(text);
    }
    let text: String = serde_json::from_str(raw).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

/// Who refused, for the `errors` of the answer.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedBy {
    /// The subscription.
    #[serde(skip)]
    pub subscriber_id: SubscriberId,
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// Its slug.
    pub function_slug: String,
    /// The run.
    pub task_id: TaskId,
    /// The record.
    pub invocation_id: InvocationId,
    /// `"denied"`, or the kind of failure.
    pub kind: &'static str,
    /// The function's reason.
    pub message: String,
    /// The function's reasons per field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<JsonText>,
}

/// Why the PRE stage did not agree.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The event type.
    pub event: EventType,
    /// True when a function broke, false when it said no.
    pub broken: bool,
    /// The functions that refused; at least one.
    pub by: Vec<RefusedBy>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.broken {
            "failed"
        } else {
            "denied the operation"
        };
        match self.by.first() {
            Some(by) => {
                write!(
                    f,
                    "{}: function '{}' {verb}: {}",
                    self.event, by.function_name, by.message
                )
            }
            None => write!(f, "{}: refused", self.event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Verdict {
        Verdict::of(
            &Ok(JsonText::parse(json.to_owned()).unwrap()),
            OnTimeout::Deny,
        )
    }

    #[test]
    fn a_returned_value_is_read_as_the_contract_says() {
        for allow in [
            "null",
            "true",
            "false",
            "1",
            "\"no\"",
            "[]",
            "[null,null,null,null,{}]",
            "{}",
            r#"{"success": true}"#,
            r#"{"success": "false"}"#,
            r#"{"params": 3}"#,
            r#"{"params": null, "x": 1}"#,
        ] {
            assert_eq!(verdict(allow), Verdict::Allow, "{allow}");
        }
        let deny = |message: &str| Verdict::Deny {
            message: message.into(),
            errors: None,
        };
        assert_eq!(
            verdict(r#"{"success": false, "error": "bad"}"#),
            deny("bad")
        );
        assert_eq!(
            verdict(r#"{"success": false, "message": "worse"}"#),
            deny("worse")
        );
        assert_eq!(
            verdict(r#"{"success": false, "error": {"a": 1}}"#),
            deny(r#"{"a":1}"#)
        );
        assert_eq!(
            verdict(r#"{"success": false}"#),
            deny("The function gave no reason")
        );
        assert_eq!(
            verdict(r#"{"params": {"first_name": "J"}}"#),
            Verdict::Enrich(serde_json::json!({"first_name": "J"}))
        );
        let vast = format!(
            r#"{{"params": {{"attributes": {{"n": 1{}}}}}}}"#,
            "0".repeat(400)
        );
        assert!(matches!(verdict(&vast), Verdict::Broken(_)));
        // A denial wins over an enrichment in the same object.
        assert_eq!(
            verdict(r#"{"success": false, "error": "x", "params": {}}"#),
            deny("x")
        );
    }

    #[test]
    fn a_timeout_is_a_denial_unless_the_subscription_allows_it() {
        let timeout = Err(Failure::new(FailureKind::Timeout, "late"));
        assert!(matches!(
            Verdict::of(&timeout, OnTimeout::Deny),
            Verdict::Broken(_)
        ));
        assert_eq!(Verdict::of(&timeout, OnTimeout::Allow), Verdict::Allow);
        let crash = Err(Failure::new(FailureKind::Crashed, "gone"));
        assert!(matches!(
            Verdict::of(&crash, OnTimeout::Allow),
            Verdict::Broken(_)
        ));
    }
}
