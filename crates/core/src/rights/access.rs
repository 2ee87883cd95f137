//! Rights as types: a service method asks for the access it needs, and only a check makes one.
//!
//! Request extractors and the functions' own `sdk_client` make accesses the same way, so there is
//! one place where a right is decided and no way to forget it.

use super::permission::Permission;
use super::principal::Principal;
use crate::apps::App;
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

/// What was checked once, and is checked again where time has passed: rights hold when they are used.
pub trait Access: Sized + Send + Sync {
    /// Who asks.
    fn asker(&self) -> &Principal;

    /// The same for the same caller as they are `now`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    fn held_by(&self, now: Principal) -> Result<Self, Error>;
}

/// Of whoever asks for what takes no right, or one that is checked by itself.
impl Access for Principal {
    fn asker(&self) -> &Principal {
        self
    }

    fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Ok(now)
    }
}

impl<R: Right> Access for SiteAccess<R> {
    fn asker(&self) -> &Principal {
        &self.principal
    }

    fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Self::check(now)
    }
}

impl<R: Right> Access for AppAccess<R> {
    fn asker(&self) -> &Principal {
        &self.principal
    }

    fn held_by(&self, now: Principal) -> Result<Self, Error> {
        Self::check(now, self.app.clone())
    }
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

    /// Who holds it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Where it holds.
    pub fn app(&self) -> &App {
        &self.app
    }
}
