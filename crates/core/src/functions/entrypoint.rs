//! Which function of which module a version begins with: `handlers:on_signup`.

use super::bundle::Bundle;
use super::model::Environment;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of module and function where nothing else is said.
pub const MAIN: &str = "main";

/// A module, and a function in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Entrypoint {
    /// Names with dots between, as Python imports it.
    module: String,
    /// The function's name.
    function: String,
}

impl Entrypoint {
    /// The function.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The file of `bundle` with this module.
    pub fn file<'b>(&self, environment: Environment, bundle: &'b Bundle) -> Option<&'b str> {
        let stem = self.module.replace('.', "/");
        let endings: &[&str] = match environment {
            Environment::Python => &[".py", "/__init__.py"],
            Environment::Node => &[".mjs", ".js", ".cjs", ".mts", ".ts", ".cts"],
        };
        let found = |ending: &&str| {
            let path = format!("{stem}{ending}");
            bundle.files().map(|(it, _)| it).find(|it| *it == path)
        };
        endings.iter().find_map(found)
    }
}

impl Default for Entrypoint {
    fn default() -> Self {
        Self {
            module: MAIN.to_owned(),
            function: MAIN.to_owned(),
        }
    }
}

impl FromStr for Entrypoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.starts_with(|c: char| inner(c) && !c.is_ascii_digit()) && name.chars().all(inner)
        };
        let parts = text.split_once(':');
        let parts = parts.filter(|(module, function)| {
            text.len() <= limits::ENTRYPOINT_BYTES
                && module.split('.').all(is_name)
                && is_name(function)
        });
        let Some((module, function)) = parts else {
            return Err(format!(
                "Write module:function, as handlers:on_signup, in at most {} letters",
                limits::ENTRYPOINT_BYTES
            ));
        };
        Ok(Self {
            module: module.to_owned(),
            function: function.to_owned(),
        })
    }
}

impl fmt::Display for Entrypoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.function)
    }
}

impl TryFrom<String> for Entrypoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Entrypoint> for String {
    fn from(entrypoint: Entrypoint) -> Self {
        entrypoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_is_a_module_and_a_function() {
        for right in ["main:main", "handlers:on_signup", "a.b.c:_f", "m1:f2"] {
            let read: Entrypoint = right.parse().unwrap();
            assert_eq!(read.to_string(), right);
        }
        let long = format!("{}:f", "m".repeat(limits::ENTRYPOINT_BYTES));
        for wrong in [
            "", "main", ":f", "m:", "m:f:g", "1m:f", "m:1f", "a..b:f", ".a:f", "../m:f", "a/b:f",
            "m:f()", "m:f g", "m-n:f", "m:ü", &long,
        ] {
            assert!(wrong.parse::<Entrypoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn its_module_is_a_file_of_the_language() {
        let bundle = |paths: &[&str]| {
            let mut bundle = Bundle::default();
            for path in paths {
                bundle.add(path, Vec::new()).unwrap();
            }
            bundle
        };
        let (python, node) = (Environment::Python, Environment::Node);
        for (module, environment, paths, file) in [
            ("main", python, &["main.py", "x.py"][..], Some("main.py")),
            ("a.b", python, &["a/b.py"], Some("a/b.py")),
            ("a.b", python, &["a/b/__init__.py"], Some("a/b/__init__.py")),
            ("main", python, &["src/main.py", "main.mjs"], None),
            (
                "main",
                node,
                &["main.py", "main.js", "main.mjs"],
                Some("main.mjs"),
            ),
            ("src.main", node, &["src/main.cjs"], Some("src/main.cjs")),
        ] {
            let entrypoint: Entrypoint = format!("{module}:main").parse().unwrap();
            assert_eq!(
                entrypoint.file(environment, &bundle(paths)),
                file,
                "{module}"
            );
        }
    }
}
