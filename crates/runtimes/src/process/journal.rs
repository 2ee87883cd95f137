//! What a worker leaves of its output when it ends without an answer: memory that it shares with the
//! server. In one part it keeps its newest log lines, in two others is what native code wrote to its
//! descriptors 1 and 2.
//!
//! Everything in there may be forged: it is read as text, within the limits of logs, and what makes
//! no sense is left out.

use super::protocol::{WireLine, timestamp};
use rustix::fs::{MemfdFlags, SealFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use tollgate_core::invocations::LogLine;
use tollgate_core::{limits, text};

/// Bytes of the log lines, and of each of the two texts after the last end of a line. The host has
/// the same numbers.
const LINES_BYTES: usize = 252 * 1024;
const REST_BYTES: usize = 2048;
const JOURNAL_BYTES: usize = LINES_BYTES + 2 * REST_BYTES;
/// What a ring begins with: how much was written to it in all, and when first.
const RING_HEAD: usize = 16;
/// Bytes that native code may write to one descriptor between two looks of the host.
const NATIVE_BYTES: usize = limits::LOG_BYTES;

/// Names and levels of the lines from descriptors 1 and 2.
const STREAMS: [(&str, &str); 2] = [("stdout", "INFO"), ("stderr", "ERROR")];

/// The memory, at the server's end. Until a worker's host has handed it out it is empty.
#[derive(Default)]
pub(super) struct Journal(OnceLock<Parts>);

struct Parts {
    lines: OwnedFd,
    native: [OwnedFd; 2],
    /// Its host goes on where it has taken over, and leaves zeros behind.
    goes_on: bool,
}

impl Journal {
    /// Fresh memory. What is never written to takes none.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub(super) fn new() -> io::Result<Self> {
        let parts = Parts {
            lines: memory("tollgate-journal", JOURNAL_BYTES)?,
            native: [
                memory("tollgate-stdout", NATIVE_BYTES)?,
                memory("tollgate-stderr", NATIVE_BYTES)?,
            ],
            goes_on: false,
        };
        Ok(Self(OnceLock::from(parts)))
    }

    /// Takes what a worker's host has made and handed out: the descriptors of [`Self::descriptors`].
    pub(super) fn fill(&self, descriptors: [OwnedFd; 3]) {
        let [lines, out, err] = descriptors;
        // It is handed out once.
        let _ = self.0.set(Parts {
            lines,
            native: [out, err],
            goes_on: true,
        });
    }

    /// What the worker gets of it, in the order that its host expects.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn descriptors(&self) -> io::Result<[OwnedFd; 3]> {
        let parts = self.0.get().ok_or(io::ErrorKind::NotFound)?;
        let [out, err] = &parts.native;
        Ok([parts.lines.try_clone()?, out.try_clone()?, err.try_clone()?])
    }

    /// The log lines of a call that got no answer: the newest, and a note where some were cut.
    pub(super) fn read(&self) -> Vec<LogLine> {
        let Some(parts) = self.0.get() else {
            return Vec::new();
        };
        let bytes = read(&parts.lines, JOURNAL_BYTES);
        let mut lines = lines_of(&bytes);
        for (fd, (logger, level)) in parts.native.iter().zip(STREAMS) {
            lines.extend(native_lines(fd, logger, level, parts.goes_on));
        }
        newest(lines)
    }
}

impl Journal {
    /// Log lines that were written after so many bytes of them, and how many bytes there are now. What
    /// was written faster than it is looked at is left out.
    pub(super) fn since(&self, told: u64) -> (Vec<LogLine>, u64) {
        let bytes = self.0.get().map(|parts| read(&parts.lines, LINES_BYTES));
        let Some(ring) = bytes.and_then(|bytes| Ring::read(&bytes)) else {
            return (Vec::new(), 0);
        };
        // Fewer than before: another call has begun, or somebody forged them.
        let new = ring.total.checked_sub(told).unwrap_or(ring.total);
        let kept = ring.newest.len();
        let new = usize::try_from(new).unwrap_or(kept).min(kept);
        let mut lines = ring.newest[kept - new..].split(|&byte| byte == b'\n');
        if ring.cut && new == kept {
            lines.next();
        }
        let lines = lines.filter_map(|line| serde_json::from_slice::<WireLine<'_>>(line).ok());
        (lines.map(WireLine::into_line).collect(), ring.total)
    }
}

/// Memory of a fixed size that both sides see: it could otherwise be grown without bound.
fn memory(name: &str, bytes: usize) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, bytes as u64)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory)
}

fn read(memory: &OwnedFd, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let length = rustix::io::pread(memory, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

/// Log lines and unfinished lines of a journal.
fn lines_of(journal: &[u8]) -> Vec<LogLine> {
    let mut found = Vec::new();
    let Some((first, rest)) = journal.split_at_checked(LINES_BYTES) else {
        return found;
    };
    let Some(kept) = Ring::read(first) else {
        return found;
    };
    let mut pieces = kept.newest.split(|&byte| byte == b'\n');
    if kept.cut {
        // It may have lost its beginning.
        pieces.next();
    }
    found.extend(
        pieces
            .filter_map(|line| serde_json::from_slice::<WireLine<'_>>(line).ok())
            .map(WireLine::into_line),
    );
    if kept.cut {
        let at = found
            .first()
            .map_or_else(|| timestamp(0.0), |line| line.timestamp);
        let message = "The earlier lines of this run were cut; these are its newest";
        found.insert(0, note(at, message));
    }
    for (ring, (logger, level)) in rest.chunks(REST_BYTES).zip(STREAMS) {
        let Some(ring) = Ring::read(ring).filter(|ring| !ring.newest.is_empty()) else {
            continue;
        };
        let beginning = if ring.cut { "[…] " } else { "" };
        found.push(LogLine {
            timestamp: ring.since,
            level: level.to_owned(),
            logger: logger.to_owned(),
            message: format!("{beginning}{}", String::from_utf8_lossy(&ring.newest)),
        });
    }
    found
}

/// What native code wrote and the host had not taken over.
fn native_lines(memory: &OwnedFd, logger: &str, level: &str, goes_on: bool) -> Vec<LogLine> {
    let Ok(status) = rustix::fs::fstat(memory) else {
        return Vec::new();
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of this century fit into an f64"
    )]
    let at = timestamp(status.st_mtime as f64 + status.st_mtime_nsec as f64 / 1e9);
    let bytes = read(memory, NATIVE_BYTES);
    // Zeros may be part of it, and lie where somebody went further without writing.
    let end = bytes.iter().rposition(|&byte| byte != 0);
    let mut written = bytes[..end.map_or(0, |last| last + 1)].to_vec();
    written.dedup_by(|next, before| *next == 0 && *before == 0);
    let written = String::from_utf8_lossy(&written);
    let written = match goes_on {
        true => written.trim_start_matches('\0'),
        false => &written,
    };
    let mut lines: Vec<_> = written
        .lines()
        .map(|line| LogLine {
            timestamp: at,
            level: level.to_owned(),
            logger: logger.to_owned(),
            message: line.to_owned(),
        })
        .collect();
    if end.is_some_and(|last| last + 1 == NATIVE_BYTES) {
        let message = format!("More was written to {logger} than there was room for; it was cut");
        lines.push(note(at, &message));
    }
    lines
}

/// As many of the last lines as fit the limits of logs.
fn newest(lines: Vec<LogLine>) -> Vec<LogLine> {
    let (mut kept, mut bytes) = (Vec::new(), 0);
    let total = lines.len();
    for mut line in lines.into_iter().rev() {
        let room = limits::LOG_BYTES - bytes;
        line.message = text::prefix(&line.message, room).to_owned();
        bytes += line.message.len();
        kept.push(line);
        if bytes >= limits::LOG_BYTES || kept.len() >= limits::LOG_LINES {
            break;
        }
    }
    if kept.len() < total
        && let Some(first) = kept.last()
    {
        let at = first.timestamp;
        kept.push(note(
            at,
            "The earlier lines of this run were cut; these are its newest",
        ));
    }
    kept.reverse();
    kept
}

fn note(timestamp: tollgate_core::time::Timestamp, message: &str) -> LogLine {
    LogLine {
        timestamp,
        level: "WARNING".to_owned(),
        logger: "tollgate".to_owned(),
        message: message.to_owned(),
    }
}

/// The newest bytes of something.
struct Ring {
    newest: Vec<u8>,
    /// How many there were in all.
    total: u64,
    cut: bool,
    since: tollgate_core::time::Timestamp,
}

impl Ring {
    /// None where nothing was written.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (head, held) = bytes.split_at_checked(RING_HEAD)?;
        let number = |at: usize| {
            let bytes = head[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let total = number(0);
        let size = held.len() as u64;
        if total == 0 || size == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "microseconds of this century fit into an f64"
        )]
        let since = timestamp(number(8) as f64 / 1e6);
        // Both are below `size`, the length of something in memory.
        let at = usize::try_from(total % size).unwrap_or_default();
        let cut = total > size;
        let newest = if cut {
            [&held[at..], &held[..at]].concat()
        } else {
            held[..usize::try_from(total).unwrap_or_default()].to_vec()
        };
        Some(Self {
            newest,
            total,
            cut,
            since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(size: usize, written: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; size];
        bytes[..8].copy_from_slice(&(written.len() as u64).to_le_bytes());
        bytes[8..16].copy_from_slice(&1_500_000_u64.to_le_bytes());
        for (at, &byte) in written.iter().enumerate() {
            bytes[RING_HEAD + at % (size - RING_HEAD)] = byte;
        }
        bytes
    }

    fn journal(lines: &[u8], out: &[u8], err: &[u8]) -> Vec<u8> {
        [
            ring(LINES_BYTES, lines),
            ring(REST_BYTES, out),
            ring(REST_BYTES, err),
        ]
        .concat()
    }

    fn messages(journal: &[u8]) -> Vec<String> {
        let lines = lines_of(journal).into_iter();
        lines.map(|line| line.message).collect()
    }

    #[test]
    fn a_whole_journal_is_read_as_it_was_written() {
        let lines = b"[1.5,\"INFO\",\"stdout\",\"a\"]\n[2.5,\"INFO\",\"stdout\",\"b\"]\n";
        assert_eq!(messages(&journal(lines, b"out", b"")), ["a", "b", "out"]);
        assert_eq!(messages(&journal(b"", b"", b"")), [""; 0]);
    }

    #[test]
    fn of_too_many_lines_the_newest_are_kept_and_it_says_so() {
        let mut lines = Vec::new();
        for number in 0..20_000 {
            lines.extend(format!("[1.5,\"INFO\",\"stdout\",\"line {number}\"]\n").bytes());
        }
        let found = messages(&journal(&lines, b"", &[b'x'; 5000]));
        assert!(found[0].contains("were cut"), "{}", found[0]);
        assert_eq!(found[found.len() - 2], "line 19999");
        let last = found.last().unwrap();
        assert!(
            last.starts_with("[…] xxx") && last.len() < REST_BYTES,
            "{last}"
        );
        let numbers = found[1..found.len() - 1].iter();
        let numbers: Vec<u32> = numbers.map(|line| line[5..].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn a_forged_journal_gives_what_makes_sense_in_it() {
        let lines = b"nonsense\n[1e300,\"LOUD\",\"root\",\"a\"]\n\xff\xfe\n[1]\n[1,\"INFO\",\"stdout\",\"b\"]";
        assert_eq!(
            messages(&journal(lines, b"", b"\xff")),
            ["a", "b", "\u{fffd}"]
        );
        let mut forged = journal(b"", b"", b"");
        forged[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(messages(&forged).len(), 1);
        assert_eq!(messages(&forged[..100]), [""; 0]);
        assert_eq!(messages(&vec![0xff; JOURNAL_BYTES]).len(), 3);
    }

    #[test]
    fn no_more_is_kept_than_the_limits_allow() {
        let line = |message: String| LogLine {
            message,
            ..note(timestamp(1.0), "")
        };
        let many: Vec<_> = (0..limits::LOG_LINES + 9)
            .map(|n| line(n.to_string()))
            .collect();
        let kept = newest(many);
        assert_eq!(kept.len(), limits::LOG_LINES + 1);
        assert_eq!(
            kept.last().unwrap().message,
            (limits::LOG_LINES + 8).to_string()
        );
        let large = vec![line("x".repeat(limits::LOG_BYTES)), line("y".repeat(9))];
        let kept = newest(large);
        let bytes: usize = kept.iter().map(|line| line.message.len()).sum();
        assert!(bytes <= limits::LOG_BYTES && kept.last().unwrap().message == "y".repeat(9));
    }
}
