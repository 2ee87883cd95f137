//! Schemas of fields and parameters that are one of some words: the words are the domain's own, so that
//! the document cannot name others.

use serde_json::Value;
use tollgate_core::confinement::Wall;
use tollgate_core::engine::Hindrance;
use tollgate_core::events::EventType;
use tollgate_core::functions::webhook::Circuit;
use tollgate_core::functions::{Environment, ExecutionMode, Network, RequestForm};
use tollgate_core::invocations::{LOG_LEVELS, LOGGERS, Trigger, VerdictKind};
use tollgate_core::limits;
use tollgate_core::platform;
use tollgate_core::ports::store::UserOrder;
use tollgate_core::request::CredentialKind;
use tollgate_core::rights::{ActsAs, GrantScope, Permission, RoleName};
use tollgate_core::subscribers::OnTimeout;
use tollgate_core::tasks::{FailureKind, State};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, Required};

fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

/// One of the same words, or null.
fn or_null(words: Object) -> Object {
    let values = words.enum_values.into_iter().flatten();
    ObjectBuilder::new()
        .description(words.description)
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(values.chain([Value::Null])))
        .build()
}

/// With what it is for: a field's own text is not taken along with a schema of ours.
fn described(mut words: Object, text: &str) -> Object {
    words.description = Some(text.to_owned());
    words
}

/// Defines the schemas of types that have all their words.
macro_rules! words {
    ($($name:ident $or_null:ident $type:ident),+ $(,)?) => {$(
        pub(crate) fn $name() -> Object {
            one_of($type::ALL.map($type::as_str))
        }

        #[allow(dead_code, reason = "not every field may be null")]
        pub(crate) fn $or_null() -> Object {
            or_null($name())
        }
    )+};
}

words! {
    execution_mode execution_mode_or_null ExecutionMode,
    environment environment_or_null Environment,
    network network_or_null Network,
    request_form request_form_or_null RequestForm,
    on_timeout on_timeout_or_null OnTimeout,
    state state_or_null State,
    trigger trigger_or_null Trigger,
    failure_kind failure_kind_or_null FailureKind,
    permission permission_or_null Permission,
    grant_scope grant_scope_or_null GrantScope,
    acts_as acts_as_or_null ActsAs,
    role role_or_null RoleName,
    wall wall_or_null Wall,
    credential_kind credential_kind_or_null CredentialKind,
}

/// An event type: the platform's, or one that an app declares. So the names cannot all be told.
pub(crate) fn event() -> Object {
    let types: Vec<_> = platform::catalogue()
        .types()
        .map(EventType::as_str)
        .collect();
    let text = format!(
        "{}, or an event type that an app of the site has declared",
        types.join(", ")
    );
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(PRE|POST)_[A-Z0-9_]+$"))
        .max_length(Some(limits::EVENT_NAME_BYTES))
        .description(Some(text))
        .examples(types.first().copied())
        .build()
}

/// The name of a type that an app declares.
pub(crate) fn own_event() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^POST_[A-Z0-9_]+$"))
        .max_length(Some(limits::EVENT_NAME_BYTES))
        .description(Some(
            "POST_, then capitals, digits and _; unique in the site",
        ))
        .build()
}

pub(crate) fn event_or_null() -> Object {
    let mut event = event();
    event.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    event
}

pub(crate) fn phase() -> Object {
    one_of(["PRE", "POST"])
}

/// The coarser words of states.
pub(crate) fn status() -> Object {
    let mut words: Vec<_> = State::ALL.map(State::status).into();
    words.dedup();
    one_of(words)
}

/// What the filter of a list takes: both kinds of words.
pub(crate) fn status_or_state() -> Object {
    let mut words: Vec<_> = State::ALL.map(State::status).into();
    words.dedup();
    words.extend(State::ALL.map(State::as_str));
    described(one_of(words), "In this status, or in this finer state")
}

/// The event type that a list is confined to.
pub(crate) fn caused_by() -> Object {
    described(event(), "Caused by this event type")
}

/// How a run of which somebody may be told later can have failed.
pub(crate) fn dead_letter_kind() -> Object {
    let kinds = FailureKind::ALL.into_iter();
    let kinds = kinds.filter(|it| it.is_of_dead_letters());
    let words = one_of(kinds.map(FailureKind::as_str));
    described(words, "Whose last attempt failed like this")
}

pub(crate) fn dead_letter_kind_or_null() -> Object {
    or_null(dead_letter_kind())
}

pub(crate) fn verdict_kind() -> Object {
    one_of(VerdictKind::ALL.map(VerdictKind::shown))
}

pub(crate) fn circuit() -> Object {
    one_of(Circuit::WORDS)
}

pub(crate) fn hindrance_or_null() -> Object {
    or_null(one_of(Hindrance::WORDS))
}

pub(crate) fn level() -> Object {
    one_of(LOG_LEVELS)
}

pub(crate) fn logger() -> Object {
    one_of(LOGGERS)
}

/// What users are ordered by, either way.
pub(crate) fn user_ordering() -> Object {
    let back = UserOrder::ALL.map(|order| format!("-{order}"));
    let words = UserOrder::ALL.map(UserOrder::as_str);
    let words = one_of(words.into_iter().chain(back.iter().map(String::as_str)));
    described(words, "In this order; a dash before it reverses")
}

pub(crate) fn permissions() -> Array {
    Array::new(permission())
}

/// The same, or null.
pub(crate) fn permissions_or_null() -> Array {
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(permission())
        .build()
}

/// What a function returned: any JSON.
pub(crate) fn returned() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("What `main` returned: any JSON"))
        .build()
}

pub(crate) fn walls() -> Array {
    Array::new(wall())
}

pub(crate) fn success() -> Object {
    one_of(["success"])
}

pub(crate) fn error() -> Object {
    one_of(["error"])
}

pub(crate) fn ok() -> Object {
    one_of(["ok"])
}

/// The event type that a path names.
pub(crate) struct EventName;

impl IntoParams for EventName {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let name = ParameterBuilder::new()
            .name("event_name")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("Event type"))
            .schema(Some(event()))
            .build();
        vec![name]
    }
}
