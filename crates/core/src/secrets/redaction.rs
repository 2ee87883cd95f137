//! Takes secrets out of what functions report.
//!
//! A function may keep a secret in a variable of its module and log it in a later call, so what
//! counts is what functions of an app were told in this process, not in this call. Must never be
//! taken for a promise: a function that encodes a secret gets it past this.
//!
//! Memory is bounded, so some is forgotten, which makes it no promise either. An app that is told
//! more than [`limits::REDACTED_BYTES`] forgets what it was told before; of one call with more than
//! that, the longest lines are left out. A site whose apps take more than
//! [`limits::REDACTED_MEMORY_SITE`] forgets its largest apps; no site makes another one forget.

use super::model::SecretValue;
use crate::ids::{AppId, SiteId};
use crate::json::JsonText;
use crate::limits;
use crate::ports::runtime::RunReport;
use daachorse::DoubleArrayAhoCorasick;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Finds texts in one pass.
type Finder = DoubleArrayAhoCorasick<u32>;

/// What functions were told, by app.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashMap<SiteId, Apps>>);

/// What functions of one site's apps were told.
type Apps = HashMap<AppId, Arc<Texts>>;

/// What functions of one app were told. Never changed but replaced, so that nobody waits for a
/// finder that is being built.
struct Texts {
    texts: BTreeSet<String>,
    /// How long they are together.
    bytes: usize,
    finder: Option<Finder>,
    /// Bytes that all of it takes.
    memory: usize,
}

impl Told {
    /// Remembers values that a function of this app was told.
    pub(super) async fn note<'v>(
        self: &Arc<Self>,
        site: SiteId,
        app: AppId,
        values: impl Iterator<Item = &'v SecretValue>,
    ) {
        let new = shortest(values.flat_map(|value| spellings(value.json())).collect());
        let old = self.of(site, app);
        let known = old.as_deref().map_or(0, |texts| texts.bytes);
        if old.is_some_and(|texts| new.is_subset(&texts.texts)) {
            return;
        }
        if known + bytes(&new) <= limits::REDACTED_BYTES_INLINE {
            return self.remember(site, app, &new);
        }
        // To prepare for so many takes a while, in which this thread serves others.
        let told = Arc::clone(self);
        let remembered = tokio::task::spawn_blocking(move || told.remember(site, app, &new));
        if let Err(error) = remembered.await {
            tracing::error!(%error, "redaction.not_remembered");
        }
    }

    fn remember(&self, site: SiteId, app: AppId, new: &BTreeSet<String>) {
        loop {
            let old = self.of(site, app);
            let Some(texts) = Texts::with(old.as_deref(), new) else {
                return;
            };
            // Whoever fails starts again from what another call has noted meanwhile.
            if self.replace(site, app, old.as_ref(), texts) {
                return;
            }
        }
    }

    fn of(&self, site: SiteId, app: AppId) -> Option<Arc<Texts>> {
        self.0.lock().get(&site)?.get(&app).cloned()
    }

    /// Puts texts in place of those they were made from, if these are still there.
    fn replace(&self, site: SiteId, app: AppId, old: Option<&Arc<Texts>>, texts: Texts) -> bool {
        let mut sites = self.0.lock();
        let apps = sites.entry(site).or_default();
        if apps.get(&app).map(Arc::as_ptr) != old.map(Arc::as_ptr) {
            return false;
        }
        apps.insert(app, Arc::new(texts));
        forget(apps, app);
        true
    }

    /// Takes those values out of log lines, of a failure, and of a refusal's reasons. What a
    /// function returns otherwise is its own business, and may hold a word that is also a secret.
    pub(super) fn redact(&self, site: SiteId, app: AppId, report: &mut RunReport) {
        let texts = self.of(site, app);
        let Some(finder) = texts.as_deref().and_then(|texts| texts.finder.as_ref()) else {
            return;
        };
        for line in &mut report.logs {
            mask(finder, &mut line.message);
        }
        match &mut report.result {
            Err(failure) => {
                mask(finder, &mut failure.message);
                if let Some(traceback) = &mut failure.traceback {
                    mask(finder, traceback);
                }
            }
            Ok(result) if is_match(finder, result.as_str()) => {
                if let Some(refusal) = masked_refusal(finder, result) {
                    *result = refusal;
                }
            }
            Ok(_) => {}
        }
    }
}

impl Texts {
    /// The old ones and the new ones; none if no new one is new.
    fn with(old: Option<&Self>, new: &BTreeSet<String>) -> Option<Self> {
        let none = BTreeSet::new();
        let old = old.map_or(&none, |old| &old.texts);
        if new.is_subset(old) {
            return None;
        }
        let mut texts = old | new;
        if bytes(&texts) > limits::REDACTED_BYTES {
            // The old ones are what secrets held that are changed all the time.
            texts.clone_from(new);
        }
        let finder = finder(&texts);
        let text = |text: &String| size_of::<String>() + text.len();
        let memory =
            texts.iter().map(text).sum::<usize>() + finder.as_ref().map_or(0, Finder::heap_bytes);
        Some(Self {
            bytes: bytes(&texts),
            texts,
            finder,
            memory,
        })
    }
}

fn bytes(texts: &BTreeSet<String>) -> usize {
    texts.iter().map(String::len).sum()
}

/// As many texts as one app may have, the shortest before all others: passwords and keys are short.
fn shortest(texts: BTreeSet<String>) -> BTreeSet<String> {
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort_by_key(String::len);
    let mut bytes = 0;
    let fits = |text: &String| {
        bytes += text.len();
        bytes <= limits::REDACTED_BYTES
    };
    texts.into_iter().take_while(fits).collect()
}

/// Keeps a site within its memory: forgets the largest of its apps, but not this one.
fn forget(apps: &mut Apps, newest: AppId) {
    let mut total: usize = apps.values().map(|texts| texts.memory).sum();
    while total > limits::REDACTED_MEMORY_SITE {
        let others = apps.iter().filter(|(app, _)| **app != newest);
        let Some((&app, texts)) = others.max_by_key(|(_, texts)| texts.memory) else {
            return;
        };
        total -= texts.memory;
        apps.remove(&app);
    }
}

/// What of a result says whether it is a refusal.
#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow)]
    success: Option<&'a RawValue>,
}

/// The result without the values, if it is a refusal: its reasons are shown to others.
fn masked_refusal(finder: &Finder, result: &JsonText) -> Option<JsonText> {
    let outcome: Outcome<'_> = result.read().ok()?;
    let refused = outcome
        .success
        .is_some_and(|success| success.get() == "false");
    JsonText::parse(masked_texts(finder, result.as_str()).filter(|_| refused)?).ok()
}

/// A JSON text in which every string is masked, names included. It stays text: as a tree it could be
/// a hundred times as large.
fn masked_texts(finder: &Finder, json: &str) -> Option<String> {
    let mut masked = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        let (string, after) = from.split_at(length_of_string(from)?);
        let mut text: String = serde_json::from_str(string).ok()?;
        mask(finder, &mut text);
        masked.push_str(before);
        masked.push_str(&Value::String(text).to_string());
        rest = after;
    }
    masked.push_str(rest);
    Some(masked)
}

/// How long the string is with which a text begins, quotes included.
fn length_of_string(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

/// Masks all that is found anywhere; what touches or overlaps is one.
///
/// One pass, whatever the texts are: at each place only the longest that ends there is looked at,
/// since the others that end there lie in it.
fn mask(finder: &Finder, text: &mut String) {
    let mut spans: Vec<Range<usize>> = Vec::new();
    // In the order of their ends.
    for found in finder.find_overlapping_no_suffix_iter(text.as_str()) {
        let mut start = found.start();
        while let Some(last) = spans.pop_if(|last| last.end >= start) {
            start = start.min(last.start);
        }
        spans.push(start..found.end());
    }
    let mut masked = String::new();
    let mut end = 0;
    for span in &spans {
        masked.push_str(&text[end..span.start]);
        masked.push_str(MASK);
        end = span.end;
    }
    if end > 0 {
        masked.push_str(&text[end..]);
        *text = masked;
    }
}

fn finder(texts: &BTreeSet<String>) -> Option<Finder> {
    // Too large for the library is far above the bound.
    Finder::new(texts).ok()
}

fn is_match(finder: &Finder, text: &str) -> bool {
    finder
        .find_overlapping_no_suffix_iter(text)
        .next()
        .is_some()
}

/// How a value may look in a log: each of its texts, line by line, plain and escaped.
fn spellings(json: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(json) {
        collect(&value, &mut found);
    }
    found
}

/// A line in pieces of bounded length: who is told a long text may log a part of it.
fn pieces(line: &str) -> impl Iterator<Item = String> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let piece = match rest.len() {
            0 => return None,
            // The last one is never so short that it stands everywhere.
            length if length <= 2 * limits::REDACTED_PIECE_BYTES => rest,
            _ => crate::text::prefix(rest, limits::REDACTED_PIECE_BYTES),
        };
        rest = &rest[piece.len()..];
        Some(piece.to_owned())
    })
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            for line in text.lines().map(str::trim) {
                if line.chars().count() < limits::REDACTED_CHARS_MIN {
                    continue;
                }
                found.extend(pieces(line));
                // As `repr` and JSON write it.
                let quoted = Value::String(line.to_owned()).to_string();
                let escaped = &quoted[1..quoted.len() - 1];
                if escaped != line {
                    found.extend(pieces(escaped));
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
    use crate::invocations::LogLine;
    use crate::tasks::{Failure, FailureKind};
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
        told.remember(
            site,
            app,
            &shortest(spellings(value.json()).into_iter().collect()),
        );
    }

    #[tokio::test]
    async fn many_texts_are_remembered_when_it_returns_as_few_are() {
        let told = Arc::new(Told::default());
        for value in [json!("sk_live_12345678"), much("long").remove(0)] {
            let secret = SecretValue::of(Revealed::new(value.to_string().into_bytes())).unwrap();
            told.note(HERE.0, HERE.1, std::iter::once(&secret)).await;
            assert_eq!(logged(&told, value.as_str().unwrap()), MASK);
        }
    }

    /// All that is found anywhere, in the plainest way.
    fn masked_plainly(texts: &BTreeSet<String>, text: &str) -> String {
        let mut hidden = vec![false; text.len() + 1];
        for secret in texts {
            for at in 0..text.len() {
                if text.as_bytes()[at..].starts_with(secret.as_bytes()) {
                    hidden[at..at + secret.len()].fill(true);
                }
            }
        }
        // What touches is one; so it is where nothing is shown between two.
        let mut shown = String::new();
        for (at, character) in text.char_indices() {
            if !hidden[at] {
                shown.push(character);
            } else if at == 0 || !hidden[at - 1] {
                shown.push_str(MASK);
            }
        }
        shown
    }

    /// Numbers that look random and are the same each time.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        }
    }

    #[test]
    fn what_is_masked_is_what_a_plain_search_finds() {
        let mut number = numbers();
        for _ in 0..500 {
            let mut word = |letters: usize, most: usize| -> String {
                let length = 8 + number(most);
                (0..length)
                    .map(|_| ['a', 'b', 'é', '\n'][number(letters)])
                    .collect()
            };
            // Two letters: one text in another, overlaps and repetitions everywhere.
            let secrets: Vec<Value> = (0..6).map(|_| json!(word(2, 12))).collect();
            let text = word(3, 300);
            let told = told(&secrets);
            let texts = &told.of(HERE.0, HERE.1).unwrap().texts;
            assert_eq!(
                logged(&told, &text),
                masked_plainly(texts, &text),
                "{secrets:?}"
            );
        }
    }

    /// Every line, of every length, ends where each other one ends: what made the time for a text the
    /// product of its length and theirs. Counted are the places that the finder stops at.
    #[test]
    fn the_work_grows_with_the_text_alone() {
        let lines: Vec<String> = (8..=256).map(|length| "a".repeat(length)).collect();
        let told = told(&[json!(lines.join("\n"))]);
        let texts = told.of(HERE.0, HERE.1).unwrap();
        let finder = texts.finder.as_ref().unwrap();
        for length in [10_000, 100_000, 1_000_000] {
            let text = "a".repeat(length);
            let stops = finder.find_overlapping_no_suffix_iter(&text).count();
            assert!(stops <= length, "{stops} stops in {length} bytes");
            assert_eq!(logged(&told, &text), MASK);
        }
        // Neither does what is prepared: one long text before each of theirs.
        let heads = (0..1_000).map(|number| format!("{number:04}{}", "a".repeat(250)));
        let all: BTreeSet<String> = heads.chain(lines).collect();
        let memory = finder_of(&all).heap_bytes();
        assert!(memory <= 32 * bytes(&all), "{memory}");
    }

    fn finder_of(texts: &BTreeSet<String>) -> Finder {
        finder(texts).unwrap()
    }

    fn memory(told: &Told, site: SiteId) -> usize {
        let sites = told.0.lock();
        sites[&site].values().map(|texts| texts.memory).sum()
    }

    fn logged(told: &Told, message: &str) -> String {
        masked(told, HERE, message)
    }

    fn masked(told: &Told, (site, app): (SiteId, AppId), message: &str) -> String {
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
        told.redact(site, app, &mut report);
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

    /// As many texts as an app may have remembered, and some more.
    fn much(name: &str) -> Vec<Value> {
        let count = limits::REDACTED_BYTES / limits::SECRET_BYTES + 2;
        let long = |number: usize| -> String {
            let parts = 0..limits::SECRET_BYTES / 16 - 10;
            parts.map(|part| format!("{number:04}{part:012}")).collect()
        };
        (0..count)
            .map(|number| json!(format!("{name}-{number}-{}", long(number))))
            .collect()
    }

    #[test]
    fn apps_are_apart_and_the_newest_values_stay() {
        let told = told(&[json!("of this app here")]);
        tell(&told, (SiteId(1), AppId(3)), &json!("of another app"));
        assert_eq!(logged(&told, "of another app"), "of another app");
        // Ever new values: the old ones go, the newest stays.
        for value in much("new") {
            tell(&told, HERE, &value);
            let text = value.as_str().unwrap();
            assert_eq!(logged(&told, text), MASK);
        }
        assert_eq!(logged(&told, "of this app here"), "of this app here");
        assert!(memory(&told, HERE.0) <= limits::REDACTED_MEMORY_SITE);
    }

    #[test]
    fn one_call_takes_bounded_memory() {
        let told = told(&[]);
        let mut values = much("all");
        values.push(json!("sk_live_12345678"));
        tell(&told, HERE, &Value::Array(values));
        let memory = memory(&told, HERE.0);
        assert!(memory <= limits::REDACTED_MEMORY_SITE, "{memory}");
        // The shortest are remembered before all others.
        assert_eq!(logged(&told, "key=sk_live_12345678"), "key=***");
    }

    #[test]
    fn a_long_text_is_found_whole_and_in_time_that_grows_with_its_length() {
        let (short, long) = ("a".repeat(8), "a".repeat(60_000) + "b");
        let mixed = "é\u{1F600}xyz".repeat(5_000);
        let told = told(&[json!(short), json!(long), json!(mixed)]);
        for text in [&short, &long, &mixed] {
            assert_eq!(logged(&told, &format!("<{text}>")), "<***>");
        }
        let texts = told.of(HERE.0, HERE.1).unwrap();
        let longest = texts.texts.iter().map(String::len).max();
        assert!(
            longest <= Some(2 * limits::REDACTED_PIECE_BYTES),
            "{longest:?}"
        );
    }

    #[test]
    fn a_site_makes_only_itself_forget() {
        let told = told(&[json!("sk_live_12345678")]);
        let site = SiteId(2);
        tell(&told, (site, AppId(9)), &json!("small and kept"));
        for app in 0..5 {
            // Less than an app may have, and together more than a site may.
            let values = Value::Array(much("big").split_off(4));
            tell(&told, (site, AppId(app)), &values);
            assert!(memory(&told, site) <= limits::REDACTED_MEMORY_SITE);
        }
        assert_eq!(logged(&told, "sk_live_12345678"), MASK);
        let kept = |app| masked(&told, (site, app), "small and kept") == MASK;
        assert!(kept(AppId(9)), "the largest go first");
        let text = much("big")[4].as_str().unwrap().to_owned();
        assert_eq!(masked(&told, (site, AppId(4)), &text), MASK, "the newest");
        let left = (0..5).filter(|app| masked(&told, (site, AppId(*app)), &text) == MASK);
        assert!(left.count() < 5, "some went");
    }

    #[test]
    fn nothing_is_noted_in_a_place_that_is_gone() {
        let told = told(&[json!("of this app here")]);
        let (site, app) = HERE;
        let old = told.of(site, app);
        let late = || {
            let new = BTreeSet::from(["comes too late".to_owned()]);
            Texts::with(old.as_deref(), &new).unwrap()
        };
        tell(&told, HERE, &json!("noted meanwhile"));
        assert!(!told.replace(site, app, old.as_ref(), late()));
        assert_eq!(logged(&told, "noted meanwhile"), MASK);
        told.0.lock().clear();
        assert!(!told.replace(site, app, old.as_ref(), late()));
        assert!(told.replace(site, app, None, late()));
        assert_eq!(logged(&told, "comes too late"), MASK);
    }

    #[test]
    fn what_is_noted_at_the_same_time_is_all_kept() {
        let told = Told::default();
        let text = |thread: u32, number: u32| format!("secret {thread}-{number}!");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let told = &told;
                scope.spawn(move || {
                    (0..20).for_each(|number| tell(told, HERE, &json!(text(thread, number))));
                });
            }
        });
        for (thread, number) in (0..4).flat_map(|thread| (0..20).map(move |n| (thread, n))) {
            assert_eq!(logged(&told, &text(thread, number)), MASK);
        }
    }
}
