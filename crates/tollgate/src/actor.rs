//! Who causes events. The program knows its people; the engine knows what it is told of them.

use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use tollgate_core::engine::{Callers, HostActor, Rights};
use tollgate_core::ids::{AppId, SiteId, UserId};
use tollgate_core::json::JsonText;
use tollgate_core::ports::store::StoreError;
use tollgate_core::request::RequestInfo;
use tollgate_core::rights::{Permission, Principal};
use tollgate_core::site::Authority;

/// Somebody who causes an event, or nobody in particular. Made by [`Tollgate`](crate::Tollgate) only, so that nothing
/// is published without a scope. Cloning is cheap.
#[derive(Clone)]
pub struct Actor(pub(crate) Principal);

impl Actor {
    /// The same, by a request that the program serves: functions and filters see it as `request`.
    #[must_use]
    pub fn by_request(self, request: RequestInfo) -> Self {
        Self(self.0.by_request(Arc::new(request)))
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Actor").field(&self.0.user_id()).finish()
    }
}

/// Tells what functions are told of somebody, for runs that are taken up again after a restart.
pub trait People: Send + Sync + 'static {
    /// `user_data` of the person with this number: an object, or none when they are gone. It is called on the engine's
    /// own threads and must not block for long.
    fn data(&self, id: i64) -> Option<Value>;
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum May {
    /// The program itself.
    Everything,
    /// Whoever looks after functions.
    Manage,
    /// Whoever only causes events.
    Nothing,
}

impl Rights for May {
    fn may(&self, _: Permission, _: Option<AppId>) -> bool {
        *self != Self::Nothing
    }

    fn is_operator(&self) -> bool {
        *self == Self::Everything
    }
}

/// Somebody whom the program knows by a number, or nobody in particular.
pub(crate) fn principal(
    authority: &Authority,
    site: SiteId,
    may: May,
    id: Option<i64>,
    data: Option<&Value>,
) -> Principal {
    let actor = HostActor {
        id: id.map(UserId),
        data: data.map(JsonText::from),
        rights: Box::new(may),
    };
    Principal::of_host(authority, site, Arc::new(actor))
}

/// Asks the program who its people are.
pub(crate) struct Asked {
    pub(crate) authority: Authority,
    pub(crate) people: Option<Box<dyn People>>,
}

impl Asked {
    fn told(&self, user: UserId) -> Option<Option<Value>> {
        match &self.people {
            // Nobody can tell: they are taken for present.
            None => Some(None),
            Some(people) => people.data(user.0).map(Some),
        }
    }
}

#[async_trait::async_trait]
impl Callers for Asked {
    async fn of(&self, site: SiteId, user: UserId) -> Result<Option<Principal>, StoreError> {
        let known = |data: Option<Value>| {
            let id = Some(user.0);
            principal(&self.authority, site, May::Nothing, id, data.as_ref())
        };
        Ok(self.told(user).map(known))
    }

    async fn data(&self, _: SiteId, user: UserId) -> Result<Option<JsonText>, StoreError> {
        Ok(self.told(user).flatten().map(|data| JsonText::from(&data)))
    }

    async fn again(&self, principal: &Principal) -> Result<Option<Principal>, StoreError> {
        Ok(Some(principal.clone()))
    }
}
