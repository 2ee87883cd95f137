//! A connection's bytes, with bounds on how long a slow client is waited for.
//!
//! hyper bounds how long a request may take to arrive, but waits for ever for a client that does not
//! read its answer. And closing a connection on which unread bytes lie, or come in, resets it, so that
//! a client may never see the answer that says why: they are read away first, within bounds.
//!
//! A client may also end its side after its request and still want the answer, which looks like one
//! that went away. hyper reads on only for what it still lacks of a request (`half_close`), so it
//! is told of the end when it asks; whether somebody is still there is looked at here, whenever
//! hyper flushes, which it does at each of its turns. The first byte of the answer is sent ahead: it
//! is an `H` whatever the answer will be. Who is there takes it, and who is not makes the connection
//! fail.

use crate::refusal::{Ids, Instead};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tollgate_core::limits;

/// How long, and how much, is read away at the end of a connection that still had something to say.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 2 * limits::REQUEST_BODY_BYTES;
/// The same where a body was refused that is under way: its client may look for the answer only when
/// it has sent everything.
const UPLOAD_LINGER: Duration = Duration::from_secs(10);
const UPLOAD_LINGER_BYTES: usize = 64 * limits::REQUEST_BODY_BYTES;
/// How soon after the byte sent ahead it is looked whether the client is there, and how often at last.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// The first byte of every answer.
const AHEAD: &[u8] = b"H";
/// How much a client must take for its time to begin anew; else one byte now and then would do.
const PROGRESS_BYTES: usize = 16 * 1024;

/// How far a connection is with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// None is under way, or its head has not arrived yet.
    Reading,
    /// The service has it, and its answer is not there.
    Waiting,
    /// The answer is on its way out.
    Answering,
}

/// What the service of a connection tells its reader.
#[derive(Debug, Default, Clone)]
pub(crate) struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
    /// A body was refused that is under way.
    refused: AtomicBool,
}

impl Progress {
    fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            1 => Stage::Waiting,
            2 => Stage::Answering,
            _ => Stage::Reading,
        }
    }

    /// No request is left.
    pub(crate) fn reading(&self) {
        self.0.stage.store(0, Ordering::Release);
    }

    /// The service has a request.
    pub(crate) fn waiting(&self) {
        self.0.stage.store(1, Ordering::Release);
    }

    /// Its answer is there.
    pub(crate) fn answering(&self) {
        self.0.stage.store(2, Ordering::Release);
    }

    /// A body was refused that is under way.
    pub(crate) fn refused(&self) {
        self.0.refused.store(true, Ordering::Release);
    }
}

/// A connection whose client is waited for within bounds.
pub(crate) struct Patient {
    stream: TcpStream,
    progress: Progress,
    /// Something was written and not flushed yet.
    unflushed: bool,
    /// Who is told of the client's end once everything is flushed.
    at_end: Option<Waker>,
    /// The answer's first byte has been sent.
    ahead: bool,
    /// Runs until it is looked again whether the client is there.
    look: Option<(Pin<Box<Sleep>>, Duration)>,
    patience: Duration,
    /// Runs while the client does not take what there is for it.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Taken since then.
    taken: usize,
    end: Option<End>,
    ids: Ids,
    /// Is sent in the place of what hyper writes.
    instead: Option<Instead>,
}

/// Nothing will be written any more.
#[derive(Default)]
struct End {
    discarded: usize,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// `patience` bounds how long the client may take over [`PROGRESS_BYTES`].
    pub(crate) const fn new(
        stream: TcpStream,
        patience: Duration,
        progress: Progress,
        ids: Ids,
    ) -> Self {
        Self {
            stream,
            progress,
            unflushed: false,
            at_end: None,
            ahead: false,
            look: None,
            patience,
            waiting: None,
            taken: 0,
            end: None,
            ids,
            instead: None,
        }
    }

    /// Writes what is sent in the place of `bytes`; None if that is nothing.
    fn write_instead(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() && self.progress.stage() == Stage::Reading {
            self.instead = Instead::of(bytes, &self.ids);
        }
        let instead = self.instead.as_mut()?;
        while !instead.rest().is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, instead.rest()) {
                Poll::Ready(Ok(sent)) => instead.sent(sent),
                other => return Some(other),
            }
        }
        self.instead = None;
        Some(Poll::Ready(Ok(bytes.len())))
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.taken += bytes;
                if self.taken >= PROGRESS_BYTES {
                    self.waiting = None;
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| {
                    self.taken = 0;
                    Box::pin(sleep(self.patience))
                });
                ready!(waiting.as_mut().poll(context));
                // What was not taken is not kept for the client either.
                let _ = self.stream.set_zero_linger();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Whether somebody still waits for the answer that is under way.
    ///
    /// # Errors
    /// When nobody does.
    fn watch(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let stage = self.progress.stage();
        if stage == Stage::Reading {
            self.look = None;
            return Ok(());
        }
        if self.look.is_none() {
            let mut next = [0_u8; 1];
            let mut next = ReadBuf::new(&mut next);
            match self.stream.poll_peek(context, &mut next) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                // Somebody is there, or what they have sent hides whether they are.
                Poll::Ready(Ok(_)) | Poll::Pending => return Ok(()),
            }
        }
        if stage == Stage::Waiting && !self.ahead {
            // If it cannot be sent, writing the answer will tell.
            self.ahead = self.stream.try_write(AHEAD).is_ok_and(|sent| sent == 1);
        }
        loop {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            let (sleeping, pause) = self
                .look
                .get_or_insert_with(|| (Box::pin(sleep(LOOK_FIRST)), LOOK_FIRST));
            if sleeping.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            let next = (*pause * 2).min(LOOK_MAX);
            self.look = Some((Box::pin(sleep(next)), next));
        }
    }

    /// Writes less the byte that was sent ahead.
    fn write_rest(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        debug_assert!(
            bytes.starts_with(AHEAD),
            "an answer begins with another byte"
        );
        let rest = &bytes[AHEAD.len()..];
        let written = if rest.is_empty() {
            0
        } else {
            ready!(Pin::new(&mut self.stream).poll_write(context, rest))?
        };
        self.ahead = false;
        Poll::Ready(Ok(written + AHEAD.len()))
    }

    /// Reads away what lies there, and what follows it for a moment.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let upload = self.progress.0.refused.load(Ordering::Acquire);
        let (most, linger) = if upload {
            (UPLOAD_LINGER_BYTES, UPLOAD_LINGER)
        } else {
            (LINGER_BYTES, LINGER)
        };
        let end = self.end.get_or_insert_default();
        let mut bytes = [0_u8; 16 * 1024];
        while end.discarded < most {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    end.discarded += buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if end.discarded == 0 && !upload => return Poll::Ready(()),
                Poll::Pending => {
                    let lingering = end.lingering.get_or_insert_with(|| Box::pin(sleep(linger)));
                    return lingering.as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let ended = buffer.filled().len() == before && buffer.remaining() > 0;
        if ended && self.unflushed {
            // hyper closes a connection on which nothing can be asked any more, whatever is left to send.
            self.at_end = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        let written = if self.ahead && !bytes.is_empty() {
            self.write_rest(context, bytes)
        } else if let Some(written) = self.write_instead(context, bytes) {
            written
        } else {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        };
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        let first = slices.iter().find(|slice| !slice.is_empty());
        let written = match first {
            Some(first) if self.ahead => self.write_rest(context, first),
            first => first
                .and_then(|first| self.write_instead(context, first))
                .unwrap_or_else(|| Pin::new(&mut self.stream).poll_write_vectored(context, slices)),
        };
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write.
        self.waiting = None;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.unflushed = false;
        if let Some(reader) = self.at_end.take() {
            reader.wake();
        }
        Poll::Ready(self.watch(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        self.discard(context).map(Ok)
    }
}
