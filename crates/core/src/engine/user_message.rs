//! What the end user reads of a refusal, in their language. The function's own reason is for the log then.

use crate::{limits, text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A text, or texts by language tag (RFC 5646).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UserMessage {
    /// The same for everybody.
    Text(String),
    /// By lower-case tag; never empty.
    ByLanguage(BTreeMap<String, String>),
}

/// The language of those whose own is not among the texts.
const FALLBACK: &str = "en";
/// What stands for a message that cannot be shown.
const NOTHING_SAID: &str = "The operation was refused";

impl UserMessage {
    /// Reads what a function returned; none for `null`. What says nothing, or cannot be shown, was meant for the
    /// user all the same: the reason is not told in its place. Each text is cut to
    /// [`limits::VERDICT_MESSAGE_BYTES`], and [`limits::USER_MESSAGE_LANGUAGES`] are kept.
    pub(super) fn of(raw: &RawValue) -> Option<Self> {
        let is_short = raw.get().len() <= limits::USER_MESSAGE_BYTES;
        let value = is_short.then(|| serde_json::from_str(raw.get()).ok());
        let said = match value.flatten() {
            Some(Value::Null) => return None,
            Some(Value::String(text)) => said(&text).map(Self::Text),
            Some(Value::Object(texts)) => {
                let said = |(tag, text): (String, Value)| {
                    Some((tag.to_ascii_lowercase(), said(text.as_str()?)?))
                };
                let texts = texts.into_iter().filter_map(said);
                let texts: BTreeMap<_, _> = texts.take(limits::USER_MESSAGE_LANGUAGES).collect();
                (!texts.is_empty()).then_some(Self::ByLanguage(texts))
            }
            Some(other) => said(&other.to_string()).map(Self::Text),
            None => None,
        };
        Some(said.unwrap_or_else(|| Self::Text(NOTHING_SAID.to_owned())))
    }

    /// The text in the first of the wanted languages that there is: the tag itself, or what it begins with.
    pub fn in_language(&self, wanted: &[String]) -> &str {
        let texts = match self {
            Self::Text(text) => return text,
            Self::ByLanguage(texts) => texts,
        };
        // The tag without its last part, and so on (RFC 4647, section 3.4); then whatever is of the language.
        let of_tag = |tag: &str| {
            let shorter = |tag: &&str| tag.rsplit_once('-').map(|(begin, _)| begin.len());
            let tags = std::iter::successors(Some(tag), |it| Some(&tag[..shorter(it)?]));
            let language = tag.split('-').next();
            let same = |known: &str| known.split(['-', '_']).next() == language;
            let exact = tags.into_iter().find_map(|it| texts.get(it));
            exact.or_else(|| texts.iter().find(|it| same(it.0)).map(|it| it.1))
        };
        let wanted = wanted.iter().map(String::as_str).chain([FALLBACK]);
        let found = wanted.into_iter().find_map(of_tag);
        found.or_else(|| texts.values().next()).map_or("", |it| it)
    }
}

fn said(text: &str) -> Option<String> {
    let cut = text::prefix(text, limits::VERDICT_MESSAGE_BYTES);
    (!cut.trim().is_empty()).then(|| cut.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Option<UserMessage> {
        let raw = RawValue::from_string(value.to_string()).unwrap();
        UserMessage::of(&raw)
    }

    #[test]
    fn the_language_that_is_asked_for_wins() {
        let texts = of(json!({"de": "Nein", "en": "No", "pt-BR": "Não", "x": 1})).unwrap();
        let told = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|it| (*it).to_owned()).collect();
            texts.in_language(&wanted).to_owned()
        };
        for (wanted, expected) in [
            (&["de-at", "en"][..], "Nein"),
            (&["pt"], "Não"),
            (&["pt-br"], "Não"),
            (&["ja", "de"], "Nein"),
            (&["ja"], "No"),
            (&[], "No"),
        ] {
            assert_eq!(told(wanted), expected, "{wanted:?}");
        }
        let only = of(json!({"fr": "Non"})).unwrap();
        assert_eq!(only.in_language(&["de".to_owned()]), "Non");
    }

    #[test]
    fn what_says_nothing_or_cannot_be_shown_hides_the_reason() {
        assert_eq!(of(json!(null)), None);
        for nothing in [json!(""), json!("  "), json!({}), json!({"de": 1})] {
            let told = of(nothing.clone()).unwrap();
            assert_eq!(told.in_language(&[]), NOTHING_SAID, "{nothing}");
        }
        let variants = of(json!({"zh-Hans": "simple", "zh-Hant": "old"})).unwrap();
        assert_eq!(variants.in_language(&["zh-hant-tw".to_owned()]), "old");
        assert_eq!(of(json!(7)), Some(UserMessage::Text("7".to_owned())));
        let vast = of(json!("x".repeat(limits::USER_MESSAGE_BYTES))).unwrap();
        assert_eq!(vast.in_language(&[]), NOTHING_SAID);
    }
}
