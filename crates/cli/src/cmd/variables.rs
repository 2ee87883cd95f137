//! Environment variables, as flags set them beside those that are there.

use crate::AnyError;
use crate::args::Variables;
use serde_json::{Map, Value, json};

/// The new `env` and `secret_env` of a record that has these now; nothing where no flag was given.
pub(super) fn changed(given: &Variables, there: &Value) -> Result<Map<String, Value>, AnyError> {
    let mut body = Map::new();
    if given.env.is_empty() && given.secret_env.is_empty() && given.unset_env.is_empty() {
        return Ok(body);
    }
    let now = |kind: &str| there[kind].as_object().cloned().unwrap_or_default();
    let (mut plain, mut secret) = (now("env"), now("secret_env"));
    for name in &given.unset_env {
        let was_there = [plain.remove(name), secret.remove(name)];
        if was_there.iter().all(Option::is_none) {
            return Err(format!("--unset-env {name}: there is no such variable").into());
        }
    }
    for text in &given.env {
        let (name, value) = pair("--env", text)?;
        secret.remove(name);
        plain.insert(name.to_owned(), value.into());
    }
    for text in &given.secret_env {
        let (name, key) = pair("--secret-env", text)?;
        plain.remove(name);
        secret.insert(name.to_owned(), key.into());
    }
    body.insert("env".into(), json!(plain));
    body.insert("secret_env".into(), json!(secret));
    Ok(body)
}

/// `NAME=VALUE`. The value is not repeated in an error.
pub(super) fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), AnyError> {
    let second = if flag == "--env" { "VALUE" } else { "KEY" };
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(format!("{flag}: use NAME={second}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_what_they_name_and_nothing_else() {
        let strings = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        let there = json!({"env": {"A": "1", "B": "2"}, "secret_env": {"C": "key"}});
        let change = |env: &[&str], secret_env: &[&str], unset_env: &[&str]| {
            let given = Variables {
                env: strings(env),
                secret_env: strings(secret_env),
                unset_env: strings(unset_env),
            };
            changed(&given, &there).map(Value::Object)
        };
        assert_eq!(change(&[], &[], &[]).unwrap(), json!({}));
        assert_eq!(
            change(&["A=x=y", "C="], &["B=other"], &[]).unwrap(),
            json!({"env": {"A": "x=y", "C": ""}, "secret_env": {"B": "other"}})
        );
        assert_eq!(
            change(&[], &[], &["A", "C"]).unwrap(),
            json!({"env": {"B": "2"}, "secret_env": {}})
        );
        for wrong in [
            change(&["A"], &[], &[]),
            change(&["=x"], &[], &[]),
            change(&[], &["A"], &[]),
            change(&[], &[], &["Z"]),
        ] {
            wrong.unwrap_err();
        }
    }
}
