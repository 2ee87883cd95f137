//! Functions that are somebody else's HTTP endpoint: one POST per run.
//!
//! Must never send but through [`Outbound`], read more of an answer than the limit, or put an address
//! or a header into a message: both may hold secrets.

mod breaker;

use crate::outbound::{Outbound, OutboundError, Refusal, Reply, Request, header_map};
use crate::results;
use async_trait::async_trait;
use breaker::{Breakers, LeftAlone};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tollgate_core::egress::EgressHosts;
use tollgate_core::engine::verdict::{No, refusal_in};
use tollgate_core::events::{EventType, Phase};
use tollgate_core::functions::webhook::{FindSecrets, WebhookState, signature};
use tollgate_core::functions::{Executable, Image, Source};
use tollgate_core::ids::{EventId, FunctionId, SiteId};
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, CheckError, RunReport, Runtime};
use tollgate_core::room::{SiteRooms, Taken};
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::text::span;
use tollgate_core::time::{Clock, Timestamp};
use tollgate_core::validation::FieldError;

/// How much of a failed answer's body its record keeps.
const EXCERPT_BYTES: usize = 4096;

/// Calls webhooks.
pub struct ProxyRuntime {
    outbound: Outbound,
    keys: Arc<dyn FindSecrets>,
    breakers: Breakers,
    /// For large answers.
    replies: SiteRooms,
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

/// What a run wants of the webhook.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Leave to go on: a PRE event.
    Leave,
    /// Nothing but to take it: a POST event.
    Nothing,
    /// A value: a call.
    Value,
}

impl Asks {
    fn of(call: &Call) -> Self {
        match call.context.event.map(EventType::phase) {
            Some(Phase::Pre) => Self::Leave,
            Some(Phase::Post) => Self::Nothing,
            None => Self::Value,
        }
    }
}

/// A run with a result.
struct Answer {
    result: JsonText,
    /// Something that its record has to say beside it.
    note: Option<String>,
}

impl Answer {
    const fn of(result: JsonText) -> Self {
        Self { result, note: None }
    }
}

/// What came after the head of an answer.
struct Body {
    /// All of it, if it is JSON.
    json: Option<JsonText>,
    /// Why that cannot be kept as it is.
    fault: Option<Failure>,
    /// Its beginning, for people.
    excerpt: String,
    complete: bool,
}

impl Default for Body {
    fn default() -> Self {
        Self::of(&[], true)
    }
}

impl Body {
    fn of(bytes: &[u8], complete: bool) -> Self {
        let begin = &bytes[..bytes.len().min(EXCERPT_BYTES)];
        let text = std::str::from_utf8(bytes).ok().filter(|_| complete);
        let text = text.map(|text| text.trim_start_matches('\u{feff}').trim());
        let json = text.and_then(|text| JsonText::parse(text.to_owned()).ok());
        Self {
            fault: json
                .as_ref()
                .and_then(|json| results::check(json.as_str()).err()),
            json,
            excerpt: String::from_utf8_lossy(begin).trim().to_owned(),
            complete,
        }
    }

    /// The object that says no, and what callers are told of it. Of one that cannot be kept only the reason is, with
    /// what end users read.
    fn refusal(&self) -> Option<(Answer, String)> {
        let json = self.json.as_ref()?;
        let no = refusal_in(json)?;
        let answer = match &self.fault {
            None => Answer::of(json.clone()),
            Some(fault) => Answer {
                result: JsonText::from(&kept(&no)),
                note: Some(format!(
                    "Only the reason of the webhook's answer was kept. {}",
                    fault.message
                )),
            },
        };
        Some((answer, no.told().to_owned()))
    }

    /// The failure, with what was said for those who may read it.
    fn shown_in(&self, failure: Failure) -> Failure {
        if self.excerpt.is_empty() {
            return failure;
        }
        failure.with_traceback(format!("The webhook's answer:\n{}", self.excerpt))
    }
}

/// What of a refusal is kept, where the rest of the object cannot be.
fn kept(no: &No) -> Value {
    match &no.user_message {
        Some(message) => json!({"success": false, "error": no.reason, "user_message": message}),
        None => json!({"success": false, "error": no.reason}),
    }
}

/// What is sent.
#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    event_id: Option<EventId>,
    /// The request that caused it; none when the program or a function did.
    request: Option<&'a JsonText>,
    data: &'a JsonText,
}

impl ProxyRuntime {
    /// A runtime that calls through `outbound` and signs with what `keys` finds.
    pub fn new(outbound: Outbound, keys: Arc<dyn FindSecrets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            outbound,
            keys,
            breakers: Breakers::new(Arc::clone(&clock)),
            replies: SiteRooms::new(limits::WEBHOOK_REPLIES_BYTES),
            clock,
        }
    }

    async fn outcome(&self, call: &Call) -> Result<Answer, Failure> {
        let pass = self.breakers.enter(&call.executable).map_err(left_alone)?;
        let request = self.signed(call).await?;
        let asks = Asks::of(call);
        let limit = call.allotted(self.clock.monotonic());
        // Around everything: the answer's body counts as well as its head.
        let ended = match tokio::time::timeout(limit, self.deliver(call, request, asks)).await {
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

    async fn deliver(&self, call: &Call, request: Request, asks: Asks) -> Result<Answer, Ended> {
        let site = call.executable.site_id;
        let reply = self.outbound.send(site, request).await.map_err(failed)?;
        let status = reply.status();
        if status == StatusCode::GONE {
            // What follows from it is not this module's business.
            let (body, _taken) = self.body(site, reply).await.unwrap_or_default();
            let message = answered(status, &body, body.refusal().map(|(_, reason)| reason));
            return Err(body
                .shown_in(Failure::new(FailureKind::Gone, message))
                .into());
        }
        let retry_after = retry_after(reply.headers(), self.clock.now());
        let (body, _taken) = match self.body(site, reply).await {
            Ok(read) => read,
            // The event has arrived; what the rest of the answer was to be matters to nobody.
            Err(_) if status.is_success() && asks == Asks::Nothing => (Body::default(), None),
            Err(ended) => return Err(ended),
        };
        if status.is_success() {
            return Ok(delivered(status, body, asks)?);
        }
        match body.refusal() {
            // A no is an answer, whatever the status.
            Some((answer, _)) if asks == Asks::Leave => Ok(answer),
            refusal => {
                let reason = refusal.map(|(_, reason)| reason);
                Err(refused_with(status, &body, reason, retry_after))
            }
        }
    }

    /// An answer's body as far as it may be kept, and what it takes up.
    async fn body(&self, site: SiteId, mut reply: Reply) -> Result<(Body, Option<Taken>), Ended> {
        let (mut bytes, most) = (Vec::new(), limits::RESULT_BYTES);
        let small = reply.read_into(&mut bytes, limits::SMALL_PARAMS_BYTES);
        if small.await.map_err(failed)? {
            return Ok((Body::of(&bytes, true), None));
        }
        let length = reply.length().and_then(|it| usize::try_from(it).ok());
        // Once as it comes, and once as what is made of it.
        let room = 2 * length.map_or(most, |length| length.min(most));
        let taken = self.replies.of(site).take(room).await.ok();
        let rest = reply.read_into(&mut bytes, most);
        // Others wait for the room that it takes.
        let whole = tokio::time::timeout(limits::EGRESS_REPLY_TIME, rest).await;
        let whole = whole.map_err(|_| slow())?.map_err(failed)?;
        bytes.truncate(most);
        Ok((Body::of(&bytes, whole), taken))
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
        let target = self.outbound.check(webhook_url);
        let permitted = target.and_then(|target| target.permitted(&call.executable.egress_hosts));
        let target = permitted.map_err(|refusal| refused(&refusal))?;
        let mut headers = header_map(headers)
            .map_err(|error| Failure::new(FailureKind::Load, error.to_string()))?;
        let payload = Payload {
            kind: call
                .context
                .event
                .map_or("function.execute", EventType::as_str),
            timestamp: call.caused_at,
            event_id: call.context.event_id,
            request: call.context.request.as_ref(),
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
        OutboundError::Unresolved | OutboundError::Trouble(_) => {
            upstream(format!("The webhook {error}"))
        }
    })
}

fn slow() -> Ended {
    Ended::in_trouble(upstream(format!(
        "The webhook's answer took longer than {} to arrive",
        span(limits::EGRESS_REPLY_TIME)
    )))
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

/// A failed answer. Whoever caused the run is told the status, and the reason if the webhook gave one on
/// purpose; what else it said stands in the traceback, for those who may read that.
fn refused_with(
    status: StatusCode,
    body: &Body,
    reason: Option<String>,
    retry_after: Option<Duration>,
) -> Ended {
    let message = answered(status, body, reason);
    Ended {
        failure: Failure {
            retry_after,
            ..body.shown_in(upstream(message))
        },
        trouble: status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
    }
}

/// What an answer that is no success comes to, in words for whoever caused the run.
fn answered(status: StatusCode, body: &Body, reason: Option<String>) -> String {
    let mut message = format!("The webhook answered {}", shown(status));
    if status.is_redirection() {
        message.push_str("; redirects are not followed");
    }
    if let Some(reason) = reason {
        message.push_str(": ");
        message.push_str(&reason);
    } else if !body.excerpt.is_empty() {
        message.push_str("; the record of this run shows what it said");
    }
    message
}

/// A status with its name, if it has one.
fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(_) => status.to_string(),
        None => status.as_str().to_owned(),
    }
}

/// What a 2xx means to those who wait, or do not.
fn delivered(status: StatusCode, body: Body, asks: Asks) -> Result<Answer, Failure> {
    if let (Some((answer, _)), Asks::Leave) = (body.refusal(), asks) {
        return Ok(answer);
    }
    if let (Some(json), None) = (&body.json, &body.fault) {
        return Ok(Answer::of(json.clone()));
    }
    if body.excerpt.is_empty() && body.complete {
        return Ok(Answer::of(JsonText::null()));
    }
    let (kind, what) = match (&body.fault, body.complete) {
        (Some(fault), _) => (
            fault.kind,
            format!("that cannot be kept: {}", fault.message),
        ),
        (None, true) => (FailureKind::NotJson, "which is not JSON".to_owned()),
        (None, false) => {
            let most = limits::RESULT_BYTES;
            (
                FailureKind::Limit,
                format!("which is larger than the limit of {most} bytes"),
            )
        }
    };
    let note = format!("The webhook answered {} with a body {what}", shown(status));
    let lost = kind == FailureKind::Limit || body.fault.is_some();
    match asks {
        // Nobody can tell what was meant.
        Asks::Leave if body.fault.is_some() => Err(body.shown_in(Failure::new(kind, note))),
        Asks::Leave => {
            let rule = "an empty body agrees, and a JSON object says what to do";
            Err(body.shown_in(Failure::new(kind, format!("{note}: {rule}"))))
        }
        Asks::Value if lost => Err(body.shown_in(Failure::new(kind, note))),
        Asks::Value | Asks::Nothing => Ok(Answer {
            result: JsonText::null(),
            note: Some(match body.fault {
                Some(_) => note,
                None => format!("{note}, so it was not kept"),
            }),
        }),
    }
}

/// When to come back: a number of seconds, or a date in any of HTTP's three forms.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is more than is waited for.
        text.parse().map_or(limits::RETRY_MAX, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let since = date
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(0).plus(since).since(now)
    };
    Some(asked.min(limits::RETRY_MAX))
}

#[async_trait]
impl Runtime for ProxyRuntime {
    async fn run(&self, call: Call) -> RunReport {
        let (result, note) = match self.outcome(&call).await {
            Ok(Answer { result, note }) => (Ok(result), note),
            Err(failure) => (Err(failure), None),
        };
        let note = note.map(|message| LogLine {
            timestamp: self.clock.now(),
            level: "WARNING".to_owned(),
            logger: "tollgate".to_owned(),
            message,
        });
        RunReport {
            result,
            logs: note.into_iter().collect(),
            worker: "proxy".to_owned(),
        }
    }

    async fn check(
        &self,
        _: SiteId,
        source: &Source,
        hosts: &EgressHosts,
    ) -> Result<(), CheckError> {
        if let Source::Proxy {
            webhook_url,
            headers,
        } = source
        {
            let target = self.outbound.check(webhook_url);
            let permitted = target.and_then(|target| target.permitted(hosts));
            permitted.map_err(|refusal| {
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

    fn retire(&self, site: SiteId, function: FunctionId, active: Option<Image>) {
        let active = active.map(|active| active.version);
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
