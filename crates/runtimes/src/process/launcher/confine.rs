//! The walls, in the order in which they can be put up, and the account of which ones stand.
//!
//! A required wall that cannot stand ends the launcher: there must be no way from here to function
//! code without system call lists, file rules and, for root, another user. Everything else is put
//! up where the kernel allows it, and reported where it does not.

use super::host::{Calls, Script, Walls as HostWalls};
use super::namespaces::{self, OWN, SCRATCH};
use super::{
    Failed, Plan, Sandbox, Step as _, Word, host, landlock, newborn, node, nursery, seccomp, steps,
};
use crate::process::language::Language;
use rustix::io::FdFlags;
use seccompiler::BpfProgram;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tollgate_core::confinement::{Wall, Walls};
use tollgate_core::limits;

/// Devices that programs expect to be there.
pub(super) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Scratch space of all workers together where they cannot each have their own.
pub(super) const SHARED_SCRATCH_BYTES: u64 = 4 * limits::SCRATCH_BYTES;

/// Who function code runs as.
#[derive(Clone, Copy)]
struct Identity {
    user: u32,
    group: u32,
    /// The launcher is root now.
    was_root: bool,
}

/// How far the process has come.
struct Ground {
    own_root: bool,
    own_processes: bool,
    /// Workers can have a user namespace and a scratch folder in memory.
    own_scratch: bool,
    scratch: PathBuf,
}

impl Ground {
    /// Whether a worker finds nothing that belongs to anybody else and could be changed.
    fn alone(&self) -> bool {
        self.own_root && self.own_scratch
    }
}

pub(super) fn follow(plan: &Plan, sandbox: &Sandbox) -> Result<Infallible, Failed> {
    let mut walls = Walls::default();
    steps::session().step("session")?;
    steps::modesty().step("priority")?;
    steps::descriptors().step("descriptors")?;
    let mut script = Script::new().step("script")?;
    let proc = namespaces::open_proc().required("proc")?;
    kernel_can().required("kernel")?;
    let identity = identity();
    let outside = steps::threads_of(identity.user);
    let ground = enter(plan, sandbox, identity, &proc, &mut walls)?;
    steps::become_user(identity.user, identity.group).required("user")?;
    if !identity.was_root {
        let reason = "the server is not root, so functions run as its own user";
        walls.lacks(Wall::User, reason);
    }
    steps::drop_capabilities().required("capabilities")?;
    if ground.own_processes {
        // Cleared by the change of user.
        let kill = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(kill).step("parent_death")?;
    } else {
        steps::subreaper().step("subreaper")?;
        steps::parent_death().step("parent_death")?;
    }
    steps::resource_limits(plan).step("resource_limits")?;
    steps::thread_stacks().step("resource_limits")?;
    steps::process_limit(plan, outside).step("process_limit")?;
    std::env::set_current_dir("/").step("folder")?;
    let rules = landlock::rules(&files(sandbox, &ground.scratch)).required("landlock")?;
    if landlock::version() < landlock::SIGNALS_SINCE {
        let reason = "needs Landlock ABI 6 (Linux 6.12)";
        walls.lacks(Wall::Signals, reason);
    }
    landlock::restrict_host().required("landlock")?;
    let own = ground.own_scratch.then(|| ground.scratch.join(OWN));
    let word = Word::Walls {
        walls: &walls,
        scratch: own.as_deref(),
    };
    match plan.language {
        Language::Python => {
            let told = told(sandbox, &ground, &proc, &rules).required("seccomp")?;
            script.write(&host::told(Some(&told))).step("script")?;
            for kept in [proc.as_fd(), rules.as_fd()] {
                rustix::io::fcntl_setfd(kept, FdFlags::empty()).step("descriptors")?;
            }
            word.say();
            filter(seccomp::host())?;
            Err(not_run(plan, host::exec(plan), identity)).step("exec")
        }
        Language::Node => {
            script.write(&node::MODULES).step("script")?;
            word.say();
            filter(seccomp::nursery())?;
            let walls = walls_of_worker(sandbox, &ground, proc, rules);
            nursery::serve(plan, script, Some(walls))
        }
    }
}

/// The last wall of a host.
fn filter(programs: io::Result<[BpfProgram; 3]>) -> Result<(), Failed> {
    for program in programs.required("seccomp")? {
        seccompiler::apply_filter(&program)
            .map_err(io::Error::other)
            .required("seccomp")?;
    }
    Ok(())
}

/// What the nursery puts up around each worker.
fn walls_of_worker(
    sandbox: &Sandbox,
    ground: &Ground,
    proc: OwnedFd,
    rules: OwnedFd,
) -> newborn::Walls {
    newborn::Walls {
        proc,
        rules,
        alone: ground.alone(),
        scratch: ground.scratch.clone(),
        own: ground.own_scratch.then_some(newborn::Own {
            scratch_bytes: sandbox.scratch_bytes,
            threads: sandbox.threads,
        }),
        readable: sandbox.readable.clone(),
        programs: sandbox.programs.clone(),
    }
}

/// Why the interpreter does not run, with what to do about the usual reason.
fn not_run(plan: &Plan, error: io::Error, identity: Identity) -> io::Error {
    let program = plan.program.display();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied if identity.was_root => format!(
            "; the user {} that functions run as must be able to read it and its folders",
            identity.user
        ),
        _ => String::new(),
    };
    io::Error::other(format!("{program}: {error}{hint}"))
}

/// What no level does without.
fn kernel_can() -> io::Result<()> {
    if !seccomp::is_supported() {
        return Err(io::Error::other(
            "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)",
        ));
    }
    if landlock::version() == 0 {
        return Err(io::Error::other(
            "this kernel has no Landlock: it needs Linux 5.13 or later with \
             CONFIG_SECURITY_LANDLOCK, and `landlock` in the list of the boot parameter lsm=",
        ));
    }
    Ok(())
}

fn identity() -> Identity {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return Identity {
            user: limits::FUNCTION_USER,
            group: limits::FUNCTION_USER,
            was_root: true,
        };
    }
    Identity {
        user: user.as_raw(),
        group: rustix::process::getegid().as_raw(),
        was_root: false,
    }
}

/// Namespaces and file tree: whatever of them can be had.
fn enter(
    plan: &Plan,
    sandbox: &Sandbox,
    identity: Identity,
    proc: &OwnedFd,
    walls: &mut Walls,
) -> Result<Ground, Failed> {
    let Identity { user, group, .. } = identity;
    let own_scratch = workers_can(proc, identity, walls);
    if !identity.was_root {
        let entered = namespaces::unshare(libc::CLONE_NEWUSER)
            .and_then(|()| namespaces::map_user(proc, user, group));
        if let Err(error) = entered {
            let reason = format!("user namespace: {error}");
            for wall in [Wall::Processes, Wall::Network, Wall::Root] {
                walls.lacks(wall, reason.clone());
            }
        }
    }
    let own_processes = noted(
        walls,
        Wall::Processes,
        namespaces::unshare(libc::CLONE_NEWPID),
    );
    if own_processes {
        namespaces::continue_in_child().step("child")?;
    }
    let apart = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if noted(walls, Wall::Network, namespaces::unshare(apart)) {
        // A name that tells nothing. What it was would tell little more.
        let _ = rustix::system::sethostname(b"function");
    }
    let shared = (!own_scratch).then_some((user, group));
    let changed = namespaces::unshare(libc::CLONE_NEWNS)
        .and_then(|()| namespaces::change_root(&sandbox.readable, shared));
    let own_root = noted(walls, Wall::Root, changed);
    let scratch = if own_root {
        PathBuf::from(SCRATCH)
    } else {
        folder_for_scratch(plan, identity)
            .map_err(|error| {
                let reason = walls.reason(Wall::Root).unwrap_or_default();
                io::Error::other(format!("{error} (and no file tree of its own: {reason})"))
            })
            .step("scratch")?
    };
    Ok(Ground {
        own_root,
        own_processes,
        own_scratch,
        scratch,
    })
}

/// Whether workers can have a user namespace and a scratch folder in memory.
fn workers_can(proc: &OwnedFd, identity: Identity, walls: &mut Walls) -> bool {
    let tried = namespaces::try_worker(proc, identity.user, identity.group);
    if let Err(error) = &tried {
        let reason = format!("user namespace: {error}");
        walls.lacks(Wall::Scratch, reason.clone());
        walls.lacks(Wall::Threads, reason);
    }
    tried.is_ok()
}

/// Whether it worked; if not, the wall does not stand.
fn noted(walls: &mut Walls, wall: Wall, outcome: io::Result<()>) -> bool {
    if let Err(error) = outcome {
        walls.lacks(wall, error.to_string());
        return false;
    }
    true
}

/// A folder on disk in which each worker makes one of its own. Nobody can list it, so a worker
/// finds no other's.
fn folder_for_scratch(plan: &Plan, identity: Identity) -> io::Result<PathBuf> {
    let [shared, own] = plan.scratch_folders();
    // The server's own folder is closed to another user.
    let folder = if identity.was_root { shared } else { own };
    std::fs::DirBuilder::new().mode(0o300).create(&folder)?;
    std::fs::create_dir(folder.join(OWN))?;
    if identity.was_root {
        std::os::unix::fs::chown(&folder, Some(identity.user), Some(identity.group))?;
    }
    Ok(folder)
}

fn files<'a>(sandbox: &'a Sandbox, scratch: &'a Path) -> landlock::Files<'a> {
    landlock::Files {
        readable: &sandbox.readable,
        programs: &sandbox.programs,
        devices: DEVICES,
        scratch,
    }
}

/// What the host has to know.
fn told(
    sandbox: &Sandbox,
    ground: &Ground,
    proc: &OwnedFd,
    rules: &OwnedFd,
) -> io::Result<HostWalls> {
    let mut filter = String::new();
    for byte in seccomp::bytes(&seccomp::worker(ground.alone())?) {
        write!(filter, "{byte:02x}").map_err(io::Error::other)?;
    }
    let scratch = if ground.own_scratch {
        ground.scratch.join(OWN)
    } else {
        ground.scratch.clone()
    };
    let scratch = scratch.to_str();
    Ok(HostWalls {
        proc: proc.as_raw_fd(),
        rules: rules.as_raw_fd(),
        filter,
        own_pid: seccomp::OWN_PID,
        scratch: scratch
            .ok_or_else(|| io::Error::other("the scratch folder's name is not UTF-8"))?
            .to_owned(),
        scratch_bytes: ground.own_scratch.then_some(sandbox.scratch_bytes),
        threads: ground.own_scratch.then_some(sandbox.threads),
        own_folder: if ground.own_scratch {
            None
        } else {
            Some(landlock::own_folder(&files(sandbox, &ground.scratch)))
        },
        calls: Calls {
            capset: libc::SYS_capset,
            landlock_add_rule: libc::SYS_landlock_add_rule,
            landlock_create_ruleset: libc::SYS_landlock_create_ruleset,
            landlock_restrict_self: libc::SYS_landlock_restrict_self,
        },
    })
}
