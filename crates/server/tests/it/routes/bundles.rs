//! Functions of several files: how they arrive.

use crate::app::{Answer, Asking, OTHER_HOST, TestApp};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write as _;
use tar::{Builder, Header};
use tollgate_core::limits;

const PATH: &str = "/api/apps/user-management/functions/";
const CODE: &str = "def main(p): pass\n";

/// A part of a form: its name, its file's name, and what is in it.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

trait Sending {
    fn form(self, parts: &[Part<'_>]) -> Self;
}

impl Sending for Asking {
    fn form(self, parts: &[Part<'_>]) -> Self {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
            let head =
                format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xyz--\r\n");
        self.raw(body)
            .header("content-type", "multipart/form-data; boundary=xyz")
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let content = content.as_bytes();
        builder.append_data(&mut header, path, content).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&builder.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

async fn app() -> (TestApp, String) {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    (app, root)
}

async fn shown(app: &TestApp, token: &str, slug: &str) -> Value {
    let answer = app.get(&format!("{PATH}{slug}/")).bearer(token);
    answer.send().await.ok()
}

fn fault(answer: &Answer) -> (u16, String) {
    let field = answer.body["errors"][0]["field"].as_str();
    (answer.status, field.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_archive_and_single_files_of_the_same_content_are_the_same_bundle() {
    let (app, root) = app().await;
    let packed = archive(&[("main.py", CODE), ("lib/a.txt", "a")]);
    let parts: &[Part<'_>] = &[
        ("function", None, br#"{"name":"One","timeout_seconds":5}"#),
        ("bundle", Some("one.tar.gz"), &packed),
    ];
    assert_eq!(app.post_form(&root, PATH, parts).await.status, 201);
    let parts: &[Part<'_>] = &[
        ("files", Some("lib/a.txt"), b"a"),
        ("function", None, br#"{"name":"Two"}"#),
        ("files", Some("main.py"), CODE.as_bytes()),
    ];
    assert_eq!(app.post_form(&root, PATH, parts).await.status, 201);
    let (one, two) = (
        shown(&app, &root, "one").await,
        shown(&app, &root, "two").await,
    );
    assert!(one["bundle"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(one["bundle"], two["bundle"]);
    for (name, value) in [
        ("files", json!(2)),
        ("code", json!(CODE)),
        ("entrypoint", json!("main:main")),
        ("version", json!(1)),
    ] {
        assert_eq!(one[name], value, "{name}");
    }
    assert_eq!(one["timeout_seconds"], 5.0);
}

#[tokio::test]
async fn other_files_are_a_new_version_and_the_same_ones_are_not() {
    let (app, root) = app().await;
    let first = archive(&[("main.py", CODE), ("a.txt", "a")]);
    let parts: &[Part<'_>] = &[
        ("function", None, br#"{"name":"F"}"#),
        ("bundle", None, &first),
    ];
    assert_eq!(app.post_form(&root, PATH, parts).await.status, 201);
    let path = format!("{PATH}f/");
    let sent = |body: Vec<u8>| {
        let asking = app.ask("PATCH", &path).raw(body).bearer(&root);
        asking.header("content-type", "application/gzip").send()
    };
    assert_eq!(sent(first.clone()).await.ok()["version"], 1);
    let second = archive(&[
        ("main.py", CODE),
        ("a.txt", "b"),
        ("app.py", "def run(p): pass\n"),
    ]);
    assert_eq!(sent(second).await.ok()["version"], 2);

    // What was shown can be sent back.
    let seen = shown(&app, &root, "f").await;
    let back = app.ask("PUT", &path).json(&seen).bearer(&root).send().await;
    assert_eq!(back.ok()["version"], 2);
    // Another entry point is looked for in the files that are there.
    let moved = app
        .change(&root, "f", &json!({"entrypoint": "app:run"}))
        .await;
    assert_eq!(moved.ok()["version"], 3);
    let seen = shown(&app, &root, "f").await;
    assert_eq!(
        (&seen["code"], &seen["files"]),
        (&json!("def run(p): pass\n"), &json!(3))
    );
    let nowhere = app
        .change(&root, "f", &json!({"entrypoint": "app.x:run"}))
        .await;
    assert_eq!(fault(&nowhere), (400, "entrypoint".to_owned()));
    // Files that are stored need not be sent again.
    let again = json!({"bundle": seen["bundle"], "entrypoint": null});
    assert_eq!(app.change(&root, "f", &again).await.ok()["version"], 4);
    // Code alone is one file again.
    let single = app
        .change(&root, "f", &json!({"code": "def main(p): return 1\n"}))
        .await;
    assert_eq!(single.ok()["version"], 5);
    assert!(shown(&app, &root, "f").await.get("bundle").is_none());
    let version = app
        .get(&format!("{path}versions/2/"))
        .bearer(&root)
        .send()
        .await;
    assert_eq!(version.ok()["data"]["files"], 3);
}

#[tokio::test]
async fn what_cannot_be_taken_says_why_and_leaves_nothing() {
    let (app, root) = app().await;
    let name: Part<'_> = ("function", None, br#"{"name":"F"}"#);
    let good = archive(&[("main.py", CODE)]);
    let other = archive(&[("app.py", CODE)]);
    let many: Vec<String> = (0..=limits::BUNDLE_FILES)
        .map(|it| it.to_string())
        .collect();
    let many: Vec<Part<'_>> = many
        .iter()
        .map(|it| ("files", Some(&**it), &b""[..]))
        .collect();
    let cases: &[(&[Part<'_>], u16, &str)] = &[
        (&[("bundle", None, &good)], 400, "name"),
        (&[name, ("bundle", None, b"no archive")], 400, "bundle"),
        (&[name, ("bundle", None, &good), ("bundle", None, &good)], 400, "bundle"),
        (&[name, ("bundle", None, &good), ("files", Some("a"), b"")], 400, "bundle"),
        (&[name, ("files", Some("../main.py"), CODE.as_bytes())], 400, "bundle"),
        (&[name, ("files", None, CODE.as_bytes())], 400, "bundle"),
        (&[name, ("code", None, CODE.as_bytes())], 400, "bundle"),
        (&[name, ("bundle", None, &other)], 400, "entrypoint"),
        (&[name, ("files", Some("main.py"), b"\xff")], 400, "bundle"),
        (&[name], 400, "code"),
        (&[("function", None, b"[]"), ("bundle", None, &good)], 400, ""),
        (&[("function", None, br#"{"name":"F","code":"x = 1"}"#), ("bundle", None, &good)], 400, "bundle"),
        (&[("function", None, br#"{"name":"F","execution_mode":"proxy","webhook_url":"https://example.com/"}"#),
           ("bundle", None, &good)], 400, "bundle"),
        (&many, 400, "bundle"),
    ];
    for (parts, status, field) in cases {
        let answer = app.post_form(&root, PATH, parts).await;
        assert_eq!(fault(&answer), (*status, (*field).to_owned()), "{answer:?}");
    }
    let unknown = json!({"name": "F", "bundle": format!("sha256:{}", "0".repeat(64))});
    let answer = app.post(PATH, &unknown).bearer(&root).send().await;
    assert_eq!(fault(&answer), (400, "bundle".to_owned()));
    let no_digest = json!({"name": "F", "bundle": "main.py"});
    let answer = app.post(PATH, &no_digest).bearer(&root).send().await;
    assert_eq!(fault(&answer), (400, "bundle".to_owned()));
    let large = vec![0; limits::UPLOAD_BYTES + 1];
    let answer = app
        .post_form(&root, PATH, &[name, ("bundle", None, &large)])
        .await;
    assert_eq!(answer.status, 413);
    let cut = app
        .post(PATH, &json!({}))
        .raw(b"--xyz\r\nContent-Disposition".to_vec());
    let cut = cut.header("content-type", "multipart/form-data; boundary=xyz");
    assert_eq!(cut.bearer(&root).send().await.status, 400);
    let list = app.get(PATH).bearer(&root).send().await.ok();
    assert_eq!(list["total"], 0);
}

#[tokio::test]
async fn a_key_stands_for_a_request_with_its_files() {
    let (app, root) = app().await;
    let form = async |content: &str| {
        let packed = archive(&[("main.py", content)]);
        let parts: &[Part<'_>] = &[
            ("function", None, br#"{"name":"F"}"#),
            ("bundle", None, &packed),
        ];
        let asking = app.ask("POST", PATH).form(parts).bearer(&root);
        asking.header("idempotency-key", "k").send().await
    };
    let first = form(CODE).await;
    assert_eq!(first.status, 201);
    assert_eq!(form(CODE).await.body, first.body);
    assert_eq!(form("def main(p): return 1\n").await.status, 409);
}

#[tokio::test]
async fn files_of_one_site_are_not_there_for_another() {
    let (app, root) = app().await;
    let packed = archive(&[("main.py", CODE)]);
    let parts: &[Part<'_>] = &[
        ("function", None, br#"{"name":"F"}"#),
        ("bundle", None, &packed),
    ];
    assert_eq!(app.post_form(&root, PATH, parts).await.status, 201);
    let digest = shown(&app, &root, "f").await["bundle"].clone();
    let other = app.other_site().await;
    let made = app.post("/api/apps/", &json!({"name": "User Management"}));
    made.host(OTHER_HOST).bearer(&other).send().await.ok();
    let body = json!({"name": "F", "bundle": digest});
    let answer = app
        .post(PATH, &body)
        .host(OTHER_HOST)
        .bearer(&other)
        .send()
        .await;
    assert_eq!(fault(&answer), (400, "bundle".to_owned()));
}

impl TestApp {
    async fn post_form(&self, token: &str, path: &str, parts: &[Part<'_>]) -> Answer {
        self.ask("POST", path)
            .form(parts)
            .bearer(token)
            .send()
            .await
    }
}
