//! Functions that are somebody else's HTTP endpoint: one POST per run.
//!
//! Must never follow a redirect, read more of an answer than the limit, or put an address or a
//! header into a message: both may hold secrets. A delivery is complete before it is sent, so that
//! signing is one more step over [`Delivery`] and the address guard one more setting of
//! [`client`].

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::function::{CodeError, Executable, Source};
use tollgate_core::ids::{EventId, FunctionId, SiteId, VersionId};
use tollgate_core::invocation::{Failure, FailureKind};
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, CheckError, RunReport, Runtime};
use tollgate_core::time::{Clock, Timestamp};

/// How much of a refusal's body is shown to the function's author.
const EXCERPT_BYTES: usize = 300;

/// Calls webhooks.
pub struct ProxyRuntime {
    client: Client,
    clock: Arc<dyn Clock>,
}

/// What is sent.
#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    event_id: Option<EventId>,
    data: &'a JsonText,
}

/// One request, complete and unsent.
struct Delivery {
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl ProxyRuntime {
    /// A runtime with its own connection pool.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: client()?,
            clock,
        })
    }

    async fn outcome(&self, call: &Call) -> Result<JsonText, Failure> {
        let delivery = self.delivery(call)?;
        let limit = call.allotted(self.clock.monotonic());
        // Around everything: the answer's body counts as well as its head.
        match tokio::time::timeout(limit, self.send(delivery)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("The webhook did not answer within {limit:?}");
                Err(Failure::new(FailureKind::Timeout, message))
            }
        }
    }

    fn delivery(&self, call: &Call) -> Result<Delivery, Failure> {
        let Source::Proxy {
            webhook_url,
            headers,
        } = &call.executable.source
        else {
            return Err(Failure::new(
                FailureKind::Unavailable,
                "This is not a proxy function",
            ));
        };
        let (url, mut headers) = target(webhook_url, headers)
            .map_err(|error| Failure::new(FailureKind::Load, error.message))?;
        let payload = Payload {
            kind: call.context.event.unwrap_or("function.execute"),
            timestamp: self.clock.now(),
            event_id: call.context.event_id,
            data: &call.params,
        };
        let body = serde_json::to_vec(&payload)
            .map_err(|error| Failure::new(FailureKind::Upstream, error.to_string()))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = HeaderValue::from_str(&call.context.execution_id.to_string())
            .expect("a UUID is visible ASCII");
        headers.insert(HeaderName::from_static("webhook-id"), id);
        Ok(Delivery { url, headers, body })
    }

    async fn send(&self, delivery: Delivery) -> Result<JsonText, Failure> {
        let Delivery { url, headers, body } = delivery;
        let response = self
            .client
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(status, response).await);
        }
        let (body, complete) = read_up_to(response, limits::RESULT_BYTES).await?;
        if !complete {
            return Err(upstream(format!(
                "The webhook's answer is larger than the limit of {} bytes",
                limits::RESULT_BYTES
            )));
        }
        object(body, status)
    }
}

fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Checks a proxy's address and headers.
fn target(url: &str, headers: &BTreeMap<String, String>) -> Result<(Url, HeaderMap), CodeError> {
    let wrong = |message: String| CodeError {
        message,
        line: None,
        column: None,
    };
    let url = Url::parse(url)
        .map_err(|error| wrong(format!("webhook_url is not an address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(
            "webhook_url must begin with http:// or https:// and a host".into(),
        ));
    }
    let mut map = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        let (Ok(key), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            return Err(wrong(format!(
                "The header `{name}` has a name or value HTTP forbids"
            )));
        };
        map.insert(key, value);
    }
    Ok((url, map))
}

fn upstream(message: String) -> Failure {
    Failure::new(FailureKind::Upstream, message)
}

/// A request that got no answer. The error's own text names the address, so it is not shown.
fn unreachable(error: reqwest::Error) -> Failure {
    let reason = if error.is_connect() {
        "could not be reached"
    } else {
        "broke the connection"
    };
    tracing::debug!(error = %error.without_url(), "webhook.failed");
    upstream(format!("The webhook {reason}"))
}

async fn refusal(status: StatusCode, response: Response) -> Failure {
    let retry_after = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs),
        _ => None,
    };
    let mut message = format!("The webhook answered {status}");
    if status.is_redirection() {
        message.push_str("; redirects are not followed");
    } else if let Ok((body, _)) = read_up_to(response, EXCERPT_BYTES).await {
        let excerpt = String::from_utf8_lossy(&body);
        if !excerpt.trim().is_empty() {
            message.push_str(": ");
            message.push_str(excerpt.trim());
        }
    }
    Failure {
        retry_after,
        ..upstream(message)
    }
}

/// The first `limit` bytes of the body, and whether that is all of it.
async fn read_up_to(mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

fn object(body: Vec<u8>, status: StatusCode) -> Result<JsonText, Failure> {
    let wrong = || {
        upstream(format!(
            "The webhook answered {status}, but not with a JSON object"
        ))
    };
    let value: serde_json::Value = serde_json::from_slice(&body).map_err(|_| wrong())?;
    if !value.is_object() {
        return Err(wrong());
    }
    Ok(JsonText::from(&value))
}

#[async_trait]
impl Runtime for ProxyRuntime {
    async fn run(&self, call: Call) -> RunReport {
        let result = self.outcome(&call).await;
        RunReport {
            result,
            logs: Vec::new(),
            worker: "proxy".to_owned(),
        }
    }

    async fn check(&self, source: &Source) -> Result<(), CheckError> {
        if let Source::Proxy {
            webhook_url,
            headers,
        } = source
        {
            target(webhook_url, headers)?;
        }
        Ok(())
    }

    async fn warm(&self, _: &Arc<Executable>) -> Result<(), Failure> {
        Ok(())
    }

    fn keep(&self, _: &Arc<Executable>, _: bool) {}

    fn retire(&self, _: SiteId, _: FunctionId, _: Option<VersionId>) {}

    fn health(&self) -> Result<String, String> {
        Ok("ready".to_owned())
    }
}
