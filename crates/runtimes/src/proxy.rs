//! Functions that are somebody else's HTTP endpoint: one POST per run.
//!
//! Must never send but through [`Outbound`], read more of an answer than the limit, or put an address
//! or a header into a message: both may hold secrets.

mod breaker;

use crate::outbound::{Outbound, OutboundError, Refusal, Reply, Request, header_map};
use async_trait::async_trait;
use breaker::{Breakers, LeftAlone};
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
use tollgate_core::text::span;
use tollgate_core::time::{Clock, Timestamp};
use tollgate_core::users::FieldError;
use tollgate_core::webhook::{FindSecrets, WebhookState, signature};

/// How much of a refusal's body is shown to the function's author.
const EXCERPT_BYTES: usize = 300;

/// Calls webhooks.
pub struct ProxyRuntime {
    outbound: Outbound,
    keys: Arc<dyn FindSecrets>,
    breakers: Breakers,
    clock: Arc<dyn Clock>,
}

/// A run without a result.
struct Ended {
    failure: Failure,
    /// Whether the webhook is in trouble: it gave no answer, or one that says so.
    trouble: bool,
}

impl Ended {
    fn in_trouble(failure: Failure) -> Self {
        Self {
            failure,
            trouble: true,
        }
    }
}

/// A failure that an answer told: the webhook works.
impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            trouble: false,
        }
    }
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
    /// A runtime that calls through `outbound` and signs with what `keys` finds.
    pub fn new(outbound: Outbound, keys: Arc<dyn FindSecrets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            outbound,
            keys,
            breakers: Breakers::new(Arc::clone(&clock)),
            clock,
        }
    }

    async fn outcome(&self, call: &Call) -> Result<JsonText, Failure> {
        let pass = self.breakers.enter(&call.executable).map_err(left_alone)?;
        let request = self.signed(call).await?;
        let of_event = call.context.event.is_some();
        let limit = call.allotted(self.clock.monotonic());
        // Around everything: the answer's body counts as well as its head.
        let ended = match tokio::time::timeout(limit, self.deliver(request, of_event)).await {
            Ok(ended) => ended,
            Err(_) => {
                let message = format!("The webhook did not answer within {}", span(limit));
                let failure = Failure::new(FailureKind::Timeout, message);
                if limit < call.timeout / 2 {
                    // The caller's time had gone elsewhere, and the endpoint was hardly asked: that
                    // tells nothing of it.
                    return Err(failure);
                }
                Err(Ended::in_trouble(failure))
            }
        };
        if ended.as_ref().is_err_and(|ended| ended.trouble) {
            pass.failed();
        } else {
            pass.answered();
        }
        ended.map_err(|ended| ended.failure)
    }

    async fn deliver(&self, request: Request, of_event: bool) -> Result<JsonText, Ended> {
        let reply = self.outbound.send(request).await.map_err(failed)?;
        let status = reply.status();
        if !status.is_success() {
            return Err(refusal(status, reply, of_event).await);
        }
        let (body, complete) = reply
            .read_up_to(limits::RESULT_BYTES)
            .await
            .map_err(failed)?;
        if !complete {
            let failure = upstream(format!(
                "The webhook's answer is larger than the limit of {} bytes",
                limits::RESULT_BYTES
            ));
            return Err(failure.into());
        }
        Ok(object(&body, status)?)
    }

    /// The request with its signatures. A repeated attempt has the same id and its own time.
    async fn signed(&self, call: &Call) -> Result<Request, Failure> {
        let mut request = self.request(call)?;
        let secrets = self.keys.of(&call.executable).await.map_err(|error| {
            tracing::error!(%error, function.id = call.executable.function_id.0, "not signed");
            let message = "The webhook could not be signed, so it was not called: its secret cannot \
                           be read; rotate it, or ask the operator to look at the server's log";
            Failure::new(FailureKind::Unavailable, message)
        })?;
        let id = call.context.execution_id.to_string();
        let seconds = self.clock.now().as_seconds();
        let mut set = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).expect("ids, numbers and Base64 are ASCII");
            request.headers.insert(HeaderName::from_static(name), value);
        };
        set("webhook-id", &id);
        set("webhook-timestamp", &seconds.to_string());
        if secrets.is_empty() {
            request.headers.remove("webhook-signature");
        } else {
            let signature = signature(&secrets, &id, seconds, &request.body);
            set("webhook-signature", &signature);
        }
        Ok(request)
    }

    fn request(&self, call: &Call) -> Result<Request, Failure> {
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
        Ok(Request {
            method: Method::POST,
            target,
            headers,
            body,
        })
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
fn failed(error: OutboundError) -> Ended {
    Ended::in_trouble(match error {
        OutboundError::Refused(refusal) => refused(&refusal),
        OutboundError::Unresolved | OutboundError::Unreachable(_) | OutboundError::Broken(_) => {
            upstream(format!("The webhook {error}"))
        }
    })
}

/// The webhook is left alone for a while.
fn left_alone(it: LeftAlone) -> Failure {
    let message = format!(
        "The webhook failed {} times in a row, so it is left alone until {}; nothing was sent",
        it.failures, it.until
    );
    Failure {
        retry_after: Some(it.wait),
        ..Failure::new(FailureKind::CircuitOpen, message)
    }
}

async fn refusal(status: StatusCode, reply: Reply, of_event: bool) -> Ended {
    if status == StatusCode::GONE {
        let so = if of_event {
            ": it wants no more of these events, so its subscription was switched off"
        } else {
            ""
        };
        let message = format!("The webhook answered {status}{so}");
        return Failure::new(FailureKind::Gone, message).into();
    }
    let busy = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let retry_after = reply
        .headers()
        .get(RETRY_AFTER)
        .filter(|_| busy)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
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
    Ended {
        failure: Failure {
            retry_after,
            ..upstream(message)
        },
        trouble: busy || status.is_server_error(),
    }
}

fn object(body: &[u8], status: StatusCode) -> Result<JsonText, Failure> {
    let wrong = || {
        upstream(format!(
            "The webhook answered {status}, but not with a JSON object"
        ))
    };
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| wrong())?;
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

    async fn check(&self, _: SiteId, source: &Source) -> Result<(), CheckError> {
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

    fn retire(&self, site: SiteId, function: FunctionId, active: Option<VersionId>) {
        self.breakers.retire(site, function, active);
    }

    fn webhook(&self, executable: &Executable) -> Option<WebhookState> {
        Some(self.breakers.state(executable))
    }

    fn health(&self) -> Result<String, String> {
        Ok(match self.breakers.open() {
            0 => "ready".to_owned(),
            open => format!("ready; {open} webhooks failed and are left alone for a while"),
        })
    }
}
