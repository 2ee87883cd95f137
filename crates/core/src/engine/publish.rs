//! `EventService`: publishing an event runs every function that is subscribed to it.
//!
//! Publishing returns task ids at once; waiting for a PRE event's functions is a separate step.
//! There is no way to publish from outside the program.

use super::completion::whole;
use super::response::{PublishResponse, PublishedTask, published, success, unqueued};
use super::stage::PreStage;
use super::waited::WaitedRun;
use super::{Cause, Engine, Occurrence, Passage, Queuer, Subscribed};
use crate::error::Error;
use crate::events::{Catalogue, Event, EventSpec, EventType, Phase};
use crate::failpoint::{self, Point};
use crate::invocations::{Completion, Link, NewInvocation, Trigger};
use crate::json::JsonText;
use crate::ports::bus::News;
use crate::ports::dispatch::{FinishedRun, Reservation, TaskRun};
use crate::ports::runtime::RunReport;
use crate::ports::store::{OnCommit, Work};
use crate::request::RequestInfo;
use crate::rights::Principal;
use crate::subscribers::Subscription;
use crate::supervise::Supervisor;
use crate::tasks::{Failure, Waiter};
use std::sync::Arc;

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
    /// The records of those that must not begin; for the same transaction.
    pub completions: Vec<Completion>,
    /// What to signal once they are on disk.
    pub on_commit: OnCommit,
    tasks: Vec<PublishedTask>,
}

/// One subscription that an event concerns.
struct Member {
    subscription: Subscription,
    run: TaskRun,
    /// It must not run, and counts as failed so: nobody can tell whether it has to run, or its webhook
    /// is gone.
    barred: Option<Failure>,
}

/// Publishes events.
#[derive(Clone)]
pub struct EventService {
    pub(super) engine: Arc<Engine>,
}

impl EventService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Owns what is carried to its end.
    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.engine.supervisor
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
                let is_any = !prepared.tasks.is_empty();
                let response = success(event.event_type(), prepared.tasks);
                if is_any {
                    let work = Work {
                        births: prepared.invocations,
                        ends: prepared.completions,
                        on_commit: prepared.on_commit,
                        ..Work::default()
                    };
                    self.engine.scoped(principal.scope()).commit(work).await?;
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
        failpoint::hit(Point::PreBefore);
        let engine = &self.engine;
        let event_type = event.event_type();
        let spec = self.spec(event_type, principal).await?;
        let store = engine.scoped(principal.scope());
        let deadline = engine.clock.monotonic() + engine.settings.pre_budget;
        let members = self.members(event, principal, Waiter::Caller).await?;
        if let Some(denied) = spec.denied().filter(|_| !members.is_empty()) {
            self.admit(denied, principal).await?;
        }
        let mut started = Vec::with_capacity(members.len());
        for Member {
            subscription,
            mut run,
            barred,
        } in members
        {
            run.deadline = Some(deadline);
            let waited = match barred {
                Some(failure) => WaitedRun::broken(engine, &store, run, failure),
                None => WaitedRun::start(engine, &store, run),
            };
            let refused = waited.refused().is_some();
            started.push((subscription, waited));
            if refused {
                break;
            }
        }
        failpoint::hit(Point::PreStarted);
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
        let stage = PreStage::new(spec, self.clone(), store, principal.clone(), started);
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
        self.spec(event.event_type(), principal).await?;
        let members = self.members(event, principal, Waiter::Nobody).await?;
        if members.is_empty() {
            return Ok(Prepared {
                invocations: Vec::new(),
                completions: Vec::new(),
                on_commit: Box::new(|| {}),
                tasks: Vec::new(),
            });
        }
        let tasks = members
            .iter()
            .map(|member| published(&member.subscription, &member.run.invocation))
            .collect();
        let (mut held, mut completions) = (Vec::new(), Vec::new());
        for member in members {
            match member.barred {
                None => held.push(member.run),
                Some(failure) => completions.push(self.never_ran(member.run, failure)),
            }
        }
        let dispatcher = Arc::clone(&self.engine.dispatcher);
        let functions: Vec<_> = held.iter().map(|run| run.invocation.function_id).collect();
        let reservation = dispatcher.reserve(principal.scope().site_id(), &functions);
        for (number, run) in held.iter_mut().enumerate() {
            if reservation.granted(number) {
                run.invocation.holder = Some(Arc::clone(&run.taken.hold.holder));
            }
        }
        let invocations: Vec<_> = held.iter().map(|run| run.invocation.clone()).collect();
        held.retain(|run| run.invocation.holder.is_some());
        let some_left = held.len() < invocations.len();
        let bus = Arc::clone(&self.engine.bus);
        let on_commit = Box::new(move || {
            Reservation::submit(reservation, held);
            if some_left {
                bus.tell(&News::WorkWaits);
            }
        });
        Ok(Prepared {
            invocations,
            completions,
            on_commit,
            tasks,
        })
    }

    /// What stands behind an event that is published.
    async fn spec(&self, event: EventType, principal: &Principal) -> Result<EventSpec, Error> {
        let scope = principal.scope();
        let found = self.engine.find_event(scope, event.as_str()).await?;
        found.ok_or_else(|| Error::Internal(format!("{event} is published and not registered")))
    }

    /// The type with this name in the caller's site: one of the program's, or one that an app declares.
    ///
    /// # Errors
    /// [`Error::InvalidEventType`], which lists the names that there are.
    pub async fn named(&self, principal: &Principal, name: &str) -> Result<EventSpec, Error> {
        self.engine.event_named(principal.scope(), name).await
    }

    /// Every type of the caller's site: the program's in their order, then the site's own by app slug, then
    /// name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn types(&self, principal: &Principal) -> Result<Vec<EventType>, Error> {
        self.engine.event_types(principal.scope()).await
    }

    /// The event types that the program publishes.
    pub fn catalogue(&self) -> &Catalogue {
        &self.engine.catalogue
    }

    /// The record of a run that must not begin.
    fn never_ran(&self, run: TaskRun, failure: Failure) -> Completion {
        let now = self.engine.clock.now();
        let finished = FinishedRun {
            report: RunReport::failed(failure),
            started_at: now,
            finished_at: now,
        };
        whole(&Arc::new(run.invocation), &run.taken, finished)
    }

    /// Whether anything runs when this event is published, as far as no condition is asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_subscribed(
        &self,
        event: EventType,
        principal: &Principal,
    ) -> Result<bool, Error> {
        let subscriptions = self.engine.subscriptions(principal.scope(), event).await?;
        Ok(!subscriptions.is_empty())
    }

    /// Refuses an operation whose POST runs the site's queue has no place for. To be asked before
    /// the operation begins: after it the runs are written in any case.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub async fn admit(&self, event: EventType, principal: &Principal) -> Result<(), Error> {
        self.admit_from(Queuer::Event, event, principal).await
    }

    /// The same for what nobody who is signed in causes: it may fill a part of the queue only.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(crate) async fn admit_stranger(
        &self,
        event: EventType,
        principal: &Principal,
    ) -> Result<(), Error> {
        self.admit_from(Queuer::Stranger, event, principal).await
    }

    async fn admit_from(
        &self,
        queuer: Queuer,
        event: EventType,
        principal: &Principal,
    ) -> Result<(), Error> {
        let engine = &self.engine;
        let runs = engine.subscriptions(principal.scope(), event).await?.len();
        match u64::try_from(runs).unwrap_or(u64::MAX) {
            0 => Ok(()),
            count => {
                let site = principal.scope().site_id();
                engine.admit(site, queuer, count).await
            }
        }
    }

    /// The same for what would tell of a refusal of `pre`, if anybody is asked: for an operation that asks
    /// others first.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(crate) async fn admit_denied(
        &self,
        pre: EventType,
        principal: &Principal,
    ) -> Result<(), Error> {
        match self.spec(pre, principal).await?.denied() {
            Some(denied) if self.is_subscribed(pre, principal).await? => {
                self.admit(denied, principal).await
            }
            _ => Ok(()),
        }
    }

    /// Whether the event tells of a refusal.
    fn tells_of_a_refusal(&self, event: EventType) -> bool {
        let specs = self.engine.catalogue.specs().iter();
        specs
            .filter_map(EventSpec::denied)
            .any(|denied| denied == event)
    }

    /// One member per subscription whose conditions hold, or cannot be evaluated.
    async fn members(
        &self,
        event: &Event,
        principal: &Principal,
        waiter: Waiter,
    ) -> Result<Vec<Member>, Error> {
        let engine = &self.engine;
        let event_type = event.event_type();
        let subscriptions = engine.subscriptions(principal.scope(), event_type).await?;
        if subscriptions.is_empty() {
            // Nobody reads the parameters: they are not even written.
            return Ok(Vec::new());
        }
        let params = written(event)?;
        let user_data = principal.data();
        let request = principal.request().and_then(RequestInfo::written);
        let at = engine.clock.now();
        let occurrence = Occurrence {
            event: event_type,
            params: params.clone(),
            request: request.clone(),
            user: user_data.clone(),
            at,
        };
        let passages = engine.gate.passages(&subscriptions, occurrence).await;
        let chosen = chosen(event_type, &subscriptions, passages);
        let event_id = engine.entropy.event_id(at);
        let mut members = Vec::with_capacity(chosen.len());
        for (subscription, barred) in chosen {
            let executable = Arc::clone(&subscription.executable);
            let link = Link(executable.function_id, Some(event_type));
            if let Some(reason) = principal.chain().refusal(link, &executable.function_name) {
                if self.tells_of_a_refusal(event_type) {
                    // The others are told: nobody can go back to before what was refused.
                    tracing::warn!(event = %event_type, reason, "a refusal is not told to one of its functions");
                    continue;
                }
                return Err(Error::Chain(reason));
            }
            let cause = Cause {
                trigger: Trigger::Event,
                event: Some((event_type, event_id)),
                options: Some(&subscription.options),
                waiter,
                user: principal.user_id(),
                user_data: user_data.clone(),
                behalf: principal.behalf(),
                chain: principal.chain().clone(),
                params: params.clone(),
                request: request.clone(),
                replay_of: None,
                pinned: false,
                at,
            };
            let run = engine.new_run(executable, cause).await?;
            members.push(Member {
                subscription,
                run,
                barred,
            });
        }
        Ok(members)
    }
}

/// The parameters as functions and filters read them.
pub(super) fn written(event: &Event) -> Result<JsonText, Error> {
    event.params().map_err(|error| {
        let event = event.event_type();
        Error::failed(format!("the parameters of {event} have no JSON"), error)
    })
}

/// Which subscriptions an event concerns, and which of them must not run.
fn chosen(
    event: EventType,
    subscriptions: &[Subscribed],
    passages: Vec<Passage>,
) -> Vec<(Subscription, Option<Failure>)> {
    let choose = |(subscribed, passage): (&Subscribed, Passage)| {
        let barred = match passage {
            Passage::Held(_) => return None,
            Passage::Runs => None,
            Passage::Unclear(whose, reason) => Some(subscribed.unclear(whose, &reason)),
            Passage::Closed => Some(subscribed.closed(event)),
        };
        Some((subscribed.subscription.clone(), barred))
    };
    subscriptions
        .iter()
        .zip(passages)
        .filter_map(choose)
        .collect()
}
