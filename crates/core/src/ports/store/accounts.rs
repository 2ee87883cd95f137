//! Users, roles and credentials of one site.

use super::system::{Epoch, Token};
use super::{Change, Made, Page, PageRequest, StoreError};
use crate::idempotency::Remember;
use crate::ids::{ApiKeyId, AppId, UserId};
use crate::json::Object;
use crate::rights::RoleName;
use crate::text::text_enum;
use crate::time::Timestamp;
use crate::users::{Preferences, PreferencesChange, User};
use crate::validation::FieldError;
use async_trait::async_trait;
use std::fmt;
use uuid::Uuid;

/// Whoever asks for a write, as they were when their right to it was checked. A write that names one is
/// refused with [`super::Conflict::Author`] when that account is gone or has another revision by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The account.
    pub user: UserId,
    /// Its revision.
    pub revision: i64,
}

/// A change of one user.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// A new user, complete with its reserved id.
    Create {
        /// The record.
        user: Box<User>,
        /// Argon2 hash; none means no sign-in by password.
        password_hash: Option<String>,
    },
    /// New values for an existing user. Refused unless the stored revision is `user.revision - 1`.
    Update {
        /// The record as it will stand.
        user: Box<User>,
        /// A new hash; none leaves the old one. With one, or with a user who is not active, the user's
        /// sessions and tokens end and the epoch grows.
        password_hash: Option<String>,
    },
    /// The user is marked deleted, under the same rule, and its sessions, keys and tokens end.
    Delete {
        /// The record as it will stand.
        user: Box<User>,
    },
}

impl UserChange {
    /// The record as it will stand.
    pub const fn user(&self) -> &User {
        match self {
            Self::Create { user, .. } | Self::Update { user, .. } | Self::Delete { user } => user,
        }
    }
}

/// How a list of users is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserOrder {
    /// By number, which says nothing of time.
    Id,
    /// By username.
    Username,
    /// By e-mail address.
    Email,
    /// By the date of joining.
    #[default]
    DateJoined,
    /// By the date of the last sign-in.
    LastLogin,
}

text_enum!(UserOrder {
    Id => "id",
    Username => "username",
    Email => "email",
    DateJoined => "date_joined",
    LastLogin => "last_login",
});

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserQuery {
    /// Part of username, e-mail, first or last name, in any spelling.
    pub search: Option<String>,
    /// Only active or inactive ones.
    pub is_active: Option<bool>,
    /// Only staff or others.
    pub is_staff: Option<bool>,
    /// Only superusers or others.
    pub is_superuser: Option<bool>,
    /// Deleted ones instead of the others.
    pub is_deleted: bool,
    /// Only holders of one of these role slugs.
    pub roles: Vec<String>,
    /// Order.
    pub order: UserOrder,
    /// Reverse the order.
    pub descending: bool,
}

/// Users.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// A user that is not deleted, by number.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// The one user that is not deleted and signs in by this username or address, in any spelling.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError>;

    /// Whether another user than `except` already has this username or address, as either. A name
    /// that `except` shares with another one since before names were one namespace may stay.
    ///
    /// # Errors
    /// [`super::Conflict::Username`] or [`super::Conflict::Email`] when so.
    async fn check_user_is_free(
        &self,
        username: &str,
        email: &str,
        except: Option<UserId>,
    ) -> Result<(), StoreError>;

    /// What a user has set for the clients that they use; none when there is no such user.
    async fn preferences(&self, user: UserId) -> Result<Option<Preferences>, StoreError>;

    /// Changes them as core says, in one transaction, so that of two changes at once none is lost.
    /// Answers what stands there then; none when there is no such user.
    async fn change_preferences(
        &self,
        user: UserId,
        change: PreferencesChange,
    ) -> Result<Option<Result<Object, FieldError>>, StoreError>;

    /// Users that match.
    async fn list_users(
        &self,
        query: UserQuery,
        page: PageRequest,
    ) -> Result<Page<User>, StoreError>;

    /// A change of one user, for a unit of work, with the answer of the request that creates the user.
    ///
    /// # Errors
    /// When it has no JSON. [`super::Conflict`] comes from the unit, when uniqueness or the revision does not hold;
    /// nothing is written then.
    fn user_change(
        &self,
        change: UserChange,
        remember: Option<Remember<User>>,
    ) -> Result<Change, StoreError>;
}

/// A role given to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleGrant {
    /// The app, or none for the whole site.
    pub app_id: Option<AppId>,
    /// That app's slug.
    pub app_slug: Option<String>,
    /// The role.
    pub role: RoleName,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl RoleGrant {
    /// `"app:role"`, or `"role"` for the whole site.
    pub fn slug(&self) -> String {
        match &self.app_slug {
            Some(app) => format!("{app}:{}", self.role),
            None => self.role.to_string(),
        }
    }
}

/// An API key as listed: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its number.
    pub id: ApiKeyId,
    /// The owner.
    pub user_id: UserId,
    /// A name for people.
    pub name: String,
    /// The first characters of the key, to tell keys apart.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// About when it was last used; see [`crate::limits::KEY_USE_NOTED`].
    pub last_used_at: Option<Timestamp>,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// An API key to be stored.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The owner.
    pub user_id: UserId,
    /// A name for people.
    pub name: String,
    /// The first characters of the key.
    pub prefix: String,
    /// SHA-256 of the key, hexadecimal.
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<ApiKey>>,
}

/// Roles and credentials.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// The roles of a user that have not expired at `now`.
    async fn role_grants(&self, user: UserId, now: Timestamp)
    -> Result<Vec<RoleGrant>, StoreError>;

    /// Gives every role to every user; one held already gets the new end. Makes how many pairs. The
    /// revision of each of these users grows, so that nothing is written that was decided before.
    fn roles_assigned(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
        now: Timestamp,
    ) -> (Change, Made<u64>);

    /// Takes every role from every user. Makes how many pairs were removed. The revision of whoever
    /// had one grows.
    fn roles_revoked(&self, users: Vec<UserId>, grants: Vec<RoleGrant>) -> (Change, Made<u64>);

    /// Stores an API key.
    async fn insert_api_key(&self, key: NewApiKey) -> Result<ApiKey, StoreError>;

    /// The keys of one user, newest first.
    async fn api_keys(&self, user: UserId) -> Result<Vec<ApiKey>, StoreError>;

    /// Deletes a key of that user. False when there is none.
    async fn delete_api_key(&self, user: UserId, id: ApiKeyId) -> Result<bool, StoreError>;

    /// Notes that a key is in use.
    async fn note_key_use(&self, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError>;

    /// Puts another hash of the same password in the place of `old`; nothing ends by it. False when
    /// another one stands there by now.
    async fn replace_password_hash(
        &self,
        user: UserId,
        old: String,
        new: String,
    ) -> Result<bool, StoreError>;

    /// Stores the session or refresh token of a sign-in and sets the user's `last_login`.
    ///
    /// # Errors
    /// [`super::Conflict::Gone`] when the user is deleted or not active, or `epoch` is not the user's
    /// any more: the password that was checked may have been changed since. They come from the unit of work.
    fn signed_in(&self, token: Token, epoch: Epoch) -> Change;

    /// Ends the refresh token with the hash `used` and stores `next` in its place, or does neither:
    /// false when there is none, or it has ended. It is remembered as used until it would have
    /// expired.
    async fn exchange_token(&self, used: String, next: Token) -> Result<bool, StoreError>;

    /// Ends all sessions and refresh tokens that came from one sign-in, and until `forget_at` lists
    /// it in [`super::CredentialOwner::ended_families`].
    fn family_ended(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Change;

    /// The same for somebody who signs out: [`super::Conflict::Gone`] comes from the unit when nothing of the sign-in was
    /// open any more.
    fn signed_out(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Change;
}
