//! One spelling for every path, before routing: a path works with and without its final slash.
//!
//! Must never answer with a redirect: a redirected POST would lose its body.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The address of a request as it was sent, where routing uses another spelling.
#[derive(Debug, Clone)]
pub(crate) struct Asked(pub(crate) Uri);

/// The one path under `/api/` that is a file. Names of users may end in `.json` as well.
const DOCUMENT: &str = "/api/openapi.json";

/// The routed spelling of `uri`, or none when it has it already.
///
/// Paths under `/api/` end in a slash, as in the API document, and others do not. The OpenAPI
/// document is a file, so it has none either.
pub(crate) fn routed(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let wants_slash = path.starts_with("/api/") && path != DOCUMENT;
    let routed = match (wants_slash, path.ends_with('/')) {
        (true, false) => format!("{path}/"),
        (false, true) if path.len() > 1 => path.trim_end_matches('/').to_owned(),
        _ => return None,
    };
    let path_and_query = match uri.query() {
        Some(query) => format!("{routed}?{query}"),
        None => routed,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_paths_end_in_a_slash_and_others_do_not() {
        for (asked, used) in [
            ("/api/users/", None),
            ("/api/users", Some("/api/users/")),
            ("/api/users?page=2", Some("/api/users/?page=2")),
            ("/api/users/?page=2", None),
            ("/api/openapi.json", None),
            ("/api/users/john.doe", Some("/api/users/john.doe/")),
            ("/api/users/a.b.json", Some("/api/users/a.b.json/")),
            ("/api/users/a.json?x=1", Some("/api/users/a.json/?x=1")),
            ("/healthz", None),
            ("/healthz/", Some("/healthz")),
            (
                "/_allauth/app/v1/auth/login/",
                Some("/_allauth/app/v1/auth/login"),
            ),
            ("/", None),
            ("http://h:1/api/users", Some("http://h:1/api/users/")),
        ] {
            let uri: Uri = asked.parse().unwrap();
            assert_eq!(
                routed(&uri).map(|uri| uri.to_string()).as_deref(),
                used,
                "{asked}"
            );
        }
    }
}
