//! Dead letters that run again, replays, and what the retention leaves.

use crate::world::{World, call, priority, returns};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::engine::Settings;
use tollgate_core::error::Error;
use tollgate_core::functions::{Function, FunctionOptions, UpdateFunction};
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{
    DeadLetterFilter, DeadLetterService, Invocation, RedriveMany, RedriveSummary, Trigger,
    VersionChoice,
};
use tollgate_core::json::JsonText;
use tollgate_core::ports::store::{Conflict, PageRequest};
use tollgate_core::rights::{Principal, right};
use tollgate_core::subscribers::SubscriberOptions;
use tollgate_core::tasks::{FailureKind, State};
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};
use tollgate_exec::ExecutorConfig;
use tollgate_testkit::fake_runtime::Behaviour;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A subscriber whose run dies at its first attempt.
async fn failing(world: &World, name: &str) -> Function {
    let once = SubscriberOptions {
        max_attempts: Some(1),
        ..priority(0)
    };
    let fails = Behaviour::Fail(FailureKind::Exception);
    world.subscribe(name, POST_USER_CREATE, fails, once).await
}

/// The one dead letter of a world with one failing subscriber.
async fn one_dead(world: &World) -> Invocation {
    failing(world, "after").await;
    world.create("ann").await.unwrap();
    world.until(State::Dead, 1).await;
    world.invocations().await.remove(0)
}

/// What a filter, `all` and a limit redrive.
async fn redrive_many(
    letters: &DeadLetterService,
    admin: &Principal,
    (filter, all, limit): (DeadLetterFilter, bool, Option<usize>),
    choice: VersionChoice,
) -> Result<RedriveSummary, Error> {
    let asked = RedriveMany {
        filter,
        all,
        limit,
        choice,
    };
    letters.redrive_many(admin, asked.into()).await
}

async fn deploy(world: &World, name: &str, input: UpdateFunction) {
    let access = world.access::<right::FunctionsDeploy>().await;
    let functions = &world.platform.functions;
    functions.update(&access, name, input.into()).await.unwrap();
}

fn code(text: &str) -> UpdateFunction {
    UpdateFunction {
        code: Some(text.to_owned()),
        ..UpdateFunction::default()
    }
}

#[tokio::test]
async fn a_redriven_run_runs_again_and_ends() {
    let world = World::new().await;
    let dead = one_dead(&world).await;
    world.runtime.on("after", returns(json!({"sent": true})));
    let mut changes = world.platform.invocations.watch();
    let letters = &world.platform.dead_letters;
    let redriven = letters
        .redrive(&world.admin, dead.id, VersionChoice::Active)
        .await
        .unwrap();
    assert_eq!((redriven.id, redriven.task_id), (dead.id, dead.task_id));
    let told = changes.recv().await.unwrap();
    assert_eq!((told.id, told.state), (dead.id, State::Pending));
    world.until(State::Succeeded, 1).await;
    let ended = world.invocations().await.remove(0);
    assert_eq!(
        (ended.id, ended.task_id, ended.event_id, ended.attempt),
        (dead.id, dead.task_id, dead.event_id, 1)
    );
    assert_eq!(ended.result.unwrap().to_value(), json!({"sent": true}));
    assert_eq!(world.runtime.calls().len(), 2);
    let again = letters
        .redrive(&world.admin, dead.id, VersionChoice::Active)
        .await;
    assert!(matches!(again, Err(Error::Conflict(Conflict::NotDead))));
}

#[tokio::test]
async fn a_redriven_run_that_fails_again_is_dead_again() {
    let world = World::new().await;
    let dead = one_dead(&world).await;
    let letters = &world.platform.dead_letters;
    for calls in 2..4 {
        letters
            .redrive(&world.admin, dead.id, VersionChoice::Active)
            .await
            .unwrap();
        world.runtime.called(calls).await;
        world.until(State::Dead, 1).await;
    }
    assert_eq!(world.invocations().await.remove(0).attempt, 1);
}

#[tokio::test]
async fn a_redrive_takes_the_active_version_and_its_limits_unless_told_otherwise() {
    let world = World::new().await;
    let dead = one_dead(&world).await;
    assert_eq!((dead.version, dead.max_attempts), (1, 1));
    let mut mended = code("def main(params): return 1");
    mended.max_attempts = Some(Some(5));
    deploy(&world, "after", mended).await;
    let letters = &world.platform.dead_letters;
    for (choice, version) in [(VersionChoice::Own, 1), (VersionChoice::Active, 2)] {
        letters
            .redrive(&world.admin, dead.id, choice)
            .await
            .unwrap();
        world.until(State::Dead, 1).await;
        let record = world.invocations().await.remove(0);
        // The subscription's own limit still wins.
        assert_eq!((record.version, record.max_attempts), (version, 1));
    }
    // Without the subscription the function's holds.
    let function = dead.function_id;
    let subscribers = &world.platform.subscribers;
    subscribers
        .unsubscribe(&world.admin, POST_USER_CREATE, function, None)
        .await
        .unwrap();
    letters
        .redrive(&world.admin, dead.id, VersionChoice::Active)
        .await
        .unwrap();
    world.until(State::Retrying, 1).await;
    assert_eq!(world.invocations().await.remove(0).max_attempts, 5);
}

#[tokio::test]
async fn a_function_that_cannot_run_keeps_its_dead_letter() {
    let world = World::new().await;
    let dead = one_dead(&world).await;
    let letters = &world.platform.dead_letters;
    let everything = || {
        let filter = DeadLetterFilter::default();
        redrive_many(
            letters,
            &world.admin,
            (filter, true, None),
            VersionChoice::Active,
        )
    };
    let skipped = RedriveSummary {
        skipped: 1,
        ..RedriveSummary::default()
    };
    let off = UpdateFunction {
        is_active: Some(false),
        ..UpdateFunction::default()
    };
    deploy(&world, "after", off).await;
    for choice in [VersionChoice::Active, VersionChoice::Own] {
        let error = letters.redrive(&world.admin, dead.id, choice).await;
        let message = error.unwrap_err().to_string();
        assert!(message.contains("not active"), "{message}");
    }
    assert_eq!(everything().await.unwrap(), skipped);
    let access = world.access::<right::FunctionsDeploy>().await;
    let functions = &world.platform.functions;
    functions.delete(&access, "after", None).await.unwrap();
    let error = letters
        .redrive(&world.admin, dead.id, VersionChoice::Own)
        .await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("was deleted"), "{message}");
    assert_eq!(everything().await.unwrap(), skipped);
    letters.discard(&world.admin, dead.id).await.unwrap();
    let record = world.invocations().await.remove(0);
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.failure.unwrap().kind, FailureKind::Exception);
    assert_eq!(everything().await.unwrap(), RedriveSummary::default());
}

#[tokio::test]
async fn many_are_redriven_in_batches_up_to_a_limit() {
    let world = World::new().await;
    failing(&world, "after").await;
    let count = tollgate_core::limits::REDRIVE_BATCH + 5;
    for number in 0..count {
        world.create(&format!("u{number}")).await.unwrap();
    }
    let letters = &world.platform.dead_letters;
    let dead = || async {
        let page = tollgate_core::ports::store::PageRequest {
            limit: 1,
            offset: 0,
        };
        let filter = DeadLetterFilter::default();
        let listed = letters.list(&world.admin, filter, page).await;
        usize::try_from(listed.unwrap().total).unwrap()
    };
    let mut changes = world.platform.invocations.watch();
    while dead().await < count {
        changes.recv().await.unwrap();
    }
    world.runtime.on("after", returns(json!({})));
    let redrive = |limit| {
        let filter = DeadLetterFilter {
            function_slug: Some("after".to_owned()),
            ..DeadLetterFilter::default()
        };
        redrive_many(
            letters,
            &world.admin,
            (filter, false, limit),
            VersionChoice::Active,
        )
    };
    let first = redrive(Some(3)).await.unwrap();
    assert_eq!((first.redriven, first.skipped, first.more), (3, 0, true));
    assert_eq!(dead().await, count - 3);
    let rest = redrive(None).await.unwrap();
    let expected = u64::try_from(count - 3).unwrap();
    assert_eq!(
        (rest.redriven, rest.skipped, rest.more),
        (expected, 0, false)
    );
    assert_eq!(dead().await, 0);
}

#[tokio::test]
async fn nobody_redrives_everything_by_accident() {
    let world = World::new().await;
    let letters = &world.platform.dead_letters;
    for (all, limit, field) in [
        (false, None, "all"),
        (true, Some(0), "limit"),
        (true, Some(10_001), "limit"),
    ] {
        let filter = DeadLetterFilter::default();
        let refused = redrive_many(
            letters,
            &world.admin,
            (filter, all, limit),
            VersionChoice::Active,
        )
        .await;
        let Err(Error::Validation(errors)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(errors[0].field, field);
    }
}

#[tokio::test]
async fn a_replay_is_a_new_run_of_the_same_parameters() {
    let world = World::new().await;
    let access = world.access::<right::FunctionsExecute>().await;
    failing(&world, "f").await;
    world.runtime.on("f", returns(json!({"n": 1})));
    // More than a list shows.
    let params = json!({"long": "x".repeat(20_000)});
    let service = &world.platform.invocations;
    let first = service
        .execute(&access, "f", call(JsonText::from(&params), None))
        .await
        .unwrap()
        .invocation;
    deploy(&world, "f", code("def main(params): return 2")).await;
    for (choice, version) in [(VersionChoice::Active, 2), (VersionChoice::Own, 1)] {
        let replayed = service
            .replay(&world.admin, first.id, choice, None, None)
            .await
            .unwrap();
        assert!(!replayed.queued);
        let run = replayed.invocation;
        assert_ne!((run.id, run.task_id), (first.id, first.task_id));
        assert_eq!(
            (run.trigger, run.replay_of, run.version),
            (Trigger::Replay, Some(first.id), version)
        );
        assert_eq!(run.params.to_value(), params);
        assert_eq!(run.user_id, world.admin.user_id());
    }
    let queued = service
        .replay(
            &world.admin,
            first.id,
            VersionChoice::Active,
            Some(true),
            None,
        )
        .await
        .unwrap();
    assert!(queued.queued);
    world.until(State::Succeeded, 4).await;
    let nobody = InvocationId(999_999);
    let missing = service.replay(&world.admin, nobody, VersionChoice::Active, None, None);
    assert!(matches!(missing.await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_replayed_event_keeps_its_event_and_changes_nothing() {
    let world = World::new().await;
    let enrich = returns(json!({"params": {"first_name": "Other"}}));
    world
        .subscribe("pre", PRE_USER_CREATE, enrich, priority(0))
        .await;
    world.create("ann").await.unwrap();
    let first = world.invocations().await.remove(0);
    let deny = returns(json!({"success": false, "error": "no"}));
    world.runtime.on("pre", deny);
    let service = &world.platform.invocations;
    let run = service
        .replay(&world.admin, first.id, VersionChoice::Active, None, None)
        .await
        .unwrap()
        .invocation;
    assert_eq!((run.event, run.event_id), (first.event, first.event_id));
    assert_eq!((run.state, run.changes), (State::Succeeded, None));
    let ann = world.find("ann").await.unwrap();
    assert_eq!(ann.profile.first_name, "Other");

    let access = world.access::<right::FunctionsDeploy>().await;
    let functions = &world.platform.functions;
    functions.delete(&access, "pre", None).await.unwrap();
    for choice in [VersionChoice::Active, VersionChoice::Own] {
        let error = service
            .replay(&world.admin, first.id, choice, None, None)
            .await;
        let message = error.unwrap_err().to_string();
        assert!(message.contains("was deleted"), "{message}");
    }
}

#[tokio::test]
async fn the_start_makes_a_pass() {
    let world = World::idle().await;
    let well = returns(json!({}));
    world
        .subscribe("pre", PRE_USER_CREATE, well, priority(0))
        .await;
    for name in ["ann", "bob", "cyd"] {
        world.create(name).await.unwrap();
    }
    world.clock.advance(DAY * 8);
    assert_eq!(world.invocations().await.len(), 3);
    world.start().await;
    let swept = async {
        while world.invocations().await.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    let soon = tokio::time::timeout(Duration::from_secs(60), swept).await;
    soon.expect("a pass");
}

#[tokio::test]
async fn a_pass_deletes_what_is_over_and_keeps_the_dead() {
    let world = World::new().await;
    one_dead(&world).await;
    let well = returns(json!({}));
    world
        .subscribe("pre", PRE_USER_CREATE, well, priority(0))
        .await;
    world.create("bob").await.unwrap();
    world.until(State::Dead, 2).await;
    world.until(State::Succeeded, 1).await;
    world.clock.advance(DAY * 7);
    assert_eq!(world.executor.sweep().await.unwrap().invocations, 0);
    world.clock.advance(DAY);
    let pass = world.executor.sweep().await.unwrap();
    assert_eq!(pass.invocations, 1);
    let left = world.states().await;
    assert_eq!(left, vec![("after".to_owned(), State::Dead); 2]);
}

/// What does not fit stays dead, as nobody else may queue it either.
#[tokio::test]
async fn many_are_redriven_as_far_as_the_queue_has_room() {
    let settings = Settings {
        queue_per_site: 3,
        ..Settings::default()
    };
    let config = ExecutorConfig {
        in_memory: 1,
        ..ExecutorConfig::default()
    };
    let world = World::with(settings, config).await;
    world.start().await;
    failing(&world, "after").await;
    for (number, name) in ["ann", "bob", "cyd"].into_iter().enumerate() {
        world.create(name).await.unwrap();
        world.until(State::Dead, number + 1).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let gated = Behaviour::Gated(Arc::clone(&gate), Box::new(returns(json!(1))));
    world
        .deploy("slow", gated, FunctionOptions::default())
        .await;
    // What waits is counted again after a moment.
    let moment = Duration::from_secs(1);
    world.clock.advance(moment);
    for _ in 0..3 {
        world.execute("slow", true).await.unwrap();
    }
    // One runs, two wait.
    world.runtime.called(4).await;
    let letters = &world.platform.dead_letters;
    let redrive = || {
        let (filter, own) = (DeadLetterFilter::default(), VersionChoice::Own);
        redrive_many(letters, &world.admin, (filter, true, None), own)
    };
    let none = RedriveSummary {
        more: true,
        ..RedriveSummary::default()
    };
    assert_eq!(redrive().await.unwrap(), none);
    world.clock.advance(moment);
    world.runtime.on("after", returns(json!(1)));
    // There is room for one of the three.
    let first = RedriveSummary {
        redriven: 1,
        ..none
    };
    assert_eq!(redrive().await.unwrap(), first);
    let one = letters.list(
        &world.admin,
        DeadLetterFilter::default(),
        PageRequest {
            limit: 1,
            offset: 0,
        },
    );
    let one = one.await.unwrap().items[0].id;
    let refused = letters.redrive(&world.admin, one, VersionChoice::Own).await;
    assert!(
        matches!(refused, Err(Error::QueueFull { .. })),
        "{refused:?}"
    );
    gate.add_permits(3);
    world.until(State::Succeeded, 4).await;
    world.clock.advance(moment);
    assert_eq!(redrive().await.unwrap().redriven, 2);
    world.until(State::Succeeded, 6).await;
}
