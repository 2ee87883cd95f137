//! What the operator of a data folder may do without a credential, because the folder is the operator's own.
//!
//! One request is carried out in one way: by the server that uses the folder, asked through a socket in it, or, where
//! no server runs, by this process, which opens the folder itself. The socket must never answer anybody but the
//! folder's owner and root; nothing of this is reachable over HTTP.

mod channel;
mod perform;

pub(crate) use channel::Channel;
pub(crate) use perform::Operator;

use crate::AnyError;
use crate::compose::Composition;
use crate::config::Config;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tollgate_core::supervise::Supervisor;

/// What is to be done.
#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    CreateSuperuser {
        site: String,
        email: String,
        username: Option<String>,
        password: String,
    },
    ResetPassword {
        site: String,
        login: String,
        password: String,
    },
    /// Another username or address for a user, by number.
    Rename {
        site: String,
        id: i64,
        username: Option<String>,
        email: Option<String>,
    },
    Sites,
    ChangeSite {
        change: SiteChange,
    },
    Egress {
        site: String,
        /// None leaves the list as it is.
        hosts: Option<Vec<String>>,
    },
    /// A key with which the command line comes into a site, kept in `cli.json`.
    Access {
        site: String,
    },
    Backup {
        /// Absolute; it does not exist.
        dir: PathBuf,
        keys: bool,
    },
}

/// What is to become of a site.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SiteChange {
    Create { slug: String, domains: Vec<String> },
    AddDomain { slug: String, domain: String },
    RemoveDomain { slug: String, domain: String },
}

/// Has a request carried out by whoever has the folder.
pub(crate) async fn ask(config: &Config, request: &Request) -> Result<Value, AnyError> {
    if let Some(answer) = channel::ask(&config.data_dir, request).await? {
        return Ok(answer);
    }
    if matches!(request, Request::Access { .. }) {
        let dir = config.data_dir.display();
        return Err(format!("no server runs in {dir}; start one").into());
    }
    let composition = Composition::open(config, Supervisor::default())?;
    let operator = composition.operator(config, None);
    let done = operator.perform(request).await;
    drop(operator);
    composition.stop(Duration::ZERO).await;
    done
}
