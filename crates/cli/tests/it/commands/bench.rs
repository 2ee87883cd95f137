//! `tollgate bench`, on a small load.

use crate::support::folder::Folder;
use crate::support::{poll, processes};

#[tokio::test]
async fn a_small_benchmark_has_no_failures() {
    let folder = Folder::new();
    let load = [
        "--seconds",
        "1",
        "--connections",
        "2",
        "--only",
        "1 PRE + 1 POST",
        "--json",
    ];
    let report = folder.run(&[&["bench"][..], &load].concat()).await.json();
    let [row] = &report["rows"].as_array().unwrap()[..] else {
        panic!("not one row: {report}")
    };
    assert_eq!(row["scenario"], "1 PRE + 1 POST");
    assert_eq!(row["failed"], 0, "{row}");
    assert_eq!(row["connections"], 2);
    assert!(row["requests"].as_u64().unwrap() > 0, "{row}");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0, "{report}");
    assert!(
        poll::holds_soon(|| processes::inside(folder.path()).is_empty()),
        "something is left"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_scenario_that_does_not_exist_is_refused() {
    let error = Folder::new()
        .run(&["bench", "--only", "9 PRE"])
        .await
        .refused();
    for name in ["1 PRE + 1 POST", "busy neighbour"] {
        assert!(error.contains(name), "{error}");
    }
}
