//! Who runs when: bounds of functions, of sites, and of what may wait.

use crate::world::{APP, World, call, priority, returns};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::engine::Settings;
use tollgate_core::error::Error;
use tollgate_core::functions::{FunctionOptions, UpdateFunction};
use tollgate_core::invocations::Invocation;
use tollgate_core::json::JsonText;
use tollgate_core::tasks::State;
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};
use tollgate_exec::ExecutorConfig;
use tollgate_testkit::fake_runtime::Behaviour;

fn gated(gate: &Arc<Semaphore>) -> Behaviour {
    Behaviour::Gated(Arc::clone(gate), Box::new(returns(json!(1))))
}

#[tokio::test]
async fn max_concurrency_holds_for_queued_runs_and_callers_alike() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let two = FunctionOptions {
        max_concurrency: Some(2),
        ..FunctionOptions::default()
    };
    world.deploy("narrow", gated(&gate), two).await;
    world
        .deploy("wide", returns(json!(2)), FunctionOptions::default())
        .await;
    for _ in 0..5 {
        world.execute("narrow", true).await.unwrap();
    }
    world.runtime.called(2).await;
    let callers = async {
        tokio::join!(
            world.execute("narrow", false),
            world.execute("narrow", false)
        )
    };
    let rest = async {
        // It is passed by and does not wait for them.
        world.execute("wide", false).await.unwrap();
        for _ in 0..7 {
            assert!(
                world.runtime.under_way() <= 2,
                "{}",
                world.runtime.under_way()
            );
            let known = world.runtime.calls().len();
            gate.add_permits(1);
            if known < 8 {
                world.runtime.called(known + 1).await;
            }
        }
    };
    let ((one, two), ()) = tokio::join!(callers, rest);
    one.unwrap();
    two.unwrap();
    world.until(State::Succeeded, 8).await;
}

/// A function that may run once at a time, with a long backlog at the head of the queue, keeps
/// neither its site's other functions waiting nor more in memory than its share.
#[tokio::test]
async fn a_narrow_functions_backlog_keeps_no_other_function_waiting() {
    let config = ExecutorConfig {
        in_memory: 16,
        ..ExecutorConfig::default()
    };
    let world = World::with(Settings::default(), config).await;
    let gate = Arc::new(Semaphore::new(0));
    let one = FunctionOptions {
        max_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    world.deploy("narrow", gated(&gate), one).await;
    let options = FunctionOptions::default();
    world.deploy("other", returns(json!(2)), options).await;
    for _ in 0..60 {
        world.execute("narrow", true).await.unwrap();
    }
    for _ in 0..20 {
        world.execute("other", true).await.unwrap();
    }
    world.start().await;
    world.until(State::Succeeded, 20).await;
    let held = |it: &&Invocation| it.function_slug == "narrow" && it.holder.is_some();
    let all = world.invocations().await;
    let narrow = all.iter().filter(held).count();
    assert!((1..=4).contains(&narrow), "{narrow} in memory");
    gate.add_permits(60);
    world.until(State::Succeeded, 80).await;
}

/// However little room there is, every function's runs are claimed in the end.
#[tokio::test]
async fn lines_take_turns_for_the_last_place_in_memory() {
    let config = ExecutorConfig {
        in_memory: 2,
        ..ExecutorConfig::default()
    };
    let world = World::with(Settings::default(), config).await;
    for name in ["one", "two", "three", "four"] {
        let options = FunctionOptions::default();
        world.deploy(name, returns(json!(1)), options).await;
        for _ in 0..5 {
            world.execute(name, true).await.unwrap();
        }
    }
    world.start().await;
    world.until(State::Succeeded, 20).await;
    let begun = world.runtime.calls();
    let first: HashSet<_> = begun.iter().take(8).collect();
    assert_eq!(first.len(), 4, "all had their turn among the first ones");
}

/// Five slots, of which one site alone gets three at most.
#[tokio::test]
async fn a_flood_leaves_slots_for_others() {
    let config = ExecutorConfig {
        running: 5,
        ..ExecutorConfig::default()
    };
    let world = World::with(Settings::default(), config).await;
    world.start().await;
    let gate = Arc::new(Semaphore::new(0));
    let options = FunctionOptions::default();
    world.deploy("slow", gated(&gate), options).await;
    for _ in 0..20 {
        world.execute("slow", true).await.unwrap();
    }
    world.runtime.called(3).await;
    assert_eq!(world.runtime.under_way(), 3);
    gate.add_permits(20);
    world.until(State::Succeeded, 20).await;
}

#[tokio::test]
async fn a_full_queue_refuses_before_anything_runs() {
    let settings = Settings {
        queue_per_site: 3,
        ..Settings::default()
    };
    // It does not work yet, and nothing fits into its memory.
    let config = ExecutorConfig {
        in_memory: 0,
        ..ExecutorConfig::default()
    };
    let world = World::with(settings, config).await;
    let (pre, post) = (PRE_USER_CREATE, POST_USER_CREATE);
    world
        .subscribe("before", pre, returns(json!(1)), priority(0))
        .await;
    world
        .subscribe("after", post, returns(json!(1)), priority(0))
        .await;
    for name in ["ann", "bob", "cyd"] {
        world.create(name).await.unwrap();
    }
    let asked = world.runtime.calls().len();
    let error = world.create("dan").await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { most: 3, .. }), "{error}");
    assert_eq!(world.runtime.calls().len(), asked, "no function was asked");
    assert!(world.find("dan").await.is_none());
    let error = world.execute("after", true).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { .. }), "{error}");
    // Who waits for the result queues nothing.
    world.execute("after", false).await.unwrap();
}

/// However many subscribers it has, and however low the bound: whoever has nothing waiting may publish.
#[tokio::test]
async fn a_site_with_nothing_waiting_is_never_refused() {
    let settings = Settings {
        queue_per_site: 1,
        ..Settings::default()
    };
    let world = World::with(settings, ExecutorConfig::default()).await;
    world.start().await;
    for name in ["one", "two", "three"] {
        let event = POST_USER_CREATE;
        world
            .subscribe(name, event, returns(json!({})), priority(0))
            .await;
    }
    world.create("ann").await.unwrap();
    world.until(State::Succeeded, 3).await;
    // Its estimate is out of date: it is counted again before anybody is refused.
    world.clock.advance(Duration::from_secs(1));
    world.create("bob").await.unwrap();
    world.until(State::Succeeded, 6).await;
}

/// Callers who come again and again do not keep what is queued waiting.
#[tokio::test]
async fn callers_in_a_loop_do_not_starve_the_queue() {
    let world = World::new().await;
    let one = FunctionOptions {
        max_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    world.deploy("single", returns(json!(1)), one).await;
    let looping = || async {
        loop {
            world.execute("single", false).await.unwrap();
        }
    };
    let queueing = async {
        let mut queued = Vec::new();
        for _ in 0..5 {
            queued.push(world.execute("single", true).await.unwrap().invocation.id);
        }
        let mut changes = world.platform.invocations.watch();
        for id in queued {
            loop {
                let run = world
                    .platform
                    .invocations
                    .get(&world.admin, id)
                    .await
                    .unwrap();
                if run.state == State::Succeeded {
                    break;
                }
                // Many of the others' pass by meanwhile.
                let _ = changes.recv().await;
            }
        }
    };
    tokio::select! {
        _ = looping() => unreachable!(),
        _ = looping() => unreachable!(),
        _ = looping() => unreachable!(),
        () = queueing => {}
    }
}

/// Events find room in the queue that calls have filled, and calls find some that strangers have filled.
#[tokio::test]
async fn part_of_the_queue_is_for_events_only() {
    let settings = Settings {
        queue_per_site: 8,
        ..Settings::default()
    };
    let config = ExecutorConfig {
        in_memory: 0,
        ..ExecutorConfig::default()
    };
    let world = World::with(settings, config).await;
    let post = POST_USER_CREATE;
    world
        .subscribe("after", post, returns(json!(1)), priority(0))
        .await;
    let public = {
        let access = world.access().await;
        let change = UpdateFunction {
            is_public: Some(true),
            ..UpdateFunction::default()
        };
        world
            .platform
            .functions
            .update(&access, "after", change.into())
            .await
            .unwrap()
    };
    assert!(public.is_public);
    let site = world.admin.scope().site_id();
    let strangers = || {
        let invocations = &world.platform.invocations;
        invocations.execute_public(
            site,
            (APP, "after"),
            call(JsonText::null(), Some(true)),
            None,
        )
    };
    for _ in 0..4 {
        strangers().await.unwrap();
    }
    let refused = strangers().await.unwrap_err();
    assert!(
        matches!(refused, Error::QueueFull { most: 4, .. }),
        "{refused}"
    );
    for _ in 0..2 {
        world.execute("after", true).await.unwrap();
    }
    let refused = world.execute("after", true).await.unwrap_err();
    assert!(
        matches!(refused, Error::QueueFull { most: 6, .. }),
        "{refused}"
    );
    world.create("ann").await.unwrap();
    world.create("bob").await.unwrap();
    assert!(world.create("cyd").await.is_err(), "now it is full");
}

#[tokio::test]
async fn a_rate_limits_calls_and_no_events() {
    let world = World::new().await;
    let post = POST_USER_CREATE;
    world
        .subscribe("after", post, returns(json!(1)), priority(0))
        .await;
    let rate = |rate: Option<&str>| UpdateFunction {
        rate_limit: Some(rate.map(str::to_owned)),
        ..UpdateFunction::default()
    };
    let functions = &world.platform.functions;
    let access = world.access().await;
    functions
        .update(&access, "after", rate(Some("2/m")).into())
        .await
        .unwrap();
    world.execute("after", false).await.unwrap();
    world.execute("after", true).await.unwrap();
    let refused = world.execute("after", false).await.unwrap_err();
    let Error::Busy {
        reason,
        retry_after,
    } = refused
    else {
        panic!("{refused}")
    };
    assert!(reason.contains("2/m"), "{reason}");
    assert_eq!(retry_after, Duration::from_secs(30));
    for name in ["ann", "bob", "cyd"] {
        world.create(name).await.unwrap();
    }
    world.until(State::Succeeded, 5).await;
    world.clock.advance(Duration::from_secs(30));
    world.execute("after", false).await.unwrap();
    world.execute("after", false).await.unwrap_err();
    functions
        .update(&access, "after", rate(None).into())
        .await
        .unwrap();
    world.execute("after", false).await.unwrap();
    let wrong = functions
        .update(&access, "after", rate(Some("often")).into())
        .await
        .unwrap_err();
    let Error::Validation(errors) = wrong else {
        panic!("{wrong}")
    };
    assert_eq!(errors[0].field, "rate_limit");
}
