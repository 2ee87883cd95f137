//! `EventService`: publishing an event runs every function that is subscribed to it.
//!
//! Publishing returns task ids at once; waiting for a PRE event's functions is a separate step.
//! There is no way to publish from outside the program.

use super::Engine;
use super::stage::PreStage;
use super::waited::WaitedRun;
use crate::auth::Principal;
use crate::error::Error;
use crate::event::{EventType, Phase};
use crate::ids::{FunctionId, InvocationId, TaskId};
use crate::invocation::{NewInvocation, Trigger, Waiter};
use crate::limits;
use crate::ports::dispatch::{Reservation, TaskRun};
use crate::ports::store::{NewWork, OnCommit};
use crate::registry::{self, Event};
use crate::subscriber::Subscription;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// One queued function, as the API document shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedTask {
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// The task.
    pub task_id: TaskId,
    /// Its record.
    pub invocation_id: InvocationId,
}

/// What `publish_event` answers: the API document's two shapes.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum PublishResponse {
    /// Every function was queued.
    Success {
        /// For people.
        message: &'static str,
        /// What was queued.
        data: PublishedData,
    },
    /// A function could not be queued.
    Error {
        /// Always `EXECUTION_ERROR`.
        code: &'static str,
        /// For people.
        message: &'static str,
        /// Which function.
        data: UnqueuedFunction,
    },
}

/// What was queued.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedData {
    /// The event type.
    pub event: EventType,
    /// One entry per function, in order of priority, then subscription id.
    pub task_ids: Vec<PublishedTask>,
    /// How many.
    pub total_subscribers: usize,
}

/// The function that could not be queued.
#[derive(Debug, Clone, Serialize)]
pub struct UnqueuedFunction {
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// Always `"error"`.
    pub status: &'static str,
    /// Always none.
    pub task_id: Option<TaskId>,
}

/// A published event: the answer, and for PRE events the runs to wait for.
pub struct Publication {
    /// The API document's answer.
    pub response: PublishResponse,
    /// The runs of a PRE event. Dropping them cancels them.
    pub stage: Option<PreStage>,
}

/// The POST runs of an event, ready to be written together with the change that caused it.
pub struct Prepared {
    /// The records, for the change's own transaction.
    pub invocations: Vec<NewInvocation>,
    /// What to signal once they are on disk.
    pub on_commit: OnCommit,
    tasks: Vec<PublishedTask>,
}

/// Publishes events.
#[derive(Clone)]
pub struct EventService {
    engine: Arc<Engine>,
}

impl EventService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Runs every function that is subscribed to the event, in `principal`'s name.
    ///
    /// For a PRE event the runs start at once and [`Publication::stage`] waits for them. For a
    /// POST event the runs are on disk when this returns; use [`Self::prepare`] instead where the
    /// event belongs to a change, so that both are written together.
    ///
    /// # Errors
    /// When the store fails, or the chain of events is too deep. A function that cannot be queued
    /// is not an error but [`PublishResponse::Error`].
    pub async fn publish_event(
        &self,
        event: &Event,
        principal: &Principal,
    ) -> Result<Publication, Error> {
        match event.event_type().phase() {
            Phase::Pre => self.publish_pre(event, principal).await,
            Phase::Post => {
                let prepared = self.prepare(event, principal).await?;
                let response = success(event.event_type(), prepared.tasks);
                if !prepared.invocations.is_empty() {
                    let work = NewWork {
                        invocations: prepared.invocations,
                        on_commit: prepared.on_commit,
                        remember: None,
                    };
                    self.engine
                        .scoped(principal.scope())
                        .insert_invocations(work)
                        .await?;
                }
                Ok(Publication {
                    response,
                    stage: None,
                })
            }
        }
    }

    async fn publish_pre(
        &self,
        event: &Event,
        principal: &Principal,
    ) -> Result<Publication, Error> {
        let engine = &self.engine;
        let event_type = event.event_type();
        let store = engine.scoped(principal.scope());
        let deadline = engine.clock.monotonic() + engine.settings.pre_budget;
        let runs = self.runs(event, principal, Waiter::Caller).await?;
        let mut started = Vec::with_capacity(runs.len());
        for (subscription, mut run) in runs {
            run.deadline = Some(deadline);
            let waited = WaitedRun::start(engine, &store, run);
            let refused = waited.refused().is_some();
            started.push((subscription, waited));
            if refused {
                break;
            }
        }
        let response = match started.last() {
            Some((subscription, run)) if run.refused().is_some() => unqueued(subscription),
            _ => success(
                event_type,
                started
                    .iter()
                    .map(|(of, run)| published(of, run.invocation()))
                    .collect(),
            ),
        };
        let stage = PreStage::new(
            registry::spec(event_type),
            Arc::clone(engine),
            store,
            started,
        );
        Ok(Publication {
            response,
            stage: Some(stage),
        })
    }

    /// Makes the POST runs of an event, to be written with the change that causes it.
    ///
    /// # Errors
    /// As [`Self::publish_event`].
    pub async fn prepare(&self, event: &Event, principal: &Principal) -> Result<Prepared, Error> {
        let runs = self.runs(event, principal, Waiter::Nobody).await?;
        if runs.is_empty() {
            return Ok(Prepared {
                invocations: Vec::new(),
                on_commit: Box::new(|| {}),
                tasks: Vec::new(),
            });
        }
        let tasks = runs
            .iter()
            .map(|(of, run)| published(of, &run.invocation))
            .collect();
        let dispatcher = Arc::clone(&self.engine.dispatcher);
        let reservation = dispatcher.reserve(runs.len());
        let granted = reservation.granted();
        let mut held: Vec<TaskRun> = runs.into_iter().map(|(_, run)| run).collect();
        for run in held.iter_mut().take(granted) {
            run.invocation.holder = Some(dispatcher.holder().to_owned());
        }
        let invocations: Vec<_> = held.iter().map(|run| run.invocation.clone()).collect();
        held.truncate(granted);
        let some_left = granted < invocations.len();
        let on_commit = Box::new(move || {
            Reservation::submit(reservation, held);
            if some_left {
                dispatcher.wake();
            }
        });
        Ok(Prepared {
            invocations,
            on_commit,
            tasks,
        })
    }

    /// One run per subscription.
    async fn runs(
        &self,
        event: &Event,
        principal: &Principal,
        waiter: Waiter,
    ) -> Result<Vec<(Subscription, TaskRun)>, Error> {
        let engine = &self.engine;
        let event_type = event.event_type();
        let subscriptions = engine.subscriptions(principal.scope(), event_type).await?;
        if subscriptions.is_empty() {
            return Ok(Vec::new());
        }
        refuse_deep_chain(event_type, principal)?;
        let queued_at = engine.clock.now();
        let event_id = engine.entropy.event_id(queued_at);
        let params = event.params();
        let acting = engine.acting(principal);
        let queue = engine.queue();
        let mut runs = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions.iter() {
            let executable = Arc::clone(&subscription.executable);
            let id = InvocationId(engine.invocation_ids.next(&*queue).await?);
            let invocation = NewInvocation {
                site_id: executable.site_id,
                id,
                task_id: engine.entropy.task_id(queued_at),
                function_id: executable.function_id,
                version_id: executable.version_id,
                version: executable.version,
                event: Some(event_type),
                event_id: Some(event_id),
                trigger: Trigger::Event,
                waiter,
                user_id: Some(principal.user_id()),
                chain_depth: principal.chain_depth(),
                params: params.clone(),
                max_attempts: attempts(subscription, waiter),
                timeout: timeout(subscription),
                holder: match waiter {
                    Waiter::Caller => Some(engine.dispatcher.holder().to_owned()),
                    Waiter::Nobody => None,
                },
                queued_at,
            };
            let acting = acting.clone();
            let run = TaskRun {
                invocation,
                attempt: 1,
                executable,
                acting,
                deadline: None,
            };
            runs.push((subscription.clone(), run));
        }
        Ok(runs)
    }
}

/// A caller is told of the first failure; only what nobody waits for is tried again.
fn attempts(subscription: &Subscription, waiter: Waiter) -> u32 {
    match waiter {
        Waiter::Caller => 1,
        Waiter::Nobody => subscription
            .options
            .max_attempts
            .unwrap_or_else(|| subscription.executable.max_attempts()),
    }
}

fn timeout(subscription: &Subscription) -> Duration {
    let own = subscription.executable.timeout();
    let asked = subscription.options.timeout_seconds;
    asked
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(own, |it| it.min(own))
}

fn refuse_deep_chain(event: EventType, principal: &Principal) -> Result<(), Error> {
    if principal.chain_depth() < limits::CHAIN_DEPTH {
        return Ok(());
    }
    Err(Error::Chain(format!(
        "{event} was caused by a chain of {} functions, which is the limit: a function that \
         causes the event it is subscribed to would run for ever",
        limits::CHAIN_DEPTH
    )))
}

fn published(subscription: &Subscription, invocation: &NewInvocation) -> PublishedTask {
    PublishedTask {
        function_id: invocation.function_id,
        function_name: subscription.executable.function_name.clone(),
        task_id: invocation.task_id,
        invocation_id: invocation.id,
    }
}

fn success(event: EventType, task_ids: Vec<PublishedTask>) -> PublishResponse {
    let total_subscribers = task_ids.len();
    PublishResponse::Success {
        message: "Event published successfully",
        data: PublishedData {
            event,
            task_ids,
            total_subscribers,
        },
    }
}

fn unqueued(subscription: &Subscription) -> PublishResponse {
    PublishResponse::Error {
        code: "EXECUTION_ERROR",
        message: "Function execution failed",
        data: UnqueuedFunction {
            function_id: subscription.executable.function_id,
            function_name: subscription.executable.function_name.clone(),
            status: "error",
            task_id: None,
        },
    }
}
