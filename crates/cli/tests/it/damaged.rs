//! Whatever stands in a row's columns, no route that reads fails over it and no list leaves it out.

use crate::support::api::Api;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::watch::Watch;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a column may hold that nobody ever meant, as SQL.
fn absurd(kind: &str) -> &'static [&'static str] {
    match kind {
        "INTEGER" => &[
            "-1",
            "9223372036854775807",
            "-9223372036854775807",
            "9200000000000000000",
            "4294967296",
            "NULL",
        ],
        _ => &[
            "''",
            "'{'",
            "'nobody knows'",
            "'[[1, 2, 3, 4]]'",
            "'[{\"timestamp\": \"9300000000000000000us\", \"level\": 7, \"message\": \"kept\"}]'",
            "CAST(x'fffe00' AS TEXT)",
            "CAST(zeroblob(1000000) AS TEXT)",
            "NULL",
        ],
    }
}

fn columns(database: &Connection, table: &str) -> Vec<(String, String)> {
    let sql = format!("SELECT name, type FROM pragma_table_info('{table}')");
    let mut statement = database.prepare(&sql).unwrap();
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    found.unwrap().map(Result::unwrap).collect()
}

/// A copy of a record for each column and each absurd value that its table takes. Which ones.
fn plant(database: &Connection, of: i64) -> Vec<(i64, String)> {
    let all = columns(database, "invocations");
    let named = |table: &str, replace: &dyn Fn(&str) -> Option<String>| -> (String, String) {
        let names: Vec<_> = columns(database, table)
            .into_iter()
            .map(|it| it.0)
            .collect();
        let values = names
            .iter()
            .map(|name| replace(name).unwrap_or(name.clone()));
        (names.join(", "), values.collect::<Vec<_>>().join(", "))
    };
    let mut planted = Vec::new();
    let mut id = 1_000_000;
    for (column, kind) in all {
        if ["id", "site_id", "task_id"].contains(&column.as_str()) {
            continue;
        }
        for value in absurd(&kind) {
            id += 1;
            let copy = |name: &str| match name {
                "id" => Some(id.to_string()),
                "task_id" => Some("randomblob(16)".to_owned()),
                name => (name == column).then(|| (*value).to_owned()),
            };
            let (names, values) = named("invocations", &copy);
            let sql = format!(
                "INSERT OR IGNORE INTO invocations ({names}) SELECT {values} FROM invocations WHERE id = {of}"
            );
            if database.execute(&sql, []).unwrap_or(0) == 1 {
                planted.push((id, format!("{column} = {value}")));
            }
        }
    }
    for (column, kind) in columns(database, "attempts") {
        if ["id", "invocation_id"].contains(&column.as_str()) {
            continue;
        }
        for value in absurd(&kind) {
            id += 1;
            let run = |name: &str| match name {
                "id" => Some(id.to_string()),
                "task_id" => Some("randomblob(16)".to_owned()),
                _ => None,
            };
            let (names, values) = named("invocations", &run);
            let sql = format!(
                "INSERT INTO invocations ({names}) SELECT {values} FROM invocations WHERE id = {of}"
            );
            database.execute(&sql, []).unwrap();
            let attempt = |name: &str| match name {
                "id" => Some("NULL".to_owned()),
                "invocation_id" => Some(id.to_string()),
                name => (name == column).then(|| (*value).to_owned()),
            };
            let (names, values) = named("attempts", &attempt);
            let sql = format!(
                "INSERT OR IGNORE INTO attempts ({names}) SELECT {values} FROM attempts WHERE invocation_id = {of}"
            );
            database.execute(&sql, []).unwrap();
            planted.push((id, format!("attempts.{column} = {value}")));
        }
    }
    planted
}

/// Every record of a list, by number, over all its pages.
async fn listed(api: &Api, path: &str) -> Vec<i64> {
    let (mut found, mut page) = (Vec::new(), 1);
    loop {
        let answer = api.get(&format!("{path}?page_size=100&page={page}")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let items = answer.body["data"].as_array().unwrap().clone();
        found.extend(items.iter().map(|it| it["id"].as_i64().unwrap()));
        page += 1;
        if items.is_empty() {
            assert_eq!(answer.body["total"], found.len(), "{path} is whole");
            return found;
        }
    }
}

#[tokio::test]
async fn no_stored_value_makes_a_read_fail() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    let api = &server.api;
    api.app("jobs").await;
    let code = "def main(params):\n    print('one line')\n    raise ValueError('no')\n";
    let options = json!({"max_attempts": 2});
    api.function("jobs", "fails", code, &options).await;
    let mut watch = Watch::open(api).await;
    let run = api.queue("jobs", "fails").await;
    assert_eq!(watch.ended(run).await["state"], "dead");
    server.stop().await;

    let database = Connection::open(folder.data().join("tollgate.db")).unwrap();
    let planted = plant(&database, run);
    assert!(planted.len() > 200, "{}", planted.len());
    drop(database);

    let server = Server::without_walls(&folder).await;
    let api = &server.api;
    let all = listed(api, "/api/invocations/").await;
    for (id, what) in &planted {
        assert!(all.contains(id), "{what} is missing from the list");
    }
    listed(api, "/api/dead-letters/").await;
    let told = |answer: &crate::support::api::Answer, what: &str, asked: &str| {
        assert!(answer.status < 500, "{asked} of {what}: {answer:?}");
    };
    for (id, what) in &planted {
        let record = api.get(&format!("/api/invocations/{id}/")).await;
        told(&record, what, "GET");
        assert_eq!(record.status, 200, "{what}");
        let task = record.body["task_id"].as_str().unwrap();
        told(
            &api.get(&format!("/api/result/{task}/")).await,
            what,
            "result",
        );
        told(
            &api.get(&format!("/api/dead-letters/{id}/")).await,
            what,
            "dead letter",
        );
        let body = json!({"async": true});
        let path = format!("/api/invocations/{id}/replay/");
        told(&api.post(&path, &body).await, what, "replay");
    }
    for (place, (id, what)) in planted.iter().enumerate() {
        let path = format!("/api/dead-letters/{id}/");
        let answer = match place % 2 {
            0 => api.post(&format!("{path}redrive/"), &json!({})).await,
            _ => {
                let request = api.request(Method::DELETE, &path);
                api.try_send(request).await.unwrap()
            }
        };
        told(&answer, what, "redrive or discard");
    }
    // Of a damaged log only what is damaged is gone.
    let logs = "logs = '[{";
    let (id, _) = planted
        .iter()
        .find(|(_, what)| what.starts_with(logs))
        .unwrap();
    let record: Value = api.invocation(*id).await;
    assert_eq!(record["logs"][0]["message"], "kept", "{record}");
    server.stop().await;
}

/// Texts that nobody ever meant, as SQL.
const ABSURD: [&str; 4] = ["'nobody knows'", "'{'", "CAST(x'fffe00' AS TEXT)", "''"];

/// Every column of these tables that one can damage without the table refusing it.
const TABLES: [(&str, &[&str]); 9] = [
    ("apps", &["name", "description"]),
    (
        "functions",
        &[
            "name",
            "description",
            "execution_mode",
            "environment",
            "options",
            "permissions",
            "permissions_scope",
            "acts_as",
            "version",
            "created_at",
        ],
    ),
    ("function_versions", &["source", "created_at"]),
    (
        "subscribers",
        &[
            "filter",
            "on_timeout",
            "max_attempts",
            "priority",
            "inactive",
            "created_at",
        ],
    ),
    (
        "users",
        &[
            "first_name",
            "last_name",
            "attributes",
            "preferences",
            "last_login",
        ],
    ),
    ("role_grants", &["role"]),
    ("secrets", &["description", "tags", "secret_type", "sealed"]),
    ("api_keys", &["name", "prefix"]),
    ("site_domains", &["domain"]),
];

/// What the HTTP API shows of a world with one of everything, as the damaged row's own user.
const READS: [&str; 18] = [
    "/api/apps/",
    "/api/apps/jobs/",
    "/api/apps/jobs/functions/",
    "/api/apps/jobs/functions/f/",
    "/api/apps/jobs/functions/f/versions/",
    "/api/apps/jobs/functions/f/versions/1/",
    "/api/apps/jobs/events/",
    "/api/apps/jobs/events/PRE_USER_CREATE/",
    "/api/cloud/events/PRE_USER_CREATE/",
    "/api/cloud/events/PRE_USER_CREATE/subscribe/?function_id=FUNCTION",
    "/api/users/",
    "/api/users/me/",
    "/api/users/me/preferences/",
    "/api/users/NAME/apps/",
    "/api/secrets/",
    "/api/secrets/?keys=K",
    "/api/secrets/K/",
    "/api/cloud/auth/api-keys/",
];

/// One row at a time is damaged, column by column: every GET still answers, and says which.
#[tokio::test]
async fn no_damaged_row_hides_the_others() {
    let folder = Arc::new(Folder::new());
    let server = Server::without_walls(&folder).await;
    let api = &server.api;
    api.app("jobs").await;
    let code = "def main(params):\n    return {}\n";
    let function = api.function("jobs", "f", code, &json!({})).await;
    let subscribe = json!({"function_id": function, "filter": "true"});
    let path = "/api/cloud/events/PRE_USER_CREATE/subscribe/";
    assert_eq!(api.post(path, &subscribe).await.status, 200);
    let secret = json!({"key": "K", "value": "v", "tags": ["t"]});
    assert_eq!(api.post("/api/secrets/", &secret).await.status, 201);
    let me = api.get("/api/users/me/").await.body;
    let name = me["data"]["username"].as_str().unwrap().to_owned();
    let grant = json!({"roles": ["jobs:viewer"], "usernames": [name]});
    assert_eq!(api.post("/api/assign/roles/", &grant).await.status, 200);
    let database = Connection::open(folder.data().join("tollgate.db")).unwrap();
    database
        .execute_batch(
            "PRAGMA busy_timeout = 20000;
             INSERT INTO site_domains (domain, site_id) SELECT 'x.example', MIN(id) FROM sites;",
        )
        .unwrap();
    let mut damaged = 0;
    for (table, columns) in TABLES {
        for column in columns {
            let texts = ABSURD.into_iter();
            let numbers = ["-1", "9223372036854775807", "4294967296", "x'00ff'"];
            for value in texts.chain(numbers) {
                damaged += usize::from(damage(&database, api, (table, column, value), &name).await);
            }
        }
    }
    assert!(damaged > 80, "{damaged}");
    // What a change would write over it must set anew, and then it is mended.
    let spoil = "UPDATE functions SET description = CAST(x'fffe00' AS TEXT)";
    database.execute(spoil, []).unwrap();
    let function = "/api/apps/jobs/functions/f/";
    let patch = async |body: Value| {
        let request = api.request(Method::PATCH, function).json(&body);
        api.try_send(request).await.unwrap()
    };
    let refused = patch(json!({"memory_mb": 64})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(refused.body["errors"][0]["field"], "description");
    let mended = patch(json!({"memory_mb": 64, "description": "new"})).await;
    assert_eq!(mended.status, 200, "{mended:?}");
    assert_eq!(api.get(function).await.body.get("damaged"), None);
    server.stop().await;
}

/// Damages one value, looks at everything, and mends it. False if the table does not take it.
async fn damage(
    database: &Connection,
    api: &Api,
    (table, column, value): (&str, &str, &str),
    name: &str,
) -> bool {
    let save = format!("CREATE TEMP TABLE kept AS SELECT * FROM {table}");
    database.execute_batch(&save).unwrap();
    let sql = format!("UPDATE {table} SET {column} = {value}");
    let taken = database.execute(&sql, []).is_ok();
    if taken {
        let function: i64 = database
            .query_row("SELECT id FROM functions", [], |row| row.get(0))
            .unwrap();
        let mut told = String::new();
        for path in READS {
            let path = path
                .replace("NAME", name)
                .replace("FUNCTION", &function.to_string());
            let answer = api.get(&path).await;
            let what = format!("{path} with {table}.{column} = {value}");
            assert!(answer.status < 500, "{what}: {answer:?}");
            if !path.contains("/versions/1/") {
                assert_eq!(answer.status, 200, "{what}: {answer:?}");
            }
            if let Some(named) = answer.body.to_string().split("\"damaged\":[").nth(1) {
                told.push_str(named.split(']').next().unwrap());
            }
        }
        // What is no text at all can be nothing else but damaged.
        let shown = match (table, column) {
            ("role_grants", _) => "roles",
            ("secrets", "sealed") => "value",
            // No route shows these, or only to whom they belong.
            ("site_domains", _) | ("users", "preferences") => "",
            (_, column) => column,
        };
        if value.starts_with("CAST") || column == "sealed" {
            assert!(told.contains(shown), "{table}.{column}: {told}");
        }
    }
    let columns: Vec<_> = columns(database, table)
        .into_iter()
        .map(|it| it.0)
        .collect();
    let columns = columns.join(", ");
    let mend = format!(
        "PRAGMA foreign_keys = OFF; DELETE FROM {table}; \
         INSERT INTO {table} ({columns}) SELECT {columns} FROM kept; DROP TABLE kept;"
    );
    database.execute_batch(&mend).unwrap();
    taken
}
