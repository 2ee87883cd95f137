//! `tollgate function`.

use super::{Remote, Sure, Times, Variables};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// Create a function from a file, or bring the one of that name up to date; may subscribe it too
    Deploy(Box<Deploy>),
    /// Run a function: a deployed one on the server, or a file here with the server's own host
    Run(Box<FunctionRun>),
    /// Show what a function logged, newest run last
    Logs(FunctionLogs),
    /// All functions, or those of an app
    List {
        /// Of this app
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a function, its options and its subscriptions
    Show {
        /// The function's slug
        function: String,
        /// Its app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        /// Print the code alone
        #[arg(long, conflicts_with = "json")]
        code: bool,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// The versions of a function, newest first
    Versions {
        /// The function's slug
        function: String,
        /// Its app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        times: Times,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make an earlier version the active one
    Rollback {
        /// The function's slug
        function: String,
        /// Its app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        /// The version [default: the one before the active one]
        #[arg(long, value_name = "N")]
        to: Option<u32>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a function; what it did stays on record
    Delete {
        /// The function's slug
        function: String,
        /// Its app; needed where two apps have a function of this name
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        #[command(flatten)]
        sure: Sure,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Options that are not given stay as they are; a new function has the defaults.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The source, for example validate.py, or a folder with main.py and what belongs to it; "-" reads standard input
    pub(crate) file: PathBuf,
    /// Where it begins, if not in the function main of main.py, for example handlers:on_signup
    #[arg(long, value_name = "MODULE:FUNCTION")]
    pub(crate) entrypoint: Option<String>,
    /// The app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: String,
    /// Create the app if it does not exist
    #[arg(long)]
    pub(crate) create_app: bool,
    /// Name for people [default: made of the file's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Which function it is [default: made of the name]
    #[arg(long)]
    pub(crate) slug: Option<String>,
    /// What it is for
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Whether it may make HTTP requests: "none" or "egress"
    #[arg(long, value_name = "NETWORK", value_parser = ["none", "egress"])]
    pub(crate) network: Option<String>,
    /// What its `sdk_client` may do, for example users.read; may be repeated, and replaces the list. "none" for
    /// nothing
    #[arg(long, value_name = "PERMISSION")]
    pub(crate) permission: Vec<String>,
    /// Where permissions of an app hold: in its own ("app"), or in every one ("site")
    #[arg(long, value_name = "WHERE", value_parser = ["app", "site"])]
    pub(crate) permissions_scope: Option<String>,
    /// Whose rights count besides its permissions: the "caller"'s, or nobody's ("function")
    #[arg(long, value_name = "WHO", value_parser = ["caller", "function"])]
    pub(crate) acts_as: Option<String>,
    /// Time limit of a run in seconds, or "none" for the default
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<String>,
    /// Attempts of a queued run, or "none" for the default
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<String>,
    /// Memory of a run in MiB, or "none" for the default
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<String>,
    /// Runs at the same time, or "none" for the default
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<String>,
    /// Runs in a time, for example 100/m, or "none"
    #[arg(long, value_name = "RATE")]
    pub(crate) rate_limit: Option<String>,
    /// A condition (CEL) for running at all, of whatever subscription; "none" for no condition
    #[arg(long, value_name = "CEL")]
    pub(crate) filter_conditions: Option<String>,
    #[command(flatten)]
    pub(crate) variables: Variables,
    /// Whether everybody may call it, without a credential
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) public: Option<bool>,
    /// What public calls give it: the "json" of their body, or the "raw" request
    #[arg(long, value_name = "FORM", value_parser = ["json", "raw"])]
    pub(crate) request: Option<String>,
    /// Whether calls are queued unless they say otherwise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) r#async: Option<bool>,
    /// Whether it runs at all
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) active: Option<bool>,
    /// The same as --active=false
    #[arg(long, conflicts_with = "active")]
    pub(crate) inactive: bool,
    /// Subscribe it to this event type; may be repeated
    #[arg(long, value_name = "EVENT")]
    pub(crate) subscribe: Vec<String>,
    #[command(flatten)]
    pub(crate) subscription: Subscription,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Options of a subscription.
#[derive(Debug, Args)]
pub(crate) struct Subscription {
    /// Lower runs its enrichment first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// A condition (CEL) for running on this event; "none" for no condition
    #[arg(long, value_name = "CEL")]
    pub(crate) filter: Option<String>,
    /// What a run of a PRE event that takes too long means
    #[arg(long, value_name = "VERDICT", value_parser = ["deny", "allow"])]
    pub(crate) on_timeout: Option<String>,
}

impl Subscription {
    /// The flags that were given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--priority", self.priority.is_some()),
            ("--filter", self.filter.is_some()),
            ("--on-timeout", self.on_timeout.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, given)| given.then_some(flag))
    }
}

#[derive(Debug, Args)]
pub(crate) struct FunctionLogs {
    /// The function's slug
    pub(crate) function: String,
    /// Its app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: Option<String>,
    /// How many runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on with the runs that follow, until interrupted
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) times: Times,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct FunctionRun {
    /// A deployed function's slug, or a path to a file or folder
    pub(crate) function: String,
    /// Deployed function: its app
    #[arg(long, value_name = "SLUG")]
    pub(crate) app: Option<String>,
    /// Parameters: a JSON object, or a file that holds one
    #[arg(long, value_name = "JSON|FILE")]
    pub(crate) params: Option<String>,
    /// Deployed function: queue it and do not wait
    #[arg(long)]
    pub(crate) r#async: bool,
    /// File: run it with the sample of this event type
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,
    /// File: who acts, as `user_data`: a JSON object, a file that holds one, or a username
    #[arg(long, value_name = "JSON|FILE|NAME")]
    pub(crate) user: Option<String>,
    /// File: a secret that `sdk_client.secrets` gives; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) secret: Vec<String>,
    /// File: secrets, a line KEY=VALUE for each
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// File: an environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// File: an environment variable that has the value of a secret of --secret or --env-file; may be repeated
    #[arg(long, value_name = "NAME=KEY")]
    pub(crate) secret_env: Vec<String>,
    /// File: where it begins, if not in the function main of main.py
    #[arg(long, value_name = "MODULE:FUNCTION")]
    pub(crate) entrypoint: Option<String>,
    /// File: it may make requests, as a function with network "egress"
    #[arg(long)]
    pub(crate) egress: bool,
    /// File: time limit in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}
