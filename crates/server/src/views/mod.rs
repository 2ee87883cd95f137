//! What the wire shows of the domain's types: own structs, so that a new field of a record does
//! not reach clients by accident. Field order is the contract's.

mod app;
mod event_type;
mod function;
mod invocation;
mod secret;
mod subscriber;
mod user;

pub(crate) use app::{AppRoleView, AppView};
pub(crate) use event_type::EventTypeView;
pub(crate) use function::{FunctionView, VersionEntryView, VersionView};
pub(crate) use invocation::{InvocationOnly, InvocationView, TaskResultView};
pub(crate) use secret::SecretView;
pub(crate) use subscriber::{AppEventSubscriber, ExplainedView, SubscriberView};
pub(crate) use user::UserView;
