//! A function's word that it has begun: the signal for runs that the stream does not tell of,
//! because somebody waits for them.

use super::folder::Folder;
use super::soon;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::path::PathBuf;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// A named pipe into which [`Begun::code`] writes.
pub(crate) struct Begun {
    pipe: Receiver,
    path: PathBuf,
}

impl Begun {
    pub(crate) fn new(folder: &Folder) -> Self {
        let path = folder.path().join("begun");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // Open for writing too, so that reading waits for the first writer.
        let pipe = OpenOptions::new()
            .read_write(true)
            .open_receiver(&path)
            .unwrap();
        Self { pipe, path }
    }

    /// A function that says that it has begun and ends once the file `go` exists.
    pub(crate) fn code(&self) -> String {
        let go = self.path.with_file_name("go");
        format!(
            "\
import os, time

def main(params):
    with open({:?}, 'w') as begun:
        begun.write('x')
    while not os.path.exists({go:?}):
        time.sleep(0.005)
",
            self.path
        )
    }

    /// Waits until it has begun.
    pub(crate) async fn heard(mut self) {
        let mut letter = [0];
        soon("the function's begin", self.pipe.read_exact(&mut letter))
            .await
            .unwrap();
    }
}
