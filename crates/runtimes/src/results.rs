//! What a result may be, wherever it comes from: JSON that every reader of the engine can read.

use tollgate_core::tasks::{Failure, FailureKind};
use tollgate_core::{limits, numbers};

/// Looks at a result, which is known to be JSON.
///
/// # Errors
/// The limit that it reaches, or what its readers could not read.
pub(crate) fn check(text: &str) -> Result<(), Failure> {
    let size = text.len();
    if size > limits::RESULT_BYTES {
        let message = format!(
            "The result is {size} bytes of JSON; the limit is {}",
            limits::RESULT_BYTES
        );
        return Err(Failure::new(FailureKind::Limit, message));
    }
    let shape = Shape::of(text);
    if shape.depth > limits::JSON_DEPTH {
        let message = format!(
            "The result is nested {} levels deep; the limit is {}",
            shape.depth,
            limits::JSON_DEPTH
        );
        return Err(Failure::new(FailureKind::NotJson, message));
    }
    if let Some(fault) = shape.fault {
        let message = format!("The result holds {fault}, which JSON cannot carry");
        return Err(Failure::new(FailureKind::NotJson, message));
    }
    numbers::check_readable(text).map_err(|number| {
        let kind = match number.digits {
            Some(_) => FailureKind::Limit,
            None => FailureKind::NotJson,
        };
        Failure::new(kind, format!("The result holds {number}"))
    })
}

/// What one pass over a JSON text tells without building it.
#[derive(Default)]
struct Shape {
    /// Deepest nesting of arrays and objects.
    depth: usize,
    /// What no reader could read in a string.
    fault: Option<&'static str>,
}

impl Shape {
    fn of(json: &str) -> Self {
        let bytes = json.as_bytes();
        let (mut shape, mut depth, mut at) = (Self::default(), 0_usize, 0);
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = shape.after_string(bytes, at),
                b'[' | b'{' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        shape
    }

    fn after_string(&mut self, bytes: &[u8], start: usize) -> usize {
        let mut at = start;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => break,
                b'\\' if bytes.get(at) == Some(&b'u') => {
                    at += 5;
                    match code_unit(bytes, at - 4) {
                        0xd800..0xdc00 if is_low(bytes, at) => at += 6,
                        0xd800..0xe000 => self.fault = Some("half a surrogate pair"),
                        _ => {}
                    }
                }
                b'\\' => at += 1,
                _ => {}
            }
        }
        at
    }
}

/// The four hexadecimal digits of an escape; 0 where there are none, which the parser has refused.
fn code_unit(bytes: &[u8], at: usize) -> u16 {
    let digits = bytes.get(at..at + 4).and_then(|it| str::from_utf8(it).ok());
    digits
        .and_then(|it| u16::from_str_radix(it, 16).ok())
        .unwrap_or(0)
}

/// Whether the second half of a surrogate pair stands there.
fn is_low(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2) == Some(b"\\u") && (0xdc00..0xe000).contains(&code_unit(bytes, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_no_reader_could_read_is_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (result, kind) in [
            (deep.as_str(), FailureKind::NotJson),
            (r#""\ud800""#, FailureKind::NotJson),
            (r#""\ud800x""#, FailureKind::NotJson),
            (r#"["\udc00\ud800"]"#, FailureKind::NotJson),
            ("1e999", FailureKind::NotJson),
            ("[-1.5E400]", FailureKind::NotJson),
            (
                &format!("{{\"n\":-1{}}}", "0".repeat(4300)),
                FailureKind::Limit,
            ),
            (
                &format!("\"{}\"", "x".repeat(limits::RESULT_BYTES)),
                FailureKind::Limit,
            ),
        ] {
            assert_eq!(check(result).unwrap_err().kind, kind);
        }
        for fine in [
            &format!("-1{}", "0".repeat(4299)),
            r#"["\ud83d\ude00", "\u0001\\", "\\ud800", 1e-999, 1.5e300]"#,
        ] {
            check(fine).unwrap();
        }
        let level = "[".repeat(64) + &"]".repeat(64);
        check(&level).unwrap();
    }
}
