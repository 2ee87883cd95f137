//! Apps, functions with their versions, and subscribers of one site.

use super::{Author, Page, PageRequest, StoreError};
use crate::apps::App;
use crate::events::EventType;
use crate::functions::{
    BundleDigest, Environment, Executable, ExecutionMode, Function, FunctionOptions,
    FunctionVersion, Source, Variables, VersionEntry,
};
use crate::idempotency::Remember;
use crate::ids::{AppId, FunctionId, VersionId};
use crate::rights::FunctionRights;
use crate::subscribers::{Subscriber, SubscriberOptions, Subscription};
use crate::time::Timestamp;
use crate::vault::Sealed;
use async_trait::async_trait;

/// An app to be stored.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// Name for people.
    pub name: String,
    /// Name in paths.
    pub slug: String,
    /// What it is for.
    pub description: String,
    /// Environment variables of all its functions.
    pub variables: Variables,
    /// Now.
    pub created_at: Timestamp,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<App>>,
}

/// Apps.
#[async_trait]
pub trait AppStore: Send + Sync {
    /// Apps by slug order.
    async fn list_apps(&self, page: PageRequest) -> Result<Page<App>, StoreError>;

    /// One app.
    async fn app(&self, slug: &str) -> Result<Option<App>, StoreError>;

    /// Stores an app. Conflict: [`super::Conflict::Slug`].
    async fn insert_app(&self, app: NewApp) -> Result<App, StoreError>;

    /// Writes name, description and variables of `app`; its slug never changes. Conflict: `Gone`; `Changed` when
    /// it was last changed at another time than `expected`.
    async fn update_app(&self, app: App, expected: Option<Timestamp>) -> Result<App, StoreError>;

    /// Deletes an app with its functions, their subscriptions, its roles, its event types and all subscriptions
    /// to them. False when absent.
    async fn delete_app(
        &self,
        id: AppId,
        now: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError>;
}

/// A function to be stored, with its first version.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// Whose right it takes; none for the program's own.
    pub author: Option<Author>,
    /// The app.
    pub app_id: AppId,
    /// Name for people.
    pub name: String,
    /// Name in paths.
    pub slug: String,
    /// What it does.
    pub description: String,
    /// How it is run.
    pub execution_mode: ExecutionMode,
    /// The language.
    pub environment: Environment,
    /// Runs at all.
    pub is_active: bool,
    /// Runs without a credential.
    pub is_public: bool,
    /// Queued unless the caller says otherwise.
    pub async_mode: bool,
    /// Limits and conditions.
    pub options: FunctionOptions,
    /// What it may do.
    pub rights: FunctionRights,
    /// Version 1.
    pub source: Source,
    /// What signs its deliveries, for a proxy.
    pub webhook_secret: Option<Sealed>,
    /// Now.
    pub created_at: Timestamp,
    /// Its number and its first version's, where a worker knows them already; else the store takes
    /// some.
    pub ids: Option<(FunctionId, VersionId)>,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<Function>>,
}

/// New values for a function.
#[derive(Debug, Clone)]
pub struct FunctionChange {
    /// Whose right it takes; none for the program's own.
    pub author: Option<Author>,
    /// The function as it will stand; its `version` is ignored. Its `updated_at` is the one that
    /// was read: whoever changed the function meanwhile is not overwritten.
    pub function: Function,
    /// The number of another version, which becomes the active one.
    pub version: Option<u32>,
    /// The function's rights are declared anew: for the version that is active after this change, and
    /// for those that become so later, whatever any clock says.
    pub declares: bool,
    /// Now.
    pub at: Timestamp,
}

/// What counts instead of what is stored, where a change is looked at before it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Instead<'a> {
    /// The function's options.
    pub options: Option<&'a FunctionOptions>,
    /// Its app's variables.
    pub of_app: Option<&'a Variables>,
}

impl<'a> Instead<'a> {
    /// Other options.
    pub const fn options(options: &'a FunctionOptions) -> Self {
        Self {
            options: Some(options),
            of_app: None,
        }
    }

    /// Other variables of the app.
    pub const fn of_app(variables: &'a Variables) -> Self {
        Self {
            options: None,
            of_app: Some(variables),
        }
    }
}

/// Functions. Deleted ones are kept for the names in invocation records and found by nothing else.
#[async_trait]
pub trait FunctionStore: Send + Sync {
    /// Functions of an app by slug order.
    async fn list_functions(
        &self,
        app: AppId,
        page: PageRequest,
    ) -> Result<Page<Function>, StoreError>;

    /// One function by its path.
    async fn function(&self, app: AppId, slug: &str) -> Result<Option<Function>, StoreError>;

    /// One function by its number.
    async fn function_by_id(&self, id: FunctionId) -> Result<Option<Function>, StoreError>;

    /// What a function would run that is not stored yet, and has its numbers. None when its app is
    /// gone.
    async fn executable_of_new(
        &self,
        function: &NewFunction,
    ) -> Result<Option<Executable>, StoreError>;

    /// Stores a function and its version 1. Conflict: [`super::Conflict::Slug`].
    async fn insert_function(&self, function: NewFunction) -> Result<Function, StoreError>;

    /// Changes a function. Conflict: `Slug`, `Changed`, `Gone`, also for a version that does not
    /// exist.
    async fn update_function(&self, change: FunctionChange) -> Result<Function, StoreError>;

    /// Deletes a function and its subscriptions. False when absent. Conflict: `Changed` when it was
    /// last changed at another time than `expected`.
    async fn delete_function(
        &self,
        id: FunctionId,
        at: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// Stores a new signing secret of a proxy function; the one before it signs beside it until
    /// `until`. False when there is no such proxy function.
    async fn rotate_webhook_secret(
        &self,
        id: FunctionId,
        secret: Sealed,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Versions without what they run, newest first.
    async fn versions(
        &self,
        id: FunctionId,
        page: PageRequest,
    ) -> Result<Page<VersionEntry>, StoreError>;

    /// One version with what it runs.
    async fn version(
        &self,
        id: FunctionId,
        number: u32,
    ) -> Result<Option<FunctionVersion>, StoreError>;

    /// Stores a version that is not the active one. Conflict: `Gone`.
    async fn insert_version(
        &self,
        id: FunctionId,
        source: Source,
        at: Timestamp,
    ) -> Result<FunctionVersion, StoreError>;

    /// Keeps the files of [`crate::functions::Bundle::encode`] under their digest: once, however often they come. They
    /// stay for as long as a version names them, and [`crate::limits::BUNDLE_UNUSED`] from the last time that they came.
    async fn keep_bundle(
        &self,
        digest: BundleDigest,
        encoded: Vec<u8>,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// The files with this digest.
    async fn bundle(&self, digest: &BundleDigest) -> Result<Option<Vec<u8>>, StoreError>;

    /// What runs when the function is called now: its active version, active or not.
    async fn executable(&self, id: FunctionId) -> Result<Option<Executable>, StoreError>;

    /// What version `number` runs, whether it is the active one or not.
    async fn executable_of(
        &self,
        id: FunctionId,
        number: u32,
        instead: Instead<'_>,
    ) -> Result<Option<Executable>, StoreError>;

    /// Functions that are switched on and may have the value of this secret in a variable, their own or their
    /// app's: of one app, or of all.
    async fn functions_with_secret(
        &self,
        app: Option<AppId>,
        key: &str,
    ) -> Result<Vec<FunctionId>, StoreError>;
}

/// A subscription to be stored.
#[derive(Debug, Clone)]
pub struct NewSubscriber {
    /// Whose right it takes; none for the program's own.
    pub author: Option<Author>,
    /// The event type.
    pub event: EventType,
    /// The app that has declared it, and must still have; none for a type of the program.
    pub declared_by: Option<AppId>,
    /// The function.
    pub function_id: FunctionId,
    /// Options.
    pub options: SubscriberOptions,
    /// Now.
    pub created_at: Timestamp,
    /// The answer of the request that asks for it.
    pub remember: Option<Remember<Subscriber>>,
}

/// Subscribers.
#[async_trait]
pub trait SubscriberStore: Send + Sync {
    /// What publishing `event` runs: active subscriptions of active functions, by priority, then id.
    async fn subscriptions(&self, event: EventType) -> Result<Vec<Subscription>, StoreError>;

    /// Stores a subscription. Conflicts: `Subscription`, `Gone` (no such function), `NoEventType`.
    async fn insert_subscriber(&self, new: NewSubscriber) -> Result<Subscriber, StoreError>;

    /// Changes the options of a subscription, and with `is_active` whether it runs; one that is off
    /// keeps its reason when it is switched off again. None when there is none. Conflict: `Changed`
    /// when it was last changed at another time than `expected`.
    async fn update_subscriber(
        &self,
        event: EventType,
        function: FunctionId,
        options: SubscriberOptions,
        is_active: Option<bool>,
        at: Timestamp,
        expected: Option<Timestamp>,
    ) -> Result<Option<Subscriber>, StoreError>;

    /// Ends a subscription. False when there was none. Conflict: `Changed`, as above.
    async fn delete_subscriber(
        &self,
        event: EventType,
        function: FunctionId,
        expected: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// One subscription.
    async fn subscriber(
        &self,
        event: EventType,
        function: FunctionId,
    ) -> Result<Option<Subscriber>, StoreError>;

    /// Subscriptions to `event`, of one app or of all, by id.
    async fn list_subscribers(
        &self,
        event: EventType,
        app: Option<AppId>,
    ) -> Result<Vec<Subscriber>, StoreError>;
}
