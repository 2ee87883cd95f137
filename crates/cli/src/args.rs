//! The command line as types. What a command does stands in [`crate::cmd`].

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serverless functions around lifecycle events: PRE events can stop an operation, POST events are
/// never lost.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 100)]
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
    Migrate,
    /// Create superusers and sites, reset passwords (with the server stopped)
    #[command(subcommand)]
    Admin(Admin),
    /// Deploy, run and watch functions of a running server
    #[command(subcommand)]
    Function(Function),
    /// Event types and their subscribers
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
    Doctor(Doctor),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Create a superuser
    Create(AdminUser),
    /// Give a user a new password; ends all of the user's sessions
    ResetPassword(AdminUser),
    /// Give a user another username or address, by the user's number
    Rename {
        /// The user's number, as `tollgate doctor` shows it
        #[arg(long)]
        id: i64,
        /// The new username
        #[arg(long, required_unless_present = "email")]
        username: Option<String>,
        /// The new e-mail address
        #[arg(long)]
        email: Option<String>,
        /// The site
        #[arg(long, default_value = "default")]
        site: String,
    },
    /// Print the key with which the command line on this machine reaches its server
    ApiKey,
    /// Sign tokens with a new key; those of the old one are good until they expire or the next rotation
    RotateKey,
    /// Show or set which hosts functions with network "egress" may reach
    Egress {
        /// The site
        #[arg(long, default_value = "default")]
        site: String,
        /// A host, or *.example.com for all below it; may be repeated, and replaces the list
        #[arg(long, value_name = "HOST", conflicts_with = "any")]
        allow: Vec<String>,
        /// Every public host
        #[arg(long)]
        any: bool,
    },
    /// Create a site (tenant)
    CreateSite {
        /// Lower-case letters, digits, dashes; the sub-domain of the base domain
        slug: String,
        /// A host name that leads to it; may be repeated
        #[arg(long)]
        domain: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AdminUser {
    /// E-mail address (or, for a reset, username)
    #[arg(long)]
    pub(crate) email: String,
    /// The password; without it one is made and printed once
    #[arg(long)]
    pub(crate) password: Option<String>,
    /// The site
    #[arg(long, default_value = "default")]
    pub(crate) site: String,
}

/// How to reach a running server.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The server [default: the one that uses the data folder]
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API key [default: the key that the server keeps in its data folder]
    #[arg(
        long,
        env = "TOLLGATE_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// Create a function from a file, or give it a new version; may subscribe it too
    Deploy {
        /// The source, for example validate.py
        file: PathBuf,
        /// The app; created if it does not exist
        #[arg(long)]
        app: String,
        /// Name for people [default: made of the file's name]
        #[arg(long)]
        name: Option<String>,
        /// Subscribe it to this event type; may be repeated
        #[arg(long, value_name = "EVENT")]
        subscribe: Vec<String>,
        /// Time limit in seconds
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run a function: a deployed one on the server, or a file here with the server's own host
    Run {
        /// A deployed function's slug, or a path to a file
        function: String,
        /// The app of a deployed function
        #[arg(long)]
        app: Option<String>,
        /// For a file: run it with the sample of this event type
        #[arg(long, value_name = "EVENT")]
        event: Option<String>,
        /// Parameters: a JSON object, or a file that holds one
        #[arg(long, value_name = "JSON|FILE")]
        params: Option<String>,
        /// For a file: it may make requests, as a function with network "egress"
        #[arg(long)]
        egress: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what a function logged, newest run last
    Logs {
        /// The function's slug
        function: String,
        /// How many runs
        #[arg(long, default_value_t = 10)]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
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
}

#[derive(Debug, Subcommand)]
pub(crate) enum Invocations {
    /// Show runs as they happen, until interrupted
    Tail {
        /// Only of this function
        #[arg(long)]
        function: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run an earlier run again, as a new one with the same parameters
    Replay {
        /// The run's number
        id: i64,
        /// Which version runs
        #[arg(long, value_enum, default_value_t = Version::Active)]
        version: Version,
        /// Queue it and do not wait
        #[arg(long)]
        r#async: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which version of a function runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// The one that is active now
    Active,
    /// The one that ran before
    Own,
}

impl Version {
    /// The word that the API reads.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Own => "own",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one with its traceback and logs
    Show {
        /// Its number
        id: i64,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run one again, or all that match
    Redrive {
        /// Its number; without it, a filter or --all
        #[arg(conflicts_with_all = ["all", "function", "event", "kind", "app", "limit"])]
        id: Option<i64>,
        /// Every dead letter
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// Most to redrive [default: all that match]
        #[arg(long)]
        limit: Option<u64>,
        /// Which version runs
        #[arg(long, value_enum, default_value_t = Version::Active)]
        version: Version,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give one up: it becomes failed history
    Discard {
        /// Its number
        id: i64,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub(crate) struct DeadLetterFilter {
    /// Of this function
    #[arg(long, value_name = "SLUG")]
    pub(crate) function: Option<String>,
    /// Caused by this event type
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Whose last attempt failed like this, for example "exception" or "timeout"
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Of the functions of this app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: Option<String>,
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

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings in force; secrets are masked
    Show {
        /// Print the commented defaults instead
        #[arg(long)]
        default: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
