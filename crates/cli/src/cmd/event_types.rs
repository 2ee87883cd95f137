//! `tollgate events declare` and `undeclare`: the event types of an app.

use super::Context;
use super::names::{self, segment};
use super::params::object;
use crate::CommandResult;
use crate::args::{DeclaredType, Remote};
use crate::client::{Client, status};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

/// What is sent: the files as they are, so that no digit is lost.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    params_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

fn types(app: &str) -> String {
    format!("/api/apps/{}/event-types/", segment(app))
}

/// Declares a type, or changes the one that there is.
pub(super) async fn declare(
    context: Context<'_>,
    asked: &DeclaredType,
    remote: &Remote,
) -> CommandResult {
    let sample = asked.sample.as_deref();
    let mut body = Body {
        name: None,
        params_schema: object("--schema", &asked.schema)?,
        sample: sample.map(|it| object("--sample", it)).transpose()?,
        description: asked.description.as_deref(),
    };
    let client = context.client(remote).await?;
    names::app(&client, &asked.app).await?;
    let (path, event) = (types(&asked.app), &asked.event);
    let one = format!("{path}{}/", segment(event));
    let is_there = is_there(&client, &one).await?;
    let request = if is_there {
        client.request(Method::PATCH, &one)
    } else {
        body.name = Some(event);
        if body.sample.is_none() {
            body.sample = Some(object("--sample", "{}")?);
        }
        client.request(Method::POST, &path)
    };
    let answer = client.send(request.json(&body)).await?;
    if remote.json {
        context.terminal.json_text(answer.part(&["data"]))?;
    } else if is_there {
        context.terminal.print(format!("{event}: changed"))?;
    } else {
        let said = format!("{event} declared; functions of {} publish it", asked.app);
        context.terminal.print(said)?;
    }
    Ok(())
}

async fn is_there(client: &Client, path: &str) -> Result<bool, crate::AnyError> {
    match client.get(path).await {
        Ok(_) => Ok(true),
        Err(error) if status(&error) == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes a type.
pub(super) async fn undeclare(
    context: Context<'_>,
    event: &str,
    app: &str,
    remote: &Remote,
) -> CommandResult {
    let client = context.client(remote).await?;
    names::app(&client, app).await?;
    let event = names::event(&client, event).await?;
    let path = format!("{}{}/", types(app), segment(&event));
    let answer = client.delete(&path).await?;
    if remote.json {
        context.terminal.json_text(&answer.text)?;
    } else {
        context
            .terminal
            .print(format!("{event} is no event type any more"))?;
    }
    Ok(())
}
