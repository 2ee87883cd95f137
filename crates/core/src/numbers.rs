//! Whether the numbers of a JSON text survive being read. JSON allows any; a double and 64 bits do not
//! hold them all, and what they do not hold must be refused where it comes in, never changed.
//!
//! Looks at texts that are known to be JSON; of others it says nothing useful, and never panics.

use crate::limits;
use crate::text::prefix;
use std::fmt;

/// What becomes of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// The text is passed on as it is, so they may be as long as its readers take.
    Text,
    /// They are read into 64 bits.
    Bits64,
}

/// A number that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexact {
    /// Where, as keys and indices with dots between; empty for the whole.
    pub path: String,
    number: String,
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = prefix(&self.number, 40);
        let dots = if shown.len() < self.number.len() {
            "…"
        } else {
            ""
        };
        write!(
            f,
            "The number {shown}{dots} cannot be kept exactly; send it as text"
        )
    }
}

/// A number that common readers of JSON do not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where, as keys and indices with dots between; empty for the whole.
    path: String,
    /// How long it is, if it is an integer; else no double holds it.
    pub digits: Option<usize>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digits {
            Some(digits) => write!(f, "an integer of {digits} digits")?,
            None => f.write_str("a number that is out of range")?,
        }
        if !self.path.is_empty() {
            write!(f, " at `{}`", self.path)?;
        }
        match self.digits {
            Some(_) => write!(f, "; the limit is {}", limits::INTEGER_DIGITS),
            None => Ok(()),
        }
    }
}

/// Looks for a number that would be changed.
///
/// # Errors
/// The first one.
pub fn check(text: &str, integers: Integers) -> Result<(), Inexact> {
    match find(text, |number| !is_exact(number, integers)) {
        None => Ok(()),
        Some((at, number)) => Err(Inexact {
            path: path_to(text, at),
            number: number.to_owned(),
        }),
    }
}

/// Looks for a number that nobody could read, or hardly anybody: CPython reads no integer of more than
/// [`limits::INTEGER_DIGITS`], and others take what no double holds for an error.
///
/// # Errors
/// The first one.
pub fn check_readable(text: &str) -> Result<(), Unreadable> {
    let is_float = |number: &str| number.contains(['.', 'e', 'E']);
    let digits = |number: &str| number.trim_start_matches('-').len();
    let found = find(text, |number| match is_float(number) {
        true => !number.parse().is_ok_and(f64::is_finite),
        false => digits(number) > limits::INTEGER_DIGITS,
    });
    match found {
        None => Ok(()),
        Some((at, number)) => Err(Unreadable {
            path: path_to(text, at),
            digits: (!is_float(number)).then(|| digits(number)),
        }),
    }
}

/// The first number that `is_wanted`, and where it stands.
fn find(text: &str, is_wanted: impl Fn(&str) -> bool) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = after_number(bytes, at);
                let number = &text[at..end];
                if is_wanted(number) {
                    return Some((at, number));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// Whether a JSON number keeps its value.
pub fn is_exact(number: &str, integers: Integers) -> bool {
    let is_float = number
        .bytes()
        .any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let has_exponent = number.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    // Fifteen digits are always kept, and shorter numbers are nearly all there are.
    if number.len() <= 15 && !has_exponent {
        return true;
    }
    if !is_float {
        return match integers {
            Integers::Text => number.len() <= limits::INTEGER_DIGITS,
            Integers::Bits64 => number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok(),
        };
    }
    let Ok(read) = number.parse::<f64>() else {
        return false;
    };
    // Written again, it is the shortest text that reads as the same double.
    read.is_finite() && Decimal::of(number) == Decimal::of(&format!("{read:e}"))
}

/// A decimal number with one spelling: digits without zeros around them.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(number: &str) -> Self {
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // Out of 64 bits it is beyond a double as well, unless the number is zero.
        let far = if exponent.starts_with('-') {
            i64::MIN / 2
        } else {
            i64::MAX / 2
        };
        let exponent = exponent.parse().unwrap_or(far);
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let places = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4);
        Self {
            negative,
            digits: digits.to_owned(),
            exponent: exponent
                .saturating_sub(places(fraction.len()))
                .saturating_add(places(zeros)),
        }
    }
}

fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at.min(bytes.len())
}

fn after_number(bytes: &[u8], start: usize) -> usize {
    let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = bytes[start..].iter().take_while(|byte| part(byte)).count();
    start + length.max(1)
}

enum Step {
    Key(String),
    Index(usize),
}

/// The keys and indices that lead to the value at `offset`.
fn path_to(text: &str, offset: usize) -> String {
    let bytes = text.as_bytes();
    let mut steps: Vec<Step> = Vec::new();
    let mut key_next = false;
    let mut at = 0;
    while at < offset {
        match bytes[at] {
            b'{' => {
                steps.push(Step::Key(String::new()));
                key_next = true;
            }
            b'[' => steps.push(Step::Index(0)),
            b'}' | b']' => drop(steps.pop()),
            b',' => match steps.last_mut() {
                Some(Step::Index(index)) => *index += 1,
                Some(Step::Key(_)) => key_next = true,
                None => {}
            },
            b'"' => {
                let end = after_string(bytes, at);
                if let (true, Some(Step::Key(key))) = (key_next, steps.last_mut()) {
                    *key = serde_json::from_str(&text[at..end]).unwrap_or_default();
                    key_next = false;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    let steps = steps.into_iter().map(|step| match step {
        Step::Key(key) => prefix(&key, 64).to_owned(),
        Step::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, integers: Integers) -> Option<String> {
        check(text, integers).err().map(|it| it.path)
    }

    #[test]
    fn what_a_double_and_64_bits_hold_passes() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0e999",
            "0.1",
            "1E2",
            "100.0",
            "1.50",
            "1e22",
            "1e23",
            "5e-324",
            "0.30000000000000004",
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            "1.7976931348623157e308",
            "123456789012345.6",
            r#"{"a":"1e400","b\"1e400":[1e0,{"c":2.5E-3}]}"#,
        ] {
            assert_eq!(refused(text, Integers::Bits64), None, "{text}");
        }
        let long = "9".repeat(4000);
        assert_eq!(refused(&long, Integers::Text), None);
        assert_eq!(refused("-36893488147419103232", Integers::Text), None);
    }

    #[test]
    fn what_would_be_changed_is_named_by_its_path() {
        for (text, path) in [
            ("1e400", ""),
            ("[1,-1e400]", "1"),
            (r#"{"a":1e-400}"#, "a"),
            (
                r#"{"a":{"b":[0,{"c":"x","d":1.00000000000000000001}]}}"#,
                "a.b.1.d",
            ),
            (
                r#"{"x":[[1],[2],[3,0.1000000000000000055511151231257827]]}"#,
                "x.2.1",
            ),
            ("123456789012345678.0", ""),
            ("4.9e-324", ""),
            ("9007199254740993.0", ""),
            ("1e99999999999999999999", ""),
        ] {
            for integers in [Integers::Text, Integers::Bits64] {
                assert_eq!(refused(text, integers).as_deref(), Some(path), "{text}");
            }
        }
        assert_eq!(
            refused(r#"{"a":18446744073709551616}"#, Integers::Bits64).as_deref(),
            Some("a")
        );
        assert!(refused(&"9".repeat(5000), Integers::Text).is_some());
    }

    #[test]
    fn what_readers_do_not_read_is_named_with_its_place() {
        let long = "9".repeat(4301);
        for (text, words) in [
            ("1e400", "a number that is out of range"),
            (
                r#"{"a":[0,{"b":-1E999}]}"#,
                "a number that is out of range at `a.1.b`",
            ),
            (
                &format!("-{long}"),
                "an integer of 4301 digits; the limit is 4300",
            ),
            (
                &format!(r#"{{"n":{long}}}"#),
                "an integer of 4301 digits at `n`; the limit is 4300",
            ),
        ] {
            assert_eq!(check_readable(text).unwrap_err().to_string(), words);
        }
        for text in [
            &format!("-{}", &long[1..]),
            "1e-999",
            "1.5e300",
            r#"["1e400"]"#,
        ] {
            assert_eq!(check_readable(text), Ok(()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_passes_is_written_again_with_its_value(
            whole in "-?(0|[1-9][0-9]{0,24})", fraction in "(\\.[0-9]{1,24})?",
            exponent in "([eE][+-]?[0-9]{1,3})?",
        ) {
            let number = format!("{whole}{fraction}{exponent}");
            if check(&number, Integers::Bits64).is_ok() {
                let read: serde_json::Value = serde_json::from_str(&number).unwrap();
                let again = read.to_string();
                proptest::prop_assert!(Decimal::of(&again) == Decimal::of(&number), "{number} {again}");
            }
        }
    }
}
