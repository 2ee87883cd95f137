//! `tollgate admin`, which works on the data folder itself.

use crate::support::api::bearer;
use crate::support::folder::Folder;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::sync::Arc;

/// The password in a command's output.
#[track_caller]
fn password(said: &str) -> String {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("password: "));
    line.unwrap_or_else(|| panic!("no password in {said:?}"))
        .to_owned()
}

#[tokio::test]
async fn a_rotated_key_leaves_tokens_good_until_the_next_rotation() {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_ADMIN_PASSWORD", "correct horse")];
    let server = Server::start_in(&folder, &[], &settings).await;
    let sign_in = async |server: &Server| {
        let signed_in = server.api.sign_in("admin@example.com", "correct horse");
        bearer(signed_in.await)
    };
    let me = async |server: &Server, token: &str| {
        server.api.with(token).get("/api/users/me/").await.status
    };
    let refused = folder.run(&["admin", "rotate-key"]).await.refused();
    assert!(refused.contains("in use by another"), "{refused}");
    let first = sign_in(&server).await;
    server.stop().await;
    folder.run(&["admin", "rotate-key"]).await.ok();
    let server = Server::start_in(&folder, &[], &[]).await;
    let second = sign_in(&server).await;
    assert_eq!(me(&server, &first).await, 200);
    assert_eq!(me(&server, &second).await, 200);
    server.stop().await;
    folder.run(&["admin", "rotate-key"]).await.ok();
    let server = Server::start_in(&folder, &[], &[]).await;
    assert_eq!(me(&server, &first).await, 401);
    assert_eq!(me(&server, &second).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_first_start_prints_a_password_that_works() {
    let mut server = Server::start().await;
    let line = server.stdout.line("with password").await;
    let password = line.rsplit(' ').next().unwrap();
    let token = bearer(server.api.sign_in("admin@example.com", password).await);
    let me = server.api.with(&token).get("/api/users/me/").await.ok();
    assert_eq!(me["data"]["is_superuser"], true, "{me}");
    server.stop().await;
}

#[tokio::test]
async fn a_password_that_was_set_is_not_printed() {
    let folder = Arc::new(Folder::new());
    let settings = [
        ("TOLLGATE_ADMIN_PASSWORD", "correct horse"),
        ("TOLLGATE_ADMIN_EMAIL", "boss@here.test"),
    ];
    let mut server = Server::start_in(&folder, &[], &settings).await;
    server
        .stdout
        .line("First start: superuser boss@here.test")
        .await;
    let said = server.stdout.so_far() + &server.stderr.so_far();
    assert!(!said.contains("correct horse"), "{said}");
    server
        .api
        .sign_in("boss@here.test", "correct horse")
        .await
        .ok();
    server.stop().await;
}

#[tokio::test]
async fn a_second_superuser_can_sign_in() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    let args = ["admin", "create", "--email", "second@example.com"];
    let made = password(&folder.run(&args).await.ok());
    let error = folder.run(&args).await.refused();
    assert!(error.contains("already"), "{error}");

    let server = Server::start_in(&folder, &[], &[]).await;
    let token = bearer(server.api.sign_in("second@example.com", &made).await);
    server.api.with(&token).get("/api/users/").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_reset_password_replaces_the_old_one() {
    let folder = Arc::new(Folder::new());
    let settings = [("TOLLGATE_ADMIN_PASSWORD", "correct horse")];
    let server = Server::start_in(&folder, &[], &settings).await;
    let tokens = server
        .api
        .sign_in("admin@example.com", "correct horse")
        .await
        .ok();
    server.stop().await;
    let args = ["admin", "reset-password", "--email", "admin@example.com"];
    let made = password(&folder.run(&args).await.ok());
    let unknown = ["admin", "reset-password", "--email", "no@one.test"];
    let error = folder.run(&unknown).await.refused();
    assert!(error.contains("no@one.test"), "{error}");

    let server = Server::start_in(&folder, &[], &[]).await;
    let api = &server.api;
    let old = api.sign_in("admin@example.com", "correct horse").await;
    old.refused(401, "UNAUTHORIZED");
    let renew = json!({"refresh": tokens["refresh"]});
    let renewed = api.post("/api/auth/jwt/token/refresh/", &renew).await;
    assert_eq!(renewed.status, 401, "{renewed:?}");
    api.sign_in("admin@example.com", &made).await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_site_has_one_name() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    folder.run(&["site", "create", "acme"]).await.ok();
    let error = folder.run(&["site", "create", "acme"]).await.refused();
    assert!(
        error.contains("acme") || error.contains("already"),
        "{error}"
    );
    let error = folder
        .run(&[
            "admin", "create", "--site", "nowhere", "--email", "a@b.test",
        ])
        .await;
    assert!(error.refused().contains("nowhere"));
}

#[tokio::test]
async fn a_site_that_comes_first_does_not_keep_the_server_from_starting() {
    let folder = Arc::new(Folder::new());
    folder
        .run(&["site", "create", "acme", "--domain", "acme.test"])
        .await
        .ok();
    let mut server = Server::start_in(&folder, &[], &[]).await;
    server.stdout.line("with password").await;
    server.api.get("/api/users/me/").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_refused_first_address_can_be_mended() {
    let folder = Arc::new(Folder::new());
    let wrong = [
        ("TOLLGATE_ADMIN_EMAIL", "nobody"),
        ("TOLLGATE_ADMIN_PASSWORD", "correct horse"),
    ];
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let error = folder.run_with(&serve, &wrong).await.refused();
    assert!(error.contains("e-mail"), "{error}");
    let right = [("TOLLGATE_ADMIN_PASSWORD", "correct horse")];
    let server = Server::start_in(&folder, &[], &right).await;
    server
        .api
        .sign_in("admin@example.com", "correct horse")
        .await
        .ok();
    server.stop().await;
}

#[tokio::test]
async fn a_weak_password_of_the_operator_is_taken_with_a_warning() {
    let folder = Arc::new(Folder::new());
    let weak = [("TOLLGATE_ADMIN_PASSWORD", "admin")];
    let mut server = Server::start_in(&folder, &[], &weak).await;
    server.stderr.line("password is weak").await;
    let tokens = server.api.sign_in("admin@example.com", "admin").await.ok();
    assert!(tokens["access"].is_string());
    server.stop().await;
    // Whoever makes one by a command can choose another at once.
    let create = [
        "admin",
        "create",
        "--email",
        "b@here.test",
        "--password",
        "password",
    ];
    let error = folder.run(&create).await.refused();
    assert!(error.contains("too common"), "{error}");
}

#[tokio::test]
async fn a_user_is_renamed_by_number_and_doctor_is_content() {
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    let said = folder.run(&["doctor"]).await.ok();
    assert!(said.contains("every username and address"), "{said}");
    let rename = ["admin", "rename", "--id", "1", "--username", "ｃｈｉｅｆ"];
    let said = folder.run(&rename).await.ok();
    assert!(
        said.contains("user 1 is chief <admin@example.com>"),
        "{said}"
    );
    let wrong = ["admin", "rename", "--id", "1", "--email", "nobody"];
    assert!(folder.run(&wrong).await.refused().contains("e-mail"));
    let nobody = ["admin", "rename", "--id", "99", "--username", "x"];
    assert!(folder.run(&nobody).await.refused().contains("User 99"));
}

/// Whatever a good address is made of: nobody has given a username, so none can be wrong.
#[tokio::test]
async fn a_superuser_is_made_of_every_good_address() {
    let folder = Arc::new(Folder::new());
    let first = [
        ("TOLLGATE_ADMIN_PASSWORD", "correct horse"),
        ("TOLLGATE_ADMIN_EMAIL", "o'brien@example.com"),
    ];
    let server = Server::start_in(&folder, &[], &first).await;
    let token = bearer(
        server
            .api
            .sign_in("o'brien@example.com", "correct horse")
            .await,
    );
    let me = server.api.with(&token).get("/api/users/me/").await.ok();
    assert_eq!(me["data"]["username"], "obrien");
    for (email, username) in [
        ("me@example.com", "me@example.com"),
        ("ME@other.example", "ME@other.example"),
        ("obrien@example.com", "obrien@example.com"),
        ("o'brien@other.example", "obrien2"),
        ("o/brien@example.com", "obrien3"),
        ("!#$%@example.com", "admin"),
        ("!#@other.example", "admin2"),
        ("a.b+c@example.com", "a.b+c"),
        ("用户@例子.广告", "用户"),
    ] {
        let create = ["admin", "create", "--json", "--email", email];
        let made: Value = serde_json::from_str(&folder.run(&create).await.ok()).unwrap();
        assert_eq!(made["username"], username, "{made}");
    }
    let chosen = [
        "admin",
        "create",
        "--json",
        "--email",
        "c@example.com",
        "--username",
        "chief",
    ];
    let made: Value = serde_json::from_str(&folder.run(&chosen).await.ok()).unwrap();
    assert_eq!(made["username"], "chief", "{made}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_superuser_is_named_as_it_was_given() {
    let folder = Arc::new(Folder::new());
    let server = Server::start_in(&folder, &[], &[]).await;
    let chief = [
        "admin",
        "create",
        "--email",
        "c@example.com",
        "--username",
        "chief",
    ];
    folder.run(&chief).await.ok();
    for (args, said) in [
        (
            ["--email", "d@example.com", "--username", "chief"],
            "--username: A user with that",
        ),
        (
            ["--email", "c@example.com", "--username", "other"],
            "--email: A user with that",
        ),
        (
            ["--email", "d@example.com", "--username", "a b"],
            "--username: Use at most",
        ),
        (
            ["--email", "d@example.com", "--username", "me"],
            "--username: This name is reserved",
        ),
        (
            ["--email", "nobody", "--username", "other"],
            "--email: Enter a valid e-mail",
        ),
        (
            ["--email", "d@example.com", "--password", "password"],
            "--password: ",
        ),
    ] {
        let create = [&["admin", "create"][..], &args].concat();
        let error = folder.run(&create).await.refused();
        assert!(error.contains(said), "{error}");
    }
    server.stop().await;
    let folder = Arc::new(Folder::new());
    let wrong = [("TOLLGATE_ADMIN_EMAIL", "nobody")];
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let error = folder.run_with(&serve, &wrong).await.refused();
    assert!(
        error.contains("admin_email: Enter a valid e-mail"),
        "{error}"
    );
}
