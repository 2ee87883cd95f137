//! `tollgate function`: what there is, its versions, and what it logged.

use super::names::{self, Found, segment, text};
use super::run_view::RunView;
use super::tail::{Filter, Shape, follow};
use super::{Context, deploy, function_run};
use crate::args::{Function, FunctionLogs, Remote};
use crate::client::{Answer, Client};
use crate::terminal::{Cell, Table, Terminal, style};
use crate::{AnyError, CommandResult};
use reqwest::Method;
use serde_json::Value;

pub(super) async fn run(context: Context<'_>, command: Function) -> CommandResult {
    match command {
        Function::Deploy(args) => deploy::run(context, *args).await,
        Function::Run(args) => function_run::run(context, *args).await,
        Function::Logs(args) => logs(context, args).await,
        Function::List { app, times, remote } => {
            list(context, app.as_deref(), times.utc, &remote).await
        }
        Function::Show {
            function,
            app,
            code,
            times,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let found = names::function(&client, app.as_deref(), &function).await?;
            let shown = Shown {
                context,
                client,
                found,
                utc: times.utc,
            };
            shown.show(code, remote.json).await
        }
        Function::Versions {
            function,
            app,
            times,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let found = names::function(&client, app.as_deref(), &function).await?;
            versions(context, &client, &found, times.utc, remote.json).await
        }
        Function::Rollback {
            function,
            app,
            to,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let found = names::function(&client, app.as_deref(), &function).await?;
            rollback(context, &client, &found, to, remote.json).await
        }
        Function::Delete {
            function,
            app,
            sure,
            remote,
        } => {
            let client = context.client(&remote).await?;
            let found = names::function(&client, app.as_deref(), &function).await?;
            delete(context, &client, &found, sure.yes, &remote).await
        }
    }
}

/// Functions under headers.
pub(super) fn table(functions: &[Answer], utc: bool, terminal: &Terminal) -> Table {
    let mut table = Table::new(["APP", "FUNCTION", "VERSION", "STATE", "CHANGED", "OPTIONS"]);
    for function in functions {
        let active = function.value["is_active"] == true;
        let state = if active {
            ("active", style::GOOD)
        } else {
            ("inactive", style::ODD)
        };
        table.row([
            Cell::from(text(function, "app_slug")),
            text(function, "slug").into(),
            Cell::from(&function.value["version"]),
            Cell::styled(state.0, state.1),
            terminal.moment(&text(function, "updated_at"), utc).into(),
            options(&function.value).into(),
        ]);
    }
    table
}

/// What of a function is not as it is by itself.
fn options(function: &Value) -> String {
    let mut words = Vec::new();
    if function["execution_mode"] != "app" {
        words.extend(function["execution_mode"].as_str().map(str::to_owned));
    }
    for (key, word) in [("is_public", "public"), ("async_mode", "async")] {
        if function[key] == true {
            words.push(word.to_owned());
        }
    }
    if function["network"] == "egress" {
        words.push("egress".to_owned());
    }
    if let Some(permissions @ 1..) = function["permissions"].as_array().map(Vec::len) {
        words.push(crate::terminal::plural(permissions as u64, "permission"));
    }
    words.join(", ")
}

async fn list(
    context: Context<'_>,
    app: Option<&str>,
    utc: bool,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let functions = names::functions(&client, app).await?;
    if remote.json {
        context.terminal.json(&functions)?;
        return Ok(());
    }
    table(&functions, utc, context.terminal).print(context.terminal)?;
    if functions.is_empty() {
        context
            .terminal
            .note("there is no function yet; `tollgate function deploy FILE --app APP` makes one");
    }
    Ok(())
}

struct Shown<'a> {
    context: Context<'a>,
    client: Client,
    found: Found,
    utc: bool,
}

impl Shown<'_> {
    async fn show(&self, code: bool, json: bool) -> CommandResult {
        let terminal = self.context.terminal;
        let function = self.client.get(&self.found.path()).await?;
        if code {
            let code = function.value["code"].as_str();
            let code = code.ok_or("this function has no code: it is no app function")?;
            terminal.block(0, code)?;
            return Ok(());
        }
        let subscriptions = self.subscriptions().await?;
        if json {
            let subscriptions = serde_json::to_string(&subscriptions)?;
            terminal.json(&function.with("subscriptions", Some(&subscriptions)))?;
            return Ok(());
        }
        let value = &function.value;
        terminal.print(format!("{}: {}", self.found.slug, text(&function, "name")))?;
        terminal.block(2, &text(&function, "description"))?;
        for key in ["created_at", "updated_at"] {
            let moment = terminal.moment(&text(&function, key), self.utc);
            terminal.print(format!("  {key:<18} {moment}"))?;
        }
        const TOLD: [&str; 7] = [
            "name",
            "slug",
            "description",
            "code",
            "created_at",
            "updated_at",
            "app_name",
        ];
        for (key, value) in value.as_object().into_iter().flatten() {
            if !TOLD.contains(&key.as_str()) && !value.is_null() {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                terminal.print(format!("  {key:<18} {value}"))?;
            }
        }
        for it in subscriptions.iter().map(|it| &it.value) {
            let event = it["event"].as_str().unwrap_or_default();
            terminal.print(format!(
                "subscribed to {event}{}",
                subscription(&it["options"])
            ))?;
        }
        Ok(())
    }

    async fn subscriptions(&self) -> Result<Vec<Answer>, AnyError> {
        let app = &self.found.app;
        let path = format!("/api/apps/{}/events/", segment(app));
        let events = self.client.get(&path).await?;
        let mut own = Vec::new();
        for event in events.value["data"]["events"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if event["total_subscribers"].as_u64().unwrap_or_default() == 0 {
                continue;
            }
            let name = event["event"].as_str().unwrap_or_default();
            let all = deploy::subscriptions(&self.client, app, name).await?;
            own.extend(
                all.into_iter()
                    .filter(|it| it.value["function_id"] == self.found.id),
            );
        }
        Ok(own)
    }
}

/// The options of a subscription that say something.
pub(super) fn subscription(options: &Value) -> String {
    let mut words = Vec::new();
    for (key, value) in options.as_object().into_iter().flatten() {
        let usual = match key.as_str() {
            "closed" => *value == false,
            _ => value.is_null() || *value == 0 || *value == "deny" || *value == true,
        };
        if !usual {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            words.push(format!("{key} {value}"));
        }
    }
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join(", "))
    }
}

/// The versions, newest first.
async fn all_versions(client: &Client, found: &Found) -> Result<Vec<Answer>, AnyError> {
    let path = format!("{}versions/", found.path());
    let mut versions = client.all(&path, &[], usize::MAX).await?.items;
    versions.sort_by_key(|it| std::cmp::Reverse(it.value["version"].as_u64()));
    Ok(versions)
}

async fn versions(
    context: Context<'_>,
    client: &Client,
    found: &Found,
    utc: bool,
    json: bool,
) -> CommandResult {
    let versions = all_versions(client, found).await?;
    if json {
        context.terminal.json(&versions)?;
        return Ok(());
    }
    let mut table = Table::new(["VERSION", "CREATED", "STATE"]);
    for version in &versions {
        let active = version.value["is_active"] == true;
        table.row([
            Cell::from(&version.value["version"]),
            context
                .terminal
                .moment(&text(version, "created_at"), utc)
                .into(),
            if active {
                Cell::styled("active", style::GOOD)
            } else {
                Cell::from("")
            },
        ]);
    }
    table.print(context.terminal)?;
    Ok(())
}

async fn rollback(
    context: Context<'_>,
    client: &Client,
    found: &Found,
    to: Option<u32>,
    json: bool,
) -> CommandResult {
    let versions = all_versions(client, found).await?;
    let number = |it: &Answer| it.value["version"].as_u64().unwrap_or_default();
    let active = versions
        .iter()
        .find(|it| it.value["is_active"] == true)
        .map(number);
    let slug = &found.slug;
    let wanted = match to {
        Some(to) => u64::from(to),
        None => versions
            .iter()
            .map(number)
            .find(|it| active.is_none_or(|active| *it < active))
            .ok_or_else(|| format!("{slug} has no version before the active one"))?,
    };
    if !versions.iter().any(|it| number(it) == wanted) {
        let numbers: Vec<_> = versions.iter().map(|it| number(it).to_string()).collect();
        return Err(format!(
            "{slug} has no version {wanted}; there is {}",
            numbers.join(", ")
        )
        .into());
    }
    if active == Some(wanted) {
        context.terminal.note(format!(
            "version {wanted} of {slug} is the active one already"
        ));
    }
    let path = format!("{}versions/{wanted}/activate/", found.path());
    let answer = client.send(client.request(Method::POST, &path)).await?;
    if json {
        context.terminal.json_text(&answer.text)?;
    } else if active != Some(wanted) {
        let before = active.map_or_else(|| "none".to_owned(), |it| it.to_string());
        context
            .terminal
            .print(format!("{slug} runs version {wanted} (before: {before})"))?;
    }
    Ok(())
}

async fn delete(
    context: Context<'_>,
    client: &Client,
    found: &Found,
    yes: bool,
    remote: &Remote,
) -> CommandResult {
    let name = format!("{} of app {}", found.slug, found.app);
    context.sure(yes, &format!("Delete the function {name}?"))?;
    let gone = client.delete(&found.path()).await?;
    if remote.json {
        context.terminal.json_text(&gone.text)?;
    } else {
        context.terminal.print(format!("deleted {name}"))?;
    }
    Ok(())
}

async fn logs(context: Context<'_>, args: FunctionLogs) -> CommandResult {
    let FunctionLogs {
        function,
        app,
        limit,
        times,
        remote,
        ..
    } = args;
    let client = context.client(&remote).await?;
    let filter = Filter {
        function: Some(function),
        app,
        ..Filter::default()
    };
    let runs = filter.last(&client, limit as usize).await?;
    if args.follow {
        let shape = Shape {
            utc: times.utc,
            json: remote.json,
            logs: true,
        };
        return follow(context, &remote, filter, shape, runs.items).await;
    }
    for summary in runs.items.iter().rev() {
        let run = client
            .get(&format!("/api/invocations/{}/", summary.value["id"]))
            .await?;
        if remote.json {
            context.terminal.json_line(&run.text)?;
        } else {
            let view = RunView::new(&run.value, context.terminal, times.utc);
            context.terminal.print(view.line())?;
            view.print_logs()?;
        }
    }
    if runs.items.is_empty() && !remote.json {
        context.terminal.note("it has not run yet");
    }
    Ok(())
}
