//! Small text helpers that more than one module needs. No domain rule belongs here.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::fmt::Write as _;

/// A text in Unicode's normal form KC: one spelling for what looks alike and means the same.
pub fn nfkc(text: &str) -> String {
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

/// A text as it is compared: normal form KC with full case folding, without what nobody sees.
///
/// Folding may make what decomposes again (the rare letters with an iota below), so both are repeated
/// until nothing changes: folding twice is folding once.
pub fn folded(text: &str) -> String {
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

/// `"Validate User Data"` → `"validate-user-data"`: letters and digits, single dashes between.
pub fn slugify(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slugify("Validate User Data"), "validate-user-data");
        assert_eq!(slugify("  --Ünïcode & more!! "), "n-code-more");
        assert_eq!(slugify("!!!"), "");
    }

    #[test]
    fn prefix_never_splits_a_character() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(prefix("aé", 3), "aé");
    }
}
