//! The nursery: the host of workers that are interpreters of their own, because theirs cannot fork.
//!
//! It starts them, kills them with all they started, and reports how they ended, and keeps one ready that is
//! nobody's yet. One that was given away must never be given to anybody else. It runs no user code, has one
//! thread, and waits on descriptors only.

use super::host::Script;
use super::newborn::{self, Newborn, Walls};
use super::{Failed, Plan, Step as _, namespaces};
use crate::process::scratch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use tollgate_core::limits;

/// How long the first interpreter may take to start.
const FIRST_LIMIT: Duration = Duration::from_secs(8);
/// How long things rest before another one is made ready: its start would take the processor from the one that
/// somebody waits for.
const SPARE_DELAY: Duration = Duration::from_millis(50);
/// Longest word of a worker about its start.
const WORD_BYTES: usize = 1000;
/// Longest order.
const ORDER_BYTES: usize = 4096;

/// What the server wants.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Order {
    Spawn { id: u64, memory_mb: u32 },
    Kill { id: u64 },
}

/// A worker that has been given away.
struct Given {
    id: u64,
    folder: Option<PathBuf>,
}

struct Nursery<'p> {
    plan: &'p Plan,
    walls: Option<Walls>,
    script: Script,
    /// Tells of ended children, and of the order to end.
    signals: OwnedFd,
    spare: Option<Newborn>,
    /// Another one is to be made ready, for workers with this much memory.
    wanted: Option<u32>,
    given: HashMap<Pid, Given>,
    /// It is some site's.
    taken: bool,
}

/// Serves until the server is gone or a start makes no sense.
///
/// # Errors
/// When no interpreter starts.
pub(super) fn serve(
    plan: &Plan,
    script: Script,
    walls: Option<Walls>,
) -> Result<Infallible, Failed> {
    let signals = signals().step("signals")?;
    let mut nursery = Nursery {
        plan,
        walls,
        script,
        signals,
        spare: None,
        wanted: None,
        given: HashMap::new(),
        taken: false,
    };
    let version = nursery.begin().required("interpreter")?;
    tell(&json!({"op": "ready", "version": version}), &[]);
    nursery.live();
    nursery.end();
    std::process::exit(0);
}

/// What comes to this process as signals, as something to be waited for.
#[expect(unsafe_code, reason = "signalfd has no safe wrapper")]
fn signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is made in memory of its own; the descriptor is new and owned by nobody else.
    unsafe {
        let mut heard: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut heard);
        libc::sigaddset(&raw mut heard, libc::SIGCHLD);
        libc::sigaddset(&raw mut heard, libc::SIGTERM);
        namespaces::check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const heard,
            std::ptr::null_mut(),
        ))?;
        let made = libc::signalfd(-1, &raw const heard, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        namespaces::check(made)?;
        Ok(OwnedFd::from_raw_fd(made))
    }
}

impl Nursery<'_> {
    /// Makes the first one and waits until its interpreter has started. Its version.
    fn begin(&mut self) -> io::Result<String> {
        let first = self.newborn(limits::MEMORY_MB_DEFAULT)?;
        let word = match is_ready(first.word.as_fd(), PollFlags::IN, Some(FIRST_LIMIT))? {
            true => word_of(&first),
            false => Some("it did not start in time".to_owned()),
        };
        match word {
            Some(version) if version.starts_with('v') => {
                self.spare = Some(first);
                Ok(version)
            }
            Some(error) => Err(io::Error::other(error)),
            None => Err(io::Error::other(last_words(&first))),
        }
    }

    fn newborn(&self, memory_mb: u32) -> io::Result<Newborn> {
        newborn::make(
            self.plan,
            self.walls.as_ref(),
            self.script.as_fd(),
            memory_mb,
        )
    }

    fn live(&mut self) {
        loop {
            let patience = match (self.wanted, self.taken && self.spare.is_some()) {
                (Some(_), _) => Some(SPARE_DELAY),
                // Nobody has asked for one in a long time.
                (None, true) => Some(limits::NODE_SPARE_IDLE),
                (None, false) => None,
            };
            let (control, signals) = (io::stdin(), self.signals.as_fd());
            let mut polled = [
                PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(signals, PollFlags::IN),
            ];
            let limit = patience.and_then(|it| Timespec::try_from(it).ok());
            let ready = rustix::event::poll(&mut polled, limit.as_ref());
            let [ordered, signalled] = polled.map(|it| !it.revents().is_empty());
            match ready {
                Ok(0) => self.rest(),
                Ok(_) => {
                    if signalled && self.hear() || ordered && !self.obey() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Nothing happens: a spare one is made, or let go.
    fn rest(&mut self) {
        match self.wanted.take() {
            // Out of processes: the next order tries again, and reports it.
            Some(memory_mb) => self.spare = self.newborn(memory_mb).ok(),
            None => self.let_spare_go(),
        }
    }

    fn let_spare_go(&mut self) {
        if let Some(spare) = self.spare.take() {
            kill_tree(spare.pid);
            self.forget(spare);
        }
    }

    /// Takes note of what has ended. Whether this process is to end as well.
    fn hear(&mut self) -> bool {
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let mut asked = false;
        while let Ok(length) = rustix::io::read(&self.signals, &mut buffer) {
            let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            asked |= length == buffer.len() && i32::try_from(number) == Ok(libc::SIGTERM);
        }
        self.reap();
        asked
    }

    /// Does what one message asks for. False once the server is gone.
    fn obey(&mut self) -> bool {
        let mut buffer = [0_u8; ORDER_BYTES];
        let Ok((length, entrances)) = receive(&mut buffer) else {
            return false;
        };
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Order::Spawn { id, memory_mb }) => self.spawn(id, memory_mb, &entrances),
            Ok(Order::Kill { id }) => {
                let found = self.given.iter().find(|(_, given)| given.id == id);
                if let Some((&pid, _)) = found {
                    kill_tree(pid);
                }
            }
            Err(_) => return false,
        }
        true
    }

    /// Gives the spare one away, or a new one if there is none of that size.
    fn spawn(&mut self, id: u64, memory_mb: u32, entrances: &[OwnedFd]) {
        self.taken = true;
        if self
            .spare
            .as_ref()
            .is_some_and(|it| it.memory_mb != memory_mb)
        {
            self.let_spare_go();
        }
        let newborn = self
            .spare
            .take()
            .map_or_else(|| self.newborn(memory_mb), Ok);
        let told = newborn.and_then(|newborn| self.give(newborn, id, entrances));
        if let Err(error) = told {
            tell(
                &json!({"op": "failed", "id": id, "error": error.to_string()}),
                &[],
            );
        }
        self.wanted = Some(memory_mb);
    }

    fn give(&mut self, newborn: Newborn, id: u64, entrances: &[OwnedFd]) -> io::Result<()> {
        let word = match is_ready(newborn.word.as_fd(), PollFlags::IN, Some(Duration::ZERO))? {
            true => word_of(&newborn),
            false => None,
        };
        if let Some(error) = word.filter(|word| !word.starts_with('v')) {
            self.forget(newborn);
            return Err(io::Error::other(error));
        }
        let number = newborn.pid.as_raw_nonzero().to_string();
        for entrance in entrances {
            rustix::io::write(entrance, number.as_bytes())?;
        }
        let process = rustix::process::pidfd_open(newborn.pid, PidfdFlags::empty())?;
        let [lines, out, err] = newborn.journal.descriptors()?;
        let message = json!({
            "op": "spawned",
            "id": id,
            "pid": newborn.pid.as_raw_nonzero(),
            "folder": newborn.folder,
        });
        let handed = [&process, &newborn.line, &lines, &out, &err].map(|it| it.as_fd());
        tell(&message, &handed);
        let folder = newborn.folder;
        self.given.insert(newborn.pid, Given { id, folder });
        Ok(())
    }

    /// Collects the dead, then kills whatever they left behind.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(spare) = self.spare.take_if(|spare| spare.pid == pid) {
                self.forget(spare);
                self.wanted = Some(limits::MEMORY_MB_DEFAULT);
            }
            let Some(given) = self.given.remove(&pid) else {
                continue;
            };
            // What shares its process group may have outlived it.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            if let Some(folder) = &given.folder {
                let _ = scratch::remove(folder);
            }
            tell(&ended(given.id, pid, status), &[]);
        }
        self.kill_orphans();
    }

    /// A child that is no worker was started by one. Behind walls no worker can start one.
    fn kill_orphans(&self) {
        if self.walls.is_some() {
            return;
        }
        let spare = self.spare.as_ref().map(|it| it.pid);
        let list = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let children = list.split_whitespace().filter_map(|word| word.parse().ok());
        for child in children.filter_map(Pid::from_raw) {
            if Some(child) != spare && !self.given.contains_key(&child) {
                kill_tree(child);
            }
        }
    }

    /// What was nobody's is gone.
    fn forget(&self, newborn: Newborn) {
        if let Some(folder) = newborn.folder {
            let _ = scratch::remove(&folder);
        }
    }

    /// Kills all that it started, and waits for it.
    fn end(&mut self) {
        let spare = self.spare.take();
        let all = self.given.keys().copied();
        all.chain(spare.iter().map(|it| it.pid)).for_each(kill_tree);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::empty()) {
            self.kill_orphans();
        }
        let folders = self.given.drain().filter_map(|(_, given)| given.folder);
        for folder in folders.chain(spare.and_then(|it| it.folder)) {
            let _ = scratch::remove(&folder);
        }
        if let Some(walls) = self.walls.as_ref().filter(|walls| walls.own.is_none()) {
            for place in [walls.scratch.join(namespaces::OWN), walls.scratch.clone()] {
                let _ = std::fs::remove_dir(place);
            }
        }
    }
}

/// What a worker says of its start: its version, or why there is none; nothing if it ended without a word.
fn word_of(newborn: &Newborn) -> Option<String> {
    let mut buffer = [0_u8; WORD_BYTES];
    let length = rustix::io::read(&newborn.word, &mut buffer).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// What an interpreter that did not start wrote to its streams.
fn last_words(newborn: &Newborn) -> String {
    let lines = newborn.journal.read();
    let said: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
    if said.is_empty() {
        return "it ended at once, without a word".to_owned();
    }
    tollgate_core::text::prefix(&said.join(" "), WORD_BYTES).to_owned()
}

fn is_ready(
    descriptor: BorrowedFd<'_>,
    what: PollFlags,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, what)];
    let limit = limit.and_then(|it| Timespec::try_from(it).ok());
    Ok(rustix::event::poll(&mut polled, limit.as_ref())? > 0)
}

/// Kills a process and its group. It is a child that was not collected, so its number cannot be another's.
fn kill_tree(pid: Pid) {
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

fn ended(id: u64, pid: Pid, status: WaitStatus) -> Value {
    let pid = pid.as_raw_nonzero();
    match status.terminating_signal() {
        Some(signal) => json!({"op": "exited", "id": id, "pid": pid, "signal": signal}),
        None => json!({"op": "exited", "id": id, "pid": pid, "code": status.exit_status()}),
    }
}

/// Tells the server. If nobody listens any more there is nobody to tell.
fn tell(message: &Value, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let text = message.to_string();
    let _ = rustix::net::sendmsg(
        io::stdin(),
        &[IoSlice::new(text.as_bytes())],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
}

/// One order, with the entrances of a worker's control groups.
fn receive(buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        io::stdin(),
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut entrances = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            entrances.extend(descriptors);
        }
    }
    match received.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok((bytes, entrances)),
    }
}
