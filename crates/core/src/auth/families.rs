//! Sign-ins and what comes from them: sessions, refresh tokens that rotate, access tokens.
//!
//! All that comes from one sign-in is a family and ends together. Must never store a token whose
//! family or epoch has ended meanwhile: the store checks both in the transaction that writes it.

use super::AuthService;
use super::credentials::hash;
use super::events::AddedClaims;
use super::jwt::{TokenType, Verified};
use crate::error::Error;
use crate::ids::UserId;
use crate::limits;
use crate::ports::bus::News;
use crate::ports::store::{Epoch, Reason, Token, TokenKind, Work, to_the_end};
use crate::request::RequestInfo;
use crate::rights::{BAD_CREDENTIAL, Origin};
use crate::site::Site;
use crate::time::Timestamp;
use crate::users::User;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const BAD_REFRESH: &str = "The refresh token is not valid, or has expired.";

/// How much longer than its access tokens an ended family is remembered, for clocks that disagree.
const MARGIN: Duration = Duration::from_secs(60);

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
    /// Exchanges a refresh token for a new pair; the old one ends.
    ///
    /// For a moment after that it gives the same pair again ([`limits::REFRESH_GRACE`]). A token that
    /// comes again later may have been stolen, and nobody can tell which of the two holders is the
    /// thief: all that came from its sign-in ends then.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`].
    pub async fn refresh(
        &self,
        site: &Site,
        refresh: &str,
        address: Option<IpAddr>,
    ) -> Result<TokenPair, Error> {
        let (verified, used) = self.refresh_token(site, refresh, address).await?;
        let bad = Error::Unauthenticated(BAD_REFRESH);
        let user = used.user_id;
        let now = self.clock.now();
        // Not from the cache: what is issued must be of the epoch that counts now.
        let system = self.store.system(Reason::Authenticate);
        let owner = system.owner(site.id, user, now).await?;
        let Some(owner) = owner.filter(|owner| owner.user.profile.is_active) else {
            return Err(bad);
        };
        let origin = Origin {
            user,
            family: used.family,
            epoch: owner.epoch,
        };
        if verified.origin.epoch == owner.epoch {
            let ids = self.tokens.successors(verified.id);
            let (pair, next) = self.pair(site, origin, &verified.claims, ids, now)?;
            if self
                .scoped(site, &used)
                .exchange_token(used.hash.clone(), next)
                .await?
            {
                return Ok(pair);
            }
            let again = (origin, &verified.claims);
            if let Some(pair) = self.given_before(site, again, ids, &used.hash).await? {
                return Ok(pair);
            }
        }
        tracing::warn!(site.id = %site.id, user.id = %user,
            "a refresh token that had ended came again; all that came from its sign-in ends");
        self.end_family(site, &used).await?;
        Err(bad)
    }

    /// The pair that a refresh token was exchanged for a moment ago, made again. None when it was
    /// longer ago, when the token ended in another way, or its sign-in has ended.
    async fn given_before(
        &self,
        site: &Site,
        (origin, claims): (Origin, &AddedClaims),
        ids: (Uuid, Uuid),
        used: &str,
    ) -> Result<Option<TokenPair>, Error> {
        let used = self.stored_token(site, used, TokenKind::Refresh).await?;
        let Some(at) = used.and_then(|used| used.ended_at) else {
            return Ok(None);
        };
        let now = self.clock.now();
        // Both ways: a clock that is set back must not open it again.
        if now.since(at).max(at.since(now)) > limits::REFRESH_GRACE {
            return Ok(None);
        }
        let (pair, next) = self.pair(site, origin, claims, ids, at)?;
        let next = self
            .stored_token(site, &next.hash, TokenKind::Refresh)
            .await?;
        if next.is_none_or(|next| next.family != origin.family) {
            return Ok(None);
        }
        let lives = self.lives(site, origin, now).await?;
        Ok(lives.then_some(pair))
    }

    /// Whether a sign-in has not ended, as far as that is remembered.
    async fn lives(&self, site: &Site, origin: Origin, now: Timestamp) -> Result<bool, Error> {
        let system = self.store.system(Reason::Authenticate);
        let owner = system.owner(site.id, origin.user, now).await?;
        Ok(owner.is_some_and(|owner| {
            owner.epoch == origin.epoch && !owner.ended_families.contains(&origin.family)
        }))
    }

    /// Ends the sign-in that a refresh token comes from, with its access tokens.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is none of ours, [`Error::RateLimited`].
    pub async fn blacklist(
        &self,
        site: &Site,
        refresh: &str,
        address: Option<IpAddr>,
        request: Arc<RequestInfo>,
    ) -> Result<(), Error> {
        let (verified, token) = self.refresh_token(site, refresh, address).await?;
        let (origin, now) = (verified.origin, self.clock.now());
        if self.lives(site, origin, now).await? {
            return self.sign_out(site, &token, request).await;
        }
        // Nobody is signed out twice; what is left of it ends all the same.
        self.end_family(site, &token).await
    }

    /// Ends a session, with its access tokens.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when there is no such session.
    pub async fn close_session(
        &self,
        site: &Site,
        session: &str,
        request: Arc<RequestInfo>,
    ) -> Result<(), Error> {
        let session = self
            .stored_token(site, &hash(session), TokenKind::Session)
            .await?;
        match session.filter(|session| session.ended_at.is_none()) {
            Some(session) => self.sign_out(site, &session, request).await,
            None => Err(Error::Unauthenticated(BAD_CREDENTIAL)),
        }
    }

    /// A signed refresh token that has not expired, with its record, ended or not.
    async fn refresh_token(
        &self,
        site: &Site,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<(Verified, Token), Error> {
        self.exchanges.count_address(site.id, address)?;
        let bad = Error::Unauthenticated(BAD_REFRESH);
        if token.len() > limits::CREDENTIAL_BYTES {
            return Err(bad);
        }
        let now = self.clock.now();
        let Some(verified) = self.tokens.verify(token, site, TokenType::Refresh, now) else {
            return Err(bad);
        };
        let user = verified.origin.user;
        self.exchanges.count_account(site.id, &user.to_string())?;
        let id = hash(&verified.id.to_string());
        match self.stored_token(site, &id, TokenKind::Refresh).await? {
            Some(stored) if stored.user_id == user => Ok((verified, stored)),
            Some(_) | None => Err(bad),
        }
    }

    /// A new sign-in.
    pub(super) fn origin(&self, user: UserId, epoch: Epoch, now: Timestamp) -> Origin {
        Origin {
            user,
            family: self.entropy.uuid_v7(now),
            epoch,
        }
    }

    /// A pair with these ids, and what is stored of it. The same arguments give the same pair.
    pub(super) fn pair(
        &self,
        site: &Site,
        origin: Origin,
        claims: &AddedClaims,
        (id, access): (Uuid, Uuid),
        now: Timestamp,
    ) -> Result<(TokenPair, Token), Error> {
        let kind = (TokenType::Refresh, limits::REFRESH_TOKEN_TTL);
        let refresh = self.tokens.issue(site, (origin, claims), kind, id, now);
        let refresh = refresh.ok_or_else(not_signed)?;
        let access = self.access(site, origin, claims, access, now)?;
        let token = stored(origin, TokenKind::Refresh, hash(&id.to_string()), now);
        Ok((TokenPair { access, refresh }, token))
    }

    pub(super) fn access(
        &self,
        site: &Site,
        origin: Origin,
        claims: &AddedClaims,
        id: Uuid,
        now: Timestamp,
    ) -> Result<String, Error> {
        let kind = (TokenType::Access, limits::ACCESS_TOKEN_TTL);
        self.tokens
            .issue(site, (origin, claims), kind, id, now)
            .ok_or_else(not_signed)
    }

    /// Goes to the end, whatever becomes of the caller: a thief must not stop it by hanging up.
    pub(super) async fn end_family(&self, site: &Site, token: &Token) -> Result<(), Error> {
        let store = self.scoped(site, token);
        let (user, family) = (token.user_id, token.family);
        let bus = Arc::clone(&self.bus);
        let now = self.clock.now();
        let work = Work {
            change: Some(store.family_ended(user, family, now, forget_at(now))),
            ..Work::default()
        };
        let site = site.id;
        let ended = to_the_end(self.events.supervisor(), async move {
            let ended = store.commit(work).await;
            bus.tell(&News::PrincipalChanged {
                site,
                user: Some(user),
            });
            ended
        });
        Ok(ended.await?)
    }
}

/// Until when an ended family is remembered.
pub(super) fn forget_at(now: Timestamp) -> Timestamp {
    now.plus(limits::ACCESS_TOKEN_TTL + MARGIN)
}

pub(super) fn stored(origin: Origin, kind: TokenKind, hash: String, now: Timestamp) -> Token {
    let ttl = match kind {
        TokenKind::Session => limits::SESSION_TTL,
        TokenKind::Refresh => limits::REFRESH_TOKEN_TTL,
    };
    Token {
        hash,
        kind,
        user_id: origin.user,
        family: origin.family,
        created_at: now,
        expires_at: now.plus(ttl),
        ended_at: None,
    }
}

fn not_signed() -> Error {
    Error::Internal("a token could not be signed".to_owned())
}
