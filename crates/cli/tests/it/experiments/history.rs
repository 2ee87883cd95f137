//! What an experiment did and what it was told, one JSON object a line, in
//! `target/experiments/<name>-<seed>.jsonl`. The checker reads this and the database, nothing else.

use super::seed::Seed;
use crate::support::api::Api;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How much of it is shown when the test fails.
const SHOWN: usize = 30;
const PAGE: usize = 100;

/// One experiment's record. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct History(Arc<Inner>);

struct Inner {
    experiment: String,
    path: PathBuf,
    file: Mutex<File>,
    seed: u64,
}

impl History {
    pub(crate) fn begin(experiment: &str, seed: &Seed) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("experiments");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{experiment}-{}.jsonl", seed.start));
        let file = Mutex::new(File::create(&path).unwrap());
        let history = Self(Arc::new(Inner {
            experiment: experiment.to_owned(),
            path,
            file,
            seed: seed.start,
        }));
        history.note(&json!({"did": "begin", "experiment": experiment, "seed": seed.start}));
        history
    }

    /// Adds one line.
    pub(crate) fn note(&self, what: &Value) {
        let line = format!("{what}\n");
        let mut file = self.0.file.lock().unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0.path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Subscribes a function, to be asked or told about every user from now on.
    pub(crate) async fn subscribe(&self, api: &Api, event: &str, slug: &str, function: i64) {
        api.subscribe(event, function).await;
        self.note(&json!({"did": "subscribe", "event": event, "function": slug}));
    }

    /// Asks for a user; whether an answer came. Only 201 is a promise.
    pub(crate) async fn create_user(&self, api: &Api, name: &str) -> Option<u16> {
        let body = json!({"username": name, "email": format!("{name}@example.com")});
        let request = api
            .request(reqwest::Method::POST, "/api/users/")
            .json(&body);
        self.note(&json!({"did": "ask", "user": name}));
        let answer = api.try_send(request).await.ok();
        let status = answer.as_ref().map(|answer| answer.status);
        let code = answer.map_or(Value::Null, |answer| answer.body["code"].clone());
        self.note(&json!({"did": "answer", "user": name, "status": status, "code": code}));
        status
    }

    /// Queues a run of `app`'s `function` that nobody waits for; whether it was promised.
    pub(crate) async fn queue(&self, api: &Api, app: &str, function: &str) -> Option<i64> {
        let path = format!("/api/apps/{app}/functions/{function}/execute/");
        let body = json!({"async": true});
        let request = api.request(reqwest::Method::POST, &path).json(&body);
        let answer = api.try_send(request).await.ok()?;
        if answer.status != 202 {
            self.note(&json!({"did": "refuse", "status": answer.status}));
            return None;
        }
        let run = &answer.body["invocation"];
        self.note(&json!({
            "did": "queue", "id": run["id"], "task_id": run["task_id"],
        }));
        run["id"].as_i64()
    }

    /// Notes how the runs stand that the API lists, `pages` of them at most, the newest first.
    pub(crate) async fn look(&self, api: &Api, pages: usize) {
        for page in 0..pages {
            let path = format!("/api/invocations/?limit={PAGE}&offset={}", page * PAGE);
            let request = api.request(reqwest::Method::GET, &path);
            let Ok(answer) = api.try_send(request).await else {
                return;
            };
            let listed = answer.ok();
            let runs = listed["data"].as_array().unwrap();
            for run in runs {
                self.note(&json!({
                    "did": "see", "id": run["id"], "task_id": run["task_id"],
                    "event_id": run["event_id"], "state": run["state"], "attempt": run["attempt"],
                    "result": run["task_result"]["result"],
                }));
            }
            if runs.len() < PAGE {
                return;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        eprintln!(
            "{} failed with TOLLGATE_SEED={}; its history is {}, which ends with\n{last}",
            self.experiment,
            self.seed,
            self.path.display()
        );
    }
}
