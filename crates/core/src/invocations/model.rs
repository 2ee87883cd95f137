//! The record of one run: an invocation is the same thing for PRE, POST and direct calls.
//!
//! Only [`crate::tasks`] decides how a record may change.

use crate::events::EventType;
use crate::ids::{AppId, EventId, FunctionId, InvocationId, SiteId, TaskId, UserId, VersionId};
use crate::invocations::{Chain, RecordedVerdict};
use crate::json::JsonText;
use crate::tasks::{Failure, State, Waiter};
use crate::text::text_enum;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Stands for a name that is not to be found.
pub const UNKNOWN: &str = "unknown";

/// One line that a function logged or printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub timestamp: Timestamp,
    /// One of [`LOG_LEVELS`].
    pub level: String,
    /// One of [`LOGGERS`].
    pub logger: String,
    /// The text.
    pub message: String,
}

/// How much a log line matters.
pub const LOG_LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];
/// Where a log line comes from; `tollgate` for the engine's own notes.
pub const LOGGERS: [&str; 4] = ["function", "stdout", "stderr", "tollgate"];

impl LogLine {
    /// The level that a word from outside names; `INFO` for none.
    pub fn level(word: &str) -> &'static str {
        let known = LOG_LEVELS.into_iter().find(|it| *it == word);
        known.unwrap_or("INFO")
    }

    /// The logger that a word from outside names; `function` for none.
    pub fn logger(word: &str) -> &'static str {
        let known = LOGGERS.into_iter().find(|it| *it == word);
        known.unwrap_or("function")
    }
}

/// What caused a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A call of `execute`.
    Api,
    /// A published event.
    Event,
    /// A repeat of an earlier invocation.
    Replay,
    /// The stored word is damaged. Such a run is shown and never begins.
    Unknown,
}

text_enum!(Trigger { Api => "api", Event => "event", Replay => "replay", Unknown => "unknown" });

/// In whose name a run acts, as far as that is not simply whoever caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OnBehalf {
    /// Who asked for it again, by redrive or replay: it acts for them.
    pub asker: Option<UserId>,
    /// The function by whose own right it acts: itself, or one whose call led to it.
    pub function: Option<FunctionId>,
    /// The link of its chain from which on functions bound it. Whoever asks for a run again is
    /// bound by its own function only.
    pub from: u32,
}

/// A run to be recorded, complete before it is written.
#[derive(Debug, Clone)]
pub struct NewInvocation {
    /// The site.
    pub site_id: SiteId,
    /// The record's number, from a reserved block.
    pub id: InvocationId,
    /// The task's id.
    pub task_id: TaskId,
    /// The function.
    pub function_id: FunctionId,
    /// The version that is active now; each attempt runs the one that is active when it begins.
    pub version_id: VersionId,
    /// That version's number.
    pub version: u32,
    /// Every attempt runs this version, whichever is active.
    pub pinned: bool,
    /// The event type, if an event caused it.
    pub event: Option<EventType>,
    /// That event's id.
    pub event_id: Option<EventId>,
    /// What caused it.
    pub trigger: Trigger,
    /// Who waits.
    pub waiter: Waiter,
    /// Who caused it.
    pub user_id: Option<UserId>,
    /// In whose name it acts.
    pub behalf: OnBehalf,
    /// The functions whose calls led to it, outermost first; empty for a request from outside.
    pub chain: Chain,
    /// What the function is given, before `__function__`.
    pub params: JsonText,
    /// The request that stands behind it, see [`crate::request::RequestInfo`].
    pub request: Option<JsonText>,
    /// Most attempts.
    pub max_attempts: u32,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Who holds it from the start; none leaves it to be claimed.
    pub holder: Option<Arc<str>>,
    /// When it was queued, by its maker's clock. The store writes no later moment than its own clock's: a
    /// run that waits is due from then on.
    pub queued_at: Timestamp,
    /// Which earlier run it repeats.
    pub replay_of: Option<InvocationId>,
}

/// A run as stored.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The record's number.
    pub id: InvocationId,
    /// The task's id.
    pub task_id: TaskId,
    /// The function.
    pub function_id: FunctionId,
    /// The function's app; 0, in which nobody has a role, when no record of the function is left.
    pub app_id: AppId,
    /// Its name, also after its deletion; [`UNKNOWN`] when no record of it is left.
    pub function_name: String,
    /// Its slug.
    pub function_slug: String,
    /// The version that the newest attempt ran; before the first, the one that was active.
    pub version_id: VersionId,
    /// That version's number.
    pub version: u32,
    /// The event type, if an event caused it.
    pub event: Option<EventType>,
    /// That event's id.
    pub event_id: Option<EventId>,
    /// What caused it.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: State,
    /// 1 on the first attempt, and on the first after a redrive.
    pub attempt: u32,
    /// Attempts made before the last redrive.
    pub attempts_before: u32,
    /// Attempts since the last redrive that do not count: lost with their worker, put off, handed back,
    /// or taken by no runtime.
    pub uncounted: u32,
    /// Who holds it while it has not ended; none while it waits for its turn or its time.
    pub holder: Option<String>,
    /// Most attempts.
    pub max_attempts: u32,
    /// Who caused it.
    pub user_id: Option<UserId>,
    /// That user's name.
    pub user_username: Option<String>,
    /// That user's address.
    pub user_email: Option<String>,
    /// In whose name it acts.
    pub behalf: OnBehalf,
    /// The name of whoever asked for it again.
    pub asker_username: Option<String>,
    /// The slug of the function by whose own right it acts.
    pub acting_function_slug: Option<String>,
    /// What the function was given.
    pub params: JsonText,
    /// The request that stands behind it.
    pub request: Option<JsonText>,
    /// What it returned.
    pub result: Option<JsonText>,
    /// Why it gave no result.
    pub failure: Option<Failure>,
    /// What the PRE stage made of it; none for other runs, and for those that were cancelled.
    pub verdict: Option<RecordedVerdict>,
    /// What it changed of the proposed record, for an enriching PRE function: by dotted path, each
    /// with `from` and `to`.
    pub changes: Option<JsonText>,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// How many lines it logged.
    pub log_count: u32,
    /// Which worker ran it.
    pub worker: Option<String>,
    /// The functions whose calls led to it, outermost first.
    pub chain: Chain,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Attempts that another one followed, or may follow, oldest first; see [`Self::newest`].
    pub earlier: Vec<AttemptRecord>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When the next attempt is due.
    pub due_at: Option<Timestamp>,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// Which earlier run it repeats.
    pub replay_of: Option<InvocationId>,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it was redriven last.
    pub redriven_at: Option<Timestamp>,
    /// Columns whose stored values make no sense; what stands for them is a placeholder.
    pub damaged: Vec<&'static str>,
}

/// One attempt of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// From 1, through all redrives. One that never began gave its number back.
    pub number: u32,
    /// The version that it ran.
    pub version: u32,
    /// Whether it is one of `max_attempts`: not if it was put off, lost with its worker, handed back, or
    /// not possible.
    pub counts: bool,
    /// Whether it is the first after a redrive.
    pub redriven: bool,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended; none while it is under way.
    pub finished_at: Option<Timestamp>,
    /// Which worker ran it.
    pub worker: Option<String>,
    /// Why it gave no result.
    pub failure: Option<Failure>,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// How many lines it logged.
    pub log_count: u32,
}

impl Invocation {
    /// The newest attempt, unless it stands among [`Self::earlier`] already: one that is under way, or
    /// after which no other follows. Its logs are left out.
    pub fn newest(&self) -> Option<AttemptRecord> {
        let number = self.attempts_before.saturating_add(self.attempt);
        let is_kept = self.earlier.last().is_some_and(|it| it.number >= number);
        let ended = self.state.is_final();
        if self.attempt == 0 || is_kept || !(ended || self.state == State::Running) {
            return None;
        }
        let of_end = |value: Option<Timestamp>| value.filter(|_| ended);
        let failure = self.failure.clone().filter(|_| ended);
        Some(AttemptRecord {
            number,
            version: self.version,
            counts: failure.as_ref().is_none_or(|it| it.kind.counts()),
            redriven: self.attempt == 1 && self.redrives > 0,
            started_at: self.started_at,
            finished_at: of_end(self.finished_at),
            worker: self.worker.clone().filter(|_| ended),
            failure,
            logs: Vec::new(),
            log_count: if ended { self.log_count } else { 0 },
        })
    }
}

/// Who runs an invocation, and which of the times that somebody took it.
///
/// A result is written only under the hold that its run began with: a worker that was taken for
/// dead, and comes back, finds that its record has another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hold {
    /// The worker: unique to one start of one process.
    pub holder: Arc<str>,
    /// Grows each time that somebody takes the run, and never shrinks.
    pub fence: u32,
}

/// The end of one attempt, to be written over a record that has not ended yet.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The site.
    pub site_id: SiteId,
    /// The record.
    pub id: InvocationId,
    /// Its beginning, where that may not be on disk yet: then the record is written whole.
    pub born: Option<Arc<NewInvocation>>,
    /// Who ran it; a result under another hold is refused.
    pub hold: Hold,
    /// The new state.
    pub state: State,
    /// Whether the attempt does not count: it was put off or handed back, or no runtime could take it.
    pub uncounted: bool,
    /// The version that it ran.
    pub version_id: VersionId,
    /// That version's number.
    pub version: u32,
    /// What `main` returned.
    pub result: Option<JsonText>,
    /// Why it gave no result.
    pub failure: Option<Failure>,
    /// What the PRE stage made of it.
    pub verdict: Option<RecordedVerdict>,
    /// What an enriching function changed.
    pub changes: Option<JsonText>,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// Which worker ran it.
    pub worker: String,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// In how long the next attempt is due, for [`State::Retrying`]; counted by the store's clock, from
    /// the moment that this end is written.
    pub due_in: Option<Duration>,
}

/// The beginning of one attempt.
#[derive(Debug, Clone)]
pub struct Started {
    /// The site.
    pub site_id: SiteId,
    /// The record.
    pub id: InvocationId,
    /// Its beginning, where that is not on disk yet: it is written now, so that the run can be watched.
    pub born: Option<Arc<NewInvocation>>,
    /// Who runs it.
    pub hold: Hold,
    /// The version that it runs.
    pub version_id: VersionId,
    /// That version's number.
    pub version: u32,
    /// When it began.
    pub started_at: Timestamp,
}

/// A change of an invocation's state, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvocationChanged {
    /// The site.
    pub site_id: SiteId,
    /// The record.
    pub id: InvocationId,
    /// The new state.
    pub state: State,
}

impl Started {
    /// What watchers are told of it.
    pub const fn change(&self) -> InvocationChanged {
        InvocationChanged {
            site_id: self.site_id,
            id: self.id,
            state: State::Running,
        }
    }
}

impl Completion {
    /// The same of a function that agreed to what is not saved: it changed nothing.
    #[must_use]
    pub(crate) fn unsaved(self) -> Self {
        Self {
            changes: None,
            ..self
        }
    }

    /// What watchers are told of this completion.
    pub const fn change(&self) -> InvocationChanged {
        InvocationChanged {
            site_id: self.site_id,
            id: self.id,
            state: self.state,
        }
    }
}
