//! Whatever sites, functions, limits and timings there are, and whatever goes wrong: nobody is forgotten,
//! nobody starves, no bound is passed, and nothing is let go for nobody.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tollgate_core::functions::VariablesRevision;
use tollgate_core::ids::VersionId;
use tollgate_core::time::{Clock as _, SystemClock};

const TICK: u64 = 5;
const IDLE_TICK: u64 = 50;
const DEPTH_MAX: u32 = 7;

/// One function, with a client or more that call it in a loop.
#[derive(Debug, Clone)]
struct Function {
    site: i64,
    keep: bool,
    most: usize,
    clients: usize,
    run: u64,
    start: u64,
    patience: u64,
    /// Of a hundred: starts that fail, runs after which the worker is unfit, workers that die, runs that call
    /// the next function.
    fails: u64,
    unfit: u64,
    dies: u64,
    calls: u64,
}

#[derive(Debug, Clone)]
struct World {
    workers: usize,
    per_site: usize,
    eager: usize,
    kill: u64,
    functions: Vec<Function>,
    seed: u64,
}

fn function(trouble: u64) -> impl Strategy<Value = Function> {
    let shape = (0..4_i64, any::<bool>(), 1..4_usize, 0..4_usize);
    let times = (
        1..60_u64,
        1..80_u64,
        prop_oneof![20..300_u64, Just(100_000)],
    );
    let faults = (0..=trouble, 0..=trouble, 0..=trouble, 0..=2 * trouble);
    (shape, times, faults).prop_map(
        |((site, keep, most, clients), (run, start, patience), (fails, unfit, dies, calls))| {
            Function {
                site,
                keep,
                most,
                clients,
                run,
                start,
                patience,
                fails,
                unfit,
                dies,
                calls,
            }
        },
    )
}

fn world(trouble: u64) -> impl Strategy<Value = World> {
    let shape = (1..8_usize, 1..8_usize, 1..4_usize, 1..30_u64);
    (shape, vec(function(trouble), 1..10), 1..u64::MAX).prop_map(
        |((workers, per_site, eager, kill), functions, seed)| World {
            workers,
            per_site: per_site.min(workers),
            eager,
            kill,
            functions,
            seed,
        },
    )
}

/// What will happen at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client calls its function, at a depth, on behalf of a parked worker.
    Call {
        function: usize,
        depth: u32,
        parent: Option<WorkerId>,
    },
    Loaded(WorkerId),
    Ends(WorkerId),
    Exits(WorkerId),
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    function: usize,
    depth: u32,
    parent: Option<WorkerId>,
    at: u64,
}

struct Simulation {
    world: World,
    ledger: Ledger,
    begin: Instant,
    now: u64,
    random: u64,
    events: BTreeSet<(u64, u64, Event)>,
    count: u64,
    waiting: BTreeMap<Ticket, Asked>,
    alive: BTreeMap<WorkerId, Key>,
    running: BTreeMap<WorkerId, Asked>,
    dead: BTreeSet<WorkerId>,
    until: u64,
    asked: usize,
    served: usize,
    evicted: usize,
    longest: u64,
}

impl Simulation {
    fn new(world: World, until: u64) -> Self {
        let bounds = Bounds {
            workers: world.workers,
            per_site: world.per_site,
            eager: world.eager,
            growth: Duration::from_millis(TICK),
            patience: Duration::from_millis(TICK * 4),
            idle: Duration::from_millis(200),
        };
        Self {
            random: world.seed,
            world,
            ledger: Ledger::new(bounds),
            begin: SystemClock.monotonic(),
            now: 0,
            events: BTreeSet::new(),
            count: 0,
            waiting: BTreeMap::new(),
            alive: BTreeMap::new(),
            running: BTreeMap::new(),
            dead: BTreeSet::new(),
            until,
            asked: 0,
            served: 0,
            evicted: 0,
            longest: 0,
        }
    }

    fn time(&self) -> Instant {
        self.begin + Duration::from_millis(self.now)
    }

    /// Whether something happens that does so in `percent` of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100 < percent
    }

    fn key(&self, function: usize) -> Key {
        Key {
            site: SiteId(self.world.functions[function].site),
            image: Image {
                version: VersionId(i64::try_from(function).unwrap()),
                variables: VariablesRevision::NONE,
            },
        }
    }

    fn function_of(&self, worker: WorkerId) -> usize {
        usize::try_from(self.alive[&worker].image.version.0).unwrap()
    }

    fn later(&mut self, after: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + after, self.count, event));
    }

    fn run(mut self) -> Self {
        for function in 0..self.world.functions.len() {
            let of = self.world.functions[function].clone();
            let (key, now) = (self.key(function), self.time());
            if of.keep {
                self.ledger
                    .keep(key, FunctionId(key.image.version.0), true, now);
                self.carry_out();
            }
            for client in 0..of.clients {
                let call = Event::Call {
                    function,
                    depth: 0,
                    parent: None,
                };
                self.later(u64::try_from(client).unwrap() * 3, call);
            }
        }
        let last_patience = 101_000;
        while self.now < self.until + last_patience {
            let due = self.events.first().map_or(u64::MAX, |it| it.0);
            let tick = self.now + TICK - self.now % TICK;
            if due == u64::MAX && self.waiting.is_empty() {
                break;
            }
            if due < tick {
                self.now = due;
                let (_, _, event) = self.events.pop_first().unwrap();
                self.happen(event);
            } else {
                self.now = tick;
                let now = self.time();
                let spare = self.chance(50);
                self.ledger.tick(now, spare);
                if tick.is_multiple_of(IDLE_TICK) {
                    self.ledger.let_idle_go(now);
                }
                self.carry_out();
            }
            self.check();
        }
        self
    }

    fn happen(&mut self, event: Event) {
        let now = self.time();
        match event {
            Event::Call {
                function,
                depth,
                parent,
            } => {
                let of = &self.world.functions[function];
                let deadline = now + Duration::from_millis(of.patience);
                let (key, most) = (self.key(function), of.most);
                let function_id = FunctionId(key.image.version.0);
                let wish = Wish {
                    key,
                    function: function_id,
                    most,
                    depth,
                    deadline,
                };
                let ticket = self.ledger.ask(wish, now);
                self.asked += 1;
                let at = self.now;
                self.waiting.insert(
                    ticket,
                    Asked {
                        function,
                        depth,
                        parent,
                        at,
                    },
                );
            }
            Event::Loaded(worker) => self.load_ends(worker),
            Event::Ends(worker) => self.run_ends(worker),
            Event::Exits(worker) => {
                if self.alive.remove(&worker).is_some() {
                    self.ledger.exited(worker, now);
                    self.dead.insert(worker);
                }
            }
        }
        self.carry_out();
    }

    fn load_ends(&mut self, worker: WorkerId) {
        let now = self.time();
        let fails = self.alive.contains_key(&worker) && {
            let of = &self.world.functions[self.function_of(worker)];
            let fails = of.fails;
            self.chance(fails)
        };
        if fails || !self.alive.contains_key(&worker) {
            for ticket in self.ledger.failed(worker, now) {
                let asked = self
                    .waiting
                    .remove(&ticket)
                    .expect("only who waits is told");
                self.answered(asked);
            }
        } else {
            assert!(self.ledger.loaded(worker, now));
        }
    }

    fn run_ends(&mut self, worker: WorkerId) {
        let now = self.time();
        let asked = self.running.remove(&worker).expect("it runs");
        let of = self.world.functions[asked.function].clone();
        if self.chance(of.dies) && self.alive.remove(&worker).is_some() {
            self.ledger.exited(worker, now);
            self.dead.insert(worker);
        } else if self.chance(of.unfit) {
            self.ledger.lost(worker, "unfit", now);
        } else {
            self.ledger.returned(worker, now);
        }
        self.answered(asked);
    }

    /// The client calls again, and a caller that waited for it goes on.
    fn answered(&mut self, asked: Asked) {
        if let Some(parent) = asked.parent {
            self.ledger.resume(parent);
            self.later(1, Event::Ends(parent));
        } else if self.now < self.until {
            let Asked {
                function, depth, ..
            } = asked;
            self.later(
                1,
                Event::Call {
                    function,
                    depth,
                    parent: None,
                },
            );
        }
    }

    fn carry_out(&mut self) {
        loop {
            let orders = self.ledger.take_orders();
            if orders.is_empty() {
                return;
            }
            orders.into_iter().for_each(|order| self.obey(order));
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { worker, key } => {
                assert!(self.alive.insert(worker, key).is_none());
                let start = self.world.functions[self.function_of(worker)].start;
                self.later(start, Event::Loaded(worker));
            }
            Order::Kill { worker, why } => {
                assert!(!self.running.contains_key(&worker), "it runs");
                self.evicted += usize::from(why == "evicted");
                let kill = self.world.kill;
                self.later(kill, Event::Exits(worker));
            }
            Order::Grant { ticket, worker } => self.granted(ticket, worker),
            Order::Refuse { ticket, .. } => {
                let asked = self.waiting.remove(&ticket).expect("it waits");
                let patience = self.world.functions[asked.function].patience;
                assert!(self.now >= asked.at + patience, "refused too early");
                self.answered(asked);
            }
        }
    }

    fn granted(&mut self, ticket: Ticket, worker: WorkerId) {
        let asked = self.waiting.remove(&ticket).expect("granted once");
        assert_eq!(self.alive[&worker], self.key(asked.function));
        assert!(
            self.running.insert(worker, asked).is_none(),
            "it runs already"
        );
        self.served += 1;
        self.longest = self.longest.max(self.now - asked.at);
        let of = self.world.functions[asked.function].clone();
        if asked.depth < DEPTH_MAX && self.chance(of.calls) {
            let now = self.time();
            self.ledger.park(worker, now);
            let function = (asked.function + 1) % self.world.functions.len();
            let parent = Some(worker);
            self.later(
                1,
                Event::Call {
                    function,
                    depth: asked.depth + 1,
                    parent,
                },
            );
        } else {
            self.later(of.run, Event::Ends(worker));
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let ledger = &self.ledger;
        let bounds = ledger.bounds;
        let depth = usize::try_from(DEPTH_MAX).unwrap();
        assert!(ledger.workers.len() <= bounds.workers + bounds.parked() + depth);
        assert!(ledger.promises.len() <= ledger.dying, "{ledger:?}");
        let count = |state: fn(&State) -> bool| {
            ledger
                .workers
                .values()
                .filter(|it| state(&it.state))
                .count()
        };
        assert_eq!(ledger.idle, count(|it| *it == State::Idle));
        let listed: usize = ledger.groups.values().map(|it| it.idle.len()).sum();
        assert_eq!(ledger.idle, listed);
        assert_eq!(ledger.parked, count(|it| *it == State::Parked));
        assert_eq!(ledger.dying, count(|it| *it == State::Dying));
        let busy = count(|it| matches!(it, State::Busy | State::Starting { wanted: true }));
        assert_eq!(ledger.busy, busy + ledger.promises.len());
        let sites: usize = ledger.sites.values().map(|it| it.processes).sum();
        assert_eq!(sites, ledger.workers.len() - ledger.parked);
        let waiting: usize = ledger.groups.values().map(|it| it.waiters.len()).sum();
        assert_eq!(waiting, self.waiting.len());
        for (ticket, asked) in &self.waiting {
            let late = asked.at + self.world.functions[asked.function].patience + TICK;
            assert!(self.now <= late, "{ticket} waits longer than it may");
        }
        // Each eviction was for somebody who asked, and nobody is asked twice.
        assert!(
            self.evicted <= self.asked,
            "{} for {}",
            self.evicted,
            self.asked
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Everybody is answered within its deadline, bounds hold, the books are right, and what was kept is
    /// there again once there is room.
    #[test]
    fn whatever_goes_wrong_everybody_is_answered(world in world(30)) {
        let mut simulation = Simulation::new(world, 1500).run();
        prop_assert!(simulation.waiting.is_empty());
        prop_assert!(simulation.running.is_empty(), "{:?}", simulation.running);
        // It rests: what is idle goes, what is kept comes back.
        for _ in 0..40 {
            simulation.now += IDLE_TICK;
            let now = simulation.time();
            simulation.ledger.tick(now, true);
            simulation.ledger.let_idle_go(now);
            simulation.carry_out();
            while let Some((at, _, event)) = simulation.events.pop_first() {
                simulation.now = simulation.now.max(at);
                simulation.happen(event);
            }
        }
        let ledger = &simulation.ledger;
        prop_assert_eq!(ledger.busy + ledger.parked + ledger.dying, 0);
        let room = ledger.bounds.workers - ledger.bounds.reserve().min(ledger.bounds.workers);
        for (key, group) in &ledger.groups {
            let lacks = group.lacks_a_kept_one();
            let full = ledger.counted() >= room || ledger.fills_its_site(key.site, 0);
            prop_assert!(!lacks || full, "{key:?} is not restored: {group:?}");
        }
    }

    /// Where nothing goes wrong and nobody is in a hurry, everybody is served, and waits no longer than all
    /// others together would take if each had a turn.
    #[test]
    fn nobody_starves(world in world(0)) {
        let mut world = world;
        for function in &mut world.functions {
            function.patience = 100_000;
        }
        let mut sites = BTreeMap::<_, usize>::new();
        for function in world.functions.iter().filter(|it| it.clients > 0) {
            *sites.entry(function.site).or_default() += function.clients;
        }
        // All sites have a turn, once for each client of its own.
        let turns = sites.len() * sites.values().max().unwrap_or(&0) + 1;
        let most = |of: fn(&Function) -> u64| world.functions.iter().map(of).max().unwrap();
        let slice = u64::try_from(serve::SLICE.as_millis()).unwrap();
        let turn = 2 * most(|it| it.run) + most(|it| it.start) + world.kill + slice + 2 * TICK;
        let bound = u64::try_from(turns).unwrap() * turn;
        let asked_and_served = Simulation::new(world, 3000).run();
        prop_assert_eq!(asked_and_served.asked, asked_and_served.served);
        prop_assert!(
            asked_and_served.longest <= bound,
            "one waited {} of at most {bound}", asked_and_served.longest
        );
    }

    /// Callers and called never block each other, however few workers there are.
    #[test]
    fn chains_come_to_their_end(world in world(0), calls in 50..=100_u64) {
        let mut world = world;
        for function in &mut world.functions {
            function.calls = calls;
            function.patience = 100_000;
        }
        let simulation = Simulation::new(world, 500).run();
        prop_assert_eq!(simulation.asked, simulation.served);
    }
}
