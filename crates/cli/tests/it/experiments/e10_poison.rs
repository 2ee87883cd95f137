//! E10: rows that cannot be run, written straight into the database, and a function that takes its
//! interpreter down. Each becomes a dead letter, or a failed run where nothing could be redriven,
//! with its reason; their neighbours run.

use super::checker::check;
use super::history::History;
use super::load::{settled, times_run, traced};
use super::seed::Seed;
use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::sync::Arc;

const KILLER: &str = "\
import os, signal

def main(params):
    os.kill(os.getpid(), signal.SIGKILL)
";

const INSERT: &str = "
    INSERT INTO invocations (id, site_id, task_id, function_id, version_id, version, trigger, waiter,
        state, attempt, max_attempts, chain_depth, timeout_us, queued_at, updated_at, params)
    SELECT ?1, f.site_id, randomblob(16), ?2, ?3, 1, ?4, 'nobody', 'pending', 0, 3, 0, 5000000,
        f.updated_at, f.updated_at, ?5
    FROM functions f WHERE f.slug = 'work'";

const UNREADABLE_PARAMS: i64 = 900_001;
/// Its version is gone, its function is not: somebody may want to run it again.
const LOST_VERSION: i64 = 900_003;

/// Neither its function nor what caused it is known. It is discarded.
const NAMELESS: i64 = 900_006;

/// What is wrong with a row, and what it must end as.
struct Poison {
    id: i64,
    function: Option<i64>,
    version: Option<i64>,
    trigger: &'static str,
    params: &'static str,
    end: (&'static str, &'static str),
}

/// The function and its version, which the poisoned rows lack.
fn known(connection: &Connection) -> (i64, i64) {
    let sql = "SELECT f.id, v.id FROM functions f JOIN function_versions v ON v.function_id = f.id
        WHERE f.slug = 'work'";
    let pair = connection.query_one(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    pair.unwrap()
}

fn poison(folder: &Folder, rows: &[Poison]) {
    let connection = Connection::open(folder.data().join("tollgate.db")).unwrap();
    let (function, version) = known(&connection);
    for row in rows {
        let values = params![
            row.id,
            row.function.unwrap_or(function),
            row.version.unwrap_or(version),
            row.trigger,
            row.params
        ];
        assert_eq!(connection.execute(INSERT, values).unwrap(), 1);
    }
}

const fn row(id: i64, end: (&'static str, &'static str)) -> Poison {
    Poison {
        id,
        function: None,
        version: None,
        trigger: "api",
        params: "{}",
        end,
    }
}

/// A stopped server's folder, with two functions in it and one run that ended well.
async fn prepared(history: &History) -> Arc<Folder> {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    let api = &server.api;
    api.app("jobs").await;
    let code = traced(&folder);
    api.function("jobs", "work", &code, &json!({})).await;
    api.function("jobs", "kills", KILLER, &json!({})).await;
    history.queue(api, "jobs", "work").await.unwrap();
    settled(api).await;
    server.stop().await;
    folder
}

/// All of them are listed, whatever is damaged, and what nobody knows any more can be discarded.
async fn damaged_letters_are_shown(api: &Api, folder: &Folder, killer: i64) {
    let letters = api.get("/api/dead-letters/").await.ok();
    let mut ids: Vec<i64> = letters["data"].as_array().unwrap().iter().map(id).collect();
    ids.sort_unstable();
    let mut expected = vec![killer, UNREADABLE_PARAMS, 900_002, NAMELESS];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(letters["total"], expected.len());
    // What its columns do not tell any more is shown as unknown, and it can be discarded.
    let nameless = NAMELESS.to_string();
    let listed = folder.run(&["dead-letters", "list"]).await.ok();
    let line = format!("#{nameless}");
    let shown = listed.lines().find(|row| row.contains(&line)).unwrap();
    assert!(
        shown.contains("unknown") && shown.contains("v1"),
        "{listed}"
    );
    let shown = api.invocation(NAMELESS).await;
    assert_eq!(shown["trigger_type"], "unknown", "{shown}");
    folder
        .run(&["dead-letters", "discard", &nameless])
        .await
        .ok();
}

#[tokio::test]
async fn poison_ends_with_its_reason_and_harms_nobody() {
    let history = History::begin("e10", &Seed::from_env());
    let folder = prepared(&history).await;
    let rows = [
        Poison {
            params: "{\"a\":",
            ..row(UNREADABLE_PARAMS, ("dead", "corrupt"))
        },
        Poison {
            trigger: "nobody knows",
            ..row(900_002, ("dead", "corrupt"))
        },
        Poison {
            version: Some(987),
            ..row(LOST_VERSION, ("succeeded", ""))
        },
        Poison {
            function: Some(987),
            version: Some(988),
            ..row(900_004, ("failed", "deleted"))
        },
        row(900_005, ("succeeded", "")),
        Poison {
            function: Some(987),
            trigger: "nobody knows",
            ..row(NAMELESS, ("failed", "corrupt"))
        },
    ];
    poison(&folder, &rows);
    let server = Server::without_walls(&folder).await;
    let killer = history.queue(&server.api, "jobs", "kills").await.unwrap();
    for _ in 0..10 {
        history.queue(&server.api, "jobs", "work").await.unwrap();
    }
    settled(&server.api).await;
    let run = server.api.invocation(killer).await;
    assert_eq!(run["state"], "dead", "{run}");
    assert_eq!(
        (&run["attempt"], &run["error"]["kind"]),
        (&json!(3), &json!("crashed"))
    );
    damaged_letters_are_shown(&server.api, &folder, killer).await;
    history.look(&server.api, usize::MAX).await;
    server.stop().await;

    let found = check(&history, &folder);
    for poison in &rows {
        let row = found.rows.iter().find(|row| row.id == poison.id).unwrap();
        let kind = row.failure.as_deref().unwrap_or_default();
        assert_eq!((&*row.state, kind), poison.end, "{row:?}");
        let reason = row.reason.as_deref().unwrap_or_default();
        assert_eq!(kind.is_empty(), reason.is_empty(), "{row:?}");
    }
    let times = times_run(&folder);
    let healthy = found.rows.iter().filter(|row| row.state == "succeeded");
    for row in healthy.clone() {
        assert_eq!(
            (row.attempt, times.get(&row.task_id)),
            (1, Some(&1)),
            "{row:?}"
        );
    }
    // The one whose version is gone ran the active one.
    assert_eq!(healthy.count(), 13);
}

fn id(run: &Value) -> i64 {
    run["id"].as_i64().unwrap()
}
