//! Dead letters: found, redriven, discarded.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::Tenant;
use super::{World, committed, everything};
use std::time::Duration;
use tollgate_core::events::EventType;
use tollgate_core::functions::Function;
use tollgate_core::ids::{InvocationId, UserId, VersionId};
use tollgate_core::invocations::{Chain, Completion, Link, NewInvocation, OnBehalf};
use tollgate_core::ports::dispatch::Taken;
use tollgate_core::ports::store::{
    DeadLetterPlace, InvocationQuery, PageRequest, Redrive, RedriveVersion, Visibility,
};
use tollgate_core::tasks::{Failure, FailureKind, Input, State, Task, Waiter};
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};

const ME: Option<&str> = Some("me");

/// A run that died of `kind`.
async fn dead(tenant: &Tenant, function: &Function, kind: FailureKind) -> NewInvocation {
    let run = tenant.run(function, Waiter::Nobody, ME).await;
    die(tenant, &run, kind).await;
    run
}

async fn die(tenant: &Tenant, run: &NewInvocation, kind: FailureKind) {
    let mut end = tenant.end(run, 1, State::Dead);
    end.failure = Some(Failure::new(kind, "went wrong"));
    assert_eq!(tenant.store.complete(vec![end]).await.unwrap(), [true]);
}

/// Who redrives.
const ASKER: UserId = UserId(7);

fn own(run: &NewInvocation) -> Redrive {
    Redrive {
        id: run.id,
        version: None,
        asker: ASKER,
        acting_function: None,
    }
}

async fn redrive(world: &World, redrives: Vec<Redrive>) -> Vec<bool> {
    let (on_commit, heard) = committed();
    let flags = world.a.store.redrive(redrives, on_commit).await;
    heard.await.unwrap();
    flags.unwrap()
}

/// By filter, from any number on, as many as asked for.
pub async fn dead_letters_are_found_oldest_first(world: World) {
    let (crm, shop) = (world.a.app("crm").await, world.a.app("shop").await);
    let one = world.a.function(crm.id, "one").await;
    let two = world.a.function(shop.id, "two").await;
    let mut runs = Vec::new();
    for (function, kind) in [
        (&one, FailureKind::Exception),
        (&two, FailureKind::Timeout),
        (&one, FailureKind::Timeout),
    ] {
        runs.push(dead(&world.a, function, kind).await.id);
    }
    let failed = world.a.run(&one, Waiter::Caller, ME).await;
    let end = world.a.end(&failed, 1, State::Failed);
    world.a.store.complete(vec![end]).await.unwrap();
    world.a.run(&one, Waiter::Nobody, None).await;

    let base = InvocationQuery::default;
    let visible_to = Some(Visibility {
        user: None,
        own_in: None,
        apps: vec![shop.id],
    });
    let (slug, app) = (Some("one".to_owned()), Some("shop".to_owned()));
    let (timeout, event) = (Some(FailureKind::Timeout), Some(PRE_USER_CREATE));
    let queued_at = world.now();
    let place = |at: usize| DeadLetterPlace {
        queued_at,
        id: runs[at],
    };
    #[rustfmt::skip]
    let table = [
        (base(), None, 9, vec![0, 1, 2]),
        (base(), Some(place(0)), 9, vec![1, 2]),
        (base(), None, 2, vec![0, 1]),
        (base(), Some(place(2)), 9, vec![]),
        (InvocationQuery { states: vec![State::Failed], ..base() }, None, 9, vec![0, 1, 2]),
        (InvocationQuery { function_slug: slug.clone(), ..base() }, None, 9, vec![0, 2]),
        (InvocationQuery { function_slug: slug, kind: timeout, ..base() }, None, 9, vec![2]),
        (InvocationQuery { kind: timeout, ..base() }, Some(place(1)), 9, vec![2]),
        (InvocationQuery { app_slug: app, ..base() }, None, 9, vec![1]),
        (InvocationQuery { event, ..base() }, None, 9, vec![]),
        (InvocationQuery { visible_to, ..base() }, None, 9, vec![1]),
    ];
    for (query, after, limit, expected) in table {
        let found = world.a.store.dead_letters(query.clone(), after, limit);
        let found: Vec<_> = found.await.unwrap().iter().map(|it| it.id).collect();
        let expected: Vec<InvocationId> = expected.into_iter().map(|at: usize| runs[at]).collect();
        assert_eq!(found, expected, "{query:?} {after:?}");
    }
    let first = world.a.store.dead_letters(base(), None, 1).await.unwrap()[0];
    assert_eq!(
        (first.function_id, first.event),
        (one.id, Some(POST_USER_CREATE))
    );
}

/// Processes take their numbers from blocks: a larger number may be the older one's.
pub async fn dead_letters_go_by_time_whatever_their_numbers(world: World) {
    let function = world.a.some_function().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.a.new_run(&function, Waiter::Nobody, ME).await);
    }
    let right = world.now();
    // The fourth and the first at one moment: then the number decides.
    let order = [4, 2, 0, 3, 1];
    for (seconds, at) in [1, 2, 3, 3, 4].into_iter().zip(order) {
        world.clock.set(right.plus(Duration::from_secs(seconds)));
        let run = NewInvocation {
            queued_at: world.now(),
            ..made[at].clone()
        };
        world.a.record(vec![run.clone()]).await;
        die(&world.a, &run, FailureKind::Exception).await;
    }
    let oldest_first: Vec<_> = order.map(|at| made[at].id).into();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let store = &world.a.store;
        let step = store.dead_letters(InvocationQuery::default(), after, 2);
        let step = step.await.unwrap();
        let Some(last) = step.last() else { break };
        after = Some(last.place());
        found.extend(step.iter().map(|it| it.id));
    }
    assert_eq!(found, oldest_first);
    let query = InvocationQuery {
        states: vec![State::Dead],
        ..InvocationQuery::default()
    };
    for query in [query, InvocationQuery::default()] {
        let mut listed = Vec::new();
        for offset in [0, 2, 4] {
            let page = PageRequest { limit: 2, offset };
            let page = world.a.store.list_invocations(query.clone(), page).await;
            listed.extend(page.unwrap().items.iter().map(|it| it.id));
        }
        listed.reverse();
        assert_eq!(listed, oldest_first);
    }
}

/// As the rules say, with the same ids, due now, claimed again as attempt 1.
pub async fn a_redriven_run_waits_for_its_first_attempt(world: World) {
    let function = world.a.some_function().await;
    let run = dead(&world.a, &function, FailureKind::Exception).await;
    let before = world.a.store.invocation(run.id).await.unwrap().unwrap();
    world.clock.advance(Duration::from_secs(60));
    let task = Task {
        state: before.state,
        held: before.holder.is_some(),
        attempt: before.attempt,
        uncounted: before.uncounted,
        max_attempts: before.max_attempts,
        waiter: Waiter::Nobody,
    };
    let task = task.apply(Input::Redrive).unwrap();
    assert_eq!(redrive(&world, vec![own(&run)]).await, [true]);
    assert_eq!(world.a.standing(&run).await, (task.state, task.attempt));
    let after = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(
        (after.task_id, after.event_id, after.version_id),
        (run.task_id, run.event_id, run.version_id)
    );
    assert_eq!(
        (after.due_at, after.finished_at, after.updated_at),
        (Some(world.now()), None, world.now())
    );
    // Why it died can be read until the next attempt ends.
    assert_eq!(after.failure, before.failure);
    assert_eq!(after.logs, before.logs);

    let (claimed, _) = world.claim("you", 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let again = &claimed[0];
    assert_eq!(
        (again.invocation.id, again.taken.attempt.number),
        (run.id, 1)
    );
    assert_eq!(
        (&again.invocation.chain, again.invocation.max_attempts),
        (&run.chain, run.max_attempts)
    );
    // Under the first hold it died; a result that comes late from there is refused.
    let first = Taken::at_birth("me".into()).hold;
    let ends = [first, again.taken.hold.clone()].map(|hold| Completion {
        hold,
        ..world.a.end(&run, 1, State::Succeeded)
    });
    let flags = world.a.store.complete(ends.into()).await.unwrap();
    assert_eq!(flags, [false, true]);
    let done = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!((done.state, done.failure), (State::Succeeded, None));
}

/// With that version's limits.
pub async fn a_redrive_can_move_to_another_version(world: World) {
    let function = world.a.some_function().await;
    let run = dead(&world.a, &function, FailureKind::Load).await;
    let version = RedriveVersion {
        version_id: VersionId(run.version_id.0 + 1),
        version: 2,
        timeout: Duration::from_secs(9),
        max_attempts: 7,
    };
    let moved = Redrive {
        id: run.id,
        version: Some(version),
        ..own(&run)
    };
    assert_eq!(redrive(&world, vec![moved]).await, [true]);
    let (claimed, _) = world.claim("you", 9).await.unwrap();
    let again = &claimed[0].invocation;
    assert_eq!(
        (again.version_id, again.version),
        (version.version_id, version.version)
    );
    assert_eq!((again.timeout, again.max_attempts), (version.timeout, 7));
}

/// Whoever caused it stays, and the functions of its chain bound it no more.
pub async fn a_redriven_letter_acts_for_whoever_asks(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let function = world.a.some_function().await;
    let run = NewInvocation {
        user_id: Some(ann.id),
        ..world.a.new_run(&function, Waiter::Nobody, ME).await
    };
    world.a.record(vec![run.clone()]).await;
    let end = world.a.end(&run, 1, State::Dead);
    world.a.store.complete(vec![end]).await.unwrap();
    let redriven = Redrive {
        asker: bob.id,
        acting_function: Some(function.id),
        ..own(&run)
    };
    assert_eq!(redrive(&world, vec![redriven]).await, [true]);
    let behalf = OnBehalf {
        asker: Some(bob.id),
        function: Some(function.id),
        from: run.chain.depth(),
    };
    let (claimed, _) = world.claim("you", 9).await.unwrap();
    let again = &claimed[0].invocation;
    assert_eq!((again.user_id, again.behalf), (Some(ann.id), behalf));
    let shown = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!((shown.user_id, shown.behalf), (Some(ann.id), behalf));
    assert_eq!(shown.user_username.as_deref(), Some("ann"));
    assert_eq!(shown.asker_username.as_deref(), Some("bob"));
    assert_eq!(shown.acting_function_slug, Some(function.slug));
}

/// Whoever asks at the same time, each letter is redriven once.
pub async fn of_many_redrives_one_counts(world: World) {
    let function = world.a.some_function().await;
    let run = dead(&world.a, &function, FailureKind::Exception).await;
    let asked = (0..20).map(|_| world.a.store.redrive(vec![own(&run)], Box::new(|| {})));
    let flags = futures_util::future::try_join_all(asked).await.unwrap();
    assert_eq!(flags.iter().filter(|flag| flag[0]).count(), 1);
}

/// The others are told apart and left alone.
pub async fn only_the_dead_are_redriven_or_discarded(world: World) {
    let function = world.a.some_function().await;
    let letter = dead(&world.a, &function, FailureKind::Exception).await;
    let mut others = vec![world.a.run(&function, Waiter::Nobody, None).await];
    for state in [
        State::Succeeded,
        State::Failed,
        State::TimedOut,
        State::Cancelled,
        State::Retrying,
    ] {
        let run = world.a.run(&function, Waiter::Nobody, ME).await;
        let end = world.a.end(&run, 1, state);
        world.a.store.complete(vec![end]).await.unwrap();
        others.push(run);
    }
    for other in &others {
        let before = world.a.standing(other).await;
        let redrives = vec![own(other), own(&letter)];
        assert!(!redrive(&world, redrives).await[0], "{before:?}");
        let discarded = world.a.store.discard(other.id, world.now()).await;
        assert!(!discarded.unwrap(), "{before:?}");
        assert_eq!(world.a.standing(other).await, before);
    }
    let nobody = Redrive {
        id: InvocationId(999_999),
        ..own(&letter)
    };
    assert_eq!(redrive(&world, vec![nobody]).await, [false]);
}

/// What a type is belongs to the program of the day; the record outlives it, and so does the chain that
/// led to it.
pub async fn of_a_type_that_nobody_registers_one_is_read_found_and_discarded(world: World) {
    let event = Some(EventType::stored("POST_NOBODYS_ORDER").unwrap());
    let function = world.a.some_function().await;
    let run = NewInvocation {
        event,
        chain: Chain::new(vec![Link(function.id, event)]),
        ..world.a.new_run(&function, Waiter::Nobody, ME).await
    };
    world.a.record(vec![run.clone()]).await;
    die(&world.a, &run, FailureKind::Exception).await;
    let store = &world.a.store;
    let read = store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!((read.event, &read.chain), (event, &run.chain));
    assert!(read.damaged.is_empty(), "{:?}", read.damaged);
    let of_type = InvocationQuery {
        event,
        ..InvocationQuery::default()
    };
    let found = store.dead_letters(of_type, None, 9).await.unwrap();
    let found: Vec<_> = found.iter().map(|it| (it.id, it.event)).collect();
    assert_eq!(found, [(run.id, event)]);
    assert!(store.discard(run.id, world.now()).await.unwrap());
}

/// It stays visible with its failure.
pub async fn a_discarded_letter_is_failed_history(world: World) {
    let function = world.a.some_function().await;
    let run = dead(&world.a, &function, FailureKind::Exception).await;
    let before = world.a.store.invocation(run.id).await.unwrap().unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert!(world.a.store.discard(run.id, world.now()).await.unwrap());
    assert!(!world.a.store.discard(run.id, world.now()).await.unwrap());
    let after = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(
        (after.state, after.failure),
        (State::Failed, before.failure)
    );
    assert_eq!(
        (after.finished_at, after.updated_at),
        (before.finished_at, world.now())
    );
    assert_eq!(redrive(&world, vec![own(&run)]).await, [false]);
    let query = InvocationQuery {
        states: vec![State::Dead],
        ..InvocationQuery::default()
    };
    let listed = world.a.store.list_invocations(query, everything()).await;
    assert_eq!(listed.unwrap().total, 0);
}

/// [`tollgate_core::ports::store::DeadLetterStore`].
pub async fn dead_letters_of_another_site_are_out_of_reach(world: World) {
    let function = world.a.some_function().await;
    let run = dead(&world.a, &function, FailureKind::Exception).await;
    let b = &world.b.store;
    let found = b.dead_letters(InvocationQuery::default(), None, 9).await;
    assert_eq!(found.unwrap(), []);
    let redriven = b.redrive(vec![own(&run)], Box::new(|| {}));
    assert_eq!(redriven.await.unwrap(), [false]);
    assert!(!b.discard(run.id, world.now()).await.unwrap());
    assert_eq!(world.a.standing(&run).await, (State::Dead, 1));
}
