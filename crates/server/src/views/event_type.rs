//! Event types that apps declare.

use crate::words;
use serde::Serialize;
use tollgate_core::events::Phase;
use tollgate_core::events::own::OwnType;
use tollgate_core::json::JsonText;
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;

/// An event type of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventTypeView {
    #[schema(schema_with = words::own_event)]
    name: &'static str,
    /// The same.
    #[schema(schema_with = words::own_event)]
    event: &'static str,
    /// Always `POST`.
    #[schema(schema_with = words::phase)]
    phase: Phase,
    description: String,
    /// JSON Schema of the parameters, as it was sent.
    #[schema(value_type = Object)]
    params_schema: JsonText,
    /// Parameters that the schema accepts, as they were sent.
    #[schema(value_type = Object)]
    sample: JsonText,
    app: i64,
    app_slug: String,
    /// Functions of the site that are subscribed to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    total_subscribers: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

impl From<OwnType> for EventTypeView {
    fn from(own: OwnType) -> Self {
        Self {
            name: own.event.as_str(),
            event: own.event.as_str(),
            phase: own.event.phase(),
            description: own.description,
            params_schema: own.params_schema,
            sample: own.sample,
            app: own.app.0,
            app_slug: own.app_slug,
            total_subscribers: Some(own.total_subscribers),
            created_at: own.created_at,
            updated_at: own.updated_at,
            damaged: own.damaged,
        }
    }
}

impl EventTypeView {
    /// What its tag is made of: who is subscribed is no part of the type.
    pub(crate) fn tagged(own: OwnType) -> Self {
        Self {
            total_subscribers: None,
            ..Self::from(own)
        }
    }
}
