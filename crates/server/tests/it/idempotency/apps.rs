//! `POST /api/apps/` and `POST /api/apps/{app_slug}/functions/`

use super::{assert_repeats, keyed, total};
use crate::app::TestApp;
use serde_json::json;

const APPS: &str = "/api/apps/";
const FUNCTIONS: &str = "/api/apps/crm/functions/";

#[tokio::test]
async fn an_app_is_made_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"name": "CRM"});
    let made = assert_repeats(keyed(&app, APPS, "k", &body).bearer(&root), 201).await;
    let got = app.get("/api/apps/crm/").bearer(&root).send().await.ok();
    assert_eq!(made["data"], got["data"]);
    let other = keyed(&app, APPS, "k", &json!({"name": "Other"}));
    let other = other.bearer(&root).send().await;
    other.is_error(409, "CONFLICT");
    assert_eq!(total(&app, &root, APPS).await, 1);
}

#[tokio::test]
async fn a_function_is_made_once() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let crm = app.post(APPS, &json!({"name": "CRM"})).bearer(&root);
    crm.send().await.ok();
    let body = json!({"name": "F", "execution_mode": "system"});
    let asking = keyed(&app, FUNCTIONS, "k", &body).bearer(&root);
    let made = assert_repeats(asking, 201).await;
    let path = format!("{FUNCTIONS}f/");
    let got = app.get(&path).bearer(&root).send().await.ok();
    assert_eq!((&made["id"], &made["version"]), (&got["id"], &json!(1)));
    assert_eq!(total(&app, &root, FUNCTIONS).await, 1);
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let body = json!({"name": "CRM"});
    app.post(APPS, &body).bearer(&root).send().await.ok();
    let asking = keyed(&app, APPS, "k", &body).bearer(&root);
    let taken = asking.clone().send().await;
    assert_eq!(
        taken.is_error(409, "CONFLICT"),
        "That slug is already in use"
    );
    let gone = app.ask("DELETE", "/api/apps/crm/").bearer(&root);
    gone.send().await.ok();
    assert_repeats(asking, 201).await;
}
