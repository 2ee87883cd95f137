//! Starting one zygote: the launcher's thread, the handshake, and waiting for its end.
//!
//! A thread of its own starts the launcher and waits for it. It has to be that thread for the whole
//! life of the zygote, because the kernel ties the parent-death signal to the thread that forked.

use super::control::{Control, Message, receive, send};
use super::memory::Memory;
use super::starts::{Started, Starts};
use super::{NotStarted, Rooms, Zygote};
use crate::process::claim::Claim;
use crate::process::config::ProcessConfig;
use crate::process::groups::{self, House};
use crate::process::language::Language;
use crate::process::launcher::Plan;
use crate::process::watchdog::{self, Watchdog};
use crate::process::weight::Weight;
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tollgate_core::confinement::{Confinement, Wall};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::limits;
use tollgate_core::time::Clock;

/// How long a launcher may take until its host is ready.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a zygote may take to kill its workers and end.
pub(super) const END_LIMIT: Duration = Duration::from_secs(2);
/// Orders that a zygote may leave undone, for each worker that there may be (one start, and a kill from each who may want
/// its end), at least and at most. One that leaves more is stuck.
const ORDERS_PER_WORKER: usize = 4;
const ORDERS_MIN: usize = 64;
const ORDERS_MAX: usize = 16 * 1024;
/// Why nothing is started any more.
pub(super) const CLOSED: &str = "the runtime is shutting down";
/// Bytes of the zygote's error output that are kept.
const ERROR_TAIL_BYTES: usize = 4096;

impl Zygote {
    /// Starts a zygote and waits until it can fork, or until `starts` are closed.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(super) async fn start(
        (config, language): (&ProcessConfig, Language),
        bounds: &Bounds,
        rooms: &Rooms,
        starts: &Starts,
        claim: &Arc<Claim>,
    ) -> Result<Self, NotStarted> {
        let started = starts.begin().ok_or(CLOSED)?;
        let plan = plan(config, language, claim)?;
        let order = serde_json::to_vec(&plan).map_err(|error| error.to_string())?;
        let (ours, theirs) = control_socket()?;
        let (group, entrances) = bounds.group().map_err(no_group)?;
        let (ended_sender, process_end) = oneshot::channel();
        let pid = Arc::new(AtomicU32::new(0));
        let held = (started.clone(), Arc::clone(claim), ended_sender);
        spawn_thread(config, plan, theirs, Arc::clone(&pid), held)?;
        // Tokio's stream type serves for its readiness alone: it is never read as a stream.
        let control = UnixStream::from_std(ours.into()).map_err(|error| error.to_string())?;
        let ready = tokio::time::timeout(START_LIMIT, handshake(&control, &order, &entrances));
        let ready = tokio::select! {
            ready = ready => ready.unwrap_or_else(|_| Err("it did not answer in time".into())),
            () = starts.closed() => Err(CLOSED.into()),
        };
        drop(entrances);
        let Ready {
            version,
            mut confinement,
            scratch,
        } = match ready {
            Ok(ready) => ready,
            Err(NotStarted { reason, lasting }) => {
                drop(control);
                let end = end_of(process_end, &pid, END_LIMIT).await;
                let title = language.title();
                let reason = format!("the {title} host did not start: {reason} ({end})");
                return Err(NotStarted { reason, lasting });
            }
        };
        note_groups(&mut confinement, bounds);
        tracing::info!(
            zygote.pid = pid.load(Ordering::Relaxed),
            language = language.word(),
            version = %version,
            confinement = %confinement,
            "zygote.started"
        );
        let weight = group.as_ref().map(groups::Host::weight).unwrap_or_default();
        let memory = Arc::new(bounds.memory(group, scratch));
        let task = Control {
            language,
            socket: control,
            pid,
            population: Arc::default(),
            memory,
            workers: Mutex::default(),
            started,
        };
        let shares = (rooms.of_site(), weight);
        Ok(task.in_charge(confinement, shares, config, process_end))
    }
}

/// What the launcher is to do.
fn plan(config: &ProcessConfig, language: Language, claim: &Claim) -> Result<Plan, NotStarted> {
    let lasting = |reason| NotStarted {
        reason,
        lasting: true,
    };
    let interpreter = config.interpreter(language).map_err(lasting)?;
    let sandbox = config.walls(language, interpreter).map_err(lasting)?;
    let program = (language, interpreter.program.clone());
    Ok(Plan::new(
        program,
        config.scratch_dir.clone(),
        claim,
        sandbox,
    ))
}

/// The server's end, and the launcher's.
fn control_socket() -> Result<(OwnedFd, OwnedFd), String> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| format!("no socket pair: {error}"))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|error| error.to_string())?;
    Ok((ours, theirs))
}

/// What control groups add to the walls, or do not.
fn note_groups(confinement: &mut Confinement, bounds: &Bounds) {
    if let Confinement::On(walls) = confinement {
        match bounds.lacking() {
            Some(reason) => walls.lacks(Wall::Memory, reason),
            // A worker's group counts its threads, whatever the launcher could do about them.
            None => walls.has(Wall::Threads),
        }
    }
}

impl Control {
    /// Starts the task that owns the control socket.
    fn in_charge(
        self,
        confinement: Confinement,
        (rooms, weight): (Rooms, Arc<Weight>),
        config: &ProcessConfig,
        process_end: oneshot::Receiver<String>,
    ) -> Zygote {
        let orders = config.workers_max.saturating_mul(ORDERS_PER_WORKER);
        let (commands, receiver) = mpsc::channel(orders.clamp(ORDERS_MIN, ORDERS_MAX));
        let zygote = Zygote {
            language: self.language,
            commands,
            pid: Arc::clone(&self.pid),
            population: Arc::clone(&self.population),
            confinement,
            rooms,
            weight,
            supervisor: config.supervisor.clone(),
        };
        let work = self.run(receiver, process_end);
        config.supervisor.spawn_passing("host", work);
        zygote
    }
}

fn no_group(error: std::io::Error) -> NotStarted {
    NotStarted::from(format!("no control group for a host: {error}"))
}

/// How the memory of workers is bounded on this machine.
pub(super) enum Bounds {
    /// By control groups.
    Groups(Arc<House>),
    /// By looking, and why not by groups.
    Watched(Arc<Watchdog>, String),
    /// Not from outside, and why.
    Nothing(String),
}

impl Bounds {
    /// Finds out what can be had.
    pub(super) fn find(config: &ProcessConfig, clock: &Arc<dyn Clock>) -> Self {
        let memory_bytes = config.memory_together();
        let house = if config.control_groups {
            House::make(groups::Bounds {
                memory_bytes,
                processes: limits::PROCESSES,
                site_processes: limits::SITE_PROCESSES,
                worker_threads: limits::WORKER_THREADS,
            })
        } else {
            Err("switched off".to_owned())
        };
        let reason = match house {
            Ok(house) => return Self::Groups(house),
            Err(reason) => reason,
        };
        if !watchdog::can_watch() {
            return Self::Nothing(reason);
        }
        match Watchdog::start(memory_bytes, Arc::clone(clock), &config.supervisor) {
            Ok(watchdog) => Self::Watched(watchdog, reason),
            Err(error) => Self::Nothing(format!("{reason}; no thread to watch it: {error}")),
        }
    }

    /// A group for a new host, where there are any, and how it is entered.
    fn group(&self) -> std::io::Result<(Option<groups::Host>, Vec<OwnedFd>)> {
        let Self::Groups(house) = self else {
            return Ok((None, Vec::new()));
        };
        let group = house.host()?;
        let entrances = group.entrances()?;
        Ok((Some(group), entrances))
    }

    /// What bounds the memory of a host's workers.
    fn memory(&self, group: Option<groups::Host>, scratch: Option<PathBuf>) -> Memory {
        match (group, self) {
            (Some(group), _) => Memory::Groups(group),
            (None, Self::Watched(watchdog, _)) => Memory::Watched {
                watchdog: Arc::clone(watchdog),
                scratch: scratch.map(Arc::from),
            },
            (None, _) => Memory::Nothing,
        }
    }

    /// Why groups are missing, with what is there in their place.
    fn lacking(&self) -> Option<String> {
        match self {
            Self::Groups(_) => None,
            Self::Watched(_, reason) => Some(format!(
                "{reason}; the server watches each worker's memory and kills it some hundredths of a second later"
            )),
            Self::Nothing(reason) => Some(reason.clone()),
        }
    }
}

impl Bounds {
    /// Nothing is watched any more.
    pub(super) fn end(&self) {
        if let Self::Watched(watchdog, _) = self {
            watchdog.end();
        }
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the launcher on a thread that stays until the process has ended.
fn spawn_thread(
    config: &ProcessConfig,
    plan: Plan,
    socket: OwnedFd,
    pid: Arc<AtomicU32>,
    (started, claim, ended): (Started, Arc<Claim>, oneshot::Sender<String>),
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
                failpoint::hit(Point::LoopLauncher);
                let end = wait_for(child);
                plan.remove_scratch();
                drop(claim);
                end
            }
            Err(error) => format!("{} cannot be started: {error}", program.display()),
        };
        // Nobody listens when the runtime itself is gone.
        let _ = ended.send(end);
        drop(started);
    };
    let builder = std::thread::Builder::new()
        .name("tollgate-zygote".to_owned())
        .stack_size(128 * 1024);
    config
        .supervisor
        .thread("launcher", builder, body)
        .map(drop)
        .map_err(|error| format!("no thread for a host: {error}"))
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

/// What a host has said once it can start workers.
struct Ready {
    version: String,
    confinement: Confinement,
    /// Where each worker has memory for files, as it sees that.
    scratch: Option<PathBuf>,
}

/// Sends the plan, with the entrances of the host's control groups, and waits for the host's first
/// word: its interpreter's version, after the launcher's account of the walls, if there are any.
async fn handshake(
    control: &UnixStream,
    plan: &[u8],
    entrances: &[OwnedFd],
) -> Result<Ready, NotStarted> {
    send(control, plan, entrances)
        .await
        .map_err(|error| error.to_string())?;
    let (mut confinement, mut place) = (Confinement::Off, None);
    loop {
        match receive(control).await.map_err(|error| error.to_string())? {
            Some(Message::Walls { walls, scratch }) => {
                (confinement, place) = (Confinement::On(walls), scratch);
            }
            Some(Message::Ready { version }) => {
                return Ok(Ready {
                    version,
                    confinement,
                    scratch: place,
                });
            }
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
pub(super) async fn end_of(
    process_end: oneshot::Receiver<String>,
    pid: &AtomicU32,
    patience: Duration,
) -> String {
    let mut process_end = process_end;
    if let Ok(end) = tokio::time::timeout(patience, &mut process_end).await {
        return end.unwrap_or_default();
    }
    // The thread has not collected the process yet, so the number is still its own.
    let pid = i32::try_from(pid.load(Ordering::Relaxed)).ok();
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    process_end.await.unwrap_or_default()
}
