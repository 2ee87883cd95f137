//! Bodies of requests: the strict check, and what the rest of the program does with a text that
//! passed it. What is let in must be readable everywhere, and an event's parameters must come out
//! as they went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollgate_core::event::EventType;
use tollgate_core::json::{JsonText, changes, merge_patch};
use tollgate_core::registry::Event;
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
    for event in EventType::ALL {
        as_parameters(event, &value);
    }
    if let Value::Array(items) = value
        && let [before, patch] = &*items
    {
        patched(before, patch);
    }
});

/// Parameters that can be read are written whole, and read again as the same.
fn as_parameters(event: EventType, value: &Value) {
    let Ok(read) = Event::read(event, value) else {
        return;
    };
    assert_eq!(read.event_type(), event);
    let params = read.params();
    strict_json::check(params.as_str()).expect("parameters can be stored");
    let again = Event::read(event, &params.to_value()).expect("parameters can be read again");
    assert_eq!(again.params().as_str().len(), params.as_str().len());
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
