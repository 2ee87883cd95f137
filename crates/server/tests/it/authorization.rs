//! Who may call what. Every operation of the OpenAPI document has a row here, or the test fails.

use crate::app::{Answer, TestApp};
use serde_json::json;
use std::collections::BTreeMap;

/// Who is let in. Each kind of caller includes those after it in no fixed way, so all are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lets {
    /// No credential.
    nobody: bool,
    /// A user without any role.
    plain: bool,
    /// `viewer` of the app.
    viewer: bool,
    /// `developer` of the app.
    developer: bool,
    /// `admin` of the app.
    app_admin: bool,
    /// `admin` of another app.
    other_admin: bool,
    /// `is_staff` without a role.
    staff: bool,
    /// `admin` of the site.
    admin: bool,
}

const ANYONE: Lets = Lets {
    nobody: true,
    plain: true,
    viewer: true,
    developer: true,
    app_admin: true,
    other_admin: true,
    staff: true,
    admin: true,
};
const SIGNED_IN: Lets = Lets {
    nobody: false,
    ..ANYONE
};
const READERS: Lets = Lets {
    plain: false,
    other_admin: false,
    ..SIGNED_IN
};
const DEVELOPERS: Lets = Lets {
    viewer: false,
    staff: false,
    ..READERS
};
/// Of what everybody's own is taken.
const DEVELOPERS_ANYWHERE: Lets = Lets {
    other_admin: true,
    ..DEVELOPERS
};
const APP_ADMINS: Lets = Lets {
    developer: false,
    ..DEVELOPERS
};
const ADMINS: Lets = Lets {
    app_admin: false,
    ..APP_ADMINS
};
const SITE_READERS: Lets = Lets {
    staff: true,
    ..ADMINS
};

/// One operation: its id, a path and a JSON body that are right (`""`: none), and who is let in.
type Row = (&'static str, &'static str, &'static str, Lets);

/// `F` is the path of a function, `A` that of its app, `{dead}` the number of a dead letter.
#[rustfmt::skip]
const CASES: &[Row] = &[
    ("healthz", "/healthz", "", ANYONE),
    ("readyz", "/readyz", "", ANYONE),
    ("events_list", "/api/cloud/events/", "", SIGNED_IN),
    ("events_get", "/api/cloud/events/PRE_USER_CREATE/", "", SIGNED_IN),
    ("events_subscribe", "/api/cloud/events/PRE_USER_CREATE/subscribe/", r#"{"function_id":1}"#, DEVELOPERS),
    ("events_subscription", "/api/cloud/events/PRE_USER_CREATE/subscribe/?function_id=1", "", DEVELOPERS),
    ("events_replace_subscription", "/api/cloud/events/PRE_USER_CREATE/subscribe/", r#"{"function_id":1}"#, DEVELOPERS),
    ("events_change_subscription", "/api/cloud/events/PRE_USER_CREATE/subscribe/", r#"{"function_id":1}"#, DEVELOPERS),
    ("events_unsubscribe", "/api/cloud/events/PRE_USER_CREATE/unsubscribe/", r#"{"function_id":1}"#, DEVELOPERS),
    ("events_explain", "/api/cloud/events/PRE_USER_CREATE/explain/", "{}", SIGNED_IN),
    ("app_events_list", "A/events/", "", SIGNED_IN),
    ("app_events_get", "A/events/PRE_USER_CREATE/", "", SIGNED_IN),
    ("event_types_create", "A/event-types/", r#"{"name":""}"#, DEVELOPERS),
    ("event_types_list", "A/event-types/", "", READERS),
    ("event_types_get", "A/event-types/POST_NONE/", "", READERS),
    ("event_types_update", "A/event-types/POST_NONE/", "{}", DEVELOPERS),
    ("event_types_replace", "A/event-types/POST_NONE/", "{}", DEVELOPERS),
    ("event_types_delete", "A/event-types/POST_NONE/", "", DEVELOPERS),
    ("apps_create", "/api/apps/", r#"{"name":""}"#, ADMINS),
    ("apps_list", "/api/apps/", "", SIGNED_IN),
    ("apps_get", "A/", "", SIGNED_IN),
    ("apps_update", "A/", r#"{"name":""}"#, APP_ADMINS),
    ("apps_replace", "A/", r#"{"name":""}"#, APP_ADMINS),
    ("apps_delete", "/api/apps/spare/", "", ADMINS),
    ("functions_create", "A/functions/", r#"{"name":""}"#, DEVELOPERS),
    ("functions_list", "A/functions/", "", READERS),
    ("functions_get", "F/", "", READERS),
    ("functions_update", "F/", r#"{"name":""}"#, DEVELOPERS),
    ("functions_replace", "F/", r#"{"name":""}"#, DEVELOPERS),
    ("functions_delete", "A/functions/none/", "", DEVELOPERS),
    ("functions_rotate_secret", "F/rotate-secret/", "{}", DEVELOPERS),
    ("functions_versions", "F/versions/", "", READERS),
    ("functions_version", "F/versions/1/", "", READERS),
    ("functions_activate", "F/versions/1/activate/", "{}", DEVELOPERS),
    ("functions_execute", "F/execute/", "{}", DEVELOPERS),
    ("functions_execute_public", "/api/public/apps/user-management/functions/validate-user-data/execute/", "{}", ANYONE),
    ("functions_execute_public_get", "/api/public/apps/user-management/functions/validate-user-data/execute/", "", ANYONE),
    ("functions_execute_public_put", "/api/public/apps/user-management/functions/validate-user-data/execute/", "{}", ANYONE),
    ("functions_execute_public_patch", "/api/public/apps/user-management/functions/validate-user-data/execute/", "{}", ANYONE),
    ("functions_execute_public_delete", "/api/public/apps/user-management/functions/validate-user-data/execute/", "", ANYONE),
    ("invocations_list", "/api/invocations/", "", SIGNED_IN),
    ("invocations_get", "/api/invocations/1/", "", SIGNED_IN),
    ("invocations_stream", "/api/invocations/stream/", "", SIGNED_IN),
    ("invocations_replay", "/api/invocations/{dead}/replay/", "{}", DEVELOPERS),
    ("dead_letters_list", "/api/dead-letters/", "", SIGNED_IN),
    ("dead_letters_get", "/api/dead-letters/{dead}/", "", READERS),
    ("dead_letters_redrive_many", "/api/dead-letters/redrive/", r#"{"function_slug":"none"}"#, DEVELOPERS_ANYWHERE),
    ("dead_letters_redrive", "/api/dead-letters/{dead}/redrive/", "{}", DEVELOPERS),
    // After the redrive: what is no dead letter any more is a conflict for those who are let in.
    ("dead_letters_discard", "/api/dead-letters/{dead}/", "", DEVELOPERS),
    ("result_get", "/api/result/x/", "", SIGNED_IN),
    ("secrets_create", "/api/secrets/?app=user-management", r#"{"key":"","value":""}"#, DEVELOPERS),
    ("secrets_list", "/api/secrets/?app=user-management", "", DEVELOPERS),
    ("secrets_get", "/api/secrets/none/?app=user-management", "", DEVELOPERS),
    ("secrets_update", "/api/secrets/none/?app=user-management", "{}", DEVELOPERS),
    ("secrets_change", "/api/secrets/none/?app=user-management", "{}", DEVELOPERS),
    ("secrets_delete", "/api/secrets/none/?app=user-management", "", DEVELOPERS),
    // Without an app they are the site's.
    ("secrets_create", "/api/secrets/", r#"{"key":"","value":""}"#, ADMINS),
    ("secrets_list", "/api/secrets/", "", ADMINS),
    ("secrets_get", "/api/secrets/none/", "", ADMINS),
    ("secrets_update", "/api/secrets/none/", "{}", ADMINS),
    ("secrets_change", "/api/secrets/none/", "{}", ADMINS),
    ("secrets_delete", "/api/secrets/none/", "", ADMINS),
    ("roles_assign", "/api/assign/roles/", r#"{"roles":["viewer"],"usernames":["spare"]}"#, ADMINS),
    ("roles_revoke", "/api/revoke/roles/", r#"{"roles":["viewer"],"usernames":["spare"]}"#, ADMINS),
    ("roles_of_app", "A/roles/", "", READERS),
    ("session_open", "/_allauth/app/v1/auth/login", r#"{"username":"nobody","password":"wrong"}"#, ANYONE),
    // Its credential is a session token; nobody here sends one.
    ("session_close", "/_allauth/app/v1/auth/session", "", ANYONE),
    ("api_keys_create", "/api/cloud/auth/api-keys/", r#"{"name":""}"#, SIGNED_IN),
    ("api_keys_list", "/api/cloud/auth/api-keys/", "", SIGNED_IN),
    ("api_keys_delete_named", "/api/cloud/auth/api-keys/", r#"{"id":999}"#, SIGNED_IN),
    ("api_keys_delete", "/api/cloud/auth/api-keys/999/", "", SIGNED_IN),
];

/// What stands under `/api` and, with other ids, under `/api/cloud`.
#[rustfmt::skip]
const PEOPLE: &[Row] = &[
    ("users_create", "/users/", r#"{"username":"x y","email":"x"}"#, SITE_READERS),
    ("users_list", "/users/", "", SITE_READERS),
    ("users_me", "/users/me/", "", SIGNED_IN),
    ("preferences_get", "/users/me/preferences/", "", SIGNED_IN),
    ("preferences_set", "/users/me/preferences/", "{}", SIGNED_IN),
    ("preferences_change", "/users/me/preferences/", "{}", SIGNED_IN),
    ("users_get", "/users/target/", "", SITE_READERS),
    ("users_update", "/users/target/", r#"{"email":"x"}"#, SITE_READERS),
    ("users_replace", "/users/target/", r#"{"email":"x"}"#, SITE_READERS),
    ("users_delete", "/users/none/", "", SITE_READERS),
    ("users_apps", "/users/target/apps/", "", SITE_READERS),
    ("token_obtain", "/auth/jwt/token/", r#"{"username":"nobody","password":"wrong"}"#, ANYONE),
    ("token_refresh", "/auth/jwt/token/refresh/", r#"{"refresh":"a.b.c"}"#, ANYONE),
    ("token_blacklist", "/auth/jwt/token/blacklist/", r#"{"refresh":"a.b.c"}"#, ANYONE),
];

const APP: &str = "/api/apps/user-management";
const FUNCTION: &str = "/api/apps/user-management/functions/validate-user-data";

struct Case {
    id: String,
    path: String,
    body: &'static str,
    lets: Lets,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(id, path, body, lets) in CASES {
        let path = match path.split_at(1) {
            ("A", rest) => format!("{APP}{rest}"),
            ("F", rest) => format!("{FUNCTION}{rest}"),
            _ => path.to_owned(),
        };
        cases.push(Case {
            id: id.to_owned(),
            path,
            body,
            lets,
        });
    }
    for (mark, prefix) in [("", "/api"), ("cloud_", "/api/cloud")] {
        for &(id, path, body, lets) in PEOPLE {
            let (id, path) = (format!("{mark}{id}"), format!("{prefix}{path}"));
            cases.push(Case {
                id,
                path,
                body,
                lets,
            });
        }
    }
    cases
}

/// Method and path of each documented operation.
pub(crate) fn operations() -> BTreeMap<String, (String, String)> {
    let document = serde_json::to_value(tollgate_server::openapi()).unwrap();
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.insert(id, (method.to_uppercase(), path.clone()));
        }
    }
    operations
}

/// Whether a case's path is one of the documented path.
pub(crate) fn fits(documented: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (mut left, mut right) = (documented.split('/'), path.split('/'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || a.starts_with('{') => {}
            _ => return false,
        }
    }
}

#[test]
fn every_operation_has_a_case() {
    let operations = operations();
    let cases = cases();
    for Case { id, path, .. } in &cases {
        let (_, documented) = operations
            .get(id)
            .unwrap_or_else(|| panic!("no operation {id}"));
        assert!(fits(documented, path), "{id}: {path} is not {documented}");
    }
    for id in operations.keys() {
        assert!(
            cases.iter().any(|case| case.id == *id),
            "{id} has no authorization case"
        );
    }
}

/// Refused: 401, 403, or the 404 that hides a user or a run that one may not see.
fn refused(answer: &Answer, id: &str) -> bool {
    let signs_in = id.contains("token_") || id.starts_with("session_");
    let message = answer.body["message"].as_str().unwrap_or_default();
    let hidden = answer.status == 404
        && match message {
            "User not found" => !id.ends_with("users_delete"),
            "Invocation not found" => id == "invocations_replay",
            "Dead letter not found" => true,
            _ => false,
        };
    (matches!(answer.status, 401 | 403) && !signs_in) || hidden
}

/// Callers of every kind, by the row's column.
async fn callers(app: &TestApp, root: &str) -> Vec<(&'static str, Option<String>)> {
    let mut callers = vec![("nobody", None)];
    for (who, roles) in [
        ("plain", &[] as &[&str]),
        ("viewer", &["user-management:viewer"]),
        ("developer", &["user-management:developer"]),
        ("app_admin", &["user-management:admin"]),
        ("other_admin", &["other:admin"]),
        ("staff", &[]),
        ("admin", &["admin"]),
    ] {
        callers.push((who, Some(app.user(root, who, roles).await)));
    }
    let body = json!({"is_staff": true});
    app.ask("PATCH", "/api/users/staff/")
        .json(&body)
        .bearer(root)
        .send()
        .await
        .ok();
    callers
}

impl Lets {
    fn of(self, who: &str) -> bool {
        match who {
            "nobody" => self.nobody,
            "plain" => self.plain,
            "viewer" => self.viewer,
            "developer" => self.developer,
            "app_admin" => self.app_admin,
            "other_admin" => self.other_admin,
            "staff" => self.staff,
            "admin" => self.admin,
            _ => panic!("{who} has no column"),
        }
    }
}

#[tokio::test]
async fn each_caller_is_let_in_where_the_table_says() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    for name in ["Spare", "Other"] {
        let created = app.post("/api/apps/", &json!({"name": name}));
        created.bearer(&root).send().await.ok();
    }
    app.function(&root, "Validate User Data").await;
    let public = json!({"is_public": true});
    app.ask("PATCH", FUNCTION)
        .json(&public)
        .bearer(&root)
        .send()
        .await
        .ok();
    for username in ["target", "spare"] {
        app.user(&root, username, &[]).await;
    }
    app.function(&root, "Broken").await;
    let dead = app.dead_letter(&root, "broken", &json!({})).await;
    let callers = callers(&app, &root).await;
    let operations = operations();
    let mut wrong = Vec::new();
    for Case {
        id,
        path,
        body,
        lets,
    } in cases()
    {
        for (who, token) in &callers {
            // A stream never ends, so only its refusal can be awaited whole.
            if id == "invocations_stream" && lets.of(who) {
                continue;
            }
            let path = path.replace("{dead}", &dead.to_string());
            let mut asking = app.ask(&operations[&id].0, &path);
            if let Some(token) = token {
                asking = asking.bearer(token);
            }
            if !body.is_empty() {
                asking = asking
                    .raw(body.into())
                    .header("content-type", "application/json");
            }
            let answer = asking.send().await;
            if refused(&answer, &id) == lets.of(who) {
                wrong.push(format!("{id} for {who}: {} {}", answer.status, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A superuser of another site is nobody here.
#[tokio::test]
async fn a_stranger_is_nobody() {
    let app = TestApp::new().await;
    let stranger = app.other_site().await;
    let operations = operations();
    for Case {
        id,
        path,
        body,
        lets,
    } in cases()
    {
        if lets.nobody {
            continue;
        }
        let asking = app.ask(&operations[&id].0, &path.replace("{dead}", "1"));
        let answer = asking
            .bearer(&stranger)
            .raw(body.into())
            .header("content-type", "application/json")
            .send()
            .await;
        assert_eq!(answer.status, 401, "{id}: {}", answer.body);
    }
}

/// What exists and may not be seen answers, to the byte, as what does not exist.
#[tokio::test]
async fn what_one_may_not_see_looks_absent() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    let created = app.post("/api/apps/", &json!({"name": "Other"}));
    created.bearer(&root).send().await.ok();
    app.user(&root, "target", &[]).await;
    app.function(&root, "Broken").await;
    let dead = app.dead_letter(&root, "broken", &json!({})).await;
    let record = app.get(&format!("/api/invocations/{dead}/")).bearer(&root);
    let record = record.send().await.ok();
    let task = record["task_id"].as_str().unwrap();
    let no_task = "00000000-0000-7000-8000-00000000dead";
    for (who, roles) in [("plain", &[] as &[&str]), ("owner", &["other:admin"])] {
        let caller = app.user(&root, who, roles).await;
        for (method, path, there, absent) in [
            ("GET", "/api/users/{}/", "target", "nobody"),
            ("PATCH", "/api/users/{}/", "target", "nobody"),
            ("PUT", "/api/users/{}/", "target", "nobody"),
            ("DELETE", "/api/users/{}/", "target", "nobody"),
            ("GET", "/api/users/{}/apps/", "target", "nobody"),
            ("GET", "/api/cloud/users/{}/", "target", "nobody"),
            ("GET", "/api/invocations/{}/", &dead.to_string(), "999999"),
            (
                "POST",
                "/api/invocations/{}/replay/",
                &dead.to_string(),
                "999999",
            ),
            ("GET", "/api/result/{}/", task, no_task),
            ("GET", "/api/dead-letters/{}/", &dead.to_string(), "999999"),
            (
                "POST",
                "/api/dead-letters/{}/redrive/",
                &dead.to_string(),
                "999999",
            ),
            (
                "DELETE",
                "/api/dead-letters/{}/",
                &dead.to_string(),
                "999999",
            ),
        ] {
            let ask = async |id: &str| {
                let asking = app.ask(method, &path.replace("{}", id)).bearer(&caller);
                asking.json(&json!({})).send().await
            };
            let (there, absent) = (ask(there).await, ask(absent).await);
            assert!(matches!(there.status, 403 | 404), "{path}: {there:?}");
            assert_eq!(there.bytes(), absent.bytes(), "{method} {path} for {who}");
        }
    }
}
