//! Bodies of requests: the strict check, and what the rest of the program does with a text that
//! passed it. What is let in must be readable everywhere, and an event's parameters must come out
//! as they went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollgate_core::events::EventSpec;
use tollgate_core::json::{JsonText, changes, merge_patch};
use tollgate_core::platform;
use tollgate_core::strict_json;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if strict_json::check(text).is_err() {
        return;
    }
    let value: Value = serde_json::from_str(text).expect("what passed the check can be read");
    let kept = JsonText::parse(text.trim().to_owned()).expect("and be kept as text");
    assert_eq!(kept.to_value(), value, "and be read again");
    let written = JsonText::from(&value);
    strict_json::check(written.as_str()).expect("what is written passes as well");
    for spec in platform::catalogue().specs() {
        as_parameters(spec, &value);
    }
    if let Value::Array(items) = value
        && let [before, patch] = &*items
    {
        patched(before, patch);
    }
});

/// Parameters that can be read are written whole, and read again as the same.
fn as_parameters(spec: &EventSpec, value: &Value) {
    let Ok(read) = spec.read(value) else {
        return;
    };
    assert_eq!(read.event_type(), spec.event);
    let params = read.params().expect("parameters have JSON");
    strict_json::check(params.as_str()).expect("parameters can be stored");
    let again = spec
        .read(&params.to_value())
        .expect("parameters can be read again");
    let again = again.params().expect("and have JSON again");
    assert_eq!(again.as_str().len(), params.as_str().len());
}

/// A patch that is applied twice changes nothing the second time.
fn patched(before: &Value, patch: &Value) {
    let mut once = before.clone();
    merge_patch(&mut once, patch);
    let mut twice = once.clone();
    merge_patch(&mut twice, patch);
    assert_eq!(once, twice);
    assert!(changes(&once, &twice).is_empty());
    assert_eq!(changes(before, &once).is_empty(), *before == once);
}
