//! What a running function's `sdk_client` asks for, answered by the same routes as over HTTP, with
//! the rights that count at that moment: the function's, and those of whoever it acts for.
//!
//! Must never keep rights between two calls, nor give a function more than it has declared, the
//! secrets and event types of its own app excepted.

use crate::error::ApiError;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};
use tollgate_core::engine::HostFactory;
use tollgate_core::error::Error;
use tollgate_core::ports::runtime::{HostCalls, HostError, HostErrorKind, RunReport};
use tollgate_core::rights::Actor;
use tollgate_core::room::Taken;
use tollgate_core::secrets::OwnApp;
use tollgate_core::services::Services;
use tower::ServiceExt as _;

mod answer;
mod events;
mod parts;
mod secrets;

use self::answer::{collected, read};
use self::parts::{number, slug, task, username};

/// Makes the functions' side of the API. Holds routes and services weakly: they hold this.
pub(crate) struct ApiHosts {
    pub(crate) routes: Weak<Router>,
    pub(crate) services: Weak<Services>,
}

impl HostFactory for ApiHosts {
    fn host(&self, actor: Actor, own: OwnApp) -> Arc<dyn HostCalls> {
        Arc::new(ApiHost {
            routes: Weak::clone(&self.routes),
            services: Weak::clone(&self.services),
            actor,
            own,
        })
    }
}

struct ApiHost {
    routes: Weak<Router>,
    services: Weak<Services>,
    actor: Actor,
    own: OwnApp,
}

#[async_trait::async_trait]
impl HostCalls for ApiHost {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        let services = self.services.upgrade().ok_or_else(stopping)?;
        if method.starts_with("secrets.") {
            let answer = secrets::answer(&services, &self.own, method, object(args)?).await?;
            return raw(&answer);
        }
        if method.starts_with("events.") {
            let who = (&self.actor, &self.own);
            return raw(&events::answer(&services, who, method, args).await?);
        }
        let asked = translate(method, object(args)?)?;
        let principal = services.principal_of(&self.actor).await.map_err(refused)?;
        let routes = self.routes.upgrade().ok_or_else(stopping)?;
        let mut request = Request::builder().method(asked.method).uri(asked.path);
        if asked.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = asked.body.map_or_else(Body::empty, |body| {
            Body::from(String::from(Box::<str>::from(body)))
        });
        let request = request.extension(principal).body(body);
        let request = request.map_err(|error| HostError::bad_request(error.to_string()))?;
        let Ok(response) = Router::clone(&routes).oneshot(request).await;
        let status = response.status();
        let answer = collected(response.into_body()).await?;
        read(status, &answer, asked.only_data)
    }

    async fn room(&self, bytes: usize) -> Result<Option<Taken>, HostError> {
        let services = self.services.upgrade().ok_or_else(stopping)?;
        services.room_for(&self.actor, bytes).await.map_err(refused)
    }

    fn redact(&self, report: &mut RunReport) {
        self.own.redact(report);
    }
}

/// What a function is told of an error.
fn refused(error: Error) -> HostError {
    let why = error.to_string();
    let (status, code, message) = ApiError::from(error).told();
    if status.is_server_error() {
        tracing::error!(error = why, "a function's request failed");
    }
    HostError::new(code.of_host(), message.into_owned())
}

/// An object, whose members are read as `T`.
fn object<T: DeserializeOwned>(args: &RawValue) -> Result<T, HostError> {
    serde_json::from_str(args.get())
        .map_err(|error| HostError::bad_request(format!("The arguments are no object: {error}")))
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, HostError> {
    to_raw_value(value).map_err(|error| HostError::internal(&error))
}

/// Arguments by name, each as it came.
type Args = BTreeMap<String, Box<RawValue>>;

/// A request of the HTTP API.
#[derive(Debug)]
struct Asked {
    method: Method,
    path: String,
    body: Option<Box<RawValue>>,
    /// The official client gives the list alone.
    only_data: bool,
}

impl Asked {
    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: None,
            only_data: false,
        }
    }

    fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    fn with(self, body: Box<RawValue>) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }
}

/// The official client's methods as requests of the HTTP API.
fn translate(method: &str, mut args: Args) -> Result<Asked, HostError> {
    let args = &mut args;
    Ok(match method {
        "auth.get_current_user" => Asked::get("/api/users/me/".to_owned()),
        "users.get" => Asked::get(user_path(args)?),
        "users.list" => Asked::get(format!("/api/users/{}", query(args))),
        "users.create" => {
            Asked::new(Method::POST, "/api/users/".to_owned()).with(take(args, "data")?)
        }
        "users.update" => Asked::new(Method::PUT, user_path(args)?).with(take(args, "data")?),
        "users.delete" => Asked::new(Method::DELETE, user_path(args)?),
        "users.apps" => Asked {
            only_data: true,
            ..Asked::get(format!("{}apps/", user_path(args)?))
        },
        "users.assign_roles" => {
            Asked::new(Method::POST, "/api/assign/roles/".to_owned()).with(raw(args)?)
        }
        "users.revoke_roles" => {
            Asked::new(Method::DELETE, "/api/revoke/roles/".to_owned()).with(raw(args)?)
        }
        "functions.execute" => execute(args)?,
        "functions.list" => {
            let app = app_path(args)?;
            Asked::get(format!("{app}functions/{}", query(args)))
        }
        "functions.get" => Asked::get(function_path(args)?),
        "functions.get_result" => Asked::get(format!("/api/result/{}/", task(args, "task_id")?)),
        "functions.get_invocation" => Asked::get(format!(
            "/api/invocations/{}/",
            number(args, "invocation_id")?
        )),
        "functions.list_invocations" => Asked::get(format!("/api/invocations/{}", query(args))),
        "app.roles" => Asked::get(format!("{}roles/", app_path(args)?)),
        other => return Err(HostError::no_such_method(other)),
    })
}

fn execute(args: &mut Args) -> Result<Asked, HostError> {
    let path = format!("{}execute/", function_path(args)?);
    let mut body = Args::new();
    for (given, sent) in [("params", "params"), ("is_async", "async")] {
        body.extend(args.remove(given).map(|value| (sent.to_owned(), value)));
    }
    Ok(Asked::new(Method::POST, path).with(raw(&body)?))
}

fn user_path(args: &mut Args) -> Result<String, HostError> {
    Ok(format!("/api/users/{}/", username(args, "username")?))
}

fn app_path(args: &mut Args) -> Result<String, HostError> {
    Ok(format!("/api/apps/{}/", slug(args, "app_slug")?))
}

fn function_path(args: &mut Args) -> Result<String, HostError> {
    let app = app_path(args)?;
    Ok(format!("{app}functions/{}/", slug(args, "function_slug")?))
}

fn take(args: &mut Args, name: &str) -> Result<Box<RawValue>, HostError> {
    args.remove(name)
        .ok_or_else(|| HostError::bad_request(format!("{name} is required")))
}

/// A value that holds no others; none for lists and objects.
fn plain(value: &RawValue) -> Option<Value> {
    let text = value.get();
    if text.starts_with(['[', '{']) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The remaining arguments as a query string.
fn query(args: &Args) -> String {
    let mut query = String::new();
    for (name, value) in args {
        let value = match plain(value) {
            Some(Value::String(text)) => text,
            Some(Value::Null) => continue,
            _ => value.get().to_owned(),
        };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&encode(name));
        query.push('=');
        query.push_str(&encode(&value));
    }
    query
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

fn stopping() -> HostError {
    HostError::new(HostErrorKind::Unavailable, "The server is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(method: &str, args: Value) -> Result<(String, Option<Value>), String> {
        let args = serde_json::from_value(args).unwrap();
        let asked = translate(method, args).map_err(|error| error.message)?;
        let body = asked
            .body
            .map(|body| serde_json::from_str(body.get()).unwrap());
        Ok((format!("{} {}", asked.method, asked.path), body))
    }

    #[test]
    fn the_official_clients_methods_are_requests_of_the_api() {
        let plain = |text: &str| Ok((text.to_owned(), None));
        assert_eq!(
            asked("users.get", json!({"username": "ann"})),
            plain("GET /api/users/ann/")
        );
        assert_eq!(
            asked(
                "users.list",
                json!({"search": "a b", "page": 2, "is_active": true})
            ),
            plain("GET /api/users/?is_active=true&page=2&search=a%20b")
        );
        assert_eq!(
            asked(
                "functions.execute",
                json!({"app_slug": "a", "function_slug": "f",
                "params": {"x": 1}, "is_async": true, "timeout": 5})
            ),
            Ok((
                "POST /api/apps/a/functions/f/execute/".to_owned(),
                Some(json!({"params": {"x": 1}, "async": true}))
            ))
        );
        assert_eq!(
            asked("functions.get_invocation", json!({"invocation_id": 4})),
            plain("GET /api/invocations/4/")
        );
    }

    #[test]
    fn an_argument_never_reaches_beyond_its_part_of_the_path() {
        assert_eq!(
            asked("users.get", json!({"username": "../apps/x?y#z"})),
            Ok(("GET /api/users/..%2Fapps%2Fx%3Fy%23z/".to_owned(), None))
        );
        assert!(asked("users.get", json!({"username": ""})).is_err());
        assert!(asked("users.get", json!({"username": ["a"]})).is_err());
        assert!(asked("users.get", json!({})).is_err());
        assert!(
            asked("storage.get", json!({"key": "k"}))
                .unwrap_err()
                .contains("storage.get")
        );
    }
}
