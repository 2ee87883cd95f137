//! What was probably meant.

use std::fmt::Write as _;
use tollgate_core::text;

/// Beyond this many, a list of all names helps nobody.
const FEW: usize = 8;

/// `; did you mean `x`?`, or nothing when no name is near.
pub(crate) fn did_you_mean<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    text::did_you_mean(name, names)
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The same, with the names themselves where none is near and there are few.
pub(crate) fn did_you_mean_one_of(name: &str, names: &[String]) -> String {
    let hint = did_you_mean(name, names.iter().map(String::as_str));
    if !hint.is_empty() || names.is_empty() || names.len() > FEW {
        return hint;
    }
    let mut hint = String::from("; there is ");
    for (place, name) in names.iter().enumerate() {
        let before = match place {
            0 => "",
            _ if place + 1 == names.len() => " and ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(hint, "{before}`{name}`");
    }
    hint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found() {
        let names = [
            "listen",
            "events.pre_budget_seconds",
            "http.connections",
            "data_dir",
        ];
        for (name, meant) in [
            ("lisen", "`listen`"),
            ("events.pre_bugdet_seconds", "`events.pre_budget_seconds`"),
            ("pre_budget_seconds", "`events.pre_budget_seconds`"),
            ("http_connections", "`http.connections`"),
            ("DATADIR", "`data_dir`"),
        ] {
            assert!(
                did_you_mean(name, names.into_iter()).contains(meant),
                "{name}"
            );
        }
        for name in ["colour", "x", ""] {
            assert_eq!(did_you_mean(name, names.into_iter()), "", "{name}");
        }
        let few = ["alpha".to_owned(), "beta".to_owned(), "gamma".to_owned()];
        assert_eq!(
            did_you_mean_one_of("zzz", &few),
            "; there is `alpha`, `beta` and `gamma`"
        );
    }
}
