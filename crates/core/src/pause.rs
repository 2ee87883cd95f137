//! What a run gives back while it waits for runs that it caused.
//!
//! A run holds a slot, one of its function's permits and a worker. If it kept them while it waits for a
//! function that it called, callers and called would block each other. It must never go on without what it
//! gave back.

use async_trait::async_trait;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;

tokio::task_local! {
    /// The run for which a request is answered now.
    static ASKING: Arc<Pauses>;
}

/// Answers a request of a running function: what it makes wait gives back what the run holds.
pub async fn asked_by<T>(run: &Arc<Pauses>, answer: impl Future<Output = T>) -> T {
    ASKING.scope(Arc::clone(run), answer).await
}

/// Waits for a run. A run that asked for it gives back meanwhile what it holds.
pub async fn waiting_for_a_run<T>(wait: impl Future<Output = T>) -> T {
    match ASKING.try_with(Arc::clone) {
        Ok(asking) => asking.during(wait).await,
        // The request came from outside.
        Err(_) => wait.await,
    }
}

/// Something that others may have while a run waits.
#[async_trait]
pub trait Held: Send + Sync {
    /// Others may have it now. Does nothing if that is so already.
    fn give_back(&self);

    /// Waits until the run has it again. Does nothing if it has.
    async fn take_again(&self);
}

/// What one run holds, and how many runs it waits for.
#[derive(Default)]
pub struct Pauses(Mutex<State>);

#[derive(Default)]
struct State {
    held: Vec<Arc<dyn Held>>,
    waits: usize,
}

/// One wait; dropped midway it is over, and the run with it.
struct Wait<'a>(&'a Pauses);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.0.lock().waits -= 1;
    }
}

impl Pauses {
    /// The run holds something more.
    pub fn hold(&self, held: Arc<dyn Held>) {
        self.0.lock().held.push(held);
    }

    /// The run has ended and holds nothing.
    pub fn clear(&self) {
        self.0.lock().held.clear();
    }

    /// Waits for another run, and gives back meanwhile what this one holds.
    pub async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        let (held, waits) = self.change(1);
        let guard = Wait(self);
        if waits == 1 {
            held.iter().for_each(|held| held.give_back());
        }
        let outcome = wait.await;
        drop(guard);
        let (held, waits) = self.change(0);
        if waits == 0 {
            for held in &held {
                held.take_again().await;
            }
            // A further wait may have begun meanwhile, while there was nothing to give back.
            if self.change(0).1 > 0 {
                held.iter().for_each(|held| held.give_back());
            }
        }
        outcome
    }

    fn change(&self, more: usize) -> (Vec<Arc<dyn Held>>, usize) {
        let mut state = self.0.lock();
        state.waits += more;
        (state.held.clone(), state.waits)
    }
}

impl std::fmt::Debug for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pauses").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::sync::atomic::{AtomicI32, Ordering};
    use tokio::sync::oneshot;

    #[test]
    fn only_a_run_that_asks_gives_something_back() {
        let (pauses, count) = (Arc::new(Pauses::default()), Arc::new(Count::default()));
        pauses.hold(Arc::clone(&count) as _);
        let held = || count.0.load(Ordering::SeqCst);
        let (_outside, never) = oneshot::channel::<()>();
        assert!(waiting_for_a_run(never).now_or_never().is_none());
        assert_eq!(held(), 0);
        let (_inside, never) = oneshot::channel::<()>();
        let asked = asked_by(&pauses, waiting_for_a_run(never));
        assert!(asked.now_or_never().is_none());
        assert_eq!(held(), -1);
    }

    #[derive(Default)]
    struct Count(AtomicI32);

    #[async_trait]
    impl Held for Count {
        fn give_back(&self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }

        async fn take_again(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_held_is_given_back_for_as_long_as_anything_is_waited_for() {
        let (pauses, count) = (Pauses::default(), Arc::new(Count::default()));
        let held = || count.0.load(Ordering::SeqCst);
        pauses.hold(Arc::clone(&count) as _);
        let ((first, one), (second, two)) = (oneshot::channel(), oneshot::channel());
        let mut one = Box::pin(pauses.during(one));
        let mut two = Box::pin(pauses.during(two));
        assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
        assert_eq!(held(), -1);
        first.send(1).unwrap();
        assert_eq!(one.now_or_never(), Some(Ok(1)));
        assert_eq!(held(), -1, "it still waits");
        second.send(2).unwrap();
        assert_eq!(two.now_or_never(), Some(Ok(2)));
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_wait_that_is_given_up_is_over() {
        let (pauses, count) = (Pauses::default(), Arc::new(Count::default()));
        pauses.hold(Arc::clone(&count) as _);
        let (_sender, never) = oneshot::channel::<()>();
        assert!(pauses.during(never).now_or_never().is_none());
        assert_eq!(count.0.load(Ordering::SeqCst), -1);
        assert_eq!(pauses.change(0).1, 0);
    }
}
