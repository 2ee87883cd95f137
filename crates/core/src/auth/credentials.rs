//! The credentials that a request can carry, and API keys.
//!
//! Must never store or log a secret: what is kept of one is its SHA-256.

use super::service::AuthService;
use crate::draft::Draft;
use crate::error::Error;
use crate::idempotency::Remember;
use crate::ids::{ApiKeyId, UserId};
use crate::ports::bus::News;
use crate::ports::store::{ApiKey, NewApiKey, to_the_end};
use crate::rights::Principal;
use crate::time::Timestamp;
use crate::validation::{FieldError, check_name};
use crate::{limits, text};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;

/// Begins every API key, so that scanners for leaked secrets can find it.
const API_KEY_MARK: &str = "tgk_";
/// How much of a key lists show.
const SHOWN_CHARS: usize = API_KEY_MARK.len() + 8;

/// A credential as received, not verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// `Authorization: Bearer …`.
    Bearer(&'a str),
    /// `Authorization: Api-Key …`.
    ApiKey(&'a str),
    /// `X-Session-Token: …`.
    Session(&'a str),
}

impl Credential<'_> {
    /// Its length in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Bearer(secret) | Self::ApiKey(secret) | Self::Session(secret) => secret.len(),
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::ApiKey(_) => "ApiKey(…)",
            Self::Session(_) => "Session(…)",
        })
    }
}

/// What is stored and looked up instead of a secret. Secrets are 32 random bytes, so a plain hash
/// is enough, and looking one up by its hash tells nothing through its timing.
pub(super) fn hash(secret: &str) -> String {
    text::hex(&Sha256::digest(secret))
}

/// An API key to be made.
#[derive(Debug, Clone)]
pub struct CreateApiKey {
    /// Its name, for people.
    pub name: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A new API key; `key` is shown this once.
#[derive(Clone)]
pub struct CreatedApiKey {
    /// The record.
    pub record: ApiKey,
    /// The secret.
    pub key: String,
}

impl AuthService {
    /// Makes an API key for the caller. What is remembered is never given the secret.
    ///
    /// # Errors
    /// [`Error::Validation`], or [`Error::BadRequest`] when the caller has too many.
    pub async fn create_api_key(
        &self,
        owner: &Principal,
        draft: Draft<CreateApiKey>,
        remember: Option<Remember<ApiKey>>,
    ) -> Result<CreatedApiKey, Error> {
        let now = self.clock.now();
        let errors = check(draft.look(), now);
        let CreateApiKey { name, expires_at } = draft.checked(errors)?;
        let store = self.store.scoped(owner.scope());
        let user_id = of_its_own(owner)?;
        if store.api_keys(user_id).await?.len() >= limits::API_KEYS_PER_USER {
            return Err(Error::BadRequest(format!(
                "You have {} API keys, which is the most; delete one first",
                limits::API_KEYS_PER_USER
            )));
        }
        let key = format!("{API_KEY_MARK}{}", self.entropy.secret());
        let new = NewApiKey {
            user_id,
            name,
            prefix: text::prefix(&key, SHOWN_CHARS).to_owned(),
            hash: hash(&key),
            created_at: now,
            expires_at,
            remember,
        };
        let record = store.insert_api_key(new).await?;
        Ok(CreatedApiKey { record, key })
    }

    /// The caller's API keys, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn api_keys(&self, owner: &Principal) -> Result<Vec<ApiKey>, Error> {
        Ok(self
            .store
            .scoped(owner.scope())
            .api_keys(of_its_own(owner)?)
            .await?)
    }

    /// Deletes one of the caller's API keys.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_api_key(&self, owner: &Principal, id: ApiKeyId) -> Result<(), Error> {
        let (scope, user) = (owner.scope(), of_its_own(owner)?);
        let (store, bus) = (self.store.scoped(scope), Arc::clone(&self.bus));
        let deleted = to_the_end(self.events.supervisor(), async move {
            let deleted = store.delete_api_key(user, id).await;
            bus.tell(&News::KeysChanged {
                site: scope.site_id(),
                user,
            });
            deleted
        });
        if deleted.await? {
            Ok(())
        } else {
            Err(Error::NotFound("API key".to_owned()))
        }
    }
}

/// Whose keys are meant. A key outlives the run of a function, so that no function has any.
fn of_its_own(owner: &Principal) -> Result<UserId, Error> {
    if owner.is_function() {
        let message = "A function has no API keys";
        return Err(Error::Forbidden(message.to_owned()));
    }
    owner.somebody().map(|user| user.id)
}

fn check(input: &CreateApiKey, now: Timestamp) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_name(&input.name, &mut errors);
    if input.expires_at.is_some_and(|end| end <= now) {
        errors.push(FieldError::new(
            "expires_at",
            "Choose a moment in the future",
        ));
    }
    errors
}
