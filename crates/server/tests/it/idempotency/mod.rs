//! `Idempotency-Key` on creating requests, one file for each group of routes.

mod api_keys;
mod apps;
mod execute;
mod keys;
mod rights;
mod secrets;
mod subscribe;
mod users;

use crate::app::{Answer, Asking, TestApp};
use serde_json::Value;

/// A POST with a key.
fn keyed(app: &TestApp, path: &str, key: &str, body: &Value) -> Asking {
    app.post(path, body).header("idempotency-key", key)
}

/// Whether an answer says that it was given before.
fn replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

/// Sends a request twice: the second answer is the first one, and says so.
async fn assert_repeats(asking: Asking, status: u16) -> Value {
    let first = asking.clone().send().await;
    assert_eq!(first.status, status, "{}", first.body);
    assert!(!replayed(&first));
    let second = asking.send().await;
    assert!(replayed(&second), "{}", second.body);
    assert_eq!(second.whole(), first.whole());
    assert_eq!(second.header("content-type"), first.header("content-type"));
    first.body
}

/// How many there are of what a list route lists.
async fn total(app: &TestApp, token: &str, path: &str) -> u64 {
    let list = app.get(path).bearer(token).send().await.ok();
    list["total"].as_u64().unwrap()
}
