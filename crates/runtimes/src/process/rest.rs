//! Between two calls a worker gets no processor time.
//!
//! One that says that it left threads is stopped when it has answered. What others do is looked at
//! from outside, because their word is not trusted: whoever uses the processor between calls is
//! stopped then, and after each later call at once. Must never signal a process but by the descriptor
//! that its host gave out, and never leave a worker stopped that is called.
//!
//! During a call a worker that keeps the processor busy comes after others ([`super::weight`]).

use super::protocol::Fitness;
use super::weight::{Heavy, Weight};
use parking_lot::Mutex;
use rustix::process::Signal;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::supervise::Supervisor;

/// Between two looks at a worker that rests: at first, and at most.
const SOON: Duration = Duration::from_millis(25);
const SELDOM: Duration = Duration::from_millis(250);
/// Processor time of one call from which on it comes after others, in ticks: a tenth of a second.
const HEAVY_TICKS: u64 = 10;
/// How much of its memory a worker's calls may leave in use, as a part.
const KEPT_PART: u64 = 2;

/// The process of one worker, as far as its rest is concerned.
pub(super) struct Body {
    process: OnceLock<Process>,
    state: Mutex<State>,
    memory_bytes: u64,
    /// Of all workers of its site.
    weight: Arc<Weight>,
}

struct Process {
    descriptor: OwnedFd,
    /// Its number here.
    pid: u32,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// It has been met at work between calls.
    restless: bool,
    /// Counts its rests.
    rests: u64,
    /// Processor time when it was looked at first during this rest or call, in ticks.
    spent: Option<u64>,
    /// Its call keeps a processor busy.
    heavy: Option<Heavy>,
    /// Bytes in use after loading.
    loaded: u64,
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Busy,
    Resting,
    Stopped,
}

/// What the kernel tells of a process.
struct Seen {
    /// Processor time, in ticks of 10 ms.
    spent: u64,
    threads: u64,
}

impl Body {
    /// That of a worker which may use so much memory and whose process is not known yet.
    pub(super) fn new(memory_mb: u32, weight: Arc<Weight>) -> Self {
        Self {
            process: OnceLock::new(),
            state: Mutex::default(),
            memory_bytes: u64::from(memory_mb) << 20,
            weight,
        }
    }

    /// Whether its process is known.
    pub(super) fn is_born(&self) -> bool {
        self.process.get().is_some()
    }

    /// Its host has started the process.
    pub(super) fn started(&self, descriptor: OwnedFd) {
        let Some(pid) = number_of(&descriptor) else {
            return;
        };
        // It is told once.
        let _ = self.process.set(Process { descriptor, pid });
        let mut state = self.state.lock();
        if state.phase == Phase::Stopped {
            self.stop(&mut state);
        }
    }

    /// Its code is loaded, and it rests from here on. `left`: with threads.
    pub(super) fn loaded(self: &Arc<Self>, left: bool, supervisor: &Supervisor) {
        if let Some(process) = self.process.get() {
            self.state.lock().loaded = resident(process.pid);
        }
        self.rest(left, false);
        let watching = watch(Arc::downgrade(self), supervisor.clone());
        supervisor.spawn_passing("rest", watching);
    }

    /// A call begins.
    pub(super) fn wake(&self) {
        let mut state = self.state.lock();
        state.spent = None;
        if std::mem::take(&mut state.phase) == Phase::Stopped {
            self.send(Signal::CONT);
        }
    }

    /// A call has ended. `left`: threads were left; `large`: its memory is worth a look.
    pub(super) fn rest(&self, left: bool, large: bool) -> Fitness {
        let mut state = self.state.lock();
        state.phase = Phase::Resting;
        state.rests += 1;
        state.spent = None;
        state.heavy = None;
        if large && let Some(process) = self.process.get() {
            let kept = resident(process.pid).saturating_sub(state.loaded);
            if kept > self.memory_bytes / KEPT_PART {
                let (kept, all) = (kept >> 20, self.memory_bytes >> 20);
                let reason = format!("its calls left {kept} of its {all} MiB of memory in use");
                return Fitness::Unfit(reason);
            }
        }
        if left || state.restless {
            self.stop(&mut state);
        }
        Fitness::Fit
    }

    /// A call that lasts from one look to the next is worth one.
    fn weigh(&self, state: &mut State) {
        if state.heavy.is_some() {
            return;
        }
        let Some(seen) = self.process.get().and_then(|process| see(process.pid)) else {
            return;
        };
        let first = *state.spent.get_or_insert(seen.spent);
        if seen.spent >= first + HEAVY_TICKS {
            state.heavy = Some(self.weight.heavy());
        }
    }

    fn stop(&self, state: &mut State) {
        state.phase = Phase::Stopped;
        self.send(Signal::STOP);
    }

    /// Nothing is sent before the process is known; [`Self::started`] makes up for it.
    fn send(&self, signal: Signal) {
        if let Some(process) = self.process.get() {
            // It may have ended.
            let _ = rustix::process::pidfd_send_signal(&process.descriptor, signal);
        }
    }

    /// Looks whether it uses the processor while it rests, or much of it for one call. How long until the
    /// next look, and which rest it was.
    fn look(&self, before: u64) -> (Duration, u64) {
        let mut state = self.state.lock();
        let rest = state.rests;
        if state.phase == Phase::Busy && before == rest {
            self.weigh(&mut state);
        }
        if state.phase != Phase::Resting {
            return (SOON, rest);
        }
        let Some(seen) = self.process.get().and_then(|process| see(process.pid)) else {
            return (SELDOM, rest);
        };
        let first = *state.spent.get_or_insert(seen.spent);
        if seen.spent > first + 1 {
            state.restless = true;
            self.stop(&mut state);
            tracing::debug!("worker.restless");
        }
        let soon = before != rest || seen.threads > 1;
        (if soon { SOON } else { SELDOM }, rest)
    }
}

/// Looks at a worker for as long as there is one.
async fn watch(body: Weak<Body>, supervisor: Supervisor) {
    let (mut pause, mut rest) = (SOON, 0);
    loop {
        tokio::select! {
            () = supervisor.stopped() => return,
            () = tokio::time::sleep(pause) => {}
        }
        failpoint::hit(Point::LoopRest);
        let Some(body) = body.upgrade() else {
            return;
        };
        (pause, rest) = body.look(rest);
    }
}

/// The number, in our own namespace, of the process that a descriptor stands for.
fn number_of(descriptor: &OwnedFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok()
}

fn see(pid: u32) -> Option<Seen> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, closing brackets included.
    let (_, rest) = text.rsplit_once(") ")?;
    let number = |at: usize| {
        rest.split(' ')
            .nth(at)
            .and_then(|it| it.parse::<u64>().ok())
    };
    Some(Seen {
        spent: number(11)? + number(12)?,
        threads: number(17)?,
    })
}

/// Bytes of memory in use.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags};
    use std::process::{Child, Command};

    /// A process that does nothing but use the processor.
    fn busy() -> (Child, Arc<Body>) {
        let child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let body = Arc::new(Body::new(256, Arc::default()));
        body.started(rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap());
        (child, body)
    }

    fn state_of(child: &Child) -> char {
        let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// Waits until the kernel says so.
    fn until(child: &Child, stopped: bool) {
        while (state_of(child) == 'T') != stopped {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_left_threads_is_stopped_until_its_next_call() {
        let (mut child, body) = busy();
        for _ in 0..3 {
            assert_eq!(body.rest(true, false), Fitness::Fit);
            until(&child, true);
            body.wake();
            until(&child, false);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_works_between_calls_is_met_and_stopped_at_once_from_then_on() {
        let (mut child, body) = busy();
        body.rest(false, false);
        while body.state.lock().phase != Phase::Stopped {
            body.look(0);
        }
        until(&child, true);
        body.wake();
        until(&child, false);
        body.rest(false, false);
        until(&child, true);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_does_nothing_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let body = Body::new(256, Arc::default());
        body.started(rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap());
        body.rest(false, false);
        let (soon, rest) = body.look(0);
        let (later, _) = body.look(rest);
        assert_eq!((soon, later), (SOON, SELDOM));
        assert!(body.state.lock().phase == Phase::Resting && !body.state.lock().restless);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_call_that_keeps_the_processor_busy_weighs_less_until_it_ends() {
        let (mut child, body) = busy();
        body.rest(false, false);
        body.wake();
        let is_heavy = || body.state.lock().heavy.is_some();
        let (_, rest) = body.look(0);
        assert!(!is_heavy(), "it has hardly begun");
        while !is_heavy() {
            body.look(rest);
        }
        body.rest(false, false);
        assert!(!is_heavy());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
