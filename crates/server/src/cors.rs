//! Requests of other origins' pages (CORS): from those that the operator names, and no others.
//!
//! Credentials travel in headers that a page sets itself, so the browser's own (cookies) are never asked
//! for.

use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, Method};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long a browser may keep the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The origins whose pages may send requests and read answers. None at first.
#[derive(Debug, Clone, Default)]
pub struct CorsOrigins(Vec<HeaderValue>);

impl CorsOrigins {
    /// Reads origins as they are configured: `https://app.example`, `http://localhost:5173`, or `*`
    /// alone for all.
    ///
    /// # Errors
    /// What is no origin, with the reason.
    pub fn parse(origins: &[String]) -> Result<Self, String> {
        if origins.len() > 1 && origins.iter().any(|it| it == "*") {
            return Err("'*' means every origin; use it alone, or name the origins".to_owned());
        }
        let origins: Result<Vec<_>, _> = origins.iter().map(|it| origin(it)).collect();
        origins.map(Self)
    }

    /// The layer that answers preflights and marks answers; none when no origin is named.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        let origins = match self.0.as_slice() {
            [] => return None,
            [all] if all == "*" => AllowOrigin::any(),
            some => AllowOrigin::list(some.iter().cloned()),
        };
        let own = HeaderName::from_static;
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers([
                ACCEPT,
                AUTHORIZATION,
                CONTENT_LANGUAGE,
                CONTENT_TYPE,
                IF_MATCH,
                IF_NONE_MATCH,
                own("idempotency-key"),
                own("x-request-id"),
                own("x-session-token"),
            ])
            .expose_headers([
                own("accept-patch"),
                ETAG,
                LOCATION,
                RETRY_AFTER,
                WWW_AUTHENTICATE,
                own("idempotent-replayed"),
                own("x-request-id"),
            ])
            .max_age(MAX_AGE);
        Some(layer)
    }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = |reason: &str| Err(format!("'{text}' is no origin: {reason}"));
    if text == "*" {
        return Ok(HeaderValue::from_static("*"));
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("write it as browsers send it, for example https://app.example");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("it must begin with https:// or http://");
    }
    if text.contains('*') {
        return wrong("a part of it cannot be left open; name each origin, or use '*' alone");
    }
    let exact = url.origin().ascii_serialization();
    if exact != text {
        return wrong(&format!("browsers send {exact}; write exactly that"));
    }
    HeaderValue::try_from(exact).or_else(|_| wrong("it has characters that no header may have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(origins: &[&str]) -> Result<usize, String> {
        let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
        CorsOrigins::parse(&origins).map(|it| it.0.len())
    }

    #[test]
    fn origins_are_exact() {
        assert_eq!(parse(&[]), Ok(0));
        assert_eq!(parse(&["*"]), Ok(1));
        assert_eq!(
            parse(&[
                "https://a.example",
                "http://localhost:5173",
                "http://[::1]:80"
            ])
            .map_err(drop),
            Err(())
        );
        assert_eq!(
            parse(&[
                "https://a.example",
                "http://localhost:5173",
                "http://[::1]:81"
            ]),
            Ok(3)
        );
        for wrong in [
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://A.example",
            "https://a.example:443",
            "https://u@a.example",
            "ftp://a.example",
            "null",
            "",
            "https://*.example",
            "https://b\u{fc}cher.example",
            "https://a.example ",
        ] {
            let refused = parse(&[wrong]);
            assert!(refused.is_err(), "{wrong}");
        }
        assert!(parse(&["*", "https://a.example"]).is_err());
    }
}
