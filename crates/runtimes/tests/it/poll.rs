//! Waiting for what gives no signal: processes in `/proc`. The only place that may look again and
//! again.

use std::time::Duration;
use tollgate_core::time::{Clock as _, SystemClock};

/// Waits until `condition` holds, for at most 10 seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = SystemClock.monotonic() + Duration::from_secs(10);
    while !condition() {
        assert!(SystemClock.monotonic() < end, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
