//! The one writer: a thread that takes closures from a channel and commits many per transaction.
//!
//! While one group is being synced to disk the next one gathers in the channel, so the cost of a
//! sync is shared by whoever came meanwhile, and a lone caller never waits for others. Writes that
//! nobody waits for do not start a transaction of their own at once: they go with the next one that
//! somebody waits for, or after [`LINGER`].
//!
//! A closure may run twice: a group runs without savepoints first, because they cost every write,
//! and is run again with them when a closure failed after it had already written something. So
//! closures must have no effect but on the connection. Whoever waits is answered, and signals are
//! given, only after the commit.

use crate::error::{DbError, DbResult, Panicked, closed};
use rusqlite::Connection;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ports::store::{OnCommit, StoreError};
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::Clock;

/// Most closures of one transaction.
const GROUP_MAX: usize = 256;
/// Most closures that wait for their callers; further callers wait to hand theirs over.
const WAITING_MAX: usize = 8192;
/// Most closures that nobody waits for: ends of runs whose callers have gone, a few for each of these.
const LATER_MAX: usize = 8192;

/// How long writes that nobody waits for may wait for company.
const LINGER: Duration = Duration::from_millis(5);

/// A write, seen from the thread.
trait Job: Send {
    /// Whether somebody waits for it.
    fn is_awaited(&self) -> bool;
    fn run(&mut self, connection: &Connection) -> Ran;
    fn finish(self: Box<Self>, lost: Option<&rusqlite::Error>);
}

/// How a closure ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ran {
    Well,
    Badly,
}

enum Message {
    Job(Box<dyn Job>),
    Stop,
}

/// What the writer has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
}

/// The way to the writer's thread.
pub(crate) struct Writer {
    /// Has a place for every closure that has room, and for the order to stop.
    sender: SyncSender<Message>,
    room: Arc<Semaphore>,
    room_for_later: Arc<Semaphore>,
    stopped: AtomicBool,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX + LATER_MAX + 1);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let builder = thread::Builder::new().name("sqlite-writer".to_owned());
        let thread = supervisor.thread("sqlite-writer", builder, move || {
            Thread {
                connection,
                receiver,
                clock,
                counters: shared,
            }
            .serve();
        })?;
        Ok(Self {
            sender,
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            room_for_later: Arc::new(Semaphore::new(LATER_MAX)),
            stopped: AtomicBool::new(false),
            counters,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `write` in a transaction and waits for the disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(None, write).await
    }

    /// The same, and gives `signal` once it is committed.
    pub(crate) async fn write_then<T: Send + 'static>(
        &self,
        signal: Option<OnCommit>,
        write: impl FnMut(&Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let work = Work {
            write,
            outcome: None,
            signal,
            reply: Reply::Caller(reply, room),
        };
        self.sender
            .send(Message::Job(Box::new(work)))
            .map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Hands `write` over for later; what goes wrong is logged under `name`.
    pub(crate) fn write_later(
        &self,
        name: &'static str,
        signal: Option<OnCommit>,
        write: impl FnMut(&Connection) -> DbResult<()> + Send + 'static,
    ) {
        // Its caller cannot wait: it may be a signal, on the writer's own thread.
        let Ok(room) = Arc::clone(&self.room_for_later).try_acquire_owned() else {
            tracing::error!(write = name, "too many writes wait for later; one is lost");
            return;
        };
        let work = Work {
            write,
            outcome: None,
            signal,
            reply: Reply::<()>::Log(name, room),
        };
        if self.sender.send(Message::Job(Box::new(work))).is_err() {
            tracing::error!(write = name, "the store is closed; a write is lost");
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Writes what is queued and ends the thread. Called on the writer's own thread, by a signal
    /// that held the last reference, it does not wait for itself.
    pub(crate) fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            // An error means that the thread has ended already.
            let _ = self.sender.send(Message::Stop);
        }
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who hears how a write ended.
enum Reply<T> {
    /// The caller, whose place in the queue is free again then.
    Caller(oneshot::Sender<Result<T, StoreError>>, OwnedSemaphorePermit),
    /// The log, under this name.
    Log(&'static str, OwnedSemaphorePermit),
}

struct Work<F, T> {
    write: F,
    outcome: Option<DbResult<T>>,
    signal: Option<OnCommit>,
    reply: Reply<T>,
}

impl<F, T> Job for Work<F, T>
where
    F: FnMut(&Connection) -> DbResult<T> + Send,
    T: Send,
{
    fn is_awaited(&self) -> bool {
        matches!(self.reply, Reply::Caller(..))
    }

    fn run(&mut self, connection: &Connection) -> Ran {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.write)(connection)))
            .unwrap_or_else(|panic| Err(DbError::bug(Panicked(panic_text(&*panic)))));
        let ran = if outcome.is_ok() {
            Ran::Well
        } else {
            Ran::Badly
        };
        self.outcome = Some(outcome);
        ran
    }

    fn finish(self: Box<Self>, lost: Option<&rusqlite::Error>) {
        let result = match (lost, self.outcome) {
            // Even a conflict may have been one with a neighbour that is lost too.
            (Some(error), _) => Err(unavailable(error)),
            (None, Some(outcome)) => outcome.map_err(StoreError::from),
            (None, None) => Err(closed()),
        };
        if result.is_ok()
            && let Some(signal) = self.signal
            && catch_unwind(AssertUnwindSafe(signal)).is_err()
        {
            tracing::error!("a signal after a commit panicked");
        }
        match self.reply {
            // A caller that went away does not want its answer.
            Reply::Caller(reply, _room) => drop(reply.send(result)),
            Reply::Log(name, _room) => {
                if let Err(error) = result {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(write = name, %error, cause, "a write is lost");
                }
            }
        }
    }
}

/// The whole group is lost: nobody can tell from here whose fault it was, and all may try again.
fn unavailable(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(Box::new(GroupLost(error.to_string())))
}

#[derive(Debug, thiserror::Error)]
#[error("the transaction was rolled back: {0}")]
struct GroupLost(String);

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// What the thread owns.
struct Thread {
    connection: Connection,
    receiver: Receiver<Message>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// What the channel had.
enum Next {
    Job(Box<dyn Job>),
    Nothing,
    Stop,
}

impl Thread {
    fn serve(self) {
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        loop {
            let mut stopping = self.gather(&mut jobs);
            failpoint::hit(Point::LoopWriter);
            if !jobs.is_empty() {
                stopping |= self.group(&mut jobs);
            }
            if stopping {
                break;
            }
        }
        // Nobody waits for this, and the file is fine without.
        let _ = self.connection.execute_batch("PRAGMA optimize");
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Waits until there is something that should be committed now. True when the writer must stop.
    fn gather(&self, jobs: &mut Vec<Box<dyn Job>>) -> bool {
        let Ok(Message::Job(first)) = self.receiver.recv() else {
            return true;
        };
        let mut urgent = first.is_awaited();
        jobs.push(first);
        let deadline = self.clock.monotonic() + LINGER;
        while !urgent && jobs.len() < GROUP_MAX {
            let left = deadline.saturating_duration_since(self.clock.monotonic());
            match self.receiver.recv_timeout(left) {
                Ok(Message::Job(job)) => {
                    urgent = job.is_awaited();
                    jobs.push(job);
                }
                Err(RecvTimeoutError::Timeout) => return false,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        false
    }

    fn next(&self) -> Next {
        match self.receiver.try_recv() {
            Ok(Message::Job(job)) => Next::Job(job),
            Err(TryRecvError::Empty) => Next::Nothing,
            Ok(Message::Stop) | Err(TryRecvError::Disconnected) => Next::Stop,
        }
    }

    /// Commits the gathered closures with those that come meanwhile, and answers their callers.
    /// True when the writer must stop.
    fn group(&self, jobs: &mut Vec<Box<dyn Job>>) -> bool {
        let mut stopping = false;
        let result = self.transaction(jobs, &mut stopping);
        if let Err(error) = &result {
            tracing::error!(%error, writes = jobs.len(), "a transaction was rolled back");
            if !self.connection.is_autocommit() {
                // Nothing more can be done here: the next BEGIN tells whether it is well again.
                let _ = execute(&self.connection, "ROLLBACK");
            }
        } else {
            failpoint::hit(Point::CommitAfter);
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters
                .writes
                .fetch_add(jobs.len() as u64, Ordering::Relaxed);
        }
        for job in jobs.drain(..) {
            job.finish(result.as_ref().err());
        }
        stopping
    }

    fn transaction(
        &self,
        jobs: &mut Vec<Box<dyn Job>>,
        stopping: &mut bool,
    ) -> rusqlite::Result<()> {
        let connection = &self.connection;
        execute(connection, "BEGIN IMMEDIATE")?;
        let (mut done, mut alone) = (0, false);
        loop {
            while let Some(job) = jobs.get_mut(done) {
                if alone {
                    run_alone(connection, &mut **job)?;
                } else if run(connection, &mut **job)? {
                    execute(connection, "ROLLBACK")?;
                    execute(connection, "BEGIN IMMEDIATE")?;
                    (done, alone) = (0, true);
                    continue;
                }
                done += 1;
            }
            if jobs.len() >= GROUP_MAX || *stopping {
                break;
            }
            match self.next() {
                Next::Job(job) => jobs.push(job),
                Next::Nothing => break,
                Next::Stop => *stopping = true,
            }
        }
        failpoint::hit(Point::CommitBefore);
        execute(connection, "COMMIT")
    }
}

/// Runs one closure. True when it failed and left changes behind; an error when SQLite itself
/// ended the transaction, as it does when the disk is full.
fn run(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<bool> {
    let before = connection.total_changes();
    if job.run(connection) == Ran::Well {
        return Ok(false);
    }
    still_open(connection)?;
    Ok(connection.total_changes() != before)
}

/// Runs one closure so that it fails alone.
fn run_alone(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT job")?;
    if job.run(connection) == Ran::Badly {
        still_open(connection)?;
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")
}

fn still_open(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
        return Err(rusqlite::Error::SqliteFailure(code, None));
    }
    Ok(())
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
