//! Versions of more than one file, in real workers.

use crate::support::{self, Python, SITE, failure, value};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tollgate_core::functions::{
    Bundle, BundleDigest, BundleRef, Entrypoint, Environment, Executable, Source,
};
use tollgate_core::ids::SiteId;
use tollgate_core::ports::runtime::{HostCalls, LoadedVariables, Loading, Runtime as _};
use tollgate_core::tasks::{Failure, FailureKind};

/// A place for files, as the store is, and variables for every function.
#[derive(Debug, Default)]
struct Shelf {
    files: Mutex<HashMap<(SiteId, String), Vec<u8>>>,
    variables: Mutex<BTreeMap<String, String>>,
}

#[async_trait]
impl Loading for Shelf {
    async fn variables(&self, _: &Executable) -> Result<LoadedVariables, Failure> {
        let variables = self.variables.lock().clone().into_iter();
        Ok(variables
            .map(|(name, value)| (name, value.into()))
            .collect())
    }

    async fn files(&self, executable: &Executable, bundle: &BundleRef) -> Result<Vec<u8>, Failure> {
        let key = (executable.site_id, bundle.digest.to_string());
        let found = self.files.lock().get(&key).cloned();
        found.ok_or_else(|| Failure::new(FailureKind::Unavailable, "no such files"))
    }

    fn host(&self, _: &Executable) -> Arc<dyn HostCalls> {
        Arc::new(support::Directory)
    }
}

/// A runtime with such a place behind it.
pub(crate) struct House {
    pub(crate) python: Python,
    shelf: Arc<Shelf>,
    language: Environment,
}

pub(crate) fn house_of(python: Python, language: Environment) -> House {
    let shelf = Arc::new(Shelf::default());
    python.runtime.attach(Arc::clone(&shelf) as _);
    House {
        python,
        shelf,
        language,
    }
}

fn house() -> Option<House> {
    Some(house_of(support::python()?, Environment::Python))
}

macro_rules! house_or_skip {
    () => {
        match house() {
            Some(house) => house,
            None => return,
        }
    };
}

impl House {
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut variables = self.shelf.variables.lock();
        variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn function(
        &self,
        entrypoint: Option<&str>,
        files: &[(&str, &[u8])],
    ) -> Arc<Executable> {
        let mut bundle = Bundle::default();
        for (path, content) in files {
            bundle.add(path, content.to_vec()).unwrap();
        }
        let encoded = bundle.encode();
        let digest = BundleDigest::of(&encoded);
        let key = (SITE, digest.to_string());
        self.shelf.files.lock().insert(key, encoded);
        let entrypoint: Option<Entrypoint> = entrypoint.map(|it| it.parse().unwrap());
        let named = entrypoint.clone().unwrap_or_default();
        let file = named.file(self.language, &bundle).unwrap().to_owned();
        let code = std::str::from_utf8(bundle.file(&file).unwrap()).unwrap();
        let source = Source::App {
            environment: self.language,
            code: code.into(),
            entrypoint,
            bundle: Some(BundleRef {
                digest,
                file,
                files: bundle.len(),
                bytes: bundle.bytes(),
            }),
        };
        Arc::new(support::executable("probe", source))
    }
}

const MAIN: &[u8] = br#"
import importlib.resources
import os
from pathlib import Path

import texts
from pkg import deep
from pkg.inner.more import NAME

HERE = Path(__file__).parent
CALLS = []

def main(params):
    CALLS.append(1)
    return {
        "beside": (HERE / "templates" / "mail.txt").read_text(),
        "bytes": list((HERE / "data.bin").read_bytes()),
        "resource": importlib.resources.files("pkg").joinpath("list.txt").read_text(),
        "names": [texts.GREETING, deep.VALUE, NAME],
        "module": [__name__, os.path.basename(__file__)],
        "calls": len(CALLS),
    }
"#;

const FILES: &[(&str, &[u8])] = &[
    ("main.py", MAIN),
    ("texts.py", b"GREETING = 'hello'\n"),
    ("templates/mail.txt", "Dear \u{fc}\n".as_bytes()),
    ("data.bin", &[0, 255, 10]),
    ("pkg/__init__.py", b""),
    (
        "pkg/deep.py",
        b"from .inner import more\nVALUE = more.NAME * 2\n",
    ),
    ("pkg/inner/__init__.py", b""),
    ("pkg/inner/more.py", b"NAME = 'n'\n"),
    ("pkg/list.txt", b"one"),
];

#[tokio::test]
async fn modules_templates_and_data_lie_beside_the_code() {
    let house = house_or_skip!();
    let function = house.function(None, FILES);
    for calls in 1..=3 {
        let report = house.python.call(&function, json!({})).await;
        let expected = json!({
            "beside": "Dear \u{fc}\n", "bytes": [0, 255, 10], "resource": "one",
            "names": ["hello", "nn", "n"], "module": ["main", "main.py"], "calls": calls,
        });
        assert_eq!(value(&report), expected);
    }
}

#[tokio::test]
async fn the_entry_point_may_be_any_function_of_any_module() {
    let house = house_or_skip!();
    let hooks =
        b"from . import names\ndef on_signup(params, user):\n    return [names.N, user['id']]\n";
    let files: &[(&str, &[u8])] = &[
        ("app/__init__.py", b""),
        ("app/hooks.py", hooks),
        ("app/names.py", b"N = 1\n"),
    ];
    let function = house.function(Some("app.hooks:on_signup"), files);
    let report = house.python.call(&function, json!({})).await;
    assert_eq!(value(&report), json!([1, 5]));

    let source = Source::App {
        environment: Environment::Python,
        code: "def greet(params): return 'hi'\n".into(),
        entrypoint: Some("main:greet".parse().unwrap()),
        bundle: None,
    };
    let single = Arc::new(support::executable("probe", source));
    let report = house.python.call(&single, json!({})).await;
    assert_eq!(value(&report), json!("hi"));
}

#[tokio::test]
async fn a_traceback_names_the_files_as_their_author_does() {
    let house = house_or_skip!();
    let files: &[(&str, &[u8])] = &[
        ("main.py", b"import json\nfrom lib import work\n\ndef main(params):\n    return work.half(params['of'])\n"),
        ("lib/__init__.py", b""),
        ("lib/work.py", b"def half(of):\n    # A comment.\n    return 1 // of\n"),
    ];
    let function = house.function(None, files);
    let report = house.python.call(&function, json!({"of": 0})).await;
    let failure = failure(&report);
    let trace = failure.traceback.as_deref().unwrap();
    assert!(
        trace.contains(r#"File "main.py", line 5, in main"#),
        "{trace}"
    );
    assert!(
        trace.contains(r#"File "lib/work.py", line 3, in half"#),
        "{trace}"
    );
    assert!(trace.contains("return 1 // of"), "{trace}");
    assert!(!trace.contains("/function/"), "{trace}");
}

#[tokio::test]
async fn what_does_not_load_says_in_which_file() {
    let house = house_or_skip!();
    for (main, lib, message, file) in [
        (
            "import lib\ndef main(p): pass\n",
            "x = (\n",
            "lib.py: SyntaxError",
            r#"File "lib.py", line 1"#,
        ),
        (
            "import lib\ndef main(p): pass\n",
            "\nimport absent\n",
            "No module named 'absent'",
            r#"File "lib.py", line 2"#,
        ),
        ("import lib\nx = 1\n", "", "no function named main", ""),
        (
            "from lib import main\n",
            "def main(): pass\n",
            "main takes no positional parameter",
            "",
        ),
    ] {
        let files = [("main.py", main.as_bytes()), ("lib.py", lib.as_bytes())];
        let report = house
            .python
            .call(&house.function(None, &files), json!({}))
            .await;
        let failure = failure(&report);
        assert_eq!(failure.kind, FailureKind::Load, "{failure:?}");
        assert!(failure.message.contains(message), "{failure:?}");
        let trace = failure.traceback.as_deref().unwrap_or_default();
        assert!(trace.contains(file), "{trace}");
    }
}

#[tokio::test]
async fn files_are_read_only_and_every_worker_has_its_own() {
    let house = house_or_skip!();
    let main = br#"
import os
from pathlib import Path
HERE = Path(__file__).parent

def main(params):
    refused = []
    for attempt in (
        lambda: (HERE / "main.py").write_text("x"),
        lambda: (HERE / "new.txt").write_text("x"),
        lambda: os.remove(HERE / "main.py"),
        lambda: os.rename(HERE / "main.py", HERE / "away.py"),
    ):
        try:
            attempt()
            refused.append(False)
        except PermissionError:
            refused.append(True)
    Path("own.txt").write_text("scratch is writable")
    return [refused, sorted(os.listdir(HERE))]
"#;
    let function = house.function(None, &[("main.py", main)]);
    for _ in 0..3 {
        let report = house.python.call(&function, json!({})).await;
        assert_eq!(
            value(&report),
            json!([[true, true, true, true], ["main.py"]])
        );
    }
}

#[tokio::test]
async fn as_many_files_as_there_may_be_arrive_whole() {
    let house = house_or_skip!();
    let main = b"
import hashlib, os
from pathlib import Path
HERE = Path(__file__).parent

def main(params):
    paths = sorted(str(it.relative_to(HERE)) for it in HERE.rglob('*') if it.is_file())
    total = hashlib.sha256()
    for path in paths:
        total.update((HERE / path).read_bytes())
    return [len(paths), total.hexdigest()]
";
    let large = vec![7_u8; 6 << 20];
    let names: Vec<String> = (0..1_000)
        .map(|number| format!("d{}/f{number}", number % 7))
        .collect();
    let mut files: Vec<(&str, &[u8])> = vec![("main.py", main), ("large", &large)];
    files.extend(names.iter().map(|name| (name.as_str(), name.as_bytes())));
    let function = house.function(None, &files);
    let report = house.python.call(&function, json!({})).await;
    let shown = value(&report);
    assert_eq!(shown[0], 1_002);
    let mut sorted = files.clone();
    sorted.sort_unstable();
    let whole: Vec<u8> = sorted
        .iter()
        .flat_map(|(_, content)| content.iter().copied())
        .collect();
    let digest = BundleDigest::of(&whole);
    assert_eq!(digest.as_str().strip_prefix("sha256:"), shown[1].as_str());
}

#[tokio::test]
async fn files_that_cannot_be_read_now_are_nobodys_fault() {
    let house = house_or_skip!();
    let function = house.function(None, &[("main.py", b"def main(p): pass\n")]);
    house.shelf.files.lock().clear();
    let report = house.python.call(&function, json!({})).await;
    assert_eq!(failure(&report).kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn the_entry_point_is_looked_for_before_anything_is_stored() {
    let house = house_or_skip!();
    let checked = async |code: &str, entrypoint: &str| {
        let source = Source::App {
            environment: Environment::Python,
            code: code.into(),
            entrypoint: Some(entrypoint.parse().unwrap()),
            bundle: None,
        };
        let hosts = tollgate_core::egress::EgressHosts::default();
        let checked = house.python.runtime.check(SITE, &source, &hosts).await;
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(checked("def hook(p): pass", "main:hook").await, Ok(()));
    let missing = checked("def main(p): pass", "main:hook").await.unwrap_err();
    assert!(missing.contains("no function named hook"), "{missing}");
    let needy = checked("def hook(a, b, c, d): pass", "main:hook")
        .await
        .unwrap_err();
    assert!(
        needy.contains("hook needs 4 positional parameters"),
        "{needy}"
    );
}

#[tokio::test]
async fn without_walls_each_version_still_has_its_own_files() {
    let Some(python) = support::python_with(|config| config.sandbox = false) else {
        return;
    };
    let house = house_of(python, Environment::Python);
    let main =
        |word: &str| format!("from texts import WORD\ndef main(p): return [WORD, {word:?}]\n");
    for word in ["one", "two", "three"] {
        let (main, texts) = (main(word), format!("WORD = {word:?}\n"));
        let files = [("main.py", main.as_bytes()), ("texts.py", texts.as_bytes())];
        let report = house
            .python
            .call(&house.function(None, &files), json!({}))
            .await;
        assert_eq!(value(&report), json!([word, word]));
    }
}
