//! One file per command.

mod admin;
mod bench;
mod dead_letters;
mod doctor;
mod events;
mod function;
mod function_run;
mod invocations;
mod params;
mod serve;

use crate::CommandResult;
use crate::args::{Cli, Command, ConfigCommand};
use crate::config::{self, Config, Purpose};
use crate::logging;

/// Runs one command.
pub(crate) async fn run(cli: Cli) -> CommandResult {
    let Cli { global, command } = cli;
    let mut settings = global.settings();
    if let Command::Serve(serve) = &command
        && let Some(listen) = serve.listen
    {
        settings.insert("listen".into(), listen.to_string().into());
    }
    let purpose = match &command {
        Command::Serve(_) | Command::Config(_) => Purpose::Server,
        _ => Purpose::ShortCommand,
    };
    let config = Config::load(global.config.as_deref(), &settings, purpose)?;
    logging::start(&config)?;
    match command {
        Command::Serve(args) => serve::run(config, args).await,
        Command::Migrate => migrate(&config),
        Command::Admin(command) => admin::run(&config, command).await,
        Command::Function(command) => function::run(&config, command).await,
        Command::Events(command) => events::run(&config, command).await,
        Command::Invocations(command) => invocations::run(&config, command).await,
        Command::DeadLetters(command) => dead_letters::run(&config, command).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Doctor(args) => doctor::run(&config, &args).await,
        Command::Config(command) => show_config(&config, &command),
        Command::Openapi => {
            println!("{}", tollgate_server::openapi().to_pretty_json()?);
            Ok(())
        }
    }
}

fn migrate(config: &Config) -> CommandResult {
    let applied = tollgate_store_sqlite::migrate(config.database_dir())?;
    if applied.is_empty() {
        eprintln!("the database is up to date");
    }
    for name in applied {
        println!("{name}");
    }
    Ok(())
}

fn show_config(config: &Config, command: &ConfigCommand) -> CommandResult {
    let ConfigCommand::Show { default, json } = command;
    match (default, json) {
        (true, _) => print!("{}", config::DEFAULTS),
        (false, true) => println!("{}", serde_json::to_string_pretty(config)?),
        (false, false) => print!("{}", toml::to_string(config)?),
    }
    Ok(())
}
