//! The control group around everything that one launcher starts: version 2, else version 1.
//!
//! It bounds the memory and the processes of all workers together, so that many of them, each
//! within its own limits, cannot starve the server. It must never be the only bound of one worker.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders of ours are named by this and the launcher's process id.
const PREFIX: &str = "tollgate-";

/// Bounds for all workers together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
}

/// The folders of a new group, which the process that is to live in it has not entered yet.
#[derive(Debug)]
pub(super) struct Group {
    folders: Vec<PathBuf>,
    /// Counts, among others, the processes that were killed for want of memory.
    events: PathBuf,
}

impl Group {
    /// Makes a group inside the one that this process is in.
    ///
    /// # Errors
    /// Why neither version can be used, for the operator.
    pub(super) fn make(bounds: Bounds, launcher: u32) -> Result<Self, String> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let places = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let name = format!("{PREFIX}{launcher}");
        let second = version_2(&mounts, &places, &name, bounds);
        let second = match second {
            Ok(group) => return Ok(group),
            Err(reason) => reason,
        };
        version_1(&mounts, &places, &name, bounds)
            .map_err(|first| format!("cgroup v2: {second}; v1: {first}"))
    }

    /// The file of which [`kills`] makes sense.
    pub(super) fn events(&self) -> &Path {
        &self.events
    }

    /// Moves the calling process into the group.
    pub(super) fn enter(&self) -> io::Result<()> {
        for folder in &self.folders {
            fs::write(folder.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }
}

/// How many processes of a group were killed for want of memory; none if that cannot be read.
pub(in crate::process) fn kills(events: &Path) -> Option<u64> {
    let text = fs::read_to_string(events).ok()?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    count.trim().parse().ok()
}

fn version_2(mounts: &str, places: &str, name: &str, bounds: Bounds) -> Result<Group, String> {
    let mount = mount_of(mounts, |kind, _| kind == "cgroup2").ok_or("not mounted")?;
    let place = place_of(places, str::is_empty).ok_or("no place in it")?;
    let own = join(&mount, place);
    // A group with processes in it, as the server's own usually is, cannot bound groups below it.
    // The one around it can, if it was handed to this user, or this user is root.
    let around = own.parent().filter(|around| around.starts_with(&mount));
    let mut reason = String::new();
    for parent in [Some(own.as_path()), around].into_iter().flatten() {
        match below(parent, name, bounds) {
            Ok(group) => return Ok(group),
            Err(error) if reason.is_empty() => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}

/// A new group of version 2 inside `parent`.
fn below(parent: &Path, name: &str, bounds: Bounds) -> Result<Group, String> {
    let control = |folder: &Path, file: &str, value: &str| {
        let path = folder.join(file);
        fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))
    };
    let listed = |file: &str| {
        let text = fs::read_to_string(parent.join(file)).unwrap_or_default();
        let has = |name: &str| text.split_whitespace().any(|word| word == name);
        has("memory") && has("pids")
    };
    if !listed("cgroup.controllers") {
        return Err("no memory and pids controllers".to_owned());
    }
    if !listed("cgroup.subtree_control") {
        control(parent, "cgroup.subtree_control", "+memory +pids")?;
    }
    let folder = fresh(parent, name)?;
    control(&folder, "memory.max", &bounds.memory_bytes.to_string())?;
    control(&folder, "pids.max", &bounds.processes.to_string())?;
    // Absent without swap accounting, and then there is nothing to bound.
    let _ = control(&folder, "memory.swap.max", "0");
    Ok(Group {
        events: folder.join("memory.events"),
        folders: vec![folder],
    })
}

fn version_1(mounts: &str, places: &str, name: &str, bounds: Bounds) -> Result<Group, String> {
    let mut folders = Vec::new();
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", bounds.memory_bytes),
        ("pids", "pids.max", bounds.processes),
    ] {
        let named = |list: &str| list.split(',').any(|one| one == controller);
        let mount = mount_of(mounts, |kind, options| kind == "cgroup" && named(options))
            .ok_or_else(|| format!("{controller} is not mounted"))?;
        let place = place_of(places, named).ok_or_else(|| format!("no place in {controller}"))?;
        let folder = fresh(&join(&mount, place), name)?;
        let path = folder.join(file);
        fs::write(&path, value.to_string())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        folders.push(folder);
    }
    Ok(Group {
        // The first is the memory controller's.
        events: folders[0].join("memory.oom_control"),
        folders,
    })
}

/// Makes the folder, after removing those of launchers that are gone.
fn fresh(parent: &Path, name: &str) -> Result<PathBuf, String> {
    sweep(parent);
    let folder = parent.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(folder),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// Removes what earlier launchers left. The kernel keeps a folder in which anything lives.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && gone(pid)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The mount point of a line of `mountinfo` that suits: its type and its super options.
fn mount_of(mounts: &str, suits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut fields = tail.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        suits(kind, options).then(|| head.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The path in a line of `/proc/self/cgroup` whose list of controllers suits.
fn place_of(places: &str, suits: impl Fn(&str) -> bool) -> Option<&str> {
    places.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, place) = (fields.next()?, fields.next()?);
        suits(controllers).then_some(place)
    })
}

fn join(mount: &Path, place: &str) -> PathBuf {
    mount.join(place.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:1 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const PLACES: &str = "7:pids:/\n4:memory:/some/where\n0::/box\n";

    #[test]
    fn mounts_and_places_are_found() {
        let named = |list: &str| list.split(',').any(|one| one == "memory");
        let mount = mount_of(MOUNTS, |kind, options| kind == "cgroup" && named(options));
        assert_eq!(mount.as_deref(), Some(Path::new("/sys/fs/cgroup/memory")));
        let place = place_of(PLACES, named);
        assert_eq!(place, Some("/some/where"));
        assert_eq!(place_of(PLACES, str::is_empty), Some("/box"));
        let second = mount_of(MOUNTS, |kind, _| kind == "cgroup2").unwrap();
        assert_eq!(
            join(&second, "/box"),
            Path::new("/sys/fs/cgroup/unified/box")
        );
        assert!(mount_of(MOUNTS, |kind, _| kind == "tmpfs").is_none());
    }

    /// Ordinary files in place of the kernel's.
    #[test]
    fn a_group_of_version_2_is_bounded_before_anybody_enters() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("service");
        fs::create_dir_all(service.join("server")).unwrap();
        fs::write(service.join("cgroup.controllers"), "cpu memory pids").unwrap();
        fs::write(service.join("cgroup.subtree_control"), "memory pids").unwrap();
        let mounts = format!("1 0 0:1 / {} rw - cgroup2 x rw", root.path().display());
        let bounds = Bounds {
            memory_bytes: 4096,
            processes: 7,
        };
        // The server's own group offers nothing, the one around it does.
        let group = version_2(&mounts, "0::/service/server\n", "tollgate-0", bounds).unwrap();
        let folder = service.join("tollgate-0");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            (read("memory.max"), read("pids.max")),
            ("4096".into(), "7".into())
        );
        assert!(!folder.join("cgroup.procs").exists());
        group.enter().unwrap();
        assert_eq!(read("cgroup.procs"), "0");
        fs::write(group.events(), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!(kills(group.events()), Some(2));
        // At the root of what is mounted there is nothing around.
        let refused = version_2(&mounts, "0::/\n", "tollgate-0", bounds);
        assert!(refused.unwrap_err().contains("controllers"));
    }
}
