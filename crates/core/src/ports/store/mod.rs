//! The port to storage. The database is the truth; a task's row is the queue.
//!
//! A store hands out tenant-owned data only through [`ScopedStore`], which takes a
//! [`TenantScope`]; its methods have no tenant argument, so a query without a site cannot be
//! written. What no tenant owns (sites, the queue across sites, credentials before they are
//! verified) stands in [`SystemStore`].
//!
//! Promises of every implementation:
//! - A method that returned `Ok` is on disk (its own `…_later` variants excepted).
//! - A write runs to its end even if the caller's future is dropped, and its [`OnCommit`] runs
//!   exactly if it was committed.
//! - A constraint that does not hold is a [`StoreError::Conflict`], never a driver's error.

mod accounts;
mod dead_letters;
mod event_types;
mod functions;
mod idempotency;
mod invocations;
mod secrets;
mod system;
mod work;

pub use accounts::{
    ApiKey, Author, CredentialStore, NewApiKey, RoleGrant, UserChange, UserOrder, UserQuery,
    UserStore,
};
pub use dead_letters::{DeadLetter, DeadLetterPlace, DeadLetterStore, Redrive, RedriveVersion};
pub use event_types::{EventTypeStore, NewOwnType, OwnTypeChange};
pub use functions::{
    AppStore, FunctionChange, FunctionStore, Instead, NewApp, NewFunction, NewSubscriber,
    SubscriberStore,
};
pub use idempotency::{IdempotencyStore, StoredAnswer};
pub use invocations::{InvocationQuery, InvocationStore, Visibility};
pub use secrets::SecretStore;
pub use system::{
    Claimed, CredentialOwner, DueLines, Epoch, KeyOwner, Line, LoginRecord, Recovered, Swept,
    SystemStore, Token, TokenKind,
};
pub use work::{Change, Made, Work};

use crate::limits;
use crate::site::TenantScope;
use crate::supervise::Supervisor;
use std::error::Error as StdError;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

/// Runs after a commit, on the store's own thread: it must only signal, never block.
pub type OnCommit = Box<dyn FnOnce() + Send>;

/// A store: the way to scoped and system queries.
pub trait Store: Send + Sync + 'static {
    /// Queries inside one site.
    fn scoped(&self, scope: TenantScope) -> Arc<dyn ScopedStore>;

    /// Queries that belong to no site. `reason` goes to traces.
    fn system(&self, reason: Reason) -> Arc<dyn SystemStore>;
}

/// Everything that can be asked inside one site.
pub trait ScopedStore:
    AppStore
    + FunctionStore
    + SubscriberStore
    + InvocationStore
    + DeadLetterStore
    + UserStore
    + CredentialStore
    + IdempotencyStore
    + SecretStore
    + EventTypeStore
{
}

impl<T> ScopedStore for T where
    T: AppStore
        + FunctionStore
        + SubscriberStore
        + InvocationStore
        + DeadLetterStore
        + UserStore
        + CredentialStore
        + IdempotencyStore
        + SecretStore
        + EventTypeStore
{
}

/// Why code asks outside any site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To find a request's site or verify its credential.
    Authenticate,
    /// To run the queue.
    Execute,
    /// To start, migrate or administer the installation.
    Administer,
}

/// Tables whose ids are taken from blocks held in memory, so that a row's id is known before it
/// is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// Users.
    User,
    /// Invocations.
    Invocation,
    /// Functions.
    Function,
    /// Versions of functions.
    Version,
}

/// Numbers that nobody else was or will be given.
pub type IdBlock = Range<i64>;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something else already stands there, or the record changed meanwhile.
    #[error("{0}")]
    Conflict(Conflict),
    /// The host's own change was not made, for a reason of its own.
    #[error("the change was refused by whoever makes it")]
    Refused,
    /// Stored data does not parse: a bug or a damaged file.
    #[error("{table}.{column} of row {row} holds a value that cannot be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        row: String,
    },
    /// The database cannot be used now: stopped, full, locked or unreachable.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// The query itself failed: a bug.
    #[error("a query failed")]
    Failed(#[source] Box<dyn StdError + Send + Sync>),
}

/// What a write ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another user has this username, as username or as address.
    #[error("A user with that username already exists, or signs in by it")]
    Username,
    /// Another user has this e-mail address, as address or as username.
    #[error("A user with that email already exists, or signs in by it")]
    Email,
    /// The slug is taken.
    #[error("That slug is already in use")]
    Slug,
    /// A secret of the same app or site has the key.
    #[error("A secret with that key already exists")]
    Secret,
    /// Another event type of the site has the name.
    #[error("An event type with that name already exists in this site")]
    EventType,
    /// The app has as many event types as it may.
    #[error(
        "The app has {} event types already, which is the limit; delete one first",
        limits::EVENT_TYPES_PER_APP
    )]
    EventTypes,
    /// The site has declared as many names of event types as it may.
    #[error(
        "This site has declared {} names of event types, which is the limit, those of deleted types \
         included; use one of them again",
        limits::EVENT_NAMES_PER_SITE
    )]
    EventNames,
    /// The event type was deleted meanwhile.
    #[error("The event type was deleted meanwhile")]
    NoEventType,
    /// Functions are subscribed to the event type.
    #[error("{}", subscribed(*.0))]
    Subscribed(u64),
    /// The function is subscribed already.
    #[error("The function is already subscribed")]
    Subscription,
    /// A domain or slug of a site is taken.
    #[error("That site or domain already exists")]
    Site,
    /// The key of a creating request is another request's.
    #[error("This Idempotency-Key was used for another request; send a new key with a new request")]
    IdempotencyKey,
    /// Somebody else changed the record after it was read.
    #[error(
        "The record was changed by someone else meanwhile; read it again and repeat the change"
    )]
    Changed,
    /// What whoever asks for the write may do was decided on their account as it was before.
    #[error("Your own account or its roles were changed meanwhile; try again")]
    Author,
    /// The invocation is no dead letter, or not any more.
    #[error(
        "This invocation is no dead letter: it has not died, or was redriven or discarded meanwhile"
    )]
    NotDead,
    /// The record that the write refers to is gone.
    #[error("The record no longer exists")]
    Gone,
}

fn subscribed(functions: u64) -> String {
    let (functions, are) = match functions {
        1 => ("1 function".to_owned(), "is"),
        many => (format!("{many} functions"), "are"),
    };
    format!("{functions} {are} subscribed to this event type; unsubscribe them first")
}

/// Carries a write and what must follow it to the end, even if the caller's future is dropped. `supervisor` owns it
/// then, and a stop waits for it.
///
/// For what memory keeps of the database: an invalidation that is dropped between a commit and
/// itself would leave a stale copy for good.
///
/// # Errors
/// Those of `work`; [`StoreError::Failed`] when it panicked.
pub(crate) async fn to_the_end<T: Send + 'static>(
    supervisor: &Supervisor,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let done = supervisor.carry("write", work).await;
    done.unwrap_or_else(|error| Err(StoreError::Failed(Box::new(error))))
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items.
    pub limit: u32,
    /// Items to pass over.
    pub offset: u64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}
