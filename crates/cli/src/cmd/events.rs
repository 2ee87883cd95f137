//! `tollgate events`.

use super::params::params;
use crate::CommandResult;
use crate::args::{Events, Remote};
use crate::client::Client;
use crate::config::Config;
use serde_json::{Value, json};

pub(super) async fn run(config: &Config, command: Events) -> CommandResult {
    match command {
        Events::List { remote } => list(config, &remote).await,
        Events::Explain {
            event,
            params: given,
            caused_by,
            remote,
        } => {
            let body = json!({"params": params(given.as_deref())?, "caused_by": caused_by});
            explain(config, &event, &body, &remote).await
        }
    }
}

async fn list(config: &Config, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let listed = client.get("/api/cloud/events/").await?;
    let names = listed["data"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut rows = Vec::with_capacity(names.len());
    for name in names.iter().filter_map(Value::as_str) {
        let detail = client.get(&format!("/api/cloud/events/{name}/")).await?;
        rows.push(detail["data"].clone());
    }
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&json!(rows))?);
        return Ok(());
    }
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        println!(
            "{:<18} {:>3} subscribers  {}",
            text("event"),
            row["total_subscribers"],
            text("description")
        );
    }
    Ok(())
}

async fn explain(config: &Config, event: &str, body: &Value, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let path = format!("/api/cloud/events/{event}/explain/");
    let answer = client.post(&path, body).await?;
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&answer["data"])?);
        return Ok(());
    }
    let subscriptions = answer["data"]["subscriptions"].as_array();
    for (place, it) in (1..).zip(subscriptions.into_iter().flatten()) {
        let function = format!(
            "{}/{}",
            it["app_slug"].as_str().unwrap_or_default(),
            it["function_slug"].as_str().unwrap_or_default()
        );
        let priority = &it["options"]["priority"];
        match it["message"].as_str() {
            None => println!(
                "{place:>3}.  {function}  version {}, priority {priority}",
                it["version"]
            ),
            Some(why) => println!("  --  {function}  {why}"),
        }
    }
    if subscriptions.is_none_or(Vec::is_empty) {
        eprintln!("No function subscribes to {event}");
    }
    Ok(())
}
