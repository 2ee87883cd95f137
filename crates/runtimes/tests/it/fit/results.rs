//! How results become JSON.

use crate::support::{failure, function, python, value};
use serde_json::json;
use tollgate_core::ports::runtime::{RunReport, Runtime as _};
use tollgate_core::tasks::FailureKind;

const FIRST: &str = "\
import dataclasses, datetime, decimal, enum, pathlib, types, uuid, collections
utc = datetime.timezone.utc
class Colour(enum.Enum):
    RED = 'red'
class Level(enum.IntEnum):
    HIGH = 3
@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date
Pair = collections.namedtuple('Pair', 'a b')
class Model:
    model_fields = {}
    def model_dump(self, mode): return {'mode': mode}
class OldModel:
    __fields__ = {}
    def dict(self): return {'when': datetime.date(2026, 1, 2)}
def main(p): return ";

const RULES: &[(&str, &str)] = &[
    (
        "datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)",
        r#""2026-01-02T03:04:05.678901""#,
    ),
    (
        "datetime.datetime(2026, 1, 2, tzinfo=utc)",
        r#""2026-01-02T00:00:00Z""#,
    ),
    (
        "datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))",
        r#""2026-01-02T00:00:00+02:00""#,
    ),
    ("datetime.date(2026, 1, 2)", r#""2026-01-02""#),
    ("datetime.time(3, 4)", r#""03:04:00""#),
    (
        "datetime.timedelta(1, 7384, 5)",
        r#""P1DT02H03M04.000005S""#,
    ),
    ("-datetime.timedelta(seconds=1)", r#""-P0DT00H00M01S""#),
    ("decimal.Decimal('1.20')", r#""1.20""#),
    (
        "uuid.UUID(int=1)",
        r#""00000000-0000-0000-0000-000000000001""#,
    ),
    ("[Colour.RED, Level.HIGH]", r#"["red",3]"#),
    ("{3, 1, 2}", "[1,2,3]"),
    ("frozenset({'b', 1})", r#"[1,"b"]"#),
    ("b'hi'", r#""aGk=""#),
    (
        "[bytearray(b'hi'), memoryview(b'hi')]",
        r#"["aGk=","aGk="]"#,
    ),
    (
        "Point(1, datetime.date(2026, 1, 2))",
        r#"{"x":1,"when":"2026-01-02"}"#,
    ),
    ("Pair(1, {2})", "[1,[2]]"),
    (
        "[Model(), OldModel()]",
        r#"[{"mode":"json"},{"when":"2026-01-02"}]"#,
    ),
    ("pathlib.Path('a/b')", r#""a/b""#),
    (
        "[range(3), collections.deque([1]), {'a': 1}.keys(), {'a': 1}.values()]",
        r#"[[0,1,2],[1],["a"],[1]]"#,
    ),
    ("types.MappingProxyType({'a': {1}})", r#"{"a":[1]}"#),
    (
        "{1: 'a', None: 'b', True: 'c', Colour.RED: 'd'}",
        r#"{"1":"c","null":"b","red":"d"}"#,
    ),
    (
        "{uuid.UUID(int=1): {datetime.date(2026, 1, 2): 1}}",
        r#"{"00000000-0000-0000-0000-000000000001":{"2026-01-02":1}}"#,
    ),
    (
        "{decimal.Decimal('1.5'): Point(1, datetime.date(2026, 1, 2))}",
        r#"{"1.5":{"x":1,"when":"2026-01-02"}}"#,
    ),
    (
        "[collections.UserString('u'), [collections.UserString('v')], {'k': collections.UserString('')}]",
        r#"["u",["v"],{"k":""}]"#,
    ),
    (
        "[memoryview(b'abcdef')[::2], memoryview(bytearray(b'abcd')).cast('B', (2, 2))]",
        r#"["YWNl","YWJjZA=="]"#,
    ),
    (
        "[2 ** 64, -10 ** 30, 1.5, 1e300]",
        "[18446744073709551616,-1000000000000000000000000000000,1.5,1e+300]",
    ),
];

#[tokio::test]
async fn results_become_json_by_the_documented_rules() {
    let Some(python) = python() else {
        return;
    };
    for (expression, expected) in RULES {
        let report = python.once(&format!("{FIRST}{expression}")).await;
        let text = report
            .result
            .as_ref()
            .map(tollgate_core::json::JsonText::as_str);
        assert_eq!(text, Ok(*expected), "{expression}");
    }
}

#[tokio::test]
async fn integers_of_any_size_come_and_go() {
    let Some(python) = python() else {
        return;
    };
    for digits in [20, 400, 4300] {
        let number = "7".repeat(digits);
        let code = format!(
            "def main(p):\n    n = 0\n    for _ in range({digits}): n = n * 10 + 7\n    return {{'n': n, 's': '\\x01'}}"
        );
        let report = python.once(&code).await;
        let text = report
            .result
            .as_ref()
            .map(tollgate_core::json::JsonText::as_str);
        let expected = format!("{{\"n\":{number},\"s\":\"\\u0001\"}}");
        assert_eq!(text, Ok(expected.as_str()));
    }
    let long = python
        .once("def main(p): return {'n': [0, -10 ** 4300]}")
        .await;
    assert_eq!(failure(&long).kind, FailureKind::Limit);
    let words = "an integer of 4301 digits at `n.1`; the limit is 4300";
    assert!(failure(&long).message.contains(words), "{long:?}");
    // In a run's parameters too.
    let vast = tollgate_core::json::JsonText::parse(format!("{{\"n\":{}}}", "7".repeat(5000)));
    let probe = function("def main(p): return p['n'] % 1000");
    let deadline = python.clock.monotonic() + std::time::Duration::from_secs(10);
    let mut call = crate::support::call(&probe, &json!({}), deadline);
    call.params = vast.unwrap();
    assert_eq!(value(&python.runtime.run(call).await), 777);
}

/// It is no JSON, and the message says all of this.
fn refused(report: &RunReport, expression: &str, says: &[&str]) {
    let failed = failure(report);
    assert_eq!(
        failed.kind,
        FailureKind::NotJson,
        "{expression}: {failed:?}"
    );
    for part in says {
        assert!(failed.message.contains(part), "{expression}: {failed:?}");
    }
}

#[tokio::test]
async fn what_has_no_rule_is_named() {
    let Some(python) = python() else {
        return;
    };
    for (expression, place) in [
        (
            "{'a': [1, {2: object()}]}",
            "result['a'][1][2] is of type object",
        ),
        (
            "(n for n in range(3))",
            "result is of type generator; make a list of it",
        ),
        ("1j", "result is of type complex"),
        ("main", "result is of type function"),
        ("{'x': float('nan')}", "result['x'] is nan"),
        (
            "[decimal.Decimal(1), {1: float('inf')}]",
            "result[1][1] is inf",
        ),
        ("{(1, 2): 3}", "result has a key of type tuple"),
        (
            "Point(1, {(1,): 2})",
            "result['when'] has a key of type tuple",
        ),
        (
            "Point(1, '\\ud800')",
            "result['when'] holds half a surrogate pair",
        ),
        ("Point", "result is of type type"),
    ] {
        let report = python.once(&format!("{FIRST}{expression}")).await;
        refused(&report, expression, &[place]);
    }
}

/// Values that fail while they are read.
const OWN_CODE: &str = "\
import collections.abc, dataclasses, datetime
@dataclasses.dataclass
class Unset:
    x: int = dataclasses.field(init=False)
class Model:
    model_fields = {}
    def model_dump(self, mode): raise KeyError('boom')
class Secret(Model):
    @property
    def model_dump(self): raise LookupError('hidden')
class Old:
    __fields__ = {}
    def dict(self): raise OSError(5, 'gone')
class Day(datetime.date):
    def isoformat(self): return 5
class Moment(datetime.datetime):
    def isoformat(self): return None
class Items(dict):
    def items(self): raise ZeroDivisionError
class Map(collections.abc.Mapping):
    def __len__(self): return 1
    def __iter__(self): raise OverflowError
    def __getitem__(self, key): return 1
class Line(collections.abc.Sequence):
    def __len__(self): return 1
    def __getitem__(self, at): raise AssertionError('line')
class Key(str):
    def __repr__(self): raise ValueError
class Words(Exception):
    def __str__(self): raise ValueError
class Worst(Model):
    def model_dump(self, mode): raise Words
def main(p): return ";

/// What a value consists of may be the function's own code.
#[tokio::test]
async fn what_fails_while_it_is_read_is_named() {
    let Some(python) = python() else {
        return;
    };
    for (expression, place, why) in [
        (
            "{'x': [Unset()]}",
            "result['x'][0] is of type Unset",
            "AttributeError",
        ),
        (
            "{'m': Model()}",
            "result['m'] is of type Model",
            "KeyError: 'boom'",
        ),
        (
            "Secret()",
            "result is of type Secret",
            "LookupError: hidden",
        ),
        ("[Old()]", "result[0] is of type Old", "OSError"),
        (
            "{'x': Day(2020, 1, 1)}",
            "result['x'] is of type Day",
            "isoformat gives no text",
        ),
        (
            "[Moment(2020, 1, 1)]",
            "result[0] is of type Moment",
            "isoformat gives no text",
        ),
        (
            "{'a': Items(x=object())}",
            "result['a'] is of type Items",
            "ZeroDivisionError",
        ),
        (
            "{'a': Map()}",
            "result['a'] is of type Map",
            "OverflowError",
        ),
        (
            "[1, Line()]",
            "result[1] is of type Line",
            "AssertionError: line",
        ),
        ("{Key('k'): object()}", "result[Key] is of type object", ""),
        ("[Worst()]", "result[0] is of type Worst", "Words"),
    ] {
        let report = python.once(&format!("{OWN_CODE}{expression}")).await;
        refused(&report, expression, &[place, why]);
    }
}
