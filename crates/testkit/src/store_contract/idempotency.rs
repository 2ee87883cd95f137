//! Answers under the keys of the requests that they were given to.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::alone::{Alone, UserCommit};
use super::world::{Tenant, assert_conflict, create};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate_core::apps::App;
use tollgate_core::functions::Function;
use tollgate_core::idempotency::{
    Answer, IdempotencyKey, KeyedRequest, Remember, RequestHash, expired_at,
};
use tollgate_core::ids::{AppId, UserId};
use tollgate_core::invocations::Invocation;
use tollgate_core::limits::IDEMPOTENCY_TTL;
use tollgate_core::ports::store::{
    ApiKey, Conflict, NewApiKey, NewApp, NewFunction, NewSubscriber, StoreError, StoredAnswer, Work,
};
use tollgate_core::subscribers::{Subscriber, SubscriberOptions};
use tollgate_core::tasks::{State, Waiter};
use tollgate_core::users::User;
use tollgate_core::users::events::{POST_USER_CREATE, POST_USER_UPDATE};

const ANN: Option<UserId> = Some(UserId(1));
const HASH: RequestHash = RequestHash([7; 32]);

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

/// The wish to store what `show` makes of the record.
fn remember<T: 'static>(
    world: &World,
    text: &str,
    show: impl Fn(&T) -> Value + Send + Sync + 'static,
) -> Remember<T> {
    let request = KeyedRequest {
        key: key(text),
        hash: HASH,
    };
    let render = move |made: &T| Answer::new(201, &show(made));
    Remember::new(ANN, request, world.now(), None, render)
}

fn app(world: &World, slug: &str, text: &str) -> NewApp {
    NewApp {
        remember: Some(remember(
            world,
            text,
            |app: &App| json!({"id": app.id, "slug": app.slug}),
        )),
        ..world.a.new_app(slug)
    }
}

async fn stored(world: &World, tenant: &Tenant, text: &str) -> Option<StoredAnswer> {
    let after = expired_at(world.now());
    tenant
        .store
        .stored_answer(ANN, &key(text), after)
        .await
        .unwrap()
}

/// The body under a key, which must be there.
async fn body(world: &World, text: &str) -> Value {
    let stored = stored(world, &world.a, text).await.unwrap();
    assert_eq!((stored.request_hash, stored.answer.status), (HASH, 201));
    stored.answer.body.to_value()
}

/// What a write shows of its record, and how it ended.
type Done = (Value, Result<(), StoreError>);

/// The same view of a record for the caller and for the key.
fn done<T>(made: Result<T, StoreError>, show: impl Fn(&T) -> Value) -> Done {
    let shown = made.as_ref().map_or(Value::Null, show);
    (shown, made.map(drop))
}

fn show_app(app: &App) -> Value {
    json!({"id": app.id, "slug": app.slug})
}

fn show_function(function: &Function) -> Value {
    json!([function.id, function.app_slug, function.version])
}

fn show_subscriber(subscriber: &Subscriber) -> Value {
    json!([subscriber.id, subscriber.function_name])
}

fn show_key(key: &ApiKey) -> Value {
    json!([key.id, key.prefix])
}

fn show_user(user: &User) -> Value {
    json!(user.id)
}

async fn write_function(world: &World, app: AppId, text: &str, name: &str) -> Done {
    let new = NewFunction {
        remember: Some(remember(world, text, show_function)),
        ..world.a.new_function(app, name)
    };
    done(world.a.store.insert_function(new).await, show_function)
}

async fn write_subscriber(world: &World, function: &Function, text: &str, name: &str) -> Done {
    let event = match name {
        "one" => POST_USER_CREATE,
        _ => POST_USER_UPDATE,
    };
    let new = NewSubscriber {
        author: None,
        event,
        declared_by: None,
        function_id: function.id,
        options: SubscriberOptions::default(),
        created_at: world.now(),
        remember: Some(remember(world, text, show_subscriber)),
    };
    done(world.a.store.insert_subscriber(new).await, show_subscriber)
}

async fn write_key(world: &World, user: UserId, text: &str, name: &str) -> Done {
    let new = NewApiKey {
        remember: Some(remember(world, text, show_key)),
        ..super::credentials::key(user, &format!("hash-{name}"), world.now())
    };
    done(world.a.store.insert_api_key(new).await, show_key)
}

/// A user with a POST run: both or neither.
async fn write_user(world: &World, function: &Function, text: &str, name: &str) -> Done {
    let user = world.a.new_user(&format!("user-{name}")).await;
    let post = world.a.new_run(function, Waiter::Nobody, None).await;
    let commit = UserCommit {
        author: None,
        change: create(&user),
        completions: Vec::new(),
        invocations: vec![post.clone()],
        remember: Some(remember(world, text, show_user)),
    };
    let store = &world.a.store;
    let made = store.commit_user(commit, Box::new(|| {})).await;
    assert_eq!(store.user(user.id).await.unwrap().is_some(), made.is_ok());
    let recorded = store.invocation(post.id).await.unwrap();
    assert_eq!(recorded.is_some(), made.is_ok());
    (show_user(&user), made)
}

async fn write_run(world: &World, function: &Function, text: &str) -> Done {
    let run = world.a.new_run(function, Waiter::Nobody, None).await;
    let work = Work {
        births: vec![run.clone()],
        ends: Vec::new(),
        on_commit: Box::new(|| {}),
        remember: Some(remember(world, text, show_run)),
        ..Work::default()
    };
    let made = world.a.store.commit(work).await;
    let recorded = world.a.store.invocation(run.id).await.unwrap();
    assert_eq!(recorded.is_some(), made.is_ok());
    (json!([run.id, function.slug, "pending"]), made)
}

/// One write of each kind, in the order of [`KINDS`].
async fn write_each(world: &World, text: &str, name: &str) -> Vec<Done> {
    let store = &world.a.store;
    let base = store.app("base").await.unwrap().unwrap().id;
    let function = store.function(base, "f").await.unwrap().unwrap();
    let ann = store.user_by_name("ann").await.unwrap().unwrap().id;
    let keyed = |kind: &str| format!("{text}-{kind}");
    let new = app(world, name, &keyed("app"));
    vec![
        done(store.insert_app(new).await, show_app),
        write_function(world, base, &keyed("function"), name).await,
        write_subscriber(world, &function, &keyed("subscriber"), name).await,
        write_key(world, ann, &keyed("api-key"), name).await,
        write_user(world, &function, &keyed("user"), name).await,
        write_run(world, &function, &keyed("run")).await,
    ]
}

fn show_run(run: &Invocation) -> Value {
    json!([run.id, run.function_slug, run.state.as_str()])
}

async fn base(world: &World) {
    let app = world.a.app("base").await;
    world.a.function(app.id, "f").await;
    world.a.user("ann").await;
}

const KINDS: [&str; 6] = ["app", "function", "subscriber", "api-key", "user", "run"];

/// The answer shows the record as the same transaction wrote it.
pub async fn an_answer_is_stored_with_its_effect(world: World) {
    base(&world).await;
    let done = write_each(&world, "k", "one").await;
    for (kind, (shown, result)) in KINDS.into_iter().zip(done) {
        result.unwrap();
        assert_eq!(body(&world, &format!("k-{kind}")).await, shown, "{kind}");
    }
}

/// A write whose key is there already writes nothing, the answer included.
pub async fn a_second_write_with_a_key_changes_nothing(world: World) {
    base(&world).await;
    write_each(&world, "k", "one").await;
    let mut before = Vec::new();
    for kind in KINDS {
        before.push(body(&world, &format!("k-{kind}")).await);
    }
    for (_, result) in write_each(&world, "k", "two").await {
        assert_conflict!(result, IdempotencyKey);
    }
    for (kind, before) in KINDS.into_iter().zip(before) {
        assert_eq!(body(&world, &format!("k-{kind}")).await, before, "{kind}");
    }
    assert_eq!(world.a.store.app("two").await.unwrap(), None);
    let ann = world.a.store.user_by_name("ann").await.unwrap().unwrap();
    assert_eq!(world.a.store.api_keys(ann.id).await.unwrap().len(), 1);
    let event = POST_USER_UPDATE;
    let listed = world.a.store.list_subscribers(event, None).await.unwrap();
    assert_eq!(listed, []);
}

/// What was refused may be tried again under its key.
pub async fn a_refused_write_leaves_its_key_free(world: World) {
    world.a.app("taken").await;
    let refused = world.a.store.insert_app(app(&world, "taken", "k")).await;
    assert_conflict!(refused, Slug);
    assert_eq!(stored(&world, &world.a, "k").await, None);
    let app = world.a.store.insert_app(app(&world, "free", "k")).await;
    assert_eq!(body(&world, "k").await, show_app(&app.unwrap()));
}

/// A key is its user's and its site's.
pub async fn keys_of_others_are_other_keys(world: World) {
    world
        .a
        .store
        .insert_app(app(&world, "one", "k"))
        .await
        .unwrap();
    assert!(stored(&world, &world.a, "k").await.is_some());
    assert_eq!(stored(&world, &world.b, "k").await, None);
    let after = expired_at(world.now());
    for user in [Some(UserId(2)), None] {
        let other = world.a.store.stored_answer(user, &key("k"), after).await;
        assert_eq!(other.unwrap(), None, "{user:?}");
    }
    let mine = app(&world, "one", "k");
    world.b.store.insert_app(mine).await.unwrap();
    assert!(stored(&world, &world.b, "k").await.is_some());
}

/// Of many writes at once one stands, and the others change nothing.
pub async fn of_many_writes_with_one_key_one_stands(world: World) {
    let tries = (0..50).map(|number| {
        let app = app(&world, &format!("app-{number}"), "k");
        world.a.store.insert_app(app)
    });
    let results = futures_util::future::join_all(tries).await;
    let mut stand = results.iter().filter_map(|result| result.as_ref().ok());
    let (one, none) = (stand.next().unwrap(), stand.next());
    assert_eq!(none, None);
    assert_eq!(body(&world, "k").await, show_app(one));
    let taken = |result: &Result<App, StoreError>| {
        matches!(
            result,
            Err(StoreError::Conflict(Conflict::IdempotencyKey)) | Ok(_)
        )
    };
    assert!(results.iter().all(taken));
    let apps = world.a.store.list_apps(super::everything()).await.unwrap();
    assert_eq!(apps.total, 1);
}

/// Whatever its neighbours run into, each answer shows the record that was committed, and the
/// caller is told of the stored one.
pub async fn answers_show_what_was_committed(world: World) {
    world.a.app("taken").await;
    let mut tries = Vec::new();
    let mut wishes = Vec::new();
    for number in 0..60 {
        let slug = match number % 4 {
            3 => "taken".to_owned(),
            _ => format!("app-{number}"),
        };
        let new = app(&world, &slug, &format!("k{number}"));
        wishes.push(new.remember.clone().unwrap());
        tries.push(world.a.store.insert_app(new));
    }
    let results = futures_util::future::join_all(tries).await;
    for (number, (result, wish)) in results.into_iter().zip(wishes).enumerate() {
        let kept = stored(&world, &world.a, &format!("k{number}")).await;
        match result {
            Ok(app) => {
                let kept = kept.unwrap().answer;
                assert_eq!(kept.body.to_value(), show_app(&app));
                assert_eq!(wish.answer(), Some(kept));
            }
            Err(_) => assert_eq!(kept, None),
        }
    }
}

/// A run's result and the answer of its caller are one write; a late result has no answer.
pub async fn a_result_is_stored_with_its_answer(world: World) {
    let function = world.a.some_function().await;
    let store = &world.a.store;
    let run = world.a.run(&function, Waiter::Caller, Some("me")).await;
    let end = || world.a.end(&run, 1, State::Succeeded);
    let wish = remember(&world, "k", show_run);
    assert!(store.complete_and_remember(end(), wish).await.unwrap());
    let shown = json!([run.id, function.slug, "succeeded"]);
    assert_eq!(body(&world, "k").await, shown);

    let wish = remember(&world, "late", show_run);
    assert!(!store.complete_and_remember(end(), wish).await.unwrap());
    assert_eq!(stored(&world, &world.a, "late").await, None);

    let other = world.a.run(&function, Waiter::Caller, Some("me")).await;
    let end = world.a.end(&other, 1, State::Succeeded);
    let wish = remember(&world, "k", show_run);
    let refused = store.complete_and_remember(end, wish).await;
    assert_conflict!(refused, IdempotencyKey);
    assert_eq!(world.a.standing(&other).await, (State::Running, 1));
}

/// An expired key is as good as none.
pub async fn expired_keys_make_room(world: World) {
    world
        .a
        .store
        .insert_app(app(&world, "one", "k"))
        .await
        .unwrap();
    let moment = Duration::from_micros(1);
    world.clock.advance(IDEMPOTENCY_TTL - moment);
    assert!(stored(&world, &world.a, "k").await.is_some());
    let early = world.a.store.insert_app(app(&world, "two", "k")).await;
    assert_conflict!(early, IdempotencyKey);
    world.clock.advance(moment);
    assert_eq!(stored(&world, &world.a, "k").await, None);
    let two = world.a.store.insert_app(app(&world, "two", "k")).await;
    assert_eq!(body(&world, "k").await, show_app(&two.unwrap()));
}

/// The oldest first, a few at a time, and none that is younger.
pub async fn keys_are_forgotten_in_batches(world: World) {
    for number in 0..5 {
        let slug = format!("app-{number}");
        let app = app(&world, &slug, &format!("k{number}"));
        world.a.store.insert_app(app).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
    }
    let before = world.now();
    let young = app(&world, "young", "young");
    world.a.store.insert_app(young).await.unwrap();
    let forget = || world.system.forget_idempotency_keys(before, 3);
    assert_eq!(forget().await.unwrap(), 3);
    assert_eq!(stored(&world, &world.a, "k2").await, None);
    assert!(stored(&world, &world.a, "k3").await.is_some());
    assert_eq!(forget().await.unwrap(), 2);
    assert_eq!(forget().await.unwrap(), 0);
    assert!(stored(&world, &world.a, "young").await.is_some());
    assert!(world.a.store.app("app-0").await.unwrap().is_some());
}
