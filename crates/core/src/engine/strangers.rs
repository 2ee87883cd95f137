//! Calls of public functions by nobody who is signed in: few at the same time, and few that wait.
//!
//! Whoever can send requests can make such calls. They must never take the workers of those who are known.

use crate::error::Error;
use crate::ids::FunctionId;
use crate::limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When a refused caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls under way, by function. Cloning is cheap.
#[derive(Default, Clone)]
pub(crate) struct Strangers(Arc<Mutex<HashMap<FunctionId, Crowd>>>);

struct Crowd {
    inside: usize,
    permits: Arc<Semaphore>,
}

/// A call's presence; leaving is automatic.
struct Inside {
    strangers: Strangers,
    function: FunctionId,
}

/// A call that may run.
pub(crate) struct Admitted {
    _inside: Inside,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Strangers {
    /// Waits until one more stranger's call of a function may run.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait already.
    pub(crate) async fn enter(&self, function: FunctionId, slug: &str) -> Result<Admitted, Error> {
        let (inside, permits) = self.join(function, slug)?;
        // The semaphore is never closed.
        let permit = permits.acquire_owned().await.ok();
        Ok(Admitted {
            _inside: inside,
            _permit: permit,
        })
    }

    fn join(&self, function: FunctionId, slug: &str) -> Result<(Inside, Arc<Semaphore>), Error> {
        let mut crowds = self.0.lock();
        let crowd = crowds.entry(function).or_insert_with(|| Crowd {
            inside: 0,
            permits: Arc::new(Semaphore::new(limits::PUBLIC_CONCURRENCY)),
        });
        if crowd.inside >= limits::PUBLIC_CONCURRENCY + limits::PUBLIC_WAITING {
            return Err(Error::Busy {
                reason: format!(
                    "{} public calls of function '{slug}' run and {} wait, which is the limit",
                    limits::PUBLIC_CONCURRENCY,
                    limits::PUBLIC_WAITING
                ),
                retry_after: RETRY_AFTER,
            });
        }
        crowd.inside += 1;
        let inside = Inside {
            strangers: self.clone(),
            function,
        };
        Ok((inside, Arc::clone(&crowd.permits)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut crowds = self.strangers.0.lock();
        if let Some(crowd) = crowds.get_mut(&self.function) {
            crowd.inside -= 1;
            if crowd.inside == 0 {
                crowds.remove(&self.function);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn strangers_wait_for_each_other_and_are_refused_when_too_many_do() {
        let strangers = Strangers::default();
        let function = FunctionId(1);
        let enter = || Box::pin(strangers.enter(function, "open"));
        let mut running: Vec<_> = (0..limits::PUBLIC_CONCURRENCY)
            .map(|_| enter().now_or_never().unwrap().ok())
            .collect();
        let mut waiting: Vec<_> = (0..limits::PUBLIC_WAITING).map(|_| enter()).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let refused = enter().now_or_never().unwrap().err().unwrap();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        // Another function is not concerned.
        assert!(
            strangers
                .enter(FunctionId(2), "other")
                .now_or_never()
                .unwrap()
                .is_ok()
        );
        running.pop();
        let admitted = waiting[0].as_mut().now_or_never();
        assert!(admitted.is_some_and(|it| it.is_ok()));
        drop((running, waiting));
        assert!(strangers.0.lock().is_empty());
    }
}
