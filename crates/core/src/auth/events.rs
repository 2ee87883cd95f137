//! The events around sign-ins. Must never carry a password, a token, or what was typed as a name: people type
//! passwords there.

use crate::engine::{Proposal, Unsavable};
use crate::events::{
    Announcement, Catalogue, EventSpec, EventType, LifecycleEvent, RegisteredTwice,
};
use crate::json::Object;
use crate::limits;
use crate::users::events::{UserParams, sample_params};
use crate::validation::check_object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

crate::event_types! {
    /// Before somebody whose password fits is signed in.
    pub PRE_LOGIN,
    /// After somebody has signed in.
    pub POST_LOGIN,
    /// After a sign-in whose password does not fit, or whose account is not there.
    pub POST_LOGIN_FAILED,
    /// After somebody has signed out.
    pub POST_LOGOUT,
    /// After a sign-in was refused whose password fits.
    pub POST_LOGIN_DENIED,
}

/// Adds them to the catalogue, in the order of the API's list.
///
/// # Errors
/// When one of their names is taken.
pub fn register(catalogue: &mut Catalogue) -> Result<(), RegisteredTwice> {
    let pre = "Before somebody whose password fits is signed in. Every subscriber must agree.";
    let failed = "After a sign-in whose password does not fit, or whose account is not there.";
    let specs = [
        EventSpec::announcing::<LoginProposal>(pre).with_enrichable(&["claims"]),
        EventSpec::of::<LoggedIn>("After somebody has signed in."),
        EventSpec::of::<LoginFailed>(failed),
        EventSpec::of::<LoggedOut>("After somebody has signed out."),
    ];
    specs
        .into_iter()
        .try_for_each(|spec| catalogue.register(spec))
}

/// What functions add to the tokens of a sign-in: the member `claims` of their payload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedClaims {
    /// Anything; at most [`limits::CLAIMS_BYTES`] of JSON.
    #[serde(default)]
    pub attributes: Object,
}

impl AddedClaims {
    pub(super) fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }
}

/// What a sign-in gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// An access token and a refresh token.
    Tokens,
    /// A session, with an access token.
    Session,
}

/// What `PRE_LOGIN` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginProposal {
    /// Who signs in.
    pub user: UserParams,
    /// What for.
    pub kind: LoginKind,
    /// What the tokens say besides.
    pub claims: AddedClaims,
}

/// What `POST_LOGIN` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoggedIn {
    /// Who has signed in.
    pub user: UserParams,
    /// What for.
    pub kind: LoginKind,
    /// What the tokens say besides.
    pub claims: AddedClaims,
}

/// What `POST_LOGIN_FAILED` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginFailed {
    /// The account that was named; none if there is no such account.
    pub user: Option<UserParams>,
    /// What for.
    pub kind: LoginKind,
}

/// What `POST_LOGOUT` carries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoggedOut {
    /// Who has signed out.
    pub user: UserParams,
    /// What has ended, with all that came from the same sign-in.
    pub kind: LoginKind,
}

impl Announcement for LoginProposal {
    const DENIED: EventType = POST_LOGIN_DENIED;
}

impl LifecycleEvent for LoginProposal {
    const TYPE: EventType = PRE_LOGIN;

    fn sample() -> Self {
        Self {
            user: sample_params(),
            kind: LoginKind::Tokens,
            claims: AddedClaims::default(),
        }
    }
}

impl LifecycleEvent for LoggedIn {
    const TYPE: EventType = POST_LOGIN;

    fn sample() -> Self {
        let mut claims = AddedClaims::default();
        claims.attributes.insert("plan".to_owned(), "free".into());
        Self {
            user: sample_params(),
            kind: LoginKind::Tokens,
            claims,
        }
    }
}

impl LifecycleEvent for LoginFailed {
    const TYPE: EventType = POST_LOGIN_FAILED;

    fn sample() -> Self {
        Self {
            user: Some(sample_params()),
            kind: LoginKind::Tokens,
        }
    }
}

impl LifecycleEvent for LoggedOut {
    const TYPE: EventType = POST_LOGOUT;

    fn sample() -> Self {
        Self {
            user: sample_params(),
            kind: LoginKind::Session,
        }
    }
}

/// A sign-in as the PRE stage sees it: functions add claims and change nothing else.
pub(super) struct ProposedLogin {
    pub(super) claims: AddedClaims,
}

/// Nothing of it is protected: claims give no right here, they are for those who read the token elsewhere.
impl Proposal for ProposedLogin {
    fn values(&self) -> Result<Value, serde_json::Error> {
        Ok(serde_json::json!({"claims": serde_json::to_value(&self.claims)?}))
    }

    fn patched(&self, values: &Value) -> Result<Self, Unsavable> {
        let claims = values.get("claims").unwrap_or(&Value::Null);
        let unsavable = |reason: String| Unsavable {
            field: Some("claims".to_owned()),
            reason,
        };
        let claims: AddedClaims = match claims {
            // Taken back.
            Value::Null => AddedClaims::default(),
            Value::Object(_) => {
                AddedClaims::deserialize(claims).map_err(|it| unsavable(it.to_string()))?
            }
            _ => return Err(unsavable("it is no object".to_owned())),
        };
        let mut errors = Vec::new();
        check_object(
            "claims",
            &claims.attributes,
            limits::CLAIMS_BYTES,
            &mut errors,
        );
        match errors.pop() {
            Some(error) => Err(unsavable(error.message)),
            None => Ok(Self { claims }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_have_attributes_and_nothing_else() {
        let proposed = ProposedLogin {
            claims: AddedClaims::default(),
        };
        let patched = |values: Value| proposed.patched(&values).map(|it| it.claims);
        let given = json!({"claims": {"attributes": {"tier": "gold"}}});
        assert_eq!(patched(given).unwrap().attributes["tier"], "gold");
        assert!(patched(json!({"claims": null})).unwrap().is_empty());
        for (wrong, part) in [
            (json!({"claims": {"sub": "1"}}), "sub"),
            (json!({"claims": []}), "no object"),
            (json!({"claims": {"attributes": 1}}), "invalid type"),
            (
                json!({"claims": {"attributes": {"a": "x".repeat(limits::CLAIMS_BYTES)}}}),
                "KiB",
            ),
        ] {
            let error = patched(wrong).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("claims"));
            assert!(error.reason.contains(part), "{error}");
        }
    }
}
