//! Whose API key has which hash, kept for a few seconds.
//!
//! Must never outlive a key: whoever deletes one says so here ([`Keys::deleted`]), and no key is kept
//! beyond its own end. Another process's deletion is seen when the entry ends.

use super::kept::{Found, Kept};
use super::principals::KEPT_FOR;
use crate::ids::{SiteId, UserId};
use crate::ports::store::{KeyOwner, Reason, Store, StoreError};
use crate::time::Clock;
use parking_lot::Mutex;
use std::sync::Arc;

/// Looks keys up by their hash.
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept<String, (SiteId, KeyOwner)>>,
}

impl Keys {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            kept: Mutex::default(),
        }
    }

    /// Whose key has this hash in this site and has not expired.
    pub(super) async fn owner(
        &self,
        site: SiteId,
        hash: &str,
    ) -> Result<Option<KeyOwner>, StoreError> {
        let now = self.clock.monotonic();
        let load = match self.kept.lock().find(hash, now) {
            Found::Kept((of, owner)) => return Ok((of == site).then_some(owner)),
            Found::Missing(load) => load,
        };
        let wall = self.clock.now();
        let system = self.store.system(Reason::Authenticate);
        let owner = system.api_key_owner(site, hash, wall).await?;
        if let Some(owner) = owner {
            let left = owner.expires_at.map(|end| end.since(wall));
            let until = now + left.map_or(KEPT_FOR, |left| left.min(KEPT_FOR));
            let kept = &mut self.kept.lock();
            kept.keep(hash.to_owned(), (site, owner), until, load);
        }
        Ok(owner)
    }

    /// Something is noted of this key: it is read again.
    pub(super) fn noted(&self, hash: &str) {
        self.kept.lock().drop_one(hash);
    }

    /// A key of this user was deleted.
    pub(super) fn deleted(&self, site: SiteId, user: UserId) {
        let of = |_: &String, (of, owner): &(SiteId, KeyOwner)| *of == site && owner.user == user;
        self.kept.lock().drop_where(of);
    }
}
