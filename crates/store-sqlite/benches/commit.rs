//! What a durable write costs: user commits, claims and completions, by how many ask at once.
//!
//! Run with `cargo bench -p tollgate-store-sqlite`. The folder is a temporary one: set `TMPDIR` to
//! a place on the disk that is to be measured.

use divan::counter::ItemsCount;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate_core::function::Function;
use tollgate_core::ids::{InvocationId, TaskId, UserId};
use tollgate_core::invocation::{NewInvocation, Waiter};
use tollgate_core::ports::store::{IdKind, Store, UserChange, UserCommit};
use tollgate_core::task::State;
use tollgate_core::users::User;
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::store_contract::{TestStore, World};

/// Operations of one sample.
const SAMPLE: usize = 2048;

fn main() {
    divan::main();
}

/// A store with a function, a user to copy and a run to copy.
struct Bench {
    runtime: Runtime,
    world: Arc<World>,
    function: Function,
    user: User,
    run: NewInvocation,
}

async fn sqlite(clock: Arc<ManualClock>) -> TestStore {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder can be made");
    let options = SqliteOptions {
        clock,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(folder.path(), options).expect("a new store opens");
    TestStore {
        store: store as Arc<dyn Store>,
        keep: Box::new(folder),
    }
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime can be made");
        let (world, function, user, run) = runtime.block_on(async {
            let world = World::new(&sqlite).await;
            let function = world.a.some_function().await;
            let user = world.a.new_user("template").await;
            let run = world
                .a
                .new_run(&function, Waiter::Caller, Some("bench-holder"))
                .await;
            (Arc::new(world), function, user, run)
        });
        Self {
            runtime,
            world,
            function,
            user,
            run,
        }
    }

    /// Users with a number of their own, each with the PRE run that allowed it and its POST run.
    fn operations(&self, count: usize) -> Vec<(NewInvocation, UserCommit)> {
        let count = u32::try_from(count).expect("samples are small");
        let ids = |kind, count| {
            let block = self
                .runtime
                .block_on(self.world.system.reserve_ids(kind, count));
            block.expect("ids can be reserved")
        };
        let users = ids(IdKind::User, count);
        let runs = ids(IdKind::Invocation, count * 2);
        users
            .zip(runs.step_by(2))
            .map(|(user, run)| self.operation(user, run))
            .collect()
    }

    fn operation(&self, user: i64, run: i64) -> (NewInvocation, UserCommit) {
        let pre = self.run_as(run, Waiter::Caller, true);
        let post = self.run_as(run + 1, Waiter::Nobody, true);
        let mut record = self.user.clone();
        record.id = UserId(user);
        record.profile.username = format!("user{user}");
        record.profile.email = format!("user{user}@example.com");
        let commit = UserCommit {
            change: UserChange::Create {
                user: Box::new(record),
                password_hash: None,
            },
            completions: vec![self.world.a.end(&pre, 1, State::Succeeded)],
            invocations: vec![post],
            remember: None,
        };
        (pre, commit)
    }

    fn run_as(&self, id: i64, waiter: Waiter, held: bool) -> NewInvocation {
        let task = uuid::Uuid::from_u128((0x0198 << 112) | u128::from(id.unsigned_abs()));
        let mut run = self.run.clone();
        run.id = InvocationId(id);
        run.task_id = TaskId(task);
        run.waiter = waiter;
        run.holder = run.holder.filter(|_| held);
        run.function_id = self.function.id;
        run
    }

    /// Shares `work` among `tasks` that each do one thing after the other.
    fn share<T, F, R>(&self, work: Vec<T>, tasks: usize, act: F)
    where
        T: Send + 'static,
        F: Fn(Arc<World>, T) -> R + Clone + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let mut shares: Vec<Vec<T>> = (0..tasks).map(|_| Vec::new()).collect();
        for (number, item) in work.into_iter().enumerate() {
            shares[number % tasks].push(item);
        }
        self.runtime.block_on(async {
            let running: Vec<_> = shares
                .into_iter()
                .map(|share| {
                    let (world, act) = (Arc::clone(&self.world), act.clone());
                    tokio::spawn(async move {
                        for item in share {
                            act(Arc::clone(&world), item).await;
                        }
                    })
                })
                .collect();
            for task in running {
                task.await.expect("a task ended well");
            }
        });
    }
}

/// One user: the PRE record is handed over, then change, PRE result and POST run are committed.
#[divan::bench(args = [1, 16, 64], sample_count = 10, sample_size = 1)]
fn commit_user(bencher: divan::Bencher<'_, '_>, tasks: usize) {
    let bench = Bench::new();
    let count = if tasks == 1 { SAMPLE / 4 } else { SAMPLE };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| bench.operations(count))
        .bench_values(|operations| {
            bench.share(
                operations,
                tasks,
                async |world: Arc<World>, (pre, commit)| {
                    world.a.store.insert_invocations_later(vec![pre]);
                    world
                        .a
                        .store
                        .commit_user(commit, Box::new(|| {}))
                        .await
                        .expect("a commit");
                },
            );
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
            bench.share(
                operations,
                tasks,
                async |world: Arc<World>, (pre, commit)| {
                    let end = world.a.end(&commit.invocations[0], 1, State::Succeeded);
                    world.a.store.insert_invocations_later(vec![pre]);
                    world
                        .a
                        .store
                        .commit_user(commit, Box::new(|| {}))
                        .await
                        .expect("a commit");
                    world.a.store.complete_later(vec![end], Box::new(|| {}));
                },
            );
        });
}

/// Batches of 500 runs that nobody holds, claimed.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn claim(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(SAMPLE))
        .with_inputs(|| queued(&bench, false))
        .bench_values(|_| {
            bench.runtime.block_on(async {
                let mut left = SAMPLE;
                while left > 0 {
                    let claimed = bench.world.claim("me", 500, bench.world.now()).await;
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
            let runs = queued(&bench, true);
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
            .block_on(bench.world.a.store.user_by_username("ann"))
    });
}

/// A short list, which is read on a thread of its own: what the way there and back costs.
#[divan::bench]
fn sites(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.bench(|| bench.runtime.block_on(bench.world.system.sites()));
}

/// Records runs nobody waits for.
fn queued(bench: &Bench, held: bool) -> Vec<NewInvocation> {
    let count = u32::try_from(SAMPLE).expect("samples are small");
    let block = bench.world.system.reserve_ids(IdKind::Invocation, count);
    let block = bench.runtime.block_on(block).expect("ids can be reserved");
    let runs: Vec<_> = block
        .map(|id| bench.run_as(id, Waiter::Nobody, held))
        .collect();
    bench.runtime.block_on(bench.world.a.record(runs.clone()));
    runs
}
