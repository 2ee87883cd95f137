//! `tollgate invocations`: watching runs as they happen, and repeating them.

use super::function_run::call_and_show;
use crate::CommandResult;
use crate::args::{Invocations, Remote};
use crate::client::Client;
use crate::config::Config;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

/// Longest line of the stream that is looked at: an event is far smaller.
const EVENT_BYTES: usize = 64 * 1024;

pub(super) async fn run(config: &Config, command: Invocations) -> CommandResult {
    match command {
        Invocations::Tail { function, remote } => tail(config, function, &remote).await,
        Invocations::Replay {
            id,
            version,
            r#async: queued,
            remote,
        } => {
            // Not the function's own mode: who asks without --async wants to see the result.
            let body = json!({"version": version.as_str(), "async": queued});
            let path = format!("/api/invocations/{id}/replay/");
            let client = Client::new(config, &remote)?;
            call_and_show(&client, &path, &body, &remote).await
        }
    }
}

async fn tail(config: &Config, function: Option<String>, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let answer = client
        .request(Method::GET, "/api/invocations/stream/")
        .send()
        .await?;
    let answer = answer.error_for_status()?;
    eprintln!("watching; end with Ctrl-C");
    let mut chunks = answer.bytes_stream();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        pending.extend_from_slice(&chunk?);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let data = line
                .strip_prefix(b"data:")
                .map(serde_json::from_slice::<Value>);
            // Other lines name the event or keep the connection alive.
            let Some(Ok(invocation)) = data else { continue };
            if invocation["id"].is_null() {
                continue;
            }
            if function
                .as_ref()
                .is_none_or(|slug| invocation["function_slug"] == **slug)
            {
                show(&invocation, remote.json);
            }
        }
        if pending.len() > EVENT_BYTES {
            return Err("the server sent an event without an end".into());
        }
    }
    Err("the server closed the stream".into())
}

fn show(invocation: &Value, json: bool) {
    if json {
        println!("{invocation}");
        return;
    }
    println!("{}", line(invocation));
}

/// One run on one line.
pub(super) fn line(invocation: &Value) -> String {
    let text = |key: &str| invocation[key].as_str().unwrap_or("-").to_owned();
    let duration = invocation["duration_ms"]
        .as_f64()
        .map_or_else(String::new, |ms| format!(" {ms:.1} ms"));
    let error = invocation["error"]["message"].as_str().unwrap_or_default();
    format!(
        "{} #{} {} v{} {} {}{duration} {error}",
        text("updated_at"),
        invocation["id"],
        text("function_slug"),
        invocation["version"],
        text("event"),
        text("state"),
    )
    .trim_end()
    .to_owned()
}
