//! E1: the server is killed at every step of a user's creation. A user exists only if every PRE
//! function agreed, and exactly then its POST runs do; all of them end.

use super::checker::check;
use super::history::History;
use super::load::{Writers, settled, subscribed};
use super::seed::{Seed, long};
use crate::support::server::Server;
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use tollgate_core::failpoint::Point;

const CLIENTS: usize = 4;
/// Every step, from before the first function is called until before the answer.
const STEPS: [Point; 6] = [
    Point::PreBefore,
    Point::PreStarted,
    Point::PreAgreed,
    Point::CommitBefore,
    Point::CommitAfter,
    Point::ReplyBefore,
];

#[tokio::test]
async fn a_user_is_whole_or_absent_wherever_the_server_dies() {
    let seed = Seed::from_env();
    let history = History::begin("e01", &seed);
    let server = Server::start().await;
    let folder = Arc::clone(&server.folder);
    subscribed(&history, &server.api, &folder).await;
    server.stop().await;

    let rounds = if long() { 20 } else { 4 };
    for round in 0..rounds {
        for (step, point) in STEPS.into_iter().enumerate() {
            // The first hit is always among them.
            let hit = if round == 0 { 1 } else { 2 + seed.below(20) };
            let failpoint = format!("{}=kill({hit})", point.as_str());
            history.note(&json!({"did": "kill", "at": failpoint}));
            let settings = [("FAILPOINTS", failpoint.as_str())];
            let started = Server::try_start_in(&folder, &[], &settings).await;
            let status = match started {
                Ok(server) => {
                    history.look(&server.api, 1).await;
                    let number = round * STEPS.len() + step;
                    Writers::start(&history, &server.api, number, CLIENTS)
                        .gone()
                        .await;
                    server.ended().await
                }
                // The first writes of a start pass there too.
                Err((status, _)) => status,
            };
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{failpoint}");
        }
    }

    let server = Server::start_in(&folder, &[], &[]).await;
    settled(&server.api).await;
    history.look(&server.api, usize::MAX).await;
    server.stop().await;
    let found = check(&history, &folder);
    // Deaths after the commit leave users of whom nobody was told.
    assert!(found.acknowledged > 0 && found.whole_unacknowledged > 0 && found.absent > 0);
}
