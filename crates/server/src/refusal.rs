//! What hyper refuses by itself, before there is a request: it would send a head and nothing else. Here
//! that gets a body and a request id as every other error has them.

use crate::error::Code;
use axum::http::HeaderValue;
use std::fmt::Write as _;
use std::sync::Arc;
use tollgate_core::limits;

/// Makes request ids.
pub(crate) type Ids = Arc<dyn Fn() -> HeaderValue + Send + Sync>;

/// An answer that is sent in the place of hyper's.
pub(crate) struct Instead {
    bytes: Vec<u8>,
    sent: usize,
}

impl Instead {
    /// For the head of an answer that no service gave: ours have an id. None for any other bytes.
    pub(crate) fn of(head: &[u8], ids: &Ids) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let status = head.strip_prefix("HTTP/1.1 4")?.get(..2)?;
        let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
        let first = lines.next()?;
        let lines: Vec<_> = lines.collect();
        if !lines.contains(&"content-length: 0") || head.contains("\r\nx-request-id:") {
            return None;
        }
        let id = ids();
        let body = body(status);
        tracing::debug!(http.status = first, request.id = ?id, "a request that is none was refused");
        let mut text = format!("{first}\r\n");
        for line in lines.iter().filter(|it| **it != "content-length: 0") {
            // Writing to a String cannot fail.
            let _ = write!(text, "{line}\r\n");
        }
        let _ = write!(
            text,
            "x-request-id: {}\r\ncontent-type: application/json\r\n\
             x-content-type-options: nosniff\r\ncontent-length: {}\r\n\r\n{body}",
            id.to_str().unwrap_or_default(),
            body.len()
        );
        let bytes = text.into_bytes();
        Some(Self { bytes, sent: 0 })
    }

    /// What is left of it.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many bytes more were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }
}

/// By the last two digits of the status.
fn body(status: &str) -> String {
    let message = match status {
        "31" => format!(
            "The request's head is larger than {} bytes, or has too many headers",
            limits::REQUEST_HEAD_BYTES
        ),
        "14" => "The request's path is too long".to_owned(),
        _ => "This is no request of HTTP/1.1: its first line or one of its headers cannot be read"
            .to_owned(),
    };
    serde_json::json!({
        "success": false,
        "status": "error",
        "code": Code::BadRequest,
        "message": message,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_service_answered_is_replaced() {
        let ids: Ids = Arc::new(|| HeaderValue::from_static("r-1"));
        let head = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: today\r\n\r\n";
        let instead = Instead::of(head.as_bytes(), &ids).unwrap();
        let text = std::str::from_utf8(instead.rest()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
        for line in ["x-request-id: r-1", "connection: close", "date: today"] {
            assert!(head.lines().any(|it| it == line), "{line}: {head}");
        }
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        for ours in [
            "HTTP/1.1 404 Not Found\r\nx-request-id: r\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 4",
        ] {
            assert!(Instead::of(ours.as_bytes(), &ids).is_none(), "{ours}");
        }
    }
}
