//! Signing in: sessions and tokens, in the shapes that existing clients read.

use crate::error::ApiError;
use crate::extract::{About, AtSite, ClientAddress, Json, session_token};
use crate::state::AppState;
use crate::views::UserView;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use tollgate_core::auth::{Password, SignIn};
use tollgate_core::draft::Draft;
use tollgate_core::error::Error;
use tollgate_core::rights::NO_CREDENTIAL;
use tollgate_core::validation::FieldError;
use utoipa::ToSchema;

/// Name and password; the name under either key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Username or e-mail address.
    username: Option<String>,
    /// The same.
    email: Option<String>,
    password: String,
}

impl Login {
    fn checked(draft: Draft<Self>) -> Result<Self, ApiError> {
        let is_named = draft.look().login().is_some() || draft.faults().concern("email");
        let fault = (!is_named).then(|| FieldError::new("username", "This field is required"));
        Ok(draft.checked(fault.into_iter().collect())?)
    }

    fn login(&self) -> Option<&str> {
        let login = self.email.as_deref().or(self.username.as_deref());
        // No name has any; people paste them.
        login.map(str::trim).filter(|login| !login.is_empty())
    }

    fn sign_in(&self, ClientAddress(address): ClientAddress, About(request): About) -> SignIn<'_> {
        SignIn {
            login: self.login().unwrap_or_default(),
            password: Password::new(self.password.as_str()),
            address,
            request,
        }
    }
}

/// A session, as django-allauth's headless API answers it.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionReply {
    status: u16,
    data: SessionData,
    meta: SessionMeta,
}

#[derive(Serialize, ToSchema)]
struct SessionData {
    user: UserView,
}

#[derive(Serialize, ToSchema)]
struct SessionMeta {
    is_authenticated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
}

/// Sign In for a Session
#[utoipa::path(post, path = "/_allauth/app/v1/auth/login", tag = "sign-in", security(()),
    operation_id = "session_open", request_body = Login,
    responses((status = OK, body = SessionReply), ApiError))]
pub(crate) async fn open_session(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    address: ClientAddress,
    about: About,
    Json(login): Json<Login>,
) -> Result<axum::Json<SessionReply>, ApiError> {
    let login = Login::checked(login)?;
    let session = app
        .accounts()?
        .auth
        .open_session(&site, login.sign_in(address, about))
        .await?;
    Ok(axum::Json(SessionReply {
        status: 200,
        data: SessionData {
            user: session.user.into(),
        },
        meta: SessionMeta {
            is_authenticated: true,
            access_token: Some(session.access),
            session_token: Some(session.session),
        },
    }))
}

/// A session that has ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionEnded {
    status: u16,
    meta: SessionMeta,
}

/// Sign Out of a Session
#[utoipa::path(delete, path = "/_allauth/app/v1/auth/session", tag = "sign-in",
    operation_id = "session_close", security(("session_token" = [])), responses((status = OK, body = SessionEnded), ApiError))]
pub(crate) async fn close_session(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    About(request): About,
    headers: HeaderMap,
) -> Result<axum::Json<SessionEnded>, ApiError> {
    let token = session_token(&headers).ok_or(Error::Unauthenticated(NO_CREDENTIAL))?;
    app.accounts()?
        .auth
        .close_session(&site, token, request)
        .await?;
    let meta = SessionMeta {
        is_authenticated: false,
        access_token: None,
        session_token: None,
    };
    Ok(axum::Json(SessionEnded { status: 200, meta }))
}

/// A pair of tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenReply {
    /// For `Authorization: Bearer`.
    access: String,
    /// For the next pair.
    refresh: String,
}

/// Sign In for Tokens
#[utoipa::path(post, path = "/auth/jwt/token/", tag = "sign-in", security(()),
    operation_id = "token_obtain", request_body = Login,
    responses((status = OK, body = TokenReply), ApiError))]
pub(crate) async fn token(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    address: ClientAddress,
    about: About,
    Json(login): Json<Login>,
) -> Result<axum::Json<TokenReply>, ApiError> {
    let login = Login::checked(login)?;
    let pair = app
        .accounts()?
        .auth
        .sign_in(&site, login.sign_in(address, about))
        .await?;
    Ok(axum::Json(TokenReply {
        access: pair.access,
        refresh: pair.refresh,
    }))
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    refresh: String,
}

/// Exchange a Refresh Token
#[utoipa::path(post, path = "/auth/jwt/token/refresh/", tag = "sign-in", security(()),
    operation_id = "token_refresh", request_body = Refresh,
    responses((status = OK, body = TokenReply), ApiError))]
pub(crate) async fn refresh(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    ClientAddress(address): ClientAddress,
    Json(request): Json<Refresh>,
) -> Result<axum::Json<TokenReply>, ApiError> {
    let Refresh { refresh } = request.whole()?;
    let pair = app
        .accounts()?
        .auth
        .refresh(&site, &refresh, address)
        .await?;
    Ok(axum::Json(TokenReply {
        access: pair.access,
        refresh: pair.refresh,
    }))
}

/// End a Refresh Token
#[utoipa::path(post, path = "/auth/jwt/token/blacklist/", tag = "sign-in", security(()),
    operation_id = "token_blacklist", request_body = Refresh,
    responses((status = OK, body = crate::envelope::Nothing), ApiError))]
pub(crate) async fn blacklist(
    State(app): State<AppState>,
    AtSite(site): AtSite,
    ClientAddress(address): ClientAddress,
    About(about): About,
    Json(request): Json<Refresh>,
) -> Result<axum::Json<crate::envelope::Nothing>, ApiError> {
    let Refresh { refresh } = request.whole()?;
    app.accounts()?
        .auth
        .blacklist(&site, &refresh, address, about)
        .await?;
    Ok(axum::Json(crate::envelope::Nothing {}))
}
