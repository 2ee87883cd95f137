//! Whether the machine has a processor to spare for another worker.
//!
//! Where all of them are busy another worker answers nothing sooner: its start takes time from those that
//! there are, and many that take turns are slower than few. Must never keep a queue of slow calls from
//! growing: it is asked how patient the pool is, not whether it may grow.

use std::fs;
use std::time::{Duration, Instant};

/// How long after a look that found more to run than processors the machine counts as busy: between two
/// calls there is a moment in which nothing runs.
const REMEMBERED: Duration = Duration::from_millis(40);

/// What was seen lately.
#[derive(Debug)]
pub(super) struct Load {
    processors: usize,
    busy_until: Option<Instant>,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            busy_until: None,
        }
    }

    /// Looks now. Where the kernel does not tell, there is always something to spare.
    pub(super) fn is_spare(&mut self, now: Instant) -> bool {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        self.note(running(&text), now)
    }

    fn note(&mut self, running: usize, now: Instant) -> bool {
        // Whoever looks is one of them.
        if running > self.processors {
            self.busy_until = Some(now + REMEMBERED);
        }
        self.busy_until.is_none_or(|until| now >= until)
    }
}

/// How many threads of the machine run or want to, by the fourth part of `/proc/loadavg`.
fn running(text: &str) -> usize {
    let part = text.split(' ').nth(3).and_then(|it| it.split('/').next());
    part.and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_core::time::{Clock as _, SystemClock};

    #[test]
    fn the_kernels_line_is_read() {
        assert_eq!(running("0.52 0.58 0.59 7/812 12345\n"), 7);
        for text in ["", "0.52", "a b c d e", "0.1 0.1 0.1 /"] {
            assert_eq!(running(text), 0, "{text}");
        }
        let real = fs::read_to_string("/proc/loadavg").unwrap();
        assert!(running(&real) > 0, "{real}");
    }

    #[test]
    fn a_busy_machine_is_busy_for_a_while() {
        let mut load = Load {
            processors: 2,
            busy_until: None,
        };
        let now = SystemClock.monotonic();
        assert!(load.note(2, now));
        assert!(!load.note(3, now));
        assert!(!load.note(1, now + REMEMBERED / 2));
        assert!(load.note(1, now + REMEMBERED));
    }
}
