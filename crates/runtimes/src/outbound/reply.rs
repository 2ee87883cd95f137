//! A response on its way to the function that asked for it: written as JSON while it arrives.
//!
//! A large one must never be in memory twice, and only its beginning while there is no room for it.

use super::client::Reply;
use super::egress::failed;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::write::EncoderStringWriter;
use serde::Serialize;
use serde_json::value::RawValue;
use std::future::Future;
use std::io::Write as _;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{HostError, HostErrorKind};
use tollgate_core::room::{Room, Taken};
use tollgate_core::text::span;

/// What stands before the body.
#[derive(Serialize)]
struct Head<'a> {
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    url: &'a str,
    headers: Vec<(&'a str, String)>,
}

/// A response as JSON, its body in base64.
struct Writing {
    body: EncoderStringWriter<'static, GeneralPurpose, String>,
    bytes: usize,
}

impl Writing {
    /// Begins one with a body of so many bytes.
    fn begin(mut text: String, bytes: usize) -> Self {
        text.reserve_exact(encoded(bytes) + 2);
        Self {
            body: EncoderStringWriter::from_consumer(text, &BASE64),
            bytes: 0,
        }
    }

    fn add(&mut self, part: &[u8]) -> Result<(), HostError> {
        self.bytes += part.len();
        if self.bytes > limits::EGRESS_REPLY_BYTES {
            return Err(too_large());
        }
        self.body.write_all(part).map_err(internal)
    }

    fn end(self) -> Result<Box<RawValue>, HostError> {
        let mut text = self.body.into_inner();
        text.push_str("\"}");
        RawValue::from_string(text).map_err(internal)
    }
}

/// Room for responses. Whoever waits for a larger one's may hold a smaller one's, and never the other way.
#[derive(Debug, Clone)]
pub(crate) struct ReplyRooms {
    /// For those of which nothing is known yet.
    unknown: Room,
    middling: Room,
    large: Room,
}

impl ReplyRooms {
    /// All there is.
    pub(crate) fn new() -> Self {
        Self {
            unknown: Room::new(limits::EGRESS_UNKNOWN_REPLIES_BYTES),
            middling: Room::new(limits::EGRESS_MIDDLING_REPLIES_BYTES),
            large: Room::new(limits::EGRESS_LARGE_REPLIES_BYTES),
        }
    }

    /// One site's part in it.
    pub(crate) fn of_site(&self) -> Self {
        Self {
            unknown: self.unknown.of_site(),
            middling: self.middling.of_site(),
            large: self.large.of_site(),
        }
    }
}

/// A response for a function, and what it takes up, to be kept as long as it is there.
pub(crate) type Written = (Box<RawValue>, Option<Taken>);

/// Reads a response from `url`.
///
/// # Errors
/// When it is too large, too slow, or breaks off.
pub(super) async fn written(
    mut reply: Reply,
    url: &str,
    rooms: &ReplyRooms,
) -> Result<Written, HostError> {
    let head = head(&reply, url)?;
    let length = reply.length().and_then(|it| usize::try_from(it).ok());
    if length.is_some_and(|it| it > limits::EGRESS_REPLY_BYTES) {
        return Err(too_large());
    }
    let may_be = |most: usize| length.is_none_or(|it| it <= most);
    let mut beginning = Vec::new();
    let small = limits::EGRESS_SMALL_REPLY_BYTES;
    let unknown = match length {
        None => Some(take(&rooms.unknown, limits::EGRESS_UNKNOWN_REPLY_BYTES).await?),
        Some(_) => None,
    };
    if may_be(small) && in_time(read(&mut reply, &mut beginning, small)).await? {
        return Ok((whole(head, &beginning)?, None));
    }
    let middling = limits::EGRESS_MIDDLING_REPLY_BYTES;
    let mut held = None;
    if may_be(middling) {
        // Once as it comes, and once as it is written.
        let most = 2 * encoded(length.unwrap_or(middling));
        held = Some(take(&rooms.middling, most).await?);
        drop(unknown);
        if in_time(read(&mut reply, &mut beginning, middling)).await? {
            return Ok((whole(head, &beginning)?, held));
        }
    }
    let most = length.unwrap_or(limits::EGRESS_REPLY_BYTES);
    let taken = take(&rooms.large, encoded(most)).await?;
    let arriving = async {
        let mut writing = Writing::begin(head, most);
        writing.add(&beginning)?;
        drop((beginning, held));
        while let Some(chunk) = reply.chunk().await.map_err(failed)? {
            writing.add(&chunk)?;
        }
        writing.end()
    };
    Ok((in_time(arriving).await?, Some(taken)))
}

async fn take(room: &Room, bytes: usize) -> Result<Taken, HostError> {
    room.take(bytes).await.map_err(internal)
}

/// Reads until there is more than `most`, or the end has come. Returns whether that has.
async fn read(reply: &mut Reply, into: &mut Vec<u8>, most: usize) -> Result<bool, HostError> {
    reply.read_into(into, most).await.map_err(failed)
}

/// What holds room must not take long.
async fn in_time<T>(reading: impl Future<Output = Result<T, HostError>>) -> Result<T, HostError> {
    let read = tokio::time::timeout(limits::EGRESS_REPLY_TIME, reading).await;
    read.map_err(|_| slow())?
}

fn whole(head: String, body: &[u8]) -> Result<Box<RawValue>, HostError> {
    let mut writing = Writing::begin(head, body.len());
    writing.add(body)?;
    writing.end()
}

/// How long so many bytes are in base64.
const fn encoded(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The text up to the body.
fn head(reply: &Reply, url: &str) -> Result<String, HostError> {
    let reason = reply.reason();
    let header = |value: &reqwest::header::HeaderValue| {
        // As Latin-1, which every header is.
        value.as_bytes().iter().copied().map(char::from).collect()
    };
    let headers = reply.headers().iter();
    let head = Head {
        status: reply.status().as_u16(),
        reason: &reason,
        url,
        headers: headers
            .map(|(name, value)| (name.as_str(), header(value)))
            .collect(),
    };
    let mut text = serde_json::to_string(&head).map_err(internal)?;
    // Within the object.
    text.pop();
    text.push_str(",\"body\":\"");
    Ok(text)
}

fn internal(error: impl std::fmt::Display) -> HostError {
    HostError::internal(&error)
}

fn too_large() -> HostError {
    let message = format!(
        "The response is larger than {} bytes, which is the limit",
        limits::EGRESS_REPLY_BYTES
    );
    HostError::new(HostErrorKind::TooLarge, message)
}

fn slow() -> HostError {
    let message = format!(
        "The response took longer than {} to arrive, which is the limit for one of more than {} bytes",
        span(limits::EGRESS_REPLY_TIME),
        limits::EGRESS_SMALL_REPLY_BYTES
    );
    HostError::new(HostErrorKind::Late, message)
}
