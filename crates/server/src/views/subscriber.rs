//! Subscribers, in the two shapes of the API document.

use crate::words;
use serde::Serialize;
use tollgate_core::engine::{Explained, Hindrance};
use tollgate_core::events::EventType;
use tollgate_core::subscribers::{Inactive, Subscriber, SubscriberOptions};
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// A subscription as `subscribe` answers it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriberView {
    id: i64,
    #[schema(schema_with = words::event)]
    event: &'static str,
    function: i64,
    function_name: String,
    function_slug: String,
    app_name: String,
    app_slug: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    options: OptionsView,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<Subscriber> for SubscriberView {
    fn from(subscriber: Subscriber) -> Self {
        Self {
            id: subscriber.id.0,
            event: subscriber.event.as_str(),
            function: subscriber.function_id.0,
            function_name: subscriber.function_name,
            function_slug: subscriber.function_slug,
            app_name: subscriber.app_name,
            app_slug: subscriber.app_slug,
            created_at: subscriber.created_at,
            updated_at: subscriber.updated_at,
            options: OptionsView::new(subscriber.event, subscriber.options, subscriber.inactive),
            damaged: subscriber.damaged,
        }
    }
}

/// A subscription as an app's event lists it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppEventSubscriber {
    subscriber_id: i64,
    #[schema(schema_with = words::event)]
    event: &'static str,
    function_id: i64,
    function_name: String,
    function_slug: String,
    app_id: i64,
    app_name: String,
    app_slug: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    options: OptionsView,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<Subscriber> for AppEventSubscriber {
    fn from(subscriber: Subscriber) -> Self {
        Self {
            subscriber_id: subscriber.id.0,
            event: subscriber.event.as_str(),
            function_id: subscriber.function_id.0,
            function_name: subscriber.function_name,
            function_slug: subscriber.function_slug,
            app_id: subscriber.app_id.0,
            app_name: subscriber.app_name,
            app_slug: subscriber.app_slug,
            created_at: subscriber.created_at,
            options: OptionsView::new(subscriber.event, subscriber.options, subscriber.inactive),
            damaged: subscriber.damaged,
        }
    }
}

/// A subscription and what an event would make of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedView {
    would_run: bool,
    /// Why not.
    #[schema(schema_with = words::hindrance_or_null)]
    reason: Option<&'static str>,
    /// The same for people.
    message: Option<String>,
    /// The version that would run.
    version: Option<u32>,
    #[serde(flatten)]
    subscriber: AppEventSubscriber,
}

impl From<Explained> for ExplainedView {
    fn from(explained: Explained) -> Self {
        let hindrance = explained.hindrance;
        Self {
            would_run: hindrance.is_none(),
            reason: hindrance.as_ref().map(Hindrance::word),
            message: hindrance.map(|it| it.to_string()),
            version: explained.version,
            subscriber: explained.subscriber.into(),
        }
    }
}

/// What a subscription sets for itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OptionsView {
    priority: i32,
    /// Shown to those who may subscribe the function.
    filter: Option<String>,
    timeout_seconds: Option<f64>,
    #[schema(schema_with = words::on_timeout)]
    on_timeout: &'static str,
    max_attempts: Option<u32>,
    /// False: its function is not called. Events pass it over, unless it is `closed`.
    is_active: bool,
    /// Every operation of its PRE event is refused, because its webhook answered 410, until somebody acts.
    closed: bool,
    /// Why it is not active.
    #[schema(value_type = Option<String>)]
    deactivated_reason: Option<&'static str>,
}

impl OptionsView {
    fn new(event: EventType, options: SubscriberOptions, inactive: Option<Inactive>) -> Self {
        Self {
            priority: options.priority,
            filter: options.filter,
            timeout_seconds: options.timeout_seconds,
            on_timeout: options.on_timeout.as_str(),
            max_attempts: options.max_attempts,
            is_active: inactive.is_none(),
            closed: inactive.is_some_and(|why| why.is_closed(event)),
            deactivated_reason: inactive.map(|why| why.reason(event)),
        }
    }
}
