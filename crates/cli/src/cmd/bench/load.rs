//! Load: connections that each create one user after the other.

use super::target::{Error, Target, elapsed};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tollgate_core::time::{Clock as _, SystemClock};

/// Numbers the users of all rows, so that every name is new.
static USERS: AtomicU64 = AtomicU64::new(0);

/// What a load saw.
pub(super) struct Load {
    pub(super) latencies_us: Histogram<u64>,
    pub(super) failed: u64,
    pub(super) elapsed: Duration,
}

/// Drives `connections` connections for `duration`.
pub(super) async fn run(
    target: &Target,
    connections: usize,
    duration: Duration,
) -> Result<Load, Error> {
    let start = SystemClock.monotonic();
    let mut drivers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut connection = Connection::open(target).await?;
        drivers.spawn(async move { connection.drive(duration).await });
    }
    let mut load = Load {
        latencies_us: histogram()?,
        failed: 0,
        elapsed: Duration::ZERO,
    };
    while let Some(driven) = drivers.join_next().await {
        let (latencies, failed) = driven??;
        load.latencies_us.add(latencies)?;
        load.failed += failed;
    }
    load.elapsed = elapsed(start);
    Ok(load)
}

pub(super) fn histogram() -> Result<Histogram<u64>, Error> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    credential: String,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Error> {
        let credential = format!("Api-Key {}", target.api_key);
        Self::open_as(target, target.address.clone(), credential).await
    }

    /// The same under another host name and for someone else.
    pub(super) async fn open_as(
        target: &Target,
        host: String,
        credential: String,
    ) -> Result<Self, Error> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host,
            credential,
        })
    }

    /// A further connection of the same.
    pub(super) async fn again(&self, target: &Target) -> Result<Self, Error> {
        Self::open_as(target, self.host.clone(), self.credential.clone()).await
    }

    async fn drive(&mut self, duration: Duration) -> Result<(Histogram<u64>, u64), Error> {
        let mut latencies = histogram()?;
        let mut failed = 0;
        let start = SystemClock.monotonic();
        while elapsed(start) < duration {
            let sent = SystemClock.monotonic();
            let status = self.create_user().await?;
            latencies.record(u64::try_from(elapsed(sent).as_micros())?.max(1))?;
            failed += u64::from(status != StatusCode::CREATED);
        }
        Ok((latencies, failed))
    }

    pub(super) async fn create_user(&mut self) -> Result<StatusCode, Error> {
        let number = USERS.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"username":"u{number}","email":"u{number}@example.com"}}"#);
        Ok(self.post("/api/users/", body).await?.0)
    }

    /// Sends a JSON body and reads the answer.
    pub(super) async fn post(
        &mut self,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Error> {
        self.send(Method::POST, path, body).await
    }

    /// The same with another method.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.credential)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
