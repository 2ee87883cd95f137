//! A program with routes and accounts of its own, and Tollgate's API beside them.
//!
//! `cargo run -p tollgate --features axum --example axum-embed -- FOLDER` listens on 127.0.0.1:8080:
//!
//! ```console
//! $ curl -X POST localhost:8080/guests/ann
//! $ curl -H 'X-Staff: secret' localhost:8080/tollgate/api/cloud/events/
//! $ curl -H 'X-Staff: secret' localhost:8080/tollgate/api/invocations/
//! ```

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate::axum::{Authenticate, router};
use tollgate::rusqlite::{Connection, params};
use tollgate::{
    Actor, AroundError, LifecycleEvent, Operation, SubscriberOptions, SystemCall, Tollgate,
};

/// A guest who is about to come in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "PRE_GUEST_ENTER", description = "Before a guest comes in.")]
struct GuestProposal {
    name: String,
}

/// A guest who has come in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "POST_GUEST_ENTER", description = "After a guest came in.")]
struct GuestEntered {
    name: String,
}

/// Whom we do not want.
#[tollgate::function]
async fn bouncer(call: SystemCall) -> Result<Value, String> {
    Ok(match call.params["name"].as_str() {
        Some("mallory") => json!({"success": false, "error": "not on the list"}),
        _ => Value::Null,
    })
}

/// The program's own accounts: one word, in a header.
struct Staff(Tollgate);

#[async_trait]
impl Authenticate for Staff {
    async fn authenticate(&self, headers: &HeaderMap) -> Option<Actor> {
        let word = headers.get("x-staff")?.to_str().ok()?;
        (word == "secret").then(|| self.0.manager(1, json!({"name": "staff"})))
    }
}

fn save(tx: &Connection, guest: &GuestProposal) -> tollgate::rusqlite::Result<()> {
    let sql = "INSERT INTO guests (name) VALUES (?1)";
    tx.execute(sql, params![guest.name]).map(drop)
}

async fn enter(
    State(tollgate): State<Tollgate>,
    Path(name): Path<String>,
) -> Result<&'static str, (StatusCode, String)> {
    let operation = Operation::new(GuestProposal { name }, |guest| GuestEntered {
        name: guest.name.clone(),
    });
    let entered = tollgate.around(operation, &tollgate.nobody(), save).await;
    entered.map(|()| "welcome\n").map_err(|error| match error {
        AroundError::Refused(refusal) => (StatusCode::FORBIDDEN, format!("{refusal}\n")),
        error => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("axum-embed FOLDER [ADDRESS]")?;
    let address = std::env::args().nth(2);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let builder = Tollgate::builder().sqlite(folder).function(bouncer());
    let builder = builder.event::<GuestProposal>().event::<GuestEntered>();
    let tollgate = builder.start().await?;
    let table = "CREATE TABLE IF NOT EXISTS guests (name TEXT NOT NULL)";
    tollgate.write(move |tx| tx.execute_batch(table)).await?;
    let id = tollgate.app("door").await?.system(bouncer()).await?;
    tollgate
        .subscribe::<GuestProposal>(id, SubscriberOptions::default())
        .await?;

    let routes = Router::new()
        .route("/guests/{name}", post(enter))
        .with_state(tollgate.clone())
        .nest("/tollgate", router(&tollgate, Staff(tollgate.clone())));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}
