//! Control groups: one around everything, one for each host and its workers, one for each worker.
//! Version 2, else version 1.
//!
//! The server makes them, and hands in descriptors through which they are entered: nobody behind
//! the walls needs to name them. They are removed with what lived in them; what a server left that
//! is gone, the next one removes.

use super::weight::{Scale, Weight};
use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Folders of ours are named by this, the server's process id, and a count.
const PREFIX: &str = "tollgate-";
/// Where a group's processes are named.
const PROCESSES: &str = "cgroup.procs";

/// Bounds for all hosts and workers together, for one site's, and for one worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
    pub(super) site_processes: u64,
    pub(super) worker_threads: u64,
}

/// What a site's processes together weigh against another site's for processor time: as much, however many
/// they are. Version 2 and version 1 count differently.
const WEIGHT: &str = "100";
const SHARES: &str = "1024";
/// The same while one of them keeps a processor busy.
const LESS_WEIGHT: &str = "3";
const LESS_SHARES: &str = "32";

/// Which files a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

/// The group around everything of one runtime.
#[derive(Debug)]
pub(super) struct House {
    version: Version,
    /// The memory controller's folder, in version 2 the only one.
    memory: PathBuf,
    /// The folder for counting processes, in version 1.
    processes: Option<PathBuf>,
    /// The folder for sharing processor time, in version 1; none where the kernel or the rights are missing.
    processor: Option<PathBuf>,
    /// Processes of one site.
    site_processes: u64,
    /// Threads of one worker.
    worker_threads: u64,
    hosts: AtomicU64,
    /// Folders that could not be removed yet, because something in them was still ending.
    leftover: Mutex<Vec<PathBuf>>,
}

/// The group of one host: its own processes, and below it its workers' groups.
#[derive(Debug)]
pub(super) struct Host {
    house: Arc<House>,
    memory: PathBuf,
    processes: Option<PathBuf>,
    processor: Option<PathBuf>,
}

/// The group of one worker.
#[derive(Debug)]
pub(super) struct Worker {
    house: Arc<House>,
    folder: PathBuf,
    /// Where its threads are counted, in version 1.
    processes: Option<PathBuf>,
}

/// Which bound killed a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// Its own.
    Own,
    /// That of all together.
    Together,
}

impl House {
    /// Makes a group inside the one that this process is in.
    ///
    /// # Errors
    /// Why neither version can be used, for the operator.
    pub(super) fn make(bounds: Bounds) -> Result<Arc<Self>, String> {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let places = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let house = match version_2(&mounts, &places, &name, bounds) {
            Ok(house) => house,
            Err(second) => version_1(&mounts, &places, &name, bounds)
                .map_err(|first| format!("cgroup v2: {second}; v1: {first}"))?,
        };
        Ok(Arc::new(house))
    }

    /// A group for one host.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn host(self: &Arc<Self>) -> io::Result<Host> {
        self.tidy();
        let name = format!("host-{}", self.hosts.fetch_add(1, Ordering::Relaxed));
        let folder = self.memory.join(&name);
        fs::create_dir(&folder)?;
        let site_processes = self.site_processes.to_string();
        if self.version == Version::Second {
            write(&folder, "pids.max", &site_processes)?;
            hand_down(&folder)?;
            // Where processor time is not handed down, all workers share it.
            let _ = write(&folder, "cpu.weight", WEIGHT);
        }
        fs::create_dir(folder.join("own"))?;
        let processes = self.processes.as_ref().map(|around| around.join(&name));
        if let Some(folder) = &processes {
            fs::create_dir(folder)?;
            write(folder, "pids.max", &site_processes)?;
        }
        let processor = self.processor.as_ref().map(|around| around.join(&name));
        if let Some(folder) = &processor {
            fs::create_dir(folder)?;
            write(folder, "cpu.shares", SHARES)?;
        }
        Ok(Host {
            house: Arc::clone(self),
            memory: folder,
            processes,
            processor,
        })
    }

    /// Removes a folder, now or later.
    fn remove(&self, folder: PathBuf) {
        if fs::remove_dir(&folder).is_err() && folder.exists() {
            self.leftover.lock().push(folder);
        }
    }

    /// Tries again what could not be removed, in the order in which that was asked for.
    fn tidy(&self) {
        self.leftover
            .lock()
            .retain(|folder| fs::remove_dir(folder).is_err() && folder.exists());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.tidy();
        let folders = [
            Some(&self.memory),
            self.processes.as_ref(),
            self.processor.as_ref(),
        ];
        for folder in folders.into_iter().flatten() {
            remove_all(folder);
        }
    }
}

impl Host {
    /// Descriptors through which the host enters its group, by writing "0" to each.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub(super) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let own = self.memory.join("own");
        let folders = [Some(&own), self.processes.as_ref(), self.processor.as_ref()];
        folders
            .into_iter()
            .flatten()
            .map(|folder| entrance(folder))
            .collect()
    }

    /// What its processes together weigh for processor time.
    pub(super) fn weight(&self) -> Arc<Weight> {
        let scale = match self.house.version {
            Version::Second => Some(Scale {
                file: self.memory.join("cpu.weight"),
                usual: WEIGHT,
                less: LESS_WEIGHT,
            }),
            Version::First => self.processor.as_ref().map(|folder| Scale {
                file: folder.join("cpu.shares"),
                usual: SHARES,
                less: LESS_SHARES,
            }),
        };
        // Where the kernel did not hand it down there is no such file.
        Weight::new(scale.filter(|it| it.file.exists()))
    }

    /// A group for a worker with this much memory, and the descriptors through which it is entered.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn worker(&self, id: u64, memory_bytes: u64) -> io::Result<(Worker, Vec<OwnedFd>)> {
        let name = format!("worker-{id}");
        let folder = self.memory.join(&name);
        fs::create_dir(&folder)?;
        let mut worker = Worker {
            house: Arc::clone(&self.house),
            folder,
            processes: None,
        };
        bound(&worker.folder, self.house.version, memory_bytes)?;
        if let Some(around) = &self.processes {
            let folder = around.join(&name);
            fs::create_dir(&folder)?;
            worker.processes = Some(folder);
        }
        let counts = worker.processes.as_ref().unwrap_or(&worker.folder);
        write(counts, "pids.max", &self.house.worker_threads.to_string())?;
        let folders = [Some(&worker.folder), worker.processes.as_ref()];
        let entrances = folders.into_iter().flatten().map(|it| entrance(it));
        let entrances = entrances.collect::<io::Result<_>>()?;
        Ok((worker, entrances))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.house.remove(self.memory.join("own"));
        self.house.remove(std::mem::take(&mut self.memory));
        for folder in [self.processes.take(), self.processor.take()] {
            folder.into_iter().for_each(|it| self.house.remove(it));
        }
    }
}

impl Worker {
    /// Which bound killed something in the group, if one did.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        let read = |file: &str| fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let (events, reached) = match self.house.version {
            Version::First => (
                read("memory.oom_control"),
                read("memory.failcnt").trim().parse().unwrap_or(0),
            ),
            Version::Second => {
                let events = read("memory.events");
                let reached = counted(&events, "max");
                (events, reached)
            }
        };
        if counted(&events, "oom_kill") == 0 {
            return None;
        }
        Some(if reached > 0 {
            Beyond::Own
        } else {
            Beyond::Together
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.house.remove(std::mem::take(&mut self.folder));
        let processes = self.processes.take();
        processes.into_iter().for_each(|it| self.house.remove(it));
    }
}

/// A number of a file of `name number` lines; 0 where it is not told.
fn counted(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value).unwrap_or(0)
}

fn entrance(folder: &Path) -> io::Result<OwnedFd> {
    let file: File = OpenOptions::new()
        .write(true)
        .open(folder.join(PROCESSES))?;
    Ok(file.into())
}

fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = folder.join(file);
    fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn bound(folder: &Path, version: Version, memory_bytes: u64) -> io::Result<()> {
    match version {
        Version::First => write(folder, "memory.limit_in_bytes", &memory_bytes.to_string()),
        Version::Second => {
            write(folder, "memory.max", &memory_bytes.to_string())?;
            // Absent without swap accounting, and then there is nothing to bound.
            let _ = write(folder, "memory.swap.max", "0");
            Ok(())
        }
    }
}

/// Lets groups below `folder` be bounded.
fn hand_down(folder: &Path) -> io::Result<()> {
    // Processor time if it can be had: the other two bound, this one only shares.
    if write(folder, "cgroup.subtree_control", "+memory +pids +cpu").is_ok() {
        return Ok(());
    }
    write(folder, "cgroup.subtree_control", "+memory +pids")
}

fn version_2(mounts: &str, places: &str, name: &str, bounds: Bounds) -> Result<House, String> {
    let mount = mount_of(mounts, |kind, _| kind == "cgroup2").ok_or("not mounted")?;
    let place = place_of(places, str::is_empty).ok_or("no place in it")?;
    let own = join(&mount, place);
    // A group with processes in it, as the server's own usually is, cannot bound groups below it.
    // The one around it can, if it was handed to this user, or this user is root.
    let around = own.parent().filter(|around| around.starts_with(&mount));
    let mut reason = String::new();
    for parent in [Some(own.as_path()), around].into_iter().flatten() {
        match below(parent, name, bounds) {
            Ok(house) => return Ok(house),
            Err(error) if reason.is_empty() => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}

/// A new group of version 2 inside `parent`.
fn below(parent: &Path, name: &str, bounds: Bounds) -> Result<House, String> {
    let listed = |file: &str| {
        let text = fs::read_to_string(parent.join(file)).unwrap_or_default();
        let has = |name: &str| text.split_whitespace().any(|word| word == name);
        has("memory") && has("pids")
    };
    if !listed("cgroup.controllers") {
        return Err("no memory and pids controllers".to_owned());
    }
    if !listed("cgroup.subtree_control") {
        hand_down(parent).map_err(|error| error.to_string())?;
    } else {
        // What is missing is processor time, if anything is.
        let _ = write(parent, "cgroup.subtree_control", "+cpu");
    }
    let folder = fresh(parent, name)?;
    let made = bound(&folder, Version::Second, bounds.memory_bytes)
        .and_then(|()| write(&folder, "pids.max", &bounds.processes.to_string()))
        .and_then(|()| hand_down(&folder));
    made.map_err(|error| {
        remove_all(&folder);
        error.to_string()
    })?;
    Ok(House::of(Version::Second, folder, bounds))
}

fn version_1(mounts: &str, places: &str, name: &str, bounds: Bounds) -> Result<House, String> {
    let folder_of = |controller: &str| {
        let named = |list: &str| list.split(',').any(|one| one == controller);
        let mount = mount_of(mounts, |kind, options| kind == "cgroup" && named(options))
            .ok_or_else(|| format!("{controller} is not mounted"))?;
        let place = place_of(places, named).ok_or_else(|| format!("no place in {controller}"))?;
        fresh(&join(&mount, place), name)
    };
    let memory = folder_of("memory")?;
    let mut house = House::of(Version::First, memory, bounds);
    bound(&house.memory, Version::First, bounds.memory_bytes).map_err(|error| error.to_string())?;
    let processes = house.processes.insert(folder_of("pids")?);
    write(processes, "pids.max", &bounds.processes.to_string())
        .map_err(|error| error.to_string())?;
    house.processor = folder_of("cpu").ok();
    Ok(house)
}

impl House {
    fn of(version: Version, memory: PathBuf, bounds: Bounds) -> Self {
        Self {
            version,
            memory,
            processes: None,
            processor: None,
            site_processes: bounds.site_processes,
            worker_threads: bounds.worker_threads,
            hosts: AtomicU64::new(1),
            leftover: Mutex::default(),
        }
    }
}

/// Makes the folder, after removing those of servers that are gone.
fn fresh(parent: &Path, name: &str) -> Result<PathBuf, String> {
    sweep(parent);
    let folder = parent.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(folder),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// Removes what earlier servers left. The kernel keeps a folder in which anything lives.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = pid.and_then(|rest| rest.split('-').next());
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && gone(pid)) {
            remove_all(&entry.path());
        }
    }
}

/// Removes a group with all below it, as far as nothing lives there. They are three deep.
fn remove_all(folder: &Path) {
    let inside = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_all(&entry.path());
    }
    let _ = fs::remove_dir(folder);
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

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    /// Ordinary files in place of the kernel's.
    #[test]
    fn groups_of_version_2_nest_and_are_bounded_before_anybody_enters() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("service");
        fs::create_dir_all(service.join("server")).unwrap();
        fs::write(service.join("cgroup.controllers"), "cpu memory pids").unwrap();
        fs::write(service.join("cgroup.subtree_control"), "memory pids cpu").unwrap();
        let mounts = format!("1 0 0:1 / {} rw - cgroup2 x rw", root.path().display());
        let bounds = Bounds {
            memory_bytes: 4096,
            processes: 7,
            site_processes: 3,
            worker_threads: 2,
        };
        // The server's own group offers nothing, the one around it does.
        let house = version_2(&mounts, "0::/service/server\n", "tollgate-0-1", bounds).unwrap();
        let house = Arc::new(house);
        let folder = service.join("tollgate-0-1");
        assert_eq!(read(&folder, "memory.max"), "4096");
        assert_eq!(read(&folder, "pids.max"), "7");
        assert_eq!(
            read(&folder, "cgroup.subtree_control"),
            "+memory +pids +cpu"
        );
        let host = house.host().unwrap();
        assert_eq!(
            read(&host.memory, "cgroup.subtree_control"),
            "+memory +pids +cpu"
        );
        // However many they are: one site's processes weigh as much as another's, and are counted.
        assert_eq!(read(&host.memory, "cpu.weight"), WEIGHT);
        let heavy = host.weight().heavy();
        assert_eq!(read(&host.memory, "cpu.weight"), LESS_WEIGHT);
        drop(heavy);
        assert_eq!(read(&host.memory, "cpu.weight"), WEIGHT);
        assert_eq!(read(&host.memory, "pids.max"), "3");
        // What the kernel makes with a folder has to be there for it to be entered.
        assert!(host.worker(3, 1024).is_err());
        let folder = host.memory.join("worker-3");
        assert_eq!(read(&folder, "memory.max"), "1024");
        assert_eq!(read(&folder, "pids.max"), "2");
        let worker = Worker {
            house,
            folder,
            processes: None,
        };
        assert_eq!(worker.beyond(), None);
        for (events, beyond) in [
            ("max 0\noom 0\noom_kill 0\n", None),
            (
                "max 9\noom 1\noom_kill 2\noom_group_kill 0\n",
                Some(Beyond::Own),
            ),
            ("max 0\noom 0\noom_kill 1\n", Some(Beyond::Together)),
        ] {
            fs::write(worker.folder.join("memory.events"), events).unwrap();
            assert_eq!(worker.beyond(), beyond, "{events}");
        }
        // At the root of what is mounted there is nothing around.
        let refused = version_2(&mounts, "0::/\n", "tollgate-0-1", bounds);
        assert!(refused.unwrap_err().contains("controllers"));
    }
}
