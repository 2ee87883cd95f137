//! Signing in, tokens, sessions, and turning a credential into a [`Principal`].
//!
//! Must never tell an unknown account from a wrong password, by words, status or time.

use super::attempts::Attempts;
use super::credentials::{Credential, hash};
use super::jwt::{TokenType, Tokens, Verified};
use super::password::{Password, Passwords};
use super::{Principal, Principals, SiteDirectory};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::ids::UserId;
use crate::limits;
use crate::ports::store::{Reason, ScopedStore, Store, Token, TokenKind};
use crate::site::{Site, TenantScope};
use crate::time::{Clock, Timestamp};
use crate::users::User;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The answer to a request without a credential.
pub const NO_CREDENTIAL: &str = "Authentication credentials were not provided.";
const WRONG_LOGIN: &str = "No active account found with the given credentials.";
const BAD_CREDENTIAL: &str = "The credential is not valid, or has expired.";
const BAD_REFRESH: &str = "The refresh token is not valid, or has expired.";

/// A refresh token that was exchanged this recently and comes again is a client that repeated a
/// request, not a thief.
const REPEAT_ALLOWED: Duration = Duration::from_secs(10);

/// What the service is built from.
pub struct AuthParts {
    /// Storage.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Signs access and refresh tokens.
    pub jwt_key: [u8; 32],
    /// Sites are sub-domains of it; none means single-site mode.
    pub base_domain: Option<String>,
    /// Shared with whoever else hashes passwords.
    pub passwords: Arc<Passwords>,
    /// Shared with whoever changes users and roles.
    pub principals: Arc<Principals>,
}

/// Signs in, issues and verifies credentials.
pub struct AuthService {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    passwords: Arc<Passwords>,
    principals: Arc<Principals>,
    sites: SiteDirectory,
    tokens: Tokens,
    attempts: Attempts,
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
}

/// A pair of tokens.
#[derive(Clone)]
pub struct TokenPair {
    /// For requests.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

/// A session with the access token that belongs to it.
#[derive(Clone)]
pub struct Session {
    /// Who signed in.
    pub user: User,
    /// For `Authorization: Bearer`.
    pub access: String,
    /// For `X-Session-Token`.
    pub session: String,
}

impl AuthService {
    /// Puts the service together.
    pub fn new(parts: AuthParts) -> Self {
        let AuthParts {
            store,
            clock,
            entropy,
            jwt_key,
            base_domain,
            passwords,
            principals,
        } = parts;
        let base_domain = base_domain.as_deref();
        Self {
            sites: SiteDirectory::new(Arc::clone(&store), Arc::clone(&clock), base_domain),
            tokens: Tokens::new(&jwt_key),
            attempts: Attempts::new(Arc::clone(&clock)),
            store,
            clock,
            entropy,
            passwords,
            principals,
        }
    }

    /// The sites by host name.
    pub const fn sites(&self) -> &SiteDirectory {
        &self.sites
    }

    /// Signs in for a pair of tokens.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`].
    pub async fn sign_in(&self, site: &Site, sign_in: SignIn<'_>) -> Result<TokenPair, Error> {
        let user = self.check_password(site, sign_in).await?;
        let family = self.entropy.uuid_v7(self.clock.now());
        self.issue_pair(site, user.id, family, true).await
    }

    /// Signs in for a session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`].
    pub async fn open_session(&self, site: &Site, sign_in: SignIn<'_>) -> Result<Session, Error> {
        let mut user = self.check_password(site, sign_in).await?;
        let now = self.clock.now();
        let access = self.issue_access(site, user.id, now)?;
        let session = self.entropy.secret();
        let token = Token {
            hash: hash(&session),
            kind: TokenKind::Session,
            user_id: user.id,
            family: self.entropy.uuid_v7(now),
            created_at: now,
            expires_at: now.plus(limits::SESSION_TTL),
            ended_at: None,
        };
        self.scoped(site).insert_token(token, true).await?;
        user.last_login = Some(now);
        self.principals.invalidate(site.id, user.id);
        Ok(Session {
            user,
            access,
            session,
        })
    }

    /// Exchanges a refresh token for a new pair; the old one ends.
    ///
    /// A token that was exchanged before and comes again may have been stolen, so everything that
    /// this user has open ends then.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn refresh(&self, site: &Site, refresh: &str) -> Result<TokenPair, Error> {
        let (verified, stored) = self.refresh_token(site, refresh).await?;
        let now = self.clock.now();
        if let Some(ended_at) = stored.ended_at {
            if now.since(ended_at) > REPEAT_ALLOWED {
                tracing::warn!(site.id = %site.id, user.id = %verified.user,
                    "a used refresh token came again; all tokens of its user end");
                self.scoped(site).end_all_tokens(verified.user, now).await?;
            }
            return Err(Error::Unauthenticated(BAD_REFRESH));
        }
        if self.principals.of(site.id, verified.user).await?.is_none()
            || !self.scoped(site).end_token(stored.hash, now).await?
        {
            return Err(Error::Unauthenticated(BAD_REFRESH));
        }
        self.issue_pair(site, verified.user, stored.family, false)
            .await
    }

    /// Ends a refresh token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is none of ours.
    pub async fn blacklist(&self, site: &Site, refresh: &str) -> Result<(), Error> {
        let (_, stored) = self.refresh_token(site, refresh).await?;
        // Ended already is as good as ended now.
        self.scoped(site)
            .end_token(stored.hash, self.clock.now())
            .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when there is no such session.
    pub async fn close_session(&self, site: &Site, session: &str) -> Result<(), Error> {
        if self
            .scoped(site)
            .end_token(hash(session), self.clock.now())
            .await?
        {
            Ok(())
        } else {
            Err(Error::Unauthenticated(BAD_CREDENTIAL))
        }
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
        let user = match credential {
            Credential::Bearer(token) => self
                .tokens
                .verify(token, site, TokenType::Access, now)
                .map(|token| token.user),
            Credential::ApiKey(key) => {
                let system = self.store.system(Reason::Authenticate);
                system.api_key_owner(site.id, &hash(key), now).await?
            }
            Credential::Session(secret) => {
                let token = self
                    .stored_token(site, &hash(secret), TokenKind::Session)
                    .await?;
                token
                    .filter(|token| token.ended_at.is_none())
                    .map(|token| token.user_id)
            }
        };
        let Some(user) = user else { return Err(bad) };
        self.principals.of(site.id, user).await?.ok_or(bad)
    }

    async fn check_password(&self, site: &Site, sign_in: SignIn<'_>) -> Result<User, Error> {
        let SignIn {
            login,
            password,
            address,
        } = sign_in;
        self.attempts.count(site.id, login, address)?;
        let wrong = Error::Unauthenticated(WRONG_LOGIN);
        let system = self.store.system(Reason::Authenticate);
        let (user, stored) = match system.login_record(site.id, login).await? {
            Some(record) => (Some(record.user), record.password_hash),
            None => (None, None),
        };
        let fits = self.passwords.verify(password, stored).await?;
        user.filter(|user| fits && user.profile.is_active && !user.is_deleted)
            .ok_or(wrong)
    }

    /// A signed refresh token that has not expired, with its record, ended or not.
    async fn refresh_token(&self, site: &Site, token: &str) -> Result<(Verified, Token), Error> {
        let bad = Error::Unauthenticated(BAD_REFRESH);
        if token.len() > limits::CREDENTIAL_BYTES {
            return Err(bad);
        }
        let now = self.clock.now();
        let Some(verified) = self.tokens.verify(token, site, TokenType::Refresh, now) else {
            return Err(bad);
        };
        let id = hash(&verified.id.to_string());
        match self.stored_token(site, &id, TokenKind::Refresh).await? {
            Some(stored) if stored.user_id == verified.user => Ok((verified, stored)),
            Some(_) | None => Err(bad),
        }
    }

    /// A stored token that has not expired, ended or not.
    async fn stored_token(
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

    async fn issue_pair(
        &self,
        site: &Site,
        user: UserId,
        family: Uuid,
        signed_in: bool,
    ) -> Result<TokenPair, Error> {
        let now = self.clock.now();
        let id = self.entropy.uuid_v7(now);
        let kind = (TokenType::Refresh, limits::REFRESH_TOKEN_TTL);
        let refresh = self
            .tokens
            .issue(site, user, kind, id, now)
            .ok_or_else(not_signed)?;
        let access = self.issue_access(site, user, now)?;
        let token = Token {
            hash: hash(&id.to_string()),
            kind: TokenKind::Refresh,
            user_id: user,
            family,
            created_at: now,
            expires_at: now.plus(limits::REFRESH_TOKEN_TTL),
            ended_at: None,
        };
        self.scoped(site).insert_token(token, signed_in).await?;
        if signed_in {
            // `last_login` changed.
            self.principals.invalidate(site.id, user);
        }
        Ok(TokenPair { access, refresh })
    }

    fn issue_access(&self, site: &Site, user: UserId, now: Timestamp) -> Result<String, Error> {
        let kind = (TokenType::Access, limits::ACCESS_TOKEN_TTL);
        let id = self.entropy.uuid_v7(now);
        self.tokens
            .issue(site, user, kind, id, now)
            .ok_or_else(not_signed)
    }

    /// Only for what follows a verified password or token.
    fn scoped(&self, site: &Site) -> Arc<dyn ScopedStore> {
        self.store.scoped(TenantScope::verified(site.id))
    }
}

fn not_signed() -> Error {
    Error::Internal("a token could not be signed".to_owned())
}
