//! One file per command.

mod admin;
mod app;
mod backup;
mod bench;
mod dead_letters;
mod deploy;
mod doctor;
mod event_types;
mod events;
mod folder;
mod function;
mod function_run;
mod invocations;
mod local_run;
mod names;
mod params;
mod run_view;
mod secret;
mod serve;
mod site;
mod source;
mod tail;
mod tools;
mod variables;

use crate::args::{Cli, Command, ConfigCommand, Output, Remote};
use crate::client::Client;
use crate::config::{self, Config, Loaded, Purpose};
use crate::terminal::Terminal;
use crate::{AnyError, CommandResult, logging};

/// What every command works with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) terminal: &'a Terminal,
}

impl Context<'_> {
    /// The way to a server.
    async fn client(&self, remote: &Remote) -> Result<Client, AnyError> {
        Client::new(self.config, remote, self.terminal).await
    }

    /// Asks for a yes, unless one was given; without a terminal there is nobody to ask.
    fn sure(&self, given: bool, question: &str) -> CommandResult {
        if given {
            return Ok(());
        }
        if !crate::terminal::is_interactive() {
            return Err(format!("{question} Nobody is there to answer; say --yes").into());
        }
        if self.terminal.ask(question)? {
            Ok(())
        } else {
            Err("nothing was done".into())
        }
    }
}

/// Runs one command.
pub(crate) async fn run(cli: Cli, terminal: &Terminal) -> CommandResult {
    let Cli { global, command } = cli;
    let mut settings = global.settings();
    if let Command::Serve(serve) = &command
        && let Some(listen) = &serve.listen
    {
        settings.insert("listen".into(), listen.as_str().into());
    }
    let purpose = match &command {
        Command::Serve(_) | Command::Config(_) => Purpose::Server,
        _ => Purpose::ShortCommand,
    };
    let loaded = Config::load(global.config.as_deref(), &settings, purpose)?;
    let Loaded { config, warnings } = &loaded;
    logging::start(config, terminal)?;
    for warning in warnings {
        terminal.warn(warning);
    }
    let context = Context { config, terminal };
    match command {
        Command::Serve(args) => serve::run(context, args).await,
        Command::Migrate(output) => migrate(context, output),
        Command::Backup(args) => backup::run(context, args).await,
        Command::Admin(command) => admin::run(context, command).await,
        Command::Site(command) => site::run(context, command).await,
        Command::App(command) => app::run(context, command).await,
        Command::Function(command) => function::run(context, command).await,
        Command::Secret(command) => secret::run(context, command).await,
        Command::Events(command) => events::run(context, command).await,
        Command::Invocations(command) => invocations::run(context, command).await,
        Command::DeadLetters(command) => dead_letters::run(context, command).await,
        Command::Bench(args) => bench::run(context, args).await,
        Command::Doctor(output) => doctor::run(context, output).await,
        Command::Config(command) => show_config(context, &command),
        Command::Openapi => {
            terminal.json_text(&tollgate_server::openapi().to_json()?)?;
            Ok(())
        }
        Command::Completions { shell } => tools::completions(terminal, shell),
        Command::Man { dir } => tools::man(terminal, &dir),
    }
}

fn migrate(context: Context<'_>, output: Output) -> CommandResult {
    let applied = tollgate_store_sqlite::migrate(context.config.database_dir())?;
    if output.json {
        context.terminal.json(&applied)?;
        return Ok(());
    }
    if applied.is_empty() {
        context.terminal.note("the database is up to date");
    }
    for name in applied {
        context.terminal.print(name)?;
    }
    Ok(())
}

fn show_config(context: Context<'_>, command: &ConfigCommand) -> CommandResult {
    let Context { config, terminal } = context;
    let ConfigCommand::Show { default, json } = command;
    match (default, json) {
        (true, _) => terminal.verbatim(config::DEFAULTS)?,
        (false, true) => terminal.json(config)?,
        (false, false) => terminal.block(0, &toml::to_string(config)?)?,
    }
    Ok(())
}
