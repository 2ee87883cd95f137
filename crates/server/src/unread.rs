//! What a handler left of a request's body.
//!
//! A request may be refused before its body was read. Closing the connection then would break the
//! client's next request on it, without a word; so the rest is read, within bounds, before the
//! answer leaves, and where that takes too much the answer says that the connection ends.

use crate::patience::Progress;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tollgate_core::limits;

/// How long the rest of a body may take to arrive.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Where a body comes back to that was not read to its end.
#[derive(Clone)]
pub(crate) struct Unread {
    rest: Arc<Mutex<Option<Incoming>>>,
    progress: Progress,
}

/// A request's body on loan.
struct Lent {
    body: Option<Incoming>,
    back: Unread,
}

impl Unread {
    /// For one request of a connection.
    pub(crate) fn new(progress: Progress) -> Self {
        let rest = Arc::default();
        Self { rest, progress }
    }

    /// Lends `body` to a handler.
    pub(crate) fn lend(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Lent {
            body: Some(body),
            back: self.clone(),
        })
    }

    /// Reads what was left, or makes the answer say that the connection ends.
    pub(crate) async fn settle(&self, request: &Sizes, response: &mut Response) {
        let rest = self
            .rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(rest) = rest else { return };
        // A client that waits for permission would be invited to send everything; one that was too
        // slow, or sent too much, is not waited for again.
        let enough = matches!(
            response.status(),
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
        );
        let drained = !request.asks_first
            && !enough
            && request.length <= limits::REQUEST_BODY_BYTES
            && tokio::time::timeout(DRAIN_MAX, drain(rest)).await == Ok(true);
        if !drained {
            self.progress.refused();
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// What a request says about its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    length: usize,
    asks_first: bool,
}

impl Sizes {
    /// From the head. Without a length the bound of [`drain`] holds.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        Self {
            length: length.and_then(|length| length.parse().ok()).unwrap_or(0),
            asks_first: headers.contains_key(EXPECT),
        }
    }
}

/// Whether the body ended within the bound of a request.
async fn drain(mut body: Incoming) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > limits::REQUEST_BODY_BYTES {
            return false;
        }
    }
    true
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self
                .back
                .rest
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

/// An answer's body: when it has left, the connection is free for the next request.
pub(crate) struct Leaving {
    body: Body,
    progress: Progress,
}

impl Leaving {
    /// Around the body of an answer.
    pub(crate) fn around(body: Body, progress: Progress) -> Body {
        Body::new(Self { body, progress })
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.progress.reading();
    }
}
