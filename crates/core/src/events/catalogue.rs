//! The catalogue: what each event type is, carries and lets functions change.
//!
//! The Rust types are the source; JSON Schema and sample are derived from them. Each type is registered
//! once, by the feature that publishes it; types that apps declare are no part of it and are asked for by
//! site (`Engine::event_named`). A name from outside is looked up and must never be kept.

use super::denial::{Announcement, Denial};
use super::names::NAMES;
use super::own::{Declared, OwnType};
use super::{Event, EventType, LifecycleEvent};
use crate::json::JsonText;
use crate::text;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// When what tells of a refusal is triggered.
const REFUSED: &str = "After a function refused what was announced, or failed; nothing was saved.";

/// What an event type is: one that the program publishes, or one that an app has declared. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct EventSpec {
    /// The event type.
    pub event: EventType,
    /// The fields that a PRE function may change.
    pub enrichable: &'static [&'static str],
    /// What tells of its refusal, if it can be refused.
    denied: Option<fn() -> EventSpec>,
    origin: Origin,
}

/// Where a type comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// The program publishes it.
    Program {
        description: &'static str,
        sample: fn() -> Event,
        read: fn(&Value) -> Result<Event, serde_json::Error>,
        schema: fn(SchemaGenerator) -> Schema,
    },
    /// An app has declared it.
    App(Arc<Declared>),
}

impl EventSpec {
    /// The event that carries `E`, whose functions change nothing.
    pub const fn of<E: LifecycleEvent>(description: &'static str) -> Self {
        Self {
            event: E::TYPE,
            enrichable: &[],
            denied: None,
            origin: Origin::Program {
                description,
                sample: || Event::of(E::sample()),
                read: |params| E::deserialize(params).map(Event::of),
                schema: SchemaGenerator::into_root_schema_for::<E>,
            },
        }
    }

    /// A type that an app has declared. Its functions change nothing: nobody waits for them.
    pub fn declared(own: OwnType) -> Self {
        Self {
            event: own.event,
            enrichable: &[],
            denied: None,
            origin: Origin::App(Arc::new(Declared::new(own))),
        }
    }

    /// The PRE event that carries `E`, with the POST event that tells of its refusal.
    pub fn announcing<E: Announcement>(description: &'static str) -> Self {
        Self {
            denied: Some(|| Self::of::<Denial<E>>(REFUSED)),
            ..Self::of::<E>(description)
        }
    }

    /// The event that tells of its refusal, if it can be refused.
    pub fn denied(&self) -> Option<EventType> {
        self.denied.map(|spec| spec().event)
    }

    /// The same, with fields that a PRE function may change.
    #[must_use]
    pub fn with_enrichable(self, enrichable: &'static [&'static str]) -> Self {
        Self { enrichable, ..self }
    }

    /// What stands behind a type that an app has declared; none for the program's.
    pub fn own(&self) -> Option<&Arc<Declared>> {
        match &self.origin {
            Origin::Program { .. } => None,
            Origin::App(declared) => Some(declared),
        }
    }

    /// When it is triggered, for people.
    pub fn description(&self) -> &str {
        match &self.origin {
            Origin::Program { description, .. } => description,
            Origin::App(declared) => &declared.own_type().description,
        }
    }

    /// JSON Schema (draft 2020-12) of the parameters.
    pub fn schema(&self) -> Value {
        self.schema_with(SchemaSettings::draft2020_12())
    }

    /// The same as text: an app's as it was declared.
    pub fn schema_text(&self) -> JsonText {
        match &self.origin {
            Origin::Program { .. } => JsonText::from(&self.schema()),
            Origin::App(declared) => declared.own_type().params_schema.clone(),
        }
    }

    /// The schema of a type of the program in one piece, to stand within another document.
    pub fn inline_schema(&self) -> Value {
        self.schema_with(SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        }))
    }

    fn schema_with(&self, settings: SchemaSettings) -> Value {
        match &self.origin {
            Origin::Program { schema, .. } => schema(SchemaGenerator::new(settings)).to_value(),
            Origin::App(declared) => declared.own_type().params_schema.to_value(),
        }
    }

    /// An event with made-up but valid parameters.
    pub fn sample_event(&self) -> Event {
        match &self.origin {
            Origin::Program { sample, .. } => sample(),
            Origin::App(declared) => declared.sample_event(),
        }
    }

    /// The sample's parameters.
    pub fn sample(&self) -> Value {
        // A test goes through the catalogue: none of its samples is without JSON.
        let params = self.sample_event().params();
        params.map_or(Value::Null, |params| params.to_value())
    }

    /// The same as text: an app's as it was declared.
    pub fn sample_text(&self) -> JsonText {
        let params = self.sample_event().params();
        params.unwrap_or_else(|_| JsonText::null())
    }

    /// The event with these parameters, which came from outside. Those of an app's type are checked here and
    /// now: see [`Declared::is_quick`].
    ///
    /// # Errors
    /// When they are not this event's parameters.
    pub fn read(&self, params: &Value) -> Result<Event, serde_json::Error> {
        match &self.origin {
            Origin::Program { read, .. } => read(params),
            Origin::App(declared) => declared.read(params),
        }
    }
}

/// What is known of those who act: the fields of `user` in filters. Nothing unless somebody says it.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserShape(Option<fn(SchemaGenerator) -> Schema>);

impl UserShape {
    /// Those whom `U` describes.
    pub fn of<U: JsonSchema>() -> Self {
        Self(Some(SchemaGenerator::into_root_schema_for::<U>))
    }

    pub(crate) fn schema(self) -> Option<Value> {
        let generator = || SchemaGenerator::new(SchemaSettings::draft2020_12());
        Some((self.0?)(generator()).to_value())
    }
}

/// A name that is no event type of the catalogue; its text is the API document's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid event type '{name}'. Must be one of: {}", known.join(", "))]
pub struct InvalidEventType {
    /// The name that was given.
    pub name: String,
    /// The names that are known: the program's, then the site's own.
    pub known: Vec<&'static str>,
}

/// Two features claim the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event type {0} is registered twice")]
pub struct RegisteredTwice(pub EventType);

/// All event types that this program publishes, in the order in which they were registered; those that tell of
/// refusals stand behind the others, in the same order.
#[derive(Debug, Default)]
pub struct Catalogue {
    specs: Vec<EventSpec>,
    /// How many of them tell of no refusal.
    before_denials: usize,
    users: UserShape,
    places: HashMap<&'static str, usize>,
}

impl Catalogue {
    /// Says what those who act look like: filters are checked against it.
    pub fn describe_users(&mut self, users: UserShape) {
        self.users = users;
    }

    /// What those who act look like.
    pub const fn users(&self) -> UserShape {
        self.users
    }

    /// Adds an event type, and what tells of its refusal.
    ///
    /// # Errors
    /// When its name is taken, or that of its refusal.
    pub fn register(&mut self, spec: EventSpec) -> Result<(), RegisteredTwice> {
        let denied = spec.denied.map(|denied| denied());
        for new in std::iter::once(&spec).chain(&denied) {
            if self.places.contains_key(new.event.as_str()) {
                return Err(RegisteredTwice(new.event));
            }
            NAMES.declare(new.event);
        }
        self.specs.insert(self.before_denials, spec);
        self.before_denials += 1;
        self.specs.extend(denied);
        let places = self.specs.iter().enumerate();
        self.places = places.map(|(at, it)| (it.event.as_str(), at)).collect();
        Ok(())
    }

    /// Every entry, in the order of the API's list.
    pub fn specs(&self) -> &[EventSpec] {
        &self.specs
    }

    /// Every event type, in the same order.
    pub fn types(&self) -> impl Iterator<Item = EventType> {
        self.specs.iter().map(|spec| spec.event)
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// [`InvalidEventType`], which lists the names that there are.
    pub fn find(&self, name: &str) -> Result<&EventSpec, InvalidEventType> {
        let found = self.get(name);
        found.ok_or_else(|| self.unknown(name, &[]))
    }

    /// The entry of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&EventSpec> {
        let place = self.places.get(name)?;
        self.specs.get(*place)
    }

    /// What is said of a name that neither stands here nor is one of the site's `own`.
    pub fn unknown(&self, name: &str, own: &[EventType]) -> InvalidEventType {
        let known = self.types().chain(own.iter().copied());
        InvalidEventType {
            name: text::prefix(name, 100).to_owned(),
            known: known.map(EventType::as_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    crate::event_types! { PRE_ORDER_SHIP, POST_ORDER_SHIP }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct OrderShipProposal {
        weight: u32,
    }

    impl LifecycleEvent for OrderShipProposal {
        const TYPE: EventType = PRE_ORDER_SHIP;

        fn sample() -> Self {
            Self { weight: 3 }
        }
    }

    /// What no JSON can be made of.
    #[derive(Deserialize, JsonSchema)]
    struct OrderShipped;

    impl Serialize for OrderShipped {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it has none"))
        }
    }

    impl LifecycleEvent for OrderShipped {
        const TYPE: EventType = POST_ORDER_SHIP;

        fn sample() -> Self {
            Self
        }
    }

    #[test]
    fn types_stand_in_their_order_and_each_name_once() {
        let mut catalogue = Catalogue::default();
        let pre = EventSpec::of::<OrderShipProposal>("Before an order is shipped.");
        let post = EventSpec::of::<OrderShipped>("After an order was shipped.");
        let enriched = pre.clone().with_enrichable(&["weight"]);
        catalogue.register(enriched).unwrap();
        catalogue.register(post.clone()).unwrap();
        for spec in [pre, post] {
            let event = spec.event;
            let twice = catalogue.register(spec).unwrap_err();
            assert_eq!(twice, RegisteredTwice(event));
            let told = format!("the event type {event} is registered twice");
            assert_eq!(twice.to_string(), told);
        }
        let types: Vec<_> = catalogue.types().collect();
        assert_eq!(types, [PRE_ORDER_SHIP, POST_ORDER_SHIP]);
        let found = catalogue.find("PRE_ORDER_SHIP").unwrap();
        assert_eq!(found.sample(), json!({"weight": 3}));
        assert_eq!(found.enrichable, ["weight"]);
        let read = found.read(&json!({"weight": 7})).unwrap();
        assert_eq!(read.event_type(), PRE_ORDER_SHIP);
        assert_eq!(read.params().unwrap().as_str(), r#"{"weight":7}"#);
        assert!(found.read(&json!({"weight": "7"})).is_err());
        let error = catalogue.find("PRE_ORDER_SEND").unwrap_err();
        assert_eq!(error.known, ["PRE_ORDER_SHIP", "POST_ORDER_SHIP"]);
    }

    #[test]
    fn parameters_without_json_are_an_error_when_they_are_written_and_not_before() {
        let event = Event::of(OrderShipped);
        assert_eq!(format!("{event:?}"), "Event(POST_ORDER_SHIP)");
        assert!(event.params().is_err());
    }

    #[test]
    fn what_is_registered_is_the_handle_of_what_is_read() {
        crate::event_types! { PRE_ORDER_PACK }
        let mut catalogue = Catalogue::default();
        let pack = EventSpec {
            event: PRE_ORDER_PACK,
            ..EventSpec::of::<OrderShipProposal>("Before an order is packed.")
        };
        catalogue.register(pack).unwrap();
        let read = EventType::stored("PRE_ORDER_PACK").unwrap();
        assert!(std::ptr::eq(read.as_str(), PRE_ORDER_PACK.as_str()));
    }
}
