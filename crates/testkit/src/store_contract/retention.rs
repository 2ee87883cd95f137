//! Retention: what is deleted, what stays, and how little at a time.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::alone::Alone;
use super::credentials::token;
use std::time::Duration;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::NewInvocation;
use tollgate_core::invocations::retention::{Retention, days};
use tollgate_core::ports::store::{Epoch, IdKind, Swept};
use tollgate_core::tasks::{State, Waiter};

const ME: Option<&str> = Some("me");
const DAY: Duration = Duration::from_secs(24 * 3600);
/// More than any case here writes.
const MANY: usize = 1000;

/// Runs in these states, all of now. `Pending` and `Running` are left open.
async fn runs(world: &World, states: &[State]) -> Vec<NewInvocation> {
    let function = world.a.some_function().await;
    let mut runs = Vec::new();
    for state in states {
        let (waiter, holder) = match state {
            State::Pending => (Waiter::Nobody, None),
            State::Running => (Waiter::Caller, ME),
            _ => (Waiter::Nobody, ME),
        };
        let run = world.a.run(&function, waiter, holder).await;
        if !matches!(state, State::Pending | State::Running) {
            let end = world.a.end(&run, 1, *state);
            assert_eq!(world.a.store.complete(vec![end]).await.unwrap(), [true]);
        }
        runs.push(run);
    }
    // The newest record of all, which stays whatever it is.
    world.a.run(&function, Waiter::Nobody, None).await;
    runs
}

/// Goes on until there is no next step.
async fn sweep(world: &World, retention: Retention) -> u64 {
    let (mut deleted, mut after) = (0, None);
    loop {
        let step = world
            .system
            .sweep_invocations(after, MANY, retention, world.now())
            .await
            .unwrap();
        deleted += step.deleted;
        match step.next {
            Some(next) => after = Some(next),
            None => return deleted,
        }
    }
}

async fn left(world: &World, runs: &[NewInvocation]) -> Vec<bool> {
    let mut left = Vec::new();
    for run in runs {
        left.push(world.a.store.invocation(run.id).await.unwrap().is_some());
    }
    left
}

/// Days that differ in every state.
fn retention() -> Retention {
    Retention {
        succeeded: days(1),
        failed: days(2),
        timed_out: days(3),
        cancelled: days(4),
    }
}

/// Not before its day, and then alone.
pub async fn each_state_is_kept_for_its_period(world: World) {
    let states = [
        State::Cancelled,
        State::Succeeded,
        State::TimedOut,
        State::Failed,
    ];
    let runs = runs(&world, &states).await;
    let order = [1, 3, 2, 0];
    let mut at = world.now();
    for (day, gone) in order.into_iter().enumerate() {
        at = at.plus(DAY);
        world.clock.set(at);
        assert_eq!(sweep(&world, retention()).await, 0, "day {day}");
        world.clock.set(at.plus(Duration::from_micros(1)));
        assert_eq!(sweep(&world, retention()).await, 1, "day {day}");
        assert!(!left(&world, &runs).await[gone], "day {day}");
    }
}

/// However old.
pub async fn what_is_open_or_dead_is_never_deleted(world: World) {
    let states = [State::Pending, State::Running, State::Retrying, State::Dead];
    let runs = runs(&world, &states).await;
    world.clock.advance(DAY * 20_000);
    assert_eq!(sweep(&world, retention()).await, 0);
    assert_eq!(left(&world, &runs).await, [true; 4]);
}

/// So that whoever discards it can still look at it.
pub async fn a_discarded_letter_counts_from_its_discard(world: World) {
    let runs = runs(&world, &[State::Dead]).await;
    world.clock.advance(DAY * 100);
    let discarded = world.a.store.discard(runs[0].id, world.now()).await;
    assert!(discarded.unwrap());
    world.clock.advance(DAY * 2);
    assert_eq!(sweep(&world, retention()).await, 0);
    world.clock.advance(DAY);
    assert_eq!(sweep(&world, retention()).await, 1);
}

/// Each step deletes no more than it may, and none is passed over or seen twice.
pub async fn steps_are_small_and_go_on_where_they_stopped(world: World) {
    let states = [
        State::Succeeded,
        State::Dead,
        State::Succeeded,
        State::Succeeded,
        State::Failed,
        State::Succeeded,
        State::Succeeded,
    ];
    let runs = runs(&world, &states).await;
    world.clock.advance(DAY + Duration::from_secs(1));
    let (mut after, mut steps) = (None::<InvocationId>, Vec::new());
    loop {
        let step = world
            .system
            .sweep_invocations(after, 2, retention(), world.now())
            .await
            .unwrap();
        steps.push(step.deleted);
        let Some(next) = step.next else { break };
        assert!(after.is_none_or(|before| next > before), "{steps:?}");
        after = Some(next);
    }
    assert_eq!(steps, [2, 2, 1]);
    assert_eq!(
        left(&world, &runs).await,
        [false, true, false, false, true, false, false]
    );
}

/// It only stays itself.
pub async fn a_record_of_a_wrong_clock_holds_nothing_up(world: World) {
    let right = world.now();
    let function = world.a.some_function().await;
    let mut runs = Vec::new();
    for wrong in [true, false] {
        let at = if wrong { right.plus(DAY * 4000) } else { right };
        world.clock.set(at);
        let run = world.a.run(&function, Waiter::Caller, ME).await;
        let end = world.a.end(&run, 1, State::Succeeded);
        world.a.store.complete(vec![end]).await.unwrap();
        runs.push(run);
    }
    world.a.run(&function, Waiter::Nobody, None).await;
    world.clock.advance(DAY * 2);
    assert_eq!(sweep(&world, retention()).await, 1);
    assert_eq!(left(&world, &runs).await, [true, false]);
}

/// 0 days keep for ever.
pub async fn no_period_deletes_nothing(world: World) {
    let runs = runs(&world, &[State::Succeeded, State::Failed]).await;
    world.clock.advance(DAY * 20_000);
    let mut never = Retention {
        succeeded: None,
        failed: None,
        timed_out: None,
        cancelled: None,
    };
    let step = world
        .system
        .sweep_invocations(None, MANY, never, world.now())
        .await;
    assert_eq!(step.unwrap(), Swept::default());
    never.failed = days(1);
    assert_eq!(sweep(&world, never).await, 1);
    assert_eq!(left(&world, &runs).await, [true, false]);
}

/// Numbers are never given out twice, so the last one that was given stays on record.
pub async fn the_newest_record_stays(world: World) {
    let function = world.a.some_function().await;
    let mut last = None;
    for _ in 0..3 {
        let run = world.a.run(&function, Waiter::Caller, ME).await;
        let end = world.a.end(&run, 1, State::Succeeded);
        world.a.store.complete(vec![end]).await.unwrap();
        last = Some(run);
    }
    world.clock.advance(DAY * 20_000);
    assert_eq!(sweep(&world, retention()).await, 2);
    assert_eq!(sweep(&world, retention()).await, 0);
    let last = last.unwrap();
    assert_eq!(world.a.standing(&last).await.0, State::Succeeded);
    let ids = world.system.reserve_ids(IdKind::Invocation, 1).await;
    assert!(ids.unwrap().start > last.id.0);
}

/// Ended ones only.
pub async fn ended_tokens_are_deleted_a_few_at_a_time(world: World) {
    let ann = world.a.user("ann").await;
    for number in 0..5 {
        let mut token = token(ann.id, &format!("{number}"), world.now());
        let lasts = if number == 4 { DAY * 9 } else { DAY };
        token.expires_at = world.now().plus(lasts);
        world.a.store.insert_token(token, Epoch(0)).await.unwrap();
    }
    assert_eq!(world.system.sweep_tokens(3, world.now()).await.unwrap(), 0);
    world.clock.advance(DAY + Duration::from_secs(1));
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(world.system.sweep_tokens(3, world.now()).await.unwrap());
    }
    assert_eq!(steps, [3, 1, 0]);
    let kept = world.system.token(world.a.site.id, "4").await.unwrap();
    assert!(kept.is_some());
}
