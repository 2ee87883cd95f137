//! Waiting for conditions in /proc, which gives no signal: the only place where time is let pass.

use std::time::Duration;

const STEP: Duration = Duration::from_millis(5);
const STEPS: u32 = 4000;

/// Lets time pass, where time is the fault that is tested.
pub(crate) fn let_pass(time: Duration) {
    std::thread::sleep(time);
}

/// Whether `condition` came to hold within 20 seconds. Blocks, so that a drop can use it.
pub(crate) fn holds_soon(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..STEPS {
        if condition() {
            return true;
        }
        std::thread::sleep(STEP);
    }
    condition()
}
