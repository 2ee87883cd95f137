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

/// What the program itself may do, and whoever acts in its name.
#[derive(Debug)]
struct Everything;

impl Rights for Everything {
    fn may(&self, _: Permission, _: Option<AppId>) -> bool {
        true
    }

    fn is_operator(&self) -> bool {
        true
    }
}

/// What those may do who look after functions.
#[derive(Debug)]
struct Managing;

impl Rights for Managing {
    fn may(&self, _: Permission, _: Option<AppId>) -> bool {
        true
    }
}

/// What those may do who only cause events.
#[derive(Debug)]
struct Nothing;

impl Rights for Nothing {
    fn may(&self, _: Permission, _: Option<AppId>) -> bool {
        false
    }
}

/// The program itself.
pub(crate) fn program(authority: &Authority, site: SiteId) -> Principal {
    let actor = HostActor {
        id: None,
        data: None,
        rights: Box::new(Everything),
    };
    Principal::of_host(authority, site, Arc::new(actor))
}

/// Somebody who looks after functions.
pub(crate) fn manager(authority: &Authority, site: SiteId, id: i64, data: &Value) -> Principal {
    let actor = HostActor {
        id: Some(UserId(id)),
        data: Some(JsonText::from(data)),
        rights: Box::new(Managing),
    };
    Principal::of_host(authority, site, Arc::new(actor))
}

/// Somebody, or nobody in particular.
pub(crate) fn somebody(
    authority: &Authority,
    site: SiteId,
    id: Option<i64>,
    data: Option<&Value>,
) -> Principal {
    let actor = HostActor {
        id: id.map(UserId),
        data: data.map(JsonText::from),
        rights: Box::new(Nothing),
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
        let told = self.told(user);
        Ok(told.map(|data| somebody(&self.authority, site, Some(user.0), data.as_ref())))
    }

    async fn data(&self, _: SiteId, user: UserId) -> Result<Option<JsonText>, StoreError> {
        Ok(self.told(user).flatten().map(|data| JsonText::from(&data)))
    }

    async fn again(&self, principal: &Principal) -> Result<Option<Principal>, StoreError> {
        Ok(Some(principal.clone()))
    }
}
