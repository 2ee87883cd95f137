//! What the platform answers to a function's requests, within the memory that there is for large answers.
//!
//! Must never hold a large answer without room where the question can be asked again.

use super::worker::Answered;
use serde_json::value::RawValue;
use tollgate_core::limits;
use tollgate_core::ports::runtime::{HostCalls, HostError};
use tollgate_core::room::Room;

/// Asks the platform. A large answer without room is let go, where it was only read, and asked for again once
/// there is room; what something was done for waits as it is.
pub(super) async fn asked(
    host: &dyn HostCalls,
    method: &str,
    args: &RawValue,
    answers: &Room,
) -> Answered {
    let (mut held, mut room) = (None, 0);
    loop {
        let answer = host.call(method, args).await?;
        let bytes = answer.get().len().min(limits::HOST_ANSWER_BYTES);
        if bytes <= limits::SMALL_PARAMS_BYTES {
            return Ok((answer, None));
        }
        if bytes <= room {
            return Ok((answer, held));
        }
        // Two who hold some and wait for more would wait for each other.
        drop(held.take());
        if let Some(taken) = answers.try_take(bytes) {
            return Ok((answer, Some(taken)));
        }
        let take = answers.take(bytes);
        if !only_reads(method) {
            let taken = take.await.map_err(|error| HostError::internal(&error))?;
            return Ok((answer, Some(taken)));
        }
        drop(answer);
        let taken = take.await.map_err(|error| HostError::internal(&error))?;
        (held, room) = (Some(taken), bytes);
    }
}

/// Whether it can be asked twice.
fn only_reads(method: &str) -> bool {
    let name = method.rsplit('.').next().unwrap_or(method);
    ["get", "list", "apps", "roles"].contains(&name)
        || name.starts_with("get_")
        || name.starts_with("list_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use serde_json::value::to_raw_value;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers with a megabyte, and counts.
    #[derive(Default)]
    struct Large(AtomicUsize);

    #[async_trait]
    impl HostCalls for Large {
        async fn call(&self, _: &str, _: &RawValue) -> Result<Box<RawValue>, HostError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(to_raw_value(&"x".repeat(1 << 20)).unwrap())
        }
    }

    #[tokio::test]
    async fn a_large_answer_without_room_is_asked_for_again_or_waits() {
        let (host, args) = (Large::default(), RawValue::NULL);
        // A site's half has one.
        let room = Room::new(3 << 20);
        for (method, times) in [("functions.list_invocations", 3), ("functions.execute", 2)] {
            host.0.store(0, Ordering::SeqCst);
            let first = asked(&host, method, args, &room).await.unwrap();
            assert!(first.1.is_some());
            let mut second = Box::pin(asked(&host, method, args, &room));
            assert!(futures_util::poll!(&mut second).is_pending());
            drop(first);
            assert!(second.await.unwrap().1.is_some());
            assert_eq!(host.0.load(Ordering::SeqCst), times, "{method}");
        }
    }

    #[test]
    fn what_does_something_is_not_asked_twice() {
        for method in [
            "users.get",
            "users.list",
            "functions.get_result",
            "app.roles",
            "secrets.get",
        ] {
            assert!(only_reads(method), "{method}");
        }
        for method in [
            "functions.execute",
            "users.create",
            "users.update",
            "users.delete",
            "users.assign_roles",
            "users.revoke_roles",
        ] {
            assert!(!only_reads(method), "{method}");
        }
    }
}
