//! Arguments that become parts of a path: each is of its type, so that none chooses another route.

use super::{Args, encode, plain, take};
use serde_json::Value;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{HostError, HostErrorKind};
use tollgate_core::text;
use uuid::Uuid;

/// The number of a record.
pub(super) fn number(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|_| digits);
    let number = number.ok_or_else(|| names_nothing(name, &text))?;
    Ok(number.to_string())
}

/// The id of a task.
pub(super) fn task(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    let id: Uuid = text.parse().map_err(|_| names_nothing(name, &text))?;
    Ok(id.to_string())
}

/// The slug of an app or function.
pub(super) fn slug(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    if text.len() <= limits::SLUG_CHARS && text::slugify(&text) == text {
        Ok(text)
    } else {
        Err(names_nothing(name, &text))
    }
}

/// A username or address: any text, of which the path has one part.
pub(super) fn username(args: &mut Args, name: &str) -> Result<String, HostError> {
    let text = text(args, name)?;
    // Either kind of name; an address is the longer one.
    if text.chars().count() <= limits::EMAIL_CHARS {
        Ok(encode(&text))
    } else {
        Err(names_nothing(name, &text))
    }
}

fn text(args: &mut Args, name: &str) -> Result<String, HostError> {
    match plain(&take(args, name)?) {
        Some(Value::String(text)) if text.is_empty() => {
            Err(HostError::bad_request(format!("{name} is required")))
        }
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(HostError::bad_request(format!("{name} must be text"))),
    }
}

/// As over HTTP: what cannot be the name of anything is the name of nothing.
fn names_nothing(name: &str, text: &str) -> HostError {
    let shown = text::prefix(text, 64);
    HostError::new(
        HostErrorKind::NotFound,
        format!("Nothing has the {name} '{shown}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::translate;
    use serde_json::{Value, json};

    /// The path that is asked for; none when it is refused.
    fn path(method: &str, args: Value) -> Option<String> {
        let args = serde_json::from_value(args).unwrap();
        translate(method, args).ok().map(|asked| asked.path)
    }

    #[test]
    fn a_number_or_id_is_one_and_names_no_route() {
        let number =
            |value: Value| path("functions.get_invocation", json!({"invocation_id": value}));
        let task = |value: Value| path("functions.get_result", json!({"task_id": value}));
        for value in [json!(4), json!("4"), json!("004")] {
            assert_eq!(number(value).unwrap(), "/api/invocations/4/");
        }
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        for spelt in [id.to_owned(), id.to_uppercase(), id.replace('-', "")] {
            assert_eq!(task(json!(spelt)).unwrap(), format!("/api/result/{id}/"));
        }
        let none = json!([
            "stream", "STREAM", "stream/", "replay", ".", "..", "-1", "+4", " 4", "4.0", "0x4", -1,
            4.5, 1e300, true, null, [4], {"a": 4}, "99999999999999999999", "٤", "", "4/replay", "4?a",
        ]);
        for value in none.as_array().unwrap() {
            assert_eq!(number(value.clone()), None, "{value}");
            assert_eq!(task(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn a_slug_is_one() {
        let long = "a".repeat(300);
        for slug in [
            "", "..", ".", "a/b", "A", "a b", "a%2fb", "ä", "a?b", "a#", "-a", "a\n", &long,
        ] {
            let app = json!({"app_slug": slug, "function_slug": "f"});
            let function = json!({"app_slug": "a", "function_slug": slug});
            for method in [
                "functions.execute",
                "functions.get",
                "functions.list",
                "app.roles",
            ] {
                assert_eq!(path(method, app.clone()), None, "{method} {slug:?}");
            }
            for method in ["functions.execute", "functions.get"] {
                assert_eq!(path(method, function.clone()), None, "{method} {slug:?}");
            }
        }
    }

    #[test]
    fn a_username_is_one_part() {
        let long = "a".repeat(100_000);
        for name in [
            "me/preferences",
            "me/preferences/",
            "a/apps",
            "x?y",
            "x#y",
            "../apps",
            &long,
        ] {
            for method in ["users.get", "users.update", "users.delete", "users.apps"] {
                let asked = path(method, json!({"username": name, "data": {}}));
                let parts = asked.map_or(0, |path| path.split(['/', '?', '#']).count());
                let most = if method == "users.apps" { 6 } else { 5 };
                assert!(parts <= most, "{method} {name:?}");
            }
        }
    }
}
