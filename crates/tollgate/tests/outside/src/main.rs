//! An application of its own: a table of transfers, events around them, and ways to end in the middle.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate::rusqlite::{self, Connection, params};
use tollgate::{
    AroundError, LifecycleEvent, Operation, State, SubscriberOptions, SystemCall, Tollgate,
};

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "PRE_TRANSFER", description = "Before money moves.", enrichable("fee"))]
struct Proposed {
    id: i64,
    cents: i64,
    #[serde(default)]
    fee: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "POST_TRANSFER", description = "After money has moved.")]
struct Moved {
    id: i64,
    cents: i64,
    fee: i64,
}

#[tollgate::function]
async fn check(call: SystemCall) -> Result<Value, String> {
    match call.params["cents"].as_i64() {
        Some(cents) if cents > 1000 => Ok(json!({"success": false, "error": "too much"})),
        Some(13) => Err("thirteen".to_owned()),
        Some(cents) => Ok(json!({"params": {"fee": cents / 10}})),
        None => Err("no number".to_owned()),
    }
}

#[tollgate::function]
async fn notify(call: SystemCall) -> Result<Value, String> {
    if std::env::var_os("HANG").is_some() {
        std::future::pending::<()>().await;
    }
    Ok(json!({"id": call.params["id"], "fee": call.params["fee"]}))
}

async fn open(folder: &str) -> Tollgate {
    let builder = Tollgate::builder().sqlite(folder);
    let builder = builder.event::<Proposed>().event::<Moved>();
    let tollgate = builder.function(check()).function(notify()).start().await.unwrap();
    let table = "CREATE TABLE IF NOT EXISTS transfers (id INTEGER PRIMARY KEY, cents INTEGER, fee INTEGER)";
    tollgate.write(move |tx| tx.execute_batch(table)).await.unwrap();
    let app = tollgate.app("bank").await.unwrap();
    let (check, notify) = (app.system(check()).await.unwrap(), app.system(notify()).await.unwrap());
    let options = SubscriberOptions::default();
    tollgate.subscribe::<Proposed>(check, options.clone()).await.unwrap();
    tollgate.subscribe::<Moved>(notify, options).await.unwrap();
    tollgate
}

fn save(how: &str, tx: &Connection, transfer: &Proposed) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO transfers (id, cents, fee) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![transfer.id, transfer.cents, transfer.fee])?;
    match how {
        "fail" => Err(rusqlite::Error::QueryReturnedNoRows),
        "panic" => panic!("in the middle"),
        "abort" => std::process::abort(),
        _ => Ok(transfer.id),
    }
}

/// What stands there: transfers, and runs of either function by state.
async fn tell(tollgate: &Tollgate) {
    let path = tollgate.database().to_owned();
    let read = Connection::open(path).unwrap();
    let mut query = read.prepare("SELECT id, cents, fee FROM transfers ORDER BY id").unwrap();
    let rows = query.query_map([], |row| {
        let row: (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(row)
    });
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    let mut told = json!({"transfers": rows});
    for function in ["check", "notify"] {
        let runs = tollgate.runs(Some(function)).await.unwrap();
        let states = runs.iter().map(|run| run.state.as_str());
        told[function] = json!(states.collect::<Vec<_>>());
    }
    println!("{told}");
}

/// Waits until nothing of the second function is left to do.
async fn settle(tollgate: &Tollgate) {
    let mut changes = tollgate.changes();
    loop {
        let runs = tollgate.runs(Some("notify")).await.unwrap();
        if runs.iter().all(|run| run.state == State::Succeeded) {
            return;
        }
        changes.next().await;
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tollgate = open(&arguments[0]).await;
    if let [_, how, id, cents] = arguments.as_slice() {
        let (how, id) = (how.clone(), id.parse().unwrap());
        let transfer = Proposed { id, cents: cents.parse().unwrap(), fee: 0 };
        let actor = tollgate.actor(7, json!({"name": "ann"}));
        let operation = Operation::new(transfer, |it| Moved { id: it.id, cents: it.cents, fee: it.fee });
        let made = tollgate.around(operation, &actor, move |tx, it| save(&how, tx, it)).await;
        match made {
            Ok(id) => println!("saved {id}"),
            Err(AroundError::Refused(refusal)) => println!("refused {refusal}"),
            Err(error) => println!("failed {error}"),
        }
    }
    if std::env::var_os("HANG").is_some() {
        std::future::pending::<()>().await;
    }
    settle(&tollgate).await;
    tell(&tollgate).await;
    tollgate.stop(Duration::from_secs(5)).await;
}
