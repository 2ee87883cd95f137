//! The command line as types. What a command does stands in [`crate::cmd`].

mod admin;
mod function;
mod runs;
mod variables;

pub(crate) use admin::{Admin, AdminUser, Backup, NewPassword, Site};
pub(crate) use function::{Deploy, Function, FunctionLogs, FunctionRun, Subscription};
pub(crate) use runs::{DeadLetterFilter, DeadLetters, Invocations, RunFilter};
pub(crate) use variables::Variables;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value};
use std::path::PathBuf;

const EXIT: &str = "Exit code: 0 when the command did what it was asked, 1 when it did not, 2 for a wrong command \
                    line, 130 after a second Ctrl-C.";

/// Serverless functions around lifecycle events: PRE events can stop an operation, POST events are
/// never lost.
#[derive(Debug, Parser)]
#[command(name = "tollgate", bin_name = "tollgate", version, max_term_width = 100, after_help = EXIT, args_override_self = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Settings file [default: ./tollgate.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for database, keys and scratch space
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// What is logged, for example "debug"
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Colours: on terminals only, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

/// Whether output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On terminals
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Global {
    /// The settings among the flags.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(dir) = &self.data_dir {
            settings.insert("data_dir".into(), dir.to_string_lossy().into());
        }
        if let Some(log) = &self.log {
            settings.insert("log".into(), log.as_str().into());
        }
        settings
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(Serve),
    /// Bring the database up to date and end
    Migrate(Output),
    /// Copy the database and the keys into a new folder, also while the server runs
    Backup(Backup),
    /// Superusers, passwords, keys, and which hosts functions reach
    #[command(subcommand)]
    Admin(Admin),
    /// Sites (tenants) and their host names
    #[command(subcommand)]
    Site(Site),
    /// Apps
    #[command(subcommand)]
    App(App),
    /// Deploy, run and watch functions
    #[command(subcommand)]
    Function(Function),
    /// Secrets of the site and of apps
    #[command(subcommand)]
    Secret(Secret),
    /// Event types, those of apps among them, and their subscribers
    #[command(subcommand)]
    Events(Events),
    /// What ran
    #[command(subcommand)]
    Invocations(Invocations),
    /// Runs whose every attempt failed: look at them, run them again, give them up
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Measure a server of its own under load
    Bench(Bench),
    /// Check interpreters and data folder
    Doctor(Output),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command
    Man {
        /// The folder for the pages, made if it does not exist
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address or host name, and port; ":8000" is every address
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
    /// Add an app with example functions, already subscribed; safe to repeat
    #[arg(long)]
    pub(crate) demo: bool,
    /// Which halves run in this process
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
}

/// Which halves of the engine a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Both
    All,
    /// Only the HTTP API
    Api,
    /// Only the functions
    Worker,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How times are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Times {
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub(crate) utc: bool,
}

/// How to reach a running server.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The server [env: TOLLGATE_URL] [default: the one that uses the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API key [env: TOLLGATE_API_KEY] [default: the key that the server keeps in its data folder]
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// The site, on the server that uses the data folder [default: default]
    #[arg(long, value_name = "SLUG", conflicts_with = "url")]
    pub(crate) site: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether a command may do what cannot be undone.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Sure {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// All apps
    List {
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create an app
    Create {
        /// Its slug: lower-case letters, digits, dashes
        slug: String,
        /// Its name for people [default: the slug]
        #[arg(long)]
        name: Option<String>,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show an app, its functions and who subscribes to what
    Show {
        /// The app's slug
        app: String,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change an app: its name, its description, the environment variables of all its functions
    Update {
        /// The app's slug
        app: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        variables: Variables,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete an app with its functions
    Delete {
        /// The app's slug
        app: String,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// The keys of all secrets; never their values
    List {
        /// Those of this app, and those of the site that it sees [default: the site's]
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give a secret a value: asked for on a terminal, else read from standard input
    Set {
        /// Letters, digits, "_", "." and "-"
        key: String,
        /// The value; who looks at the machine's processes or the shell's history sees it
        value: Option<String>,
        /// Read the value from this file
        #[arg(long, value_name = "FILE", conflicts_with = "value")]
        file: Option<PathBuf>,
        /// The value is a JSON object
        #[arg(long)]
        object: bool,
        /// Of this app [default: of the site]
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a secret
    Unset {
        /// Its key
        key: String,
        /// Of this app [default: of the site]
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

/// An event type of an app.
#[derive(Debug, Args)]
pub(crate) struct DeclaredType {
    /// Its name: POST_, then capitals, digits and "_"
    pub(crate) event: String,
    /// The app, whose functions publish it
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: String,
    /// JSON Schema of its parameters: a file, or the schema itself
    #[arg(long, value_name = "FILE|JSON")]
    pub(crate) schema: String,
    /// Parameters that the schema accepts: a file, or the object itself [default: what is declared already, else {}]
    #[arg(long, value_name = "FILE|JSON")]
    pub(crate) sample: Option<String>,
    /// When it is published
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// All event types and how many functions subscribe to each
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Which subscriptions an event would run, in which order, and why each other one would not
    Explain {
        /// The event type
        event: String,
        /// Parameters: a JSON object, or a file that holds one; the rest is taken from the sample
        #[arg(long, value_name = "JSON|FILE")]
        params: Option<String>,
        /// As if this invocation had caused the event by a call of its own
        #[arg(long, value_name = "ID")]
        caused_by: Option<i64>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Subscribe a function, or change the options of its subscription
    Subscribe {
        /// The event type
        event: String,
        /// The function's slug
        function: String,
        /// The function's app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        options: Subscription,
        /// Time limit of one run in seconds, or "none" for the function's own
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<String>,
        /// Attempts (POST events), or "none" for the function's own
        #[arg(long, value_name = "N")]
        attempts: Option<String>,
        /// Whether events run it; "true" switches on what a webhook's 410 switched off
        #[arg(long, value_name = "BOOL")]
        active: Option<bool>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Declare an event type that functions of an app publish, or change one
    Declare {
        #[command(flatten)]
        declare: DeclaredType,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete an event type of an app, to which nothing is subscribed any more
    Undeclare {
        /// Its name
        event: String,
        /// The app
        #[arg(long, value_name = "SLUG")]
        app: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// End a subscription
    Unsubscribe {
        /// The event type
        event: String,
        /// The function's slug
        function: String,
        /// The function's app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Seconds of load per scenario
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Connections; may be repeated [default: 1, 16, 64]
    #[arg(long)]
    pub(crate) connections: Vec<usize>,
    /// Only scenarios whose name contains this
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings in force; secrets are masked
    Show {
        /// Print the commented defaults instead
        #[arg(long, conflicts_with = "json")]
        default: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
