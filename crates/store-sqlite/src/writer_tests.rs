//! What the writer promises beyond SQL: groups, failures that stay alone, recovery.

use super::*;
use std::sync::mpsc::channel;
use tempfile::TempDir;
use tollgate_core::ports::store::Conflict;
use tollgate_testkit::clock::ManualClock;

struct Fixture {
    writer: Writer,
    reader: Connection,
    _folder: TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::open::create_file(folder.path()).unwrap();
    let connection = crate::open::connect(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT")
        .unwrap();
    let writer = Writer::start(
        connection,
        Arc::new(ManualClock::default()),
        &Supervisor::default(),
    )
    .unwrap();
    let reader = crate::open::connect_read_only(&path).unwrap();
    Fixture {
        writer,
        reader,
        _folder: folder,
    }
}

impl Fixture {
    fn ids(&self) -> Vec<i64> {
        let mut statement = self.reader.prepare("SELECT id FROM t ORDER BY id").unwrap();
        statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// Holds the writer until the returned sender is dropped, so that a group gathers behind it.
    fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (release, held) = channel::<()>();
        let (entered, entering) = channel::<()>();
        self.writer.write_later("hold", None, move |_| {
            let _ = entered.send(());
            let _ = held.recv();
            Ok(())
        });
        entering.recv().unwrap();
        release
    }
}

fn put(connection: &Connection, id: i64) -> DbResult<()> {
    connection.execute("INSERT INTO t (id) VALUES (?1)", [id])?;
    Ok(())
}

#[tokio::test]
async fn a_group_is_one_commit() {
    let fixture = fixture();
    let release = fixture.hold();
    let writes = (0..100).map(|id| fixture.writer.write(move |c| put(c, id)));
    let all = futures(writes);
    drop(release);
    for write in all {
        write.await.unwrap().unwrap();
    }
    let counters = fixture.writer.counters();
    assert_eq!(counters.writes.load(Ordering::Relaxed), 101);
    assert_eq!(counters.commits.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.ids().len(), 100);
}

/// Hands every write over and returns the answers' receivers.
fn futures<T: Send + 'static>(
    writes: impl Iterator<Item = impl Future<Output = Result<T, StoreError>>>,
) -> Vec<impl Future<Output = Result<Result<T, StoreError>, oneshot::error::RecvError>>> {
    writes
        .map(|write| {
            let mut write = Box::pin(write);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(write.as_mut().poll(&mut context).is_pending());
            async move { Ok(write.await) }
        })
        .collect()
}

#[tokio::test]
async fn a_failed_write_takes_nothing_of_its_neighbours_and_leaves_nothing() {
    let fixture = fixture();
    let release = fixture.hold();
    let signals = Arc::new(AtomicU64::new(0));
    let writes = (0..30).map(|id| {
        let signals = Arc::clone(&signals);
        let signal: OnCommit = Box::new(move || _ = signals.fetch_add(1, Ordering::Relaxed));
        fixture.writer.write_then(Some(signal), move |c| {
            put(c, id)?;
            match id % 3 {
                0 => Ok(()),
                1 => Err(Conflict::Changed.into()),
                _ => panic!("as a bug would"),
            }
        })
    });
    let all = futures(writes);
    drop(release);
    for (id, write) in all.into_iter().enumerate() {
        let result = write.await.unwrap();
        match id % 3 {
            0 => result.unwrap(),
            1 => assert!(matches!(
                result,
                Err(StoreError::Conflict(Conflict::Changed))
            )),
            _ => assert!(matches!(result, Err(StoreError::Failed(_)))),
        }
    }
    assert_eq!(fixture.ids(), (0..30).step_by(3).collect::<Vec<_>>());
    assert_eq!(signals.load(Ordering::Relaxed), 10);
    assert_eq!(fixture.writer.counters().commits.load(Ordering::Relaxed), 1);
}

/// A closure that ends the transaction itself stands for a full disk, where SQLite does it.
#[tokio::test]
async fn a_lost_transaction_loses_the_group_and_the_next_one_is_well() {
    let fixture = fixture();
    let release = fixture.hold();
    let signalled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&signalled);
    let signal: OnCommit = Box::new(move || flag.store(true, Ordering::Relaxed));
    let writes = [
        fixture
            .writer
            .write_then(Some(signal), |c| put(c, 1))
            .boxed(),
        fixture
            .writer
            .write(|c| {
                c.execute_batch("ROLLBACK")?;
                put(c, 1)?;
                put(c, 1)
            })
            .boxed(),
    ];
    let all = futures(writes.into_iter());
    drop(release);
    for write in all {
        assert!(matches!(
            write.await.unwrap(),
            Err(StoreError::Unavailable(_))
        ));
    }
    assert!(!signalled.load(Ordering::Relaxed));
    fixture.writer.write(|c| put(c, 2)).await.unwrap();
    assert!(fixture.ids().contains(&2));
}

trait Boxed: Future + Sized {
    fn boxed<'a>(self) -> std::pin::Pin<Box<dyn Future<Output = Self::Output> + 'a>>
    where
        Self: 'a,
    {
        Box::pin(self)
    }
}

impl<F: Future> Boxed for F {}

#[tokio::test]
async fn writes_that_nobody_waits_for_come_before_what_follows_them() {
    let fixture = fixture();
    fixture.writer.write_later("one", None, |c| put(c, 1));
    fixture.writer.write_later("two", None, |c| put(c, 2));
    let found = fixture
        .writer
        .write(|c| Ok(c.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(found.await.unwrap(), 2);
}

#[tokio::test]
async fn a_stopped_writer_has_written_everything_and_takes_nothing() {
    let fixture = fixture();
    for id in 0..1000 {
        fixture.writer.write_later("put", None, move |c| put(c, id));
    }
    fixture.writer.stop();
    assert_eq!(fixture.ids().len(), 1000);
    let late = fixture.writer.write(|c| put(c, 5000)).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn writes_that_nobody_waits_for_have_a_bound_which_those_with_callers_do_not_share() {
    let fixture = fixture();
    let release = fixture.hold();
    let most = i64::try_from(LATER_MAX).unwrap();
    // The one that holds the writer is one of them.
    for id in 0..most {
        fixture.writer.write_later("put", None, move |c| put(c, id));
    }
    let awaited = fixture.writer.write(move |c| put(c, most));
    let all = futures(std::iter::once(awaited));
    drop(release);
    for write in all {
        write.await.unwrap().unwrap();
    }
    let written = fixture.ids();
    assert_eq!(written.len(), LATER_MAX);
    assert!(!written.contains(&(most - 1)), "it was beyond the bound");
    // There is room again.
    fixture
        .writer
        .write_later("put", None, move |c| put(c, most + 1));
    fixture.writer.stop();
    assert!(fixture.ids().contains(&(most + 1)));
}
