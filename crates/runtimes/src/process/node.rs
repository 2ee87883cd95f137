//! What is particular to Node: finding one that suits, what the kernel opens to start it, and how it ends when its
//! heap is full.

use super::config::{DiscoverError, Interpreter, question};
use super::zygote::{Beyond, Exit};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use tollgate_core::invocations::LogLine;

/// The oldest Node that the host runs on.
pub(super) const NODE_MIN: (u32, u32) = (20, 12);
/// What Node is asked: one JSON object on one line.
const QUESTION: &str = "\
const [major, minor] = process.versions.node.split('.').map(Number);
console.log(JSON.stringify([[major, minor], process.execPath, []]))";
/// The part of an executable that names the program's loader.
const PT_INTERP: u32 = 3;
/// Longest name of a loader.
const LOADER_BYTES: u64 = 4096;

impl Interpreter {
    /// Asks `program`, which may be a wrapper, for the Node behind it.
    ///
    /// # Errors
    /// [`DiscoverError`].
    pub fn find_node(program: &Path) -> Result<Self, DiscoverError> {
        question(program, &["-e", QUESTION], "Node", NODE_MIN)
    }
}

/// What the kernel opens to run `program`: itself, and its loader if it names one.
pub(super) fn programs(program: &Path) -> Vec<PathBuf> {
    let mut opened = vec![program.to_owned()];
    opened.extend(loader(program).ok().flatten());
    opened
}

/// The loader that a 64-bit executable of this machine's byte order names.
fn loader(program: &Path) -> io::Result<Option<PathBuf>> {
    let mut file = File::open(program)?;
    let mut head = [0_u8; 64];
    file.read_exact(&mut head)?;
    if head[..5] != *b"\x7fELF\x02" {
        return Ok(None);
    }
    let (start, size) = (long(&head, 32), u64::from(short(&head, 54)));
    for number in 0..u64::from(short(&head, 56)) {
        let mut part = [0_u8; 56];
        file.seek(SeekFrom::Start(start.saturating_add(number * size)))?;
        file.read_exact(&mut part)?;
        let kind = u32::from_ne_bytes([part[0], part[1], part[2], part[3]]);
        if kind == PT_INTERP {
            file.seek(SeekFrom::Start(long(&part, 8)))?;
            let mut name = Vec::new();
            let length = long(&part, 32).min(LOADER_BYTES);
            file.take(length).read_to_end(&mut name)?;
            name.retain(|&byte| byte != 0);
            return Ok(String::from_utf8(name).ok().map(PathBuf::from));
        }
    }
    Ok(None)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
}

/// What the engine says as it ends its process because the heap is full, and with what that begins.
const HEAP_IS_FULL: &str = "JavaScript heap out of memory";
const LAST_GCS: &str = "<--- Last few GCs --->";

/// How a worker ended, whose engine may have ended it because the heap was full. What the engine told of it is then
/// taken out of the logs.
pub(super) fn heap_is_full(exit: Option<Exit>, logs: &mut Vec<LogLine>) -> Option<Exit> {
    let by_itself = matches!(
        exit,
        Some(Exit::Signal(libc::SIGABRT | libc::SIGTRAP | libc::SIGILL))
    );
    if !by_itself || !logs.iter().any(|line| line.message.contains(HEAP_IS_FULL)) {
        return exit;
    }
    if let Some(begins) = logs.iter().position(|line| line.message == LAST_GCS) {
        logs.truncate(begins);
    }
    Some(Exit::OutOfMemory(Beyond::Own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_a_program_is_found() {
        let own = std::env::current_exe().unwrap();
        let opened = programs(&own);
        assert_eq!(opened[0], own);
        assert!(
            opened[1..].iter().all(|loader| loader.exists()),
            "{opened:?}"
        );
        assert_eq!(programs("/etc/hostname".as_ref()).len(), 1);
    }
}
