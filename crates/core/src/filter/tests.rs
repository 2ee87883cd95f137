//! What filters mean, what is refused, and that no text can break the parser.

use super::*;
use crate::json::JsonText;
use crate::registry::{UserParams, spec};
use crate::time::Timestamp;
use serde_json::{Value as Json, json};

fn compiled(text: &str) -> Result<Filter, FilterError> {
    Filter::compile(text, Some(EventType::PreUserUpdate))
}

/// On a Wednesday, 2025-01-15T10:30:00Z.
fn activation(change: Json) -> Activation {
    let event = EventType::PreUserUpdate;
    let mut params = spec(event).sample();
    crate::json::merge_patch(&mut params, &change);
    let user = spec(EventType::PostUserCreate).sample();
    let user: UserParams = serde_json::from_value(user).unwrap();
    let now = Timestamp::from_micros(1_736_937_000_000_000);
    Activation::new(event, params, Some(&JsonText::of(&user).unwrap()), now)
}

#[test]
fn what_holds_and_what_does_not() {
    let it = activation(json!({"attributes": {"plan": "pro", "seats": 5, "tags": ["a", "b"]}}));
    for (text, expected) in [
        ("true", true),
        ("event.type == 'PRE_USER_UPDATE'", true),
        ("event.params.email.endsWith('@example.com')", true),
        ("event.params.email.matches('^[a-z]+@example[.]com$')", true),
        ("event.params.first_name != event.previous.first_name", true),
        ("event.params.email != event.params.previous.email", false),
        ("event.params.id == 123", true),
        ("event.params.id > 1.5 && event.params.id % 2 == 1", true),
        ("event.params.attributes.plan == 'pro'", true),
        ("event.params['attributes']['seats'] >= 5", true),
        ("has(event.params.attributes.missing)", false),
        ("'seats' in event.params.attributes", true),
        ("event.params.attributes.tags.exists(t, t == 'b')", true),
        ("event.params.attributes.tags.all(t, size(t) == 1)", true),
        ("event.params.attributes.tags.exists_one(t, t > 'a')", true),
        ("user.is_staff || user.username == 'john_doe'", true),
        ("user.last_login == null", true),
        ("time.getDayOfWeek() in [1, 2, 3, 4, 5]", true),
        ("time.getHours('Europe/Berlin') == 11", true),
        ("time - timestamp(user.date_joined) < duration('1h')", true),
        ("time > timestamp('2030-01-01T00:00:00Z')", false),
        ("event.params.is_active ? user.id == 123 : false", true),
        // What would fail behind a condition that does not hold is not evaluated.
        (
            "has(event.params.attributes.x) && event.params.attributes.x > 1",
            false,
        ),
    ] {
        let filter = compiled(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches(&it), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_an_error_with_its_reason() {
    let it = activation(json!({"attributes": {"seats": "many"}}));
    for (text, part) in [
        (
            "event.params.attributes.plan == 'x' && event.params.attributes.none == 1",
            "none",
        ),
        ("event.params.attributes.seats > 3", "seats"),
        ("1 / (event.params.id - 123) == 1", "zero"),
        ("event.params.attributes.seats", "not true or false"),
        (
            "event.params.attributes.seats.matches('x') && [1][event.params.id] == 1",
            "",
        ),
    ] {
        let filter = compiled(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match filter.matches(&it) {
            Err(reason) => assert!(reason.len() <= limits::FILTER_REASON_BYTES, "{reason}"),
            Ok(value) => assert!(!value || part.is_empty(), "{text} gave {value}"),
        }
    }
    let reason = |text: &str| compiled(text).unwrap().matches(&it).unwrap_err();
    assert!(reason("event.params.attributes.none == 1").contains("none"));
    assert!(reason("event.params.attributes.seats").contains("not true or false"));
    assert!(
        reason("1 / (event.params.id - 123) == 1")
            .to_lowercase()
            .contains("zero")
    );
}

/// Text, line, column, and a part of the message.
const REFUSED: &[(&str, u32, u32, &str)] = &[
    (
        "event.params.emial == 'x'",
        1,
        13,
        "no field 'emial'; there is attributes, email",
    ),
    (
        "event.parms.email == 'x'",
        1,
        6,
        "there is params, previous, type",
    ),
    (
        "true &&\n  usr.is_staff",
        2,
        3,
        "'usr' is not known; a filter knows event, user",
    ),
    ("event.params.email", 1, 13, "gives a string"),
    (
        "event.params.email == 3",
        1,
        20,
        "does not take a string and a int",
    ),
    ("event.params.email > 3", 1, 20, "'>'"),
    ("event.params.email + 3 == ''", 1, 20, "'+'"),
    ("!event.params.email", 1, 1, "'!' does not take a string"),
    (
        "event.params.is_active && event.params.id",
        1,
        24,
        "does not take a bool and a int",
    ),
    (
        "event.params.email.startswith('x')",
        1,
        30,
        "no function 'startswith'",
    ),
    (
        "event.params.email.startsWith(1)",
        1,
        30,
        "does not take (string, int)",
    ),
    (
        "event.params.email.matches('(')",
        1,
        28,
        "not a regular expression",
    ),
    ("event.params['emial'] == ''", 1, 13, "no field 'emial'"),
    (
        "event.params.email.name == ''",
        1,
        19,
        "a string has no field 'name'",
    ),
    ("event.params.id.all(x, true)", 1, 13, "no elements"),
    (
        "time == '2030'",
        1,
        6,
        "does not take a timestamp and a string",
    ),
    ("Foo{a: 1} == 1", 1, 4, "no message types"),
];

#[test]
fn what_cannot_be_right_is_refused_with_its_place() {
    for (text, line, column, part) in REFUSED {
        let error = compiled(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(
            (error.line, error.column),
            (*line, *column),
            "{text}: {error}"
        );
    }
    let error = compiled("event.params.email ==").unwrap_err();
    assert!(error.message.contains("not CEL"), "{error}");
    assert_eq!(error.line, 1);
    assert!(compiled("").unwrap_err().message.contains("not CEL"));
}

#[test]
fn without_an_event_the_parameters_are_not_known_yet() {
    Filter::compile("event.params.whatever > 3", None).unwrap();
    Filter::compile("event.previous.whatever > 3", None).unwrap();
    assert!(Filter::compile("event.whatever > 3", None).is_err());
    let create = Some(EventType::PreUserCreate);
    let error = Filter::compile("event.previous.email == ''", create).unwrap_err();
    assert!(error.message.contains("'previous'"), "{error}");
}

#[test]
fn what_is_too_large_to_look_at_cannot_be_told() {
    let filter = compiled("event.params.attributes.l.exists(x, x == 1)").unwrap();
    let many = vec![0; limits::FILTER_VALUES];
    let long = "x".repeat(limits::FILTER_TEXT_BYTES);
    for attributes in [json!({ "l": many }), json!({"l": [1], "s": long})] {
        let it = activation(json!({ "attributes": attributes }));
        let reason = filter.matches(&it).unwrap_err();
        assert!(reason.starts_with("the event holds more than"), "{reason}");
    }
    let it = activation(json!({"attributes": {"l": [0, 1]}}));
    assert_eq!(filter.matches(&it), Ok(true));
}

#[test]
fn every_bound_is_kept_and_no_text_breaks_the_stack() {
    let list = "event.params.attributes.a";
    let nested = format!("{list}.all(x, {list}.all(y, x == y))");
    assert!(
        compiled(&nested)
            .unwrap_err()
            .message
            .contains("inside one another")
    );
    for (text, part) in [
        (format!("{list}.map(x, x + 1).size() > 1"), "makes no lists"),
        (
            format!("{list}.filter(x, x > 1).all(y, y > 2)"),
            "makes no lists",
        ),
        (
            format!("{list}.exists(x, x + x == 'aa')"),
            "only numbers and times",
        ),
        (
            format!("{list}.exists(x, event.params.email.matches('a'))"),
            "cannot stand inside",
        ),
        (
            format!("event.params.email.matches({list})"),
            "write the pattern",
        ),
        (
            "event.params.email.matches('(a{100}){100}')".to_owned(),
            "can be used",
        ),
    ] {
        let error = compiled(&text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
    }
    compiled(&format!("{list}.exists(x, double(x) + 1.0 > 2.0)")).unwrap();
    let long = format!(
        "event.params.email == '{}'",
        "x".repeat(limits::FILTER_BYTES)
    );
    assert!(compiled(&long).unwrap_err().message.contains("at most"));
    let fill = |unit: &str| unit.repeat(limits::FILTER_BYTES / unit.len());
    for text in [
        fill("("),
        fill("["),
        fill("!"),
        fill("-"),
        fill("a."),
        fill("1+"),
        fill("a||"),
        fill("a?a:"),
        fill("a["),
        fill("f("),
        fill("{a:"),
        format!("a{}", fill(".a")),
        format!("1{}", fill("+1")),
        format!("true{}", "||true".repeat(limits::FILTER_BYTES / 6 - 1)),
    ] {
        // Whether it is refused or not, it comes to an end, on a small stack.
        let small = std::thread::Builder::new().stack_size(1 << 20);
        small
            .spawn(move || drop(compiled(&text)))
            .unwrap()
            .join()
            .unwrap();
    }
}
