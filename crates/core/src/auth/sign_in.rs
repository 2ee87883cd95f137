//! A sign-in as an operation with events around it: the password is checked, the PRE functions are asked, and what
//! the sign-in gives is stored together with the runs that follow.
//!
//! Must never tell an unknown account from a wrong password, nor ask a function before the password fits.

use super::credentials::hash;
use super::events::{
    AddedClaims, LoggedIn, LoggedOut, LoginFailed, LoginKind, LoginProposal, POST_LOGIN,
    POST_LOGIN_FAILED, ProposedLogin,
};
use super::families::{Session, TokenPair, forget_at, stored};
use super::gate::Typed;
use super::service::{AuthService, SignIn, WRONG_LOGIN};
use crate::engine::{Agreement, Saving, Verdicts};
use crate::error::Error;
use crate::events::{Event, LifecycleEvent};
use crate::ids::UserId;
use crate::ports::bus::News;
use crate::ports::store::{Change, Conflict, Epoch, Reason, Token, TokenKind};
use crate::request::RequestInfo;
use crate::rights::Principal;
use crate::site::{Site, TenantScope};
use crate::users::User;
use crate::users::events::UserParams;
use std::sync::Arc;

/// Somebody whose password fits, and to whom every function agreed.
struct Admitted {
    user: User,
    epoch: Epoch,
    kind: LoginKind,
    principal: Principal,
    claims: AddedClaims,
    verdicts: Verdicts,
}

impl AuthService {
    /// Signs in for a pair of tokens.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`], a refusal of the PRE stage.
    pub async fn sign_in(&self, site: &Site, sign_in: SignIn<'_>) -> Result<TokenPair, Error> {
        let admitted = self.admitted(site, LoginKind::Tokens, sign_in).await?;
        let now = self.clock.now();
        let origin = self.origin(admitted.user.id, admitted.epoch, now);
        let ids = (self.entropy.uuid_v7(now), self.entropy.uuid_v7(now));
        let (pair, token) = self.pair(site, origin, &admitted.claims, ids, now)?;
        self.note_sign_in(site, token, admitted).await?;
        Ok(pair)
    }

    /// Signs in for a session.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    pub async fn open_session(&self, site: &Site, sign_in: SignIn<'_>) -> Result<Session, Error> {
        let admitted = self.admitted(site, LoginKind::Session, sign_in).await?;
        let now = self.clock.now();
        let origin = self.origin(admitted.user.id, admitted.epoch, now);
        let id = self.entropy.uuid_v7(now);
        let access = self.access(site, origin, &admitted.claims, id, now)?;
        let session = self.entropy.secret();
        let token = stored(origin, TokenKind::Session, hash(&session), now);
        let mut user = admitted.user.clone();
        self.note_sign_in(site, token, admitted).await?;
        user.last_login = Some(now);
        Ok(Session {
            user,
            access,
            session,
        })
    }

    /// Checks the password, then asks the PRE functions.
    async fn admitted(
        &self,
        site: &Site,
        kind: LoginKind,
        sign_in: SignIn<'_>,
    ) -> Result<Admitted, Error> {
        let SignIn {
            login,
            password,
            address,
            request,
        } = sign_in;
        let typed = Typed { password, address };
        let Some(record) = self.gate.sign_in(site.id, login, typed).await? else {
            self.tell_failure(site, kind, login, request).await;
            return Err(Error::Unauthenticated(WRONG_LOGIN));
        };
        let wrong = || Error::Unauthenticated(WRONG_LOGIN);
        let principal = self.principals.active(site.id, record.user.id).await?;
        let principal = principal.ok_or_else(wrong)?.by_request(request);
        self.events.admit(POST_LOGIN, &principal).await?;
        let claims = AddedClaims::default();
        let pre = Event::of(LoginProposal {
            user: UserParams::from(&record.user),
            kind,
            claims: claims.clone(),
        });
        let proposed = ProposedLogin { claims };
        let Agreement { proposal, verdicts } = self.events.ask(&pre, proposed, &principal).await?;
        // Functions take their time: what is told afterwards is the account as it is by now.
        let now = self.principals.active(site.id, record.user.id).await?;
        let user = now.and_then(|now| now.user().cloned()).ok_or_else(wrong)?;
        Ok(Admitted {
            user,
            epoch: record.epoch,
            kind,
            principal,
            claims: proposal.claims,
            verdicts,
        })
    }

    /// Stores what the sign-in gives, with the runs that follow it.
    async fn note_sign_in(
        &self,
        site: &Site,
        token: Token,
        admitted: Admitted,
    ) -> Result<(), Error> {
        let Admitted {
            mut user,
            epoch,
            kind,
            principal,
            claims,
            verdicts,
        } = admitted;
        user.last_login = Some(token.created_at);
        let post = Event::of(LoggedIn {
            user: UserParams::from(&user),
            kind,
            claims,
        });
        let store = self.store.scoped(principal.scope());
        let change = store.signed_in(token, epoch);
        // `last_login` changed.
        let saving = self.saving(site, user.id, change, post);
        let saving = Saving { verdicts, ..saving };
        match self.events.save(saving, &principal).await {
            // The password was changed, or the account closed, while the old one was checked.
            Err(error) if is_gone(&error) => Err(Error::Unauthenticated(WRONG_LOGIN)),
            saved => saved,
        }
    }

    fn saving(&self, site: &Site, user: UserId, change: Change, post: Event) -> Saving {
        let (bus, site) = (Arc::clone(&self.bus), site.id);
        Saving {
            posts: vec![post],
            afterwards: Box::new(move || {
                bus.tell(&News::PrincipalChanged {
                    site,
                    user: Some(user),
                });
            }),
            ..Saving::of(change)
        }
    }

    /// Tells of a sign-in that failed. The account is looked up whether there is one or not: both take the same time.
    /// Whatever becomes of it, the sign-in has failed.
    async fn tell_failure(
        &self,
        site: &Site,
        kind: LoginKind,
        login: &str,
        request: Arc<RequestInfo>,
    ) {
        let nobody = Principal::nobody(TenantScope::of_stranger(site.id)).by_request(request);
        let (events, store) = (self.events.clone(), Arc::clone(&self.store));
        let (site, login) = (site.id, login.to_owned());
        let told = async move {
            if !events.is_subscribed(POST_LOGIN_FAILED, &nobody).await? {
                return Ok(());
            }
            events.admit_stranger(POST_LOGIN_FAILED, &nobody).await?;
            let system = store.system(Reason::Authenticate);
            let record = system.login_record(site, &login).await?;
            let user = record.map(|record| UserParams::from(&record.user));
            let failed = Event::of(LoginFailed { user, kind });
            events.publish_event(&failed, &nobody).await.map(drop)
        };
        // Whoever guesses may hang up, and is told of all the same.
        let told: Result<Result<(), Error>, _> = self.events.supervisor().carry("told", told).await;
        if let Ok(Err(error)) = told {
            let event = LoginFailed::TYPE;
            tracing::warn!(site.id = %site, %event, %error, "a failed sign-in is told to nobody");
        }
    }

    /// Ends a sign-in, with the runs that follow. Goes to the end, whatever becomes of the caller.
    pub(super) async fn sign_out(
        &self,
        site: &Site,
        token: &Token,
        request: Arc<RequestInfo>,
    ) -> Result<(), Error> {
        let user = token.user_id;
        let Some(principal) = self.principals.active(site.id, user).await? else {
            // An account that is closed has nothing open, and nobody to tell of.
            return self.end_family(site, token).await;
        };
        let principal = principal.by_request(request);
        let params = principal.user().map(UserParams::from);
        let params =
            params.ok_or_else(|| Error::Internal("an account without a user".to_owned()))?;
        let kind = kind_of(token);
        let post = Event::of(LoggedOut { user: params, kind });
        let (store, now) = (self.store.scoped(principal.scope()), self.clock.now());
        let change = store.signed_out(user, token.family, now, forget_at(now));
        let saving = self.saving(site, user, change, post);
        match self.events.save(saving, &principal).await {
            // Another one was faster: nobody is signed out twice.
            Err(error) if is_gone(&error) => Ok(()),
            saved => saved,
        }
    }
}

const fn kind_of(token: &Token) -> LoginKind {
    match token.kind {
        TokenKind::Session => LoginKind::Session,
        TokenKind::Refresh => LoginKind::Tokens,
    }
}

const fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Conflict(Conflict::Gone))
}
