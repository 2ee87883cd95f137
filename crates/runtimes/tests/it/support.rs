//! What every test here needs: a runtime, calls, and a look at the processes of this machine.

use crate::processes::{self, Process};
use async_trait::async_trait;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CallContext, Environment, Executable, FunctionOptions, Source};
use tollgate_core::ids::{AppId, FunctionId, SiteId, TaskId, VersionId};
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{
    Call, HostCalls, HostError, HostErrorKind, Remains, RunReport, Runtime as _,
};
use tollgate_core::tasks::Failure;
use tollgate_core::time::{Clock, SystemClock, Timestamp};
use tollgate_core::users::events::PRE_USER_CREATE;
use tollgate_runtimes::{Interpreter, LauncherSpec, ProcessConfig, ProcessRuntime};

/// The site of every function here that is not told otherwise.
pub(crate) const SITE: SiteId = SiteId(7);

static NEXT: AtomicI64 = AtomicI64::new(1);

/// A runtime with its own zygote and scratch folder.
pub(crate) struct Python {
    pub(crate) runtime: Arc<ProcessRuntime>,
    pub(crate) clock: Arc<dyn Clock>,
    _scratch: tempfile::TempDir,
}

/// Tells on the real stderr, which the test harness does not swallow, that something was not tested.
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A configuration around the machine's Python; none, loudly, where there is none.
pub(crate) fn config(scratch: &Path) -> Option<ProcessConfig> {
    static FOUND: OnceLock<Option<Interpreter>> = OnceLock::new();
    let launcher = LauncherSpec::this_test_binary().unwrap();
    let found = FOUND.get_or_init(|| match Interpreter::find("python3".as_ref()) {
        Ok(python) => Some(python),
        Err(error) => {
            skipped(&format!("python3 not found: {error}"));
            None
        }
    });
    Some(ProcessConfig::new(
        found.clone()?,
        launcher,
        scratch.to_owned(),
    ))
}

/// The machine's Node; none, loudly, where there is none.
pub(crate) fn node_interpreter() -> Option<Interpreter> {
    static FOUND: OnceLock<Option<Interpreter>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match Interpreter::find_node("node".as_ref()) {
        Ok(node) => Some(node),
        Err(error) => {
            skipped(&format!("node not found: {error}"));
            None
        }
    });
    found.clone()
}

/// A runtime that runs Node too, with settings changed by `change`.
pub(crate) fn node_with(change: impl FnOnce(&mut ProcessConfig)) -> Option<Python> {
    let node = node_interpreter()?;
    python_with(|config| {
        config.node = Ok(node);
        change(config);
    })
}

pub(crate) fn node() -> Option<Python> {
    node_with(|_| {})
}

/// A runtime with settings changed by `change`.
pub(crate) fn python_with(change: impl FnOnce(&mut ProcessConfig)) -> Option<Python> {
    let scratch = tempfile::tempdir().unwrap();
    let mut config = config(scratch.path())?;
    change(&mut config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = ProcessRuntime::start(config, Arc::clone(&clock)).unwrap();
    Some(Python {
        runtime,
        clock,
        _scratch: scratch,
    })
}

pub(crate) fn python() -> Option<Python> {
    python_with(|_| {})
}

impl Python {
    /// The processes of this runtime: the launcher, the zygote, the workers.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let launchers = self.launchers().into_iter();
        launchers.flat_map(processes::with_descendants).collect()
    }

    /// The launchers of this runtime.
    pub(crate) fn launchers(&self) -> Vec<Process> {
        let health = self.runtime.health().unwrap_or_default();
        let pids = health.split("zygotes ").nth(1).unwrap_or_default();
        let pids = pids.split(',').next().unwrap_or_default();
        let pids = pids.split(' ').filter_map(|pid| pid.parse().ok());
        pids.filter_map(Process::read).collect()
    }

    /// The process that functions know by this number. It must not be asked for where several sites
    /// run functions: each counts from 1.
    pub(crate) fn process(&self, pid: i64) -> Process {
        let mut processes = self.processes();
        processes.retain(|process| process.inner == pid);
        assert_eq!(processes.len(), 1, "{pid}: {processes:?}");
        processes.remove(0)
    }

    /// Whether any worker has written a file of this name to its scratch folder.
    pub(crate) fn wrote(&self, name: &str) -> bool {
        self.processes()
            .iter()
            .any(|it| it.scratch().join(name).exists())
    }

    /// Calls `executable` with 10 seconds of time.
    pub(crate) async fn call(&self, executable: &Arc<Executable>, params: Value) -> RunReport {
        self.call_within(executable, params, Duration::from_secs(10))
            .await
    }

    pub(crate) async fn call_within(
        &self,
        executable: &Arc<Executable>,
        params: Value,
        limit: Duration,
    ) -> RunReport {
        let deadline = self.clock.monotonic() + limit;
        self.runtime.run(call(executable, &params, deadline)).await
    }

    /// Calls `executable` as queued work: nobody waits.
    pub(crate) async fn call_unhurried(
        &self,
        executable: &Arc<Executable>,
        params: Value,
    ) -> RunReport {
        let mut call = call(executable, &params, self.clock.monotonic());
        call.deadline = None;
        self.runtime.run(call).await
    }

    /// Runs new code once.
    pub(crate) async fn once(&self, code: &str) -> RunReport {
        self.call(&function(code), json!({})).await
    }
}

/// A new function with `code`, named `probe`.
pub(crate) fn function(code: &str) -> Arc<Executable> {
    function_with(code, FunctionOptions::default())
}

pub(crate) fn function_with(code: &str, options: FunctionOptions) -> Arc<Executable> {
    let source = Source::single(Environment::Python, code);
    Arc::new(Executable {
        options,
        ..executable("probe", source)
    })
}

/// A new function in Node.
pub(crate) fn node_function(code: &str) -> Arc<Executable> {
    node_function_with(code, FunctionOptions::default())
}

pub(crate) fn node_function_with(code: &str, options: FunctionOptions) -> Arc<Executable> {
    let source = Source::single(Environment::Node, code);
    Arc::new(Executable {
        options,
        ..executable("probe", source)
    })
}

/// A new function of another site.
pub(crate) fn function_of(site: i64, code: &str) -> Arc<Executable> {
    let source = Source::single(Environment::Python, code);
    Arc::new(Executable {
        site_id: SiteId(site),
        ..executable("probe", source)
    })
}

pub(crate) fn proxy_function(url: String, headers: BTreeMap<String, String>) -> Arc<Executable> {
    Arc::new(executable(
        "probe",
        Source::Proxy {
            webhook_url: url,
            headers,
        },
    ))
}

pub(crate) fn executable(slug: &str, source: Source) -> Executable {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Executable {
        site_id: SITE,
        site_slug: "acme".into(),
        app_id: AppId(3),
        app_slug: "crm".into(),
        function_id: FunctionId(number),
        function_name: "Probe".into(),
        function_slug: slug.into(),
        version_id: VersionId(number),
        version: 2,
        source,
        options: FunctionOptions::default(),
        acts_as: tollgate_core::rights::ActsAs::default(),
        egress_hosts: EgressHosts::default(),
        in_force: Arc::default(),
    }
}

pub(crate) fn call(executable: &Arc<Executable>, params: &Value, deadline: Instant) -> Call {
    Call {
        executable: Arc::clone(executable),
        params: JsonText::from(params),
        user_data: Some(JsonText::from(
            &json!({"id": 5, "email": "ada@example.com"}),
        )),
        context: CallContext {
            id: executable.function_id,
            name: executable.function_name.clone(),
            slug: executable.function_slug.clone(),
            version: executable.version,
            app_slug: executable.app_slug.clone(),
            execution_id: TaskId(uuid::Uuid::from_u128(0x1234)),
            attempt: 1,
            deadline: SystemClock.now(),
            event: Some(PRE_USER_CREATE),
            event_id: None,
            request: None,
        },
        timeout: executable.timeout(),
        deadline: Some(deadline),
        depth: 0,
        pauses: Arc::default(),
        host: Arc::new(Directory),
        caused_at: Timestamp::from_micros(1_736_937_000_000_000),
        remains: Remains::default(),
    }
}

/// A platform that knows one user.
pub(crate) struct Directory;

#[async_trait]
impl HostCalls for Directory {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        let args: Value = serde_json::from_str(args.get()).unwrap();
        let answer = match (method, args["username"].as_str()) {
            ("users.get", Some("ada")) => Ok(json!({"username": "ada", "id": 5})),
            ("users.get", _) => Err(HostError::new(
                HostErrorKind::NotFound,
                "There is no such user",
            )),
            _ => Ok(json!({"method": method, "args": args})),
        };
        answer.map(|answer| to_raw_value(&answer).unwrap())
    }
}

pub(crate) fn value(report: &RunReport) -> Value {
    match &report.result {
        Ok(result) => result.to_value(),
        Err(failure) => panic!("failed: {failure:?}, logs {:?}", report.logs),
    }
}

pub(crate) fn failure(report: &RunReport) -> &Failure {
    match &report.result {
        Ok(result) => panic!("succeeded: {}", result.as_str()),
        Err(failure) => failure,
    }
}
