//! What an evaluation costs at most, known before it begins.
//!
//! The library counts nothing while it evaluates, so the worst case is computed by a walk over the
//! syntax tree with the sizes of the very values that the filter would look at. It must never be
//! less than the evaluation's own work, up to a constant: what is not known counts as the largest
//! that it can be.

use crate::limits;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use cel::{IdedExpr, Program};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Bytes of text that cost as much as one value.
const TEXT_BYTES: u64 = 16;
/// The longest text that a function makes: beyond it `strings` refuses.
const MADE_STEPS: u64 = (limits::FILTER_TEXT_BYTES as u64) / TEXT_BYTES + 1;
/// A pattern is compiled at every evaluation.
const PATTERN_STEPS: u64 = 2_000;
/// A function that is not known here, beside what it is given.
const CALL_STEPS: u64 = 8;

/// The values that a filter would look at.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) params: Json,
    pub(super) request: Json,
    pub(super) user: Json,
}

impl Given {
    /// Nothing: what a filter costs at least.
    pub(super) const NOTHING: Self = Self {
        params: Json::Null,
        request: Json::Null,
        user: Json::Null,
    };
}

/// Most steps of one evaluation. A step is about what one comparison of numbers takes.
pub(super) fn cost(program: &Program, given: &Given) -> u64 {
    let mut walk = Walk {
        given,
        names: Vec::new(),
        weights: HashMap::new(),
    };
    walk.of(program.expression()).steps
}

/// What is known of a value.
#[derive(Clone, Copy)]
enum Seen<'g> {
    /// The variable `event`.
    Event,
    /// This very value.
    Json(&'g Json),
    /// A value that is at most so large.
    AtMost(Size),
}

/// How large a value is.
#[derive(Clone, Copy)]
struct Size {
    /// Values and text in it, in steps that a look at all of it takes.
    weight: u64,
    /// Elements, if it has any.
    items: u64,
}

impl Size {
    const ONE: Self = Self {
        weight: 1,
        items: 0,
    };

    fn or(self, other: Self) -> Self {
        Self {
            weight: self.weight.max(other.weight),
            items: self.items.max(other.items),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_add(other.weight),
            items: self.items.saturating_add(other.items),
        }
    }
}

/// Steps, and what they come to.
struct Work<'g> {
    steps: u64,
    seen: Seen<'g>,
}

impl<'g> Work<'g> {
    const fn new(steps: u64, seen: Seen<'g>) -> Self {
        Self { steps, seen }
    }
}

struct Walk<'g> {
    given: &'g Given,
    /// Variables of macros, innermost last.
    names: Vec<(String, Seen<'g>)>,
    /// Weights of lists and objects, by where they lie. Compared and never followed.
    weights: HashMap<*const Json, u64>,
}

impl<'g> Walk<'g> {
    fn of(&mut self, node: &IdedExpr) -> Work<'g> {
        match &node.expr {
            Expr::Literal(literal) => Work::new(1, Seen::AtMost(of_literal(literal))),
            Expr::Ident(name) => Work::new(1, self.named(name)),
            Expr::Select(select) => {
                let of = self.of(&select.operand);
                let seen = self.field(of.seen, &select.field);
                Work::new(of.steps.saturating_add(1), seen)
            }
            Expr::Call(call) => self.of_call(call),
            Expr::List(list) => self.of_all(&mut list.elements.iter()),
            Expr::Map(map) => {
                let mut nodes = Vec::new();
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => nodes.extend([&entry.key, &entry.value]),
                        EntryExpr::StructField(field) => nodes.push(&field.value),
                    }
                }
                self.of_all(&mut nodes.into_iter())
            }
            Expr::Comprehension(comprehension) => self.of_macro(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Work::new(1, Seen::AtMost(Size::ONE)),
        }
    }

    /// All of them together, as the elements of one list.
    fn of_all<'a>(&mut self, nodes: &mut dyn Iterator<Item = &'a IdedExpr>) -> Work<'g> {
        let (mut steps, mut size) = (1_u64, Size::ONE);
        for node in nodes {
            let work = self.of(node);
            steps = steps.saturating_add(work.steps);
            let weight = self.size(work.seen).weight;
            size = size.and(Size { weight, items: 1 });
        }
        // Elements are copied.
        Work::new(steps.saturating_add(size.weight), Seen::AtMost(size))
    }

    fn named(&self, name: &str) -> Seen<'g> {
        let known = self.names.iter().rev().find(|(known, _)| known == name);
        match (known, name) {
            (Some((_, seen)), _) => *seen,
            (None, "event") => Seen::Event,
            (None, "user") => Seen::Json(&self.given.user),
            (None, _) => Seen::AtMost(Size::ONE),
        }
    }

    fn field(&mut self, of: Seen<'g>, name: &str) -> Seen<'g> {
        static NULL: Json = Json::Null;
        match of {
            Seen::Event => match name {
                "params" => Seen::Json(&self.given.params),
                "request" => Seen::Json(&self.given.request),
                "previous" => Seen::Json(self.given.params.get("previous").unwrap_or(&NULL)),
                _ => Seen::AtMost(Size::ONE),
            },
            Seen::Json(json) => Seen::Json(json.get(name).unwrap_or(&NULL)),
            Seen::AtMost(size) => Seen::AtMost(size),
        }
    }

    fn of_call(&mut self, call: &CallExpr) -> Work<'g> {
        let mut steps = 1_u64;
        let mut given = Vec::with_capacity(call.args.len() + 1);
        for node in call.target.as_deref().into_iter().chain(&call.args) {
            let work = self.of(node);
            steps = steps.saturating_add(work.steps);
            given.push(work.seen);
        }
        let sizes: Vec<Size> = given.iter().map(|&seen| self.size(seen)).collect();
        let weight = |at: usize| sizes.get(at).map_or(1, |size| size.weight);
        let all = sizes
            .iter()
            .fold(0_u64, |sum, size| sum.saturating_add(size.weight));
        let (more, seen) = match call.func_name.as_str() {
            op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE => {
                (1, Seen::AtMost(Size::ONE))
            }
            op::CONDITIONAL => (1, Seen::AtMost(larger(&sizes))),
            op::EQUALS
            | op::NOT_EQUALS
            | op::LESS
            | op::LESS_EQUALS
            | op::GREATER
            | op::GREATER_EQUALS => (weight(0).min(weight(1)), Seen::AtMost(Size::ONE)),
            // Each element of the list, or the key's text.
            op::IN => (all, Seen::AtMost(Size::ONE)),
            op::INDEX | op::OPT_INDEX => (weight(1), self.element(&given, call)),
            op::ADD => (
                all,
                Seen::AtMost(sizes.iter().fold(Size::ONE, |sum, it| sum.and(*it))),
            ),
            "matches" => {
                let pattern = weight(1).saturating_mul(TEXT_BYTES);
                (
                    PATTERN_STEPS.saturating_add(weight(0).saturating_mul(pattern)),
                    Seen::AtMost(Size::ONE),
                )
            }
            name => {
                let (more, size) = of_function(name, &sizes, all);
                (more, Seen::AtMost(size))
            }
        };
        Work::new(steps.saturating_add(more), seen)
    }

    /// `of[at]`.
    fn element(&mut self, given: &[Seen<'g>], call: &CallExpr) -> Seen<'g> {
        let Some(&of) = given.first() else {
            return Seen::AtMost(Size::ONE);
        };
        if let Some(Expr::Literal(LiteralValue::String(key))) = call.args.last().map(|it| &it.expr)
        {
            return self.field(of, key.inner());
        }
        match of {
            Seen::Event => Seen::Json(&self.given.params),
            of => Seen::AtMost(self.largest(of)),
        }
    }

    /// `all`, `exists` and `exists_one`.
    fn of_macro(&mut self, it: &ComprehensionExpr) -> Work<'g> {
        let range = self.of(&it.iter_range);
        let start = self.of(&it.accu_init);
        let size = self.size(range.seen);
        let largest = Seen::AtMost(self.largest(range.seen));
        let known = self.names.len();
        for name in std::iter::once(&it.iter_var).chain(&it.iter_var2) {
            self.names.push((name.clone(), largest));
        }
        self.names.push((it.accu_var.clone(), start.seen));
        let round = self
            .of(&it.loop_cond)
            .steps
            .saturating_add(self.of(&it.loop_step).steps);
        let result = self.of(&it.result);
        self.names.truncate(known);
        let steps = [
            range.steps,
            start.steps,
            // Each element is copied.
            size.weight,
            size.items.saturating_mul(round.saturating_add(2)),
            result.steps,
        ];
        let steps = steps.into_iter().fold(0, u64::saturating_add);
        Work::new(steps, result.seen)
    }

    fn size(&mut self, seen: Seen<'g>) -> Size {
        match seen {
            Seen::Event => Size {
                weight: self
                    .weight(&self.given.params)
                    .saturating_mul(2)
                    .saturating_add(self.weight(&self.given.request)),
                items: 4,
            },
            Seen::Json(json) => Size {
                weight: self.weight(json),
                items: items(json),
            },
            Seen::AtMost(size) => size,
        }
    }

    /// The largest of a value's elements.
    fn largest(&mut self, of: Seen<'g>) -> Size {
        let size = |walk: &mut Self, json: &'g Json| walk.size(Seen::Json(json));
        match of {
            Seen::Json(Json::Array(elements)) => elements
                .iter()
                .fold(Size::ONE, |most, json| most.or(size(self, json))),
            Seen::Json(Json::Object(fields)) => {
                fields.iter().fold(Size::ONE, |most, (name, json)| {
                    let name = Size {
                        weight: of_text(name),
                        items: 0,
                    };
                    most.or(name).or(size(self, json))
                })
            }
            of => self.size(of),
        }
    }

    fn weight(&mut self, json: &'g Json) -> u64 {
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => 1,
            Json::String(text) => of_text(text),
            Json::Array(_) | Json::Object(_) => {
                let place = std::ptr::from_ref(json);
                if let Some(&known) = self.weights.get(&place) {
                    return known;
                }
                let mut weight = 1_u64;
                if let Json::Array(elements) = json {
                    for element in elements {
                        weight = weight.saturating_add(self.weight(element));
                    }
                }
                if let Json::Object(fields) = json {
                    for (name, value) in fields {
                        weight = weight.saturating_add(of_text(name));
                        weight = weight.saturating_add(self.weight(value));
                    }
                }
                self.weights.insert(place, weight);
                weight
            }
        }
    }
}

/// What a function takes, beside what it is given, and how large what it gives is.
fn of_function(name: &str, given: &[Size], all: u64) -> (u64, Size) {
    let weight = |at: usize| given.get(at).map_or(1, |size| size.weight);
    let text = |weight| Size { weight, items: 0 };
    let looks = CALL_STEPS.saturating_add(all.saturating_mul(2));
    match name {
        "size" | "contains" | "startsWith" | "endsWith" | "indexOf" | "lastIndexOf" => {
            (looks, Size::ONE)
        }
        // No longer than the text that they are asked of.
        "lowerAscii" | "upperAscii" | "trim" | "reverse" | "substring" | "charAt" => {
            (looks, text(weight(0)))
        }
        // One text between all the others, until it is too much.
        "join" => {
            let items = given.first().map_or(1, |size| size.items);
            let between = items.saturating_mul(weight(1));
            let most = weight(0).saturating_add(between).min(MADE_STEPS);
            (looks.saturating_add(most), text(most))
        }
        // One text in another's places: as often as it fits, until it is too much.
        "replace" => {
            let fits = weight(0).saturating_mul(TEXT_BYTES);
            let most = fits.saturating_mul(weight(2)).min(MADE_STEPS);
            (all.saturating_add(most), text(most))
        }
        _ => {
            // Text that is taken apart is a list of at most as many parts as it has bytes.
            let items = all.saturating_mul(TEXT_BYTES);
            let weight = all.saturating_add(items);
            (looks, Size { weight, items })
        }
    }
}

fn larger(sizes: &[Size]) -> Size {
    sizes.iter().fold(Size::ONE, |most, size| most.or(*size))
}

fn items(json: &Json) -> u64 {
    let count = match json {
        Json::Array(elements) => elements.len(),
        Json::Object(fields) => fields.len(),
        _ => 0,
    };
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn of_text(text: &str) -> u64 {
    1 + u64::try_from(text.len()).unwrap_or(u64::MAX) / TEXT_BYTES
}

fn of_literal(literal: &LiteralValue) -> Size {
    let weight = match literal {
        LiteralValue::String(text) => of_text(text.inner()),
        LiteralValue::Bytes(bytes) => {
            1 + u64::try_from(bytes.inner().len()).unwrap_or(u64::MAX) / TEXT_BYTES
        }
        _ => 1,
    };
    Size { weight, items: 0 }
}
