//! A function that asks what has become of a run that goes on waits a moment for the answer.
//!
//! It would ask again at once anyway. While it waits here it holds neither a slot nor a worker's place, so that
//! the run it asks for finds one. Must never answer anything else than the same request later would.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
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
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        let asks = matches!(method, "functions.get_result" | "functions.get_invocation");
        let Some(platform) = self.platform.upgrade().filter(|_| asks) else {
            return self.host.call(method, args).await;
        };
        // Before the first look, so that no end is missed between the two.
        let changes = platform.invocations.watch();
        drop(platform);
        let seen = self.host.call(method, args).await?;
        if !goes_on(&seen) {
            return Ok(seen);
        }
        let ended = tokio::time::timeout(LINGER, self.ended(changes, method, args));
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
        args: &RawValue,
    ) -> Result<Box<RawValue>, HostError> {
        use broadcast::error::RecvError;
        loop {
            match changes.recv().await {
                Ok(change) if change.state.is_final() => {}
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return self.host.call(method, args).await,
            }
            let seen = self.host.call(method, args).await?;
            if !goes_on(&seen) {
                return Ok(seen);
            }
        }
    }
}

/// What an answer says of a run: itself, or with the record in `data`.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Whether an answer tells of a run that has not ended.
fn goes_on(answer: &RawValue) -> bool {
    let read = |text| serde_json::from_str::<Shown<'_>>(text).ok();
    let Some(outer) = read(answer.get()) else {
        return false;
    };
    let inner = outer.data.and_then(|data| read(data.get()));
    let status = inner.unwrap_or(outer).status;
    [State::Pending, State::Running, State::Retrying]
        .iter()
        .any(|state| status == state.status())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn goes_on(answer: &Value) -> bool {
        super::goes_on(&serde_json::value::to_raw_value(answer).unwrap())
    }

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
