//! The check of a parsed filter: every name is known, types fit, the result is a boolean, and the
//! cost is bounded.
//!
//! It must never refuse what would evaluate well for every event of the schema, nor accept a field
//! that no such event has.

use super::kind::{self, Kind};
use super::{FilterError, operators, signatures};
use crate::events::{EventSpec, UserShape};
use crate::limits;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, SelectExpr,
};
use cel::{IdedExpr, Program};

/// What went wrong, and at which node.
pub(super) struct Wrong {
    node: u64,
    message: String,
}

impl Wrong {
    pub(super) fn new(node: &IdedExpr, message: impl Into<String>) -> Self {
        Self {
            node: node.id,
            message: message.into(),
        }
    }
}

pub(super) type Checked = Result<Kind, Wrong>;

/// Checks a program.
pub(super) fn check(
    program: &Program,
    event: Option<&EventSpec>,
    users: UserShape,
) -> Result<(), FilterError> {
    let mut checker = Checker {
        names: vec![
            ("event".to_owned(), kind::event(event)),
            ("user".to_owned(), kind::user(users)),
            ("time".to_owned(), Kind::Timestamp),
        ],
        depth: 0,
        in_macro: false,
    };
    let root = program.expression();
    let checked = checker.kind(root).and_then(|kind| {
        if kind.fits(&Kind::Bool) {
            return Ok(());
        }
        let message = format!("the filter gives a {kind}; it must give true or false");
        Err(Wrong::new(root, message))
    });
    checked.map_err(|wrong| located(program, wrong))
}

fn located(program: &Program, wrong: Wrong) -> FilterError {
    let info = program.source_info();
    let start = info.offset_for(wrong.node).map_or(0, |(start, _)| start);
    let before = info.source.chars().take(start as usize);
    let (mut line, mut column) = (1, 1);
    for character in before {
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    FilterError {
        message: wrong.message,
        line,
        column,
    }
}

pub(super) struct Checker {
    /// Innermost last.
    names: Vec<(String, Kind)>,
    depth: u16,
    in_macro: bool,
}

impl Checker {
    /// The kind of what `node` evaluates to.
    pub(super) fn kind(&mut self, node: &IdedExpr) -> Checked {
        if self.depth >= limits::FILTER_DEPTH {
            let message = format!(
                "the filter is nested more than {} deep; split it over several functions",
                limits::FILTER_DEPTH
            );
            return Err(Wrong::new(node, message));
        }
        self.depth += 1;
        let kind = self.of_expr(node);
        self.depth -= 1;
        kind
    }

    fn of_expr(&mut self, node: &IdedExpr) -> Checked {
        match &node.expr {
            Expr::Literal(literal) => Ok(of_literal(literal)),
            Expr::Ident(name) => self.of_name(node, name),
            Expr::Select(select) => self.of_select(node, select),
            Expr::Call(call) => self.of_call(node, call),
            Expr::List(list) => {
                let items = self.of_all(list.elements.iter())?;
                Ok(Kind::List(Box::new(common(items))))
            }
            Expr::Map(map) => self.of_entries(&map.entries),
            Expr::Comprehension(comprehension) => self.of_macro(node, comprehension),
            Expr::Struct(_) => Err(Wrong::new(node, "a filter knows no message types")),
            Expr::Unspecified => Err(Wrong::new(node, "there is no expression")),
        }
    }

    fn of_all<'a>(
        &mut self,
        nodes: impl Iterator<Item = &'a IdedExpr>,
    ) -> Result<Vec<Kind>, Wrong> {
        nodes.map(|node| self.kind(node)).collect()
    }

    fn of_entries(&mut self, entries: &[IdedEntryExpr]) -> Checked {
        let mut values = Vec::with_capacity(entries.len());
        for entry in entries {
            match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.kind(&entry.key)?;
                    values.push(self.kind(&entry.value)?);
                }
                EntryExpr::StructField(field) => values.push(self.kind(&field.value)?),
            }
        }
        Ok(Kind::Map(Box::new(common(values))))
    }

    fn of_name(&self, node: &IdedExpr, name: &str) -> Checked {
        let known = self.names.iter().rev().find(|(known, _)| known == name);
        match known {
            Some((_, kind)) => Ok(kind.clone()),
            None if signatures::is_type(name) => Ok(Kind::Type),
            None => {
                let message = format!("'{name}' is not known; a filter knows event, user and time");
                Err(Wrong::new(node, message))
            }
        }
    }

    fn of_select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Checked {
        let kind = match self.kind(&select.operand)? {
            Kind::Any => Kind::Any,
            Kind::Map(value) => *value,
            Kind::Record(fields) => match fields.get(&select.field) {
                Some(kind) => kind.clone(),
                None => return Err(Wrong::new(node, no_field(&select.field, fields.keys()))),
            },
            other => {
                let message = format!("a {other} has no field '{}'", select.field);
                return Err(Wrong::new(node, message));
            }
        };
        Ok(if select.test { Kind::Bool } else { kind })
    }

    fn of_call(&mut self, node: &IdedExpr, call: &CallExpr) -> Checked {
        let target = match &call.target {
            Some(target) => Some(self.kind(target)?),
            None => None,
        };
        let arguments = self.of_all(call.args.iter())?;
        if call.func_name == "matches" {
            self.check_pattern(node, call)?;
        }
        if self.in_macro && matches!(call.func_name.as_str(), "replace" | "split" | "join") {
            let name = &call.func_name;
            let message =
                format!("'{name}' cannot stand inside a list macro: its cost would multiply");
            return Err(Wrong::new(node, message));
        }
        match operators::result(node, call, &arguments) {
            // What grows in each round would grow without bound.
            Some(Ok(kind)) if self.in_macro && operators::may_grow(call, &kind) => {
                let message = "inside a list macro only numbers and times can be added";
                Err(Wrong::new(node, message))
            }
            Some(result) => result,
            None => signatures::result(node, &call.func_name, target.as_ref(), &arguments),
        }
    }

    /// A pattern is compiled at every evaluation, so it must be small, known now, and not be asked
    /// for in every round of a list macro.
    fn check_pattern(&self, node: &IdedExpr, call: &CallExpr) -> Result<(), Wrong> {
        if self.in_macro {
            let message = "'matches' cannot stand inside a list macro: its cost would multiply";
            return Err(Wrong::new(node, message));
        }
        let last = call.args.last();
        let Some(Expr::Literal(LiteralValue::String(pattern))) = last.map(|node| &node.expr) else {
            let message = "write the pattern of 'matches' out: it is checked now and never made up";
            return Err(Wrong::new(last.unwrap_or(node), message));
        };
        let compiled = regex::RegexBuilder::new(pattern.inner())
            .size_limit(limits::FILTER_PATTERN_BYTES)
            .build();
        compiled.map(drop).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim();
            let message = format!("this is not a regular expression that can be used: {reason}");
            Wrong::new(last.unwrap_or(node), message)
        })
    }

    /// `all`, `exists` and `exists_one`.
    fn of_macro(&mut self, node: &IdedExpr, it: &ComprehensionExpr) -> Checked {
        if self.in_macro {
            let message = "list macros cannot stand inside one another: their cost would multiply";
            return Err(Wrong::new(node, message));
        }
        let (first, second) = match self.kind(&it.iter_range)? {
            Kind::List(item) => match &it.iter_var2 {
                Some(_) => (Kind::Int, *item),
                None => (*item, Kind::Any),
            },
            Kind::Map(value) => (Kind::Text, *value),
            Kind::Any | Kind::Record(_) => (Kind::Any, Kind::Any),
            other => {
                let message = format!("a {other} has no elements to go through");
                return Err(Wrong::new(&it.iter_range, message));
            }
        };
        if matches!(it.accu_init.expr, Expr::List(_)) {
            let message =
                "a filter makes no lists: use exists, exists_one or all, not map or filter";
            return Err(Wrong::new(node, message));
        }
        let start = self.kind(&it.accu_init)?;
        let known = self.names.len();
        self.names.push((it.iter_var.clone(), first));
        if let Some(name) = &it.iter_var2 {
            self.names.push((name.clone(), second));
        }
        self.names.push((it.accu_var.clone(), start));
        self.in_macro = true;
        let result = self
            .kind(&it.loop_cond)
            .and_then(|_| self.kind(&it.loop_step))
            .and_then(|_| self.kind(&it.result));
        self.in_macro = false;
        self.names.truncate(known);
        result
    }
}

const fn of_literal(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Bytes(_) => Kind::Bytes,
        LiteralValue::Double(_) => Kind::Double,
        LiteralValue::Int(_) => Kind::Int,
        LiteralValue::Null => Kind::Null,
        LiteralValue::String(_) => Kind::Text,
        LiteralValue::UInt(_) => Kind::Uint,
    }
}

/// The kind of all of them, if it is one.
fn common(kinds: Vec<Kind>) -> Kind {
    kinds.into_iter().reduce(Kind::or).unwrap_or(Kind::Any)
}

pub(super) fn no_field<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(String::as_str).collect();
    format!("there is no field '{name}'; there is {}", known.join(", "))
}
