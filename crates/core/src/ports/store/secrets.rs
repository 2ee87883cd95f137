//! Secrets of one site, their values sealed.

use super::StoreError;
use crate::ids::AppId;
use crate::secrets::{NewSecret, SealedSecret, Secret, SecretChange};
use crate::time::Timestamp;
use async_trait::async_trait;

/// Secrets. `app` is the app whose own they are; none is the site.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// All of one owner, by key; values stay where they are.
    async fn secrets(&self, app: Option<AppId>) -> Result<Vec<Secret>, StoreError>;

    /// One with its value.
    async fn secret(
        &self,
        app: Option<AppId>,
        key: &str,
    ) -> Result<Option<SealedSecret>, StoreError>;

    /// Stores one. Conflicts: `Secret`, `Gone` (no such app).
    async fn insert_secret(&self, new: NewSecret) -> Result<Secret, StoreError>;

    /// Changes one. Conflicts: `Changed`, `Gone`.
    async fn update_secret(&self, change: SecretChange) -> Result<Secret, StoreError>;

    /// Deletes one, if it was last changed at `expected`. False when absent. Conflict: `Changed`.
    async fn delete_secret(
        &self,
        app: Option<AppId>,
        key: &str,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError>;
}
