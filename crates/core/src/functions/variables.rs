//! Environment variables of functions: which may be set, which are in force, and what tells that they have changed.
//!
//! Must never hold a secret's value: a variable names its secret, which is looked up when code is loaded.

use crate::limits;
use crate::text::prefix;
use crate::time::Timestamp;
use crate::validation::FieldError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What the names begin with that belong to the platform, the dynamic loader and the interpreters.
const RESERVED_PREFIXES: [&str; 7] = [
    "TARUVI_",
    "TOLLGATE_",
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "PYTHON",
    "NODE_",
];
/// Names that are theirs besides.
const RESERVED: [&str; 3] = ["PATH", "HOME", "TMPDIR"];
/// One that is the author's, whatever its first letters.
const FREE: &str = "NODE_ENV";

/// Environment variables, as they are set on an app or a function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variables {
    /// Values by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Keys of secrets by name: each variable has its secret's value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, String>,
}

/// New values for one of the two.
#[derive(Debug, Clone)]
pub struct VariablesChange {
    /// By name; none removes one that is there.
    pub values: BTreeMap<String, Option<String>>,
    /// They stand beside those that are there.
    pub merges: bool,
}

impl VariablesChange {
    fn applied_to(self, before: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut after = if self.merges { before } else { BTreeMap::new() };
        for (name, value) in self.values {
            match value {
                Some(value) => after.insert(name, value),
                None => after.remove(&name),
            };
        }
        after
    }
}

impl Variables {
    /// Whether there are none, as stores leave them out.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.secret_env.is_empty()
    }

    /// A function's own, and those of its app that they do not hide.
    #[must_use]
    pub fn over(&self, app: &Self) -> Self {
        let mut all = app.clone();
        for (name, value) in &self.env {
            all.secret_env.remove(name);
            all.env.insert(name.clone(), value.clone());
        }
        for (name, key) in &self.secret_env {
            all.env.remove(name);
            all.secret_env.insert(name.clone(), key.clone());
        }
        all
    }

    /// With new values; what is none stays.
    pub(crate) fn changed(
        self,
        env: Option<VariablesChange>,
        secret_env: Option<VariablesChange>,
    ) -> Self {
        let changed = |before, change: Option<VariablesChange>| match change {
            Some(change) => change.applied_to(before),
            None => before,
        };
        Self {
            env: changed(self.env, env),
            secret_env: changed(self.secret_env, secret_env),
        }
    }

    /// Variables and their secrets that `before` has not, or not so.
    pub(crate) fn new_secrets<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a String, &'a String)> {
        let is_new = |(name, key): &(&String, &String)| before.secret_env.get(*name) != Some(*key);
        self.secret_env.iter().filter(is_new)
    }

    /// What is wrong with them.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.check(&mut errors);
        errors
    }

    /// Adds what is wrong with them.
    pub(crate) fn check(&self, errors: &mut Vec<FieldError>) {
        let names = |kind: &'static str, it: &'_ BTreeMap<String, String>| {
            let names = it.keys().map(move |name| (kind, name.clone()));
            names.collect::<Vec<_>>()
        };
        let all = [
            names("env", &self.env),
            names("secret_env", &self.secret_env),
        ]
        .concat();
        for (kind, name) in &all {
            if let Some(message) = wrong_with(name) {
                errors.push(field(kind, name, message));
            }
        }
        for name in self
            .secret_env
            .keys()
            .filter(|it| self.env.contains_key(*it))
        {
            let message = "It stands in env as well; leave it out of one of them";
            errors.push(field("secret_env", name, message));
        }
        for (name, _) in self.env.iter().filter(|(_, value)| value.contains('\0')) {
            errors.push(field("env", name, "No variable holds a NUL character"));
        }
        let most = limits::ENV_VARIABLES;
        if all.len() > most {
            let message = format!("Use at most {most} variables, those of secrets counted");
            errors.push(FieldError::new("env", message));
        }
        let bytes = self
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len());
        if bytes.sum::<usize>() > limits::ENV_BYTES {
            let most = limits::ENV_BYTES / 1024;
            let message = format!("Use at most {most} KiB for all names and values together");
            errors.push(FieldError::new("env", message));
        }
        if self.secret_env.len() > limits::ENV_SECRETS {
            let message = format!("Use at most {} secrets", limits::ENV_SECRETS);
            errors.push(FieldError::new("secret_env", message));
        }
    }
}

/// A fault of one variable.
pub(crate) fn field(kind: &str, name: &str, message: impl Into<String>) -> FieldError {
    FieldError::new(
        format!("{kind}.{}", prefix(name, limits::ENV_NAME_BYTES)),
        message,
    )
}

/// Why a variable cannot have this name; none if it can.
fn wrong_with(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(plain) || name.len() > limits::ENV_NAME_BYTES {
        return Some(format!(
            "Use 1 to {} letters, digits and '_', and begin with no digit",
            limits::ENV_NAME_BYTES
        ));
    }
    let upper = name.to_ascii_uppercase();
    let begins = RESERVED_PREFIXES.iter().find(|it| upper.starts_with(**it));
    if upper == FREE {
        return None;
    }
    match begins {
        Some(begins) => Some(format!(
            "Names that begin with {begins} belong to the platform or the interpreter; choose another one"
        )),
        None if RESERVED.contains(&upper.as_str()) => Some(format!(
            "{upper} belongs to the platform; choose another name"
        )),
        None => None,
    }
}

/// What tells one state of the variables around a version from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariablesRevision(u128);

impl VariablesRevision {
    /// That of no variables.
    pub const NONE: Self = Self(0);
}

/// The variables around a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// The function's own, and those of its app that they do not hide.
    pub variables: Variables,
    /// Another one as soon as any of them is another, or the value of a secret among them.
    pub revision: VariablesRevision,
}

impl InForce {
    /// A function's own over its app's. `stamp` tells whose a secret is and when it was last written; none for one
    /// that does not exist.
    ///
    /// # Errors
    /// Those of `stamp`.
    pub fn new<E>(
        own: &Variables,
        app: &Variables,
        mut stamp: impl FnMut(&str) -> Result<Option<(i64, Timestamp)>, E>,
    ) -> Result<Self, E> {
        if own.is_empty() && app.is_empty() {
            return Ok(Self::default());
        }
        let variables = own.over(app);
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            // Its length first, so that no two lists of parts are the same text.
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        };
        for (name, value) in &variables.env {
            part(name);
            part(value);
        }
        part("");
        for (name, key) in &variables.secret_env {
            part(name);
            part(key);
            let stamp = stamp(key)?.map(|(tier, at)| format!("{tier} {}", at.as_micros()));
            part(&stamp.unwrap_or_default());
        }
        let digest = hash.finalize();
        let first = digest.first_chunk::<16>().copied().unwrap_or_default();
        Ok(Self {
            variables,
            revision: VariablesRevision(u128::from_be_bytes(first)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn variables(env: &[(&str, &str)], secret_env: &[(&str, &str)]) -> Variables {
        Variables {
            env: map(env),
            secret_env: map(secret_env),
        }
    }

    fn faults(variables: &Variables) -> Vec<String> {
        variables
            .faults()
            .into_iter()
            .map(|it| it.field.into_owned())
            .collect()
    }

    #[test]
    fn a_functions_own_hide_its_apps_whatever_their_kind() {
        let app = variables(&[("A", "app"), ("B", "app")], &[("C", "key"), ("D", "key")]);
        let own = variables(&[("A", "own"), ("C", "own")], &[("B", "own-key")]);
        let expected = variables(
            &[("A", "own"), ("C", "own")],
            &[("B", "own-key"), ("D", "key")],
        );
        assert_eq!(own.over(&app), expected);
        assert_eq!(Variables::default().over(&app), app);
    }

    #[test]
    fn names_of_the_platform_and_of_interpreters_are_refused() {
        for good in [
            "A",
            "_",
            "a_1",
            "DATABASE_URL",
            "TZ",
            "NODE_ENV",
            "MYPYTHON",
            "http_proxy",
        ] {
            assert_eq!(wrong_with(good), None, "{good}");
        }
        let long = "A".repeat(limits::ENV_NAME_BYTES + 1);
        for bad in [
            "",
            "1A",
            "A-B",
            "A B",
            "A=B",
            "Ä",
            "A\0",
            &long,
            "PATH",
            "path",
            "HOME",
            "LD_PRELOAD",
            "PYTHONPATH",
            "pythonpath",
            "NODE_OPTIONS",
            "TARUVI_X",
            "TOLLGATE_LOG",
            "GLIBC_TUNABLES",
        ] {
            assert!(wrong_with(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_is_too_much_or_stands_twice_is_refused() {
        assert_eq!(faults(&variables(&[("A", "")], &[("B", "k")])), [""; 0]);
        assert_eq!(
            faults(&variables(&[("A", "x")], &[("A", "k")])),
            ["secret_env.A"]
        );
        assert_eq!(faults(&variables(&[("A", "x\0y")], &[])), ["env.A"]);
        let value = "x".repeat(limits::ENV_BYTES - 1);
        assert_eq!(faults(&variables(&[("A", &value)], &[])), [""; 0]);
        assert_eq!(faults(&variables(&[("AB", &value)], &[])), ["env"]);
        let many = |count: usize| {
            (0..count)
                .map(|at| (format!("V{at}"), String::new()))
                .collect()
        };
        let many = |env, secret_env| Variables {
            env: many(env),
            secret_env: many(secret_env),
        };
        assert_eq!(faults(&many(limits::ENV_VARIABLES, 0)), [""; 0]);
        assert_eq!(faults(&many(limits::ENV_VARIABLES + 1, 0)), ["env"]);
        assert_eq!(faults(&many(0, limits::ENV_SECRETS + 1)), ["secret_env"]);
    }

    #[test]
    fn the_revision_is_another_one_with_any_change() {
        let of = |own: &Variables, app: &Variables, at: Option<(i64, i64)>| {
            let stamp = at.map(|(tier, at)| (tier, Timestamp::from_micros(at)));
            let found = InForce::new(own, app, |_| Ok::<_, ()>(stamp)).unwrap();
            found.revision
        };
        let none = Variables::default();
        assert_eq!(of(&none, &none, None), VariablesRevision::NONE);
        let (plain, secret) = (variables(&[("A", "1")], &[]), variables(&[], &[("A", "1")]));
        let states = [
            of(&none, &none, None),
            of(&plain, &none, None),
            of(&variables(&[("A", "2")], &[]), &none, None),
            of(&variables(&[("A1", "")], &[]), &none, None),
            of(&secret, &none, None),
            of(&secret, &none, Some((0, 1))),
            of(&secret, &none, Some((0, 2))),
            of(&secret, &none, Some((7, 1))),
        ];
        for (at, one) in states.iter().enumerate() {
            assert!(!states[..at].contains(one), "{at}");
        }
        // Whose they are, and secrets that are not among them, make no difference.
        assert_eq!(of(&none, &plain, None), of(&plain, &none, None));
        assert_eq!(of(&plain, &none, Some((0, 1))), of(&plain, &none, None));
    }

    #[test]
    fn a_change_replaces_all_or_stands_beside_the_rest() {
        let change = |merges| VariablesChange {
            values: [("A", None), ("C", Some("3"))]
                .map(|(name, value): (&str, Option<&str>)| {
                    (name.to_owned(), value.map(str::to_owned))
                })
                .into(),
            merges,
        };
        let before = variables(&[("A", "1"), ("B", "2")], &[("S", "k")]);
        let merged = before.clone().changed(Some(change(true)), None);
        assert_eq!(merged, variables(&[("B", "2"), ("C", "3")], &[("S", "k")]));
        let replaced = before.changed(Some(change(false)), None);
        assert_eq!(replaced, variables(&[("C", "3")], &[("S", "k")]));
    }
}
