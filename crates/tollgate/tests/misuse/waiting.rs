//! What has happened cannot be refused any more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate::{Actor, EventService, LifecycleEvent};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, LifecycleEvent)]
#[event(name = "POST_ORDER_CREATE", description = "After an order was placed.")]
struct Placed {
    id: u32,
}

async fn publish(service: EventService, actor: Actor) {
    let published = service.publish_event(Placed { id: 1 }, &actor).await.unwrap();
    published.wait().await.unwrap();
}

fn main() {}
