//! What stands between function code and the machine, as a closed type.
//!
//! It is a report of what a runtime has put up, made once by whoever did it. It must never be a
//! wish: a wall is listed as missing unless it stands.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One of the walls around function code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// Only listed system calls (seccomp). Sockets, new processes and programs are not among them.
    SystemCalls,
    /// Only the interpreter's files, read-only, and the worker's own scratch folder (Landlock).
    Files,
    /// A user that owns nothing, when the server runs as root; no capability in any case.
    User,
    /// A file tree of its own, in which the server's files do not exist (mount namespace).
    Root,
    /// No other processes in sight, and none that outlives the host (PID namespace).
    Processes,
    /// No network interface, no shared memory with others (network and IPC namespaces).
    Network,
    /// A scratch folder in memory for each worker, of bounded size, gone with the worker.
    Scratch,
    /// A bound on each worker's threads (user namespace).
    Threads,
    /// A bound on the memory and processes of all workers together (cgroup).
    Memory,
    /// Signals and abstract sockets end at the worker (Landlock, ABI 6).
    Signals,
}

impl Wall {
    /// All walls, the most important first.
    pub const ALL: [Self; 10] = [
        Self::SystemCalls,
        Self::Files,
        Self::User,
        Self::Root,
        Self::Processes,
        Self::Network,
        Self::Scratch,
        Self::Threads,
        Self::Memory,
        Self::Signals,
    ];

    /// The name for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SystemCalls => "system_calls",
            Self::Files => "files",
            Self::User => "user",
            Self::Root => "root",
            Self::Processes => "processes",
            Self::Network => "network",
            Self::Scratch => "scratch",
            Self::Threads => "threads",
            Self::Memory => "memory",
            Self::Signals => "signals",
        }
    }

    /// Whether function code never runs without it while confinement is on.
    pub const fn is_required(self) -> bool {
        matches!(self, Self::SystemCalls | Self::Files)
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The walls that stand: all but those that are named, each with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Walls {
    missing: BTreeMap<Wall, String>,
}

impl Walls {
    /// Notes that a wall does not stand.
    pub fn lacks(&mut self, wall: Wall, reason: impl Into<String>) {
        // The first reason is the cause; later ones follow from it.
        self.missing.entry(wall).or_insert_with(|| reason.into());
    }

    /// Whether it stands.
    pub fn stands(&self, wall: Wall) -> bool {
        !self.missing.contains_key(&wall)
    }

    /// Why it does not stand; none if it does.
    pub fn reason(&self, wall: Wall) -> Option<&str> {
        self.missing.get(&wall).map(String::as_str)
    }

    /// The walls that do not stand, with the reasons.
    pub fn missing(&self) -> impl Iterator<Item = (Wall, &str)> {
        self.missing
            .iter()
            .map(|(&wall, reason)| (wall, reason.as_str()))
    }
}

/// How function code is confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// The operator has switched it off: code does what the server's user may do.
    Off,
    /// On, with these walls. The required ones stand.
    On(Walls),
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls = match self {
            Self::Off => return f.write_str("sandbox off"),
            Self::On(walls) => walls,
        };
        let standing = Wall::ALL.into_iter().filter(|&wall| walls.stands(wall));
        let names: Vec<_> = standing.map(Wall::as_str).collect();
        write!(f, "sandbox on: {}", names.join(", "))?;
        for (position, (wall, reason)) in walls.missing().enumerate() {
            let lead = if position == 0 { "; missing: " } else { ", " };
            write!(f, "{lead}{wall} ({reason})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_missing_and_why() {
        let mut walls = Walls::default();
        walls.lacks(Wall::Memory, "no cgroup can be written");
        walls.lacks(Wall::Memory, "a later reason");
        let text = Confinement::On(walls.clone()).to_string();
        assert!(text.contains("system_calls, files"), "{text}");
        assert!(
            text.ends_with("; missing: memory (no cgroup can be written)"),
            "{text}"
        );
        assert!(!walls.stands(Wall::Memory) && walls.stands(Wall::Root));
        assert_eq!(Confinement::Off.to_string(), "sandbox off");
    }

    #[test]
    fn every_wall_has_one_name() {
        for wall in Wall::ALL {
            let name = serde_json::to_value(wall).unwrap();
            assert_eq!(name, wall.as_str());
        }
    }
}
