//! Turns, thresholds and places, without any clock or store.

use super::*;
use crate::held::Holdings;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tollgate_core::engine::NobodysHost;
use tollgate_core::function::{FunctionOptions, Source};
use tollgate_core::ids::{AppId, InvocationId, TaskId, VersionId};
use tollgate_core::invocation::{NewInvocation, Trigger, Waiter};
use tollgate_core::json::JsonText;
use tollgate_core::ports::dispatch::{Acting, Taken};
use tollgate_core::time::Timestamp;

fn executable(site: i64, function: i64, most: Option<u32>) -> Executable {
    Executable {
        site_id: SiteId(site),
        site_slug: "site".into(),
        app_id: AppId(1),
        app_slug: "app".into(),
        function_id: FunctionId(function),
        function_name: "F".into(),
        function_slug: "f".into(),
        version_id: VersionId(function),
        version: 1,
        source: Source::System,
        acts_as: tollgate_core::auth::ActsAs::default(),
        egress_hosts: tollgate_core::egress::EgressHosts::default(),
        options: FunctionOptions {
            max_concurrency: most,
            ..FunctionOptions::default()
        },
    }
}

fn line(site: i64, function: i64) -> Line {
    Line {
        site: SiteId(site),
        function: FunctionId(function),
    }
}

fn push(turns: &Turns, executable: Executable) -> bool {
    let line = line(executable.site_id.0, executable.function_id.0);
    let Some(room) = turns.reserve(line, 1).split() else {
        return false;
    };
    let invocation = NewInvocation {
        site_id: executable.site_id,
        id: InvocationId(1),
        task_id: TaskId(uuid()),
        function_id: executable.function_id,
        version_id: executable.version_id,
        version: 1,
        event: None,
        event_id: None,
        trigger: Trigger::Api,
        waiter: Waiter::Nobody,
        user_id: None,
        behalf: tollgate_core::invocation::OnBehalf::default(),
        chain: Default::default(),
        params: JsonText::null(),
        max_attempts: 1,
        timeout: Duration::from_secs(1),
        holder: None,
        queued_at: Timestamp::from_micros(0),
        replay_of: None,
    };
    let run = TaskRun {
        invocation,
        taken: Taken::at_birth("me".into()),
        executable: executable.into(),
        acting: Acting {
            user_data: None,
            host: Arc::new(NobodysHost),
        },
        deadline: None,
    };
    turns.push(Queued {
        run,
        room,
        held: Holdings::default().add(InvocationId(1)),
    });
    true
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::nil()
}

fn next(turns: &Turns) -> Option<(Queued, Slot)> {
    turns.next().now_or_never()
}

fn function_of(queued: &Queued) -> i64 {
    queued.run.invocation.function_id.0
}

#[test]
fn sites_take_turns_and_so_do_their_functions() {
    let turns = Turns::new(1, 1000);
    for _ in 0..4 {
        push(&turns, executable(1, 11, None));
    }
    for _ in 0..2 {
        push(&turns, executable(1, 12, None));
        push(&turns, executable(2, 21, None));
    }
    let mut order = Vec::new();
    while let Some((queued, slot)) = next(&turns) {
        order.push(function_of(&queued));
        drop((queued, slot));
    }
    assert_eq!(order, [11, 21, 12, 21, 11, 12, 11, 11]);
    assert!(turns.0.state.lock().sites.is_empty());
}

#[test]
fn no_site_fills_the_slots() {
    let turns = Turns::new(64, 10_000);
    for _ in 0..200 {
        push(&turns, executable(1, 11, None));
    }
    let mut running = Vec::new();
    let fill = |running: &mut Vec<_>| {
        while let Some(next) = next(&turns) {
            running.push(next);
        }
    };
    let count = |running: &[(Queued, Slot)]| {
        let mut counts = BTreeMap::new();
        for (queued, _) in running {
            *counts.entry(queued.run.invocation.site_id.0).or_insert(0) += 1;
        }
        counts
    };
    fill(&mut running);
    assert_eq!(count(&running)[&1], 32, "one alone gets half");
    for site in 2..=3 {
        for _ in 0..200 {
            push(&turns, executable(site, site * 10, None));
        }
    }
    fill(&mut running);
    let counts = count(&running);
    assert_eq!(
        (counts[&2], counts[&3]),
        (11, 11),
        "the next ones share what is left"
    );
    // A newcomer finds a slot at once.
    push(&turns, executable(9, 90, None));
    assert!(next(&turns).is_some_and(|(queued, _)| function_of(&queued) == 90));
    // What ends is shared anew, and something is left again.
    running.retain(|(queued, _)| queued.run.invocation.site_id.0 != 1);
    fill(&mut running);
    let counts = count(&running);
    let free = 64 - running.len();
    assert_eq!(counts.len(), 3);
    assert!(counts.values().all(|&count| count >= free), "{counts:?}");
    assert!(free > 10 && counts[&1] > 10, "{counts:?}");
}

#[test]
fn no_site_fills_the_memory() {
    let turns = Turns::new(64, 100);
    let all = |site| (0..50).map(move |function| line(site, function));
    let one: Vec<_> = all(1).map(|line| turns.reserve(line, 10)).collect();
    assert_eq!(one.iter().map(Room::count).sum::<usize>(), 50);
    let two: Vec<_> = all(2).map(|line| turns.reserve(line, 10)).collect();
    assert_eq!(two.iter().map(Room::count).sum::<usize>(), 25);
    assert_eq!(turns.reserve(line(1, 99), 10).count(), 0);
    assert!(!turns.has_room(SiteId(1)) && turns.has_room(SiteId(3)));
    assert!(turns.reserve(line(3, 1), 1).count() == 1);
    drop((one, two));
    assert!(turns.freed().now_or_never().is_some());
    assert_eq!(turns.reserve(line(1, 99), 10).count(), 10);
    assert!(turns.0.state.lock().sites.is_empty());
    let single = Turns::new(1, 1);
    assert_eq!(single.reserve(line(1, 1), 5).count(), 1);
}

/// What one function has waiting is not in the way of its site's other functions.
#[test]
fn no_function_fills_its_sites_memory() {
    let turns = Turns::new(64, 100);
    let one = turns.reserve(line(1, 11), 1000);
    assert_eq!(one.count(), 25, "half of its site's half");
    let two = turns.reserve(line(1, 12), 1000);
    assert_eq!(two.count(), 13);
    assert_eq!(turns.reserve(line(1, 11), 1000).count(), 0);
    assert_eq!(turns.reserve(line(1, 13), 1).count(), 1);
    drop(two);
    assert_eq!(turns.reserve(line(1, 11), 1000).count(), 0);
    assert_eq!(turns.reserve(line(1, 13), 1).count(), 1);
}

#[test]
fn a_function_at_its_bound_takes_no_slot_and_stops_nobody() {
    let turns = Turns::new(64, 1000);
    for _ in 0..5 {
        push(&turns, executable(1, 11, Some(2)));
        push(&turns, executable(1, 12, None));
    }
    let mut running = Vec::new();
    while let Some(next) = next(&turns) {
        running.push(next);
    }
    let of = |function| {
        running
            .iter()
            .filter(|(it, _)| function_of(it) == function)
            .count()
    };
    assert_eq!((of(11), of(12)), (2, 5));
    running.retain(|(queued, _)| function_of(queued) != 11);
    assert!(next(&turns).is_some());
}

#[test]
fn callers_come_before_the_queue_and_may_go_away() {
    let turns = Turns::new(64, 1000);
    let bounded = executable(1, 11, Some(1));
    let first = turns.enter(&bounded).now_or_never().unwrap().unwrap();
    let mut gone = Box::pin(turns.enter(&bounded));
    let mut second = Box::pin(turns.enter(&bounded));
    assert!(gone.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    push(&turns, executable(1, 11, Some(1)));
    assert!(next(&turns).is_none());
    drop(gone);
    drop(first);
    assert!(next(&turns).is_none(), "a caller waits");
    let second = second.as_mut().now_or_never().unwrap().unwrap();
    assert!(next(&turns).is_none());
    drop(second);
    let (queued, slot) = next(&turns).unwrap();
    assert!(turns.enter(&bounded).now_or_never().is_none());
    drop((queued, slot));
    assert!(turns.enter(&bounded).now_or_never().unwrap().is_some());
    assert!(turns.0.state.lock().functions.is_empty());
    assert!(
        turns
            .enter(&executable(1, 12, None))
            .now_or_never()
            .unwrap()
            .is_none()
    );
}

/// A place that was granted and not taken up is not lost.
#[test]
fn a_caller_that_goes_away_at_the_last_moment_gives_its_place_back() {
    let turns = Turns::new(64, 1000);
    let bounded = executable(1, 11, Some(1));
    let first = turns.enter(&bounded).now_or_never().unwrap();
    let mut late = Box::pin(turns.enter(&bounded));
    assert!(late.as_mut().now_or_never().is_none());
    drop(first);
    drop(late);
    assert!(turns.enter(&bounded).now_or_never().unwrap().is_some());
}
