//! Every fault at once.

use super::{object, query};
use crate::extract::{given, set};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tollgate_core::functions::ExecutionMode;
use tollgate_core::time::Timestamp;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    count: u32,
    mode: Option<ExecutionMode>,
    #[serde(default, deserialize_with = "set")]
    kept: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    unset: Option<Option<f64>>,
    at: Option<Timestamp>,
    until: Option<Timestamp>,
    #[serde(default)]
    roles: Vec<String>,
    headers: Option<BTreeMap<String, String>>,
    free: Option<Value>,
    raw: Option<Box<RawValue>>,
    inner: Option<Inner>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    deep: i64,
}

fn faults(text: &str) -> BTreeMap<String, String> {
    let faults = match object::<Form>(text, &[]) {
        Ok((draft, _)) => draft.faults_with(Vec::new()),
        Err(faults) => faults,
    };
    assert!(!faults.is_empty(), "{text}");
    let told = faults
        .into_iter()
        .map(|it| (it.field.into_owned(), it.message));
    told.collect()
}

#[test]
fn what_is_right_is_read_as_it_is() {
    let text = r#"{"name":"A\u00e9","count":7,"mode":"proxy","kept":true,"unset":null,
        "at":"2025-01-15T10:30:00Z","roles":["a","b"],"headers":{"x":"y"},
        "free":{"n":[1,2.5,null]},"raw":{ "n": 36893488147419103232 },"inner":{"deep":-5}}"#;
    let (form, _) = object::<Form>(text, &[]).unwrap();
    let form = form.whole().unwrap();
    assert_eq!((form.name.as_str(), form.count), ("Aé", 7));
    assert_eq!(form.mode, Some(ExecutionMode::Proxy));
    assert_eq!((form.kept, form.unset), (Some(true), Some(None)));
    assert!(form.at.is_some() && form.until.is_none());
    assert_eq!(form.roles, ["a", "b"]);
    assert_eq!(form.headers.unwrap()["x"], "y");
    assert_eq!(form.free, Some(json!({"n": [1, 2.5, null]})));
    assert_eq!(form.raw.unwrap().get(), r#"{ "n": 36893488147419103232 }"#);
    assert_eq!(form.inner.unwrap().deep, -5);
}

#[test]
fn every_fault_is_told_by_its_field() {
    let told = faults(
        r#"{"nmae":"x","count":-1,"mode":"porxy","kept":null,"unset":"5","at":"tomorrow",
            "until":7,"roles":["a",5,null],"headers":{"x":1,"y":"z"},"inner":{"deeep":1},
            "free":{"a":[0,{"b":1e400}]},"raw":[1e400],"other":1}"#,
    );
    let fields: Vec<&str> = told.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "at",
            "count",
            "free.a.1.b",
            "headers.x",
            "inner.deeep",
            "inner.deep",
            "kept",
            "mode",
            "name",
            "nmae",
            "other",
            "raw.0",
            "roles.1",
            "roles.2",
            "unset",
            "until",
        ]
    );
    assert_eq!(told["name"], "This field is required");
    assert_eq!(told["nmae"], "Unknown field. Did you mean 'name'?");
    assert_eq!(told["count"], "Use a whole number from 0 to 4294967295");
    assert_eq!(
        told["mode"],
        "Use one of app, proxy, system. Did you mean 'proxy'?"
    );
    assert_eq!(told["kept"], "This field may not be null");
    assert_eq!(told["unset"], "Use a number");
    assert_eq!(told["roles.1"], "Use text");
    assert_eq!(told["inner.deeep"], "Unknown field. Did you mean 'deep'?");
    for message in told.values() {
        assert!(
            !message.contains(" line ") && !message.contains("invalid type"),
            "{message}"
        );
    }
}

#[test]
fn what_is_wrong_is_left_out_of_the_rest() {
    let text = r#"{"nmae":"x","count":7,"mode":"porxy","kept":null,"unset":2.5,"at":"tomorrow",
        "until":"2025-01-15T10:30:00Z","roles":["a",5,"b"],"headers":{"x":1,"y":"z"},
        "inner":{"deeep":1},"free":{"b":1e400},"raw":[1e400],"id":1}"#;
    let (draft, besides) = object::<Form>(text, &["id"]).unwrap();
    assert_eq!(besides["id"], json!(1));
    let form = draft.look();
    assert_eq!((form.name.as_str(), form.count), ("", 7));
    assert!(form.mode.is_none() && form.kept.is_none() && form.at.is_none());
    assert_eq!(form.unset, Some(Some(2.5)));
    assert!(form.until.is_some() && form.free.is_none() && form.raw.is_none());
    // The others keep their places.
    assert_eq!(form.roles, ["a", "", "b"]);
    let headers: Vec<_> = form.headers.iter().flatten().collect();
    assert_eq!(headers, [(&"y".to_owned(), &"z".to_owned())]);
    assert_eq!(form.inner.as_ref().unwrap().deep, 0);
}

#[test]
fn items_for_which_nothing_can_stand_in_are_passed_over() {
    #[derive(Debug, Deserialize)]
    struct Dates {
        dates: Vec<Timestamp>,
        name: String,
    }
    let text = r#"{"dates":["no",7,"2025-01-15T10:30:00Z"],"name":5}"#;
    let (draft, _) = object::<Dates>(text, &[]).unwrap();
    assert_eq!(draft.look().dates.len(), 1);
    assert_eq!(draft.look().name, "");
    let fields = draft.faults_with(Vec::new());
    let fields: Vec<_> = fields.iter().map(|it| &*it.field).collect();
    assert_eq!(fields, ["name", "dates.0", "dates.1"]);
}

#[test]
fn types_of_every_kind_are_named() {
    for (text, field, message) in [
        (
            r#"{"name":null,"count":1}"#,
            "name",
            "This field may not be null",
        ),
        (r#"{"name":5,"count":1}"#, "name", "Use text"),
        (r#"{"name":["x"],"count":1}"#, "name", "Use text"),
        (
            r#"{"name":"x","count":1.5}"#,
            "count",
            "Use a whole number from 0 to 4294967295",
        ),
        (
            r#"{"name":"x","count":"1"}"#,
            "count",
            "Use a whole number from 0 to 4294967295",
        ),
        (
            r#"{"name":"x","count":1,"kept":"yes"}"#,
            "kept",
            "Use true or false",
        ),
        (
            r#"{"name":"x","count":1,"roles":"a"}"#,
            "roles",
            "Use a list",
        ),
        (
            r#"{"name":"x","count":1,"headers":[]}"#,
            "headers",
            "Use an object",
        ),
        (
            r#"{"name":"x","count":1,"inner":"x"}"#,
            "inner",
            "Use an object",
        ),
        (
            r#"{"name":"x","count":1,"mode":7}"#,
            "mode",
            "Use one of app, proxy, system",
        ),
        (
            r#"{"name":"x","count":1,"unset":1e999}"#,
            "unset",
            "Use a number",
        ),
    ] {
        assert_eq!(
            faults(text).get(field).map(String::as_str),
            Some(message),
            "{text}"
        );
    }
    let big = format!(
        "{{\"name\":\"x\",\"count\":1,\"{}\":1}}",
        "k".repeat(100_000)
    );
    assert!(faults(&big).keys().all(|field| field.len() <= 100));
    let many: Vec<_> = (0..1000).map(|n| format!("\"k{n}\":1")).collect();
    assert!(faults(&format!("{{{}}}", many.join(","))).len() <= 100);
}

#[test]
fn what_stands_besides_is_given_back() {
    let text = r#"{"name":"x","count":1,"id":5,"inner":{"deep":1}}"#;
    let (_, besides) = object::<Form>(text, &["id"]).unwrap();
    assert_eq!(besides["id"], json!(5));
    let text = r#"{"name":"x","count":1,"inner":{"deep":1,"id":5}}"#;
    let (draft, besides) = object::<Form>(text, &["id"]).unwrap();
    assert!(besides.is_empty());
    draft.whole().unwrap_err();
}

#[test]
fn queries_are_read_by_type_and_names_of_others_passed_over() {
    #[derive(Debug, Deserialize)]
    struct Asked {
        page: Option<u64>,
        search: Option<String>,
    }
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    let asked: Asked = query(&pairs(&[("page", "2"), ("other", "x"), ("search", "")])).unwrap();
    assert_eq!((asked.page, asked.search.as_deref()), (Some(2), Some("")));
    for (wrong, field) in [
        (&[("page", "x")][..], "page"),
        (&[("page", "-1")], "page"),
        (&[("page", "1"), ("page", "2")], "page"),
        (&[("search", "a"), ("search", "a")], "search"),
    ] {
        let faults = query::<Asked>(&pairs(wrong)).expect_err("a fault");
        assert_eq!(faults[0].field, field, "{wrong:?}");
    }
}
