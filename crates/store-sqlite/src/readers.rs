//! Reading: connections that the writer never blocks.
//!
//! A look-up by key is answered on the caller's own thread: it takes a few microseconds, less than
//! handing it to another thread and back. Whatever may look at many rows (lists, totals) must go
//! to the reader threads with [`Readers::list`], so that it never holds up the runtime.

use crate::error::{DbResult, OpenError, closed, sorted};
use crate::open::connect_read_only;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::{Semaphore, oneshot};
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ports::store::StoreError;
use tollgate_core::supervise::Supervisor;

/// Most queries that wait, given up or not; whoever asks further waits to hand theirs over.
const WAITING_MAX: usize = 8192;

type Query = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Query>,
    stopped: bool,
}

pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(
        path: PathBuf,
        threads: usize,
        supervisor: &Supervisor,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(Queue::default());
        let mut readers = Self {
            path,
            idle: Mutex::default(),
            queue,
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            threads: Vec::with_capacity(threads),
        };
        for number in 0..threads.max(1) {
            let connection = connect_read_only(&readers.path)?;
            let queue = Arc::clone(&readers.queue);
            let builder = thread::Builder::new().name(format!("sqlite-reader-{number}"));
            let thread = supervisor
                .thread("sqlite-reader", builder, move || serve(&connection, &queue))
                .map_err(OpenError::io(&readers.path))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// The database's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Answers a look-up by key on this thread. There are never more connections than threads
    /// that do this at once, because nothing waits while it holds one.
    pub(crate) fn look_up<T>(
        &self,
        query: impl FnOnce(&Connection) -> DbResult<T>,
    ) -> Result<T, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_read_only(&self.path).map_err(sorted)?,
        };
        // A panic drops the connection, which is what should happen to one in an unknown state.
        let result = query(&connection);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result.map_err(StoreError::from)
    }

    /// Answers a longer query on a reader thread, in one transaction so that its parts agree.
    pub(crate) async fn list<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |connection: &Connection| {
            let _room = room;
            if reply.is_closed() {
                return;
            }
            let result = in_snapshot(connection, query).map_err(StoreError::from);
            // A caller that went away does not want its answer.
            drop(reply.send(result));
        });
        {
            let mut state = self
                .queue
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return Err(closed());
            }
            state.waiting.push_back(query);
        }
        self.queue.changed.notify_one();
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stopped = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A reader cannot end itself: its queries hold no reference to the store.
            let _ = thread.join();
        }
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> DbResult<T>,
) -> DbResult<T> {
    let snapshot = connection.unchecked_transaction()?;
    let result = query(&snapshot)?;
    snapshot.commit()?;
    Ok(result)
}

fn serve(connection: &Connection, queue: &Queue) {
    let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(query) = state.waiting.pop_front() {
            drop(state);
            failpoint::hit(Point::LoopReader);
            if catch_unwind(AssertUnwindSafe(|| query(connection))).is_err() {
                tracing::error!("a query panicked");
            }
            state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        } else if state.stopped {
            return;
        } else {
            state = queue
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
