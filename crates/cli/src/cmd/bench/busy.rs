//! What a site's calls take while the threads of another site use whatever processor time they get.

use super::WARM_UP;
use super::load::{Connection, histogram};
use super::neighbour::{ask, signed_in};
use super::report::Neighbour;
use super::scenario::APP;
use super::target::{Error, Target, elapsed};
use hdrhistogram::Histogram;
use hyper::Method;
use serde_json::json;
use std::time::Duration;
use tollgate_core::time::{Clock as _, SystemClock};

/// Runs of the neighbour, and threads of each.
const RUNS: usize = 12;
const THREADS: usize = 20;
/// Between two looks whether the neighbour's runs have begun.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long they may take for that.
const BEGIN_MAX: Duration = Duration::from_secs(60);

/// A function that computes something for a millisecond or two.
const WORK: &str = "def main(params):\n    return sum(n * n for n in range(20000))\n";

/// Longer than the calls take; the deletion of its app ends it before.
const BUSY: &str = "\
import threading, time

def burn(until):
    while time.monotonic() < until:
        pass

def main(params):
    until = time.monotonic() + 250
    threads = [threading.Thread(target=burn, args=(until,)) for _ in range(params['threads'])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
";

/// Times calls of the usual site for so long alone, then beside the busy threads.
pub(super) async fn run(target: &Target, duration: Duration) -> Result<Neighbour, Error> {
    let functions = format!("/api/apps/{APP}/functions/");
    let app = json!({"name": APP, "slug": APP});
    target.post("/api/apps/", &app).await?;
    let work = json!({"name": "work", "code": WORK});
    target.post(&functions, &work).await?;
    // Not counted, so that there is a worker.
    calls(target, WARM_UP).await?;
    let alone = calls(target, duration).await?;

    let mut neighbour = signed_in(target).await?;
    ask(&mut neighbour, "/api/apps/", &app).await?;
    let busy = json!({"name": "busy", "code": BUSY});
    ask(&mut neighbour, &functions, &busy).await?;
    let execute = format!("{functions}busy/execute/");
    let queued = json!({"async": true, "params": {"threads": THREADS}});
    for _ in 0..RUNS {
        ask(&mut neighbour, &execute, &queued).await?;
    }
    begun(&mut neighbour).await?;
    // Nor what their workers' starts take.
    calls(target, WARM_UP).await?;
    let beside = calls(target, duration).await?;

    let path = format!("/api/apps/{APP}/");
    // That connection may have been idle for longer than the server has patience.
    let mut neighbour = neighbour.again(target).await?;
    neighbour.send(Method::DELETE, &path, String::new()).await?;
    target.delete(&path).await?;
    Ok(Neighbour::new(RUNS * THREADS, &alone, &beside))
}

async fn calls(target: &Target, duration: Duration) -> Result<Histogram<u64>, Error> {
    let mut connection = Connection::open(target).await?;
    let path = format!("/api/apps/{APP}/functions/work/execute/");
    let mut times = histogram()?;
    let start = SystemClock.monotonic();
    while elapsed(start) < duration {
        let sent = SystemClock.monotonic();
        ask(&mut connection, &path, &json!({})).await?;
        times.record(u64::try_from(elapsed(sent).as_micros())?.max(1))?;
    }
    Ok(times)
}

/// Waits until all of the neighbour's runs are under way.
async fn begun(neighbour: &mut Connection) -> Result<(), Error> {
    let path = "/api/invocations/?status=STARTED&function_slug=busy&limit=1";
    let start = SystemClock.monotonic();
    loop {
        let (_, answer) = neighbour.send(Method::GET, path, String::new()).await?;
        let listed: serde_json::Value = serde_json::from_slice(&answer)?;
        if listed["total"].as_u64() >= Some(RUNS as u64) {
            return Ok(());
        }
        if elapsed(start) > BEGIN_MAX {
            return Err("the runs with busy threads do not begin".into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
