//! One worker process as the server sees it: a socket, a journal, and the watch on its end.
//!
//! Whoever runs a call owns the worker meanwhile and reads its socket directly; there is no task
//! between them. After any breach of the protocol a worker must never be used again.

use super::answers;
use super::frames::{
    About, Admit, Admitted, BUFFER_BYTES, Held, Inbox, invalid, read_frame, reading, write_frame,
    write_frame_around,
};
use super::journal::Journal;
use super::protocol::{CallFrame, Checked, First, Fitness, HostAnswer, HostRefusal, Incoming, Op};
use super::rest::Body;
use super::zygote::{Ends, Exit, ExitWatch, Zygote};
use crate::outbound::reply::Written;
use crate::outbound::{Outbound, egress};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tollgate_core::functions::Executable;
use tollgate_core::invocations::LogLine;
use tollgate_core::json::JsonText;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{Call, HostCalls, HostError, HostErrorKind};
use tollgate_core::room::Room;
use tollgate_core::tasks::Failure;

/// How often a journal is looked at whose lines somebody wants to see at once.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// How long a report waits for the news of how a worker ended.
const EXIT_LIMIT: Duration = Duration::from_secs(1);
/// How long a worker may take to be told that its call is over.
const OVER_LIMIT: Duration = Duration::from_secs(1);

/// A worker process and the server's ends of what it shares with it.
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) exit: ExitWatch,
    pub(super) zygote: Zygote,
    /// None until its host has handed it out.
    stream: Option<UnixStream>,
    handed: Option<oneshot::Receiver<[OwnedFd; 4]>>,
    journal: Arc<Journal>,
    body: Arc<Body>,
    incoming: Box<Inbox>,
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
    /// Asks `zygote` for a process with this much memory. It is usable after [`Self::begin`] and
    /// [`Self::load`].
    pub(super) fn start(zygote: Zygote, id: u64, memory_mb: u32) -> io::Result<Self> {
        let body = Arc::new(Body::new(memory_mb, Arc::clone(zygote.weight())));
        let (stream, handed, journal, ends) = if zygote.language().hands_out() {
            let (ends, handed) = oneshot::channel();
            (
                None,
                Some(handed),
                Journal::default(),
                Ends::HandedOut(ends),
            )
        } else {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            let journal = Journal::new()?;
            let [lines, out, err] = journal.descriptors()?;
            let ends = Ends::Made([OwnedFd::from(theirs), lines, out, err]);
            (Some(stream_of(ours)?), None, journal, ends)
        };
        let exit = zygote.spawn(id, memory_mb, ends, Arc::clone(&body));
        Ok(Self {
            id,
            exit,
            zygote,
            stream,
            handed,
            journal: Arc::new(journal),
            body,
            incoming: Box::default(),
            outgoing: Vec::new(),
        })
    }

    /// Name for people.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.zygote.language().word(), self.id)
    }

    /// Sends the code, with the files around it, and waits until the process has it: what takes time from then on is the
    /// code. Dropped midway, it leaves a worker that nobody may use.
    pub(super) async fn begin(&mut self, first: &First<'_>, files: &[u8]) -> io::Result<()> {
        if let Some(handed) = self.handed.take() {
            let handed = handed.await.map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let [stream, lines, out, err] = handed;
            self.stream = Some(stream_of(stream.into())?);
            self.journal.fill([lines, out, err]);
        }
        write_frame(&mut self.outgoing, first)?;
        let stream = connected(&mut self.stream)?;
        stream.write_all(&self.outgoing).await?;
        stream.write_all(files).await?;
        self.outgoing = Vec::new();
        let admit = reading(&self.zygote.rooms().frames);
        let frame = read_frame(stream, &mut self.incoming, &admit).await?;
        match parse::<Incoming<'_>>(frame.body)?.op {
            Op::Begun => Ok(()),
            _ => Err(invalid("no sign of a beginning")),
        }
    }

    /// The process, as soon as its host has said that there is one.
    pub(super) fn body(&self) -> Arc<Body> {
        Arc::clone(&self.body)
    }

    /// Waits until the code's top level has run, which may ask for what other hosts answer, and for what `host` does:
    /// nobody has called it yet.
    pub(super) async fn load(
        &mut self,
        executable: &Executable,
        outbound: Option<&Outbound>,
        host: Option<&dyn HostCalls>,
    ) -> Result<u32, LoadError> {
        let rooms = self.zygote.rooms().clone();
        let (replies, answers_room) = (&rooms.replies, &rooms.answers);
        let ask = |method: String, args: Box<RawValue>, held| {
            Box::pin(async move {
                let _held: Option<Held> = held;
                match &*method {
                    "http.request" => egress::answer(outbound, executable, &args, replies).await,
                    method => match host {
                        Some(host) => answers::asked(host, method, &args, answers_room).await,
                        None => Err(HostError::forbidden(
                            "There is no platform here; the module's top level may only make requests \
                             to other hosts",
                        )),
                    },
                }
            }) as Asked<'_>
        };
        let admit = reading(&rooms.frames);
        let talk = self.converse(ask, &admit);
        talk.await.map_err(LoadError::Broken)?;
        let mut message: Incoming<'_> = parse(self.incoming.body()).map_err(LoadError::Broken)?;
        match (message.op, message.failure.take()) {
            (Op::Ready, None) => {
                self.body.loaded(message.left, self.zygote.supervisor());
                Ok(message.pid)
            }
            (Op::Failed, Some(failure)) => Err(LoadError::Refused(
                failure.into_failure(),
                message.take_logs().unwrap_or_default(),
            )),
            _ => Err(LoadError::Broken(invalid("no answer to a load"))),
        }
    }

    /// Waits for the verdict on code that was sent to be checked, after which the worker ends.
    pub(super) async fn check(&mut self) -> io::Result<Checked> {
        let admit = reading(&self.zygote.rooms().frames);
        let stream = connected(&mut self.stream)?;
        let frame = read_frame(stream, &mut self.incoming, &admit).await?;
        parse(frame.body)
    }

    /// Runs one call to its end, answering the function's requests meanwhile.
    ///
    /// Dropped midway, or failed, it leaves the worker in a state that nobody may use again.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        outbound: Option<&Outbound>,
        allotted: Duration,
    ) -> io::Result<Answer> {
        let _busy = self.zygote.busy();
        self.body.wake();
        write_frame(&mut self.outgoing, &CallFrame::of(call))?;
        let rooms = self.zygote.rooms().clone();
        let rooms = &rooms;
        let ask = |method: String, args: Box<RawValue>, held| {
            Box::pin(async move {
                match &*method {
                    "http.request" => {
                        let _held: Option<Held> = held;
                        egress::answer(outbound, &call.executable, &args, &rooms.replies).await
                    }
                    method => {
                        // What frames are read into is not held while others are waited for, who may need it
                        // themselves.
                        let _held = held.filter(|held| held.lasting);
                        answers::asked(&*call.host, method, &args, &rooms.answers).await
                    }
                }
            }) as Asked<'_>
        };
        let until = tokio::time::Instant::now() + allotted / 10 * 9;
        let admit = move |about, bytes| admitted(call, &rooms.frames, about, bytes, until);
        let journal = Arc::clone(&self.journal);
        let talk = self.converse(ask, &admit);
        if call.host.follows() {
            following(&journal, &*call.host, talk).await?;
        } else {
            talk.await?;
        }
        let mut message: Incoming<'_> = parse(self.incoming.body())?;
        let result = match message.op {
            Op::Begun | Op::Ready | Op::Host => return Err(invalid("no answer to a call")),
            Op::Result => message.take_result(),
            Op::Failed => match message.failure.take() {
                Some(failure) => Err(failure.into_failure()),
                None => return Err(invalid("a failure without reason")),
            },
        };
        let (logs, fitness) = (message.take_logs()?, message.take_fitness());
        let fitness = match fitness {
            Fitness::Fit => self.body.rest(message.left, message.large),
            unfit => unfit,
        };
        self.incoming.trim();
        shrink(&mut self.outgoing);
        Ok(Answer {
            result,
            logs,
            fitness,
        })
    }

    /// Sends what is to be sent and answers requests, several at a time, until a frame comes that is
    /// none; that is the last one in the inbox. Requests that are under way then are given up, and the
    /// worker is told so.
    async fn converse<'a>(
        &mut self,
        ask: impl Fn(String, Box<RawValue>, Option<Held>) -> Asked<'a>,
        admit: &Admit<'_>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = connected(&mut self.stream)?.split();
        let mut outgoing = std::mem::take(&mut self.outgoing);
        writer.write_all(&outgoing).await?;
        // It has them now, and the call may take long.
        shrink(&mut outgoing);
        let mut under_way = FuturesUnordered::new();
        let mut waiting = HashSet::new();
        loop {
            let frame = {
                let read = read_frame(&mut reader, &mut self.incoming, admit);
                let mut read = std::pin::pin!(read);
                loop {
                    tokio::select! {
                        biased;
                        frame = &mut read => break frame?,
                        Some((id, answered)) = under_way.next() => {
                            waiting.remove(&id);
                            answer(&mut writer, &mut outgoing, id, answered).await?;
                        }
                    }
                }
            };
            if !frame.asks {
                break;
            }
            if let Some((id, refusal)) = frame.refused {
                answer(&mut writer, &mut outgoing, id, Err(refusal)).await?;
                continue;
            }
            let held = frame.held;
            let Incoming {
                id, method, args, ..
            } = parse(frame.body)?;
            let args = args.filter(|args| args.get().starts_with('{'));
            let args = args.ok_or_else(|| invalid("a request without arguments"))?;
            if waiting.len() >= limits::REQUESTS_AT_ONCE {
                answer(&mut writer, &mut outgoing, id, Err(too_many())).await?;
                continue;
            }
            if !waiting.insert(id) {
                return Err(invalid("two requests with one number"));
            }
            let asked = ask(method.into_owned(), args.to_owned(), held);
            under_way.push(async move { (id, asked.await) });
            self.incoming.trim();
        }
        // A worker that has answered says nothing more until it is spoken to.
        if !self.incoming.is_spent() {
            return Err(invalid("bytes follow an answer"));
        }
        if !waiting.is_empty() {
            drop(under_way);
            let told = async {
                for id in waiting {
                    answer(&mut writer, &mut outgoing, id, Err(over())).await?;
                }
                Ok(())
            };
            let told = tokio::time::timeout(OVER_LIMIT, told).await;
            told.unwrap_or_else(|_| Err(invalid("it does not listen")))?;
        }
        self.outgoing = outgoing;
        Ok(())
    }

    /// Whether it is silent and connected, as an idle worker has to be.
    pub(super) fn is_quiet(&self) -> bool {
        // Without news from the kernel this costs no system call.
        let news = self.stream.as_ref().map(|stream| stream.try_read(&mut [0]));
        matches!(news, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Where the log lines of a call stand that gets no answer. Outlives the worker.
    pub(super) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// How the process ended, as soon as that is known; none if it takes too long.
    pub(super) async fn ended(&mut self) -> Option<Exit> {
        match tokio::time::timeout(EXIT_LIMIT, self.exit.wait_for(Option::is_some)).await {
            Ok(Ok(exit)) => exit.clone(),
            Ok(Err(_)) => Some(Exit::ZygoteGone),
            Err(_) => None,
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

/// The server's end of a worker's socket.
fn stream_of(ours: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    ours.set_nonblocking(true)?;
    UnixStream::from_std(ours)
}

fn connected(stream: &mut Option<UnixStream>) -> io::Result<&mut UnixStream> {
    let stream = stream.as_mut();
    stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Gives back what a large frame took up.
fn shrink(outgoing: &mut Vec<u8>) {
    if outgoing.capacity() > BUFFER_BYTES {
        *outgoing = Vec::new();
    }
}

/// Waits for `talk`, and tells of log lines as they are written meanwhile.
async fn following<T>(journal: &Journal, host: &dyn HostCalls, talk: impl Future<Output = T>) -> T {
    tokio::pin!(talk);
    let mut look = tokio::time::interval(FOLLOW_EVERY);
    let mut told = 0;
    loop {
        tokio::select! {
            end = &mut talk => return end,
            _ = look.tick() => {
                let (new, written) = journal.since(told);
                told = written;
                if !new.is_empty() {
                    host.logged(&new);
                }
            }
        }
    }
}

/// Room for a large frame. One with a request to the platform has its own until it is answered; it is waited for
/// as long as there is time for an error.
fn admitted<'a>(
    call: &'a Call,
    frames: &'a Room,
    about: About,
    bytes: usize,
    until: tokio::time::Instant,
) -> Admitted<'a> {
    Box::pin(async move {
        if about == About::Platform {
            // Once as it comes, and once as what is made of it.
            let room = call.host.room(2 * bytes);
            match tokio::time::timeout_at(until, room).await {
                Ok(Ok(Some(taken))) => return Ok(Ok(Held::lasting(taken))),
                Ok(Ok(None)) => {}
                Ok(Err(refusal)) => return Ok(Err(refusal)),
                Err(_) => return Ok(Err(no_room())),
            }
        }
        Ok(Ok(Held::reading(frames.take(bytes).await?)))
    })
}

fn parse<'f, T: Deserialize<'f>>(frame: &'f [u8]) -> io::Result<T> {
    serde_json::from_slice(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The answer to a request, and what it takes up, to be kept as long as it is there.
pub(super) type Answered = Result<Written, HostError>;

/// An answer that is on its way.
type Asked<'a> = BoxFuture<'a, Answered>;

/// Sends the answer to a request as the next frame. A large one is there once, without a copy.
async fn answer(
    writer: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut Vec<u8>,
    id: u64,
    answered: Answered,
) -> io::Result<()> {
    let (ok, error) = match &answered {
        Ok((value, _)) => (Some(&**value), None),
        Err(refusal) => (None, Some(HostRefusal::of(refusal))),
    };
    let sent = async {
        match ok.map(RawValue::get) {
            Some(value) if value.len() > BUFFER_BYTES => {
                write_frame_around(outgoing, &format!(r#"{{"id":{id},"ok":"#), value, "}")?;
                for part in [outgoing.as_slice(), value.as_bytes(), b"}"] {
                    writer.write_all(part).await?;
                }
                Ok(())
            }
            _ => {
                write_frame(outgoing, &HostAnswer { id, ok, error })?;
                writer.write_all(outgoing).await
            }
        }
    };
    // Others wait for the room that it takes.
    let sent = tokio::time::timeout(limits::ANSWER_TIME, sent).await;
    sent.unwrap_or_else(|_| Err(invalid("it does not read what it asked for")))
}

fn too_many() -> HostError {
    let most = limits::REQUESTS_AT_ONCE;
    let message = format!("A run may wait for {most} requests at the same time");
    HostError::new(HostErrorKind::TooMany, message)
}

fn no_room() -> HostError {
    let message =
        "The server has found no room in memory for so large a request; send less at once";
    HostError::new(HostErrorKind::TooMany, message)
}

fn over() -> HostError {
    HostError::new(
        HostErrorKind::Conflict,
        "The call that made this request is over",
    )
}
