//! `tollgate invocations`: what ran, what runs, and running it again.

use super::Context;
use super::function_run::call_and_show;
use super::run_view::RunView;
use super::tail::{Filter, Shape, follow};
use crate::args::{Invocations, Remote};
use crate::client::status;
use crate::{AnyError, CommandResult};
use serde_json::{Value, json};

pub(super) async fn run(context: Context<'_>, command: Invocations) -> CommandResult {
    match command {
        Invocations::List {
            filter,
            limit,
            times,
            remote,
        } => list(context, filter.into(), limit, times.utc, &remote).await,
        Invocations::Show { id, times, remote } => show(context, id, times.utc, &remote).await,
        Invocations::Tail {
            filter,
            times,
            remote,
        } => {
            let shape = Shape {
                utc: times.utc,
                json: remote.json,
                logs: false,
            };
            follow(context, &remote, filter.into(), shape, Vec::new()).await
        }
        Invocations::Replay {
            id,
            version,
            r#async: queued,
            remote,
        } => {
            // Not the function's own mode: who asks without --async wants to see the result.
            let body = json!({"version": version.as_str(), "async": queued});
            let path = format!("/api/invocations/{id}/replay/");
            let client = context.client(&remote).await?;
            let called = call_and_show(context, &client, &path, &body, remote.json).await;
            called.map_err(|error| unknown(error, id))
        }
    }
}

fn unknown(error: AnyError, id: i64) -> AnyError {
    match status(&error) {
        Some(404) => {
            format!("there is no run #{id}; `tollgate invocations list` shows the last ones").into()
        }
        _ => error,
    }
}

async fn list(
    context: Context<'_>,
    filter: Filter,
    limit: u32,
    utc: bool,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let runs = filter.last(&client, limit as usize).await?;
    print_list(context, &runs, utc, remote.json)
}

/// Runs under headers, and how many more there are.
pub(super) fn print_list(
    context: Context<'_>,
    runs: &crate::client::Listed,
    utc: bool,
    json: bool,
) -> CommandResult {
    let terminal = context.terminal;
    if json {
        let texts: Vec<_> = runs.items.iter().map(|run| run.text.as_str()).collect();
        terminal.json_text(&format!("[{}]", texts.join(",")))?;
        return Ok(());
    }
    let mut table = RunView::table();
    for run in &runs.items {
        RunView::new(&run.value, terminal, utc).row(&mut table);
    }
    table.print(terminal)?;
    let shown = runs.items.len() as u64;
    if runs.total > shown {
        terminal.note(format!("{shown} of {}; --limit shows more", runs.total));
    } else if shown == 0 {
        terminal.note("there are none");
    }
    Ok(())
}

async fn show(context: Context<'_>, id: i64, utc: bool, remote: &Remote) -> CommandResult {
    let client = context.client(remote).await?;
    let run = client
        .get(&format!("/api/invocations/{id}/"))
        .await
        .map_err(|error| unknown(error, id))?;
    print_whole(context, &run.value, &run.text, utc, remote.json)
}

/// A record with everything in it.
pub(super) fn print_whole(
    context: Context<'_>,
    run: &Value,
    text: &str,
    utc: bool,
    json: bool,
) -> CommandResult {
    if json {
        context.terminal.json_text(text)?;
    } else {
        RunView::new(run, context.terminal, utc).print_whole(text)?;
    }
    Ok(())
}
