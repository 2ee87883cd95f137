//! E6: the wall clock jumps while runs are under way and others wait: ten years ahead, a day back.
//! Leases and deadlines do not follow it; nothing is taken away from anybody, and nothing is stuck.

use super::checker::{Found, check};
use super::history::History;
use super::load::{BegunRuns, held, settled, subscribed, times_run};
use super::seed::Seed;
use crate::support::folder::Folder;
use crate::support::server::{Server, WITHOUT_WALLS};
use crate::support::{poll, skipped};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
const PAST_THE_LEASE: Duration = Duration::from_millis(3500);
/// More than may run: the rest waits, in memory and in the database.
const RUNS: usize = 12;

/// Fails at its first attempt.
const SECOND_TIME: &str = "\
def main(params):
    if params['__function__']['attempt'] == 1:
        raise ValueError('not yet')
    return 'now'
";

/// A server whose wall clock is set by a file, with runs under way and others waiting.
struct World {
    history: History,
    folder: Arc<Folder>,
    server: Server,
    begun: BegunRuns,
}

fn set_clock(folder: &Folder, offset: &str) {
    // Never half written: the program reads it at every look at the clock.
    let next = folder.write("clock.next", offset);
    std::fs::rename(next, folder.path().join("clock")).unwrap();
}

impl World {
    /// None, loudly, without the library.
    async fn new(name: &str) -> Option<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|it| Path::new(it).exists()) else {
            skipped("the clock does not jump without Debian's package `faketime`");
            return None;
        };
        let history = History::begin(name, &Seed::from_env());
        let folder = Arc::new(Folder::new());
        set_clock(&folder, "+0");
        let clock = folder.path().join("clock");
        let settings = [
            WITHOUT_WALLS,
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("TOLLGATE_EXECUTION__LEASE_SECONDS", "1"),
            ("TOLLGATE_EXECUTION__RUNNING", "8"),
            ("TOLLGATE_EXECUTION__IN_MEMORY", "12"),
            // Records age by the wall clock: at a jump ahead they would be over.
            ("TOLLGATE_RETENTION__SUCCEEDED_DAYS", "0"),
            ("TOLLGATE_RETENTION__FAILED_DAYS", "0"),
            ("TOLLGATE_RETENTION__TIMED_OUT_DAYS", "0"),
            ("TOLLGATE_RETENTION__CANCELLED_DAYS", "0"),
        ];
        let server = Server::start_in(&folder, &[], &settings).await;
        subscribed(&history, &server.api, &folder).await;
        server.api.app("jobs").await;
        let (code, begun) = held(&folder);
        server.api.function("jobs", "held", &code, &json!({})).await;
        server
            .api
            .function("jobs", "again", SECOND_TIME, &json!({}))
            .await;
        let world = Self {
            history,
            folder,
            server,
            begun,
        };
        assert_eq!(world.create_user("before").await, Some(201));
        Some(world)
    }

    async fn create_user(&self, name: &str) -> Option<u16> {
        self.history.create_user(&self.server.api, name).await
    }

    /// Runs under way, waiting, and waiting for another attempt; then the clock jumps.
    async fn jump(&self, offset: &str) -> i64 {
        let api = &self.server.api;
        let again = self.history.queue(api, "jobs", "again").await.unwrap();
        let mut watch = crate::support::watch::Watch::open(api).await;
        if api.invocation(again).await["state"] == "running" {
            watch.state(again, "retrying").await;
        }
        for _ in 0..RUNS {
            self.history.queue(api, "jobs", "held").await.unwrap();
        }
        assert!(poll::holds_soon(|| !self.begun.all().is_empty()));
        self.history.note(&json!({"did": "jump", "clock": offset}));
        set_clock(&self.folder, offset);
        poll::let_pass(PAST_THE_LEASE);
        again
    }

    /// Everything ends, once, and the server works as before.
    async fn end(self) -> (Found, Value) {
        self.folder.write("go", "");
        settled(&self.server.api).await;
        assert_eq!(self.create_user("after").await, Some(201));
        settled(&self.server.api).await;
        self.history.look(&self.server.api, usize::MAX).await;
        let user = self.server.api.get("/api/users/after/").await.ok();
        let said = self.server.stderr.so_far();
        assert!(
            !said.contains("took over") && !said.contains("in hand"),
            "{said}"
        );
        self.server.stop().await;
        let found = check(&self.history, &self.folder);
        let times = times_run(&self.folder);
        let held = found.rows.iter().filter(|row| row.function == "held");
        for row in held.clone() {
            let counts = (row.attempt, row.uncounted, times.get(&row.task_id));
            assert_eq!(counts, (1, 0, Some(&1)), "{row:?}");
        }
        assert_eq!(held.count(), RUNS);
        let again = found.rows.iter().find(|row| row.function == "again");
        assert!(again.is_some_and(|row| row.state == "succeeded" && row.attempt == 2));
        (found, user["data"]["date_joined"].clone())
    }
}

fn year(moment: &Value) -> i32 {
    moment.as_str().unwrap()[..4].parse().unwrap()
}

async fn joined(world: &World, name: &str) -> Value {
    let path = format!("/api/users/{name}/");
    let user = world.server.api.get(&path).await.ok();
    user["data"]["date_joined"].clone()
}

#[tokio::test]
async fn ten_years_ahead() {
    let Some(world) = World::new("e06-ahead").await else {
        return;
    };
    let before = joined(&world, "before").await;
    world.jump("+10y").await;
    let (_, after) = world.end().await;
    assert!(year(&after) - year(&before) >= 9, "{before} {after}");
}

#[tokio::test]
async fn a_day_back() {
    let Some(world) = World::new("e06-back").await else {
        return;
    };
    let before = joined(&world, "before").await;
    world.jump("-1d").await;
    let (_, after) = world.end().await;
    // RFC 3339 in UTC sorts as it reads.
    assert!(after.as_str() < before.as_str(), "{before} {after}");
}
