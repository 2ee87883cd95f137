//! Parameters of the wrong type are no event.

use tollgate::{Actor, EventService};

async fn publish(service: EventService, actor: Actor) {
    service.publish_event(("PRE_ORDER_CREATE", 7), &actor).await.unwrap();
}

fn main() {}
