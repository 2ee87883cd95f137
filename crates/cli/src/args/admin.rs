//! What the operator of a data folder does.

use super::Output;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Create a superuser
    Create {
        /// The username; without it one that goes with the address and is free
        #[arg(long)]
        username: Option<String>,
        #[command(flatten)]
        user: AdminUser,
    },
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
        #[command(flatten)]
        output: Output,
    },
    /// Print the key with which the command line on this machine reaches its server
    ApiKey {
        /// The site
        #[arg(long, default_value = "default")]
        site: String,
        #[command(flatten)]
        output: Output,
    },
    /// Sign tokens with a new key, with the server stopped; those of the old one are good until they expire or
    /// the next rotation
    RotateKey(Output),
    /// Show or set which hosts a site's functions and webhooks may reach
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
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AdminUser {
    /// E-mail address (or, for a reset, username)
    #[arg(long)]
    pub(crate) email: String,
    #[command(flatten)]
    pub(crate) password: NewPassword,
    /// The site
    #[arg(long, default_value = "default")]
    pub(crate) site: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where a new password comes from.
#[derive(Debug, Args)]
pub(crate) struct NewPassword {
    /// The password; who looks at the machine's processes or the shell's history sees it. Without this and
    /// --password-stdin one is made and printed once
    #[arg(long, conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input, or ask for it on a terminal
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// All sites and their host names
    List(Output),
    /// Create a site
    Create {
        /// Lower-case letters, digits, dashes; the sub-domain of the base domain
        slug: String,
        /// A host name that leads to it; may be repeated
        #[arg(long, value_name = "HOST")]
        domain: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Let a host name lead to a site
    AddDomain {
        /// The site
        slug: String,
        /// The host name
        #[arg(value_name = "HOST")]
        domain: String,
        #[command(flatten)]
        output: Output,
    },
    /// Let a host name lead to a site no more
    RemoveDomain {
        /// The site
        slug: String,
        /// The host name
        #[arg(value_name = "HOST")]
        domain: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder for the copy, which must not exist; `serve --data-dir` starts from it
    pub(crate) dir: PathBuf,
    /// Leave out the keys. Without `secrets.key` nobody can read the secrets in the copy
    #[arg(long)]
    pub(crate) without_keys: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
