//! What a request's head must and must not say, before anything else is looked at.

use crate::error::{ApiError, Code};
use crate::extract::PeerAddress;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING,
};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Version};

/// Looks at a request's head.
///
/// # Errors
/// 400 for a host that is missing, malformed or named twice; 415 and 501 for a body in another
/// encoding.
pub(crate) fn check(request: &Request) -> Result<(), ApiError> {
    // Requests of this process's own functions come from no connection and name no host.
    if request.extensions().get::<PeerAddress>().is_some() {
        check_host(request.version(), request.headers())?;
    }
    check_transfer(request.headers())?;
    check_encoding(request.headers())
}

/// Chunks are taken apart by hyper; what else was done to the body, nobody here can undo (RFC 9112,
/// section 6.1).
fn check_transfer(headers: &HeaderMap) -> Result<(), ApiError> {
    if !names_another(headers, &TRANSFER_ENCODING, "chunked") {
        return Ok(());
    }
    let message = "Send the body as it is, or in chunks; no other Transfer-Encoding is understood";
    let error = ApiError::new(StatusCode::NOT_IMPLEMENTED, Code::BadRequest, message);
    Err(error.header(CONNECTION, HeaderValue::from_static("close")))
}

/// Whether a header names a coding other than this one.
fn names_another(headers: &HeaderMap, name: &HeaderName, understood: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.to_str().unwrap_or("?");
        let mut words = value.split(',').map(str::trim);
        words.any(|it| !it.is_empty() && !it.eq_ignore_ascii_case(understood))
    })
}

/// RFC 9112, section 3.2. Whoever reads such a request differently than we do could be made to pass
/// on something else than it looked at, so the connection ends.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |message: &'static str| {
        Err(ApiError::bad_request(message).header(CONNECTION, HeaderValue::from_static("close")))
    };
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        if version < Version::HTTP_11 {
            return Ok(());
        }
        return refused("The request has no Host header; HTTP/1.1 needs one");
    };
    if hosts.next().is_some() {
        return refused("The request has more than one Host header; send one");
    }
    if host.to_str().is_ok_and(names_a_host) {
        Ok(())
    } else {
        refused("The Host header names no host; send 'Host: <name>' or 'Host: <name>:<port>'")
    }
}

fn names_a_host(host: &str) -> bool {
    // A port may be empty (RFC 3986, section 3.2.3).
    let host = match host.strip_suffix(':') {
        Some(name) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    };
    if host.contains('@') {
        return false;
    }
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let rest = &authority.as_str()[name.len()..];
    let has_port = rest.strip_prefix(':');
    !name.is_empty()
        && match has_port {
            Some(port) => !port.is_empty() && port.parse::<u16>().is_ok(),
            None => rest.is_empty(),
        }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    if !names_another(headers, &CONTENT_ENCODING, "identity") {
        return Ok(());
    }
    let message = "Send the body as it is, without Content-Encoding";
    let error = ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::BadRequest,
        message,
    );
    Err(error.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for host in [
            "a",
            "a.test",
            "a.test:80",
            "a.test:",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:8000",
            "[::1]:",
            "a_b",
            "xn--bcher-kva.example",
            "LOCALHOST",
        ] {
            assert!(names_a_host(host), "{host}");
        }
        for wrong in [
            "", ":80", "a b", "a:b", "a:99999", "a/b", "u@a", "a:1:2", "[::1", "a?b", "a,b:c",
        ] {
            assert!(!names_a_host(wrong), "{wrong}");
        }
    }
}
