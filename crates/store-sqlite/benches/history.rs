//! What publishing and claiming cost with a long history and a long queue, beside an empty database.
//!
//! Run with `cargo bench -p tollgate-store-sqlite --bench history`. Two stores are measured in turn,
//! so that a machine whose speed changes treats both alike: an empty one, and one with a million
//! ended runs and a hundred thousand waiting ones. Each round does the same work in both; the
//! medians and the ratio of each pair are printed.

mod common;

use common::{Bench, queued};
use std::time::{Duration, Instant};
use tollgate_core::tasks::State;
use tollgate_testkit::store_contract::Alone;

const ENDED: usize = 1_000_000;
const WAITING: usize = 100_000;
const STEP: usize = 5_000;
const ROUNDS: usize = 31;
/// Users with a PRE and a POST function that one round publishes, 16 at once.
const PUBLISHED: usize = 512;
/// Runs that one round claims.
const CLAIMED: usize = 500;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of their own.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let (empty, full) = (Bench::new(), Bench::new());
    fill(&full);
    println!("{ENDED} ended and {WAITING} waiting runs; {ROUNDS} rounds in turn");
    compare("publish 512 users", &empty, &full, publish);
    compare("claim 500 runs", &empty, &full, claim);
}

fn fill(bench: &Bench) {
    let end = |runs: Vec<_>| {
        let ends = runs
            .iter()
            .map(|run| bench.world.a.end(run, 1, State::Succeeded));
        let ends = bench.world.system.complete(ends.collect());
        bench.runtime.block_on(ends).expect("results are written");
    };
    for _ in 0..ENDED / STEP {
        end(queued(bench, STEP, true));
    }
    for _ in 0..WAITING / STEP {
        queued(bench, STEP, false);
    }
}

fn publish(bench: &Bench) -> Duration {
    let operations = bench.operations(PUBLISHED);
    let start = now();
    bench.share(operations, 16, async |world: std::sync::Arc<_>, commit| {
        let world: &tollgate_testkit::store_contract::World = &world;
        let commit = world.a.store.commit_user(commit, Box::new(|| {}));
        commit.await.expect("a commit");
    });
    start.elapsed()
}

/// Claims as many as it queues, so that the queue stays as long as it is.
fn claim(bench: &Bench) -> Duration {
    queued(bench, CLAIMED, false);
    let start = now();
    let claim = bench.world.claim("me", CLAIMED);
    let (claimed, _) = bench.runtime.block_on(claim).expect("a claim");
    let took = start.elapsed();
    assert_eq!(claimed.len(), CLAIMED);
    let ends = claimed
        .iter()
        .map(|it| tollgate_core::invocations::Completion {
            hold: it.taken.hold.clone(),
            ..bench.world.a.end(&it.invocation, 1, State::Succeeded)
        });
    let ends = bench.world.system.complete(ends.collect());
    bench.runtime.block_on(ends).expect("results are written");
    took
}

fn compare(name: &str, empty: &Bench, full: &Bench, round: fn(&Bench) -> Duration) {
    let mut pairs = Vec::with_capacity(ROUNDS);
    for number in 0..=ROUNDS {
        let pair = (round(empty), round(full));
        // The first one fills caches.
        if number > 0 {
            pairs.push(pair);
        }
    }
    let ms = |pick: fn(&(Duration, Duration)) -> Duration| {
        median(pairs.iter().map(|pair| pick(pair).as_secs_f64() * 1000.0))
    };
    let mut ratios: Vec<f64> = pairs
        .iter()
        .map(|(empty, full)| full.as_secs_f64() / empty.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name:<18} empty {:>7.2} ms   full {:>7.2} ms   ratio {:.2} (10 % {:.2}, 90 % {:.2})",
        ms(|pair| pair.0),
        ms(|pair| pair.1),
        median(ratios.iter().copied()),
        ratios[ROUNDS / 10],
        ratios[ROUNDS - 1 - ROUNDS / 10],
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
