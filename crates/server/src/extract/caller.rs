//! Who makes a request, and the rights that the route asks for.

use super::Query;
use super::request_info::About;
use super::site::AtSite;
use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use axum::http::request::Parts;
use serde::Deserialize;
use std::sync::Arc;
use tollgate_core::auth::Credential;
use tollgate_core::error::Error;
use tollgate_core::ids::SiteId;
use tollgate_core::request::CredentialKind;
use tollgate_core::rights::{AppAccess, Principal, Right, SiteAccess};
use tollgate_core::secrets::TierAccess;
use tollgate_core::site::Site;
use utoipa::IntoParams;

const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// A verified caller.
pub(crate) struct Caller(pub(crate) Principal);

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        // Only this process's own calls carry one: extensions do not travel over HTTP.
        if let Some(principal) = parts.extensions.get::<Principal>() {
            return Ok(Self(principal.clone()));
        }
        let AtSite(site) = AtSite::from_request_parts(parts, app).await?;
        let principal = verify(&parts.headers, &site, app).await?;
        let Ok(About(request)) = About::from_request_parts(parts, app).await;
        Ok(Self(principal.by_request(request)))
    }
}

async fn verify(headers: &HeaderMap, site: &Site, app: &AppState) -> Result<Principal, ApiError> {
    Ok(app.authenticate().caller(site, headers).await?)
}

/// A caller who stays: for answers that go on, so that a credential or a right that ends meanwhile
/// ends them too. Never a function, which is answered once.
pub(crate) struct StayingCaller {
    site: Arc<Site>,
    headers: HeaderMap,
}

impl StayingCaller {
    /// The one site that the caller belongs to.
    pub(crate) fn site_id(&self) -> SiteId {
        self.site.id
    }

    /// The caller with the rights that count now.
    pub(crate) async fn now(&self, app: &AppState) -> Result<Principal, ApiError> {
        verify(&self.headers, &self.site, app).await
    }
}

impl FromRequestParts<AppState> for StayingCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        if parts.extensions.get::<Principal>().is_some() {
            let message = "No function watches invocations; ask for one of them, again if need be";
            return Err(Error::Forbidden(message.to_owned()).into());
        }
        let AtSite(site) = AtSite::from_request_parts(parts, app).await?;
        let headers = parts.headers.clone();
        let caller = Self { site, headers };
        caller.now(app).await.map(|_| caller)
    }
}

/// The credential of a request. `Authorization` wins over a session token; a scheme that is not
/// ours is no credential.
pub(crate) fn credential(headers: &HeaderMap) -> Option<Credential<'_>> {
    let authorization = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Some((scheme, secret)) = authorization.and_then(|value| value.trim().split_once(' ')) {
        let secret = secret.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Credential::Bearer(secret));
        }
        if scheme.eq_ignore_ascii_case("api-key") {
            return Some(Credential::ApiKey(secret));
        }
    }
    session_token(headers).map(Credential::Session)
}

/// What kind of credential a request carries.
pub(super) fn credential_kind(headers: &HeaderMap) -> Option<CredentialKind> {
    credential(headers).map(|credential| match credential {
        Credential::Bearer(_) => CredentialKind::Jwt,
        Credential::ApiKey(_) => CredentialKind::ApiKey,
        Credential::Session(_) => CredentialKind::Session,
    })
}

/// The session token of a request.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(SESSION_TOKEN)
        .and_then(|token| token.to_str().ok())
        .map(str::trim)
}

/// A caller who holds `R` in the whole site.
pub(crate) struct Can<R>(pub(crate) SiteAccess<R>);

impl<R: Right> FromRequestParts<AppState> for Can<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let Caller(principal) = Caller::from_request_parts(parts, app).await?;
        Ok(Self(SiteAccess::check(principal)?))
    }
}

/// A caller who holds `R` in the app that the path names as `{app_slug}`.
pub(crate) struct InApp<R>(pub(crate) AppAccess<R>);

impl<R: Right> FromRequestParts<AppState> for InApp<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let Caller(principal) = Caller::from_request_parts(parts, app).await?;
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::not_found("Path"))?;
        let slug = params
            .iter()
            .find_map(|(name, value)| (name == "app_slug").then_some(value));
        let slug = slug.ok_or_else(|| ApiError::internal("the route has no {app_slug}"))?;
        Ok(Self(app.services().apps.enter(principal, slug).await?))
    }
}

/// Whose: an app, or the site.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TierQuery {
    /// App slug; without one, the site.
    app: Option<String>,
}

/// A caller who holds `R` in the app that the query names as `app`, or in the whole site without.
pub(crate) struct InTier<R>(pub(crate) TierAccess<R>);

impl<R: Right> FromRequestParts<AppState> for InTier<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let Caller(principal) = Caller::from_request_parts(parts, app).await?;
        let Query(tier) = Query::<TierQuery>::from_request_parts(parts, app).await?;
        let slug = tier.app.as_deref().filter(|slug| !slug.is_empty());
        Ok(Self(app.services().secrets.enter(principal, slug).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(authorization: &'static str, session: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(authorization));
        if let Some(session) = session {
            headers.insert(SESSION_TOKEN, HeaderValue::from_static(session));
        }
        headers
    }

    #[test]
    fn one_credential_is_taken() {
        assert_eq!(
            credential(&of("Bearer a.b.c", None)),
            Some(Credential::Bearer("a.b.c"))
        );
        assert_eq!(
            credential(&of("bearer  x ", Some("s"))),
            Some(Credential::Bearer("x"))
        );
        assert_eq!(
            credential(&of("Api-Key k", None)),
            Some(Credential::ApiKey("k"))
        );
        assert_eq!(credential(&of("Basic eDp5", None)), None);
        assert_eq!(
            credential(&of("Basic eDp5", Some("s"))),
            Some(Credential::Session("s"))
        );
        assert_eq!(credential(&of("Bearer", None)), None);
        assert_eq!(credential(&HeaderMap::new()), None);
    }
}
