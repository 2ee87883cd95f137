//! The one write for everything that happens together: the host's change, births and ends of runs.

use crate::author;
use crate::error::{DbError, DbResult};
use crate::idempotency;
use crate::invocations::keep_record;
use crate::open::Scoped;
use crate::queue::{End, complete, insert};
use rusqlite::Connection;
use tollgate_core::ports::store::{Change, Made, StoreError, Work};

/// A change as this store carries it out. It may be called more than once, each time on what stood there before.
type Writing = Box<dyn FnMut(&Connection) -> DbResult<()> + Send>;

/// Another process has taken this one for dead and ended its runs.
#[derive(Debug, thiserror::Error)]
#[error("the verdicts were ended by another process meanwhile; the change was not written")]
struct VerdictsLost;

#[derive(Debug, thiserror::Error)]
#[error("the change was prepared by another store")]
struct Foreign;

/// A change of this store's own tables.
pub(crate) fn change(write: impl FnMut(&Connection) -> DbResult<()> + Send + 'static) -> Change {
    let write: Writing = Box::new(write);
    Change::new(write)
}

/// The same for one that makes something.
pub(crate) fn making<T: Send + 'static>(
    mut write: impl FnMut(&Connection) -> DbResult<T> + Send + 'static,
) -> (Change, Made<T>) {
    let made = Made::default();
    let noted = made.clone();
    let change = change(move |connection| {
        noted.note(write(connection)?);
        Ok(())
    });
    (change, made)
}

/// A change of the host's own tables, which stand in the same file.
///
/// `write` runs on the store's own thread, within the transaction, and everybody's writes wait for it: SQL and
/// nothing else. It may run more than once, each time on what stood there before, so it must have no effect but on the
/// connection; it must neither begin nor end a transaction. When it fails, nothing of its unit is written and what it
/// said is in the second value.
pub fn host_change<T, E>(
    mut write: impl FnMut(&Connection) -> Result<T, E> + Send + 'static,
) -> (Change, Made<Result<T, E>>)
where
    T: Send + 'static,
    E: Send + 'static,
{
    let made = Made::default();
    let noted = made.clone();
    let change = change(move |connection| {
        let written = write(connection);
        let refused = written.is_err();
        noted.note(written);
        match refused {
            true => Err(DbError::Store(StoreError::Refused)),
            false => Ok(()),
        }
    });
    (change, made)
}

impl Scoped {
    pub(crate) async fn write_work(&self, work: Work) -> Result<(), StoreError> {
        let (site, now) = (self.site(), self.inner.now());
        let Work {
            author,
            change,
            births,
            ends,
            remember,
            on_commit,
        } = work;
        let own = |change: Change| change.into_own::<Writing>();
        let mut change = change
            .map(own)
            .transpose()
            .map_err(|_| DbError::bug(Foreign))?;
        let ends = End::prepare(ends)?;
        let write = move |connection: &Connection| {
            idempotency::check(connection, site, remember.as_ref())?;
            author::check(connection, site, author)?;
            if let Some(change) = &mut change {
                change(connection)?;
            }
            insert(connection, site, &births, now)?;
            // The verdicts are what the change rests on. A run that is not this server's any more was ended
            // by someone else, so that what it answered does not count.
            let written = complete(connection, Some(site), &ends, now)?;
            if !written.iter().all(|written| *written) {
                return Err(DbError::Store(StoreError::Unavailable(Box::new(
                    VerdictsLost,
                ))));
            }
            if let (Some(remember), [asked, ..]) = (&remember, &*births) {
                keep_record(connection, site, remember, asked.id)?;
            }
            Ok(())
        };
        self.inner.writer.write_then(Some(on_commit), write).await
    }
}
