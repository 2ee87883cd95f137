//! New users' records, with their numbers taken: one source of numbers for all who make users.

use super::model::{Profile, User};
use crate::engine::{Engine, IdSource};
use crate::error::Error;
use crate::ids::UserId;
use crate::ports::store::IdKind;
use std::sync::Arc;

/// Makes records of users.
pub(crate) struct Births {
    engine: Arc<Engine>,
    ids: IdSource,
}

impl Births {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            ids: IdSource::new(IdKind::User),
        }
    }

    /// A new user's record, with its number taken.
    pub(crate) async fn user(&self, profile: Profile, is_superuser: bool) -> Result<User, Error> {
        let id = UserId(self.ids.next(&*self.engine.queue()).await?);
        let now = self.engine.clock.now();
        let uuid = self.engine.entropy.uuid_v7(now);
        Ok(User::new(id, uuid, profile, is_superuser, now))
    }
}
