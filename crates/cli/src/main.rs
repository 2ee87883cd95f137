//! The `tollgate` binary: settings, composition, commands.
//!
//! Data goes to stdout, everything else to stderr. Nothing that a program which embeds the engine
//! would need may live here.

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
mod random;

use clap::Parser as _;
use std::error::Error as StdError;
use std::process::ExitCode;
use tollgate_core::failpoint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every command returns.
pub(crate) type CommandResult = Result<(), Box<dyn StdError + Send + Sync>>;

fn main() -> ExitCode {
    // Before any thread exists: this process may be the launcher of an interpreter.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == tollgate_runtimes::LAUNCH_ARG)
    {
        tollgate_runtimes::launcher_main();
    }
    if failpoint::COMPILED
        && let Err(error) = failpoints::arm()
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let cli = args::Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: args::Cli) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(cmd::run(cli));
    // A reader of standard input or a slow lookup must not hold the process back.
    runtime.shutdown_background();
    result
}

/// The error with its causes, each once.
fn report(error: &(dyn StdError + 'static)) {
    eprintln!("error: {error}");
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !shown.contains(&text) {
            eprintln!("  because: {text}");
        }
        shown = text;
        cause = error.source();
    }
}
