//! Nothing is published without somebody who does it, and nobody makes such a one but the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate::{Actor, EventService, LifecycleEvent};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "PRE_ORDER_CREATE", description = "Before an order is placed.")]
struct Proposed {
    id: u32,
}

async fn publish(service: EventService) {
    service.publish_event(Proposed { id: 1 }).await.unwrap();
    service.publish_event(Proposed { id: 1 }, &Actor::default()).await.unwrap();
}

fn main() {}
