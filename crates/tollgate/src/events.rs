//! Publishing, and waiting for what may refuse.

use crate::actor::Actor;
use crate::builder::Tollgate;
use serde_json::Value;
use tollgate_core::engine::{self, PreStage, Proposal, PublishResponse, Unsavable};
use tollgate_core::error::Error;
use tollgate_core::events::{Announcement, Event, EventSpec, LifecycleEvent};

/// What is told of an event beside its parameters. [`derive(LifecycleEvent)`](macro@crate::LifecycleEvent) writes it.
pub trait Described: LifecycleEvent {
    /// Its entry in the catalogue.
    fn spec() -> EventSpec;
}

/// Publishes events. Cloning is cheap.
#[derive(Clone)]
pub struct EventService(engine::EventService);

impl EventService {
    /// The service of an engine.
    pub fn new(tollgate: &Tollgate) -> Self {
        Self(tollgate.inner.services.events.clone())
    }

    /// Runs every function that is subscribed to the event, in the actor's name, and does not wait for any.
    ///
    /// The functions of a PRE event run at once: [`Published::wait`] waits for them, and dropping it cancels them. The runs of a POST
    /// event are on disk when this returns; where it belongs to a change, [`Tollgate::around`] writes both
    /// together.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Chain`] for an event that would cause itself for ever, and when the database
    /// cannot be used. A function that cannot be run is no error but [`PublishResponse::Error`].
    pub async fn publish_event<E: LifecycleEvent + Clone>(
        &self,
        event: E,
        actor: &Actor,
    ) -> Result<Published<E>, Error> {
        let published = Event::of(event.clone());
        let publication = self.0.publish_event(&published, &actor.0).await?;
        Ok(Published {
            event,
            response: publication.response,
            stage: publication.stage,
        })
    }
}

/// A published event.
pub struct Published<E> {
    event: E,
    response: PublishResponse,
    stage: Option<PreStage>,
}

impl<E> Published<E> {
    /// The answer: the tasks that were queued, by function.
    pub const fn response(&self) -> &PublishResponse {
        &self.response
    }
}

impl<E: Announcement> Published<E> {
    /// Waits until every function has agreed, and gives what they agreed to: the parameters, with what they
    /// changed. Only a PRE event can be waited for.
    ///
    /// # Errors
    /// [`Error::PreStage`] when one of them refused or broke; the others are cancelled then.
    pub async fn wait(self) -> Result<E, Error> {
        let Some(stage) = self.stage else {
            return Err(Error::Internal("a PRE event without a stage".to_owned()));
        };
        let agreement = stage.decide(Proposed(self.event)).await?;
        Ok(agreement.proposal.0)
    }
}

/// Parameters as the PRE stage sees them.
pub(crate) struct Proposed<E>(pub(crate) E);

impl<E: Announcement> Proposal for Proposed<E> {
    fn values(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }

    fn patched(&self, values: &Value) -> Result<Self, Unsavable> {
        let patched = E::deserialize(values)?;
        patched.check().map_err(|reason| Unsavable {
            field: None,
            reason,
        })?;
        Ok(Self(patched))
    }
}
