//! Runs as they happen, through restarts of the server: no line twice, and none left out.

use super::run_view::RunView;
use super::{Context, names};
use crate::args::{Remote, RunFilter};
use crate::client::{Answer, Client, Listed, status};
use crate::{AnyError, CommandResult};
use futures_util::StreamExt as _;
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Longest event that is taken: a record with parameters and result of the largest size, written out.
const EVENT_BYTES: usize = 32 * 1024 * 1024;
/// So many runs are remembered, so that none is shown twice.
const REMEMBERED: usize = 10_000;
/// So many runs that happened while the stream was away are shown.
const MISSED: usize = 1_000;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// Which runs are meant.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) function: Option<String>,
    pub(super) app: Option<String>,
    pub(super) event: Option<String>,
    pub(super) status: Option<String>,
}

impl From<RunFilter> for Filter {
    fn from(filter: RunFilter) -> Self {
        let RunFilter {
            function,
            app,
            event,
            status,
        } = filter;
        Self {
            function,
            app,
            event,
            status,
        }
    }
}

impl Filter {
    /// As the API reads it. Names that do not exist are errors; a function that was deleted may have runs.
    async fn query(&self, client: &Client) -> Result<Vec<(&'static str, String)>, AnyError> {
        let mut query = Vec::new();
        if let Some(app) = &self.app {
            names::app(client, app).await?;
            query.push(("app", app.clone()));
        }
        if let Some(event) = &self.event {
            query.push(("event", names::event(client, event).await?));
        }
        if let Some(word) = &self.status {
            query.push(("status", names::run_status(word)?));
        }
        if let Some(function) = &self.function {
            let unknown = names::same_named(client, self.app.as_deref(), function)
                .await
                .err();
            if let Some(error) = unknown {
                let mut of_function = vec![("function_slug", function.as_str())];
                of_function.extend(self.app.as_deref().map(|app| ("app", app)));
                let runs = client.all("/api/invocations/", &of_function, 1).await?;
                if runs.total == 0 {
                    return Err(error);
                }
            }
            query.push(("function_slug", function.clone()));
        }
        Ok(query)
    }

    /// The last runs, newest first.
    pub(super) async fn last(&self, client: &Client, most: usize) -> Result<Listed, AnyError> {
        let query = self.query(client).await?;
        let query: Vec<_> = query
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        client.all("/api/invocations/", &query, most).await
    }
}

/// How runs are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) utc: bool,
    pub(super) json: bool,
    /// Only runs that have ended, with their logs.
    pub(super) logs: bool,
}

/// Shows runs until interrupted, beginning with `before`, which is newest first.
pub(super) async fn follow(
    context: Context<'_>,
    remote: &Remote,
    filter: Filter,
    shape: Shape,
    before: Vec<Answer>,
) -> CommandResult {
    let client = context.client(remote).await?;
    // Names are looked at once, before anything is awaited.
    filter.query(&client).await?;
    let mut tail = Tail {
        context,
        client,
        filter,
        shape,
        seen: BTreeMap::new(),
        open: BTreeSet::new(),
        newest: None,
        apps: HashMap::new(),
        connected: false,
    };
    for run in before.into_iter().rev() {
        tail.show(run).await?;
    }
    let mut told = false;
    let mut pause = PAUSE_FIRST;
    loop {
        match tail.watch(&mut told, &mut pause).await {
            Ok(()) => {}
            Err(error) if lasting(&error) => return Err(error),
            Err(error) if !told => {
                context
                    .terminal
                    .note(format!("{error}; waiting for the server"));
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
        // It may listen elsewhere now.
        if let Ok(client) = context.client(remote).await {
            tail.client = client;
        }
    }
}

/// Whether trying again helps nobody.
fn lasting(error: &AnyError) -> bool {
    let refused = status(error).is_some_and(|status| (400..500).contains(&status) && status != 429);
    refused || crate::terminal::is_unread(&**error)
}

struct Tail<'a> {
    context: Context<'a>,
    client: Client,
    filter: Filter,
    shape: Shape,
    /// What was shown of each run.
    seen: BTreeMap<i64, (String, String)>,
    /// Runs that had not ended when they were shown.
    open: BTreeSet<i64>,
    /// The newest run of all when the stream was last there.
    newest: Option<i64>,
    /// Whether a function is of the app that is meant.
    apps: HashMap<i64, bool>,
    /// Whether the stream was ever there.
    connected: bool,
}

impl Tail<'_> {
    /// Opens the stream, shows what happened meanwhile, and what happens until the stream ends.
    async fn watch(&mut self, told: &mut bool, pause: &mut Duration) -> CommandResult {
        let request = self.client.request(Method::GET, "/api/invocations/stream/");
        let mut chunks = self.client.begin(request).await?.bytes_stream();
        // What happens from here on is in the stream.
        let first = !std::mem::replace(&mut self.connected, true);
        self.catch_up().await?;
        if first {
            self.context.terminal.note("watching; end with Ctrl-C");
        } else if *told {
            self.context.terminal.note("the server is back");
        }
        (*told, *pause) = (false, PAUSE_FIRST);
        let mut pending: Vec<u8> = Vec::new();
        let mut lost = false;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| format!("the stream broke: {error}"))?;
            let mut from = pending.len();
            pending.extend_from_slice(&chunk);
            while let Some(end) = pending[from..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=from + end).collect();
                from = 0;
                if line.starts_with(b"event:") {
                    lost = line.ends_with(b"lost\n") || line.ends_with(b"lost\r\n");
                }
                let Some(data) = line.strip_prefix(b"data:") else {
                    continue;
                };
                if std::mem::take(&mut lost) {
                    self.catch_up().await?;
                } else if let Ok(text) = std::str::from_utf8(data) {
                    self.show(answer(text)).await?;
                }
            }
            if pending.len() > EVENT_BYTES {
                return Err("the server sent an event without an end".into());
            }
        }
        // A stream ends after a while, or with its server.
        Err("the server closed the stream".into())
    }

    /// Shows what the stream did not tell: runs that are new, and those that were open.
    async fn catch_up(&mut self) -> CommandResult {
        let Some(newest) = self.newest else {
            let last = self.client.all("/api/invocations/", &[], 1).await?;
            self.newest = Some(last.items.first().and_then(id).unwrap_or_default());
            return Ok(());
        };
        let mut missed = Vec::new();
        let mut all = false;
        while !all && missed.len() < MISSED {
            let offset = missed.len().to_string();
            let page = [("limit", "50"), ("offset", offset.as_str())];
            let items = self.client.find("/api/invocations/", &page).await?.items();
            all = items.is_empty();
            for run in items {
                if id(&run).is_some_and(|id| id <= newest) {
                    all = true;
                    break;
                }
                missed.push(run);
            }
        }
        if !all {
            self.context.terminal.warn(format!(
                "more than {MISSED} runs happened meanwhile; `tollgate invocations list` has them all"
            ));
        }
        for id in std::mem::take(&mut self.open) {
            if id > newest {
                continue;
            }
            match self.client.get(&format!("/api/invocations/{id}/")).await {
                Ok(run) => missed.push(run),
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => {
                    self.open.insert(id);
                    return Err(error);
                }
            }
        }
        missed.sort_by_cached_key(|run| names::text(run, "updated_at"));
        for run in missed {
            self.show(run).await?;
        }
        Ok(())
    }

    /// Shows a run as it is now, unless that was shown.
    async fn show(&mut self, run: Answer) -> CommandResult {
        let Some(id) = id(&run) else { return Ok(()) };
        self.newest = self.newest.max(Some(id));
        let now = (names::text(&run, "updated_at"), names::text(&run, "state"));
        if self.seen.get(&id).is_some_and(|seen| *seen >= now) || !self.is_meant(&run).await? {
            return Ok(());
        }
        let ended = matches!(run.value["status"].as_str(), Some("SUCCESS" | "FAILURE"));
        if ended {
            self.open.remove(&id);
        } else {
            self.open.insert(id);
        }
        self.seen.insert(id, now);
        while self.seen.len() > REMEMBERED {
            self.seen.pop_first();
        }
        self.print(&run, ended).await
    }

    async fn print(&self, run: &Answer, ended: bool) -> CommandResult {
        let Shape { utc, json, logs } = self.shape;
        let terminal = self.context.terminal;
        if !logs {
            if json {
                terminal.json_line(&run.text)?;
            } else {
                terminal.print(RunView::new(&run.value, terminal, utc).line())?;
            }
            return Ok(());
        }
        if !ended {
            return Ok(());
        }
        let run = self
            .client
            .get(&format!("/api/invocations/{}/", run.value["id"]))
            .await?;
        if json {
            terminal.json_line(&run.text)?;
        } else {
            let view = RunView::new(&run.value, terminal, utc);
            terminal.print(view.line())?;
            view.print_logs()?;
        }
        Ok(())
    }

    async fn is_meant(&mut self, run: &Answer) -> Result<bool, AnyError> {
        let is = |key: &str, wanted: &Option<String>| {
            let found = run.value[key].as_str().unwrap_or_default();
            wanted
                .as_deref()
                .is_none_or(|wanted| found.eq_ignore_ascii_case(wanted))
        };
        let Filter {
            function,
            app,
            event,
            status,
        } = &self.filter;
        let by_state = is("state", status) || is("status", status);
        if !(is("function_slug", function) && is("event", event) && by_state) {
            return Ok(false);
        }
        let Some(app) = app else { return Ok(true) };
        let function = run.value["function"].as_i64().unwrap_or_default();
        if let Some(meant) = self.apps.get(&function) {
            return Ok(*meant);
        }
        // Ids are never used again, so what was found stays true.
        let of_app = names::functions(&self.client, Some(app)).await?;
        let meant = of_app.iter().any(|it| it.value["id"] == function);
        self.apps.insert(function, meant);
        Ok(meant)
    }
}

fn answer(text: &str) -> Answer {
    Answer::of(text.trim().to_owned())
}

fn id(run: &Answer) -> Option<i64> {
    run.value["id"].as_i64()
}
