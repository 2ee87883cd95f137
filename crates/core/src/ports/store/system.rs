//! Queries that belong to no site: sites themselves, credentials before they are verified, and
//! the queue across all sites.

use super::accounts::RoleGrant;
use super::{IdBlock, IdKind, StoreError};
use crate::function::{Executable, text_enum};
use crate::ids::{SiteId, UserId, VersionId};
use crate::invocation::{Completion, NewInvocation, Started};
use crate::site::Site;
use crate::time::Timestamp;
use crate::users::User;
use async_trait::async_trait;
use std::fmt;

/// What a sign-in needs to know of an account.
#[derive(Debug, Clone)]
pub struct LoginRecord {
    /// The account.
    pub user: User,
    /// Its Argon2 hash, if it has a password.
    pub password_hash: Option<String>,
}

/// Whom a credential belongs to, with what decides their rights.
#[derive(Debug, Clone)]
pub struct CredentialOwner {
    /// The account; never a deleted one.
    pub user: User,
    /// Its roles that have not expired.
    pub grants: Vec<RoleGrant>,
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
    /// Shared by all refresh tokens that came from one sign-in.
    pub family: uuid::Uuid,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was ended or exchanged before that.
    pub ended_at: Option<Timestamp>,
}

/// A queued run that is now this holder's.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The run; `holder` is the claimer.
    pub invocation: NewInvocation,
    /// The attempt that begins, from 1.
    pub attempt: u32,
}

/// What an earlier process left behind and start-up put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Runs that wait to be claimed again.
    pub requeued: u64,
    /// Runs whose caller is gone.
    pub cancelled: u64,
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

    /// The account of a username or e-mail address, without regard to case.
    async fn login_record(
        &self,
        site: SiteId,
        login: &str,
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
    ) -> Result<Option<UserId>, StoreError>;

    /// The token with this hash, ended or not.
    async fn token(&self, site: SiteId, hash: &str) -> Result<Option<Token>, StoreError>;

    /// Takes up to `limit` runs that are due and held by no one, oldest first, and tells when the
    /// next one will be due.
    async fn claim(
        &self,
        holder: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<Claimed>, Option<Timestamp>), StoreError>;

    /// Notes that attempts have begun. Records that have ended are left alone.
    async fn started(&self, begun: Vec<Started>) -> Result<(), StoreError>;

    /// As [`super::InvocationStore::complete`], across sites.
    async fn complete(&self, completions: Vec<Completion>) -> Result<Vec<bool>, StoreError>;

    /// Hands everything that other holders than `holder` held back to the queue, or ends it where
    /// its caller is gone. Only for a process that owns the store alone.
    async fn recover(&self, holder: &str, now: Timestamp) -> Result<Recovered, StoreError>;

    /// The executable of one version; none when its function was deleted or is not active.
    async fn executable_version(
        &self,
        site: SiteId,
        version: VersionId,
    ) -> Result<Option<Executable>, StoreError>;

    /// Deletes up to `limit` keys of creating requests that were stored before `before`, oldest
    /// first. Returns how many.
    async fn forget_idempotency_keys(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Answers when the database can be read and written.
    async fn ping(&self) -> Result<(), StoreError>;
}
