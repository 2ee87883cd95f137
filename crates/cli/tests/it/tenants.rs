//! Two sites in one server, told apart by host name: neither sees the other.

use crate::support::api::{Api, bearer};
use crate::support::code::{AGREE, ECHO};
use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::json;
use std::sync::Arc;

pub(crate) const ACME: &str = "acme.test";
pub(crate) const PASSWORD: &str = "correct horse";

/// A server with the sites `default` and `acme`, and a superuser's requests on the latter.
pub(crate) async fn two_sites() -> (Server, Api) {
    two_sites_with(&[]).await
}

/// The same with settings.
pub(crate) async fn two_sites_with(settings: &[(&str, &str)]) -> (Server, Api) {
    let folder = Arc::new(Folder::new());
    Server::start_in(&folder, &[], &[]).await.stop().await;
    folder
        .run(&["site", "create", "acme", "--domain", ACME])
        .await
        .ok();
    let create = [
        "admin",
        "create",
        "--site",
        "acme",
        "--email",
        "boss@acme.test",
    ];
    let created = folder
        .run(&[&create[..], &["--password", PASSWORD]].concat())
        .await
        .ok();
    assert!(
        created.contains("boss@acme.test") && !created.contains(PASSWORD),
        "{created}"
    );
    let server = Server::start_in(&folder, &[], settings).await;
    let acme = acme(&server).await;
    (server, acme)
}

/// The superuser's requests on the site `acme` of a server that has it.
pub(crate) async fn acme(server: &Server) -> Api {
    let acme = server.api.at(ACME);
    let token = bearer(acme.sign_in("boss@acme.test", PASSWORD).await);
    acme.with(&token)
}

#[tokio::test]
async fn a_credential_is_worth_nothing_on_the_other_site() {
    let (server, acme) = two_sites().await;
    acme.get("/api/users/me/").await.ok();
    let error = acme.at("127.0.0.1").get("/api/users/me/").await;
    error.refused(401, "UNAUTHORIZED");
    server
        .api
        .at(ACME)
        .get("/api/users/me/")
        .await
        .refused(401, "UNAUTHORIZED");
    // Nor is a password.
    server
        .api
        .sign_in("boss@acme.test", PASSWORD)
        .await
        .refused(401, "UNAUTHORIZED");
    server.stop().await;
}

#[tokio::test]
async fn what_belongs_to_the_other_site_does_not_exist() {
    let (server, acme) = two_sites().await;
    let ours = &server.api;
    ours.app("crm").await;
    let function = ours.function("crm", "echo", ECHO, &json!({})).await;
    ours.create_user("ann").await.ok();
    let run = ours.execute("crm", "echo", &json!({})).await.ok()["invocation"].clone();

    acme.app("crm").await;
    for path in [
        "/api/users/ann/".to_owned(),
        "/api/apps/crm/functions/echo/".to_owned(),
        format!("/api/invocations/{}/", run["id"]),
        format!("/api/result/{}/", run["task_id"].as_str().unwrap()),
    ] {
        ours.get(&path).await.ok();
        acme.get(&path).await.refused(404, "NOT_FOUND");
    }
    acme.execute("crm", "echo", &json!({}))
        .await
        .refused(404, "NOT_FOUND");
    acme.delete("/api/users/ann/")
        .await
        .refused(404, "NOT_FOUND");
    let subscribe = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    let refused = acme
        .post(subscribe, &json!({"function_id": function}))
        .await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let message = format!("Function with id {function} does not exist");
    assert_eq!(refused.body["message"], message);
    for (path, total) in [
        ("/api/users/", 1),
        ("/api/apps/", 1),
        ("/api/apps/crm/functions/", 0),
        ("/api/invocations/", 0),
        ("/api/cloud/auth/api-keys/", 0),
    ] {
        assert_eq!(acme.get(path).await.ok()["total"], total, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn events_stay_within_their_site() {
    let (server, acme) = two_sites().await;
    for api in [&server.api, &acme] {
        api.app("checks").await;
        let id = api.function("checks", "agrees", AGREE, &json!({})).await;
        api.subscribe("PRE_USER_CREATE", id).await;
    }
    // The same name on both sites is two people.
    server.api.create_user("ann").await.ok();
    acme.create_user("ann").await.ok();
    acme.create_user("bob").await.ok();
    assert_eq!(server.api.runs_of("agrees").await.len(), 1);
    assert_eq!(acme.runs_of("agrees").await.len(), 2);
    server
        .api
        .get("/api/users/bob/")
        .await
        .refused(404, "NOT_FOUND");
    server.stop().await;
}
