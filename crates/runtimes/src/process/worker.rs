//! One worker process as the server sees it: a socket, a journal, and the watch on its end.
//!
//! Whoever runs a call owns the worker meanwhile and reads its socket directly; there is no task
//! between them. After any breach of the protocol a worker must never be used again.

use super::frames::{Taken, invalid, read_frame, write_frame};
use super::protocol::{
    CallFrame, Checked, First, Fitness, HostAnswer, HostRefusal, Incoming, Op, journal_lines,
};
use super::zygote::{Exit, ExitWatch, Zygote};
use crate::outbound::{Outbound, egress};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::Deserialize;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tollgate_core::invocation::{Failure, LogLine};
use tollgate_core::json::JsonText;
use tollgate_core::ports::runtime::{Call, HostCalls};

/// Memory shared with a worker, into which it copies its log lines.
const JOURNAL_BYTES: usize = 256 * 1024;
/// A buffer that a large frame made larger than this is given back.
const BUFFER_BYTES: usize = 256 * 1024;
/// How often a journal is looked at whose lines somebody wants to see at once.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// How long a report waits for the news of how a worker ended.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// A worker process and the server's ends of what it shares with it.
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) exit: ExitWatch,
    pub(super) zygote: Zygote,
    stream: UnixStream,
    journal: OwnedFd,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// What a worker answered.
pub(super) struct Answer {
    pub(super) result: Result<JsonText, Failure>,
    pub(super) logs: Vec<LogLine>,
    /// Whether the worker may serve another call.
    pub(super) fitness: Fitness,
}

/// Why a module is not loaded.
pub(super) enum LoadError {
    /// The code is at fault.
    Refused(Failure, Vec<LogLine>),
    /// The worker broke.
    Broken(io::Error),
}

impl Worker {
    /// Asks `zygote` for a process with this much memory. It is usable after [`Self::load`].
    pub(super) fn start(zygote: Zygote, id: u64, memory_mb: u32) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        let journal = rustix::fs::memfd_create(
            "tollgate-journal",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        rustix::fs::ftruncate(&journal, JOURNAL_BYTES as u64)?;
        // The worker could otherwise grow it without bound, at the server's expense.
        rustix::fs::fcntl_add_seals(
            &journal,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let exit = zygote.spawn(id, memory_mb, [OwnedFd::from(theirs), journal.try_clone()?]);
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Ok(Self {
            id,
            exit,
            zygote,
            stream,
            journal,
            incoming,
            outgoing,
        })
    }

    /// Name for people.
    pub(super) fn name(&self) -> String {
        format!("python-{}", self.id)
    }

    /// Sends the code and waits until its top level has run.
    pub(super) async fn load(&mut self, first: &First<'_>) -> Result<u32, LoadError> {
        write_frame(&mut self.outgoing, first).map_err(LoadError::Broken)?;
        self.stream
            .write_all(&self.outgoing)
            .await
            .map_err(LoadError::Broken)?;
        self.outgoing = Vec::new();
        let frame = read_frame(&mut self.stream, &mut self.incoming, self.zygote.room())
            .await
            .map_err(LoadError::Broken)?;
        let mut message: Incoming<'_> = parse(frame.body).map_err(LoadError::Broken)?;
        match (message.op, message.failure.take()) {
            (Op::Ready, None) => Ok(message.pid),
            (Op::Failed, Some(failure)) => Err(LoadError::Refused(
                failure.into_failure(),
                message.take_logs().unwrap_or_default(),
            )),
            _ => Err(LoadError::Broken(invalid("no answer to a load"))),
        }
    }

    /// Sends code to be checked and waits for the verdict, after which the worker ends.
    pub(super) async fn check(&mut self, first: &First<'_>) -> io::Result<Checked> {
        write_frame(&mut self.outgoing, first)?;
        self.stream.write_all(&self.outgoing).await?;
        let frame = read_frame(&mut self.stream, &mut self.incoming, self.zygote.room()).await?;
        parse(frame.body)
    }

    /// Runs one call to its end, answering the function's requests meanwhile.
    ///
    /// Dropped midway, or failed, it leaves the worker in a state that nobody may use again.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        outbound: Option<&Outbound>,
    ) -> io::Result<Answer> {
        let _busy = self.zygote.busy();
        write_frame(&mut self.outgoing, &CallFrame::of(call))?;
        let mut told = 0;
        loop {
            self.stream.write_all(&self.outgoing).await?;
            let room = self.zygote.room();
            let reading = read_frame(&mut self.stream, &mut self.incoming, room);
            let frame = if call.host.follows() {
                following(&self.journal, &*call.host, &mut told, reading).await?
            } else {
                reading.await?
            };
            let mut message: Incoming<'_> = parse(frame.body)?;
            let result = match message.op {
                Op::Ready => return Err(invalid("a second `ready`")),
                Op::Host => {
                    answer_request(call, outbound, message, frame.taken, &mut self.outgoing)
                        .await?;
                    continue;
                }
                Op::Result => message.take_result(),
                Op::Failed => match message.failure.take() {
                    Some(failure) => Err(failure.into_failure()),
                    None => return Err(invalid("a failure without reason")),
                },
            };
            let (logs, fitness) = (message.take_logs()?, message.take_fitness());
            self.trim_buffers();
            return Ok(Answer {
                result,
                logs,
                fitness,
            });
        }
    }

    /// Whether it is silent and connected, as an idle worker has to be.
    pub(super) fn is_quiet(&self) -> bool {
        // Without news from the kernel this costs no system call.
        let news = self.stream.try_read(&mut [0]);
        matches!(news, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The log lines of a call that got no answer, as far as they were written.
    pub(super) fn journal(&self) -> Vec<LogLine> {
        written(&self.journal)
    }

    /// How the process ended, as soon as that is known; none if it takes too long.
    pub(super) async fn ended(&mut self) -> Option<Exit> {
        match tokio::time::timeout(EXIT_LIMIT, self.exit.wait_for(Option::is_some)).await {
            Ok(Ok(exit)) => exit.clone(),
            Ok(Err(_)) => Some(Exit::ZygoteGone),
            Err(_) => None,
        }
    }

    fn trim_buffers(&mut self) {
        for buffer in [&mut self.incoming, &mut self.outgoing] {
            if buffer.capacity() > BUFFER_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

impl Drop for Worker {
    /// Whatever way a worker is let go, its process ends.
    fn drop(&mut self) {
        if self.exit.borrow().is_none() {
            self.zygote.kill(self.id);
        }
    }
}

/// What a journal holds.
fn written(journal: &OwnedFd) -> Vec<LogLine> {
    let mut bytes = vec![0; JOURNAL_BYTES];
    match rustix::io::pread(journal, &mut bytes, 0) {
        Ok(length) => journal_lines(&bytes[..length]),
        Err(_) => Vec::new(),
    }
}

/// Waits for `reading`, and tells of log lines as they are written meanwhile.
async fn following<T>(
    journal: &OwnedFd,
    host: &dyn HostCalls,
    told: &mut usize,
    reading: impl Future<Output = T>,
) -> T {
    tokio::pin!(reading);
    let mut look = tokio::time::interval(FOLLOW_EVERY);
    loop {
        tokio::select! {
            read = &mut reading => return read,
            _ = look.tick() => {
                let lines = written(journal);
                if let Some(new) = lines.get(*told..).filter(|new| !new.is_empty()) {
                    host.logged(new);
                    *told = lines.len();
                }
            }
        }
    }
}

fn parse<'f, T: Deserialize<'f>>(frame: &'f [u8]) -> io::Result<T> {
    serde_json::from_slice(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Has the engine answer a request of the function; the answer is the next frame out.
async fn answer_request(
    call: &Call,
    outbound: Option<&Outbound>,
    message: Incoming<'_>,
    taken: Option<Taken>,
    outgoing: &mut Vec<u8>,
) -> io::Result<()> {
    let Incoming {
        id, method, args, ..
    } = message;
    let args = args.filter(|args| args.get().starts_with('{'));
    let args = args.ok_or_else(|| invalid("a request without arguments"))?;
    let answered = match &*method {
        "http.request" => egress::answer(outbound, &call.executable, args).await,
        method => {
            // Not held while others are waited for, who may need room themselves.
            drop(taken);
            call.host.call(method, args).await
        }
    };
    let (ok, error) = match &answered {
        Ok(value) => (Some(&**value), None),
        Err(refusal) => {
            let error = HostRefusal {
                code: refusal.code,
                status: refusal.status,
                message: &refusal.message,
            };
            (None, Some(error))
        }
    };
    write_frame(outgoing, &HostAnswer { id, ok, error })
}
