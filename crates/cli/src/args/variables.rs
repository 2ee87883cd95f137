//! Flags that set environment variables.

use clap::Args;

/// Environment variables. Those that are not named stay as they are.
#[derive(Debug, Default, Args)]
pub(crate) struct Variables {
    /// An environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// An environment variable that has the value of a secret; may be repeated
    #[arg(long, value_name = "NAME=KEY")]
    pub(crate) secret_env: Vec<String>,
    /// Take an environment variable away; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) unset_env: Vec<String>,
}
