//! Whatever a call does to the scratch folder, the next one finds it as loading left it.

use super::left::each;
use crate::support::{function, python, value};
use serde_json::json;

/// What the module makes, and what a call finds, does, and must find.
const KINDS: &[(&str, &str, &str, &str)] = &[
    (
        "a folder closed to writing",
        "",
        "seen = os.listdir('.'); os.mkdir('a'); open('a/f', 'w').close(); os.chmod('a', 0o555)",
        "[]",
    ),
    (
        "a folder closed to everybody",
        "",
        "seen = os.listdir('.'); os.makedirs('a/b'); os.mkdir('c', 0o000); os.chmod('a/b', 0); os.chmod('a', 0o100)",
        "[]",
    ),
    (
        "a folder of the module that is removed",
        "import shutil\nD = tempfile.mkdtemp()",
        "open(D + '/f', 'w').write('1'); seen = len(os.listdir(D)); shutil.rmtree(D)",
        "1",
    ),
    (
        "a file of the module that is renamed",
        "open('tpl', 'w').write('x')",
        "seen = open('tpl').read(); os.rename('tpl', 'out')",
        "\"x\"",
    ),
    (
        "a file of the module that another one takes the place of",
        "open('tpl', 'w').write('x')",
        "seen = [open('tpl').read(), os.listdir('.')]; os.remove('tpl'); open('out', 'w').write('x')",
        "[\"x\", [\"tpl\"]]",
    ),
    (
        "a file in a folder of the module that is removed",
        "os.makedirs('a/b'); open('a/b/tpl', 'w').write('x')",
        "seen = open('a/b/tpl').read(); os.remove('a/b/tpl')",
        "\"x\"",
    ),
    (
        "a file of the module that is closed",
        "open('tpl', 'w').write('x')",
        "seen = open('tpl').read(); os.chmod('tpl', 0)",
        "\"x\"",
    ),
    (
        "the folder itself closed",
        "",
        "open('x', 'w').close(); seen = os.listdir('.'); os.chmod(os.getcwd(), 0)",
        "[\"x\"]",
    ),
    (
        "the folder itself closed to writing",
        "",
        "open('x', 'w').close(); seen = os.listdir('.'); os.chmod('.', 0o500)",
        "[\"x\"]",
    ),
    (
        "folders within each other, too many for a path",
        "",
        "seen = os.listdir('.')\n    for _ in range(150): os.mkdir('d' * 40); os.chdir('d' * 40)",
        "[]",
    ),
    (
        "links and pipes",
        "",
        "seen = sorted(os.listdir('.')); os.symlink('/etc', 'a'); os.symlink('gone', 'b'); open('d', 'w').close(); os.link('d', 'e')",
        "[]",
    ),
    (
        "names that are hard to write",
        "",
        "seen = os.listdir('.'); open(b'\\xff', 'w').close(); open('-rf', 'w').close(); os.mkdir('n' * 255)",
        "[]",
    ),
];

#[tokio::test]
async fn the_scratch_folder_is_as_loading_left_it() {
    let Some(python) = python() else {
        return;
    };
    for (kind, first, body, expected) in KINDS {
        let code =
            format!("import os, tempfile\n{first}\ndef main(p):\n    {body}\n    return seen");
        let expected = serde_json::from_str(expected).unwrap();
        for kept in [false, true] {
            each(&python, kind, &code, &expected, kept, 4).await;
        }
    }
}

/// What the module's files hold is the function's own, and so are its folders.
#[tokio::test]
async fn what_a_call_writes_to_files_and_folders_of_the_module_stays() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import os
open('count', 'w').write('0')
os.mkdir('cache')
def main(p):
    n = int(open('count').read()) + 1
    open('new', 'w').write(str(n)); os.replace('new', 'count')
    open(f'cache/{n}', 'w').close()
    return [n, len(os.listdir('cache')), sorted(os.listdir('.'))]
";
    let probe = function(code);
    for n in 1..=5 {
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), json!([n, n, ["cache", "count"]]));
    }
}

/// A file that is open still stays where it is, whatever folder it is in.
#[tokio::test]
async fn what_a_call_holds_open_stays() {
    let Some(python) = python() else {
        return;
    };
    let code = "\
import os
held = None
def main(p):
    global held
    if held is None:
        os.makedirs('a/b/c'); open('a/gone', 'w').close()
        held = open('a/b/c/log', 'w+')
    held.write('x'); held.flush()
    return [os.path.getsize('a/b/c/log'), os.path.exists('a/gone')]
";
    let probe = function(code);
    for n in 1..=5 {
        let report = python.call(&probe, json!({})).await;
        assert_eq!(value(&report), json!([n, n == 1]));
    }
}
