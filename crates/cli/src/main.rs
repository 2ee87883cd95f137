//! The `tollgate` binary: settings, composition, commands.
//!
//! Data goes to stdout, everything else to stderr, both through [`terminal`]. Nothing that a program which embeds the
//! engine would need may live here.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod args;
mod bootstrap;
mod client;
mod cmd;
mod compose;
mod config;
mod demo;
mod failpoints;
mod keys;
mod logging;
mod operator;
mod random;
mod terminal;

use args::ColorChoice;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _};
use std::error::Error as StdError;
use std::process::ExitCode;
use terminal::Terminal;
use terminal::harmless::shown;
use tollgate_core::failpoint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a command failed.
pub(crate) type AnyError = Box<dyn StdError + Send + Sync>;

/// What every command returns.
pub(crate) type CommandResult = Result<(), AnyError>;

fn main() -> ExitCode {
    // Before any thread exists: this process may be the launcher of an interpreter.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == tollgate_runtimes::LAUNCH_ARG)
    {
        tollgate_runtimes::launcher_main();
    }
    let cli = args::Cli::command()
        .try_get_matches()
        .and_then(|matches| args::Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return wrong_line(error),
    };
    let terminal = Terminal::new(cli.global.color);
    if failpoint::COMPILED
        && let Err(error) = failpoints::arm()
    {
        terminal.note(format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    match run(cli, &terminal) {
        Ok(()) => ExitCode::SUCCESS,
        // As in `… | head`: nothing is wrong.
        Err(error) if terminal::is_unread(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::report(&terminal, &*error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: args::Cli, terminal: &Terminal) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(cmd::run(cli, terminal));
    // A reader of standard input or a slow lookup must not hold the process back.
    runtime.shutdown_background();
    result
}

/// Help, the version, or what is wrong with the command line. Arguments are text from outside too.
fn wrong_line(mut error: clap::Error) -> ExitCode {
    let terminal = Terminal::new(ColorChoice::Auto);
    if !error.use_stderr() {
        let text = error.render();
        // Without arguments of the caller's in it.
        let written = terminal.verbatim_styled(&text.to_string(), &text.ansi().to_string());
        return if written.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let context: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| Some((kind, harmless(value)?)))
        .collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
    let text = error.render();
    terminal.note_styled(&text.to_string(), &text.ansi().to_string());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What an error quotes of the command line; none for what is the program's own and may be coloured.
fn harmless(value: &ContextValue) -> Option<ContextValue> {
    match value {
        ContextValue::String(text) => Some(ContextValue::String(shown(text))),
        ContextValue::Strings(texts) => {
            Some(ContextValue::Strings(texts.iter().map(shown).collect()))
        }
        _ => None,
    }
}
