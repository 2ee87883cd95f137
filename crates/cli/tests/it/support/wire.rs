//! A connection that sends any bytes: what no client library would.

use super::soon;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// An open connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    seen: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Reply {
    /// Whether the server said that it ends the connection.
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close")
    }
}

/// The address in a server's URL.
pub(crate) fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

impl Wire {
    pub(crate) async fn open(url: &str) -> Self {
        let connected = soon("a connection", TcpStream::connect(address(url)));
        Self::over(connected.await.unwrap())
    }

    /// A connection of which the client takes little at once.
    pub(crate) async fn narrow(url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let connected = soon("a connection", socket.connect(address(url)));
        Self::over(connected.await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        let seen = Vec::new();
        Self { stream, seen }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next answer; none when the connection ends before it is complete.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = find(&self.seen, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.seen[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        while self.seen.len() < end + length {
            self.more().await?;
        }
        let body = self.seen[end..end + length].to_vec();
        self.seen.drain(..end + length);
        let text = String::from_utf8_lossy(&body).into_owned();
        Some(Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
            head,
        })
    }

    /// Waits until the server ends the connection; gives what it said before.
    pub(crate) async fn ended(&mut self) -> String {
        while self.more().await.is_some() {}
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    async fn more(&mut self) -> Option<()> {
        let read = soon("bytes or an end", self.stream.read_buf(&mut self.seen));
        match read.await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
