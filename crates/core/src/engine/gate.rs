//! Whether a subscription runs for one event: the same answer for publishing and for explaining.
//!
//! Must never take a filter that cannot be evaluated for one that does not match.

use crate::events::{EventSpec, EventType, UserShape};
use crate::filter::{Activation, Filter};
use crate::json::JsonText;
use crate::limits;
use crate::subscribers::{Inactive, Subscription};
use crate::tasks::{Failure, FailureKind};
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
    /// `event` is none for a type that nobody registers any more.
    pub(crate) fn new(
        event: Option<&EventSpec>,
        users: UserShape,
        subscription: Subscription,
    ) -> Self {
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
                let compiled = Filter::compile(text, event, users).map_err(|it| it.to_string());
                (whose, compiled)
            })
            .collect();
        Self {
            subscription,
            conditions,
        }
    }

    /// Asks the conditions, the function's first.
    fn passage(&self, event: &Activation) -> Passage {
        for (whose, filter) in &self.conditions {
            let matches = match filter {
                Ok(filter) => filter.matches(event),
                Err(reason) => Err(reason.clone()),
            };
            match matches {
                Ok(true) => {}
                Ok(false) => return Passage::Held(*whose),
                Err(reason) => return Passage::Unclear(*whose, reason),
            }
        }
        self.let_in()
    }

    /// What it says whose conditions hold.
    const fn let_in(&self) -> Passage {
        match self.subscription.closed {
            true => Passage::Closed,
            false => Passage::Runs,
        }
    }

    /// What the record says of a run that a webhook would have to make which is gone.
    pub(crate) fn closed(&self, event: EventType) -> Failure {
        Failure::new(FailureKind::Gone, Inactive::Gone.reason(event))
    }

    /// How many steps its conditions take at most.
    fn steps(&self, event: &Activation) -> u64 {
        let filters = self
            .conditions
            .iter()
            .filter_map(|(_, it)| it.as_ref().ok());
        let steps = filters.map(|filter| filter.cost(event));
        steps.fold(0, u64::saturating_add)
    }

    /// What the record says of a condition that could not be evaluated. Why tells what stands in it, so
    /// that it is inside, and no part of what everybody reads.
    pub(crate) fn unclear(&self, whose: Condition, reason: &str) -> Failure {
        let name = &self.subscription.executable.function_name;
        let message = format!("The {whose} of function '{name}' could not be evaluated");
        Failure {
            traceback: Some(reason.to_owned()),
            ..Failure::new(FailureKind::Filter, message)
        }
    }
}

/// One event as its filters see it; its values are only made when a filter asks.
#[derive(Clone)]
pub(crate) struct Occurrence {
    pub(crate) event: EventType,
    pub(crate) params: JsonText,
    pub(crate) request: Option<JsonText>,
    pub(crate) user: Option<JsonText>,
    pub(crate) at: Timestamp,
}

impl Occurrence {
    fn activation(&self) -> Activation {
        let params = self.params.to_value();
        let request = self.request.as_ref();
        Activation::new(self.event, params, request, self.user.as_ref(), self.at)
    }

    /// Bytes that its filters look at.
    fn size(&self) -> usize {
        let beside = [&self.request, &self.user].into_iter().flatten();
        self.params.as_str().len() + beside.map(|it| it.as_str().len()).sum::<usize>()
    }
}

/// Asks subscriptions whether they run. One that may take long has a turn of its own, on a thread
/// that serves nobody else.
#[derive(Debug)]
pub(crate) struct Gate {
    turns: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(limits::FILTERS_AT_ONCE)),
        }
    }
}

impl Gate {
    /// What the conditions of each say, in their order.
    pub(crate) async fn passages(
        &self,
        subscribed: &Arc<[Subscribed]>,
        event: Occurrence,
    ) -> Vec<Passage> {
        if subscribed.iter().all(|it| it.conditions.is_empty()) {
            return subscribed.iter().map(Subscribed::let_in).collect();
        }
        if event.size() <= limits::FILTER_BYTES_INLINE {
            let activation = event.activation();
            let steps = subscribed.iter().map(|it| it.steps(&activation));
            if steps.fold(0, u64::saturating_add) <= limits::FILTER_STEPS_INLINE {
                return subscribed
                    .iter()
                    .map(|it| it.passage(&activation))
                    .collect();
            }
        }
        // It is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let all = Arc::clone(subscribed);
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let activation = event.activation();
            all.iter().map(|it| it.passage(&activation)).collect()
        });
        asked.await.unwrap_or_else(|error| {
            // A bug of the library's, or the end of the process. Nobody can tell, then.
            let unclear = |it: &Subscribed| {
                let broken =
                    |whose| Passage::Unclear(whose, format!("its evaluation broke off: {error}"));
                let condition = it.conditions.first();
                condition.map_or_else(|| it.let_in(), |(whose, _)| broken(*whose))
            };
            subscribed.iter().map(unclear).collect()
        })
    }
}
