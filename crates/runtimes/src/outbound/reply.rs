//! A response on its way to the function that asked for it: written as JSON while it arrives.
//!
//! A large one must never be in memory twice, and only its beginning while there is no room for it.

use super::client::Reply;
use super::egress::failed;
use crate::room::{Room, Taken};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::write::EncoderStringWriter;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::Write as _;
use tollgate_core::limits;
use tollgate_core::ports::runtime::HostError;
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

/// Reads a response from `url`, and what it takes up, to be kept as long as it is there.
///
/// # Errors
/// When it is too large, too slow, or breaks off.
pub(super) async fn written(
    mut reply: Reply,
    url: &str,
    room: &Room,
) -> Result<(Box<RawValue>, Option<Taken>), HostError> {
    let head = head(&reply, url)?;
    let length = reply.length().and_then(|it| usize::try_from(it).ok());
    if length.is_some_and(|it| it > limits::EGRESS_REPLY_BYTES) {
        return Err(too_large());
    }
    let mut beginning = Vec::new();
    if length.is_none_or(|it| it <= limits::EGRESS_SMALL_REPLY_BYTES) {
        while let Some(chunk) = reply.chunk().await.map_err(failed)? {
            beginning.extend_from_slice(&chunk);
            if beginning.len() > limits::EGRESS_SMALL_REPLY_BYTES {
                break;
            }
        }
        if beginning.len() <= limits::EGRESS_SMALL_REPLY_BYTES {
            let mut writing = Writing::begin(head, beginning.len());
            writing.add(&beginning)?;
            return Ok((writing.end()?, None));
        }
    }
    let most = length.unwrap_or(limits::EGRESS_REPLY_BYTES);
    let taken = room.take(encoded(most)).await.map_err(internal)?;
    let arriving = async {
        let mut writing = Writing::begin(head, most);
        writing.add(&beginning)?;
        drop(beginning);
        while let Some(chunk) = reply.chunk().await.map_err(failed)? {
            writing.add(&chunk)?;
        }
        writing.end()
    };
    let value = tokio::time::timeout(limits::EGRESS_REPLY_TIME, arriving).await;
    Ok((value.map_err(|_| slow())??, Some(taken)))
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
    HostError::new("PAYLOAD_TOO_LARGE", 413, message)
}

fn slow() -> HostError {
    let message = format!(
        "The response took longer than {} to arrive, which is the limit for one of more than {} bytes",
        span(limits::EGRESS_REPLY_TIME),
        limits::EGRESS_SMALL_REPLY_BYTES
    );
    HostError::new("GATEWAY_TIMEOUT", 504, message)
}
