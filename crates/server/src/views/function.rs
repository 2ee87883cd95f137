//! Functions and their versions.

use crate::words;
use serde::Serialize;
use std::collections::BTreeMap;
use tollgate_core::functions::webhook::{Circuit, WebhookState};
use tollgate_core::functions::{Function, FunctionVersion, HIDDEN, Source, VersionEntry};
use tollgate_core::time::Timestamp;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A function.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FunctionView {
    id: i64,
    name: String,
    slug: String,
    description: String,
    #[schema(schema_with = words::environment)]
    environment: &'static str,
    #[schema(schema_with = words::execution_mode)]
    execution_mode: &'static str,
    app: i64,
    app_name: String,
    app_slug: String,
    is_active: bool,
    is_public: bool,
    async_mode: bool,
    version: u32,
    timeout_seconds: Option<f64>,
    memory_mb: Option<u32>,
    max_concurrency: Option<u32>,
    rate_limit: Option<String>,
    max_attempts: Option<u32>,
    #[schema(schema_with = words::network)]
    network: &'static str,
    /// Shown to those who may subscribe the function.
    filter_conditions: Option<String>,
    /// What it is given of a public call.
    #[schema(schema_with = words::request_form)]
    request: &'static str,
    /// Its own environment variables.
    env: BTreeMap<String, String>,
    /// Those that have the value of a secret, with the secret's key.
    secret_env: BTreeMap<String, String>,
    /// What it may ask of the platform, beside what every function may.
    #[schema(schema_with = words::permissions)]
    permissions: Vec<&'static str>,
    #[schema(schema_with = words::grant_scope)]
    permissions_scope: &'static str,
    #[schema(schema_with = words::acts_as)]
    acts_as: &'static str,
    /// Who declared that.
    permissions_granted_by: Option<GrantorView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    permissions_granted_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[serde(flatten)]
    source: Option<SourceView>,
    /// Of `proxy` functions: how the webhook does, as this process knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_state: Option<WebhookStateView>,
    /// Of `proxy` functions, in the answer to their creation only: verifies their deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<String>,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

/// Who declared what a function may do.
#[derive(Debug, Serialize, ToSchema)]
struct GrantorView {
    id: i64,
    username: Option<String>,
}

/// How a webhook does.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookStateView {
    /// `closed`: it is called. `open`: it failed too often and is left alone. `half_open`: one call
    /// finds out whether it works again.
    #[schema(schema_with = words::circuit)]
    state: &'static str,
    /// Until when it is left alone.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Calls in a row that found it in trouble.
    failures: u32,
}

impl From<WebhookState> for WebhookStateView {
    fn from(state: WebhookState) -> Self {
        Self {
            state: state.circuit.word(),
            until: match state.circuit {
                Circuit::Open { until } => Some(until),
                Circuit::Closed | Circuit::HalfOpen => None,
            },
            failures: state.failures,
        }
    }
}

/// What a version runs.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct SourceView {
    /// Of `app` functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Of app functions: module and function where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<String>,
    /// Of app functions of several files: what is in them. The code is that of the file with the entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    /// How many files these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    /// Of `proxy` functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
    /// Of `proxy` functions; values are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Option<BTreeMap<String, &'static str>>,
}

/// A version of a function, as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionEntryView {
    id: i64,
    version: u32,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Parts of the stored record that cannot be read: placeholders are shown for them. Absent if there
    /// are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<&'static str>,
}

/// A version of a function with what it runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionView {
    #[serde(flatten)]
    entry: VersionEntryView,
    #[serde(flatten)]
    source: SourceView,
}

impl From<Function> for FunctionView {
    fn from(function: Function) -> Self {
        let permissions = function.rights.permissions.into_iter();
        let granted = function.rights.granted;
        Self {
            id: function.id.0,
            name: function.name,
            slug: function.slug,
            description: function.description,
            environment: function.environment.as_str(),
            execution_mode: function.execution_mode.as_str(),
            app: function.app_id.0,
            app_name: function.app_name,
            app_slug: function.app_slug,
            is_active: function.is_active,
            is_public: function.is_public,
            async_mode: function.async_mode,
            version: function.version,
            timeout_seconds: function.options.timeout_seconds,
            memory_mb: function.options.memory_mb,
            max_concurrency: function.options.max_concurrency,
            rate_limit: function.options.rate_limit,
            max_attempts: function.options.max_attempts,
            network: function.options.network.as_str(),
            filter_conditions: function.options.filter_conditions,
            request: function.options.request.as_str(),
            env: function.options.variables.env,
            secret_env: function.options.variables.secret_env,
            permissions: permissions.map(|it| it.as_str()).collect(),
            permissions_scope: function.rights.scope.as_str(),
            acts_as: function.rights.acts_as.as_str(),
            permissions_granted_at: granted.as_ref().map(|granted| granted.at),
            permissions_granted_by: granted.map(|granted| GrantorView {
                id: granted.by.0,
                username: granted.by_username,
            }),
            created_at: function.created_at,
            updated_at: function.updated_at,
            source: None,
            webhook_state: None,
            webhook_secret: None,
            damaged: function.damaged,
        }
    }
}

impl FunctionView {
    /// The same with what it runs.
    pub(crate) fn with_source(function: Function, source: Source) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::from(function)
        }
    }

    /// The same with how its webhook does.
    pub(crate) fn with_webhook(self, state: Option<WebhookState>) -> Self {
        Self {
            webhook_state: state.map(WebhookStateView::from),
            ..self
        }
    }

    /// The same with the secret that is shown once.
    pub(crate) fn with_secret(self, secret: Option<Zeroizing<String>>) -> Self {
        Self {
            webhook_secret: secret.map(|secret| secret.to_string()),
            ..self
        }
    }
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        match source {
            Source::App {
                code,
                entrypoint,
                bundle,
                ..
            } => Self {
                code: Some(code.as_ref().to_owned()),
                entrypoint: Some(entrypoint.unwrap_or_default().to_string()),
                files: bundle.as_ref().map(|bundle| bundle.files),
                bundle: bundle.map(|bundle| bundle.digest.to_string()),
                ..Self::default()
            },
            Source::Proxy {
                webhook_url,
                headers,
            } => Self {
                webhook_url: Some(webhook_url),
                headers: Some(headers.into_keys().map(|name| (name, HIDDEN)).collect()),
                ..Self::default()
            },
            Source::System => Self::default(),
        }
    }
}

impl From<VersionEntry> for VersionEntryView {
    fn from(entry: VersionEntry) -> Self {
        Self {
            id: entry.id.0,
            version: entry.number,
            is_active: entry.is_active,
            created_at: entry.created_at,
            damaged: entry.damaged,
        }
    }
}

impl From<FunctionVersion> for VersionView {
    fn from(version: FunctionVersion) -> Self {
        Self {
            entry: version.entry.into(),
            source: version.source.into(),
        }
    }
}
