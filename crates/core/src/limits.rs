//! Every bound of the engine, in one place, with its unit in its name.
//!
//! A bound that an operator may change is a default here and a setting in `config.default.toml`.

use std::time::Duration;

/// Largest request body.
pub const REQUEST_BODY_BYTES: usize = 1024 * 1024;
/// Largest head of a request: its line and headers.
pub const REQUEST_HEAD_BYTES: usize = 64 * 1024;
/// Largest request body that carries the files of a version.
pub const UPLOAD_BYTES: usize = BUNDLE_BYTES + REQUEST_BODY_BYTES;
/// Such bodies that one process takes in at the same time, however small they are: they may be large when they are
/// unpacked. Further ones wait.
pub const UPLOADS_AT_ONCE: usize = 2;
/// How long such a body may take to arrive, and how long it may wait for its turn.
pub const UPLOAD_TIME: Duration = Duration::from_secs(60);
/// Parts of such a body that are one file each.
pub const UPLOAD_PARTS: usize = BUNDLE_FILES + 1;
/// Most bytes of the large request bodies that one process takes in at the same time; further ones wait.
pub const BODIES_BYTES: usize = 16 * 1024 * 1024;
/// A body up to this size waits for nobody.
pub const SMALL_BODY_BYTES: usize = 64 * 1024;
/// Parameters, and requests of functions, up to this size need no room.
pub const SMALL_PARAMS_BYTES: usize = 16 * 1024;
/// Memory for larger parameters of runs that somebody outside waits for, in the record and on their way to
/// whoever runs it; those of one site have half. Beyond it calls are refused.
pub const PARAMS_BYTES: usize = 64 * 1024 * 1024;
/// Memory for larger requests of functions until they are answered, as text and as what is made of it, for
/// each depth of a chain; those of one site have half. Beyond it they wait.
pub const DEEPER_PARAMS_BYTES: usize = 16 * 1024 * 1024;
const _: () = assert!(2 * (REQUEST_BODY_BYTES + SMALL_PARAMS_BYTES) < DEEPER_PARAMS_BYTES / 2);
/// How long a request's head may take to arrive, counted from the end of the request before: an idle
/// connection ends after it too.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may not read while there is something for it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one process at the same time; further ones wait to be accepted.
pub const CONNECTIONS: usize = 10_000;
/// Deepest nesting of arrays and objects accepted in any JSON from outside.
pub const JSON_DEPTH: usize = 64;
/// Longest integer of a JSON text that is passed on: CPython reads no longer ones.
pub const INTEGER_DIGITS: usize = 4300;
/// Largest JSON value that a function may return.
pub const RESULT_BYTES: usize = 1024 * 1024;
/// Most bytes of log messages kept of one invocation.
pub const LOG_BYTES: usize = 1024 * 1024;
/// Most log lines kept of one invocation.
pub const LOG_LINES: usize = 10_000;
/// Longest error message and traceback kept of one invocation.
pub const ERROR_BYTES: usize = 64 * 1024;
/// Largest function source: a single file, or the one with the entry point.
pub const CODE_BYTES: usize = 512 * 1024;
/// All files of one version together.
pub const BUNDLE_BYTES: usize = 10 << 20;
/// Files of one version.
pub const BUNDLE_FILES: usize = 2_000;
/// Longest path of a version's file.
pub const BUNDLE_PATH_BYTES: usize = 255;
/// Names in such a path.
pub const BUNDLE_DEPTH: usize = 16;
/// Workers that are given the files of their version at the same time; further ones wait.
pub const BUNDLES_AT_ONCE: usize = 4;
/// How long files stay that no version names: between their arrival and the version's is a moment.
pub const BUNDLE_UNUSED: Duration = Duration::from_secs(24 * 3600);
/// Longest entry point.
pub const ENTRYPOINT_BYTES: usize = 200;

/// A function's time limit when it sets none ("Default timeout is 300 seconds" in the API document).
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// Shortest time limit that a function or subscription may set: in less, nothing can even begin.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Longest time limit that a function may set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How long the whole PRE stage of one operation may take.
pub const PRE_BUDGET_DEFAULT: Duration = Duration::from_secs(300);

/// How long a run that nobody wants any more may take to end by itself, so that its worker lives: about what a
/// worker with a large library takes to start.
pub const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// Memory of one function worker when the function sets none.
pub const MEMORY_MB_DEFAULT: u32 = 256;
/// Most memory that a function may ask for.
pub const MEMORY_MB_MAX: u32 = 2048;
/// Open files of one function worker.
pub const OPEN_FILES: u64 = 256;
/// Largest file that a function worker may write.
pub const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Threads of one function worker, its first included.
pub const WORKER_THREADS: u64 = 64;
/// Processes and threads of all function workers: what the most workers may have.
pub const PROCESSES: u64 = WORKER_PROCESSES as u64 * WORKER_THREADS;
/// Those of one site's function workers.
pub const SITE_PROCESSES: u64 = WORKERS_PER_SITE as u64 * WORKER_THREADS;
/// Stack of a worker's first thread.
pub const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// Stack of a thread that a function starts, unless it asks for another one.
pub const THREAD_STACK_BYTES: u64 = 2 * 1024 * 1024;
/// What a worker takes itself, beside the memory that its function may have.
pub const WORKER_OVERHEAD_BYTES: u64 = 16 * 1024 * 1024;
/// The same where the worker is an interpreter of its own, Node, which has no host to share it with: what it takes
/// before any code, and what its engine keeps for new values.
pub const NODE_OVERHEAD_BYTES: u64 = 96 * 1024 * 1024;
/// How long a site's Node that is ready for its next worker is kept when nobody asks for one.
pub const NODE_SPARE_IDLE: Duration = Duration::from_secs(60);
/// What a worker may reserve beyond its memory without using it, as numeric libraries do: beyond it
/// Python raises `MemoryError`.
pub const WORKER_RESERVE_BYTES: u64 = 512 * 1024 * 1024;
/// Scratch space of one function worker.
pub const SCRATCH_BYTES: u64 = 64 * 1024 * 1024;
/// Files and folders in it.
pub const SCRATCH_FILES: u64 = 16_384;
/// Requests of one run to the platform and to other hosts at the same time.
pub const REQUESTS_AT_ONCE: usize = 16;
/// Of the machine's memory, what all function workers together may take, in hundredths.
pub const FUNCTION_MEMORY_PERCENT: u64 = 75;
/// User and group of function code where the server is root: nobody's on any system known to us.
pub const FUNCTION_USER: u32 = 61_000;
/// Most worker processes of one server; half as many again may wait for functions that they called.
pub const WORKER_PROCESSES: usize = 256;
/// Most worker processes of one site: it cannot take the threads of all.
pub const WORKERS_PER_SITE: usize = WORKER_PROCESSES / 2;
/// How long a queued run waits for a worker before it is put back: its own time limit, and at least this.
pub const WORKER_WAIT_MIN: Duration = Duration::from_secs(30);
/// Runs of one function at the same time when it sets no `max_concurrency`: what one function may take is a
/// quarter of the workers, and of their processes and threads.
pub const CONCURRENCY_DEFAULT: u32 = 64;
/// Calls of one public function by nobody who is signed in that run at the same time: a quarter of what the
/// function may.
pub const PUBLIC_CONCURRENCY: usize = 16;
/// Further ones that wait; beyond them calls are refused.
pub const PUBLIC_WAITING: usize = 48;
/// Most calls of a `rate_limit`, whatever its period.
pub const RATE_CALLS_MAX: u32 = 1_000_000;
/// Functions of which one process remembers what is left of their rate.
pub const RATES_IN_MEMORY: usize = 50_000;
const _: () = assert!(CONCURRENCY_DEFAULT as usize * 4 <= WORKER_PROCESSES);
/// Most Python hosts of one server: one for each site that runs functions, and one that is ready.
pub const HOSTS: usize = 256;
/// How long a Python host may say nothing when a worker is to be started, and a worker until it begins with its
/// code. Beyond it host or worker is taken for stuck and replaced.
pub const BEGIN_TIME: Duration = Duration::from_secs(5);
/// How many hosts in turn are asked for one worker before whoever waits is told: the site's own, the one that is
/// kept ready, and a new one.
pub const HOSTS_ASKED: u32 = 3;
/// How long a Python host without workers is kept.
pub const HOST_IDLE: Duration = Duration::from_secs(300);
/// Largest frame on the pipe between server and worker: a result with its logs.
pub const FRAME_BYTES: usize = 8 * 1024 * 1024;
/// Largest answer to one call of a function's `sdk_client`.
pub const HOST_ANSWER_BYTES: usize = FRAME_BYTES;
/// Memory for the larger answers to those calls; those of one site have half.
pub const HOST_ANSWERS_BYTES: usize = 2 * HOST_ANSWER_BYTES;
/// Largest frame from a worker that holds neither a result nor a body.
pub const SMALL_FRAME_BYTES: usize = 64 * 1024;
/// Largest frame with a request of a function to another host: its body is in base64.
pub const EGRESS_REQUEST_FRAME_BYTES: usize = EGRESS_REQUEST_BYTES / 3 * 4 + 256 * 1024;
/// Memory for the large frames of all workers at the same time; those of one site have half.
pub const FRAMES_BYTES: usize = 2 * FRAME_BYTES;

/// Attempts of a POST invocation when neither function nor subscription sets any.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 3;
/// Most attempts that a function or subscription may set.
pub const MAX_ATTEMPTS_MAX: u32 = 20;
/// Delay before the second attempt; doubles with each further one.
pub const RETRY_BASE: Duration = Duration::from_secs(1);
/// Longest delay between two attempts.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Deepest chain of events and calls that one request may cause.
pub const CHAIN_DEPTH: u32 = 8;

/// Longest filter, as text.
pub const FILTER_BYTES: usize = 1000;
/// Deepest nesting of a filter's expressions.
pub const FILTER_DEPTH: u16 = 48;
/// Largest compiled pattern of a filter.
pub const FILTER_PATTERN_BYTES: usize = 64 * 1024;
/// Most values, lists and objects counted with what is in them, that a filter looks at.
pub const FILTER_VALUES: usize = 5_000;
/// Most text that a filter looks at: a user's attributes and the rest of the record.
pub const FILTER_TEXT_BYTES: usize = ATTRIBUTES_BYTES + 16 * 1024;
/// Most steps of one evaluation of a filter, each about what comparing two numbers takes.
pub const FILTER_STEPS: u64 = 100_000;
/// Most steps, and most bytes of an event, that the filters of one event may look at on a thread that
/// serves others.
pub const FILTER_STEPS_INLINE: u64 = 4_000;
/// See [`FILTER_STEPS_INLINE`].
pub const FILTER_BYTES_INLINE: usize = 8 * 1024;
/// Events whose filters take longer than that and are looked at at the same time.
pub const FILTERS_AT_ONCE: usize = 2;
/// Longest reason that is kept of a filter that could not be evaluated.
pub const FILTER_REASON_BYTES: usize = 500;

/// Apps of one site.
pub const APPS_PER_SITE: u32 = 10_000;
/// Subscribers of one event type in one site.
pub const SUBSCRIBERS_PER_EVENT: usize = 100;
/// POST invocations that one process holds in memory, waiting or running; the rest waits in the database.
pub const TASKS_IN_MEMORY: usize = 10_000;
/// POST invocations that one process runs at once.
pub const TASKS_RUNNING: usize = 64;
/// Earlier attempts of one run that are kept; of more, the newest.
pub const ATTEMPTS_KEPT: u32 = 100;
/// Logs of all earlier attempts of one run together, as stored; of more, the newest. One attempt's fit in
/// any case.
pub const ATTEMPTS_LOG_BYTES: usize = 8 * 1024 * 1024;
/// Longest reason that a record's verdict shows.
pub const VERDICT_MESSAGE_BYTES: usize = 1000;
/// How long runs may take to report what they logged after the server told them to end.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(2);
/// Rows that one claim takes.
pub const CLAIM_BATCH: usize = 500;
/// Rows of one function that one claim takes, so that functions and sites take turns.
pub const CLAIM_PER_LINE: usize = 100;
/// Lines, of a function each, that one claim looks at. Each may be given at least one row.
pub const CLAIM_LINES: usize = 256;
const _: () = assert!(CLAIM_LINES <= CLAIM_BATCH);
/// Dead letters that one transaction redrives.
pub const REDRIVE_BATCH: usize = 200;
/// Dead letters that one request redrives, at most and unless it says fewer.
pub const REDRIVE_MAX: usize = 10_000;
/// Days that records of successful runs are kept.
pub const SUCCEEDED_DAYS_DEFAULT: u32 = 7;
/// Days that records of failed runs are kept; dead letters are kept until acted on.
pub const FAILED_DAYS_DEFAULT: u32 = 30;
/// Days that records of runs are kept that ended at their time limit.
pub const TIMED_OUT_DAYS_DEFAULT: u32 = 30;
/// Days that records of cancelled runs are kept.
pub const CANCELLED_DAYS_DEFAULT: u32 = 7;
/// Most days that a retention may be set to.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
/// Rows that one transaction of the retention deletes.
pub const RETENTION_BATCH: usize = 200;
/// Rows that one step of the retention looks at.
pub const RETENTION_SCAN: usize = 5_000;
/// How long the retention leaves the writer to others between two steps.
pub const RETENTION_PAUSE: Duration = Duration::from_millis(10);
/// How often the retention looks for what is over.
pub const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a worker that gives no sign of life keeps its runs.
pub const LEASE: Duration = Duration::from_secs(15);
/// Shortest lease that may be set: a sign of life is given three times in it.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// Attempts of one run that do not count (lost with their worker, put off, handed back, not possible)
/// before it is given up: it may be what takes workers down.
pub const UNCOUNTED_MAX: u32 = 50;
/// Sites of which one process keeps small facts in memory.
pub const SITES_IN_MEMORY: usize = 50_000;
/// Queued runs of one site that may wait; beyond it new ones are refused. A quarter of it is for events only,
/// and public calls fill no more than half.
pub const QUEUE_PER_SITE: u64 = 100_000;
/// Results written in one batch.
pub const COMPLETION_BATCH: usize = 500;

/// Largest parameters, result or traceback that a list of invocations shows.
pub const LIST_FIELD_BYTES: usize = 16_384;
/// Longest page of a list.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Page of a list when the caller names none.
pub const PAGE_SIZE_DEFAULT: u32 = 20;

/// Longest `username`.
pub const USERNAME_CHARS: usize = 150;
/// Longest e-mail address (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_CHARS: usize = 254;
/// Longest part of an address before the `@` (RFC 5321, section 4.5.3.1.1), in bytes of UTF-8.
pub const EMAIL_LOCAL_BYTES: usize = 64;
/// Longest first or last name, and longest name of an app or function.
pub const NAME_CHARS: usize = 150;
/// Longest slug.
pub const SLUG_CHARS: usize = 64;
/// Longest description.
pub const DESCRIPTION_CHARS: usize = 2000;
/// Largest `attributes` object of a user, as JSON.
pub const ATTRIBUTES_BYTES: usize = 64 * 1024;
/// Largest enrichment of a PRE function, as JSON: what it may change, and some blanks.
pub const ENRICHMENT_BYTES: usize = 2 * ATTRIBUTES_BYTES;
/// Largest `preferences` of a user, as JSON.
pub const PREFERENCES_BYTES: usize = 32 * 1024;
/// Shortest password, unless the operator says otherwise.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest password: hashing cost is bounded by it.
pub const PASSWORD_CHARS_MAX: usize = 1024;
/// Password hashes computed at once; each takes tens of milliseconds of one core.
pub const PASSWORD_HASHES_AT_ONCE: usize = 2;
/// Roles and users of one assignment (the official client documents 100 each).
pub const ROLE_ASSIGNMENT: usize = 100;
/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// How long an answer is kept under its `Idempotency-Key`.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3600);
/// Different keys of requests that one process carries out or lets wait at the same time.
pub const IDEMPOTENCY_KEYS_UNDER_WAY: usize = 10_000;
/// How often at most the use of an API key is noted: reading must not mean writing.
pub const KEY_USE_NOTED: Duration = Duration::from_secs(3600);
/// API keys of one user.
pub const API_KEYS_PER_USER: usize = 50;

/// Largest body of a request that a function makes.
pub const EGRESS_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Largest body of a response to one; in base64 it fits a frame.
pub const EGRESS_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// A response up to this size needs no room.
pub const EGRESS_SMALL_REPLY_BYTES: usize = 16 * 1024;
/// What the buffers of a connection take while a response comes whose length is not known.
pub const EGRESS_UNKNOWN_REPLY_BYTES: usize = 256 * 1024;
/// Memory for those that come at the same time; those of one site's functions have half.
pub const EGRESS_UNKNOWN_REPLIES_BYTES: usize = 12 * 1024 * 1024;
/// One up to this size is middling: where nobody says how large it will be, it is taken for that at first.
pub const EGRESS_MIDDLING_REPLY_BYTES: usize = 256 * 1024;
/// Memory for middling ones of all functions at the same time; those of one site have half.
pub const EGRESS_MIDDLING_REPLIES_BYTES: usize = 8 * 1024 * 1024;
/// Memory for larger ones, in base64; those of one site have half.
pub const EGRESS_LARGE_REPLIES_BYTES: usize = 12 * 1024 * 1024;
const _: () = assert!(EGRESS_REPLY_BYTES / 3 * 4 < EGRESS_LARGE_REPLIES_BYTES / 2);
/// Memory for larger answers of webhooks while they are read, as text and as what is made of it; those of one
/// site's have half.
pub const WEBHOOK_REPLIES_BYTES: usize = 16 * 1024 * 1024;
const _: () = assert!(2 * RESULT_BYTES < WEBHOOK_REPLIES_BYTES / 2);
/// How long a larger one may take to arrive once there is room for it, which others wait for.
pub const EGRESS_REPLY_TIME: Duration = Duration::from_secs(60);
/// How long a worker may take to read an answer to one of its requests.
pub const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Names and values of a request's headers together.
pub const EGRESS_HEADER_BYTES: usize = 32 * 1024;
/// Redirects that one request follows.
pub const EGRESS_REDIRECTS: u8 = 5;
/// Hosts that a site's functions are allowed by name.
pub const EGRESS_HOSTS: usize = 100;
/// Secrets of one app, and of one site besides its apps'.
pub const SECRETS_PER_APP: usize = 200;
/// Largest value of a secret, written as JSON.
pub const SECRET_BYTES: usize = 64 * 1024;
/// Longest key of a secret.
pub const SECRET_KEY_CHARS: usize = 128;
/// Environment variables of one app or function, those of secrets counted: the C library looks through all of them.
pub const ENV_VARIABLES: usize = 200;
/// Their names and plain values together.
pub const ENV_BYTES: usize = 64 * 1024;
/// Longest name of one.
pub const ENV_NAME_BYTES: usize = 128;
/// Those of one app or function that have the value of a secret.
pub const ENV_SECRETS: usize = 50;
/// Values of secrets that one worker is given as variables.
pub const ENV_SECRET_BYTES: usize = 1024 * 1024;
/// Tags of one secret.
pub const SECRET_TAGS: usize = 20;
/// Secrets that one request names and gets with their values.
pub const SECRETS_AT_ONCE: usize = 50;
/// Shortest text of a secret that is taken out of logs and errors: shorter ones stand everywhere.
pub const REDACTED_CHARS_MIN: usize = 8;
/// Texts of one app's secrets that are remembered to be taken out. To find them takes some 13 times
/// as much memory, for a moment 80 times, and some 60 ms to prepare.
pub const REDACTED_BYTES: usize = 512 * 1024;
/// Most of them, and most text of one report, that is looked at on a thread that serves others.
pub const REDACTED_BYTES_INLINE: usize = 64 * 1024;
/// Length of the pieces in which long texts are looked for; the last piece has up to twice as much.
pub const REDACTED_PIECE_BYTES: usize = 128;
/// Memory for what is taken out of one site's logs and errors, before its largest apps' is forgotten.
pub const REDACTED_MEMORY_SITE: usize = 16 * 1024 * 1024;

/// Life of an access token.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(3600);
/// Life of a refresh token.
pub const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(14 * 24 * 3600);
/// Life of a session.
pub const SESSION_TTL: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longest credential that is looked at.
pub const CREDENTIAL_BYTES: usize = 8 * 1024;
/// Failed sign-ins to one account from one address in a minute; beyond it they are refused.
pub const SIGN_IN_PER_MINUTE: u32 = 10;
/// Failed sign-ins from one address in a minute; beyond it they are refused.
pub const SIGN_IN_PER_MINUTE_OF_ADDRESS: u32 = 30;
/// Failed sign-ins to one account in a minute, from anywhere, that slow further ones. None is refused
/// for them.
pub const SIGN_IN_PER_MINUTE_OF_ACCOUNT: u32 = 60;
/// How long the first failed sign-in waits that is slowed; each further one waits twice as long.
pub const SIGN_IN_DELAY: Duration = Duration::from_millis(100);
/// Longest time that a sign-in waits because others have failed before it.
pub const SIGN_IN_DELAY_MAX: Duration = Duration::from_secs(1);
/// Passwords of one address that wait to be compared; further ones are refused.
pub const PASSWORDS_WAITING_OF_ONE: usize = 8;
/// Passwords of strangers that wait to be compared, in all.
pub const PASSWORDS_WAITING: usize = 500;
/// How long after its exchange a refresh token gives the same pair again: two tabs, a lost answer.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);
/// Refresh tokens of one account or from one address that are exchanged or ended in a minute.
pub const TOKEN_EXCHANGE_PER_MINUTE: u32 = 60;
/// Most runs of one function at the same time that it may ask for.
pub const CONCURRENCY_MAX: u32 = 512;
/// How long a webhook's previous signing secret signs beside the new one.
pub const SIGNING_OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// Calls of a webhook in a row that must fail before it is left alone for a while.
pub const CIRCUIT_FAILURES: u32 = 5;
/// How long it is left alone the first time; doubles each time that it fails again.
pub const CIRCUIT_PAUSE: Duration = Duration::from_secs(10);
/// Longest time that it is left alone.
pub const CIRCUIT_PAUSE_MAX: Duration = Duration::from_secs(600);
/// How long a run is put off, at most, while another one finds out whether the webhook works again.
pub const CIRCUIT_PROBE_WAIT: Duration = Duration::from_secs(30);
/// Webhooks in trouble that one process remembers; further ones are called as if they were well.
pub const CIRCUITS: usize = 50_000;
/// Times that a run is put off before it counts as a failed attempt. Less than [`UNCOUNTED_MAX`], which
/// counts both.
pub const PUT_OFF_MAX: u32 = 40;
/// Longest webhook address.
pub const URL_BYTES: usize = 2048;
/// How long one question to a DNS server may take.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a name's addresses are kept, whatever its owner asks for.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(300);
/// How long it is kept that a name has no address.
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);
/// How long resolving a name and connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection to a webhook is kept.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Unused connections kept to one host.
pub const IDLE_CONNECTIONS_PER_HOST: usize = 8;
/// Sites of which one process keeps connections to others' hosts; of more, those that sent something last.
pub const OUTBOUND_SITES: usize = 256;
/// Headers of a reply.
pub const REPLY_HEADERS: usize = 100;
/// What memory keeps of the store is read again after this time, news of a change or not.
pub const MEMORY_AGE: Duration = Duration::from_secs(60);
/// Callers and their API keys are read again after this time.
pub const CALLER_AGE: Duration = Duration::from_secs(5);
/// Callers, and as many API keys, that one process keeps in memory.
pub const CALLERS_IN_MEMORY: usize = 10_000;
/// Sites' subscriptions of one event, function versions, and rights of functions: so many of each are kept in memory.
pub const KEPT_IN_MEMORY: usize = 50_000;
/// Longest name of an event type.
pub const EVENT_NAME_BYTES: usize = 64;
/// Largest params that are made of a raw request: its body stands in them as text and in base64.
pub const RAW_PARAMS_BYTES: usize = 4 * REQUEST_BODY_BYTES;
const _: () = assert!(RAW_PARAMS_BYTES < FRAME_BYTES);
/// Headers of an HTTP answer that a function gives.
pub const RAW_HEADERS: usize = 50;
/// Their names and values together.
pub const RAW_HEADER_BYTES: usize = 16 * 1024;
/// Names of event types that one process reads from storage beside those that it registers; a record of
/// one more cannot be read. As many as 200 sites may ever declare.
pub const EVENT_NAMES: usize = 200 * EVENT_NAMES_PER_SITE;
/// Names of event types that the apps of one site may ever declare, those of deleted types included: a process
/// keeps each for its life.
pub const EVENT_NAMES_PER_SITE: usize = 500;
/// Event types of one app.
pub const EVENT_TYPES_PER_APP: usize = 100;
/// Types of all sites that one process keeps in memory, with what checks their parameters.
pub const EVENT_TYPES_IN_MEMORY: usize = 256;
/// Largest JSON Schema of an app's own event type, and its largest sample.
pub const EVENT_SCHEMA_BYTES: usize = 16 * 1024;
/// Schemas in such a schema, each counted as often as references lead to it, and lists, texts and numbers in
/// them; what stands beside `unevaluatedProperties` or `unevaluatedItems` is looked at several times and counts so.
pub const EVENT_SCHEMA_NODES: u64 = 10_000;
/// Deepest nesting of such a schema, its references followed.
pub const EVENT_SCHEMA_DEPTH: usize = JSON_DEPTH;
/// Largest compiled pattern of such a schema.
pub const EVENT_PATTERN_BYTES: usize = FILTER_PATTERN_BYTES;
/// Largest parameters that a function publishes.
pub const EVENT_PARAMS_BYTES: usize = 64 * 1024;
/// Most steps of one check of parameters: schemas times values, texts counted by their length.
pub const EVENT_CHECK_STEPS: u64 = 10_000_000;
/// Most steps for which a check that fails tells all faults, and not the first one.
pub const EVENT_CHECK_STEPS_TOLD: u64 = 100_000;
/// Most steps of a check on a thread that serves others.
pub const EVENT_CHECK_STEPS_INLINE: u64 = 4_000;
/// Longer checks that are made at the same time.
pub const EVENT_CHECKS_AT_ONCE: usize = 2;
/// Faults of parameters that are told.
pub const EVENT_FAULTS: usize = 100;

/// Bytes of a client's `User-Agent` that events show.
pub const USER_AGENT_BYTES: usize = 512;

/// Bytes of a host name that events show (RFC 1035, section 2.3.4).
pub const HOST_NAME_BYTES: usize = 255;

/// Bytes of an `Accept-Language` header that are read.
pub const ACCEPT_LANGUAGE_BYTES: usize = 1024;

/// Bytes of JSON of a refusal's `user_message`.
pub const USER_MESSAGE_BYTES: usize = 32 * 1024;

/// Languages of a refusal's `user_message`.
pub const USER_MESSAGE_LANGUAGES: usize = 64;

/// Bytes of JSON that functions may add to the tokens of a sign-in. Both tokens carry them, and must stay within
/// [`CREDENTIAL_BYTES`].
pub const CLAIMS_BYTES: usize = 2 * 1024;
