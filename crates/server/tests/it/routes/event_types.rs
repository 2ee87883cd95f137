//! `/api/apps/{app_slug}/event-types/` and what the catalogue's routes make of what is declared there.

use crate::app::{Answer, Asking, OTHER_HOST, TestApp, assert_key_order};
use serde_json::{Value, json};

const TYPES: &str = "/api/apps/user-management/event-types/";
const ORDER: &str = "/api/apps/user-management/event-types/POST_ORDER_PLACED/";

fn order() -> Value {
    json!({
        "name": "POST_ORDER_PLACED",
        "description": "After an order was placed.",
        "params_schema": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string"}, "total": {"type": "number", "minimum": 0}}},
        "sample": {"id": "o-1", "total": 12.5},
    })
}

async fn app() -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    (app, root)
}

async fn declare(app: &TestApp, root: &str, body: &Value) -> Answer {
    app.post(TYPES, body).bearer(root).send().await
}

fn change(app: &TestApp, root: &str, body: &Value) -> Asking {
    app.ask("PATCH", ORDER).json(body).bearer(root)
}

/// The faults of an answer, by field.
fn faults(answer: &Answer) -> Vec<(String, String)> {
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap().to_owned();
    let faults = answer.body["errors"].as_array().unwrap().iter();
    faults
        .map(|it| (text(it, "field"), text(it, "message")))
        .collect()
}

#[tokio::test]
async fn a_type_is_declared_shown_changed_and_deleted() {
    let (app, root) = app().await;
    let made = declare(&app, &root, &order()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let data = &made.body["data"];
    for (field, value) in [
        ("name", json!("POST_ORDER_PLACED")),
        ("event", json!("POST_ORDER_PLACED")),
        ("phase", json!("POST")),
        ("app", json!(1)),
        ("app_slug", json!("user-management")),
        ("total_subscribers", json!(0)),
        ("sample", order()["sample"].clone()),
        ("params_schema", order()["params_schema"].clone()),
    ] {
        assert_eq!(data[field], value, "{field}: {data}");
    }
    let keys = [
        "name",
        "event",
        "phase",
        "description",
        "params_schema",
        "sample",
        "app",
        "app_slug",
        "total_subscribers",
        "created_at",
        "updated_at",
    ];
    assert_key_order(app.get(ORDER).bearer(&root), &keys).await;
    let list = app.get(TYPES).bearer(&root).send().await.ok();
    assert_eq!(
        (&list["total"], &list["data"][0]["name"]),
        (&json!(1), &data["name"])
    );
}

#[tokio::test]
async fn a_type_is_changed_as_it_was_seen_and_deleted() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    let seen = app.get(ORDER).bearer(&root).send().await;
    let tag = seen.header("etag").to_owned();
    let again = app.get(ORDER).bearer(&root).header("if-none-match", &tag);
    assert_eq!(again.send().await.status, 304);
    // What a GET shows can be sent back.
    let body = json!({"description": null, "total_subscribers": 7});
    let mut back = seen.body["data"].clone();
    back["description"] = Value::Null;
    let changed = change(&app, &root, &back)
        .header("if-match", &tag)
        .send()
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["data"]["description"], "");
    let stale = change(&app, &root, &body)
        .header("if-match", &tag)
        .send()
        .await;
    stale.is_error(412, "CONFLICT");
    let renamed = change(&app, &root, &json!({"name": "POST_OTHER"}))
        .send()
        .await;
    renamed.is_error(400, "VALIDATION_ERROR");
    // Of a merge patch, what is not named stays.
    let patch = app
        .ask("PATCH", ORDER)
        .raw(br#"{"sample": {"id": "o-2"}}"#.to_vec());
    let merged = patch
        .header("content-type", "application/merge-patch+json")
        .bearer(&root);
    assert_eq!(
        merged.send().await.ok()["data"]["sample"],
        json!({"id": "o-2", "total": 12.5})
    );
    let put = app
        .ask("PUT", ORDER)
        .json(&json!({"sample": {"id": "o-3"}}))
        .bearer(&root);
    assert_eq!(
        put.send().await.ok()["data"]["sample"],
        json!({"id": "o-3"})
    );

    app.ask("DELETE", ORDER).bearer(&root).send().await.ok();
    app.get(ORDER)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    declare(&app, &root, &order()).await.ok();
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let (app, root) = app().await;
    let body = json!({
        "name": "order placed",
        "description": 7,
        "schema": {},
        "params_schema": {"type": "object", "properties": {
            "a": {"$ref": "https://example.com/"}, "b": {"$ref": "#"}}},
        "sample": [],
    });
    let refused = declare(&app, &root, &body).await;
    refused.is_error(400, "VALIDATION_ERROR");
    let found = faults(&refused);
    for (field, words) in [
        ("name", "Use POST_"),
        ("description", "text"),
        ("schema", "params_schema"),
        ("params_schema.properties.a.$ref", "nothing is fetched"),
        ("params_schema.properties.b.$ref", "leads back"),
        ("sample", "object"),
    ] {
        let fits = |(at, message): &(String, String)| at == field && message.contains(words);
        assert!(found.iter().any(fits), "{field}: {found:?}");
    }
    let body = json!({"name": "POST_A", "params_schema": order()["params_schema"], "sample": {"total": -1}});
    let found = faults(&declare(&app, &root, &body).await);
    let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert!(
        fields.contains(&"sample") && fields.contains(&"sample.total"),
        "{found:?}"
    );
    let missing = declare(&app, &root, &json!({})).await;
    let found = faults(&missing);
    assert_eq!(found.len(), 3, "{found:?}");
    // Numbers are exact, or refused.
    let raw = br#"{"name":"POST_A","params_schema":{"type":"object"},"sample":{"n":36893488147419103233}}"#;
    let asking = app.ask("POST", TYPES).raw(raw.to_vec()).bearer(&root);
    let refused = asking
        .header("content-type", "application/json")
        .send()
        .await;
    assert_eq!(faults(&refused)[0].0, "sample.n");
    let long = json!({"name": "POST_A", "sample": {}, "params_schema": {"type": "object",
        "description": "x".repeat(16 * 1024)}});
    let found = faults(&declare(&app, &root, &long).await);
    assert!(found[0].1.contains("16 KiB"), "{found:?}");
}

#[tokio::test]
async fn names_are_the_sites_and_never_the_platforms() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    for (name, status, words) in [
        ("POST_ORDER_PLACED", 409, "already exists"),
        ("POST_USER_CREATE", 400, "platform"),
        ("PRE_USER_CREATE", 400, "platform"),
        ("PRE_ORDER_PLACE", 400, "wait for its verdict"),
    ] {
        let mut body = order();
        body["name"] = json!(name);
        let refused = declare(&app, &root, &body).await;
        assert_eq!(refused.status, status, "{name}: {}", refused.body);
        let found = faults(&refused);
        assert_eq!(found[0].0, "name");
        assert!(found[0].1.contains(words), "{found:?}");
    }
    app.post("/api/apps/", &json!({"name": "Other"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let others = app
        .post("/api/apps/other/event-types/", &order())
        .bearer(&root);
    others.send().await.is_error(409, "CONFLICT");
    let path = ORDER.replace("user-management", "other");
    app.get(&path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
    app.ask("DELETE", &path)
        .bearer(&root)
        .send()
        .await
        .is_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_declaration_is_made_once_for_each_key() {
    let (app, root) = app().await;
    let once = || {
        app.post(TYPES, &order())
            .bearer(&root)
            .header("idempotency-key", "k1")
    };
    let first = once().send().await;
    assert_eq!(first.status, 201, "{}", first.body);
    let second = once().send().await;
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(second.header("idempotent-replayed"), "true");
    let other = app
        .post(TYPES, &json!({}))
        .bearer(&root)
        .header("idempotency-key", "k1");
    other.send().await.is_error(409, "CONFLICT");
}

#[tokio::test]
async fn the_catalogue_lists_own_types_behind_the_platforms() {
    let (app, root) = app().await;
    app.post("/api/apps/", &json!({"name": "Alpha"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    declare(&app, &root, &order()).await.ok();
    let mut body = order();
    for name in ["POST_Z", "POST_B"] {
        body["name"] = json!(name);
        let asking = app
            .post("/api/apps/alpha/event-types/", &body)
            .bearer(&root);
        asking.send().await.ok();
    }
    let plain = app.user(&root, "plain", &[]).await;
    let listed = app
        .get("/api/cloud/events/")
        .bearer(&plain)
        .send()
        .await
        .ok();
    let names: Vec<_> = listed["data"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(names[..2], ["PRE_USER_CREATE", "POST_USER_CREATE"]);
    assert_eq!(
        names[names.len() - 3..],
        ["POST_B", "POST_Z", "POST_ORDER_PLACED"]
    );

    let detail = app
        .get("/api/cloud/events/POST_ORDER_PLACED/")
        .bearer(&plain);
    let detail = detail.send().await.ok()["data"].clone();
    for (field, value) in [
        ("app", json!("user-management")),
        ("phase", json!("POST")),
        ("blocking", json!(false)),
        ("enrichable", json!([])),
        ("description", order()["description"].clone()),
        ("params_schema", order()["params_schema"].clone()),
        ("sample", order()["sample"].clone()),
    ] {
        assert_eq!(detail[field], value, "{field}: {detail}");
    }
    let platforms = app.get("/api/cloud/events/PRE_USER_CREATE/").bearer(&plain);
    let platforms = platforms.send().await.ok();
    assert!(!platforms["data"].as_object().unwrap().contains_key("app"));
}

#[tokio::test]
async fn an_unknown_name_lists_own_types_and_apps_count_them() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    let plain = app.user(&root, "plain", &[]).await;
    let unknown = app
        .get("/api/cloud/events/POST_NONE/")
        .bearer(&plain)
        .send()
        .await;
    let message = unknown.is_error(400, "BAD_REQUEST");
    assert!(
        message.starts_with("Invalid event type 'POST_NONE'. Must be one of: PRE_USER_CREATE, "),
        "{message}"
    );
    assert!(
        message.ends_with("POST_ROLE_REVOKE_DENIED, POST_ORDER_PLACED"),
        "{message}"
    );

    let of_app = app
        .get("/api/apps/user-management/events/")
        .bearer(&plain)
        .send()
        .await
        .ok();
    let last = of_app["data"]["events"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        last,
        json!({"event": "POST_ORDER_PLACED", "total_subscribers": 0})
    );
}

#[tokio::test]
async fn functions_subscribe_to_own_types_with_filters_on_their_fields() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    let function = app.function(&root, "Check Email Domain").await;
    let path = "/api/cloud/events/POST_ORDER_PLACED/subscribe/";
    let subscribe = |filter: &str| {
        let body = json!({"function_id": function, "filter": filter});
        app.post(path, &body).bearer(&root)
    };
    let wrong = subscribe("event.params.totl > 10.0").send().await;
    let message = wrong.is_error(400, "VALIDATION_ERROR");
    assert!(
        message.contains("there is no field 'totl'; there is id, total"),
        "{message}"
    );
    subscribe("event.params.total > 10.0").send().await.ok();

    let explain = async |params: Value| {
        let path = "/api/cloud/events/POST_ORDER_PLACED/explain/";
        let asking = app.post(path, &json!({"params": params})).bearer(&root);
        asking.send().await
    };
    assert_eq!(explain(json!({})).await.ok()["data"]["would_run"], 1);
    let small = explain(json!({"total": 3})).await.ok();
    assert_eq!(small["data"]["would_run"], 0);
    assert_eq!(small["data"]["subscriptions"][0]["reason"], "filter");
    let wrong = explain(json!({"total": -3, "id": 4})).await;
    wrong.is_error(400, "VALIDATION_ERROR");
    let fields: Vec<_> = faults(&wrong).into_iter().map(|it| it.0).collect();
    assert_eq!(fields.len(), 2, "{fields:?}");
    assert!(
        fields.contains(&"params.total".to_owned()) && fields.contains(&"params.id".to_owned())
    );

    let refused = app.ask("DELETE", ORDER).bearer(&root).send().await;
    let message = refused.is_error(409, "CONFLICT");
    assert!(message.contains("1 function is subscribed"), "{message}");
    let shown = app.get(ORDER).bearer(&root).send().await.ok();
    assert_eq!(shown["data"]["total_subscribers"], 1);
    let of_app = app
        .get("/api/apps/user-management/events/POST_ORDER_PLACED/")
        .bearer(&root);
    assert_eq!(of_app.send().await.ok()["data"]["total_subscribers"], 1);
    let list = app
        .get("/api/invocations/?event=POST_ORDER_PLACED")
        .bearer(&root);
    assert_eq!(list.send().await.ok()["total"], 0);
    let list = app
        .get("/api/dead-letters/?event=POST_ORDER_PLACED")
        .bearer(&root);
    assert_eq!(list.send().await.ok()["total"], 0);
    let path = "/api/cloud/events/POST_ORDER_PLACED/unsubscribe/";
    let asking = app
        .post(path, &json!({"function_id": function}))
        .bearer(&root);
    asking.send().await.ok();
    app.ask("DELETE", ORDER).bearer(&root).send().await.ok();
    subscribe("true").send().await.is_error(400, "BAD_REQUEST");
}

#[tokio::test]
async fn to_another_apps_type_subscribes_who_may_read_that_apps_runs() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    app.post("/api/apps/", &json!({"name": "Other"}))
        .bearer(&root)
        .send()
        .await
        .ok();
    let body = json!({"name": "Check Email Domain", "execution_mode": "system"});
    let made = app
        .post("/api/apps/other/functions/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    let function = made["id"].as_i64().unwrap();
    let path = "/api/cloud/events/POST_ORDER_PLACED/subscribe/";
    let subscribe = async |token: &str| {
        let body = json!({"function_id": function});
        app.post(path, &body)
            .bearer(token)
            .header("idempotency-key", "k")
            .send()
            .await
    };
    let dev = app.user(&root, "dev", &["other:developer"]).await;
    let refused = subscribe(&dev).await;
    let message = refused.is_error(403, "FORBIDDEN");
    assert!(message.contains("invocations.read"), "{message}");
    let roles = json!({"roles": ["user-management:viewer"], "usernames": ["dev"]});
    app.post("/api/assign/roles/", &roles)
        .bearer(&root)
        .send()
        .await
        .ok();
    subscribe(&dev).await.ok();
    // An answer that was given before does not outlive the right to it.
    let asking = app
        .ask("DELETE", "/api/revoke/roles/")
        .json(&roles)
        .bearer(&root);
    asking.send().await.ok();
    subscribe(&dev).await.is_error(403, "FORBIDDEN");
    // A viewer of the owner alone may not subscribe the function either.
    let viewer = app.user(&root, "viewer", &["user-management:viewer"]).await;
    subscribe(&viewer).await.is_error(403, "FORBIDDEN");

    // Deleting the app takes its types along, and the other app's subscriptions to them.
    app.ask("DELETE", "/api/apps/user-management/")
        .bearer(&root)
        .send()
        .await
        .ok();
    let listed = app
        .get("/api/cloud/events/")
        .bearer(&root)
        .send()
        .await
        .ok();
    assert!(
        !listed.to_string().contains("POST_ORDER_PLACED"),
        "{listed}"
    );
    let gone = subscribe(&root).await;
    gone.is_error(400, "BAD_REQUEST");
}

#[tokio::test]
async fn own_types_of_another_site_do_not_exist() {
    let (app, root) = app().await;
    declare(&app, &root, &order()).await.ok();
    let function = app.function(&root, "Check Email Domain").await;
    app.subscribe(&root, "POST_ORDER_PLACED", function).await;
    let stranger = app.other_site().await;
    let at = |asking: Asking| asking.host(OTHER_HOST).bearer(&stranger);
    let listed = at(app.get("/api/cloud/events/")).send().await.ok();
    assert!(!listed.to_string().contains("ORDER_PLACED"), "{listed}");
    for asking in [
        app.get("/api/cloud/events/POST_ORDER_PLACED/"),
        app.post("/api/cloud/events/POST_ORDER_PLACED/explain/", &json!({})),
        app.post(
            "/api/cloud/events/POST_ORDER_PLACED/subscribe/",
            &json!({"function_id": function}),
        ),
        app.post(
            "/api/cloud/events/POST_ORDER_PLACED/unsubscribe/",
            &json!({"function_id": function}),
        ),
        app.get("/api/invocations/?event=POST_ORDER_PLACED"),
    ] {
        let refused = at(asking).send().await;
        let message = refused.is_error(400, "BAD_REQUEST");
        assert!(!message[40..].contains("ORDER_PLACED"), "{message}");
    }
    at(app.get(ORDER)).send().await.is_error(404, "NOT_FOUND");
    // The same name is free there.
    at(app.post("/api/apps/", &json!({"name": "User Management"})))
        .send()
        .await
        .ok();
    at(app.post(TYPES, &order())).send().await.ok();
}
