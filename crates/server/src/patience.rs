//! A connection's bytes, with bounds on how long a slow client is waited for.
//!
//! hyper bounds how long a request may take to arrive, but waits for ever for a client that does not
//! read its answer. And closing a connection on which unread bytes lie resets it, so that a client
//! may never see the answer that says why: they are read away first, within bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tollgate_core::limits;

/// How long, and how much, is read away at the end.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 2 * limits::REQUEST_BODY_BYTES;
/// How much a client must take for its time to begin anew; else one byte now and then would do.
const PROGRESS_BYTES: usize = 16 * 1024;

/// A connection whose client is waited for within bounds.
pub(crate) struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the client does not take what there is for it.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Taken since then.
    taken: usize,
    end: Option<End>,
}

/// Nothing will be written any more.
#[derive(Default)]
struct End {
    discarded: usize,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// `patience` bounds how long the client may take over [`PROGRESS_BYTES`].
    pub(crate) const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
            taken: 0,
            end: None,
        }
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

    /// Reads away what lies there, and what follows it for a moment.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let end = self.end.get_or_insert_default();
        let mut bytes = [0_u8; 8 * 1024];
        while end.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    end.discarded += buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if end.discarded == 0 => return Poll::Ready(()),
                Poll::Pending => {
                    let lingering = end.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write.
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        self.discard(context).map(Ok)
    }
}
