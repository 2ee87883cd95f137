//! Watches what the process lives by: loops and threads that must not end before they are asked to.
//!
//! A loop that has panicked, or ended unasked, is a fault: the server says that it is not ready, hands its
//! work back and ends with an error, instead of going on with a queue that nobody looks at. It must never
//! hold a loop up.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The watch over all loops of one process. Cloning is cheap.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    stopping: AtomicBool,
    fault: watch::Sender<Option<Fault>>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The loop's name.
    pub name: &'static str,
    panicked: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.panicked { "panicked" } else { "ended" };
        write!(
            f,
            "the loop '{}' {how}; this is a bug of Tollgate's",
            self.name
        )
    }
}

/// Says that a loop has ended, when dropped.
struct Watched {
    supervisor: Supervisor,
    name: &'static str,
    may_end: bool,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Arc::new(Inner {
            stopping: AtomicBool::new(false),
            fault: watch::Sender::new(None),
        }))
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor").field(&self.fault()).finish()
    }
}

impl Supervisor {
    /// From now on loops may end.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether loops may end, so that nothing needs to be started that nobody waits for.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    /// A loop that goes on until the process stops; to be spawned.
    pub fn watch<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.watched(name, false, work)
    }

    /// Work that ends by itself some time, and must not panic; to be spawned.
    pub fn watch_passing<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.watched(name, true, work)
    }

    fn watched<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        may_end: bool,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        let watched = self.watched_by(name, may_end);
        async move {
            let _watched = watched;
            work.await;
        }
    }

    /// The same as [`Self::watch_passing`] for a thread's work.
    pub fn watch_thread<T, W: FnOnce() -> T>(
        &self,
        name: &'static str,
        work: W,
    ) -> impl FnOnce() -> T + use<T, W> {
        let watched = self.watched_by(name, true);
        move || {
            let _watched = watched;
            work()
        }
    }

    fn watched_by(&self, name: &'static str, may_end: bool) -> Watched {
        Watched {
            supervisor: self.clone(),
            name,
            may_end,
        }
    }

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

impl Drop for Watched {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        let inner = &self.supervisor.0;
        if !panicked && (self.may_end || self.supervisor.is_stopping()) {
            return;
        }
        let fault = Fault {
            name: self.name,
            panicked,
        };
        tracing::error!(name = self.name, panicked, "a loop has ended: {fault}");
        inner.fault.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(fault);
            }
            is_first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_loop_that_ends_unasked_is_a_fault() {
        let supervisor = Supervisor::default();
        assert!(supervisor.broken().now_or_never().is_none());
        supervisor.watch_passing("passing", async {}).now_or_never();
        assert_eq!(supervisor.fault(), None);
        supervisor.watch("queue", async {}).now_or_never();
        supervisor.watch("later", async {}).now_or_never();
        let fault = supervisor.broken().now_or_never().unwrap();
        assert_eq!((fault.name, fault.panicked), ("queue", false));
    }

    #[test]
    fn a_panic_is_one_also_of_what_may_end() {
        let supervisor = Supervisor::default();
        let work = supervisor.watch_passing("host", async { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(|| work.now_or_never())).is_err());
        assert!(supervisor.fault().is_some_and(|fault| fault.panicked));
        let supervisor = Supervisor::default();
        let work = supervisor.watch_thread("writer", || panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        assert_eq!(supervisor.fault().map(|fault| fault.name), Some("writer"));
    }

    #[test]
    fn after_the_stop_loops_may_end() {
        let supervisor = Supervisor::default();
        let work = supervisor.watch("queue", std::future::pending());
        assert!(!supervisor.is_stopping());
        supervisor.stop();
        drop(work);
        assert!(supervisor.is_stopping() && supervisor.fault().is_none());
    }
}
