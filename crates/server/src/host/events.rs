//! `sdk_client.events`: a function publishes event types of its own app, whoever caused the run. There is no
//! route that does, so this does not go through the routes.

use super::{object, refused};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_core::engine::PublishResponse;
use tollgate_core::error::Error;
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{HostError, HostErrorKind};
use tollgate_core::rights::Actor;
use tollgate_core::secrets::OwnApp;
use tollgate_core::services::Services;

/// What is published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    name: Option<Box<RawValue>>,
    params: Option<Box<RawValue>>,
}

/// Answers `events.publish`.
pub(super) async fn answer(
    services: &Services,
    (actor, own): (&Actor, &OwnApp),
    method: &str,
    args: &RawValue,
) -> Result<PublishResponse, HostError> {
    match method {
        "events.publish" => publish(services, actor, own, object(args)?).await,
        other => Err(HostError::no_such_method(other)),
    }
}

async fn publish(
    services: &Services,
    actor: &Actor,
    own: &OwnApp,
    asked: Publish,
) -> Result<PublishResponse, HostError> {
    let name = asked.name.as_deref().map(RawValue::get);
    let name = name.ok_or_else(|| HostError::bad_request("name is required"))?;
    let name: String =
        serde_json::from_str(name).map_err(|_| HostError::bad_request("name must be text"))?;
    let params = asked.params.map(JsonText::from);
    let params = params.unwrap_or_else(|| JsonText::from(&serde_json::json!({})));
    let published = services.own_events.publish(actor, own, &name, params).await;
    published.map_err(|error| match error {
        Error::Validation(faults) => {
            let all = faults
                .iter()
                .map(|fault| format!("{}: {}", fault.field, fault.message));
            let all: Vec<_> = all.collect();
            HostError::new(HostErrorKind::Invalid, all.join("; "))
        }
        other => refused(other),
    })
}
