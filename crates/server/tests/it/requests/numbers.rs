//! Numbers stay exact, or are refused.

use crate::app::{Answer, TestApp};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

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

/// A JSON number as sign, digits and exponent, whatever its spelling.
fn decimal(number: &str) -> (bool, String, i64) {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let lower = number.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    if kept.trim_start_matches('0').is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = i64::try_from(digits.len() - kept.len()).unwrap();
    let places = i64::try_from(fraction.len()).unwrap();
    let exponent: i64 = exponent.parse().unwrap();
    let kept = kept.trim_start_matches('0').to_owned();
    (negative, kept, exponent - places + zeros)
}

/// The text of a part of an answer.
fn part(answer: &Answer, path: &[&str]) -> String {
    let bytes = answer.bytes();
    let mut text = bytes[bytes.find("{\"success\"").unwrap()..].to_owned();
    for name in path {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        text = fields[*name].get().to_owned();
    }
    text
}

/// Whatever form a number has, it comes back with its value, or the request is refused.
#[tokio::test]
async fn numbers_of_any_form_come_back_exactly_or_are_refused() {
    let app = TestApp::new().await;
    let root = app.root().await;
    app.user_management(&root).await;
    app.function(&root, "Validate User Data").await;
    let execute = "/api/apps/user-management/functions/validate-user-data/execute/";
    let send = async |method: &str, path: &str, body: String| {
        let asking = app.ask(method, path).raw(body.into_bytes()).bearer(&root);
        let answer = asking
            .header("content-type", "application/json")
            .send()
            .await;
        assert!(matches!(answer.status, 200 | 400), "{}", answer.body);
        answer
    };
    let numbers = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?";
    let numbers = proptest::string::string_regex(numbers).unwrap();
    let short = "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?";
    let numbers = proptest::prop_oneof![numbers, proptest::string::string_regex(short).unwrap()];
    let mut runner = TestRunner::deterministic();
    let mut kept = 0;
    for _ in 0..150 {
        let number = numbers.new_tree(&mut runner).unwrap().current();
        let object = format!(r#"{{"n":[{number},{{"m":{number}}}]}}"#);
        let places: [(&str, &str, String, &[&str]); 3] = [
            (
                "PATCH",
                "/api/users/root/",
                format!(r#"{{"attributes":{object}}}"#),
                &["data", "attributes", "n"],
            ),
            (
                "PUT",
                "/api/users/me/preferences/",
                object.clone(),
                &["data", "n"],
            ),
            (
                "POST",
                execute,
                format!(r#"{{"params":{object},"async":false}}"#),
                &["invocation", "task_result", "task_args", "n"],
            ),
        ];
        for (method, path, body, place) in places {
            let answer = send(method, path, body).await;
            if answer.status == 400 {
                continue;
            }
            let shown: Vec<Box<RawValue>> = serde_json::from_str(&part(&answer, place)).unwrap();
            let inner: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(shown[1].get()).unwrap();
            for shown in [shown[0].get(), inner["m"].get()] {
                assert_eq!(decimal(shown), decimal(&number), "{path}: {number} {shown}");
            }
            kept += 1;
        }
    }
    assert!(kept > 100, "{kept}");
}
