//! What a request may cost the server: time of the thread that serves everybody, and memory.

use crate::app::TestApp;
use serde_json::{Value, json};

const FUNCTIONS: &str = "/api/apps/user-management/functions/";
const SUBSCRIBE: &str = "/api/cloud/events/PRE_USER_CREATE/subscribe/";

/// Far more than what is evaluated beside other requests.
fn dear() -> (&'static str, Value) {
    let list: Vec<u32> = (0..100).collect();
    let filter = "!event.params.attributes.a.all(x, x in event.params.attributes.b)";
    (filter, json!({"a": list, "b": list}))
}

#[tokio::test]
async fn no_number_of_dear_filters_holds_up_other_requests() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let (filter, attributes) = dear();
    for number in 0..17 {
        let body = json!({"name": format!("F{number}"), "code": "def main(): pass"});
        let function = app.post(FUNCTIONS, &body).bearer(&root).send().await.ok();
        let options = json!({"function_id": function["id"], "filter": filter});
        app.post(SUBSCRIBE, &options)
            .bearer(&root)
            .send()
            .await
            .ok();
    }
    let create = |name: &str| {
        let user = json!({
            "username": name,
            "email": format!("{name}@example.com"),
            "attributes": attributes,
        });
        app.post("/api/users/", &user).bearer(&root).send()
    };
    let mut creating = Box::pin(create("ann"));
    // This test has one thread. As long as the filters are evaluated, it serves others.
    let mut served = 0;
    let created = loop {
        tokio::select! {
            biased;
            created = &mut creating => break created,
            health = app.get("/healthz").send() => {
                health.ok();
                served += 1;
                // Or the runtime has no turn, and what the creation waits for never comes.
                tokio::task::yield_now().await;
            }
        }
    };
    assert_eq!(created.status, 201, "{:?}", created.body);
    assert!(served > 5, "{served} requests were served meanwhile");
}

/// A hundred thousand little objects are a hundred times as large as their text once they are read.
fn costly(bytes: usize) -> String {
    let unit = r#"{"":0},"#;
    format!("[{}0]", unit.repeat(bytes / unit.len()))
}

#[tokio::test]
async fn attributes_are_measured_before_they_are_read() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let list = costly(600_000);
    for attributes in [
        format!(r#"{{"a":{list}}}"#),
        serde_json::to_string(&format!(r#"{{"a":{list}}}"#)).unwrap(),
    ] {
        let body =
            format!(r#"{{"username":"ann","email":"ann@example.com","attributes":{attributes}}}"#);
        for (method, path) in [("POST", "/api/users/"), ("PATCH", "/api/users/root/")] {
            let body = if method == "POST" {
                body.clone()
            } else {
                format!(r#"{{"attributes":{attributes}}}"#)
            };
            let answer = app
                .ask(method, path)
                .raw(body.clone().into_bytes())
                .bearer(&root)
                .send()
                .await;
            assert!(
                (400..500).contains(&answer.status),
                "{method}: {:?}",
                answer.body
            );
            assert!(
                answer.body.to_string().contains("Keep it below 64 KiB"),
                "{:?}",
                answer.body
            );
        }
    }
    // Blanks are not counted: they are not kept.
    let blank = format!(r#"{{"attributes":{{"a":{}1}}}}"#, " ".repeat(200_000));
    let answer = app
        .ask("PATCH", "/api/users/root/")
        .raw(blank.clone().into_bytes())
        .bearer(&root);
    assert_eq!(
        answer.send().await.ok()["data"]["attributes"],
        json!({"a": 1})
    );
}
