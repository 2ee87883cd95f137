//! What stands in a filter is for those who may subscribe: by whichever way somebody looks.

use crate::app::TestApp;
use serde_json::{Value, json};

const SECRET: &str = "secret_tier";
const FILTER: &str = "event.params.attributes.secret_tier == 'gold-partner-7'";

/// A function of that filter for both events of an update, and ann, who may read runs if `reads`.
async fn app(reads: bool) -> (TestApp, String, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let id = app.function(&root, "Return All").await;
    for event in ["PRE_USER_UPDATE", "POST_USER_UPDATE"] {
        let path = format!("/api/cloud/events/{event}/subscribe/");
        let body = json!({"function_id": id, "filter": FILTER, "max_attempts": 1});
        let body = match event {
            "PRE_USER_UPDATE" => json!({"function_id": id, "filter": FILTER}),
            _ => body,
        };
        app.post(&path, &body).bearer(&root).send().await.ok();
    }
    let roles: &[&str] = if reads {
        &["user-management:viewer"]
    } else {
        &[]
    };
    let ann = app.user(&root, "ann", roles).await;
    (app, root, ann)
}

#[tokio::test]
async fn why_a_filter_could_not_be_evaluated_is_inside() {
    for reads in [false, true] {
        let (app, root, ann) = app(reads).await;
        let me = app
            .ask("PATCH", "/api/users/ann/")
            .json(&json!({"last_name": "Q"}));
        let refused = me.bearer(&ann).send().await;
        let message = refused.is_error(400, "PRE_EVENT_FAILED");
        assert!(message.contains("could not be evaluated"), "{message}");
        assert!(!refused.bytes().contains(SECRET), "{}", refused.bytes());
        // The POST event's run, which becomes a dead letter.
        let pre = json!({"function_id": 1});
        let path = "/api/cloud/events/PRE_USER_UPDATE/unsubscribe/";
        app.post(path, &pre).bearer(&root).send().await.ok();
        let me = app
            .ask("PATCH", "/api/users/ann/")
            .json(&json!({"last_name": "R"}));
        me.bearer(&ann).send().await.ok();
        let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
        let (post, pre) = (&list["data"][0]["id"], &list["data"][1]["id"]);
        assert_eq!(list["total"], 2, "{list}");
        let task = list["data"][0]["task_id"].as_str().unwrap();
        for path in [
            format!("/api/invocations/{post}/"),
            format!("/api/invocations/{pre}/"),
            format!("/api/result/{task}/"),
            "/api/invocations/".to_owned(),
            "/api/dead-letters/".to_owned(),
            format!("/api/dead-letters/{post}/"),
        ] {
            let seen = app.get(&path).bearer(&ann).send().await;
            assert_eq!(seen.status, 200, "{path} {}", seen.body);
            assert!(!seen.bytes().contains(SECRET), "{path} {}", seen.bytes());
        }
        let whole = app.get(&format!("/api/invocations/{post}/")).bearer(&root);
        let whole = whole.send().await.ok();
        let inside = whole["error"]["traceback"].as_str().unwrap();
        assert!(inside.contains(SECRET), "{whole}");
    }
}

/// With values of one's own choice one could ask for a filter letter by letter.
#[tokio::test]
async fn explaining_is_no_oracle() {
    let (app, root, ann) = app(true).await;
    let explain = async |token: &str, params: Value| {
        let path = "/api/cloud/events/PRE_USER_UPDATE/explain/";
        let body = json!({"params": params});
        let answer = app.post(path, &body).bearer(token).send().await.ok();
        answer["data"].clone()
    };
    let tiers = [
        json!({"attributes": {"secret_tier": "gold-partner-7"}}),
        json!({"attributes": {"secret_tier": "gold"}}),
        json!({"attributes": {"secret_tier": 7}}),
        json!({"attributes": {}}),
        json!({"attributes": null}),
        json!({}),
    ];
    let expected = explain(&ann, json!({})).await;
    assert_eq!(expected["subscriptions"][0]["reason"], "filter");
    assert_eq!(
        expected["subscriptions"][0]["options"]["filter"],
        Value::Null
    );
    for params in &tiers {
        assert_eq!(explain(&ann, params.clone()).await, expected, "{params}");
    }
    // Who may subscribe is told all.
    let words = [
        "",
        "filter",
        "filter",
        "filter_failed",
        "filter_failed",
        "filter_failed",
    ];
    for (params, word) in tiers.iter().zip(words) {
        if params["attributes"] == Value::Null && params.get("attributes").is_some() {
            continue;
        }
        let told = explain(&root, params.clone()).await;
        let reason = told["subscriptions"][0]["reason"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(reason, word, "{params}: {told}");
    }
    // What the sample does is no secret: it would run, for everybody who asks.
    let body = json!({"function_id": 1, "filter": "event.params.is_active || true"});
    let path = "/api/cloud/events/PRE_USER_UPDATE/subscribe/";
    let changed = app.ask("PATCH", path).json(&body).bearer(&root);
    changed.send().await.ok();
    assert_eq!(explain(&ann, json!({})).await["would_run"], 1);
}

/// Nor is a request of one's own choice: not what is asked about, nor one's own headers.
#[tokio::test]
async fn a_request_of_ones_choice_is_no_oracle() {
    let (app, root, ann) = app(true).await;
    let path = "/api/cloud/events/PRE_USER_UPDATE/subscribe/";
    let filter = "event.request.user_agent == 'secret'";
    let body = json!({"function_id": 1, "filter": filter});
    let asking = app.ask("PATCH", path).json(&body).bearer(&root);
    asking.send().await.ok();
    let explain = async |token: &str, body: Value, agent: &str| {
        let path = "/api/cloud/events/PRE_USER_UPDATE/explain/";
        let asking = app.post(path, &body).bearer(token);
        let answer = asking.header("user-agent", agent).send().await.ok();
        answer["data"]["would_run"].clone()
    };
    let given = json!({"request": {"user_agent": "secret"}});
    for (body, agent) in [(&given, "x"), (&json!({}), "secret")] {
        assert_eq!(explain(&root, body.clone(), agent).await, 1);
        assert_eq!(explain(&ann, body.clone(), agent).await, 0);
    }
}
