//! The Node host: its modules, and how the interpreter is started with them.

use super::newborn::SCRIPT_FD;
use std::ffi::{CString, NulError};
use std::path::Path;

/// Reads the host's modules from a descriptor, and runs the last. None of its names is a function's global.
const BOOTSTRAP: &str = "\
{
  const fs = require('node:fs'), v8 = require('node:v8'), vm = require('node:vm'), theirs = require;
  const size = fs.fstatSync(5).size, text = Buffer.alloc(size);
  fs.readSync(5, text, 0, size, 0);
  fs.closeSync(5);
  const known = new Map();
  const ask = (name) => known.get(name)?.exports ?? theirs(name);
  let last;
  for (const [name, source] of JSON.parse(text)) {
    last = { exports: {} };
    known.set(`./${name}.js`, last);
    const filename = `tollgate:${name}`;
    const make = vm.compileFunction(source, ['exports', 'require', 'module'], { filename });
    make(last.exports, ask, last);
  }
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  last.exports.main((url) => import(url), collect);
  try { fs.writeSync(6, process.version) } catch {}
  fs.closeSync(6);
}
";
const _: () = assert!(SCRIPT_FD == 5);

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../hosts/node/", $name, ".js")))),+]
    };
}

/// The host, in the order in which its modules need each other.
pub(super) const MODULES: [(&str, &str); 11] = modules![
    "frames", "logs", "results", "http", "client", "refused", "check", "failures", "files", "fit",
    "worker",
];

/// Of a worker's memory, what new values may take, as a part; and the least and the most, in MiB.
const NEW_PART: u32 = 16;
const NEW_MIN_MB: u32 = 1;
const NEW_MAX_MB: u32 = 16;

/// The program's arguments for a worker with this much memory.
pub(super) fn arguments(program: &Path, memory_mb: u32) -> Result<Vec<CString>, NulError> {
    let new_mb = (memory_mb / NEW_PART).clamp(NEW_MIN_MB, NEW_MAX_MB);
    let named = CString::new(program.as_os_str().as_encoded_bytes());
    let flags = [
        // What is in the heap is bounded by the engine, so that it can say so; the rest from outside.
        format!("--max-old-space-size={memory_mb}"),
        format!("--max-semi-space-size={new_mb}"),
        "--experimental-vm-modules".to_owned(),
        "--no-warnings".to_owned(),
        "--input-type=commonjs".to_owned(),
        "-e".to_owned(),
        BOOTSTRAP.to_owned(),
    ];
    std::iter::once(named)
        .chain(flags.into_iter().map(CString::new))
        .collect()
}
