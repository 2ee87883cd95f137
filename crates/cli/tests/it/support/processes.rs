//! A look at the processes of this machine.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;

/// A process and when it started, because numbers are used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    parent: i32,
    started: u64,
    name: String,
}

impl Process {
    /// None for a process that does not exist or has ended.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        if matches!(fields[0], "Z" | "X") {
            return None;
        }
        let (parent, started) = (fields[1].parse().ok()?, fields[19].parse().ok()?);
        Some(Self {
            pid,
            parent,
            started,
            name,
        })
    }

    /// Whether this very process still runs.
    pub(crate) fn runs(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Ends it at once. For what a test must not leave behind.
    pub(crate) fn kill(&self) {
        if let (true, Some(pid)) = (self.runs(), Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether a process stands still.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ");
    after_name.is_some_and(|(_, tail)| tail.starts_with('T'))
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

/// Everything below `pid`.
pub(crate) fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(child.clone());
        }
    }
    found
}

/// Everything whose current folder is `folder` or below it.
pub(crate) fn inside(folder: &Path) -> Vec<Process> {
    let mut processes = all();
    processes.retain(|process| {
        fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|cwd| cwd.starts_with(folder))
    });
    processes
}

/// Sends a signal to a process that is there.
pub(crate) fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
