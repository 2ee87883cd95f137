//! What is started here ends when it is told to, or is named.

use super::*;
use futures_util::FutureExt as _;
use std::future::pending;
use tokio::sync::oneshot;

/// Long enough for anything that ends at all.
const LONG: Duration = Duration::from_secs(10);
/// Long enough for nothing.
const SHORT: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_loop_that_ends_unasked_is_a_fault() {
    let supervisor = Supervisor::default();
    assert!(supervisor.broken().now_or_never().is_none());
    supervisor.spawn_passing("passing", async {});
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
    assert_eq!(supervisor.fault(), None);
    // Also one of a group within.
    supervisor.group().spawn("queue", async {});
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
    supervisor.spawn("later", async {});
    let fault = supervisor.broken().now_or_never().unwrap();
    assert_eq!((fault.name, fault.panicked), ("queue", false));
}

#[tokio::test]
async fn a_panic_is_one_also_of_what_may_end() {
    let supervisor = Supervisor::default();
    supervisor.spawn_passing("host", async { panic!("on purpose") });
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
    assert!(supervisor.fault().is_some_and(|fault| fault.panicked));
    let supervisor = Supervisor::default();
    let thread = supervisor.thread("writer", thread::Builder::new(), || panic!("on purpose"));
    assert!(thread.unwrap().join().is_err());
    assert_eq!(supervisor.fault().map(|fault| fault.name), Some("writer"));
}

#[tokio::test]
async fn a_panic_of_one_runs_work_is_told_to_whoever_waits_and_is_no_fault() {
    let supervisor = Supervisor::default();
    let panics: JoinHandle<()> = supervisor.carry("run", async { panic!("on purpose") });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(supervisor.carry("run", async { 7 }).await.unwrap(), 7);
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
    assert_eq!(supervisor.fault(), None);
}

#[tokio::test]
async fn a_stop_waits_for_loops_threads_and_work_of_all_groups() {
    let supervisor = Supervisor::default();
    let (inner, told) = (supervisor.group(), supervisor.clone());
    inner.spawn("loop", {
        let inner = inner.clone();
        async move { inner.stopped().await }
    });
    let (let_it_end, ends) = oneshot::channel::<()>();
    let waits = move || drop(ends.blocking_recv());
    let thread = supervisor.thread("thread", thread::Builder::new(), waits);
    drop(supervisor.carry("run", async move { told.stopped().await }));
    assert!(!inner.is_stopping());
    supervisor.stop();
    assert!(inner.is_stopping() && supervisor.group().is_stopping());
    let joined = supervisor.joined(LONG);
    let ends = async move { drop(let_it_end) };
    assert_eq!(tokio::join!(joined, ends).0, [""; 0]);
    assert!(supervisor.fault().is_none());
    thread.unwrap().join().unwrap();
}

#[tokio::test]
async fn a_group_is_stopped_and_waited_for_alone() {
    let supervisor = Supervisor::default();
    let (first, second) = (supervisor.group(), supervisor.group());
    for group in [&first, &second] {
        let it = group.clone();
        group.spawn("loop", async move { it.stopped().await });
    }
    first.stop();
    assert_eq!(first.joined(LONG).await, [""; 0]);
    assert!(!second.is_stopping() && !supervisor.is_stopping());
    assert!(supervisor.joined(LONG).now_or_never().is_none());
    supervisor.stop();
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
}

#[tokio::test]
async fn what_does_not_end_is_named_and_lets_go_of_what_it_holds() {
    let supervisor = Supervisor::default();
    let group = supervisor.group();
    let held = Arc::new(());
    for name in ["queue", "keeper", "queue"] {
        let held = Arc::clone(&held);
        group.spawn(name, async move {
            pending::<()>().await;
            drop(held);
        });
    }
    group.spawn_passing("ends", async {});
    supervisor.stop();
    assert_eq!(supervisor.joined(SHORT).await, ["keeper", "queue"]);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(supervisor.joined(SHORT).await, [""; 0]);
    assert!(supervisor.fault().is_none());
}

#[tokio::test]
async fn a_thread_that_does_not_end_is_named_and_goes_on() {
    let supervisor = Supervisor::default();
    let (let_it_end, ends) = oneshot::channel::<()>();
    let waits = move || drop(ends.blocking_recv());
    let thread = supervisor.thread("reader", thread::Builder::new(), waits);
    assert_eq!(supervisor.joined(SHORT).await, ["reader"]);
    assert_eq!(supervisor.joined(SHORT).await, ["reader"]);
    drop(let_it_end);
    assert_eq!(supervisor.joined(LONG).await, [""; 0]);
    thread.unwrap().join().unwrap();
}
