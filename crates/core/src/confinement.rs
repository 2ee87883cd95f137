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
    /// A bound on each worker's threads (control group, or user namespace).
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

    /// What it means that it does not stand.
    pub const fn without(self) -> &'static str {
        match self {
            Self::SystemCalls | Self::Files => "no function runs",
            Self::User => {
                "functions run as the server's own user, and the other walls alone keep them \
                           from what that user may do"
            }
            Self::Root => {
                "functions see the machine's file tree, and file rules alone keep them from it"
            }
            Self::Processes => {
                "functions share the machine's processes, and the list of system calls \
                                alone keeps them from signalling others"
            }
            Self::Network => {
                "functions share the machine's network, and the list of system calls alone \
                              keeps them from it"
            }
            Self::Scratch => {
                "functions' files lie in one folder for all, apart by file rules alone, and \
                              their number is not bounded"
            }
            Self::Threads => {
                "threads are counted for all functions together, so one can take those of \
                              all others"
            }
            Self::Memory => {
                "a function that takes too much memory is ended some hundredths of a second \
                             late, and meanwhile it is the machine's"
            }
            Self::Signals => {
                "the list of system calls alone keeps functions from signals and sockets of \
                              others"
            }
        }
    }

    /// Whether sites rely on it to be left alone by each other.
    pub const fn is_between_sites(self) -> bool {
        matches!(
            self,
            Self::Processes | Self::Scratch | Self::Threads | Self::Memory | Self::Signals
        )
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

    /// Notes that a wall stands after all: something else bears it.
    pub fn has(&mut self, wall: Wall) {
        self.missing.remove(&wall);
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

impl Confinement {
    /// One line for each wall that is missing: what that means, and why it is missing.
    pub fn missing(&self) -> Vec<String> {
        match self {
            Self::Off => vec![
                "functions.sandbox = \"off\": functions do whatever the server's user may do"
                    .to_owned(),
            ],
            Self::On(walls) => walls.missing().map(|(wall, why)| told(wall, why)).collect(),
        }
    }

    /// The walls that stand.
    pub fn standing(&self) -> String {
        let walls = match self {
            Self::Off => return "sandbox off".to_owned(),
            Self::On(walls) => walls,
        };
        let standing = Wall::ALL.into_iter().filter(|&wall| walls.stands(wall));
        let names: Vec<_> = standing.map(Wall::as_str).collect();
        format!("sandbox on: {}", names.join(", "))
    }

    /// What several sites have to know of each other, if anything.
    pub fn between_sites(&self) -> Option<String> {
        let walls = match self {
            Self::Off => {
                return Some(
                    "several sites run functions without any wall between them: whoever deploys in one \
                     reads and changes all others"
                        .to_owned(),
                );
            }
            Self::On(walls) => walls,
        };
        let missing = walls.missing().filter(|(wall, _)| wall.is_between_sites());
        let lines: Vec<_> = missing.map(|(wall, why)| told(wall, why)).collect();
        (!lines.is_empty()).then(|| {
            let lines = lines.join("; ");
            format!("several sites run functions, and walls between them are missing: {lines}")
        })
    }
}

fn told(wall: Wall, why: &str) -> String {
    format!("no wall {wall}: {} ({why})", wall.without())
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.standing())?;
        let Self::On(walls) = self else {
            return Ok(());
        };
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
    fn each_missing_wall_is_one_line_that_says_what_it_means() {
        let mut walls = Walls::default();
        assert_eq!(
            Confinement::On(walls.clone()).missing(),
            Vec::<String>::new()
        );
        assert_eq!(Confinement::On(walls.clone()).between_sites(), None);
        walls.lacks(Wall::User, "not root");
        assert_eq!(Confinement::On(walls.clone()).between_sites(), None);
        walls.lacks(Wall::Memory, "no cgroup");
        let confinement = Confinement::On(walls);
        let lines = confinement.missing();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
        assert!(lines[1].contains("hundredths of a second") && lines[1].ends_with("(no cgroup)"));
        let told = confinement.between_sites().unwrap();
        assert!(
            told.contains("several sites") && told.contains("no wall memory"),
            "{told}"
        );
        assert!(!told.contains("no wall user"), "{told}");
        assert!(Confinement::Off.between_sites().is_some());
        assert_eq!(Confinement::Off.missing().len(), 1);
    }

    #[test]
    fn every_wall_has_one_name() {
        for wall in Wall::ALL {
            let name = serde_json::to_value(wall).unwrap();
            assert_eq!(name, wall.as_str());
        }
    }
}
