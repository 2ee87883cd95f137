//! `tollgate function deploy`: a file or folder becomes a function, or the function's next version.
//!
//! It says what it did and what stands, also where a later step failed. An app is never made by the way.

use super::Context;
use super::names::{self, function_path, segment};
use super::source::Source;
use super::variables;
use crate::args::{Deploy, Subscription};
use crate::client::{Answer, Client, Refused, status};
use crate::{AnyError, CommandResult};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tollgate_core::functions::Environment;
use tollgate_core::numbers::{self, Integers};
use tollgate_core::text::slugify;

pub(super) async fn run(context: Context<'_>, args: Deploy) -> CommandResult {
    if args.subscribe.is_empty()
        && let Some(flag) = args.subscription.given()
    {
        let hint = if flag == "--filter" {
            "; a condition for every subscription is --filter-conditions"
        } else {
            ""
        };
        return Err(format!(
            "{flag} is an option of a subscription; name the event with --subscribe{hint}"
        )
        .into());
    }
    let source = Source::read(&args.file, args.entrypoint.as_deref())?;
    let options = options(&args)?;
    let name = match (&args.name, &source.stem) {
        (Some(name), _) => name.clone(),
        (None, Some(stem)) => title(stem),
        (None, None) => {
            return Err("code from standard input has no name; give it one with --name".into());
        }
    };
    let slug = args.slug.clone().unwrap_or_else(|| slugify(&name));
    if slug.is_empty() {
        return Err(format!("{name:?} leaves nothing for a slug; name one with --slug").into());
    }
    let client = context.client(&args.remote).await?;
    // What would fail later is found before anything is made.
    let mut events = Vec::new();
    for event in &args.subscribe {
        let event = names::event(&client, event)
            .await
            .map_err(|error| format!("{error}; nothing was deployed"))?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    let deployment = Deployment {
        context,
        client,
        args: &args,
        source,
        name,
        slug,
        options,
    };
    deployment.run(&events).await
}

struct Deployment<'a> {
    context: Context<'a>,
    client: Client,
    args: &'a Deploy,
    source: Source,
    name: String,
    slug: String,
    options: Map<String, Value>,
}

/// What became of a function.
struct Deployed {
    outcome: &'static str,
    /// For people.
    said: String,
    function: Answer,
}

/// What `--json` shows of a deployment.
#[derive(Serialize)]
struct DeployedShown<'a> {
    outcome: &'static str,
    function: &'a Answer,
    subscriptions: Vec<Value>,
}

impl Deployment<'_> {
    async fn run(&self, events: &[String]) -> CommandResult {
        self.ensure_app().await?;
        let deployed = self.put().await?;
        self.say(&deployed.said)?;
        let mut subscriptions = Vec::new();
        let mut failed = None;
        for event in events {
            match self.subscribe(event, &deployed.function.value["id"]).await {
                Ok(subscribed) => {
                    let outcome = subscribed.outcome.words();
                    self.say(&format!("{outcome} {event}"))?;
                    if subscribed.is_off {
                        self.context.terminal.warn(format!(
                            "the subscription to {event} is switched off; `tollgate events subscribe {event} {} \
                             --app {} --active true` switches it on",
                            self.slug, self.args.app
                        ));
                    }
                    subscriptions.push(
                        json!({"event": event, "outcome": outcome, "is_active": !subscribed.is_off}),
                    );
                }
                Err(error) => {
                    subscriptions.push(
                        json!({"event": event, "outcome": "failed", "message": error.to_string()}),
                    );
                    failed = Some((event, error));
                    break;
                }
            }
        }
        if self.args.remote.json {
            self.context.terminal.json(&DeployedShown {
                outcome: deployed.outcome,
                function: &deployed.function,
                subscriptions,
            })?;
        }
        match failed {
            None => Ok(()),
            Some((event, error)) => Err(self.what_stands(events, event, &error).into()),
        }
    }

    fn say(&self, text: &str) -> std::io::Result<()> {
        if self.args.remote.json {
            return Ok(());
        }
        self.context.terminal.print(text)
    }

    fn what_stands(&self, events: &[String], event: &str, error: &AnyError) -> String {
        let at = events.iter().position(|it| it == event).unwrap_or_default();
        let list = |events: &[String]| events.join(", ");
        let mut text = format!(
            "{} is deployed, and not subscribed to {event}: {error}",
            self.slug
        );
        if at > 0 {
            text += &format!("; it is subscribed to {}", list(&events[..at]));
        }
        if at + 1 < events.len() {
            text += &format!("; not tried: {}", list(&events[at + 1..]));
        }
        text
    }

    async fn ensure_app(&self) -> CommandResult {
        let app = &self.args.app;
        match self
            .client
            .get(&format!("/api/apps/{}/", segment(app)))
            .await
        {
            Err(error) if status(&error) == Some(404) && self.args.create_app => {
                self.client
                    .post("/api/apps/", &json!({"name": app, "slug": app}))
                    .await?;
                self.say(&format!("created app {app}"))?;
                Ok(())
            }
            Err(error) if status(&error) == Some(404) => {
                let error = names::app(&self.client, app).await.err();
                let error = error.map_or_else(String::new, |error| error.to_string());
                let end = if error.ends_with('?') { "" } else { "." };
                Err(format!("{error}{end} Nothing was deployed; --create-app makes the app").into())
            }
            other => other.map(drop),
        }
    }

    /// A new function, or what is new of the one with this slug.
    async fn put(&self) -> Result<Deployed, AnyError> {
        let app = &self.args.app;
        let path = function_path(app, &self.slug);
        let there = match self.client.get(&path).await {
            Err(error) if status(&error) == Some(404) => None,
            found => Some(found?),
        };
        let Some(answer) = there else {
            let mut body = self.options.clone();
            body.extend(variables::changed(&self.args.variables, &Value::Null)?);
            body.insert("name".into(), json!(self.name));
            body.insert("slug".into(), json!(self.slug));
            let environment = self.source.environment.unwrap_or(Environment::Python);
            body.insert("environment".into(), json!(environment.as_str()));
            body.insert("execution_mode".into(), json!("app"));
            let base = format!("/api/apps/{}/functions/", segment(app));
            let made = self.send(Method::POST, &base, body, true).await?;
            let function = &made.value;
            let said = format!(
                "created {} version {} (function {})",
                self.slug, function["version"], function["id"]
            );
            return Ok(Deployed {
                outcome: "created",
                said,
                function: made,
            });
        };
        let there = &answer.value;
        if there["execution_mode"] != "app" {
            let mode = there["execution_mode"].as_str().unwrap_or_default();
            return Err(format!(
                "{} of app {app} is a {mode} function, which has no code; choose another --slug",
                self.slug
            )
            .into());
        }
        let of_file = self.source.environment.map(Environment::as_str);
        if let (Some(of_file), Some(known)) = (of_file, there["environment"].as_str())
            && of_file != known
        {
            return Err(format!(
                "{} of app {app} is a {known} function, and {} is {of_file}; choose another --slug",
                self.slug, self.source.name
            )
            .into());
        }
        let mut changes = self.options.clone();
        changes.extend(variables::changed(&self.args.variables, there)?);
        if self.args.name.is_some() {
            changes.insert("name".into(), json!(self.name));
        }
        changes.retain(|key, value| !same(&there[key.as_str()], value));
        self.change(&path, &answer, changes).await
    }

    async fn change(
        &self,
        path: &str,
        before: &Answer,
        changes: Map<String, Value>,
    ) -> Result<Deployed, AnyError> {
        let (slug, there) = (&self.slug, &before.value);
        let is_new = self.is_new(there);
        if changes.is_empty() && !is_new {
            let said = format!(
                "unchanged {slug} version {} (function {})",
                there["version"], there["id"]
            );
            return Ok(Deployed {
                outcome: "unchanged",
                said,
                function: before.with("code", None),
            });
        }
        let options: Vec<_> = changes.keys().cloned().collect();
        let answer = self.send(Method::PATCH, path, changes, is_new).await?;
        let function = &answer.value;
        let (old, new) = (&there["version"], &function["version"]);
        let mut said = if old == new {
            format!("updated {slug} version {new} (function {})", function["id"])
        } else {
            format!(
                "updated {slug} to version {new} (function {})",
                function["id"]
            )
        };
        if !options.is_empty() {
            said += &format!(": {}", options.join(", "));
        }
        Ok(Deployed {
            outcome: "updated",
            said,
            function: answer,
        })
    }

    /// Whether what runs is another than what is there.
    fn is_new(&self, there: &Value) -> bool {
        match &self.source.folder {
            Some(folder) => there["bundle"] != folder.bundle.pack().digest.as_str(),
            None => there["bundle"].is_string() || there["code"] != self.source.text.as_str(),
        }
    }

    /// Sends values, and what runs if it `is_new`: code among them, files beside them.
    async fn send(
        &self,
        method: Method,
        path: &str,
        mut values: Map<String, Value>,
        is_new: bool,
    ) -> Result<Answer, AnyError> {
        let request = self.client.request(method, path);
        let request = match &self.source.folder {
            Some(folder) if is_new => {
                let json = Value::Object(values).to_string();
                let mut form = Form::new().part("function", Part::text(json));
                for (path, content) in folder.bundle.files() {
                    let part = Part::bytes(content.to_vec()).file_name(path.to_owned());
                    form = form.part("files", part);
                }
                request.multipart(form)
            }
            _ => {
                if is_new {
                    values.insert("code".into(), json!(self.source.text));
                }
                request.json(&values)
            }
        };
        let sent = self.client.send(request).await;
        sent.map_err(|error| self.pointed(error))
    }

    /// An error about the code, with the line that it is about.
    fn pointed(&self, error: AnyError) -> AnyError {
        let Some(refused) = error.downcast_ref::<Refused>() else {
            return error;
        };
        let first = &refused.body.value["errors"][0];
        if first["field"] != "code" {
            return error;
        }
        let message = first["message"].as_str().unwrap_or(&refused.message);
        self.source
            .wrong(message, first["line"].as_u64(), first["column"].as_u64())
    }

    async fn subscribe(&self, event: &str, function: &Value) -> Result<Subscribed, AnyError> {
        let function = function.as_i64().unwrap_or_default();
        let options = subscription(&self.args.subscription);
        subscribe(&self.client, &self.args.app, event, function, options).await
    }
}

/// What became of a subscription.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Subscribed,
    Changed,
    Unchanged,
}

/// A subscription, after it was asked for.
pub(super) struct Subscribed {
    pub(super) outcome: Outcome,
    /// It is there and runs nothing.
    pub(super) is_off: bool,
}

impl Outcome {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed to",
            Self::Changed => "changed the subscription to",
            Self::Unchanged => "already subscribed to",
        }
    }
}

/// The options that were given, as the API names them.
pub(super) fn subscription(given: &Subscription) -> Map<String, Value> {
    let mut options = Map::new();
    if let Some(priority) = given.priority {
        options.insert("priority".into(), json!(priority));
    }
    if let Some(filter) = &given.filter {
        options.insert("filter".into(), or_none(filter));
    }
    if let Some(on_timeout) = &given.on_timeout {
        options.insert("on_timeout".into(), json!(on_timeout));
    }
    options
}

/// Subscribes a function, or changes the options of the subscription that is there.
pub(super) async fn subscribe(
    client: &Client,
    app: &str,
    event: &str,
    function: i64,
    options: Map<String, Value>,
) -> Result<Subscribed, AnyError> {
    let path = format!("/api/cloud/events/{}/subscribe/", segment(event));
    let there = subscriptions(client, app, event).await?;
    let there = there
        .into_iter()
        .find(|it| it.value["function_id"] == function);
    let mut body = options;
    if let Some(there) = there {
        body.retain(|key, value| !same(&there.value["options"][key.as_str()], value));
        let asked = body.get("is_active").and_then(Value::as_bool);
        let is_active = asked.unwrap_or(there.value["options"]["is_active"] != false);
        let subscribed = |outcome| Subscribed {
            outcome,
            is_off: !is_active,
        };
        if body.is_empty() {
            return Ok(subscribed(Outcome::Unchanged));
        }
        body.insert("function_id".into(), json!(function));
        client
            .send(client.request(Method::PATCH, &path).json(&body))
            .await?;
        return Ok(subscribed(Outcome::Changed));
    }
    body.retain(|_, value| !value.is_null());
    // What is new is active, and only a change can say so.
    body.remove("is_active")
        .map_or(Ok(()), |active| match active {
            Value::Bool(false) => {
                Err("a new subscription is active; subscribe first, then switch it off")
            }
            _ => Ok(()),
        })?;
    body.insert("function_id".into(), json!(function));
    client.post(&path, &Value::Object(body)).await?;
    Ok(Subscribed {
        outcome: Outcome::Subscribed,
        is_off: false,
    })
}

/// Who subscribes to an event in an app.
pub(super) async fn subscriptions(
    client: &Client,
    app: &str,
    event: &str,
) -> Result<Vec<Answer>, AnyError> {
    let path = format!("/api/apps/{}/events/{}/", segment(app), segment(event));
    let found: Answer = client.get(&path).await?;
    Ok(found.items_at(&["data", "subscribers"]))
}

/// `none` unsets an option.
pub(super) fn or_none(text: &str) -> Value {
    if text == "none" {
        Value::Null
    } else {
        text.into()
    }
}

/// A number, or `none` for null.
pub(super) fn number_or_none(flag: &str, text: &str) -> Result<Value, AnyError> {
    if text == "none" {
        return Ok(Value::Null);
    }
    let number: Option<serde_json::Number> = text.parse().ok();
    let number = number.filter(|_| numbers::is_exact(text, Integers::Bits64));
    number
        .map(Value::Number)
        .ok_or_else(|| format!("{flag} {text:?}: use a number, or \"none\"").into())
}

/// The options that were given, as the API names them. What was not given stays as it is.
fn options(args: &Deploy) -> Result<Map<String, Value>, AnyError> {
    let mut options = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(key.to_owned(), value);
        }
    };
    let number = |flag, text: &Option<String>| {
        text.as_ref()
            .map(|text| number_or_none(flag, text))
            .transpose()
    };
    put(
        "description",
        args.description.as_ref().map(|text| json!(text)),
    );
    put(
        "entrypoint",
        args.entrypoint.as_ref().map(|text| json!(text)),
    );
    put("network", args.network.as_ref().map(|text| json!(text)));
    let scope = args.permissions_scope.as_ref();
    put("permissions_scope", scope.map(|text| json!(text)));
    put("acts_as", args.acts_as.as_ref().map(|text| json!(text)));
    put("timeout_seconds", number("--timeout", &args.timeout)?);
    put("max_attempts", number("--attempts", &args.attempts)?);
    put("memory_mb", number("--memory", &args.memory)?);
    put(
        "max_concurrency",
        number("--concurrency", &args.concurrency)?,
    );
    put("rate_limit", args.rate_limit.as_deref().map(or_none));
    put(
        "filter_conditions",
        args.filter_conditions.as_deref().map(or_none),
    );
    put("request", args.request.as_ref().map(|text| json!(text)));
    put("is_public", args.public.map(|it| json!(it)));
    put("async_mode", args.r#async.map(|it| json!(it)));
    put(
        "is_active",
        args.active
            .or_else(|| args.inactive.then_some(false))
            .map(|it| json!(it)),
    );
    if !args.permission.is_empty() {
        let none = args.permission == ["none"];
        put(
            "permissions",
            Some(if none {
                json!([])
            } else {
                json!(args.permission)
            }),
        );
    }
    Ok(options)
}

/// Whether the server has this value already: numbers by value, lists of words in any order.
fn same(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().all(|it| other.contains(it))
        }
        _ => there == wanted,
    }
}

/// `validate_user_data` → `Validate User Data`.
fn title(stem: &str) -> String {
    let words = stem
        .split(['_', '-', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect::<String>()
            })
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_becomes_a_name() {
        assert_eq!(title("validate_user_data"), "Validate User Data");
        assert_eq!(title("x"), "X");
        assert_eq!(title(""), "");
    }

    #[test]
    fn equal_values_are_no_change() {
        assert!(same(&json!(10.0), &json!(10)));
        assert!(same(&json!(["a", "b"]), &json!(["b", "a"])));
        assert!(!same(&json!(["a"]), &json!(["a", "b"])));
        assert!(!same(&Value::Null, &json!(1)));
    }
}
