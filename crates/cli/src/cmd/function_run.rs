//! `tollgate function run`: a deployed function on the server, or a file here, in the very host
//! that the server uses.

use super::function::print_logs;
use super::params::params;
use crate::CommandResult;
use crate::args::Remote;
use crate::client::{Client, Refused};
use crate::compose::python;
use crate::config::Config;
use crate::random::OsEntropy;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tollgate_core::egress::EgressHosts;
use tollgate_core::engine::NobodysHost;
use tollgate_core::entropy::Entropy;
use tollgate_core::event::EventType;
use tollgate_core::function::{
    CallContext, Environment, Executable, FunctionOptions, Network, Source,
};
use tollgate_core::ids::{AppId, FunctionId, SiteId, VersionId};
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{Call, RunReport, Runtime as _};
use tollgate_core::registry;
use tollgate_core::text::slugify;
use tollgate_core::time::{Clock, SystemClock};
use tollgate_runtimes::Outbound;

/// What to run and with what.
pub(super) struct RunRequest {
    pub(super) function: String,
    pub(super) app: Option<String>,
    pub(super) event: Option<String>,
    pub(super) params: Option<String>,
    /// A file may make requests.
    pub(super) egress: bool,
}

pub(super) async fn run(config: &Config, request: RunRequest, remote: &Remote) -> CommandResult {
    let is_file = Path::new(&request.function).is_file();
    if is_file {
        run_file(config, &request, remote.json).await
    } else {
        run_deployed(config, &request, remote).await
    }
}

async fn run_deployed(config: &Config, request: &RunRequest, remote: &Remote) -> CommandResult {
    let app = request.app.as_deref().ok_or_else(|| {
        format!(
            "{} is no file; for a deployed function name its app with --app",
            request.function
        )
    })?;
    let client = Client::new(config, remote)?;
    let params = params(request.params.as_deref())?.unwrap_or_else(|| json!({}));
    let path = format!("/api/apps/{app}/functions/{}/execute/", request.function);
    let body = json!({"params": params, "async": false});
    call_and_show(&client, &path, &body, remote).await
}

/// Makes a call that runs a function, and shows what came of it.
pub(super) async fn call_and_show(
    client: &Client,
    path: &str,
    body: &Value,
    remote: &Remote,
) -> CommandResult {
    let answer = client.post(path, body).await;
    let (body, failure) = match answer {
        Ok(body) => (body, None),
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.code == "FUNCTION_FAILED" => {
                (refused.body.clone(), Some(refused.message.clone()))
            }
            _ => return Err(error),
        },
    };
    let invocation = if body["invocation"].is_object() {
        &body["invocation"]
    } else {
        &body["data"]["invocation"]
    };
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&body)?);
    } else if body["queued"] == true {
        println!("queued as #{}", invocation["id"]);
    } else {
        print_logs(invocation);
        println!(
            "{}",
            serde_json::to_string_pretty(&invocation["task_result"]["result"])?
        );
    }
    failure.map_or(Ok(()), |message| Err(message.into()))
}

async fn run_file(config: &Config, request: &RunRequest, json: bool) -> CommandResult {
    let event = request
        .event
        .as_deref()
        .map(str::parse::<EventType>)
        .transpose()?;
    let given = params(request.params.as_deref())?;
    let params = match (given, event) {
        (Some(given), _) => given,
        (None, Some(event)) => registry::spec(event).sample(),
        (None, None) => json!({}),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let scratch = std::env::temp_dir().join(format!("tollgate-run-{}", std::process::id()));
    let outbound = Outbound::new(config.outbound.client())?;
    let runtime = python(config, &scratch, &clock, outbound)
        .ok_or("Python functions cannot run here; see `tollgate doctor`")?;
    let mut call = local_call(Path::new(&request.function), event, &params, &*clock)?;
    if request.egress {
        Arc::make_mut(&mut call.executable).options.network = Network::Egress;
    }
    let checked = runtime
        .check(call.executable.site_id, &call.executable.source)
        .await;
    let report = match checked {
        Ok(()) => Ok(runtime.run(call).await),
        Err(error) => Err(error),
    };
    runtime.shutdown().await;
    // Only scratch: what cannot be removed is left to the system's own cleaning.
    let _ = std::fs::remove_dir_all(&scratch);
    show(&report?, json)
}

fn local_call(
    file: &Path,
    event: Option<EventType>,
    params: &Value,
    clock: &dyn Clock,
) -> Result<Call, Box<dyn std::error::Error + Send + Sync>> {
    let code = std::fs::read_to_string(file)?;
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let entropy: &dyn Entropy = &OsEntropy;
    let executable = Executable {
        site_id: SiteId(0),
        site_slug: "local".to_owned(),
        app_id: AppId(0),
        app_slug: "local".to_owned(),
        function_id: FunctionId(0),
        function_name: stem.clone(),
        function_slug: slugify(&stem),
        version_id: VersionId(0),
        version: 0,
        source: Source::App {
            environment: Environment::Python,
            code: code.into(),
        },
        options: FunctionOptions::default(),
        egress_hosts: EgressHosts::default(),
    };
    let timeout = executable.timeout();
    let now = clock.now();
    let context = CallContext {
        id: executable.function_id,
        name: executable.function_name.clone(),
        slug: executable.function_slug.clone(),
        version: executable.version,
        app_slug: executable.app_slug.clone(),
        execution_id: entropy.task_id(now),
        attempt: 1,
        deadline: now.plus(timeout),
        event: event.map(EventType::as_str),
        event_id: event.map(|_| entropy.event_id(now)),
    };
    Ok(Call {
        executable: Arc::new(executable),
        params: JsonText::from(params),
        user_data: None,
        context,
        timeout,
        deadline: Some(clock.monotonic() + timeout),
        host: Arc::new(NobodysHost),
    })
}

fn show(report: &RunReport, json: bool) -> CommandResult {
    if json {
        let (result, error) = match &report.result {
            Ok(result) => (result.to_value(), Value::Null),
            Err(failure) => (
                Value::Null,
                json!({"kind": failure.kind, "message": failure.message, "traceback": failure.traceback}),
            ),
        };
        let shown = json!({"result": result, "error": error, "logs": report.logs});
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        print_logs(&json!({"logs": report.logs}));
    }
    match &report.result {
        Ok(result) if !json => println!("{}", serde_json::to_string_pretty(&result.to_value())?),
        Ok(_) => {}
        Err(failure) => {
            if let (false, Some(traceback)) = (json, &failure.traceback) {
                eprintln!("{traceback}");
            }
            return Err(format!("{}: {}", failure.kind, failure.message).into());
        }
    }
    Ok(())
}
