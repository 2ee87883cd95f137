//! Claims rows that nobody holds: what did not fit into memory, what is due again, and what an
//! earlier process left. The lines of all functions take turns here as well, a few rows each.

use crate::executor::Shared;
use crate::held::Held;
use crate::queue::{complete, unrun};
use crate::recorder::Record;
use crate::turns::{Queued, Room};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::FunctionId;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::{Coordinator, TaskRun, Unrunnable};
use tollgate_core::ports::store::{Line, StoreError};

/// How long places that become free gather before they are filled: a claim is a write.
const GATHER: Duration = Duration::from_millis(20);

/// How often lines are looked at while one of them has more than there is room for.
const CROWDED: Duration = Duration::from_millis(500);

/// What is left after a round.
enum Left {
    /// Nothing is due; look again after this time.
    Nothing(Duration),
    /// Something is due that there is no room for.
    NoRoom,
}

/// Looks whenever there is a reason to, and now and then without one.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut left = Left::Nothing(Duration::ZERO);
    let mut served = None;
    loop {
        tokio::select! {
            biased;
            () = shared.taking.stopped() => return,
            () = reason(&shared, left) => {}
        }
        let Some(coordinator) = shared.coordinator() else {
            return;
        };
        failpoint::hit(Point::LoopClaimer);
        left = match claim_all(&shared, &*coordinator, &mut served).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "could not claim work");
                Left::Nothing(shared.config.poll)
            }
        };
    }
}

/// Waits for a reason to look again.
async fn reason(shared: &Shared, left: Left) {
    match left {
        Left::Nothing(pause) => tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        },
        Left::NoRoom => {
            // Another line may have room, and something due meanwhile.
            tokio::select! {
                () = shared.turns.freed() => {}
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(CROWDED.min(shared.config.poll)) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Goes round the lines until a whole round has claimed nothing.
async fn claim_all(
    shared: &Shared,
    coordinator: &dyn Coordinator,
    served: &mut Option<Line>,
) -> Result<Left, StoreError> {
    while !shared.is_stopping() {
        let round = round(shared, coordinator, served).await?;
        if round.claimed > 0 {
            continue;
        }
        if round.no_room {
            return Ok(Left::NoRoom);
        }
        let due = shared.system().next_due().await?;
        let poll = shared.config.poll;
        return Ok(Left::Nothing(due.map_or(poll, |due| due.min(poll))));
    }
    Ok(Left::Nothing(shared.config.poll))
}

/// What one round, or one step of it, came to.
#[derive(Default)]
struct Round {
    claimed: usize,
    /// There may be more due than there was room for.
    no_room: bool,
}

/// Once round all lines, beginning after the one that was served last: where there is little room,
/// lines with small numbers must not get all of it.
async fn round(
    shared: &Shared,
    coordinator: &dyn Coordinator,
    served: &mut Option<Line>,
) -> Result<Round, StoreError> {
    let begin = *served;
    let (mut after, mut wrapped) = (begin, begin.is_none());
    let mut round = Round::default();
    while !shared.is_stopping() {
        let system = shared.system();
        let mut due = system.due_lines(after, limits::CLAIM_LINES).await?;
        let end = begin.filter(|_| wrapped);
        due.lines.retain(|line| end.is_none_or(|end| *line <= end));
        let step = claim(shared, coordinator, &due.lines, served).await?;
        round.claimed += step.claimed;
        round.no_room |= step.no_room;
        if let Some(next) = &mut due.next
            && !shared.turns.has_room(next.site)
        {
            // However many functions it has, they are not worth a look.
            next.function = FunctionId(i64::MAX);
            round.no_room = true;
        }
        after = due.next.filter(|next| end.is_none_or(|end| *next < end));
        if after.is_none() {
            if wrapped {
                break;
            }
            wrapped = true;
        }
    }
    Ok(round)
}

/// Claims of each line its share of a batch, as far as there is room for it.
async fn claim(
    shared: &Shared,
    coordinator: &dyn Coordinator,
    lines: &[Line],
    served: &mut Option<Line>,
) -> Result<Round, StoreError> {
    let share = limits::CLAIM_BATCH / lines.len().max(1);
    let share = share.clamp(1, limits::CLAIM_PER_LINE);
    let mut rooms: HashMap<_, _> = HashMap::with_capacity(lines.len());
    let mut wanted = Vec::with_capacity(lines.len());
    let mut round = Round::default();
    for &line in lines {
        let room = shared.turns.reserve(line, share);
        round.no_room |= room.count() == 0;
        if room.count() > 0 {
            wanted.push((line, room.count()));
            rooms.insert(line, room);
        }
    }
    let Some(&(last, _)) = wanted.last() else {
        return Ok(round);
    };
    *served = Some(last);
    let rows = shared.system().claim(&shared.holder, wanted).await?;
    round.claimed = rows.len();
    if !rows.is_empty() {
        failpoint::hit(Point::ClaimCommitted);
    }
    let (mut taken, mut places) = (
        Vec::with_capacity(rows.len()),
        Vec::with_capacity(rows.len()),
    );
    for row in rows {
        let line = Line {
            site: row.invocation.site_id,
            function: row.invocation.function_id,
        };
        if let Some(room) = rooms.get_mut(&line).and_then(Room::split) {
            places.push((room, shared.holdings.add(row.invocation.id)));
            taken.push(row);
        }
    }
    let resolved = coordinator.resolve(taken).await;
    for (run, (room, held)) in resolved.into_iter().zip(places) {
        take(shared, run, room, held).await;
    }
    Ok(round)
}

/// Lines a claimed row up, or records why it cannot run.
async fn take(shared: &Shared, run: Result<TaskRun, Box<Unrunnable>>, room: Room, held: Held) {
    match run {
        Ok(run) => shared.turns.push(Queued { run, room, held }),
        Err(unrunnable) => {
            let Unrunnable { claimed, failure } = *unrunnable;
            let finished = unrun(shared, failure);
            let completion = complete(shared, &claimed.invocation, &claimed.taken, finished);
            let ended = Record::Finished {
                completion: Box::new(completion),
                _room: room,
                _held: held,
            };
            shared.recorder.send(ended).await;
        }
    }
}
