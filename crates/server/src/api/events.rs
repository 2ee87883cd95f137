//! Events and subscriptions: the routes of the Events API document. There is none to publish.

use crate::envelope::{EventReply, Nothing};
use crate::error::ApiError;
use crate::extract::{
    Caller, Change, Conditions, Creation, IfMatch, IfNoneMatch, Json, Path, Query, Updates, given,
    set, tagged,
};
use crate::once::{Asker, Once};
use crate::state::AppState;
use crate::views::{AppEventSubscriber, ExplainedView, SubscriberView};
use crate::words::{self, EventName};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::draft::Draft;
use tollgate_core::error::Error;
use tollgate_core::events::{EventType, Phase};
use tollgate_core::ids::{FunctionId, InvocationId};
use tollgate_core::json::JsonText;
use tollgate_core::request::{CredentialKind, RequestInfo, RequestPatch};
use tollgate_core::rights::Principal;
use tollgate_core::subscribers::{self, OnTimeout, Subscriber, SubscriberOptions, SubscriberPatch};
use tollgate_core::validation::FieldError;
use utoipa::{IntoParams, ToSchema};

/// The names of all events: the platform's, then those that apps declare, by app and name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    #[schema(schema_with = event_list)]
    events: Vec<&'static str>,
}

fn event_list() -> utoipa::openapi::schema::Array {
    utoipa::openapi::schema::Array::new(words::event())
}

/// List All Events
#[utoipa::path(get, path = "/api/cloud/events/", tag = "events", operation_id = "events_list",
    responses((status = OK, body = EventReply<Events>), ApiError))]
pub(crate) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
) -> Result<EventReply<Events>, ApiError> {
    let types = app.services().events.types(&caller).await?;
    let events = types.into_iter().map(EventType::as_str).collect();
    let events = Events { events };
    Ok(EventReply::new("Events retrieved successfully", events))
}

/// One entry of the catalogue.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventDetails {
    #[schema(schema_with = words::event)]
    event: &'static str,
    /// `PRE` or `POST`.
    #[schema(schema_with = words::phase)]
    phase: Phase,
    blocking: bool,
    description: String,
    /// JSON Schema of the parameters.
    #[schema(value_type = Object)]
    params_schema: JsonText,
    #[schema(value_type = Object)]
    sample: JsonText,
    /// A sample of what is known of the request that causes one.
    #[schema(value_type = Object)]
    request: RequestInfo,
    /// What a PRE function may change.
    #[schema(value_type = Vec<String>)]
    enrichable: &'static [&'static str],
    total_subscribers: usize,
    /// The app that has declared it. Absent for the platform's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
}

/// Event Details
#[utoipa::path(get, path = "/api/cloud/events/{event_name}/", tag = "events",
    operation_id = "events_get", params(EventName),
    responses((status = OK, body = EventReply<EventDetails>), ApiError))]
pub(crate) async fn details(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
) -> Result<EventReply<EventDetails>, ApiError> {
    let spec = app.services().events.named(&caller, &event).await?;
    let event = spec.event;
    let total_subscribers = app.services().subscribers.total(&caller, event).await?;
    let details = EventDetails {
        event: event.as_str(),
        phase: event.phase(),
        blocking: event.phase() == Phase::Pre,
        description: spec.description().to_owned(),
        params_schema: spec.schema_text(),
        sample: spec.sample_text(),
        request: RequestInfo::sample(),
        enrichable: spec.enrichable,
        total_subscribers,
        app: spec.own().map(|it| it.own_type().app_slug.clone()),
    };
    Ok(EventReply::new(
        format!("Event '{event}' details retrieved successfully"),
        details,
    ))
}

/// A function to be subscribed, with the subscription's options.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscribe {
    function_id: i64,
    /// Lower runs its enrichment first; 0 unless set.
    priority: Option<i32>,
    /// A condition for running at all.
    filter: Option<String>,
    /// Time limit of one run; the function's own unless set.
    timeout_seconds: Option<f64>,
    /// `deny` (unless set) or `allow`; PRE events only.
    #[schema(schema_with = words::on_timeout_or_null)]
    on_timeout: Option<OnTimeout>,
    /// Attempts; POST events only.
    max_attempts: Option<u32>,
}

/// Subscribe to Event
#[utoipa::path(post, path = "/api/cloud/events/{event_name}/subscribe/", tag = "events",
    operation_id = "events_subscribe", request_body = Subscribe,
    params(EventName, Once),
    responses((status = OK, body = EventReply<SubscriberView>), Once, ApiError))]
pub(crate) async fn subscribe(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
    Creation(request, once): Creation<Subscribe>,
) -> Result<Response, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let function = FunctionId(request.look().function_id);
    let input = request.map(|asked, _| subscribers::Subscribe {
        function: FunctionId(asked.function_id),
        options: SubscriberOptions {
            priority: asked.priority.unwrap_or_default(),
            filter: asked.filter,
            timeout_seconds: asked.timeout_seconds,
            on_timeout: asked.on_timeout.unwrap_or_default(),
            max_attempts: asked.max_attempts,
        },
    });
    let subscribers = &app.services().subscribers;
    let subscribe = |remember| subscribers.subscribe(&caller, event, input, remember);
    let may = async {
        let now = app.services().still(&caller).await?;
        subscribers.may_subscribe(&now, event, function).await
    };
    once.answer(&app, Asker::who(&caller, may), subscribed, subscribe)
        .await
}

fn subscribed(subscriber: Subscriber) -> (StatusCode, EventReply<SubscriberView>) {
    let message = format!(
        "Function {} subscribed to event '{}' successfully",
        subscriber.function_id, subscriber.event
    );
    (StatusCode::OK, EventReply::new(message, subscriber.into()))
}

/// Which subscription to an event is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfFunction {
    /// The function that is subscribed.
    function_id: i64,
}

/// Get a Subscription
#[utoipa::path(get, path = "/api/cloud/events/{event_name}/subscribe/", tag = "events",
    operation_id = "events_subscription", params(EventName, OfFunction, IfNoneMatch),
    responses((status = OK, body = EventReply<SubscriberView>), IfNoneMatch, ApiError))]
pub(crate) async fn subscription(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
    Query(of): Query<OfFunction>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let function = FunctionId(of.function_id);
    let subscribers = &app.services().subscribers;
    let view = SubscriberView::from(subscribers.get(&caller, event, function).await?);
    let message = format!("Subscription of function {function} to event '{event}' retrieved");
    conditions.answer(&view, EventReply::new(message, &view))
}

/// New options of a subscription; what is absent stays, and what is `null` is unset. They stand beside
/// `function_id`, or under `options` as the subscription shows them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSubscription {
    #[serde(default, deserialize_with = "set")]
    function_id: Option<i64>,
    /// The same, as the subscription shows it.
    #[serde(default, deserialize_with = "set")]
    function: Option<i64>,
    /// Lower runs its enrichment first.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>)]
    priority: Option<Option<i32>>,
    /// A condition for running at all.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    filter: Option<Option<String>>,
    /// Time limit of one run.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>)]
    timeout_seconds: Option<Option<f64>>,
    /// PRE events only; `deny` when it is `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::on_timeout_or_null)]
    on_timeout: Option<Option<OnTimeout>>,
    /// Attempts; POST events only.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_attempts: Option<Option<u32>>,
    /// Whether it runs. A webhook that answered 410 is switched on again here.
    #[serde(default, deserialize_with = "set")]
    is_active: Option<bool>,
    #[serde(default, deserialize_with = "set")]
    options: Option<ChangedOptions>,
}

/// The options of a subscription, as it shows them.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedOptions {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>)]
    priority: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    filter: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>)]
    timeout_seconds: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::on_timeout_or_null)]
    on_timeout: Option<Option<OnTimeout>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_attempts: Option<Option<u32>>,
    #[serde(default, deserialize_with = "set")]
    is_active: Option<bool>,
    /// Cannot be changed: it says why the subscription is off.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    deactivated_reason: Option<Option<String>>,
    /// Cannot be changed either.
    #[serde(default, deserialize_with = "set")]
    closed: Option<bool>,
}

impl Updates for ChangeSubscription {
    const READ_ONLY: &'static [&'static str] = &[
        "id",
        "event",
        "function_name",
        "function_slug",
        "app_name",
        "app_slug",
        "created_at",
        "updated_at",
        "damaged",
    ];
}

impl ChangeSubscription {
    /// The function that is meant; which one is among what is wrong if none is.
    fn of(draft: &mut Draft<Self>) -> Option<FunctionId> {
        match (draft.look().function_id, draft.look().function) {
            (Some(id), Some(other)) if id != other => {
                let message = "It is not the function that function_id names; send one of them";
                draft.fault(FieldError::new("function", message));
                None
            }
            (Some(id), _) | (None, Some(id)) => Some(FunctionId(id)),
            (None, None) => {
                if !draft.faults().concern("function") {
                    draft.fault(FieldError::new("function_id", "This field is required"));
                }
                None
            }
        }
    }

    /// The options that stand under `options` alone.
    fn nested(&self) -> Vec<&'static str> {
        let Some(nested) = &self.options else {
            return Vec::new();
        };
        let filter = self.filter.is_none() && nested.filter.is_some();
        let timeout = self.timeout_seconds.is_none() && nested.timeout_seconds.is_some();
        let on_timeout = self.on_timeout.is_none() && nested.on_timeout.is_some();
        let attempts = self.max_attempts.is_none() && nested.max_attempts.is_some();
        let options = [
            ("filter", filter),
            ("timeout_seconds", timeout),
            ("on_timeout", on_timeout),
            ("max_attempts", attempts),
        ];
        let given = options.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }

    /// What stands beside `function_id` wins over what stands under `options`.
    fn patch(self) -> SubscriberPatch {
        let nested = self.options.unwrap_or_default();
        let priority = self.priority.or(nested.priority);
        let on_timeout = self.on_timeout.or(nested.on_timeout);
        SubscriberPatch {
            priority: priority.map(Option::unwrap_or_default),
            filter: self.filter.or(nested.filter),
            timeout_seconds: self.timeout_seconds.or(nested.timeout_seconds),
            on_timeout: on_timeout.map(Option::unwrap_or_default),
            max_attempts: self.max_attempts.or(nested.max_attempts),
            is_active: self.is_active.or(nested.is_active),
            expected: None,
        }
    }
}

/// Faults of what stands under `options` are told by where it stands.
fn named(error: Error, nested: &[&str]) -> Error {
    let Error::Validation(mut faults) = error else {
        return error;
    };
    for fault in &mut faults {
        if nested.contains(&&*fault.field) {
            fault.field = format!("options.{}", fault.field).into();
        }
    }
    Error::Validation(faults)
}

/// Change a Subscription
#[utoipa::path(patch, path = "/api/cloud/events/{event_name}/subscribe/", tag = "events",
    operation_id = "events_change_subscription", request_body = ChangeSubscription,
    params(EventName, IfMatch),
    responses((status = OK, body = EventReply<SubscriberView>), ApiError))]
pub(crate) async fn change_subscription(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
    Change {
        mut body, target, ..
    }: Change<ChangeSubscription>,
) -> Result<Response, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let subscribers = &app.services().subscribers;
    let Some(function) = ChangeSubscription::of(&mut body) else {
        // Its options are checked as far as that goes without it.
        let nested = body.look().nested();
        let unmet = subscribers.check(&caller, event, body.map(|it, _| it.patch()));
        let unmet = unmet
            .await
            .err()
            .unwrap_or(Error::NotFound("Function".to_owned()));
        return Err(named(unmet, &nested).into());
    };
    let nested = body.look().options.as_ref();
    let reason = nested.and_then(|it| it.deactivated_reason.clone());
    let closed = nested.and_then(|it| it.closed);
    let mut expected = None;
    if target.is_particular() || reason.is_some() || closed.is_some() {
        let before = subscribers.get(&caller, event, function).await?;
        let message = "This field cannot be changed; leave it out, or send it as it is";
        let is = before.inactive.map(|it| it.reason(event));
        if reason.is_some_and(|sent| sent.as_deref() != is) {
            body.fault(FieldError::new("options.deactivated_reason", message));
        }
        let is = before.inactive.is_some_and(|it| it.is_closed(event));
        if closed.is_some_and(|sent| sent != is) {
            body.fault(FieldError::new("options.closed", message));
        }
        expected = target.must_match().then_some(before.updated_at);
        target.check(&SubscriberView::from(before), &mut body)?;
    }
    let nested = body.look().nested();
    let patch = body.map(|it, _| SubscriberPatch {
        expected,
        ..it.patch()
    });
    let updated = subscribers.update(&caller, event, function, patch).await;
    let updated = updated.map_err(|error| target.refused(named(error, &nested)))?;
    let view = SubscriberView::from(updated);
    let message = format!("Subscription of function {function} to event '{event}' updated");
    tagged(&view, EventReply::new(message, &view))
}

/// Change a Subscription (the same as PATCH)
#[utoipa::path(put, path = "/api/cloud/events/{event_name}/subscribe/", tag = "events",
    operation_id = "events_replace_subscription", request_body = ChangeSubscription,
    params(EventName, IfMatch),
    responses((status = OK, body = EventReply<SubscriberView>), ApiError))]
pub(crate) async fn replace_subscription(
    state: State<AppState>,
    caller: Caller,
    path: Path<String>,
    change: Change<ChangeSubscription>,
) -> Result<Response, ApiError> {
    change_subscription(state, caller, path, change).await
}

/// The function whose subscription ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unsubscribe {
    function_id: i64,
}

/// Unsubscribe from Event
#[utoipa::path(post, path = "/api/cloud/events/{event_name}/unsubscribe/", tag = "events",
    operation_id = "events_unsubscribe", request_body = Unsubscribe,
    params(EventName, IfMatch),
    responses((status = OK, body = EventReply<Nothing>), ApiError))]
pub(crate) async fn unsubscribe(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
    conditions: Conditions,
    Json(request): Json<Unsubscribe>,
) -> Result<EventReply<Nothing>, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let function = FunctionId(request.whole()?.function_id);
    let subscribers = &app.services().subscribers;
    let mut expected = None;
    if conditions.must_match() {
        let before = subscribers.get(&caller, event, function).await?;
        expected = Some(before.updated_at);
        conditions.check(&SubscriberView::from(before))?;
    }
    let ended = subscribers.unsubscribe(&caller, event, function, expected);
    ended.await.map_err(|error| conditions.refused(error))?;
    let message = format!("Function {function} unsubscribed from event '{event}' successfully");
    Ok(EventReply::new(message, Nothing {}))
}

/// The event to be explained.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explain {
    /// Parameters; what is absent is taken from the event's sample.
    #[schema(value_type = Option<Object>)]
    params: Option<serde_json::Map<String, Value>>,
    /// The number of a run: explain as if it had caused the event by a call of its own.
    caused_by: Option<i64>,
    /// The request behind it, or `null` for none. Left out, it is your own; none stands behind what a run causes.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ExplainedRequest>)]
    request: Option<Option<ExplainedRequest>>,
}

/// Another request than your own; what is absent is as in yours.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainedRequest {
    /// The client's address.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    ip: Option<Option<String>>,
    /// What the client says that it is.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    user_agent: Option<Option<String>>,
    /// The id that the answer carries as `X-Request-Id`.
    #[serde(default, deserialize_with = "set")]
    request_id: Option<String>,
    /// By what the caller was recognised; none before a sign-in.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = words::credential_kind_or_null)]
    credential_kind: Option<Option<CredentialKind>>,
    /// The host name that was asked for.
    #[serde(default, deserialize_with = "set")]
    host: Option<String>,
}

impl From<ExplainedRequest> for RequestPatch {
    fn from(asked: ExplainedRequest) -> Self {
        Self {
            ip: asked.ip,
            user_agent: asked.user_agent,
            request_id: asked.request_id,
            credential_kind: asked.credential_kind,
            host: asked.host,
        }
    }
}

/// What an event would run.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation {
    #[schema(schema_with = words::event)]
    event: &'static str,
    /// How many would run.
    would_run: usize,
    /// First those that would run, in their order, then the rest.
    subscriptions: Vec<ExplainedView>,
}

/// Explain Event
///
/// Which subscriptions would run if you caused this event now, in which order, and why each other
/// one would not. Nothing runs.
#[utoipa::path(post, path = "/api/cloud/events/{event_name}/explain/", tag = "events",
    operation_id = "events_explain", request_body = Explain,
    params(EventName),
    responses((status = OK, body = EventReply<Explanation>), ApiError))]
pub(crate) async fn explain(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(event): Path<String>,
    Json(request): Json<Explain>,
) -> Result<EventReply<Explanation>, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let subscribers = &app.services().subscribers;
    let asked = request.map(|asked, _| subscribers::Explain {
        params: asked.params.map(Value::Object),
        caused_by: asked.caused_by.map(InvocationId),
        request: asked.request.map(|it| it.map(RequestPatch::from)),
    });
    let explained = subscribers.explain(&caller, event, asked).await?;
    let explanation = Explanation {
        event: event.as_str(),
        would_run: explained.iter().filter(|it| it.hindrance.is_none()).count(),
        subscriptions: explained.into_iter().map(ExplainedView::from).collect(),
    };
    let message = format!("Event '{event}' explained");
    Ok(EventReply::new(message, explanation))
}

/// The app whose events are shown.
#[derive(Serialize, ToSchema)]
struct AppRef {
    id: i64,
    name: String,
    slug: String,
}

impl From<tollgate_core::apps::App> for AppRef {
    fn from(app: tollgate_core::apps::App) -> Self {
        Self {
            id: app.id.0,
            name: app.name,
            slug: app.slug,
        }
    }
}

/// The events of an app with their numbers of subscribers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppEvents {
    app: AppRef,
    events: Vec<AppEventCount>,
}

#[derive(Serialize, ToSchema)]
struct AppEventCount {
    #[schema(schema_with = words::event)]
    event: &'static str,
    total_subscribers: u64,
}

/// List App Events
#[utoipa::path(get, path = "/api/apps/{app_slug}/events/", tag = "events",
    operation_id = "app_events_list", params(("app_slug" = String, Path, description = "App slug")),
    responses((status = OK, body = EventReply<AppEvents>), ApiError))]
pub(crate) async fn app_events(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path(slug): Path<String>,
) -> Result<EventReply<AppEvents>, ApiError> {
    let (found, counts) = app
        .services()
        .subscribers
        .app_events(&caller, &slug)
        .await?;
    let events = counts
        .into_iter()
        .map(|(event, total)| AppEventCount {
            event: event.as_str(),
            total_subscribers: total,
        })
        .collect();
    let data = AppEvents {
        app: found.into(),
        events,
    };
    Ok(EventReply::new("App events retrieved successfully", data))
}

/// One event of an app with its subscribers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppEvent {
    #[schema(schema_with = words::event)]
    event: &'static str,
    app: AppRef,
    total_subscribers: usize,
    subscribers: Vec<AppEventSubscriber>,
}

/// Get App Event Details
#[utoipa::path(get, path = "/api/apps/{app_slug}/events/{event_name}/", tag = "events",
    operation_id = "app_events_get",
    params(("app_slug" = String, Path, description = "App slug"),
        EventName),
    responses((status = OK, body = EventReply<AppEvent>), ApiError))]
pub(crate) async fn app_event(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Path((slug, event)): Path<(String, String)>,
) -> Result<EventReply<AppEvent>, ApiError> {
    let event = event_type(&app, &caller, &event).await?;
    let (found, subscribers) = app
        .services()
        .subscribers
        .app_event(&caller, &slug, event)
        .await?;
    let data = AppEvent {
        event: event.as_str(),
        app: found.into(),
        total_subscribers: subscribers.len(),
        subscribers: subscribers
            .into_iter()
            .map(AppEventSubscriber::from)
            .collect(),
    };
    Ok(EventReply::new(
        format!("Event '{event}' details retrieved successfully"),
        data,
    ))
}

/// The type of this name in the caller's site.
async fn event_type(app: &AppState, caller: &Principal, name: &str) -> Result<EventType, ApiError> {
    Ok(app.services().events.named(caller, name).await?.event)
}
