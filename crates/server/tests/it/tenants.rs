//! What belongs to another site does not exist, on every route.

use crate::app::{Answer, OTHER_HOST, TestApp};
use crate::authorization::{fits, operations};
use serde_json::json;
use tollgate_core::limits;
use tollgate_core::ports::store::{Reason, Store as _};
use tollgate_core::site::Authority;

/// `A` is the path of an app, `F` that of a function; ids stand in braces.
#[rustfmt::skip]
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "A", ""),
    ("PATCH", "A", r#"{"name":"x"}"#),
    ("PUT", "A", r#"{"name":"x"}"#),
    ("DELETE", "A", ""),
    ("GET", "Afunctions/", ""),
    ("POST", "Afunctions/", r#"{"name":"x","execution_mode":"system"}"#),
    ("GET", "F", ""),
    ("PATCH", "F", r#"{"name":"x"}"#),
    ("PUT", "F", r#"{"name":"x"}"#),
    ("DELETE", "F", ""),
    ("POST", "Frotate-secret/", ""),
    ("GET", "Fversions/", ""),
    ("GET", "Fversions/1/", ""),
    ("POST", "Fversions/1/activate/", "{}"),
    ("POST", "Fexecute/", "{}"),
    ("POST", "/api/public/apps/user-management/functions/validate-user-data/execute/", "{}"),
    ("GET", "/api/public/apps/user-management/functions/validate-user-data/execute/", ""),
    ("PUT", "/api/public/apps/user-management/functions/validate-user-data/execute/", ""),
    ("PATCH", "/api/public/apps/user-management/functions/validate-user-data/execute/", ""),
    ("DELETE", "/api/public/apps/user-management/functions/validate-user-data/execute/", ""),
    ("GET", "Aroles/", ""),
    ("GET", "Aevents/", ""),
    ("GET", "Aevents/PRE_USER_CREATE/", ""),
    ("GET", "Aevent-types/", ""),
    ("POST", "Aevent-types/", r#"{"name":"POST_X","params_schema":{"type":"object"},"sample":{}}"#),
    ("GET", "Aevent-types/POST_ORDER_PLACED/", ""),
    ("PUT", "Aevent-types/POST_ORDER_PLACED/", r#"{"description":"x"}"#),
    ("PATCH", "Aevent-types/POST_ORDER_PLACED/", r#"{"description":"x"}"#),
    ("DELETE", "Aevent-types/POST_ORDER_PLACED/", ""),
    ("POST", "/api/cloud/events/PRE_USER_CREATE/unsubscribe/", r#"{"function_id":{function}}"#),
    ("GET", "/api/secrets/?app=user-management", ""),
    ("POST", "/api/secrets/?app=user-management", r#"{"key":"K","value":"v"}"#),
    ("GET", "/api/secrets/STRIPE/?app=user-management", ""),
    ("GET", "/api/secrets/SHARED/", ""),
    ("PUT", "/api/secrets/SHARED/", r#"{"value":"stolen"}"#),
    ("PATCH", "/api/secrets/SHARED/", r#"{"value":"stolen"}"#),
    ("DELETE", "/api/secrets/SHARED/", ""),
    ("GET", "/api/users/ann/", ""),
    ("PUT", "/api/users/ann/", r#"{"first_name":"x"}"#),
    ("PATCH", "/api/users/ann/", r#"{"first_name":"x"}"#),
    ("DELETE", "/api/users/ann/", ""),
    ("GET", "/api/users/ann/apps/", ""),
    ("GET", "/api/cloud/users/ann/", ""),
    ("PUT", "/api/cloud/users/ann/", r#"{"first_name":"x"}"#),
    ("PATCH", "/api/cloud/users/ann/", r#"{"first_name":"x"}"#),
    ("DELETE", "/api/cloud/users/ann/", ""),
    ("GET", "/api/cloud/users/ann/apps/", ""),
    ("GET", "/api/invocations/{invocation}/", ""),
    ("POST", "/api/invocations/{invocation}/replay/", "{}"),
    ("GET", "/api/result/{task}/", ""),
    ("GET", "/api/dead-letters/{dead}/", ""),
    ("POST", "/api/dead-letters/{dead}/redrive/", "{}"),
    ("DELETE", "/api/dead-letters/{dead}/", ""),
    ("DELETE", "/api/cloud/auth/api-keys/{key}/", ""),
    ("DELETE", "/api/cloud/auth/api-keys/", r#"{"id":{key}}"#),
];

/// Operations that name nothing which belongs to a site: the platform's own events are the same for all. What
/// apps declare has a test beside its routes.
const OF_NO_SITE: &[&str] = &["events_get", "events_explain"];
/// Operations whose answer for another site's things has a test of its own below.
const ELSEWHERE: &[&str] = &[
    "events_subscribe",
    "events_subscription",
    "events_change_subscription",
    "events_replace_subscription",
];
/// Operations that nobody tries from another site. This list may only become shorter.
const UNCOVERED: &[&str] = &[];

#[test]
fn every_operation_that_names_something_is_tried_from_another_site() {
    let mut uncovered = Vec::new();
    for (id, (method, documented)) in operations() {
        let tried = ROUTES
            .iter()
            .any(|(tried, path, _)| *tried == method && fits(&documented, &filled_in(path, &[])));
        let names = documented.contains('{');
        let excused = OF_NO_SITE.contains(&&*id) || ELSEWHERE.contains(&&*id);
        if names && !tried && !excused {
            uncovered.push(id);
        }
    }
    assert_eq!(uncovered, UNCOVERED);
}

const APP: &str = "/api/apps/user-management/";
const FUNCTION: &str = "/api/apps/user-management/functions/validate-user-data/";

/// Gives a site something of everything; returns what stands for the braces.
async fn furnish(app: &TestApp, root: &str) -> Vec<(&'static str, String)> {
    app.user_management(root).await;
    let function = app.function(root, "Validate User Data").await;
    app.subscribe(root, "PRE_USER_CREATE", function).await;
    let body = json!({"username": "ann", "email": "ann@example.com"});
    app.post("/api/users/", &body)
        .bearer(root)
        .send()
        .await
        .ok();
    for (path, key) in [
        ("/api/secrets/?app=user-management", "STRIPE"),
        ("/api/secrets/", "SHARED"),
    ] {
        let body = json!({"key": key, "value": "sk_live_1"});
        app.post(path, &body).bearer(root).send().await.ok();
    }
    let own =
        json!({"name": "POST_ORDER_PLACED", "params_schema": {"type": "object"}, "sample": {}});
    let declared = app.post(&format!("{APP}event-types/"), &own).bearer(root);
    declared.send().await.ok();
    let key = app
        .post("/api/cloud/auth/api-keys/", &json!({"name": "k"}))
        .bearer(root);
    let key = key.send().await.ok()["data"]["id"].to_string();
    let public = json!({"is_public": true});
    app.ask("PATCH", FUNCTION)
        .json(&public)
        .bearer(root)
        .send()
        .await
        .ok();
    let run = app
        .post(&format!("{FUNCTION}execute/"), &json!({}))
        .bearer(root);
    let run = run.send().await.ok()["invocation"].clone();
    app.function(root, "Broken").await;
    let dead = app.dead_letter(root, "broken", &json!({})).await;
    vec![
        ("{dead}", dead.to_string()),
        ("{function}", function.to_string()),
        ("{key}", key),
        ("{invocation}", run["id"].to_string()),
        ("{task}", run["task_id"].as_str().unwrap().to_owned()),
    ]
}

fn filled_in(text: &str, ids: &[(&str, String)]) -> String {
    let text = match text.as_bytes().first() {
        Some(b'A') => text.replacen('A', APP, 1),
        Some(b'F') => text.replacen('F', FUNCTION, 1),
        _ => text.to_owned(),
    };
    ids.iter()
        .fold(text, |text, (name, id)| text.replace(name, id))
}

/// What is there, and what stands for it where nothing is: equally long, so that headers are equal.
fn absent(ids: &[(&str, String)]) -> Vec<(String, String)> {
    let mut absent = vec![
        ("user-management".to_owned(), "absent-absentee".to_owned()),
        (
            "validate-user-data".to_owned(),
            "absent-absent-data".to_owned(),
        ),
        ("/ann/".to_owned(), "/abs/".to_owned()),
        ("SHARED".to_owned(), "ABSENT".to_owned()),
    ];
    for (name, id) in ids {
        let nowhere = match *name {
            "{task}" => id.replace(|letter: char| letter.is_ascii_digit(), "0"),
            _ => format!("{}", 999_999_000 + id.parse::<i64>().unwrap()),
        };
        let (before, after) = match *name {
            "{function}" => ("\"function_id\":", "}"),
            "{key}" => ("\"id\":", "}"),
            _ => ("/", "/"),
        };
        let wrapped = |id: &str| format!("{before}{id}{after}");
        absent.push((wrapped(id), wrapped(&nowhere)));
    }
    let key = ids.iter().find(|(name, _)| *name == "{key}").unwrap();
    absent.push((
        format!("api-keys/{}/", key.1),
        "api-keys/999999/".to_owned(),
    ));
    absent
}

async fn ask(app: &TestApp, stranger: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut asking = app.ask(method, path).host(OTHER_HOST).bearer(stranger);
    if !body.is_empty() {
        asking = asking
            .raw(body.into())
            .header("content-type", "application/json");
    }
    asking.send().await
}

#[tokio::test]
async fn what_is_anothers_is_not_found() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let stranger = app.other_site().await;
    let ids = furnish(&app, &root).await;
    let absent_ids = absent(&ids);
    for (method, path, body) in ROUTES {
        let (path, body) = (filled_in(path, &ids), filled_in(body, &ids));
        let answer = ask(&app, &stranger, method, &path, &body).await;
        if path.starts_with("/api/public/") && *method != "POST" {
            // As for every function that is not there, or takes no raw requests.
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.body);
        } else {
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
            answer.is_error(404, "NOT_FOUND");
        }
        // To the byte what is answered for what exists nowhere, given that slugs are repeated.
        let elsewhere = |text: &str| {
            let swap = |text: String, (there, absent): &(String, String)| {
                text.replace(there.as_str(), absent)
            };
            absent_ids.iter().fold(text.to_owned(), swap)
        };
        let (nowhere, nothing) = (elsewhere(&path), elsewhere(&body));
        assert_ne!((&nowhere, &nothing), (&path, &body), "{method} {path}");
        if path.ends_with("/unsubscribe/") {
            // Its message repeats the number, which is looked at below.
            continue;
        }
        let absent = ask(&app, &stranger, method, &nowhere, &nothing).await;
        let same = elsewhere(&answer.bytes()) == absent.bytes();
        assert!(same, "{method} {path}: {answer:?} {absent:?}");
    }
    // None of it was reached.
    app.get(FUNCTION).bearer(&root).send().await.ok();
    app.get("/api/users/ann/").bearer(&root).send().await.ok();
    // The seed gives a function that does not exist another status; a foreign one looks the same.
    for function in [1, 999] {
        let path = "/api/cloud/events/PRE_USER_CREATE/unsubscribe/";
        let body = json!({"function_id": function}).to_string();
        let answer = ask(&app, &stranger, "POST", path, &body).await;
        let message = answer.is_error(404, "NOT_FOUND");
        let expected = format!("Function {function} was not subscribed to event 'PRE_USER_CREATE'");
        assert_eq!(message, expected);
    }
    for function in [1, 999] {
        let path = format!("/api/cloud/events/PRE_USER_CREATE/subscribe/?function_id={function}");
        let answer = ask(&app, &stranger, "GET", &path, "").await;
        let message = answer.is_error(404, "NOT_FOUND");
        let expected = format!("Function {function} was not subscribed to event 'PRE_USER_CREATE'");
        assert_eq!(message, expected);
    }
    for method in ["POST", "PATCH", "PUT"] {
        for function in [1, 999] {
            let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
            let body = json!({"function_id": function});
            let asking = app
                .ask(method, path)
                .json(&body)
                .host(OTHER_HOST)
                .bearer(&stranger);
            let answer = asking.send().await;
            let message = answer.is_error(400, "BAD_REQUEST");
            assert_eq!(
                message,
                format!("Function with id {function} does not exist")
            );
        }
    }
}

#[tokio::test]
async fn lists_show_ones_own_site_only() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let stranger = app.other_site().await;
    furnish(&app, &root).await;
    for (path, total) in [
        ("/api/apps/", 0),
        ("/api/secrets/", 0),
        ("/api/invocations/", 0),
        ("/api/cloud/auth/api-keys/", 0),
        ("/api/users/", 1),
        ("/api/cloud/users/", 1),
        ("/api/users/root/apps/", 0),
    ] {
        let list = app
            .get(path)
            .host(OTHER_HOST)
            .bearer(&stranger)
            .send()
            .await
            .ok();
        assert_eq!(list["total"], total, "{path}: {list}");
    }
    let path = "/api/cloud/events/PRE_USER_CREATE/";
    let event = app
        .get(path)
        .host(OTHER_HOST)
        .bearer(&stranger)
        .send()
        .await
        .ok();
    assert_eq!(event["data"]["total_subscribers"], 0);
}

#[tokio::test]
async fn a_credential_of_one_site_is_worth_nothing_on_another() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let stranger = app.other_site().await;
    let key = app
        .post("/api/cloud/auth/api-keys/", &json!({"name": "k"}))
        .bearer(&root);
    let key = key.send().await.ok()["data"]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"email": "root", "password": crate::app::PASSWORD});
    let login = app
        .post("/_allauth/app/v1/auth/login", &body)
        .send()
        .await
        .ok();
    let session = login["meta"]["session_token"].as_str().unwrap().to_owned();
    let me = || app.get("/api/users/me/");
    for asking in [
        me().host(OTHER_HOST).bearer(&root),
        me().bearer(&stranger),
        me().host(OTHER_HOST)
            .header("authorization", &format!("Api-Key {key}")),
        me().host(OTHER_HOST).header("x-session-token", &session),
    ] {
        asking.send().await.is_error(401, "UNAUTHORIZED");
    }
    let pair = json!({"username": "root", "password": crate::app::PASSWORD});
    let pair = app.post("/api/auth/jwt/token/", &pair).send().await.ok();
    for path in [
        "/api/auth/jwt/token/refresh/",
        "/api/auth/jwt/token/blacklist/",
    ] {
        let body = json!({"refresh": pair["refresh"]});
        let answer = app.post(path, &body).host(OTHER_HOST).send().await;
        answer.is_error(401, "UNAUTHORIZED");
    }
}

/// Without a base domain, a host that is no site's leads to the site `default`.
#[tokio::test]
async fn a_domain_leads_where_it_should_from_the_moment_it_is_given_or_taken() {
    let app = TestApp::new().await;
    let (admin, authority) = (&app.platform.admin, Authority::of_this_program());
    let leads_to = async |host: &str| {
        let site = app.platform.auth.sites().site(host).await.unwrap();
        site.slug.clone()
    };
    let site = app.site("other", vec![OTHER_HOST.to_owned()]).await;
    assert_eq!(leads_to(OTHER_HOST).await, "other");
    let second = "second.example.com";
    assert_eq!(leads_to(second).await, "default");
    admin.add_domain(&authority, &site, second).await.unwrap();
    assert_eq!(leads_to(second).await, "other");
    let removed = admin.remove_domain(&authority, &site, OTHER_HOST).await;
    removed.unwrap();
    assert_eq!(leads_to(OTHER_HOST).await, "default");
    // What another process writes, of which no news gets through, is seen in time.
    let system = app.store.system(Reason::Administer);
    let removed = system.remove_site_domain(site.id, second).await.unwrap();
    assert!(removed);
    assert_eq!(leads_to(second).await, "other");
    app.clock.advance(limits::MEMORY_AGE);
    assert_eq!(leads_to(second).await, "default");
}
