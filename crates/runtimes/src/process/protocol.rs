//! What frames between server and worker say, and how far a worker's word is trusted.
//!
//! Everything that a worker sends may come from hostile code that has taken it over: sizes are bounded
//! again here, what does not fit the protocol is an error, never a guess, and nothing is built of it
//! whose size is not bounded by what it is for.

use crate::results;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use tollgate_core::functions::{CallContext, Entrypoint, Executable, MAIN, Source};
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{Call, HostError, HostErrorKind};
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::time::Timestamp;
use tollgate_core::{limits, text};

/// Longest reason of a worker that is not fit.
const UNFIT_BYTES: usize = 300;

/// First frame to a worker.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum First<'a> {
    /// Compile the code, run the top of its module, then expect calls.
    Load {
        code: &'a str,
        slug: &'a str,
        #[serde(flatten)]
        entry: Entry<'a>,
        memory_mb: u32,
        reserve_mb: u64,
        /// What people have set, secrets among them.
        variables: BTreeMap<&'a str, &'a str>,
        /// What the platform sets.
        env: Box<Environment<'a>>,
        limits: &'static Limits,
    },
    /// Compile the code, say what is wrong with it, and end.
    Check {
        code: &'a str,
        function: &'a str,
        memory_mb: u32,
        reserve_mb: u64,
    },
}

/// Where a version begins.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// The function.
    function: &'a str,
    /// Its module, and the files around it, which follow the frame: none for a version of one file.
    files: Option<Files<'a>>,
}

/// More than one file, as [`tollgate_core::functions::Bundle::encode`] gives them.
#[derive(Serialize)]
struct Files<'a> {
    module: &'a str,
    /// The path of the module's file.
    file: &'a str,
    /// How many bytes follow.
    bytes: usize,
}

impl<'a> Entry<'a> {
    /// Of `source`, an app function's, whose files are `encoded`.
    pub(super) fn of(source: &'a Source, encoded: &[u8]) -> Self {
        let (entrypoint, bundle) = match source {
            Source::App {
                entrypoint, bundle, ..
            } => (entrypoint.as_ref(), bundle.as_ref()),
            Source::Proxy { .. } | Source::System => (None, None),
        };
        let files = bundle.map(|bundle| Files {
            module: entrypoint.map_or(MAIN, Entrypoint::module),
            file: &bundle.file,
            bytes: encoded.len(),
        });
        Self {
            function: entrypoint.map_or(MAIN, Entrypoint::function),
            files,
        }
    }

    /// The function.
    pub(super) const fn function(&self) -> &'a str {
        self.function
    }
}

/// The environment variables of a version; those of a call are set by the host.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Environment<'a> {
    taruvi_function_runtime: &'static str,
    taruvi_function_id: String,
    taruvi_function_name: &'a str,
    taruvi_tenant: &'a str,
    taruvi_site_id: String,
    taruvi_site_slug: &'a str,
    taruvi_app_id: String,
    taruvi_app_slug: &'a str,
}

impl<'a> Environment<'a> {
    pub(super) fn of(executable: &'a Executable) -> Self {
        Self {
            taruvi_function_runtime: "true",
            taruvi_function_id: executable.function_id.to_string(),
            taruvi_function_name: &executable.function_name,
            taruvi_tenant: &executable.site_slug,
            taruvi_site_id: executable.site_id.to_string(),
            taruvi_site_slug: &executable.site_slug,
            taruvi_app_id: executable.app_id.to_string(),
            taruvi_app_slug: &executable.app_slug,
        }
    }
}

/// The limits that the host keeps itself or names, so that it can say which one was reached.
#[derive(Serialize)]
pub(super) struct Limits {
    result_bytes: usize,
    log_bytes: usize,
    log_lines: usize,
    error_bytes: usize,
    threads: u64,
    scratch_bytes: u64,
    scratch_files: u64,
    open_files: u64,
    file_bytes: u64,
}

impl Limits {
    pub(super) const fn of_engine() -> &'static Self {
        const LIMITS: Limits = Limits {
            result_bytes: limits::RESULT_BYTES,
            log_bytes: limits::LOG_BYTES,
            log_lines: limits::LOG_LINES,
            error_bytes: limits::ERROR_BYTES,
            threads: limits::WORKER_THREADS,
            scratch_bytes: limits::SCRATCH_BYTES,
            scratch_files: limits::SCRATCH_FILES,
            open_files: limits::OPEN_FILES,
            file_bytes: limits::FILE_BYTES,
        };
        &LIMITS
    }
}

/// One call.
#[derive(Serialize)]
pub(super) struct CallFrame<'a> {
    params: &'a JsonText,
    user: Option<&'a JsonText>,
    #[serde(rename = "fn")]
    context: &'a CallContext,
}

impl<'a> CallFrame<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        Self {
            params: &call.params,
            user: call.user_data.as_ref(),
            context: &call.context,
        }
    }
}

/// Answer to a request of the running function.
#[derive(Serialize)]
pub(super) struct HostAnswer<'a> {
    pub(super) id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ok: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<HostRefusal<'a>>,
}

/// Why a request was refused.
#[derive(Serialize)]
pub(super) struct HostRefusal<'a> {
    code: &'a str,
    status: u16,
    message: &'a str,
}

impl<'a> HostRefusal<'a> {
    /// With the status that the same request over HTTP would have had: what clients in workers go by.
    pub(super) fn of(error: &'a HostError) -> Self {
        Self {
            code: error.kind.as_str(),
            status: status(error.kind),
            message: &error.message,
        }
    }
}

/// The status that a worker's client knows a refusal by.
const fn status(kind: HostErrorKind) -> u16 {
    match kind {
        HostErrorKind::BadRequest
        | HostErrorKind::Invalid
        | HostErrorKind::PreEventDenied
        | HostErrorKind::PreEventFailed
        | HostErrorKind::FunctionFailed => 400,
        HostErrorKind::Unauthenticated => 401,
        HostErrorKind::Forbidden => 403,
        HostErrorKind::NotFound => 404,
        HostErrorKind::Conflict => 409,
        HostErrorKind::TooLarge => 413,
        HostErrorKind::TooMany => 429,
        HostErrorKind::Internal => 500,
        HostErrorKind::Unavailable => 503,
        HostErrorKind::Late => 504,
    }
}

/// Any frame from a worker.
#[derive(Deserialize)]
pub(super) struct Incoming<'a> {
    pub(super) op: Op,
    #[serde(default)]
    pub(super) pid: u32,
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default, borrow)]
    pub(super) method: Cow<'a, str>,
    /// As text until it is known what it is for.
    #[serde(default, borrow)]
    pub(super) args: Option<&'a RawValue>,
    /// Absent as well as `null` for the result `null`.
    #[serde(default, borrow)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) failure: Option<WireFailure<'a>>,
    #[serde(default, borrow)]
    logs: Option<&'a RawValue>,
    /// Threads were left, which get no time until the next call.
    #[serde(default)]
    pub(super) left: bool,
    /// Its memory is worth a look.
    #[serde(default)]
    pub(super) large: bool,
    /// Why the worker must serve no other call, as it says itself; absent when it may.
    #[serde(default, borrow)]
    unfit: Option<Cow<'a, str>>,
}

/// Whether a worker may serve another call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fitness {
    /// It is as it was after loading, as far as a function can tell.
    Fit,
    /// It holds something that would meet the next call, in words for the log.
    Unfit(String),
}

/// What a frame from a worker is about.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Op {
    /// It has what it was given, and begins with it.
    Begun,
    /// The module is loaded.
    Ready,
    /// A request to the platform.
    Host,
    /// A result.
    Result,
    /// No result.
    Failed,
}

/// Answer to a check: empty when nothing is wrong.
#[derive(Default, Deserialize)]
pub(super) struct Checked {
    pub(super) message: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct WireFailure<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    traceback: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct WireLine<'a>(
    f64,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
);

impl WireFailure<'_> {
    /// The failure, with only such kinds as a worker can know of.
    pub(super) fn into_failure(self) -> Failure {
        let kind = match FailureKind::from_text(&self.kind) {
            Some(kind @ (FailureKind::Limit | FailureKind::NotJson | FailureKind::Load)) => kind,
            _ => FailureKind::Exception,
        };
        let failure = Failure::new(kind, self.message);
        match self.traceback {
            Some(trace) if !trace.is_empty() => failure.with_traceback(trace),
            _ => failure,
        }
    }
}

impl Incoming<'_> {
    /// The log lines, within the limits whatever the worker did.
    ///
    /// # Errors
    /// When they are none.
    pub(super) fn take_logs(&mut self) -> serde_json::Result<Vec<LogLine>> {
        let lines = self.logs.take().map(RawValue::get);
        let lines = lines.map(serde_json::from_str::<Lines>).transpose()?;
        Ok(lines.unwrap_or_default().0)
    }

    /// What the worker says of itself. Who lies about it is found out from outside.
    pub(super) fn take_fitness(&mut self) -> Fitness {
        match self.unfit.take() {
            Some(reason) => Fitness::Unfit(text::prefix(&reason, UNFIT_BYTES).to_owned()),
            None => Fitness::Fit,
        }
    }

    /// The result as JSON text that every reader of the engine can read.
    pub(super) fn take_result(&self) -> Result<JsonText, Failure> {
        let Some(raw) = self.result else {
            return Ok(JsonText::null());
        };
        results::check(raw.get())?;
        Ok(JsonText::from(raw.to_owned()))
    }
}

/// Log lines, read one by one: what is beyond the limits is never kept.
#[derive(Default)]
struct Lines(Vec<LogLine>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of log lines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lines, A::Error> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        // One line more than the limit: the host's note that the rest was cut.
        while lines.len() <= limits::LOG_LINES
            && let Some(line) = items.next_element::<WireLine<'_>>()?
            && let Some(line) = line.bounded(&mut bytes)
        {
            lines.push(line);
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Lines(lines))
    }
}

impl WireLine<'_> {
    /// The line, with only such names as there are.
    pub(super) fn into_line(self) -> LogLine {
        let Self(seconds, level, logger, message) = self;
        LogLine {
            timestamp: timestamp(seconds),
            level: LogLine::level(&level).to_owned(),
            logger: LogLine::logger(&logger).to_owned(),
            message: message.into_owned(),
        }
    }

    fn bounded(self, bytes: &mut usize) -> Option<LogLine> {
        // The margin is for the host's note.
        let room = (limits::LOG_BYTES + 256)
            .checked_sub(*bytes)
            .filter(|&room| room > 0)?;
        let mut line = self.into_line();
        line.message
            .truncate(text::prefix(&line.message, room).len());
        *bytes += line.message.len();
        Some(line)
    }
}

pub(super) fn timestamp(seconds: f64) -> Timestamp {
    // A cast saturates, and turns NaN into 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturating is what is wanted"
    )]
    Timestamp::from_micros((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result_of(frame: &str) -> Result<JsonText, Failure> {
        serde_json::from_str::<Incoming<'_>>(frame)
            .unwrap()
            .take_result()
    }

    #[test]
    fn a_result_is_passed_on_as_it_came() {
        let text = r#"{"n": 1.50, "s": "\"[{é", "a": [[], {}]}"#;
        let result = result_of(&format!(r#"{{"op":"result","result":{text}}}"#));
        assert_eq!(result.unwrap().as_str(), text);
        assert_eq!(
            result_of(r#"{"op":"result","result":null}"#)
                .unwrap()
                .as_str(),
            "null"
        );
    }

    #[test]
    fn log_lines_of_a_hostile_worker_are_bounded_and_named() {
        let lines = vec![json!([1.5, "LOUD", "root", "hello"]); limits::LOG_LINES + 50];
        let frame = json!({"op": "result", "logs": lines}).to_string();
        let mut message: Incoming<'_> = serde_json::from_str(&frame).unwrap();
        let logs = message.take_logs().unwrap();
        assert_eq!(logs.len(), limits::LOG_LINES + 1);
        assert_eq!(
            (logs[0].level.as_str(), logs[0].logger.as_str()),
            ("INFO", "function")
        );
        assert_eq!(logs[0].timestamp, Timestamp::from_micros(1_500_000));
        let lines = vec![json!([1e300, "INFO", "stdout", "x".repeat(700_000)]); 4];
        let frame = json!({"op": "result", "logs": lines}).to_string();
        let mut message: Incoming<'_> = serde_json::from_str(&frame).unwrap();
        let bytes: usize = message
            .take_logs()
            .unwrap()
            .iter()
            .map(|line| line.message.len())
            .sum();
        assert!(bytes <= limits::LOG_BYTES + 256, "{bytes}");
    }

    #[test]
    fn a_worker_cannot_name_kinds_that_are_not_its_own() {
        for (kind, expected) in [
            ("limit", FailureKind::Limit),
            ("cancelled", FailureKind::Exception),
            ("nonsense", FailureKind::Exception),
        ] {
            let text = json!({"kind": kind, "message": "m", "traceback": null}).to_string();
            let failure: WireFailure<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(failure.into_failure().kind, expected);
        }
    }

    /// Clients in workers read both, and raise by them.
    #[test]
    fn a_refusal_has_code_and_status() {
        let told: Vec<_> = HostErrorKind::ALL
            .into_iter()
            .map(|kind| {
                let error = HostError::new(kind, "no");
                serde_json::to_string(&HostRefusal::of(&error)).unwrap()
            })
            .collect();
        let expected = [
            ("BAD_REQUEST", 400),
            ("VALIDATION_ERROR", 400),
            ("UNAUTHORIZED", 401),
            ("FORBIDDEN", 403),
            ("NOT_FOUND", 404),
            ("CONFLICT", 409),
            ("PAYLOAD_TOO_LARGE", 413),
            ("RATE_LIMITED", 429),
            ("INTERNAL_ERROR", 500),
            ("SERVICE_UNAVAILABLE", 503),
            ("GATEWAY_TIMEOUT", 504),
            ("PRE_EVENT_DENIED", 400),
            ("PRE_EVENT_FAILED", 400),
            ("FUNCTION_FAILED", 400),
        ];
        let expected = expected.map(|(code, status)| {
            format!(r#"{{"code":"{code}","status":{status},"message":"no"}}"#)
        });
        assert_eq!(told, expected);
    }
}
