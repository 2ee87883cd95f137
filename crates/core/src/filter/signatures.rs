//! What CEL's standard functions and those on texts take and give.

use super::check::{Checked, Wrong};
use super::kind::Kind;
use cel::IdedExpr;

/// Whether a name is a type's, usable in `type(x) == string`.
pub(super) fn is_type(name: &str) -> bool {
    const TYPES: [&str; 9] = [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "string",
        "uint",
        "null_type",
    ];
    TYPES.contains(&name)
}

/// What a function may be given, in one of its forms.
enum Takes {
    Bool,
    Number,
    Int,
    Text,
    Texts,
    Bytes,
    Timestamp,
    Duration,
    Sized,
    Any,
}

impl Takes {
    fn accepts(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (_, Kind::Any) | (Self::Any, _) => true,
            (Self::Bool, kind) => matches!(kind, Kind::Bool),
            (Self::Number, kind) => kind.is_number(),
            (Self::Int, kind) => matches!(kind, Kind::Int),
            (Self::Text, kind) => matches!(kind, Kind::Text),
            (Self::Texts, Kind::List(item)) => matches!(**item, Kind::Text | Kind::Any),
            (Self::Texts, _) => false,
            (Self::Bytes, kind) => matches!(kind, Kind::Bytes),
            (Self::Timestamp, kind) => matches!(kind, Kind::Timestamp),
            (Self::Duration, kind) => matches!(kind, Kind::Duration),
            (Self::Sized, kind) => matches!(
                kind,
                Kind::Text | Kind::Bytes | Kind::List(_) | Kind::Map(_) | Kind::Record(_)
            ),
        }
    }
}

/// The forms of a function by name; the target of a member call comes first.
fn forms(name: &str, is_member: bool) -> Option<(Vec<&'static [Takes]>, Kind)> {
    use Takes::{Any, Bool, Bytes, Duration, Int, Number, Sized, Text, Texts, Timestamp};
    Some(match (name, is_member) {
        ("size", _) => (vec![&[Sized]], Kind::Int),
        ("contains" | "startsWith" | "endsWith", true) | ("matches", _) => {
            (vec![&[Text, Text]], Kind::Bool)
        }
        ("lowerAscii" | "upperAscii" | "trim" | "reverse", true) => (vec![&[Text]], Kind::Text),
        ("charAt", true) => (vec![&[Text, Int]], Kind::Text),
        ("substring", true) => (vec![&[Text, Int], &[Text, Int, Int]], Kind::Text),
        ("indexOf", true) => (vec![&[Text, Text], &[Text, Text, Int]], Kind::Int),
        ("lastIndexOf", true) => (vec![&[Text, Text]], Kind::Int),
        ("replace", true) => (
            vec![&[Text, Text, Text], &[Text, Text, Text, Int]],
            Kind::Text,
        ),
        ("split", true) => (
            vec![&[Text, Text], &[Text, Text, Int]],
            Kind::List(Box::new(Kind::Text)),
        ),
        ("join", true) => (vec![&[Texts], &[Texts, Text]], Kind::Text),
        ("getHours" | "getMinutes" | "getSeconds" | "getMilliseconds", true) => (
            vec![&[Timestamp], &[Timestamp, Text], &[Duration]],
            Kind::Int,
        ),
        (
            "getFullYear" | "getMonth" | "getDate" | "getDayOfMonth" | "getDayOfWeek"
            | "getDayOfYear",
            true,
        ) => (vec![&[Timestamp], &[Timestamp, Text]], Kind::Int),
        ("string", false) => (
            vec![
                &[Text],
                &[Bool],
                &[Number],
                &[Bytes],
                &[Timestamp],
                &[Duration],
            ],
            Kind::Text,
        ),
        ("int", false) => (vec![&[Number], &[Text], &[Timestamp]], Kind::Int),
        ("uint", false) => (vec![&[Number], &[Text]], Kind::Uint),
        ("double", false) => (vec![&[Number], &[Text]], Kind::Double),
        ("bool", false) => (vec![&[Bool], &[Text]], Kind::Bool),
        ("bytes", false) => (vec![&[Text], &[Bytes]], Kind::Bytes),
        ("timestamp", false) => (vec![&[Text], &[Timestamp], &[Number]], Kind::Timestamp),
        ("duration", false) => (vec![&[Text], &[Duration]], Kind::Duration),
        ("type", false) => (vec![&[Any]], Kind::Type),
        ("dyn", false) => (vec![&[Any]], Kind::Any),
        _ => return None,
    })
}

/// The kind that a function gives.
pub(super) fn result(
    node: &IdedExpr,
    name: &str,
    target: Option<&Kind>,
    arguments: &[Kind],
) -> Checked {
    let given: Vec<_> = target.into_iter().chain(arguments).collect();
    let Some((forms, gives)) = forms(name, target.is_some()) else {
        let message = format!("there is no function '{name}' that can be called so");
        return Err(Wrong::new(node, message));
    };
    let fits = |form: &&[Takes]| {
        form.len() == given.len() && form.iter().zip(&given).all(|(takes, it)| takes.accepts(it))
    };
    if forms.iter().any(fits) {
        return Ok(gives);
    }
    let given: Vec<_> = given.iter().map(ToString::to_string).collect();
    let message = format!("'{name}' does not take ({})", given.join(", "));
    Err(Wrong::new(node, message))
}
