//! How large a schema is with its references followed, and whether it can be followed at all: known before
//! anything is compiled.
//!
//! A few hundred bytes can stand for a tree without end, or for one that no memory holds. So nothing is
//! expanded here: each schema is counted once, and its count is taken wherever a reference leads to it.
//! Must never follow a reference out of the schema, nor call itself deeper than
//! [`limits::EVENT_SCHEMA_DEPTH`].

use super::Fault;
use crate::limits;
use regex::RegexBuilder;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The dialect that schemas are read in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keywords that hold one schema.
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Keywords whose schemas are about the value itself, and not about what is in it. `unevaluated…` asks
/// them again.
const IN_PLACE: [&str; 10] = [
    "$ref",
    "allOf",
    "anyOf",
    "dependencies",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "oneOf",
    "then",
];
/// How often they are asked beside the first time, at most: once for what they evaluate, and once more for
/// each of two kinds of conditions.
const ASKED_AGAIN: u64 = 3;
/// Keywords that give schemas another name, or lead elsewhere depending on who asks.
const REFUSED: [&str; 7] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
];
/// Keywords that nothing is checked against.
const NOTES: [&str; 9] = [
    "$comment",
    "default",
    "deprecated",
    "description",
    "examples",
    "format",
    "readOnly",
    "title",
    "writeOnly",
];

/// What is known of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// Schemas and values that a check looks at, references followed.
    pub(super) nodes: u64,
    /// It has alternatives, each of which may be wrong in its own way.
    pub(super) alternatives: bool,
}

/// Measures a schema.
///
/// # Errors
/// What of it cannot be followed, or is too much.
pub(super) fn measure(schema: &Value) -> Result<Measure, Vec<Fault>> {
    let mut walk = Walk {
        root: schema,
        seen: HashMap::new(),
        path: Vec::new(),
        faults: Vec::new(),
        alternatives: false,
        patterns: 0,
    };
    let extent = walk.of(schema, 0);
    if walk.faults.is_empty() && extent.nodes > limits::EVENT_SCHEMA_NODES {
        let message = format!(
            "With its references followed it has more than {} parts; make it simpler",
            limits::EVENT_SCHEMA_NODES
        );
        walk.fault(message);
    }
    match walk.faults.is_empty() {
        true => Ok(Measure {
            nodes: extent.nodes,
            alternatives: walk.alternatives,
        }),
        false => Err(walk.faults),
    }
}

/// The patterns of a schema, compiled as its checks compile them, but for their dialect.
pub(super) const PATTERN_CACHE_BYTES: usize = 128 * 1024;
/// Patterns of one schema: each takes memory of its own while the type is kept.
const PATTERNS: usize = 20;

/// How large a schema is.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: u64,
    height: usize,
}

impl Extent {
    const ONE: Self = Self {
        nodes: 1,
        height: 1,
    };

    const NONE: Self = Self {
        nodes: 0,
        height: 0,
    };

    /// One more schema beside the others.
    fn beside(self, one: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(one.nodes),
            height: self.height.max(one.height),
        }
    }

    fn and(self, nodes: u64) -> Self {
        Self {
            nodes: self.nodes.saturating_add(nodes),
            ..self
        }
    }
}

#[derive(Clone, Copy)]
enum Seen {
    /// It is being counted: whoever leads here leads back.
    UnderWay,
    Counted(Extent),
}

struct Walk<'s> {
    root: &'s Value,
    /// By where they lie. Compared and never followed.
    seen: HashMap<*const Value, Seen>,
    path: Vec<&'s str>,
    faults: Vec<Fault>,
    alternatives: bool,
    patterns: usize,
}

impl<'s> Walk<'s> {
    fn fault(&mut self, message: impl Into<String>) {
        if self.faults.len() < limits::EVENT_FAULTS {
            let path = self.path.join(".");
            self.faults.push(Fault::new(super::shown(&path), message));
        }
    }

    /// `value` as a schema, so deep within the whole.
    fn of(&mut self, value: &'s Value, depth: usize) -> Extent {
        let Value::Object(schema) = value else {
            return Extent::ONE;
        };
        let place = std::ptr::from_ref(value);
        match self.seen.get(&place) {
            Some(Seen::UnderWay) => {
                self.fault(
                    "This leads back to where it stands; a schema that holds itself is not supported",
                );
                return Extent::ONE;
            }
            Some(Seen::Counted(extent)) => {
                let extent = *extent;
                if depth.saturating_add(extent.height) > limits::EVENT_SCHEMA_DEPTH {
                    self.too_deep();
                }
                return extent;
            }
            None => {}
        }
        if depth >= limits::EVENT_SCHEMA_DEPTH {
            self.too_deep();
            return Extent::ONE;
        }
        self.seen.insert(place, Seen::UnderWay);
        let extent = self.of_keywords(schema, depth);
        self.seen.insert(place, Seen::Counted(extent));
        extent
    }

    fn too_deep(&mut self) {
        self.fault(format!(
            "With its references followed it is nested deeper than {} levels",
            limits::EVENT_SCHEMA_DEPTH
        ));
    }

    fn of_keywords(&mut self, schema: &'s Map<String, Value>, depth: usize) -> Extent {
        let (mut extent, mut in_place) = (Extent::ONE, 0_u64);
        for (keyword, value) in schema {
            self.path.push(keyword);
            let inner = self.of_keyword(keyword, value, depth);
            self.path.pop();
            if IN_PLACE.contains(&keyword.as_str()) {
                in_place = in_place.saturating_add(inner.nodes);
            }
            extent = extent.and(inner.nodes);
            extent.height = extent.height.max(inner.height.saturating_add(1));
        }
        let asks = ["unevaluatedProperties", "unevaluatedItems"];
        for _ in asks.iter().filter(|it| schema.contains_key(**it)) {
            extent = extent.and(in_place.saturating_mul(ASKED_AGAIN));
        }
        extent
    }

    /// What stands under a keyword; its height is that of the schemas in it.
    fn of_keyword(&mut self, keyword: &'s str, value: &'s Value, depth: usize) -> Extent {
        self.alternatives |= matches!(keyword, "anyOf" | "oneOf");
        if keyword == "$ref" {
            return self.of_reference(value, depth);
        }
        if keyword == "$schema" {
            self.check_dialect(value, depth);
            return Extent::NONE;
        }
        if REFUSED.contains(&keyword) {
            self.fault(
                "This keyword is not supported here; name schemas in $defs and refer to them as \
                 #/$defs/<name>",
            );
            return Extent::NONE;
        }
        if NOTES.contains(&keyword) {
            return Extent::NONE;
        }
        if ONE.contains(&keyword) {
            return Extent::NONE.beside(self.of(value, depth + 1));
        }
        match (value, keyword) {
            (Value::Array(items), _) if LIST.contains(&keyword) => {
                items.iter().fold(Extent::NONE, |sum, item| {
                    sum.beside(self.of(item, depth + 1))
                })
            }
            (Value::Object(fields), _) if NAMED.contains(&keyword) => {
                let mut sum = Extent::NONE;
                for (name, item) in fields {
                    self.path.push(name);
                    if keyword == "patternProperties" {
                        sum = sum.and(self.of_pattern(name));
                    }
                    sum = sum.beside(self.of(item, depth + 1));
                    self.path.pop();
                }
                sum
            }
            (Value::String(pattern), "pattern") => Extent::NONE.and(self.of_pattern(pattern)),
            _ => Extent::NONE.and(values(value)),
        }
    }

    fn check_dialect(&mut self, value: &Value, depth: usize) {
        let named = value.as_str().map(|it| it.trim_end_matches('#'));
        if depth > 0 || self.path.len() > 1 {
            self.fault("Name the dialect at the top of the schema only");
        } else if named != Some(DIALECT) {
            self.fault(format!(
                "Only JSON Schema draft 2020-12 is understood: leave $schema out, or use {DIALECT}"
            ));
        }
    }

    fn of_reference(&mut self, value: &'s Value, depth: usize) -> Extent {
        let Some(pointer) = value.as_str().and_then(pointer) else {
            self.fault("Refer to a part of this schema, as #/$defs/<name>; nothing is fetched");
            return Extent::NONE;
        };
        match self.root.pointer(&pointer) {
            Some(target) => Extent::NONE.beside(self.of(target, depth + 1)),
            None => {
                self.fault("There is no such part in this schema");
                Extent::NONE
            }
        }
    }

    /// A regular expression: how much it looks at.
    fn of_pattern(&mut self, pattern: &str) -> u64 {
        self.patterns += 1;
        if self.patterns == PATTERNS + 1 {
            self.fault(format!("A schema has at most {PATTERNS} patterns"));
        }
        // What is written otherwise in ECMA's dialect is told when the whole is compiled.
        let mut builder = RegexBuilder::new(pattern);
        let compiled = builder.size_limit(limits::EVENT_PATTERN_BYTES).build();
        if let Err(regex::Error::CompiledTooBig(_)) = compiled {
            self.fault("This pattern is too large once it is compiled; make it simpler");
        }
        1 + u64::try_from(pattern.len()).unwrap_or(u64::MAX)
    }
}

/// The JSON Pointer of a reference within the schema.
fn pointer(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    if !(fragment.is_empty() || fragment.starts_with('/')) {
        return None;
    }
    decoded(fragment)
}

/// Without percent-encoding (RFC 6901, section 6).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}

/// How many values there are in one, itself included.
fn values(value: &Value) -> u64 {
    let inner = match value {
        Value::Array(items) => items.iter().map(values).fold(0, u64::saturating_add),
        Value::Object(fields) => fields.values().map(values).fold(0, u64::saturating_add),
        Value::String(text) => u64::try_from(text.len() / 16).unwrap_or(u64::MAX),
        _ => 0,
    };
    inner.saturating_add(1)
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
