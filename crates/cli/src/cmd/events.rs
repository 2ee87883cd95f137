//! `tollgate events`.

use super::Context;
use super::deploy::{self, Outcome, number_or_none};
use super::event_types;
use super::names::{self, segment};
use super::params::params;
use crate::CommandResult;
use crate::args::{Events, Remote, Subscription};
use crate::terminal::{Cell, Line, Table, plural, style};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) async fn run(context: Context<'_>, command: Events) -> CommandResult {
    match command {
        Events::List { remote } => list(context, &remote).await,
        Events::Explain {
            event,
            params: given,
            caused_by,
            remote,
        } => {
            let params = params(given.as_deref())?;
            let body = Explain {
                params: params.as_deref(),
                caused_by,
            };
            explain(context, &event, &body, &remote).await
        }
        Events::Subscribe {
            event,
            function,
            app,
            options,
            timeout,
            attempts,
            active,
            remote,
        } => {
            let asked = Asked {
                event,
                function,
                app,
            };
            let options = given(&options, timeout.as_deref(), attempts.as_deref(), active)?;
            asked.subscribe(context, options, &remote).await
        }
        Events::Declare { declare, remote } => {
            event_types::declare(context, &declare, &remote).await
        }
        Events::Undeclare { event, app, remote } => {
            event_types::undeclare(context, &event, &app, &remote).await
        }
        Events::Unsubscribe {
            event,
            function,
            app,
            remote,
        } => {
            Asked {
                event,
                function,
                app,
            }
            .unsubscribe(context, &remote)
            .await
        }
    }
}

fn given(
    options: &Subscription,
    timeout: Option<&str>,
    attempts: Option<&str>,
    active: Option<bool>,
) -> Result<serde_json::Map<String, Value>, crate::AnyError> {
    let mut given = deploy::subscription(options);
    if let Some(text) = timeout {
        given.insert("timeout_seconds".into(), number_or_none("--timeout", text)?);
    }
    if let Some(text) = attempts {
        given.insert("max_attempts".into(), number_or_none("--attempts", text)?);
    }
    if let Some(active) = active {
        given.insert("is_active".into(), json!(active));
    }
    Ok(given)
}

struct Asked {
    event: String,
    function: String,
    app: Option<String>,
}

impl Asked {
    async fn subscribe(
        self,
        context: Context<'_>,
        options: serde_json::Map<String, Value>,
        remote: &Remote,
    ) -> CommandResult {
        let client = context.client(remote).await?;
        let event = names::event(&client, &self.event).await?;
        let found = names::function(&client, self.app.as_deref(), &self.function).await?;
        let subscribed = deploy::subscribe(&client, &found.app, &event, found.id, options).await?;
        let all = deploy::subscriptions(&client, &found.app, &event).await?;
        let own = all
            .into_iter()
            .find(|it| it.value["function_id"] == found.id)
            .unwrap_or_default();
        if remote.json {
            context.terminal.json(&own)?;
            return Ok(());
        }
        let own = own.value;
        let (slug, options) = (&found.slug, super::function::subscription(&own["options"]));
        let said = match subscribed.outcome {
            Outcome::Subscribed => format!("{slug} subscribed to {event}"),
            Outcome::Changed => format!("{slug}: changed the subscription to {event}"),
            Outcome::Unchanged => format!("{slug} is already subscribed to {event}"),
        };
        context.terminal.print(said + &options)?;
        if subscribed.is_off {
            context
                .terminal
                .warn("the subscription is switched off; --active true switches it on");
        }
        Ok(())
    }

    async fn unsubscribe(self, context: Context<'_>, remote: &Remote) -> CommandResult {
        let client = context.client(remote).await?;
        let event = names::event(&client, &self.event).await?;
        let found = names::function(&client, self.app.as_deref(), &self.function).await?;
        let path = format!("/api/cloud/events/{}/unsubscribe/", segment(&event));
        let answer = client
            .post(&path, &json!({"function_id": found.id}))
            .await?;
        if remote.json {
            context.terminal.json_text(&answer.text)?;
        } else {
            context
                .terminal
                .print(format!("{} unsubscribed from {event}", found.slug))?;
        }
        Ok(())
    }
}

async fn list(context: Context<'_>, remote: &Remote) -> CommandResult {
    let client = context.client(remote).await?;
    let listed = client.get("/api/cloud/events/").await?;
    let names = listed.value["data"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut rows = Vec::with_capacity(names.len());
    for name in names.iter().filter_map(Value::as_str) {
        let detail = client
            .get(&format!("/api/cloud/events/{}/", segment(name)))
            .await?;
        rows.push(detail.at(&["data"]));
    }
    if remote.json {
        context.terminal.json(&rows)?;
        return Ok(());
    }
    let mut table = Table::new(["EVENT", "APP", "SUBSCRIBED", "DESCRIPTION"]);
    for row in rows.iter().map(|row| &row.value) {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let count = row["total_subscribers"].as_u64().unwrap_or_default();
        table.row([
            Cell::styled(text("event"), style::STRONG),
            text("app").into(),
            plural(count, "subscriber").into(),
            text("description").into(),
        ]);
    }
    table.print(context.terminal)?;
    Ok(())
}

#[derive(Serialize)]
struct Explain<'a> {
    params: Option<&'a RawValue>,
    caused_by: Option<i64>,
}

async fn explain(
    context: Context<'_>,
    event: &str,
    body: &Explain<'_>,
    remote: &Remote,
) -> CommandResult {
    let terminal = context.terminal;
    let client = context.client(remote).await?;
    let event = names::event(&client, event).await?;
    let path = format!("/api/cloud/events/{}/explain/", segment(&event));
    let answer = client
        .send(client.request(Method::POST, &path).json(body))
        .await?;
    if remote.json {
        terminal.json_text(answer.part(&["data"]))?;
        return Ok(());
    }
    let subscriptions = answer.value["data"]["subscriptions"].as_array();
    for (place, it) in (1..).zip(subscriptions.into_iter().flatten()) {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let function = format!("{}/{}", text("app_slug"), text("function_slug"));
        let priority = &it["options"]["priority"];
        let line = match it["message"].as_str() {
            None => Line::new()
                .text(format!("{place:>3}.  "))
                .styled(style::STRONG, function)
                .text(format!("  version {}, priority {priority}", it["version"])),
            Some(why) => Line::new()
                .text("  --  ")
                .text(function)
                .text("  ")
                .styled(style::QUIET, why),
        };
        terminal.print(line)?;
    }
    if subscriptions.is_none_or(Vec::is_empty) {
        terminal.note(format!("no function subscribes to {event}"));
    }
    Ok(())
}
