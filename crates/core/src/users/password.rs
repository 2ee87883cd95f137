//! The events around a password. Must never carry one, nor a hash.

use super::events::{UserParams, sample_params};
use crate::events::{
    Announcement, Catalogue, EventSpec, EventType, LifecycleEvent, RegisteredTwice,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::event_types! {
    /// Before a password is changed.
    pub PRE_PASSWORD_CHANGE,
    /// After a password was changed.
    pub POST_PASSWORD_CHANGE,
    /// After a forgotten password was set anew.
    pub POST_PASSWORD_RESET,
    /// After the change of a password was refused.
    pub POST_PASSWORD_CHANGE_DENIED,
}

/// Adds them to the catalogue, in the order of the API's list.
///
/// # Errors
/// When one of their names is taken.
pub fn register(catalogue: &mut Catalogue) -> Result<(), RegisteredTwice> {
    let pre = "Before a password is changed. Every subscriber must agree.";
    let specs = [
        EventSpec::announcing::<PasswordChangeProposal>(pre),
        EventSpec::of::<PasswordChanged>("After a password was changed."),
        EventSpec::of::<PasswordReset>("After a forgotten password was set anew by its owner."),
    ];
    specs
        .into_iter()
        .try_for_each(|spec| catalogue.register(spec))
}

/// What `PRE_PASSWORD_CHANGE` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChangeProposal {
    /// Whose password it is.
    pub user: UserParams,
    /// Whether its owner changes it, and not somebody else.
    pub by_owner: bool,
}

/// What `POST_PASSWORD_CHANGE` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChanged {
    /// Whose password it is.
    pub user: UserParams,
    /// Whether its owner changed it, and not somebody else.
    pub by_owner: bool,
}

/// What `POST_PASSWORD_RESET` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PasswordReset {
    /// Whose password it is.
    pub user: UserParams,
}

impl Announcement for PasswordChangeProposal {
    const DENIED: EventType = POST_PASSWORD_CHANGE_DENIED;
}

impl LifecycleEvent for PasswordChangeProposal {
    const TYPE: EventType = PRE_PASSWORD_CHANGE;

    fn sample() -> Self {
        Self {
            user: sample_params(),
            by_owner: true,
        }
    }
}

impl LifecycleEvent for PasswordChanged {
    const TYPE: EventType = POST_PASSWORD_CHANGE;

    fn sample() -> Self {
        Self {
            user: sample_params(),
            by_owner: true,
        }
    }
}

impl LifecycleEvent for PasswordReset {
    const TYPE: EventType = POST_PASSWORD_RESET;

    fn sample() -> Self {
        Self {
            user: sample_params(),
        }
    }
}
