//! PUT and PATCH: null, merge patches, what was shown sent back, conditions.

use crate::app::{Answer, Asking, TestApp};
use serde_json::{Value, json};

const USER: &str = "/api/users/ann/";
const APP: &str = "/api/apps/user-management/";
const FUNCTION: &str = "/api/apps/user-management/functions/validate-user-data/";
const SECRET: &str = "/api/secrets/K/";
const SUBSCRIPTION: &str = "/api/cloud/events/PRE_USER_CREATE/subscribe/";

struct Things {
    app: TestApp,
    root: String,
    function: i64,
}

impl Things {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let root = app.root().await;
        app.user_management(&root).await;
        let function = app.function(&root, "Validate User Data").await;
        app.subscribe(&root, "PRE_USER_CREATE", function).await;
        let body = json!({"username": "ann", "email": "ann@example.com", "first_name": "Ann",
            "attributes": {"plan": "free", "deep": {"a": 1, "b": null}}});
        app.post("/api/users/", &body)
            .bearer(&root)
            .send()
            .await
            .ok();
        let body =
            json!({"key": "K", "value": {"a": 1, "b": 2}, "description": "d", "tags": ["t"]});
        app.post("/api/secrets/", &body)
            .bearer(&root)
            .send()
            .await
            .ok();
        Self {
            app,
            root,
            function,
        }
    }

    fn ask(&self, method: &str, path: &str) -> Asking {
        self.app.ask(method, path).bearer(&self.root)
    }

    async fn change(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask(method, path).json(&body).send().await
    }

    fn subscription(&self) -> String {
        format!("{SUBSCRIPTION}?function_id={}", self.function)
    }

    /// Paths to read, to write, and what is shown, of everything that has a tag.
    async fn shown(&self) -> Vec<(String, &'static str, Value, String)> {
        let mut all = Vec::new();
        for (read, write) in [
            (USER.to_owned(), USER),
            (APP.to_owned(), APP),
            (FUNCTION.to_owned(), FUNCTION),
            (self.subscription(), SUBSCRIPTION),
            (SECRET.to_owned(), SECRET),
        ] {
            let answer = self.ask("GET", &read).send().await;
            assert_eq!(answer.status, 200, "{read}: {}", answer.body);
            let tag = answer.header("etag").to_owned();
            let body = answer.body;
            let view = body.get("data").unwrap_or(&body).clone();
            all.push((read, write, view, tag));
        }
        all
    }
}

#[tokio::test]
async fn null_clears_or_is_refused_and_is_never_without_effect() {
    let things = Things::new().await;
    let id = things.function;
    #[rustfmt::skip]
    let refused: &[(&str, Value)] = &[
        (USER, json!({"username": null})), (USER, json!({"email": null})),
        (USER, json!({"password": null})), (USER, json!({"is_active": null})),
        (USER, json!({"is_staff": null})), (APP, json!({"name": null})),
        (FUNCTION, json!({"name": null})), (FUNCTION, json!({"code": null})),
        (FUNCTION, json!({"is_active": null})), (FUNCTION, json!({"is_public": null})),
        (FUNCTION, json!({"async_mode": null})), (FUNCTION, json!({"webhook_url": null})),
        (SUBSCRIPTION, json!({"function_id": id, "is_active": null})),
        ("/api/secrets/K/", json!({"value": null})),
    ];
    for (path, body) in refused {
        let answer = things.change("PATCH", path, body.clone()).await;
        let message = answer.is_error(400, "VALIDATION_ERROR");
        assert!(
            message.ends_with("may not be null"),
            "{path} {body}: {message}"
        );
    }
    let set = json!({"description": "x", "timeout_seconds": 5, "memory_mb": 64, "max_attempts": 2});
    things.change("PATCH", FUNCTION, set).await.ok();
    let unset = json!({"description": null, "timeout_seconds": null, "memory_mb": null,
        "max_attempts": null, "network": null, "filter_conditions": null});
    let function = things.change("PATCH", FUNCTION, unset).await.ok();
    assert_eq!(function["description"], "");
    assert_eq!(function["timeout_seconds"], Value::Null);
    let user = json!({"first_name": null, "attributes": null});
    let user = things.change("PATCH", USER, user).await.ok();
    assert_eq!(
        (&user["data"]["first_name"], &user["data"]["attributes"]),
        (&json!(""), &json!({}))
    );
    let app = things
        .change("PATCH", APP, json!({"description": null}))
        .await
        .ok();
    assert_eq!(app["data"]["description"], "");
    let set =
        json!({"function_id": id, "priority": 7, "on_timeout": "allow", "timeout_seconds": 2});
    things.change("PATCH", SUBSCRIPTION, set).await.ok();
    let unset =
        json!({"function_id": id, "priority": null, "on_timeout": null, "timeout_seconds": null});
    let options = things.change("PATCH", SUBSCRIPTION, unset).await.ok()["data"]["options"].clone();
    assert_eq!(
        (&options["priority"], &options["on_timeout"]),
        (&json!(0), &json!("deny"))
    );
    let unset = json!({"description": null, "tags": null});
    let secret = things.change("PATCH", "/api/secrets/K/", unset).await.ok();
    assert_eq!(
        (&secret["data"]["description"], &secret["data"]["tags"]),
        (&json!(""), &json!([]))
    );
}

#[tokio::test]
async fn a_merge_patch_reaches_into_attributes_and_plain_json_replaces_them() {
    let things = Things::new().await;
    let merge = |path: &str, body: Value| {
        let asking = things.ask("PATCH", path).raw(body.to_string().into_bytes());
        asking
            .header("content-type", "application/merge-patch+json")
            .send()
    };
    let body = json!({"attributes": {"plan": null, "deep": {"a": 2, "c": {"d": null}}, "new": 1}});
    let user = merge(USER, body).await.ok();
    let expected = json!({"deep": {"a": 2, "b": null, "c": {}}, "new": 1});
    assert_eq!(user["data"]["attributes"], expected);
    let body = json!({"attributes": {"x": {"y": null}}});
    let user = things.change("PATCH", USER, body.clone()).await.ok();
    assert_eq!(user["data"]["attributes"], body["attributes"]);
    merge("/api/secrets/K/", json!({"value": {"a": null, "c": 3}}))
        .await
        .ok();
    let secret = things.ask("GET", "/api/secrets/K/").send().await.ok();
    assert_eq!(secret["data"]["value"], json!({"b": 2, "c": 3}));
}

#[tokio::test]
async fn other_media_types_are_415_and_patch_says_which_it_takes() {
    let things = Things::new().await;
    let types = [
        "application/json-patch+json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/vnd.api+json",
        "application/json; charset=latin1",
        "application",
    ];
    for path in [USER, APP, FUNCTION, SUBSCRIPTION, "/api/secrets/K/"] {
        for media in types {
            let asking = things.ask("PATCH", path).raw(b"{}".to_vec());
            let answer = asking.header("content-type", media).send().await;
            answer.is_error(415, "BAD_REQUEST");
            let accepted = "application/json, application/merge-patch+json";
            assert_eq!(answer.header("accept-patch"), accepted, "{path} {media}");
            let asking = things.ask("PUT", path).raw(b"{}".to_vec());
            let answer = asking.header("content-type", media).send().await;
            answer.is_error(415, "BAD_REQUEST");
        }
        let asking = things.ask("PUT", path).raw(b"{}".to_vec());
        let merge = asking.header("content-type", "application/merge-patch+json");
        merge.send().await.is_error(415, "BAD_REQUEST");
    }
    for media in [
        "APPLICATION/JSON",
        "application/json;charset=\"UTF-8\"",
        "application/json; x=y",
    ] {
        let asking = things.ask("PATCH", USER).raw(b"{}".to_vec());
        asking.header("content-type", media).send().await.ok();
    }
}

#[tokio::test]
async fn what_a_get_shows_can_be_put_back_and_no_read_only_value_changed() {
    let things = Things::new().await;
    for (read, write, view, _) in things.shown().await {
        for method in ["PUT", "PATCH"] {
            let answer = things.change(method, write, view.clone()).await;
            assert_eq!(answer.status, 200, "{method} {write}: {}", answer.body);
        }
        let again = things.ask("GET", &read).send().await.ok();
        let again = again.get("data").unwrap_or(&again).clone();
        for name in [
            "id",
            "uuid",
            "slug",
            "version",
            "created_at",
            "roles",
            "app",
            "last_login",
            "execution_mode",
            "function_name",
        ] {
            let Some(value) = view.get(name) else {
                continue;
            };
            assert_eq!(again[name], *value, "{write} {name}");
            let mut other = view.clone();
            other[name] = if value.is_null() {
                json!("x")
            } else {
                json!([value, 1])
            };
            let answer = things.change("PUT", write, other).await;
            let message = answer.is_error(400, "VALIDATION_ERROR");
            assert!(
                message.starts_with(&format!("{name}: ")),
                "{write}: {message}"
            );
        }
    }
    // As lists show it, too.
    let list = format!("{APP}events/PRE_USER_CREATE/");
    let list = things.ask("GET", &list).send().await.ok();
    let reason = json!({"function_id": things.function, "options": {"deactivated_reason": "x"}});
    things
        .change("PATCH", SUBSCRIPTION, reason)
        .await
        .is_error(400, "VALIDATION_ERROR");
    assert_eq!(
        list["data"]["subscribers"][0]["options"]["deactivated_reason"],
        Value::Null
    );
}

#[tokio::test]
async fn tags_guard_changes_and_spare_answers() {
    let things = Things::new().await;
    for (read, write, view, tag) in things.shown().await {
        assert!(tag.starts_with('"') && tag.len() > 10, "{read}: {tag}");
        let get = |tag: &str| things.ask("GET", &read).header("if-none-match", tag).send();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ] {
            let answer = get(&known).await;
            assert_eq!(
                (answer.status, answer.bytes().ends_with(' ')),
                (304, true),
                "{known}"
            );
            assert_eq!(answer.header("etag"), tag);
        }
        get("\"other\"").await.ok();
        let change = |tag: &str| {
            let body = view.clone();
            things
                .ask("PUT", write)
                .header("if-match", tag)
                .json(&body)
                .send()
        };
        for stale in ["\"other\"", &format!("W/{tag}"), "\"a\", \"b\""] {
            change(stale).await.is_error(412, "CONFLICT");
        }
        change("unquoted").await.is_error(400, "BAD_REQUEST");
        change("*").await.ok();
        let now = things.ask("GET", &read).send().await;
        let now = now.header("etag").to_owned();
        let changed = change(&format!("\"x\", {now}")).await;
        let after = changed.header("etag").to_owned();
        changed.ok();
        let now = things.ask("GET", &read).send().await;
        assert_eq!(
            now.header("etag"),
            after,
            "{read}: the answer of a change has the new tag"
        );
        if now.header("etag") != tag {
            change(&tag).await.is_error(412, "CONFLICT");
        }
    }
    let unsubscribe = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";
    let body = json!({"function_id": things.function});
    for (method, path) in [
        ("POST", unsubscribe),
        ("DELETE", FUNCTION),
        ("DELETE", USER),
        ("DELETE", APP),
        ("DELETE", SECRET),
    ] {
        let ask = |tag: &str| {
            things
                .ask(method, path)
                .header("if-match", tag)
                .json(&body)
                .send()
        };
        ask("\"other\"").await.is_error(412, "CONFLICT");
        ask("*").await.ok();
    }
}

#[tokio::test]
async fn of_two_changes_with_the_same_tag_one_is_written() {
    let things = Things::new().await;
    for (_, write, view, tag) in things.shown().await {
        let change = |n: i32| {
            let mut body = view.clone();
            match write {
                USER => body["last_name"] = json!(format!("L{n}")),
                SUBSCRIPTION => body["options"]["priority"] = json!(n),
                _ => body["description"] = json!(format!("D{n}")),
            }
            things
                .ask("PATCH", write)
                .header("if-match", &tag)
                .json(&body)
                .send()
        };
        let (a, b, c) = tokio::join!(change(1), change(2), change(3));
        let mut statuses = [a.status, b.status, c.status];
        statuses.sort_unstable();
        assert_eq!(
            statuses,
            [200, 412, 412],
            "{write}: {} {} {}",
            a.body,
            b.body,
            c.body
        );
    }
}

#[tokio::test]
async fn what_changes_under_a_deletion_is_not_deleted() {
    let things = Things::new().await;
    let mut all = things.shown().await;
    // An app takes its functions along.
    all.sort_by_key(|(_, write, ..)| *write == APP);
    for (read, write, view, tag) in all {
        if write == SUBSCRIPTION {
            continue;
        }
        let mut body = view.clone();
        let field = if write == USER {
            "last_name"
        } else {
            "description"
        };
        body[field] = json!("changed");
        let change = things.ask("PATCH", write).header("if-match", &tag);
        let delete = things.ask("DELETE", write).header("if-match", &tag);
        let (changed, deleted) = tokio::join!(change.json(&body).send(), delete.send());
        let done = [changed.status, deleted.status].map(|status| status == 200);
        assert!(
            done[0] != done[1],
            "{write}: {} {}",
            changed.body,
            deleted.body
        );
        let there = things.ask("GET", &read).send().await.status == 200;
        assert_eq!(there, done[0], "{write}");
    }
}

#[tokio::test]
async fn a_function_may_return_all_its_parameters() {
    let things = Things::new().await;
    let id = things.app.function(&things.root, "Return All").await;
    for event in ["PRE_USER_CREATE", "PRE_USER_UPDATE", "PRE_USER_DELETE"] {
        things.app.subscribe(&things.root, event, id).await;
    }
    let body = json!({"username": "bob", "email": "bob@example.com", "attributes": {"n": null}});
    let user = things.change("POST", "/api/users/", body).await.ok();
    assert_eq!(user["data"]["attributes"], json!({"n": null}));
    let path = "/api/users/bob/";
    things
        .change("PATCH", path, json!({"first_name": "B"}))
        .await
        .ok();
    things.ask("DELETE", path).send().await.ok();
}
