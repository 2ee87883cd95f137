//! The PRE stage: a change happens if and only if every function agreed.

use crate::world::{World, create_user, priority, returns, subscription};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::apps::CreateApp;
use tollgate_core::engine::Settings;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::ports::store::Conflict;
use tollgate_core::rights::SiteAccess;
use tollgate_core::subscribers::{OnTimeout, SubscriberOptions};
use tollgate_core::tasks::{FailureKind, State};
use tollgate_core::time::Clock as _;
use tollgate_core::users::UpdateUser;
use tollgate_core::users::events::{
    POST_USER_DELETE, PRE_USER_CREATE, PRE_USER_DELETE, PRE_USER_UPDATE,
};
use tollgate_exec::ExecutorConfig;
use tollgate_testkit::fake_runtime::Behaviour;

/// What one function does, and whether the operation then happens.
fn verdicts() -> Vec<(&'static str, Behaviour, bool, State)> {
    use FailureKind::{Crashed, Exception, Limit, NotJson, Timeout};
    let fails = Behaviour::Fail;
    vec![
        (
            "allow",
            returns(json!({"success": true})),
            true,
            State::Succeeded,
        ),
        ("allow-anything", returns(json!(42)), true, State::Succeeded),
        (
            "deny",
            returns(json!({"success": false, "error": "no"})),
            false,
            State::Succeeded,
        ),
        ("exception", fails(Exception), false, State::Failed),
        ("timeout", fails(Timeout), false, State::TimedOut),
        ("crash", fails(Crashed), false, State::Failed),
        ("limit", fails(Limit), false, State::Failed),
        ("not-json", fails(NotJson), false, State::Failed),
        (
            "forbidden-field",
            returns(json!({"params": {"is_staff": true}})),
            false,
            State::Failed,
        ),
    ]
}

/// A refusal names the event, the function and the reason, and says whether the function broke.
fn check_refusal(error: &Error, event: EventType, name: &str, case: &str) {
    let Error::PreStage(refusal) = error else {
        panic!("{case}: {error}")
    };
    assert_eq!(refusal.event, event, "{case}");
    assert_eq!(refusal.broken, name != "deny", "{case}");
    let text = error.to_string();
    assert!(
        text.contains(event.as_str()) && text.contains(name),
        "{case}: {text}"
    );
}

#[tokio::test]
async fn every_verdict_on_create() {
    for (name, behaviour, agrees, state) in verdicts() {
        let world = World::new().await;
        world
            .subscribe(name, PRE_USER_CREATE, behaviour, priority(0))
            .await;
        match world.create("ann").await {
            Ok(_) => assert!(agrees, "{name}"),
            Err(error) => check_refusal(&error, PRE_USER_CREATE, name, name),
        }
        assert_eq!(world.find("ann").await.is_some(), agrees, "{name}");
        assert_eq!(world.states().await, [(name.to_owned(), state)], "{name}");
    }
}

#[tokio::test]
async fn every_verdict_on_update() {
    for (name, behaviour, agrees, state) in verdicts() {
        let world = World::new().await;
        world.create("ann").await.unwrap();
        world
            .subscribe(name, PRE_USER_UPDATE, behaviour, priority(0))
            .await;
        let change = UpdateUser {
            last_name: Some("New".into()),
            ..UpdateUser::default()
        };
        match world
            .platform
            .users
            .update(&world.admin, "ann", change.into())
            .await
        {
            Ok(_) => assert!(agrees, "{name}"),
            Err(error) => check_refusal(&error, PRE_USER_UPDATE, name, name),
        }
        let stored = world.find("ann").await.unwrap().profile.last_name;
        assert_eq!(stored, if agrees { "New" } else { "" }, "{name}");
        assert_eq!(world.states().await, [(name.to_owned(), state)], "{name}");
    }
}

#[tokio::test]
async fn every_verdict_on_delete() {
    for (name, behaviour, agrees, state) in verdicts() {
        let world = World::new().await;
        world.create("ann").await.unwrap();
        world
            .subscribe(name, PRE_USER_DELETE, behaviour, priority(0))
            .await;
        match world
            .platform
            .users
            .delete(&world.manage(), "ann", None)
            .await
        {
            Ok(()) => assert!(agrees, "{name}"),
            Err(error) => check_refusal(&error, PRE_USER_DELETE, name, name),
        }
        assert_eq!(world.find("ann").await.is_none(), agrees, "{name}");
        assert_eq!(world.states().await, [(name.to_owned(), state)], "{name}");
    }
}

#[tokio::test]
async fn a_timeout_may_be_allowed_and_is_still_on_record() {
    let world = World::new().await;
    let options = SubscriberOptions {
        on_timeout: OnTimeout::Allow,
        ..SubscriberOptions::default()
    };
    let late = Behaviour::Fail(FailureKind::Timeout);
    world
        .subscribe("late", PRE_USER_CREATE, late, options)
        .await;
    world.create("ann").await.unwrap();
    assert_eq!(world.states().await, [("late".to_owned(), State::TimedOut)]);
}

#[tokio::test]
async fn the_first_refusal_cancels_the_rest() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("slow", PRE_USER_CREATE, never, priority(0))
        .await;
    let no = returns(json!({"success": false, "message": "no"}));
    world
        .subscribe("quick", PRE_USER_CREATE, no, priority(1))
        .await;
    let error = world.create("ann").await.unwrap_err();
    assert!(error.to_string().contains("quick"), "{error}");
    let expected = [
        ("quick".to_owned(), State::Succeeded),
        ("slow".to_owned(), State::Cancelled),
    ];
    world.until(State::Cancelled, 1).await;
    assert_eq!(world.states().await, expected);
}

/// Whoever is not wanted any more may end by itself for a moment: its worker lives, its result does not count.
/// Nobody waits for it.
#[tokio::test]
async fn a_refused_sibling_may_end_by_itself_and_is_cancelled_all_the_same() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let late = Behaviour::Gated(Arc::clone(&gate), Box::new(returns(json!({}))));
    let pre = PRE_USER_CREATE;
    world.subscribe("late", pre, late, priority(0)).await;
    let no = returns(json!({"success": false, "message": "no"}));
    world.subscribe("quick", pre, no, priority(1)).await;
    world.create("ann").await.unwrap_err();
    assert_eq!(
        world.runtime.under_way(),
        1,
        "the answer did not wait for it"
    );
    gate.add_permits(1);
    world.until(State::Cancelled, 1).await;
    let all = world.invocations().await;
    let late = all.iter().find(|it| it.function_slug == "late").unwrap();
    assert!(late.result.is_none(), "{late:?}");
    assert_eq!(late.worker.as_deref(), Some("fake"), "it was not killed");
}

#[tokio::test]
async fn a_caller_who_goes_away_cancels_everything() {
    let world = World::new().await;
    let never = Behaviour::Gated(Arc::new(Semaphore::new(0)), Box::new(returns(json!({}))));
    world
        .subscribe("slow", PRE_USER_CREATE, never, priority(0))
        .await;
    let mut changes = world.platform.invocations.watch();
    {
        let create = world.create("ann");
        tokio::pin!(create);
        tokio::select! {
            _ = &mut create => panic!("it cannot end"),
            () = world.runtime.called(1) => {}
        }
    }
    // It may have lasted long enough to be shown.
    while changes.recv().await.unwrap().state != State::Cancelled {}
    assert!(world.find("ann").await.is_none());
    // A write that waits stands behind the one that did not.
    let app = CreateApp {
        name: "Other".into(),
        slug: None,
        description: String::new(),
        variables: Default::default(),
    };
    let access = SiteAccess::check(world.admin.clone()).unwrap();
    world
        .platform
        .apps
        .create(&access, app.into(), None)
        .await
        .unwrap();
    assert_eq!(
        world.states().await[0],
        ("slow".to_owned(), State::Cancelled)
    );
}

#[tokio::test]
async fn a_name_that_is_lost_meanwhile_is_a_conflict_with_records() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let yes = Behaviour::Gated(Arc::clone(&gate), Box::new(returns(json!({}))));
    world
        .subscribe("check", PRE_USER_CREATE, yes, priority(0))
        .await;
    let (first, second, ()) = tokio::join!(world.create("ann"), world.create("ANN"), async {
        world.runtime.called(2).await;
        gate.add_permits(2);
    });
    let lost = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .collect::<Vec<_>>();
    assert!(
        matches!(lost[..], [Error::Conflict(Conflict::Username)]),
        "{lost:?}"
    );
    let done = ("check".to_owned(), State::Succeeded);
    assert_eq!(world.states().await, [done.clone(), done]);
}

#[tokio::test]
async fn an_enrichment_onto_somebody_elses_name_is_a_conflict_with_records() {
    let world = World::new().await;
    world.create("ann").await.unwrap();
    for address in ["ANN@Example.com", "ann＠example．com"] {
        let patch = json!({"params": {"email": address}});
        world
            .subscribe(
                &format!("check-{}", address.len()),
                PRE_USER_CREATE,
                returns(patch),
                priority(0),
            )
            .await;
        let lost = world.create("bob").await;
        assert!(
            matches!(lost, Err(Error::Conflict(Conflict::Email))),
            "{lost:?}"
        );
        assert!(world.find("bob").await.is_none());
    }
    let states = world.states().await;
    assert!(states.iter().all(|(_, state)| *state == State::Succeeded));
}

#[tokio::test]
async fn functions_see_only_what_could_be_saved() {
    let world = World::new().await;
    world
        .subscribe("check", PRE_USER_CREATE, returns(json!({})), priority(0))
        .await;
    world.create("ann").await.unwrap();
    assert!(matches!(
        world.create("ann").await,
        Err(Error::Conflict(Conflict::Username))
    ));
    let broken = tollgate_core::users::CreateUser {
        email: "nope".into(),
        ..create_user("bob")
    };
    let refused = world
        .platform
        .users
        .create(&world.manage(), broken.into(), None)
        .await;
    assert!(matches!(refused, Err(Error::Validation(_))));
    assert_eq!(world.runtime.calls().len(), 1);
}

/// A run that was told nothing is cancelled in time: the stage's budget bounds what each function gets.
#[tokio::test]
async fn no_function_has_longer_than_the_stage() {
    let settings = Settings {
        pre_budget: Duration::from_secs(7),
        ..Settings::default()
    };
    let world = World::with(settings, ExecutorConfig::default()).await;
    world.start().await;
    let own = SubscriberOptions {
        timeout_seconds: Some(3.0),
        ..priority(1)
    };
    for (name, options) in [("patient", priority(0)), ("hasty", own)] {
        world
            .subscribe(name, PRE_USER_CREATE, returns(json!({})), options)
            .await;
    }
    let begun = world.clock.monotonic();
    world.create("ann").await.unwrap();
    let mut given: Vec<_> = world
        .runtime
        .calls_in_full()
        .into_iter()
        .map(|call| (call.slug, call.deadline.unwrap() - begun))
        .collect();
    given.sort();
    let seconds = Duration::from_secs;
    assert_eq!(
        given,
        [
            ("hasty".to_owned(), seconds(3)),
            ("patient".to_owned(), seconds(7))
        ]
    );
}

/// An object that cannot be read may have meant to refuse.
#[tokio::test]
async fn an_unreadable_verdict_refuses() {
    for text in [
        r#"{"success": true, "success": false}"#,
        r#"{"params": {"attributes": {"n": 1e999}}}"#,
    ] {
        let world = World::new().await;
        let unreadable = Behaviour::ReturnText(text);
        world
            .subscribe("odd", PRE_USER_CREATE, unreadable, priority(0))
            .await;
        let error = world.create("ann").await.unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert!(world.find("ann").await.is_none(), "{text}");
    }
}

/// Nothing was saved, so nobody changed anything, whoever refused.
#[tokio::test]
async fn a_refused_stage_records_no_changes() {
    let enriches = || returns(json!({"params": {"first_name": "New"}}));
    for refuses in [
        returns(json!({"success": false, "error": "no"})),
        returns(json!({"params": {"is_staff": true}})),
        Behaviour::Fail(FailureKind::Exception),
    ] {
        let world = World::new().await;
        world
            .subscribe("enriches", PRE_USER_CREATE, enriches(), priority(0))
            .await;
        let gate = Arc::new(Semaphore::new(0));
        let last = Behaviour::Gated(Arc::clone(&gate), Box::new(refuses));
        world
            .subscribe("refuses", PRE_USER_CREATE, last, priority(1))
            .await;
        let (refused, ()) = tokio::join!(world.create("ann"), async {
            world.runtime.called(2).await;
            gate.add_permits(1);
        });
        refused.unwrap_err();
        for record in world.invocations().await {
            assert_eq!(record.changes, None, "{}", record.function_slug);
        }
    }
    let world = World::new().await;
    world
        .subscribe("enriches", PRE_USER_CREATE, enriches(), priority(0))
        .await;
    world.create("ann").await.unwrap();
    assert!(world.invocations().await[0].changes.is_some());
}

/// A subscription that is on disk must be asked, even if whoever made it hung up meanwhile.
#[tokio::test]
async fn a_subscription_whose_maker_went_away_is_asked_all_the_same() {
    let world = World::new().await;
    let function = world
        .subscribe(
            "no",
            POST_USER_DELETE,
            returns(json!({"success": false})),
            priority(0),
        )
        .await;
    world.create("ann").await.unwrap();
    {
        let (admin, event) = (&world.admin, PRE_USER_CREATE);
        let subscribers = &world.platform.subscribers;
        let subscribing = subscribers.subscribe(
            admin,
            event,
            subscription(function.id, SubscriberOptions::default()),
            None,
        );
        tokio::pin!(subscribing);
        // Polled until the write has been handed over, then dropped.
        while futures_util::poll!(&mut subscribing).is_pending() {
            let written = subscribers.total(admin, event).await.unwrap() == 1;
            if written {
                break;
            }
        }
    }
    for attempt in 0.. {
        if world.create(&format!("u{attempt}")).await.is_err() {
            return;
        }
        assert!(attempt < 100, "the function is not asked");
        tokio::task::yield_now().await;
    }
}

/// One function of the property test.
#[derive(Debug, Clone)]
struct Drawn {
    priority: i32,
    result: Value,
    agrees: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let result = prop_oneof![
        3 => Just((json!({"success": true}), true)),
        1 => Just((json!({"success": false, "error": "no"}), false)),
        1 => Just((json!({"params": {"username": "root"}}), false)),
        4 => (0..3_u8, "[a-z]{1,6}").prop_map(|(field, value)| {
            let patch = match field {
                0 => json!({"first_name": value}),
                1 => json!({"last_name": value}),
                _ => json!({"attributes": {"by": value}}),
            };
            (json!({"params": patch}), true)
        }),
    ];
    (-3..3_i32, result).prop_map(|(priority, (result, agrees))| Drawn {
        priority,
        result,
        agrees,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever the verdicts, their order and their timing: the user exists if and only if all
    /// agreed, with the patches applied by priority, then subscription.
    #[test]
    fn a_user_exists_if_and_only_if_all_agreed(
        functions in prop::collection::vec(drawn(), 0..5),
        order in Just(()).prop_perturb(|(), mut random| random.next_u64()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(one_case(&functions, order));
    }
}

async fn one_case(functions: &[Drawn], order: u64) {
    let world = World::new().await;
    let mut gates = Vec::new();
    for (index, function) in functions.iter().enumerate() {
        let gate = Arc::new(Semaphore::new(0));
        gates.push(Arc::clone(&gate));
        let behaviour = Behaviour::Gated(gate, Box::new(returns(function.result.clone())));
        let name = format!("f{index}");
        world
            .subscribe(
                &name,
                PRE_USER_CREATE,
                behaviour,
                priority(function.priority),
            )
            .await;
    }
    let opening = async {
        world.runtime.called(functions.len()).await;
        // The gates open in an order that the seed decides.
        let count = gates.len();
        for step in 0..count {
            let rotated = (step + usize::try_from(order % 97).unwrap()) % count;
            let index = if order.is_multiple_of(2) {
                rotated
            } else {
                count - 1 - rotated
            };
            gates[index].add_permits(1);
            tokio::task::yield_now().await;
        }
    };
    let (created, ()) = tokio::join!(world.create("ann"), opening);

    let agreed = functions.iter().all(|function| function.agrees);
    assert_eq!(created.is_ok(), agreed);
    let stored = world.find("ann").await;
    assert_eq!(stored.is_some(), agreed);
    if let Some(user) = stored {
        let mut sorted: Vec<_> = functions.iter().collect();
        sorted.sort_by_key(|function| function.priority);
        let mut expected = json!({"first_name": "First", "last_name": "", "attributes": {}});
        for function in sorted {
            if let Some(patch) = function.result.get("params") {
                tollgate_core::json::merge_patch(&mut expected, patch);
            }
        }
        let profile = serde_json::to_value(&user.profile).unwrap();
        for field in ["first_name", "last_name", "attributes"] {
            assert_eq!(profile[field], expected[field], "{field} of {functions:?}");
        }
    }
    // Those that nobody waits for any more end a moment later.
    world.until_ended(functions.len()).await;
}
