//! Reading and changing what users set for themselves.

use super::UserService;
use super::preferences::shown;
use super::preferences::{Preferences, PreferencesChange};
use crate::draft::Draft;
use crate::error::Error;
use crate::json::Object;
use crate::rights::Principal;

impl UserService {
    /// The caller's own preferences.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn preferences(&self, principal: &Principal) -> Result<Preferences, Error> {
        let store = self.engine.scoped(principal.scope());
        let found = store.preferences(principal.somebody()?.id).await?;
        let found = found.ok_or_else(gone)?;
        Ok(Preferences {
            set: shown(found.set),
            ..found
        })
    }

    /// Changes the caller's own preferences. No event is published.
    ///
    /// # Errors
    /// [`Error::Validation`] when they become too large.
    pub async fn change_preferences(
        &self,
        principal: &Principal,
        change: Draft<PreferencesChange>,
    ) -> Result<Object, Error> {
        let store = self.engine.scoped(principal.scope());
        let user = principal.somebody()?.id;
        // Without faults, the write itself checks it.
        let found = match change.faults().is_empty() {
            true => None,
            false => {
                let before = store.preferences(user).await?.ok_or_else(gone)?;
                change.look().applied_to(before.set).err()
            }
        };
        let change = change.checked(found.into_iter().collect())?;
        match store.change_preferences(user, change).await? {
            Some(Ok(after)) => Ok(shown(after)),
            Some(Err(error)) => Err(Error::Validation(vec![error])),
            None => Err(gone()),
        }
    }
}

fn gone() -> Error {
    Error::NotFound("User".to_owned())
}
