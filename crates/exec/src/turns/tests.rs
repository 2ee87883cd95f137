//! Turns, thresholds and permits, without any clock or store.

use super::*;
use crate::held::Holdings;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tollgate_core::engine::NobodysHost;
use tollgate_core::functions::{FunctionOptions, Source};
use tollgate_core::ids::{AppId, InvocationId, TaskId, VersionId};
use tollgate_core::invocations::{NewInvocation, Trigger};
use tollgate_core::json::JsonText;
use tollgate_core::ports::dispatch::{Acting, Taken};
use tollgate_core::tasks::Waiter;
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
        acts_as: tollgate_core::rights::ActsAs::default(),
        egress_hosts: tollgate_core::egress::EgressHosts::default(),
        in_force: std::sync::Arc::default(),
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
        user_id: Some(tollgate_core::ids::UserId(1)),
        behalf: tollgate_core::invocations::OnBehalf::default(),
        chain: Default::default(),
        params: JsonText::null(),
        request: None,
        max_attempts: 1,
        timeout: Duration::from_secs(1),
        holder: None,
        queued_at: Timestamp::from_micros(0),
        replay_of: None,
        pinned: false,
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
    let fill_up = |site: i64| {
        for number in 0..200 {
            push(&turns, executable(site, site * 100 + number % 10, None));
        }
    };
    fill_up(1);
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
    fill_up(2);
    fill_up(3);
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

/// However many callers there are: every other permit is for the queue.
#[test]
fn callers_and_queue_take_turns() {
    let turns = Turns::new(64, 1000);
    let single = executable(1, 11, Some(1));
    let mut callers = VecDeque::new();
    let mut holder = turns.enter(&single).now_or_never();
    for _ in 0..3 {
        let mut caller = Box::pin(turns.enter(&single));
        assert!(caller.as_mut().now_or_never().is_none());
        callers.push_back(caller);
    }
    for _ in 0..5 {
        push(&turns, executable(1, 11, Some(1)));
    }
    let mut order = Vec::new();
    for _ in 0..8 {
        drop(holder.take());
        if let Some(both) = next(&turns) {
            order.push("queue");
            assert!(next(&turns).is_none());
            drop(both);
        }
        if let Some(mut caller) = callers.pop_front() {
            holder = caller.as_mut().now_or_never();
            assert!(holder.is_some(), "{order:?}");
            order.push("caller");
        }
    }
    assert_eq!(
        order[..6].join(" "),
        "queue caller queue caller queue caller"
    );
    drop(holder);
    while let Some(both) = next(&turns) {
        drop(both);
    }
    let state = turns.0.state.lock();
    assert!(state.functions.is_empty() && state.sites.is_empty());
}

/// The queue's turn comes even if there is no slot when the permit is given back.
#[test]
fn the_queues_turn_waits_for_a_slot() {
    let turns = Turns::new(1, 1000);
    let single = executable(1, 11, Some(1));
    let first = turns.enter(&single).now_or_never();
    let mut caller = Box::pin(turns.enter(&single));
    assert!(caller.as_mut().now_or_never().is_none());
    push(&turns, executable(2, 21, None));
    let other = next(&turns).unwrap();
    push(&turns, executable(1, 11, Some(1)));
    drop(first);
    assert!(
        caller.as_mut().now_or_never().is_none(),
        "a caller was last"
    );
    drop(other);
    let (queued, slot) = next(&turns).unwrap();
    assert_eq!(function_of(&queued), 11);
    assert!(caller.as_mut().now_or_never().is_none());
    drop((queued, slot));
    assert!(caller.as_mut().now_or_never().is_some());
}

#[test]
fn who_waits_in_vain_may_go_away() {
    let turns = Turns::new(64, 1000);
    let bounded = executable(1, 11, Some(1));
    let first = turns.enter(&bounded).now_or_never();
    let mut gone = Box::pin(turns.enter(&bounded));
    let mut second = Box::pin(turns.enter(&bounded));
    assert!(gone.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    drop(gone);
    drop(first);
    let second = second.as_mut().now_or_never();
    assert!(second.is_some());
    drop(second);
    assert!(turns.0.state.lock().functions.is_empty());
}

/// A run that waits for another one gives slot and permit back, and goes on before others begin.
#[test]
fn a_run_that_waits_makes_room() {
    let turns = Turns::new(1, 1000);
    let single = executable(1, 11, Some(1));
    push(&turns, executable(1, 11, Some(1)));
    push(&turns, executable(1, 11, Some(1)));
    let (parent, slot) = next(&turns).unwrap();
    assert!(next(&turns).is_none());
    slot.held().iter().for_each(|held| held.give_back());
    // Its child, and whoever else comes.
    let child = next(&turns).unwrap();
    let mut late = Box::pin(turns.enter(&single));
    assert!(late.as_mut().now_or_never().is_none());
    let held = slot.held();
    let mut goes_on = Box::pin(async {
        futures_util::future::join_all(held.iter().map(|it| it.take_again())).await
    });
    assert!(goes_on.as_mut().now_or_never().is_none());
    drop(child);
    assert!(
        goes_on.as_mut().now_or_never().is_some(),
        "before whoever came later"
    );
    assert!(late.as_mut().now_or_never().is_none());
    drop(goes_on);
    drop((parent, slot));
    assert!(late.as_mut().now_or_never().is_some());
}

/// A run that ends while it waits has nothing, and takes nothing again.
#[test]
fn what_ended_takes_nothing_again() {
    let turns = Turns::new(1, 1000);
    push(&turns, executable(1, 11, Some(1)));
    let (parent, slot) = next(&turns).unwrap();
    let held = slot.held();
    held.iter().for_each(|held| held.give_back());
    drop((parent, slot));
    for held in &held {
        assert!(held.take_again().now_or_never().is_some());
    }
    let state = turns.0.state.lock();
    assert!(state.running == 0 && state.functions.is_empty());
}

/// A permit that was granted and not taken up is not lost.
#[test]
fn a_caller_that_goes_away_at_the_last_moment_gives_its_permit_back() {
    let turns = Turns::new(64, 1000);
    let bounded = executable(1, 11, Some(1));
    let first = turns.enter(&bounded).now_or_never();
    let mut late = Box::pin(turns.enter(&bounded));
    assert!(late.as_mut().now_or_never().is_none());
    drop(first);
    drop(late);
    assert!(turns.enter(&bounded).now_or_never().is_some());
}

/// One function leaves some of its site's slots to the others.
#[test]
fn no_function_fills_its_sites_slots() {
    let turns = Turns::new(64, 10_000);
    for _ in 0..100 {
        push(&turns, executable(1, 11, Some(512)));
    }
    let mut running = Vec::new();
    while let Some(next) = next(&turns) {
        running.push(next);
    }
    assert_eq!(running.len(), 26);
    push(&turns, executable(1, 12, None));
    assert!(next(&turns).is_some_and(|(queued, _)| function_of(&queued) == 12));
}

#[test]
fn a_function_without_a_bound_has_the_default() {
    let turns = Turns::new(64, 1000);
    let wide = executable(1, 11, None);
    let all: Vec<_> = (0..limits::CONCURRENCY_DEFAULT)
        .map(|_| turns.enter(&wide).now_or_never().unwrap())
        .collect();
    assert!(turns.enter(&wide).now_or_never().is_none());
    drop(all);
}
