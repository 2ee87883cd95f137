//! Every verdict × (create, update, delete): the status, the body, what is stored, and the records.

use crate::app::{Answer, TestApp};
use serde_json::{Value, json};
use tollgate_core::tasks::FailureKind;
use tollgate_testkit::fake_runtime::Behaviour;

/// What a function does, and what must come of it.
struct Case {
    name: &'static str,
    does: Behaviour,
    on_timeout: &'static str,
    filter: Option<&'static str>,
    /// None: the operation happens. Else the error code, and the `kind` in `errors`.
    refused: Option<(&'static str, &'static str)>,
    /// The record's state, verdict and kind of error; none when there is no record.
    record: Option<(&'static str, &'static str, Option<&'static str>)>,
}

fn case(name: &'static str, does: Behaviour) -> Case {
    Case {
        name,
        does,
        on_timeout: "deny",
        filter: None,
        refused: None,
        record: Some(("succeeded", "allowed", None)),
    }
}

fn denied(name: &'static str, returned: Value) -> Case {
    Case {
        refused: Some(("PRE_EVENT_DENIED", "denied")),
        record: Some(("succeeded", "denied", None)),
        ..case(name, Behaviour::Return(returned))
    }
}

fn broken(name: &'static str, does: Behaviour, kind: &'static str) -> Case {
    Case {
        refused: Some(("PRE_EVENT_FAILED", kind)),
        record: Some(("failed", "broken", Some(kind))),
        ..case(name, does)
    }
}

fn cases() -> Vec<Case> {
    let fails = Behaviour::Fail;
    let returns = Behaviour::Return;
    vec![
        case("nothing", returns(Value::Null)),
        case("true", returns(json!({"success": true}))),
        case("a-number", returns(json!(42))),
        denied("no", json!({"success": false, "error": "not today"})),
        denied("message", json!({"success": false, "message": "not today"})),
        denied(
            "fields",
            json!({"success": false, "error": "not today", "errors": {"email": "x"}}),
        ),
        broken("exception", fails(FailureKind::Exception), "exception"),
        broken("crash", fails(FailureKind::Crashed), "crashed"),
        broken("limit", fails(FailureKind::Limit), "limit"),
        broken("not-json", fails(FailureKind::NotJson), "not_json"),
        broken("load", fails(FailureKind::Load), "load"),
        broken(
            "staff",
            returns(json!({"params": {"is_staff": true}})),
            "enrichment",
        ),
        Case {
            record: Some(("timed_out", "broken", Some("timeout"))),
            ..broken("late", fails(FailureKind::Timeout), "timeout")
        },
        Case {
            on_timeout: "allow",
            record: Some(("timed_out", "allowed", Some("timeout"))),
            ..case("late-allowed", fails(FailureKind::Timeout))
        },
        Case {
            filter: Some("event.params.username == 'somebody-else'"),
            record: None,
            ..case("filtered", fails(FailureKind::Crashed))
        },
        Case {
            filter: Some("event.params.attributes.none == 1"),
            ..broken("unclear", returns(Value::Null), "filter")
        },
    ]
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn event(self) -> &'static str {
        match self {
            Self::Create => "PRE_USER_CREATE",
            Self::Update => "PRE_USER_UPDATE",
            Self::Delete => "PRE_USER_DELETE",
        }
    }

    async fn run(self, app: &TestApp, root: &str) -> Answer {
        let user = "/api/users/ann/";
        let asking = match self {
            Self::Create => {
                let body = json!({"username": "ann", "email": "ann@example.com"});
                app.post("/api/users/", &body)
            }
            Self::Update => app.ask("PATCH", user).json(&json!({"last_name": "New"})),
            Self::Delete => app.ask("DELETE", user),
        };
        asking.bearer(root).send().await
    }

    /// Whether the database says that it happened.
    async fn happened(self, app: &TestApp, root: &str) -> bool {
        let found = app.get("/api/users/ann/").bearer(root).send().await;
        match self {
            Self::Create => found.status == 200,
            Self::Update => found.body["data"]["last_name"] == "New",
            Self::Delete => found.status == 404,
        }
    }
}

async fn world(operation: Operation, case: &Case) -> (TestApp, String, i64) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    if !matches!(operation, Operation::Create) {
        let answer = Operation::Create.run(&app, &root).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    app.fake.on("check", case.does.clone());
    let body = json!({"name": "Check", "code": "def main(): pass"});
    let path = "/api/apps/user-management/functions/";
    let function = app.post(path, &body).bearer(&root).send().await.ok();
    let id = function["id"].as_i64().unwrap();
    let path = format!("/api/cloud/events/{}/subscribe/", operation.event());
    let body = json!({"function_id": id, "on_timeout": case.on_timeout, "filter": case.filter});
    app.post(&path, &body).bearer(&root).send().await.ok();
    (app, root, id)
}

/// What a refusal says: which event, function, run and why.
fn check_refusal(answer: &Answer, operation: Operation, function: i64, case: &Case) -> i64 {
    let (code, kind) = case.refused.unwrap();
    let message = answer.is_error(400, code);
    let told = format!("{operation:?} {}: {message}", case.name);
    assert!(message.starts_with(operation.event()), "{told}");
    assert!(message.contains("'Check'"), "{told}");
    let errors = answer.body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{told}");
    let by = &errors[0];
    assert_eq!(by["kind"], kind, "{told}");
    assert_eq!(by["function_id"], function, "{told}");
    assert_eq!(
        (&by["function_name"], &by["function_slug"]),
        (&json!("Check"), &json!("check"))
    );
    assert!(message.contains(by["message"].as_str().unwrap()), "{told}");
    if kind == "denied" {
        assert_eq!(by["message"], "not today", "{told}");
    }
    if case.name == "fields" {
        assert_eq!(by["fields"], json!({"email": "x"}), "{told}");
    }
    by["invocation_id"].as_i64().unwrap()
}

#[tokio::test]
async fn every_verdict_on_every_operation() {
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        for case in cases() {
            let told = format!("{operation:?} {}", case.name);
            let (app, root, function) = world(operation, &case).await;
            let answer = operation.run(&app, &root).await;
            let named = match case.refused {
                Some(_) => Some(check_refusal(&answer, operation, function, &case)),
                None => {
                    assert!(answer.status < 300, "{told}: {}", answer.body);
                    None
                }
            };
            let happened = operation.happened(&app, &root).await;
            assert_eq!(happened, case.refused.is_none(), "{told}");
            let path = format!("/api/invocations/?event={}", operation.event());
            let list = app.get(&path).bearer(&root).send().await.ok();
            let records = list["data"].as_array().unwrap();
            match case.record {
                None => assert!(records.is_empty(), "{told}: {list}"),
                Some((state, verdict, kind)) => {
                    assert_eq!(records.len(), 1, "{told}");
                    let record = &records[0];
                    assert_eq!(record["state"], state, "{told}");
                    assert_eq!(record["verdict"]["kind"], verdict, "{told}");
                    let summary = record["verdict"]["summary"].as_str().unwrap();
                    assert!(summary.starts_with(verdict), "{told}: {summary}");
                    if let Some(message) = record["verdict"]["message"].as_str() {
                        assert_eq!(summary, format!("{verdict}: {message}"), "{told}");
                    }
                    assert_eq!(record["error"]["kind"], json!(kind), "{told}");
                    assert_eq!(record["changes"], Value::Null, "{told}");
                    if let Some(id) = named {
                        assert_eq!(record["id"], id, "{told}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_record_tells_what_its_function_changed() {
    let enrich = Behaviour::Return(json!({"params": {
        "first_name": "Ann", "attributes": {"plan": "pro"}, "is_active": true}}));
    let case = case("enrich", enrich);
    for operation in [Operation::Create, Operation::Update] {
        let (app, root, _) = world(operation, &case).await;
        assert!(operation.run(&app, &root).await.status < 300);
        let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
        let record = &list["data"][0];
        let verdict = json!({"kind": "enriched", "fields": ["attributes.plan", "first_name"],
            "summary": "enriched attributes.plan, first_name"});
        assert_eq!(record["verdict"], verdict);
        // What was so already is no change.
        let expected = json!({
            "attributes.plan": {"from": null, "to": "pro"},
            "first_name": {"from": "", "to": "Ann"},
        });
        assert_eq!(record["changes"], expected, "{operation:?}");
    }
    let (app, root, _) = world(Operation::Delete, &case).await;
    let answer = Operation::Delete.run(&app, &root).await;
    let message = answer.is_error(400, "PRE_EVENT_FAILED");
    assert!(
        message.contains("lets functions change nothing"),
        "{message}"
    );
}

#[tokio::test]
async fn a_post_function_whose_filter_cannot_be_told_is_a_dead_letter() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let body = json!({"name": "Check", "code": "def main(): pass"});
    let path = "/api/apps/user-management/functions/";
    let function = app.post(path, &body).bearer(&root).send().await.ok();
    let path = "/api/cloud/events/POST_USER_CREATE/subscribe/";
    let filter = "event.params.attributes.none == 1";
    let body = json!({"function_id": function["id"], "filter": filter});
    app.post(path, &body).bearer(&root).send().await.ok();
    let created = Operation::Create.run(&app, &root).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let list = app.get("/api/invocations/").bearer(&root).send().await.ok();
    let record = &list["data"][0];
    assert_eq!(
        (&record["state"], &record["error"]["kind"]),
        (&json!("dead"), &json!("filter"))
    );
    let message = record["error"]["message"].as_str().unwrap();
    assert!(message.contains("'Check'"), "{message}");
    let record = app.get(&format!("/api/invocations/{}/", record["id"]));
    let record = record.bearer(&root).send().await.ok();
    let reason = record["error"]["traceback"].as_str().unwrap();
    assert!(reason.contains("none"), "{reason}");
    assert!(app.fake.calls().is_empty());
}
