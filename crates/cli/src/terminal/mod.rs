//! Everything that the program says: data on standard output, the rest on standard error.
//!
//! All text counts as text from outside and is made harmless on its way; colours are the program's own. Nothing else
//! in this crate may write to either stream.

pub(crate) mod harmless;
pub(crate) mod json;
pub(crate) mod table;

use crate::args::ColorChoice;
use anstyle::Style;
use harmless::{Shown, shown};
use serde::Serialize;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _, Write};
use terminal_size::terminal_size_of;
use unicode_width::UnicodeWidthChar as _;

pub(crate) use table::{Cell, Table};

/// How things look.
pub(crate) mod style {
    use anstyle::{AnsiColor, Style};

    pub(crate) const PLAIN: Style = Style::new();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
    pub(crate) const QUIET: Style = Style::new().dimmed();
    pub(crate) const STRONG: Style = Style::new().bold();
}

/// One line, in pieces that may look different.
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    /// An empty line.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The line with more text.
    pub(crate) fn text(self, text: impl Display) -> Self {
        self.styled(Style::new(), text)
    }

    /// The line with more text that looks like this.
    pub(crate) fn styled(mut self, style: Style, text: impl Display) -> Self {
        self.0.push((style, shown(text)));
        self
    }

    fn write(&self, colour: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            if colour && *style != Style::new() && !text.is_empty() {
                out += &format!("{style}{text}{style:#}");
            } else {
                out += text;
            }
        }
        let kept = out.trim_end_matches(' ').len();
        out.truncate(kept);
        out
    }
}

impl<T: Display> From<T> for Line {
    fn from(text: T) -> Self {
        Self::new().text(text)
    }
}

/// The two streams and how to write to them.
#[derive(Debug)]
pub(crate) struct Terminal {
    out: Stream,
    err: Stream,
    zone: jiff::tz::TimeZone,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    colour: bool,
    /// Of a terminal: its columns.
    width: Option<usize>,
}

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads what the command prints")]
pub(crate) struct Unread;

impl Terminal {
    /// The streams of this process.
    pub(crate) fn new(colour: ColorChoice) -> Self {
        let stdout = anstream::AutoStream::choice(&io::stdout());
        let stderr = anstream::AutoStream::choice(&io::stderr());
        let coloured = |found| match colour {
            ColorChoice::Auto => found != anstream::ColorChoice::Never,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let columns = |(width, _): (terminal_size::Width, _)| usize::from(width.0);
        Self {
            out: Stream {
                colour: coloured(stdout),
                width: terminal_size_of(io::stdout()).map(columns),
            },
            err: Stream {
                colour: coloured(stderr),
                width: terminal_size_of(io::stderr()).map(columns),
            },
            zone: jiff::tz::TimeZone::system(),
        }
    }

    /// Whether standard error takes colours.
    pub(crate) const fn colours_errors(&self) -> bool {
        self.err.colour
    }

    /// Asks for text that is not shown while it is typed.
    pub(crate) fn ask_secretly(&self, question: &str) -> io::Result<String> {
        rpassword::prompt_password(format!("{}: ", shown(question)))
    }

    /// Asks for a yes.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        say(&format!("{} [y/N] ", shown(question)));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// A line of data.
    pub(crate) fn print(&self, line: impl Into<Line>) -> io::Result<()> {
        print(&(line.into().write(self.out.colour) + "\n"))
    }

    /// Lines of data from outside, all of them indented: none of them looks like a line of ours.
    pub(crate) fn block(&self, indent: usize, text: &str) -> io::Result<()> {
        print(&block(indent, text, self.out.width))
    }

    /// The program's own text as it stands, for example a completion script.
    pub(crate) fn verbatim(&self, text: &str) -> io::Result<()> {
        print(text)
    }

    /// The program's own text, plain or with its colours.
    pub(crate) fn verbatim_styled(&self, plain: &str, styled: &str) -> io::Result<()> {
        print(if self.out.colour { styled } else { plain })
    }

    /// What is wrong with the command line, plain or with the program's colours.
    pub(crate) fn note_styled(&self, plain: &str, styled: &str) {
        let text = if self.err.colour { styled } else { plain };
        say(&harmless::lines(text, self.err.colour));
    }

    /// A value as JSON over several lines.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        self.json_text(&serde_json::to_string(value)?)
    }

    /// The same of what is JSON already.
    pub(crate) fn json_text(&self, text: &str) -> io::Result<()> {
        print(&(json::pretty(text) + "\n"))
    }

    /// A JSON value on a line of its own, of a stream of them.
    pub(crate) fn json_line(&self, text: &str) -> io::Result<()> {
        print(&(json::compact(text) + "\n"))
    }

    /// Something about the work, on standard error.
    pub(crate) fn note(&self, line: impl Into<Line>) {
        say(&(line.into().write(self.err.colour) + "\n"));
    }

    /// A warning, on standard error.
    pub(crate) fn warn(&self, text: impl Display) {
        self.note(
            Line::new()
                .styled(style::ODD, "warning")
                .text(": ")
                .text(text),
        );
    }

    /// Lines that belong to the note before, indented, on standard error.
    pub(crate) fn note_block(&self, indent: usize, text: &str) {
        say(&block(indent, text, self.err.width));
    }

    /// A moment for people: local time, or UTC.
    pub(crate) fn moment(&self, text: &str, utc: bool) -> String {
        let Ok(moment) = text.parse::<jiff::Timestamp>() else {
            return shown(text);
        };
        let zone = if utc {
            jiff::tz::TimeZone::UTC
        } else {
            self.zone.clone()
        };
        let local = moment.to_zoned_datetime(zone);
        let end = if utc { "Z" } else { "" };
        format!("{}{end}", local.strftime("%Y-%m-%d %H:%M:%S%.3f"))
    }
}

/// To standard output, at once: who reads along sees every line when it is there.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, Unread),
        _ => error,
    })
}

/// To standard error; nobody can be told if that fails.
fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn block(indent: usize, text: &str, width: Option<usize>) -> String {
    let margin = " ".repeat(indent);
    // What stands at the margin is this program's own text, or asked for as it is.
    let width = width.filter(|_| indent > 0);
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    let mut out = String::new();
    for line in text.lines() {
        let line = shown(line.trim_end_matches('\r').replace('\t', "    "));
        for piece in pieces(&line, room) {
            out += format!("{margin}{piece}").trim_end();
            out.push('\n');
        }
    }
    out
}

/// Breaks a line where the terminal would, so that what follows is indented as well.
fn pieces(line: &str, room: usize) -> Vec<&str> {
    let (mut pieces, mut begin, mut used) = (Vec::new(), 0, 0);
    for (at, letter) in line.char_indices() {
        let width = letter.width().unwrap_or_default();
        if used + width > room {
            pieces.push(&line[begin..at]);
            (begin, used) = (at, 0);
        }
        used += width;
    }
    pieces.push(&line[begin..]);
    pieces
}

/// `count` of something, in the right number: `1 subscriber`, `2 subscribers`.
pub(crate) fn plural(count: u64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

/// An error with lines below it.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    below: String,
}

impl Fault {
    /// `below` is shown indented under the message.
    pub(crate) fn new(message: impl Display, below: impl Into<String>) -> Self {
        Self {
            message: message.to_string(),
            below: below.into(),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// An error with its causes, each once.
pub(crate) fn report(terminal: &Terminal, error: &(dyn std::error::Error + 'static)) {
    let label = |label, style| Line::new().styled(style, label).text(": ");
    let text = error.to_string();
    // What follows the first line is not ours to put at the margin.
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    terminal.note(label("error", style::BAD).text(first));
    terminal.note_block(4, rest);
    if let Some(fault) = error.downcast_ref::<Fault>() {
        terminal.note_block(4, &fault.below);
    }
    let mut said = text;
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            terminal.note(label("  because", style::QUIET).text(Shown(&text)));
        }
        said = text;
        cause = error.source();
    }
}

/// Whether an error only says that nobody reads on, as in `… | head`.
pub(crate) fn is_unread(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.and_then(io::Error::get_ref)
        .is_some_and(|inner| inner.is::<Unread>())
}

/// Whether somebody sits at both ends: then a command may ask.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_outside_cannot_end_or_colour_ours() {
        let line = Line::new()
            .styled(style::BAD, "a\n#7 forged\x1b[0m")
            .text(" b");
        assert_eq!(line.write(false), "a\\n#7 forged\\u{1b}[0m b");
        let coloured = line.write(true);
        assert_eq!(coloured.matches('\x1b').count(), 2, "{coloured:?}");
    }

    #[test]
    fn every_line_of_a_block_is_indented() {
        let text = "one\r\ntwo\n\n#8 forged\tx";
        assert_eq!(block(2, text, None), "  one\n  two\n\n  #8 forged    x\n");
        let wide = format!("a{}#9 forged", " ".repeat(40));
        for line in block(4, &wide, Some(30)).lines() {
            assert!(line.starts_with("    "), "{line:?}");
        }
    }

    #[test]
    fn numbers_are_right() {
        assert_eq!(plural(1, "subscriber"), "1 subscriber");
        assert_eq!(plural(0, "run"), "0 runs");
    }
}
