//! The functions on texts that people look for, with the names and meaning of cel-go's `ext.Strings`.
//!
//! They stand here and not in the crate's own extension because what they make must be bounded: nothing
//! may grow beyond what a filter may look at, however often it is asked for. Places are counted in
//! characters, from 0.

use crate::limits;
use cel::common::types::{CelInt, CelList, CelString, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, add_member_overload};

type Text<'a> = CelString<'a>;
type Made<T> = Result<T, ExecutionError>;

/// Adds the functions to a language.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    add_member_overload!(env, fn lower_ascii: (CelString) -> CelString)?;
    add_member_overload!(env, fn upper_ascii: (CelString) -> CelString)?;
    add_member_overload!(env, fn trim: (CelString) -> CelString)?;
    add_member_overload!(env, fn reverse: (CelString) -> CelString)?;
    add_member_overload!(env, fn char_at: (CelString, CelInt) -> Result<CelString>)?;
    add_member_overload!(env, fn index_of: (CelString, CelString) -> CelInt)?;
    add_member_overload!(env, fn index_of_from: (CelString, CelString, CelInt) -> Result<CelInt>,
        name = "indexOf")?;
    add_member_overload!(env, fn last_index_of: (CelString, CelString) -> CelInt)?;
    add_member_overload!(env, fn substring: (CelString, CelInt) -> Result<CelString>)?;
    add_member_overload!(env, fn substring_to: (CelString, CelInt, CelInt) -> Result<CelString>,
        name = "substring")?;
    add_member_overload!(env, fn replace: (CelString, CelString, CelString) -> Result<CelString>)?;
    add_member_overload!(env, fn replace_some:
        (CelString, CelString, CelString, CelInt) -> Result<CelString>, name = "replace")?;
    add_member_overload!(env, fn split: (CelString, CelString) -> Result<CelList>)?;
    add_member_overload!(env, fn split_some: (CelString, CelString, CelInt) -> Result<CelList>,
        name = "split")?;
    // By hand: it takes any list, not the crate's own alone.
    env.add_member_overload("join", "list.join()", LIST_TYPE, vec![], join)?;
    let with = vec![STRING_TYPE];
    env.add_member_overload("join", "list.join(string)", LIST_TYPE, with, join)?;
    Ok(())
}

fn failed<T>(function: &str, reason: impl Into<String>) -> Made<T> {
    Err(ExecutionError::function_error(function, reason.into()))
}

/// Refuses what would be longer than all that a filter may look at.
fn bounded(function: &str, bytes: usize) -> Made<()> {
    if bytes <= limits::FILTER_TEXT_BYTES {
        return Ok(());
    }
    let most = limits::FILTER_TEXT_BYTES / 1024;
    failed(
        function,
        format!("its result would be longer than {most} KiB"),
    )
}

fn lower_ascii(text: &Text<'_>) -> Text<'static> {
    text.inner().to_ascii_lowercase().into()
}

fn upper_ascii(text: &Text<'_>) -> Text<'static> {
    text.inner().to_ascii_uppercase().into()
}

fn trim(text: &Text<'_>) -> Text<'static> {
    text.inner().trim().to_owned().into()
}

fn reverse(text: &Text<'_>) -> Text<'static> {
    text.inner().chars().rev().collect::<String>().into()
}

fn char_at(text: &Text<'_>, at: &CelInt) -> Made<Text<'static>> {
    let start = byte_of("charAt", text.inner(), *at.inner())?;
    let character = text.inner()[start..].chars().next();
    Ok(character.map(String::from).unwrap_or_default().into())
}

/// Where the character with this number begins; the end counts as one.
fn byte_of(function: &str, text: &str, at: i64) -> Made<usize> {
    let starts = text.char_indices().map(|(start, _)| start);
    let found = usize::try_from(at)
        .ok()
        .and_then(|at| starts.chain([text.len()]).nth(at));
    found.map_or_else(|| failed(function, format!("there is no place {at}")), Ok)
}

/// The number of the character that begins at a byte, or -1.
fn number_of(text: &str, byte: Option<usize>) -> CelInt {
    let number = byte.and_then(|byte| i64::try_from(text[..byte].chars().count()).ok());
    number.unwrap_or(-1).into()
}

fn index_of(text: &Text<'_>, part: &Text<'_>) -> CelInt {
    number_of(text.inner(), text.inner().find(part.inner()))
}

fn index_of_from(text: &Text<'_>, part: &Text<'_>, from: &CelInt) -> Made<CelInt> {
    let start = byte_of("indexOf", text.inner(), *from.inner())?;
    let found = text.inner()[start..].find(part.inner());
    Ok(number_of(text.inner(), found.map(|at| start + at)))
}

fn last_index_of(text: &Text<'_>, part: &Text<'_>) -> CelInt {
    number_of(text.inner(), text.inner().rfind(part.inner()))
}

fn substring(text: &Text<'_>, from: &CelInt) -> Made<Text<'static>> {
    let start = byte_of("substring", text.inner(), *from.inner())?;
    Ok(text.inner()[start..].to_owned().into())
}

fn substring_to(text: &Text<'_>, from: &CelInt, to: &CelInt) -> Made<Text<'static>> {
    let start = byte_of("substring", text.inner(), *from.inner())?;
    let end = byte_of("substring", text.inner(), *to.inner())?;
    match text.inner().get(start..end) {
        Some(part) => Ok(part.to_owned().into()),
        None => failed("substring", "it would end before it begins"),
    }
}

fn replace(text: &Text<'_>, old: &Text<'_>, new: &Text<'_>) -> Made<Text<'static>> {
    replace_some(text, old, new, &CelInt::from(-1))
}

/// Replaces the first `count`, or all of them when it is negative.
fn replace_some(
    text: &Text<'_>,
    old: &Text<'_>,
    new: &Text<'_>,
    count: &CelInt,
) -> Made<Text<'static>> {
    let (text, old, new) = (text.inner(), old.inner(), new.inner());
    let most = usize::try_from(*count.inner()).unwrap_or(usize::MAX);
    let found = text.matches(old).take(most).count();
    bounded(
        "replace",
        text.len() - found * old.len() + found.saturating_mul(new.len()),
    )?;
    Ok(text.replacen(old, new, found).into())
}

fn split(text: &Text<'_>, by: &Text<'_>) -> Made<CelList<'static>> {
    split_some(text, by, &CelInt::from(-1))
}

/// Splits into `count` parts at most, the last with what is left, or into all of them when it is
/// negative. Nothing as separator stands between any two characters.
fn split_some(text: &Text<'_>, by: &Text<'_>, count: &CelInt) -> Made<CelList<'static>> {
    let (text, by) = (text.inner(), by.inner());
    let most = usize::try_from(*count.inner()).unwrap_or(usize::MAX);
    let all_parts = limits::FILTER_VALUES + 1;
    let parts: Vec<&str> = if by.is_empty() {
        let starts = text.char_indices().map(|(start, _)| start);
        let starts: Vec<_> = starts.take(most).take(all_parts).collect();
        let ends = starts.iter().copied().skip(1).chain([text.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| &text[*start..end])
            .collect()
    } else {
        text.splitn(most, by).take(all_parts).collect()
    };
    if parts.len() > limits::FILTER_VALUES {
        let message = format!("it would make more than {} parts", limits::FILTER_VALUES);
        return failed("split", message);
    }
    let part = |part: &str| Box::new(CelString::from(part.to_owned())) as Box<dyn Val>;
    Ok(parts.into_iter().map(part).collect::<Vec<_>>().into())
}

fn join<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Made<CowVal<'b, 'v>> {
    let text = |value: &dyn Val| -> Made<String> {
        match value.downcast_ref::<CelString>() {
            Some(text) => Ok(text.inner().to_owned()),
            None => failed("join", "it joins texts only"),
        }
    };
    let between = match given.get(1) {
        Some(between) => text(between.as_ref())?,
        None => String::new(),
    };
    let list = given.first().map(|list| list.as_ref());
    let Some(list) = list.and_then(|list| list.as_iterable()) else {
        return failed("join", "it joins lists only");
    };
    let (mut items, mut joined, mut is_first) = (list.iter(), String::new(), true);
    while let Some(item) = items.next() {
        if !is_first {
            joined.push_str(&between);
        }
        is_first = false;
        joined.push_str(&text(item)?);
        bounded("join", joined.len())?;
    }
    Ok(CowVal::owned(CelString::from(joined)))
}
