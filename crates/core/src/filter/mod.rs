//! Filters: conditions in CEL that decide whether a subscription runs at all.
//!
//! A filter is compiled and checked against its event's schema when it is set, so that a misspelt
//! field is an answer to the one who wrote it and not a function that silently never runs. It sees
//! `event` (`type`, `params`, and `previous` for updates), `user` (who acted) and `time`. It must
//! never have an effect, and its cost is bounded: what an evaluation takes at most is computed from the
//! sizes of what it would look at, and what is beyond the budget is not evaluated. Besides, nothing in it
//! multiplies: list macros do not nest, make no lists, and neither join texts nor match patterns in
//! their rounds.
//!
//! Language: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.

mod check;
mod cost;
mod kind;
mod operators;
mod signatures;
mod strings;
mod value;

pub use value::Activation;

use crate::events::{EventSpec, UserShape};
use crate::{limits, text};
use cel::{Env, Program, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The language: CEL's standard functions and macros and those on texts, without the optional syntax.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut language = Env::stdlib().with_optional_support(false);
    let added = strings::extension(&mut language);
    added.expect("none of the names is the standard library's");
    Arc::new(language)
});

/// Why a text is no filter for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct FilterError {
    /// What is wrong and what to do about it.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A compiled filter. Cloning is cheap.
#[derive(Clone)]
pub struct Filter(Arc<Program>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({:?})", self.0.source_info().source)
    }
}

impl Filter {
    /// Compiles `text` for `event`, or for any event when that is none: then the fields of
    /// `event.params` are not known yet. `users` are those who act.
    ///
    /// # Errors
    /// [`FilterError`] with the place: syntax, an unknown name or field, types that do not fit, a
    /// result that is no boolean, or a bound of [`limits`].
    pub fn compile(
        text: &str,
        event: Option<&EventSpec>,
        users: UserShape,
    ) -> Result<Self, FilterError> {
        if text.len() > limits::FILTER_BYTES {
            let message = format!(
                "A filter has at most {} bytes; this one has {}",
                limits::FILTER_BYTES,
                text.len()
            );
            return Err(FilterError {
                message,
                line: 1,
                column: 1,
            });
        }
        // `compile` has a bound of its own, twice as deep: its parser would overflow a small stack.
        let shallow = LANGUAGE
            .parser()
            .max_recursion_depth(limits::FILTER_DEPTH)
            .error_recovery_limit(1);
        shallow.parse(text).map_err(|errors| unreadable(&errors))?;
        let program = LANGUAGE
            .compile(text)
            .map_err(|errors| unreadable(&errors))?;
        check::check(&program, event, users)?;
        if cost::cost(&program, &cost::Given::NOTHING) > limits::FILTER_STEPS {
            return Err(FilterError {
                message:
                    "no event is small enough for this filter to be evaluated in time; make it \
                          simpler, or split it over several functions"
                        .to_owned(),
                line: 1,
                column: 1,
            });
        }
        Ok(Self(Arc::new(program)))
    }

    /// How many steps an evaluation takes at most; none where there is nothing to evaluate.
    pub fn cost(&self, activation: &Activation) -> u64 {
        let given = activation.context();
        given.map_or(0, |(_, given)| cost::cost(&self.0, given))
    }

    /// Whether the filter lets the event through.
    ///
    /// # Errors
    /// Why it cannot be told: a key that is missing, types that do not fit, an overflow.
    pub fn matches(&self, activation: &Activation) -> Result<bool, String> {
        let (context, given) = activation.context()?;
        if cost::cost(&self.0, given) > limits::FILTER_STEPS {
            return Err("with the values of this event it would take too long".to_owned());
        }
        match self.0.execute(context) {
            Ok(Value::Bool(matches)) => Ok(matches),
            Ok(other) => Err(format!("it gave a {}, not true or false", other.type_of())),
            Err(error) => {
                let reason = error.to_string();
                Err(text::prefix(&reason, limits::FILTER_REASON_BYTES).to_owned())
            }
        }
    }
}

fn unreadable(errors: &cel::ParseErrors) -> FilterError {
    let first = errors.errors.first();
    let number = |it: isize| u32::try_from(it).unwrap_or(1).max(1);
    let (line, column) = first.map_or((1, 1), |it| (number(it.pos.0), number(it.pos.1)));
    let message = first.map_or("", |it| it.msg.as_str());
    FilterError {
        message: format!("this is not CEL: {}", text::prefix(message, 300)),
        line,
        column,
    }
}

#[cfg(test)]
mod tests;
