//! What one call of a function costs, in Python and in Node: warm, many at once, and with a new worker.

use async_trait::async_trait;
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime as Tokio};
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{CallContext, Environment, Executable, FunctionOptions, Source};
use tollgate_core::ids::{AppId, FunctionId, SiteId, TaskId, VersionId};
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{Call, HostCalls, HostError, Remains, Runtime as _};
use tollgate_core::time::{Clock as _, SystemClock};
use tollgate_core::users::events::PRE_USER_CREATE;
use tollgate_runtimes::{Interpreter, LauncherSpec, ProcessConfig, ProcessRuntime};

const CODE: &str = "\
import re
EMAIL = re.compile(r'[^@]+@[^@]+')
def main(params, user_data, sdk_client):
    if not EMAIL.fullmatch(params['user_data']['email']):
        return {'success': False, 'error': 'not an e-mail address'}
    return {'success': True, 'params': {'user_data': {'attributes': {'checked': True}}}}
";

const NODE_CODE: &str = "\
const email = /^[^@]+@[^@]+$/;
export default function main(params) {
  if (!email.test(params.user_data.email)) return { success: false, error: 'not an e-mail address' };
  return { success: true, params: { user_data: { attributes: { checked: true } } } };
}
";

/// A language, and whether the walls are up.
#[derive(Debug, Clone, Copy)]
struct Case {
    language: Environment,
    walls: bool,
}

const fn case(language: Environment, walls: bool) -> Case {
    Case { language, walls }
}

const CASES: [Case; 4] = [
    case(Environment::Python, true),
    case(Environment::Python, false),
    case(Environment::Node, true),
    case(Environment::Node, false),
];

fn main() {
    tollgate_runtimes::launch_if_asked();
    divan::main();
}

struct Bench {
    tokio: Tokio,
    python: Arc<ProcessRuntime>,
    _scratch: tempfile::TempDir,
}

impl Bench {
    fn new(mut builder: Builder, walls: bool) -> Self {
        let tokio = builder.enable_all().build().expect("tokio starts");
        let scratch = tempfile::tempdir().expect("a folder can be made");
        let program = std::env::current_exe().expect("the path of this program is known");
        let launcher = LauncherSpec {
            program,
            args: Vec::new(),
        };
        let folder = scratch.path().to_owned();
        let mut config = ProcessConfig::discover(Path::new("python3"), launcher, folder)
            .expect("python3 is installed");
        config.node = Interpreter::find_node(Path::new("node")).map_err(|error| error.to_string());
        config.idle = Duration::from_millis(200);
        config.sandbox = walls;
        let start = async { ProcessRuntime::start(config, Arc::new(SystemClock)) };
        let python = tokio.block_on(start).expect("the runtime starts");
        Self {
            tokio,
            python,
            _scratch: scratch,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tokio.block_on(self.python.shutdown());
    }
}

struct NoHost;

#[async_trait]
impl HostCalls for NoHost {
    async fn call(&self, _: &str, _: &RawValue) -> Result<Box<RawValue>, HostError> {
        Ok(RawValue::NULL.to_owned())
    }
}

fn function(language: Environment) -> Arc<Executable> {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Arc::new(Executable {
        site_id: SiteId(1),
        site_slug: "acme".into(),
        app_id: AppId(1),
        app_slug: "crm".into(),
        function_id: FunctionId(number),
        function_name: "Check".into(),
        function_slug: "check".into(),
        version_id: VersionId(number),
        version: 1,
        source: Source::single(
            language,
            match language {
                Environment::Python => CODE,
                Environment::Node => NODE_CODE,
            },
        ),
        options: FunctionOptions::default(),
        acts_as: tollgate_core::rights::ActsAs::default(),
        egress_hosts: EgressHosts::default(),
        in_force: Arc::default(),
    })
}

fn call(executable: &Arc<Executable>) -> Call {
    let params = serde_json::json!({
        "user_data": {"username": "ada", "email": "ada@example.com", "first_name": "Ada"},
    });
    Call {
        executable: Arc::clone(executable),
        params: JsonText::from(&params),
        user_data: Some(JsonText::from(
            &serde_json::json!({"id": 5, "email": "a@example.com"}),
        )),
        context: CallContext {
            id: executable.function_id,
            name: executable.function_name.clone(),
            slug: executable.function_slug.clone(),
            version: 1,
            app_slug: executable.app_slug.clone(),
            execution_id: TaskId(uuid::Uuid::from_u128(7)),
            attempt: 1,
            deadline: SystemClock.now(),
            event: Some(PRE_USER_CREATE),
            event_id: None,
            request: None,
        },
        timeout: Duration::from_secs(30),
        deadline: None,
        depth: 0,
        pauses: Arc::default(),
        host: Arc::new(NoHost),
        caused_at: SystemClock.now(),
        remains: Remains::default(),
    }
}

async fn run(python: &ProcessRuntime, call: Call) {
    let report = python.run(call).await;
    assert!(report.result.is_ok(), "{report:?}");
}

#[divan::bench(sample_count = 5000, sample_size = 1, args = CASES)]
fn warm_call(bencher: divan::Bencher<'_, '_>, case: Case) {
    let bench = Bench::new(Builder::new_current_thread(), case.walls);
    let function = function(case.language);
    bench.tokio.block_on(run(&bench.python, call(&function)));
    bencher
        .with_inputs(|| call(&function))
        .bench_local_values(|call| bench.tokio.block_on(run(&bench.python, call)));
}

#[divan::bench(sample_count = 300, sample_size = 1, args = CASES)]
fn warm_calls_1000_by_16(bencher: divan::Bencher<'_, '_>, case: Case) {
    let bench = Bench::new(Builder::new_multi_thread(), case.walls);
    let function = function(case.language);
    let all = async || {
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (python, call) = (Arc::clone(&bench.python), call(&function));
                tokio::spawn(async move {
                    for _ in 0..1000 / 16 {
                        run(&python, call.clone()).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no call panics");
        }
    };
    bencher
        .counter(divan::counter::ItemsCount::new(1000_usize))
        .bench_local(|| {
            bench.tokio.block_on(all());
        });
}

/// A start in a quiet moment, as after a deployment: the spare worker is ready.
#[divan::bench(sample_count = 300, sample_size = 1, args = CASES)]
fn cold_start(bencher: divan::Bencher<'_, '_>, case: Case) {
    let pause = match case.language {
        Environment::Python => Duration::from_millis(20),
        // An interpreter starts meanwhile.
        Environment::Node => Duration::from_millis(200),
    };
    start(bencher, pause, case);
}

/// Starts as fast as they can follow each other: each waits for the fork of its spare worker.
#[divan::bench(sample_count = 300, sample_size = 1, args = CASES)]
fn cold_starts_in_a_row(bencher: divan::Bencher<'_, '_>, case: Case) {
    start(bencher, Duration::ZERO, case);
}

fn start(bencher: divan::Bencher<'_, '_>, pause: Duration, case: Case) {
    let bench = Bench::new(Builder::new_current_thread(), case.walls);
    bench
        .tokio
        .block_on(run(&bench.python, call(&function(case.language))));
    bencher
        .with_inputs(|| {
            // Housekeeping after earlier starts goes on meanwhile.
            bench
                .tokio
                .block_on(async { tokio::time::sleep(pause).await });
            call(&function(case.language))
        })
        .bench_local_values(|call| bench.tokio.block_on(run(&bench.python, call)));
}
