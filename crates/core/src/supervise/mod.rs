//! Owns whatever the process does beside answering: loops, threads, and work that one run or request began.
//!
//! All of it is started here, in groups. A group is told to stop, and then it is waited for until everything that was
//! started in it has ended; what does not end is named. A loop that has panicked, or ended unasked, is a fault: the
//! server says that it is not ready, hands its work back and ends with an error, instead of going on with a queue that
//! nobody looks at. It must never hold a loop up, nor start anything that nobody can wait for.

mod fault;
mod works;

pub use fault::Fault;

use self::works::{Ending, Watched, Works};
use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// How long what was broken off may take to let go of what it holds.
const LETTING_GO: Duration = Duration::from_millis(500);

/// A group of loops, threads and other work, with the groups within it. Cloning is cheap.
#[derive(Clone)]
pub struct Supervisor(Arc<Group>);

struct Group {
    stopping: watch::Sender<bool>,
    works: watch::Sender<Works>,
    /// Groups within this one.
    within: Mutex<Vec<Weak<Group>>>,
    /// What went wrong first, in all groups of the process.
    fault: Arc<watch::Sender<Option<Fault>>>,
}

impl Group {
    fn new(fault: Arc<watch::Sender<Option<Fault>>>, stopping: bool) -> Arc<Self> {
        Arc::new(Self {
            stopping: watch::Sender::new(stopping),
            works: watch::Sender::default(),
            within: Mutex::default(),
            fault,
        })
    }

    /// This one and those within it.
    fn all(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut all = vec![Arc::clone(self)];
        let mut next = 0;
        while let Some(group) = all.get(next) {
            let within: Vec<_> = group
                .within
                .lock()
                .iter()
                .filter_map(Weak::upgrade)
                .collect();
            all.extend(within);
            next += 1;
        }
        all
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Group::new(Arc::default(), false))
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor").field(&self.fault()).finish()
    }
}

/// What belongs together.
impl Supervisor {
    /// A group within this one: it can be stopped and waited for alone, is stopped and waited for with this one, and its
    /// faults are the process's.
    #[must_use]
    pub fn group(&self) -> Self {
        // Under the lock, so that a stop of this one at the same time is not missed.
        let mut within = self.0.within.lock();
        let group = Group::new(Arc::clone(&self.0.fault), self.is_stopping());
        within.retain(|group| group.strong_count() > 0);
        within.push(Arc::downgrade(&group));
        Self(group)
    }

    /// Tells this group, and those within it, to stop: from now on loops may end, and should.
    pub fn stop(&self) {
        let within: Vec<_> = {
            let within = self.0.within.lock();
            self.0.stopping.send_replace(true);
            within.iter().filter_map(Weak::upgrade).collect()
        };
        within.into_iter().for_each(|group| Self(group).stop());
    }

    /// Whether it was told to stop, so that nothing needs to be started that nobody waits for.
    pub fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Waits until it is told to stop.
    pub async fn stopped(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.stopping.subscribe().wait_for(|stop| *stop).await;
    }

    /// Waits until everything that was started here has ended, for at most this long. What has not is named, in the log
    /// and in the answer, and broken off where that is possible: a thread goes on.
    pub async fn joined(&self, within: Duration) -> Vec<&'static str> {
        if tokio::time::timeout(within, self.all_ended()).await.is_ok() {
            return Vec::new();
        }
        let groups = self.0.all();
        let mut names: Vec<_> = groups
            .iter()
            .flat_map(|it| it.works.borrow().names())
            .collect();
        names.sort_unstable();
        names.dedup();
        tracing::warn!(
            names = names.join(", "),
            "what was told to stop does not end"
        );
        let tasks: Vec<_> = groups
            .iter()
            .flat_map(|it| it.works.borrow().tasks())
            .collect();
        tasks.iter().for_each(AbortHandle::abort);
        // What it holds is in use until then.
        let _ = tokio::time::timeout(LETTING_GO, self.all_ended()).await;
        names
    }

    async fn all_ended(&self) {
        loop {
            let groups = self.0.all();
            if groups.iter().all(|group| group.works.borrow().is_empty()) {
                return;
            }
            for group in groups {
                // The sender lives as long as the group.
                let _ = group.works.subscribe().wait_for(Works::is_empty).await;
            }
        }
    }
}

/// What is started.
impl Supervisor {
    /// A loop that goes on until the group is told to stop.
    ///
    /// # Panics
    /// Outside a tokio runtime, as everything here but threads.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.start(name, Ending::WhenAsked, work);
    }

    /// Work that ends by itself some time, and must not panic.
    pub fn spawn_passing(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(name, Ending::ByItself, work);
    }

    /// Work of one run or one request, which goes to its end whether somebody waits for the answer or not. A panic is that
    /// run's or request's, and no fault: whoever waits is told.
    pub fn carry<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.start(name, Ending::EvenBadly, work)
    }

    /// A thread, which ends by itself or with its owner, and must not panic.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &'static str,
        builder: thread::Builder,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<thread::JoinHandle<T>> {
        let watched = Watched::new(self, name, Ending::ByItself);
        builder.spawn(move || {
            let _watched = watched;
            work()
        })
    }

    fn start<T: Send + 'static>(
        &self,
        name: &'static str,
        ending: Ending,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let watched = Watched::new(self, name, ending);
        let number = watched.number();
        let task = tokio::spawn(async move {
            // In this order: what the work holds is let go of first, also if it never began.
            let (work, _watched) = (work, watched);
            work.await
        });
        self.0.works.send_if_modified(|works| {
            works.can_be_broken_off(number, task.abort_handle());
            false
        });
        task
    }
}

/// What goes wrong.
impl Supervisor {
    /// What went wrong first, if anything has.
    pub fn fault(&self) -> Option<Fault> {
        self.0.fault.borrow().clone()
    }

    /// Waits until something has gone wrong.
    pub async fn broken(&self) -> Fault {
        let mut faults = self.0.fault.subscribe();
        let fault = faults.wait_for(Option::is_some).await;
        match fault.ok().and_then(|fault| fault.clone()) {
            Some(fault) => fault,
            // The sender lives as long as `self`.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
