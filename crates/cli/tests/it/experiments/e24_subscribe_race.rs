//! E24: many equal subscribes at once, and against unsubscribing and deleting. The database decides:
//! one stands, the others are told why, and nothing ends in a 5xx.

use crate::support::api::{Answer, Api};
use crate::support::code::AGREE;
use crate::support::server::Server;
use futures_util::future::join_all;
use serde_json::json;

const AT_ONCE: usize = 200;
const EVENT: &str = "PRE_USER_CREATE";
const FUNCTION: &str = "/api/apps/checks/functions/agrees/";

async fn start() -> (Server, i64) {
    let server = Server::start().await;
    server.api.app("checks").await;
    let id = server
        .api
        .function("checks", "agrees", AGREE, &json!({}))
        .await;
    (server, id)
}

async fn ask(api: &Api, what: &str, function: i64) -> Answer {
    let path = format!("/api/cloud/events/{EVENT}/{what}/");
    api.post(&path, &json!({"function_id": function})).await
}

fn already(function: i64) -> String {
    format!("Function {function} is already subscribed to event '{EVENT}'")
}

/// The subscriptions of the app's functions, as its own list shows them and as they are counted.
async fn subscribers(api: &Api) -> usize {
    let app = api.get(&format!("/api/apps/checks/events/{EVENT}/")).await;
    let listed = app.ok()["data"]["subscribers"].as_array().unwrap().len();
    let all = api.get(&format!("/api/cloud/events/{EVENT}/")).await.ok();
    assert_eq!(all["data"]["total_subscribers"], listed);
    listed
}

#[tokio::test]
async fn of_two_hundred_equal_subscribes_one_stands() {
    let (server, id) = start().await;
    let asked = (0..AT_ONCE).map(|_| ask(&server.api, "subscribe", id));
    let (made, refused): (Vec<_>, Vec<_>) = join_all(asked)
        .await
        .into_iter()
        .partition(|answer| answer.status == 200);
    assert_eq!((made.len(), refused.len()), (1, AT_ONCE - 1));
    assert_eq!(made[0].body["data"]["function"], id);
    for answer in refused {
        assert_eq!(answer.refused(400, "BAD_REQUEST"), already(id));
    }
    assert_eq!(subscribers(&server.api).await, 1);
    server.stop().await;
}

/// Subscribing and unsubscribing at the same time: what succeeded adds up to what is there.
#[tokio::test]
async fn subscribes_against_unsubscribes_add_up() {
    let (server, id) = start().await;
    let api = &server.api;
    let asked = (0..AT_ONCE).map(|number| {
        let what = if number % 2 == 0 {
            "subscribe"
        } else {
            "unsubscribe"
        };
        async move { (what, ask(api, what, id).await) }
    });
    let mut standing = 0_i64;
    for (what, answer) in join_all(asked).await {
        match (what, answer.status) {
            ("subscribe", 200) => standing += 1,
            ("unsubscribe", 200) => standing -= 1,
            ("subscribe", _) => assert_eq!(answer.refused(400, "BAD_REQUEST"), already(id)),
            _ => {
                let message = format!("Function {id} was not subscribed to event '{EVENT}'");
                assert_eq!(answer.refused(404, "NOT_FOUND"), message);
            }
        }
    }
    assert_eq!(
        standing,
        i64::try_from(subscribers(&server.api).await).unwrap()
    );
    server.stop().await;
}

/// A function that is deleted meanwhile leaves no subscription behind.
#[tokio::test]
async fn subscribes_against_a_deletion_leave_nothing() {
    let (server, id) = start().await;
    let api = &server.api;
    let asked = (0..AT_ONCE).map(|number| async move {
        if number == AT_ONCE / 2 {
            return api.delete(FUNCTION).await;
        }
        ask(api, "subscribe", id).await
    });
    let answers = join_all(asked).await;
    let gone = format!("Function with id {id} does not exist");
    let mut made = 0;
    for (number, answer) in answers.into_iter().enumerate() {
        if number == AT_ONCE / 2 {
            assert_eq!(answer.status, 200, "{answer:?}");
        } else if answer.status == 200 {
            made += 1;
        } else {
            let message = answer.refused(400, "BAD_REQUEST");
            assert!(message == already(id) || message == gone, "{message}");
        }
    }
    assert!(made <= 1, "{made} subscriptions of one function");
    assert_eq!(subscribers(&server.api).await, 0);
    let late = ask(&server.api, "subscribe", id).await;
    assert_eq!(late.refused(400, "BAD_REQUEST"), gone);
    // And nobody is asked any more.
    server.api.create_user("ann").await.ok();
    assert!(server.api.runs_of("agrees").await.is_empty());
    server.stop().await;
}
