//! What every test here needs: a folder, the program in it, requests, signals to wait for.

pub(crate) mod api;
pub(crate) mod begun;
pub(crate) mod code;
pub(crate) mod folder;
pub(crate) mod net;
pub(crate) mod poll;
pub(crate) mod processes;
pub(crate) mod server;
pub(crate) mod watch;
pub(crate) mod wire;
pub(crate) mod world;

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

/// Far longer than anything here takes, on a machine with other work too.
const LONG: Duration = Duration::from_secs(60);

/// The output of `work`, which must come soon.
#[track_caller]
pub(crate) fn soon<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LONG, work).await {
            Ok(output) => output,
            Err(_) => panic!("not within {LONG:?}: {what} ({at})"),
        }
    }
}

/// Tells on the real stderr, which the test harness does not swallow, that something was not tested.
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
