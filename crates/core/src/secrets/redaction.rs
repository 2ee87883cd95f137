//! Takes secrets out of what functions report.
//!
//! A function may keep a secret in a variable of its module and log it in a later call, so what
//! counts is what functions of an app were told in this process, not in this call. Must never be
//! taken for a promise: a function that encodes a secret gets it past this.

use super::model::SecretValue;
use crate::ids::{AppId, SiteId};
use crate::json::JsonText;
use crate::limits;
use crate::ports::runtime::RunReport;
use aho_corasick::{AhoCorasick, MatchKind};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What stands in a secret's place.
const MASK: &str = "***";

/// What functions were told, by app.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashMap<(SiteId, AppId), App>>);

/// What functions of one app were told.
#[derive(Clone, Default)]
struct App(Arc<Mutex<Texts>>);

#[derive(Default)]
struct Texts {
    texts: BTreeSet<String>,
    bytes: usize,
    finder: Option<Arc<AhoCorasick>>,
}

impl Told {
    /// Remembers values that a function of this app was told.
    pub(super) fn note<'v>(
        &self,
        site: SiteId,
        app: AppId,
        values: impl Iterator<Item = &'v SecretValue>,
    ) {
        let texts: Vec<String> = values.flat_map(|value| spellings(value.json())).collect();
        if texts.is_empty() {
            return;
        }
        let of = self.0.lock().entry((site, app)).or_default().clone();
        if !of.0.lock().add(texts) {
            return;
        }
        let mut apps = self.0.lock();
        let total: usize = apps.values().map(|app| app.0.lock().bytes).sum();
        if total > limits::REDACTED_BYTES_TOTAL {
            apps.clear();
            apps.insert((site, app), of);
        }
    }

    /// Takes those values out of log lines, of a failure, and of a refusal's reasons. What a
    /// function returns otherwise is its own business, and may hold a word that is also a secret.
    pub(super) fn redact(&self, site: SiteId, app: AppId, report: &mut RunReport) {
        let app = self.0.lock().get(&(site, app)).cloned();
        let Some(finder) = app.and_then(|app| app.0.lock().finder.clone()) else {
            return;
        };
        for line in &mut report.logs {
            mask(&finder, &mut line.message);
        }
        match &mut report.result {
            Err(failure) => {
                mask(&finder, &mut failure.message);
                if let Some(traceback) = &mut failure.traceback {
                    mask(&finder, traceback);
                }
            }
            Ok(result) if finder.is_match(result.as_str()) => {
                if let Some(refusal) = masked_refusal(&finder, result) {
                    *result = refusal;
                }
            }
            Ok(_) => {}
        }
    }
}

impl Texts {
    /// Adds texts; tells whether any is new.
    fn add(&mut self, texts: Vec<String>) -> bool {
        if texts.iter().all(|text| self.texts.contains(text)) {
            return false;
        }
        if self.bytes > limits::REDACTED_BYTES {
            // What secrets held that are changed all the time.
            self.texts.clear();
        }
        self.texts.extend(texts);
        self.bytes = self.texts.iter().map(String::len).sum();
        self.finder = finder(&self.texts);
        true
    }
}

/// The result without the values, if it is a refusal: its reasons are shown to others.
fn masked_refusal(finder: &AhoCorasick, result: &JsonText) -> Option<JsonText> {
    let mut value: Value = serde_json::from_str(result.as_str()).ok()?;
    if value.get("success") != Some(&Value::Bool(false)) {
        return None;
    }
    mask_all(finder, &mut value);
    JsonText::of(&value).ok()
}

fn mask_all(finder: &AhoCorasick, value: &mut Value) {
    match value {
        Value::String(text) => mask(finder, text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_all(finder, item)),
        Value::Object(fields) => fields.values_mut().for_each(|item| mask_all(finder, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn mask(finder: &AhoCorasick, text: &mut String) {
    if finder.is_match(text.as_str()) {
        let masks = vec![MASK; finder.patterns_len()];
        *text = finder.replace_all(text, &masks);
    }
}

fn finder(texts: &BTreeSet<String>) -> Option<Arc<AhoCorasick>> {
    let built = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(texts);
    // Too large for the library is far above the bound.
    built.map(Arc::new).ok()
}

/// How a value may look in a log: each of its texts, line by line, plain and escaped.
fn spellings(json: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(json) {
        collect(&value, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            for line in text.lines().map(str::trim) {
                if line.chars().count() < limits::REDACTED_CHARS_MIN {
                    continue;
                }
                found.push(line.to_owned());
                // As `repr` and JSON write it.
                let quoted = Value::String(line.to_owned()).to_string();
                let escaped = &quoted[1..quoted.len() - 1];
                if escaped != line {
                    found.push(escaped.to_owned());
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::{Failure, FailureKind, LogLine};
    use crate::time::Timestamp;
    use crate::vault::Revealed;
    use serde_json::json;

    const HERE: (SiteId, AppId) = (SiteId(1), AppId(2));

    fn told(values: &[Value]) -> Told {
        let told = Told::default();
        for value in values {
            tell(&told, HERE, value);
        }
        told
    }

    fn tell(told: &Told, (site, app): (SiteId, AppId), value: &Value) {
        let value = SecretValue::of(Revealed::new(value.to_string().into_bytes())).unwrap();
        told.note(site, app, std::iter::once(&value));
    }

    fn logged(told: &Told, message: &str) -> String {
        let mut report = RunReport {
            result: Ok(JsonText::null()),
            logs: vec![LogLine {
                timestamp: Timestamp::from_micros(0),
                level: "INFO".into(),
                logger: "function".into(),
                message: message.to_owned(),
            }],
            worker: String::new(),
        };
        told.redact(HERE.0, HERE.1, &mut report);
        report.logs.remove(0).message
    }

    #[test]
    fn values_are_taken_out_in_every_plain_spelling() {
        let told = told(&[
            json!("sk_live_12345678"),
            json!("sk_live_1234"),
            json!("first line of it\nsecond \"line\" é"),
            json!({"user": "postgres-admin", "deep": [{"password": "hunter2hunter2"}]}),
            json!("short"),
        ]);
        for (message, masked) in [
            ("key=sk_live_12345678!", "key=***!"),
            ("sk_live_1234 sk_live_123", "*** sk_live_123"),
            ("'first line of it\\nsecond \\\"line\\\" é'", "'***\\n***'"),
            ("second \"line\" é", "***"),
            ("postgres-admin:hunter2hunter2@db", "***:***@db"),
            ("a short word stays", "a short word stays"),
        ] {
            assert_eq!(logged(&told, message), masked);
        }
    }

    #[test]
    fn failures_and_refusals_are_masked_and_results_are_not() {
        let told = told(&[json!("sk_live_12345678")]);
        let after = |result| {
            let mut report = RunReport {
                result,
                logs: Vec::new(),
                worker: String::new(),
            };
            told.redact(HERE.0, HERE.1, &mut report);
            report.result
        };
        let failure = Failure::new(FailureKind::Exception, "bad sk_live_12345678")
            .with_traceback("call('sk_live_12345678')");
        let failure = after(Err(failure)).unwrap_err();
        assert_eq!(failure.message, "bad ***");
        assert_eq!(failure.traceback.as_deref(), Some("call('***')"));
        let json = |value: Value| Ok(JsonText::of(&value).unwrap());
        let refusal = json!({"success": false, "error": "sk_live_12345678", "errors": [{"a": "sk_live_12345678"}]});
        let refusal = after(json(refusal)).unwrap();
        assert!(
            !refusal.as_str().contains("sk_live"),
            "{}",
            refusal.as_str()
        );
        let result = json!({"success": true, "key": "sk_live_12345678"});
        assert!(
            after(json(result))
                .unwrap()
                .as_str()
                .contains("sk_live_12345678")
        );
    }

    #[test]
    fn apps_are_apart_and_memory_is_bounded() {
        let told = told(&[json!("of this app here")]);
        tell(&told, (SiteId(1), AppId(3)), &json!("of another app"));
        assert_eq!(logged(&told, "of another app"), "of another app");
        // Ever new values: the old ones go, the newest stays.
        let long = "x".repeat(limits::SECRET_BYTES / 2);
        for number in 0..80 {
            tell(&told, HERE, &json!(format!("{number}-{long}")));
        }
        assert_eq!(logged(&told, &format!("79-{long}")), MASK);
        let bytes = told.0.lock()[&HERE].0.lock().bytes;
        assert!(
            bytes <= limits::REDACTED_BYTES + limits::SECRET_BYTES,
            "{bytes}"
        );
    }
}
