//! A runtime whose functions do what a test says, without any process.
//!
//! For tests of everything around functions. What functions themselves do is tested with real
//! interpreters.

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::to_raw_value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore};
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{Executable, Image, Source};
use tollgate_core::ids::{FunctionId, SiteId};
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{Call, CheckError, RunReport, Runtime};
use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::time::Timestamp;

/// What a function does when it is called.
#[derive(Clone)]
pub enum Behaviour {
    /// Returns this.
    Return(Value),
    /// Returns this JSON, byte by byte.
    ReturnText(&'static str),
    /// Fails so.
    Fail(FailureKind),
    /// Asks the platform, as its `sdk_client` does; returns what is answered, or fails with what refuses.
    Ask(&'static str, Value),
    /// Logs this line, then does the other.
    Log(&'static str, Box<Behaviour>),
    /// Waits for a permit of the gate, then does the other.
    Gated(Arc<Semaphore>, Box<Behaviour>),
}

/// One call, as it came.
#[derive(Debug, Clone)]
pub struct Called {
    /// The function's slug.
    pub slug: String,
    /// Its version.
    pub version: u32,
    /// Which attempt the function is told it is.
    pub attempt: u32,
    /// When somebody who waits must have an answer.
    pub deadline: Option<Instant>,
    /// When what causes it happened.
    pub caused_at: Timestamp,
    /// What it is told of the request behind it.
    pub request: Option<JsonText>,
}

/// Functions by slug; an unknown one returns `null`.
pub struct FakeRuntime {
    behaviours: Mutex<HashMap<String, Behaviour>>,
    calls: Mutex<Vec<Called>>,
    called: Notify,
    under_way: AtomicUsize,
    unloadable: Mutex<HashMap<String, FailureKind>>,
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
    loading: Semaphore,
    warmed: Mutex<Vec<(String, u32)>>,
    kept: Mutex<Vec<(String, u32)>>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self {
            behaviours: Mutex::default(),
            calls: Mutex::default(),
            called: Notify::default(),
            under_way: AtomicUsize::default(),
            unloadable: Mutex::default(),
            held: Mutex::default(),
            loading: Semaphore::new(0),
            warmed: Mutex::default(),
            kept: Mutex::default(),
        }
    }
}

impl FakeRuntime {
    /// Sets what the function `slug` does from now on.
    pub fn on(&self, slug: &str, behaviour: Behaviour) {
        self.behaviours.lock().insert(slug.to_owned(), behaviour);
    }

    /// The slugs called so far, in order.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.calls.lock();
        calls.iter().map(|call| call.slug.clone()).collect()
    }

    /// Everything of the calls so far, in order.
    pub fn calls_in_full(&self) -> Vec<Called> {
        self.calls.lock().clone()
    }

    /// Calls that have begun and neither ended nor been dropped.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Waits until at least `count` calls have begun.
    pub async fn called(&self, count: usize) {
        loop {
            let called = self.called.notified();
            if self.calls.lock().len() >= count {
                return;
            }
            called.await;
        }
    }

    /// From now on the function `slug` fails to load, with a failure of this kind.
    pub fn refuse_to_load(&self, slug: &str, kind: FailureKind) {
        self.unloadable.lock().insert(slug.to_owned(), kind);
    }

    /// From now on the function `slug` is loaded when the gate has a permit for it.
    pub fn hold_loading(&self, slug: &str, gate: &Arc<Semaphore>) {
        self.held.lock().insert(slug.to_owned(), Arc::clone(gate));
    }

    /// Waits until the loading of one more held function has begun.
    pub async fn loading(&self) {
        let begun = self.loading.acquire().await;
        begun
            .map(tokio::sync::SemaphorePermit::forget)
            .unwrap_or_default();
    }

    /// The opposite.
    pub fn load_again(&self, slug: &str) {
        self.unloadable.lock().remove(slug);
    }

    /// What was loaded so far, in order: slug and version.
    pub fn warmed(&self) -> Vec<(String, u32)> {
        self.warmed.lock().clone()
    }

    /// What keeps a worker now: slug and version.
    pub fn kept(&self) -> Vec<(String, u32)> {
        self.kept.lock().clone()
    }

    fn begin(&self, call: &Call) -> Behaviour {
        let slug = &call.executable.function_slug;
        self.calls.lock().push(Called {
            slug: slug.clone(),
            version: call.executable.version,
            attempt: call.context.attempt,
            deadline: call.deadline,
            caused_at: call.caused_at,
            request: call.context.request.clone(),
        });
        self.called.notify_waiters();
        self.behaviours
            .lock()
            .get(slug)
            .cloned()
            .unwrap_or(Behaviour::Return(Value::Null))
    }
}

/// Counts a call for as long as its future lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn run(&self, call: Call) -> RunReport {
        let _under_way = UnderWay::new(&self.under_way);
        let mut behaviour = self.begin(&call);
        let logs: Arc<Mutex<Vec<LogLine>>> = Arc::default();
        let left = Arc::clone(&logs);
        call.remains
            .leave("fake".to_owned(), move || left.lock().clone());
        let logged = || std::mem::take(&mut *logs.lock());
        loop {
            behaviour = match behaviour {
                Behaviour::ReturnText(text) => {
                    let value = JsonText::parse(text.to_owned());
                    let result = value
                        .map_err(|error| Failure::new(FailureKind::NotJson, error.to_string()));
                    return RunReport {
                        result,
                        logs: logged(),
                        worker: "fake".into(),
                    };
                }
                Behaviour::Ask(method, args) => {
                    let args = to_raw_value(&args).unwrap_or_default();
                    let answer = call.host.call(method, &args).await;
                    let result = answer.map(JsonText::from).map_err(|error| {
                        let message = format!("{} {}", error.kind, error.message);
                        Failure::new(FailureKind::Exception, message)
                    });
                    return RunReport {
                        result,
                        logs: logged(),
                        worker: "fake".into(),
                    };
                }
                Behaviour::Return(value) => {
                    let result = Ok(JsonText::from(&value));
                    return RunReport {
                        result,
                        logs: logged(),
                        worker: "fake".into(),
                    };
                }
                Behaviour::Fail(kind) => {
                    let failure = Failure::new(kind, format!("it was told to: {kind}"));
                    return RunReport {
                        result: Err(failure),
                        logs: logged(),
                        worker: "fake".into(),
                    };
                }
                Behaviour::Log(message, then) => {
                    logs.lock().push(LogLine {
                        timestamp: Timestamp::from_micros(i64::MAX),
                        level: "INFO".to_owned(),
                        logger: "function".to_owned(),
                        message: message.to_owned(),
                    });
                    *then
                }
                Behaviour::Gated(gate, then) => {
                    // A closed gate is an open one.
                    let _ = gate
                        .acquire()
                        .await
                        .map(tokio::sync::SemaphorePermit::forget);
                    *then
                }
            };
        }
    }

    async fn check(&self, _: SiteId, _: &Source, _: &EgressHosts) -> Result<(), CheckError> {
        Ok(())
    }

    async fn warm(&self, executable: &Arc<Executable>) -> Result<(), Failure> {
        let slug = &executable.function_slug;
        if let Some(kind) = self.unloadable.lock().get(slug) {
            return Err(Failure::new(*kind, "it was told not to load"));
        }
        let held = self.held.lock().get(slug).cloned();
        if let Some(gate) = held {
            self.loading.add_permits(1);
            // A closed gate is an open one.
            let _ = gate
                .acquire()
                .await
                .map(tokio::sync::SemaphorePermit::forget);
        }
        let this = (slug.clone(), executable.version);
        let mut warmed = self.warmed.lock();
        // What is loaded is not loaded again.
        if !warmed.contains(&this) {
            warmed.push(this);
        }
        Ok(())
    }

    fn keep(&self, executable: &Arc<Executable>, keep: bool) {
        let this = (executable.function_slug.clone(), executable.version);
        let mut kept = self.kept.lock();
        // One function, one version.
        kept.retain(|(slug, _)| *slug != this.0);
        if keep {
            kept.push(this);
        }
    }

    fn retire(&self, _: SiteId, _: FunctionId, _: Option<Image>) {}

    fn health(&self) -> Result<String, String> {
        Ok("fake".to_owned())
    }
}
