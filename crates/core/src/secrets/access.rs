//! Whose secrets somebody may reach: proofs, made by a check or by the engine only.

use super::model::Shown;
use super::redaction::Told;
use crate::apps::App;
use crate::error::Error;
use crate::functions::Executable;
use crate::ids::AppId;
use crate::ports::runtime::RunReport;
use crate::rights::{Access, AppAccess, Principal, Right, SiteAccess};
use crate::site::TenantScope;
use std::sync::Arc;

/// Proof that a principal holds `R` for the secrets of one app, or for those of the whole site.
#[derive(Debug, Clone)]
pub enum TierAccess<R> {
    /// The site's.
    Site(SiteAccess<R>),
    /// One app's.
    App(AppAccess<R>),
}

impl<R: Right> TierAccess<R> {
    /// Checks the right. `app` must have been read with the principal's own scope.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) fn check(principal: Principal, app: Option<App>) -> Result<Self, Error> {
        match app {
            None => SiteAccess::check(principal).map(Self::Site),
            Some(app) => AppAccess::check(principal, app).map(Self::App),
        }
    }

    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        match self {
            Self::Site(access) => access.principal(),
            Self::App(access) => access.principal(),
        }
    }

    /// The app; none for the site.
    pub fn app(&self) -> Option<&App> {
        match self {
            Self::Site(_) => None,
            Self::App(access) => Some(access.app()),
        }
    }
}

impl<R: Right> Access for TierAccess<R> {
    fn asker(&self) -> &Principal {
        self.principal()
    }

    fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Self::check(now, self.app().cloned())
    }
}

/// The app of a running function, whose secrets it may read whoever caused the run. Made by the
/// engine of what it runs, by nobody else.
#[derive(Clone)]
pub struct OwnApp {
    scope: TenantScope,
    app: AppId,
    slug: String,
    told: Arc<Told>,
}

impl OwnApp {
    pub(crate) fn of(scope: TenantScope, executable: &Executable, told: &Arc<Told>) -> Self {
        Self {
            scope,
            app: executable.app_id,
            slug: executable.app_slug.clone(),
            told: Arc::clone(told),
        }
    }

    /// The key to the site's data.
    pub(crate) const fn scope(&self) -> TenantScope {
        self.scope
    }

    /// The app.
    pub const fn app(&self) -> AppId {
        self.app
    }

    /// The app's name in paths.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Takes the values that functions of this app were told out of what one of them reports.
    pub fn redact(&self, report: &mut RunReport) {
        self.told.redact(self.scope.site_id(), self.app, report);
    }

    /// A function is told these.
    pub(crate) async fn tell(&self, shown: &[Shown]) {
        let values = shown.iter().filter_map(|shown| shown.value.as_ref());
        self.told.note(self.scope.site_id(), self.app, values).await;
    }
}
