//! Enrichment: merge patches of PRE functions, applied in order, checked after each.

use crate::invocation::{Failure, FailureKind};
use crate::json::{JsonText, changes, merge_patch};
use crate::registry::EventSpec;
use crate::users::{Profile, identity};
use serde::Deserialize;
use serde_json::Value;

/// What the engine adds to a function's parameters.
const CONTEXT: &str = "__function__";

/// Takes out of a patch what repeats the parameters that the function was `given`: functions return
/// them whole. A field that cannot be changed is let pass as it was; where all of them came back, the
/// context among them, no field that stayed as it was counts as a wish.
fn wishes(spec: &EventSpec, patch: &Value, given: &JsonText) -> Value {
    let Value::Object(fields) = patch else {
        return patch.clone();
    };
    let whole = fields.contains_key(CONTEXT);
    let all_enrichable = fields
        .keys()
        .all(|it| spec.enrichable.contains(&it.as_str()));
    if all_enrichable && !whole {
        return patch.clone();
    }
    let mut fields = fields.clone();
    fields.remove(CONTEXT);
    let given = given.to_value();
    if whole {
        take_out_same(&mut fields, &given);
    } else {
        let stays = |name: &str| spec.enrichable.contains(&name);
        fields.retain(|name, value| stays(name) || given.get(name) != Some(value));
    }
    Value::Object(fields)
}

/// Removes what is equal in both, within objects too.
fn take_out_same(fields: &mut serde_json::Map<String, Value>, given: &Value) {
    fields.retain(|name, value| {
        let Some(before) = given.get(name) else {
            return true;
        };
        if value == before {
            return false;
        }
        if let (Value::Object(inner), Value::Object(_)) = (value, before) {
            take_out_same(inner, before);
        }
        true
    });
}

/// Applies one function's patch to the proposed values and tells what it changed. `given` is what the
/// function was called with.
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
    given: &JsonText,
) -> Result<JsonText, Failure> {
    let patch = &wishes(spec, patch, given);
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
    let mut enriched = Profile::deserialize(&value).map_err(unreadable)?;
    if enriched.email != proposed.email {
        enriched.email = identity::kept_email(&enriched.email);
    }
    if let Some(error) = enriched.check(Some(proposed)).first() {
        return Err(fail(
            &error.field,
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
        let given = JsonText::of(&profile).unwrap();
        enrich(
            &spec(EventType::PreUserCreate),
            "F",
            &mut profile,
            &patch,
            None,
            &given,
        )
        .map(|_| profile)
        .map_err(|failure| failure.message)
    }

    #[test]
    fn of_a_protected_account_only_what_the_patch_changes_is_refused() {
        let refused = |patch: Value| {
            let (mut profile, why) = (proposed(), Some("it is a superuser's"));
            let spec = spec(EventType::PreUserCreate);
            let given = JsonText::of(&profile).unwrap();
            let enriched = enrich(&spec, "F", &mut profile, &patch, why, &given);
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
        for event in EventType::ALL {
            let spec = spec(event);
            if event.phase() != crate::event::Phase::Pre {
                continue;
            }
            let mut profile = proposed();
            profile.attributes = json!({"a": null, "b": {"c": 1}})
                .as_object()
                .unwrap()
                .clone();
            let mut given = spec.sample();
            given["attributes"] = Value::Object(profile.attributes.clone());
            let text = JsonText::from(&given);
            let mut returned = given.clone();
            returned["__function__"] = json!({"name": "F"});
            let before = profile.clone();
            enrich(&spec, "F", &mut profile, &returned, None, &text).unwrap();
            assert_eq!(profile, before, "{event}: nothing was wished for");
            // Another function's change stands; what differs from what was given is a wish.
            profile.last_name = "Other".to_owned();
            if spec.enrichable.contains(&"attributes") {
                returned["attributes"]["b"]["d"] = json!(2);
                enrich(&spec, "F", &mut profile, &returned, None, &text).unwrap();
                assert_eq!(profile.last_name, "Other");
                let attributes = json!({"a": null, "b": {"c": 1, "d": 2}});
                assert_eq!(Value::Object(profile.attributes.clone()), attributes);
            }
            returned["is_staff"] = json!(true);
            let refused = enrich(&spec, "F", &mut profile, &returned, None, &text).unwrap_err();
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
