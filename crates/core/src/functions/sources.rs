//! What a function runs, made of what was given for it: code, or an address with headers, whichever
//! its mode has, and the limits around it. What its mode does not have is refused.

use crate::events::UserShape;
use crate::functions::{
    Bundle, BundleDigest, BundleRef, Entrypoint, Environment, ExecutionMode, FunctionOptions,
    HIDDEN, MAIN, RequestForm, Source,
};
use crate::limits;
use crate::rate::Rate;
use crate::text::prefix;
use crate::validation::{FieldError, check_filter, check_range, check_timeout};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// New headers of a proxy function. Names differ by more than case.
#[derive(Debug, Clone)]
pub struct HeadersChange {
    /// By name; none removes one that is there.
    pub values: BTreeMap<String, Option<String>>,
    /// They stand beside those that are there.
    pub merges: bool,
}

impl HeadersChange {
    /// These, and no others.
    pub(super) fn all(headers: BTreeMap<String, String>) -> Self {
        let values = headers.into_iter();
        Self {
            values: values.map(|(name, value)| (name, Some(value))).collect(),
            merges: false,
        }
    }
}

/// What was given; what is none stays.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) code: Option<String>,
    pub(super) entrypoint: Option<String>,
    /// The files that were sent, or those that stay.
    pub(super) bundle: Option<(BundleDigest, Arc<Bundle>)>,
    pub(super) webhook_url: Option<String>,
    pub(super) headers: Option<HeadersChange>,
}

/// What runs from now on, where `old` ran until now.
///
/// # Errors
/// What is missing, and what the mode does not have, each by its field.
pub(super) fn source(
    mode: ExecutionMode,
    environment: Environment,
    given: Given,
    old: Option<&Source>,
) -> Result<Source, Vec<FieldError>> {
    let mut faults = given.strange_to(mode);
    let source = match mode {
        ExecutionMode::App => given.app(environment, old, &mut faults),
        ExecutionMode::Proxy => given.proxy(old, &mut faults),
        ExecutionMode::System => Some(Source::System),
    };
    match source {
        Some(source) if faults.is_empty() => Ok(source),
        _ => Err(faults),
    }
}

impl Given {
    /// What a function of this mode does not have.
    fn strange_to(&self, mode: ExecutionMode) -> Vec<FieldError> {
        let headers = self.headers.as_ref();
        let with_headers = headers.is_some_and(|headers| !headers.values.is_empty());
        let of_apps = "Only a function with execution_mode app has code; leave it out";
        let of_proxies = "Only a function with execution_mode proxy has this; leave it out";
        let all = [
            ("code", ExecutionMode::App, self.code.is_some(), of_apps),
            ("bundle", ExecutionMode::App, self.bundle.is_some(), of_apps),
            (
                "entrypoint",
                ExecutionMode::App,
                self.entrypoint.is_some(),
                of_apps,
            ),
            (
                "webhook_url",
                ExecutionMode::Proxy,
                self.webhook_url.is_some(),
                of_proxies,
            ),
            ("headers", ExecutionMode::Proxy, with_headers, of_proxies),
        ];
        let strange = all
            .into_iter()
            .filter(|(_, of, given, _)| *given && *of != mode);
        strange
            .map(|(field, _, _, message)| FieldError::new(field, message))
            .collect()
    }

    fn app(
        self,
        environment: Environment,
        old: Option<&Source>,
        faults: &mut Vec<FieldError>,
    ) -> Option<Source> {
        let (old_code, old_entrypoint) = match old {
            Some(Source::App {
                code, entrypoint, ..
            }) => (Some(Arc::clone(code)), entrypoint.clone()),
            Some(Source::Proxy { .. } | Source::System) | None => (None, None),
        };
        let entrypoint = match self.entrypoint.as_deref().map(str::parse::<Entrypoint>) {
            Some(Ok(entrypoint)) => Some(entrypoint),
            Some(Err(message)) => {
                faults.push(FieldError::new("entrypoint", message));
                return None;
            }
            None => old_entrypoint,
        };
        let named = entrypoint.clone().unwrap_or_default();
        let (code, bundle) = match (self.code, self.bundle) {
            (sent, Some(bundle)) => {
                let (code, bundle) = packed(environment, &named, bundle, faults)?;
                // What was shown can be sent back.
                if sent.is_some_and(|sent| *sent != *code) {
                    let message =
                        "A version is one file or several: send code or a bundle, not both";
                    faults.push(FieldError::new("bundle", message));
                }
                (code, Some(bundle))
            }
            (code, None) => (
                single(code.map(Arc::from).or(old_code), &named, faults)?,
                None,
            ),
        };
        if code.len() > limits::CODE_BYTES {
            let message = format!("Keep it below {} KiB", limits::CODE_BYTES / 1024);
            faults.push(FieldError::new("code", message));
        }
        Some(Source::App {
            environment,
            code,
            entrypoint: entrypoint.filter(|it| *it != Entrypoint::default()),
            bundle,
        })
    }

    fn proxy(self, old: Option<&Source>, faults: &mut Vec<FieldError>) -> Option<Source> {
        let (old_url, old_headers) = match old {
            Some(Source::Proxy {
                webhook_url,
                headers,
            }) => (Some(webhook_url.clone()), headers.clone()),
            Some(Source::App { .. } | Source::System) | None => (None, BTreeMap::new()),
        };
        let headers = match self.headers {
            Some(change) => new_headers(change, old_headers, faults),
            None => old_headers,
        };
        let webhook_url = self.webhook_url.or(old_url).filter(|url| is_address(url));
        if webhook_url.is_none() {
            let needed = "A proxy function needs an http or https address";
            faults.push(FieldError::new("webhook_url", needed));
        }
        Some(Source::Proxy {
            webhook_url: webhook_url?,
            headers,
        })
    }
}

/// The code of a version with one file.
fn single(
    code: Option<Arc<str>>,
    entrypoint: &Entrypoint,
    faults: &mut Vec<FieldError>,
) -> Option<Arc<str>> {
    let Some(code) = code.filter(|code| !code.trim().is_empty()) else {
        let message = "An app function needs code, or a bundle of files";
        faults.push(FieldError::new("code", message));
        return None;
    };
    if entrypoint.module() != MAIN {
        let message = format!(
            "A single file is the module {MAIN}: write {MAIN}:{}",
            entrypoint.function()
        );
        faults.push(FieldError::new("entrypoint", message));
    }
    Some(code)
}

/// The text of the file with the entry point, and how the version names its files.
fn packed(
    environment: Environment,
    entrypoint: &Entrypoint,
    (digest, bundle): (BundleDigest, Arc<Bundle>),
    faults: &mut Vec<FieldError>,
) -> Option<(Arc<str>, BundleRef)> {
    let Some(file) = entrypoint.file(environment, &bundle) else {
        let message = format!(
            "The bundle has no {} module {} for the entry point {entrypoint}; name another one, as \
             handlers:on_signup",
            environment.as_str(),
            entrypoint.module()
        );
        faults.push(FieldError::new("entrypoint", message));
        return None;
    };
    let Some(Ok(code)) = bundle.file(file).map(std::str::from_utf8) else {
        faults.push(FieldError::new("bundle", format!("'{file}' is not UTF-8")));
        return None;
    };
    let named = BundleRef {
        digest,
        file: file.to_owned(),
        files: bundle.len(),
        bytes: bundle.bytes(),
    };
    Some((code.into(), named))
}

fn is_address(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let of_http = |it: &str| it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("http");
    url.len() <= limits::URL_BYTES
        && scheme.is_some_and(of_http)
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// The new headers; a value that was only shown hidden stays what it was.
fn new_headers(
    change: HeadersChange,
    old: BTreeMap<String, String>,
    faults: &mut Vec<FieldError>,
) -> BTreeMap<String, String> {
    let HeadersChange { values, merges } = change;
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let mut new = if merges { old.clone() } else { BTreeMap::new() };
    let mut seen = BTreeSet::new();
    for (name, value) in values {
        let mut fault = |message| {
            let field = format!("headers.{}", prefix(&name, limits::NAME_CHARS));
            faults.push(FieldError::new(field, message));
        };
        if !seen.insert(name.to_ascii_lowercase()) {
            fault("The same header stands here twice: case makes no other name");
            continue;
        }
        let before = old.iter().find(|(it, _)| same(it, &name));
        let value = match (value, before) {
            (Some(value), before) if value == HIDDEN => {
                if before.is_none() {
                    fault("There is no value that this could stand for; send the value itself");
                }
                before.map(|(_, value)| value.clone())
            }
            (value, _) => value,
        };
        new.retain(|it, _| !same(it, &name));
        if let Some(value) = value {
            new.insert(name, value);
        }
    }
    new
}

/// Adds that a function which nobody calls without a credential is to be given raw requests.
pub(super) fn check_request(
    form: Option<RequestForm>,
    is_public: bool,
    errors: &mut Vec<FieldError>,
) {
    if form == Some(RequestForm::Raw) && !is_public {
        let message = "Only a public function is given raw requests; set is_public as well";
        errors.push(FieldError::new("request", message));
    }
}

/// Adds what is wrong with limits, conditions and variables.
pub(super) fn check_options(
    options: &FunctionOptions,
    mode: ExecutionMode,
    users: UserShape,
    errors: &mut Vec<FieldError>,
) {
    check_timeout(options.timeout_seconds, errors);
    for (field, value, min, max) in [
        ("memory_mb", options.memory_mb, 32, limits::MEMORY_MB_MAX),
        (
            "max_concurrency",
            options.max_concurrency,
            1,
            limits::CONCURRENCY_MAX,
        ),
        (
            "max_attempts",
            options.max_attempts,
            1,
            limits::MAX_ATTEMPTS_MAX,
        ),
    ] {
        check_range(field, value, min, max, errors);
    }
    if mode == ExecutionMode::App {
        options.variables.check(errors);
    } else if !options.variables.is_empty() {
        let message = "Only a function with execution_mode app has variables; leave them out";
        errors.push(FieldError::new("env", message));
    }
    if let Some(Err(message)) = options.rate_limit.as_deref().map(str::parse::<Rate>) {
        errors.push(FieldError::new("rate_limit", message));
    }
    check_filter(
        "filter_conditions",
        options.filter_conditions.as_deref(),
        None,
        users,
        errors,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn changed(
        merges: bool,
        values: &[(&str, Option<&str>)],
    ) -> Result<BTreeMap<String, String>, Vec<String>> {
        let old = headers(&[("X-Token", "secret"), ("x-team", "crm")]);
        let owned = |(name, value): &(&str, Option<&str>)| {
            ((*name).to_owned(), value.map(ToOwned::to_owned))
        };
        let values = values.iter().map(owned).collect();
        let mut faults = Vec::new();
        let new = new_headers(HeadersChange { values, merges }, old, &mut faults);
        if faults.is_empty() {
            return Ok(new);
        }
        let fields = faults.into_iter().map(|it| it.field.into_owned());
        Err(fields.collect())
    }

    #[test]
    fn names_of_headers_are_the_same_in_any_case() {
        let team = ("x-team", "crm");
        for (merges, values, expected) in [
            (true, &[("x-token", None)][..], &[team][..]),
            (true, &[("X-TOKEN", None), ("X-Team", None)], &[]),
            (
                true,
                &[("x-token", Some("new"))],
                &[team, ("x-token", "new")],
            ),
            (
                true,
                &[("x-TOKEN", Some(HIDDEN))],
                &[team, ("x-TOKEN", "secret")],
            ),
            (true, &[("y", None)], &[team, ("X-Token", "secret")]),
            (
                false,
                &[("x-token", Some(HIDDEN))],
                &[("x-token", "secret")],
            ),
            (
                false,
                &[("X-Token", Some(HIDDEN))],
                &[("X-Token", "secret")],
            ),
            (false, &[("y", Some("z"))], &[("y", "z")]),
            (false, &[], &[]),
        ] {
            assert_eq!(changed(merges, values), Ok(headers(expected)), "{values:?}");
        }
        for values in [
            &[("y", Some(HIDDEN))][..],
            &[("X-Token", Some("two")), ("x-token", Some("one"))],
            &[("X-Token", None), ("x-token", Some("one"))],
            &[("X-Tok\u{e9}n", Some(HIDDEN))],
        ] {
            for merges in [true, false] {
                assert_eq!(changed(merges, values).unwrap_err().len(), 1, "{values:?}");
            }
        }
    }

    #[test]
    fn each_mode_has_its_own_and_nothing_else() {
        let (code, url) = ("def main(p): pass", "https://example.com/");
        let given = |code: Option<&str>, url: Option<&str>, names: &[(&str, &str)]| Given {
            code: code.map(ToOwned::to_owned),
            webhook_url: url.map(ToOwned::to_owned),
            headers: (!names.is_empty()).then(|| HeadersChange::all(headers(names))),
            ..Given::default()
        };
        let (app, proxy, system) = (
            ExecutionMode::App,
            ExecutionMode::Proxy,
            ExecutionMode::System,
        );
        let named = &[("a", "b")][..];
        let old = source(app, Environment::Python, given(Some(code), None, &[]), None).unwrap();
        for (mode, given, old, fields) in [
            (app, given(Some(code), None, &[]), None, &[][..]),
            (app, given(None, None, &[]), None, &["code"]),
            (
                app,
                given(Some(code), Some(url), named),
                None,
                &["webhook_url", "headers"],
            ),
            (
                app,
                given(None, Some(url), &[]),
                Some(&old),
                &["webhook_url"],
            ),
            (app, given(None, None, named), Some(&old), &["headers"]),
            (proxy, given(None, Some(url), named), None, &[]),
            (proxy, given(Some(code), Some(url), &[]), None, &["code"]),
            (
                proxy,
                given(Some(code), None, &[]),
                None,
                &["code", "webhook_url"],
            ),
            (
                proxy,
                given(None, Some("ftp://x"), &[]),
                None,
                &["webhook_url"],
            ),
            (system, given(None, None, &[]), None, &[]),
            (
                system,
                given(Some(code), Some(url), named),
                None,
                &["code", "webhook_url", "headers"],
            ),
        ] {
            let made = source(mode, Environment::Python, given, old);
            let faults = made.err().unwrap_or_default();
            let found: Vec<_> = faults.iter().map(|it| &*it.field).collect();
            assert_eq!(found, fields, "{mode:?}");
        }
    }

    fn files(paths: &[(&str, &str)]) -> (BundleDigest, Arc<Bundle>) {
        let mut bundle = Bundle::default();
        for (path, content) in paths {
            bundle.add(path, content.as_bytes().to_vec()).unwrap();
        }
        (BundleDigest::of(&bundle.encode()), Arc::new(bundle))
    }

    fn of(
        code: Option<&str>,
        entrypoint: Option<&str>,
        bundle: Option<(BundleDigest, Arc<Bundle>)>,
        old: Option<&Source>,
    ) -> Result<Source, Vec<FieldError>> {
        let given = Given {
            code: code.map(ToOwned::to_owned),
            entrypoint: entrypoint.map(ToOwned::to_owned),
            bundle,
            ..Given::default()
        };
        source(ExecutionMode::App, Environment::Python, given, old)
    }

    fn sent() -> Option<(BundleDigest, Arc<Bundle>)> {
        Some(files(&[
            ("main.py", "1"),
            ("pkg/hooks.py", "2"),
            ("bad.py", "3"),
        ]))
    }

    /// Code, entry point and its file.
    fn shown(source: &Source) -> (String, Option<String>, Option<String>) {
        match source {
            Source::App {
                code,
                entrypoint,
                bundle,
                ..
            } => (
                code.to_string(),
                entrypoint.as_ref().map(ToString::to_string),
                bundle.as_ref().map(|bundle| bundle.file.clone()),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_is_one_file_or_several_with_an_entry_point_in_them() {
        let single = of(Some("0"), None, None, None).unwrap();
        let several = of(None, None, sent(), None).unwrap();
        let hooks = of(None, Some("pkg.hooks:run"), sent(), None).unwrap();
        let owned = |text: &str| Some(text.to_owned());
        let alone = |code: &str, entrypoint| (code.to_owned(), entrypoint, None);
        assert_eq!(shown(&several), ("1".into(), None, owned("main.py")));
        let at_hooks = ("2".into(), owned("pkg.hooks:run"), owned("pkg/hooks.py"));
        assert_eq!(shown(&hooks), at_hooks);
        let (f, main) = (Some("main:f"), Some("main:main"));
        for (made, expected) in [
            (of(None, None, None, Some(&single)), alone("0", None)),
            (
                of(None, f, None, Some(&single)),
                alone("0", owned("main:f")),
            ),
            (of(None, main, None, Some(&single)), alone("0", None)),
            // The entry point stays when new files come.
            (of(None, None, sent(), Some(&hooks)), at_hooks.clone()),
            (of(None, main, sent(), Some(&hooks)), shown(&several)),
            // What was shown can be sent back.
            (of(Some("1"), None, sent(), Some(&several)), shown(&several)),
            (of(Some("4"), None, None, Some(&several)), alone("4", None)),
            (
                of(Some("4"), f, None, Some(&hooks)),
                alone("4", owned("main:f")),
            ),
        ] {
            assert_eq!(shown(&made.unwrap()), expected);
        }
    }

    #[test]
    fn what_is_neither_one_file_nor_several_is_refused_by_its_field() {
        let hooks = of(None, Some("pkg.hooks:run"), sent(), None).unwrap();
        let not_text = {
            let mut bundle = Bundle::default();
            bundle.add("main.py", vec![0xff]).unwrap();
            (BundleDigest::of(&bundle.encode()), Arc::new(bundle))
        };
        for (made, field) in [
            (of(Some("4"), None, sent(), None), "bundle"),
            (of(None, None, Some(not_text), None), "bundle"),
            (of(None, Some("other:main"), sent(), None), "entrypoint"),
            (of(None, Some("main"), sent(), None), "entrypoint"),
            (of(Some("4"), Some("other:main"), None, None), "entrypoint"),
            // It was the entry point of files that are gone.
            (of(Some("4"), None, None, Some(&hooks)), "entrypoint"),
            (of(None, None, Some(files(&[])), None), "entrypoint"),
        ] {
            let faults = made.unwrap_err();
            assert_eq!(faults[0].field, field, "{faults:?}");
        }
    }
}
