//! Bounds the memory of workers where no control group does: looks at each, the more often the less
//! room it has left, and kills what is beyond.
//!
//! A worker's files in memory count as its memory. It must never count twice what workers share
//! with the host that forked them, and never signal a process that is not the host's. It has a
//! thread of its own, because it reads files while others wait.

use super::files;
use super::groups::Beyond;
use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::Clock;

/// Longest and shortest time between two looks at one worker.
const SELDOM: Duration = Duration::from_millis(100);
const OFTEN: Duration = Duration::from_millis(4);
/// How fast a worker may fill memory, in bytes for each millisecond: some threads at once.
const PACE: u64 = 4 << 20;
/// A launcher, a host and its workers are three generations; whoever starts the launcher through
/// other programs adds some.
const GENERATIONS_MAX: usize = 8;
/// How much longer than a look at a worker takes nobody looks at it again, in times of that.
const REST: u32 = 8;

/// Watches the workers of one runtime. Ends with its last handle.
pub(super) struct Watchdog {
    state: Mutex<State>,
    news: Condvar,
    ended: AtomicBool,
    clock: Arc<dyn Clock>,
    /// Bytes that all workers may have together.
    together: u64,
}

#[derive(Default)]
struct State {
    workers: HashMap<u64, Worker>,
}

/// A worker that is watched.
struct Worker {
    launcher: u32,
    /// Its number in its own PID namespace.
    inner: u32,
    /// Its number here, and its host's, once they are known.
    outer: Option<(u32, u32)>,
    scratch: Scratch,
    bound: u64,
    own: u64,
    due: Instant,
    verdict: Arc<Verdict>,
}

/// Where a worker's files lie, as it sees that.
#[derive(Debug, Clone)]
pub(super) enum Scratch {
    /// In a memory of its own.
    Own(Arc<Path>),
    /// In its own folder, among others', which may be in memory.
    Folder(PathBuf),
    /// Nowhere in particular.
    Anywhere,
}

/// Whether, and for which bound, a worker was killed.
#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

impl Verdict {
    fn set(&self, beyond: Beyond) {
        let number = match beyond {
            Beyond::Own => 1,
            Beyond::Together => 2,
        };
        self.0.store(number, Ordering::SeqCst);
    }

    /// The bound, if it was.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        match self.0.load(Ordering::SeqCst) {
            1 => Some(Beyond::Own),
            2 => Some(Beyond::Together),
            _ => None,
        }
    }
}

impl Watchdog {
    /// Starts watching.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(
        together: u64,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> std::io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self {
            state: Mutex::default(),
            news: Condvar::new(),
            ended: AtomicBool::new(false),
            clock,
            together,
        });
        let watching = Arc::clone(&watchdog);
        let builder = std::thread::Builder::new()
            .name("tollgate-watchdog".to_owned())
            .stack_size(256 * 1024);
        supervisor.thread("watchdog", builder, move || watching.watch())?;
        Ok(watchdog)
    }

    /// Ends it.
    pub(super) fn end(&self) {
        // Under the lock: who has looked whether it goes on waits by now.
        let _state = self.state.lock();
        self.ended.store(true, Ordering::SeqCst);
        self.news.notify_all();
    }

    /// Watches a worker from now on: the one that `launcher`'s host knows by the number `inner`.
    pub(super) fn add(
        &self,
        id: u64,
        (launcher, inner): (u32, u32),
        bound: u64,
        scratch: Scratch,
        verdict: Arc<Verdict>,
    ) {
        let worker = Worker {
            launcher,
            inner,
            outer: None,
            scratch,
            bound,
            own: 0,
            due: self.clock.monotonic(),
            verdict,
        };
        self.state.lock().workers.insert(id, worker);
        self.news.notify_all();
    }

    /// Watches it no longer.
    pub(super) fn remove(&self, id: u64) {
        self.state.lock().workers.remove(&id);
    }

    fn watch(&self) {
        loop {
            failpoint::hit(Point::LoopWatchdog);
            self.look_at_all();
            let mut state = self.state.lock();
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            self.bound_together(&mut state);
            let next = state.workers.values().map(|worker| worker.due).min();
            let now = self.clock.monotonic();
            match next {
                Some(next) => {
                    let pause = next.saturating_duration_since(now).max(OFTEN);
                    self.news.wait_for(&mut state, pause);
                }
                None => self.news.wait(&mut state),
            }
        }
    }

    /// Looks at each that is due. Whoever adds or removes one waits for one look at most.
    fn look_at_all(&self) {
        let now = self.clock.monotonic();
        let due: Vec<u64> = {
            let state = self.state.lock();
            let due = state.workers.iter().filter(|(_, it)| it.due <= now);
            due.map(|(&id, _)| id).collect()
        };
        for id in due {
            let began = self.clock.monotonic();
            let mut state = self.state.lock();
            let Some(worker) = state.workers.get_mut(&id) else {
                continue;
            };
            worker.look(began);
            // One with many files must not take all the time that there is.
            let ended = self.clock.monotonic();
            let took = ended.saturating_duration_since(began);
            worker.due = worker.due.max(ended + took * REST);
        }
    }

    /// Kills the largest while all are too large together.
    fn bound_together(&self, state: &mut State) {
        let alive = |worker: &&mut Worker| worker.verdict.beyond().is_none();
        let total: u64 = state.workers.values().map(|worker| worker.own).sum();
        if total <= self.together {
            return;
        }
        let workers = state.workers.values_mut().filter(alive);
        if let Some(largest) = workers.max_by_key(|worker| worker.own) {
            largest.kill(Beyond::Together, self.together);
        }
    }
}

impl Worker {
    fn look(&mut self, now: Instant) {
        self.due = now + SELDOM;
        if self.outer.is_none() {
            self.outer = find(self.launcher, self.inner);
        }
        let Some((pid, host)) = self.outer else {
            self.due = now + OFTEN;
            return;
        };
        let Some(resident) = resident(pid) else {
            self.own = 0;
            return;
        };
        // The rest came with the fork.
        let beyond_host = resident.saturating_sub(self::resident(host).unwrap_or(0));
        let files = match &self.scratch {
            Scratch::Own(place) => files::in_memory(pid, place),
            Scratch::Folder(folder) => files::of_process(pid, folder),
            Scratch::Anywhere => 0,
        };
        self.own = beyond_host + files;
        self.due = now + pause(self.bound.saturating_sub(self.own));
        if self.own > self.bound && self.verdict.beyond().is_none() {
            self.kill(Beyond::Own, self.bound);
        }
    }

    fn kill(&mut self, beyond: Beyond, bound: u64) {
        let Some((number, host)) = self.outer else {
            return;
        };
        let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else {
            return;
        };
        // The descriptor first, then the question whose child it is: a number may have been given to
        // another process meanwhile, a descriptor may not.
        let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if parent(number) != Some(host) {
            return;
        }
        // Before the end can be noticed, which asks for this.
        self.verdict.set(beyond);
        tracing::warn!(
            worker.pid = number,
            worker.bytes = self.own,
            bound,
            "worker.out_of_memory"
        );
        // Gone already, then.
        let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
    }
}

/// How long a worker cannot fill this room.
fn pause(room: u64) -> Duration {
    Duration::from_millis(room / PACE).clamp(OFTEN, SELDOM)
}

/// The worker that a launcher's host knows by a number, and the host.
fn find(launcher: u32, inner: u32) -> Option<(u32, u32)> {
    let mut level = vec![launcher];
    for _ in 0..GENERATIONS_MAX {
        let mut next = Vec::new();
        for parent in level {
            for child in children(parent) {
                // The launcher's child may have been given the same number, but it has children.
                if number_inside(child) == Some(inner) && children(child).is_empty() {
                    return Some((child, parent));
                }
                next.push(child);
            }
        }
        level = next;
    }
    None
}

/// Whether the kernel tells whose child a process is, without which there is nothing to watch.
pub(super) fn can_watch() -> bool {
    fs::read_to_string("/proc/thread-self/children").is_ok()
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut found = Vec::new();
    for list in lists {
        let pids = list.split_whitespace();
        found.extend(pids.filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// What a process is called in its innermost PID namespace.
fn number_inside(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, closing brackets included.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_room_the_sooner_the_next_look() {
        assert_eq!(pause(0), OFTEN);
        assert_eq!(pause(64 << 20), Duration::from_millis(16));
        assert_eq!(pause(u64::MAX), SELDOM);
    }

    #[test]
    fn a_child_is_found_by_its_number() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let own = std::process::id();
        assert_eq!(parent(child.id()), Some(own));
        assert_eq!(find(own, child.id()), Some((child.id(), own)));
        assert!(resident(child.id()).is_some_and(|bytes| bytes > 0));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
