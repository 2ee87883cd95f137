//! A running server.
//!
//! When one is dropped, its process is killed and reaped, and nothing that it started may be left.

use super::api::Api;
use super::folder::Folder;
use super::processes::{self, Process};
use super::{poll, soon};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// A running server and requests in its superuser's name.
pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) folder: Arc<Folder>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    child: Child,
    pid: i32,
}

/// What a process has said so far.
#[derive(Clone)]
pub(crate) struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    pub(crate) fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while let Ok(1..) = stream.read_line(&mut line).await {
                // A process that was killed may leave half a line, which says nothing.
                if let Some(whole) = line.strip_suffix('\n') {
                    sender.send_modify(|said| said.push(whole.to_owned()));
                }
                line.clear();
            }
        });
        Self(receiver)
    }

    /// Waits for a line with `text`.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let found = self.line_or_end(text).await;
        found.unwrap_or_else(|| panic!("ended without saying {text:?}:\n{}", self.so_far()))
    }

    /// The same; none when the stream ends without one.
    async fn line_or_end(&mut self, text: &str) -> Option<String> {
        let has = |line: &&String| line.contains(text);
        let waited = self.0.wait_for(|said| said.iter().any(|line| has(&line)));
        let found = soon(text, waited).await.ok()?;
        found.iter().find(has).cloned()
    }

    pub(crate) fn so_far(&self) -> String {
        self.0.borrow().join("\n")
    }
}

/// For functions that a test steers through files: they must see the test's folder.
pub(crate) const WITHOUT_WALLS: (&str, &str) = ("TOLLGATE_FUNCTIONS__SANDBOX", "off");

impl Server {
    /// A server in `folder` whose functions see the test's folder.
    pub(crate) async fn without_walls(folder: &Arc<Folder>) -> Self {
        Self::start_in(folder, &[], &[WITHOUT_WALLS]).await
    }

    /// A server in a folder of its own.
    pub(crate) async fn start() -> Self {
        Self::start_in(&Arc::new(Folder::new()), &[], &[]).await
    }

    /// A server in `folder`, with further arguments and with settings from the environment.
    pub(crate) async fn start_in(
        folder: &Arc<Folder>,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        match Self::try_start_in(folder, args, settings).await {
            Ok(server) => server,
            Err((status, said)) => panic!("{status} instead of listening:\n{said}"),
        }
    }

    /// A server that other programs start, each becoming the next.
    pub(crate) async fn try_start_through(
        folder: &Arc<Folder>,
        wrapper: &[String],
        settings: &[(&str, &str)],
    ) -> Result<Self, (ExitStatus, String)> {
        let command = folder.command_through(wrapper, &["serve", "--listen", "127.0.0.1:0"]);
        Self::try_start(folder, command, settings).await
    }

    /// The same for a server that may end before it listens: how it ended, and what it said.
    pub(crate) async fn try_start_in(
        folder: &Arc<Folder>,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, (ExitStatus, String)> {
        let mut command = folder.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Self::try_start(folder, command, settings).await
    }

    async fn try_start(
        folder: &Arc<Folder>,
        mut command: Command,
        settings: &[(&str, &str)],
    ) -> Result<Self, (ExitStatus, String)> {
        let mut child = command.envs(settings.iter().copied()).spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let mut stderr = Lines::of(child.stderr.take().unwrap());
        let Some(line) = stderr.line_or_end("listens on ").await else {
            let status = soon("the server's end", child.wait()).await.unwrap();
            return Err((status, stderr.so_far()));
        };
        let url = line.rsplit(' ').next().unwrap().to_owned();
        let access = std::fs::read(folder.data().join("cli.json")).unwrap();
        let access: Value = serde_json::from_slice(&access).unwrap();
        assert_eq!(access["url"], *url);
        let key = access["api_key"].as_str().unwrap();
        let api = Api::new(&url, Some(format!("Api-Key {key}")));
        Ok(Self {
            api,
            folder: Arc::clone(folder),
            stdout,
            stderr,
            child,
            pid,
        })
    }

    /// Everything that the server has started and that still runs: interpreters, and what they
    /// started.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::descendants(self.pid)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it stands still after a SIGSTOP.
    pub(crate) fn is_stopped(&self) -> bool {
        processes::is_stopped(self.pid)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid).unwrap(), signal).unwrap();
    }

    /// Waits for its end and for the end of everything that it had started.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let status = soon("the server's end", self.child.wait()).await.unwrap();
        self.nothing_is_left();
        status
    }

    /// Stops it as an operator does.
    pub(crate) async fn stop(self) {
        self.signal(Signal::TERM);
        let said = self.stderr.clone();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", said.so_far());
    }

    /// The same, and it must have ended within `limit`.
    pub(crate) async fn stop_within(self, limit: Duration) {
        let said = self.stderr.clone();
        let stopped = tokio::time::timeout(limit, self.stop()).await;
        assert!(stopped.is_ok(), "not within {limit:?}: {}", said.so_far());
    }

    /// Ends it without a warning.
    pub(crate) async fn kill(self) {
        let started = self.processes();
        self.signal(Signal::KILL);
        self.ended().await;
        let ended = poll::holds_soon(|| !started.iter().any(Process::runs));
        assert!(ended, "left behind by a killed server: {started:?}");
    }

    /// Kills what a server left behind and fails.
    fn nothing_is_left(&self) {
        let folder = self.folder.path();
        if poll::holds_soon(|| processes::inside(folder).is_empty()) {
            return;
        }
        let left = processes::inside(folder);
        left.iter().for_each(Process::kill);
        let message = format!("left behind: {left:?}\nstderr:\n{}", self.stderr.so_far());
        if std::thread::panicking() {
            super::skipped(&message);
        } else {
            panic!("{message}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("the server's stderr:\n{}", self.stderr.so_far());
        }
        let _ = self.child.start_kill();
        let reaped = poll::holds_soon(|| !matches!(self.child.try_wait(), Ok(None)));
        assert!(
            reaped || std::thread::panicking(),
            "the server cannot be killed"
        );
        self.nothing_is_left();
    }
}
