//! A run that asks what has become of others that go on waits a moment for the answer.
//!
//! It would ask again at once anyway. While it waits here it holds neither a slot nor a worker's place, so that
//! the runs it asks for find them. Must never answer anything else than the same request later would, nor by
//! rights that have ended meanwhile.

use crate::engine::Engine;
use crate::error::Error;
use crate::ids::InvocationId;
use crate::invocations::{Invocation, InvocationChanged};
use crate::ports::store::{InvocationQuery, Page, PageRequest, ScopedStore};
use crate::rights::{Actor, Principal};
use crate::tasks::State;
use crate::{limits, pause};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};

/// How long one question waits, at most.
const LINGER: Duration = Duration::from_millis(250);
/// The states of a run that goes on.
const GOING_ON: [State; 3] = [State::Pending, State::Running, State::Retrying];

/// A look of a running function at other runs. None for whoever asks from outside: they hold nothing that
/// others wait for.
pub(super) struct Look<'a> {
    engine: &'a Engine,
    actor: &'a Actor,
    changes: broadcast::Receiver<InvocationChanged>,
}

impl<'a> Look<'a> {
    /// To be begun before the first look, so that no end is missed between the two.
    pub(super) fn begin(engine: &'a Engine, principal: &'a Principal) -> Option<Self> {
        Some(Self {
            engine,
            actor: principal.actor()?,
            changes: engine.watch(),
        })
    }

    /// Waits for the end of a run that was seen. Answers with whose rights it is to be looked at again; none when
    /// there is nothing new to be seen.
    pub(super) async fn at_one(&mut self, seen: &Invocation) -> Result<Option<Principal>, Error> {
        match seen.state.is_final() {
            true => Ok(None),
            false => self.until_one_ends(&[seen.id]).await,
        }
    }

    /// The same for a list: it waits for those runs only that the asking one's own chain has caused.
    pub(super) async fn at_many(
        &mut self,
        store: &dyn ScopedStore,
        query: InvocationQuery,
        seen: &Page<Invocation>,
    ) -> Result<Option<Principal>, Error> {
        let mut caused = self.caused(&seen.items);
        let hides_them =
            |query: &InvocationQuery| query.states.iter().any(|state| state.is_final());
        if caused.is_empty() && (hides_them(&query) || query.has_error == Some(true)) {
            // It waits until they appear.
            let all = InvocationQuery {
                states: GOING_ON.to_vec(),
                has_error: None,
                kind: None,
                ..query
            };
            let page = PageRequest {
                limit: limits::PAGE_SIZE_MAX,
                offset: 0,
            };
            let going_on = store.list_invocations(all, page).await?;
            caused = self.caused(&going_on.items);
        }
        match caused.is_empty() {
            true => Ok(None),
            false => self.until_one_ends(&caused).await,
        }
    }

    /// The runs among these that go on and stand below the asking one.
    fn caused(&self, runs: &[Invocation]) -> Vec<InvocationId> {
        let chain = &self.actor.chain;
        let below = runs
            .iter()
            .filter(|run| !run.state.is_final() && run.chain.begins_with(chain));
        below.map(|run| run.id).collect()
    }

    async fn until_one_ends(&mut self, ids: &[InvocationId]) -> Result<Option<Principal>, Error> {
        let ended = tokio::time::timeout(LINGER, end_of_one(&mut self.changes, ids));
        if pause::waiting_for_a_run(ended).await.is_err() {
            return Ok(None);
        }
        self.engine.principal_of(self.actor).await.map(Some)
    }
}

/// Waits until one of these has ended, or may have.
async fn end_of_one(changes: &mut broadcast::Receiver<InvocationChanged>, ids: &[InvocationId]) {
    loop {
        match changes.recv().await {
            Ok(change) if change.state.is_final() && ids.contains(&change.id) => return,
            Ok(_) => {}
            // It may have been among those that were missed.
            Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;
    use futures_util::FutureExt as _;

    #[test]
    fn what_goes_on_is_what_is_not_final() {
        let final_ones = GOING_ON.iter().filter(|state| state.is_final());
        assert_eq!(final_ones.count(), 0);
        let statuses = ["PENDING", "STARTED", "RETRY"];
        let all: Vec<_> = statuses
            .iter()
            .flat_map(|it| State::with_status(it))
            .collect();
        assert_eq!(all, GOING_ON);
    }

    #[test]
    fn only_ends_of_those_that_are_watched_count() {
        let (sender, mut changes) = broadcast::channel(2);
        let ids = [InvocationId(3), InvocationId(5)];
        let ended = |changes: &mut _| end_of_one(changes, &ids).now_or_never().is_some();
        let tell = |id, state| {
            let change = InvocationChanged {
                site_id: SiteId(1),
                id: InvocationId(id),
                state,
            };
            sender.send(change).unwrap();
        };
        tell(4, State::Succeeded);
        tell(5, State::Running);
        assert!(!ended(&mut changes));
        tell(5, State::Dead);
        assert!(ended(&mut changes));
        for _ in 0..3 {
            tell(4, State::Succeeded);
        }
        assert!(ended(&mut changes), "one was missed");
    }
}
