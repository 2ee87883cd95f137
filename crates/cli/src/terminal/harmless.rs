//! Text from outside, made harmless for a terminal.
//!
//! Names, logs, results, messages of servers and arguments are other people's words. Written as they are they could
//! move the cursor, change the title or the clipboard, or look like lines of this program's own. Nothing here may
//! pass on a character that does more than take its place.

use std::fmt::{self, Display, Write};

/// Text from outside on one line: what could act on the terminal is shown by its name.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Text from outside, harmless and on one line.
pub(crate) fn shown(text: impl Display) -> String {
    Shown(text).to_string()
}

struct Escaping<'a, W>(&'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(acts) {
            self.0.write_str(&rest[..at])?;
            let mut letters = rest[at..].chars();
            match letters.next() {
                Some('\n') => self.0.write_str("\\n")?,
                Some('\r') => self.0.write_str("\\r")?,
                Some('\t') => self.0.write_str("\\t")?,
                Some(letter) => write!(self.0, "\\u{{{:x}}}", u32::from(letter))?,
                None => {}
            }
            rest = letters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Lines of this program's own, in which text from outside may be left: what acts is named, the ends of lines and,
/// where wanted, colours stay.
pub(crate) fn lines(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(acts) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let kept = match colour(rest) {
            Some(length) if colours => length,
            _ if rest.starts_with('\n') => 1,
            _ => 0,
        };
        out.push_str(&rest[..kept]);
        rest = &rest[kept..];
        if kept == 0 {
            let mut letters = rest.chars();
            if let Some(letter) = letters.next() {
                out.push_str(&shown(letter));
            }
            rest = letters.as_str();
        }
    }
    out + rest
}

/// The length of a colour's sequence (SGR) at the beginning of `text`.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    parameters[end..].starts_with('m').then_some(end + 3)
}

/// Whether a character does something else than take its place: controls, directions of writing, what has no width,
/// other ends of lines.
pub(crate) fn acts(letter: char) -> bool {
    // Nearly everything is plain.
    if matches!(letter, ' '..='~') {
        return false;
    }
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_named() {
        for (text, harmless) in [
            ("plain – Ünïcode 中文 🎉", "plain – Ünïcode 中文 🎉"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m\u{9d}", "\\u{9b}31m\\u{9d}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("abc\u{8}\u{7f}", "abc\\u{8}\\u{7f}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}\u{ad}", "a\\u{200b}b\\u{feff}\\u{ad}"),
            (
                "x\u{2028}y\u{85}z\u{e0041}",
                "x\\u{2028}y\\u{85}z\\u{e0041}",
            ),
        ] {
            assert_eq!(shown(text), harmless);
        }
    }

    #[test]
    fn our_own_lines_keep_their_colours_and_nothing_else() {
        let text = "\x1b[1;31merror\x1b[0m: a\n\x1b[2Jb\x1b]0;x\x07\r";
        let kept = "\x1b[1;31merror\x1b[0m: a\n\\u{1b}[2Jb\\u{1b}]0;x\\u{7}\\r";
        assert_eq!(lines(text, true), kept);
        assert!(!lines(text, false).contains('\x1b'));
    }

    #[test]
    fn no_character_of_the_classes_passes() {
        for letter in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let out = shown(letter);
            assert!(!out.chars().any(acts), "{letter:?}");
            if letter.is_control() {
                assert!(out.starts_with('\\'), "{letter:?}");
            }
        }
    }
}
