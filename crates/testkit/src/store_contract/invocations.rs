//! Invocation records.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::{World, committed, everything};
use std::time::Duration;
use tollgate_core::ids::{InvocationId, TaskId, UserId};
use tollgate_core::invocations::{
    Completion, NewInvocation, OnBehalf, RecordedVerdict, VerdictKind,
};
use tollgate_core::json::JsonText;
use tollgate_core::ports::store::{InvocationQuery, PageRequest, Visibility, Work};
use tollgate_core::tasks::{Failure, FailureKind, State, Waiter};
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};

const ME: Option<&str> = Some("me");

/// Birth, failed end and successful end, field by field.
pub async fn a_record_is_read_as_written(world: World) {
    let function = world.a.some_function().await;
    let user = world.a.user("ann").await;
    let new = NewInvocation {
        user_id: Some(user.id),
        replay_of: Some(InvocationId(77)),
        ..world.a.new_run(&function, Waiter::Nobody, None).await
    };
    let (on_commit, heard) = committed();
    let work = Work {
        births: vec![new.clone()],
        ends: Vec::new(),
        on_commit,
        remember: None,
        ..Work::default()
    };
    world.a.store.commit(work).await.unwrap();
    heard.await.unwrap();
    let record = world.a.store.invocation(new.id).await.unwrap().unwrap();
    assert_eq!(
        (record.id, record.task_id, record.function_id),
        (new.id, new.task_id, function.id)
    );
    assert_eq!(
        (&record.function_name, &record.function_slug),
        (&function.name, &function.slug)
    );
    assert_eq!(
        (record.version, record.event, record.event_id),
        (1, new.event, new.event_id)
    );
    assert_eq!(
        (record.version_id, record.replay_of),
        (new.version_id, Some(InvocationId(77)))
    );
    assert_eq!((record.trigger, record.max_attempts), (new.trigger, 3));
    assert_eq!(
        (record.user_id, record.user_username.as_deref()),
        (Some(user.id), Some("ann"))
    );
    assert_eq!(record.user_email.as_deref(), Some("ann@example.com"));
    assert_eq!(
        (record.params, record.queued_at),
        (new.params.clone(), new.queued_at)
    );
    assert_eq!(
        (record.started_at, record.finished_at, record.due_at),
        (None, None, None)
    );

    let nobody = InvocationId(999_999);
    assert!(world.a.store.invocation(nobody).await.unwrap().is_none());
    let nobody = TaskId(uuid::Uuid::from_u128(1));
    let found = world.a.store.invocation_by_task(nobody).await.unwrap();
    assert!(found.is_none());
}

/// What a failed attempt leaves, and that a successful one leaves nothing of it.
pub async fn ends_are_read_as_written(world: World) {
    let function = world.a.some_function().await;
    let new = world.a.run(&function, Waiter::Nobody, None).await;
    world.claim("me", 10).await.unwrap();
    let failure = Failure {
        retry_after: Some(Duration::from_millis(1500)),
        ..Failure::new(FailureKind::Upstream, "503").with_traceback("line 1\nline 2")
    };
    let failed = Completion {
        failure: Some(failure.clone()),
        due_in: Some(Duration::from_secs(5)),
        finished_at: world.in_seconds(2),
        ..world.a.end(&new, 1, State::Retrying)
    };
    assert_eq!(
        world.a.store.complete(vec![failed.clone()]).await.unwrap(),
        [true]
    );
    let record = world
        .a
        .store
        .invocation_by_task(new.task_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (record.state, record.failure),
        (State::Retrying, Some(failure))
    );
    let due = Some(world.in_seconds(5));
    assert_eq!((record.due_at, record.finished_at), (due, None));
    assert_eq!((record.logs, record.log_count), (failed.logs, 1));
    assert_eq!(
        (record.worker.as_deref(), record.updated_at),
        (Some("worker-1"), world.now())
    );

    world.clock.advance(Duration::from_secs(5));
    world.claim("me", 10).await.unwrap();
    let json = |text: &str| Some(JsonText::parse(text.to_owned()).unwrap());
    let done = Completion {
        result: json("{\"ok\": [true]}"),
        verdict: Some(RecordedVerdict {
            kind: VerdictKind::Deny,
            message: Some("not today".to_owned()),
        }),
        changes: json("{\"a\":1}"),
        started_at: world.now(),
        finished_at: world.in_seconds(1),
        logs: Vec::new(),
        ..world.a.end(&new, 2, State::Succeeded)
    };
    assert_eq!(
        world.a.store.complete(vec![done.clone()]).await.unwrap(),
        [true]
    );
    let record = world.a.store.invocation(new.id).await.unwrap().unwrap();
    assert_eq!(
        (record.state, record.attempt, record.failure),
        (State::Succeeded, 2, None)
    );
    assert_eq!((record.result, record.changes), (done.result, done.changes));
    assert_eq!(record.verdict, done.verdict);
    assert_eq!(record.started_at, Some(done.started_at));
    assert_eq!(
        (record.finished_at, record.due_at),
        (Some(done.finished_at), None)
    );
    assert_eq!((record.logs.len(), record.log_count), (0, 0));
}

/// A run that must not begin is written with its end, in one transaction.
pub async fn a_run_may_be_written_with_its_end(world: World) {
    let function = world.a.some_function().await;
    let new = world.a.new_run(&function, Waiter::Nobody, Some("me")).await;
    let end = world.a.end(&new, 1, State::Dead);
    let work = Work {
        births: vec![new.clone()],
        ends: vec![end.clone()],
        on_commit: Box::new(|| {}),
        remember: None,
        ..Work::default()
    };
    world.a.store.commit(work).await.unwrap();
    assert_eq!(world.a.standing(&new).await, (State::Dead, 1));
    let record = world.a.store.invocation(new.id).await.unwrap().unwrap();
    assert_eq!(record.failure, end.failure);
}

/// Unheld: not begun. Held with a caller: running. Held without: in memory.
pub async fn records_are_born_by_holder_and_waiter(world: World) {
    let function = world.a.some_function().await;
    for (waiter, holder, expected, started) in [
        (Waiter::Nobody, None, (State::Pending, 0), false),
        (Waiter::Nobody, ME, (State::Pending, 1), false),
        (Waiter::Caller, ME, (State::Running, 1), true),
    ] {
        let run = world.a.run(&function, waiter, holder).await;
        let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
        assert_eq!((record.state, record.attempt), expected);
        assert_eq!(record.started_at, started.then_some(run.queued_at));
    }
}

/// A run that somebody waits for is written with its end, or before if it lasts: whatever comes first,
/// the record is the same.
pub async fn an_end_brings_its_record(world: World) {
    let function = world.a.some_function().await;
    let (store, system) = (&world.a.store, &world.system);
    let new = || world.a.new_run(&function, Waiter::Caller, ME);

    let at_once = new().await;
    let end = world.a.whole(&at_once, State::Succeeded);
    assert_eq!(store.complete(vec![end.clone()]).await.unwrap(), [true]);
    let second = Completion {
        worker: "another".to_owned(),
        ..world.a.whole(&at_once, State::Failed)
    };
    assert_eq!(store.complete(vec![second]).await.unwrap(), [false]);
    // The note of a start that comes late changes nothing.
    system
        .started(vec![world.a.begun(&at_once, 1)])
        .await
        .unwrap();

    let watched = new().await;
    system
        .started(vec![world.a.begun(&watched, 1)])
        .await
        .unwrap();
    let record = store.invocation(watched.id).await.unwrap().unwrap();
    assert_eq!(record.state, State::Running);
    assert_eq!(record.holder.as_deref(), ME);
    assert_eq!(record.started_at, Some(watched.queued_at));
    let later = world.a.whole(&watched, State::Succeeded);
    assert_eq!(store.complete(vec![later.clone()]).await.unwrap(), [true]);

    for (run, end) in [(at_once, end), (watched, later)] {
        let record = store.invocation(run.id).await.unwrap().unwrap();
        assert_eq!(world.a.standing(&run).await, (State::Succeeded, 1));
        assert_eq!(record.holder, None);
        assert_eq!(record.params, run.params);
        assert_eq!(record.result, end.result);
        assert_eq!(record.logs, end.logs);
        assert_eq!(record.log_count, 1);
        assert_eq!(record.worker, Some(end.worker));
        assert_eq!(record.queued_at, run.queued_at);
        assert_eq!(record.started_at, Some(end.started_at));
        assert_eq!(record.finished_at, Some(end.finished_at));
        assert_eq!(record.updated_at, end.finished_at);
        assert_eq!((record.attempt, record.uncounted), (1, 0));
    }
}

/// What another holder has ended stays ended: an end that brings its record is no way round.
pub async fn an_end_with_its_record_respects_the_hold(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Caller, ME).await;
    let mut end = world.a.whole(&run, State::Succeeded);
    end.hold.holder = "somebody else".into();
    assert_eq!(world.a.store.complete(vec![end]).await.unwrap(), [false]);
    assert_eq!(world.a.standing(&run).await, (State::Running, 1));
}

/// Records outlive what they are about.
pub async fn names_survive_a_deleted_function(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Nobody, None).await;
    world
        .a
        .store
        .delete_app(function.app_id, world.now(), None)
        .await
        .unwrap();
    let record = world.a.store.invocation(run.id).await.unwrap().unwrap();
    assert_eq!(
        (record.function_name, record.function_slug),
        (function.name, function.slug)
    );
}

/// Queries, and which of the runs below they must find.
fn filters() -> Vec<(InvocationQuery, Vec<usize>)> {
    let base = InvocationQuery::default;
    let states = |states: &[State]| InvocationQuery {
        states: states.to_vec(),
        ..base()
    };
    let slug = |slug: &str| InvocationQuery {
        function_slug: Some(slug.to_owned()),
        ..base()
    };
    let of_kind = |kind| InvocationQuery {
        kind: Some(kind),
        ..base()
    };
    let in_app = |slug: &str| InvocationQuery {
        app_slug: Some(slug.to_owned()),
        ..base()
    };
    let event = Some(PRE_USER_CREATE);
    vec![
        (base(), vec![4, 3, 2, 1, 0]),
        (slug("one"), vec![4, 1, 0]),
        (slug("none"), vec![]),
        (InvocationQuery { event, ..base() }, vec![2, 0]),
        (states(&[State::Failed, State::Dead]), vec![4, 1]),
        (states(&[State::Succeeded]), vec![0]),
        (states(&[State::Pending, State::Running]), vec![3]),
        (
            states(&[State::Pending, State::Succeeded, State::TimedOut]),
            vec![3, 2, 0],
        ),
        (
            InvocationQuery {
                has_error: Some(true),
                ..base()
            },
            vec![4, 2, 1],
        ),
        (of_kind(FailureKind::Exception), vec![4, 2, 1]),
        (of_kind(FailureKind::Crashed), vec![]),
        (in_app("crm"), vec![4, 3, 2, 1, 0]),
        (in_app("shop"), vec![]),
        (
            InvocationQuery {
                has_error: Some(false),
                ..base()
            },
            vec![3, 0],
        ),
        (
            InvocationQuery {
                event,
                has_error: Some(true),
                ..slug("two")
            },
            vec![2],
        ),
    ]
}

/// Every filter alone and together, with totals.
pub async fn records_are_filtered_newest_first(world: World) {
    let app = world.a.app("crm").await;
    let (one, two) = (
        world.a.function(app.id, "one").await,
        world.a.function(app.id, "two").await,
    );
    let mut runs = Vec::new();
    for (function, event, state) in [
        (&one, Some(PRE_USER_CREATE), State::Succeeded),
        (&one, None, State::Failed),
        (&two, Some(PRE_USER_CREATE), State::TimedOut),
        (&two, Some(POST_USER_CREATE), State::Pending),
        (&one, None, State::Dead),
    ] {
        let run = NewInvocation {
            event,
            ..world.a.new_run(function, Waiter::Nobody, ME).await
        };
        world.a.record(vec![run.clone()]).await;
        if state.is_final() {
            world
                .a
                .store
                .complete(vec![world.a.end(&run, 1, state)])
                .await
                .unwrap();
        }
        runs.push(run.id);
    }
    for (query, expected) in filters() {
        let page = world
            .a
            .store
            .list_invocations(query.clone(), everything())
            .await
            .unwrap();
        let found: Vec<_> = page.items.iter().map(|record| record.id).collect();
        assert_eq!(
            found,
            expected.iter().map(|at| runs[*at]).collect::<Vec<_>>(),
            "{query:?}"
        );
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
    }
    let page = PageRequest {
        limit: 2,
        offset: 3,
    };
    let page = world
        .a
        .store
        .list_invocations(InvocationQuery::default(), page)
        .await
        .unwrap();
    assert_eq!(
        page.items.iter().map(|r| r.id).collect::<Vec<_>>(),
        [runs[1], runs[0]]
    );
    assert_eq!(page.total, 5);
}

/// One's own runs, and those of the apps named; nothing else, and no more in the total.
pub async fn records_are_listed_for_those_who_may_see_them(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let (crm, shop) = (world.a.app("crm").await, world.a.app("shop").await);
    let mut runs = Vec::new();
    for (app, user) in [(&crm, &ann), (&crm, &bob), (&shop, &ann), (&shop, &bob)] {
        let function = world.a.function(app.id, &user.profile.username).await;
        let run = NewInvocation {
            user_id: Some(user.id),
            ..world.a.new_run(&function, Waiter::Nobody, ME).await
        };
        world.a.record(vec![run.clone()]).await;
        runs.push(run.id);
    }
    for (user, apps, expected) in [
        (Some(ann.id), vec![], vec![2, 0]),
        (Some(ann.id), vec![crm.id], vec![2, 1, 0]),
        (Some(bob.id), vec![crm.id, shop.id], vec![3, 2, 1, 0]),
        (Some(UserId(999_999)), vec![], vec![]),
        (None, vec![shop.id], vec![3, 2]),
        (None, vec![], vec![]),
    ] {
        let visible_to = Some(Visibility {
            user,
            own_in: None,
            apps,
        });
        let query = InvocationQuery {
            visible_to,
            ..InvocationQuery::default()
        };
        let page = world
            .a
            .store
            .list_invocations(query.clone(), everything())
            .await
            .unwrap();
        let found: Vec<_> = page.items.iter().map(|record| record.id).collect();
        let expected: Vec<_> = expected.into_iter().map(|at: usize| runs[at]).collect();
        assert_eq!(found, expected, "{query:?}");
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
    }
}

/// Of functions: what whoever they act for caused or asked for again, in the functions' own app.
pub async fn ones_own_records_can_be_confined_to_an_app(world: World) {
    let (ann, bob) = (world.a.user("ann").await, world.a.user("bob").await);
    let (crm, shop) = (world.a.app("crm").await, world.a.app("shop").await);
    let mut runs = Vec::new();
    for app in [&crm, &shop] {
        let function = world.a.function(app.id, "check").await;
        let run = NewInvocation {
            user_id: Some(bob.id),
            behalf: OnBehalf {
                asker: Some(ann.id),
                ..OnBehalf::default()
            },
            ..world.a.new_run(&function, Waiter::Nobody, ME).await
        };
        world.a.record(vec![run.clone()]).await;
        runs.push(run.id);
    }
    for (own_in, expected) in [
        (None, vec![runs[1], runs[0]]),
        (Some(crm.id), vec![runs[0]]),
        (Some(shop.id), vec![runs[1]]),
    ] {
        for user in [ann.id, bob.id] {
            let visible_to = Some(Visibility {
                user: Some(user),
                own_in,
                apps: Vec::new(),
            });
            let query = InvocationQuery {
                visible_to,
                ..InvocationQuery::default()
            };
            let page = world.a.store.list_invocations(query, everything());
            let page = page.await.unwrap();
            let found: Vec<_> = page.items.iter().map(|record| record.id).collect();
            assert_eq!(found, expected, "{own_in:?} {user}");
        }
    }
}

/// A list counts log lines and leaves them where they are.
pub async fn lists_leave_logs_out(world: World) {
    let function = world.a.some_function().await;
    let run = world.a.run(&function, Waiter::Caller, ME).await;
    world
        .a
        .store
        .complete(vec![world.a.end(&run, 1, State::Succeeded)])
        .await
        .unwrap();
    let page = world
        .a
        .store
        .list_invocations(InvocationQuery::default(), everything())
        .await;
    let listed = page.unwrap().items.remove(0);
    assert_eq!((listed.logs.len(), listed.log_count), (0, 1));
    assert_eq!(
        world
            .a
            .store
            .invocation(run.id)
            .await
            .unwrap()
            .unwrap()
            .logs
            .len(),
        1
    );
}
