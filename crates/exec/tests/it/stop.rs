//! A stop leaves nothing behind that still goes on.

use crate::world::World;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tollgate_core::engine::Settings;
use tollgate_core::functions::FunctionOptions;
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::State;
use tollgate_exec::ExecutorConfig;
use tollgate_testkit::fake_runtime::Behaviour;

#[tokio::test]
async fn it_waits_for_loops_runs_and_what_they_left_to_be_written() {
    let supervisor = Supervisor::default();
    let config = ExecutorConfig {
        supervisor: supervisor.clone(),
        ..ExecutorConfig::default()
    };
    let world = World::with(Settings::default(), config).await;
    world.start().await;
    let never = Behaviour::Gated(
        Arc::new(Semaphore::new(0)),
        Box::new(Behaviour::Return(json!({}))),
    );
    world
        .deploy("held", never, FunctionOptions::default())
        .await;
    world.execute("held", true).await.unwrap();
    world.runtime.called(1).await;
    {
        // A caller who goes away leaves an end to be written.
        let call = world.execute("held", false);
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("it cannot end"),
            () = world.runtime.called(2) => {}
        }
    }
    let left = world.executor.stop(Duration::ZERO).await.unwrap();
    assert_eq!(left.requeued, 1);
    // Nothing is told to stop here: all of it has ended, or is about to.
    assert_eq!(supervisor.joined(Duration::from_secs(10)).await, [""; 0]);
    assert_eq!(supervisor.fault(), None);
    let ended = world.invocations().await;
    let states: Vec<_> = ended.iter().map(|it| it.state).collect();
    assert!(states.contains(&State::Cancelled), "{states:?}");
}
