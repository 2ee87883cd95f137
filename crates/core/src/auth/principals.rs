//! Verified callers, kept for a few seconds so that a request does not cost a query.
//!
//! The bus tells of each change of a user, a role or an app; what was loaded before such news is never kept. Must
//! never keep a caller for longer than the shortest of what makes them one.

use super::keys::Keys;
use super::scopes::scope;
use crate::cache::{Cache, Found};
use crate::engine::Callers;
use crate::ids::{SiteId, UserId};
use crate::json::JsonText;
use crate::limits;
use crate::ports::bus::{Bus, Listener, News};
use crate::ports::store::{CredentialOwner, Epoch, Reason, Store, StoreError, Token, TokenKind};
use crate::rights::Origin;
use crate::rights::{Principal, Proof};
use crate::time::{Clock, Timestamp};
use crate::users::events::UserParams;
use async_trait::async_trait;
use std::sync::{Arc, Weak};
use std::time::Duration;
use uuid::Uuid;

/// Looks callers up by their number.
pub struct Principals {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    kept: Cache<Key, Known>,
    keys: Keys,
}

/// A caller, and which of the caller's access tokens have ended before their time.
#[derive(Clone)]
struct Known {
    principal: Principal,
    epoch: Epoch,
    ended: Arc<[Uuid]>,
}

impl Principals {
    /// An empty cache over `store`, which forgets what `bus` tells of.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, bus: &dyn Bus) -> Arc<Self> {
        let (kept, age) = (limits::CALLERS_IN_MEMORY, limits::CALLER_AGE);
        let principals = Arc::new(Self {
            keys: Keys::new(Arc::clone(&store), Arc::clone(&clock)),
            kept: Cache::new(Arc::clone(&clock), kept, age),
            store,
            clock,
        });
        let listener: Weak<Self> = Arc::downgrade(&principals);
        bus.listen(listener);
        principals
    }

    /// Whose API keys there are.
    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The active user with this number, with the roles that count now.
    ///
    /// Only for code that has verified a credential, or acts for a user who had one.
    pub(super) async fn active(
        &self,
        site: SiteId,
        user: UserId,
    ) -> Result<Option<Principal>, StoreError> {
        Ok(self.known(site, user).await?.map(|known| known.principal))
    }

    /// As [`Self::active`] for whoever came with an access token; none when it has been ended.
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

    async fn known(&self, site: SiteId, user: UserId) -> Result<Option<Known>, StoreError> {
        let key = (site, user);
        let load = match self.kept.find(&key) {
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
        let lasting = lasting(&owner, wall);
        let scope = scope(site, &owner);
        let known = Known {
            principal: Principal::verified(scope, owner.user, owner.grants),
            epoch: owner.epoch,
            ended: owner.ended_families.into(),
        };
        self.kept.keep(key, known.clone(), lasting, load);
        Ok(Some(known))
    }
}

impl Listener for Principals {
    fn hear(&self, news: &News) {
        match news {
            News::PrincipalChanged {
                site,
                user: Some(user),
            } => self.kept.drop_one(&(*site, *user)),
            News::PrincipalChanged { site, user: None } => {
                self.kept.drop_where(|(of, _), _| of == site);
            }
            News::KeysChanged { site, user } => self.keys.deleted(*site, *user),
            _ => {}
        }
    }
}

#[async_trait]
impl Callers for Principals {
    async fn of(&self, site: SiteId, user: UserId) -> Result<Option<Principal>, StoreError> {
        self.active(site, user).await
    }

    async fn data(&self, site: SiteId, user: UserId) -> Result<Option<JsonText>, StoreError> {
        if let Some(principal) = self.active(site, user).await? {
            return Ok(principal.data());
        }
        let system = self.store.system(Reason::Authenticate);
        let owner = system.owner(site, user, self.clock.now()).await?;
        let data = owner.map(|owner| JsonText::of(&UserParams::from(&owner.user)));
        Ok(data.and_then(Result::ok))
    }

    async fn again(&self, principal: &Principal) -> Result<Option<Principal>, StoreError> {
        let Some(proof) = principal.proof() else {
            return Ok(Some(principal.clone()));
        };
        let site = principal.scope().site_id();
        let user = match proof {
            Proof::Token(origin) => return self.with_token(site, *origin).await,
            Proof::Key(hash) => self.keys.owner(site, hash).await?.map(|owner| owner.user),
            Proof::Session(hash) => {
                let system = self.store.system(Reason::Authenticate);
                let token = system.token(site, hash).await?;
                let open = |it: &Token| it.is_open(TokenKind::Session, self.clock.now());
                let token = token.filter(open);
                token.map(|token| token.user_id)
            }
        };
        let Some(user) = user else { return Ok(None) };
        let found = self.active(site, user).await?;
        Ok(found.map(|found| found.proved_by(proof.clone())))
    }
}

type Key = (SiteId, UserId);

/// Until the first role ends.
fn lasting(owner: &CredentialOwner, now: Timestamp) -> Duration {
    let ends = owner.grants.iter().filter_map(|grant| grant.expires_at);
    let first = ends.map(|end| end.since(now)).min();
    first.unwrap_or(limits::CALLER_AGE)
}
