//! The control socket of one zygote: orders go out, news of workers' ends come in.
//!
//! Messages go over a `SOCK_SEQPACKET` pair, so each is whole and can carry a worker's descriptors.
//! What cannot be read, or makes no sense, ends the zygote: there is nothing to guess.

use super::memory::{Bound, Memory};
use super::start::{END_LIMIT, end_of};
use super::starts::Started;
use super::{Ends, Exit, Population};
use crate::process::language::Language;
use crate::process::rest::Body;
use parking_lot::Mutex;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Deserialize;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tollgate_core::confinement::Walls;
use tollgate_core::failpoint::{self, Point};

/// Longest message on the control socket.
const MESSAGE_BYTES: usize = 16 * 1024;

/// An order to a zygote.
pub(super) enum Command {
    Spawn {
        id: u64,
        memory_mb: u32,
        ends: Ends,
        body: Arc<Body>,
        exit: watch::Sender<Option<Exit>>,
    },
    Kill {
        id: u64,
    },
    End,
}

/// A message from launcher or zygote.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Message {
    Walls {
        walls: Walls,
        scratch: Option<PathBuf>,
    },
    Ready {
        version: String,
    },
    Fatal {
        step: String,
        error: String,
        lasting: bool,
    },
    Failed {
        id: u64,
        error: String,
    },
    Spawned {
        id: u64,
        pid: u32,
        /// Where its files lie, among others'.
        folder: Option<PathBuf>,
    },
    Exited {
        id: u64,
        pid: u32,
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// The task that owns the control socket.
pub(super) struct Control {
    pub(super) language: Language,
    pub(super) socket: UnixStream,
    pub(super) pid: Arc<AtomicU32>,
    pub(super) population: Arc<Population>,
    pub(super) memory: Arc<Memory>,
    pub(super) workers: Mutex<HashMap<u64, Worker>>,
    /// A close waits for this task too.
    pub(super) started: Started,
}

/// What the server holds of a worker until it has ended.
pub(super) struct Worker {
    exit: watch::Sender<Option<Exit>>,
    body: Arc<Body>,
    bound: Bound,
    /// Where its ends go that its host hands out.
    ends: Option<oneshot::Sender<[OwnedFd; 4]>>,
}

impl Control {
    /// Carries orders out until the last handle is gone, it is told to end, or the zygote ends.
    pub(super) async fn run(
        self,
        mut commands: mpsc::Receiver<Command>,
        process_end: oneshot::Receiver<String>,
    ) {
        // Both ways at once: if each side waited for the other to read, neither ever would.
        let wanted = tokio::select! {
            wanted = self.send_all(&mut commands) => wanted,
            () = self.receive_all() => false,
            () = self.population.stuck.notified() => false,
        };
        commands.close();
        let _started = self.started;
        // Closing the socket is the order to end.
        drop(self.socket);
        let patience = if self.population.given_up.load(Ordering::SeqCst) {
            Duration::ZERO
        } else {
            END_LIMIT
        };
        let end = end_of(process_end, &self.pid, patience).await;
        let workers = self.workers.into_inner().into_values();
        let mut unheard: Vec<_> = workers.map(|worker| worker.exit).collect();
        while let Ok(command) = commands.try_recv() {
            if let Command::Spawn { exit, .. } = command {
                unheard.push(exit);
            }
        }
        for exit in unheard {
            self.population.workers.fetch_sub(1, Ordering::SeqCst);
            exit.send_replace(Some(Exit::ZygoteGone));
        }
        let pid = self.pid.load(Ordering::Relaxed);
        if wanted {
            tracing::info!(zygote.pid = pid, "zygote.ended");
        } else {
            tracing::error!(zygote.pid = pid, reason = %end, "zygote.lost");
        }
    }

    /// Returns whether the end is wanted.
    async fn send_all(&self, commands: &mut mpsc::Receiver<Command>) -> bool {
        while let Some(command) = commands.recv().await {
            failpoint::hit(Point::LoopHost);
            let sent = match command {
                Command::Spawn {
                    id,
                    memory_mb,
                    ends,
                    body,
                    exit,
                } => self.spawn(id, memory_mb, ends, (body, exit)).await,
                Command::Kill { id } => {
                    let text = format!(r#"{{"op":"kill","id":{id}}}"#);
                    send(&self.socket, text.as_bytes(), &[]).await
                }
                Command::End => return true,
            };
            if sent.is_err() {
                return false;
            }
        }
        true
    }

    async fn spawn(
        &self,
        id: u64,
        memory_mb: u32,
        ends: Ends,
        (body, exit): (Arc<Body>, watch::Sender<Option<Exit>>),
    ) -> io::Result<()> {
        let (bound, entrances) = match self.memory.bound(self.language, id, memory_mb) {
            Ok(bound) => bound,
            Err(error) => {
                self.population.workers.fetch_sub(1, Ordering::SeqCst);
                let reason = format!("no control group for it: {error}");
                exit.send_replace(Some(Exit::NotStarted(reason)));
                return Ok(());
            }
        };
        let (descriptors, ends) = match ends {
            Ends::Made(descriptors) => (Vec::from(descriptors), None),
            Ends::HandedOut(ends) => (Vec::new(), Some(ends)),
        };
        let worker = Worker {
            exit,
            body,
            bound,
            ends,
        };
        self.workers.lock().insert(id, worker);
        let text = format!(r#"{{"op":"spawn","id":{id},"memory_mb":{memory_mb}}}"#);
        let descriptors: Vec<_> = descriptors.into_iter().chain(entrances).collect();
        send(&self.socket, text.as_bytes(), &descriptors).await
    }

    async fn receive_all(&self) {
        while let Ok(Some((message, descriptors))) = receive_with(&self.socket).await {
            self.population.heard.fetch_add(1, Ordering::SeqCst);
            self.note(message, descriptors);
        }
    }

    fn note(&self, message: Message, descriptors: Vec<OwnedFd>) {
        let (id, exit) = match message {
            Message::Exited {
                id,
                pid,
                code,
                signal,
            } => {
                let exit = match signal {
                    Some(signal) => Exit::Signal(signal),
                    None => Exit::Code(code.unwrap_or(-1)),
                };
                tracing::debug!(worker.id = id, worker.pid = pid, exit = ?exit, "worker.exited");
                (id, exit)
            }
            Message::Failed { id, error } => (id, Exit::NotStarted(error)),
            Message::Spawned { id, pid, folder } => {
                if let Some(worker) = self.workers.lock().get_mut(&id) {
                    let launcher = self.pid.load(Ordering::Relaxed);
                    self.memory.begin(&worker.bound, (launcher, pid), folder);
                    let mut descriptors = descriptors.into_iter();
                    if let Some(process) = descriptors.next() {
                        worker.body.started(process);
                    }
                    let handed = <[OwnedFd; 4]>::try_from(descriptors.collect::<Vec<_>>());
                    if let (Some(ends), Ok(handed)) = (worker.ends.take(), handed) {
                        // Whoever wanted it may have gone.
                        let _ = ends.send(handed);
                    }
                }
                return;
            }
            Message::Ready { .. } | Message::Walls { .. } => {
                tracing::warn!("zygote.unexpected_message");
                return;
            }
            Message::Fatal { step, error, .. } => {
                tracing::error!(step, error, "zygote.unexpected_message");
                return;
            }
        };
        let Some(worker) = self.workers.lock().remove(&id) else {
            return;
        };
        self.population.workers.fetch_sub(1, Ordering::SeqCst);
        let exit = match (exit, worker.bound.beyond()) {
            (Exit::Signal(libc::SIGKILL), Some(beyond)) => Exit::OutOfMemory(beyond),
            (exit, _) => exit,
        };
        worker.exit.send_replace(Some(exit));
    }
}

/// Sends one message with these descriptors.
pub(super) async fn send(
    socket: &UnixStream,
    text: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<()> {
    let borrowed: Vec<_> = descriptors
        .iter()
        .map(|descriptor| descriptor.as_fd())
        .collect();
    socket
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
            }
            rustix::net::sendmsg(
                socket,
                &[IoSlice::new(text)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            )?;
            Ok(())
        })
        .await
}

/// The next message; none when the other side is gone.
pub(super) async fn receive(socket: &UnixStream) -> io::Result<Option<Message>> {
    Ok(receive_with(socket).await?.map(|(message, _)| message))
}

/// The same with the descriptors that came along.
async fn receive_with(socket: &UnixStream) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut buffer = [0_u8; MESSAGE_BYTES];
    let mut descriptors = Vec::new();
    let received = socket
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = message {
                    descriptors.extend(came);
                }
            }
            match received {
                Ok(received) => Ok(received.bytes),
                Err(Errno::CONNRESET) => Ok(0),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    if received == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&buffer[..received])?;
    Ok(Some((message, descriptors)))
}
