//! Requests under way, by key: of those with the same key one runs at a time.
//!
//! This spares work and gives waiting callers the first one's answer. It is not what makes an
//! effect happen once: that is the uniqueness of the stored key.

use super::{IdempotencyKey, KeyOwner};
use crate::error::Error;
use crate::limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

type Name = (KeyOwner, IdempotencyKey);
type Lane = tokio::sync::Mutex<()>;

/// The keys of requests under way or waiting.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Name, Arc<Lane>>>);

/// The turn of one request among those with its key; the next one's begins when it is dropped.
pub struct Turn {
    // Dropped in this order: first the next one is let in, then the name goes if nobody came.
    _guard: OwnedMutexGuard<()>,
    _ticket: Ticket,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

/// A place in a key's lane, waiting or not.
struct Ticket {
    flights: Arc<Flights>,
    name: Name,
    /// None once it was given back.
    lane: Option<Arc<Lane>>,
}

impl Flights {
    /// Waits until no other request with this key is under way.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when [`limits::IDEMPOTENCY_KEYS_UNDER_WAY`] is reached.
    pub(super) async fn turn(self: &Arc<Self>, name: Name) -> Result<Turn, Error> {
        let (ticket, lane) = self.ticket(name)?;
        let guard = lane.lock_owned().await;
        Ok(Turn {
            _guard: guard,
            _ticket: ticket,
        })
    }

    fn ticket(self: &Arc<Self>, name: Name) -> Result<(Ticket, Arc<Lane>), Error> {
        let mut lanes = self.0.lock();
        if lanes.len() >= limits::IDEMPOTENCY_KEYS_UNDER_WAY && !lanes.contains_key(&name) {
            let message = "Too many requests with an Idempotency-Key are under way; try again";
            return Err(Error::Unavailable(message.to_owned()));
        }
        let lane = Arc::clone(lanes.entry(name.clone()).or_default());
        let flights = Arc::clone(self);
        let ticket = Ticket {
            flights,
            name,
            lane: Some(Arc::clone(&lane)),
        };
        Ok((ticket, lane))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lanes = self.flights.0.lock();
        // Given back under the lock, so that of two that end together the second one sees that it
        // is the last: only the map's own is left then.
        drop(self.lane.take());
        if lanes
            .get(&self.name)
            .is_some_and(|lane| Arc::strong_count(lane) == 1)
        {
            lanes.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;
    use crate::ids::UserId;
    use crate::site::Authority;
    use futures_util::FutureExt as _;

    fn name(user: i64, key: &str) -> Name {
        let scope = Authority::of_this_program().scope(SiteId(1));
        let user = Some(UserId(user));
        (
            KeyOwner { scope, user },
            IdempotencyKey::new(key).expect("a key"),
        )
    }

    #[tokio::test]
    async fn one_of_a_key_at_a_time_and_others_beside_it() {
        let flights = Arc::new(Flights::default());
        let first = flights.turn(name(1, "k")).await.unwrap();
        let mut second = Box::pin(flights.turn(name(1, "k")));
        assert!(second.as_mut().now_or_never().is_none());
        let others = [name(2, "k"), name(1, "other")].map(|name| flights.turn(name).now_or_never());
        assert!(others.iter().all(Option::is_some));
        drop(first);
        let second = second.await.unwrap();
        drop(others);
        assert_eq!(flights.len(), 1);
        drop(second);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_leaves_nothing() {
        let flights = Arc::new(Flights::default());
        let first = flights.turn(name(1, "k")).await.unwrap();
        let mut gone = Box::pin(flights.turn(name(1, "k")));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn keys_under_way_are_bounded() {
        let flights = Arc::new(Flights::default());
        let mut turns = Vec::new();
        for number in 0..limits::IDEMPOTENCY_KEYS_UNDER_WAY {
            let key = format!("k{number}");
            turns.push(flights.turn(name(1, &key)).await.unwrap());
        }
        let refused = flights.turn(name(1, "one-more")).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))));
        turns.pop();
        flights.turn(name(1, "one-more")).await.unwrap();
    }
}
