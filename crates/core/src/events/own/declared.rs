//! A stored type with what checks its parameters, compiled when it is first asked.

use super::check::Checker;
use super::{Fault, OwnType};
use crate::events::Event;
use crate::json::JsonText;
use crate::limits;
use crate::numbers::{self, Integers};
use crate::strict_json;
use serde::de::Error as _;
use serde_json::Value;
use std::sync::OnceLock;

/// Longest parameters that are looked at on a thread that serves others.
const INLINE_BYTES: usize = 4 * 1024;

/// An event type that an app has declared, ready to check what is published.
#[derive(Debug)]
pub struct Declared {
    own: OwnType,
    checker: OnceLock<Result<Checker, Vec<Fault>>>,
}

impl Declared {
    pub(in crate::events) fn new(own: OwnType) -> Self {
        Self {
            own,
            checker: OnceLock::new(),
        }
    }

    /// What is stored of it.
    pub const fn own_type(&self) -> &OwnType {
        &self.own
    }

    /// Its sample, which was checked when it was declared.
    pub(in crate::events) fn sample_event(&self) -> Event {
        Event::written(self.own.event, self.own.sample.clone())
    }

    /// Whether [`Self::accept`] is over at once: if not, it belongs on a thread that serves nobody else.
    pub fn is_quick(&self, params: &JsonText) -> bool {
        let Some(Ok(checker)) = self.checker.get() else {
            return false;
        };
        params.as_str().len() <= INLINE_BYTES
            && checker.steps(&params.to_value()) <= limits::EVENT_CHECK_STEPS_INLINE
    }

    /// The event with these parameters, which are kept as they came.
    ///
    /// # Errors
    /// Every fault, at least one.
    pub fn accept(&self, params: JsonText) -> Result<Event, Vec<Fault>> {
        let value = checked(&params, limits::EVENT_PARAMS_BYTES)?;
        self.checker()?.check(&value)?;
        Ok(Event::written(self.own.event, params))
    }

    pub(in crate::events) fn read(&self, params: &Value) -> Result<Event, serde_json::Error> {
        self.accept(JsonText::from(params)).map_err(|faults| {
            let first = faults.into_iter().next();
            let message =
                first.map_or_else(String::new, |it| format!("{}: {}", it.path, it.message));
            serde_json::Error::custom(message)
        })
    }

    fn checker(&self) -> Result<&Checker, Vec<Fault>> {
        let compiled = self.checker.get_or_init(|| {
            if self.own.damaged.contains(&"params_schema") {
                let message = "What is stored of the type's schema is damaged; set it anew";
                return Err(vec![Fault::new("", message)]);
            }
            // It was checked when it was declared; what a schema may be can have changed since then.
            Checker::of(&self.own.params_schema.to_value()).map_err(|faults| {
                let why = faults.into_iter().next().map(|it| it.message);
                let why = why.unwrap_or_default();
                let message =
                    format!("The type's schema cannot be used any more; set it anew: {why}");
                vec![Fault::new("", message)]
            })
        });
        compiled.as_ref().map_err(Clone::clone)
    }
}

/// An object that can be kept as it came, and read without changing it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn checked(text: &JsonText, most_bytes: usize) -> Result<Value, Vec<Fault>> {
    let fault = |path: &str, message: String| vec![Fault::new(path, message)];
    let json = text.as_str();
    if json.len() > most_bytes {
        let message = format!("Use at most {} KiB of JSON", most_bytes / 1024);
        return Err(fault("", message));
    }
    if !json.starts_with('{') {
        return Err(fault("", "Use an object".to_owned()));
    }
    strict_json::check(json).map_err(|error| fault("", error.to_string()))?;
    numbers::check(json, Integers::Bits64).map_err(|inexact| {
        let message = inexact.to_string();
        fault(&inexact.path, message)
    })?;
    serde_json::from_str(json).map_err(|error| fault("", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::UserShape;
    use crate::events::{EventSpec, EventType};
    use crate::filter::Filter;
    use crate::ids::AppId;
    use crate::time::Timestamp;
    use serde_json::json;

    fn text(json: &str) -> JsonText {
        JsonText::parse(json.to_owned()).unwrap()
    }

    fn spec(schema: &Value) -> EventSpec {
        EventSpec::declared(OwnType {
            event: EventType::stored("POST_CRATE_PACKED").unwrap(),
            app: AppId(1),
            app_slug: "shop".to_owned(),
            description: "After a crate was packed.".to_owned(),
            params_schema: JsonText::from(schema),
            sample: text(r#"{"weight": 1.50, "n": 1}"#),
            total_subscribers: 0,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            damaged: Vec::new(),
        })
    }

    fn crates() -> Value {
        json!({"type": "object", "required": ["weight"], "properties": {
            "weight": {"type": "number"}, "n": {"type": "integer"},
            "to": {"$ref": "#/$defs/place"}, "open": {"$ref": "#/$defs/place", "properties": {"x": true}}},
            "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}}})
    }

    #[test]
    fn parameters_are_kept_as_they_came_and_numbers_never_changed() {
        let spec = spec(&crates());
        let declared = spec.own().unwrap();
        let came = r#"{ "weight": 1.0e2,"n":9007199254740993 }"#;
        assert!(!declared.is_quick(&text(came)), "it is not compiled yet");
        let event = declared.accept(text(came)).unwrap();
        assert_eq!(event.params().unwrap().as_str(), came.trim());
        assert!(declared.is_quick(&text(came)));
        assert_eq!(spec.sample_text().as_str(), r#"{"weight": 1.50, "n": 1}"#);
        for (wrong, path) in [
            (
                r#"{"weight": 0.1000000000000000055511151231257827021181583404541015626}"#,
                "weight",
            ),
            (r#"{"weight": 1, "n": 36893488147419103233}"#, "n"),
            (r#"{"weight": 1, "weight": 2}"#, ""),
            ("[1]", ""),
            (r#"{"n": 1}"#, ""),
        ] {
            let faults = declared.accept(text(wrong)).unwrap_err();
            assert_eq!(faults[0].path, path, "{wrong}: {faults:?}");
        }
        let large = format!(
            r#"{{"weight": 1, "x": "{}"}}"#,
            "x".repeat(limits::EVENT_PARAMS_BYTES)
        );
        let faults = declared.accept(text(&large)).unwrap_err();
        assert!(faults[0].message.contains("64 KiB"), "{faults:?}");
    }

    #[test]
    fn filters_are_checked_against_the_declared_fields() {
        let spec = spec(&crates());
        for good in [
            "event.params.weight > 2.0 && event.params.n == 1",
            "event.params.to.city == 'Rome'",
            // Other keywords may say more about it.
            "event.params.open.city == 'Rome' && event.params.open.x",
        ] {
            Filter::compile(good, Some(&spec), UserShape::default()).unwrap();
        }
        for (bad, words) in [
            ("event.params.wieght > 2.0", "no field 'wieght'"),
            ("event.params.to.town == 'Rome'", "no field 'town'"),
            ("event.params.n == 'one'", ""),
        ] {
            let error = Filter::compile(bad, Some(&spec), UserShape::default()).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn fields_that_are_named_elsewhere_are_not_refused() {
        for schema in [
            json!({"type": "object", "properties": {"a": true}, "additionalProperties": true}),
            json!({"type": "object", "properties": {"a": true}, "patternProperties": {"^b": true}}),
            json!({"type": "object", "properties": {"a": true}, "allOf": [{"properties": {"b": true}}]}),
            json!({"type": "object"}),
        ] {
            let spec = spec(&schema);
            Filter::compile("event.params.b == 1", Some(&spec), UserShape::default()).unwrap();
        }
        let closed = spec(&json!({"type": "object", "properties": {"a": true},
            "additionalProperties": false}));
        assert!(
            Filter::compile("event.params.b == 1", Some(&closed), UserShape::default()).is_err()
        );
    }

    #[test]
    fn a_damaged_schema_accepts_nothing() {
        let mut own = spec(&crates()).own().unwrap().own_type().clone();
        own.params_schema = JsonText::null();
        own.damaged = vec!["params_schema"];
        let faults = Declared::new(own)
            .accept(text(r#"{"weight": 1}"#))
            .unwrap_err();
        assert!(faults[0].message.contains("damaged"), "{faults:?}");
    }
}
