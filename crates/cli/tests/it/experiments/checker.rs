//! The one checker of all experiments: a history, and the database once the server has stopped.
//!
//! Nothing that was promised is lost, nobody exists without having been checked, nothing that had
//! ended changed, and nothing is left under way.

use super::history::History;
use crate::support::folder::Folder;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A run as it stands in the database.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) task_id: String,
    pub(crate) event_id: Option<String>,
    pub(crate) function: String,
    pub(crate) event: Option<String>,
    pub(crate) state: String,
    pub(crate) holder: Option<String>,
    pub(crate) attempt: u64,
    pub(crate) uncounted: u64,
    /// How often somebody took it.
    pub(crate) fence: u64,
    pub(crate) user: Option<String>,
    pub(crate) result: Value,
    pub(crate) verdict: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) reason: Option<String>,
}

/// What is true in the end.
pub(crate) struct Found {
    pub(crate) users: BTreeSet<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) acknowledged: usize,
    pub(crate) whole_unacknowledged: usize,
    pub(crate) absent: usize,
}

impl Found {
    /// Runs of a POST function, or queued ones, that were taken more than once.
    pub(crate) fn run_again(&self) -> usize {
        let queued = |row: &&Row| !is_pre(row);
        self.rows
            .iter()
            .filter(queued)
            .filter(|row| row.fence > 1)
            .count()
    }
}

const ROWS: &str = "
    SELECT i.id, lower(hex(i.task_id)), lower(hex(i.event_id)), f.slug, i.event, i.state, i.holder,
        i.attempt, i.uncounted, CASE WHEN json_valid(i.params) THEN i.params ->> 'username' END,
        i.result, i.verdict, i.failure_kind, i.failure_message, i.fence
    FROM invocations i LEFT JOIN functions f ON f.id = i.function_id ORDER BY i.id";

fn open(folder: &Folder) -> Connection {
    let path = folder.data().join("tollgate.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let integrity = connection.query_one("PRAGMA integrity_check", [], check);
    assert_eq!(integrity.unwrap(), "ok");
    connection
}

fn rows(connection: &Connection) -> Vec<Row> {
    let mut statement = connection.prepare(ROWS).unwrap();
    let read = statement.query_map([], |row| {
        let result: Option<String> = row.get(10)?;
        Ok(Row {
            id: row.get(0)?,
            task_id: row.get(1)?,
            event_id: row.get::<_, Option<String>>(2)?.filter(|id| !id.is_empty()),
            function: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            event: row.get(4)?,
            state: row.get(5)?,
            holder: row.get(6)?,
            attempt: row.get::<_, i64>(7)?.unsigned_abs(),
            uncounted: row.get::<_, i64>(8)?.unsigned_abs(),
            user: row.get(9)?,
            result: result.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()),
            verdict: row.get(11)?,
            failure: row.get(12)?,
            reason: row.get(13)?,
            fence: row.get::<_, i64>(14)?.unsigned_abs(),
        })
    });
    read.unwrap().map(Result::unwrap).collect()
}

/// The runs of a stopped server, as they stand.
pub(crate) fn rows_of(folder: &Folder) -> Vec<Row> {
    rows(&open(folder))
}

fn is_pre(row: &Row) -> bool {
    row.event
        .as_ref()
        .is_some_and(|event| event.starts_with("PRE_"))
}

fn is_final(state: &str) -> bool {
    !matches!(state, "pending" | "running" | "retrying")
}

fn plain(id: &Value) -> Option<String> {
    id.as_str().map(|id| id.replace('-', ""))
}

/// Checks everything; the server must have stopped. Panics with everything that is wrong.
pub(crate) fn check(history: &History, folder: &Folder) -> Found {
    let lines = history.lines();
    let connection = open(folder);
    let rows = rows(&connection);
    let mut users = connection
        .prepare("SELECT username FROM users WHERE is_deleted = 0 AND NOT is_superuser")
        .unwrap();
    let users: BTreeSet<String> = users
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut wrong = Vec::new();
    nothing_is_open(&rows, &mut wrong);
    nothing_that_ended_changed(&lines, &rows, &mut wrong);
    what_was_queued_is_there(&lines, &rows, &mut wrong);
    users_are_whole(&lines, &users, &rows, &mut wrong);
    let (acknowledged, unanswered) = promises(&lines);
    for user in acknowledged.difference(&users) {
        wrong.push(format!("user {user} was promised and is not there"));
    }
    let shown = wrong
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(wrong.is_empty(), "{} wrong:\n{shown}", wrong.len());
    let found = Found {
        acknowledged: acknowledged.len(),
        whole_unacknowledged: unanswered.intersection(&users).count(),
        absent: unanswered.difference(&users).count(),
        users,
        rows,
    };
    history.note(&json!({
        "did": "check", "users": found.users.len(), "runs": found.rows.len(),
        "acknowledged": found.acknowledged,
        "unacknowledged_whole": found.whole_unacknowledged, "absent": found.absent,
        "run_again": found.run_again(),
    }));
    found
}

/// Users whose creation was answered with success, and those of whom nobody was told anything.
fn promises(lines: &[Value]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut acknowledged, mut unanswered) = (BTreeSet::new(), BTreeSet::new());
    for line in lines.iter().filter(|line| line["did"] == "answer") {
        let user = line["user"].as_str().unwrap().to_owned();
        match line["status"].as_u64() {
            Some(201) => acknowledged.insert(user),
            _ => unanswered.insert(user),
        };
    }
    (acknowledged, unanswered)
}

fn nothing_is_open(rows: &[Row], wrong: &mut Vec<String>) {
    for row in rows {
        if !is_final(&row.state) || row.holder.is_some() {
            wrong.push(format!("run left {}: {row:?}", row.state));
        }
    }
}

/// Ids stay over all attempts, and an end stays as it was seen.
fn nothing_that_ended_changed(lines: &[Value], rows: &[Row], wrong: &mut Vec<String>) {
    let by_id: BTreeMap<i64, &Row> = rows.iter().map(|row| (row.id, row)).collect();
    for line in lines.iter().filter(|line| line["did"] == "see") {
        let id = line["id"].as_i64().unwrap();
        let Some(row) = by_id.get(&id) else {
            // What somebody waits for is on disk with its end; before that nothing is promised.
            if is_final(line["state"].as_str().unwrap()) {
                wrong.push(format!("run {id} was seen and is gone: {line}"));
            }
            continue;
        };
        let ids = (plain(&line["task_id"]), plain(&line["event_id"]));
        if ids != (Some(row.task_id.clone()), row.event_id.clone()) {
            wrong.push(format!("other ids: {line} is now {row:?}"));
        }
        let seen = (
            line["state"].as_str().unwrap(),
            &line["result"],
            line["attempt"].as_u64(),
        );
        let now = (row.state.as_str(), &row.result, Some(row.attempt));
        if is_final(seen.0) && seen != now {
            wrong.push(format!("changed after its end: {line} is now {row:?}"));
        }
    }
}

fn what_was_queued_is_there(lines: &[Value], rows: &[Row], wrong: &mut Vec<String>) {
    let there: BTreeSet<_> = rows.iter().map(|row| (row.id, &*row.task_id)).collect();
    for line in lines.iter().filter(|line| line["did"] == "queue") {
        let task = plain(&line["task_id"]).unwrap();
        if !there.contains(&(line["id"].as_i64().unwrap(), &*task)) {
            wrong.push(format!("a queued run is lost: {line}"));
        }
    }
}

/// Every user has been checked by every PRE function and has one run of every POST function, and
/// nobody else has.
fn users_are_whole(
    lines: &[Value],
    users: &BTreeSet<String>,
    rows: &[Row],
    wrong: &mut Vec<String>,
) {
    let mut of_user: BTreeMap<(&str, &str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if let (Some(event), Some(user)) = (&row.event, &row.user) {
            of_user
                .entry((event, &row.function, user))
                .or_default()
                .push(row);
        }
    }
    for line in lines.iter().filter(|line| line["did"] == "subscribe") {
        let event = line["event"].as_str().unwrap();
        let function = line["function"].as_str().unwrap();
        for user in users {
            let runs = of_user.get(&(event, function, user.as_str()));
            let runs = runs.map_or(&[][..], Vec::as_slice);
            let agreed = |row: &&Row| {
                row.state == "succeeded"
                    && matches!(row.verdict.as_deref(), Some("allow" | "enrich"))
            };
            let fine = match event.starts_with("PRE_") {
                true => runs.iter().any(agreed),
                false => runs.len() == 1,
            };
            if !fine {
                wrong.push(format!("user {user}, {event} by {function}: {runs:?}"));
            }
        }
    }
    for row in rows
        .iter()
        .filter(|row| !is_pre(row) && row.event.is_some())
    {
        let user = row.user.as_ref();
        if user.is_some_and(|user| !users.contains(user)) {
            wrong.push(format!("a run for a user who is not there: {row:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, event: &str, function: &str) -> Row {
        Row {
            id,
            task_id: format!("t{id}"),
            event_id: Some("e1".to_owned()),
            function: function.to_owned(),
            event: Some(event.to_owned()),
            state: "succeeded".to_owned(),
            holder: None,
            attempt: 1,
            uncounted: 0,
            fence: 1,
            user: Some("ann".to_owned()),
            result: json!(1),
            verdict: event.starts_with("PRE_").then(|| "allow".to_owned()),
            failure: None,
            reason: None,
        }
    }

    fn wrong(change: impl FnOnce(&mut Vec<Row>, &mut BTreeSet<String>)) -> Vec<String> {
        let lines = [
            json!({"did": "subscribe", "event": "PRE_USER_CREATE", "function": "agrees"}),
            json!({"did": "subscribe", "event": "POST_USER_CREATE", "function": "greets"}),
            json!({"did": "queue", "id": 2, "task_id": "t2"}),
            json!({"did": "see", "id": 2, "task_id": "t2", "event_id": "e1",
                "state": "succeeded", "attempt": 1, "result": 1}),
        ];
        let mut rows = vec![
            row(1, "PRE_USER_CREATE", "agrees"),
            row(2, "POST_USER_CREATE", "greets"),
        ];
        let mut users = BTreeSet::from(["ann".to_owned()]);
        change(&mut rows, &mut users);
        let mut wrong = Vec::new();
        nothing_is_open(&rows, &mut wrong);
        nothing_that_ended_changed(&lines, &rows, &mut wrong);
        what_was_queued_is_there(&lines, &rows, &mut wrong);
        users_are_whole(&lines, &users, &rows, &mut wrong);
        wrong
    }

    #[test]
    fn it_sees_what_it_is_for() {
        assert_eq!(wrong(|_, _| {}), Vec::<String>::new());
        type Change = fn(&mut Vec<Row>, &mut BTreeSet<String>);
        let changes: [Change; 9] = [
            |rows, _| rows[1].state = "running".to_owned(),
            |rows, _| rows[1].holder = Some("me".to_owned()),
            |rows, _| rows[1].result = json!(2),
            |rows, _| rows[1].task_id = "t3".to_owned(),
            |rows, _| rows[1].event_id = None,
            |rows, _| drop(rows.remove(1)),
            |rows, _| rows[0].verdict = Some("deny".to_owned()),
            |rows, _| rows.push(row(3, "POST_USER_CREATE", "greets")),
            |_, users| users.clear(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!wrong(change).is_empty(), "change {number} was not seen");
        }
    }
}
