//! What the kernel gives: the same server as root, as an ordinary user, and where namespaces and
//! mounts are refused.

use super::folder::{Folder, Said};
use super::server::Server;
use super::skipped;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

/// Makes a program that the kernel refuses namespaces and mounts to.
const REFUSE: &str = include_str!("refuse.py");
/// One that every user can read.
const PYTHON: &str = "/usr/bin/python3";
const SETPRIV: &str = "/usr/bin/setpriv";
/// Nobody's.
const USER: u32 = 61_001;

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// As whoever runs the tests, which should be root.
    Root,
    /// As a user without rights.
    Ordinary,
    /// As root, where `unshare` and `mount` are refused.
    Refused,
}

impl World {
    /// A server there; none, loudly, where this machine has no such world.
    pub(crate) async fn server(self, settings: &[(&str, &str)]) -> Option<Server> {
        self.server_in(&Arc::new(Folder::new()), settings).await
    }

    /// The same in `folder`.
    pub(crate) async fn server_in(
        self,
        folder: &Arc<Folder>,
        settings: &[(&str, &str)],
    ) -> Option<Server> {
        match self.try_server_in(folder, settings).await? {
            Ok(server) => Some(server),
            Err((status, said)) => panic!("{status} instead of listening:\n{said}"),
        }
    }

    /// The same in `folder`, for a server that may end before it listens.
    pub(crate) async fn try_server_in(
        self,
        folder: &Arc<Folder>,
        settings: &[(&str, &str)],
    ) -> Option<Result<Server, (ExitStatus, String)>> {
        let wrapper = self.wrapper(folder)?;
        let mut settings = settings.to_vec();
        if self != Self::Root {
            settings.push(("TOLLGATE_PYTHON__PROGRAM", PYTHON));
        }
        Some(Server::try_start_through(folder, &wrapper, &settings).await)
    }

    /// Runs a command there.
    pub(crate) async fn run(self, folder: &Folder, args: &[&str]) -> Option<Said> {
        let wrapper = self.wrapper(folder)?;
        let mut command = folder.command_through(&wrapper, args);
        if self != Self::Root {
            command.env("TOLLGATE_PYTHON__PROGRAM", PYTHON);
        }
        Some(Said::of(command, args).await)
    }

    /// What starts the program; nothing where it is started as it is.
    fn wrapper(self, folder: &Folder) -> Option<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if self == Self::Root {
            return Some(Vec::new());
        }
        if !rustix::process::geteuid().is_root() || !Path::new(PYTHON).exists() {
            skipped("only root, with /usr/bin/python3, can make other worlds");
            return None;
        }
        if self == Self::Refused {
            let script = folder.write("refuse.py", REFUSE);
            return Some(vec![PYTHON.to_owned(), script.to_str().unwrap().to_owned()]);
        }
        if !Path::new(SETPRIV).exists() {
            skipped("setpriv is not installed");
            return None;
        }
        std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER)).unwrap();
        let user = format!("{SETPRIV} --reuid={USER} --regid={USER} --clear-groups --");
        Some(words(&user))
    }
}
