//! `tollgate events`.

use crate::CommandResult;
use crate::args::Events;
use crate::client::Client;
use crate::config::Config;
use serde_json::{Value, json};

pub(super) async fn run(config: &Config, command: Events) -> CommandResult {
    let Events::List { remote } = command;
    let client = Client::new(config, &remote)?;
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
