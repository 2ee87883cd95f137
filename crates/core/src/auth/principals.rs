//! Verified callers, kept for a few seconds so that a request does not cost a query.
//!
//! Whoever changes a user, a role or an app must say so here ([`Principals::invalidate`],
//! [`Principals::invalidate_site`]); a load that began before such a call is never kept. Another
//! process's change is seen when the entry ends.

use super::jwt::Origin;
use super::{Principal, Proof};
use crate::ids::{SiteId, UserId};
use crate::ports::store::{CredentialOwner, Epoch, Reason, Store, StoreError, TokenKind};
use crate::site::TenantScope;
use crate::time::{Clock, Timestamp};
use crate::users::User;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a caller is kept.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Most callers kept. When full the cache is emptied: simple, and rare by sizing.
const CAPACITY: usize = 10_000;

/// Looks callers up by their number.
pub struct Principals {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept<Known>>,
}

/// A caller, and which of the caller's access tokens have ended before their time.
#[derive(Clone)]
struct Known {
    principal: Principal,
    epoch: Epoch,
    ended: Arc<[Uuid]>,
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
        Ok(self.known(site, user).await?.map(|known| known.principal))
    }

    /// The record of whoever caused a run, who may have been switched off since. It gives no right.
    pub(crate) async fn cause(
        &self,
        site: SiteId,
        user: UserId,
    ) -> Result<Option<User>, StoreError> {
        if let Some(principal) = self.of(site, user).await? {
            return Ok(principal.user().cloned());
        }
        let system = self.store.system(Reason::Authenticate);
        let owner = system.owner(site, user, self.clock.now()).await?;
        Ok(owner.map(|owner| owner.user))
    }

    /// As [`Self::of`] for whoever came with an access token; none when it has been ended.
    pub(super) async fn with_token(
        &self,
        site: SiteId,
        origin: Origin,
    ) -> Result<Option<Principal>, StoreError> {
        let known = self.known(site, origin.user).await?;
        let lives =
            |known: &Known| known.epoch == origin.epoch && !known.ended.contains(&origin.family);
        let known = known.filter(lives);
        Ok(known.map(|known| known.principal.proved_by(Proof::Token(origin))))
    }

    /// The same caller with the rights that count now; none when what proved them holds no more. Only
    /// for callers who are no function.
    pub(crate) async fn again(
        &self,
        principal: &Principal,
    ) -> Result<Option<Principal>, StoreError> {
        let Some(proof) = principal.proof() else {
            return Ok(Some(principal.clone()));
        };
        let (site, now) = (principal.scope().site_id(), self.clock.now());
        let system = self.store.system(Reason::Authenticate);
        let user = match proof {
            Proof::Token(origin) => return self.with_token(site, *origin).await,
            Proof::Key(hash) => {
                let owner = system.api_key_owner(site, hash, now).await?;
                owner.map(|owner| owner.user)
            }
            Proof::Session(hash) => {
                let token = system.token(site, hash).await?;
                let token = token.filter(|it| it.is_open(TokenKind::Session, now));
                token.map(|token| token.user_id)
            }
        };
        let Some(user) = user else { return Ok(None) };
        let found = self.of(site, user).await?;
        Ok(found.map(|found| found.proved_by(proof.clone())))
    }

    async fn known(&self, site: SiteId, user: UserId) -> Result<Option<Known>, StoreError> {
        let key = (site, user);
        let now = self.clock.monotonic();
        let load = match self.kept.lock().find(key, now) {
            Found::Kept(known) => return Ok(Some(known)),
            Found::Missing(load) => load,
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
        let known = Known {
            principal: Principal::verified(scope, owner.user, owner.grants),
            epoch: owner.epoch,
            ended: owner.ended_families.into(),
        };
        self.kept.lock().keep(key, known.clone(), until, load);
        Ok(Some(known))
    }

    /// The user, the user's roles or credentials changed.
    pub fn invalidate(&self, site: SiteId, user: UserId) {
        self.kept.lock().drop_where(Change::Of((site, user)));
    }

    /// Something changed that many users' roles hang on, for example an app was deleted.
    pub fn invalidate_site(&self, site: SiteId) {
        self.kept.lock().drop_where(Change::In(site));
    }
}

type Key = (SiteId, UserId);

/// What is kept, with a count of invalidations: a load remembers the count at its beginning.
struct Kept<V> {
    entries: HashMap<Key, (V, Instant)>,
    invalidations: u64,
}

/// The invalidations before a load began.
#[derive(Clone, Copy)]
struct Load(u64);

enum Found<V> {
    Kept(V),
    Missing(Load),
}

enum Change {
    Of(Key),
    In(SiteId),
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            invalidations: 0,
        }
    }
}

impl<V: Clone> Kept<V> {
    fn find(&self, key: Key, now: Instant) -> Found<V> {
        match self.entries.get(&key) {
            Some((value, until)) if *until > now => Found::Kept(value.clone()),
            _ => Found::Missing(Load(self.invalidations)),
        }
    }

    fn keep(&mut self, key: Key, value: V, until: Instant, load: Load) {
        if self.invalidations == load.0 {
            if self.entries.len() >= CAPACITY {
                self.entries.clear();
            }
            self.entries.insert(key, (value, until));
        }
    }

    fn drop_where(&mut self, change: Change) {
        self.invalidations += 1;
        match change {
            Change::Of(key) => drop(self.entries.remove(&key)),
            Change::In(site) => self.entries.retain(|(of, _), _| *of != site),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    const ANN: Key = (SiteId(1), UserId(1));
    const BOB: Key = (SiteId(2), UserId(2));

    fn value(kept: &Kept<u32>, key: Key, now: Instant) -> Option<u32> {
        match kept.find(key, now) {
            Found::Kept(value) => Some(value),
            Found::Missing(_) => None,
        }
    }

    fn load(kept: &Kept<u32>, key: Key, now: Instant) -> Load {
        match kept.find(key, now) {
            Found::Missing(load) => load,
            Found::Kept(value) => panic!("{value} is kept"),
        }
    }

    #[test]
    fn a_caller_is_kept_until_the_entry_ends() {
        let (now, mut kept) = (SystemClock.monotonic(), Kept::default());
        let begun = load(&kept, ANN, now);
        kept.keep(ANN, 1, now + KEPT_FOR, begun);
        assert_eq!(value(&kept, ANN, now), Some(1));
        assert_eq!(value(&kept, ANN, now + KEPT_FOR), None);
    }

    #[test]
    fn an_invalidation_drops_what_it_names() {
        let (now, mut kept) = (SystemClock.monotonic(), Kept::default());
        let fill = |kept: &mut Kept<u32>| {
            for key in [ANN, BOB] {
                kept.keep(key, 1, now + KEPT_FOR, Load(kept.invalidations));
            }
        };
        fill(&mut kept);
        kept.drop_where(Change::Of(ANN));
        assert_eq!(
            (value(&kept, ANN, now), value(&kept, BOB, now)),
            (None, Some(1))
        );
        fill(&mut kept);
        kept.drop_where(Change::In(SiteId(2)));
        assert_eq!(
            (value(&kept, ANN, now), value(&kept, BOB, now)),
            (Some(1), None)
        );
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_kept() {
        let (now, mut kept) = (SystemClock.monotonic(), Kept::default());
        let begun = load(&kept, ANN, now);
        kept.drop_where(Change::Of(ANN));
        kept.keep(ANN, 1, now + KEPT_FOR, begun);
        assert_eq!(value(&kept, ANN, now), None);
    }

    #[test]
    fn no_more_than_the_capacity_is_kept() {
        let (now, mut kept) = (SystemClock.monotonic(), Kept::default());
        for n in 0..=CAPACITY as i64 {
            kept.keep((SiteId(1), UserId(n)), 1, now + KEPT_FOR, Load(0));
            assert!(kept.entries.len() <= CAPACITY);
        }
    }
}
