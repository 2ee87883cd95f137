//! Numbers stay exact, or are refused.

use crate::app::TestApp;
use serde_json::json;

const PATH: &str = "/api/apps/user-management/functions/echo/";

#[tokio::test]
async fn what_would_be_changed_is_400_with_its_field() {
    let app = TestApp::new().await;
    let root = app.root().await;
    for number in [
        "1e400",
        "-1e400",
        "1e-400",
        "18446744073709551616",
        "1.00000000000000000001",
        "123456789012345678.0",
        "0.1000000000000000055511151231257827",
    ] {
        let body = format!(
            r#"{{"username":"a","email":"a@example.com","attributes":{{"x":[{{"n":{number}}}]}}}}"#
        );
        let asking = app
            .ask("POST", "/api/users/")
            .raw(body.into_bytes())
            .bearer(&root);
        let answer = asking
            .header("content-type", "application/json")
            .send()
            .await;
        assert_eq!(answer.status, 400, "{number}: {}", answer.body);
        if answer.body["code"] == "VALIDATION_ERROR" {
            assert_eq!(
                answer.body["errors"][0]["field"], "attributes.x.0.n",
                "{number}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_accepted_comes_back_with_the_same_value() {
    let app = TestApp::new().await;
    let root = app.root().await;
    let numbers = "[0,-0,100.0,1E2,0.1,9007199254740993,18446744073709551615,-9223372036854775808,\
        1.5e-7,5e-324,1.7976931348623157e308,0.30000000000000004]";
    let body =
        format!(r#"{{"username":"a","email":"a@example.com","attributes":{{"n":{numbers}}}}}"#);
    let asking = app
        .ask("POST", "/api/users/")
        .raw(body.into_bytes())
        .bearer(&root);
    asking
        .header("content-type", "application/json")
        .send()
        .await
        .ok();
    let user = app.get("/api/users/a/").bearer(&root).send().await;
    let text = user.bytes();
    let shown = "[0,-0.0,100.0,100.0,0.1,9007199254740993,18446744073709551615,\
        -9223372036854775808,1.5e-7,5e-324,1.7976931348623157e+308,0.30000000000000004]";
    assert!(text.contains(shown), "{text}");
}

#[tokio::test]
async fn parameters_keep_the_text_of_their_numbers() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.post(
        "/api/apps/user-management/functions/",
        &json!({"name": "Echo", "code": "def main(params):\n    return 1\n"}),
    )
    .bearer(&root)
    .send()
    .await
    .ok();
    let run = |params: &str| {
        let body = format!(r#"{{"async":true,"params":{params}}}"#).into_bytes();
        let asking = app
            .ask("POST", &format!("{PATH}execute/"))
            .raw(body)
            .bearer(&root);
        asking.header("content-type", "application/json").send()
    };
    let params = r#"{"n":[36893488147419103233,1E2,100.0,0.1,-0]}"#;
    run(params).await.ok();
    for (params, field) in [
        (r#"{"n":[1,1e400]}"#, "params.n.1"),
        (r#"{"n":1.00000000000000000001}"#, "params.n"),
    ] {
        let answer = run(params).await;
        assert_eq!(answer.status, 400, "{params}: {}", answer.body);
        if answer.body["code"] == "VALIDATION_ERROR" {
            assert_eq!(answer.body["errors"][0]["field"], field);
        }
    }
}
