//! Attempts: which version each runs, what is kept of it, and what it logged until it was told to end.

use crate::world::{World, priority, returns};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::functions::{FunctionOptions, UpdateFunction};
use tollgate_core::ids::InvocationId;
use tollgate_core::invocations::{AttemptRecord, Invocation, VersionChoice};
use tollgate_core::ports::dispatch::Dispatcher as _;
use tollgate_core::rights::{Principal, right};
use tollgate_core::site::Authority;
use tollgate_core::subscribers::{Inactive, SubscriberOptions};
use tollgate_core::tasks::{FailureKind, State};
use tollgate_core::users::UpdateUser;
use tollgate_core::users::events::{POST_USER_CREATE, POST_USER_UPDATE, PRE_USER_CREATE};
use tollgate_testkit::fake_runtime::Behaviour;

const POST: EventType = POST_USER_CREATE;
const PRE: EventType = PRE_USER_CREATE;

/// Logs this, then does the other.
fn logs(line: &'static str, then: Behaviour) -> Behaviour {
    Behaviour::Log(line, Box::new(then))
}

fn never() -> Behaviour {
    Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))))
}

const FAILS: Behaviour = Behaviour::Fail(FailureKind::Exception);

async fn deploy(world: &World, name: &str, code: &str) {
    let access = world.access::<right::FunctionsDeploy>().await;
    let input = UpdateFunction {
        code: Some(code.to_owned()),
        ..UpdateFunction::default()
    };
    let functions = &world.platform.functions;
    functions.update(&access, name, input.into()).await.unwrap();
}

async fn get(world: &World, id: InvocationId) -> Invocation {
    let invocations = &world.platform.invocations;
    invocations.get(&world.admin, id).await.unwrap()
}

/// The record of the only run of this function, with logs.
async fn only(world: &World, slug: &str) -> Invocation {
    let all = world.invocations().await;
    let mut of_it = all.into_iter().filter(|it| it.function_slug == slug);
    let found = of_it.next().unwrap();
    assert!(of_it.next().is_none(), "one run of {slug}");
    get(world, found.id).await
}

fn attempts(record: &Invocation) -> Vec<AttemptRecord> {
    record
        .earlier
        .iter()
        .cloned()
        .chain(record.newest())
        .collect()
}

fn versions(record: &Invocation) -> Vec<(u32, u32)> {
    let all = attempts(record);
    all.iter().map(|it| (it.number, it.version)).collect()
}

/// The waiting run is due now.
async fn next_attempt(world: &World) {
    let calls = world.runtime.calls().len();
    world.clock.advance(Duration::from_secs(600));
    world.executor.wake();
    world.runtime.called(calls + 1).await;
}

async fn called_versions(world: &World) -> Vec<u32> {
    let calls = world.runtime.calls_in_full();
    calls.iter().map(|call| call.version).collect()
}

#[tokio::test]
async fn a_retry_runs_the_version_that_is_active_when_it_begins() {
    let world = World::new().await;
    world
        .subscribe("after", POST, logs("one", FAILS), priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.until(State::Retrying, 1).await;
    deploy(&world, "after", "def main(params): return 2").await;
    world.runtime.on("after", logs("two", FAILS));
    next_attempt(&world).await;
    world.until(State::Retrying, 1).await;
    deploy(&world, "after", "def main(params): return 3").await;
    world
        .runtime
        .on("after", logs("three", returns(json!({"mended": true}))));
    next_attempt(&world).await;
    world.until(State::Succeeded, 1).await;
    assert_eq!(called_versions(&world).await, [1, 2, 3]);
    let record = only(&world, "after").await;
    assert_eq!(record.version, 3);
    assert_eq!(versions(&record), [(1, 1), (2, 2), (3, 3)]);
    let logged: Vec<_> = record
        .earlier
        .iter()
        .map(|it| it.logs[0].message.as_str())
        .collect();
    assert_eq!(
        (logged, record.logs[0].message.as_str()),
        (vec!["one", "two"], "three")
    );
    assert!(record.earlier.iter().all(|it| it.failure.is_some()));
    assert_eq!(record.failure, None);
}

#[tokio::test]
async fn a_run_that_was_queued_before_a_deployment_runs_the_new_code() {
    // It waits in memory: nothing works yet.
    let world = World::idle().await;
    world
        .subscribe("after", POST, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    deploy(&world, "after", "def main(params): return 2").await;
    world.start().await;
    world.until(State::Succeeded, 1).await;
    assert_eq!(called_versions(&world).await, [2]);
    assert_eq!(only(&world, "after").await.version, 2);
    // It waits in the database: another process takes it up.
    let world = World::idle().await;
    world
        .subscribe("after", POST, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    deploy(&world, "after", "def main(params): return 2").await;
    let world = world.restart().await;
    world.start().await;
    world.until(State::Succeeded, 1).await;
    assert_eq!(called_versions(&world).await, [2]);
    // A rollback is a deployment.
    world.runtime.on("after", FAILS);
    world.create("bob").await.unwrap();
    world.until(State::Retrying, 1).await;
    let access = world.access::<right::FunctionsDeploy>().await;
    let functions = &world.platform.functions;
    functions.activate(&access, "after", 1).await.unwrap();
    next_attempt(&world).await;
    assert_eq!(called_versions(&world).await, [2, 2, 1]);
}

/// Whoever caused a run is shown that it was tried, and not what was said inside.
#[tokio::test]
async fn the_inside_of_earlier_attempts_is_for_those_who_may_read_runs() {
    let world = World::new().await;
    world
        .subscribe(
            "after",
            POST_USER_UPDATE,
            logs("inside", FAILS),
            priority(0),
        )
        .await;
    let user = world.create("ann").await.unwrap();
    let site = world.admin.scope().site_id();
    let ann = Principal::by_authority(&Authority::of_this_program(), site, user, Vec::new());
    let input = UpdateUser {
        first_name: Some("Ann".to_owned()),
        ..UpdateUser::default()
    };
    let users = &world.platform.users;
    users.update(&ann, "ann", input.into()).await.unwrap();
    world.until(State::Retrying, 1).await;
    next_attempt(&world).await;
    world.until(State::Retrying, 1).await;
    let whole = only(&world, "after").await;
    assert_eq!(whole.earlier[0].logs[0].message, "inside");
    assert!(whole.earlier[0].worker.is_some());

    let invocations = &world.platform.invocations;
    let shown = invocations.get(&ann, whole.id).await.unwrap();
    assert_eq!(versions(&shown), versions(&whole));
    for attempt in attempts(&shown) {
        assert_eq!((attempt.worker, attempt.logs), (None, Vec::new()));
        assert!(attempt.failure.is_none_or(|it| it.traceback.is_none()));
    }
}

#[tokio::test]
async fn a_replay_of_its_own_version_keeps_it_in_every_attempt() {
    let world = World::new().await;
    world
        .deploy("job", returns(json!({})), FunctionOptions::default())
        .await;
    let first = world.execute("job", false).await.unwrap().invocation;
    deploy(&world, "job", "def main(params): return 2").await;
    world.runtime.on("job", FAILS);
    let invocations = &world.platform.invocations;
    let replay = async |choice| {
        let replayed = invocations.replay(&world.admin, first.id, choice, Some(true), None);
        replayed.await.unwrap().invocation.id
    };
    let own = replay(VersionChoice::Own).await;
    world.until(State::Retrying, 1).await;
    next_attempt(&world).await;
    world.until(State::Retrying, 1).await;
    next_attempt(&world).await;
    world.until(State::Dead, 1).await;
    assert_eq!(versions(&get(&world, own).await), [(1, 1), (2, 1), (3, 1)]);
    // So does a redrive of its own version; any other one does not.
    let letters = &world.platform.dead_letters;
    for (choice, version) in [(VersionChoice::Own, 1), (VersionChoice::Active, 2)] {
        letters.redrive(&world.admin, own, choice).await.unwrap();
        world.until(State::Retrying, 1).await;
        next_attempt(&world).await;
        world.until(State::Retrying, 1).await;
        next_attempt(&world).await;
        world.until(State::Dead, 1).await;
        let record = get(&world, own).await;
        let all = versions(&record);
        assert!(
            all[all.len() - 3..].iter().all(|(_, it)| *it == version),
            "{all:?}"
        );
    }
    let record = get(&world, own).await;
    let numbers: Vec<_> = attempts(&record)
        .iter()
        .map(|it| (it.number, it.redriven))
        .collect();
    assert_eq!(
        numbers.iter().map(|it| it.0).collect::<Vec<_>>(),
        (1..=9).collect::<Vec<_>>()
    );
    let redriven: Vec<_> = numbers.iter().filter(|it| it.1).map(|it| it.0).collect();
    assert_eq!((redriven, record.redrives), (vec![4, 7], 2));
}

/// Whoever ends it, and however: what it logged until then is on record, at a time within the run.
#[tokio::test]
async fn a_run_that_was_told_to_end_keeps_its_logs() {
    let world = World::new().await;
    world
        .subscribe("slow", PRE, logs("checking", never()), priority(0))
        .await;
    let gate = Arc::new(Semaphore::new(0));
    let no = returns(json!({"success": false, "message": "no"}));
    let quick = Behaviour::Gated(Arc::clone(&gate), Box::new(no));
    world.subscribe("quick", PRE, quick, priority(1)).await;
    let (refused, ()) = tokio::join!(world.create("ann"), async {
        world.runtime.called(2).await;
        gate.add_permits(1);
    });
    refused.unwrap_err();
    let check = |record: &Invocation, kind| {
        let failure = record.failure.as_ref().unwrap();
        assert_eq!(
            (record.logs[0].message.as_str(), failure.kind),
            ("checking", kind)
        );
        assert_eq!(
            (record.log_count, record.worker.as_deref()),
            (1, Some("fake"))
        );
        let at = record.logs[0].timestamp;
        assert!(
            record.started_at <= Some(at) && Some(at) <= record.finished_at,
            "{at}"
        );
    };
    world.until(State::Cancelled, 1).await;
    let record = only(&world, "slow").await;
    check(&record, FailureKind::Cancelled);
    assert!(
        record.failure.unwrap().message.contains("quick"),
        "it says who refused"
    );

    // A caller who waits no longer.
    world
        .deploy("job", logs("checking", never()), FunctionOptions::default())
        .await;
    let mut changes = world.platform.invocations.watch();
    {
        let call = world.execute("job", false);
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("it cannot end"),
            () = world.runtime.called(3) => {}
        }
    }
    let ended = loop {
        let change = changes.recv().await.unwrap();
        // It may have lasted long enough to be shown.
        if change.state != State::Running {
            break change;
        }
    };
    assert_eq!(ended.state, State::Cancelled);
    check(&get(&world, ended.id).await, FailureKind::Cancelled);
}

#[tokio::test]
async fn a_run_of_a_function_that_was_switched_off_keeps_its_logs() {
    let world = World::new().await;
    world
        .deploy(
            "paused",
            logs("checking", never()),
            FunctionOptions::default(),
        )
        .await;
    world.execute("paused", true).await.unwrap();
    world.runtime.called(1).await;
    let off = UpdateFunction {
        is_active: Some(false),
        ..UpdateFunction::default()
    };
    let access = world.access::<right::FunctionsDeploy>().await;
    let functions = &world.platform.functions;
    functions
        .update(&access, "paused", off.into())
        .await
        .unwrap();
    world.until(State::Dead, 1).await;
    let record = only(&world, "paused").await;
    assert_eq!(record.failure.unwrap().kind, FailureKind::Inactive);
    assert_eq!(record.logs[0].message, "checking");
}

#[tokio::test]
async fn a_stop_keeps_what_a_run_logged_until_then() {
    let world = World::new().await;
    world
        .subscribe("after", POST, logs("half way", never()), priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.runtime.called(1).await;
    let world = world.restart().await;
    world.runtime.on("after", logs("done", returns(json!({}))));
    world.start().await;
    world.until(State::Succeeded, 1).await;
    let record = only(&world, "after").await;
    let [handed_back, done] = &attempts(&record)[..] else {
        panic!("two attempts: {record:?}")
    };
    assert_eq!(handed_back.logs[0].message, "half way");
    let failure = handed_back.failure.as_ref().unwrap();
    assert_eq!(
        (failure.kind, handed_back.counts),
        (FailureKind::Lost, false)
    );
    assert!(failure.message.contains("does not count"), "{failure}");
    assert_eq!((done.number, record.logs[0].message.as_str()), (2, "done"));
    assert_eq!(record.uncounted, 1);
}

/// Each kind of end leaves its attempt; those that are not the function's fault say so.
#[tokio::test]
async fn every_kind_of_end_is_an_attempt_on_record() {
    use FailureKind::{CircuitOpen, Crashed, Exception, Limit, Timeout, Unavailable, Upstream};
    for (kind, counts) in [
        (Exception, true),
        (Timeout, true),
        (Crashed, true),
        (Limit, true),
        (Upstream, true),
        (CircuitOpen, false),
        (Unavailable, false),
    ] {
        let world = World::new().await;
        let fails = logs("trying", Behaviour::Fail(kind));
        world.subscribe("after", POST, fails, priority(0)).await;
        world.create("ann").await.unwrap();
        world.until(State::Retrying, 1).await;
        world.runtime.on("after", returns(json!({})));
        next_attempt(&world).await;
        world.until(State::Succeeded, 1).await;
        let record = only(&world, "after").await;
        let all = attempts(&record);
        assert_eq!(all.len(), 2, "{kind}");
        let failed = all[0].failure.as_ref().unwrap();
        assert_eq!((failed.kind, all[0].counts), (kind, counts));
        assert_eq!(
            (all[0].logs[0].message.as_str(), all[0].log_count),
            ("trying", 1)
        );
        assert_eq!((all[1].counts, &all[1].failure), (true, &None));
        assert_eq!(record.uncounted, u32::from(!counts), "{kind}");
    }
}

/// The event's own time, whichever attempt, subscriber or replay it is.
#[tokio::test]
async fn every_delivery_of_an_event_is_told_the_same_time() {
    let world = World::new().await;
    for name in ["one", "two"] {
        world.subscribe(name, POST, FAILS, priority(0)).await;
    }
    world.clock.advance(Duration::from_micros(1_234_567));
    world.create("ann").await.unwrap();
    world.until(State::Retrying, 2).await;
    next_attempt(&world).await;
    world.until(State::Retrying, 2).await;
    let first = world.invocations().await.remove(0);
    world.clock.advance(Duration::from_secs(5));
    let invocations = &world.platform.invocations;
    let replay = invocations.replay(&world.admin, first.id, VersionChoice::Active, None, None);
    replay.await.unwrap_err();
    let calls = world.runtime.calls_in_full();
    assert!(calls.len() >= 4, "{calls:?}");
    assert!(
        calls
            .iter()
            .all(|call| call.caused_at == calls[0].caused_at),
        "{calls:?}"
    );
    let since = first.queued_at.since(calls[0].caused_at);
    assert!(since < Duration::from_millis(1), "{since:?}");
    // A call that no event caused has the time at which it was queued.
    world.deploy("job", FAILS, FunctionOptions::default()).await;
    let called = world.execute("job", true).await.unwrap().invocation;
    world.runtime.called(calls.len() + 1).await;
    let calls = world.runtime.calls_in_full();
    assert_eq!(calls[calls.len() - 1].caused_at, called.queued_at);
}

/// Options of the subscription, as lists show them.
async fn inactive(world: &World, event: EventType) -> Option<Inactive> {
    let subscribers = &world.platform.subscribers;
    let (_, found) = subscribers
        .app_event(&world.admin, "app", event)
        .await
        .unwrap();
    found[0].inactive
}

#[tokio::test]
async fn a_webhook_that_is_gone_keeps_a_pre_event_closed() {
    let world = World::new().await;
    let gone = Behaviour::Fail(FailureKind::Gone);
    let function = world.subscribe("guard", PRE, gone, priority(0)).await;
    // A direct call, and a replay of an event's run, are nobody's delivery.
    world.execute("guard", false).await.unwrap_err();
    assert_eq!(inactive(&world, PRE).await, None);
    for (name, calls) in [("ann", 2), ("bob", 2), ("cyd", 2)] {
        let Err(Error::PreStage(refusal)) = world.create(name).await else {
            panic!("{name} must be refused")
        };
        assert_eq!((refusal.broken, refusal.by[0].kind), (true, "gone"));
        let message = &refusal.by[0].message;
        assert!(
            message.contains("until") && message.contains("is_active"),
            "{message}"
        );
        assert_eq!(world.runtime.calls().len(), calls, "asked once");
    }
    assert_eq!(inactive(&world, PRE).await, Some(Inactive::Gone));
    // It is in the database.
    let world = world.restart().await;
    world.start().await;
    world.create("dan").await.unwrap_err();
    assert_eq!(world.runtime.calls().len(), 0);
    // Until a person acts: another version answers for itself.
    world.runtime.on("guard", returns(json!({"success": true})));
    deploy(&world, "guard", "def main(params): return 2").await;
    world.create("eve").await.unwrap();
    let _ = function;
}

#[tokio::test]
async fn a_closed_subscription_concerns_only_what_its_filter_lets_in() {
    let world = World::new().await;
    let options = SubscriberOptions {
        filter: Some("event.params.username == 'ann'".to_owned()),
        ..SubscriberOptions::default()
    };
    let gone = Behaviour::Fail(FailureKind::Gone);
    world.subscribe("guard", PRE, gone, options).await;
    world.create("ann").await.unwrap_err();
    world.create("bob").await.unwrap();
    world.create("ann").await.unwrap_err();
    assert_eq!(world.runtime.calls().len(), 1);
}

#[tokio::test]
async fn a_replay_that_is_told_gone_changes_no_subscription() {
    let world = World::new().await;
    world
        .subscribe("after", POST, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    world.until(State::Succeeded, 1).await;
    let first = world.invocations().await.remove(0);
    world
        .runtime
        .on("after", Behaviour::Fail(FailureKind::Gone));
    let invocations = &world.platform.invocations;
    let replay = invocations.replay(&world.admin, first.id, VersionChoice::Active, None, None);
    replay.await.unwrap_err();
    assert_eq!(inactive(&world, POST).await, None);
    world.create("bob").await.unwrap();
    world.until(State::Dead, 1).await;
    assert_eq!(inactive(&world, POST).await, Some(Inactive::Gone));
}
