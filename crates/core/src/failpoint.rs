//! Named places where a test may make the process stop dead. Without the feature `failpoints`,
//! which no released binary has, [`hit`] is empty and [`COMPILED`] is false.
//!
//! Must never do anything by itself: what happens at a place is handed in from outside.

/// Whether this build has failpoints.
pub const COMPILED: bool = cfg!(feature = "failpoints");

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A place.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Point {
            /// All of them: those that a user's creation and a queued run pass, in order, then the loops.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name under which it is set.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

points! {
    /// A PRE event is about to be published.
    PreBefore = "pre.before",
    /// Its runs were started.
    PreStarted = "pre.started",
    /// Every function agreed; nothing is written yet.
    PreAgreed = "pre.agreed",
    /// In a write transaction, before its COMMIT.
    CommitBefore = "commit.before",
    /// After the COMMIT, before anybody hears of it.
    CommitAfter = "commit.after",
    /// A user's change is on disk; the answer has not been sent.
    ReplyBefore = "reply.before",
    /// In the transaction of a claim: rows were taken.
    ClaimTaken = "claim.taken",
    /// A claim is on disk; its runs are not lined up yet.
    ClaimCommitted = "claim.committed",
    /// A run has its turn; the runtime was not called yet.
    RunBefore = "run.before",
    /// The runtime answered.
    RunAnswered = "run.answered",
    /// Results are about to be written.
    ResultBefore = "result.before",
    /// They were written; nobody has heard of it.
    ResultAfter = "result.after",
    /// The executor's loop that runs what is queued.
    LoopQueue = "loop.queue",
    /// The one that claims.
    LoopClaimer = "loop.claimer",
    /// The one that records.
    LoopRecorder = "loop.recorder",
    /// The one that keeps the lease.
    LoopKeeper = "loop.keeper",
    /// The one that deletes what is over.
    LoopRetention = "loop.retention",
    /// The pool's look at queues and idle workers.
    LoopPool = "loop.pool",
    /// The one that looks after Python hosts.
    LoopHosts = "loop.hosts",
    /// The task that speaks with a Python host.
    LoopHost = "loop.host",
    /// The thread that has started a host's launcher, and waits for its end.
    LoopLauncher = "loop.launcher",
    /// The look at a worker that rests.
    LoopRest = "loop.rest",
    /// The thread that looks at the memory of workers.
    LoopWatchdog = "loop.watchdog",
    /// What reads a DNS server's answers.
    LoopResolver = "loop.resolver",
    /// The socket for the operator's commands.
    LoopOperator = "loop.operator",
    /// The wait for signals.
    LoopSignals = "loop.signals",
    /// The store's writing thread.
    LoopWriter = "loop.writer",
    /// A reading one.
    LoopReader = "loop.reader",
    /// The server's upkeep of measurements.
    LoopMetrics = "loop.metrics",
}

/// Marks a place.
#[inline]
pub fn hit(point: Point) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(point.as_str());
    #[cfg(not(feature = "failpoints"))]
    let _ = point;
}

/// Sets what every hit of `point` does from now on.
///
/// # Errors
/// Without the feature.
pub fn set(point: Point, action: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
    #[cfg(feature = "failpoints")]
    return fail::cfg_callback(point.as_str(), action);
    #[cfg(not(feature = "failpoints"))]
    {
        drop(action);
        Err(format!(
            "this build has no failpoints, so not {}",
            point.as_str()
        ))
    }
}
