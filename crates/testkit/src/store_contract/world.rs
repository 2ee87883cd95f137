//! Two sites in an empty store, and short ways to fill them.

use super::alone::{Alone, UserCommit};
use crate::clock::ManualClock;
use crate::entropy::SeededEntropy;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tollgate_core::apps::App;
use tollgate_core::entropy::Entropy;
use tollgate_core::events::EventType;
use tollgate_core::functions::{
    Environment, ExecutionMode, Function, FunctionOptions, Source, Variables,
};
use tollgate_core::ids::{AppId, EventId, InvocationId, SiteId, UserId};
use tollgate_core::invocations::{
    Chain, Completion, Hold, Link, LogLine, NewInvocation, OnBehalf, Started, Trigger,
};
use tollgate_core::json::{JsonText, Object};
use tollgate_core::ports::store::{
    Claimed, IdKind, NewApp, NewFunction, NewSubscriber, OnCommit, PageRequest, Reason,
    ScopedStore, Store, StoreError, SystemStore, UserChange, Work,
};
use tollgate_core::rights::FunctionRights;
use tollgate_core::site::{Authority, Site};
use tollgate_core::subscribers::{Subscriber, SubscriberOptions};
use tollgate_core::tasks::{Failure, FailureKind, State, Waiter};
use tollgate_core::time::{Clock, Timestamp};
use tollgate_core::users::events::POST_USER_CREATE;
use tollgate_core::users::{Profile, User};

/// An empty store and what must live as long as it, such as a temporary folder.
pub struct TestStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Dropped after it.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for TestStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestStore").finish_non_exhaustive()
    }
}

/// Two sites in one store.
pub struct World {
    /// One site.
    pub a: Tenant,
    /// Another one.
    pub b: Tenant,
    /// The store's clock.
    pub clock: Arc<ManualClock>,
    /// Queries of no site.
    pub system: Arc<dyn SystemStore>,
    _store: TestStore,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// One site and its store.
pub struct Tenant {
    /// The site.
    pub site: Site,
    /// Its data.
    pub store: Arc<dyn ScopedStore>,
    system: Arc<dyn SystemStore>,
    clock: Arc<ManualClock>,
    entropy: SeededEntropy,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// The first hundred of a list.
#[must_use]
pub const fn everything() -> PageRequest {
    PageRequest {
        limit: 100,
        offset: 0,
    }
}

/// A signal to hand to a store, and the end that hears it: an error if it was never given.
pub fn committed() -> (OnCommit, oneshot::Receiver<()>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move || _ = sender.send(())), receiver)
}

impl World {
    /// Makes a store with two sites.
    ///
    /// # Panics
    /// When the store cannot even do that.
    pub async fn new<F, R>(make: &F) -> Self
    where
        F: Fn(Arc<ManualClock>) -> R,
        R: Future<Output = TestStore>,
    {
        let clock = Arc::new(ManualClock::default());
        let test = make(Arc::clone(&clock)).await;
        let a = Tenant::new(&test.store, &clock, "alpha", 1).await;
        let b = Tenant::new(&test.store, &clock, "beta", 2).await;
        let system = test.store.system(Reason::Execute);
        Self {
            a,
            b,
            clock,
            system,
            _store: test,
        }
    }

    /// The clock's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes up to `limit` due runs, line after line, and tells how long it takes until the next one is due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(
        &self,
        holder: &str,
        limit: usize,
    ) -> Result<(Vec<Claimed>, Option<Duration>), StoreError> {
        let mut claimed = Vec::new();
        for line in self.system.due_lines(None, 100).await?.lines {
            let wanted = vec![(line, limit - claimed.len())];
            claimed.extend(self.system.claim(holder, wanted).await?);
        }
        Ok((claimed, self.system.next_due().await?))
    }

    /// The clock's time in `seconds`.
    pub fn in_seconds(&self, seconds: u64) -> Timestamp {
        self.now().plus(Duration::from_secs(seconds))
    }
}

#[expect(
    clippy::missing_panics_doc,
    reason = "a fixture that fails is a failed test"
)]
impl Tenant {
    async fn new(store: &Arc<dyn Store>, clock: &Arc<ManualClock>, slug: &str, seed: u64) -> Self {
        let system = store.system(Reason::Administer);
        let site = Site {
            id: SiteId(0),
            slug: slug.to_owned(),
            name: slug.to_uppercase(),
            domains: vec![format!("{slug}.example.com")],
            created_at: clock.now(),
            damaged: Vec::new(),
        };
        let site = system.insert_site(site).await.expect("a site can be made");
        let scope = Authority::of_this_program().scope(site.id);
        let store = store.scoped(scope);
        let clock = Arc::clone(clock);
        Self {
            site,
            store,
            system,
            clock,
            entropy: SeededEntropy::new(seed),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        &self.entropy
    }

    /// Stores an app.
    pub async fn app(&self, slug: &str) -> App {
        self.store
            .insert_app(self.new_app(slug))
            .await
            .expect("an app can be made")
    }

    /// An app to be stored.
    pub fn new_app(&self, slug: &str) -> NewApp {
        NewApp {
            name: format!("App {slug}"),
            slug: slug.to_owned(),
            description: "For tests".to_owned(),
            variables: Variables::default(),
            created_at: self.now(),
            remember: None,
        }
    }

    /// A function to be stored.
    pub fn new_function(&self, app: AppId, slug: &str) -> NewFunction {
        NewFunction {
            author: None,
            app_id: app,
            name: format!("Function {slug}"),
            slug: slug.to_owned(),
            description: "For tests".to_owned(),
            execution_mode: ExecutionMode::App,
            environment: Environment::Python,
            is_active: true,
            is_public: false,
            async_mode: false,
            options: FunctionOptions {
                timeout_seconds: Some(2.5),
                ..FunctionOptions::default()
            },
            rights: FunctionRights::default(),
            source: code("def main(params): return params"),
            webhook_secret: None,
            created_at: self.now(),
            ids: None,
            remember: None,
        }
    }

    /// Stores a function.
    pub async fn function(&self, app: AppId, slug: &str) -> Function {
        let new = self.new_function(app, slug);
        self.store
            .insert_function(new)
            .await
            .expect("a function can be made")
    }

    /// Stores an app with one function.
    pub async fn some_function(&self) -> Function {
        let app = self.app("some-app").await;
        self.function(app.id, "some-function").await
    }

    /// Subscribes a function.
    pub async fn subscribe(
        &self,
        event: EventType,
        function: &Function,
        priority: i32,
    ) -> Result<Subscriber, StoreError> {
        let options = SubscriberOptions {
            priority,
            ..SubscriberOptions::default()
        };
        let new = NewSubscriber {
            author: None,
            event,
            declared_by: None,
            function_id: function.id,
            options,
            created_at: self.now(),
            remember: None,
        };
        self.store.insert_subscriber(new).await
    }

    /// A user to be stored, with a reserved number.
    pub async fn new_user(&self, username: &str) -> User {
        let ids = self
            .system
            .reserve_ids(IdKind::User, 1)
            .await
            .expect("ids can be reserved");
        let now = self.now();
        User {
            id: UserId(ids.start),
            uuid: self.entropy().uuid_v7(now),
            profile: Profile {
                username: username.to_owned(),
                email: format!("{username}@example.com"),
                first_name: "First".to_owned(),
                last_name: "Last".to_owned(),
                is_active: true,
                is_staff: false,
                attributes: Object::new(),
            },
            is_superuser: false,
            is_deleted: false,
            date_joined: now,
            last_login: None,
            roles: Vec::new(),
            created_at: now,
            updated_at: now,
            revision: 1,
            damaged: Vec::new(),
        }
    }

    /// Writes a change of a user and nothing else.
    ///
    /// # Errors
    /// The store's.
    pub async fn change(&self, change: UserChange) -> Result<(), StoreError> {
        let commit = UserCommit {
            author: None,
            change,
            completions: Vec::new(),
            invocations: Vec::new(),
            remember: None,
        };
        self.store.commit_user(commit, Box::new(|| {})).await
    }

    /// Stores a user.
    ///
    /// # Errors
    /// The store's.
    pub async fn create(&self, user: &User) -> Result<(), StoreError> {
        self.change(create(user)).await
    }

    /// Makes and stores a user.
    pub async fn user(&self, username: &str) -> User {
        let user = self.new_user(username).await;
        self.create(&user).await.expect("a user can be made");
        user
    }

    /// A run to be recorded.
    pub async fn new_run(
        &self,
        function: &Function,
        waiter: Waiter,
        holder: Option<&str>,
    ) -> NewInvocation {
        let ids = self
            .system
            .reserve_ids(IdKind::Invocation, 1)
            .await
            .expect("ids");
        let executable = self
            .store
            .executable(function.id)
            .await
            .expect("query works");
        let executable = executable.expect("the function exists");
        let now = self.now();
        NewInvocation {
            site_id: self.site.id,
            id: InvocationId(ids.start),
            task_id: self.entropy().task_id(now),
            function_id: function.id,
            version_id: executable.version_id,
            version: executable.version,
            event: Some(POST_USER_CREATE),
            event_id: Some(EventId(self.entropy().uuid_v7(now))),
            trigger: Trigger::Event,
            waiter,
            user_id: None,
            behalf: OnBehalf::default(),
            chain: Chain::new(vec![Link(function.id, None)]),
            params: JsonText::parse("{\"n\": 1}".to_owned()).expect("JSON"),
            request: None,
            max_attempts: 3,
            timeout: Duration::from_millis(2500),
            holder: holder.map(Into::into),
            queued_at: now,
            replay_of: None,
            pinned: false,
        }
    }

    /// Makes and records a run.
    pub async fn run(
        &self,
        function: &Function,
        waiter: Waiter,
        holder: Option<&str>,
    ) -> NewInvocation {
        let run = self.new_run(function, waiter, holder).await;
        self.record(vec![run.clone()]).await;
        run
    }

    /// Records runs.
    pub async fn record(&self, invocations: Vec<NewInvocation>) {
        let work = Work {
            births: invocations,
            ends: Vec::new(),
            on_commit: Box::new(|| {}),
            remember: None,
            ..Work::default()
        };
        self.store.commit(work).await.expect("runs can be recorded");
    }

    /// Where a run stands: state and attempt.
    pub async fn standing(&self, run: &NewInvocation) -> (State, u32) {
        let record = self.store.invocation(run.id).await.expect("query works");
        let record = record.expect("the run is recorded");
        (record.state, record.attempt)
    }

    /// Notes that an attempt begins, under the hold of `me`.
    pub async fn begin(&self, run: &NewInvocation, fence: u32) {
        let started = Started {
            born: None,
            ..self.begun(run, fence)
        };
        let noted = self.system.started(vec![started]).await;
        noted.expect("a start can be noted");
    }

    /// The beginning of an attempt under the hold of `me`, with the run's record.
    pub fn begun(&self, run: &NewInvocation, fence: u32) -> Started {
        Started {
            site_id: run.site_id,
            id: run.id,
            born: Some(Arc::new(run.clone())),
            hold: Hold {
                holder: "me".into(),
                fence,
            },
            version_id: run.version_id,
            version: run.version,
            started_at: self.now(),
        }
    }

    /// The end of a run's only attempt, with its record.
    pub fn whole(&self, run: &NewInvocation, state: State) -> Completion {
        Completion {
            born: Some(Arc::new(run.clone())),
            ..self.end(run, 1, state)
        }
    }

    /// The end of an attempt under this fence, by who held the run from its birth, else by `me`.
    pub fn end(&self, run: &NewInvocation, fence: u32, state: State) -> Completion {
        let holder = run.holder.clone().unwrap_or_else(|| "me".into());
        let failure =
            (state != State::Succeeded).then(|| Failure::new(FailureKind::Exception, "went wrong"));
        Completion {
            site_id: run.site_id,
            id: run.id,
            born: None,
            hold: Hold { holder, fence },
            state,
            uncounted: false,
            version_id: run.version_id,
            version: run.version,
            result: (state == State::Succeeded).then(JsonText::null),
            failure,
            verdict: None,
            changes: None,
            logs: vec![LogLine {
                timestamp: self.now(),
                level: "INFO".to_owned(),
                logger: "function".to_owned(),
                message: "a line".to_owned(),
            }],
            worker: "worker-1".to_owned(),
            started_at: self.now(),
            finished_at: self.now(),
            due_in: None,
        }
    }
}

/// Python source.
pub(crate) fn code(text: &str) -> Source {
    Source::single(Environment::Python, text)
}

/// A new user without password.
pub(crate) fn create(user: &User) -> UserChange {
    UserChange::Create {
        user: Box::new(user.clone()),
        password_hash: None,
    }
}

/// The next revision of a user, to be changed and written.
pub(crate) fn next(user: &User) -> User {
    User {
        revision: user.revision + 1,
        ..user.clone()
    }
}

/// The write of a user's next revision.
pub(crate) fn update(user: &User) -> UserChange {
    UserChange::Update {
        user: Box::new(user.clone()),
        password_hash: None,
    }
}

/// The write that deletes a user.
pub(crate) fn delete(user: &User) -> UserChange {
    UserChange::Delete {
        user: Box::new(User {
            is_deleted: true,
            ..next(user)
        }),
    }
}

/// Asserts that a write ran into this conflict.
macro_rules! assert_conflict {
    ($result:expr, $conflict:ident) => {
        match $result {
            Err(tollgate_core::ports::store::StoreError::Conflict(
                tollgate_core::ports::store::Conflict::$conflict,
            )) => {}
            other => panic!(
                "expected the conflict {}, got {other:?}",
                stringify!($conflict)
            ),
        }
    };
}
pub(crate) use assert_conflict;
