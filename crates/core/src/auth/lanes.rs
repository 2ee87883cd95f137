//! Who may hash a password next: few at a time, in turn by where they come from.
//!
//! Must never let one source stand before another one twice: however many attempts a stranger sends,
//! the next one from elsewhere waits for one of them per source at most.

use super::attempts::Key;
use crate::limits;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where a password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Somebody who proves nothing yet: only a few of each may wait, and not too many in all.
    Stranger(Key),
    /// Somebody whose credential was verified, or the program itself.
    Known(Key),
}

impl Source {
    const fn key(self) -> Key {
        match self {
            Self::Stranger(key) | Self::Known(key) => key,
        }
    }
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The right to compute one hash. Goes to the next who waits when dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Lanes>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(lanes) = self.0.take() {
            lanes.hand_on();
        }
    }
}

/// Places, and who waits for one.
#[derive(Debug)]
pub(super) struct Lanes(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Sources with somebody waiting, in the order of their turns.
    turns: VecDeque<Key>,
    waiting: HashMap<Key, VecDeque<(Source, oneshot::Sender<Place>)>>,
    strangers: usize,
}

impl Lanes {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: places,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            strangers: 0,
        })))
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Full`], for strangers only.
    pub(super) async fn enter(self: &Arc<Self>, source: Source) -> Result<Place, Full> {
        let turn = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Some(Arc::clone(self))));
            }
            state.queue(source)?
        };
        // The sender lives in the queue, which hands every one of them a place.
        turn.await.map_err(|_| Full)
    }

    fn hand_on(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.0.lock();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            let Err(mut place) = next.send(Place(Some(Arc::clone(&self)))) else {
                return;
            };
            // Whoever waited has gone; this place is not given up but offered again.
            place.0 = None;
        }
    }
}

impl State {
    fn queue(&mut self, source: Source) -> Result<oneshot::Receiver<Place>, Full> {
        if let Source::Stranger(key) = source {
            if self.strangers >= limits::PASSWORDS_WAITING {
                self.forget_gone();
            }
            let own = self.waiting.get(&key).map_or(0, VecDeque::len);
            if own >= limits::PASSWORDS_WAITING_OF_ONE
                || self.strangers >= limits::PASSWORDS_WAITING
            {
                return Err(Full);
            }
            self.strangers += 1;
        }
        let (sender, receiver) = oneshot::channel();
        let lane = self.waiting.entry(source.key()).or_default();
        if lane.is_empty() {
            self.turns.push_back(source.key());
        }
        lane.push_back((source, sender));
        Ok(receiver)
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let key = self.turns.pop_front()?;
        let lane = self.waiting.get_mut(&key)?;
        let next = lane.pop_front();
        if lane.is_empty() {
            self.waiting.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        let (source, sender) = next?;
        self.strangers -= usize::from(matches!(source, Source::Stranger(_)));
        Some(sender)
    }

    /// Lets go of those who do not wait any more.
    fn forget_gone(&mut self) {
        for lane in self.waiting.values_mut() {
            lane.retain(|(_, sender)| !sender.is_closed());
        }
        self.waiting.retain(|_, lane| !lane.is_empty());
        let waiting = &self.waiting;
        self.turns.retain(|key| waiting.contains_key(key));
        let all = self.waiting.values().flatten();
        self.strangers = all
            .filter(|(source, _)| matches!(source, Source::Stranger(_)))
            .count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    const fn stranger(n: u8) -> Source {
        Source::Stranger([n; 16])
    }

    #[tokio::test]
    async fn sources_take_turns_however_many_of_one_wait() {
        let lanes = Lanes::new(1);
        let first = lanes.enter(stranger(1)).await.unwrap();
        let mut flood: Vec<_> = (0..limits::PASSWORDS_WAITING_OF_ONE)
            .map(|_| Box::pin(lanes.enter(stranger(1))))
            .collect();
        for one in &mut flood {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert!(matches!(lanes.enter(stranger(1)).await, Err(Full)));
        let mut owner = pin!(lanes.enter(stranger(2)));
        assert!(futures_util::poll!(&mut owner).is_pending());
        drop(first);
        // One of the flood stood there before; the owner is next.
        drop(flood.remove(0).await.unwrap());
        drop(owner.await.unwrap());
    }

    #[tokio::test]
    async fn who_has_gone_holds_no_place() {
        let lanes = Lanes::new(1);
        let first = lanes.enter(stranger(1)).await.unwrap();
        for n in 0..limits::PASSWORDS_WAITING {
            let source = Source::Stranger((n as u128).to_le_bytes());
            assert!(lanes.enter(source).now_or_never().is_none());
        }
        // All of them were dropped, so there is room again.
        let mut last = pin!(lanes.enter(stranger(9)));
        assert!(futures_util::poll!(&mut last).is_pending());
        drop(first);
        drop(last.await.unwrap());
        assert_eq!(lanes.0.lock().free, 1);
        assert_eq!(lanes.0.lock().strangers, 0);
    }

    #[tokio::test]
    async fn who_is_known_may_always_wait() {
        let lanes = Lanes::new(1);
        let first = lanes.enter(stranger(1)).await.unwrap();
        let mut known: Vec<_> = (0..limits::PASSWORDS_WAITING + 10)
            .map(|_| Box::pin(lanes.enter(Source::Known([1; 16]))))
            .collect();
        for one in &mut known {
            assert!(futures_util::poll!(one).is_pending());
        }
        drop(first);
        for one in known {
            drop(one.await.unwrap());
        }
    }
}
