//! Event types that the apps of one site declare.

use super::{Page, PageRequest, StoreError};
use crate::events::EventType;
use crate::events::own::OwnType;
use crate::idempotency::Remember;
use crate::ids::AppId;
use crate::json::JsonText;
use crate::time::Timestamp;
use async_trait::async_trait;

/// An event type to be stored.
#[derive(Debug, Clone)]
pub struct NewOwnType {
    /// Its name, which is no type's yet and is kept by nobody before it is stored.
    pub name: String,
    /// The app that declares it.
    pub app: AppId,
    /// When it is published, for people.
    pub description: String,
    /// JSON Schema of its parameters.
    pub params_schema: JsonText,
    /// Parameters that the schema accepts.
    pub sample: JsonText,
    /// Now.
    pub created_at: Timestamp,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<OwnType>>,
}

/// New values for an event type.
#[derive(Debug, Clone)]
pub struct OwnTypeChange {
    /// The type as it will stand; its `updated_at` is the one that was read: whoever changed it meanwhile is
    /// not overwritten.
    pub own: OwnType,
    /// Now.
    pub at: Timestamp,
}

/// Event types of apps. A name is unique in the site. Each name that was ever declared is remembered, and
/// there are at most [`crate::limits::EVENT_NAMES_PER_SITE`]: a process keeps what it reads.
#[async_trait]
pub trait EventTypeStore: Send + Sync {
    /// Types of one app by name.
    async fn list_event_types(
        &self,
        app: AppId,
        page: PageRequest,
    ) -> Result<Page<OwnType>, StoreError>;

    /// The type of this name, whichever app's it is.
    async fn event_type(&self, name: &str) -> Result<Option<OwnType>, StoreError>;

    /// All types of the site, by app slug, then name.
    async fn event_type_names(&self) -> Result<Vec<EventType>, StoreError>;

    /// Stores a type. Conflicts: `EventType` (the name is taken), `EventTypes` (the app has as many as it
    /// may), `EventNames` (the site has), `Gone` (no such app).
    async fn insert_event_type(&self, new: NewOwnType) -> Result<OwnType, StoreError>;

    /// Writes description, schema and sample. Conflicts: `Changed`, `Gone`.
    async fn update_event_type(&self, change: OwnTypeChange) -> Result<OwnType, StoreError>;

    /// Deletes a type of an app, if it was last changed at `expected`. False when absent. Conflicts: `Changed`;
    /// `Subscribed` while functions are subscribed to it.
    async fn delete_event_type(
        &self,
        app: AppId,
        event: EventType,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// How many functions are subscribed to each type that has some, of one app or of all.
    async fn subscriber_counts(
        &self,
        app: Option<AppId>,
    ) -> Result<Vec<(EventType, u64)>, StoreError>;
}
