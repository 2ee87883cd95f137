//! Lifecycle events inside your own program: functions that may refuse an operation before it happens, and functions
//! that run after it, durably, and are never lost.
//!
//! The pattern is always the same: publish a PRE event and wait until every function has agreed, save, publish the
//! POST event. Step by step, as the platform that this engine comes from writes it in Python:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use schemars::JsonSchema;
//! use tollgate::{EventService, LifecycleEvent, Tollgate};
//!
//! #[derive(Clone, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
//! #[event(name = "PRE_USER_CREATE", description = "Before a user is created.", sample = john())]
//! struct UserProposal {
//!     username: String,
//!     email: String,
//! }
//!
//! fn john() -> UserProposal {
//!     UserProposal { username: "john_doe".into(), email: "john@example.com".into() }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let tollgate = Tollgate::builder().sqlite(folder.path()).event::<UserProposal>().start().await?;
//! let user = tollgate.actor(7, serde_json::json!({"username": "ann"}));
//!
//! // Initialize service
//! let event_service = EventService::new(&tollgate);
//!
//! // Create event
//! let event = UserProposal { username: "john_doe".into(), email: "john@example.com".into() };
//!
//! // Publish event
//! let result = event_service.publish_event(event, &user).await?;
//!
//! // Wait for every task; an error is the refusal
//! let agreed = result.wait().await?;
//! assert_eq!(agreed.username, "john_doe");
//! # tollgate.stop(std::time::Duration::ZERO).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Tollgate::around`] is the whole pattern in one call, with your own tables in the engine's own transaction: what
//! follows is written with what you save, or not at all.
//!
//! # Misuse does not compile
//!
//! The type of the parameters says which event it is, only a PRE event can be waited for, and nothing is published
//! without somebody who does it:
//!
//! ```compile_fail
//! # use tollgate::{EventService, Tollgate, Actor};
//! # async fn wrong(service: EventService, actor: Actor) {
//! service.publish_event("PRE_USER_CREATE", &actor).await;
//! # }
//! ```
//!
//! # Features
//!
//! - `python` (on): functions in Python, in processes of their own behind the kernel's walls. Call
//!   [`python::launch_if_asked`] first thing in `main`.
//! - `webhooks` (on): functions that are webhooks.
//!
//! - `axum` (on): the API of events, functions and runs as a router, with your own accounts: see [`axum::router`].
//!
//! Without all of them, functions are your own Rust: see [`macro@function`]. Such an embedder takes in at most 170 packages
//! besides these (a test counts them), and neither an HTTP client nor a server.

mod actor;
mod around;
#[cfg(feature = "axum")]
pub mod axum;
mod builder;
mod error;
mod events;
mod functions;
#[cfg(feature = "python")]
pub mod python;
mod random;
mod runs;

pub use actor::{Actor, People};
pub use around::Operation;
pub use builder::{Builder, StartError, Tollgate};
pub use error::AroundError;
pub use events::{Described, EventService, Published};
pub use functions::{App, SystemFunction};
pub use runs::Changes;
pub use tollgate_macros::{LifecycleEvent, function};

pub use rusqlite;
pub use tollgate_core::engine::PublishResponse;
pub use tollgate_core::engine::verdict::{Refusal, RefusedBy};
pub use tollgate_core::error::Error;
pub use tollgate_core::events::{
    Announcement, Denial, EventSpec, EventType, LifecycleEvent, Name, Phase,
};
pub use tollgate_core::ids::{FunctionId, InvocationId};
pub use tollgate_core::invocations::Invocation;
pub use tollgate_core::request::RequestInfo;
pub use tollgate_core::subscribers::{OnTimeout, SubscriberOptions};
pub use tollgate_core::tasks::{Failure, FailureKind, State};
pub use tollgate_core::time::{Clock, SystemClock, Timestamp};
pub use tollgate_runtimes::SystemCall;
