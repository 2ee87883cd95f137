//! `tollgate dead-letters`: what failed for good, and what becomes of it.

use super::invocations::{print_list, print_whole};
use super::{Context, names};
use crate::args::{DeadLetterFilter, DeadLetters, Remote};
use crate::client::Client;
use crate::config::did_you_mean_one_of;
use crate::terminal::plural;
use crate::{AnyError, CommandResult};
use serde_json::{Value, json};
use tollgate_core::limits;
use tollgate_core::tasks::FailureKind;

pub(super) async fn run(context: Context<'_>, command: DeadLetters) -> CommandResult {
    match command {
        DeadLetters::List {
            filter,
            limit,
            times,
            remote,
        } => list(context, filter, limit, times.utc, &remote).await,
        DeadLetters::Show { id, times, remote } => {
            let client = context.client(&remote).await?;
            let letter = client.get(&format!("/api/dead-letters/{id}/")).await?;
            print_whole(context, &letter.value, &letter.text, times.utc, remote.json)
        }
        DeadLetters::Redrive {
            id: Some(id),
            version,
            remote,
            ..
        } => redrive_one(context, id, version.as_str(), &remote).await,
        DeadLetters::Redrive {
            id: None,
            all,
            filter,
            limit,
            version,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let filter = filter.checked(&client).await?;
            let mut body = filter.fields();
            if !all && body.as_object().is_none_or(serde_json::Map::is_empty) {
                let message =
                    "say which: the number of one, --function, --event, --kind or --app, or --all";
                return Err(message.into());
            }
            body["all"] = json!(all);
            body["version"] = json!(version.as_str());
            redrive_many(context, &client, body, limit, remote.json).await
        }
        DeadLetters::Discard { id, remote } => discard(context, id, &remote).await,
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

    /// The same with names as the API has them. Names that do not exist are errors.
    async fn checked(mut self, client: &Client) -> Result<Self, AnyError> {
        if let Some(app) = &self.app {
            names::app(client, app).await?;
        }
        if let Some(event) = &self.event {
            self.event = Some(names::event(client, event).await?);
        }
        if let Some(kind) = &self.kind {
            let kinds = FailureKind::ALL
                .into_iter()
                .filter(|kind| kind.is_of_dead_letters());
            let kinds: Vec<_> = kinds.map(|kind| kind.as_str().to_owned()).collect();
            if !kinds.contains(kind) {
                let hint = did_you_mean_one_of(kind, &kinds);
                return Err(format!(
                    "no dead letter fails like `{kind}`{hint}; use one of {}",
                    kinds.join(", ")
                )
                .into());
            }
        }
        if let Some(function) = &self.function
            && let Err(error) = names::same_named(client, self.app.as_deref(), function).await
        {
            // One that was deleted may have left some.
            let left = client
                .all("/api/dead-letters/", &[("function_slug", function)], 1)
                .await?;
            if left.total == 0 {
                return Err(error);
            }
        }
        Ok(self)
    }

    fn fields(&self) -> Value {
        let given = self.named().into_iter();
        let given = given.filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
        Value::Object(given.collect())
    }
}

async fn list(
    context: Context<'_>,
    filter: DeadLetterFilter,
    limit: u32,
    utc: bool,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let filter = filter.checked(&client).await?;
    let given = filter.named().into_iter();
    let given: Vec<_> = given
        .filter_map(|(name, value)| Some((name, value?.as_str())))
        .collect();
    let letters = client
        .all("/api/dead-letters/", &given, limit as usize)
        .await?;
    print_list(context, &letters, utc, remote.json)
}

async fn redrive_one(
    context: Context<'_>,
    id: i64,
    version: &str,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let path = format!("/api/dead-letters/{id}/redrive/");
    let answer = client.post(&path, &json!({"version": version})).await?;
    if remote.json {
        context.terminal.json_text(answer.part(&["data"]))?;
    } else {
        let version = &answer.value["data"]["version"];
        context
            .terminal
            .print(format!("redrove #{id} with version {version}"))?;
    }
    Ok(())
}

/// Repeats the request until nothing is left or `limit` is reached: one request has a bound.
async fn redrive_many(
    context: Context<'_>,
    client: &Client,
    mut body: Value,
    limit: Option<u64>,
    json: bool,
) -> CommandResult {
    let terminal = context.terminal;
    let (mut redriven, mut skipped) = (0, 0);
    let full = loop {
        let most = limits::REDRIVE_MAX as u64;
        body["limit"] = json!(limit.map_or(most, |limit| most.min(limit - redriven)));
        let answer = client.post("/api/dead-letters/redrive/", &body).await?;
        let count = |key: &str| answer.value["data"][key].as_u64().unwrap_or_default();
        redriven += count("redriven");
        // A repeat comes by the same ones again.
        skipped = count("skipped").max(skipped);
        let reached = limit.is_some_and(|limit| redriven >= limit);
        let more = answer.value["data"]["more"] == true;
        let full = more && count("redriven") == 0;
        if !more || reached || full {
            break full;
        }
    };
    if json {
        terminal.json(&json!({"redriven": redriven, "skipped": skipped}))?;
    } else {
        terminal.print(format!(
            "redrove {}, skipped {skipped}",
            plural(redriven, "dead letter")
        ))?;
    }
    if skipped > 0 {
        terminal.note("skipped: their function was deleted or switched off");
    }
    if full {
        terminal.note(
            "more are left, but the site has as many runs waiting as it may; repeat it later",
        );
    }
    Ok(())
}

async fn discard(context: Context<'_>, id: i64, remote: &Remote) -> CommandResult {
    let client = context.client(remote).await?;
    let answer = client.delete(&format!("/api/dead-letters/{id}/")).await?;
    if remote.json {
        context.terminal.json_text(&answer.text)?;
    } else {
        context.terminal.print(format!("discarded #{id}"))?;
    }
    Ok(())
}
