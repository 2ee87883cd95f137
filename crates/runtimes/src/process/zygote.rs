//! The server's hold on one zygote process: starting it, asking it for workers, noticing its end.
//!
//! A thread of its own starts the launcher and waits for it. It has to be that thread for the whole
//! life of the zygote, because the kernel ties the parent-death signal to the thread that forked.
//! Messages go over a `SOCK_SEQPACKET` pair, so each is whole and can carry a worker's descriptors.

use super::config::ProcessConfig;
use super::launcher::{self, Plan};
use super::watchdog;
use parking_lot::Mutex;
use rustix::io::{Errno, IoSlice};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tollgate_core::confinement::{Confinement, Walls};

/// How long a launcher may take until its host is ready.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a zygote may take to kill its workers and end.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of the zygote's error output that are kept.
const ERROR_TAIL_BYTES: usize = 4096;
/// Longest message on the control socket.
const MESSAGE_BYTES: usize = 16 * 1024;

/// How a worker process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was never started.
    NotStarted(String),
    /// Its zygote ended, and it with it.
    ZygoteGone,
}

/// How a worker ended, once it has.
pub(super) type ExitWatch = watch::Receiver<Option<Exit>>;

enum Command {
    Spawn {
        id: u64,
        descriptors: [OwnedFd; 2],
        exit: watch::Sender<Option<Exit>>,
    },
    Kill {
        id: u64,
    },
    End,
}

/// A running zygote. When it is told to, or the last clone is dropped, it ends and takes its
/// workers along.
#[derive(Clone)]
pub(super) struct Zygote {
    commands: mpsc::UnboundedSender<Command>,
    ended: watch::Receiver<Option<String>>,
    pid: Arc<AtomicU32>,
    confinement: Confinement,
    memory: Option<Arc<MemoryWatch>>,
}

/// How many processes were killed for want of memory.
struct MemoryWatch {
    kills: Kills,
    seen: AtomicU64,
}

/// Who counts them.
enum Kills {
    /// The kernel, in this file of the control group.
    Group(PathBuf),
    /// The watchdog.
    Watchdog(Arc<AtomicU64>),
}

impl MemoryWatch {
    fn new(kills: Kills) -> Arc<Self> {
        let seen = AtomicU64::new(0);
        Arc::new(Self { kills, seen })
    }

    /// Over what lives below `pid`, where there is no group.
    fn over(pid: &AtomicU32, bound: u64, ended: watch::Receiver<Option<String>>) -> Arc<Self> {
        let kills = Arc::new(AtomicU64::new(0));
        let root = pid.load(Ordering::Relaxed);
        tokio::spawn(watchdog::watch(root, bound, Arc::clone(&kills), ended));
        Self::new(Kills::Watchdog(kills))
    }
}

/// Why there is no zygote.
#[derive(Debug, Clone)]
pub(super) struct NotStarted {
    pub(super) reason: String,
    /// A further try would end the same way: this machine cannot do it.
    pub(super) lasting: bool,
}

impl<T: Into<String>> From<T> for NotStarted {
    fn from(reason: T) -> Self {
        Self {
            reason: reason.into(),
            lasting: false,
        }
    }
}

/// A message from launcher or zygote.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Message {
    Walls {
        walls: Walls,
        events: Option<PathBuf>,
    },
    Ready {
        python: String,
    },
    Fatal {
        step: String,
        error: String,
        lasting: bool,
    },
    Failed {
        id: u64,
        error: String,
    },
    Exited {
        id: u64,
        pid: u32,
        code: Option<i32>,
        signal: Option<i32>,
    },
}

impl Zygote {
    /// Starts a zygote and waits until it can fork.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(super) async fn start(config: &ProcessConfig) -> Result<Self, NotStarted> {
        let sandbox = config.walls().map_err(|reason| NotStarted {
            reason,
            lasting: true,
        })?;
        let bound = sandbox.as_ref().map(|sandbox| sandbox.memory_bytes);
        let plan = Plan::new(
            config.python.program.clone(),
            config.scratch_dir.clone(),
            sandbox,
        );
        let order = serde_json::to_vec(&plan).map_err(|error| error.to_string())?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| format!("no socket pair: {error}"))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| error.to_string())?;
        let (ended_sender, process_end) = oneshot::channel();
        let pid = Arc::new(AtomicU32::new(0));
        spawn_thread(config, plan, theirs, Arc::clone(&pid), ended_sender)?;
        // Tokio's stream type serves for its readiness alone: it is never read as a stream.
        let control = UnixStream::from_std(ours.into()).map_err(|error| error.to_string())?;
        let ready = tokio::time::timeout(START_LIMIT, handshake(&control, &order));
        let (confinement, events) = match ready
            .await
            .unwrap_or_else(|_| Err("it did not answer in time".into()))
        {
            Ok((python, confinement, events)) => {
                tracing::info!(
                    zygote.pid = pid.load(Ordering::Relaxed),
                    python.version = %python,
                    confinement = %confinement,
                    "zygote.started"
                );
                (confinement, events)
            }
            Err(NotStarted { reason, lasting }) => {
                drop(control);
                let end = end_of(process_end, &pid).await;
                let reason = format!("the Python host did not start: {reason} ({end})");
                return Err(NotStarted { reason, lasting });
            }
        };
        let (commands, receiver) = mpsc::unbounded_channel();
        let (end_sender, ended) = watch::channel(None);
        let exits = Mutex::default();
        let task = Control {
            socket: control,
            exits,
            pid: Arc::clone(&pid),
        };
        tokio::spawn(task.run(receiver, process_end, end_sender));
        let memory = match (events, bound) {
            (Some(events), _) => Some(MemoryWatch::new(Kills::Group(events))),
            (None, Some(bound)) => Some(MemoryWatch::over(&pid, bound, ended.clone())),
            (None, None) => None,
        };
        Ok(Self {
            commands,
            ended,
            pid,
            confinement,
            memory,
        })
    }

    /// Whether one of its processes was killed for want of memory since this was asked.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let Some(watch) = &self.memory else {
            return false;
        };
        let kills = match &watch.kills {
            Kills::Group(events) => launcher::kills(events).unwrap_or(0),
            Kills::Watchdog(kills) => kills.load(Ordering::SeqCst),
        };
        watch.seen.swap(kills, Ordering::SeqCst) < kills
    }

    /// The walls that it and its workers are behind.
    pub(super) fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Asks for a worker that gets `descriptors`: its socket and its journal.
    ///
    /// Failure to start shows as the end of the worker.
    pub(super) fn spawn(&self, id: u64, descriptors: [OwnedFd; 2]) -> ExitWatch {
        let (exit, watch) = watch::channel(None);
        if let Err(refused) = self.commands.send(Command::Spawn {
            id,
            descriptors,
            exit,
        }) && let Command::Spawn { exit, .. } = refused.0
        {
            exit.send_replace(Some(Exit::ZygoteGone));
        }
        watch
    }

    /// Kills a worker with everything it started. Does not wait.
    pub(super) fn kill(&self, id: u64) {
        // A zygote that is gone took its workers along.
        let _ = self.commands.send(Command::Kill { id });
    }

    /// Whether it can still be used.
    pub(super) fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Has the zygote killed, by force if it does not obey. Does not wait.
    pub(super) fn abandon(&self) {
        // Refused only if that has happened already.
        let _ = self.commands.send(Command::End);
    }

    /// Ends the zygote and waits until process and workers are gone.
    pub(super) async fn end(mut self) {
        self.abandon();
        // An error means that the task is gone, and so is the process.
        let _ = self.ended.wait_for(Option::is_some).await;
    }
}

/// Starts the launcher on a thread that stays until the process has ended.
fn spawn_thread(
    config: &ProcessConfig,
    plan: Plan,
    socket: OwnedFd,
    pid: Arc<AtomicU32>,
    ended: oneshot::Sender<String>,
) -> Result<(), String> {
    let mut command = config.launcher.command();
    command
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let program = config.launcher.program.clone();
    let body = move || {
        let end = match command.spawn() {
            Ok(child) => {
                // Our copy of the socket must go, or its end would never be seen.
                drop(command);
                pid.store(child.id(), Ordering::Relaxed);
                let end = wait_for(child);
                plan.remove_scratch();
                end
            }
            Err(error) => format!("{} cannot be started: {error}", program.display()),
        };
        // Nobody listens when the runtime itself is gone.
        let _ = ended.send(end);
    };
    std::thread::Builder::new()
        .name("tollgate-zygote".to_owned())
        .stack_size(128 * 1024)
        .spawn(body)
        .map(drop)
        .map_err(|error| format!("no thread for the Python host: {error}"))
}

/// Reads what the process says on its way out, waits for it, and describes its end.
fn wait_for(mut child: Child) -> String {
    let mut tail = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        let mut chunk = [0_u8; 1024];
        while let Ok(length @ 1..) = errors.read(&mut chunk) {
            tail.extend_from_slice(&chunk[..length]);
            let excess = tail.len().saturating_sub(ERROR_TAIL_BYTES);
            tail.drain(..excess);
        }
    }
    let status = child
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string());
    let tail = String::from_utf8_lossy(&tail);
    match tail.trim() {
        "" => status,
        text => format!("{status}: {text}"),
    }
}

/// Sends the plan and waits for the host's first word: its Python version, after the launcher's
/// account of the walls, if there are any.
async fn handshake(
    control: &UnixStream,
    plan: &[u8],
) -> Result<(String, Confinement, Option<PathBuf>), NotStarted> {
    send(control, plan, &[])
        .await
        .map_err(|error| error.to_string())?;
    let (mut confinement, mut group) = (Confinement::Off, None);
    loop {
        match receive(control).await.map_err(|error| error.to_string())? {
            Some(Message::Walls { walls, events }) => {
                (confinement, group) = (Confinement::On(walls), events);
            }
            Some(Message::Ready { python, .. }) => return Ok((python, confinement, group)),
            Some(Message::Fatal {
                step,
                error,
                lasting,
            }) => {
                let reason = format!("step {step}: {error}");
                return Err(NotStarted { reason, lasting });
            }
            Some(_) => return Err("its first message makes no sense".into()),
            None => return Err("it ended".into()),
        }
    }
}

/// Waits for the process, whose control socket is closed, and kills it if it does not end.
async fn end_of(process_end: oneshot::Receiver<String>, pid: &AtomicU32) -> String {
    let mut process_end = process_end;
    if let Ok(end) = tokio::time::timeout(END_LIMIT, &mut process_end).await {
        return end.unwrap_or_default();
    }
    // The thread has not collected the process yet, so the number is still its own.
    let pid = i32::try_from(pid.load(Ordering::Relaxed)).ok();
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    process_end.await.unwrap_or_default()
}

/// The task that owns the control socket.
struct Control {
    socket: UnixStream,
    exits: Mutex<HashMap<u64, watch::Sender<Option<Exit>>>>,
    pid: Arc<AtomicU32>,
}

impl Control {
    async fn run(
        self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        process_end: oneshot::Receiver<String>,
        ended: watch::Sender<Option<String>>,
    ) {
        // Both ways at once: if each side waited for the other to read, neither ever would.
        let wanted = tokio::select! {
            wanted = self.send_all(&mut commands) => wanted,
            () = self.receive_all() => false,
        };
        commands.close();
        // Closing the socket is the order to end.
        drop(self.socket);
        let end = end_of(process_end, &self.pid).await;
        while let Ok(command) = commands.try_recv() {
            if let Command::Spawn { exit, .. } = command {
                exit.send_replace(Some(Exit::ZygoteGone));
            }
        }
        for exit in self.exits.into_inner().into_values() {
            exit.send_replace(Some(Exit::ZygoteGone));
        }
        let pid = self.pid.load(Ordering::Relaxed);
        if wanted {
            tracing::info!(zygote.pid = pid, "zygote.ended");
        } else {
            tracing::error!(zygote.pid = pid, reason = %end, "zygote.lost");
        }
        ended.send_replace(Some(end));
    }

    /// Returns whether the end is wanted.
    async fn send_all(&self, commands: &mut mpsc::UnboundedReceiver<Command>) -> bool {
        while let Some(command) = commands.recv().await {
            let sent = match command {
                Command::Spawn {
                    id,
                    descriptors,
                    exit,
                } => {
                    self.exits.lock().insert(id, exit);
                    let text = format!(r#"{{"op":"spawn","id":{id}}}"#);
                    send(&self.socket, text.as_bytes(), &descriptors).await
                }
                Command::Kill { id } => {
                    let text = format!(r#"{{"op":"kill","id":{id}}}"#);
                    send(&self.socket, text.as_bytes(), &[]).await
                }
                Command::End => return true,
            };
            if sent.is_err() {
                return false;
            }
        }
        true
    }

    async fn receive_all(&self) {
        while let Ok(Some(message)) = receive(&self.socket).await {
            self.note(message);
        }
    }

    fn note(&self, message: Message) {
        let (id, exit) = match message {
            Message::Exited {
                id,
                pid,
                code,
                signal,
            } => {
                let exit = match signal {
                    Some(signal) => Exit::Signal(signal),
                    None => Exit::Code(code.unwrap_or(-1)),
                };
                tracing::debug!(worker.id = id, worker.pid = pid, exit = ?exit, "worker.exited");
                (id, exit)
            }
            Message::Failed { id, error } => (id, Exit::NotStarted(error)),
            Message::Ready { .. } | Message::Walls { .. } => {
                tracing::warn!("zygote.unexpected_message");
                return;
            }
            Message::Fatal { step, error, .. } => {
                tracing::error!(step, error, "zygote.unexpected_message");
                return;
            }
        };
        if let Some(sender) = self.exits.lock().remove(&id) {
            sender.send_replace(Some(exit));
        }
    }
}

async fn send(socket: &UnixStream, text: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = descriptors
        .iter()
        .map(|descriptor| descriptor.as_fd())
        .collect();
    socket
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
            }
            rustix::net::sendmsg(
                socket,
                &[IoSlice::new(text)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            )?;
            Ok(())
        })
        .await
}

/// The next message; none when the other side is gone.
async fn receive(socket: &UnixStream) -> io::Result<Option<Message>> {
    let mut buffer = [0_u8; MESSAGE_BYTES];
    let received = socket
        .async_io(Interest::READABLE, || {
            match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => Ok(length),
                Err(Errno::CONNRESET) => Ok(0),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    if received == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&buffer[..received])?))
}

/// The one zygote of a runtime, started when needed and again after it was lost.
pub(super) struct Keeper {
    config: Arc<ProcessConfig>,
    starting: tokio::sync::Mutex<Backoff>,
    current: Mutex<Option<Zygote>>,
    /// Why the last start failed.
    trouble: Mutex<Option<NotStarted>>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Keeper {
    pub(super) fn new(config: Arc<ProcessConfig>) -> Self {
        Self {
            config,
            starting: tokio::sync::Mutex::default(),
            current: Mutex::new(None),
            trouble: Mutex::new(None),
            closed: AtomicBool::new(false),
        }
    }

    /// A zygote that is alive, started if need be.
    ///
    /// After a failed start the next one waits: 100 ms, doubling up to 10 s.
    pub(super) async fn get(&self) -> Result<Zygote, String> {
        if let Some(zygote) = self.alive() {
            return Ok(zygote);
        }
        let mut backoff = self.starting.lock().await;
        if let Some(zygote) = self.alive() {
            return Ok(zygote);
        }
        if let Some(trouble) = self.lasting_trouble() {
            return Err(trouble);
        }
        let closed = || self.closed.load(Ordering::SeqCst);
        let closing = || Err("the runtime is shutting down".to_owned());
        if closed() {
            return closing();
        }
        if backoff.failures > 0 {
            let doubled = 100_u64 << backoff.failures.min(7).saturating_sub(1);
            tokio::time::sleep(Duration::from_millis(doubled.min(10_000))).await;
        }
        match Zygote::start(&self.config).await {
            Ok(zygote) => {
                // A zygote that starts but is soon lost again must not be restarted in a hot loop;
                // a first worker resets this.
                backoff.failures = backoff.failures.saturating_add(1);
                *self.current.lock() = Some(zygote.clone());
                if closed() {
                    // `abandon` may have come before there was anything to abandon.
                    zygote.abandon();
                    return closing();
                }
                *self.trouble.lock() = None;
                Ok(zygote)
            }
            Err(trouble) => {
                backoff.failures = backoff.failures.saturating_add(1);
                let reason = trouble.reason.clone();
                tracing::error!(reason, failures = backoff.failures, "zygote.start_failed");
                *self.trouble.lock() = Some(trouble);
                Err(reason)
            }
        }
    }

    /// A worker of the current zygote became ready, so the next loss is a new trouble.
    pub(super) fn proved(&self) {
        if let Ok(mut backoff) = self.starting.try_lock() {
            backoff.failures = 0;
        }
    }

    /// Why no start can succeed; none while one may.
    fn lasting_trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        let lasting = trouble.as_ref().filter(|trouble| trouble.lasting);
        lasting.map(|trouble| trouble.reason.clone())
    }

    /// How the running host is confined; none while there is none, unless no walls are wanted.
    pub(super) fn confinement(&self) -> Option<Confinement> {
        if !self.config.sandbox {
            return Some(Confinement::Off);
        }
        self.alive().map(|zygote| zygote.confinement().clone())
    }

    fn alive(&self) -> Option<Zygote> {
        self.current
            .lock()
            .as_ref()
            .filter(|zygote| zygote.is_alive())
            .cloned()
    }

    /// Whether workers can be started.
    pub(super) fn health(&self) -> Result<String, String> {
        if let Some(trouble) = &*self.trouble.lock() {
            return Err(trouble.reason.clone());
        }
        let zygote = self
            .alive()
            .map(|zygote| format!(", zygote {}, {}", zygote.pid(), zygote.confinement()));
        let python = self.config.python.program.display();
        Ok(format!("{python}{}", zygote.unwrap_or_default()))
    }

    /// Ends the zygote with all workers, and starts no other. Does not wait.
    pub(super) fn abandon(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(zygote) = &*self.current.lock() {
            zygote.abandon();
        }
    }

    /// The same, and waits until all processes are gone.
    pub(super) async fn close(&self) {
        self.abandon();
        // A start under way ends first.
        let _turn = self.starting.lock().await;
        let zygote = self.current.lock().take();
        if let Some(zygote) = zygote {
            zygote.end().await;
        }
    }
}
