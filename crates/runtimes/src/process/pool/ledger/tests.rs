//! The rules one by one.

use super::*;
use tollgate_core::functions::VariablesRevision;
use tollgate_core::ids::VersionId;
use tollgate_core::time::{Clock as _, SystemClock};

struct Pool {
    ledger: Ledger,
    now: Instant,
    granted: Vec<(Ticket, WorkerId)>,
    refused: Vec<(Ticket, Full)>,
    starts: Vec<(WorkerId, Key)>,
    kills: Vec<(WorkerId, &'static str)>,
}

const fn key(site: i64, version: i64) -> Key {
    Key {
        site: SiteId(site),
        image: Image {
            version: VersionId(version),
            variables: VariablesRevision::NONE,
        },
    }
}

const GROWTH: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_millis(40);

impl Pool {
    fn new(workers: usize) -> Self {
        let bounds = Bounds {
            workers,
            per_site: workers,
            eager: 2,
            growth: GROWTH,
            patience: PATIENCE,
            idle: Duration::from_secs(60),
        };
        Self {
            ledger: Ledger::new(bounds),
            now: SystemClock.monotonic(),
            granted: Vec::new(),
            refused: Vec::new(),
            starts: Vec::new(),
            kills: Vec::new(),
        }
    }

    fn note(&mut self) {
        for order in self.ledger.take_orders() {
            match order {
                Order::Start { worker, key } => self.starts.push((worker, key)),
                Order::Kill { worker, why } => self.kills.push((worker, why)),
                Order::Grant { ticket, worker } => self.granted.push((ticket, worker)),
                Order::Refuse { ticket, full } => self.refused.push((ticket, full)),
            }
        }
    }

    fn ask_at(&mut self, key: Key, depth: u32) -> Ticket {
        let wish = Wish {
            key,
            function: FunctionId(key.image.version.0),
            most: usize::MAX,
            depth,
            deadline: self.now + Duration::from_secs(10),
        };
        let ticket = self.ledger.ask(wish, self.now);
        self.note();
        ticket
    }

    fn ask(&mut self, key: Key) -> Ticket {
        self.ask_at(key, 0)
    }

    /// The worker of the start that was ordered last, loaded.
    fn load(&mut self) -> WorkerId {
        let (worker, _) = *self.starts.last().expect("one was started");
        assert!(self.ledger.loaded(worker, self.now));
        self.note();
        worker
    }

    fn pass(&mut self, time: Duration) {
        self.pass_with(time, true);
    }

    /// The same, with or without a processor to spare.
    fn pass_with(&mut self, time: Duration, spare: bool) {
        self.now += time;
        self.ledger.tick(self.now, spare);
        self.note();
    }

    /// A kept worker that is idle.
    fn kept(&mut self, key: Key) -> WorkerId {
        self.ledger
            .keep(key, FunctionId(key.image.version.0), true, self.now);
        self.note();
        self.ask(key);
        let worker = self.load();
        self.ledger.returned(worker, self.now);
        self.note();
        worker
    }

    fn was_granted(&self, ticket: Ticket) -> Option<WorkerId> {
        let found = self.granted.iter().find(|(of, _)| *of == ticket);
        found.map(|(_, worker)| *worker)
    }
}

/// As many kept workers as there may be: somebody else is served all the same, at the price of one of them,
/// which does not come back at somebody's expense.
#[test]
fn kept_workers_never_take_the_last_places() {
    let mut pool = Pool::new(4);
    for version in 1..=4 {
        pool.kept(key(version % 2, version));
    }
    let other = pool.ask(key(9, 90));
    assert_eq!(pool.kills.len(), 1, "{:?}", pool.kills);
    let (victim, why) = pool.kills[0];
    assert_eq!(why, "evicted");
    pool.ledger.exited(victim, pool.now);
    pool.note();
    let worker = pool.load();
    assert_eq!(pool.was_granted(other), Some(worker));
    pool.pass(Duration::from_secs(1));
    pool.ledger.returned(worker, pool.now);
    pool.note();
    for _ in 0..10 {
        pool.pass(Duration::from_millis(5));
    }
    assert_eq!(pool.kills.len(), 1, "nobody else had to go");
    assert_eq!(pool.starts.len(), 5, "and the kept one waits for room");
}

#[test]
fn a_place_is_kept_for_whom_it_was_freed() {
    let mut pool = Pool::new(1);
    pool.ask(key(1, 1));
    let first = pool.load();
    let waiting = pool.ask(key(2, 2));
    pool.ledger.returned(first, pool.now);
    pool.note();
    assert_eq!(pool.kills, [(first, "evicted")]);
    // Who comes now does not get what the other one waits for.
    let late = pool.ask(key(1, 1));
    pool.ledger.exited(first, pool.now);
    pool.note();
    assert_eq!(pool.starts.last().unwrap().1, key(2, 2));
    let worker = pool.load();
    assert_eq!(pool.was_granted(waiting), Some(worker));
    assert_eq!(pool.was_granted(late), None);
}

/// Neither a function nor a site gets the last places while it has some.
#[test]
fn one_function_and_one_site_leave_something_for_others() {
    let mut pool = Pool::new(8);
    for _ in 0..40 {
        pool.ask(key(1, 1));
    }
    for _ in 0..100 {
        pool.pass(Duration::from_millis(5));
        while pool.granted.len() < pool.starts.len() {
            let (worker, _) = pool.starts[pool.granted.len()];
            pool.ledger.loaded(worker, pool.now);
            pool.note();
        }
    }
    assert!(
        (4..=6).contains(&pool.granted.len()),
        "{}",
        pool.granted.len()
    );
    let sibling = pool.ask(key(1, 2));
    let worker = pool.load();
    assert_eq!(pool.was_granted(sibling), Some(worker));
    let neighbour = pool.ask(key(2, 3));
    let worker = pool.load();
    assert_eq!(pool.was_granted(neighbour), Some(worker));
}

/// A version whose queue never ends gives a worker up for one that waits, though not at once.
#[test]
fn a_busy_version_gives_way() {
    let mut pool = Pool::new(1);
    pool.ask(key(1, 1));
    let worker = pool.load();
    pool.ask(key(1, 1));
    let other = pool.ask(key(2, 2));
    pool.ledger.returned(worker, pool.now);
    pool.note();
    assert!(pool.kills.is_empty() && pool.granted.len() == 2);
    pool.ask(key(1, 1));
    pool.pass(serve::SLICE);
    pool.ledger.returned(worker, pool.now);
    pool.note();
    assert_eq!(pool.kills, [(worker, "evicted")]);
    pool.ledger.exited(worker, pool.now);
    pool.note();
    let next = pool.load();
    assert_eq!(pool.was_granted(other), Some(next));
}

#[test]
fn what_a_site_has_beyond_its_share_goes_first() {
    let mut pool = Pool::new(4);
    let quiet = pool.kept(key(2, 20));
    let mut greedy = Vec::new();
    for version in 1..=3 {
        pool.now += Duration::from_secs(1);
        greedy.push(pool.kept(key(1, version)));
    }
    pool.ask(key(3, 30));
    assert_eq!(pool.kills, [(greedy[0], "evicted")]);
    assert_ne!(pool.kills[0].0, quiet, "though it was idle longest");
}

/// A run that waits for its own child makes room for it, at whatever depth.
#[test]
fn a_child_finds_a_worker_while_its_parents_hold_all() {
    let mut pool = Pool::new(1);
    pool.ask(key(1, 1));
    let mut workers = vec![pool.load()];
    for depth in 1..8 {
        let parent = *workers.last().unwrap();
        pool.ledger.park(parent, pool.now);
        pool.note();
        let child = pool.ask_at(key(1, 1), depth);
        let worker = pool.load();
        assert_eq!(pool.was_granted(child), Some(worker), "at depth {depth}");
        workers.push(worker);
    }
    while let Some(worker) = workers.pop() {
        assert!(pool.ledger.returned(worker, pool.now));
        if let Some(parent) = workers.last() {
            pool.ledger.resume(*parent);
        }
        pool.note();
    }
    assert!(pool.refused.is_empty());
}

#[test]
fn the_replacement_of_a_kept_worker_comes_first() {
    let mut pool = Pool::new(4);
    let worker = pool.kept(key(1, 1));
    pool.ask(key(1, 1));
    pool.ledger.lost(worker, "unfit", pool.now);
    let orders = pool.ledger.take_orders();
    assert!(
        matches!(orders[..], [Order::Start { .. }, Order::Kill { worker: killed, .. }] if killed == worker),
        "{orders:?}"
    );
}

#[test]
fn who_waits_in_vain_is_told_what_was_full() {
    let mut pool = Pool::new(1);
    pool.ask(key(1, 1));
    let loading = pool.ask(key(1, 1));
    let other = pool.ask(key(2, 2));
    pool.pass(Duration::from_secs(11));
    let full = |ticket| {
        let found = pool.refused.iter().find(|(of, _)| *of == ticket);
        found.map(|(_, full)| *full)
    };
    assert_eq!(full(loading), Some(Full::Loading));
    assert_eq!(full(other), Some(Full::Server(1)));
    assert!(!pool.ledger.is_waited_for());
}

/// The end of a process may be known before whoever loads it notices.
#[test]
fn a_worker_that_ends_while_it_loads_is_a_failed_start() {
    let mut pool = Pool::new(2);
    let ticket = pool.ask(key(1, 1));
    let (worker, _) = pool.starts[0];
    pool.ledger.exited(worker, pool.now);
    pool.note();
    assert_eq!(pool.starts.len(), 1, "nobody was told yet");
    assert_eq!(pool.ledger.failed(worker, pool.now), [ticket]);
    pool.note();
    assert_eq!(pool.starts.len(), 1);
    assert_eq!(pool.ledger.workers.len(), 0);
}

/// Fast functions need no process per concurrent call: a look that comes just after a queue began must
/// not take its few answers for the pace of its workers.
#[test]
fn a_queue_that_has_hardly_begun_starts_no_worker() {
    let mut pool = Pool::new(64);
    let key = key(1, 1);
    for _ in 0..2 {
        pool.ask(key);
        pool.load();
    }
    let workers: Vec<_> = pool.granted.iter().map(|(_, worker)| *worker).collect();
    for _ in 0..8 {
        pool.ask(key);
    }
    pool.pass(GROWTH / 4);
    pool.pass(GROWTH / 4);
    assert_eq!(pool.starts.len(), 2, "nobody has waited for long");
    // All that waited have been answered by then, and as many others wait.
    for round in 0..10 {
        pool.ledger.returned(workers[round % 2], pool.now);
        pool.note();
        pool.ask(key);
    }
    pool.pass(GROWTH);
    assert_eq!(pool.starts.len(), 2, "they keep up");
    // From here on nobody is answered.
    pool.pass(GROWTH);
    assert_eq!(pool.starts.len(), 4, "they do not: twice as many");
}

#[test]
fn where_no_processor_is_to_spare_a_queue_is_watched_for_longer() {
    let mut pool = Pool::new(16);
    let key = key(1, 1);
    pool.ask(key);
    pool.load();
    for _ in 0..9 {
        pool.ask(key);
    }
    pool.load();
    for _ in 0..9 {
        pool.pass_with(GROWTH, false);
    }
    assert_eq!(pool.starts.len(), 2, "another one would only be in the way");
    pool.pass_with(PATIENCE, false);
    assert_eq!(
        pool.starts.len(),
        4,
        "the calls are slow, whoever is to blame"
    );
}
