//! The one place where a password that somebody typed is compared with an account's.
//!
//! Must never tell an unknown account from a wrong password, by words, status or time, and never let
//! one address keep the owner of an account out from another.

use super::attempts::{Attempt, SignIns, key, network};
use super::lanes::Source;
use super::password::{Fit, Password, Passwords};
use super::scopes::scope;
use crate::error::Error;
use crate::ids::{SiteId, UserId};
use crate::ports::store::{LoginRecord, Reason, Store};
use crate::site::TenantScope;
use crate::time::Clock;
use crate::users::User;
use crate::validation::FieldError;
use std::net::IpAddr;
use std::sync::Arc;

/// A password that somebody typed to show who they are.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The password.
    pub password: Password,
    /// Where it came from, where that is known.
    pub address: Option<IpAddr>,
}

/// Compares passwords, and counts those that are wrong.
pub struct PasswordGate {
    store: Arc<dyn Store>,
    passwords: Arc<Passwords>,
    sign_ins: SignIns,
}

impl PasswordGate {
    /// A gate in front of the accounts of `store`.
    pub fn new(store: Arc<dyn Store>, clock: &Arc<dyn Clock>, passwords: Arc<Passwords>) -> Self {
        Self {
            store,
            passwords,
            sign_ins: SignIns::new(clock),
        }
    }

    /// The account that signs in by this name and password, active or not.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(super) async fn sign_in(
        &self,
        site: SiteId,
        login: &str,
        typed: Typed,
    ) -> Result<Option<LoginRecord>, Error> {
        let system = self.store.system(Reason::Authenticate);
        let mut record = system.login_record(site, login).await?;
        let account = record.as_ref().map(|record| record.user.id);
        let attempt = self.begin(site, login, account, &typed).await?;
        if !attempt.delay.is_zero() {
            // It has waited, and the account may have changed meanwhile.
            let now = system.login_record(site, login).await;
            record = now.map_err(|error| self.undone(&attempt, error.into()))?;
        }
        let active = |record: &LoginRecord| record.user.profile.is_active;
        // A right password of an account that is closed must look like a wrong one.
        let stored = record.as_ref().and_then(|it| it.password_hash.clone());
        let password = typed.password.clone();
        let fit = self.compare(&attempt, site, typed, stored).await?;
        let record = record.filter(|record| fit != Fit::No && active(record));
        if let Some(record) = &record {
            self.sign_ins.succeeded(&attempt);
            if let (Fit::AsTyped, Some(old)) = (fit, &record.password_hash) {
                let scope = scope(site, record);
                self.rehash(scope, record.user.id, (password, old)).await;
            }
        }
        Ok(record)
    }

    /// Makes sure that whoever changes their own account knows its password. An account without one
    /// has nothing to ask for.
    ///
    /// # Errors
    /// [`Error::Validation`] about `current_password`; [`Error::RateLimited`].
    pub(crate) async fn prove(
        &self,
        site: SiteId,
        user: &User,
        current: Option<Typed>,
    ) -> Result<(), Error> {
        let system = self.store.system(Reason::Authenticate);
        let record = system.login_record_of(site, user.id).await?;
        let Some(stored) = record.and_then(|record| record.password_hash) else {
            return Ok(());
        };
        let refused = |message: &str| {
            let error = FieldError::new("current_password", message);
            Err(Error::Validation(vec![error]))
        };
        let Some(typed) = current else {
            return refused("Give your current password to change your password or e-mail address");
        };
        let (login, account) = (&user.profile.username, Some(user.id));
        let attempt = self.begin(site, login, account, &typed).await?;
        match self.compare(&attempt, site, typed, Some(stored)).await? {
            Fit::No => refused("This is not your current password"),
            Fit::Yes | Fit::AsTyped => {
                self.sign_ins.succeeded(&attempt);
                Ok(())
            }
        }
    }

    /// Counts the attempt, and waits as long as those before it have earned.
    async fn begin(
        &self,
        site: SiteId,
        login: &str,
        account: Option<UserId>,
        typed: &Typed,
    ) -> Result<Attempt, Error> {
        let attempt = self.sign_ins.begin(site, login, account, typed.address)?;
        if !attempt.delay.is_zero() {
            tokio::time::sleep(attempt.delay).await;
        }
        Ok(attempt)
    }

    async fn compare(
        &self,
        attempt: &Attempt,
        site: SiteId,
        typed: Typed,
        stored: Option<String>,
    ) -> Result<Fit, Error> {
        let network = typed.address.map(network).unwrap_or_default();
        let source = Source::Stranger(key("hash", site, &[&network]));
        let compared = self.passwords.verify(typed.password, stored, source).await;
        compared.map_err(|error| self.undone(attempt, error))
    }

    /// The hash of one spelling becomes that of all. Whether it does decides nothing about the sign-in.
    async fn rehash(&self, scope: TenantScope, user: UserId, (password, old): (Password, &str)) {
        let store = self.store.scoped(scope);
        let replaced = match self.passwords.hash(password).await {
            Ok(new) => store
                .replace_password_hash(user, old.to_owned(), new)
                .await
                .map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = replaced {
            tracing::warn!(site.id = %scope.site_id(), user.id = %user, %error,
                "a password's hash could not be brought up to date; the next sign-in tries again");
        }
    }

    fn undone(&self, attempt: &Attempt, error: Error) -> Error {
        self.sign_ins.undo(attempt);
        error
    }
}
