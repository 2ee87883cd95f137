//! Enrichment: merge patches of PRE functions, applied in order, checked after each.

use super::proposal::{Proposal, Unsavable};
use crate::events::EventSpec;
use crate::json::{JsonText, changes, merge_patch};
use crate::tasks::{Failure, FailureKind};
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

/// Applies one function's patch to what is proposed and tells what it changed. `given` is what the
/// function was called with.
///
/// `refusal` is why the function may not change it, if so: what the request itself changed stays, what
/// the patch would change beside is refused.
///
/// # Errors
/// [`FailureKind::Enrichment`], naming the field and the function, when the patch reaches outside
/// the event's enrichable fields, gives values that could not be saved, or changes what is not the
/// function's to change. `proposed` is unchanged then.
pub(crate) fn enrich<P: Proposal>(
    spec: &EventSpec,
    function_name: &str,
    proposed: &mut P,
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
    let unsavable = |Unsavable { field, reason }| {
        let first = first.map_or("params", String::as_str);
        let field = field.as_deref().unwrap_or(first);
        fail(field, &format!("cannot be saved: {reason}"))
    };
    let unwritable = |error| unsavable(Unsavable::from(error));
    let before = proposed.values().map_err(unwritable)?;
    let mut values = before.clone();
    merge_patch(&mut values, patch);
    let enriched = proposed.patched(&values).map_err(unsavable)?;
    // As it will be saved: an absent field has its default again.
    let after = enriched.values().map_err(unwritable)?;
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
    use crate::events::{EventType, LifecycleEvent};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    crate::event_types! { PRE_ORDER_SHIP }

    /// Nothing of the platform's own.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Order {
        weight: u32,
        #[serde(default)]
        note: String,
    }

    impl LifecycleEvent for Order {
        const TYPE: EventType = PRE_ORDER_SHIP;

        fn sample() -> Self {
            let note = "fragile".to_owned();
            Self { weight: 3, note }
        }
    }

    impl Proposal for Order {
        fn values(&self) -> Result<Value, serde_json::Error> {
            serde_json::to_value(self)
        }

        fn patched(&self, values: &Value) -> Result<Self, Unsavable> {
            let patched = Self::deserialize(values)?;
            if patched.weight > 100 {
                return Err(Unsavable {
                    field: Some("weight".to_owned()),
                    reason: "nobody carries that".to_owned(),
                });
            }
            Ok(patched)
        }
    }

    #[test]
    fn whoevers_proposal_it_is_it_is_patched_and_says_itself_what_cannot_be_saved() {
        let spec = EventSpec::of::<Order>("Before an order is shipped.");
        let spec = spec.with_enrichable(&["weight", "note"]);
        let apply = |patch: Value, refusal: Option<&str>| {
            let mut order = Order::sample();
            let given = JsonText::of(&order).unwrap();
            let changes = enrich(&spec, "F", &mut order, &patch, refusal, &given);
            let changes = changes.map_err(|failure| failure.message);
            changes.map(|changes| (changes.to_value(), order))
        };
        let (changes, order) = apply(json!({"weight": 4, "note": null}), None).unwrap();
        let note = String::new();
        assert_eq!(order, Order { weight: 4, note });
        let (weight, note) = (
            json!({"from": 3, "to": 4}),
            json!({"from": "fragile", "to": ""}),
        );
        assert_eq!(changes, json!({"weight": weight, "note": note}));
        for (patch, refusal, part) in [
            (
                json!({"weight": 101}),
                None,
                "'weight' that cannot be saved: nobody carries",
            ),
            (
                json!({"note": 1}),
                None,
                "'note' that cannot be saved: invalid type",
            ),
            (
                json!({"colour": 1}),
                None,
                "'colour' that is not allowed; it may change weight, note",
            ),
            (
                json!({"weight": 4}),
                Some("it is sealed"),
                "'weight' that is not allowed: it is sealed",
            ),
        ] {
            let message = apply(patch.clone(), refusal).unwrap_err();
            assert!(message.contains(part), "{patch}: {message}");
        }
    }
}
