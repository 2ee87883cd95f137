//! The queue: claims, results, retries, recovery.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use crate::entropy::SeededEntropy;
use std::collections::HashSet;
use std::time::Duration;
use tollgate_core::entropy::Entropy;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocation::{Completion, FailureKind, NewInvocation, Started, Waiter};
use tollgate_core::ports::store::{Claimed, Recovered};
use tollgate_core::task::{Input, State, Task};
use tollgate_core::time::Timestamp;

const ME: Option<&str> = Some("me");

fn ids(claimed: &[Claimed]) -> Vec<InvocationId> {
    claimed
        .iter()
        .map(|claimed| claimed.invocation.id)
        .collect()
}

/// Across sites, up to the limit, with everything that running needs.
pub async fn what_is_due_is_claimed_oldest_first(world: World) {
    let (in_a, in_b) = (world.a.some_function().await, world.b.some_function().await);
    let mut runs = Vec::new();
    for number in 0..4 {
        world.clock.advance(Duration::from_secs(1));
        let (site, function) = if number % 2 == 0 {
            (&world.a, &in_a)
        } else {
            (&world.b, &in_b)
        };
        runs.push(site.run(function, Waiter::Nobody, None).await);
    }
    let held = world.a.run(&in_a, Waiter::Nobody, Some("someone")).await;
    let (claimed, next) = world.system.claim("me", 3, world.now()).await.unwrap();
    assert_eq!(
        ids(&claimed),
        runs[..3].iter().map(|run| run.id).collect::<Vec<_>>()
    );
    assert_eq!(next, Some(runs[3].queued_at));
    let (first, expected) = (&claimed[0].invocation, &runs[0]);
    assert_eq!(
        (first.site_id, first.task_id),
        (expected.site_id, expected.task_id)
    );
    assert_eq!(
        (first.function_id, first.version_id),
        (expected.function_id, expected.version_id)
    );
    assert_eq!(
        (first.event, first.event_id),
        (expected.event, expected.event_id)
    );
    assert_eq!(
        (&first.params, first.timeout),
        (&expected.params, expected.timeout)
    );
    assert_eq!((first.chain_depth, first.max_attempts), (1, 3));
    assert_eq!(
        (first.trigger, first.waiter),
        (expected.trigger, Waiter::Nobody)
    );
    assert_eq!((first.holder.as_deref(), claimed[0].attempt), (ME, 1));
    assert_eq!(world.a.standing(&runs[0]).await, (State::Running, 1));
    let (claimed, next) = world.system.claim("me", 3, world.now()).await.unwrap();
    assert_eq!((ids(&claimed), next), (vec![runs[3].id], None));
    assert_eq!(world.a.standing(&held).await, (State::Pending, 1));
}

/// Whoever asks at the same time, each run goes to one.
pub async fn a_claim_is_exclusive(world: World) {
    let function = world.a.some_function().await;
    let mut runs = Vec::new();
    for _ in 0..60 {
        runs.push(world.a.new_run(&function, Waiter::Nobody, None).await);
    }
    world.a.record(runs).await;
    let now = world.now();
    let claims = (0..20).map(|_| world.system.claim("me", 5, now));
    let claims = futures_util::future::try_join_all(claims).await.unwrap();
    let claimed: Vec<_> = claims
        .iter()
        .flat_map(|(claimed, _)| ids(claimed))
        .collect();
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 60);
}

/// One end each, whichever way it comes.
pub async fn a_second_result_is_refused(world: World) {
    let function = world.a.some_function().await;
    for end in [
        State::Succeeded,
        State::Failed,
        State::TimedOut,
        State::Cancelled,
        State::Dead,
    ] {
        let run = world.a.run(&function, Waiter::Nobody, ME).await;
        let completion = world.a.end(&run, 1, end);
        let twice = vec![completion, world.a.end(&run, 1, State::Succeeded)];
        assert_eq!(
            world.system.complete(twice).await.unwrap(),
            [true, false],
            "{end}"
        );
        let again = vec![world.a.end(&run, 1, State::Retrying)];
        assert_eq!(
            world.a.store.complete(again).await.unwrap(),
            [false],
            "{end}"
        );
        let begun = Started {
            site_id: run.site_id,
            id: run.id,
            attempt: 1,
            started_at: world.in_seconds(9),
        };
        world.system.started(vec![begun]).await.unwrap();
        assert_eq!(world.a.standing(&run).await, (end, 1));
        let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
        assert_eq!(record.started_at, Some(world.now()));
    }
}

/// A worker that was given up for lost cannot write over its successor.
pub async fn a_result_of_another_attempt_is_refused(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    world.system.claim("me", 1, world.now()).await.unwrap();
    let ends = [0, 2, 1].map(|attempt| world.a.end(&run, attempt, State::Succeeded));
    let flags = world.system.complete(ends.into()).await.unwrap();
    assert_eq!(flags, [false, false, true]);
    assert_eq!(world.a.standing(&run).await, (State::Succeeded, 1));
}

/// The note of a start fits one attempt.
pub async fn a_start_is_noted_only_for_its_attempt(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, ME).await;
    let begun = |attempt, started_at: Timestamp| {
        vec![Started {
            site_id: run.site_id,
            id: run.id,
            attempt,
            started_at,
        }]
    };
    world.system.started(begun(2, world.now())).await.unwrap();
    assert_eq!(world.a.standing(&run).await, (State::Pending, 1));
    world
        .system
        .started(begun(1, world.in_seconds(1)))
        .await
        .unwrap();
    let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(
        (record.state, record.started_at),
        (State::Running, Some(world.in_seconds(1)))
    );
}

/// Not before its time, and then as the next attempt.
pub async fn a_retry_waits_for_its_time(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    world.system.claim("me", 1, world.now()).await.unwrap();
    let due = world.in_seconds(30);
    let end = Completion {
        due_at: Some(due),
        ..world.a.end(&run, 1, State::Retrying)
    };
    assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
    let (claimed, next) = world
        .system
        .claim("me", 1, world.in_seconds(29))
        .await
        .unwrap();
    assert_eq!((claimed.len(), next), (0, Some(due)));
    let late = world.a.end(&run, 1, State::Succeeded);
    let (claimed, next) = world.system.claim("other", 1, due).await.unwrap();
    assert_eq!(
        (ids(&claimed), claimed[0].attempt, next),
        (vec![run.id], 2, None)
    );
    assert_eq!(world.system.complete(vec![late]).await.unwrap(), [false]);
}

/// After a restart: what nobody waits for is queued again, what a caller waited for has ended.
pub async fn recovery_sorts_by_who_waits(world: World) {
    let function = world.a.some_function().await;
    let old = Some("old");
    let begun = world.a.run(&function, Waiter::Nobody, None).await;
    world.system.claim("old", 1, world.now()).await.unwrap();
    let retrying = world.b.some_function().await;
    let retrying = world.b.run(&retrying, Waiter::Nobody, old).await;
    let due = world.in_seconds(60);
    let end = Completion {
        due_at: Some(due),
        ..world.b.end(&retrying, 1, State::Retrying)
    };
    world.system.complete(vec![end]).await.unwrap();
    let held = world.a.run(&function, Waiter::Nobody, old).await;
    let waited = world.a.run(&function, Waiter::Caller, old).await;
    let done = world.a.run(&function, Waiter::Nobody, old).await;
    world
        .system
        .complete(vec![world.a.end(&done, 1, State::Succeeded)])
        .await
        .unwrap();
    let mine = world.a.run(&function, Waiter::Nobody, Some("new")).await;
    let mine_waited = world.a.run(&function, Waiter::Caller, Some("new")).await;

    let at = world.in_seconds(10);
    let recovered = world.system.recover("new", at).await.unwrap();
    assert_eq!(
        recovered,
        Recovered {
            requeued: 2,
            cancelled: 1
        }
    );
    assert_eq!(world.a.standing(&waited).await, (State::Cancelled, 1));
    let record = world.a.store.invocation(waited.id).await.unwrap().unwrap();
    let failure = record.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(failure.message, "The server stopped while this ran");
    assert_eq!(record.finished_at, Some(at));
    assert_eq!(world.a.standing(&begun).await, (State::Pending, 1));
    assert_eq!(world.b.standing(&retrying).await, (State::Retrying, 1));
    assert_eq!(world.a.standing(&done).await, (State::Succeeded, 1));
    assert_eq!(world.a.standing(&mine).await, (State::Pending, 1));
    assert_eq!(world.a.standing(&mine_waited).await, (State::Running, 1));

    let (claimed, next) = world.system.claim("new", 10, at).await.unwrap();
    assert_eq!(ids(&claimed).len(), 2);
    let attempt = |run: &NewInvocation| {
        claimed
            .iter()
            .find(|claimed| claimed.invocation.id == run.id)
            .unwrap()
            .attempt
    };
    assert_eq!(
        attempt(&begun),
        2,
        "a run that may have begun gets a new number"
    );
    assert_eq!(
        attempt(&held),
        1,
        "a run that has not begun has lost no attempt"
    );
    assert_eq!(next, Some(due));
    let recovered = world.system.recover("new", at).await.unwrap();
    assert_eq!(recovered, Recovered::default());
}

/// A run in the store and what core says of it.
struct Life<'w> {
    world: &'w World,
    run: NewInvocation,
    task: Task,
    due: Timestamp,
}

impl Life<'_> {
    async fn claim(&mut self) {
        let now = self.world.now();
        let (claimed, _) = self.world.system.claim("me", 10, now).await.unwrap();
        let runnable = matches!(self.task.state, State::Pending | State::Retrying);
        assert_eq!(claimed.len(), usize::from(runnable && self.due <= now));
        if let Some(claimed) = claimed.first() {
            self.task = self.task.apply(Input::Start).unwrap().0;
            assert_eq!(claimed.attempt, self.task.attempt);
        }
    }

    /// A result of this attempt, or of one that never was.
    async fn end(&mut self, stale: bool, delay: Option<Duration>) {
        if matches!(self.task.state, State::Pending | State::Retrying) {
            return;
        }
        let at = self.world.now();
        let kind = FailureKind::Exception;
        let input = delay.map_or(Input::Succeed, |delay| Input::Fail { kind, delay, at });
        let running = Task {
            state: State::Running,
            ..self.task
        };
        let decided = running.apply(input).unwrap().0;
        let due_at = delay
            .filter(|_| decided.state == State::Retrying)
            .map(|by| at.plus(by));
        let attempt = self.task.attempt + u32::from(stale);
        let end = self.world.a.end(&self.run, attempt, decided.state);
        let end = Completion { due_at, ..end };
        let taken = self.world.system.complete(vec![end]).await.unwrap()[0];
        assert_eq!(taken, !stale && self.task.apply(input).is_ok());
        if taken {
            self.task = decided;
            self.due = due_at.unwrap_or(self.due);
        }
    }

    async fn check(&self) {
        let standing = self.world.a.standing(&self.run).await;
        assert_eq!(standing, (self.task.state, self.task.attempt));
    }
}

/// Random inputs, right and wrong, against core's state machine: the store never differs from it.
pub async fn random_lives_follow_the_rules(world: World) {
    let function = world.a.some_function().await;
    for seed in 0..30 {
        let entropy = SeededEntropy::new(seed);
        let random: &dyn Entropy = &entropy;
        let run = world.a.run(&function, Waiter::Nobody, None).await;
        let (state, waiter) = (State::Pending, Waiter::Nobody);
        let task = Task {
            state,
            attempt: 0,
            max_attempts: 3,
            waiter,
        };
        let due = run.queued_at;
        let mut life = Life {
            world: &world,
            run,
            task,
            due,
        };
        for _ in 0..20 {
            let seconds = Duration::from_secs(random.below(4));
            match random.below(5) {
                0 => life.claim().await,
                1 => world.clock.advance(seconds),
                2 => life.end(random.below(4) == 0, None).await,
                _ => life.end(random.below(4) == 0, Some(seconds)).await,
            }
            life.check().await;
        }
        // Out of the way of the next one.
        if !life.task.state.is_final() {
            let end = world.a.end(&life.run, life.task.attempt, State::Cancelled);
            assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
        }
    }
}
