//! What a site's POST runs wait while another site has ten thousand slow ones queued.

use super::load::{Connection, histogram};
use super::report::Neighbour;
use super::scenario::{APP, POST, deploy};
use super::target::{Error, NEIGHBOUR_EMAIL, NEIGHBOUR_HOST, NEIGHBOUR_PASSWORD, Target};
use hdrhistogram::Histogram;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_core::time::Timestamp;

/// Runs that the neighbour queues.
const QUEUED: usize = 10_000;
/// Connections that queue them.
const QUEUEING: usize = 16;
/// Users whose POST runs are timed, one after the other.
const USERS: usize = 400;
/// Between two of them: a site that is not busy.
const PAUSE: Duration = Duration::from_millis(5);
/// With half of the usual slots, ten thousand of these last for five minutes.
const SLOW: &str = "import time\n\n\ndef main(params):\n    time.sleep(1)\n";

/// Times the POST runs of the usual site alone, then beside the backlog.
pub(super) async fn run(target: &Target) -> Result<Neighbour, Error> {
    target
        .post("/api/apps/", &json!({"name": APP, "slug": APP}))
        .await?;
    deploy(target, "timed", "POST_USER_CREATE", POST).await?;
    let alone = post_runs(target).await?;
    flood(target).await?;
    let beside = post_runs(target).await?;
    target.delete(&format!("/api/apps/{APP}/")).await?;
    Ok(Neighbour::new(QUEUED, &alone, &beside))
}

async fn post_runs(target: &Target) -> Result<Histogram<u64>, Error> {
    let mut connection = Connection::open(target).await?;
    for _ in 0..USERS {
        connection.create_user().await?;
        tokio::time::sleep(PAUSE).await;
    }
    target.drained(0).await?;
    let mut times = histogram()?;
    for offset in (0..USERS).step_by(100) {
        let path = format!("/api/invocations/?function_slug=timed&limit=100&offset={offset}");
        let listed = target.get(&path).await?;
        for run in listed["data"].as_array().into_iter().flatten() {
            let took = moment(&run["finished_at"])?.since(moment(&run["queued_at"])?);
            times.record(u64::try_from(took.as_micros())?.max(1))?;
        }
    }
    Ok(times)
}

fn moment(value: &Value) -> Result<Timestamp, Error> {
    Ok(value.as_str().ok_or("no time on a record")?.parse()?)
}

/// Queues the neighbour's runs and returns once all are queued.
async fn flood(target: &Target) -> Result<(), Error> {
    let mut connection = signed_in(target).await?;
    ask(
        &mut connection,
        "/api/apps/",
        &json!({"name": APP, "slug": APP}),
    )
    .await?;
    let body = json!({"name": "slow", "code": SLOW});
    ask(
        &mut connection,
        &format!("/api/apps/{APP}/functions/"),
        &body,
    )
    .await?;
    let mut queueing = JoinSet::new();
    for _ in 0..QUEUEING {
        let mut connection = signed_in(target).await?;
        queueing.spawn(async move {
            let path = format!("/api/apps/{APP}/functions/slow/execute/");
            for _ in 0..QUEUED / QUEUEING {
                ask(&mut connection, &path, &json!({"async": true})).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(queued) = queueing.join_next().await {
        queued??;
    }
    Ok(())
}

/// A connection of the neighbour's superuser.
pub(super) async fn signed_in(target: &Target) -> Result<Connection, Error> {
    let open = async |credential: &str| {
        Connection::open_as(target, NEIGHBOUR_HOST.to_owned(), credential.to_owned()).await
    };
    let mut connection = open("").await?;
    let body = json!({"username": NEIGHBOUR_EMAIL, "password": NEIGHBOUR_PASSWORD});
    let tokens = ask(&mut connection, "/api/auth/jwt/token/", &body).await?;
    let credential = format!("Bearer {}", tokens["access"].as_str().ok_or("no token")?);
    open(&credential).await
}

/// What a request is answered with that must succeed.
pub(super) async fn ask(
    connection: &mut Connection,
    path: &str,
    body: &Value,
) -> Result<Value, Error> {
    let (status, answer) = connection.post(path, body.to_string()).await?;
    if status >= StatusCode::BAD_REQUEST {
        return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(serde_json::from_slice(&answer)?)
}
