//! Explaining: which subscriptions an event would run, in which order, and why each other one would
//! not. The same conditions as for publishing, and nothing runs.

use super::publish::written;
use super::{Condition, Engine, Occurrence, Passage};
use crate::error::Error;
use crate::events::{Event, EventType};
use crate::invocations::Link;
use crate::request::RequestInfo;
use crate::rights::Principal;
use crate::subscribers::{Inactive, Subscriber};
use std::collections::HashMap;

/// Why a subscription would not run.
#[derive(Debug, Clone, PartialEq)]
pub enum Hindrance {
    /// Its function is switched off.
    Inactive,
    /// It is switched off itself, for this reason.
    Off(Inactive, EventType),
    /// A condition does not hold or cannot be evaluated, which is not for whoever asks to know in full.
    Hidden,
    /// This condition does not hold.
    Condition(Condition),
    /// This condition cannot be evaluated, for this reason. PRE refuses the operation then.
    Unclear(Condition, String),
    /// Its webhook is gone. PRE refuses the operation then.
    Closed(EventType),
    /// It would run for ever, or the chain is too deep, for this reason. The operation is refused.
    Chain(String),
}

impl Hindrance {
    /// All words.
    pub const WORDS: [&str; 7] = [
        "inactive",
        "subscription_inactive",
        "filter",
        "filter_conditions",
        "filter_failed",
        "gone",
        "chain",
    ];

    /// The word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Off(..) => "subscription_inactive",
            Self::Condition(Condition::Subscription) | Self::Hidden => "filter",
            Self::Condition(Condition::Function) => "filter_conditions",
            Self::Unclear(..) => "filter_failed",
            Self::Closed(_) => "gone",
            Self::Chain(_) => "chain",
        }
    }
}

impl std::fmt::Display for Hindrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inactive => f.write_str("The function is not active; set is_active to run it"),
            Self::Off(why, event) => write!(
                f,
                "The subscription is not active: {}; set its is_active to run it",
                why.reason(*event)
            ),
            Self::Hidden => f.write_str(
                "Its conditions do not hold for the event's sample, or could not be evaluated; whoever \
                 may subscribe the function is told more",
            ),
            Self::Closed(event) => f.write_str(Inactive::Gone.reason(*event)),
            Self::Condition(whose) => write!(f, "Its {whose} does not hold for these values"),
            Self::Unclear(whose, reason) => {
                write!(f, "Its {whose} could not be evaluated: {reason}")
            }
            Self::Chain(reason) => f.write_str(reason),
        }
    }
}

/// One subscription and what would become of it.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The subscription.
    pub subscriber: Subscriber,
    /// The version that would run, unless the function is switched off.
    pub version: Option<u32>,
    /// Why it would not run; none means that it would.
    pub hindrance: Option<Hindrance>,
}

impl Engine {
    /// Explains an event that `principal` would cause, at the end of its chain: first what would run, in order of priority,
    /// then subscription id; then the rest in the same order.
    pub(crate) async fn explain(
        &self,
        event: &Event,
        principal: &Principal,
    ) -> Result<Vec<Explained>, Error> {
        let event_type = event.event_type();
        let subscribed = self.subscriptions(principal.scope(), event_type).await?;
        let params = written(event)?;
        let user = principal.data();
        let now = self.clock.now();
        let occurrence = Occurrence {
            event: event_type,
            params: params.clone(),
            request: principal.request().and_then(RequestInfo::written),
            user,
            at: now,
        };
        let passages = self.gate.passages(&subscribed, occurrence).await;
        let mut known: HashMap<_, _> = subscribed
            .iter()
            .zip(passages)
            .map(|(it, passage)| {
                let executable = &it.subscription.executable;
                let link = Link(executable.function_id, Some(event_type));
                let hindrance = match passage {
                    Passage::Runs => principal
                        .chain()
                        .refusal(link, &executable.function_name)
                        .map(Hindrance::Chain),
                    Passage::Held(whose) => Some(Hindrance::Condition(whose)),
                    Passage::Unclear(whose, reason) => Some(Hindrance::Unclear(whose, reason)),
                    Passage::Closed => Some(Hindrance::Closed(event_type)),
                };
                let version = it.subscription.executable.version;
                (it.subscription.id, (version, hindrance))
            })
            .collect();
        let store = self.scoped(principal.scope());
        let mut explained: Vec<_> = store
            .list_subscribers(event_type, None)
            .await?
            .into_iter()
            .map(|subscriber| {
                // What publishing does not know is not active.
                let off = subscriber
                    .inactive
                    .map_or(Hindrance::Inactive, |why| Hindrance::Off(why, event_type));
                let (version, hindrance) = known
                    .remove(&subscriber.id)
                    .map_or((None, Some(off)), |(version, why)| (Some(version), why));
                Explained {
                    subscriber,
                    version,
                    hindrance,
                }
            })
            .collect();
        in_order(&mut explained);
        Ok(explained)
    }
}

/// First what would run, in order of priority, then subscription id; then the rest in the same order.
pub(crate) fn in_order(explained: &mut [Explained]) {
    explained.sort_by_key(|it| {
        let options = &it.subscriber.options;
        (it.hindrance.is_some(), options.priority, it.subscriber.id)
    });
}
