//! Functions that are the operator's own Rust, registered under their slug.
//!
//! They run in this process and are trusted like the rest of it. A panic must never leave the run:
//! it becomes a failed one.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CallContext, Executable, Image, Source};
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::numbers::{self, Integers};
use tollgate_core::ports::runtime::{Call, CheckError, HostCalls, RunReport, Runtime};
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::text::span;
use tollgate_core::time::Clock;

/// The worker's name in records.
const NAME: &str = "system";

/// What a registered function is given.
#[derive(Clone)]
pub struct SystemCall {
    /// The event's parameters, or the caller's: an object.
    pub params: Value,
    /// Who acted, or `null`.
    pub user_data: Value,
    /// Which call this is: what a Python function finds in `params["__function__"]`.
    pub context: CallContext,
    /// Answers requests, with the rights that count at that moment.
    pub host: Arc<dyn HostCalls>,
    logs: Arc<Mutex<Vec<LogLine>>>,
    clock: Arc<dyn Clock>,
}

impl SystemCall {
    /// Adds a line to the invocation's logs, up to [`limits::LOG_LINES`].
    ///
    /// `level` is `DEBUG`, `INFO`, `WARNING` or `ERROR`; anything else counts as `INFO`.
    pub fn log(&self, level: &str, message: impl Into<String>) {
        let mut logs = self.logs.lock();
        if logs.len() < limits::LOG_LINES {
            logs.push(LogLine {
                timestamp: self.clock.now(),
                level: LogLine::level(level).to_owned(),
                logger: "function".to_owned(),
                message: message.into(),
            });
        }
    }
}

type Registered =
    Arc<dyn Fn(SystemCall) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// Runs registered functions.
pub struct SystemRuntime {
    functions: HashMap<String, Registered>,
    clock: Arc<dyn Clock>,
}

impl SystemRuntime {
    /// A runtime without functions.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            functions: HashMap::new(),
            clock,
        }
    }

    /// Registers `function` under `slug`, in place of an earlier one.
    ///
    /// The message of an `Err` becomes the invocation's error.
    pub fn register<F, Run>(&mut self, slug: impl Into<String>, function: F)
    where
        F: Fn(SystemCall) -> Run + Send + Sync + 'static,
        Run: Future<Output = Result<Value, String>> + Send + 'static,
    {
        self.functions
            .insert(slug.into(), Arc::new(move |call| function(call).boxed()));
    }

    fn find(&self, slug: &str) -> Result<&Registered, Failure> {
        self.functions.get(slug).ok_or_else(|| {
            Failure::new(
                FailureKind::Unavailable,
                format!("No system function is registered as `{slug}` in this server"),
            )
        })
    }

    async fn outcome(
        &self,
        call: Call,
        logs: Arc<Mutex<Vec<LogLine>>>,
    ) -> Result<JsonText, Failure> {
        let function = self.find(&call.executable.function_slug)?;
        let limit = call.allotted(self.clock.monotonic());
        let call = SystemCall {
            params: params_of(&call)?,
            user_data: call
                .user_data
                .as_ref()
                .map_or(Value::Null, JsonText::to_value),
            context: call.context,
            host: call.host,
            logs,
            clock: Arc::clone(&self.clock),
        };
        // Made inside the guarded future, because the closure itself may panic too.
        let run = AssertUnwindSafe(async { function(call).await }).catch_unwind();
        match tokio::time::timeout(limit, run).await {
            Err(_) => Err(timed_out(limit)),
            Ok(Err(panic)) => Err(Failure::new(
                FailureKind::Exception,
                format!("The function panicked: {}", panic_text(&*panic)),
            )),
            Ok(Ok(Err(message))) => Err(Failure::new(FailureKind::Exception, message)),
            Ok(Ok(Ok(value))) => bounded(&value),
        }
    }
}

fn params_of(call: &Call) -> Result<Value, Failure> {
    // Others read the text; here it becomes numbers of 64 bits.
    numbers::check(call.params.as_str(), Integers::Bits64).map_err(|inexact| {
        let message = format!("params.{}: {inexact}", inexact.path);
        Failure::new(FailureKind::Limit, message)
    })?;
    let mut params = call.params.to_value();
    if let (Value::Object(fields), Ok(context)) = (&mut params, serde_json::to_value(&call.context))
    {
        fields.insert("__function__".to_owned(), context);
    }
    Ok(params)
}

fn timed_out(limit: Duration) -> Failure {
    let message = format!(
        "The function did not end within its time limit of {}",
        span(limit)
    );
    Failure::new(FailureKind::Timeout, message)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn bounded(value: &Value) -> Result<JsonText, Failure> {
    let text = JsonText::from(value);
    let size = text.as_str().len();
    if size > limits::RESULT_BYTES {
        let message = format!(
            "The result is {size} bytes of JSON; the limit is {}",
            limits::RESULT_BYTES
        );
        return Err(Failure::new(FailureKind::Limit, message));
    }
    Ok(text)
}

#[async_trait]
impl Runtime for SystemRuntime {
    async fn run(&self, call: Call) -> RunReport {
        let logs = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::clone(&logs);
        call.remains
            .leave(NAME.to_owned(), move || std::mem::take(&mut *left.lock()));
        let result = self.outcome(call, Arc::clone(&logs)).await;
        let logs = std::mem::take(&mut *logs.lock());
        RunReport {
            result,
            logs,
            worker: NAME.to_owned(),
        }
    }

    /// Which slug a source will get is not known here, so a missing function shows when it runs.
    async fn check(&self, _: SiteId, _: &Source, _: &EgressHosts) -> Result<(), CheckError> {
        Ok(())
    }

    async fn warm(&self, executable: &Arc<Executable>) -> Result<(), Failure> {
        self.find(&executable.function_slug).map(|_| ())
    }

    fn keep(&self, _: &Arc<Executable>, _: bool) {}

    fn retire(&self, _: SiteId, _: FunctionId, _: Option<Image>) {}

    fn health(&self) -> Result<String, String> {
        Ok(format!("{} registered", self.functions.len()))
    }
}
