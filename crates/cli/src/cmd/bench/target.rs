//! The server under load: a process of its own on a folder of its own.

use crate::CommandResult;
use crate::access::LocalAccess;
use crate::args::{ColorChoice, Remote};
use crate::client::Client;
use crate::config::{Config, Purpose};
use crate::terminal::Terminal;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tollgate_core::auth::DEFAULT_SITE;
use tollgate_core::time::{Clock as _, SystemClock};

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a backlog may take to drain before the benchmark gives up.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// Between two looks at the backlog; drain times are no finer than this.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The second site, for what one site's load does to another.
const NEIGHBOUR: &str = "neighbour";
pub(super) const NEIGHBOUR_HOST: &str = "neighbour.test";
pub(super) const NEIGHBOUR_EMAIL: &str = "root@neighbour.example";
pub(super) const NEIGHBOUR_PASSWORD: &str = "only for this benchmark";

/// Resident memory of the server itself, without its workers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Memory {
    pub(super) before_mib: u64,
    pub(super) after_mib: u64,
}

/// A server under load.
pub(super) struct Target {
    child: Child,
    client: Client,
    pub(super) address: String,
    pub(super) api_key: String,
    memory_before_mib: u64,
    _folder: TempDir,
}

impl Target {
    /// Starts it on a free port.
    pub(super) async fn start(terminal: &Terminal) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let data_dir = folder.path().join("data");
        make_neighbour(&data_dir).await?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--data-dir",
            ])
            .arg(&data_dir)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        wait_until_listening(&mut child).await?;
        let mut settings = Map::new();
        settings.insert("data_dir".into(), data_dir.to_string_lossy().into());
        let config = Config::load(None, &settings, Purpose::ShortCommand)?.config;
        let access = LocalAccess::read(&data_dir)?.ok_or("the server left no key")?;
        let remote = Remote {
            url: None,
            api_key: None,
            // The folder's own server, whatever the environment names.
            site: Some(DEFAULT_SITE.to_owned()),
            json: false,
        };
        let client = Client::new(&config, &remote, terminal).await?;
        let memory_before_mib = resident_mib(&child);
        Ok(Self {
            child,
            client,
            address: access.url.trim_start_matches("http://").to_owned(),
            api_key: access.api_key,
            memory_before_mib,
            _folder: folder,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Error> {
        Ok(self.client.get(path).await?.value)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        Ok(self.client.post(path, body).await?.value)
    }

    /// A request that is sent when it is awaited, by whoever that is.
    pub(super) fn patch(
        &self,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<Value, Error>> + Send + use<> {
        let client = self.client.clone();
        let request = client.request(Method::PATCH, path).json(body);
        async move { Ok(client.send(request).await?.value) }
    }

    pub(super) async fn delete(&self, path: &str) -> CommandResult {
        self.client
            .send(self.client.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// Waits until no more than `staying` runs are open and tells how long that took.
    pub(super) async fn drained(&self, staying: usize) -> Result<Duration, Error> {
        let start = SystemClock.monotonic();
        while self.open_runs().await? > staying as u64 {
            if elapsed(start) > DRAIN_MAX {
                return Err("the backlog does not drain".into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(elapsed(start))
    }

    /// Waits until as many runs are open.
    pub(super) async fn runs_open(&self, count: usize) -> CommandResult {
        let start = SystemClock.monotonic();
        while self.open_runs().await? < count as u64 {
            if elapsed(start) > DRAIN_MAX {
                return Err("the calls that should wait do not begin".into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn open_runs(&self) -> Result<u64, Error> {
        let mut open = 0;
        for status in ["PENDING", "STARTED", "RETRY"] {
            let path = format!("/api/invocations/?status={status}&limit=1");
            open += self.client.get(&path).await?.value["total"]
                .as_u64()
                .ok_or("no total")?;
        }
        Ok(open)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory {
            before_mib: self.memory_before_mib,
            after_mib: resident_mib(&self.child),
        }
    }

    /// Ends it as an operator would.
    pub(super) async fn stop(mut self) -> CommandResult {
        let pid = self.child.id().ok_or("the server has ended by itself")?;
        let status = Command::new("kill").arg(pid.to_string()).status().await?;
        if !status.success() {
            return Err("the server could not be signalled".into());
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// A second site with a superuser, made before the server starts.
async fn make_neighbour(data_dir: &Path) -> CommandResult {
    let site = ["site", "create", NEIGHBOUR, "--domain", NEIGHBOUR_HOST];
    let admin = ["admin", "create", "--site", NEIGHBOUR];
    let account = ["--email", NEIGHBOUR_EMAIL, "--password", NEIGHBOUR_PASSWORD];
    for arguments in [
        &["migrate"][..],
        &site,
        &[&admin[..], &account[..]].concat(),
    ] {
        let output = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--data-dir")
            .arg(data_dir)
            .output()
            .await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
    }
    Ok(())
}

pub(super) fn elapsed(since: Instant) -> Duration {
    SystemClock.monotonic().duration_since(since)
}

/// The server says on stderr that it listens; later lines are passed on.
async fn wait_until_listening(child: &mut Child) -> Result<(), Error> {
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if line.contains("listens on") {
            let terminal = Terminal::new(ColorChoice::Auto);
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    terminal.note(line);
                }
            });
            return Ok(());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(format!("the server did not start:\n{said}").into())
}

fn resident_mib(child: &Child) -> u64 {
    let Some(pid) = child.id() else { return 0 };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
