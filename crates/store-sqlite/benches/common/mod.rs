//! A store to be measured, and work to be written into it.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate_core::functions::Function;
use tollgate_core::ids::{InvocationId, TaskId, UserId};
use tollgate_core::invocations::NewInvocation;
use tollgate_core::ports::store::{IdKind, Store, UserChange};
use tollgate_core::tasks::{State, Waiter};
use tollgate_core::users::User;
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::store_contract::UserCommit;
use tollgate_testkit::store_contract::{TestStore, World};

/// A store with a function, a user to copy and a run to copy.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) world: Arc<World>,
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
    pub(crate) fn new() -> Self {
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
    pub(crate) fn operations(&self, count: usize) -> Vec<UserCommit> {
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

    fn operation(&self, user: i64, run: i64) -> UserCommit {
        let pre = self.run_as(run, Waiter::Caller, true);
        let post = self.run_as(run + 1, Waiter::Nobody, true);
        let mut record = self.user.clone();
        record.id = UserId(user);
        record.profile.username = format!("user{user}");
        record.profile.email = format!("user{user}@example.com");
        UserCommit {
            author: None,
            change: UserChange::Create {
                user: Box::new(record),
                password_hash: None,
            },
            completions: vec![self.world.a.whole(&pre, State::Succeeded)],
            invocations: vec![post],
            remember: None,
        }
    }

    pub(crate) fn run_as(&self, id: i64, waiter: Waiter, held: bool) -> NewInvocation {
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
    pub(crate) fn share<T, F, R>(&self, work: Vec<T>, tasks: usize, act: F)
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

/// Records runs nobody waits for.
pub(crate) fn queued(bench: &Bench, count: usize, held: bool) -> Vec<NewInvocation> {
    let count = u32::try_from(count).expect("samples are small");
    let block = bench.world.system.reserve_ids(IdKind::Invocation, count);
    let block = bench.runtime.block_on(block).expect("ids can be reserved");
    let runs: Vec<_> = block
        .map(|id| bench.run_as(id, Waiter::Nobody, held))
        .collect();
    bench.runtime.block_on(bench.world.a.record(runs.clone()));
    runs
}
