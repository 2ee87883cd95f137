//! `sdk_client.secrets`: a function reads the secrets of its own app, whoever caused the run, and no
//! others (ADR 19). So these do not go through the routes, which know the caller's rights only; the
//! answers have the routes' shapes.

use super::refused;
use crate::api::secrets::{SecretFilter, listed, words};
use crate::views::SecretView;
use serde::Deserialize;
use serde_json::{Map, Value};
use tollgate_core::limits;
use tollgate_core::ports::runtime::HostError;
use tollgate_core::ports::store::PageRequest;
use tollgate_core::secrets::OwnApp;
use tollgate_core::services::Services;

/// Answers `secrets.get` and `secrets.list`.
pub(super) async fn answer(
    services: &Services,
    own: &OwnApp,
    method: &str,
    mut args: Map<String, Value>,
) -> Result<Value, HostError> {
    stay_in(own, args.remove("app"))?;
    let secrets = &services.secrets;
    match method {
        "secrets.get" => {
            let key =
                text(&mut args, "key")?.ok_or_else(|| HostError::bad_request("key is required"))?;
            let tags = words(list(&mut args, "tags")?.as_deref());
            let found = secrets.get_own(own, &key, &tags).await.map_err(refused)?;
            json(SecretView::from(found))
        }
        "secrets.list" => {
            for name in ["keys", "tags"] {
                let words = list(&mut args, name)?;
                args.extend(words.map(|words| (name.to_owned(), words.into())));
            }
            let page = page(&mut args)?;
            args.remove("include_metadata");
            let filter = SecretFilter::deserialize(Value::Object(args))
                .map_err(|error| HostError::bad_request(error.to_string()))?;
            let found = secrets.list_own(own, &filter.query(), page).await;
            json(listed(found.map_err(refused)?))
        }
        other => Err(HostError::no_such_method(other)),
    }
}

/// Another app's secrets are out of reach also where the caller could read them: the function's
/// author is not the caller.
fn stay_in(own: &OwnApp, app: Option<Value>) -> Result<(), HostError> {
    match app {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(app)) if app == own.slug() => Ok(()),
        Some(_) => {
            let message = format!(
                "A function reads the secrets of its own app only, which is '{}'; leave app out",
                own.slug()
            );
            Err(HostError::forbidden(message))
        }
    }
}

fn text(args: &mut Map<String, Value>, name: &str) -> Result<Option<String>, HostError> {
    match args.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(HostError::bad_request(format!("{name} must be text"))),
    }
}

/// A list of words as the query string has it.
fn list(args: &mut Map<String, Value>, name: &str) -> Result<Option<String>, HostError> {
    let Some(Value::Array(items)) = args.get(name) else {
        return text(args, name);
    };
    let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let words =
        words.ok_or_else(|| HostError::bad_request(format!("{name} must be a list of text")))?;
    let words = words.join(",");
    args.remove(name);
    Ok(Some(words))
}

fn page(args: &mut Map<String, Value>) -> Result<PageRequest, HostError> {
    let mut number = |name: &str, otherwise: u64| match args.remove(name) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(value) => value
            .as_u64()
            .filter(|number| *number > 0)
            .ok_or_else(|| HostError::bad_request(format!("{name} must be a number above 0"))),
    };
    let page = number("page", 1)?;
    let size = number("page_size", limits::PAGE_SIZE_DEFAULT.into())?;
    let limit =
        u32::try_from(size).map_or(limits::PAGE_SIZE_MAX, |it| it.min(limits::PAGE_SIZE_MAX));
    let offset = (page - 1).saturating_mul(limit.into());
    Ok(PageRequest { limit, offset })
}

fn json(answer: impl serde::Serialize) -> Result<Value, HostError> {
    serde_json::to_value(answer).map_err(|error| HostError::internal(&error))
}
