//! Functions that are somebody else's HTTP endpoint: one POST per run.
//!
//! Must never send but through [`Outbound`], read more of an answer than the limit, or put an address
//! or a header into a message: both may hold secrets.

use crate::outbound::{Outbound, OutboundError, Refusal, Reply, Request, header_map};
use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::function::{Executable, Source};
use tollgate_core::ids::{EventId, FunctionId, SiteId, VersionId};
use tollgate_core::invocation::{Failure, FailureKind};
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, CheckError, RunReport, Runtime};
use tollgate_core::time::{Clock, Timestamp};
use tollgate_core::users::FieldError;

/// How much of a refusal's body is shown to the function's author.
const EXCERPT_BYTES: usize = 300;

/// Calls webhooks.
pub struct ProxyRuntime {
    outbound: Outbound,
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

impl ProxyRuntime {
    /// A runtime that calls through `outbound`.
    pub const fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock }
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

    fn delivery(&self, call: &Call) -> Result<Request, Failure> {
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
        let target = self
            .outbound
            .check(webhook_url)
            .map_err(|refusal| refused(&refusal))?;
        let mut headers = header_map(headers)
            .map_err(|error| Failure::new(FailureKind::Load, error.to_string()))?;
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
        Ok(Request {
            method: Method::POST,
            target,
            headers,
            body,
        })
    }

    async fn send(&self, request: Request) -> Result<JsonText, Failure> {
        let reply = self.outbound.send(request).await.map_err(failed)?;
        let status = reply.status();
        if !status.is_success() {
            return Err(refusal(status, reply).await);
        }
        let (body, complete) = reply
            .read_up_to(limits::RESULT_BYTES)
            .await
            .map_err(failed)?;
        if !complete {
            return Err(upstream(format!(
                "The webhook's answer is larger than the limit of {} bytes",
                limits::RESULT_BYTES
            )));
        }
        object(body, status)
    }
}

fn upstream(message: String) -> Failure {
    Failure::new(FailureKind::Upstream, message)
}

/// The address must not be called. A name may mean something else at the next attempt.
fn refused(refusal: &Refusal) -> Failure {
    upstream(format!("The webhook's address was not called: {refusal}"))
}

/// A request that got no answer.
fn failed(error: OutboundError) -> Failure {
    match error {
        OutboundError::Refused(refusal) => refused(&refusal),
        OutboundError::Unresolved | OutboundError::Unreachable(_) | OutboundError::Broken(_) => {
            upstream(format!("The webhook {error}"))
        }
    }
}

async fn refusal(status: StatusCode, reply: Reply) -> Failure {
    let retry_after = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => reply
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs),
        _ => None,
    };
    let mut message = format!("The webhook answered {status}");
    if status.is_redirection() {
        message.push_str("; redirects are not followed");
    } else if let Ok((body, _)) = reply.read_up_to(EXCERPT_BYTES).await {
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
            self.outbound.check(webhook_url).map_err(|refusal| {
                let message = format!("The address cannot be called: {refusal}");
                CheckError::Field(FieldError::new("webhook_url", message))
            })?;
            header_map(headers).map_err(|error| {
                CheckError::Field(FieldError::new("headers", error.to_string()))
            })?;
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
