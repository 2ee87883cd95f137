//! Names that people type: what they mean on the server, or what they probably meant.

use crate::AnyError;
use crate::client::{Answer, Client, status};
use crate::config::did_you_mean_one_of;
use tollgate_core::tasks::State;

/// So many apps or functions are looked through for a name.
const MANY: usize = 10_000;

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The app with this slug.
pub(super) async fn app(client: &Client, slug: &str) -> Result<Answer, AnyError> {
    match client.get(&format!("/api/apps/{}/", segment(slug))).await {
        Err(error) if status(&error) == Some(404) => {
            let hint = did_you_mean_one_of(slug, &apps(client).await?);
            Err(format!("there is no app `{slug}`{hint}").into())
        }
        found => found,
    }
}

/// The slugs of all apps.
pub(super) async fn apps(client: &Client) -> Result<Vec<String>, AnyError> {
    let listed = client.all("/api/apps/", &[], MANY).await?;
    Ok(listed.items.iter().map(|app| text(app, "slug")).collect())
}

/// All functions, or those of an app.
pub(super) async fn functions(client: &Client, app: Option<&str>) -> Result<Vec<Answer>, AnyError> {
    let apps = match app {
        Some(slug) => vec![text_of_data(&self::app(client, slug).await?, "slug")],
        None => apps(client).await?,
    };
    let mut functions = Vec::new();
    for app in apps {
        let path = format!("/api/apps/{}/functions/", segment(&app));
        match client.all(&path, &[], MANY).await {
            Ok(listed) => functions.extend(listed.items),
            // Apps are shown to everybody, their functions are not.
            Err(error) if status(&error) == Some(403) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(functions)
}

/// A function on the server.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) app: String,
    pub(super) slug: String,
}

impl Found {
    /// The function's path.
    pub(super) fn path(&self) -> String {
        function_path(&self.app, &self.slug)
    }
}

/// A function's path.
pub(super) fn function_path(app: &str, slug: &str) -> String {
    format!("/api/apps/{}/functions/{}/", segment(app), segment(slug))
}

/// The one function with this slug. Of several in different apps one must be chosen.
pub(super) async fn function(
    client: &Client,
    app: Option<&str>,
    slug: &str,
) -> Result<Found, AnyError> {
    let mut found = same_named(client, app, slug).await?;
    if found.len() > 1 {
        let apps: Vec<_> = found.iter().map(|it| it.app.as_str()).collect();
        let apps = apps.join(", ");
        return Err(
            format!("several apps have a function `{slug}`; name one with --app: {apps}").into(),
        );
    }
    found
        .pop()
        .ok_or_else(|| format!("there is no function `{slug}`").into())
}

/// All functions with this slug: one, unless several apps have one.
pub(super) async fn same_named(
    client: &Client,
    app: Option<&str>,
    slug: &str,
) -> Result<Vec<Found>, AnyError> {
    let functions = functions(client, app).await?;
    let found: Vec<_> = functions
        .iter()
        .filter(|it| it.value["slug"] == slug)
        .map(|it| Found {
            id: it.value["id"].as_i64().unwrap_or_default(),
            app: text(it, "app_slug"),
            slug: text(it, "slug"),
        })
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = functions.iter().map(|it| text(it, "slug")).collect();
    let hint = did_you_mean_one_of(slug, &names);
    let place = app.map_or_else(String::new, |app| format!(" in app `{app}`"));
    Err(format!("there is no function `{slug}`{place}{hint}").into())
}

/// The event type of this name.
pub(super) async fn event(client: &Client, name: &str) -> Result<String, AnyError> {
    let listed = client.get("/api/cloud/events/").await?;
    let names = listed.value["data"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let names: Vec<_> = names
        .iter()
        .filter_map(|it| Some(it.as_str()?.to_owned()))
        .collect();
    match names.iter().find(|it| it.eq_ignore_ascii_case(name)) {
        Some(found) => Ok(found.clone()),
        None => Err(format!(
            "there is no event `{name}`{}",
            did_you_mean_one_of(name, &names)
        )
        .into()),
    }
}

/// A state of a run, or a group of them, as the API reads it.
pub(super) fn run_status(word: &str) -> Result<String, AnyError> {
    const GROUPS: [&str; 5] = ["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE"];
    let states = State::ALL.iter().map(|state| state.as_str());
    let mut names: Vec<String> = states.map(str::to_owned).collect();
    names.extend(GROUPS.iter().map(|group| (*group).to_owned()));
    if names.iter().any(|name| name.eq_ignore_ascii_case(word)) {
        return Ok(word.to_owned());
    }
    let hint = crate::config::did_you_mean(word, names.iter().map(String::as_str));
    Err(format!(
        "there is no state `{word}`{hint}; states are {}",
        names.join(", ")
    )
    .into())
}

/// A text of an answer.
pub(super) fn text(answer: &Answer, key: &str) -> String {
    answer.value[key].as_str().unwrap_or_default().to_owned()
}

fn text_of_data(answer: &Answer, key: &str) -> String {
    answer.value["data"][key]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(segment("check-name_2"), "check-name_2");
        assert_eq!(segment("../a?b#c%"), "%2E%2E%2Fa%3Fb%23c%25");
        assert_eq!(segment("é"), "%C3%A9");
    }

    #[test]
    fn a_state_is_known_or_explained() {
        assert_eq!(run_status("FAILED").unwrap(), "FAILED");
        let error = run_status("suceeded").unwrap_err().to_string();
        assert!(error.contains("did you mean `succeeded`"), "{error}");
    }
}
