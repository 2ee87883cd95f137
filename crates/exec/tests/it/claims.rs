//! What a claim takes is looked up together.

use crate::world::{World, priority, returns};
use serde_json::json;
use tollgate_core::functions::UpdateFunction;
use tollgate_core::ports::dispatch::Dispatcher as _;
use tollgate_core::ports::store::{Claimed, Line, Reason, Store as _};
use tollgate_core::tasks::FailureKind;
use tollgate_core::users::events::POST_USER_CREATE;

/// Rows of one function and user, claimed by somebody else after their holder has handed them back.
const ROWS: usize = 60;

async fn claimed(world: &World) -> Vec<Claimed> {
    let system = world.store.system(Reason::Execute);
    let due = system.due_lines(None, 9).await.unwrap().lines;
    let wanted: Vec<(Line, usize)> = due.into_iter().map(|line| (line, 500)).collect();
    system.claim("me", wanted).await.unwrap()
}

#[tokio::test]
async fn rows_of_one_function_cost_a_bounded_number_of_queries() {
    let world = World::idle().await;
    world
        .subscribe("job", POST_USER_CREATE, returns(json!({})), priority(0))
        .await;
    for _ in 0..ROWS {
        world.execute("job", true).await.unwrap();
    }
    let system = world.store.system(Reason::Execute);
    system.release(&world.executor.holder()).await.unwrap();
    let rows = claimed(&world).await;
    assert_eq!(rows.len(), ROWS);
    let ids: Vec<_> = rows.iter().map(|row| row.invocation.id).collect();

    let before = world.store.asked();
    let runs = world.coordinator.resolve(rows.clone()).await;
    let asked = world.store.asked() - before;
    assert!(asked <= 3, "{asked} queries");
    let resolved: Vec<_> = runs
        .into_iter()
        .map(|run| run.unwrap().invocation.id)
        .collect();
    assert_eq!(resolved, ids);

    // What is not there is not kept in a cache, and still not looked for once for each.
    let off = UpdateFunction {
        is_active: Some(false),
        ..UpdateFunction::default()
    };
    let access = world.access().await;
    let functions = &world.platform.functions;
    functions.update(&access, "job", off.into()).await.unwrap();
    let before = world.store.asked();
    let runs = world.coordinator.resolve(rows).await;
    let asked = world.store.asked() - before;
    assert!(asked <= 3, "{asked} queries");
    for (run, id) in runs.into_iter().zip(ids) {
        let unrunnable = run.err().unwrap();
        assert_eq!(unrunnable.claimed.invocation.id, id);
        assert_eq!(unrunnable.failure.kind, FailureKind::Inactive);
    }
}
