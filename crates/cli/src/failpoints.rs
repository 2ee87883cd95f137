//! Failpoints from the environment, in a build that has them.
//!
//! `FAILPOINTS` lists what happens where: `commit.before=kill(3)` ends the process at the third hit
//! as `kill -9` does, `result.before=stop(1)` stops it at the first as SIGSTOP does, until SIGCONT, and
//! `loop.claimer=panic(1)` panics there.
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
        let (point, action, at) = read(one).ok_or_else(|| {
            let names: Vec<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
            format!(
                "{VARIABLE}: {one:?} is not <point>=kill(<hit>), stop(<hit>) or panic(<hit>), with a point of {}",
                names.join(", ")
            )
        })?;
        let hits = AtomicU64::new(0);
        failpoint::set(point, move || {
            if hits.fetch_add(1, Ordering::SeqCst) + 1 == at {
                match action {
                    // To oneself it cannot fail.
                    Action::Signal(signal) => drop(kill_process(getpid(), signal)),
                    Action::Panic => panic!("a failpoint, on purpose"),
                }
            }
        })?;
    }
    Ok(())
}

/// What happens at a place.
#[derive(Clone, Copy)]
enum Action {
    Signal(Signal),
    Panic,
}

/// What one entry means.
fn read(text: &str) -> Option<(Point, Action, u64)> {
    let (name, action) = text.split_once('=')?;
    let point = Point::ALL.iter().find(|point| point.as_str() == name)?;
    let (word, hit) = action.strip_suffix(')')?.split_once('(')?;
    let action = match word {
        "kill" => Action::Signal(Signal::KILL),
        "stop" => Action::Signal(Signal::STOP),
        "panic" => Action::Panic,
        _ => return None,
    };
    let hit = hit.parse().ok().filter(|hit| *hit > 0)?;
    Some((*point, action, hit))
}
