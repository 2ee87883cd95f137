//! Schemas of fields and parameters that are one of some words: the words are the domain's own, so that
//! the document cannot name others.

use tollgate_core::event::EventType;
use tollgate_core::function::{Environment, ExecutionMode, Network};
use tollgate_core::subscriber::OnTimeout;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{ObjectBuilder, Required};

fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

pub(crate) fn event() -> Object {
    one_of(EventType::ALL.map(EventType::as_str))
}

pub(crate) fn phase() -> Object {
    one_of(["PRE", "POST"])
}

pub(crate) fn execution_mode() -> Object {
    one_of(ExecutionMode::ALL.map(ExecutionMode::as_str))
}

pub(crate) fn environment() -> Object {
    one_of(Environment::ALL.map(Environment::as_str))
}

pub(crate) fn network() -> Object {
    one_of(Network::ALL.map(Network::as_str))
}

pub(crate) fn on_timeout() -> Object {
    one_of(OnTimeout::ALL.map(OnTimeout::as_str))
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
