//! `tollgate dead-letters`: what failed for good, and what becomes of it.

use super::function::print_logs;
use super::invocations::line;
use crate::CommandResult;
use crate::args::{DeadLetterFilter, DeadLetters, Remote};
use crate::client::Client;
use crate::config::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tollgate_core::limits;

pub(super) async fn run(config: &Config, command: DeadLetters) -> CommandResult {
    match command {
        DeadLetters::List {
            filter,
            limit,
            remote,
        } => list(config, &filter, limit, &remote).await,
        DeadLetters::Show { id, remote } => show(config, id, &remote).await,
        DeadLetters::Redrive {
            id: Some(id),
            version,
            remote,
            ..
        } => redrive_one(config, id, version.as_str(), &remote).await,
        DeadLetters::Redrive {
            id: None,
            all,
            filter,
            limit,
            version,
            remote,
        } => {
            let mut body = filter.fields();
            body["all"] = json!(all);
            body["version"] = json!(version.as_str());
            redrive_many(config, body, limit, &remote).await
        }
        DeadLetters::Discard { id, remote } => discard(config, id, &remote).await,
    }
}

impl DeadLetterFilter {
    /// As the API names them.
    fn named(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("function_slug", self.function.as_ref()),
            ("event", self.event.as_ref()),
            ("kind", self.kind.as_ref()),
            ("app", self.app.as_ref()),
        ]
    }

    fn fields(&self) -> Value {
        let given = self.named().into_iter();
        let given = given.filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        Value::Object(given.collect())
    }
}

async fn list(
    config: &Config,
    filter: &DeadLetterFilter,
    limit: u32,
    remote: &Remote,
) -> CommandResult {
    let client = Client::new(config, remote)?;
    let given: Vec<_> = filter
        .named()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let request = client
        .request(Method::GET, "/api/dead-letters/")
        .query(&given)
        .query(&[("limit", limit)]);
    let listed = client.send(request).await?;
    let letters = listed["data"].as_array().cloned().unwrap_or_default();
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&letters)?);
        return Ok(());
    }
    for letter in &letters {
        println!("{}", line(letter));
    }
    let total = listed["total"].as_u64().unwrap_or_default();
    let shown = letters.len() as u64;
    if total > shown {
        eprintln!(
            "{shown} of {total}; --limit shows up to {}",
            limits::PAGE_SIZE_MAX
        );
    }
    Ok(())
}

async fn show(config: &Config, id: i64, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let letter = client.get(&format!("/api/dead-letters/{id}/")).await?;
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&letter)?);
        return Ok(());
    }
    println!("{}", line(&letter));
    print_logs(&letter);
    if let Some(traceback) = letter["error"]["traceback"].as_str() {
        println!("{traceback}");
    }
    let params = &letter["task_result"]["task_args"];
    println!("{}", serde_json::to_string_pretty(params)?);
    Ok(())
}

async fn redrive_one(config: &Config, id: i64, version: &str, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let path = format!("/api/dead-letters/{id}/redrive/");
    let answer = client.post(&path, &json!({"version": version})).await?;
    let redriven = &answer["data"];
    if remote.json {
        println!("{}", serde_json::to_string_pretty(redriven)?);
    } else {
        println!("redrove #{id} with version {}", redriven["version"]);
    }
    Ok(())
}

/// Repeats the request until nothing is left or `limit` is reached: one request has a bound.
async fn redrive_many(
    config: &Config,
    mut body: Value,
    limit: Option<u64>,
    remote: &Remote,
) -> CommandResult {
    let client = Client::new(config, remote)?;
    let (mut redriven, mut skipped) = (0, 0);
    let full = loop {
        let most = limits::REDRIVE_MAX as u64;
        body["limit"] = json!(limit.map_or(most, |limit| most.min(limit - redriven)));
        let answer = client.post("/api/dead-letters/redrive/", &body).await?;
        let count = |key: &str| answer["data"][key].as_u64().unwrap_or_default();
        redriven += count("redriven");
        // A repeat comes by the same ones again.
        skipped = count("skipped").max(skipped);
        let reached = limit.is_some_and(|limit| redriven >= limit);
        let more = answer["data"]["more"] == true;
        let full = more && count("redriven") == 0;
        if !more || reached || full {
            break full;
        }
    };
    if remote.json {
        println!("{}", json!({"redriven": redriven, "skipped": skipped}));
    } else {
        println!("redrove {redriven}, skipped {skipped}");
    }
    if skipped > 0 {
        eprintln!("skipped: their function was deleted or switched off");
    }
    if full {
        eprintln!(
            "more are left, but the site has as many runs waiting as it may; repeat it later"
        );
    }
    Ok(())
}

async fn discard(config: &Config, id: i64, remote: &Remote) -> CommandResult {
    let client = Client::new(config, remote)?;
    let request = client.request(Method::DELETE, &format!("/api/dead-letters/{id}/"));
    let answer = client.send(request).await?;
    if remote.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        println!("discarded #{id}");
    }
    Ok(())
}
