//! Checking passwords, and turning a credential into a [`Principal`].
//!
//! Must never tell an unknown account from a wrong password, by words, status or time.

use super::attempts::Exchanges;
use super::credentials::{Credential, hash};
use super::gate::PasswordGate;
use super::jwt::{JwtKeys, TokenType, Tokens};
use super::password::Password;
use super::{Principals, SiteDirectory, scopes};
use crate::engine::EventService;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits;
use crate::ports::bus::Bus;
use crate::ports::store::{KeyOwner, Reason, ScopedStore, Store, Token, TokenKind};
use crate::request::RequestInfo;
use crate::rights::BAD_CREDENTIAL;
use crate::rights::{Principal, Proof};
use crate::site::Site;
use crate::time::{Clock, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const WRONG_LOGIN: &str = "No active account found with the given credentials.";

/// What the service is built from.
pub struct AuthParts {
    /// Storage.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Signs access and refresh tokens.
    pub jwt_keys: JwtKeys,
    /// Sites are sub-domains of it; none means single-site mode.
    pub base_domain: Option<String>,
    /// Shared with whoever else compares passwords.
    pub gate: Arc<PasswordGate>,
    /// Publishes what happens.
    pub events: EventService,
    /// Verified callers.
    pub principals: Arc<Principals>,
    /// Tells what was written.
    pub bus: Arc<dyn Bus>,
}

/// Signs in, issues and verifies credentials.
pub struct AuthService {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) principals: Arc<Principals>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) tokens: Tokens,
    pub(super) exchanges: Exchanges,
    pub(super) gate: Arc<PasswordGate>,
    pub(super) events: EventService,
    sites: Arc<SiteDirectory>,
}

/// Name and password, with where they came from.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// Username or e-mail address.
    pub login: &'a str,
    /// The password.
    pub password: Password,
    /// The client's address, where one is known.
    pub address: Option<IpAddr>,
    /// The request, for events.
    pub request: Arc<RequestInfo>,
}

impl AuthService {
    /// Puts the service together.
    pub fn new(parts: AuthParts) -> Self {
        let AuthParts {
            store,
            clock,
            entropy,
            jwt_keys,
            base_domain,
            gate,
            events,
            principals,
            bus,
        } = parts;
        let base_domain = base_domain.as_deref();
        Self {
            sites: SiteDirectory::new(Arc::clone(&store), Arc::clone(&clock), &*bus, base_domain),
            tokens: Tokens::new(&jwt_keys),
            exchanges: Exchanges::new(&clock),
            store,
            clock,
            entropy,
            gate,
            events,
            principals,
            bus,
        }
    }

    /// The sites by host name.
    pub fn sites(&self) -> &SiteDirectory {
        &self.sites
    }

    /// Whose credential this is.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it proves nothing in this site.
    pub async fn verify(
        &self,
        site: &Site,
        credential: Credential<'_>,
    ) -> Result<Principal, Error> {
        let bad = Error::Unauthenticated(BAD_CREDENTIAL);
        if credential.size() > limits::CREDENTIAL_BYTES {
            return Err(bad);
        }
        let now = self.clock.now();
        let (user, proof) = match credential {
            Credential::Bearer(token) => {
                let verified = self.tokens.verify(token, site, TokenType::Access, now);
                let Some(verified) = verified else {
                    return Err(bad);
                };
                let origin = verified.origin;
                return self
                    .principals
                    .with_token(site.id, origin)
                    .await?
                    .ok_or(bad);
            }
            Credential::ApiKey(key) => {
                let hash = hash(key);
                let owner = self.principals.keys().owner(site.id, &hash).await?;
                if let Some(owner) = owner {
                    self.note_key_use(site, owner, &hash, now).await;
                }
                (owner.map(|owner| owner.user), Proof::Key(hash))
            }
            Credential::Session(secret) => {
                let hash = hash(secret);
                let token = self.stored_token(site, &hash, TokenKind::Session).await?;
                let token = token.filter(|token| token.ended_at.is_none());
                (token.map(|token| token.user_id), Proof::Session(hash))
            }
        };
        let Some(user) = user else { return Err(bad) };
        let found = self.principals.active(site.id, user).await?;
        Ok(found.ok_or(bad)?.proved_by(proof))
    }

    /// Whether it can be noted decides nothing about the request.
    async fn note_key_use(&self, site: &Site, owner: KeyOwner, hash: &str, now: Timestamp) {
        let noted = |at: Timestamp| at <= now && now.since(at) < limits::KEY_USE_NOTED;
        if owner.last_used_at.is_some_and(noted) {
            return;
        }
        if let Err(error) = self.scoped(site, &owner).note_key_use(owner.key, now).await {
            tracing::debug!(site.id = %site.id, key.id = %owner.key, %error,
                "the use of an API key could not be noted");
        }
        self.principals.keys().noted(hash);
    }

    /// A stored token that has not expired, ended or not.
    pub(super) async fn stored_token(
        &self,
        site: &Site,
        hash: &str,
        kind: TokenKind,
    ) -> Result<Option<Token>, Error> {
        let token = self
            .store
            .system(Reason::Authenticate)
            .token(site.id, hash)
            .await?;
        let now = self.clock.now();
        Ok(token.filter(|token| token.kind == kind && now < token.expires_at))
    }

    /// The data of a site, for whoever has proved to belong to it.
    pub(super) fn scoped(&self, site: &Site, proof: &impl scopes::Proof) -> Arc<dyn ScopedStore> {
        self.store.scoped(scopes::scope(site.id, proof))
    }
}
