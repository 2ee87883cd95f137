//! POST runs: written with the change, run at least once, tried again, never lost.

use crate::world::{World, priority, returns};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::error::Error;
use tollgate_core::functions::{FunctionOptions, UpdateFunction};
use tollgate_core::invocations::Call;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Dispatcher as _;
use tollgate_core::tasks::{FailureKind, State};
use tollgate_core::time::Clock as _;
use tollgate_core::users::UpdateUser;
use tollgate_core::users::events::{
    POST_USER_CREATE, POST_USER_DELETE, POST_USER_UPDATE, PRE_USER_CREATE,
};
use tollgate_testkit::fake_runtime::Behaviour;

#[tokio::test]
async fn each_change_causes_its_post_run_with_the_complete_user() {
    let world = World::new().await;
    for (name, event) in [
        ("created", POST_USER_CREATE),
        ("updated", POST_USER_UPDATE),
        ("deleted", POST_USER_DELETE),
    ] {
        world
            .subscribe(name, event, returns(json!({"ok": true})), priority(0))
            .await;
    }
    let user = world.create("ann").await.unwrap();
    let change = UpdateUser {
        last_name: Some("New".into()),
        ..UpdateUser::default()
    };
    world
        .platform
        .users
        .update(&world.admin, "ann", change.into())
        .await
        .unwrap();
    world
        .platform
        .users
        .delete(&world.manage(), "ann", None)
        .await
        .unwrap();
    world.until(State::Succeeded, 3).await;
    for invocation in world.invocations().await {
        let params = invocation.params.to_value();
        assert_eq!(params["id"], json!(user.id), "{params}");
        assert_eq!(params["user_id"], json!(user.id), "{params}");
        assert!(!invocation.params.as_str().contains("password"), "{params}");
        assert_eq!(invocation.attempt, 1);
    }
    let all = world.invocations().await;
    assert_eq!(all[1].params.to_value()["previous"]["last_name"], "");
    assert_eq!(all[2].params.to_value()["is_deleted"], true);
}

#[tokio::test]
async fn a_refused_change_causes_none() {
    let world = World::new().await;
    let no = returns(json!({"success": false}));
    world
        .subscribe("no", PRE_USER_CREATE, no, priority(0))
        .await;
    world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap_err();
    assert_eq!(world.states().await, [("no".to_owned(), State::Succeeded)]);
}

#[tokio::test]
async fn work_left_by_an_earlier_process_is_done_after_a_restart() {
    // Nothing works in the first process: its queue is never looked at.
    let world = World::idle().await;
    world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    for name in ["ann", "bob", "cyd"] {
        world.create(name).await.unwrap();
    }
    let world = world.restart().await;
    assert_eq!(world.runtime.calls().len(), 0);
    world.start().await;
    world.until(State::Succeeded, 3).await;
    assert_eq!(world.runtime.calls().len(), 3);
}

#[tokio::test]
async fn a_run_that_was_under_way_at_the_stop_runs_again() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("after", POST_USER_CREATE, never, priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.runtime.called(1).await;
    let task = world.invocations().await[0].task_id;
    let world = world.restart().await;
    world.start().await;
    world.until(State::Succeeded, 1).await;
    assert_eq!(world.runtime.calls().len(), 1);
    // The task stays the same; whether the cut-off attempt counts depends on how far it had come.
    assert_eq!(world.invocations().await.remove(0).task_id, task);
}

#[tokio::test]
async fn a_failing_run_is_tried_again_and_then_kept_as_a_dead_letter() {
    let world = World::new().await;
    let fails = Behaviour::Fail(FailureKind::Exception);
    world
        .subscribe("after", POST_USER_CREATE, fails, priority(0))
        .await;
    world.create("ann").await.unwrap();
    for attempt in 1..limits::MAX_ATTEMPTS_DEFAULT {
        world.until(State::Retrying, 1).await;
        world
            .runtime
            .called(usize::try_from(attempt).unwrap())
            .await;
        let record = world.invocations().await.remove(0);
        assert_eq!(record.attempt, attempt);
        assert!(record.due_at.is_some_and(|due| due > world.clock.now()));
        let mut changes = world.platform.invocations.watch();
        world.clock.advance(Duration::from_secs(60));
        world.executor.wake();
        changes.recv().await.unwrap();
    }
    world.until(State::Dead, 1).await;
    assert_eq!(world.runtime.calls().len(), 3);
    let record = world.invocations().await.remove(0);
    assert_eq!(
        (record.attempt, record.failure.unwrap().kind),
        (3, FailureKind::Exception)
    );
}

#[tokio::test]
async fn more_work_than_fits_into_memory_is_done_all_the_same() {
    let world = World::idle().await;
    let site = world.admin.scope().site_id();
    let function = world
        .subscribe("after", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    let asked = vec![function.id; limits::TASKS_IN_MEMORY];
    let room = world.executor.reserve(site, &asked);
    let granted = (0..asked.len()).filter(|number| room.granted(*number));
    assert_eq!(granted.count(), limits::TASKS_IN_MEMORY / 4);
    world.create("ann").await.unwrap();
    drop(room);
    world.start().await;
    world.until(State::Succeeded, 1).await;
}

#[tokio::test]
async fn deleting_a_function_ends_its_run_with_one_clear_failure() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("doomed", POST_USER_CREATE, never, priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.runtime.called(1).await;
    let access = world.access().await;
    world
        .platform
        .functions
        .delete(&access, "doomed", None)
        .await
        .unwrap();
    world.until(State::Failed, 1).await;
    let record = world.invocations().await.remove(0);
    assert_eq!(record.failure.unwrap().kind, FailureKind::Deleted);
    assert_eq!(record.function_slug, "doomed");
    assert_eq!(world.runtime.under_way(), 0);
}

/// Unlike a deleted function's, it can be redriven once the function is switched on again.
#[tokio::test]
async fn switching_a_function_off_makes_its_run_a_dead_letter() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("paused", POST_USER_CREATE, never, priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.runtime.called(1).await;
    let access = world.access().await;
    let off = UpdateFunction {
        is_active: Some(false),
        ..UpdateFunction::default()
    };
    world
        .platform
        .functions
        .update(&access, "paused", off.into())
        .await
        .unwrap();
    world.until(State::Dead, 1).await;
    let record = world.invocations().await.remove(0);
    assert_eq!(record.failure.unwrap().kind, FailureKind::Inactive);
    assert_eq!(world.runtime.under_way(), 0);
}

#[tokio::test]
async fn a_waiting_run_of_a_deleted_function_ends_too() {
    let world = World::idle().await;
    world
        .subscribe("doomed", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    let world = world.restart().await;
    let access = world.access().await;
    world
        .platform
        .functions
        .delete(&access, "doomed", None)
        .await
        .unwrap();
    world.start().await;
    world.until(State::Failed, 1).await;
    assert_eq!(world.runtime.calls().len(), 0);
}

#[tokio::test]
async fn execute_waits_or_queues() {
    let world = World::new().await;
    let answer = returns(json!({"n": 1}));
    world
        .subscribe("f", POST_USER_CREATE, answer, priority(0))
        .await;
    let access = world.access().await;
    let call = |queued| Call {
        params: JsonText::from(&json!({"x": 1})),
        queued,
        remember: None,
        may_answer: false,
    };
    let service = &world.platform.invocations;
    let waited = service.execute(&access, "f", call(None)).await.unwrap();
    assert_eq!(
        (waited.queued, waited.invocation.state),
        (false, State::Succeeded)
    );
    assert_eq!(
        waited.invocation.result.unwrap().to_value(),
        json!({"n": 1})
    );
    let queued = service
        .execute(&access, "f", call(Some(true)))
        .await
        .unwrap();
    assert!(queued.queued);
    world.until(State::Succeeded, 2).await;
    let by_task = service
        .by_task(&world.admin, queued.invocation.task_id)
        .await
        .unwrap();
    assert_eq!(by_task.state, State::Succeeded);

    world.runtime.on("f", Behaviour::Fail(FailureKind::Crashed));
    let failed = service.execute(&access, "f", call(None)).await.unwrap_err();
    let Error::FunctionFailed(record) = failed else {
        panic!("{failed}")
    };
    assert_eq!((record.state, record.attempt), (State::Failed, 1));
    assert!(matches!(
        service.execute(&access, "missing", call(None)).await,
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn deleting_a_function_ends_what_waits_in_memory_as_well() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("doomed", POST_USER_CREATE, never, priority(0))
        .await;
    // One site alone gets half of the slots, and one function leaves some of these to the others.
    let at_once = 26;
    let more_than_run_at_once = at_once + 6;
    for number in 0..more_than_run_at_once {
        world.create(&format!("u{number}")).await.unwrap();
    }
    world.runtime.called(at_once).await;
    let access = world.access().await;
    world
        .platform
        .functions
        .delete(&access, "doomed", None)
        .await
        .unwrap();
    world.until(State::Failed, more_than_run_at_once).await;
    assert_eq!(world.runtime.calls().len(), at_once);
}

/// It is the server's fault, so it uses up no attempt; the function's own failures do.
#[tokio::test]
async fn what_no_runtime_can_take_uses_up_no_attempt() {
    let world = World::new().await;
    let once = FunctionOptions {
        max_attempts: Some(1),
        ..FunctionOptions::default()
    };
    let unavailable = Behaviour::Fail(FailureKind::Unavailable);
    world.deploy("later", unavailable, once).await;
    world.execute("later", true).await.unwrap();
    for lost in 1..=4 {
        world.runtime.called(usize::try_from(lost).unwrap()).await;
        world.until(State::Retrying, 1).await;
        let record = world.invocations().await.remove(0);
        assert_eq!((record.attempt, record.uncounted), (lost, lost));
        let delay = record.due_at.unwrap().since(world.clock.now());
        assert!(delay >= limits::RETRY_BASE / 2, "{delay:?}");
        if lost == 4 {
            let exception = Behaviour::Fail(FailureKind::Exception);
            world.runtime.on("later", exception);
        }
        let mut changes = world.platform.invocations.watch();
        world.clock.advance(Duration::from_secs(60));
        world.executor.wake();
        changes.recv().await.unwrap();
    }
    world.until(State::Dead, 1).await;
    let record = world.invocations().await.remove(0);
    assert_eq!((record.attempt, record.uncounted), (5, 4));
    assert_eq!(record.failure.unwrap().kind, FailureKind::Exception);
}

/// So that what takes its worker down within milliseconds is counted all the same.
#[tokio::test]
async fn a_run_that_came_back_is_shown_as_running_before_it_begins() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let gated = || Behaviour::Gated(Arc::clone(&gate), Box::new(returns(json!({}))));
    world
        .deploy("poison", gated(), FunctionOptions::default())
        .await;
    world.execute("poison", true).await.unwrap();
    world.runtime.called(1).await;
    let world = world.restart().await;
    world.runtime.on("poison", gated());
    let record = world.invocations().await.remove(0);
    assert_eq!(record.state, State::Pending);
    world.start().await;
    world.runtime.called(1).await;
    assert_eq!(world.invocations().await[0].state, State::Running);
    gate.add_permits(1);
    world.until(State::Succeeded, 1).await;
}
