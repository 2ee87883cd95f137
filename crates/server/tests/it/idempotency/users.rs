//! `POST /api/users/`

use super::{assert_repeats, keyed, replayed, total};
use crate::app::{Asking, OTHER_HOST, TestApp};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

const PATH: &str = "/api/users/";

fn ann() -> Value {
    json!({"username": "ann", "email": "ann@example.com", "attributes": {"a": 1, "b": 2}})
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let app = TestApp::new().await;
    let root = app.root().await;
    assert_repeats(keyed(&app, PATH, "k", &ann()).bearer(&root), 201).await;
    let cloud = json!({"username": "bob", "email": "bob@example.com"});
    let asking = keyed(&app, "/api/cloud/users/", "c", &cloud);
    assert_repeats(asking.bearer(&root), 201).await;
    assert_eq!(total(&app, &root, PATH).await, 3);
    // Without the key it is what it always was.
    let answer = app.post(PATH, &ann()).bearer(&root).send().await;
    answer.is_error(409, "CONFLICT");
}

#[tokio::test]
async fn the_answer_stays_what_it_was() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let asking = keyed(&app, PATH, "k", &ann()).bearer(&root);
    let first = asking.clone().send().await.ok();
    let gone = app.ask("DELETE", "/api/users/ann/").bearer(&root);
    gone.send().await.ok();
    assert_eq!(asking.send().await.ok(), first);
    assert_eq!(total(&app, &root, PATH).await, 1);
}

#[tokio::test]
async fn spelling_does_not_make_another_request() {
    let app = TestApp::new().await;
    let root = app.root().await;
    keyed(&app, PATH, "k", &ann()).bearer(&root).send().await;
    let spelled = "{ \"attributes\": {\"b\":2, \"a\":1},\n\"email\":\"ann@example.com\",
        \"username\": \"ann\"}";
    let asking = app.ask("POST", "/api/users").raw(spelled.into());
    let asking = asking.header("idempotency-key", "k").bearer(&root);
    assert!(replayed(&asking.send().await));
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    keyed(&app, PATH, "k", &ann()).bearer(&root).send().await;
    let bob = json!({"username": "bob", "email": "bob@example.com"});
    for asking in [
        keyed(&app, PATH, "k", &bob),
        keyed(&app, "/api/cloud/users/", "k", &ann()),
        keyed(&app, "/api/apps/", "k", &json!({"name": "A"})),
    ] {
        let answer = asking.bearer(&root).send().await;
        let message = answer.is_error(409, "CONFLICT");
        assert!(message.contains("Idempotency-Key"), "{message}");
        assert!(!replayed(&answer));
    }
    assert_eq!(total(&app, &root, PATH).await, 2);
    assert_eq!(total(&app, &root, "/api/apps/").await, 0);
}

#[tokio::test]
async fn keys_of_others_do_not_count() {
    let app = TestApp::new().await;
    let (root, other) = (app.root().await, app.other_site().await);
    let boss = app.user(&root, "boss", &["admin"]).await;
    keyed(&app, PATH, "k", &ann()).bearer(&root).send().await;

    let elsewhere = keyed(&app, PATH, "k", &ann()).host(OTHER_HOST);
    let elsewhere = elsewhere.bearer(&other).send().await;
    assert_eq!(elsewhere.status, 201, "{}", elsewhere.body);
    assert!(!replayed(&elsewhere));

    let bob = json!({"username": "bob", "email": "bob@example.com"});
    let bob = keyed(&app, PATH, "k", &bob).bearer(&boss).send().await;
    assert_eq!(bob.status, 201, "{}", bob.body);
    // The same request of another user is that user's own.
    let again = keyed(&app, PATH, "k2", &ann()).bearer(&boss).send().await;
    again.is_error(409, "CONFLICT");
}

#[tokio::test]
async fn a_lost_right_is_lost_for_repeats_too() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let boss = app.user(&root, "boss", &["admin"]).await;
    let asking = keyed(&app, PATH, "k", &ann());
    asking.clone().bearer(&boss).send().await.ok();
    let body = json!({"roles": ["admin"], "usernames": ["boss"]});
    let revoke = app.ask("DELETE", "/api/revoke/roles/").json(&body);
    revoke.bearer(&root).send().await.ok();
    let refused = asking.clone().bearer(&boss).send().await;
    refused.is_error(403, "FORBIDDEN");
    asking.send().await.is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_hundred_at_once_have_one_effect_and_one_answer() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let function = app.function(&root, "Validate User Data").await;
    app.subscribe(&root, "PRE_USER_CREATE", function).await;
    let asking = keyed(&app, PATH, "k", &ann()).bearer(&root);
    let asked = (0..100).map(|_| asking.clone().send());
    let answers = futures_util::future::join_all(asked).await;
    let first = answers.iter().filter(|answer| !replayed(answer)).count();
    assert_eq!(first, 1);
    for answer in &answers {
        assert_eq!(answer.whole(), answers[0].whole());
    }
    assert_eq!(answers[0].status, 201);
    assert_eq!(total(&app, &root, PATH).await, 2);
    // The function was asked once, too.
    assert_eq!(total(&app, &root, "/api/invocations/").await, 1);
}

#[tokio::test]
async fn an_answer_outlives_the_process() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let asking = |app: &TestApp| keyed(app, PATH, "k", &ann()).bearer(&root);
    let first = asking(&app).send().await;
    let app = app.restarted().await;
    let again = asking(&app).send().await;
    assert!(replayed(&again));
    assert_eq!(again.whole(), first.whole());
}

#[tokio::test]
async fn a_denial_is_not_kept() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let deny = app.function(&root, "Deny").await;
    app.subscribe(&root, "PRE_USER_CREATE", deny).await;
    let asking = keyed(&app, PATH, "k", &ann()).bearer(&root);
    for _ in 0..2 {
        let answer = asking.clone().send().await;
        answer.is_error(400, "PRE_EVENT_DENIED");
        assert!(!replayed(&answer));
    }
    assert_eq!(total(&app, &root, "/api/invocations/").await, 2);
    unsubscribe(&app, &root, deny).await;
    assert_repeats(asking, 201).await;
}

async fn unsubscribe(app: &TestApp, root: &str, function: i64) {
    let path = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";
    let body = json!({"function_id": function});
    app.post(path, &body).bearer(root).send().await.ok();
}

#[tokio::test]
async fn whoever_waits_goes_on_when_the_first_one_leaves() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let hang = app.function(&root, "Hang").await;
    app.subscribe(&root, "PRE_USER_CREATE", hang).await;
    let asking = keyed(&app, PATH, "k", &ann()).bearer(&root);
    let mut first = Box::pin(asking.clone().send());
    until_running(&app, &root, &mut first).await;
    let mut second = Box::pin(asking.clone().send());
    assert!(second.as_mut().now_or_never().is_none());
    unsubscribe(&app, &root, hang).await;
    assert!(
        second.as_mut().now_or_never().is_none(),
        "it is not its turn"
    );
    drop(first);
    let second = second.await;
    assert_eq!((second.status, replayed(&second)), (201, false));
    assert!(replayed(&asking.send().await));
}

/// Polls a request until its PRE function is on record.
async fn until_running<F: Future<Output = crate::app::Answer> + Unpin>(
    app: &TestApp,
    root: &str,
    request: &mut F,
) {
    while total(app, root, "/api/invocations/").await == 0 {
        assert!(request.now_or_never().is_none());
    }
}

/// Wherever the first caller leaves, before, during or after the write, a repeat is answered as if
/// it had stayed.
#[tokio::test]
async fn a_caller_may_leave_at_any_moment() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for polls in 0..40 {
        let name = format!("user-{polls}");
        let body = json!({"username": name, "email": format!("{name}@example.com")});
        let asking = keyed(&app, PATH, &name, &body).bearer(&root);
        leave_after(polls, asking.clone()).await;
        let answer = asking.send().await;
        assert_eq!(answer.status, 201, "{polls}: {}", answer.body);
        assert_eq!(answer.body["data"]["username"], name);
    }
    assert_eq!(total(&app, &root, PATH).await, 41);
}

async fn leave_after(polls: usize, asking: Asking) {
    let mut request = Box::pin(asking.send());
    for _ in 0..polls {
        if request.as_mut().now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
