//! Whose API key has which hash, kept for a few seconds.
//!
//! Must never outlive a key: the bus tells of each deletion, and no key is kept beyond its own end.

use crate::cache::{Cache, Found};
use crate::ids::{SiteId, UserId};
use crate::limits;
use crate::ports::store::{KeyOwner, Reason, Store, StoreError};
use crate::time::Clock;
use std::sync::Arc;

/// Looks keys up by their hash.
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    kept: Cache<String, (SiteId, KeyOwner)>,
}

impl Keys {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            kept: Cache::new(
                Arc::clone(&clock),
                limits::CALLERS_IN_MEMORY,
                limits::CALLER_AGE,
            ),
            store,
            clock,
        }
    }

    /// Whose key has this hash in this site and has not expired.
    pub(super) async fn owner(
        &self,
        site: SiteId,
        hash: &str,
    ) -> Result<Option<KeyOwner>, StoreError> {
        let load = match self.kept.find(hash) {
            Found::Kept((of, owner)) => return Ok((of == site).then_some(owner)),
            Found::Missing(load) => load,
        };
        let wall = self.clock.now();
        let system = self.store.system(Reason::Authenticate);
        let owner = system.api_key_owner(site, hash, wall).await?;
        if let Some(owner) = owner {
            let left = owner.expires_at.map(|end| end.since(wall));
            let lasting = left.unwrap_or(limits::CALLER_AGE);
            self.kept
                .keep(hash.to_owned(), (site, owner), lasting, load);
        }
        Ok(owner)
    }

    /// Something is noted of this key: it is read again.
    pub(super) fn noted(&self, hash: &str) {
        self.kept.drop_one(hash);
    }

    /// Keys of this user were deleted.
    pub(super) fn deleted(&self, site: SiteId, user: UserId) {
        let of = |_: &String, (of, owner): &(SiteId, KeyOwner)| *of == site && owner.user == user;
        self.kept.drop_where(of);
    }
}
