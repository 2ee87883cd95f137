//! Functions, their immutable versions, and what a runtime needs to run one.
//!
//! Must never run anything: running is the business of the runtimes behind [`crate::ports`].

use super::bundle::BundleRef;
use super::entrypoint::Entrypoint;
use super::raw::RequestForm;
use super::variables::{InForce, Variables, VariablesRevision};
use crate::egress::EgressHosts;
use crate::ids::{AppId, FunctionId, SiteId, VersionId};
use crate::limits;
use crate::rights::{ActsAs, FunctionRights};
use crate::text::text_enum;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a function is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// The user's code, in a worker process.
    App,
    /// An HTTP POST to the function's `webhook_url`.
    Proxy,
    /// A Rust function that the operator registered under the function's slug.
    System,
}

/// The language of an `app` function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// CPython 3.
    Python,
    /// Node.js.
    Node,
}

/// What network an `app` function may reach.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// None at all.
    #[default]
    None,
    /// The outside, through the server's guarded client.
    Egress,
}

text_enum!(ExecutionMode { App => "app", Proxy => "proxy", System => "system" });
text_enum!(Environment { Python => "python", Node => "node" });
text_enum!(Network { None => "none", Egress => "egress" });

/// What a user may set on a function besides its code; unset means the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionOptions {
    /// Time limit of one run, in seconds, above 0 and at most [`limits::TIMEOUT_MAX`].
    pub timeout_seconds: Option<f64>,
    /// Memory limit of one worker, in MiB.
    pub memory_mb: Option<u32>,
    /// Most runs at the same time.
    pub max_concurrency: Option<u32>,
    /// How often it may be called, as [`crate::rate::Rate`] reads it. Events are not calls.
    #[serde(default)]
    pub rate_limit: Option<String>,
    /// Attempts of a POST or queued run.
    pub max_attempts: Option<u32>,
    /// Network reach of an `app` function.
    #[serde(default)]
    pub network: Network,
    /// A condition that must hold, beside each subscription's own.
    pub filter_conditions: Option<String>,
    /// What it is given of a public call.
    #[serde(default)]
    pub request: RequestForm,
    /// Its own environment variables.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub variables: Variables,
}

/// A function as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its number, unique within the installation.
    pub id: FunctionId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// That app's name.
    pub app_name: String,
    /// That app's slug.
    pub app_slug: String,
    /// Name for people.
    pub name: String,
    /// Name in paths, unique within the app.
    pub slug: String,
    /// What it does, for people.
    pub description: String,
    /// How it is run.
    pub execution_mode: ExecutionMode,
    /// The language of its code.
    pub environment: Environment,
    /// Inactive functions are neither run nor called.
    pub is_active: bool,
    /// May be executed without a credential.
    pub is_public: bool,
    /// Executing it queues the run unless the caller says otherwise.
    pub async_mode: bool,
    /// The number of the version that runs.
    pub version: u32,
    /// Limits and conditions.
    pub options: FunctionOptions,
    /// What it may do.
    pub rights: FunctionRights,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// One immutable version of what a function runs.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionVersion {
    /// What lists show of it.
    pub entry: VersionEntry,
    /// What runs.
    pub source: Source,
}

/// A version without what it runs: a page of them stays small, however large their code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// Its number within the installation.
    pub id: VersionId,
    /// The function.
    pub function_id: FunctionId,
    /// 1, 2, 3 … within the function.
    pub number: u32,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Whether this is the version that runs.
    pub is_active: bool,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// What a version runs. A change of any of it is a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Source {
    /// Source code in `environment`.
    App {
        /// The language.
        environment: Environment,
        /// The code, UTF-8: of the one file, or of the file with the entry point.
        code: Arc<str>,
        /// Where it begins; none means the function `main` of the module `main`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entrypoint: Option<Entrypoint>,
        /// All files, where there is more than one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bundle: Option<BundleRef>,
    },
    /// One POST to `webhook_url`.
    Proxy {
        /// `http` or `https` address.
        webhook_url: String,
        /// Extra request headers.
        headers: BTreeMap<String, String>,
    },
    /// Registered by the operator under the function's slug.
    System,
}

/// What is shown instead of a header's value, which is often a secret. Sent back, it means "as it
/// was".
pub const HIDDEN: &str = "********";

impl Source {
    /// One file of an `app` function, which begins with `main`.
    pub fn single(environment: Environment, code: impl Into<Arc<str>>) -> Self {
        Self::App {
            environment,
            code: code.into(),
            entrypoint: None,
            bundle: None,
        }
    }

    /// The execution mode that this source belongs to.
    pub const fn mode(&self) -> ExecutionMode {
        match self {
            Self::App { .. } => ExecutionMode::App,
            Self::Proxy { .. } => ExecutionMode::Proxy,
            Self::System => ExecutionMode::System,
        }
    }
}

/// Everything a runtime needs to run one version of one function.
///
/// Made once per version and shared: two executables with the same [`Image`] are the same code with the same
/// variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Executable {
    /// The site that owns the function. Workers are never shared between sites.
    pub site_id: SiteId,
    /// That site's slug.
    pub site_slug: String,
    /// The app.
    pub app_id: AppId,
    /// That app's slug.
    pub app_slug: String,
    /// The function.
    pub function_id: FunctionId,
    /// Its name.
    pub function_name: String,
    /// Its slug.
    pub function_slug: String,
    /// The version.
    pub version_id: VersionId,
    /// The version's number within the function.
    pub version: u32,
    /// What to run.
    pub source: Source,
    /// Limits.
    pub options: FunctionOptions,
    /// Whose rights count. What it may do is looked up when it asks.
    pub acts_as: ActsAs,
    /// The hosts that it may reach: a webhook's, and with [`Network::Egress`] those of requests.
    pub egress_hosts: EgressHosts,
    /// Its environment variables.
    pub in_force: Arc<InForce>,
}

/// What a worker is loaded with: a version, and the variables around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// The version.
    pub version: VersionId,
    /// The variables.
    pub variables: VariablesRevision,
}

impl Executable {
    /// Who else may use a worker that was loaded with it.
    pub fn image(&self) -> Image {
        Image {
            version: self.version_id,
            variables: self.in_force.revision,
        }
    }

    /// Time limit of one run.
    pub fn timeout(&self) -> Duration {
        self.options
            .timeout_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map_or(limits::TIMEOUT_DEFAULT, |limit| {
                limit.min(limits::TIMEOUT_MAX)
            })
    }

    /// Memory limit of one worker, in MiB.
    pub fn memory_mb(&self) -> u32 {
        self.options
            .memory_mb
            .unwrap_or(limits::MEMORY_MB_DEFAULT)
            .min(limits::MEMORY_MB_MAX)
    }

    /// Attempts of a POST or queued run, unless the subscription says otherwise.
    pub fn max_attempts(&self) -> u32 {
        self.options
            .max_attempts
            .unwrap_or(limits::MAX_ATTEMPTS_DEFAULT)
    }
}

/// Why code was refused, with the place where one is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CodeError {
    /// What is wrong and what to do about it.
    pub message: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The calls that led there, for code that was run.
    pub traceback: Option<String>,
}

/// The part of `params["__function__"]` that tells a function which call this is.
#[derive(Debug, Clone, Serialize)]
pub struct CallContext {
    /// The function's id.
    pub id: FunctionId,
    /// The function's name.
    pub name: String,
    /// The function's slug.
    pub slug: String,
    /// The version that runs.
    pub version: u32,
    /// The app's slug.
    pub app_slug: String,
    /// The task's id: the same on every attempt.
    pub execution_id: crate::ids::TaskId,
    /// 1 on the first attempt.
    pub attempt: u32,
    /// When the run is ended by force (wall clock, for display and planning).
    pub deadline: Timestamp,
    /// The event type, when an event caused the call.
    pub event: Option<crate::events::EventType>,
    /// The event's id, when an event caused the call.
    pub event_id: Option<crate::ids::EventId>,
    /// The request that caused the call; none when the program or a function did.
    pub request: Option<crate::json::JsonText>,
}
