//! Counts processes from before their start until after their end, so that a close leaves none behind.
//!
//! Nothing may be started without asking here, and after the close nothing is.

use std::sync::Arc;
use tokio::sync::watch;

/// The processes of one keeper.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Handles of [`Started`].
    held: usize,
}

/// A process that may be started and has not ended, and whatever else has to end with it.
#[derive(Debug)]
pub(super) struct Started(Starts);

impl Starts {
    /// Permission for one start; none after the close.
    pub(super) fn begin(&self) -> Option<Started> {
        let begun = self.0.send_if_modified(|state| {
            if !state.closed {
                state.held += 1;
            }
            !state.closed
        });
        begun.then(|| Started(self.clone()))
    }

    /// Permits no further start.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.closed = true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// Waits for the close.
    pub(super) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|state| state.closed).await;
    }

    /// Waits until everything that was started has ended.
    pub(super) async fn all_ended(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.held == 0).await;
    }
}

impl Clone for Started {
    fn clone(&self) -> Self {
        self.0.0.send_modify(|state| state.held += 1);
        Self(self.0.clone())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.held -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn after_the_close_nothing_starts_and_what_was_started_is_waited_for() {
        let starts = Starts::default();
        let first = starts.begin().unwrap();
        let second = first.clone();
        assert!(starts.closed().now_or_never().is_none() && !starts.is_closed());
        starts.close();
        assert!(starts.closed().now_or_never().is_some() && starts.is_closed());
        assert!(starts.begin().is_none());
        drop(first);
        assert!(starts.all_ended().now_or_never().is_none());
        drop(second);
        assert!(starts.all_ended().now_or_never().is_some());
    }
}
