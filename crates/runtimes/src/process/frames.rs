//! Frames between server and worker: a big-endian 32-bit length and that many bytes of JSON.
//!
//! What a worker sends may come from hostile code that has taken it over. What a frame is about stands
//! at its beginning, and its size is bounded by that before more of it is read. What large frames hold
//! together is bounded too: one that finds no room waits in the kernel, and one that stalls is given up.

use serde::Serialize;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tollgate_core::limits;
use tollgate_core::ports::runtime::HostError;
use tollgate_core::room::{Room, Taken};

/// What a frame is about stands within so many bytes.
const HEAD_BYTES: usize = 256;
/// Frames up to this size need no room: it is what a buffer has anyway.
const SMALL_BYTES: usize = limits::SMALL_PARAMS_BYTES;
/// How long the rest of a frame may take to arrive once its beginning has.
const STALL: Duration = Duration::from_secs(10);
/// A buffer that a large frame made larger than this is given back.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// What arrives from one worker: a frame, and perhaps the beginning of what follows it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    /// The end of the frame that was read last.
    used: usize,
}

impl Inbox {
    /// Nothing follows the frame that was read last.
    pub(super) fn is_spent(&self) -> bool {
        self.buffer.len() == self.used
    }

    /// Gives back what a large frame took up.
    pub(super) fn trim(&mut self) {
        if self.is_spent() && self.capacity() > BUFFER_BYTES {
            *self = Self::default();
        }
    }

    /// Bytes of memory that it takes up.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The body of the frame that was read last.
    pub(super) fn body(&self) -> &[u8] {
        self.buffer.get(4..self.used).unwrap_or_default()
    }
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame<'b> {
    /// Its body; empty where it was refused.
    pub(super) body: &'b [u8],
    /// It is a request of the running function, and no answer.
    pub(super) asks: bool,
    /// What it takes up; to be kept as long as something large that was read from it.
    pub(super) held: Option<Held>,
    /// The number of a request for which there was no room, and what it is told: it was passed over.
    pub(super) refused: Option<(u64, HostError)>,
}

/// What a large frame takes up.
#[derive(Debug)]
pub(super) struct Held {
    /// It has room until the request is answered. Other room is for reading: nobody may hold that who waits for
    /// others that need it.
    pub(super) lasting: bool,
    _room: Taken,
}

impl Held {
    /// Room of the request's own.
    pub(super) const fn lasting(room: Taken) -> Self {
        Self {
            lasting: true,
            _room: room,
        }
    }

    /// Room while it is read.
    pub(super) const fn reading(room: Taken) -> Self {
        Self {
            lasting: false,
            _room: room,
        }
    }
}

/// What a large frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A request to the platform.
    Platform,
    /// Anything else.
    Other,
}

/// Room for a frame, or a refusal.
pub(super) type Admitted<'a> =
    Pin<Box<dyn Future<Output = io::Result<Result<Held, HostError>>> + Send + 'a>>;

/// Finds room for a frame of so many bytes, or refuses it.
pub(super) type Admit<'a> = dyn Fn(About, usize) -> Admitted<'a> + Send + Sync + 'a;

/// Room for what is read and answered at once, whatever it is about.
pub(super) fn reading<'a>(
    room: &'a Room,
) -> impl Fn(About, usize) -> Admitted<'a> + Send + Sync + use<'a> {
    move |_, bytes| Box::pin(async move { Ok(Ok(Held::reading(room.take(bytes).await?))) })
}

/// Writes `value` as one frame into `buffer`, replacing what it held.
pub(super) fn write_frame(buffer: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    buffer.clear();
    buffer.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *buffer, value)?;
    let length = u32::try_from(buffer.len() - 4).map_err(io::Error::other)?;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Writes the beginning of a frame into `buffer`, replacing what it held: up to `head`, which `middle`
/// and `tail` follow.
pub(super) fn write_frame_around(
    buffer: &mut Vec<u8>,
    head: &str,
    middle: &str,
    tail: &str,
) -> io::Result<()> {
    let length = head.len() + middle.len() + tail.len();
    let length = u32::try_from(length).map_err(io::Error::other)?;
    buffer.clear();
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(head.as_bytes());
    Ok(())
}

/// Reads one frame. What was read before stays for the next try if this one is dropped midway.
///
/// # Errors
/// `UnexpectedEof` when the worker is gone, `InvalidData` when it breaks the protocol.
pub(super) async fn read_frame<'b>(
    stream: &mut (impl AsyncRead + Unpin),
    inbox: &'b mut Inbox,
    admit: &Admit<'_>,
) -> io::Result<Frame<'b>> {
    let used = std::mem::take(&mut inbox.used);
    let buffer = &mut inbox.buffer;
    buffer.drain(..used);
    buffer.reserve(4096);
    fill(stream, buffer, 4).await?;
    let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    if length > limits::FRAME_BYTES {
        return Err(invalid("a frame is larger than the limit"));
    }
    let head = 4 + length.min(HEAD_BYTES);
    let Announced {
        bound,
        asks,
        about,
        id,
    } = in_time(fill(stream, buffer, head))
        .await
        .and_then(|()| bound_of(&buffer[4..head]))?;
    if length > bound {
        return Err(invalid("a frame is larger than it may be"));
    }
    let mut held = None;
    if length > SMALL_BYTES {
        match admit(about, length).await? {
            Ok(admitted) => held = Some(admitted),
            Err(refusal) => {
                in_time(pass_over(stream, buffer, 4 + length)).await?;
                let refused = Some((id, refusal));
                return Ok(Frame {
                    body: &[],
                    asks,
                    held,
                    refused,
                });
            }
        }
    }
    in_time(fill(stream, buffer, 4 + length)).await?;
    inbox.used = 4 + length;
    let body = &inbox.buffer[4..4 + length];
    Ok(Frame {
        body,
        asks,
        held,
        refused: None,
    })
}

/// Gives up a frame that stalls.
async fn in_time<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let read = tokio::time::timeout(STALL, read).await;
    read.unwrap_or_else(|_| Err(invalid("a frame stalled")))
}

/// Takes what reaches up to `end` off the stream without keeping it.
async fn pass_over(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    end: usize,
) -> io::Result<()> {
    let mut left = end.saturating_sub(buffer.len());
    buffer.drain(..end.min(buffer.len()));
    let mut piece = vec![0; SMALL_BYTES];
    while left > 0 {
        let most = left.min(piece.len());
        match stream.read(&mut piece[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

/// Reads until `buffer` holds `end` bytes.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    end: usize,
) -> io::Result<()> {
    while buffer.len() < end {
        // Grows with what arrives, not with what is announced.
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len().min(end - buffer.len()));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// What the beginning of a frame says of it.
#[derive(Debug)]
struct Announced {
    /// How large it may be.
    bound: usize,
    /// It is a request.
    asks: bool,
    about: About,
    id: u64,
}

fn bound_of(beginning: &[u8]) -> io::Result<Announced> {
    let Some(head) = Head::read(beginning) else {
        return Err(invalid("a frame does not begin with what it is about"));
    };
    let bound = match (head.op, head.method) {
        ("result" | "failed", _) => limits::FRAME_BYTES,
        ("host", Some("http.request")) => limits::EGRESS_REQUEST_FRAME_BYTES,
        (
            "host",
            Some("users.create" | "users.update" | "functions.execute" | "events.publish"),
        ) => limits::REQUEST_BODY_BYTES + SMALL_BYTES,
        _ => limits::SMALL_FRAME_BYTES,
    };
    let asks = head.op == "host";
    let of_platform = |method: &str| method != "http.request";
    let about = match asks && head.method.is_some_and(of_platform) {
        true => About::Platform,
        false => About::Other,
    };
    Ok(Announced {
        bound,
        asks,
        about,
        id: head.id,
    })
}

/// The first members of a frame: `op`, `id`, `method`, in any order, and nothing else before them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head<'b> {
    op: &'b str,
    id: u64,
    method: Option<&'b str>,
}

impl<'b> Head<'b> {
    /// None if there is no `op`, or what is there is not as plain as a host writes it.
    fn read(beginning: &'b [u8]) -> Option<Self> {
        let mut rest = Rest(beginning);
        let mut head = Self::default();
        rest.skip(b'{')?;
        while let Some(name) = rest.text() {
            rest.skip(b':')?;
            match name {
                "op" => head.op = rest.text()?,
                "method" => head.method = Some(rest.text()?),
                "id" => head.id = rest.number()?,
                "pid" => {
                    rest.number()?;
                }
                // A check's answer is nothing but a verdict.
                _ => break,
            }
            if rest.skip(b',').is_none() {
                break;
            }
        }
        let needs_method = head.op == "host" && head.method.is_none();
        (!needs_method).then_some(head)
    }
}

/// What has not been read of a head.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn skip(&mut self, sign: u8) -> Option<()> {
        let rest = self.0.trim_ascii_start().strip_prefix(&[sign])?;
        self.0 = rest.trim_ascii_start();
        Some(())
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'b str> {
        let inside = self.0.strip_prefix(b"\"")?;
        let end = inside
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (text, rest) = inside.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?.trim_ascii_start();
        std::str::from_utf8(text).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest.trim_ascii_start();
        std::str::from_utf8(number).ok()?.parse().ok()
    }
}

/// A breach of the protocol.
pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut inbox = Inbox::default();
        let mut stream = bytes;
        let frame = read_frame(
            &mut stream,
            &mut inbox,
            &reading(&Room::new(limits::FRAMES_BYTES)),
        )
        .await?;
        Ok(frame.body.to_vec())
    }

    fn frame(body: &str) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], body.as_bytes()].concat()
    }

    #[tokio::test]
    async fn frames_come_back_as_written() {
        let mut frame = Vec::new();
        write_frame(&mut frame, &json!({"op": "x".repeat(100)})).unwrap();
        assert_eq!(read(&frame).await.unwrap(), &frame[4..]);
    }

    #[tokio::test]
    async fn broken_frames_are_errors() {
        let too_large = u32::try_from(limits::FRAME_BYTES + 1)
            .unwrap()
            .to_be_bytes();
        let too_large = [&too_large[..], br#"{"op":"result","result":"#, &[b' '; 300]].concat();
        for (bytes, kind) in [
            (&b""[..], io::ErrorKind::UnexpectedEof),
            (b"\0\0", io::ErrorKind::UnexpectedEof),
            (b"\0\0\0\x05abc", io::ErrorKind::UnexpectedEof),
            (&too_large, io::ErrorKind::InvalidData),
        ] {
            assert_eq!(read(bytes).await.unwrap_err().kind(), kind, "{bytes:?}");
        }
    }

    /// Several requests of one call may be under way.
    #[tokio::test]
    async fn frames_may_follow_each_other_at_once() {
        let bytes = [
            frame("{\"op\":\"a\"}"),
            frame("{\"op\":\"host\",\"method\":\"b\"}"),
        ]
        .concat();
        let (mut inbox, mut stream, room) = (
            Inbox::default(),
            &bytes[..],
            Room::new(limits::FRAMES_BYTES),
        );
        let first = read_frame(&mut stream, &mut inbox, &reading(&room))
            .await
            .unwrap();
        assert_eq!((first.body, first.asks), (&b"{\"op\":\"a\"}"[..], false));
        assert!(!inbox.is_spent());
        let second = read_frame(&mut stream, &mut inbox, &reading(&room))
            .await
            .unwrap();
        assert!(second.asks);
        assert!(inbox.is_spent() && inbox.body().ends_with(b"\"b\"}"));
    }

    /// Before more than its beginning is read.
    #[tokio::test]
    async fn the_bound_of_a_frame_is_that_of_what_it_is_about() {
        for (head, most) in [
            (r#"{"op":"result","result":"#, limits::FRAME_BYTES),
            (r#"{"op":"failed","failure":"#, limits::FRAME_BYTES),
            (r#"{"op":"ready","pid":7,"x":"#, limits::SMALL_FRAME_BYTES),
            (
                r#"{"op":"host","id":1,"method":"users.get","args":"#,
                limits::SMALL_FRAME_BYTES,
            ),
            (
                r#"{"method":"users.get","op":"host","args":"#,
                limits::SMALL_FRAME_BYTES,
            ),
            (
                r#"{ "op" : "host", "id": 12, "method": "users.create", "args":"#,
                limits::REQUEST_BODY_BYTES + SMALL_BYTES,
            ),
            (
                r#"{"op":"host","id":1,"method":"http.request","args":"#,
                limits::EGRESS_REQUEST_FRAME_BYTES,
            ),
            (r#"{"message":null,"x":"#, limits::SMALL_FRAME_BYTES),
        ] {
            assert_eq!(bound_of(head.as_bytes()).unwrap().bound, most, "{head}");
            let fill =
                |length: usize| format!("{head}\"{}\"}}", "x".repeat(length - head.len() - 3));
            assert_eq!(read(&frame(&fill(most))).await.unwrap().len(), most);
            let length = u32::try_from(most + 1).unwrap().to_be_bytes();
            // Of the rest, nothing is there to be read.
            let beginning = [&length[..], &fill(HEAD_BYTES).as_bytes()[..HEAD_BYTES]].concat();
            let refused = read(&beginning).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{head}");
        }
        for odd in [
            "",
            "[]",
            r#"{"op":"host","id":1,"args":{}"#,
            r#"{"o\u0070":"host""#,
            r#"{"op":{"a":1}"#,
            r#"{"op":"host","id":-1,"method":"users.get""#,
        ] {
            let bound = bound_of(odd.as_bytes());
            assert!(
                bound.is_err() || bound.unwrap().bound == limits::SMALL_FRAME_BYTES,
                "{odd}"
            );
        }
    }

    #[tokio::test]
    async fn large_frames_share_their_room_and_give_it_back() {
        let room = Room::new(limits::FRAMES_BYTES);
        // Two of them fit a site's half of the room, and a third one waits.
        let text = "x".repeat(limits::FRAMES_BYTES / 4 - 4096);
        let body = format!(r#"{{"op":"result","result":"{text}"}}"#);
        let bytes = frame(&body);
        let mut buffers = [Inbox::default(), Inbox::default(), Inbox::default()];
        let [one, two, three] = &mut buffers;
        let first = read_frame(&mut &bytes[..], one, &reading(&room))
            .await
            .unwrap();
        let second = read_frame(&mut &bytes[..], two, &reading(&room)).await;
        let mut stream = &bytes[..];
        let admit = reading(&room);
        let mut waiting = Box::pin(read_frame(&mut stream, three, &admit));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(second);
        drop(first);
        waiting.await.unwrap();
        let other = room.of_site();
        let mut inbox = Inbox::default();
        read_frame(&mut &bytes[..], &mut inbox, &reading(&other))
            .await
            .unwrap();
    }

    /// What follows it is read as if it had not been there.
    #[tokio::test]
    async fn a_request_without_room_is_passed_over() {
        let large = |method: &str| {
            let text = "x".repeat(200_000);
            frame(&format!(
                r#"{{"op":"host","id":12,"method":"{method}","args":"{text}"}}"#
            ))
        };
        let bytes = [
            large("functions.execute"),
            large("http.request"),
            frame("{\"op\":\"a\"}"),
        ]
        .concat();
        let room = Room::new(limits::FRAMES_BYTES);
        let admit = |about, bytes: usize| -> Admitted<'_> {
            let room = &room;
            Box::pin(async move {
                match about {
                    About::Platform => Ok(Err(HostError::bad_request("no"))),
                    About::Other => Ok(Ok(Held::reading(room.take(bytes).await?))),
                }
            })
        };
        let (mut inbox, mut stream) = (Inbox::default(), &bytes[..]);
        let first = read_frame(&mut stream, &mut inbox, &admit).await.unwrap();
        let refused = Some((12, HostError::bad_request("no")));
        assert_eq!((first.asks, first.refused), (true, refused));
        let second = read_frame(&mut stream, &mut inbox, &admit).await.unwrap();
        assert!(second.refused.is_none() && second.body.len() > 200_000);
        let third = read_frame(&mut stream, &mut inbox, &admit).await.unwrap();
        assert_eq!(third.body, b"{\"op\":\"a\"}");
        assert!(inbox.is_spent());
    }
}
