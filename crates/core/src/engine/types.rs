//! The one place that knows which event types a site has: the program's, and those that its apps declare.
//!
//! A name from outside is only looked up. What no site has must never be kept, neither as a handle nor
//! in a cache.

use super::Engine;
use crate::error::Error;
use crate::events::own::Fault;
use crate::events::{Event, EventSpec, EventType};
use crate::ids::AppId;
use crate::json::JsonText;
use crate::limits;
use crate::ports::store::PageRequest;
use crate::site::TenantScope;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Turns of checks that take a while.
#[derive(Debug)]
pub(super) struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::EVENT_CHECKS_AT_ONCE)))
    }
}

/// Why there is nothing to be kept.
enum Missing {
    Nowhere,
    Because(Error),
}

impl Engine {
    /// The type with this name in this site.
    ///
    /// # Errors
    /// [`Error::InvalidEventType`], which lists the names that there are.
    pub(crate) async fn event_named(
        &self,
        scope: TenantScope,
        name: &str,
    ) -> Result<EventSpec, Error> {
        match self.find_event(scope, name).await? {
            Some(spec) => Ok(spec),
            None => Err(self.no_such_event(scope, name).await),
        }
    }

    /// What is said of a name that the site has not.
    pub(crate) async fn no_such_event(&self, scope: TenantScope, name: &str) -> Error {
        match self.own_types_of(scope).await {
            Ok(own) => self.catalogue.unknown(name, &own).into(),
            Err(error) => error,
        }
    }

    /// The same, where there need not be one.
    pub(crate) async fn find_event(
        &self,
        scope: TenantScope,
        name: &str,
    ) -> Result<Option<EventSpec>, Error> {
        if let Some(spec) = self.catalogue.get(name) {
            return Ok(Some(spec.clone()));
        }
        if name.len() > limits::EVENT_NAME_BYTES {
            return Ok(None);
        }
        let load = async {
            let found = self.scoped(scope).event_type(name).await;
            match found.map_err(|error| Missing::Because(error.into()))? {
                Some(own) => Ok(EventSpec::declared(own)),
                // An error, so that it is not kept.
                None => Err(Missing::Nowhere),
            }
        };
        let key = (scope.site_id(), name.into());
        match self.own_types.get_or_load(key, load).await {
            Ok(spec) => Ok(Some(spec)),
            Err(Missing::Nowhere) => Ok(None),
            Err(Missing::Because(error)) => Err(error),
        }
    }

    /// Every type of the site: the program's in their order, then its own by app slug, then name.
    pub(crate) async fn event_types(&self, scope: TenantScope) -> Result<Vec<EventType>, Error> {
        let mut types: Vec<_> = self.catalogue.types().collect();
        types.extend(self.own_types_of(scope).await?);
        Ok(types)
    }

    /// The types that the site's apps declare.
    async fn own_types_of(&self, scope: TenantScope) -> Result<Vec<EventType>, Error> {
        let mut own = self.scoped(scope).event_type_names().await?;
        // A later version of the program may publish what an app has declared before.
        own.retain(|event| self.catalogue.get(event.as_str()).is_none());
        Ok(own)
    }

    /// The types that one app declares, by name.
    pub(crate) async fn own_types_of_app(
        &self,
        scope: TenantScope,
        app: AppId,
    ) -> Result<Vec<EventType>, Error> {
        let page = PageRequest {
            limit: u32::MAX,
            offset: 0,
        };
        let listed = self.scoped(scope).list_event_types(app, page).await?;
        Ok(listed.items.into_iter().map(|own| own.event).collect())
    }

    /// An event of an app's own type with these parameters, if its schema accepts them. What takes a while
    /// has a turn on a thread that serves nobody else.
    ///
    /// # Errors
    /// Why there is none; the faults within.
    pub(crate) async fn accept(
        &self,
        spec: &EventSpec,
        params: JsonText,
    ) -> Result<Result<Event, Vec<Fault>>, Error> {
        let Some(declared) = spec.own() else {
            let event = spec.event;
            return Err(Error::Internal(format!("{event} is no app's own type")));
        };
        if declared.is_quick(&params) {
            return Ok(declared.accept(params));
        }
        let declared = Arc::clone(declared);
        self.check_apart(move || declared.accept(params)).await
    }

    /// Takes a turn for a check that takes a while, and makes it on a thread that serves nobody else.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it broke off.
    pub(crate) async fn check_apart<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        // It is never closed.
        let turn = Arc::clone(&self.checks.0).acquire_owned().await;
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            check()
        });
        let what = "The check broke off";
        let checked = checked.await;
        checked.map_err(|cause| Error::BrokenOff { what, cause })
    }
}
