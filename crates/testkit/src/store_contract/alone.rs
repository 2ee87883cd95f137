//! Changes as units of work of their own, as tests write them.

use async_trait::async_trait;
use tollgate_core::idempotency::Remember;
use tollgate_core::ids::UserId;
use tollgate_core::invocations::{Completion, NewInvocation};
use tollgate_core::ports::store::{
    Author, Change, Epoch, Made, OnCommit, RoleGrant, ScopedStore, StoreError, Token, UserChange,
    Work,
};
use tollgate_core::time::Timestamp;
use tollgate_core::users::User;
use uuid::Uuid;

/// A change of one user with everything that is written with it.
#[derive(Debug, Clone)]
pub struct UserCommit {
    /// Whose right it takes.
    pub author: Option<Author>,
    /// The change.
    pub change: UserChange,
    /// Ends of runs.
    pub completions: Vec<Completion>,
    /// Births of runs.
    pub invocations: Vec<NewInvocation>,
    /// The answer of the request that creates the user.
    pub remember: Option<Remember<User>>,
}

/// Each change written alone.
#[async_trait]
pub trait Alone {
    /// Writes a change of a user.
    async fn commit_user(&self, commit: UserCommit, on_commit: OnCommit) -> Result<(), StoreError>;

    /// Gives roles; how many pairs.
    async fn assign_roles(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Takes roles; how many pairs.
    async fn revoke_roles(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
    ) -> Result<u64, StoreError>;

    /// Stores the token of a sign-in.
    async fn insert_token(&self, token: Token, epoch: Epoch) -> Result<(), StoreError>;

    /// Ends what came from a sign-in.
    async fn end_family(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Result<(), StoreError>;
}

async fn alone(store: &dyn ScopedStore, change: Change) -> Result<(), StoreError> {
    let work = Work {
        change: Some(change),
        ..Work::default()
    };
    store.commit(work).await
}

async fn made(
    store: &dyn ScopedStore,
    (change, made): (Change, Made<u64>),
) -> Result<u64, StoreError> {
    alone(store, change).await?;
    Ok(made.take().expect("a committed change was made"))
}

#[async_trait]
impl Alone for dyn ScopedStore + '_ {
    async fn commit_user(&self, commit: UserCommit, on_commit: OnCommit) -> Result<(), StoreError> {
        let work = Work {
            author: commit.author,
            change: Some(self.user_change(commit.change, commit.remember)?),
            births: commit.invocations,
            ends: commit.completions,
            remember: None,
            on_commit,
        };
        self.commit(work).await
    }

    async fn assign_roles(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        made(self, self.roles_assigned(users, grants, now)).await
    }

    async fn revoke_roles(
        &self,
        users: Vec<UserId>,
        grants: Vec<RoleGrant>,
    ) -> Result<u64, StoreError> {
        made(self, self.roles_revoked(users, grants)).await
    }

    async fn insert_token(&self, token: Token, epoch: Epoch) -> Result<(), StoreError> {
        alone(self, self.signed_in(token, epoch)).await
    }

    async fn end_family(
        &self,
        user: UserId,
        family: Uuid,
        now: Timestamp,
        forget_at: Timestamp,
    ) -> Result<(), StoreError> {
        alone(self, self.family_ended(user, family, now, forget_at)).await
    }
}
