//! Log lines on stderr, as the settings want them.

use crate::AnyError;
use crate::config::{Config, LogFormat, did_you_mean};
use crate::terminal::Terminal;
use crate::terminal::harmless::{acts, lines};
use std::fmt::Write as _;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Whether a setting names a filter for log lines. A word alone is a level: as a module's name it would show
/// everything of a module that does not exist.
///
/// # Errors
/// What to write instead.
pub(crate) fn check(log: &str) -> Result<(), String> {
    let usage =
        "use error, warn, info, debug or trace, or a list such as \"info,tollgate_exec=debug\"";
    let is_level = |word: &&str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let words = log.split(',').map(str::trim);
    let mut words = words.filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    if let Some(word) = words.find(|word| !is_level(word)) {
        let hint = did_you_mean(word, LEVELS.into_iter());
        return Err(format!("`{word}` is no level{hint}; {usage}"));
    }
    EnvFilter::try_new(log)
        .map(drop)
        .map_err(|error| format!("{error}; {usage}"))
}

/// Begins to log. Call it once.
pub(crate) fn start(config: &Config, terminal: &Terminal) -> Result<(), AnyError> {
    let filter = EnvFilter::try_new(with_quiet(&config.log))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    match config.log_format {
        LogFormat::Text => {
            let colours = terminal.colours_errors();
            let subscriber = subscriber.with_ansi(colours);
            subscriber
                .with_writer(move || Safe {
                    json: false,
                    colours,
                })
                .init();
        }
        LogFormat::Json => {
            let subscriber = subscriber.with_ansi(false);
            subscriber
                .json()
                .with_writer(|| Safe {
                    json: true,
                    colours: false,
                })
                .init();
        }
    }
    Ok(())
}

/// What says as errors of this program what a run's record says of somebody else's certificate.
const QUIET: &str = "rustls_platform_verifier";

/// The filter, less what nobody needs who does not name it.
fn with_quiet(log: &str) -> String {
    if log.contains(QUIET) {
        return log.to_owned();
    }
    format!("{log},{QUIET}=off")
}

/// Standard error for log lines. What they quote comes from outside: each event stays on its own line, and nothing in
/// it acts on a terminal.
struct Safe {
    json: bool,
    colours: bool,
}

impl Write for Safe {
    /// Takes one event, which the formatter hands over whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut out = if self.json {
            escaped(text)
        } else {
            lines(&text.replace('\n', "\\n"), self.colours)
        };
        out.push('\n');
        io::stderr().lock().write_all(out.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// A line of JSON: outside its strings nothing acts.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_certificates_are_no_errors_of_this_program_unless_asked_for() {
        for (log, filter) in [
            ("info", "info,rustls_platform_verifier=off"),
            (
                "warn,rustls_platform_verifier=debug",
                "warn,rustls_platform_verifier=debug",
            ),
        ] {
            assert_eq!(with_quiet(log), filter);
            EnvFilter::try_new(filter).unwrap();
        }
    }

    #[test]
    fn a_word_alone_is_a_level() {
        for log in [
            "info",
            "INFO",
            "off",
            "warn,tollgate_exec=debug",
            "a=trace",
            "info,[span]=debug",
        ] {
            assert_eq!(check(log), Ok(()), "{log}");
        }
        for log in [
            "inof",
            "nonsense",
            "info,tollgate_exec",
            "1nfo",
            "info,a=loud",
        ] {
            check(log).unwrap_err();
        }
    }
}
