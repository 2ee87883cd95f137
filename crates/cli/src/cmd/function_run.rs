//! `tollgate function run`: a deployed function on the server, or a file here.

use super::names::{self, function_path};
use super::params::params;
use super::run_view::print_lines;
use super::source::ENDINGS;
use super::{Context, local_run};
use crate::args::FunctionRun;
use crate::client::{Client, Refused, status};
use crate::{AnyError, CommandResult};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::Path;

pub(super) async fn run(context: Context<'_>, args: FunctionRun) -> CommandResult {
    let path = Path::new(&args.function);
    // A deployed function often has the name of its folder, and only it has an app.
    let is_folder = path.is_dir() && args.app.is_none();
    let is_there = path.is_file() || is_folder;
    // A slug has neither.
    let looks_like_one =
        args.function.contains('/') || ENDINGS.iter().any(|ending| args.function.ends_with(ending));
    if is_there || looks_like_one {
        refuse(
            &args.function,
            "is a file or folder, which runs here",
            &of_deployed(&args),
        )?;
        return local_run::run(context, &args).await;
    }
    refuse(
        &args.function,
        "is no file, so it is taken for a deployed function",
        &of_file(&args),
    )?;
    let app = args.app.clone();
    let client = context.client(&args.remote).await?;
    let app = match app {
        Some(app) => app,
        None => names::function(&client, None, &args.function).await?.app,
    };
    let params = params(args.params.as_deref())?;
    let body = Body {
        params: params.as_deref(),
        r#async: args.r#async,
    };
    let path = format!("{}execute/", function_path(&app, &args.function));
    let called = call_and_show(context, &client, &path, &body, args.remote.json).await;
    match called {
        Err(error) if status(&error) == Some(404) => {
            // Says which of the two names is not there.
            names::function(&client, Some(&app), &args.function).await?;
            Err(error)
        }
        done => done,
    }
}

#[derive(Serialize)]
struct Body<'a> {
    /// As it was written, digit by digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    r#async: bool,
}

/// Flags of deployed functions that were given.
fn of_deployed(args: &FunctionRun) -> Vec<(&'static str, bool)> {
    vec![
        ("--app", args.app.is_some()),
        ("--async", args.r#async),
        ("--url", args.remote.url.is_some()),
        ("--api-key", args.remote.api_key.is_some()),
        ("--site", args.remote.site.is_some()),
    ]
}

/// Flags of files that were given.
fn of_file(args: &FunctionRun) -> Vec<(&'static str, bool)> {
    vec![
        ("--event", args.event.is_some()),
        ("--user", args.user.is_some()),
        ("--secret", !args.secret.is_empty()),
        ("--env-file", args.env_file.is_some()),
        ("--env", !args.env.is_empty()),
        ("--secret-env", !args.secret_env.is_empty()),
        ("--entrypoint", args.entrypoint.is_some()),
        ("--egress", args.egress),
        ("--timeout", args.timeout.is_some()),
    ]
}

/// A flag that would do nothing is an error.
fn refuse(function: &str, what: &str, flags: &[(&'static str, bool)]) -> CommandResult {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(format!("{function} {what}: {flag} has no effect there, so leave it out").into())
        }
        None => Ok(()),
    }
}

/// Makes a call that runs a function, and shows what came of it.
pub(super) async fn call_and_show(
    context: Context<'_>,
    client: &Client,
    path: &str,
    body: &impl Serialize,
    json: bool,
) -> CommandResult {
    let terminal = context.terminal;
    let sent = client
        .send(client.request(Method::POST, path).json(body))
        .await;
    let (answer, failure) = match sent {
        Ok(answer) => (answer, None),
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) if refused.code == "FUNCTION_FAILED" => {
                (refused.body, Some(refused.message))
            }
            Ok(refused) => return Err(refused),
            Err(error) => return Err(error),
        },
    };
    let place: &[&str] = if failure.is_some() {
        &["data", "invocation"]
    } else {
        &["invocation"]
    };
    let invocation = place.iter().fold(&answer.value, |value, key| &value[*key]);
    if json {
        terminal.json_text(&answer.text)?;
    } else if answer.value["queued"] == true {
        terminal.print(format!("queued as #{}", invocation["id"]))?;
    } else {
        print_lines(terminal, &invocation["logs"])?;
        if failure.is_none() {
            let result = answer.part(&[place, &["task_result", "result"]].concat());
            terminal.json_text(result)?;
        }
    }
    let Some(message) = failure else {
        return Ok(());
    };
    if let (false, Some(traceback)) = (json, invocation["error"]["traceback"].as_str()) {
        terminal.note_block(4, traceback);
    }
    Err(AnyError::from(message))
}
