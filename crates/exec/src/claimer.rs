//! Claims rows that nobody holds: what did not fit into memory, what is due again, and what an
//! earlier process left. Sites take turns here as well, a few rows each.

use crate::executor::Shared;
use crate::queue::{complete, unrun};
use crate::recorder::Record;
use crate::turns::{Queued, Room};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::ids::SiteId;
use tollgate_core::limits;
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::ports::store::{Claimed, StoreError};

/// How long places that become free gather before they are filled: a claim is a write.
const GATHER: Duration = Duration::from_millis(20);

/// How often sites are looked at while one of them has more than it has room for.
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
    loop {
        match left {
            Left::Nothing(pause) => tokio::select! {
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            },
            Left::NoRoom => {
                // Another site may have room, and something due meanwhile.
                tokio::select! {
                    () = shared.turns.freed() => {}
                    () = shared.wake.notified() => {}
                    () = tokio::time::sleep(CROWDED.min(shared.config.poll)) => {}
                }
                tokio::time::sleep(GATHER).await;
            }
        }
        if shared.is_stopping() {
            return;
        }
        let Some(coordinator) = shared.coordinator() else {
            return;
        };
        left = match claim_all(&shared, &*coordinator).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "could not claim work");
                Left::Nothing(shared.config.poll)
            }
        };
    }
}

/// Goes round the sites until a whole round has claimed nothing.
async fn claim_all(shared: &Shared, coordinator: &dyn Coordinator) -> Result<Left, StoreError> {
    let mut after = SiteId(0);
    let (mut claimed, mut no_room) = (0, false);
    while !shared.is_stopping() {
        let now = shared.clock.now();
        let system = shared.system();
        let sites = system.due_sites(after, limits::CLAIM_SITES, now).await?;
        let Some(&last) = sites.last() else {
            if claimed > 0 {
                (after, claimed, no_room) = (SiteId(0), 0, false);
                continue;
            }
            if no_room {
                return Ok(Left::NoRoom);
            }
            let due = system.next_due().await?;
            let poll = shared.config.poll;
            return Ok(Left::Nothing(
                due.map_or(poll, |due| due.since(shared.clock.now()).min(poll)),
            ));
        };
        after = last;
        let mut rooms: HashMap<_, _> = sites
            .into_iter()
            .map(|site| (site, shared.turns.reserve(site, limits::CLAIM_PER_SITE)))
            .collect();
        no_room |= rooms
            .values()
            .any(|room| room.count() < limits::CLAIM_PER_SITE);
        rooms.retain(|_, room| room.count() > 0);
        let wanted: Vec<_> = rooms
            .iter()
            .map(|(&site, room)| (site, room.count()))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let rows = system.claim(&shared.holder, wanted, now).await?;
        claimed += rows.len();
        if !rows.is_empty() {
            failpoint::hit(Point::ClaimCommitted);
        }
        for row in rows {
            if let Some(room) = rooms.get_mut(&row.invocation.site_id).and_then(Room::split) {
                take(shared, coordinator, row, room).await;
            }
        }
    }
    Ok(Left::Nothing(shared.config.poll))
}

/// Lines a claimed row up, or records why it cannot run.
async fn take(shared: &Shared, coordinator: &dyn Coordinator, row: Claimed, room: Room) {
    let held = shared.holdings.add(row.invocation.id);
    match coordinator.resolve(&row).await {
        Ok(run) => shared.turns.push(Queued {
            run,
            room,
            held,
            shown: true,
        }),
        Err(failure) => {
            let finished = unrun(shared, failure);
            let completion = complete(shared, &row.invocation, &row.taken, finished);
            shared.recorder.send(Record::Finished {
                completion: Box::new(completion),
                _room: room,
                _held: held,
            });
        }
    }
}
