//! Failpoints from the environment, in a build that has them.
//!
//! `FAILPOINTS` lists what happens where: `commit.before=kill(3)` ends the process at the third hit
//! as `kill -9` does, `result.before=stop(1)` stops it at the first as SIGSTOP does, until SIGCONT.
//! Several are separated by semicolons. Must never be reached in a build without them.

use rustix::process::{Signal, getpid, kill_process};
use std::sync::atomic::{AtomicU64, Ordering};
use tollgate_core::failpoint::{self, Point};

/// The variable's name.
const VARIABLE: &str = "FAILPOINTS";

/// Sets what the environment asks for.
pub(crate) fn arm() -> Result<(), String> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    let wanted = text.split(';').map(str::trim);
    for one in wanted.filter(|one| !one.is_empty()) {
        let (point, signal, at) = read(one).ok_or_else(|| {
            let names: Vec<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
            format!(
                "{VARIABLE}: {one:?} is not <point>=kill(<hit>) or <point>=stop(<hit>), with a point of {}",
                names.join(", ")
            )
        })?;
        let hits = AtomicU64::new(0);
        failpoint::set(point, move || {
            if hits.fetch_add(1, Ordering::SeqCst) + 1 == at {
                // To oneself it cannot fail.
                let _ = kill_process(getpid(), signal);
            }
        })?;
    }
    Ok(())
}

/// What one entry means.
fn read(text: &str) -> Option<(Point, Signal, u64)> {
    let (name, action) = text.split_once('=')?;
    let point = Point::ALL.iter().find(|point| point.as_str() == name)?;
    let (word, hit) = action.strip_suffix(')')?.split_once('(')?;
    let signal = match word {
        "kill" => Signal::KILL,
        "stop" => Signal::STOP,
        _ => return None,
    };
    let hit = hit.parse().ok().filter(|hit| *hit > 0)?;
    Some((*point, signal, hit))
}
