//! What a filter sees, as CEL values.

use super::cost::Given;
use crate::events::EventType;
use crate::json::JsonText;
use crate::limits;
use crate::time::Timestamp;
use cel::objects::Key;
use cel::{Context, Value};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// The names of one publication, made once for all its filters; none when its values are more than
/// a filter may look at.
pub struct Activation(Option<(Context<'static, 'static>, Given)>);

impl Activation {
    /// For an event of this type with these parameters, caused by `request` of `user` at `now`.
    pub fn new(
        event: EventType,
        params: Json,
        request: Option<&JsonText>,
        user: Option<&JsonText>,
        now: Timestamp,
    ) -> Self {
        let mut size = Size::default();
        if !size.fits(&params) {
            return Self(None);
        }
        let mut context = Context::with_env(Arc::clone(&super::LANGUAGE));
        let given = Given {
            params,
            request: request.map_or(Json::Null, JsonText::to_value),
            user: user.map_or(Json::Null, JsonText::to_value),
        };
        let params = of_json(&given.params);
        let mut fields = HashMap::from([(key("type"), Value::from(event.as_str()))]);
        if let Value::Map(known) = &params
            && let Some(previous) = known.map.get(&key("previous"))
        {
            fields.insert(key("previous"), previous.clone());
        }
        fields.insert(key("params"), params);
        fields.insert(key("request"), of_json(&given.request));
        context.add_variable_from_value("event", map(fields));
        context.add_variable_from_value("user", of_json(&given.user));
        context.add_variable_from_value("time", moment(now));
        Self(Some((context, given)))
    }

    pub(super) fn context(&self) -> Result<(&Context<'static, 'static>, &Given), String> {
        let known = self.0.as_ref().map(|(context, given)| (context, given));
        known.ok_or_else(|| {
            format!(
                "the event holds more than {} values or {} KiB of text",
                limits::FILTER_VALUES,
                limits::FILTER_TEXT_BYTES / 1024
            )
        })
    }
}

/// What a value holds.
#[derive(Default)]
struct Size {
    values: usize,
    text_bytes: usize,
}

impl Size {
    /// Adds a value up; false once there is too much.
    fn fits(&mut self, json: &Json) -> bool {
        self.values += 1;
        let within = match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => true,
            Json::String(text) => {
                self.text_bytes += text.len();
                true
            }
            Json::Array(items) => items.iter().all(|item| self.fits(item)),
            Json::Object(fields) => fields.iter().all(|(name, value)| {
                self.text_bytes += name.len();
                self.fits(value)
            }),
        };
        within
            && self.values <= limits::FILTER_VALUES
            && self.text_bytes <= limits::FILTER_TEXT_BYTES
    }
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn map(fields: HashMap<Key, Value>) -> Value {
    Value::Map(cel::objects::Map {
        map: Arc::new(fields),
    })
}

fn moment(at: Timestamp) -> Value {
    chrono::DateTime::from_timestamp_micros(at.as_micros())
        .map_or(Value::Null, |at| Value::Timestamp(at.fixed_offset()))
}

/// JSON as CEL: whole numbers are `int`, where they fit.
fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(of_json).collect::<Vec<_>>()),
        Json::Object(fields) => map(fields
            .iter()
            .map(|(name, value)| (key(name), of_json(value)))
            .collect()),
    }
}
