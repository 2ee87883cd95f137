//! A user's profile as the PRE stage sees it.
//!
//! Must never let a function change an account that holds rights which the function does not.

use super::identity;
use super::model::{Profile, User};
use super::rights::{Standing, function_refusal};
use crate::engine::{Proposal, Unsavable};
use crate::error::Error;
use crate::ports::store::ScopedStore;
use crate::rights::Ceiling;
use serde::Deserialize as _;
use serde_json::Value;

/// A profile that is about to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedUser {
    /// The proposed values.
    pub profile: Profile,
    /// The account as it stands, if it exists; what it holds decides which functions may change it.
    account: Option<User>,
}

impl ProposedUser {
    /// Of an account that does not exist yet.
    pub const fn new(profile: Profile) -> Self {
        Self {
            profile,
            account: None,
        }
    }

    /// Of an account that exists.
    pub const fn of(account: User, profile: Profile) -> Self {
        Self {
            profile,
            account: Some(account),
        }
    }

    fn standing(&self) -> Standing<'_> {
        let standing = self.account.as_ref().map_or(Standing::none(), Standing::of);
        standing.proposed(&self.profile)
    }
}

impl Proposal for ProposedUser {
    fn values(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.profile)
    }

    fn patched(&self, values: &Value) -> Result<Self, Unsavable> {
        let mut profile = Profile::deserialize(values)?;
        if profile.email != self.profile.email {
            profile.email = identity::kept_email(&profile.email);
        }
        match profile.check(Some(&self.profile)).into_iter().next() {
            Some(error) => Err(Unsavable {
                field: Some(error.field.into_owned()),
                reason: error.message,
            }),
            None => Ok(Self {
                profile,
                account: self.account.clone(),
            }),
        }
    }

    async fn settle(&mut self, store: &dyn ScopedStore) -> Result<(), Error> {
        if let Some(account) = &mut self.account
            && let Some(now) = store.user(account.id).await?
        {
            *account = now;
        }
        Ok(())
    }

    fn is_protected(&self) -> bool {
        self.standing().holds_rights()
    }

    fn refusal(&self, ceiling: &Ceiling) -> Option<String> {
        function_refusal(ceiling, self.standing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::enrich;
    use crate::events::{EventSpec, LifecycleEvent as _, Phase};
    use crate::json::JsonText;
    use crate::platform;
    use crate::users::events::{PRE_USER_CREATE, UserCreateProposal};
    use serde_json::json;

    fn spec() -> EventSpec {
        let catalogue = platform::catalogue();
        catalogue.find(PRE_USER_CREATE.as_str()).unwrap().clone()
    }

    fn proposed() -> Profile {
        UserCreateProposal::sample().0
    }

    fn apply(patch: Value) -> Result<Profile, String> {
        let mut user = ProposedUser::new(proposed());
        let given = JsonText::of(&user.profile).unwrap();
        enrich(&spec(), "F", &mut user, &patch, None, &given)
            .map(|_| user.profile)
            .map_err(|failure| failure.message)
    }

    #[test]
    fn of_a_protected_account_only_what_the_patch_changes_is_refused() {
        let refused = |patch: Value| {
            let (mut user, why) = (ProposedUser::new(proposed()), Some("it is a superuser's"));
            let given = JsonText::of(&user.profile).unwrap();
            let enriched = enrich(&spec(), "F", &mut user, &patch, why, &given);
            assert_eq!(user.profile, proposed());
            enriched.map_err(|failure| failure.message)
        };
        let same = json!({"email": proposed().email, "attributes": {"plan": "free"}});
        for patch in [json!({}), same] {
            refused(patch).unwrap();
        }
        for (patch, field) in [
            (json!({"email": "x@example.com"}), "'email'"),
            (json!({"is_active": false}), "'is_active'"),
            (json!({"attributes": {"plan": "paid"}}), "'attributes.plan'"),
        ] {
            let message = refused(patch).unwrap_err();
            assert!(message.contains(field), "{message}");
            assert!(message.contains("it is a superuser's"), "{message}");
        }
    }

    #[test]
    fn allowed_fields_change_and_the_rest_stays() {
        let enriched = apply(json!({"first_name": "Jane", "attributes": {"a": 1}})).unwrap();
        assert_eq!(enriched.first_name, "Jane");
        assert_eq!(
            Value::Object(enriched.attributes),
            json!({"plan": "free", "a": 1})
        );
        assert_eq!(enriched.email, proposed().email);
        let address = |patch| apply(patch).unwrap().email;
        assert_eq!(
            address(json!({"email": "J＠BLOCKED.Example"})),
            "J@blocked.example"
        );
        assert_eq!(apply(json!({"first_name": null})).unwrap().first_name, "");
        assert_eq!(apply(json!({})).unwrap(), proposed());
    }

    #[test]
    fn parameters_can_be_returned_whole_for_every_pre_event() {
        for spec in platform::catalogue().specs() {
            let event = spec.event;
            if event.phase() != Phase::Pre {
                continue;
            }
            let mut user = ProposedUser::new(proposed());
            user.profile.attributes = json!({"a": null, "b": {"c": 1}})
                .as_object()
                .unwrap()
                .clone();
            let mut given = spec.sample();
            given["attributes"] = Value::Object(user.profile.attributes.clone());
            let text = JsonText::from(&given);
            let mut returned = given.clone();
            returned["__function__"] = json!({"name": "F"});
            let before = user.clone();
            enrich(spec, "F", &mut user, &returned, None, &text).unwrap();
            assert_eq!(user, before, "{event}: nothing was wished for");
            // Another function's change stands; what differs from what was given is a wish.
            user.profile.last_name = "Other".to_owned();
            if spec.enrichable.contains(&"attributes") {
                returned["attributes"]["b"]["d"] = json!(2);
                enrich(spec, "F", &mut user, &returned, None, &text).unwrap();
                assert_eq!(user.profile.last_name, "Other");
                let attributes = json!({"a": null, "b": {"c": 1, "d": 2}});
                assert_eq!(Value::Object(user.profile.attributes.clone()), attributes);
            }
            returned["is_staff"] = json!(true);
            let refused = enrich(spec, "F", &mut user, &returned, None, &text).unwrap_err();
            assert!(
                refused.message.contains("'is_staff'"),
                "{event}: {}",
                refused.message
            );
        }
    }

    #[test]
    fn anything_else_is_broken_and_says_why() {
        for (patch, part) in [
            (json!({"is_staff": true}), "'is_staff'"),
            (json!({"username": "root"}), "it may change email"),
            (json!({"nonsense": 1}), "'nonsense'"),
            (json!({"email": "nope"}), "valid e-mail"),
            (json!({"email": "a\u{200b}@b.c"}), "U+200B"),
            (json!({"email": null}), "missing field"),
            (json!({"is_active": "yes"}), "'is_active'"),
            (json!({"attributes": [1]}), "'attributes'"),
        ] {
            let message = apply(patch.clone()).unwrap_err();
            assert!(message.contains(part), "{patch}: {message}");
            assert!(message.contains("'F'"), "{message}");
        }
    }
}
