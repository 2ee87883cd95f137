//! Bounds the memory of all workers together where no control group does: it looks several times a
//! second and kills the largest.
//!
//! Each worker has a bound of its own, which the kernel holds; this one protects the machine. It must
//! never count twice what workers share with the host that forked them, and never signal a process
//! that is not the host's.

use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Between two looks. Filling memory takes about a second for each gigabyte, so this lets some
/// hundred megabytes pass.
const INTERVAL: Duration = Duration::from_millis(100);
/// A launcher, a host and its workers are three generations; whoever starts the launcher through
/// other programs adds some.
const GENERATIONS_MAX: usize = 8;

/// One process and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// Bytes beyond its parent's: what it has itself, since the rest came with the fork.
    own: u64,
    leaf: bool,
}

/// Watches everything below `root` until that has ended. `kills` counts what was killed.
pub(super) async fn watch(
    root: u32,
    bound: u64,
    kills: Arc<AtomicU64>,
    mut ended: watch::Receiver<Option<String>>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ended.wait_for(Option::is_some) => return,
            _ = ticks.tick() => {}
        }
        if let Some(victim) = too_large(&below(root), bound) {
            kill(victim, bound, &kills);
        }
    }
}

/// The one that has to go.
fn too_large(processes: &[Process], bound: u64) -> Option<Process> {
    let total: u64 = processes.iter().map(|process| process.own).sum();
    let workers = processes.iter().filter(|process| process.leaf);
    workers
        .max_by_key(|process| process.own)
        .filter(|_| total > bound)
        .copied()
}

fn kill(victim: Process, bound: u64, kills: &AtomicU64) {
    let Some(pid) = i32::try_from(victim.pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    // The descriptor first, then the question whose child it is: a number may have been given to
    // another process meanwhile, a descriptor may not.
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if parent(victim.pid) != Some(victim.parent) {
        return;
    }
    // Before the end can be noticed, which asks for this number.
    kills.fetch_add(1, Ordering::SeqCst);
    tracing::warn!(
        worker.pid = victim.pid,
        worker.bytes = victim.own,
        bound,
        "workers.out_of_memory"
    );
    // Gone already, then.
    let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
}

/// `root` and everything below it.
fn below(root: u32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut level = vec![(root, 0, 0)];
    for _ in 0..GENERATIONS_MAX {
        let mut next = Vec::new();
        for (pid, parent, inherited) in level {
            let resident = resident(pid).unwrap_or(0);
            let children = children(pid);
            found.push(Process {
                pid,
                parent,
                own: resident.saturating_sub(inherited),
                leaf: children.is_empty() && parent != 0,
            });
            next.extend(children.into_iter().map(|child| (child, pid, resident)));
        }
        level = next;
    }
    found
}

/// Whether the kernel tells whose child a process is, without which there is nothing to watch.
pub(super) fn can_watch() -> bool {
    fs::read_to_string("/proc/thread-self/children").is_ok()
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut found = Vec::new();
    for list in lists {
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, closing brackets included.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, own: u64, leaf: bool) -> Process {
        Process {
            pid,
            parent,
            own,
            leaf,
        }
    }

    #[test]
    fn the_largest_worker_goes_once_all_are_over_the_bound() {
        let all = [
            process(1, 0, 900, false),
            process(2, 1, 40, true),
            process(3, 1, 70, true),
        ];
        assert_eq!(too_large(&all, 1010), None);
        assert_eq!(too_large(&all, 1009), Some(all[2]));
        // The host alone is never the one.
        assert_eq!(too_large(&all[..1], 1), None);
    }

    #[test]
    fn a_child_counts_with_what_it_has_itself() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let own = std::process::id();
        assert_eq!(parent(child.id()), Some(own));
        let found = below(own);
        let of = |pid| found.iter().find(|process| process.pid == pid).copied();
        assert!(of(own).is_some_and(|own| own.own > 0 && !own.leaf));
        let child_seen = of(child.id()).unwrap();
        assert!(
            child_seen.leaf && child_seen.parent == own,
            "{child_seen:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
