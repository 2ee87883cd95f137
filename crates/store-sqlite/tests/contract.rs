//! The contract of every store, on this one.

use std::sync::Arc;
use tollgate_core::ports::store::Store;
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::store_contract::TestStore;

async fn sqlite(clock: Arc<ManualClock>) -> TestStore {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = SqliteOptions {
        clock,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(folder.path(), options).expect("a new store opens");
    TestStore {
        store: store as Arc<dyn Store>,
        keep: Box::new(folder),
    }
}

tollgate_testkit::store_contract!(sqlite);
