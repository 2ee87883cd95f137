//! What a durable write costs: user commits, claims and completions, by how many ask at once.
//!
//! Run with `cargo bench -p tollgate-store-sqlite`. The folder is a temporary one: set `TMPDIR` to
//! a place on the disk that is to be measured.

mod common;

use common::{Bench, queued};
use divan::counter::ItemsCount;
use std::sync::Arc;
use tollgate_core::tasks::State;
use tollgate_testkit::store_contract::Alone;
use tollgate_testkit::store_contract::World;

/// Operations of one sample.
const SAMPLE: usize = 2048;

fn main() {
    divan::main();
}

/// One user: change, PRE record and POST run are committed.
#[divan::bench(args = [1, 16, 64], sample_count = 10, sample_size = 1)]
fn commit_user(bencher: divan::Bencher<'_, '_>, tasks: usize) {
    let bench = Bench::new();
    let count = if tasks == 1 { SAMPLE / 4 } else { SAMPLE };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| bench.operations(count))
        .bench_values(|operations| {
            bench.share(operations, tasks, async |world: Arc<World>, commit| {
                world
                    .a
                    .store
                    .commit_user(commit, Box::new(|| {}))
                    .await
                    .expect("a commit");
            });
        });
}

/// The same, and the end of the POST run: all writes of one user with a PRE and a POST function.
#[divan::bench(args = [16, 64], sample_count = 10, sample_size = 1)]
fn commit_user_and_end_post(bencher: divan::Bencher<'_, '_>, tasks: usize) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(SAMPLE))
        .with_inputs(|| bench.operations(SAMPLE))
        .bench_values(|operations| {
            bench.share(operations, tasks, async |world: Arc<World>, commit| {
                let end = world.a.end(&commit.invocations[0], 1, State::Succeeded);
                world
                    .a
                    .store
                    .commit_user(commit, Box::new(|| {}))
                    .await
                    .expect("a commit");
                world.a.store.complete_later(vec![end], Box::new(|| {}));
            });
        });
}

/// Batches of 500 runs that nobody holds, claimed.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn claim(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(SAMPLE))
        .with_inputs(|| queued(&bench, SAMPLE, false))
        .bench_values(|_| {
            bench.runtime.block_on(async {
                let mut left = SAMPLE;
                while left > 0 {
                    let claimed = bench.world.claim("me", 500).await;
                    left -= claimed.expect("a claim").0.len();
                }
            });
        });
}

/// Batches of 500 results.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn complete(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(SAMPLE))
        .with_inputs(|| {
            let runs = queued(&bench, SAMPLE, true);
            let end = |run| bench.world.a.end(run, 1, State::Succeeded);
            runs.chunks(500)
                .map(|runs| runs.iter().map(end).collect())
                .collect::<Vec<Vec<_>>>()
        })
        .bench_values(|batches| {
            bench.runtime.block_on(async {
                for batch in batches {
                    bench.world.system.complete(batch).await.expect("results");
                }
            });
        });
}

/// A look-up of a user by name, with its roles.
#[divan::bench]
fn user_by_username(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bench.runtime.block_on(bench.world.a.user("ann"));
    bencher.bench(|| {
        bench
            .runtime
            .block_on(bench.world.a.store.user_by_name("ann"))
    });
}

/// A short list, which is read on a thread of its own: what the way there and back costs.
#[divan::bench]
fn sites(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.bench(|| bench.runtime.block_on(bench.world.system.sites()));
}
