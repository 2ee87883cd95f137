//! The events around roles: who is given what, or loses it.

use crate::events::{
    Announcement, Catalogue, EventSpec, EventType, LifecycleEvent, RegisteredTwice,
};
use crate::ids::UserId;
use crate::time::Timestamp;
use crate::users::User;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::event_types! {
    /// Before roles are given.
    pub PRE_ROLE_ASSIGN,
    /// After roles were given.
    pub POST_ROLE_ASSIGN,
    /// Before roles are taken.
    pub PRE_ROLE_REVOKE,
    /// After roles were taken.
    pub POST_ROLE_REVOKE,
    /// After the giving of roles was refused.
    pub POST_ROLE_ASSIGN_DENIED,
    /// After the taking of roles was refused.
    pub POST_ROLE_REVOKE_DENIED,
}

/// Adds them to the catalogue, in the order of the API's list.
///
/// # Errors
/// When one of their names is taken.
pub fn register(catalogue: &mut Catalogue) -> Result<(), RegisteredTwice> {
    let pre_assign = "Before roles are given. Every subscriber must agree.";
    let pre_revoke = "Before roles are taken. Every subscriber must agree.";
    let specs = [
        EventSpec::announcing::<RoleAssignProposal>(pre_assign),
        EventSpec::of::<RolesAssigned>("After roles were given."),
        EventSpec::announcing::<RoleRevokeProposal>(pre_revoke),
        EventSpec::of::<RolesRevoked>("After roles were taken."),
    ];
    specs
        .into_iter()
        .try_for_each(|spec| catalogue.register(spec))
}

/// A user whom an event names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// The user's number.
    pub id: UserId,
    /// Sign-in name.
    pub username: String,
}

impl From<&User> for Named {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            username: user.profile.username.clone(),
        }
    }
}

fn ann() -> Named {
    Named {
        id: UserId(123),
        username: "john_doe".to_owned(),
    }
}

fn developer() -> Vec<String> {
    vec!["user-management:developer".to_owned()]
}

/// What `PRE_ROLE_ASSIGN` carries: every role is to be given to every user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RoleAssignProposal {
    /// Role slugs: `app:role`, or `role` for the whole site.
    pub roles: Vec<String>,
    /// Whom they are for.
    pub users: Vec<Named>,
    /// When they end; never if absent.
    pub expires_at: Option<Timestamp>,
}

/// What `POST_ROLE_ASSIGN` carries: every role was given to every user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RolesAssigned {
    /// Role slugs: `app:role`, or `role` for the whole site.
    pub roles: Vec<String>,
    /// Who has them now.
    pub users: Vec<Named>,
    /// When they end; never if absent.
    pub expires_at: Option<Timestamp>,
}

/// What `PRE_ROLE_REVOKE` carries: every role is to be taken from every user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RoleRevokeProposal {
    /// Role slugs: `app:role`, or `role` for the whole site.
    pub roles: Vec<String>,
    /// Who is to lose them, whether they have them all or not.
    pub users: Vec<Named>,
}

/// What `POST_ROLE_REVOKE` carries: no user has any of the roles any more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RolesRevoked {
    /// Role slugs: `app:role`, or `role` for the whole site.
    pub roles: Vec<String>,
    /// Who has none of them now.
    pub users: Vec<Named>,
}

impl Announcement for RoleAssignProposal {
    const DENIED: EventType = POST_ROLE_ASSIGN_DENIED;
}

impl LifecycleEvent for RoleAssignProposal {
    const TYPE: EventType = PRE_ROLE_ASSIGN;

    fn sample() -> Self {
        Self {
            roles: developer(),
            users: vec![ann()],
            expires_at: None,
        }
    }
}

impl LifecycleEvent for RolesAssigned {
    const TYPE: EventType = POST_ROLE_ASSIGN;

    fn sample() -> Self {
        Self {
            roles: developer(),
            users: vec![ann()],
            expires_at: None,
        }
    }
}

impl Announcement for RoleRevokeProposal {
    const DENIED: EventType = POST_ROLE_REVOKE_DENIED;
}

impl LifecycleEvent for RoleRevokeProposal {
    const TYPE: EventType = PRE_ROLE_REVOKE;

    fn sample() -> Self {
        Self {
            roles: developer(),
            users: vec![ann()],
        }
    }
}

impl LifecycleEvent for RolesRevoked {
    const TYPE: EventType = POST_ROLE_REVOKE;

    fn sample() -> Self {
        Self {
            roles: developer(),
            users: vec![ann()],
        }
    }
}
