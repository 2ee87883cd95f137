//! `tollgate app`.

use super::names::{self, segment, text};
use super::{Context, variables};
use crate::CommandResult;
use crate::args::{App, Remote, Variables};
use crate::client::Answer;
use crate::terminal::{Cell, Table, plural};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

pub(super) async fn run(context: Context<'_>, command: App) -> CommandResult {
    match command {
        App::List { times, remote } => list(context, times.utc, &remote).await,
        App::Create {
            slug,
            name,
            description,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let mut body = json!({"slug": slug, "name": name.as_deref().unwrap_or(&slug)});
            if let Some(description) = description {
                body["description"] = json!(description);
            }
            let made = client.post("/api/apps/", &body).await?;
            if remote.json {
                context.terminal.json_text(made.part(&["data"]))?;
            } else {
                let slug = made.value["data"]["slug"].as_str().unwrap_or_default();
                context.terminal.print(format!("created app {slug}"))?;
            }
            Ok(())
        }
        App::Show { app, times, remote } => show(context, &app, times.utc, &remote).await,
        App::Update {
            app,
            name,
            description,
            variables,
            remote,
        } => {
            let texts = [("name", name), ("description", description)];
            update(context, &app, texts, &variables, &remote).await
        }
        App::Delete { app, sure, remote } => delete(context, &app, sure.yes, &remote).await,
    }
}

async fn list(context: Context<'_>, utc: bool, remote: &Remote) -> CommandResult {
    let client = context.client(remote).await?;
    let apps = client.all("/api/apps/", &[], usize::MAX).await?.items;
    if remote.json {
        context.terminal.json(&apps)?;
        return Ok(());
    }
    let mut table = Table::new(["APP", "NAME", "CREATED", "DESCRIPTION"]);
    for app in &apps {
        let created = context.terminal.moment(&text(app, "created_at"), utc);
        table.row([
            Cell::from(text(app, "slug")),
            text(app, "name").into(),
            created.into(),
            text(app, "description").into(),
        ]);
    }
    table.print(context.terminal)?;
    if apps.is_empty() {
        context
            .terminal
            .note("there is no app yet; `tollgate app create SLUG` makes one");
    }
    Ok(())
}

/// What `--json` shows of an app.
#[derive(Serialize)]
struct AppShown<'a> {
    app: Answer,
    functions: &'a [Answer],
    events: Answer,
}

async fn show(context: Context<'_>, slug: &str, utc: bool, remote: &Remote) -> CommandResult {
    let terminal = context.terminal;
    let client = context.client(remote).await?;
    let app = names::app(&client, slug).await?;
    let functions = names::functions(&client, Some(slug)).await?;
    let path = format!("/api/apps/{}/events/", segment(slug));
    let events = client.get(&path).await?;
    if remote.json {
        terminal.json(&AppShown {
            app: app.at(&["data"]),
            functions: &functions,
            events: events.at(&["data", "events"]),
        })?;
        return Ok(());
    }
    let text_of = |key: &str| {
        app.value["data"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    terminal.print(format!("{}: {}", text_of("slug"), text_of("name")))?;
    terminal.block(2, &text_of("description"))?;
    terminal.print(format!(
        "created {}",
        terminal.moment(&text_of("created_at"), utc)
    ))?;
    for kind in ["env", "secret_env"] {
        let variables = &app.value["data"][kind];
        if variables.as_object().is_some_and(|it| !it.is_empty()) {
            terminal.print(format!("{kind} {variables}"))?;
        }
    }
    terminal.print(plural(functions.len() as u64, "function"))?;
    super::function::table(&functions, utc, terminal).print(terminal)?;
    for event in events.value["data"]["events"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if let Some(count @ 1..) = event["total_subscribers"].as_u64() {
            let name = event["event"].as_str().unwrap_or_default();
            terminal.print(format!("{name}: {}", plural(count, "subscriber")))?;
        }
    }
    Ok(())
}

async fn update(
    context: Context<'_>,
    slug: &str,
    texts: [(&str, Option<String>); 2],
    given: &Variables,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let app = names::app(&client, slug).await?;
    let there = &app.value["data"];
    let mut body = variables::changed(given, there)?;
    for (key, text) in texts {
        body.extend(text.map(|text| (key.to_owned(), json!(text))));
    }
    if body.is_empty() {
        return Err(
            "name what is to change: --name, --description, --env, --secret-env or --unset-env"
                .into(),
        );
    }
    body.retain(|key, value| there[key.as_str()] != *value);
    let path = format!("/api/apps/{}/", segment(slug));
    let request = client.request(Method::PATCH, &path).json(&body);
    let changed = client.send(request).await?;
    if remote.json {
        context.terminal.json_text(changed.part(&["data"]))?;
    } else if body.is_empty() {
        context.terminal.print(format!("unchanged app {slug}"))?;
    } else {
        let what: Vec<_> = body.keys().map(String::as_str).collect();
        let what = what.join(", ");
        context
            .terminal
            .print(format!("updated app {slug}: {what}"))?;
    }
    Ok(())
}

async fn delete(context: Context<'_>, slug: &str, yes: bool, remote: &Remote) -> CommandResult {
    let client = context.client(remote).await?;
    names::app(&client, slug).await?;
    let functions = names::functions(&client, Some(slug)).await?.len() as u64;
    let question = format!(
        "Delete the app {slug} with {}?",
        plural(functions, "function")
    );
    context.sure(yes, &question)?;
    let gone = client
        .delete(&format!("/api/apps/{}/", segment(slug)))
        .await?;
    if remote.json {
        context.terminal.json_text(&gone.text)?;
    } else {
        context.terminal.print(format!(
            "deleted app {slug} with {}",
            plural(functions, "function")
        ))?;
    }
    Ok(())
}
