//! A look at the processes of this machine, from outside of every namespace.

use std::fs;
use std::path::PathBuf;

/// A process and when it started, because numbers are used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i64,
    /// Its number in its own PID namespace.
    pub(crate) inner: i64,
    pub(crate) parent: i64,
    started: u64,
}

impl Process {
    /// None for a process that does not exist or has ended.
    pub(crate) fn read(pid: i64) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(fields[0], "Z" | "X") {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))?;
        Some(Self {
            pid,
            inner: numbers.split_whitespace().last()?.parse().ok()?,
            parent: fields[1].parse().ok()?,
            started: fields[19].parse().ok()?,
        })
    }

    /// Whether this very process still runs.
    pub(crate) fn runs(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Whether it gets no time.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map(|it| it.1);
        rest.is_some_and(|it| it.starts_with('T'))
    }

    /// Its scratch folder, seen from here.
    pub(crate) fn scratch(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/cwd", self.pid))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// A process and everything below it.
pub(crate) fn with_descendants(first: Process) -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = pids.filter_map(Process::read).collect();
    let mut found = vec![first];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].pid;
        found.extend(all.iter().filter(|it| it.parent == parent).cloned());
        next += 1;
    }
    found
}
