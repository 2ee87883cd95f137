//! A whole platform over a fresh database, with two sites and a fixed clock.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tollgate_core::admin::{NewSuperuser, Strength};
use tollgate_core::auth::{Password, PasswordRules};
use tollgate_core::bus::LocalBus;
use tollgate_core::engine::{Parts, Settings};
use tollgate_core::entropy::Entropy;
use tollgate_core::functions::Source;
use tollgate_core::functions::webhook::SigningKeys;
use tollgate_core::ids::FunctionId;
use tollgate_core::platform::{self, Platform, PlatformParts};
use tollgate_core::ports::dispatch::Coordinator;
use tollgate_core::ports::runtime::Runtimes;
use tollgate_core::ports::store::{FunctionChange, Store};
use tollgate_core::site::{Authority, Site};
use tollgate_core::supervise::Supervisor;
use tollgate_core::tasks::State;
use tollgate_core::time::Clock;
use tollgate_core::vault::{Vault, VaultKey};
use tollgate_exec::{Executor, ExecutorConfig};
use tollgate_runtimes::{Outbound, OutboundConfig, ProxyRuntime, SystemCall, SystemRuntime};
use tollgate_server::{Server, ServerConfig};
use tollgate_store_sqlite::{OpenError, SqliteOptions, SqliteStore};
use tollgate_testkit::clock::ManualClock;
use tollgate_testkit::entropy::SeededEntropy;
use tollgate_testkit::fake_runtime::FakeRuntime;
use tower::ServiceExt as _;

pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const HOST: &str = "localhost";
pub(crate) const OTHER_HOST: &str = "other.test";
pub(crate) const JWT_KEY: [u8; 32] = [7; 32];

/// A running platform. Nothing outlives it but the folder's deletion.
pub(crate) struct TestApp {
    pub(crate) server: Server,
    pub(crate) platform: Arc<Platform>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<SqliteStore>,
    /// Runs what is deployed as Python.
    pub(crate) fake: Arc<FakeRuntime>,
    /// Where the function `look` waits.
    pub(crate) gate: Arc<Gate>,
    router: Router,
    _coordinator: Arc<dyn Coordinator>,
    _executor: Arc<Executor>,
    folder: TempDir,
}

/// Holds runs of the function `look` in their middle.
pub(crate) struct Gate {
    entered: Semaphore,
    let_go: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            entered: Semaphore::new(0),
            let_go: Semaphore::new(0),
        }
    }
}

impl Gate {
    /// Waits until one more run has come so far.
    pub(crate) async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    /// Lets as many runs go on, also those that come later.
    pub(crate) fn let_go(&self, runs: usize) {
        self.let_go.add_permits(runs);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Value,
    text: String,
}

impl Answer {
    /// All that a client gets, less what differs by request.
    pub(crate) fn bytes(&self) -> String {
        let mut headers = self.headers.clone();
        headers.remove("x-request-id");
        format!("{} {headers:?} {}", self.status, self.text)
    }

    /// Status and body as one value, for snapshots.
    pub(crate) fn whole(&self) -> Value {
        json!({"status": self.status, "body": self.body})
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer that must have been a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status < 300, "{}: {}", self.status, self.body);
        self.body
    }

    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["success"], false, "{}", self.body);
        assert_eq!(self.body["status"], "error", "{}", self.body);
        assert_eq!(self.body["code"], code, "{}", self.body);
        self.body["message"].as_str().unwrap()
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Asking {
    router: Router,
    method: Method,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Asking {
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw(body.to_string().into_bytes())
            .header("content-type", "application/json")
    }

    pub(crate) fn raw(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("host", self.host);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = self.body.map_or_else(Body::empty, Body::from);
        let response = self
            .router
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(text.clone()));
        Answer {
            status,
            headers,
            body,
            text,
        }
    }
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = Self::over(folder, Arc::new(ManualClock::default())).await;
        app.site("default", vec![]).await;
        app
    }

    /// The platform of the next process on the same database.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            folder,
            clock,
            server,
            platform,
            store,
            fake,
            gate: _,
            router,
            _coordinator: coordinator,
            _executor: executor,
        } = self;
        executor.stop(std::time::Duration::ZERO).await.unwrap();
        drop((server, platform, store, fake, router, coordinator, executor));
        Self::over(folder, clock).await
    }

    async fn over(folder: TempDir, clock: Arc<ManualClock>) -> Self {
        let time: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let sqlite = reopened(&folder, &time).await;
        let store: Arc<dyn Store> = Arc::clone(&sqlite) as _;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let gate = Arc::<Gate>::default();
        let vault = Arc::new(Vault::new(&VaultKey::from([9; 32])));
        let system = Arc::new(functions(Arc::clone(&time), &gate));
        let fake = Arc::new(FakeRuntime::default());
        let runtimes = Runtimes {
            python: Some(Arc::clone(&fake) as _),
            node: None,
            proxy: Some(Arc::new(proxy(&store, &vault, &time))),
            system: Some(system),
        };
        let executor = Executor::new(
            Arc::clone(&store),
            runtimes.clone(),
            Arc::clone(&time),
            Arc::clone(&entropy),
            ExecutorConfig::default(),
        );
        let dispatcher = Arc::clone(&executor) as _;
        let settings = Settings::default();
        let engine = Parts {
            bus: Arc::new(LocalBus::default()),
            store,
            dispatcher,
            runtimes,
            clock: time,
            entropy,
            vault,
            catalogue: platform::catalogue(),
            settings,
            supervisor: Supervisor::default(),
        };
        let platform = Platform::new(PlatformParts {
            engine,
            jwt_keys: JWT_KEY.into(),
            base_domain: None,
            password_rules: PasswordRules::default(),
        });
        let coordinator = platform.coordinator();
        executor.start(&coordinator).await.unwrap();
        let server = Server::new(ServerConfig::default(), Arc::clone(&platform));
        let router = server.router();
        Self {
            server,
            platform,
            clock,
            store: sqlite,
            fake,
            gate,
            router,
            _coordinator: coordinator,
            _executor: executor,
            folder,
        }
    }

    /// A site with the superuser `root`.
    pub(crate) async fn site(&self, slug: &str, domains: Vec<String>) -> Site {
        let authority = Authority::of_this_program();
        let admin = &self.platform.admin;
        let site = admin.create_site(&authority, slug, domains).await.unwrap();
        let new = NewSuperuser {
            email: format!("root@{slug}.example"),
            username: None,
            password: Password::new(PASSWORD),
        };
        admin
            .create_superuser(&authority, &site, new, Strength::Checked)
            .await
            .unwrap();
        site
    }

    /// The second site, and its superuser's token.
    pub(crate) async fn other_site(&self) -> String {
        self.site("other", vec![OTHER_HOST.to_owned()]).await;
        self.sign_in_at(OTHER_HOST, "root").await
    }

    /// Everything that the store has on disk.
    pub(crate) fn files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Asking {
        Asking {
            router: self.router.clone(),
            method: method.parse().unwrap(),
            path: path.to_owned(),
            host: HOST.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Asking {
        self.ask("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Asking {
        self.ask("POST", path).json(body)
    }

    /// The superuser's access token.
    pub(crate) async fn root(&self) -> String {
        self.sign_in_at(HOST, "root").await
    }

    pub(crate) async fn sign_in(&self, username: &str) -> String {
        self.sign_in_at(HOST, username).await
    }

    async fn sign_in_at(&self, host: &str, username: &str) -> String {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self
            .post("/api/cloud/auth/jwt/token/", &body)
            .host(host)
            .send()
            .await;
        answer.ok()["access"].as_str().unwrap().to_owned()
    }

    /// A user with these roles, and the access token.
    pub(crate) async fn user(&self, root: &str, username: &str, roles: &[&str]) -> String {
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        self.post("/api/users/", &body)
            .bearer(root)
            .send()
            .await
            .ok();
        if !roles.is_empty() {
            let body = json!({"roles": roles, "usernames": [username]});
            self.post("/api/assign/roles/", &body)
                .bearer(root)
                .send()
                .await
                .ok();
        }
        self.sign_in(username).await
    }

    /// The app `user-management` of the API document.
    pub(crate) async fn user_management(&self, token: &str) {
        let body = json!({"name": "User Management"});
        self.post("/api/apps/", &body)
            .bearer(token)
            .send()
            .await
            .ok();
    }

    /// A function of that app that runs the registered function of its slug. Gives its number.
    pub(crate) async fn function(&self, token: &str, name: &str) -> i64 {
        let body = json!({"name": name, "execution_mode": "system"});
        let path = "/api/apps/user-management/functions/";
        let answer = self.post(path, &body).bearer(token).send().await;
        answer.ok()["id"].as_i64().unwrap()
    }

    /// Queues a run of a function that fails once and for all, and waits for its death.
    pub(crate) async fn dead_letter(&self, token: &str, slug: &str, params: &Value) -> i64 {
        let function = format!("/api/apps/user-management/functions/{slug}/");
        let once = json!({"max_attempts": 1});
        self.ask("PATCH", &function)
            .json(&once)
            .bearer(token)
            .send()
            .await
            .ok();
        let mut changes = self.platform.invocations.watch();
        let body = json!({"params": params, "async": true});
        let queued = self.post(&format!("{function}execute/"), &body);
        let queued = queued.bearer(token).send().await.ok();
        let id = queued["invocation"]["id"].as_i64().unwrap();
        loop {
            let change = changes.recv().await.unwrap();
            if change.id.0 == id && change.state == State::Dead {
                return id;
            }
        }
    }

    /// Stores a version of a system function, which has only one by itself, and makes it the active one.
    pub(crate) async fn new_version_of(&self, id: FunctionId) {
        let authority = Authority::of_this_program();
        let sites = self.platform.admin.sites(&authority).await.unwrap();
        let scope = authority.scope(sites[0].id);
        let (store, at) = (self.store.scoped(scope), self.clock.now());
        let version = store.insert_version(id, Source::System, at).await.unwrap();
        let change = FunctionChange {
            author: None,
            declares: false,
            function: store.function_by_id(id).await.unwrap().unwrap(),
            version: Some(version.entry.number),
            at,
        };
        store.update_function(change).await.unwrap();
    }

    /// Sets what a function of that app may do, and the like.
    pub(crate) async fn change(&self, token: &str, slug: &str, body: &Value) -> Answer {
        let path = format!("/api/apps/user-management/functions/{slug}/");
        let asking = self.ask("PATCH", &path).json(body).bearer(token);
        asking.send().await
    }

    pub(crate) async fn subscribe(&self, token: &str, event: &str, function: i64) {
        let path = format!("/api/cloud/events/{event}/subscribe/");
        let body = json!({"function_id": function});
        self.post(&path, &body).bearer(token).send().await.ok();
    }
}

/// Calls webhooks on this machine.
fn proxy(store: &Arc<dyn Store>, vault: &Arc<Vault>, clock: &Arc<dyn Clock>) -> ProxyRuntime {
    let config = OutboundConfig {
        allow_private: true,
        ..OutboundConfig::default()
    };
    let keys = SigningKeys::new(Arc::clone(store), Arc::clone(vault), Arc::clone(clock));
    let outbound = Outbound::new(config, &Supervisor::default()).unwrap();
    ProxyRuntime::new(outbound, Arc::new(keys), Arc::clone(clock))
}

/// Opens the store, once an earlier process's last handle is gone.
async fn reopened(folder: &TempDir, clock: &Arc<dyn Clock>) -> Arc<SqliteStore> {
    for _ in 0..100_000 {
        let options = SqliteOptions {
            clock: Arc::clone(clock),
            ..SqliteOptions::default()
        };
        match SqliteStore::open(folder.path(), options) {
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the store is not let go")
}

/// The operator's own functions, by slug.
fn functions(clock: Arc<dyn Clock>, gate: &Arc<Gate>) -> SystemRuntime {
    let mut system = SystemRuntime::new(clock);
    system.register("validate-user-data", |call: SystemCall| async move {
        call.log("INFO", "checking");
        Ok(json!({"checked": call.params["username"]}))
    });
    system.register("check-email-domain", |_: SystemCall| async {
        Ok(Value::Null)
    });
    system.register("deny", |_: SystemCall| async {
        Ok(json!({"success": false, "error": "not this one", "errors": {"email": ["bad"]}}))
    });
    system.register("enrich", |_: SystemCall| async {
        Ok(json!({"params": {"first_name": "Enriched"}}))
    });
    system.register("broken", |_: SystemCall| async {
        Err("it broke".to_owned())
    });
    system.register("return-all", |call: SystemCall| async move {
        Ok(json!({"params": call.params}))
    });
    system.register("hang", |_: SystemCall| std::future::pending());
    system.register("copy", |call: SystemCall| async move {
        let name = format!(
            "{}-copy",
            call.params["username"].as_str().unwrap_or_default()
        );
        let data = json!({"username": name, "email": format!("{name}@example.com")});
        let answer = call.host.ask("users.create", &json!({"data": data})).await;
        answer.map_err(|error| format!("{} {}", error.kind, error.message))
    });
    // Looks at somebody else once it is let, and says what it saw and who it was told caused it.
    let held = Arc::clone(gate);
    system.register("look", move |call: SystemCall| {
        let held = Arc::clone(&held);
        async move {
            held.entered.add_permits(1);
            held.let_go.acquire().await.unwrap().forget();
            let args = json!({"username": "target"});
            let answer = call.host.ask("users.get", &args).await;
            let said = answer.map_or_else(|error| error.kind.to_string(), |_| "seen".to_owned());
            Ok(json!({"said": said, "who": call.user_data["username"]}))
        }
    });
    crate::platform_events::register(&mut system);
    for slug in ["ask", "ask-inner"] {
        system.register(slug, |call: SystemCall| async move {
            let method = call.params["method"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let answer = call.host.ask(&method, &call.params["args"]).await;
            answer.map_err(|error| format!("{} {}", error.kind, error.message))
        });
    }
    system
}

/// Checks that the keys stand in this order: parsing a body would sort them.
pub(crate) async fn assert_key_order(asking: Asking, keys: &[&str]) {
    let text = text(asking).await;
    let places: Vec<_> = keys
        .iter()
        .map(|key| text.find(&format!("\"{key}\":")))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{text}"
    );
}

/// The body as it was sent.
async fn text(asking: Asking) -> String {
    let Asking {
        router,
        method,
        path,
        host,
        headers,
        body,
    } = asking;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = body.map_or_else(Body::empty, Body::from);
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
