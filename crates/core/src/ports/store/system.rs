//! Queries that belong to no site: sites themselves, credentials before they are verified, and
//! the queue across all sites.
//!
//! What is due, whose lease is over and when something waits again is decided by one clock, the
//! store's: processes share the queue, but not the time.

use super::accounts::RoleGrant;
use super::{IdBlock, IdKind, StoreError};
use crate::egress::EgressHosts;
use crate::events::EventType;
use crate::functions::webhook::SealedSecrets;
use crate::functions::{BundleDigest, Executable};
use crate::ids::{ApiKeyId, FunctionId, InvocationId, SiteId, UserId, VersionId};
use crate::invocations::retention::Retention;
use crate::invocations::{Completion, Hold, NewInvocation, Started};
use crate::ports::dispatch::Taken;
use crate::rights::Ceiling;
use crate::site::Site;
use crate::text::text_enum;
use crate::time::Timestamp;
use crate::users::User;
use crate::vault::Sealed;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How often all of a user's sessions and tokens were ended at once: a token of another epoch than its
/// user's is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// What a sign-in needs to know of an account.
#[derive(Debug, Clone)]
pub struct LoginRecord {
    /// The account.
    pub user: User,
    /// Its Argon2 hash, if it has a password.
    pub password_hash: Option<String>,
    /// Its epoch at the time that the hash was read.
    pub epoch: Epoch,
}

/// Whose an API key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOwner {
    /// The owner.
    pub user: UserId,
    /// The key.
    pub key: ApiKeyId,
    /// When its use was last noted.
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Whom a credential belongs to, with what decides their rights.
#[derive(Debug, Clone)]
pub struct CredentialOwner {
    /// The account; never a deleted one.
    pub user: User,
    /// Its roles that have not expired.
    pub grants: Vec<RoleGrant>,
    /// Its epoch.
    pub epoch: Epoch,
    /// Those of its sign-ins that ended so lately that access tokens of theirs may be about.
    pub ended_families: Vec<uuid::Uuid>,
}

/// What a stored token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `X-Session-Token`.
    Session,
    /// A refresh token, by its JWT id.
    Refresh,
}

text_enum!(TokenKind { Session => "session", Refresh => "refresh" });

/// A session or refresh token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of the secret, hexadecimal.
    pub hash: String,
    /// What it is for.
    pub kind: TokenKind,
    /// The owner.
    pub user_id: UserId,
    /// Shared by all that came from one sign-in.
    pub family: uuid::Uuid,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was ended or exchanged before that.
    pub ended_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is of this kind and has neither expired nor been ended.
    pub(crate) fn is_open(&self, kind: TokenKind, now: Timestamp) -> bool {
        self.kind == kind && now < self.expires_at && self.ended_at.is_none()
    }
}

/// The queued runs of one function that nobody holds, in the order in which they are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The site.
    pub site: SiteId,
    /// The function.
    pub function: FunctionId,
}

/// What one look at the lines has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DueLines {
    /// Lines whose first run is due, in their order.
    pub lines: Vec<Line>,
    /// After which line the next look goes on; none when there is none left.
    pub next: Option<Line>,
}

/// A queued run that is now this holder's.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The run; `holder` is the claimer.
    pub invocation: NewInvocation,
    /// Under which hold, and as which attempt.
    pub taken: Taken,
}

/// What became of the runs of a worker that holds them no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Runs that wait to be claimed again.
    pub requeued: u64,
    /// Runs whose caller is gone.
    pub cancelled: u64,
    /// Runs that were given up, because too many workers were lost over them.
    pub dead: u64,
}

impl Recovered {
    /// Whether there was any.
    pub const fn is_empty(&self) -> bool {
        self.requeued + self.cancelled + self.dead == 0
    }
}

/// What one step of the retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows deleted.
    pub deleted: u64,
    /// Where the next step goes on; none when what follows is too young, or nothing follows.
    pub next: Option<InvocationId>,
}

/// Queries outside any site.
#[async_trait]
pub trait SystemStore: Send + Sync {
    /// Takes `count` fresh ids. They are never given out twice, not even after a crash, unless no
    /// row was written with them.
    async fn reserve_ids(&self, kind: IdKind, count: u32) -> Result<IdBlock, StoreError>;

    /// All sites.
    async fn sites(&self) -> Result<Vec<Site>, StoreError>;

    /// Stores a site; `id` is ignored. Conflict: `Site`.
    async fn insert_site(&self, site: Site) -> Result<Site, StoreError>;

    /// Lets a host name lead to a site. Conflicts: `Site` for one that leads to another, `Gone`.
    async fn add_site_domain(&self, site: SiteId, domain: &str) -> Result<(), StoreError>;

    /// Lets a host name lead to a site no more. False when it did not.
    async fn remove_site_domain(&self, site: SiteId, domain: &str) -> Result<bool, StoreError>;

    /// The account that signs in by a username or e-mail address, in any spelling.
    async fn login_record(
        &self,
        site: SiteId,
        login: &str,
    ) -> Result<Option<LoginRecord>, StoreError>;

    /// The same for the account with this number.
    async fn login_record_of(
        &self,
        site: SiteId,
        user: UserId,
    ) -> Result<Option<LoginRecord>, StoreError>;

    /// The account with this number and its roles.
    async fn owner(
        &self,
        site: SiteId,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<CredentialOwner>, StoreError>;

    /// Whose API key has this hash and has not expired.
    async fn api_key_owner(
        &self,
        site: SiteId,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<KeyOwner>, StoreError>;

    /// The token with this hash, ended or not.
    async fn token(&self, site: SiteId, hash: &str) -> Result<Option<Token>, StoreError>;

    /// Lines that have runs which are due and held by no one, in the order of site and function,
    /// beginning after `after`. Looks at `limit` lines at most, due or not.
    async fn due_lines(&self, after: Option<Line>, limit: usize) -> Result<DueLines, StoreError>;

    /// How long it takes until the next run that nobody holds is due: no time for one that is. None
    /// when nothing waits.
    async fn next_due(&self) -> Result<Option<Duration>, StoreError>;

    /// Takes, of each line, up to as many runs that are due and held by no one, oldest first. They
    /// are pending, and their next attempt counts from now, until their start is noted. A row
    /// that cannot be read becomes a dead letter and does not stop the others.
    async fn claim(
        &self,
        holder: &str,
        wanted: Vec<(Line, usize)>,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// `holder` lives: what it holds is its own for at least `lease` from now.
    async fn heartbeat(&self, holder: &str, lease: Duration) -> Result<(), StoreError>;

    /// Takes the runs of holders whose lease has ended away from them: those that nobody waits for
    /// are queued again, the others are cancelled. What had begun is given up after
    /// [`crate::limits::UNCOUNTED_MAX`] lost workers; what had not gives its attempt back. What waits for
    /// a later moment than was meant, because the store's clock was set back, is due as long after now as
    /// it was meant to be after it was written.
    async fn rescue(&self) -> Result<Recovered, StoreError>;

    /// `holder` stops: its lease ends, and what it holds is handed back. What has not begun loses
    /// nothing by it.
    async fn release(&self, holder: &str) -> Result<Recovered, StoreError>;

    /// What `holder` holds that nobody waits for: the record and its hold.
    async fn held(&self, holder: &str) -> Result<Vec<(InvocationId, Hold)>, StoreError>;

    /// Queues single runs again that their holder has lost sight of, or gives them up, by the rules
    /// of [`Self::rescue`].
    async fn requeue(&self, runs: Vec<(InvocationId, Hold)>) -> Result<Recovered, StoreError>;

    /// How many queued runs of a site wait in the store, counted up to `limit`.
    async fn waiting(&self, site: SiteId, limit: u64) -> Result<u64, StoreError>;

    /// Notes that attempts have begun, and writes the records that are not there yet. Those that have
    /// ended are left alone.
    async fn started(&self, begun: Vec<Started>) -> Result<(), StoreError>;

    /// As [`super::InvocationStore::complete`], across sites.
    async fn complete(&self, completions: Vec<Completion>) -> Result<Vec<bool>, StoreError>;

    /// Whether a function has not been deleted, active or not.
    async fn function_exists(&self, site: SiteId, function: FunctionId)
    -> Result<bool, StoreError>;

    /// What signs a function's webhooks; none when it has no secret.
    async fn webhook_secrets(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<Option<SealedSecrets>, StoreError>;

    /// Marks a subscription because the webhook of `version` is gone, see [`crate::subscribers::Inactive`].
    /// False when it is marked or off already, or another version of the function is the active one.
    async fn subscription_gone(
        &self,
        site: SiteId,
        event: EventType,
        function: FunctionId,
        version: u32,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The executable of a function's active version; none when it was deleted or is not active.
    async fn executable(
        &self,
        site: SiteId,
        function: FunctionId,
    ) -> Result<Option<Executable>, StoreError>;

    /// The executable of one version; none when its function was deleted or is not active.
    async fn executable_version(
        &self,
        site: SiteId,
        version: VersionId,
    ) -> Result<Option<Executable>, StoreError>;

    /// What a function may do; with `version`, as that version: whether it has been active since
    /// the permissions were declared. None when the function was deleted, or has no such version.
    async fn ceiling(
        &self,
        site: SiteId,
        function: FunctionId,
        version: Option<VersionId>,
    ) -> Result<Option<Ceiling>, StoreError>;

    /// Deletes up to `limit` invocation records whose `retention` is over, from the oldest number
    /// after `after`. Looks at a bounded number of rows, so the step may delete none and still have
    /// a next one. What has not ended, dead letters and the newest record stay: the last one so
    /// that its number is never given out again.
    async fn sweep_invocations(
        &self,
        after: Option<InvocationId>,
        limit: usize,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Swept, StoreError>;

    /// Deletes up to `limit` session and refresh tokens that ended before `now`, and as many ended
    /// sign-ins that need not be remembered any more; tells how many.
    async fn sweep_tokens(&self, limit: usize, now: Timestamp) -> Result<u64, StoreError>;

    /// Deletes up to `limit` keys of creating requests that were stored before `before`, oldest
    /// first. Returns how many.
    async fn forget_idempotency_keys(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError>;

    /// Deletes up to `limit` bundles that came last before `before`, and that no version of a function which is there
    /// names. Returns how many.
    async fn sweep_bundles(&self, limit: usize, before: Timestamp) -> Result<u64, StoreError>;

    /// The files of a site with this digest, as [`crate::functions::Bundle::encode`] gives them.
    async fn bundle_of(
        &self,
        site: SiteId,
        digest: &BundleDigest,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Which hosts the functions of a site may reach. Conflict: `Gone`.
    async fn egress_hosts(&self, site: SiteId) -> Result<EgressHosts, StoreError>;

    /// Writes them. Conflict: `Gone`.
    async fn set_egress_hosts(&self, site: SiteId, hosts: EgressHosts) -> Result<(), StoreError>;

    /// Stores `fresh` if nothing stands there yet, and answers what stands there: a sealed value
    /// that tells whether a key is this database's.
    async fn vault_check(&self, fresh: Sealed) -> Result<Sealed, StoreError>;

    /// Answers when the database can be read and written.
    async fn ping(&self) -> Result<(), StoreError>;
}
