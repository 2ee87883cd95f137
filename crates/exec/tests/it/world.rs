//! A platform for one test.

use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tollgate_core::admin::{NewSuperuser, Strength};
use tollgate_core::apps::CreateApp;
use tollgate_core::auth::{Password, PasswordRules};
use tollgate_core::bus::LocalBus;
use tollgate_core::draft::Draft;
use tollgate_core::engine::{Parts, Settings};
use tollgate_core::entropy::Entropy;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::functions::{
    CreateFunction, Environment, ExecutionMode, Function, FunctionOptions, RightsInput,
};
use tollgate_core::ids::FunctionId;
use tollgate_core::invocations::{Call, Executed, Invocation};
use tollgate_core::json::{JsonText, Object};
use tollgate_core::platform::{self, Platform, PlatformParts};
use tollgate_core::ports::dispatch::{Coordinator, Dispatcher};
use tollgate_core::ports::runtime::{Runtime, Runtimes};
use tollgate_core::ports::store::{
    InvocationQuery, PageRequest, Reason, ScopedStore, Store, SystemStore,
};
use tollgate_core::rights::{AppAccess, Principal, Right, SiteAccess, right};
use tollgate_core::site::{Authority, TenantScope};
use tollgate_core::subscribers::{Subscribe, SubscriberOptions};
use tollgate_core::tasks::State;
use tollgate_core::time::Clock;
use tollgate_core::users::{CreateUser, User};
use tollgate_core::vault::{Vault, VaultKey};
use tollgate_exec::{Executor, ExecutorConfig};
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::entropy::SeededEntropy;
use tollgate_testkit::fake_runtime::{Behaviour, FakeRuntime};

pub(crate) const APP: &str = "app";
const ADMIN: &str = "admin@example.com";

/// A platform with one app, its superuser, and everything a test wants to look at.
pub(crate) struct World {
    pub(crate) platform: Arc<Platform>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) runtime: Arc<FakeRuntime>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) admin: Principal,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) store: Arc<Counted>,
    sqlite: Arc<SqliteStore>,
    folder: TempDir,
}

/// Counts who asks for queries of no site: each asks for one of them.
pub(crate) struct Counted {
    sqlite: Arc<SqliteStore>,
    asked: AtomicUsize,
}

impl Counted {
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Store for Counted {
    fn scoped(&self, scope: TenantScope) -> Arc<dyn ScopedStore> {
        self.sqlite.scoped(scope)
    }

    fn system(&self, reason: Reason) -> Arc<dyn SystemStore> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.sqlite.system(reason)
    }
}

impl World {
    /// A fresh one that works.
    pub(crate) async fn new() -> Self {
        let world = Self::idle().await;
        world.start().await;
        world
    }

    /// A fresh one whose executor has not started: queued work waits.
    pub(crate) async fn idle() -> Self {
        Self::with(Settings::default(), ExecutorConfig::default()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(settings: Settings, config: ExecutorConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(folder, Arc::new(ManualClock::default()), settings, config).await
    }

    pub(crate) async fn start(&self) {
        self.executor.start(&self.coordinator).await.unwrap();
    }

    /// Stops everything and opens the same folder again, as a new process would.
    pub(crate) async fn restart(self) -> Self {
        self.executor.stop(Duration::ZERO).await.unwrap();
        let Self {
            platform,
            executor,
            coordinator,
            store,
            sqlite,
            folder,
            clock,
            ..
        } = self;
        sqlite.close();
        drop((platform, executor, coordinator, store, sqlite));
        Self::open(
            folder,
            clock,
            Settings::default(),
            ExecutorConfig::default(),
        )
        .await
    }

    async fn open(
        folder: TempDir,
        clock: Arc<ManualClock>,
        settings: Settings,
        config: ExecutorConfig,
    ) -> Self {
        let time: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let seed = u64::try_from(clock.now().as_micros()).unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let options = SqliteOptions {
            clock: Arc::clone(&time),
            ..SqliteOptions::default()
        };
        let sqlite = SqliteStore::open(folder.path(), options).unwrap();
        let counted = Arc::new(Counted {
            sqlite: Arc::clone(&sqlite),
            asked: AtomicUsize::new(0),
        });
        let store: Arc<dyn Store> = Arc::clone(&counted) as _;
        let runtime = Arc::new(FakeRuntime::default());
        let python: Arc<dyn Runtime> = Arc::clone(&runtime) as _;
        let runtimes = Runtimes {
            python: Some(python),
            node: None,
            proxy: None,
            system: None,
        };
        let supervisor = config.supervisor.clone();
        let executor = Executor::new(
            Arc::clone(&store),
            runtimes.clone(),
            Arc::clone(&time),
            Arc::clone(&entropy),
            config,
        );
        let dispatcher: Arc<dyn Dispatcher> = Arc::clone(&executor) as _;
        let engine = Parts {
            bus: Arc::new(LocalBus::default()),
            store,
            dispatcher,
            runtimes,
            clock: time,
            entropy,
            vault: Arc::new(Vault::new(&VaultKey::from([9; 32]))),
            catalogue: platform::catalogue(),
            settings,
            supervisor,
        };
        let platform = Platform::new(PlatformParts {
            engine,
            jwt_keys: [7; 32].into(),
            base_domain: None,
            password_rules: PasswordRules::default(),
        });
        let coordinator = platform.coordinator();
        let admin = first_start(&platform).await;
        Self {
            platform,
            executor,
            runtime,
            clock,
            admin,
            coordinator,
            store: counted,
            sqlite,
            folder,
        }
    }

    pub(crate) fn manage(&self) -> SiteAccess<right::UsersManage> {
        SiteAccess::check(self.admin.clone()).unwrap()
    }

    /// The admin's way into the app.
    pub(crate) async fn access<R: Right>(&self) -> AppAccess<R> {
        let apps = &self.platform.apps;
        apps.enter(self.admin.clone(), APP).await.unwrap()
    }

    /// Deploys a function.
    pub(crate) async fn deploy(
        &self,
        name: &str,
        behaviour: Behaviour,
        options: FunctionOptions,
    ) -> Function {
        self.runtime.on(name, behaviour);
        let access = self.access().await;
        let create = CreateFunction {
            options,
            ..create_function(name)
        };
        let functions = &self.platform.functions;
        functions
            .create(&access, create.into(), None)
            .await
            .unwrap()
            .function
    }

    /// Calls a function.
    pub(crate) async fn execute(&self, name: &str, queued: bool) -> Result<Executed, Error> {
        let access = self.access().await;
        let invocations = &self.platform.invocations;
        invocations
            .execute(&access, name, call(JsonText::null(), Some(queued)))
            .await
    }

    /// Deploys a function and subscribes it.
    pub(crate) async fn subscribe(
        &self,
        name: &str,
        event: EventType,
        behaviour: Behaviour,
        options: SubscriberOptions,
    ) -> Function {
        let function = self
            .deploy(name, behaviour, FunctionOptions::default())
            .await;
        let subscribers = &self.platform.subscribers;
        subscribers
            .subscribe(&self.admin, event, subscription(function.id, options), None)
            .await
            .unwrap();
        function
    }

    pub(crate) async fn create(&self, name: &str) -> Result<User, Error> {
        self.platform
            .users
            .create(&self.manage(), create_user(name).into(), None)
            .await
    }

    pub(crate) async fn find(&self, name: &str) -> Option<User> {
        match self.platform.users.get(&self.admin, name).await {
            Ok(user) => Some(user),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// All records, oldest first.
    pub(crate) async fn invocations(&self) -> Vec<Invocation> {
        let page = PageRequest {
            limit: 100,
            offset: 0,
        };
        let query = InvocationQuery::default();
        let listed = self
            .platform
            .invocations
            .list(&self.admin, query, page)
            .await
            .unwrap();
        let mut items = listed.items;
        items.reverse();
        items
    }

    /// Slug and state of all records, in the order of slugs.
    pub(crate) async fn states(&self) -> Vec<(String, State)> {
        let all = self.invocations().await;
        let mut states: Vec<_> = all
            .into_iter()
            .map(|it| (it.function_slug, it.state))
            .collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }

    /// Waits until `count` records have ended.
    pub(crate) async fn until_ended(&self, count: usize) {
        let mut changes = self.platform.invocations.watch();
        loop {
            let all = self.invocations().await;
            if all.iter().filter(|it| it.state.is_final()).count() >= count {
                return;
            }
            changes.recv().await.unwrap();
        }
    }

    /// Waits until `count` records stand in `state`.
    pub(crate) async fn until(&self, state: State, count: usize) {
        let mut changes = self.platform.invocations.watch();
        loop {
            let there = self
                .invocations()
                .await
                .iter()
                .filter(|it| it.state == state)
                .count();
            if there >= count {
                return;
            }
            changes.recv().await.unwrap();
        }
    }
}

async fn first_start(platform: &Platform) -> Principal {
    let authority = Authority::of_this_program();
    let sites = platform.admin.sites(&authority).await.unwrap();
    let site = match sites.into_iter().next() {
        Some(site) => site,
        None => {
            let site = platform
                .admin
                .create_site(&authority, "default", vec![])
                .await
                .unwrap();
            let new = NewSuperuser {
                email: ADMIN.to_owned(),
                username: None,
                password: Password::new("correct horse"),
            };
            platform
                .admin
                .create_superuser(&authority, &site, new, Strength::Checked)
                .await
                .unwrap();
            let admin = platform
                .admin
                .act_as(&authority, &site, ADMIN)
                .await
                .unwrap();
            let app = CreateApp {
                name: APP.into(),
                slug: None,
                description: String::new(),
                variables: Default::default(),
            };
            platform
                .apps
                .create(&SiteAccess::check(admin).unwrap(), app.into(), None)
                .await
                .unwrap();
            site
        }
    };
    platform
        .admin
        .act_as(&authority, &site, ADMIN)
        .await
        .unwrap()
}

pub(crate) fn subscription(function: FunctionId, options: SubscriberOptions) -> Draft<Subscribe> {
    Subscribe { function, options }.into()
}

pub(crate) fn create_user(name: &str) -> CreateUser {
    CreateUser {
        username: name.to_owned(),
        email: format!("{name}@example.com"),
        password: None,
        first_name: "First".to_owned(),
        last_name: String::new(),
        is_active: true,
        is_staff: false,
        attributes: Object::new(),
    }
}

fn create_function(name: &str) -> CreateFunction {
    CreateFunction {
        name: name.to_owned(),
        slug: None,
        description: String::new(),
        execution_mode: ExecutionMode::App,
        environment: Environment::Python,
        code: Some("def main(params): ...".to_owned()),
        entrypoint: None,
        bundle: None,
        webhook_url: None,
        headers: None,
        is_active: true,
        is_public: false,
        async_mode: false,
        options: FunctionOptions::default(),
        rights: RightsInput::default(),
    }
}

/// A call whose answer nobody keeps.
pub(crate) const fn call(params: JsonText, queued: Option<bool>) -> Call {
    Call {
        params,
        queued,
        remember: None,
        may_answer: false,
    }
}

/// Options with a priority.
pub(crate) fn priority(priority: i32) -> SubscriberOptions {
    SubscriberOptions {
        priority,
        ..SubscriberOptions::default()
    }
}

/// A function that returns this.
pub(crate) fn returns(value: Value) -> Behaviour {
    Behaviour::Return(value)
}
