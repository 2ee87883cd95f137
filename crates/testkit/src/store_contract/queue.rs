//! The queue: claims, results, retries, recovery.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use crate::entropy::SeededEntropy;
use std::collections::HashSet;
use std::time::Duration;
use tollgate_core::entropy::Entropy;
use tollgate_core::functions::Function;
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{Completion, Hold, NewInvocation, Started};
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Taken;
use tollgate_core::ports::store::{Claimed, Line, Recovered};
use tollgate_core::tasks::{Attempt, FailureKind, Input, State, Task, Waiter};
use tollgate_core::time::Timestamp;

const ME: Option<&str> = Some("me");
const LEASE: Duration = Duration::from_secs(10);

fn hold(holder: &str, fence: u32) -> Hold {
    Hold {
        holder: holder.into(),
        fence,
    }
}

fn ids(claimed: &[Claimed]) -> Vec<InvocationId> {
    claimed
        .iter()
        .map(|claimed| claimed.invocation.id)
        .collect()
}

/// Site after site, up to the limit, with everything that running needs.
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
    let (claimed, next) = world.claim("me", 3).await.unwrap();
    assert_eq!(ids(&claimed), [runs[0].id, runs[2].id, runs[1].id]);
    assert_eq!(next, Some(Duration::ZERO));
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
    assert_eq!((&first.chain, first.max_attempts), (&expected.chain, 3));
    assert_eq!(
        (first.trigger, first.waiter),
        (expected.trigger, Waiter::Nobody)
    );
    assert_eq!(first.holder.as_deref(), ME);
    let (holder, fence) = ("me".into(), 1);
    let taken = Taken {
        hold: Hold { holder, fence },
        attempt: Attempt::FIRST,
    };
    assert_eq!(claimed[0].taken, taken);
    assert_eq!(world.a.standing(&runs[0]).await, (State::Pending, 1));
    world.a.begin(&runs[0], 1).await;
    assert_eq!(world.a.standing(&runs[0]).await, (State::Running, 1));
    let (claimed, next) = world.claim("me", 3).await.unwrap();
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
    let claims = (0..20).map(|_| world.claim("me", 5));
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
            born: None,
            hold: hold("me", 1),
            version_id: run.version_id,
            version: run.version,
            started_at: world.in_seconds(9),
        };
        world.system.started(vec![begun]).await.unwrap();
        assert_eq!(world.a.standing(&run).await, (end, 1));
        let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
        assert_eq!(record.started_at, Some(world.now()));
    }
}

/// A worker that was given up for lost cannot write over its successor: neither with an earlier
/// fence, nor under another name.
pub async fn a_result_under_another_hold_is_refused(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    world.claim("me", 1).await.unwrap();
    let holds = [("me", 0), ("me", 2), ("you", 1), ("", 1), ("me", 1)];
    let ends = holds.map(|(holder, fence)| Completion {
        hold: hold(holder, fence),
        ..world.a.end(&run, 1, State::Succeeded)
    });
    let flags = world.system.complete(ends.into()).await.unwrap();
    assert_eq!(flags, [false, false, false, false, true]);
    assert_eq!(world.a.standing(&run).await, (State::Succeeded, 1));
}

/// The note of a start fits one hold.
pub async fn a_start_is_noted_only_under_its_hold(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, ME).await;
    let begun = |fence, started_at: Timestamp| {
        vec![Started {
            site_id: run.site_id,
            id: run.id,
            born: None,
            hold: hold("me", fence),
            version_id: run.version_id,
            version: run.version,
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
    world.claim("me", 1).await.unwrap();
    let end = Completion {
        due_in: Some(Duration::from_secs(30)),
        uncounted: true,
        ..world.a.end(&run, 1, State::Retrying)
    };
    assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
    let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(record.due_at, Some(world.in_seconds(30)));
    world.clock.advance(Duration::from_secs(29));
    let (claimed, next) = world.claim("me", 1).await.unwrap();
    assert_eq!((claimed.len(), next), (0, Some(Duration::from_secs(1))));
    world.clock.advance(Duration::from_secs(1));
    let late = world.a.end(&run, 1, State::Succeeded);
    let (claimed, next) = world.claim("other", 1).await.unwrap();
    assert_eq!(
        (ids(&claimed), claimed[0].taken.attempt, next),
        (
            vec![run.id],
            Attempt {
                number: 2,
                uncounted: 1
            },
            None
        )
    );
    assert_eq!(world.system.complete(vec![late]).await.unwrap(), [false]);
}

/// After a crash: what nobody waits for is queued again, what a caller waited for has ended. Who is
/// alive keeps everything.
pub async fn a_rescue_sorts_by_who_waits(world: World) {
    let function = world.a.some_function().await;
    let (old, new) = (Some("old"), Some("new"));
    let begun = world.a.run(&function, Waiter::Nobody, None).await;
    let (claimed, _) = world.claim("old", 1).await.unwrap();
    let started = Started {
        site_id: begun.site_id,
        id: begun.id,
        born: None,
        hold: claimed[0].taken.hold.clone(),
        version_id: begun.version_id,
        version: begun.version,
        started_at: world.now(),
    };
    world.system.started(vec![started]).await.unwrap();
    let held = world.a.run(&function, Waiter::Nobody, old).await;
    let waited = world.a.run(&function, Waiter::Caller, old).await;
    let done = world.a.run(&function, Waiter::Nobody, old).await;
    let end = world.a.end(&done, 1, State::Succeeded);
    assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
    let mine = world.a.run(&function, Waiter::Nobody, new).await;
    let mine_waited = world.a.run(&function, Waiter::Caller, new).await;
    world.system.heartbeat("new", LEASE).await.unwrap();

    world.clock.advance(Duration::from_secs(1));
    let at = world.now();
    let recovered = world.system.rescue().await.unwrap();
    let expected = Recovered {
        requeued: 2,
        cancelled: 1,
        dead: 0,
    };
    assert_eq!(recovered, expected);
    assert_eq!(world.a.standing(&waited).await, (State::Cancelled, 1));
    let record = world.a.store.invocation(waited.id).await.unwrap().unwrap();
    let failure = record.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(failure.message, "The server stopped while this ran");
    assert_eq!(record.finished_at, Some(at));
    assert_eq!(world.a.standing(&begun).await, (State::Pending, 1));
    assert_eq!(world.a.standing(&held).await, (State::Pending, 0));
    assert_eq!(world.a.standing(&done).await, (State::Succeeded, 1));
    assert_eq!(world.a.standing(&mine).await, (State::Pending, 1));
    assert_eq!(world.a.standing(&mine_waited).await, (State::Running, 1));

    let (claimed, _) = world.claim("new", 10).await.unwrap();
    assert_eq!(ids(&claimed), [begun.id, held.id]);
    // The lost one does not count, and what had not begun is where it was.
    let second = Attempt {
        number: 2,
        uncounted: 1,
    };
    for (run, attempt) in claimed.iter().zip([second, Attempt::FIRST]) {
        assert_eq!(run.taken.attempt, attempt);
        assert_eq!(run.taken.hold, hold("new", 2));
        assert!(run.taken.was_interrupted());
    }
    let record = world.a.store.invocation(begun.id).await.unwrap().unwrap();
    assert_eq!((record.uncounted, record.holder.as_deref()), (1, new));
    let recovered = world.system.rescue().await.unwrap();
    assert_eq!(recovered, Recovered::default());
}

/// What waits is due as long after now as it was meant to be, whatever the clock said before.
pub async fn a_clock_that_was_set_back_leaves_nothing_stuck(world: World) {
    let function = world.a.some_function().await;
    let retried = world.a.run(&function, Waiter::Nobody, ME).await;
    let again = Completion {
        due_in: Some(Duration::from_secs(30)),
        ..world.a.end(&retried, 1, State::Retrying)
    };
    assert_eq!(world.system.complete(vec![again]).await.unwrap(), [true]);
    let waiting = world.a.run(&function, Waiter::Nobody, None).await;
    world.system.heartbeat("me", LEASE).await.unwrap();

    // A clock that goes on changes nothing.
    let due = world.system.next_due().await.unwrap();
    world.system.rescue().await.unwrap();
    assert_eq!(world.system.next_due().await.unwrap(), due);

    let day = 86_400_000_000;
    let back = Timestamp::from_micros(world.now().as_micros() - day);
    world.clock.set(back);
    let (none, _) = world.claim("me", 10).await.unwrap();
    assert!(none.is_empty());
    let recovered = world.system.rescue().await.unwrap();
    assert!(recovered.is_empty(), "nobody was lost: {recovered:?}");
    let (claimed, next) = world.claim("me", 10).await.unwrap();
    assert_eq!(ids(&claimed), [waiting.id]);
    assert_eq!(next, Some(Duration::from_secs(30)));
    world.clock.advance(Duration::from_secs(30));
    let (claimed, _) = world.claim("me", 10).await.unwrap();
    assert_eq!(ids(&claimed), [retried.id]);
}

/// One process is a day ahead and another a day behind: what they write is due as they meant it, by the
/// store's clock, and waits neither for theirs nor because of it.
pub async fn a_callers_clock_does_not_matter_to_what_is_due(world: World) {
    let function = world.a.some_function().await;
    let right = world.now();
    let day = Duration::from_secs(24 * 3600);
    let ahead = right.plus(day);
    let behind = Timestamp::from_micros(right.as_micros() - 86_400_000_000);
    for theirs in [ahead, behind] {
        // Queued: due at once.
        let queued = NewInvocation {
            queued_at: theirs,
            ..world.a.new_run(&function, Waiter::Nobody, None).await
        };
        world.a.record(vec![queued.clone()]).await;
        assert_eq!(world.system.next_due().await.unwrap(), Some(Duration::ZERO));
        let (claimed, _) = world.claim("me", 10).await.unwrap();
        assert_eq!(ids(&claimed), [queued.id]);
        assert!(claimed[0].invocation.queued_at <= world.now());

        // Failed: due again after the delay that was meant.
        let failed = Completion {
            started_at: theirs,
            finished_at: theirs,
            due_in: Some(Duration::from_secs(30)),
            ..world.a.end(&queued, 1, State::Retrying)
        };
        assert_eq!(world.system.complete(vec![failed]).await.unwrap(), [true]);
        world.system.heartbeat("me", LEASE).await.unwrap();
        let nobody_was_lost = Recovered::default();
        assert_eq!(world.system.rescue().await.unwrap(), nobody_was_lost);
        let next = world.system.next_due().await.unwrap();
        assert_eq!(next, Some(Duration::from_secs(30)));
        world.clock.advance(Duration::from_secs(30));
        let (claimed, _) = world.claim("me", 10).await.unwrap();
        assert_eq!(ids(&claimed), [queued.id]);
        let attempt = &world.a.store.invocation(queued.id).await.unwrap().unwrap();
        assert_eq!(attempt.earlier[0].finished_at, Some(theirs));

        // Lost, and handed back: due at once.
        world.a.begin(&queued, 2).await;
        world.clock.advance(LEASE);
        assert_eq!(world.system.rescue().await.unwrap().requeued, 1);
        let (claimed, _) = world.claim("me", 10).await.unwrap();
        assert_eq!(ids(&claimed), [queued.id]);
        let held = NewInvocation {
            queued_at: theirs,
            ..world.a.new_run(&function, Waiter::Nobody, ME).await
        };
        world.a.record(vec![held.clone()]).await;
        assert_eq!(world.system.release("me").await.unwrap().requeued, 2);
        let (claimed, _) = world.claim("me", 10).await.unwrap();
        let both: HashSet<_> = ids(&claimed).into_iter().collect();
        assert_eq!(both, HashSet::from([queued.id, held.id]));
        for run in claimed {
            let end = Completion {
                hold: run.taken.hold.clone(),
                ..world.a.end(&run.invocation, 1, State::Succeeded)
            };
            assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
        }
    }
    assert_eq!(world.system.next_due().await.unwrap(), None);
}

/// Whoever is silent for longer than its lease has lost its runs, and its late result is refused.
pub async fn a_lease_ends_with_the_signs_of_life(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    world.system.heartbeat("me", LEASE).await.unwrap();
    world.claim("me", 1).await.unwrap();
    for _ in 0..3 {
        world.clock.advance(LEASE / 2);
        let rescued = world.system.rescue().await.unwrap();
        assert!(rescued.is_empty(), "{rescued:?}");
        world.system.heartbeat("me", LEASE).await.unwrap();
    }
    world.clock.advance(LEASE);
    assert_eq!(world.system.rescue().await.unwrap().requeued, 1);
    let (claimed, _) = world.claim("you", 1).await.unwrap();
    assert_eq!(claimed[0].taken.hold, hold("you", 2));
    let late = world.a.end(&run, 1, State::Succeeded);
    assert_eq!(world.system.complete(vec![late]).await.unwrap(), [false]);
    let newer = Completion {
        hold: hold("you", 2),
        ..world.a.end(&run, 2, State::Succeeded)
    };
    assert_eq!(world.system.complete(vec![newer]).await.unwrap(), [true]);
}

/// A holder that stops hands back: what has not begun has lost nothing.
pub async fn what_is_handed_back_waits_again(world: World) {
    let function = world.a.some_function().await;
    let begun = world.a.run(&function, Waiter::Nobody, None).await;
    world.claim("me", 1).await.unwrap();
    world.a.begin(&begun, 1).await;
    let held = world.a.run(&function, Waiter::Nobody, ME).await;
    let waited = world.a.run(&function, Waiter::Caller, ME).await;
    let theirs = world.a.run(&function, Waiter::Nobody, Some("you")).await;
    world.system.heartbeat("me", LEASE).await.unwrap();
    let recovered = world.system.release("me").await.unwrap();
    let expected = Recovered {
        requeued: 2,
        cancelled: 1,
        dead: 0,
    };
    assert_eq!(recovered, expected);
    assert_eq!(world.a.standing(&waited).await, (State::Cancelled, 1));
    assert_eq!(world.a.standing(&begun).await, (State::Pending, 1));
    assert_eq!(world.a.standing(&held).await, (State::Pending, 0));
    assert_eq!(world.a.standing(&theirs).await, (State::Pending, 1));
    let (claimed, _) = world.claim("new", 10).await.unwrap();
    let attempts: Vec<_> = claimed
        .iter()
        .map(|run| (run.invocation.id, run.taken.attempt))
        .collect();
    let second = Attempt {
        number: 2,
        uncounted: 1,
    };
    assert_eq!(attempts, [(begun.id, second), (held.id, Attempt::FIRST)]);
}

/// What takes one worker after the other down comes to an end.
pub async fn a_run_that_loses_too_many_workers_is_given_up(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    for fence in 1..=limits::UNCOUNTED_MAX {
        let (claimed, _) = world.claim("me", 1).await.unwrap();
        let first = Attempt::FIRST;
        assert_eq!(
            (claimed[0].taken.attempt, fence),
            (first, claimed[0].taken.hold.fence)
        );
        let rescued = world.system.rescue().await.unwrap();
        assert_eq!(rescued.requeued, 1, "it never began");
    }
    for lost in 1..=limits::UNCOUNTED_MAX {
        world.claim("me", 1).await.unwrap();
        world.a.begin(&run, limits::UNCOUNTED_MAX + lost).await;
        let rescued = world.system.rescue().await.unwrap();
        let is_last = lost == limits::UNCOUNTED_MAX;
        assert_eq!(
            (rescued.dead, rescued.requeued),
            (is_last.into(), (!is_last).into())
        );
    }
    assert_eq!(
        world.a.standing(&run).await,
        (State::Dead, limits::UNCOUNTED_MAX)
    );
    let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(record.failure.unwrap().kind, FailureKind::Lost);
    assert_eq!(
        (record.uncounted, record.finished_at),
        (limits::UNCOUNTED_MAX, Some(world.now()))
    );
}

/// A holder can ask for what it holds, and queue single runs again.
pub async fn what_was_lost_sight_of_is_queued_again(world: World) {
    let function = world.a.some_function().await;
    let (one, two) = (
        world.a.run(&function, Waiter::Nobody, ME).await,
        world.a.run(&function, Waiter::Nobody, ME).await,
    );
    world.a.run(&function, Waiter::Caller, ME).await;
    world.a.run(&function, Waiter::Nobody, Some("you")).await;
    let mut held = world.system.held("me").await.unwrap();
    held.sort_by_key(|(id, _)| *id);
    assert_eq!(held, [(one.id, hold("me", 1)), (two.id, hold("me", 1))]);
    let wrong = vec![(one.id, hold("me", 2)), (two.id, hold("you", 1))];
    let nothing = Recovered::default();
    assert_eq!(world.system.requeue(wrong).await.unwrap(), nothing);
    let requeued = Recovered {
        requeued: 1,
        ..nothing
    };
    let right = |fence| vec![(one.id, hold("me", fence))];
    assert_eq!(world.system.requeue(right(1)).await.unwrap(), requeued);
    let (claimed, _) = world.claim("me", 10).await.unwrap();
    assert_eq!(ids(&claimed), [one.id]);
    assert_eq!(claimed[0].taken.attempt, Attempt::FIRST);
    // What has begun counts, and comes to an end.
    for lost in 1..=limits::UNCOUNTED_MAX {
        world.a.begin(&one, lost + 1).await;
        let found = world.system.requeue(right(lost + 1)).await.unwrap();
        let is_last = lost == limits::UNCOUNTED_MAX;
        assert_eq!(
            (found.dead, found.requeued),
            (is_last.into(), (!is_last).into())
        );
        world.claim("me", 10).await.unwrap();
    }
    let record = world.a.store.invocation(one.id).await.unwrap().unwrap();
    assert_eq!(record.failure.unwrap().kind, FailureKind::Lost);
}

/// Which functions have something due, and how much of it a site has.
pub async fn lines_with_waiting_runs_are_found(world: World) {
    let (a, b) = (world.a.site.id, world.b.site.id);
    let (in_a, in_b) = (world.a.some_function().await, world.b.some_function().await);
    let other = world.a.function(in_a.app_id, "other").await;
    let line = |site, function: &Function| Line {
        site,
        function: function.id,
    };
    let (one, two, three) = (line(a, &in_a), line(a, &other), line(b, &in_b));
    let system = &world.system;
    let lines = async |after: Option<Line>, limit: usize| {
        let found = system.due_lines(after, limit).await.unwrap();
        (found.lines, found.next)
    };
    assert_eq!(lines(None, 10).await, (vec![], None));
    for _ in 0..3 {
        world.a.run(&in_a, Waiter::Nobody, None).await;
    }
    world.a.run(&in_a, Waiter::Nobody, ME).await;
    world.a.run(&other, Waiter::Nobody, None).await;
    let later = world.b.run(&in_b, Waiter::Nobody, None).await;
    assert_eq!(lines(None, 10).await, (vec![one, two, three], None));
    assert_eq!(lines(None, 2).await, (vec![one, two], Some(two)));
    assert_eq!(lines(Some(one), 1).await, (vec![two], Some(two)));
    assert_eq!(lines(Some(two), 10).await, (vec![three], None));
    assert_eq!(lines(Some(three), 10).await, (vec![], None));
    assert_eq!(system.waiting(a, 10).await.unwrap(), 4);
    assert_eq!(system.waiting(a, 2).await.unwrap(), 2);
    assert_eq!(system.waiting(b, 10).await.unwrap(), 1);
    // Not due yet.
    world.claim("me", 10).await.unwrap();
    let end = Completion {
        due_in: Some(Duration::from_secs(30)),
        ..world.b.end(&later, 1, State::Retrying)
    };
    world.system.complete(vec![end]).await.unwrap();
    assert_eq!(lines(None, 10).await, (vec![], None));
    assert_eq!(lines(None, 1).await, (vec![], Some(three)));
    assert_eq!(system.waiting(b, 10).await.unwrap(), 1);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(lines(None, 10).await, (vec![three], None));
}

/// One function's backlog stands in no other's way.
pub async fn a_claim_takes_from_each_line_what_was_asked_for(world: World) {
    let first = world.a.some_function().await;
    let second = world.a.function(first.app_id, "second").await;
    for _ in 0..5 {
        world.a.run(&first, Waiter::Nobody, None).await;
    }
    world.clock.advance(Duration::from_secs(1));
    let late = world.a.run(&second, Waiter::Nobody, None).await;
    let line = |function: &Function| Line {
        site: world.a.site.id,
        function: function.id,
    };
    let wanted = vec![(line(&first), 2), (line(&second), 3)];
    let claimed = world.system.claim("me", wanted).await.unwrap();
    assert_eq!(claimed.len(), 3);
    assert_eq!(claimed[2].invocation.id, late.id);
    assert_eq!(world.system.waiting(world.a.site.id, 9).await.unwrap(), 3);
}

/// A run in the store and what core says of it.
struct Life<'w> {
    world: &'w World,
    run: NewInvocation,
    task: Task,
    fence: u32,
    due: Timestamp,
}

impl Life<'_> {
    async fn claim(&mut self) {
        let now = self.world.now();
        let (claimed, _) = self.world.claim("me", 10).await.unwrap();
        let runnable = self.task.apply(Input::Take).is_ok();
        assert_eq!(claimed.len(), usize::from(runnable && self.due <= now));
        if let Some(claimed) = claimed.first() {
            self.task = self.task.apply(Input::Take).unwrap();
            let Attempt { number, uncounted } = claimed.taken.attempt;
            assert_eq!(
                (number, uncounted),
                (self.task.attempt, self.task.uncounted)
            );
            self.fence += 1;
            assert_eq!(claimed.taken.hold.fence, self.fence);
        }
    }

    async fn begin(&mut self) {
        self.world.a.begin(&self.run, self.fence).await;
        self.task = self.task.apply(Input::Start).unwrap_or(self.task);
    }

    /// The worker dies, or stops and hands its run back.
    async fn lose(&mut self, dies: bool) {
        let now = self.world.now();
        let system = &self.world.system;
        let (recovered, input) = if dies {
            (system.rescue().await.unwrap(), Input::Lose)
        } else {
            (system.release("me").await.unwrap(), Input::Release)
        };
        assert_eq!(recovered.requeued, u64::from(self.task.held));
        if self.task.held {
            self.task = self.task.apply(input).unwrap();
            self.due = now;
        }
    }

    /// A result of this attempt, or of one that never was.
    async fn end(&mut self, stale: bool, delay: Option<Duration>) {
        // The server could not run it, or the function failed.
        let kind = match self.fence % 3 {
            0 => FailureKind::Unavailable,
            _ => FailureKind::Exception,
        };
        let input = delay.map_or(Input::Succeed, |_| Input::Fail(kind));
        let running = Task {
            state: State::Running,
            held: true,
            ..self.task
        };
        let decided = running.apply(input).unwrap();
        let due_in = delay.filter(|_| decided.state == State::Retrying);
        let fence = self.fence + u32::from(stale);
        let end = self.world.a.end(&self.run, fence, decided.state);
        let uncounted = decided.uncounted > self.task.uncounted;
        let end = Completion {
            due_in,
            uncounted,
            ..end
        };
        let taken = self.world.system.complete(vec![end]).await.unwrap()[0];
        assert_eq!(taken, !stale && self.task.apply(input).is_ok());
        if taken {
            self.task = decided;
            self.due = due_in.map_or(self.due, |delay| self.world.now().plus(delay));
        }
    }

    async fn check(&self) {
        let standing = self.world.a.standing(&self.run).await;
        assert_eq!(standing, (self.task.state, self.task.attempt));
        let record = self.world.a.store.invocation(self.run.id).await;
        let record = record.unwrap().unwrap();
        let held = (record.uncounted, record.holder.is_some());
        assert_eq!(held, (self.task.uncounted, self.task.held));
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
            held: false,
            attempt: 0,
            uncounted: 0,
            max_attempts: 3,
            waiter,
        };
        let due = run.queued_at;
        let mut life = Life {
            world: &world,
            run,
            task,
            fence: 0,
            due,
        };
        for _ in 0..20 {
            let seconds = Duration::from_secs(random.below(4));
            match random.below(7) {
                0 => life.claim().await,
                6 => life.begin().await,
                5 => life.lose(random.below(2) == 0).await,
                1 => world.clock.advance(seconds),
                2 => life.end(random.below(4) == 0, None).await,
                _ => life.end(random.below(4) == 0, Some(seconds)).await,
            }
            life.check().await;
        }
        // Out of the way of the next one.
        if !life.task.state.is_final() {
            world.clock.advance(Duration::from_secs(10));
            life.claim().await;
            let end = world.a.end(&life.run, life.fence, State::Cancelled);
            assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
        }
    }
}
