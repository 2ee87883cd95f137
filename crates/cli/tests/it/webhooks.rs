//! Deliveries to webhooks: signed, ended by 410, left alone when they fail. The receivers are real HTTP
//! servers on this machine, which takes `outbound.allow_private`.

use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use crate::support::{skipped, soon};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::process::Command;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const PRIVATE: [(&str, &str); 2] = [
    ("TOLLGATE_OUTBOUND__ALLOW_PRIVATE", "true"),
    ("TOLLGATE_OUTBOUND__PORTS", "[]"),
];

const FUNCTIONS: &str = include_str!("../../../../docs/guide/functions.md");

/// Calls the guide's function, then the library, with each delivery and each secret.
const VERIFY: &str = "
import json, sys

deliveries = json.load(open(sys.argv[1]))
if sys.argv[2] == 'library':
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
    def check(secret, headers, body):
        try:
            Webhook(secret).verify(body, headers)
            return True
        except WebhookVerificationError:
            return False
else:
    check = verify
for it in deliveries:
    good = check(it['secret'], it['headers'], it['body'].encode())
    assert good == it['good'], it
print('ok')
";

async fn server() -> Server {
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &PRIVATE).await;
    server.api.app("hooks").await;
    server
}

/// An endpoint that answers each call with the next of `statuses`, and the last for ever.
async fn endpoint(statuses: &[u16]) -> MockServer {
    let server = MockServer::start().await;
    for (place, status) in (1..).zip(statuses) {
        let answer = ResponseTemplate::new(*status).set_body_json(json!({}));
        let mock = Mock::given(method("POST")).respond_with(answer);
        let mock = mock.with_priority(place);
        let last = usize::from(place) == statuses.len();
        let mock = if last { mock } else { mock.up_to_n_times(1) };
        mock.mount(&server).await;
    }
    server
}

async fn received(endpoint: &MockServer) -> Vec<Request> {
    endpoint.received_requests().await.unwrap()
}

/// What a receiver has in its hands, and whether this secret must verify it.
fn delivery(request: &Request, secret: &str, good: bool) -> Value {
    let header = |name: &str| request.headers.get(name).unwrap().to_str().unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = names.iter().map(|name| (*name, header(name))).collect();
    let body = String::from_utf8(request.body.clone()).unwrap();
    json!({"secret": secret, "headers": headers, "body": body, "good": good})
}

fn secret_of(answer: &Value) -> String {
    let secret = answer["webhook_secret"].as_str().unwrap();
    assert!(
        secret.starts_with("whsec_") && secret.len() > 40,
        "{secret}"
    );
    secret.to_owned()
}

/// No file of the folder, the database among them, holds `text`.
fn lies_nowhere(folder: &Path, text: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(!found, "in clear in {}", path.display());
        }
    }
}

async fn run_python(python: &str, folder: &Folder, code: &str, mode: &str) {
    let script = folder.write("verify.py", code);
    let data = folder.path().join("deliveries.json");
    let mut command = Command::new(python);
    command.arg(script).arg(data).arg(mode);
    let output = soon("the end of the check", command.output())
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}

#[tokio::test]
async fn deliveries_are_signed_and_secrets_change_over() {
    let server = server().await;
    let (api, endpoint) = (&server.api, endpoint(&[200]).await);
    let created = api
        .proxy("hooks", "hook", &endpoint.uri(), &json!({}))
        .await;
    let first = secret_of(&created.ok());
    let path = "/api/apps/hooks/functions/hook/";
    let shown = api.get(path).await.ok();
    assert_eq!(shown.get("webhook_secret"), None, "{shown}");
    assert_eq!(shown["webhook_state"]["state"], "closed");
    api.execute("hooks", "hook", &json!({"params": {"n": "\u{fc}"}}))
        .await
        .ok();
    let rotated = api.post(&format!("{path}rotate-secret/"), &json!({})).await;
    let second = secret_of(&rotated.ok()["data"]);
    assert_ne!(first, second);
    let run = api.execute("hooks", "hook", &json!({})).await.ok();

    let requests = received(&endpoint).await;
    let deliveries = json!([
        delivery(&requests[0], &first, true),
        delivery(&requests[0], &second, false),
        delivery(&requests[1], &first, true),
        delivery(&requests[1], &second, true),
        delivery(
            &requests[1],
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            false
        ),
    ]);
    let task = run["invocation"]["task_id"].as_str().unwrap();
    assert_eq!(deliveries[2]["headers"]["webhook-id"], task);
    let signatures = deliveries[2]["headers"]["webhook-signature"]
        .as_str()
        .unwrap();
    assert_eq!(signatures.split(' ').count(), 2, "{signatures}");
    let folder = &server.folder;
    folder.write("deliveries.json", &deliveries.to_string());
    let guide = FUNCTIONS.split("In plain Python:\n\n```py\n").nth(1);
    let guide = guide.unwrap().split("```").next().unwrap();
    run_python("python3", folder, &format!("{guide}\n{VERIFY}"), "guide").await;
    match library().await {
        Some(python) => run_python(&python, folder, VERIFY, "library").await,
        None => skipped("standardwebhooks is not installed; name a Python in TEST_CLIENT_PYTHON"),
    }
    for secret in [&first, &second] {
        let said = server.stderr.so_far();
        assert!(!said.contains(secret.as_str()));
        lies_nowhere(&folder.data(), secret.trim_start_matches("whsec_"));
    }
    server.stop().await;
}

/// A Python that has the specification's own library.
async fn library() -> Option<String> {
    let python = std::env::var("TEST_CLIENT_PYTHON").unwrap_or("python3".to_owned());
    let mut asked = Command::new(&python);
    let asked = asked.args(["-c", "import standardwebhooks"]).output().await;
    asked.is_ok_and(|it| it.status.success()).then_some(python)
}

#[tokio::test]
async fn only_webhooks_have_secrets_and_a_lost_answer_shows_none() {
    let server = server().await;
    let (api, endpoint) = (&server.api, endpoint(&[200]).await);
    let code = "def main(params):\n    return {}\n";
    api.function("hooks", "code", code, &json!({})).await;
    let path = "/api/apps/hooks/functions/";
    let rotate = format!("{path}code/rotate-secret/");
    api.post(&rotate, &json!({}))
        .await
        .refused(400, "BAD_REQUEST");
    let rotate = format!("{path}none/rotate-secret/");
    api.post(&rotate, &json!({}))
        .await
        .refused(404, "NOT_FOUND");
    let body = json!({"name": "hook", "execution_mode": "proxy", "webhook_url": endpoint.uri()});
    let first = api.post_once(path, "same", &body).await.unwrap();
    secret_of(&first.body);
    let again = api.post_once(path, "same", &body).await.unwrap();
    assert!(again.replayed && again.status == 201, "{again:?}");
    assert_eq!(again.body["id"], first.body["id"]);
    assert_eq!(again.body.get("webhook_secret"), None);
    server.stop().await;
}

/// Who knows the secret speaks to the receiver as the function does.
#[tokio::test]
async fn the_secret_of_a_function_with_permissions_is_changed_by_who_holds_them() {
    let server = server().await;
    let (api, endpoint) = (&server.api, endpoint(&[200]).await);
    for (name, role) in [("dev", "hooks:developer"), ("boss", "admin")] {
        let user = json!({"username": name, "email": format!("{name}@example.com"),
            "password": "correct horse"});
        api.post("/api/users/", &user).await.ok();
        let roles = json!({"roles": [role], "usernames": [name]});
        api.post("/api/assign/roles/", &roles).await.ok();
    }
    let signed_in = async |name: &str| {
        let tokens = api.sign_in(name, "correct horse").await.ok();
        api.with(&format!("Bearer {}", tokens["access"].as_str().unwrap()))
    };
    let (dev, boss) = (signed_in("dev").await, signed_in("boss").await);
    for (slug, rights, free) in [
        ("plain", json!({}), true),
        ("held", json!({"permissions": ["functions.read"]}), true),
        ("more", json!({"permissions": ["users.manage"]}), false),
        (
            "wide",
            json!({"permissions": ["functions.read"], "permissions_scope": "site"}),
            false,
        ),
    ] {
        api.proxy("hooks", slug, &endpoint.uri(), &rights)
            .await
            .ok();
        let rotate = format!("/api/apps/hooks/functions/{slug}/rotate-secret/");
        let rotated = dev.post(&rotate, &json!({})).await;
        match free {
            true => drop(secret_of(&rotated.ok()["data"])),
            false => drop(rotated.refused(403, "FORBIDDEN").to_owned()),
        }
        secret_of(&boss.post(&rotate, &json!({})).await.ok()["data"]);
    }
    server.stop().await;
}

async fn options_of(api: &Api, event: &str) -> Value {
    let listed = api
        .get(&format!("/api/apps/hooks/events/{event}/"))
        .await
        .ok();
    listed["data"]["subscribers"][0]["options"].clone()
}

async fn explained(api: &Api, event: &str) -> Value {
    let path = format!("/api/cloud/events/{event}/explain/");
    let explained = api.post(&path, &json!({})).await.ok();
    explained["data"]["subscriptions"][0].clone()
}

#[tokio::test]
async fn gone_ends_a_subscription_until_somebody_switches_it_on() {
    let server = server().await;
    let (api, endpoint) = (&server.api, endpoint(&[410, 200]).await);
    let created = api
        .proxy("hooks", "hook", &endpoint.uri(), &json!({}))
        .await;
    let function = created.ok()["id"].as_i64().unwrap();
    let event = "POST_USER_CREATE";
    api.subscribe(event, function).await;
    assert_eq!(options_of(api, event).await["is_active"], true);
    let mut watch = Watch::open(api).await;
    api.create_user("ada").await.ok();
    let run = api.runs_of("hook").await[0]["id"].as_i64().unwrap();
    let run = watch.ended(run).await;
    assert_eq!(
        (&run["state"], &run["attempt"]),
        (&json!("dead"), &json!(1))
    );
    assert_eq!(run["error"]["kind"], "gone", "{run}");
    let options = options_of(api, event).await;
    assert_eq!(options["is_active"], false);
    let reason = options["deactivated_reason"].as_str().unwrap();
    assert!(reason.contains("410"), "{reason}");
    let why = explained(api, event).await;
    assert_eq!(why["reason"], "subscription_inactive", "{why}");
    api.create_user("bob").await.ok();
    assert_eq!(api.runs_of("hook").await.len(), 1);

    let on = json!({"function_id": function, "is_active": true});
    let path = format!("/api/cloud/events/{event}/subscribe/");
    let request = api.request(reqwest::Method::PATCH, &path).json(&on);
    let options = api.try_send(request).await.unwrap().ok()["data"]["options"].clone();
    assert_eq!(options["is_active"], true);
    assert_eq!(options["deactivated_reason"], Value::Null);
    api.create_user("eve").await.ok();
    let run = api.runs_of("hook").await[0]["id"].as_i64().unwrap();
    assert_eq!(watch.ended(run).await["state"], "succeeded");
    server.stop().await;
}

/// Nobody guards the operation any more, so it does not happen: until a person acts, also after a restart.
#[tokio::test]
async fn gone_keeps_a_pre_event_closed_until_a_person_acts() {
    let mut server = server().await;
    let endpoint = endpoint(&[410, 410, 200]).await;
    let event = "PRE_USER_CREATE";
    let created = server
        .api
        .proxy("hooks", "hook", &endpoint.uri(), &json!({}))
        .await;
    let function = created.ok()["id"].as_i64().unwrap();
    // A call that no event caused changes nothing.
    server
        .api
        .execute("hooks", "hook", &json!({}))
        .await
        .refused(400, "FUNCTION_FAILED");
    server.api.subscribe(event, function).await;
    assert_eq!(explained(&server.api, event).await["would_run"], true);
    for name in ["ada", "bob"] {
        let refused = server.api.create_user(name).await;
        let message = refused.refused(400, "PRE_EVENT_FAILED");
        assert!(message.contains("is_active"), "{message}");
        assert_eq!(refused.body["errors"][0]["kind"], "gone");
    }
    assert_eq!(received(&endpoint).await.len(), 2, "it is not asked again");
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    server = Server::start_in(&folder, &[], &PRIVATE).await;
    let api = &server.api;
    api.create_user("ada")
        .await
        .refused(400, "PRE_EVENT_FAILED");
    let options = options_of(api, event).await;
    assert_eq!(
        (&options["is_active"], &options["closed"]),
        (&json!(false), &json!(true))
    );
    let reason = options["deactivated_reason"].as_str().unwrap();
    assert!(reason.contains("410"), "{reason}");
    let why = explained(api, event).await;
    assert_eq!(
        (&why["would_run"], &why["reason"]),
        (&json!(false), &json!("gone")),
        "{why}"
    );
    let on = json!({"function_id": function, "is_active": true});
    let path = format!("/api/cloud/events/{event}/subscribe/");
    let request = api.request(reqwest::Method::PATCH, &path).json(&on);
    let options = api.try_send(request).await.unwrap().ok()["data"]["options"].clone();
    assert_eq!(
        (&options["is_active"], &options["closed"]),
        (&json!(true), &json!(false))
    );
    api.create_user("ada").await.ok();
    server.stop().await;
}

/// What the receiver says goes to those who may read records, and to nobody who signs up.
#[tokio::test]
async fn a_failed_answer_is_shown_in_the_record_only() {
    let server = server().await;
    let api = &server.api;
    let endpoint = MockServer::start().await;
    let answer = ResponseTemplate::new(500).set_body_string("psql://internal-host failed");
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&endpoint)
        .await;
    let created = api
        .proxy("hooks", "hook", &endpoint.uri(), &json!({}))
        .await;
    let function = created.ok()["id"].as_i64().unwrap();
    api.subscribe("PRE_USER_CREATE", function).await;
    let refused = api.create_user("ada").await;
    let message = refused.refused(400, "PRE_EVENT_FAILED");
    assert!(message.contains("500"), "{message}");
    assert!(
        !refused.body.to_string().contains("internal-host"),
        "{refused:?}"
    );
    let run = refused.body["errors"][0]["invocation_id"].as_i64().unwrap();
    let record = api.invocation(run).await;
    let said = record["error"]["traceback"].as_str().unwrap();
    assert!(said.contains("psql://internal-host failed"), "{record}");
    assert_eq!(record["attempts"][0]["error"]["traceback"], said);
    server.stop().await;
}

#[tokio::test]
async fn a_failing_webhook_is_left_alone_and_its_runs_wait() {
    let server = server().await;
    let api = &server.api;
    let failing = [[500; 5].as_slice(), &[200]].concat();
    let endpoint = endpoint(&failing).await;
    api.proxy("hooks", "hook", &endpoint.uri(), &json!({}))
        .await
        .ok();
    for _ in 0..5 {
        let answer = api.execute("hooks", "hook", &json!({})).await;
        answer.refused(400, "FUNCTION_FAILED");
    }
    let answer = api.execute("hooks", "hook", &json!({})).await;
    let message = answer.refused(400, "FUNCTION_FAILED");
    assert!(message.contains("left alone until"), "{message}");
    let function = api.get("/api/apps/hooks/functions/hook/").await.ok();
    assert_eq!(function["webhook_state"]["state"], "open", "{function}");
    assert_eq!(function["webhook_state"]["failures"], 5);
    assert!(function["webhook_state"]["until"].is_string(), "{function}");
    let ready = api.get("/readyz").await.ok().to_string();
    assert!(ready.contains("1 webhooks failed"), "{ready}");

    let mut watch = Watch::open(api).await;
    let run = api.queue("hooks", "hook").await;
    watch.state(run, "retrying").await;
    let waiting = api.invocation(run).await;
    assert_eq!(waiting["error"]["kind"], "circuit_open", "{waiting}");
    assert_eq!(waiting["uncounted"], 1, "it costs no attempt");
    assert_eq!(received(&endpoint).await.len(), 5);
    // The webhook is well again, which the run itself finds out.
    let run = watch.ended(run).await;
    assert_eq!(
        (&run["state"], &run["uncounted"]),
        (&json!("succeeded"), &json!(1))
    );
    let function = api.get("/api/apps/hooks/functions/hook/").await.ok();
    assert_eq!(function["webhook_state"]["state"], "closed", "{function}");
    server.stop().await;
}
