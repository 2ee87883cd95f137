//! Where settings come from, and how each of them is named there: so that an error can point at what was written.

use super::nearest::did_you_mean;
use figment::error::{Actual, Kind};
use figment::providers::Toml;
use figment::value::{Dict, Map, Num, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tollgate_core::text;
use toml::de::{DeTable, DeValue};

const PREFIX: &str = "TOLLGATE_";
const ENVIRONMENT: &str = "environment";
const FLAGS: &str = "flags";
/// Settings whose values are never shown.
const SECRETS: [&str; 2] = ["admin_password", "secrets_key"];

/// Variables that begin like settings and are none: they address the commands that talk to a
/// running server, or the launcher.
const NOT_SETTINGS: [&str; 4] = ["CONFIG", "URL", "API_KEY", "LAUNCH"];

/// Every key of the defaults, dotted, with its default.
pub(super) fn known(defaults: &str) -> BTreeMap<String, toml::Value> {
    let table: toml::Table = defaults.parse().unwrap_or_default();
    let mut known = BTreeMap::new();
    flatten("", &table, &mut known);
    known
}

fn flatten(prefix: &str, table: &toml::Table, known: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => flatten(&format!("{prefix}{key}."), inner, known),
            value => {
                known.insert(format!("{prefix}{key}"), value.clone());
            }
        }
    }
}

/// A settings file: its text, and where each key stands.
pub(super) struct File {
    path: PathBuf,
    text: String,
    lines: BTreeMap<String, usize>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the settings file {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("cannot read the settings file {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
    #[error("{}, line {line}, column {column}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{}", .0.join("\n"))]
    Unknown(Vec<String>),
}

impl File {
    /// Reads a file; every key in it must be one of `known`.
    pub(super) fn read(
        path: &Path,
        known: &BTreeMap<String, toml::Value>,
    ) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FileError::Missing(path.to_owned()),
            _ => FileError::Unreadable(path.to_owned(), error),
        })?;
        let mut lines = BTreeMap::new();
        {
            let table = DeTable::parse(&text).map_err(|error| {
                let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
                FileError::Syntax {
                    path: path.to_owned(),
                    line,
                    column,
                    message: error.message().to_owned(),
                }
            })?;
            keys(&text, "", table.get_ref(), known, &mut lines);
        }
        let unknown: Vec<_> = lines
            .iter()
            .filter(|(key, _)| !is_known(key, known))
            .map(|(key, line)| {
                let tables = known.keys().filter_map(|key| Some(key.split_once('.')?.0));
                let names = known.keys().map(String::as_str).chain(tables);
                let hint = did_you_mean(key, names);
                format!(
                    "{}, line {line}: unknown setting `{key}`{hint}",
                    path.display()
                )
            })
            .collect();
        if !unknown.is_empty() {
            return Err(FileError::Unknown(unknown));
        }
        Ok(Self {
            path: path.to_owned(),
            text,
            lines,
        })
    }

    pub(super) fn provider(&self) -> figment::providers::Data<Toml> {
        use figment::providers::Format as _;
        Toml::string(&self.text)
    }
}

/// Whether a key is a setting, or a table of settings.
fn is_known(key: &str, known: &BTreeMap<String, toml::Value>) -> bool {
    let table = format!("{key}.");
    known.contains_key(key) || known.keys().any(|name| name.starts_with(&table))
}

/// Notes the line of each key; a table that nobody knows counts as one.
fn keys(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    known: &BTreeMap<String, toml::Value>,
    lines: &mut BTreeMap<String, usize>,
) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        lines.insert(path.clone(), place(text, key.span().start).0);
        if let DeValue::Table(inner) = value.get_ref()
            && !known.contains_key(&path)
            && is_known(&path, known)
        {
            keys(text, &format!("{path}."), inner, known, lines);
        }
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// A variable whose value is no text: what it was meant to be cannot be known.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not text in UTF-8; set it again")]
pub(crate) struct NotText(String);

/// What the environment sets.
pub(super) struct Environment {
    values: Vec<(String, Value)>,
    /// Variables that are no settings, with what was probably meant.
    pub(super) warnings: Vec<String>,
}

impl Environment {
    /// Reads variables; a value is read as its setting's default is: text stays as it is.
    pub(super) fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
        known: &BTreeMap<String, toml::Value>,
    ) -> Result<Self, NotText> {
        let mut read = Self {
            values: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, value) in variables {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            let key = name.to_lowercase().replace("__", ".");
            if known.contains_key(&key) && value.to_str().is_none() {
                return Err(NotText(variable(&key)));
            }
            let value = value.to_string_lossy();
            match known.get(&key) {
                Some(default) => read.values.push((key, typed(&value, default))),
                None if NOT_SETTINGS.contains(&name) || is_of_kubernetes(name, &value) => {}
                None => {
                    // By keys: the beginning that all variables have in common would make them alike.
                    let near = text::did_you_mean(&key, known.keys().map(String::as_str));
                    let hint = near.map_or_else(String::new, |near| {
                        format!("; did you mean `{}`?", variable(near))
                    });
                    read.warnings
                        .push(format!("{PREFIX}{name} is no setting and is ignored{hint}"));
                }
            }
        }
        read.warnings.sort();
        Ok(read)
    }
}

/// The variable of a setting.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Whether Kubernetes (or a Docker link) sets it for a service whose name begins with `tollgate`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    // What follows the service's own name.
    let end = |end: &str| name == end || name.ends_with(&format!("_{end}"));
    let mut words = name.rsplit('_').peekable();
    // The last word may name a detail of the port.
    words.next_if(|word| matches!(*word, "ADDR" | "PORT" | "PROTO"));
    let protocol = words
        .next_if(|word| matches!(*word, "TCP" | "UDP" | "SCTP"))
        .is_some();
    let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    let port = words.next() == Some("PORT");
    let of_port = protocol && number && port;
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    of_port
        || end("SERVICE_HOST")
        || end("SERVICE_PORT")
        || name.starts_with("SERVICE_PORT_")
        || name.contains("_SERVICE_PORT_")
        || (end("PORT") && is_address)
}

/// A value as its setting wants it. What cannot be read as such stays text, and is refused with its name later.
fn typed(text: &str, default: &toml::Value) -> Value {
    let trimmed = text.trim();
    match default {
        toml::Value::Integer(_) => trimmed
            .parse::<i64>()
            .map_or_else(|_| text.into(), Value::from),
        toml::Value::Float(_) => trimmed
            .parse::<f64>()
            .map_or_else(|_| text.into(), Value::from),
        toml::Value::Boolean(_) => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true.into(),
            "false" | "0" | "no" | "off" => false.into(),
            _ => text.into(),
        },
        toml::Value::Array(_) => list(trimmed),
        _ => text.into(),
    }
}

/// `[80, 443]`, `80,443` or `a.example, b.example`.
fn list(text: &str) -> Value {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let words = inner
        .split(',')
        .map(|word| word.trim().trim_matches(['"', '\'']));
    let words = words.filter(|word| !word.is_empty());
    let values = words.map(|word| {
        word.parse::<i64>()
            .map_or_else(|_| word.into(), Value::from)
    });
    Value::from(values.collect::<Vec<_>>())
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut dict = Dict::new();
        for (key, value) in &self.values {
            put(&mut dict, key, value.clone());
        }
        Ok(Profile::Default.collect(dict))
    }
}

fn put(dict: &mut Dict, key: &str, value: Value) {
    let Some((table, rest)) = key.split_once('.') else {
        dict.insert(key.to_owned(), value);
        return;
    };
    let entry = dict.entry(table.to_owned());
    let inner = entry.or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = inner {
        put(inner, rest, value);
    }
}

/// The settings of the command line.
pub(super) struct Flags<'a>(pub(super) &'a serde_json::Map<String, serde_json::Value>);

impl Provider for Flags<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(FLAGS)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        figment::providers::Serialized::defaults(self.0).data()
    }
}

/// How a setting was named where its value was set.
pub(super) fn named(key: &str, origin: Option<&Metadata>, file: Option<&File>) -> String {
    match origin.map(|origin| &*origin.name) {
        Some(ENVIRONMENT) => variable(key),
        Some(FLAGS) if ["listen", "data_dir", "log"].contains(&key) => {
            format!("--{}", key.replace(['_', '.'], "-"))
        }
        _ => match file.and_then(|file| Some((file, file.lines.get(key)?))) {
            Some((file, line)) => format!("{}, line {line}: {key}", file.path.display()),
            None => key.to_owned(),
        },
    }
}

/// A value that has another type than its setting.
pub(super) fn refused(
    error: Error,
    settings: &Figment,
    file: Option<&File>,
    known: &BTreeMap<String, toml::Value>,
) -> String {
    let messages = error.into_iter().map(|error| {
        let path = error.path.join(".");
        // Of a list, the path goes on to the item.
        let whole = |key: &&String| {
            path.strip_prefix(&***key)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let list = known.keys().find(whole);
        let key = list.unwrap_or(&path).clone();
        let origin = error
            .metadata
            .clone()
            .or_else(|| settings.find_metadata(&key).cloned());
        let found = settings
            .find_value(&key)
            .ok()
            .filter(|_| !SECRETS.contains(&&*key));
        let found = found.map(|value| written(&value));
        let found = found.map_or_else(String::new, |value| format!(" = {value}"));
        let why = if SECRETS.contains(&&*key) {
            // The reason would repeat the value.
            "use text in quotes".to_owned()
        } else {
            let default = known.get(&key);
            match list {
                None => why(&error.kind, default),
                Some(_) => {
                    let first = default.and_then(|it| it.as_array()?.first());
                    let item = item(settings, &key, &path[key.len() + 1..]);
                    let item =
                        item.map_or_else(String::new, |it| format!(", not {}", written(&it)));
                    // A list that is empty by default is one of texts.
                    let text = toml::Value::from("");
                    why(&error.kind, Some(first.unwrap_or(&text))) + &item
                }
            }
        };
        format!("{}{found}: {why}", named(&key, origin.as_ref(), file))
    });
    messages.collect::<Vec<_>>().join("\n")
}

/// The item of a list at an index.
fn item(settings: &Figment, list: &str, index: &str) -> Option<Value> {
    let index: usize = index.parse().ok()?;
    let mut items = settings.find_value(list).ok()?.into_array()?;
    (index < items.len()).then(|| items.swap_remove(index))
}

/// What to do about a value, in words of who wrote it; `default` is the setting's, none for a table.
fn why(kind: &Kind, default: Option<&toml::Value>) -> String {
    let is_number = |actual: &Actual| matches!(actual, Actual::Signed(_) | Actual::Unsigned(_));
    let (actual, out_of_range) = match kind {
        Kind::Message(message) => return message.clone(),
        Kind::UnknownVariant(_, words) => return format!("use one of {}", words.join(", ")),
        Kind::InvalidType(actual, _) | Kind::InvalidValue(actual, _) => {
            (Some(actual), is_number(actual))
        }
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => (None, true),
        other => return other.to_string(),
    };
    let words = match default {
        Some(toml::Value::Integer(_)) if out_of_range && actual.is_none_or(is_number) => {
            "use a whole number that is not negative, and a smaller one"
        }
        Some(toml::Value::Integer(_)) => "use a whole number",
        Some(toml::Value::Float(_)) => "use a number",
        Some(toml::Value::Boolean(_)) => "use true or false",
        Some(toml::Value::Array(_)) => "use a list in brackets",
        Some(_) => "use text in quotes",
        None => "this is a table: write its name in brackets, and its settings below that",
    };
    words.to_owned()
}

/// A value as it may have been written.
fn written(value: &Value) -> String {
    match value {
        // JSON has no word for them.
        Value::Num(_, Num::F64(number)) if !number.is_finite() => number.to_string(),
        value => serde_json::to_string(value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_is_known() {
        for (name, value) in [
            ("PORT", "tcp://10.96.0.7:8000"),
            ("SERVICE_HOST", "10.96.0.7"),
            ("SERVICE_PORT", "8000"),
            ("SERVICE_PORT_HTTP", "8000"),
            ("SERVICE_PORT_HTTP_ALT", "8001"),
            ("PORT_8000_TCP", "tcp://10.96.0.7:8000"),
            ("PORT_8000_TCP_ADDR", "10.96.0.7"),
            ("PORT_8000_TCP_PORT", "8000"),
            ("PORT_8000_TCP_PROTO", "tcp"),
            ("PORT_53_UDP", "udp://10.96.0.7:53"),
            // Of a service `tollgate-worker`.
            ("WORKER_SERVICE_HOST", "10.96.0.8"),
            ("WORKER_SERVICE_PORT_METRICS", "9000"),
            ("WORKER_PORT", "tcp://10.96.0.8:9000"),
            ("WORKER_PORT_9000_TCP_PROTO", "tcp"),
        ] {
            assert!(is_of_kubernetes(name, value), "{name}");
        }
        for (name, value) in [
            ("PORT", "8000"),
            ("LISEN", "x"),
            ("HTTP_PORT", "80"),
            ("TCP", "1"),
        ] {
            assert!(!is_of_kubernetes(name, value), "{name}");
        }
    }

    #[test]
    fn a_value_has_the_type_of_its_setting() {
        let text = toml::Value::from("x");
        assert_eq!(typed("12345678", &text), Value::from("12345678"));
        assert_eq!(typed("7", &toml::Value::from(1.0)), Value::from(7.0));
        assert_eq!(typed("on", &toml::Value::from(true)), Value::from(true));
        let ports = toml::Value::from(vec![80]);
        for text in ["[80, 8443]", "80,8443"] {
            assert_eq!(
                typed(text, &ports),
                Value::from(vec![80_i64, 8443]),
                "{text}"
            );
        }
    }
}
