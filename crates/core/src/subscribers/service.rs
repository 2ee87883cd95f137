//! Subscribing functions to events.

use crate::apps::{self, App};
use crate::draft::{Draft, Faults};
use crate::engine::{Engine, Explained, Hindrance, in_order};
use crate::error::Error;
use crate::events::own::Fault;
use crate::events::{Event, EventSpec, EventType, Phase, UserShape};
use crate::functions::Function;
use crate::idempotency::Remember;
use crate::ids::{FunctionId, InvocationId};
use crate::invocations::{Link, visible};
use crate::json::{JsonText, merge_patch};
use crate::limits;
use crate::ports::store::{Conflict, NewSubscriber, StoreError, to_the_end};
use crate::request::{RequestInfo, RequestPatch};
use crate::rights::{Permission, Principal};
use crate::subscribers::{OnTimeout, Subscriber, SubscriberOptions};
use crate::text::prefix;
use crate::time::Timestamp;
use crate::validation::{self, FieldError};
use serde_json::Value;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

/// A subscription to be made.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The function.
    pub function: FunctionId,
    /// How it is called.
    pub options: SubscriberOptions,
}

/// What is to be explained.
#[derive(Debug, Clone, Default)]
pub struct Explain {
    /// Parameters; what they do not name is taken from the event's sample.
    pub params: Option<Value>,
    /// As if this run had caused the event.
    pub caused_by: Option<InvocationId>,
    /// As if this request stood behind it, or none did (`Some(None)`). Left out, it is the caller's own; none
    /// stands behind what a run causes.
    pub request: Option<Option<RequestPatch>>,
}

/// New options of a subscription; what is none stays, and what is `Some(None)` is unset.
#[derive(Debug, Clone, Default)]
pub struct SubscriberPatch {
    /// Order of enrichment.
    pub priority: Option<i32>,
    /// A condition for running at all.
    pub filter: Option<Option<String>>,
    /// Time limit of one run in seconds.
    pub timeout_seconds: Option<Option<f64>>,
    /// What a timeout means.
    pub on_timeout: Option<OnTimeout>,
    /// Attempts.
    pub max_attempts: Option<Option<u32>>,
    /// Whether it runs.
    pub is_active: Option<bool>,
    /// When what the change was made for was last changed; another state is not overwritten.
    pub expected: Option<Timestamp>,
}

impl SubscriberPatch {
    fn applied_to(self, old: SubscriberOptions) -> SubscriberOptions {
        SubscriberOptions {
            priority: self.priority.unwrap_or(old.priority),
            filter: self.filter.unwrap_or(old.filter),
            timeout_seconds: self.timeout_seconds.unwrap_or(old.timeout_seconds),
            on_timeout: self.on_timeout.unwrap_or(old.on_timeout),
            max_attempts: self.max_attempts.unwrap_or(old.max_attempts),
        }
    }
}

/// Operations on subscriptions.
#[derive(Clone)]
pub struct SubscriberService {
    engine: Arc<Engine>,
}

impl SubscriberService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Subscribes a function. Needs `events.subscribe` on the function's app, and for an event type of another
    /// app `invocations.read` there: what its events carry is what that app's runs show.
    ///
    /// # Errors
    /// [`Error::FunctionDoesNotExist`], [`Error::Forbidden`], [`Error::AlreadySubscribed`], or
    /// options that do not hold.
    pub async fn subscribe(
        &self,
        principal: &Principal,
        event: EventType,
        draft: Draft<Subscribe>,
        remember: Option<Remember<Subscriber>>,
    ) -> Result<Subscriber, Error> {
        let spec = &self.spec(principal, event).await?;
        let function = draft.look().function;
        let (found, mut errors) = if draft.faults().concern("function_id") {
            (None, Vec::new())
        } else {
            self.found(principal, function, draft.faults()).await?
        };
        if let Some(found) = &found {
            may_know(principal, spec, found)?;
        }
        let users = self.engine.catalogue.users();
        let look = &draft.look().options;
        check(spec, look, found.as_ref(), users, &mut errors);
        let options = draft.checked(errors)?.options;
        let found = found.ok_or(Error::FunctionDoesNotExist(function))?;
        let store = self.engine.scoped(principal.scope());
        if store.list_subscribers(event, None).await?.len() >= limits::SUBSCRIBERS_PER_EVENT {
            return Err(Error::BadRequest(format!(
                "Event '{event}' already has {} subscribers, which is the limit; unsubscribe one first",
                limits::SUBSCRIBERS_PER_EVENT
            )));
        }
        self.load(principal, event, &found).await?;
        // Loading takes its time: what counts are the rights of now.
        let now = self.engine.still(principal).await?;
        may_know(&now, spec, &self.permitted(&now, function).await?)?;
        let created_at = self.engine.clock.now();
        let new = NewSubscriber {
            author: now.author(),
            event,
            declared_by: spec.own().map(|declared| declared.own_type().app),
            function_id: function,
            options,
            created_at,
            remember,
        };
        let write = async move { store.insert_subscriber(new).await };
        let subscriber = match self.write(principal, write).await {
            Ok(subscriber) => subscriber,
            Err(StoreError::Conflict(Conflict::Subscription)) => {
                let store = self.engine.scoped(principal.scope());
                let found = store.subscriber(event, function).await?;
                return Err(Error::AlreadySubscribed {
                    function,
                    event,
                    inactive: found.and_then(|it| it.inactive),
                });
            }
            Err(StoreError::Conflict(Conflict::Gone)) => {
                return Err(Error::FunctionDoesNotExist(function));
            }
            Err(StoreError::Conflict(Conflict::NoEventType)) => {
                let scope = principal.scope();
                return Err(self.engine.no_such_event(scope, event.as_str()).await);
            }
            Err(other) => return Err(other.into()),
        };
        self.settle(principal, event, function).await;
        Ok(subscriber)
    }

    /// Whether a function may be subscribed: for an answer that was given before.
    ///
    /// # Errors
    /// [`Error::FunctionDoesNotExist`], [`Error::Forbidden`].
    pub async fn may_subscribe(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
    ) -> Result<(), Error> {
        let function = self.permitted(principal, function).await?;
        may_know(principal, &self.spec(principal, event).await?, &function)
    }

    /// Changes the options of a subscription, or switches it on or off.
    ///
    /// # Errors
    /// As [`Self::subscribe`]; [`Error::NotSubscribed`].
    pub async fn update(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
        draft: Draft<SubscriberPatch>,
    ) -> Result<Subscriber, Error> {
        let spec = &self.spec(principal, event).await?;
        let (found, mut errors) = self.found(principal, function, draft.faults()).await?;
        if found.is_none() {
            let options = draft.look().clone();
            let options = options.applied_to(SubscriberOptions::default());
            check(
                spec,
                &options,
                None,
                self.engine.catalogue.users(),
                &mut errors,
            );
            return Err(Error::Validation(draft.faults_with(errors)));
        }
        let not_subscribed = || Error::NotSubscribed { function, event };
        let store = self.engine.scoped(principal.scope());
        let before = store
            .subscriber(event, function)
            .await?
            .ok_or_else(not_subscribed)?;
        let patch = draft.look().clone();
        let fields = [
            ("priority", patch.priority.is_some()),
            ("filter", patch.filter.is_some()),
            ("timeout_seconds", patch.timeout_seconds.is_some()),
            ("on_timeout", patch.on_timeout.is_some()),
            ("max_attempts", patch.max_attempts.is_some()),
        ];
        validation::check_damaged(&before.damaged, &fields, &mut errors);
        let (is_active, expected) = (patch.is_active, patch.expected);
        let options = patch.applied_to(before.options);
        check(
            spec,
            &options,
            found.as_ref(),
            self.engine.catalogue.users(),
            &mut errors,
        );
        draft.checked(errors)?;
        let now = self.engine.clock.now().after(before.updated_at);
        let write = async move {
            store
                .update_subscriber(event, function, options, is_active, now, expected)
                .await
        };
        let after = self.write(principal, write).await?;
        if is_active.is_some() {
            self.settle(principal, event, function).await;
        }
        after.ok_or_else(not_subscribed)
    }

    /// What is wrong with new options, whichever function's they are.
    ///
    /// # Errors
    /// [`Error::Validation`], [`Error::InvalidEventType`].
    pub async fn check(
        &self,
        principal: &Principal,
        event: EventType,
        draft: Draft<SubscriberPatch>,
    ) -> Result<(), Error> {
        let options = draft
            .look()
            .clone()
            .applied_to(SubscriberOptions::default());
        let mut errors = Vec::new();
        let spec = self.spec(principal, event).await?;
        check(
            &spec,
            &options,
            None,
            self.engine.catalogue.users(),
            &mut errors,
        );
        draft.checked(errors).map(drop)
    }

    /// One subscription. Needs `events.subscribe` on the function's app.
    ///
    /// # Errors
    /// [`Error::NotSubscribed`], also for a function that does not exist; [`Error::Forbidden`].
    pub async fn get(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
    ) -> Result<Subscriber, Error> {
        let not_subscribed = || Error::NotSubscribed { function, event };
        match self.permitted(principal, function).await {
            Err(Error::FunctionDoesNotExist(_)) => return Err(not_subscribed()),
            other => other?,
        };
        let store = self.engine.scoped(principal.scope());
        let found = store.subscriber(event, function).await?;
        found.ok_or_else(not_subscribed)
    }

    /// Ends a subscription. Runs that were published before still happen.
    ///
    /// # Errors
    /// [`Error::NotSubscribed`], also for a function that does not exist; [`Error::Forbidden`]; a
    /// subscription that was last changed at another time than `expected`.
    pub async fn unsubscribe(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
        expected: Option<Timestamp>,
    ) -> Result<(), Error> {
        let not_subscribed = || Error::NotSubscribed { function, event };
        match self.permitted(principal, function).await {
            Err(Error::FunctionDoesNotExist(_)) => return Err(not_subscribed()),
            other => other?,
        };
        let store = self.engine.scoped(principal.scope());
        let write = async move { store.delete_subscriber(event, function, expected).await };
        if !self.write(principal, write).await? {
            return Err(not_subscribed());
        }
        self.settle(principal, event, function).await;
        Ok(())
    }

    /// The subscriptions of one app's functions to `event`, by id.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the app.
    pub async fn app_event(
        &self,
        principal: &Principal,
        app_slug: &str,
        event: EventType,
    ) -> Result<(App, Vec<Subscriber>), Error> {
        let app = apps::app(&self.engine, principal, app_slug).await?;
        let store = self.engine.scoped(principal.scope());
        let subscribers = store.list_subscribers(event, Some(app.id)).await?;
        let subscribers = subscribers.into_iter();
        let subscribers = subscribers.map(|it| shown(principal, it)).collect();
        Ok((app, subscribers))
    }

    /// How many functions of one app subscribe to each event type.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the app.
    pub async fn app_events(
        &self,
        principal: &Principal,
        app_slug: &str,
    ) -> Result<(App, Vec<(EventType, u64)>), Error> {
        let app = apps::app(&self.engine, principal, app_slug).await?;
        let store = self.engine.scoped(principal.scope());
        let counted: HashMap<_, _> = store
            .subscriber_counts(Some(app.id))
            .await?
            .into_iter()
            .collect();
        let types = self.engine.event_types(principal.scope()).await?;
        let count = |event| counted.get(&event).copied().unwrap_or_default();
        let counts = types.into_iter().map(|event| (event, count(event)));
        let counts = counts.collect();
        Ok((app, counts))
    }

    /// How many functions of the site subscribe to `event`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn total(&self, principal: &Principal, event: EventType) -> Result<usize, Error> {
        Ok(self
            .engine
            .scoped(principal.scope())
            .list_subscribers(event, None)
            .await?
            .len())
    }

    /// Which subscriptions an event would run and why each other one would not. What `params` does
    /// not name is taken from the event's sample, as is said of `request` there. With `caused_by`, as if that run had caused the
    /// event by a call of its own. Where the caller may not subscribe, conditions are asked about the
    /// sample only: with values of the caller's own choice the answers would tell what stands in them.
    ///
    /// # Errors
    /// Parameters that no such event has; [`Error::NotFound`] for a run that the caller may not see.
    pub async fn explain(
        &self,
        principal: &Principal,
        event: EventType,
        draft: Draft<Explain>,
    ) -> Result<Vec<Explained>, Error> {
        let spec = &self.spec(principal, event).await?;
        let read = self.given(spec, draft.look().params.as_ref()).await?;
        let (given, asked) = match read {
            Ok(given) => (given, draft.whole()?),
            Err(found) => return Err(Error::Validation(draft.faults_with(found))),
        };
        let within = match asked.caused_by {
            None => principal.clone(),
            Some(id) => {
                let found = self.engine.scoped(principal.scope()).invocation(id).await?;
                let run = visible(principal, found, "Invocation")?;
                let chain = run.chain.with(Link(run.function_id, run.event));
                principal.clone().at_end_of(chain)
            }
        };
        let within = within.with_request(request_behind(principal, asked));
        let explained = self.engine.explain(&given, &within).await?;
        if explained.iter().all(|it| may_see(principal, it)) {
            return Ok(explained);
        }
        let sample = spec.sample_event();
        // The headers of a request are of one's own choice as well.
        let within = within.with_request(Some(RequestInfo::sample()));
        let of_sample = self.engine.explain(&sample, &within).await?;
        let (mine, of_sample) = (explained.into_iter(), of_sample.into_iter());
        let mine = mine.filter(|it| may_see(principal, it));
        let theirs = of_sample.filter(|it| !may_see(principal, it)).map(hidden);
        let mut explained: Vec<_> = mine.chain(theirs).collect();
        in_order(&mut explained);
        Ok(explained)
    }

    /// The event that these parameters make of the sample.
    async fn given(
        &self,
        spec: &EventSpec,
        params: Option<&Value>,
    ) -> Result<Result<Event, Vec<FieldError>>, Error> {
        let mut sample = spec.sample();
        if let Some(params) = params {
            merge_patch(&mut sample, params);
        }
        if spec.own().is_some() {
            let accepted = self.engine.accept(spec, JsonText::from(&sample)).await?;
            let faults = |faults: Vec<Fault>| faults.into_iter().map(|it| it.of("params"));
            return Ok(accepted.map_err(|found| faults(found).collect()));
        }
        if sample.to_string().len() > limits::ATTRIBUTES_BYTES * 2 {
            let message = "These values are larger than any such event's";
            return Ok(Err(vec![FieldError::new("params", message)]));
        }
        Ok(spec.read(&sample).map_err(|_| unreadable(spec, params)))
    }

    /// What stands behind an event that can be subscribed.
    async fn spec(&self, principal: &Principal, event: EventType) -> Result<EventSpec, Error> {
        let scope = principal.scope();
        self.engine.event_named(scope, event.as_str()).await
    }

    /// The function to be subscribed. Where there is none and other things are wrong, it is one of them.
    async fn found(
        &self,
        principal: &Principal,
        function: FunctionId,
        faults: &Faults,
    ) -> Result<(Option<Function>, Vec<FieldError>), Error> {
        match self.permitted(principal, function).await {
            Ok(found) => Ok((Some(found), Vec::new())),
            Err(error @ Error::FunctionDoesNotExist(_)) if !faults.is_empty() => {
                let fault = FieldError::new("function_id", error.to_string());
                Ok((None, vec![fault]))
            }
            Err(error) => Err(error),
        }
    }

    async fn permitted(
        &self,
        principal: &Principal,
        function: FunctionId,
    ) -> Result<Function, Error> {
        let store = self.engine.scoped(principal.scope());
        let found = store.function_by_id(function).await?;
        let found = found.ok_or(Error::FunctionDoesNotExist(function))?;
        principal.require(Permission::EventsSubscribe, Some(found.app_id))?;
        Ok(found)
    }

    /// Writes a change of subscriptions; whatever becomes of the caller, the next publication
    /// sees it.
    async fn write<T: Send + 'static>(
        &self,
        principal: &Principal,
        write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let engine = Arc::clone(&self.engine);
        let site = principal.scope().site_id();
        to_the_end(&self.engine.supervisor, async move {
            let written = write.await?;
            engine.functions_changed(site);
            Ok(written)
        })
        .await
    }

    /// A PRE function is loaded before it is asked for the first time.
    async fn load(
        &self,
        principal: &Principal,
        event: EventType,
        function: &Function,
    ) -> Result<(), Error> {
        if event.phase() == Phase::Post || !function.is_active {
            return Ok(());
        }
        let store = self.engine.scoped(principal.scope());
        match store.executable(function.id).await? {
            Some(executable) => self.engine.load(&Arc::new(executable)).await,
            None => Err(Error::FunctionDoesNotExist(function.id)),
        }
    }

    /// A worker stays for as long as a PRE event may call the function.
    async fn settle(&self, principal: &Principal, event: EventType, function: FunctionId) {
        if event.phase() == Phase::Pre {
            let scope = principal.scope();
            self.engine.settle_workers(scope, function).await;
        }
    }
}

/// Whether `principal` may let the function know what events of this type carry: of another app's type, whoever
/// may read that app's runs.
fn may_know(principal: &Principal, spec: &EventSpec, function: &Function) -> Result<(), Error> {
    match spec.own().map(|declared| declared.own_type().app) {
        Some(app) if app != function.app_id => {
            principal.require(Permission::InvocationsRead, Some(app))
        }
        _ => Ok(()),
    }
}

/// Which parameters are none of the event's.
fn unreadable(spec: &EventSpec, params: Option<&Value>) -> Vec<FieldError> {
    let (event, sample) = (spec.event, spec.sample());
    let fields = params.and_then(Value::as_object).into_iter().flatten();
    let wrong = fields.filter(|(name, value)| {
        let mut alone = sample.clone();
        merge_patch(&mut alone, &serde_json::json!({*name: value}));
        spec.read(&alone).is_err()
    });
    let faults = wrong.map(|(name, _)| {
        let name = prefix(name, limits::NAME_CHARS);
        let message = match sample.get(name) {
            Some(value) => format!("{event} has no such value; it may be {value}"),
            None => format!("{event} has no such parameter"),
        };
        FieldError::new(format!("params.{name}"), message)
    });
    let mut faults: Vec<_> = faults.collect();
    if faults.is_empty() {
        let message = format!("These are no parameters of {event}");
        faults.push(FieldError::new("params", message));
    }
    faults
}

/// What `principal` is shown of a subscription: its filter only where they may subscribe.
fn shown(principal: &Principal, mut subscriber: Subscriber) -> Subscriber {
    if !principal.may(Permission::EventsSubscribe, Some(subscriber.app_id)) {
        subscriber.options.filter = None;
    }
    subscriber
}

/// The request that stands behind what is to be explained.
fn request_behind(principal: &Principal, asked: Explain) -> Option<RequestInfo> {
    let own = principal.request().cloned();
    match asked.request {
        None => own.filter(|_| asked.caused_by.is_none()),
        Some(None) => None,
        Some(Some(patch)) => Some(own.unwrap_or_else(RequestInfo::sample).patched(patch)),
    }
}

/// Whether `principal` may know what stands in the conditions of a subscription.
fn may_see(principal: &Principal, explained: &Explained) -> bool {
    let app = explained.subscriber.app_id;
    principal.may(Permission::EventsSubscribe, Some(app))
}

/// An explanation for whoever may not: what the conditions are, which of them it is and why it does not
/// hold stay theirs who may.
fn hidden(mut explained: Explained) -> Explained {
    explained.subscriber.options.filter = None;
    if let Some(Hindrance::Condition(_) | Hindrance::Unclear(..)) = explained.hindrance {
        explained.hindrance = Some(Hindrance::Hidden);
    }
    explained
}

/// Adds what is wrong with the options; the function's own conditions are looked at where it is known.
fn check(
    spec: &EventSpec,
    options: &SubscriberOptions,
    function: Option<&Function>,
    users: UserShape,
    errors: &mut Vec<FieldError>,
) {
    validation::check_timeout(options.timeout_seconds, errors);
    let (field, most) = ("max_attempts", limits::MAX_ATTEMPTS_MAX);
    validation::check_range(field, options.max_attempts, 1, most, errors);
    if spec.event.phase() == Phase::Post && options.on_timeout == OnTimeout::Allow {
        let message = "Only PRE events have it; a POST function that times out is tried again";
        errors.push(FieldError::new("on_timeout", message));
    }
    let own = options.filter.as_deref();
    validation::check_filter("filter", own, Some(spec), users, errors);
    let functions = function.and_then(|it| it.options.filter_conditions.as_deref());
    validation::check_filter("filter_conditions", functions, Some(spec), users, errors);
}
