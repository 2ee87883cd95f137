//! Verified callers, kept for a few seconds so that a request does not cost a query.
//!
//! Whoever changes a user, a role or an app must say so here ([`Principals::invalidate`],
//! [`Principals::invalidate_site`]); a load that began before such a call is never kept. Another
//! process's change is seen when the entry ends.

use super::Principal;
use crate::ids::{SiteId, UserId};
use crate::ports::store::{CredentialOwner, Reason, Store, StoreError};
use crate::site::TenantScope;
use crate::time::{Clock, Timestamp};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller is kept.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Most callers kept. When full the cache is emptied: simple, and rare by sizing.
const CAPACITY: usize = 10_000;

/// Looks callers up by their number.
pub struct Principals {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<(SiteId, UserId), Entry>,
    /// Counts invalidations.
    generation: u64,
}

struct Entry {
    principal: Principal,
    until: Instant,
}

impl Principals {
    /// An empty cache over `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The active user with this number, with the roles that count now.
    ///
    /// Only for code that has verified a credential, or acts for a user who had one.
    pub(crate) async fn of(
        &self,
        site: SiteId,
        user: UserId,
    ) -> Result<Option<Principal>, StoreError> {
        let now = self.clock.monotonic();
        let generation = {
            let kept = self.kept.lock();
            match kept.entries.get(&(site, user)) {
                Some(entry) if entry.until > now => return Ok(Some(entry.principal.clone())),
                _ => kept.generation,
            }
        };
        let wall = self.clock.now();
        let system = self.store.system(Reason::Authenticate);
        let Some(owner) = system.owner(site, user, wall).await? else {
            return Ok(None);
        };
        if !owner.user.profile.is_active || owner.user.is_deleted {
            return Ok(None);
        }
        let until = now + keep_for(&owner, wall);
        let scope = TenantScope::verified(site);
        let principal = Principal::verified(scope, owner.user, owner.grants);
        self.keep(
            (site, user),
            Entry {
                principal: principal.clone(),
                until,
            },
            generation,
        );
        Ok(Some(principal))
    }

    /// The user or the user's roles changed.
    pub fn invalidate(&self, site: SiteId, user: UserId) {
        let mut kept = self.kept.lock();
        kept.generation += 1;
        kept.entries.remove(&(site, user));
    }

    /// Something changed that many users' roles hang on, for example an app was deleted.
    pub fn invalidate_site(&self, site: SiteId) {
        let mut kept = self.kept.lock();
        kept.generation += 1;
        kept.entries.retain(|(of, _), _| *of != site);
    }

    fn keep(&self, key: (SiteId, UserId), entry: Entry, generation: u64) {
        let mut kept = self.kept.lock();
        if kept.generation == generation {
            if kept.entries.len() >= CAPACITY {
                kept.entries.clear();
            }
            kept.entries.insert(key, entry);
        }
    }
}

/// Never longer than the first role lasts.
fn keep_for(owner: &CredentialOwner, now: Timestamp) -> Duration {
    let ends = owner.grants.iter().filter_map(|grant| grant.expires_at);
    ends.map(|end| end.since(now))
        .min()
        .map_or(KEPT_FOR, |first| first.min(KEPT_FOR))
}
