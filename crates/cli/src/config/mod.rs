//! Settings: the commented default file, a file, the environment, flags, in this order.
//!
//! No other module reads the environment. A secret is shown by nothing but its use.

mod listen;
mod nearest;
mod sources;

use crate::logging;
use figment::Figment;
use figment::providers::{Format as _, Toml};
pub(crate) use listen::{Listen, reachable};
pub(crate) use nearest::{did_you_mean, did_you_mean_one_of};
use serde::{Deserialize, Serialize};
use sources::{Environment, File, FileError, Flags, NotText, named, refused};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tollgate_core::auth::PasswordRules;
use tollgate_core::invocations::retention;
use tollgate_core::invocations::retention::days;
use tollgate_core::limits;
use tollgate_core::site::is_host_name;
use tollgate_core::vault::VaultKey;
use tollgate_runtimes::OutboundConfig;
use tollgate_server::CorsOrigins;

/// The default file, which is also the documentation of every setting.
pub(crate) const DEFAULTS: &str = include_str!("../config.default.toml");

/// The file that is read when none is named.
const FILE: &str = "tollgate.toml";

/// All settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: Listen,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: String,
    pub(crate) base_domain: String,
    pub(crate) admin_email: String,
    pub(crate) admin_password: Secret,
    pub(crate) secrets_key: Secret,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) grace_seconds: Seconds,
    pub(crate) auth: Auth,
    pub(crate) events: Events,
    pub(crate) http: Http,
    pub(crate) execution: Execution,
    pub(crate) retention: Retention,
    pub(crate) functions: Functions,
    pub(crate) outbound: Outbound,
    pub(crate) python: Python,
    pub(crate) node: Node,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) password_min_chars: usize,
    pub(crate) password_refuse_similar: bool,
    pub(crate) password_refuse_common: bool,
    pub(crate) password_refuse_numeric: bool,
}

impl Auth {
    /// The settings as rules.
    pub(crate) const fn password_rules(&self) -> PasswordRules {
        PasswordRules {
            min_chars: self.password_min_chars,
            refuse_similar: self.password_refuse_similar,
            refuse_common: self.password_refuse_common,
            refuse_numeric: self.password_refuse_numeric,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    pub(crate) pre_budget_seconds: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) header_timeout_seconds: Seconds,
    pub(crate) body_timeout_seconds: Seconds,
    pub(crate) write_timeout_seconds: Seconds,
    pub(crate) connections: usize,
    pub(crate) trust_forwarded_for: bool,
    pub(crate) cors_origins: Vec<String>,
}

impl Http {
    /// The origins, if all of them are some.
    pub(crate) fn cors(&self) -> Result<CorsOrigins, String> {
        CorsOrigins::parse(&self.cors_origins)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execution {
    pub(crate) running: usize,
    pub(crate) in_memory: usize,
    pub(crate) waiting_per_site: usize,
    pub(crate) lease_seconds: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) succeeded_days: u32,
    pub(crate) failed_days: u32,
    pub(crate) timed_out_days: u32,
    pub(crate) cancelled_days: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Functions {
    pub(crate) sandbox: Sandbox,
    pub(crate) memory_mb: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outbound {
    pub(crate) allow_private: bool,
    pub(crate) ports: Vec<u16>,
    pub(crate) dns_server: String,
    pub(crate) ca_file: PathBuf,
}

impl Outbound {
    /// None for the system's own servers.
    fn dns(&self) -> Result<Option<SocketAddr>, &'static str> {
        if self.dns_server.is_empty() {
            return Ok(None);
        }
        let address = self.dns_server.parse::<SocketAddr>();
        let address = address.or_else(|_| Ok(SocketAddr::new(self.dns_server.parse()?, 53)));
        address
            .map(Some)
            .map_err(|_: std::net::AddrParseError| "use an IP address, with :PORT unless it is 53")
    }

    /// The settings as the client takes them.
    pub(crate) fn client(&self) -> OutboundConfig {
        OutboundConfig {
            allow_private: self.allow_private,
            ports: self.ports.clone(),
            // Was checked when the settings were read.
            dns_server: self.dns().unwrap_or_default(),
            ca_file: Some(self.ca_file.clone()).filter(|it| !it.as_os_str().is_empty()),
        }
    }
}

/// Whether function code runs behind walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sandbox {
    On,
    Off,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Python {
    pub(crate) program: PathBuf,
    pub(crate) idle_seconds: Seconds,
    pub(crate) workers: usize,
    pub(crate) workers_per_site: usize,
    pub(crate) hosts: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) program: PathBuf,
}

impl Retention {
    fn check(&self) -> Result<(), Wrong> {
        for (key, value) in [
            ("retention.succeeded_days", self.succeeded_days),
            ("retention.failed_days", self.failed_days),
            ("retention.timed_out_days", self.timed_out_days),
            ("retention.cancelled_days", self.cancelled_days),
        ] {
            if value > limits::RETENTION_DAYS_MAX {
                let reason = format!("use 1 to {}, or 0 for ever", limits::RETENTION_DAYS_MAX);
                let value = value.to_string();
                return Err(Wrong { key, value, reason });
            }
        }
        Ok(())
    }

    /// The settings as periods.
    pub(crate) fn periods(&self) -> retention::Retention {
        retention::Retention {
            succeeded: days(self.succeeded_days),
            failed: days(self.failed_days),
            timed_out: days(self.timed_out_days),
            cancelled: days(self.cancelled_days),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A number of seconds: not so few that nothing could ever be in time, and at most a day.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub(crate) struct Seconds(Duration);

impl Seconds {
    pub(crate) const fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        let least = limits::TIMEOUT_MIN.as_secs_f64();
        if seconds >= least && seconds <= 86_400.0 {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err(format!(
                "{seconds} is not a number of seconds from {least} to 86400"
            ))
        }
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0.as_secs_f64()
    }
}

/// A value that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The value, if one is set.
    pub(crate) fn reveal(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }

    const fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "********" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// Whether a process stays: a short command says no more than it must unless asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    ShortCommand,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    NotText(#[from] NotText),
    #[error("{0}")]
    Refused(String),
}

/// Settings, and what to say about where they come from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Variables that look like settings and are none.
    pub(crate) warnings: Vec<String>,
}

/// What a command that talks to a server is given by the environment.
#[derive(Debug, Default)]
pub(crate) struct Address {
    pub(crate) url: Option<String>,
    pub(crate) api_key: Option<String>,
}

impl Address {
    /// `TOLLGATE_URL` and `TOLLGATE_API_KEY`.
    pub(crate) fn of_environment() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: read("TOLLGATE_URL"),
            api_key: read("TOLLGATE_API_KEY"),
        }
    }
}

/// A value that does not hold: its key, itself, and what to do.
struct Wrong {
    key: &'static str,
    value: String,
    reason: String,
}

fn wrong(key: &'static str, value: &dyn fmt::Display, reason: &str) -> Result<(), Wrong> {
    Err(Wrong {
        key,
        value: value.to_string(),
        reason: reason.to_owned(),
    })
}

impl Config {
    /// Reads the settings; `flags` is a table of those given on the command line.
    pub(crate) fn load(
        file: Option<&Path>,
        flags: &serde_json::Map<String, serde_json::Value>,
        purpose: Purpose,
    ) -> Result<Loaded, ConfigError> {
        Self::load_from(file, std::env::vars_os(), flags, purpose)
    }

    fn load_from(
        file: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        flags: &serde_json::Map<String, serde_json::Value>,
        purpose: Purpose,
    ) -> Result<Loaded, ConfigError> {
        let known = sources::known(DEFAULTS);
        let mut settings = Figment::new().merge(Toml::string(DEFAULTS));
        if purpose == Purpose::ShortCommand {
            settings = settings.merge(("log", "warn"));
        }
        // A file that is named must be there; the usual one need not.
        let usual = Path::new(FILE);
        let file = file.or_else(|| usual.exists().then_some(usual));
        let file = file.map(|file| File::read(file, &known)).transpose()?;
        if let Some(file) = &file {
            settings = settings.merge(file.provider());
        }
        let environment = Environment::read(variables, &known)?;
        let warnings = environment.warnings.clone();
        settings = settings.merge(environment).merge(Flags(flags));
        let file = file.as_ref();
        let config: Self = settings
            .extract()
            .map_err(|error| ConfigError::Refused(refused(error, &settings, file, &known)))?;
        config.check().map_err(|Wrong { key, value, reason }| {
            let name = named(key, settings.find_metadata(key), file);
            ConfigError::Refused(format!("{name} = {value:?}: {reason}"))
        })?;
        Ok(Loaded { config, warnings })
    }

    fn check(&self) -> Result<(), Wrong> {
        self.check_texts()?;
        self.check_numbers()
    }

    fn check_texts(&self) -> Result<(), Wrong> {
        if let Err(reason) = logging::check(&self.log) {
            return wrong("log", &self.log, &reason);
        }
        if !self.base_domain.is_empty()
            && !is_host_name(self.base_domain.to_lowercase().trim_end_matches('.'))
        {
            let reason = "use a host name such as example.com, without scheme and port";
            return wrong("base_domain", &self.base_domain, reason);
        }
        if let Some(key) = self.secrets_key.reveal()
            && VaultKey::from_hex(key).is_none()
        {
            let reason = "this is not a key of 64 hexadecimal digits";
            return wrong("secrets_key", &self.secrets_key.shown(), reason);
        }
        if self.database_url != "sqlite" && !self.database_url.starts_with("sqlite://") {
            let reason = "this version keeps its data in SQLite; use \"sqlite\" or sqlite://FOLDER";
            return wrong("database_url", &self.database_url, reason);
        }
        if let Err(reason) = self.http.cors() {
            let origins = self.http.cors_origins.join(", ");
            return wrong("http.cors_origins", &origins, &reason);
        }
        if let Err(reason) = self.outbound.dns() {
            return wrong("outbound.dns_server", &self.outbound.dns_server, reason);
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        let (python, chars) = (&self.python, self.auth.password_min_chars);
        for (key, value, most) in [
            ("python.workers", python.workers, limits::WORKER_PROCESSES),
            (
                "python.workers_per_site",
                python.workers_per_site,
                limits::WORKERS_PER_SITE,
            ),
            ("python.hosts", python.hosts, limits::HOSTS),
            ("auth.password_min_chars", chars, limits::PASSWORD_CHARS_MAX),
        ] {
            if value == 0 || value > most {
                return wrong(key, &value, &format!("use 1 to {most}"));
            }
        }
        // Less would not hold one worker.
        let memory = self.functions.memory_mb;
        if memory != 0 && !(64..=1 << 30).contains(&memory) {
            return wrong("functions.memory_mb", &memory, "use 0, or 64 to 1073741824");
        }
        for (key, value) in [
            ("http.connections", self.http.connections),
            ("execution.running", self.execution.running),
            ("execution.in_memory", self.execution.in_memory),
            (
                "execution.waiting_per_site",
                self.execution.waiting_per_site,
            ),
        ] {
            if value == 0 || value > 1_000_000 {
                return wrong(key, &value, "use 1 to 1000000");
            }
        }
        if self.execution.lease_seconds.get() < limits::LEASE_MIN {
            let least = limits::LEASE_MIN.as_secs();
            let reason = format!("use at least {least} second");
            let key = "execution.lease_seconds";
            return wrong(
                key,
                &self.execution.lease_seconds.get().as_secs_f64(),
                &reason,
            );
        }
        self.retention.check()
    }

    /// The folder of the database: `data_dir`, unless `database_url` names another.
    pub(crate) fn database_dir(&self) -> &Path {
        self.database_url
            .strip_prefix("sqlite://")
            .map_or(&self.data_dir, Path::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(flags: serde_json::Value) -> Result<Config, ConfigError> {
        let serde_json::Value::Object(flags) = flags else {
            panic!("not a table")
        };
        let empty = tempfile::NamedTempFile::new().unwrap();
        let nothing = std::iter::empty();
        let loaded = Config::load_from(Some(empty.path()), nothing, &flags, Purpose::Server)?;
        Ok(loaded.config)
    }

    #[test]
    fn the_default_file_is_complete_and_valid() {
        let config = load(json!({})).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(
            config.events.pre_budget_seconds.get(),
            limits::PRE_BUDGET_DEFAULT
        );
        let http = &config.http;
        assert_eq!(http.header_timeout_seconds.get(), limits::HEADER_TIMEOUT);
        assert_eq!(http.body_timeout_seconds.get(), limits::BODY_TIMEOUT);
        assert_eq!(http.write_timeout_seconds.get(), limits::WRITE_TIMEOUT);
        assert_eq!(http.connections, limits::CONNECTIONS);
        assert_eq!(config.execution.running, limits::TASKS_RUNNING);
        assert_eq!(config.execution.in_memory, limits::TASKS_IN_MEMORY);
        let waiting = config.execution.waiting_per_site;
        assert_eq!(u64::try_from(waiting).unwrap(), limits::QUEUE_PER_SITE);
        assert_eq!(config.execution.lease_seconds.get(), limits::LEASE);
        assert_eq!(config.python.workers, limits::WORKER_PROCESSES);
        assert_eq!(config.python.workers_per_site, limits::WORKERS_PER_SITE);
        assert_eq!(config.python.hosts, limits::HOSTS);
        assert_eq!(
            config.retention.periods(),
            tollgate_core::invocations::retention::Retention::default()
        );
        assert_eq!(config.functions.sandbox, Sandbox::On);
        assert_eq!(config.auth.password_rules(), PasswordRules::default());
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (flags, name) in [
            (json!({"listne": "127.0.0.1:1"}), "listne"),
            (json!({"listen": "nowhere"}), "listen"),
            (json!({"grace_seconds": -1.0}), "grace_seconds"),
            (json!({"python": {"workers": 0}}), "python.workers"),
            (json!({"python": {"hosts": 0}}), "python.hosts"),
            (
                json!({"python": {"workers_per_site": 129}}),
                "python.workers_per_site",
            ),
            (
                json!({"execution": {"lease_seconds": 0.5}}),
                "execution.lease_seconds",
            ),
            (
                json!({"retention": {"failed_days": 36_501}}),
                "retention.failed_days",
            ),
            (json!({"retention": {"dead_days": 1}}), "dead_days"),
            (json!({"functions": {"sandbox": "no"}}), "functions.sandbox"),
            (
                json!({"functions": {"memory_mb": 1}}),
                "functions.memory_mb",
            ),
            (
                json!({"outbound": {"dns_server": "dns.example"}}),
                "outbound.dns_server",
            ),
            (json!({"outbound": {"ports": [70_000]}}), "outbound.ports"),
            (
                json!({"auth": {"password_min_chars": 0}}),
                "auth.password_min_chars",
            ),
            (json!({"database_url": "mysql://x"}), "database_url"),
            (json!({"log_format": "xml"}), "log_format"),
        ] {
            let error = load(flags).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = load(json!({"admin_password": "hunter2hunter2"})).unwrap();
        assert_eq!(config.admin_password.reveal(), Some("hunter2hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
    }
}
