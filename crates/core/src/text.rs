//! Small text helpers that more than one module needs. No domain rule belongs here.

use std::fmt::Write as _;

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

/// The word of `words` that `word` was most likely meant to be, if one is near enough.
pub fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = |candidate: &&'a str| {
        let (known, given) = (candidate.chars().count(), word.chars().count());
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        // A third of the letters may be wrong, and a beginning may be all that is there.
        let starts = given >= 3 && candidate.to_lowercase().starts_with(&word);
        (starts || distance * 3 <= known.max(given)).then_some((distance, *candidate))
    };
    // Longer texts are nobody's slip, and comparing them costs their length squared.
    let short = word.chars().count() <= SLIP_CHARS;
    let found = words.into_iter().filter(|_| short);
    let nearest = found.filter_map(|it| near(&it)).min_by_key(|it| it.0);
    nearest.map(|it| it.1)
}

/// Longest word for which [`did_you_mean`] looks.
const SLIP_CHARS: usize = 64;

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
