//! Whether a subscription runs for one event: the same answer for publishing and for explaining.
//!
//! Must never take a filter that cannot be evaluated for one that does not match.

use crate::event::EventType;
use crate::filter::{Activation, Filter};
use crate::invocation::{Failure, FailureKind};
use crate::json::JsonText;
use crate::subscriber::{Inactive, Subscription};
use crate::time::Timestamp;
use std::fmt;
use std::sync::OnceLock;

/// Whose condition it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The subscription's `filter`.
    Subscription,
    /// The function's `filter_conditions`.
    Function,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscription => "filter",
            Self::Function => "filter_conditions",
        })
    }
}

/// A subscription with its conditions compiled, as kept in memory.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub(crate) subscription: Subscription,
    conditions: Vec<(Condition, Result<Filter, String>)>,
}

/// What the conditions say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Passage {
    Runs,
    /// This condition does not hold.
    Held(Condition),
    /// This condition cannot be evaluated, for this reason.
    Unclear(Condition, String),
    /// Its webhook is gone, so that nobody can agree.
    Closed,
}

impl Subscribed {
    pub(crate) fn new(event: EventType, subscription: Subscription) -> Self {
        let own = subscription.options.filter.as_deref();
        let functions = subscription.executable.options.filter_conditions.as_deref();
        let conditions = [
            (Condition::Function, functions),
            (Condition::Subscription, own),
        ];
        let conditions = conditions
            .into_iter()
            .filter_map(|(whose, text)| Some((whose, text?)))
            .map(|(whose, text)| {
                // It was checked when it was set; an event may have changed since then.
                let compiled = Filter::compile(text, Some(event)).map_err(|it| it.to_string());
                (whose, compiled)
            })
            .collect();
        Self {
            subscription,
            conditions,
        }
    }

    /// Asks the conditions, the function's first.
    pub(crate) fn passage(&self, event: &Occurrence<'_>) -> Passage {
        for (whose, filter) in &self.conditions {
            let matches = match filter {
                Ok(filter) => filter.matches(event.activation()),
                Err(reason) => Err(reason.clone()),
            };
            match matches {
                Ok(true) => {}
                Ok(false) => return Passage::Held(*whose),
                Err(reason) => return Passage::Unclear(*whose, reason),
            }
        }
        match self.subscription.closed {
            true => Passage::Closed,
            false => Passage::Runs,
        }
    }

    /// What the record says of a run that a webhook would have to make which is gone.
    pub(crate) fn closed(&self, event: EventType) -> Failure {
        Failure::new(FailureKind::Gone, Inactive::Gone.reason(event))
    }

    /// What the record says of a condition that could not be evaluated.
    pub(crate) fn unclear(&self, whose: Condition, reason: &str) -> Failure {
        let name = &self.subscription.executable.function_name;
        let message = format!("The {whose} of function '{name}' could not be evaluated: {reason}");
        Failure::new(FailureKind::Filter, message)
    }
}

/// One event as its filters see it; its values are only made when a filter asks.
pub(crate) struct Occurrence<'a> {
    pub(crate) event: EventType,
    pub(crate) params: &'a JsonText,
    pub(crate) user: Option<&'a JsonText>,
    pub(crate) at: Timestamp,
    activation: OnceLock<Activation>,
}

impl<'a> Occurrence<'a> {
    pub(crate) fn new(
        event: EventType,
        params: &'a JsonText,
        user: Option<&'a JsonText>,
        at: Timestamp,
    ) -> Self {
        Self {
            event,
            params,
            user,
            at,
            activation: OnceLock::new(),
        }
    }

    fn activation(&self) -> &Activation {
        self.activation.get_or_init(|| {
            Activation::new(self.event, &self.params.to_value(), self.user, self.at)
        })
    }
}
