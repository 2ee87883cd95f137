//! What filters mean, what is refused, and that no text can break the parser.

use super::*;
use crate::events::{EventSpec, EventType};
use crate::json::JsonText;
use crate::platform;
use crate::request::RequestInfo;
use crate::time::Timestamp;
use crate::users::events::{POST_USER_CREATE, PRE_USER_CREATE, PRE_USER_UPDATE, UserParams};
use serde_json::{Value as Json, json};

fn users() -> UserShape {
    platform::catalogue().users()
}

fn spec(event: EventType) -> EventSpec {
    let catalogue = platform::catalogue();
    catalogue.find(event.as_str()).unwrap().clone()
}

fn compiled(text: &str) -> Result<Filter, FilterError> {
    Filter::compile(text, Some(&spec(PRE_USER_UPDATE)), users())
}

/// On a Wednesday, 2025-01-15T10:30:00Z.
fn activation(change: Json) -> Activation {
    let event = PRE_USER_UPDATE;
    let mut params = spec(event).sample();
    crate::json::merge_patch(&mut params, &change);
    let user = spec(POST_USER_CREATE).sample();
    let user: UserParams = serde_json::from_value(user).unwrap();
    let now = Timestamp::from_micros(1_736_937_000_000_000);
    let (request, user) = (
        RequestInfo::sample().written(),
        JsonText::of(&user).unwrap(),
    );
    Activation::new(event, params, request.as_ref(), Some(&user), now)
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
        (
            "event.request != null && event.request.ip == '203.0.113.7'",
            true,
        ),
        ("event.request.credential_kind == 'api_key'", false),
        ("event.request.host == 'example.com'", true),
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
fn the_functions_on_texts_that_people_look_for_are_there() {
    let it = activation(json!({"attributes": {"tags": ["a", "b"]}}));
    for (text, expected) in [
        (
            "event.params.email.lowerAscii() == 'john@example.com'",
            true,
        ),
        ("event.params.username.upperAscii() == 'JOHN_DOE'", true),
        ("'ÄB'.lowerAscii() == 'Äb'", true),
        ("'  a b '.trim() == 'a b'", true),
        ("event.params.email.split('@')[1] == 'example.com'", true),
        ("'a,b,c'.split(',', 2) == ['a', 'b,c']", true),
        ("'äbc'.split('') == ['ä', 'b', 'c']", true),
        (
            "'abc'.split('', 2) == ['a', 'bc'] && 'abc'.split(',', 0) == []",
            true,
        ),
        ("event.params.username.substring(0, 4) == 'john'", true),
        ("'äöü'.substring(1) == 'öü' && 'äöü'.charAt(1) == 'ö'", true),
        (
            "event.params.email.replace('@', ' at ') == 'john at example.com'",
            true,
        ),
        (
            "'aaa'.replace('a', 'b', 2) == 'bba' && 'ab'.replace('', '-') == '-a-b-'",
            true,
        ),
        (
            "'äxäx'.indexOf('x') == 1 && 'äxäx'.lastIndexOf('x') == 3",
            true,
        ),
        (
            "'äxäx'.indexOf('x', 2) == 3 && 'a'.indexOf('z') == -1",
            true,
        ),
        (
            "['a', 'b'].join('-') == 'a-b' && event.params.attributes.tags.join() == 'ab'",
            true,
        ),
        ("'abc'.reverse() == 'cba'", true),
        (
            "event.params.email.size() == 16 && size(event.params.email) == 16",
            true,
        ),
        (
            "event.params.email.contains('@') && event.params.email.startsWith('john')",
            true,
        ),
        (
            "event.params.attributes.tags.exists(t, t.upperAscii() == 'B')",
            true,
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
    assert!(reason("'abc'.substring(4) == ''").contains("no place 4"));
    assert!(reason("'abc'.substring(2, 1) == ''").contains("before it begins"));
    assert!(reason("'abc'.charAt(-1) == ''").contains("no place -1"));
    // However it is asked for, nothing grows beyond what a filter may look at.
    let ten = ".replace('a', 'aaaaaaaaaa')".repeat(10);
    assert!(reason(&format!("'a'{ten} == ''")).contains("longer than"));
    let hundred = "a".repeat(100);
    let long = format!("'{hundred}'.replace('a', '{hundred}').split('')");
    assert!(reason(&format!("{long}.size() == 1")).contains("parts"));
    let long = format!("'{hundred}'.split('').join('{hundred}'.replace('a', '{hundred}'))");
    assert!(reason(&format!("{long} == ''")).contains("longer than"));
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
        "event.params.id.lowerAscii() == ''",
        1,
        27,
        "'lowerAscii' does not take (int)",
    ),
    (
        "event.params.email.substring(1.5) == ''",
        1,
        29,
        "'substring' does not take (string, double)",
    ),
    (
        "[1].join('') == ''",
        1,
        9,
        "'join' does not take (list, string)",
    ),
    (
        "['a'].exists(x, x.replace('a', 'b') == '')",
        1,
        26,
        "'replace' cannot stand inside a list macro",
    ),
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
        "there is params, previous, request, type",
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
    Filter::compile("event.params.whatever > 3", None, users()).unwrap();
    Filter::compile("event.previous.whatever > 3", None, users()).unwrap();
    assert!(Filter::compile("event.whatever > 3", None, users()).is_err());
    let create = spec(PRE_USER_CREATE);
    let error = Filter::compile("event.previous.email == ''", Some(&create), users()).unwrap_err();
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

/// An event whose attributes hold two lists of this many different numbers.
fn lists(items: usize) -> Activation {
    let list: Vec<usize> = (0..items).collect();
    activation(json!({"attributes": {"a": list, "b": list}}))
}

#[test]
fn the_cost_grows_as_the_work_does() {
    let cost = |text: &str, items| compiled(text).unwrap().cost(&lists(items));
    let each = "event.params.attributes.a.all(x, x >= 0)";
    let pairs = "event.params.attributes.a.all(x, x in event.params.attributes.b)";
    let equal =
        "event.params.attributes.a.all(x, event.params.attributes.a == event.params.attributes.b)";
    for items in [10, 100, 1000] {
        let count = u64::try_from(items).unwrap();
        let (least, most) = (count * 2, count * 20 + 100);
        let found = cost(each, items);
        assert!((least..most).contains(&found), "{items}: {found}");
        for quadratic in [pairs, equal] {
            let found = cost(quadratic, items);
            assert!(found >= count * count, "{items}: {found}");
            assert!(
                found <= count * count * 2 + count * 20 + 100,
                "{items}: {found}"
            );
        }
    }
    // A short list is no longer for standing beside a long one.
    let short = "event.params.attributes.a.all(x, x >= 0) && event.params.attributes.plan != 'b'";
    let beside = activation(json!({"attributes": {"a": [1], "long": vec![0; 4000]}}));
    assert!(compiled(short).unwrap().cost(&beside) < 100);
}

#[test]
fn what_would_take_too_long_is_not_evaluated() {
    let one = "event.params.attributes.a.all(x, x in event.params.attributes.b)";
    let filter = compiled(one).unwrap();
    assert_eq!(filter.matches(&lists(200)), Ok(true));
    let reason = filter.matches(&lists(2000)).unwrap_err();
    assert!(reason.contains("too long"), "{reason}");
    // As many as the bound of the text lets stand beside each other.
    let many = vec![one; limits::FILTER_BYTES / (one.len() + 4)].join(" && ");
    assert!(compiled(&many).unwrap().matches(&lists(1000)).is_err());
    let named = "user.attributes.a.all(x, user.attributes.a == user.attributes.a)";
    assert!(compiled(named).unwrap().cost(&lists(10)) < 100);
    let text = activation(json!({"attributes": {"a": "x".repeat(60_000), "b": vec!["y"; 500]}}));
    for text_filter in [
        "event.params.attributes.b.all(x, event.params.attributes.a.contains(x))",
        "event.params.attributes.b.all(x, string(event.params.attributes.a) != x)",
        "event.params.attributes.b.all(x, size(event.params.attributes.a) > 1)",
    ] {
        let reason = compiled(text_filter).unwrap().matches(&text).unwrap_err();
        assert!(reason.contains("too long"), "{text_filter}: {reason}");
    }
}

#[test]
fn what_takes_too_long_for_every_event_is_refused_when_it_is_set() {
    let list = format!("[{}]", vec!["1"; 220].join(","));
    let pairs = format!("{list}.all(x, x in {list})");
    let refused = compiled(&pairs).unwrap_err();
    assert!(
        refused.message.contains("no event is small enough"),
        "{refused}"
    );
    compiled(&format!("{list}.all(x, x in [1, 2])")).unwrap();
}

/// A step is bounded: the dearest filters of some kinds, each just within the budget.
#[test]
fn what_is_within_the_budget_is_done_soon() {
    let one = "event.params.attributes.a.all(x, x in event.params.attributes.b)";
    let filter = compiled(one).unwrap();
    let largest = (200..400).rev().map(|items| (items, lists(items)));
    let mut within = largest.filter(|(_, given)| filter.cost(given) <= limits::FILTER_STEPS);
    let (items, given) = within.next().unwrap();
    assert!(items > 200, "{items}");
    assert_eq!(filter.matches(&given), Ok(true));
}
