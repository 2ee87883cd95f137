//! What CEL's operators take and give.

use super::check::{Checked, Wrong, no_field};
use super::kind::Kind;
use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators as op};

/// The kind that an operator gives; none when the call is no operator.
pub(super) fn result(node: &IdedExpr, call: &CallExpr, given: &[Kind]) -> Option<Checked> {
    let kind = match (call.func_name.as_str(), given) {
        (op::LOGICAL_AND | op::LOGICAL_OR, all) => booleans(all),
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [one]) => booleans(std::slice::from_ref(one)),
        (op::CONDITIONAL, [condition, yes, no]) => {
            booleans(std::slice::from_ref(condition)).map(|_| yes.clone().or(no.clone()))
        }
        (op::EQUALS | op::NOT_EQUALS, [a, b]) => comparable(a, b).then_some(Kind::Bool),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => {
            ordered(a, b).then_some(Kind::Bool)
        }
        (op::ADD, [a, b]) => sum(a, b),
        (op::SUBSTRACT, [a, b]) => difference(a, b),
        (op::MULTIPLY | op::DIVIDE, [a, b]) => arithmetic(a, b),
        (op::MODULO, [a, b]) => arithmetic(a, b).filter(|kind| *kind != Kind::Double),
        (op::NEGATE, [one]) => matches!(one, Kind::Int | Kind::Double | Kind::Duration | Kind::Any)
            .then(|| one.clone()),
        (op::IN, [item, of]) => within(item, of).then_some(Kind::Bool),
        (op::INDEX, [of, at]) => return Some(index(node, call, of, at)),
        _ => return None,
    };
    Some(kind.ok_or_else(|| Wrong::new(node, refused(call, given))))
}

/// Whether a sum may be longer than its parts.
pub(super) fn may_grow(call: &CallExpr, sum: &Kind) -> bool {
    let is_fixed = sum.is_number() || matches!(sum, Kind::Timestamp | Kind::Duration);
    call.func_name == op::ADD && !is_fixed
}

fn refused(call: &CallExpr, given: &[Kind]) -> String {
    let sign = call.func_name.trim_matches(|c| c == '_' || c == '@');
    match given {
        [one] => format!("'{sign}' does not take a {one}"),
        [a, b] => format!("'{sign}' does not take a {a} and a {b}"),
        _ => "a condition must be true or false".to_owned(),
    }
}

fn booleans(all: &[Kind]) -> Option<Kind> {
    all.iter()
        .all(|kind| kind.fits(&Kind::Bool))
        .then_some(Kind::Bool)
}

fn numbers(a: &Kind, b: &Kind) -> bool {
    a.is_number() && b.is_number()
}

/// Values of unlike types are never equal, so comparing them is a mistake; null is like nothing
/// and may be asked for.
fn comparable(a: &Kind, b: &Kind) -> bool {
    numbers(a, b) || a.fits(b) || *a == Kind::Null || *b == Kind::Null
}

fn ordered(a: &Kind, b: &Kind) -> bool {
    const fn has_order(kind: &Kind) -> bool {
        matches!(
            kind,
            Kind::Int
                | Kind::Uint
                | Kind::Double
                | Kind::Text
                | Kind::Bytes
                | Kind::Bool
                | Kind::Timestamp
                | Kind::Duration
                | Kind::Any
        )
    }
    has_order(a) && has_order(b) && (numbers(a, b) || a.fits(b))
}

/// The one of two that is known, where they fit.
fn same(a: &Kind, b: &Kind) -> Option<Kind> {
    a.fits(b)
        .then(|| if a.is_any() { b.clone() } else { a.clone() })
}

fn arithmetic(a: &Kind, b: &Kind) -> Option<Kind> {
    same(a, b).filter(|kind| kind.is_number() || kind.is_any())
}

fn sum(a: &Kind, b: &Kind) -> Option<Kind> {
    use Kind::{Any, Bytes, Duration, List, Text, Timestamp};
    match (a, b) {
        // With a value that is not known, the sum could be several things.
        (Any, _) | (_, Any) => Some(Any),
        (Timestamp, Duration) | (Duration, Timestamp) => Some(Timestamp),
        (Text, Text) | (Bytes, Bytes) | (Duration, Duration) | (List(_), List(_)) => {
            Some(a.clone().or(b.clone()))
        }
        _ => arithmetic(a, b),
    }
}

fn difference(a: &Kind, b: &Kind) -> Option<Kind> {
    use Kind::{Any, Duration, Timestamp};
    match (a, b) {
        (Any, _) | (_, Any) => Some(Any),
        (Timestamp, Timestamp) | (Duration, Duration) => Some(Duration),
        (Timestamp, Duration) => Some(Timestamp),
        _ => arithmetic(a, b),
    }
}

fn within(item: &Kind, of: &Kind) -> bool {
    match of {
        Kind::List(of) => comparable(item, of),
        Kind::Map(_) | Kind::Record(_) => item.fits(&Kind::Text),
        other => other.is_any(),
    }
}

fn index(node: &IdedExpr, call: &CallExpr, of: &Kind, at: &Kind) -> Checked {
    let key = call.args.get(1).and_then(|node| match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    });
    match (of, at, key) {
        (Kind::Record(fields), Kind::Text, Some(key)) => fields
            .get(&key)
            .cloned()
            .ok_or_else(|| Wrong::new(node, no_field(&key, fields.keys()))),
        (Kind::Record(_), at, _) if at.fits(&Kind::Text) => Ok(Kind::Any),
        (Kind::Map(value), at, _) if at.fits(&Kind::Text) => Ok((**value).clone()),
        (Kind::List(item), at, _) if at.is_number() || at.is_any() => Ok((**item).clone()),
        (Kind::Any, _, _) => Ok(Kind::Any),
        (of, at, _) => Err(Wrong::new(node, format!("a {of} has no element at a {at}"))),
    }
}
