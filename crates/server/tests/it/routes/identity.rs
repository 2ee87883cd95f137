//! One person, one identity: names, their spellings, and who may change them.

use crate::app::{Answer, PASSWORD, TestApp};
use serde_json::{Value, json};

const TOKEN: &str = "/api/auth/jwt/token/";

async fn create(app: &TestApp, root: &str, username: &str, email: &str) -> Answer {
    let body = json!({"username": username, "email": email, "password": PASSWORD});
    app.post("/api/users/", &body).bearer(root).send().await
}

async fn change(app: &TestApp, token: &str, path: &str, body: Value) -> Answer {
    app.ask("PATCH", path)
        .json(&body)
        .bearer(token)
        .send()
        .await
}

async fn signs_in_as(app: &TestApp, login: &str) -> Option<String> {
    let body = json!({"username": login, "password": PASSWORD});
    let answer = app.post(TOKEN, &body).send().await;
    let access = answer.body["access"].as_str()?.to_owned();
    let me = app.get("/api/users/me/").bearer(&access).send().await.ok();
    Some(me["data"]["username"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn usernames_and_addresses_are_one_namespace() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    app.user(&root, "victim", &[]).await;
    // Somebody's username as one's own address is no valid address unless it looks like one.
    create(&app, &root, "boss@here.test", "boss@example.com")
        .await
        .ok();
    for body in [
        json!({"email": "boss@here.test", "current_password": PASSWORD}),
        json!({"email": "BOSS@HERE.test", "current_password": PASSWORD}),
        json!({"email": "boss＠here．test", "current_password": PASSWORD}),
        json!({"email": "Victim@Example.com", "current_password": PASSWORD}),
        json!({"username": "victim@example.com"}),
        json!({"username": "ＶＩＣＴＩＭ"}),
    ] {
        for method in ["PATCH", "PUT"] {
            let asking = app.ask(method, "/api/users/ann/").json(&body);
            let answer = asking.bearer(&ann).send().await;
            answer.is_error(409, "CONFLICT");
            let field = answer.body["errors"][0]["field"].as_str().unwrap();
            assert!(body.get(field).is_some(), "{body} {field}");
        }
        let mut new = json!({"username": "new", "email": "new@example.com"});
        for field in ["username", "email"] {
            if let Some(value) = body.get(field) {
                new[field] = value.clone();
            }
        }
        let asking = app.post("/api/users/", &new).bearer(&root);
        asking.send().await.is_error(409, "CONFLICT");
    }
    for (login, who) in [
        ("boss@here.test", "boss@here.test"),
        ("boss@example.com", "boss@here.test"),
        ("victim@example.com", "victim"),
        ("victim", "victim"),
    ] {
        assert_eq!(signs_in_as(&app, login).await.as_deref(), Some(who));
    }
}

#[tokio::test]
async fn a_spelling_of_a_name_is_that_name() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for (kept, given, spellings) in [
        ("Alice", "Alice", ["ａｌｉｃｅ", "ALICE", "aLICE"]),
        ("fiona", "ﬁona", ["fiona", "FIONA", "ﬁONA"]),
        ("ΟΔΟΣ", "ΟΔΟΣ", ["οδοσ", "οδος", "Οδος"]),
        ("José", "Jose\u{301}", ["josé", "JOSE\u{301}", "ｊosé"]),
    ] {
        let email = format!("{}@example.com", kept.chars().next().unwrap());
        let made = create(&app, &root, given, &email).await.ok();
        assert_eq!(made["data"]["username"], kept);
        for spelling in spellings {
            let again = create(&app, &root, spelling, "other@example.com").await;
            again.is_error(409, "CONFLICT");
            assert_eq!(signs_in_as(&app, spelling).await.as_deref(), Some(kept));
            let path = format!("/api/users/{}/", percent(spelling));
            let got = app.get(&path).bearer(&root).send().await.ok();
            assert_eq!(got["data"]["username"], kept, "{spelling}");
            let search = format!("/api/users/?search={}", percent(spelling));
            let found = app.get(&search).bearer(&root).send().await.ok();
            assert_eq!(found["data"][0]["username"], kept, "{spelling}");
            let body = json!({"roles": ["viewer"], "usernames": [spelling, kept]});
            let given = app.post("/api/assign/roles/", &body).bearer(&root);
            assert_eq!(given.send().await.ok()["data"]["count"], 1, "{spelling}");
        }
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Control and format characters.
const UNSEEN: [char; 8] = [
    '\u{200b}',
    '\u{202e}',
    '\u{ad}',
    '\u{7}',
    '\u{feff}',
    '\u{2066}',
    '\u{e0041}',
    '\u{200d}',
];

/// The body is refused because of `c` in `field`.
async fn refuses(
    app: &TestApp,
    root: &str,
    (method, path): (&str, &str),
    body: Value,
    at: (char, &str),
) {
    let (c, field) = at;
    let answer = app.ask(method, path).json(&body).bearer(root).send().await;
    answer.is_error(400, "VALIDATION_ERROR");
    assert_eq!(answer.body["errors"][0]["field"], field, "{body}");
    let message = answer.body["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("U+{:04X}", u32::from(c))),
        "{message}"
    );
}

#[tokio::test]
async fn what_nobody_sees_is_refused_in_names_of_people() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user(&root, "ann", &[]).await;
    for c in UNSEEN {
        let name = format!("na{c}me");
        for (way, new) in [
            (
                ("POST", "/api/users/"),
                json!({"username": "a", "email": "a@example.com"}),
            ),
            (("PATCH", "/api/users/ann/"), json!({})),
            (("PUT", "/api/users/ann/"), json!({})),
        ] {
            for (field, value) in [
                ("username", name.clone()),
                ("email", format!("{name}@example.com")),
                ("email", format!("a@exam{c}ple.com")),
            ] {
                let mut body = new.clone();
                body[field] = json!(value);
                refuses(&app, &root, way, body, (c, field)).await;
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_sees_is_refused_in_names_and_descriptions_of_things() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Plain").await;
    let functions = "/api/apps/user-management/functions/";
    let code = "def main(params):\n    return {}\n";
    for c in UNSEEN {
        let text = format!("Na{c}me");
        for (way, new) in [
            (("POST", "/api/apps/"), json!({"name": "X", "slug": "x"})),
            (("PATCH", "/api/apps/user-management/"), json!({})),
            (
                ("POST", functions),
                json!({"name": "X", "slug": "x", "code": code}),
            ),
            (("PATCH", &format!("{functions}plain/")), json!({})),
        ] {
            for field in ["name", "description"] {
                let mut body = new.clone();
                body[field] = json!(text);
                refuses(&app, &root, way, body, (c, field)).await;
            }
        }
        let key = ("POST", "/api/cloud/auth/api-keys/");
        refuses(&app, &root, key, json!({"name": text}), (c, "name")).await;
    }
    let body = json!({"name": "Many", "description": "line\n\tline"});
    let made = app.post("/api/apps/", &body).bearer(&root);
    made.send().await.ok();
}

#[tokio::test]
async fn an_address_is_kept_with_its_domain_in_lower_case() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for (n, (given, kept)) in [
        ("Ann.B@EXAMPLE.Com", "Ann.B@example.com"),
        ("x@BLOCKED.example", "x@blocked.example"),
        ("x@XN--BCHER-kva.example", "x@bücher.example"),
    ]
    .into_iter()
    .enumerate()
    {
        let made = create(&app, &root, &format!("u{n}"), given).await.ok();
        assert_eq!(made["data"]["email"], kept);
        let path = format!("/api/users/u{n}/");
        let body = json!({"email": format!("y{given}")});
        let changed = change(&app, &root, &path, body).await.ok();
        assert_eq!(changed["data"]["email"], format!("y{kept}"));
    }
    create(&app, &root, "other", "yx@bu\u{308}cher.example")
        .await
        .is_error(409, "CONFLICT");
    for email in [
        ".a@b.example",
        "a.@b.example",
        "a..b@c.example",
        "a[b]@c.example",
        &format!("{}@b.example", "a".repeat(65)),
        &format!("a@{}.example", "b".repeat(64)),
    ] {
        let answer = create(&app, &root, "other", email).await;
        answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["errors"][0]["field"], "email", "{email}");
        let answer = change(&app, &root, "/api/users/u0/", json!({"email": email})).await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn a_new_password_is_checked_as_django_does() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user(&root, "margaret", &[]).await;
    for (password, count) in [
        ("short-1", 1),
        ("password", 1),
        ("margaret77", 1),
        ("12345678", 2),
        ("margaret@example.com", 1),
    ] {
        let new = json!({"username": "margaret2", "email": "margaret@example.net",
            "password": password});
        let created = app.post("/api/users/", &new).bearer(&root).send().await;
        let body = json!({"password": password});
        let changed = change(&app, &root, "/api/users/margaret/", body).await;
        for answer in [created, changed] {
            answer.is_error(400, "VALIDATION_ERROR");
            let errors = answer.body["errors"].as_array().unwrap();
            assert_eq!(errors.len(), count, "{password}: {errors:?}");
            assert!(errors.iter().all(|error| error["field"] == "password"));
        }
    }
}

#[tokio::test]
async fn a_password_signs_in_in_every_spelling() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"username": "rene", "email": "rene@example.com",
        "password": "mot-de-passe-cre\u{301}e\u{301}"});
    app.post("/api/users/", &body)
        .bearer(&root)
        .send()
        .await
        .ok();
    for typed in ["mot-de-passe-créé", "mot-de-passe-cre\u{301}e\u{301}"] {
        let body = json!({"username": "rene", "password": typed});
        app.post(TOKEN, &body).send().await.ok();
    }
}

#[tokio::test]
async fn changing_ones_own_password_or_address_asks_for_the_current_one() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let path = "/api/users/ann/";
    for new in [
        json!({"password": "another horse"}),
        json!({"email": "ann@new.example"}),
    ] {
        for current in [json!(null), json!("wrong horse"), json!("")] {
            let mut body = new.clone();
            if !current.is_null() {
                body["current_password"] = current;
            }
            let answer = change(&app, &ann, path, body).await;
            answer.is_error(400, "VALIDATION_ERROR");
            assert_eq!(answer.body["errors"][0]["field"], "current_password");
        }
    }
    // What is as it was, and what is neither, needs none.
    for body in [
        json!({"email": "ann@example.com", "first_name": "Ann"}),
        json!({"username": "ann", "last_name": "B"}),
    ] {
        change(&app, &ann, path, body).await.ok();
    }
    let body = json!({"email": "ann@new.example", "current_password": PASSWORD});
    change(&app, &ann, path, body).await.ok();
    // Who manages users changes others without, and asks nobody else's password.
    let body = json!({"email": "ann@newer.example", "password": "another horse"});
    change(&app, &root, path, body).await.ok();
    let own = json!({"email": "root@new.example"});
    change(&app, &root, "/api/users/root/", own)
        .await
        .is_error(400, "VALIDATION_ERROR");
    // Who has no password has none to give.
    let body = json!({"username": "nopass", "email": "nopass@example.com"});
    let made = app.post("/api/users/", &body).bearer(&root);
    made.send().await.ok();
}

#[tokio::test]
async fn wrong_current_passwords_count_as_failed_sign_ins() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let body = json!({"password": "another horse", "current_password": "wrong horse"});
    for _ in 0..10 {
        let answer = change(&app, &ann, "/api/users/ann/", body.clone()).await;
        answer.is_error(400, "VALIDATION_ERROR");
    }
    let answer = change(&app, &ann, "/api/users/ann/", body).await;
    answer.is_error(429, "RATE_LIMITED");
    let body = json!({"username": "ann", "password": PASSWORD});
    let sign_in = app.post(TOKEN, &body).send().await;
    sign_in.is_error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn nobody_writes_their_own_attributes() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let plan = json!({"attributes": {"plan": "free"}});
    change(&app, &root, "/api/users/ann/", plan.clone())
        .await
        .ok();
    // What is sent back as it was read is no change.
    change(&app, &ann, "/api/users/ann/", plan).await.ok();
    for attributes in [
        json!({"plan": "enterprise"}),
        json!({}),
        json!({"plan": "free", "more": 1}),
        json!("{\"plan\":\"enterprise\"}"),
    ] {
        for method in ["PATCH", "PUT"] {
            let body = json!({"attributes": attributes});
            let asking = app.ask(method, "/api/cloud/users/ann/").json(&body);
            asking.bearer(&ann).send().await.is_error(403, "FORBIDDEN");
        }
    }
    let got = app.get("/api/users/ann/").bearer(&ann).send().await.ok();
    assert_eq!(got["data"]["attributes"], json!({"plan": "free"}));
    let own = json!({"attributes": {"plan": "own"}});
    change(&app, &root, "/api/users/root/", own).await.ok();
}

#[tokio::test]
async fn people_set_their_own_preferences() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let ann = app.user(&root, "ann", &[]).await;
    let path = "/api/users/me/preferences/";
    let ask = async |method: &str, body: Value| {
        let asking = app.ask(method, path).json(&body).bearer(&ann);
        asking.send().await.ok()["data"].clone()
    };
    let defaults = app.get(path).bearer(&ann).send().await.ok()["data"].clone();
    assert_eq!(defaults["theme"], "light");
    assert_eq!(defaults["widget_config"], json!({}));
    let body = json!({"theme": "dark", "widget_config": {"a": {"x": 1}}, "mine": [1]});
    let set = ask("PUT", body.clone()).await;
    assert_eq!(
        (&set["theme"], &set["timezone"]),
        (&json!("dark"), &json!("UTC"))
    );
    // PUT as the official client means it: what is not named stays.
    let set = ask("PUT", json!({"timezone": "Asia/Kolkata"})).await;
    assert_eq!((&set["theme"], &set["mine"]), (&json!("dark"), &json!([1])));
    let patch = json!({"widget_config": {"a": {"y": 2}}, "mine": null});
    let merged = ask("PATCH", patch).await;
    assert_eq!(merged["widget_config"], json!({"a": {"x": 1, "y": 2}}));
    assert_eq!(merged.get("mine"), None, "{merged}");
    let got = app.get("/api/cloud/users/me/preferences/").bearer(&ann);
    assert_eq!(got.send().await.ok()["data"], merged);
    // They are one's own, and in no record of the user.
    let others = app.get(path).bearer(&root).send().await.ok();
    assert_eq!(others["data"]["theme"], "light");
    let user = app.get("/api/users/ann/").bearer(&root).send().await.ok();
    assert!(!user.to_string().contains("Kolkata"));
    let large = json!({"x": "x".repeat(33 * 1024)});
    for method in ["PUT", "PATCH"] {
        let answer = app.ask(method, path).json(&large).bearer(&ann).send().await;
        answer.is_error(400, "VALIDATION_ERROR");
        assert_eq!(answer.body["errors"][0]["field"], "preferences");
    }
    app.get(path).send().await.is_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn changes_of_preferences_at_once_all_stand() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let path = "/api/users/me/preferences/";
    let changes = (0..20).map(|n| {
        let body = json!({format!("f{n}"): n});
        app.ask("PATCH", path).json(&body).bearer(&root).send()
    });
    for answer in futures_util::future::join_all(changes).await {
        answer.ok();
    }
    let all = app.get(path).bearer(&root).send().await.ok();
    for n in 0..20 {
        assert_eq!(all["data"][format!("f{n}")], n);
    }
}

#[tokio::test]
async fn no_cache_keeps_an_answer_of_the_api() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let pair = json!({"username": "root", "password": PASSWORD});
    let pair = app.post(TOKEN, &pair).send().await.ok();
    let login = json!({"email": "root", "password": PASSWORD});
    let secret = json!({"key": "K", "value": "a secret value"});
    let answers = [
        app.post(TOKEN, &login).send().await,
        app.post("/api/cloud/auth/jwt/token/", &login).send().await,
        app.post(
            "/api/auth/jwt/token/refresh/",
            &json!({"refresh": pair["refresh"]}),
        )
        .send()
        .await,
        app.post("/_allauth/app/v1/auth/login", &login).send().await,
        app.post("/api/cloud/auth/api-keys/", &json!({"name": "k"}))
            .bearer(&root)
            .send()
            .await,
        app.post("/api/secrets/", &secret)
            .bearer(&root)
            .send()
            .await,
        app.get("/api/secrets/K/").bearer(&root).send().await,
        app.get("/api/secrets/?keys=K").bearer(&root).send().await,
        app.get("/api/users/me/").bearer(&root).send().await,
    ];
    for answer in answers {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        answer.ok();
    }
    // Refusals too: they may say something of the account.
    let refused = app.get("/api/users/me/").send().await;
    assert_eq!(refused.header("cache-control"), "no-store");
    let page = app.get("/docs").send().await;
    assert_eq!(page.header("x-content-type-options"), "nosniff");
}
