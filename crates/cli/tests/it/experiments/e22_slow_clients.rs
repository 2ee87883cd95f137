//! E22: clients that send or read too slowly, or do nothing. Each connection ends within ten seconds,
//! and everybody else is answered meanwhile. The timeouts are shortened; that the defaults are within
//! ten seconds too is checked where they stand.

use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::skipped;
use crate::support::wire::Wire;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout};
use tollgate_core::limits;

/// What is promised.
const WITHIN: Duration = Duration::from_secs(10);
/// Idle connections, where the limit of open files allows it.
const IDLE: usize = 5000;
const SETTINGS: [(&str, &str); 3] = [
    ("TOLLGATE_HTTP__HEADER_TIMEOUT_SECONDS", "3"),
    ("TOLLGATE_HTTP__BODY_TIMEOUT_SECONDS", "2"),
    ("TOLLGATE_HTTP__WRITE_TIMEOUT_SECONDS", "2"),
];

#[test]
fn the_defaults_keep_the_promise() {
    for bound in [
        limits::HEADER_TIMEOUT,
        limits::BODY_TIMEOUT,
        limits::WRITE_TIMEOUT,
    ] {
        assert!(bound <= WITHIN, "{bound:?}");
    }
}

async fn start() -> Server {
    Server::start_in(&Arc::new(Folder::new()), &[], &SETTINGS).await
}

/// Somebody else's requests, until told to stop, and how long each took.
struct Others {
    stop: oneshot::Sender<()>,
    asking: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Others {
    fn ask(api: &Api) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let api = api.clone();
        let asking = tokio::spawn(async move {
            let mut took = Vec::new();
            while stopped.try_recv().is_err() {
                let began = Instant::now();
                api.get("/api/users/me/").await.ok();
                took.push(began.elapsed());
            }
            took
        });
        Self { stop, asking }
    }

    /// All were answered, 99 of 100 as soon as usual.
    async fn were_answered(self) {
        let _ = self.stop.send(());
        let mut took = self.asking.await.unwrap();
        assert!(took.len() > 100, "{}", took.len());
        took.sort();
        let p99 = took[took.len() * 99 / 100];
        assert!(p99 < Duration::from_secs(1), "{p99:?}");
    }
}

/// Sends `first`, then `more` a byte a second, until the server ends the connection; what it said.
async fn trickle(url: &str, first: &str, more: &str) -> String {
    let mut wire = Wire::open(url).await;
    wire.send(first.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = wire.stream.into_split();
    let more = more.as_bytes().to_vec();
    let sending = tokio::spawn(async move {
        let mut each_second = interval(Duration::from_secs(1));
        for byte in more {
            each_second.tick().await;
            let sent = tokio::io::AsyncWriteExt::write_all(&mut writes, &[byte]).await;
            if sent.is_err() {
                break;
            }
        }
        // The connection stays open on this side.
        writes
    });
    let mut said = Vec::new();
    let ended = timeout(WITHIN, reads.read_to_end(&mut said)).await;
    sending.abort();
    assert!(ended.is_ok(), "still open after {WITHIN:?}: {first:?}");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_heads_and_slow_bodies_are_not_waited_for() {
    let server = start().await;
    let others = Others::ask(&server.api);
    let url = &server.api.url;
    let credential = server.api.credential();
    let long = "x".repeat(60);
    let body = |path: &str, rest: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nauthorization: {credential}\r\n\
             content-type: application/json\r\n{rest}\r\n\r\n"
        )
    };
    let heads = [
        ("", ""),
        ("G", ""),
        ("GET /healthz HTT", ""),
        ("GET /", &long),
        ("GET /healthz HTTP/1.1\r\nhost: h\r\n", &long),
        ("GET /healthz HTTP/1.1\r\nhost: h\r\nx-slow: ", &long),
    ];
    let heads = heads.map(|(first, more)| {
        async move {
            // Without a whole head there is nothing to answer.
            let said = trickle(url, first, more).await;
            assert_eq!(said, "", "{first:?}");
        }
    });
    let bodies = [
        body("/api/users/", "content-length: 100"),
        body("/api/apps/", "content-length: 1000000"),
        body("/api/auth/jwt/token/", "content-length: 100"),
        body("/api/users/", "transfer-encoding: chunked") + "64\r\n",
    ];
    let bodies = bodies.map(|first| {
        let long = &long;
        async move {
            let said = trickle(url, &first, long).await;
            assert!(said.starts_with("HTTP/1.1 408"), "{first:?}: {said}");
            assert!(said.contains("did not arrive in time"), "{said}");
        }
    });
    tokio::join!(join_all(heads), join_all(bodies));
    // Nor is a body that nobody wants to read.
    let refused = trickle(
        url,
        "POST /api/users/ HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n",
        &long,
    );
    assert!(refused.await.starts_with("HTTP/1.1 401"));
    others.were_answered().await;
    server.stop().await;
}

/// How many connections this process can hold besides what it has.
fn room() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files)
        .unwrap_or(usize::MAX)
        .saturating_sub(500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_connections_end_and_disturb_nobody() {
    let count = IDLE.min(room());
    if count < IDLE {
        skipped(&format!(
            "{count} idle connections instead of {IDLE}: open files"
        ));
    }
    // Long enough that the first is still open when the last is opened.
    let settings = [("TOLLGATE_HTTP__HEADER_TIMEOUT_SECONDS", "8")];
    let server = Server::start_in(&Arc::new(Folder::new()), &[], &settings).await;
    let others = Others::ask(&server.api);
    let url = server.api.url.as_str();
    let open = |number: usize| async move {
        let mut wire = Wire::open(url).await;
        // Half of them had an answer before they went idle.
        if number.is_multiple_of(2) {
            let request = b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
            wire.send(request).await.unwrap();
            assert_eq!(wire.reply().await.unwrap().status, 200);
        }
        (wire, Instant::now())
    };
    let began = Instant::now();
    let idle = stream::iter((0..count).map(open)).buffer_unordered(100);
    let idle: Vec<_> = idle.collect().await;
    let opened = began.elapsed();
    assert!(opened < Duration::from_secs(8), "opening took {opened:?}");
    let ends = idle.into_iter().map(|(mut wire, since)| async move {
        assert_eq!(wire.ended().await, "");
        since.elapsed()
    });
    let longest = join_all(ends).await.into_iter().max().unwrap();
    assert!(longest < WITHIN, "{longest:?}");
    others.were_answered().await;
    server.stop().await;
}

/// Asks for far more than buffers hold, without reading it.
async fn asking_for_much(url: &str) -> Wire {
    let mut wire = Wire::narrow(url).await;
    let request = "GET /api/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";
    wire.send(request.repeat(300).as_bytes()).await.unwrap();
    wire
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_is_not_written_to_for_ever() {
    let server = start().await;
    let others = Others::ask(&server.api);
    let url = server.api.url.clone();
    let silent = (0..20).map(|_| {
        let url = url.clone();
        async move {
            let wire = asking_for_much(&url).await;
            // The server resets what it gives up: a signal that needs no reading.
            let ended = wire.stream.ready(Interest::ERROR);
            assert!(timeout(WITHIN, ended).await.is_ok(), "not reading");
        }
    });
    let trickling = async {
        let mut wire = asking_for_much(&url).await;
        let mut often = interval(Duration::from_millis(200));
        let mut little = [0; 512];
        let reading = async {
            loop {
                often.tick().await;
                if matches!(wire.stream.read(&mut little).await, Ok(0) | Err(_)) {
                    break;
                }
            }
        };
        assert!(timeout(WITHIN, reading).await.is_ok(), "reading a little");
    };
    tokio::join!(join_all(silent), trickling);
    others.were_answered().await;
    server.stop().await;
}

/// A slow client that does read gets all of it.
#[tokio::test]
async fn whoever_reads_steadily_gets_everything() {
    let server = start().await;
    let mut wire = Wire::narrow(&server.api.url).await;
    let request = "GET /api/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";
    wire.send(request.repeat(30).as_bytes()).await.unwrap();
    for _ in 0..30 {
        let reply = wire.reply().await.expect("all answers");
        assert!(reply.body["paths"].is_object());
    }
    server.stop().await;
}
