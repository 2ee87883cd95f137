//! Secrets that travel through the server are found nowhere afterwards: not in its log at the most
//! verbose level, not in errors, not in the records of functions, not in the database.

use crate::support::api::{Api, bearer};
use crate::support::code::ECHO;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const REFRESH: &str = "/api/auth/jwt/token/refresh/";
const BLACKLIST: &str = "/api/auth/jwt/token/blacklist/";
const ADMIN: &str = "sesame-admin-4711";
const ANN: &str = "sesame-ann-4712";
const NEW: &str = "sesame-new-4713";
const WRONG: &str = "sesame-wrong-4714";
const COOKIE: &str = "sesame-cookie-4715";
const HEADER: &str = "sesame-header-4717";
const QUERY: &str = "sesame-query-4716";

/// What was sent or given, and what the server answered to it.
#[derive(Default)]
struct Seen {
    secrets: Vec<String>,
    errors: Vec<Value>,
}

impl Seen {
    fn secret(&mut self, value: &Value) -> String {
        let secret = value.as_str().unwrap().to_owned();
        assert!(secret.len() > 20, "{secret}");
        self.secrets.push(secret.clone());
        secret
    }
}

/// Signs in every way, and lets everything be refused too.
async fn sign_in(api: &Api, seen: &mut Seen) {
    let nobody = api.anonymous();
    let pair = json!({"username": "admin@example.com", "password": ADMIN});
    let pair = nobody.post("/api/auth/jwt/token/", &pair).await.ok();
    let (access, refresh) = (seen.secret(&pair["access"]), seen.secret(&pair["refresh"]));
    let old = json!({"refresh": refresh});
    let next = nobody.post(REFRESH, &old).await.ok();
    seen.secret(&next["access"]);
    seen.secret(&next["refresh"]);
    assert_eq!(nobody.post(REFRESH, &old).await.ok(), next);
    nobody.post(BLACKLIST, &old).await.ok();
    let again = nobody.post(REFRESH, &old).await;
    again.refused(401, "UNAUTHORIZED");
    let ended = api
        .with(&format!("Bearer {access}"))
        .get("/api/users/me/")
        .await;
    ended.refused(401, "UNAUTHORIZED");
    let login = json!({"email": "admin@example.com", "password": ADMIN});
    let login = nobody
        .post("/_allauth/app/v1/auth/login", &login)
        .await
        .ok();
    seen.secret(&login["meta"]["access_token"]);
    let session = seen.secret(&login["meta"]["session_token"]);
    let me = nobody.request(Method::GET, &format!("/api/users/me/?token={QUERY}"));
    let me = me
        .header("x-session-token", &session)
        .header("cookie", COOKIE);
    let me = nobody.try_send(me).await.unwrap();
    me.refused(400, "VALIDATION_ERROR");
    let key = api
        .post("/api/cloud/auth/api-keys/", &json!({"name": "k"}))
        .await;
    let key = seen.secret(&key.ok()["data"]["key"]);
    api.with(&format!("Api-Key {key}"))
        .get("/api/users/me/")
        .await
        .ok();
    let wrong = json!({"username": "admin", "password": WRONG});
    for (path, body) in [
        ("/api/auth/jwt/token/", wrong.clone()),
        (
            "/api/auth/jwt/token/",
            json!({"username": "admin", "password": [WRONG]}),
        ),
        (
            "/api/auth/jwt/token/",
            json!({"password": WRONG, "more": 1}),
        ),
        ("/_allauth/app/v1/auth/login", json!({"password": WRONG})),
        ("/api/auth/jwt/token/refresh/", json!({"refresh": WRONG})),
        ("/api/auth/jwt/token/blacklist/", json!({"refresh": WRONG})),
    ] {
        let answer = nobody.post(path, &body).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        seen.errors.push(answer.body);
    }
    for credential in [format!("Bearer {WRONG}"), format!("Api-Key {WRONG}")] {
        let answer = api.with(&credential).get("/api/users/me/").await;
        answer.refused(401, "UNAUTHORIZED");
        seen.errors.push(answer.body);
    }
    let broken = nobody.request(Method::POST, "/api/auth/jwt/token/");
    let broken = broken.header("content-type", "application/json");
    let broken = broken.body(format!("{{\"username\":\"admin\",\"password\":\"{WRONG}\""));
    let answer = nobody.try_send(broken).await.unwrap();
    answer.refused(400, "BAD_REQUEST");
    seen.errors.push(answer.body);
}

/// A user with a password is created and changed, before functions that give back all they get.
async fn change_users(api: &Api, seen: &mut Seen) -> Vec<Value> {
    api.app("checks").await;
    for (name, events) in [
        ("before", ["PRE_USER_CREATE", "PRE_USER_UPDATE"]),
        ("after", ["POST_USER_CREATE", "POST_USER_UPDATE"]),
    ] {
        let id = api.function("checks", name, ECHO, &json!({})).await;
        for event in events {
            api.subscribe(event, id).await;
        }
    }
    let ann = json!({"username": "ann", "email": "ann@example.com", "password": ANN,
        "confirm_password": ANN});
    api.post("/api/users/", &ann).await.ok();
    let mine = api.with(&bearer(api.sign_in("ann", ANN).await));
    let change = mine.request(Method::PATCH, "/api/users/ann/");
    let change =
        change.json(&json!({"password": NEW, "current_password": ANN, "first_name": "Ann"}));
    mine.try_send(change).await.unwrap().ok();
    // Passwords that are refused, by their own rules and by another field.
    for body in [
        json!({"username": "bob", "email": "bob@example.com", "password": WRONG,
            "confirm_password": "another"}),
        json!({"username": "b b", "email": "bob", "password": WRONG}),
        json!({"username": "ann", "email": "x@example.com", "password": WRONG}),
    ] {
        let answer = api.post("/api/users/", &body).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        seen.errors.push(answer.body);
    }
    let (mut runs, mut watch) = (Vec::new(), Watch::open(api).await);
    for function in ["before", "after"] {
        for run in api.runs_of(function).await {
            runs.push(watch.ended(run["id"].as_i64().unwrap()).await);
        }
    }
    assert_eq!(runs.len(), 4);
    runs
}

/// A proxy function carries what the other side knows it by. It is stored; whoever may see functions sees it.
async fn call_out(api: &Api, seen: &mut Seen) {
    let body = json!({"name": "out", "execution_mode": "proxy",
        "webhook_url": "http://127.0.0.1:1/hook", "headers": {"Authorization": HEADER}});
    let made = api.post("/api/apps/checks/functions/", &body).await.ok();
    seen.secret(&made["webhook_secret"]);
    let failed = api.execute("checks", "out", &json!({})).await;
    failed.refused(400, "FUNCTION_FAILED");
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_found_nowhere_afterwards() {
    let folder = Arc::new(Folder::new());
    for format in ["text", "json"] {
        let settings = [
            ("TOLLGATE_ADMIN_PASSWORD", ADMIN),
            ("TOLLGATE_LOG", "trace"),
            ("TOLLGATE_LOG_FORMAT", format),
            ("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true"),
            ("TOLLGATE_OUTBOUND__PORTS", "[]"),
        ];
        let server = Server::start_in(&folder, &[], &settings).await;
        let mut seen = Seen::default();
        seen.secrets
            .extend([ADMIN, ANN, NEW, WRONG, COOKIE, QUERY].map(str::to_owned));
        let own = server
            .api
            .credential()
            .strip_prefix("Api-Key ")
            .unwrap()
            .to_owned();
        seen.secrets.push(own.clone());
        sign_in(&server.api, &mut seen).await;
        let mut answers = seen.errors.clone();
        if format == "text" {
            answers.extend(change_users(&server.api, &mut seen).await);
            answers.extend(seen.errors.clone());
            call_out(&server.api, &mut seen).await;
        }
        let (stdout, stderr) = (server.stdout.clone(), server.stderr.clone());
        server.stop().await;
        let log = stderr.so_far();
        for said in ["TRACE", "DEBUG", "POST /api/auth/jwt/token/ answered 401"] {
            assert!(log.contains(said), "{said}");
        }
        let answers = Value::from(answers).to_string();
        let kept = files(&folder.data());
        assert!(kept.len() > 2);
        assert!(!log.contains(HEADER), "in the log: {HEADER}");
        for secret in &seen.secrets {
            assert!(!log.contains(secret), "in the log: {secret}");
            assert!(!stdout.so_far().contains(secret), "on stdout: {secret}");
            assert!(!answers.contains(secret), "in an answer: {secret}");
            for (name, bytes) in &kept {
                // The operator's own key, for the commands of the same machine.
                if name == "cli.json" && *secret == own {
                    continue;
                }
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "in {name}: {secret}");
            }
        }
    }
}
