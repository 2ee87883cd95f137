//! Enrichment: merge patches of PRE functions, applied in order, checked after each.

use crate::invocation::{Failure, FailureKind};
use crate::json::{JsonText, changes, merge_patch};
use crate::registry::EventSpec;
use crate::users::Profile;
use serde::Deserialize;
use serde_json::Value;

/// Applies one function's patch to the proposed values and tells what it changed.
///
/// `refusal` is why the function may not change this account, if so: what the request itself changed
/// stays, what the patch would change beside is refused.
///
/// # Errors
/// [`FailureKind::Enrichment`], naming the field and the function, when the patch reaches outside
/// the event's enrichable fields, gives values that could not be saved, or changes an account that
/// is not the function's to change. `proposed` is unchanged then.
pub(super) fn enrich(
    spec: &EventSpec,
    function_name: &str,
    proposed: &mut Profile,
    patch: &Value,
    refusal: Option<&str>,
) -> Result<JsonText, Failure> {
    let fail = |field: &str, reason: &str| {
        let message =
            format!("Function '{function_name}' returned an enrichment of '{field}' that {reason}");
        Failure::new(FailureKind::Enrichment, message)
    };
    for field in patch
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
    {
        if !spec.enrichable.contains(&field.as_str()) {
            let allowed = match spec.enrichable {
                [] => format!(
                    "is not allowed: {} lets functions change nothing",
                    spec.event
                ),
                fields => format!("is not allowed; it may change {}", fields.join(", ")),
            };
            return Err(fail(field, &allowed));
        }
    }
    let first = patch.as_object().and_then(|fields| fields.keys().next());
    let unreadable = |error: serde_json::Error| {
        fail(
            first.map_or("params", String::as_str),
            &format!("cannot be saved: {error}"),
        )
    };
    let before = serde_json::to_value(&*proposed).map_err(unreadable)?;
    let mut value = before.clone();
    merge_patch(&mut value, patch);
    let enriched = Profile::deserialize(&value).map_err(unreadable)?;
    if let Some(error) = enriched.check().first() {
        return Err(fail(
            error.field,
            &format!("cannot be saved: {}", error.message),
        ));
    }
    // As it will be saved: an absent field has its default again.
    let after = serde_json::to_value(&enriched).map_err(unreadable)?;
    let changes = changes(&before, &after);
    if let (Some(reason), Some(field)) = (refusal, changes.keys().next()) {
        return Err(fail(field, &format!("is not allowed: {reason}")));
    }
    *proposed = enriched;
    Ok(JsonText::from(&Value::Object(changes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;
    use crate::registry::{Event, spec};
    use serde_json::json;

    fn proposed() -> Profile {
        match spec(EventType::PreUserCreate).sample_event() {
            Event::PreUserCreate(profile) => profile,
            other => panic!("{other:?}"),
        }
    }

    fn apply(patch: Value) -> Result<Profile, String> {
        let mut profile = proposed();
        enrich(
            &spec(EventType::PreUserCreate),
            "F",
            &mut profile,
            &patch,
            None,
        )
        .map(|_| profile)
        .map_err(|failure| failure.message)
    }

    #[test]
    fn of_a_protected_account_only_what_the_patch_changes_is_refused() {
        let refused = |patch: Value| {
            let (mut profile, why) = (proposed(), Some("it is a superuser's"));
            let spec = spec(EventType::PreUserCreate);
            let enriched = enrich(&spec, "F", &mut profile, &patch, why);
            assert_eq!(profile, proposed());
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
        assert_eq!(apply(json!({"first_name": null})).unwrap().first_name, "");
        assert_eq!(apply(json!({})).unwrap(), proposed());
    }

    #[test]
    fn anything_else_is_broken_and_says_why() {
        for (patch, part) in [
            (json!({"is_staff": true}), "'is_staff'"),
            (json!({"username": "root"}), "it may change email"),
            (json!({"nonsense": 1}), "'nonsense'"),
            (json!({"email": "nope"}), "valid e-mail"),
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
