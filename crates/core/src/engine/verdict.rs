//! What a PRE function decided, as a closed type, and how the stage's decisions add up.

use super::user_message::UserMessage;
use crate::events::EventType;
use crate::ids::{FunctionId, InvocationId, SubscriberId, TaskId};
use crate::invocations::{RecordedVerdict, VerdictKind};
use crate::json::JsonText;
use crate::numbers::{self, Integers};
use crate::subscribers::OnTimeout;
use crate::tasks::{Failure, FailureKind};
use crate::{limits, strict_json, text};
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
        /// What the end user reads instead of the reason.
        user_message: Option<UserMessage>,
    },
    /// No: the function broke.
    Broken(Failure),
}

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
    user_message: Option<&'a RawValue>,
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

    /// What its run's record keeps of it.
    pub fn recorded(&self) -> RecordedVerdict {
        let message = match self {
            Self::Deny { message, .. } => {
                Some(text::prefix(message, limits::VERDICT_MESSAGE_BYTES).to_owned())
            }
            Self::Allow | Self::Enrich(_) | Self::Broken(_) => None,
        };
        RecordedVerdict {
            kind: self.kind(),
            message,
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
        let unreadable = |what: &str, error: String| {
            let message = format!("The returned {what} cannot be read: {error}");
            Self::Broken(Failure::new(FailureKind::NotJson, message))
        };
        let object = match returned.read::<Returned<'_>>() {
            Ok(object) => object,
            Err(error) => return unreadable("object", error.to_string()),
        };
        if object.success.is_some_and(|raw| raw.get() == "false") {
            let message = text_of(object.error)
                .or_else(|| text_of(object.message))
                .unwrap_or_else(|| "The function gave no reason".to_owned());
            let errors = object.errors.filter(|raw| raw.get() != "null");
            let errors = errors.map(|raw| JsonText::from(raw.to_owned()));
            return Self::Deny {
                message,
                errors,
                user_message: object.user_message.and_then(UserMessage::of),
            };
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
        match params.map(patch_of) {
            Some(Ok(patch @ Value::Object(_))) => Self::Enrich(patch),
            // A patch that was meant and cannot be read must not be left out silently.
            Some(Err(error)) => unreadable("`params`", error),
            Some(Ok(_)) | None => Self::Allow,
        }
    }
}

/// Reads an enrichment. Of two equal keys one would be left out, and digits that are not kept would be
/// others.
fn patch_of(params: &str) -> Result<Value, String> {
    strict_json::check(params).map_err(|error| error.to_string())?;
    numbers::check(params, Integers::Bits64)
        .map_err(|inexact| format!("{}: {inexact}", inexact.path))?;
    serde_json::from_str(params).map_err(|error| error.to_string())
}

/// What an object with `"success": false` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    /// The reason.
    pub reason: String,
    /// What the end user reads instead.
    pub user_message: Option<UserMessage>,
}

impl No {
    /// What those may be told who only called: never the reason where there is something for them.
    pub fn told(&self) -> &str {
        let message = self.user_message.as_ref();
        message.map_or(&self.reason, |it| it.in_language(&[]))
    }
}

/// What an object with `"success": false` says; none if it is no such object.
pub fn refusal_in(object: &JsonText) -> Option<No> {
    match Verdict::of_returned(object) {
        Verdict::Deny {
            message,
            user_message,
            ..
        } => Some(No {
            reason: message,
            user_message,
        }),
        Verdict::Allow | Verdict::Enrich(_) | Verdict::Broken(_) => None,
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
    /// What the end user is told, else the function's reason.
    pub message: String,
    /// The same, where the function gave something for end users to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_message: Option<String>,
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
            user_message: None,
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

    /// What cannot be read may have meant to refuse, or to change something.
    #[test]
    fn an_unreadable_object_is_no_agreement() {
        let deep = format!(r#"{{"params": {}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for unreadable in [
            r#"{"success": true, "success": false}"#,
            r#"{"success": false, "error": "no", "success": false}"#,
            r#"{"params": {}, "params": {"first_name": "J"}}"#,
            r#"{"error": "a", "error": "b"}"#,
            r#"{"params": {"attributes": {"n": 1e999}}}"#,
            r#"{"params": {"attributes": {"n": 1.00000000000000000001}}}"#,
            r#"{"params": {"attributes": {"n": 36893488147419103232}}}"#,
            r#"{"params": {"first_name": "A", "first_name": "B"}}"#,
            r#"{"params": {"attributes": {"n": 1, "\u006e": 2}}}"#,
            r#"{"params": {"attributes": [{"n": 1, "n": 1}]}}"#,
            r#"{"success": true, "params": {"first_name": "\ud800"}}"#,
            " \n{\"success\": true, \"success\": true}",
            &deep,
        ] {
            let verdict = verdict(unreadable);
            let Verdict::Broken(failure) = &verdict else {
                panic!("{verdict:?} of {unreadable}")
            };
            assert_eq!(failure.kind, FailureKind::NotJson, "{unreadable}");
            assert!(failure.message.contains("cannot be read"), "{failure}");
        }
    }

    #[test]
    fn a_record_keeps_the_reason_of_a_denial_within_bounds() {
        let long = "\u{e9}".repeat(limits::VERDICT_MESSAGE_BYTES);
        let denied = verdict(&format!(r#"{{"success": false, "error": "{long}"}}"#)).recorded();
        let message = denied.message.unwrap();
        assert!(long.starts_with(&message) && message.len() <= limits::VERDICT_MESSAGE_BYTES);
        assert_eq!(denied.kind, VerdictKind::Deny);
        let allowed = verdict("null").recorded();
        assert_eq!((allowed.kind, allowed.message), (VerdictKind::Allow, None));
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
