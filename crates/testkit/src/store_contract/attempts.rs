//! Attempts: each is on record, with its own version, reason and logs.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::code;
use super::{World, everything};
use std::time::Duration;
use tollgate_core::ids::{InvocationId, UserId};
use tollgate_core::invocations::{
    AttemptRecord, Completion, Hold, Invocation, LogLine, NewInvocation,
};
use tollgate_core::limits;
use tollgate_core::ports::store::{InvocationQuery, Redrive};
use tollgate_core::tasks::{Failure, FailureKind, State, Waiter};

async fn read(world: &World, id: InvocationId) -> Invocation {
    world.a.store.invocation(id).await.unwrap().unwrap()
}

/// All attempts as people are shown them, the newest last.
async fn attempts(world: &World, id: InvocationId) -> Vec<AttemptRecord> {
    let record = read(world, id).await;
    let newest = record.newest();
    record.earlier.into_iter().chain(newest).collect()
}

fn line(world: &World, message: String) -> LogLine {
    LogLine {
        timestamp: world.now(),
        level: "INFO".to_owned(),
        logger: "function".to_owned(),
        message,
    }
}

/// The end of an attempt that failed because of `why`, and logged it.
fn failed(world: &World, run: &NewInvocation, fence: u32, state: State, why: &str) -> Completion {
    let hold = Hold {
        holder: "me".into(),
        fence,
    };
    Completion {
        hold,
        failure: Some(
            Failure::new(FailureKind::Exception, why).with_traceback(format!("at {why}")),
        ),
        logs: vec![line(world, why.to_owned())],
        started_at: world.now(),
        finished_at: world.in_seconds(1),
        due_in: (state == State::Retrying).then(|| Duration::from_secs(2)),
        ..world.a.end(run, fence, state)
    }
}

async fn complete(world: &World, end: Completion) {
    assert_eq!(world.system.complete(vec![end]).await.unwrap(), [true]);
}

async fn claim(world: &World) {
    world.clock.advance(Duration::from_secs(2));
    let (claimed, _) = world.claim("me", 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
}

/// Why the first two failed is there after the third succeeded.
pub async fn every_attempt_stays_on_record(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    let second = world
        .a
        .store
        .insert_version(function.id, code("def main(): pass"), world.now())
        .await
        .unwrap();
    let before = world.now();
    claim(&world).await;
    assert_eq!(attempts(&world, run.id).await, []);
    complete(&world, failed(&world, &run, 1, State::Retrying, "one")).await;
    let first = &attempts(&world, run.id).await[0];
    assert_eq!((first.number, first.version, first.counts), (1, 1, true));
    assert_eq!(
        (first.log_count, first.logs[0].message.as_str()),
        (1, "one")
    );
    assert_eq!(first.started_at, Some(before.plus(Duration::from_secs(2))));
    assert_eq!(first.finished_at, Some(before.plus(Duration::from_secs(3))));
    assert_eq!(first.worker.as_deref(), Some("worker-1"));
    let failure = first.failure.as_ref().unwrap();
    assert_eq!(
        (failure.message.as_str(), failure.traceback.as_deref()),
        ("one", Some("at one"))
    );

    claim(&world).await;
    let newer = Completion {
        version_id: second.entry.id,
        version: 2,
        uncounted: true,
        ..failed(&world, &run, 2, State::Retrying, "two")
    };
    complete(&world, newer.clone()).await;
    claim(&world).await;
    world.a.begin(&run, 3).await;
    let under_way = attempts(&world, run.id).await.pop().unwrap();
    assert_eq!((under_way.number, under_way.finished_at), (3, None));
    assert_eq!((under_way.failure, under_way.log_count), (None, 0));
    let done = Completion {
        version: 2,
        logs: Vec::new(),
        ..world.a.end(&run, 3, State::Succeeded)
    };
    complete(&world, done).await;

    let record = read(&world, run.id).await;
    assert_eq!(
        (record.state, record.version, record.uncounted),
        (State::Succeeded, 2, 1)
    );
    let all = attempts(&world, run.id).await;
    let told: Vec<_> = all
        .iter()
        .map(|it| (it.number, it.version, it.counts))
        .collect();
    assert_eq!(told, [(1, 1, true), (2, 2, false), (3, 2, true)]);
    assert_eq!(all[1].logs[0].message, "two");
    assert_eq!(all[2].failure, None);
}

/// In lists without their logs.
pub async fn lists_tell_of_every_attempt(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    for (fence, why) in [(1, "one"), (2, "two")] {
        claim(&world).await;
        complete(&world, failed(&world, &run, fence, State::Retrying, why)).await;
    }
    let listed = world
        .a
        .store
        .list_invocations(InvocationQuery::default(), everything())
        .await
        .unwrap();
    let listed = &listed.items[0];
    let reasons: Vec<_> = listed
        .earlier
        .iter()
        .map(|it| it.failure.clone().unwrap().message)
        .collect();
    assert_eq!(reasons, ["one", "two"]);
    assert!(
        listed
            .earlier
            .iter()
            .all(|it| it.logs.is_empty() && it.log_count == 1)
    );
}

/// Lost with its worker, or handed back: it says so. What never began leaves nothing.
pub async fn an_attempt_without_a_report_stays_on_record(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    claim(&world).await;
    complete(&world, failed(&world, &run, 1, State::Retrying, "one")).await;
    claim(&world).await;
    world.a.begin(&run, 2).await;
    assert_eq!(world.system.rescue().await.unwrap().requeued, 1);
    let record = read(&world, run.id).await;
    assert_eq!(record.failure.unwrap().kind, FailureKind::Lost);
    // Nothing of the attempt before seems to be its own.
    assert_eq!(
        (record.logs.len(), record.log_count, record.worker),
        (0, 0, None)
    );
    claim(&world).await;
    assert_eq!(world.system.rescue().await.unwrap().requeued, 1);
    claim(&world).await;
    world.a.begin(&run, 4).await;
    world.system.release("me").await.unwrap();
    claim(&world).await;
    world.a.begin(&run, 5).await;
    let lost = vec![(
        run.id,
        Hold {
            holder: "me".into(),
            fence: 5,
        },
    )];
    world.system.requeue(lost).await.unwrap();
    claim(&world).await;
    complete(&world, world.a.end(&run, 6, State::Succeeded)).await;

    let all = attempts(&world, run.id).await;
    let told: Vec<_> = all
        .iter()
        .map(|it| (it.number, it.counts, it.failure.as_ref().map(|it| it.kind)))
        .collect();
    let lost = Some(FailureKind::Lost);
    assert_eq!(
        told,
        [
            (1, true, Some(FailureKind::Exception)),
            (2, false, lost),
            (3, false, lost),
            (4, false, lost),
            (5, true, None)
        ]
    );
    for (attempt, said) in all[1..4].iter().zip(["lost", "handed", "lost"]) {
        let message = &attempt.failure.as_ref().unwrap().message;
        assert!(
            message.contains(said) && message.contains("does not count"),
            "{message}"
        );
        assert!(attempt.started_at.is_some() && attempt.finished_at.is_some());
    }
    let waited = world.a.run(&function, Waiter::Caller, Some("me")).await;
    world.system.release("me").await.unwrap();
    let [only] = &attempts(&world, waited.id).await[..] else {
        panic!("one attempt")
    };
    assert_eq!(only.failure.as_ref().unwrap().kind, FailureKind::Cancelled);
}

/// Numbers go on over redrives, and the record says how often that was.
pub async fn a_redrive_keeps_the_attempts_before_it(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    for round in 0..3 {
        claim(&world).await;
        complete(
            &world,
            failed(&world, &run, 2 * round + 1, State::Retrying, "one"),
        )
        .await;
        claim(&world).await;
        complete(
            &world,
            failed(&world, &run, 2 * round + 2, State::Dead, "two"),
        )
        .await;
        let record = read(&world, run.id).await;
        assert_eq!((record.attempt, record.redrives), (2, round));
        let redrive = vec![Redrive {
            id: run.id,
            version: None,
            asker: UserId(7),
            acting_function: None,
        }];
        let at = world.now();
        let flags = world.a.store.redrive(redrive, Box::new(|| {})).await;
        assert_eq!(flags.unwrap(), [true]);
        let record = read(&world, run.id).await;
        assert_eq!((record.attempt, record.redrives), (0, round + 1));
        assert_eq!(record.redriven_at, Some(at));
    }
    claim(&world).await;
    complete(&world, world.a.end(&run, 7, State::Succeeded)).await;
    let all = attempts(&world, run.id).await;
    let told: Vec<_> = all.iter().map(|it| (it.number, it.redriven)).collect();
    let expected = [false, false, true, false, true, false, true];
    assert_eq!(told, (1..).zip(expected).collect::<Vec<_>>());
    // It runs the version that it had, whatever becomes active.
    let other = world.a.run(&function, Waiter::Nobody, None).await;
    assert!(!read(&world, other.id).await.damaged.contains(&"pinned"));
    let (claimed, _) = world.claim("me", 1).await.unwrap();
    assert!(!claimed[0].invocation.pinned);
}

/// However often a run is tried, what is kept of it has an end; the newest stay.
pub async fn what_is_kept_of_attempts_is_bounded(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    let many = limits::ATTEMPTS_KEPT + 5;
    for fence in 1..=many {
        claim(&world).await;
        let mut end = failed(&world, &run, fence, State::Retrying, "again");
        if fence % 10 == 0 {
            end.logs = vec![line(&world, "x".repeat(limits::LOG_BYTES))];
        }
        complete(&world, end).await;
    }
    let all = read(&world, run.id).await.earlier;
    assert_eq!(all.len(), usize::try_from(limits::ATTEMPTS_KEPT).unwrap());
    assert_eq!((all[0].number, all[all.len() - 1].number), (6, many));
    let bytes: usize = all
        .iter()
        .flat_map(|it| &it.logs)
        .map(|it| it.message.len())
        .sum();
    assert!(bytes <= limits::ATTEMPTS_LOG_BYTES, "{bytes}");
    let (old, new) = (&all[4], &all[94]);
    assert_eq!((old.number, new.number), (10, 100));
    assert_eq!(
        (old.log_count, new.logs[0].message.len()),
        (1, limits::LOG_BYTES)
    );
    assert_eq!(old.logs[0].logger, "tollgate");
    assert!(old.logs[0].message.contains("deleted"), "{old:?}");
}

/// A run that keeps its version says so to whoever claims it.
pub async fn a_pinned_run_is_claimed_as_such(world: World) {
    let function = world.a.some_function().await;
    let new = NewInvocation {
        pinned: true,
        ..world.a.new_run(&function, Waiter::Nobody, None).await
    };
    world.a.record(vec![new.clone()]).await;
    let (claimed, _) = world.claim("me", 1).await.unwrap();
    assert!(claimed[0].invocation.pinned);
    complete(&world, failed(&world, &new, 1, State::Dead, "no")).await;
    let redrive = |version| {
        vec![Redrive {
            id: new.id,
            version,
            asker: UserId(7),
            acting_function: None,
        }]
    };
    let target = tollgate_core::ports::store::RedriveVersion {
        version_id: new.version_id,
        version: new.version,
        timeout: new.timeout,
        max_attempts: 1,
    };
    for (version, fence, pinned) in [(Some(target), 2, false), (None, 3, true)] {
        let flags = world
            .a
            .store
            .redrive(redrive(version), Box::new(|| {}))
            .await;
        assert_eq!(flags.unwrap(), [true]);
        let (claimed, _) = world.claim("me", 1).await.unwrap();
        assert_eq!(claimed[0].invocation.pinned, pinned);
        complete(&world, failed(&world, &new, fence, State::Dead, "no")).await;
    }
}
