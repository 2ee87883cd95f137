//! A function's file, run here in the very host that the server uses. Nothing is kept.

use super::Context;
use super::params::{object, params};
use super::run_view::print_line;
use super::source::Source;
use super::variables::pair as variable;
use crate::args::FunctionRun;
use crate::compose::python;
use crate::config::did_you_mean_one_of;
use crate::random::OsEntropy;
use crate::terminal::Terminal;
use crate::{AnyError, CommandResult};
use async_trait::async_trait;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tollgate_core::egress::EgressHosts;
use tollgate_core::entropy::Entropy;
use tollgate_core::events::{Catalogue, EventSpec, EventType};
use tollgate_core::functions::{
    BundleRef, CallContext, Entrypoint, Environment, Executable, FunctionOptions, Network,
    Source as Code, Variables,
};
use tollgate_core::ids::{AppId, FunctionId, SiteId, VersionId};
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{
    Call, CheckError, HostCalls, HostError, HostErrorKind, LoadedVariables, Loading, Remains,
    RunReport, Runtime as _,
};
use tollgate_core::request::RequestInfo;
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::Failure;
use tollgate_core::text::slugify;
use tollgate_core::time::{Clock, SystemClock, Timestamp};
use tollgate_core::{limits, platform};
use tollgate_runtimes::{Outbound, ProcessRuntime};
use zeroize::Zeroizing;

const SECRET_SHOWN: &str = "what --secret holds stands in the shell's history and in the list of processes; --env-file does not";

pub(super) async fn run(context: Context<'_>, args: &FunctionRun) -> CommandResult {
    let Context { config, terminal } = context;
    let source = Source::read(Path::new(&args.function), args.entrypoint.as_deref())?;
    let catalogue = platform::catalogue();
    let event = args.event.as_deref();
    let event = event.map(|name| spec(&catalogue, name)).transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let params = match (params(args.params.as_deref())?, event) {
        (Some(given), _) => JsonText::from(given),
        (None, Some(spec)) => JsonText::from(&spec.sample()),
        (None, None) => JsonText::from(&json!({})),
    };
    let host = Arc::new(LocalHost {
        secrets: secrets(args, terminal)?,
        now: clock.now(),
        shown: AtomicUsize::new(0),
        follows: !args.remote.json,
        terminal: Terminal::new(crate::args::ColorChoice::Auto),
    });
    let call = Planned {
        source: &source,
        event: event.map(|spec| spec.event),
        params,
        user_data: args.user.as_deref().map(user).transpose()?,
        options: options(args)?,
        entrypoint: args.entrypoint.as_deref().map(entrypoint).transpose()?,
    };
    let executable = call.executable();
    let variables = host.variables(args)?;
    let scratch = std::env::temp_dir().join(format!("tollgate-run-{}", std::process::id()));
    let supervisor = Supervisor::default();
    let outbound = Outbound::new(config.outbound.client(), &supervisor)?;
    let files = source.folder.as_ref().map(|folder| folder.bundle.encode());
    let runtime = python(config, &scratch, &clock, outbound, &supervisor)
        .ok_or("Functions cannot run here; see `tollgate doctor`")?;
    runtime.attach(Arc::new(LocalLoading {
        host: Arc::clone(&host),
        variables,
        files: files.unwrap_or_default(),
    }));
    let called = call.call(executable, &*clock, Arc::clone(&host) as _);
    let report = checked_and_run(&runtime, called).await;
    runtime.shutdown().await;
    // Only scratch: what cannot be removed is left to the system's own cleaning.
    let _ = std::fs::remove_dir_all(&scratch);
    match report {
        Ok(report) => show(
            terminal,
            &report,
            host.shown.load(Ordering::SeqCst),
            args.remote.json,
        ),
        Err(CheckError::Code(error)) => {
            let place = |it: Option<u32>| it.map(u64::from);
            Err(source.wrong(&error.message, place(error.line), place(error.column)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn checked_and_run(runtime: &ProcessRuntime, call: Call) -> Result<RunReport, CheckError> {
    let executable = Arc::clone(&call.executable);
    let hosts = EgressHosts::default();
    runtime
        .check(executable.site_id, &executable.source, &hosts)
        .await?;
    // The start of an interpreter is none of the function's time. What does not load says so, with its logs, when
    // it is run.
    let _ = runtime.warm(&executable).await;
    Ok(runtime.run(call).await)
}

fn entrypoint(text: &str) -> Result<Entrypoint, AnyError> {
    let wrong = |why: String| format!("--entrypoint {text:?}: {why}").into();
    text.parse().map_err(wrong)
}

/// The function's options, as flags give them.
fn options(args: &FunctionRun) -> Result<FunctionOptions, AnyError> {
    let mut options = FunctionOptions::default();
    if args.egress {
        options.network = Network::Egress;
    }
    if let Some(seconds) = args.timeout {
        let least = limits::TIMEOUT_MIN.as_secs_f64();
        let most = limits::TIMEOUT_MAX.as_secs_f64();
        if !(seconds >= least && seconds <= most) {
            return Err(format!("--timeout {seconds}: use {least} to {most} seconds").into());
        }
        options.timeout_seconds = Some(seconds);
    }
    Ok(options)
}

fn spec<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a EventSpec, AnyError> {
    let found = catalogue.find(&name.to_ascii_uppercase());
    found.map_err(|error| {
        let names: Vec<_> = error.known.into_iter().map(str::to_owned).collect();
        format!(
            "there is no event `{name}`{}",
            did_you_mean_one_of(name, &names)
        )
        .into()
    })
}

/// Who acts: an object as it is, or a name alone.
fn user(given: &str) -> Result<JsonText, AnyError> {
    let is_object =
        given.trim_start().starts_with(['{', '[', '@', '"']) || Path::new(given).is_file();
    if is_object {
        let object: Box<RawValue> = object("--user", given)?;
        return Ok(object.into());
    }
    Ok(JsonText::from(&json!({
        "id": 1, "username": given, "email": format!("{given}@example.com"),
        "first_name": "", "last_name": "", "is_active": true, "is_staff": false, "is_superuser": false,
    })))
}

/// The secrets of the file, and those of the command line, which win.
fn secrets(args: &FunctionRun, terminal: &Terminal) -> Result<BTreeMap<String, String>, AnyError> {
    if !args.secret.is_empty() {
        terminal.warn(SECRET_SHOWN);
    }
    let mut secrets = BTreeMap::new();
    if let Some(file) = &args.env_file {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {name}: {error}"))?;
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let pair = pair(line).map_err(|why| format!("{name}, line {number}: {why}"))?;
            secrets.extend(pair);
        }
    }
    for given in &args.secret {
        // The value is not repeated: it may stand in a log by now.
        let (key, value) = given.split_once('=').ok_or("--secret: use KEY=VALUE")?;
        if key.is_empty() {
            return Err("--secret: the key is missing before \"=\"".into());
        }
        secrets.insert(key.to_owned(), value.to_owned());
    }
    Ok(secrets)
}

/// A line of a file of secrets: `KEY=VALUE`, with quotes around the value if wanted. None for what says nothing.
fn pair(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (key, value) = line.split_once('=').ok_or("use KEY=VALUE")?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err("a key is one word");
    }
    let value = match value.chars().next() {
        Some('\'') => {
            let inner = value[1..]
                .split_once('\'')
                .ok_or("the quote does not end")?;
            inner.0.to_owned()
        }
        Some('"') => double_quoted(&value[1..])?,
        // As shells have it: a comment needs a blank before it.
        _ => value
            .split_once(" #")
            .map_or(value, |(value, _)| value.trim_end())
            .to_owned(),
    };
    Ok(Some((key.to_owned(), value)))
}

fn double_quoted(text: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok(out),
            '\\' => match letters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => break,
            },
            letter => out.push(letter),
        }
    }
    Err("the quote does not end")
}

/// Answers what a function asks of the platform where there is none: its secrets.
struct LocalHost {
    secrets: BTreeMap<String, String>,
    now: Timestamp,
    /// Log lines that were printed while it ran.
    shown: AtomicUsize,
    follows: bool,
    terminal: Terminal,
}

impl LocalHost {
    fn view(&self, key: &str, value: Option<&str>) -> Value {
        let mut view = json!({
            "key": key, "app": "local", "description": "", "secret_type": "", "tags": [],
            "created_at": self.now, "updated_at": self.now,
        });
        if let Some(value) = value {
            view["value"] = json!(value);
        }
        view
    }

    /// The environment variables that flags give.
    fn variables(&self, args: &FunctionRun) -> Result<LoadedVariables, AnyError> {
        let mut variables = LoadedVariables::new();
        for given in &args.env {
            let (name, value) = variable("--env", given)?;
            variables.insert(name.to_owned(), Zeroizing::new(value.to_owned()));
        }
        for given in &args.secret_env {
            let (name, key) = variable("--secret-env", given)?;
            let value = self.secrets.get(key).ok_or_else(|| {
                format!("--secret-env {name}: give the secret with --secret {key}=VALUE or in --env-file")
            })?;
            variables.insert(name.to_owned(), Zeroizing::new(value.clone()));
        }
        let mut names = Variables::default();
        names
            .env
            .extend(variables.keys().map(|name| (name.clone(), String::new())));
        match names.faults().into_iter().next() {
            None => Ok(variables),
            Some(fault) => Err(format!("{}: {}", fault.field, fault.message).into()),
        }
    }

    fn secret(&self, args: &Value) -> Result<Value, HostError> {
        let key = args["key"].as_str().unwrap_or_default();
        let value = self.secrets.get(key).ok_or_else(|| {
            let names: Vec<_> = self.secrets.keys().cloned().collect();
            let hint = did_you_mean_one_of(key, &names);
            let message = format!(
                "Secret '{key}' not found; give it with --secret {key}=VALUE or in --env-file{hint}"
            );
            HostError::new(HostErrorKind::NotFound, message)
        })?;
        Ok(self.view(key, Some(value)))
    }

    fn list(&self, args: &Value) -> Value {
        let wanted: Vec<String> = match &args["keys"] {
            Value::String(keys) => keys.split(',').map(|key| key.trim().to_owned()).collect(),
            Value::Array(keys) => keys
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        let found = self
            .secrets
            .iter()
            .filter(|(key, _)| wanted.is_empty() || wanted.contains(key));
        let views = found.map(|(key, value)| self.view(key, (!wanted.is_empty()).then_some(value)));
        let views: Vec<_> = views.collect();
        json!({
            "success": true, "status": "success", "message": "Secrets retrieved successfully",
            "total": views.len(), "data": views,
        })
    }
}

/// What the file has while it is loaded.
struct LocalLoading {
    host: Arc<LocalHost>,
    variables: LoadedVariables,
    files: Vec<u8>,
}

#[async_trait]
impl Loading for LocalLoading {
    async fn variables(&self, _: &Executable) -> Result<LoadedVariables, Failure> {
        Ok(self.variables.clone())
    }

    async fn files(&self, _: &Executable, _: &BundleRef) -> Result<Vec<u8>, Failure> {
        Ok(self.files.clone())
    }

    fn host(&self, _: &Executable) -> Arc<dyn HostCalls> {
        Arc::clone(&self.host) as _
    }
}

#[async_trait]
impl HostCalls for LocalHost {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        let args: Value = serde_json::from_str(args.get())
            .map_err(|error| HostError::bad_request(error.to_string()))?;
        let answer = match method {
            "secrets.get" => self.secret(&args)?,
            "secrets.list" => self.list(&args),
            method => {
                let message =
                    format!("{method}: this run has no server; deploy the function to try this");
                return Err(HostError::new(HostErrorKind::Unauthenticated, message));
            }
        };
        to_raw_value(&answer).map_err(|error| HostError::internal(&error))
    }

    fn follows(&self) -> bool {
        self.follows
    }

    fn logged(&self, lines: &[LogLine]) {
        for line in lines {
            // Who reads nothing gets the result at the end, or the error.
            let _ = print_line(&self.terminal, &line.level, &line.message);
        }
        self.shown.fetch_add(lines.len(), Ordering::SeqCst);
    }
}

/// A call as it was asked for.
struct Planned<'a> {
    source: &'a Source,
    event: Option<EventType>,
    params: JsonText,
    user_data: Option<JsonText>,
    options: FunctionOptions,
    entrypoint: Option<Entrypoint>,
}

impl Planned<'_> {
    fn code(&self) -> Code {
        let bundle = self.source.folder.as_ref().map(|folder| BundleRef {
            digest: folder.bundle.pack().digest,
            file: folder.file.clone(),
            files: folder.bundle.len(),
            bytes: folder.bundle.bytes(),
        });
        Code::App {
            environment: self.source.environment.unwrap_or(Environment::Python),
            code: self.source.text.as_str().into(),
            entrypoint: self.entrypoint.clone(),
            bundle,
        }
    }

    fn executable(&self) -> Arc<Executable> {
        let stem = self.source.stem.clone().unwrap_or_default();
        Arc::new(Executable {
            site_id: SiteId(0),
            site_slug: "local".to_owned(),
            app_id: AppId(0),
            app_slug: "local".to_owned(),
            function_id: FunctionId(0),
            function_name: stem.clone(),
            function_slug: slugify(&stem),
            version_id: VersionId(0),
            version: 0,
            source: self.code(),
            options: self.options.clone(),
            acts_as: tollgate_core::rights::ActsAs::default(),
            egress_hosts: EgressHosts::default(),
            in_force: Arc::default(),
        })
    }

    fn call(
        self,
        executable: Arc<Executable>,
        clock: &dyn Clock,
        host: Arc<dyn HostCalls>,
    ) -> Call {
        let entropy: &dyn Entropy = &OsEntropy;
        let timeout: Duration = executable.timeout();
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
            event: self.event,
            event_id: self.event.map(|_| entropy.event_id(now)),
            // As in the sample of the event's parameters.
            request: self.event.and_then(|_| RequestInfo::sample().written()),
        };
        Call {
            executable,
            params: self.params,
            user_data: self.user_data,
            context,
            timeout,
            // Nobody else sets one: its own limit counts, from its beginning.
            deadline: None,
            depth: 0,
            pauses: Arc::default(),
            host,
            caused_at: now,
            remains: Remains::default(),
        }
    }
}

/// Shows what was not shown yet: the rest of the logs, and the result.
fn show(terminal: &Terminal, report: &RunReport, shown: usize, json: bool) -> CommandResult {
    if json {
        let (result, error) = match &report.result {
            Ok(result) => (result.as_str(), Value::Null),
            Err(failure) => (
                "null",
                json!({"kind": failure.kind, "message": failure.message, "traceback": failure.traceback}),
            ),
        };
        let logs = serde_json::to_string(&report.logs)?;
        terminal.json_text(&format!(
            "{{\"result\":{result},\"error\":{error},\"logs\":{logs}}}"
        ))?;
    } else {
        for line in report.logs.iter().skip(shown) {
            print_line(terminal, &line.level, &line.message)?;
        }
    }
    match &report.result {
        Ok(_) if json => Ok(()),
        Ok(result) => Ok(terminal.json_text(result.as_str())?),
        Err(failure) => {
            if let (false, Some(traceback)) = (json, &failure.traceback) {
                terminal.note_block(4, traceback);
            }
            Err(format!("{}: {}", failure.kind, failure.message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_secrets_are_read_as_usual() {
        let some = |key: &str, value: &str| Ok(Some((key.to_owned(), value.to_owned())));
        for (line, read) in [
            ("", Ok(None)),
            ("  # comment", Ok(None)),
            ("KEY=value", some("KEY", "value")),
            ("export KEY = value # why", some("KEY", "value")),
            ("KEY=a#b=c", some("KEY", "a#b=c")),
            ("KEY='$a # b'", some("KEY", "$a # b")),
            (r#"KEY="a\n\"b\"""#, some("KEY", "a\n\"b\"")),
            ("KEY=", some("KEY", "")),
            ("KEY", Err("use KEY=VALUE")),
            ("KEY='x", Err("the quote does not end")),
            ("a b=c", Err("a key is one word")),
        ] {
            assert_eq!(pair(line), read, "{line}");
        }
    }
}
