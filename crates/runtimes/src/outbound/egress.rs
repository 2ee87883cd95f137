//! Requests of functions with `network: egress`: asked for over the worker's socket, made here.
//!
//! Must never make a request for a function that may not, or to a host that its site may not
//! reach; a redirect is a request like the first. Everything that arrives may come from hostile code.

use super::reply::{ReplyRooms, Written};
use super::{Outbound, OutboundError, Refusal, Request, header_map, reply};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use tollgate_core::functions::{Executable, Network};
use tollgate_core::limits;
use tollgate_core::ports::runtime::{HostError, HostErrorKind};
use tollgate_core::text::span;

/// What a function asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Base64.
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    /// Seconds.
    timeout: Option<f64>,
    #[serde(default)]
    redirects: u8,
}

/// Makes the request that a running function asks for. The whole is bounded by the run's own end. A
/// large response waits for its part of `rooms`, and holds it as long as it is there.
///
/// # Errors
/// A refusal that names what to do, or why there is no response.
pub(crate) async fn answer(
    outbound: Option<&Outbound>,
    executable: &Executable,
    args: &RawValue,
    rooms: &ReplyRooms,
) -> Result<Written, HostError> {
    if executable.options.network != Network::Egress {
        let message = "This function has no network: set its `network` to \"egress\" to let it make \
                       requests";
        return Err(HostError::forbidden(message));
    }
    let outbound =
        outbound.ok_or_else(|| HostError::forbidden("Functions reach no network here"))?;
    let wanted: Wanted<'_> = serde_json::from_str(args.get())
        .map_err(|error| HostError::bad_request(error.to_string()))?;
    let patience = wanted.timeout.map(|seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| HostError::bad_request("timeout must be seconds above 0"))
    });
    let patience = patience.transpose()?.unwrap_or(limits::TIMEOUT_MAX);
    let exchange = exchange(outbound, executable, wanted, rooms);
    tokio::time::timeout(patience.min(limits::TIMEOUT_MAX), exchange)
        .await
        .map_err(|_| late(patience))?
}

async fn exchange(
    outbound: &Outbound,
    executable: &Executable,
    wanted: Wanted<'_>,
    rooms: &ReplyRooms,
) -> Result<Written, HostError> {
    let mut hops = wanted.redirects.min(limits::EGRESS_REDIRECTS);
    let target = outbound.check(&wanted.url).map_err(refused)?;
    let mut request = Request {
        method: method(&wanted.method)?,
        target,
        headers: headers(&wanted.headers)?,
        body: body(wanted.body.as_deref())?,
    };
    loop {
        let hosts = &executable.egress_hosts;
        request.target = request.target.permitted(hosts).map_err(refused)?;
        let target = request.target.clone();
        // Only what may be sent again is kept.
        let before = (hops > 0).then(|| request.clone());
        let reply = outbound
            .send(executable.site_id, request)
            .await
            .map_err(failed)?;
        let next = match before {
            None => None,
            Some(before) => redirected(outbound, before, reply.status(), reply.headers())?,
        };
        if let Some(next) = next {
            request = next;
            hops -= 1;
            continue;
        }
        return reply::written(reply, target.url().as_str(), rooms).await;
    }
}

/// The request that follows a redirect; none when the reply is to be handed on as it is.
fn redirected(
    outbound: &Outbound,
    before: Request,
    status: StatusCode,
    reply: &HeaderMap,
) -> Result<Option<Request>, HostError> {
    let keeps_method = match status.as_u16() {
        301 | 302 => before.method == Method::GET || before.method == Method::HEAD,
        303 => before.method == Method::HEAD,
        307 | 308 => true,
        _ => return Ok(None),
    };
    let Some(place) = reply.get(LOCATION).and_then(|place| place.to_str().ok()) else {
        return Ok(None);
    };
    let from = before.target.url();
    let to = from.join(place).map_err(|_| refused(Refusal::Malformed))?;
    // What was sent under TLS is not sent again in the clear.
    if from.scheme() == "https" && to.scheme() == "http" {
        return Ok(None);
    }
    let elsewhere = from.origin() != to.origin();
    let mut next = before;
    next.target = outbound.check_url(to).map_err(refused)?;
    if !keeps_method {
        next.method = Method::GET;
        next.body = Vec::new();
        next.headers.remove(CONTENT_TYPE);
    }
    if elsewhere {
        next.headers.remove(AUTHORIZATION);
        next.headers.remove(COOKIE);
    }
    Ok(Some(next))
}

fn method(word: &str) -> Result<Method, HostError> {
    let method = Method::from_bytes(word.to_ascii_uppercase().as_bytes());
    let method = method.map_err(|_| HostError::bad_request("method must be a word such as GET"))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(HostError::bad_request(
            "The methods CONNECT and TRACE are not sent",
        ));
    }
    Ok(method)
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, HostError> {
    let bytes: usize = given
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if given.len() > limits::REPLY_HEADERS || bytes > limits::EGRESS_HEADER_BYTES {
        return Err(HostError::bad_request(format!(
            "Send at most {} headers of {} bytes together",
            limits::REPLY_HEADERS,
            limits::EGRESS_HEADER_BYTES
        )));
    }
    header_map(given).map_err(|error| HostError::bad_request(error.to_string()))
}

fn body(text: Option<&str>) -> Result<Vec<u8>, HostError> {
    let body = BASE64.decode(text.unwrap_or_default());
    let body = body.map_err(|_| HostError::bad_request("body must be base64"))?;
    if body.len() > limits::EGRESS_REQUEST_BYTES {
        let message = format!(
            "The request's body is {} bytes; the limit is {}",
            body.len(),
            limits::EGRESS_REQUEST_BYTES
        );
        return Err(HostError::new(HostErrorKind::TooLarge, message));
    }
    Ok(body)
}

pub(super) fn failed(error: OutboundError) -> HostError {
    match error {
        OutboundError::Refused(refusal) => refused(refusal),
        other => HostError::new(HostErrorKind::Unavailable, format!("The address {other}")),
    }
}

fn refused(why: Refusal) -> HostError {
    HostError::forbidden(format!("The address is not called: {why}"))
}

fn late(patience: Duration) -> HostError {
    let message = format!("There was no complete response within {}", span(patience));
    HostError::new(HostErrorKind::Late, message)
}
