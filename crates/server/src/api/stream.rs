//! Changes of invocations as they happen, as server-sent events.
//!
//! A stream tells that something changed and never what a record holds, and only of records that
//! the caller may read.

use crate::error::ApiError;
use crate::extract::Caller;
use crate::state::AppState;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tollgate_core::auth::{Permission, Principal};
use tollgate_core::invocation::InvocationChanged;

/// A stream ends after this and its reader comes back, so that a right that was taken away does
/// not live on in an open stream.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Watch Invocations
///
/// Server-sent events `invocation` with `{"id","state","status"}`; `lost` when some were missed.
#[utoipa::path(get, path = "/api/invocations/stream/", tag = "invocations",
    operation_id = "invocations_stream",
    responses((status = OK, description = "A stream of events", body = String,
        content_type = "text/event-stream"), ApiError))]
pub(crate) async fn stream(
    State(app): State<AppState>,
    Caller(caller): Caller,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.platform().invocations.watch();
    let watch = Watch {
        app,
        caller,
        changes,
    };
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok(event), watch))
    });
    let end = Box::pin(tokio::time::sleep(LIFE));
    Sse::new(futures_util::StreamExt::take_until(events, end)).keep_alive(KeepAlive::default())
}

struct Watch {
    app: AppState,
    caller: Principal,
    changes: Receiver<InvocationChanged>,
}

impl Watch {
    /// The next event to tell; none when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let change = tokio::select! {
                change = self.changes.recv() => change,
                () = self.app.stopped() => return None,
            };
            match change {
                Ok(change) if self.may_know(change).await => return Some(event(change)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    return Some(Event::default().event("lost").data(missed.to_string()));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn may_know(&self, change: InvocationChanged) -> bool {
        if change.site_id != self.caller.scope().site_id() {
            return false;
        }
        self.caller.may_somewhere(Permission::InvocationsRead)
            || self
                .app
                .platform()
                .invocations
                .get(&self.caller, change.id)
                .await
                .is_ok()
    }
}

fn event(change: InvocationChanged) -> Event {
    let data = json!({
        "id": change.id,
        "state": change.state.as_str(),
        "status": change.state.status(),
    });
    Event::default().event("invocation").data(data.to_string())
}
