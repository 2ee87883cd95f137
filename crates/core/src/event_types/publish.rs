//! `sdk_client.events.publish`: a running function publishes a type of its own app, whoever caused the run.
//!
//! Must never be reached by a request from outside, nor publish what the type's schema does not accept.

use crate::engine::{Engine, EventService, PublishResponse};
use crate::error::Error;
use crate::events::own::Fault;
use crate::events::{EventSpec, EventType, Phase};
use crate::json::JsonText;
use crate::limits;
use crate::rights::Actor;
use crate::secrets::OwnApp;
use crate::text;
use std::sync::Arc;

/// Publishes what functions ask for.
#[derive(Clone)]
pub struct OwnEventService {
    engine: Arc<Engine>,
    events: EventService,
}

impl OwnEventService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        let events = EventService::new(Arc::clone(&engine));
        Self { engine, events }
    }

    /// Publishes an event in the name of a run. The runs that it causes are on disk when this returns; they
    /// stand at the end of the run's chain.
    ///
    /// # Errors
    /// [`Error::BadRequest`] and [`Error::Forbidden`] for a type that is not the app's own;
    /// [`Error::Validation`] for parameters that its schema does not accept; a chain that is too long or a
    /// circle; a site's queue without room.
    pub async fn publish(
        &self,
        actor: &Actor,
        own: &OwnApp,
        name: &str,
        params: JsonText,
    ) -> Result<PublishResponse, Error> {
        let spec = self.own_type(own, name).await?;
        let event = self.engine.accept(&spec, params).await?;
        let event = event.map_err(|faults| {
            let faults = faults.into_iter().map(|fault: Fault| fault.of("params"));
            Error::Validation(faults.collect())
        })?;
        let principal = self.engine.publisher(actor).await?;
        match principal.user_id() {
            Some(_) => self.events.admit(spec.event, &principal).await?,
            None => self.events.admit_stranger(spec.event, &principal).await?,
        }
        let published = self.events.publish_event(&event, &principal).await?;
        Ok(published.response)
    }

    /// The type, if it is the app's.
    async fn own_type(&self, own: &OwnApp, name: &str) -> Result<EventSpec, Error> {
        let shown = text::prefix(name, limits::EVENT_NAME_BYTES);
        if self.engine.catalogue.get(name).is_some() {
            let message =
                format!("'{shown}' is the platform's own event type: nobody else publishes it");
            return Err(Error::Forbidden(message));
        }
        if Phase::of_name(name) == Some(Phase::Pre) {
            return Err(Error::BadRequest(format!(
                "A function cannot publish '{shown}': a PRE event is published by the program that waits for its \
                 verdict; declare a type whose name begins with POST_"
            )));
        }
        let found = self.engine.find_event(own.scope(), name).await?;
        let Some(spec) = found else {
            return Err(self.unknown(own, shown).await?);
        };
        match spec.own().map(|declared| declared.own_type()) {
            Some(it) if it.app == own.app() => Ok(spec),
            owner => Err(Error::Forbidden(format!(
                "'{shown}' is an event type of app '{}'; a function publishes those of its own app only, which is \
                 '{}'",
                owner.map_or("", |it| &it.app_slug),
                own.slug()
            ))),
        }
    }

    /// What is said of a name that no type of the site has.
    async fn unknown(&self, own: &OwnApp, name: &str) -> Result<Error, Error> {
        let types = self.engine.own_types_of_app(own.scope(), own.app()).await?;
        let types: Vec<_> = types.into_iter().map(EventType::as_str).collect();
        let known = match types.is_empty() {
            true => "it has declared none".to_owned(),
            false => format!("it has declared: {}", types.join(", ")),
        };
        let app = own.slug();
        Ok(Error::BadRequest(format!(
            "App '{app}' has not declared the event type '{name}'; {known}"
        )))
    }
}
