//! Rights as types: a service method asks for the access it needs, and only a check makes one.
//!
//! Request extractors and the functions' own `sdk_client` make accesses the same way, so there is
//! one place where a right is decided and no way to forget it.

use super::permission::Permission;
use super::principal::Principal;
use crate::app::App;
use crate::error::Error;
use std::marker::PhantomData;

/// A permission as a type.
pub trait Right: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

/// One type for each [`Permission`].
pub mod right {
    use super::{Permission, Right};

    macro_rules! rights {
        ($($name:ident),+ $(,)?) => {$(
            #[doc = concat!("[`Permission::", stringify!($name), "`].")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Right for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )+};
    }

    rights!(
        EventsSubscribe,
        AppsCreate,
        AppsManage,
        FunctionsRead,
        FunctionsDeploy,
        FunctionsExecute,
        InvocationsRead,
        InvocationsRedrive,
        SecretsRead,
        SecretsManage,
        UsersRead,
        UsersManage,
        RolesAssign,
    );
}

/// Proof that a principal holds `R` in the whole site.
#[derive(Debug, Clone)]
pub struct SiteAccess<R> {
    principal: Principal,
    right: PhantomData<fn() -> R>,
}

impl<R: Right> SiteAccess<R> {
    /// Checks the right.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn check(principal: Principal) -> Result<Self, Error> {
        principal.require(R::PERMISSION, None)?;
        Ok(Self {
            principal,
            right: PhantomData,
        })
    }

    /// The same for the same caller as they are `now`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Self::check(now)
    }

    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// Proof that a principal holds `R` in one app.
#[derive(Debug, Clone)]
pub struct AppAccess<R> {
    principal: Principal,
    app: App,
    right: PhantomData<fn() -> R>,
}

impl<R: Right> AppAccess<R> {
    /// Checks the right. `app` must have been read with the principal's own scope.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) fn check(principal: Principal, app: App) -> Result<Self, Error> {
        principal.require(R::PERMISSION, Some(app.id))?;
        Ok(Self {
            principal,
            app,
            right: PhantomData,
        })
    }

    /// The same for the same caller as they are `now`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Self::check(now, self.app.clone())
    }

    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Where it holds.
    pub fn app(&self) -> &App {
        &self.app
    }
}
