//! `tollgate secret`: values go in, and never come out here.

use super::Context;
use super::admin::piped;
use super::names::{self, segment, text};
use crate::args::{Remote, Secret};
use crate::client::{Client, status};
use crate::config::did_you_mean_one_of;
use crate::terminal::{Cell, Table, is_interactive};
use crate::{AnyError, CommandResult};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// The server takes less; this bounds what is read.
const VALUE_BYTES: u64 = 1024 * 1024;

pub(super) async fn run(context: Context<'_>, command: Secret) -> CommandResult {
    match command {
        Secret::List { app, times, remote } => {
            list(context, app.as_deref(), times.utc, &remote).await
        }
        Secret::Set {
            key,
            value,
            file,
            object,
            app,
            description,
            remote,
        } => {
            let value = read(context, &key, value, file, object)?;
            let set = Set {
                key,
                value,
                app,
                description,
            };
            set.send(context, &remote).await
        }
        Secret::Unset { key, app, remote } => unset(context, &key, app.as_deref(), &remote).await,
    }
}

fn tier(app: Option<&str>) -> Vec<(&str, &str)> {
    app.map(|app| ("app", app)).into_iter().collect()
}

async fn keys(client: &Client, app: Option<&str>) -> Result<Vec<crate::client::Answer>, AnyError> {
    if let Some(app) = app {
        names::app(client, app).await?;
    }
    Ok(client
        .all("/api/secrets/", &tier(app), usize::MAX)
        .await?
        .items)
}

async fn list(
    context: Context<'_>,
    app: Option<&str>,
    utc: bool,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let secrets = keys(&client, app).await?;
    if remote.json {
        context.terminal.json(&secrets)?;
        return Ok(());
    }
    let mut table = Table::new(["KEY", "OF", "CHANGED", "DESCRIPTION"]);
    for secret in &secrets {
        let of = secret.value["app"]
            .as_str()
            .map_or("the site".to_owned(), |app| format!("app {app}"));
        let changed = context.terminal.moment(&text(secret, "updated_at"), utc);
        table.row([
            Cell::from(text(secret, "key")),
            of.into(),
            changed.into(),
            text(secret, "description").into(),
        ]);
    }
    table.print(context.terminal)?;
    if secrets.is_empty() {
        context
            .terminal
            .note("there is no secret yet; `tollgate secret set KEY` makes one");
    }
    Ok(())
}

/// The value: an argument, a file, asked for, or standard input.
fn read(
    context: Context<'_>,
    key: &str,
    argument: Option<String>,
    file: Option<PathBuf>,
    object: bool,
) -> Result<Box<RawValue>, AnyError> {
    let text = match (argument, file) {
        (Some(value), _) => {
            context.terminal.warn(
                "the value stands in the shell's history and in the list of processes; leave it out to be \
                 asked for it, or use --file or standard input",
            );
            value
        }
        (None, Some(file)) => of_file(&file)?,
        (None, None) if is_interactive() => {
            context.terminal.ask_secretly(&format!("Value of {key}"))?
        }
        (None, None) if std::io::stdin().is_terminal() => {
            return Err("name a file with --file, or pipe the value in".into());
        }
        (None, None) => piped("the value", VALUE_BYTES)?,
    };
    if text.is_empty() {
        return Err("the value is empty; nothing was set".into());
    }
    if !object {
        return Ok(to_raw_value(&text)?);
    }
    // As it was written: reading it into numbers could lose digits.
    let value = RawValue::from_string(text.trim().to_owned())
        // The error quotes nothing of the value.
        .map_err(|error| {
            format!(
                "--object: the value is not JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
    if value.get().starts_with('{') {
        Ok(value)
    } else {
        Err("--object: the value is not a JSON object".into())
    }
}

fn of_file(file: &Path) -> Result<String, AnyError> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > VALUE_BYTES {
        return Err(format!("{} is longer than {VALUE_BYTES} bytes", file.display()).into());
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

struct Set {
    key: String,
    value: Box<RawValue>,
    app: Option<String>,
    description: Option<String>,
}

/// A secret to be set.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    value: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl Set {
    /// Creates it, or gives the one that is there its new value.
    async fn send(self, context: Context<'_>, remote: &Remote) -> CommandResult {
        let client = context.client(remote).await?;
        let app = self.app.as_deref();
        if let Some(app) = app {
            names::app(&client, app).await?;
        }
        let mut body = Body {
            key: None,
            value: &self.value,
            description: self.description.as_deref(),
        };
        let path = format!("/api/secrets/{}/", segment(&self.key));
        let change = client
            .request(Method::PUT, &path)
            .query(&tier(app))
            .json(&body);
        let (done, what) = match client.send(change).await {
            Err(error) if status(&error) == Some(404) => {
                body.key = Some(&self.key);
                let request = client
                    .request(Method::POST, "/api/secrets/")
                    .query(&tier(app));
                (client.send(request.json(&body)).await?, "set")
            }
            changed => (changed?, "changed"),
        };
        if remote.json {
            context.terminal.json_text(done.part(&["data"]))?;
        } else {
            let of = app.map_or("the site".to_owned(), |app| format!("app {app}"));
            context
                .terminal
                .print(format!("{what} {} of {of}", self.key))?;
        }
        Ok(())
    }
}

async fn unset(
    context: Context<'_>,
    key: &str,
    app: Option<&str>,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    let request = client.request(Method::DELETE, &format!("/api/secrets/{}/", segment(key)));
    let gone = match client.send(request.query(&tier(app))).await {
        Err(error) if status(&error) == Some(404) => {
            let secrets = keys(&client, app).await?;
            let own = secrets
                .iter()
                .filter(|secret| secret.value["app"].as_str() == app);
            let names: Vec<_> = own.map(|secret| text(secret, "key")).collect();
            let hint = did_you_mean_one_of(key, &names);
            let of = app.map_or("the site".to_owned(), |app| format!("app `{app}`"));
            return Err(format!("{of} has no secret `{key}`{hint}").into());
        }
        gone => gone?,
    };
    if remote.json {
        context.terminal.json_text(&gone.text)?;
    } else {
        context.terminal.print(format!("deleted {key}"))?;
    }
    Ok(())
}
