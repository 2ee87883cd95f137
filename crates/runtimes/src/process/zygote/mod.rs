//! The server's hold on zygote processes: starting one, asking it for workers, noticing its end.
//!
//! [`keeper`] has one for each site; nothing else may decide whose a zygote is. A zygote that is told
//! to end, or is lost, takes its workers along.

mod control;
mod keeper;
mod memory;
mod start;
mod starts;

pub(super) use keeper::{Ground, Keeper, tend};

pub(super) use crate::process::groups::Beyond;
use crate::process::weight::Weight;

use self::control::Command;
use super::language::Language;
use super::rest::Body;
use crate::outbound::reply::ReplyRooms;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tollgate_core::confinement::Confinement;
use tollgate_core::limits;
use tollgate_core::room::Room;
use tollgate_core::supervise::Supervisor;

/// How a worker process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was killed for want of memory.
    OutOfMemory(Beyond),
    /// It was never started.
    NotStarted(String),
    /// Its zygote ended, and it with it.
    ZygoteGone,
}

/// How a worker ended, once it has.
pub(super) type ExitWatch = watch::Receiver<Option<Exit>>;

/// What a worker shares with the server: its socket, its journal and its streams.
pub(super) enum Ends {
    /// The server has made it, and this is the worker's part.
    Made([OwnedFd; 4]),
    /// The host makes it, and this is where the server's part goes.
    HandedOut(oneshot::Sender<[OwnedFd; 4]>),
}

/// What lives below a zygote.
#[derive(Default)]
struct Population {
    /// Workers, from the order to start until the news of the end.
    workers: AtomicUsize,
    /// Of these, how many run something.
    busy: AtomicUsize,
    /// Messages that came from the zygote.
    heard: AtomicU64,
    /// It does not do what it is told, and must go.
    given_up: AtomicBool,
    /// Told once that is so.
    stuck: Notify,
}

/// Something runs below a zygote while this lives.
pub(super) struct Busy(Arc<Population>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Room in the server's memory.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// For large frames from workers.
    pub(super) frames: Room,
    /// For large answers of the platform to them.
    pub(super) answers: Room,
    /// For large replies of other hosts to them.
    pub(super) replies: ReplyRooms,
}

impl Rooms {
    /// All there is.
    fn new() -> Self {
        Self {
            frames: Room::new(limits::FRAMES_BYTES),
            answers: Room::new(limits::HOST_ANSWERS_BYTES),
            replies: ReplyRooms::new(),
        }
    }

    /// One site's part in it.
    fn of_site(&self) -> Self {
        Self {
            frames: self.frames.of_site(),
            answers: self.answers.of_site(),
            replies: self.replies.of_site(),
        }
    }
}

/// A running zygote. When it is told to, or the last clone is dropped, it ends and takes its
/// workers along.
#[derive(Clone)]
pub(super) struct Zygote {
    language: Language,
    commands: mpsc::Sender<Command>,
    pid: Arc<AtomicU32>,
    population: Arc<Population>,
    confinement: Confinement,
    rooms: Rooms,
    weight: Arc<Weight>,
    supervisor: Supervisor,
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

impl Zygote {
    /// The walls that it and its workers are behind.
    pub(super) fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// What its workers speak.
    pub(super) const fn language(&self) -> Language {
        self.language
    }

    /// Asks for a worker that has these ends, and may have `memory_mb` of memory.
    ///
    /// Failure to start shows as the end of the worker.
    pub(super) fn spawn(&self, id: u64, memory_mb: u32, ends: Ends, body: Arc<Body>) -> ExitWatch {
        let (exit, watch) = watch::channel(None);
        self.population.workers.fetch_add(1, Ordering::SeqCst);
        if let Err(Command::Spawn { exit, .. }) = self.order(Command::Spawn {
            id,
            memory_mb,
            ends,
            body,
            exit,
        }) {
            self.population.workers.fetch_sub(1, Ordering::SeqCst);
            exit.send_replace(Some(Exit::ZygoteGone));
        }
        watch
    }

    /// Says that a worker of it runs something, for as long as the answer lives.
    pub(super) fn busy(&self) -> Busy {
        self.population.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.population))
    }

    /// Room for what its workers send and get.
    pub(super) const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What its workers together weigh for processor time.
    pub(super) const fn weight(&self) -> &Arc<Weight> {
        &self.weight
    }

    /// Watches what goes on for its workers.
    pub(super) const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    fn has_workers(&self) -> bool {
        self.population.workers.load(Ordering::SeqCst) > 0
    }

    fn is_busy(&self) -> bool {
        self.population.busy.load(Ordering::SeqCst) > 0
    }

    /// Kills a worker with everything it started. Does not wait.
    pub(super) fn kill(&self, id: u64) {
        // A zygote that is gone took its workers along.
        let _ = self.order(Command::Kill { id });
    }

    /// Whether it can still be used.
    pub(super) fn is_alive(&self) -> bool {
        !self.commands.is_closed() && !self.population.given_up.load(Ordering::SeqCst)
    }

    /// How many messages have come from it.
    pub(super) fn heard(&self) -> u64 {
        self.population.heard.load(Ordering::SeqCst)
    }

    /// It does not do what it is told: it is killed at once, with its workers, and nobody is given it any
    /// more. Does not wait.
    pub(super) fn give_up_on(&self) {
        if !self.population.given_up.swap(true, Ordering::SeqCst) {
            tracing::error!(zygote.pid = self.pid(), "zygote.stuck");
            self.population.stuck.notify_one();
        }
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Has the zygote killed, by force if it does not obey. Does not wait.
    pub(super) fn abandon(&self) {
        // Refused only if that has happened already.
        let _ = self.order(Command::End);
    }

    /// Hands an order over, without waiting: it may come from a `Drop`. A zygote that has left so many orders undone that
    /// there is no place for another is given up on, and with it goes whatever this one was about.
    fn order(&self, order: Command) -> Result<(), Command> {
        match self.commands.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order)) => {
                self.give_up_on();
                Err(order)
            }
            Err(TrySendError::Closed(order)) => Err(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn one_that_leaves_its_orders_undone_is_given_up_on_and_loses_no_kill() {
        let (commands, mut undone) = mpsc::channel(1);
        let zygote = Zygote {
            language: Language::Python,
            commands,
            pid: Arc::default(),
            population: Arc::default(),
            confinement: Confinement::Off,
            rooms: Rooms::new(),
            weight: Arc::default(),
            supervisor: Supervisor::default(),
        };
        zygote.kill(1);
        assert!(zygote.is_alive());
        zygote.kill(2);
        assert!(!zygote.is_alive() && zygote.population.given_up.load(Ordering::SeqCst));
        // A start that comes then is told so.
        let pair = || UnixStream::pair().unwrap();
        let [(a, b), (c, d)] = [pair(), pair()];
        let body = Arc::new(Body::new(64, Arc::default()));
        let exit = zygote.spawn(3, 64, Ends::Made([a, b, c, d].map(OwnedFd::from)), body);
        assert_eq!(*exit.borrow(), Some(Exit::ZygoteGone));
        assert!(!zygote.has_workers());
        assert!(matches!(undone.try_recv(), Ok(Command::Kill { id: 1 })));
    }
}
