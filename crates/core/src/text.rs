//! Small text helpers that more than one module needs. No domain rule belongs here.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::fmt::Write as _;
use std::time::Duration;

/// A text in Unicode's normal form KC: one spelling for what looks alike and means the same.
pub fn nfkc(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

/// A text as it is compared: normal form KC with full case folding, without what nobody sees.
///
/// Folding may make what decomposes again (the rare letters with an iota below), so both are repeated
/// until nothing changes: folding twice is folding once.
pub fn folded(text: &str) -> String {
    // Most names are plain, and need no tables.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_ascii_lowercase();
    }
    folded_by_tables(text)
}

fn folded_by_tables(text: &str) -> String {
    let (fold, apart) = (CaseMapper::new(), DecomposingNormalizer::new_nfkd());
    let seen: String = apart
        .normalize(text)
        .chars()
        .filter(|c| !is_unseen(*c))
        .collect();
    let mut text = apart.normalize(&seen).into_owned();
    loop {
        let again = apart.normalize(&fold.fold_string(&text)).into_owned();
        if again == text {
            return nfkc(&text);
        }
        text = again;
    }
}

/// Control and format characters (Cc, Cf): they show nothing and change how the rest is shown.
pub fn is_control_or_format(c: char) -> bool {
    use GeneralCategory::{Control, Format};
    matches!(category(c), Control | Format)
}

/// What shows nothing by itself: control and format characters, fillers, selectors of a glyph.
pub fn is_unseen(c: char) -> bool {
    is_control_or_format(c) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// What Unicode gives no meaning, or leaves to private agreement.
pub fn is_meaningless(c: char) -> bool {
    use GeneralCategory::{PrivateUse, Surrogate, Unassigned};
    matches!(category(c), PrivateUse | Surrogate | Unassigned)
}

/// What joins the character before it.
pub fn is_mark(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    matches!(category(c), NonspacingMark | SpacingMark | EnclosingMark)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// What to say of the first character of a text that must not stand there.
pub fn unwanted(text: &str, is_unwanted: impl Fn(char) -> bool) -> Option<String> {
    let found = text.chars().find(|c| is_unwanted(*c))?;
    Some(format!(
        "Remove the character U+{:04X}: control and format characters are not allowed",
        u32::from(found)
    ))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The longest prefix of `text` of at most `max_bytes` that ends between characters.
pub fn prefix(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A span of time as people write it: `250ms`, `1.5s`, `300s`. Measured spans are a hair beside what was
/// set, so they are rounded.
pub fn span(duration: Duration) -> String {
    let millis = duration.as_nanos().saturating_add(500_000) / 1_000_000;
    let tenths = duration.as_nanos().saturating_add(50_000_000) / 100_000_000;
    match (millis, tenths) {
        (0, _) if duration.is_zero() => "0s".to_owned(),
        (0, _) => "1ms".to_owned(),
        (..1000, _) => format!("{millis}ms"),
        (_, ..600) if !tenths.is_multiple_of(10) => format!("{}.{}s", tenths / 10, tenths % 10),
        _ => format!("{}s", (tenths + 5) / 10),
    }
}

/// A wait in whole seconds, never shorter than it is: `1 second`, `12 seconds`.
pub fn seconds(wait: Duration) -> String {
    match whole_seconds(wait) {
        1 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

/// A wait in whole seconds, never shorter than it is and at least one.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// `"Üñïcode App"` → `"unicode-app"`, as Django's `slugify` does it: letters lose their marks, what is
/// then not ASCII or neither letter, digit, `_`, `-` nor blank is left out, and blanks and dashes
/// become single dashes.
pub fn slugify(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in DecomposingNormalizer::new_nfkd()
        .normalize(name)
        .chars()
        .filter(char::is_ascii)
    {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c.to_ascii_lowercase());
        } else if (c == '-' || is_blank(c)) && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches(['-', '_']).to_owned()
}

/// What Python's `\s` takes for a blank, of ASCII.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r' | '\x1c'..='\x1f')
}

/// The word of `words` that `word` was most likely meant to be, if one is near enough.
pub fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = |candidate: &'a str| {
        let (known, given) = (candidate.chars().count(), word.chars().count());
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        // A third of the letters may be wrong, and a beginning may be all that is there.
        let starts = given >= 3 && candidate.to_lowercase().starts_with(&word);
        (starts || distance * 3 <= known.max(given)).then_some((distance, candidate))
    };
    // Longer texts are nobody's slip, and comparing them costs their length squared.
    let short = word.chars().count() <= SLIP_CHARS;
    let found = words.into_iter().filter(|_| short);
    let nearest = found.filter_map(near).min_by_key(|it| it.0);
    nearest.map(|it| it.1)
}

/// Longest word for which [`did_you_mean`] looks.
const SLIP_CHARS: usize = 64;

/// Gives an enum the word that stands for each of its values, in SQL and on the wire.
macro_rules! text_enum {
    ($name:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl $name {
            /// All of them, in their order.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The word used in SQL and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of a stored or received word.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_folded_as_the_tables_do() {
        let plain: String = (' '..='~').collect();
        assert_eq!(folded(&plain), folded_by_tables(&plain));
        assert_eq!(
            nfkc(&plain),
            ComposingNormalizer::new_nfkc().normalize(&plain)
        );
        // What nobody sees is no part of it.
        assert_eq!(folded("A\tB\x7f"), "ab");
    }

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slugify("Validate User Data"), "validate-user-data");
        assert_eq!(slugify("!!!"), "");
    }

    /// What Django 5's `slugify` gives.
    #[test]
    fn slugs_are_made_of_unicode_names_as_django_does() {
        for (name, slug) in [
            ("Üñïcode App", "unicode-app"),
            ("  --Ünïcode & more!! ", "unicode-more"),
            ("Ann's App", "anns-app"),
            ("v1.2 (beta)", "v12-beta"),
            ("my_func", "my_func"),
            ("__init__", "init"),
            ("a - b -- c", "a-b-c"),
            ("ﬁona", "fiona"),
            ("ｆｕｌｌ　ｗｉｄｔｈ", "full-width"),
            ("e\u{301}te\u{301}", "ete"),
            ("Straße", "strae"),
            ("½ cup", "12-cup"),
            ("日本語", ""),
            ("日本語 app", "app"),
            ("a\u{a0}b", "a-b"),
            ("a\nb\u{b}c", "a-b-c"),
        ] {
            assert_eq!(slugify(name), slug, "{name}");
            assert_eq!(slugify(slug), slug, "a slug is its own");
        }
    }

    #[test]
    fn spans_are_rounded() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (249_999_999, "250ms"),
            (999_700_000, "1s"),
            (1_500_000_000, "1.5s"),
            (4_999_999_000, "5s"),
            (59_960_000_000, "60s"),
            (299_999_999_999, "300s"),
            (300_000_000_001, "300s"),
        ] {
            assert_eq!(span(Duration::from_nanos(nanos)), text, "{nanos}");
        }
        assert_eq!(seconds(Duration::from_millis(200)), "1 second");
        assert_eq!(seconds(Duration::from_millis(2200)), "3 seconds");
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let words = ["is_active", "is_staff", "username", "email"];
        for (word, meant) in [
            ("is_activ", Some("is_active")),
            ("isactive", Some("is_active")),
            ("usrename", Some("username")),
            ("USERNAME", Some("username")),
            ("e-mail", Some("email")),
            ("user", Some("username")),
            ("plan", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, words), meant, "{word}");
        }
        assert_eq!(did_you_mean(&"a".repeat(1_000_000), words), None);
    }

    #[test]
    fn prefix_never_splits_a_character() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(prefix("aé", 3), "aé");
    }
}
