//! Changes of invocations as they happen, as server-sent events.
//!
//! A stream shows only records that the caller may read, as they stand when they are told of.

use crate::error::ApiError;
use crate::extract::StayingCaller;
use crate::state::AppState;
use crate::views::InvocationView;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tollgate_core::invocations::InvocationChanged;
use tollgate_core::rights::Principal;

/// A stream ends after this and its reader comes back. A credential that ends is seen with the next
/// event; this bounds how long one lives on that sees none.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Watch Invocations
///
/// Server-sent events `invocation` with the record, without its logs; `lost` when some were missed.
#[utoipa::path(get, path = "/api/invocations/stream/", tag = "invocations",
    operation_id = "invocations_stream",
    responses((status = OK, description = "A stream of events", body = String,
        content_type = "text/event-stream"), ApiError))]
pub(crate) async fn stream(
    State(app): State<AppState>,
    caller: StayingCaller,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.services().invocations.watch();
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
    caller: StayingCaller,
    changes: Receiver<InvocationChanged>,
}

impl Watch {
    /// The next event to tell; none when the server stops, or the caller's credential has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let change = tokio::select! {
                change = self.changes.recv() => change,
                () = self.app.stopped() => return None,
            };
            match change {
                // Other sites' changes cost nothing but this look.
                Ok(change) if change.site_id != self.caller.site_id() => {}
                Ok(change) => {
                    // Whoever may not ask any more is not told any more.
                    let caller = self.caller.now(&self.app).await.ok()?;
                    if let Some(event) = self.event(&caller, change).await {
                        return Some(event);
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    return Some(Event::default().event("lost").data(missed.to_string()));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// None for what the caller may not see, and for a record that cannot be read now.
    async fn event(&self, caller: &Principal, change: InvocationChanged) -> Option<Event> {
        let invocations = &self.app.services().invocations;
        let invocation = invocations.get(caller, change.id).await.ok()?;
        let data = serde_json::to_string(&InvocationView::of(invocation)).ok()?;
        Some(Event::default().event("invocation").data(data))
    }
}
