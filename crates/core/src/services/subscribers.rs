//! Subscribing functions to events.

use crate::app::App;
use crate::auth::{Permission, Principal};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{EventType, Phase};
use crate::function::Function;
use crate::idempotency::Remember;
use crate::ids::FunctionId;
use crate::limits;
use crate::ports::store::{Conflict, NewSubscriber, StoreError, to_the_end};
use crate::subscriber::{OnTimeout, Subscriber, SubscriberOptions};
use crate::users::FieldError;
use std::future::Future;
use std::sync::Arc;

/// New options of a subscription; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct SubscriberPatch {
    /// Order of enrichment.
    pub priority: Option<i32>,
    /// A condition for running at all.
    pub filter: Option<String>,
    /// Time limit of one run in seconds.
    pub timeout_seconds: Option<f64>,
    /// What a timeout means.
    pub on_timeout: Option<OnTimeout>,
    /// Attempts.
    pub max_attempts: Option<u32>,
}

impl SubscriberPatch {
    fn applied_to(self, old: SubscriberOptions) -> SubscriberOptions {
        SubscriberOptions {
            priority: self.priority.unwrap_or(old.priority),
            filter: self.filter.or(old.filter),
            timeout_seconds: self.timeout_seconds.or(old.timeout_seconds),
            on_timeout: self.on_timeout.unwrap_or(old.on_timeout),
            max_attempts: self.max_attempts.or(old.max_attempts),
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

    /// Subscribes a function. Needs `events.subscribe` on the function's app.
    ///
    /// # Errors
    /// [`Error::FunctionDoesNotExist`], [`Error::Forbidden`], [`Error::AlreadySubscribed`], or
    /// options that do not hold.
    pub async fn subscribe(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
        options: SubscriberOptions,
        remember: Option<Remember<Subscriber>>,
    ) -> Result<Subscriber, Error> {
        self.permitted(principal, function).await?;
        check(event, &options)?;
        let store = self.engine.scoped(principal.scope());
        if store.list_subscribers(event, None).await?.len() >= limits::SUBSCRIBERS_PER_EVENT {
            return Err(Error::BadRequest(format!(
                "Event '{event}' already has {} subscribers, which is the limit; unsubscribe one first",
                limits::SUBSCRIBERS_PER_EVENT
            )));
        }
        let created_at = self.engine.clock.now();
        let new = NewSubscriber {
            event,
            function_id: function,
            options,
            created_at,
            remember,
        };
        let write = async move { store.insert_subscriber(new).await };
        let subscriber = self
            .write(principal, write)
            .await
            .map_err(|error| match error {
                StoreError::Conflict(Conflict::Subscription) => {
                    Error::AlreadySubscribed { function, event }
                }
                StoreError::Conflict(Conflict::Gone) => Error::FunctionDoesNotExist(function),
                other => other.into(),
            })?;
        self.warm(principal, event, function).await;
        Ok(subscriber)
    }

    /// Changes the options of a subscription.
    ///
    /// # Errors
    /// As [`Self::subscribe`]; [`Error::NotSubscribed`].
    pub async fn update(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
        patch: SubscriberPatch,
    ) -> Result<Subscriber, Error> {
        self.permitted(principal, function).await?;
        let not_subscribed = || Error::NotSubscribed { function, event };
        let store = self.engine.scoped(principal.scope());
        let before = store
            .subscriber(event, function)
            .await?
            .ok_or_else(not_subscribed)?;
        let options = patch.applied_to(before.options);
        check(event, &options)?;
        let now = self.engine.clock.now();
        let write = async move { store.update_subscriber(event, function, options, now).await };
        let after = self.write(principal, write).await?;
        self.warm(principal, event, function).await;
        after.ok_or_else(not_subscribed)
    }

    /// Ends a subscription. Runs that were published before still happen.
    ///
    /// # Errors
    /// [`Error::NotSubscribed`], also for a function that does not exist; [`Error::Forbidden`].
    pub async fn unsubscribe(
        &self,
        principal: &Principal,
        event: EventType,
        function: FunctionId,
    ) -> Result<(), Error> {
        let not_subscribed = || Error::NotSubscribed { function, event };
        match self.permitted(principal, function).await {
            Err(Error::FunctionDoesNotExist(_)) => return Err(not_subscribed()),
            other => other?,
        };
        let store = self.engine.scoped(principal.scope());
        let write = async move { store.delete_subscriber(event, function).await };
        if !self.write(principal, write).await? {
            return Err(not_subscribed());
        }
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
        let app = super::app(&self.engine, principal, app_slug).await?;
        let store = self.engine.scoped(principal.scope());
        let subscribers = store.list_subscribers(event, Some(app.id)).await?;
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
    ) -> Result<(App, Vec<(EventType, usize)>), Error> {
        let app = super::app(&self.engine, principal, app_slug).await?;
        let store = self.engine.scoped(principal.scope());
        let mut counts = Vec::with_capacity(EventType::ALL.len());
        for event in EventType::ALL {
            counts.push((
                event,
                store.list_subscribers(event, Some(app.id)).await?.len(),
            ));
        }
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
        to_the_end(async move {
            let written = write.await?;
            engine.functions_changed(site);
            Ok(written)
        })
        .await
    }

    /// A PRE function's first call finds a worker.
    async fn warm(&self, principal: &Principal, event: EventType, function: FunctionId) {
        if event.phase() == Phase::Pre {
            self.engine.warm(principal.scope(), function).await;
        }
    }
}

fn check(event: EventType, options: &SubscriberOptions) -> Result<(), Error> {
    let mut errors = Vec::new();
    super::check_timeout(options.timeout_seconds, &mut errors);
    let (field, most) = ("max_attempts", limits::MAX_ATTEMPTS_MAX);
    super::check_range(field, options.max_attempts, 1, most, &mut errors);
    if event.phase() == Phase::Post && options.on_timeout == OnTimeout::Allow {
        let message = "Only PRE events have it; a POST function that times out is tried again";
        errors.push(FieldError::new("on_timeout", message));
    }
    if options.filter.is_some() {
        let message = "Filters are not evaluated by this version; subscribe without one";
        errors.push(FieldError::new("filter", message));
    }
    super::refuse(errors)
}
