//! A function that asks what has become of a run that goes on waits a moment for the answer.
//!
//! It would ask again at once anyway. While it waits here it holds neither a slot nor a worker's place, so that
//! the run it asks for finds one. Must never answer anything else than the same request later would.

use async_trait::async_trait;
use serde_json::Value;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast;
use tollgate_core::invocation::InvocationChanged;
use tollgate_core::pause;
use tollgate_core::platform::Platform;
use tollgate_core::ports::runtime::{HostCalls, HostError, RunReport};
use tollgate_core::task::State;

/// How long one question waits, at most.
const LINGER: Duration = Duration::from_millis(250);

pub(super) struct Polling {
    pub(super) host: Arc<dyn HostCalls>,
    pub(super) platform: Weak<Platform>,
}

#[async_trait]
impl HostCalls for Polling {
    async fn call(&self, method: &str, args: Value) -> Result<Value, HostError> {
        let asks = matches!(method, "functions.get_result" | "functions.get_invocation");
        let Some(platform) = self.platform.upgrade().filter(|_| asks) else {
            return self.host.call(method, args).await;
        };
        // Before the first look, so that no end is missed between the two.
        let changes = platform.invocations.watch();
        drop(platform);
        let seen = self.host.call(method, args.clone()).await?;
        if !goes_on(&seen) {
            return Ok(seen);
        }
        let ended = tokio::time::timeout(LINGER, self.ended(changes, method, &args));
        match pause::waiting_for_a_run(ended).await {
            Ok(ended) => ended,
            Err(_) => Ok(seen),
        }
    }

    fn redact(&self, report: &mut RunReport) {
        self.host.redact(report);
    }
}

impl Polling {
    /// The answer once the run has ended.
    async fn ended(
        &self,
        mut changes: broadcast::Receiver<InvocationChanged>,
        method: &str,
        args: &Value,
    ) -> Result<Value, HostError> {
        use broadcast::error::RecvError;
        loop {
            match changes.recv().await {
                Ok(change) if change.state.is_final() => {}
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return self.host.call(method, args.clone()).await,
            }
            let seen = self.host.call(method, args.clone()).await?;
            if !goes_on(&seen) {
                return Ok(seen);
            }
        }
    }
}

/// Whether an answer tells of a run that has not ended.
fn goes_on(answer: &Value) -> bool {
    let shown = answer.get("data").filter(|data| data.is_object());
    let status = shown.unwrap_or(answer)["status"].as_str();
    [State::Pending, State::Running, State::Retrying]
        .iter()
        .any(|state| status == Some(state.status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_answers_say_whether_the_run_goes_on() {
        assert!(goes_on(
            &json!({"status": "success", "data": {"status": "STARTED"}})
        ));
        assert!(goes_on(
            &json!({"id": 1, "status": "PENDING", "data": null})
        ));
        assert!(goes_on(&json!({"id": 1, "status": "RETRY"})));
        assert!(!goes_on(
            &json!({"status": "success", "data": {"status": "SUCCESS"}})
        ));
        assert!(!goes_on(&json!({"id": 1, "status": "FAILURE"})));
    }
}
