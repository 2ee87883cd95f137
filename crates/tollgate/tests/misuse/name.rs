//! A name that is none, and a POST event that functions would change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate::LifecycleEvent;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "ORDER_CREATE", description = "Before an order is placed.")]
struct Nameless {
    id: u32,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "POST_ORDER_CREATE", description = "After an order was placed.", enrichable("id"))]
struct Changed {
    id: u32,
}

fn main() {}
