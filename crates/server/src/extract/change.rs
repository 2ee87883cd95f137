//! Bodies of PUT and PATCH. What a GET showed can be sent back: values that nobody can change are let
//! pass as long as they are what they were.

use super::conditions::Conditions;
use super::json::{self, Meaning};
use crate::error::ApiError;
use crate::reading::{self, Besides};
use crate::state::AppState;
use axum::extract::{FromRequest, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_core::draft::Draft;
use tollgate_core::time::Timestamp;
use tollgate_core::validation::FieldError;

/// New values for something that can be shown.
pub(crate) trait Updates: DeserializeOwned {
    /// What is shown of it besides, and cannot be changed.
    const READ_ONLY: &'static [&'static str];
}

/// New values, and what must hold for them to be written.
pub(crate) struct Change<T> {
    /// The new values.
    pub(crate) body: Draft<T>,
    /// Objects are merged into what was there, and `null` removes (RFC 7396).
    pub(crate) merges: bool,
    /// What they are for.
    pub(crate) target: Target,
}

/// What the sender of a change takes for granted.
pub(crate) struct Target {
    besides: Besides,
    conditions: Conditions,
}

impl<T: Updates> FromRequest<AppState> for Change<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        let conditions = Conditions::of(request.headers())?;
        let (sent, meaning) = json::body(request, app).await?;
        let read = reading::object(json::checked(&sent.bytes)?, T::READ_ONLY);
        let (body, besides) = read.map_err(ApiError::faults)?;
        Ok(Self {
            body,
            merges: meaning == Meaning::MergePatch,
            target: Target {
                besides,
                conditions,
            },
        })
    }
}

impl Target {
    /// Whether what stands there must be looked at first.
    pub(crate) fn is_particular(&self) -> bool {
        !self.besides.is_empty() || self.conditions.must_match()
    }

    /// Whether the write must find what was looked at.
    pub(crate) fn must_match(&self) -> bool {
        self.conditions.must_match()
    }

    /// Looks at what stands there: adds values that differ and cannot be changed to what is wrong.
    ///
    /// # Errors
    /// 412.
    pub(crate) fn check<V: Serialize, T>(
        &self,
        view: &V,
        body: &mut Draft<T>,
    ) -> Result<(), ApiError> {
        self.check_both(view, view, body)
    }

    /// The same where the tag is made of less than what is shown.
    ///
    /// # Errors
    /// 412.
    pub(crate) fn check_both<V: Serialize, T>(
        &self,
        tagged: &V,
        view: &V,
        body: &mut Draft<T>,
    ) -> Result<(), ApiError> {
        self.conditions.check(tagged)?;
        let view = serde_json::to_value(view)
            .map_err(|error| ApiError::internal(format!("a view: {error}")))?;
        let differs = |(name, given): (&String, &Value)| {
            let current = view.get(name).unwrap_or(&Value::Null);
            let is_state = name == "webhook_state" && view["execution_mode"] == "proxy";
            let same = same(given, current)
                || was(name, given, current)
                // How a webhook does changes by itself.
                || (is_state && given.is_object());
            let message = "This field cannot be changed; leave it out, or send it as it is";
            (!same).then(|| FieldError::new(name.clone(), message))
        };
        self.besides
            .iter()
            .filter_map(differs)
            .for_each(|fault| body.fault(fault));
        Ok(())
    }

    /// The answer to a write that did not happen.
    pub(crate) fn refused(&self, error: tollgate_core::error::Error) -> ApiError {
        self.conditions.refused(error)
    }
}

/// Whether a value is one that was shown before: what the server itself moves on must not stand in the
/// way of a change that is sent a second time.
fn was(name: &str, given: &Value, current: &Value) -> bool {
    let moment = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    match name {
        "last_login" if given.is_null() => true,
        "last_login" | "updated_at" => moment(given)
            .zip(moment(current))
            .is_some_and(|(given, current)| given <= current),
        "version" => given
            .as_u64()
            .zip(current.as_u64())
            .is_some_and(|(given, current)| (1..=current).contains(&given)),
        // One goes up and down, the other says how many files the bundle has, which is compared by itself.
        "total_subscribers" | "files" => given.is_u64(),
        _ => false,
    }
}

/// Whether two values are the same, however they are spelled.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::String(one), Value::String(other)) => {
            let moment = |text: &str| text.parse::<Timestamp>().ok();
            one == other || moment(one).is_some_and(|it| moment(other) == Some(it))
        }
        _ => one == other,
    }
}
