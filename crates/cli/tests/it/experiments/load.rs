//! What several experiments do: functions that leave a trace, clients that write until the
//! connection breaks, waiting until nothing is left to do.

use super::history::History;
use crate::support::api::Api;
use crate::support::code::AGREE;
use crate::support::folder::Folder;
use crate::support::watch::Watch;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// The file in which functions note that they ran.
fn trace(folder: &Folder) -> PathBuf {
    folder.path().join("ran")
}

/// A function that notes its task when it ran to its end.
pub(crate) fn traced(folder: &Folder) -> String {
    format!(
        "\
def main(params):
    with open({:?}, 'a') as ran:
        ran.write(params['__function__']['execution_id'] + '\\n')
    return {{'for': params.get('username')}}
",
        trace(folder)
    )
}

/// Where held runs note that they began.
pub(crate) struct BegunRuns(PathBuf);

impl BegunRuns {
    /// The task and the process of every run that began so far.
    pub(crate) fn all(&self) -> Vec<(String, i32)> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        // A line that is being written has no end yet.
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let parts = lines.filter_map(|line| line.trim().split_once(' '));
        parts
            .map(|(task, pid)| (task.replace('-', ""), pid.parse().unwrap()))
            .collect()
    }
}

/// A function that notes that it began, waits until the file `go` exists, and leaves its trace.
pub(crate) fn held(folder: &Folder) -> (String, BegunRuns) {
    let (go, begun) = (folder.path().join("go"), folder.path().join("began"));
    let head = format!(
        "\
import os, time

def main(params):
    with open({begun:?}, 'a') as began:
        began.write('%s %d\\n' % (params['__function__']['execution_id'], os.getpid()))
    while not os.path.exists({go:?}):
        time.sleep(0.01)
"
    );
    let code = traced(folder).replace("def main(params):\n", &head);
    (code, BegunRuns(begun))
}

/// How often each task ran to its end.
pub(crate) fn times_run(folder: &Folder) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(trace(folder)).unwrap_or_default();
    let mut times = BTreeMap::new();
    for task in text.lines() {
        *times.entry(task.replace('-', "")).or_default() += 1;
    }
    times
}

/// One PRE function that agrees and one traced POST function, for the creation of users.
pub(crate) async fn subscribed(history: &History, api: &Api, folder: &Folder) {
    api.app("checks").await;
    for (slug, code, event) in [
        ("agrees", AGREE.to_owned(), "PRE_USER_CREATE"),
        ("greets", traced(folder), "POST_USER_CREATE"),
    ] {
        let id = api.function("checks", slug, &code, &json!({})).await;
        history.subscribe(api, event, slug, id).await;
    }
}

/// Clients that create users, each under a new name, until the server is gone.
pub(crate) struct Writers {
    clients: JoinSet<()>,
    /// Answers so far.
    answers: Arc<(AtomicUsize, tokio::sync::Notify)>,
}

impl Writers {
    /// `round` keeps the names apart.
    pub(crate) fn start(history: &History, api: &Api, round: usize, clients: usize) -> Self {
        let answers: Arc<(AtomicUsize, tokio::sync::Notify)> = Arc::default();
        let mut set = JoinSet::new();
        for client in 0..clients {
            let (history, api, answers) = (history.clone(), api.clone(), Arc::clone(&answers));
            set.spawn(async move {
                for number in 0.. {
                    let name = format!("u{round}-{client}-{number}");
                    if history.create_user(&api, &name).await.is_none() {
                        return;
                    }
                    answers.0.fetch_add(1, Ordering::SeqCst);
                    answers.1.notify_one();
                }
            });
        }
        Self {
            clients: set,
            answers,
        }
    }

    /// Waits until so many were answered.
    pub(crate) async fn answered(&self, count: usize) {
        crate::support::soon("answers", async {
            while self.answers.0.load(Ordering::SeqCst) < count {
                self.answers.1.notified().await;
            }
        })
        .await;
    }

    /// Waits until every client has seen the server go.
    pub(crate) async fn gone(self) {
        self.clients.join_all().await;
    }
}

/// How many runs have not ended.
pub(crate) async fn open_runs(api: &Api) -> u64 {
    let mut open = 0;
    for status in ["PENDING", "STARTED", "RETRY"] {
        let path = format!("/api/invocations/?status={status}&limit=1");
        open += api.get(&path).await.ok()["total"].as_u64().unwrap();
    }
    open
}

/// Waits until every run has ended, as long as ever fewer are left.
pub(crate) async fn settled(api: &Api) {
    let mut watch = Watch::open(api).await;
    let mut left = u64::MAX;
    while left > 0 {
        left = crate::support::soon(&format!("less than {left} open runs"), async {
            loop {
                let open = open_runs(api).await;
                if open < left {
                    return open;
                }
                assert!(watch.pulse().await, "the stream ended");
            }
        })
        .await;
    }
}
