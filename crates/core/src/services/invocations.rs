//! Executing functions directly, and reading what ran.

use super::{VersionChoice, readable_by};
use crate::auth::{AppAccess, Permission, Principal, right};
use crate::engine::Engine;
use crate::engine::WaitedRun;
use crate::error::Error;
use crate::event::EventType;
use crate::function::{Executable, Function};
use crate::ids::{EventId, InvocationId, SiteId, TaskId, UserId, VersionId};
use crate::invocation::{
    FailureKind, Invocation, InvocationChanged, NewInvocation, Trigger, Waiter,
};
use crate::json::JsonText;
use crate::limits;
use crate::ports::dispatch::{Acting, Reservation, TaskRun};
use crate::ports::store::{InvocationQuery, NewWork, Page, PageRequest, ScopedStore};
use crate::site::TenantScope;
use crate::task::State;
use std::sync::Arc;
use tokio::sync::broadcast;

/// An executed function.
#[derive(Debug, Clone)]
pub struct Executed {
    /// Its record: ended, unless queued.
    pub invocation: Invocation,
    /// Nobody waited for the result.
    pub queued: bool,
}

/// A call to be made.
struct Request {
    slug: String,
    /// None when there is none.
    function: Option<Function>,
    params: JsonText,
    /// True queues, false waits; the function's own mode unless set.
    queued: Option<bool>,
    /// None for a call from outside.
    origin: Option<Origin>,
}

/// What a replay takes over from the run that it repeats.
struct Origin {
    of: InvocationId,
    event: Option<EventType>,
    event_id: Option<EventId>,
    /// The version to run; none for the active one.
    version: Option<VersionId>,
}

/// Operations on invocations.
#[derive(Clone)]
pub struct InvocationService {
    engine: Arc<Engine>,
}

/// Who calls, and how deep in a chain.
struct Caller {
    scope: TenantScope,
    user: Option<UserId>,
    acting: Acting,
    chain_depth: u32,
}

impl InvocationService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Runs a function and waits, or queues it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FunctionFailed`] with the record when it gave no result.
    pub async fn execute(
        &self,
        access: &AppAccess<right::FunctionsExecute>,
        slug: &str,
        params: JsonText,
        queued: Option<bool>,
    ) -> Result<Executed, Error> {
        let principal = access.principal();
        let store = self.engine.scoped(principal.scope());
        let function = store.function(access.app().id, slug).await?;
        let request = Request {
            slug: slug.to_owned(),
            function,
            params,
            queued,
            origin: None,
        };
        self.run(self.caller(principal), request).await
    }

    /// The same for anyone, if the function is public; otherwise it does not exist.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_public(
        &self,
        site: SiteId,
        app_slug: &str,
        slug: &str,
        params: JsonText,
        queued: Option<bool>,
    ) -> Result<Executed, Error> {
        let scope = TenantScope::verified(site);
        let store = self.engine.scoped(scope);
        let function = match store.app(app_slug).await? {
            Some(app) => store
                .function(app.id, slug)
                .await?
                .filter(|it| it.is_public),
            None => None,
        };
        let acting = Engine::acting_for_nobody();
        let caller = Caller {
            scope,
            user: None,
            acting,
            chain_depth: 0,
        };
        let request = Request {
            slug: slug.to_owned(),
            function,
            params,
            queued,
            origin: None,
        };
        self.run(caller, request).await
    }

    /// Runs an earlier invocation again, as a new one with the same parameters in the caller's
    /// name. What a replayed PRE function returns is its result and decides nothing.
    ///
    /// # Errors
    /// As [`Self::execute`] and [`Self::get`]; [`Error::Forbidden`];
    /// [`Error::BadRequest`] when the function was deleted.
    pub async fn replay(
        &self,
        principal: &Principal,
        id: InvocationId,
        choice: VersionChoice,
        queued: Option<bool>,
    ) -> Result<Executed, Error> {
        let found = self.get(principal, id).await?;
        principal.require(Permission::FunctionsExecute, Some(found.app_id))?;
        let store = self.engine.scoped(principal.scope());
        let function = store.function_by_id(found.function_id).await?;
        if function.is_none() {
            return Err(Error::BadRequest(format!(
                "Function '{}' was deleted, so its runs cannot be repeated",
                found.function_slug
            )));
        }
        let request = Request {
            slug: found.function_slug,
            function,
            params: found.params,
            queued,
            origin: Some(Origin {
                of: found.id,
                event: found.event,
                event_id: found.event_id,
                version: (choice == VersionChoice::Own).then_some(found.version_id),
            }),
        };
        self.run(self.caller(principal), request).await
    }

    fn caller(&self, principal: &Principal) -> Caller {
        Caller {
            scope: principal.scope(),
            user: Some(principal.user_id()),
            acting: self.engine.acting(principal),
            chain_depth: principal.chain_depth(),
        }
    }

    async fn run(&self, caller: Caller, request: Request) -> Result<Executed, Error> {
        let Request {
            slug,
            function,
            params,
            queued,
            origin,
        } = request;
        let not_found =
            || Error::NotFound(format!("Function '{}'", crate::text::prefix(&slug, 64)));
        let function = function.ok_or_else(not_found)?;
        if !function.is_active {
            return Err(Error::BadRequest(format!(
                "Function '{slug}' is not active; set is_active to run it"
            )));
        }
        if caller.chain_depth >= limits::CHAIN_DEPTH {
            return Err(Error::Chain(format!(
                "Function '{slug}' was called by a chain of {} functions, which is the limit",
                limits::CHAIN_DEPTH
            )));
        }
        let store = self.engine.scoped(caller.scope);
        let version = origin.as_ref().and_then(|origin| origin.version);
        let executable = match version {
            Some(version) => self.engine.version(caller.scope.site_id(), version).await?,
            None => store.executable(function.id).await?.map(Arc::new),
        };
        let executable = executable.ok_or_else(not_found)?;
        let waiter = match queued.unwrap_or(function.async_mode) {
            true => Waiter::Nobody,
            false => Waiter::Caller,
        };
        let run = self.new_run(caller, executable, params, waiter).await?;
        let run = match origin {
            Some(origin) => origin.marked(run),
            None => run,
        };
        match waiter {
            Waiter::Nobody => self.queue(&*store, run).await,
            Waiter::Caller => self.wait(&store, run).await,
        }
    }

    async fn new_run(
        &self,
        caller: Caller,
        executable: Arc<Executable>,
        params: JsonText,
        waiter: Waiter,
    ) -> Result<TaskRun, Error> {
        let engine = &self.engine;
        let queued_at = engine.clock.now();
        let invocation = NewInvocation {
            site_id: executable.site_id,
            id: InvocationId(engine.invocation_ids.next(&*engine.queue()).await?),
            task_id: engine.entropy.task_id(queued_at),
            function_id: executable.function_id,
            version_id: executable.version_id,
            version: executable.version,
            event: None,
            event_id: None,
            trigger: Trigger::Api,
            waiter,
            user_id: caller.user,
            chain_depth: caller.chain_depth,
            params,
            max_attempts: match waiter {
                Waiter::Caller => 1,
                Waiter::Nobody => executable.max_attempts(),
            },
            timeout: executable.timeout(),
            holder: Some(engine.dispatcher.holder().to_owned()),
            queued_at,
            replay_of: None,
        };
        Ok(TaskRun {
            invocation,
            attempt: 1,
            executable,
            acting: caller.acting,
            deadline: None,
        })
    }

    async fn queue(&self, store: &dyn ScopedStore, mut run: TaskRun) -> Result<Executed, Error> {
        let id = run.invocation.id;
        let dispatcher = Arc::clone(&self.engine.dispatcher);
        let reservation = dispatcher.reserve(1);
        if reservation.granted() == 0 {
            run.invocation.holder = None;
        }
        let invocations = vec![run.invocation.clone()];
        let on_commit = Box::new(move || {
            if run.invocation.holder.is_some() {
                Reservation::submit(reservation, vec![run]);
            } else {
                dispatcher.wake();
            }
        });
        store
            .insert_invocations(NewWork {
                invocations,
                completions: Vec::new(),
                on_commit,
            })
            .await?;
        Ok(Executed {
            invocation: written(store, id).await?,
            queued: true,
        })
    }

    async fn wait(&self, store: &Arc<dyn ScopedStore>, run: TaskRun) -> Result<Executed, Error> {
        let id = run.invocation.id;
        let mut waited = WaitedRun::start(&self.engine, store, run);
        waited.wait().await;
        let completion = waited.take_completion("The run had already ended");
        self.engine.complete(&**store, vec![completion]).await?;
        let invocation = written(&**store, id).await?;
        match (invocation.state, &invocation.failure) {
            (State::Succeeded, _) => Ok(Executed {
                invocation,
                queued: false,
            }),
            (_, Some(failure)) if failure.kind == FailureKind::Unavailable => {
                Err(Error::Unavailable(failure.message.clone()))
            }
            _ => Err(Error::FunctionFailed(Box::new(invocation))),
        }
    }

    /// One invocation: one's own, or with the permission `invocations.read` in its app.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the caller may not see as well.
    pub async fn get(&self, principal: &Principal, id: InvocationId) -> Result<Invocation, Error> {
        let found = self.engine.scoped(principal.scope()).invocation(id).await?;
        visible(principal, found, "Invocation")
    }

    /// The same by task.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn by_task(&self, principal: &Principal, id: TaskId) -> Result<Invocation, Error> {
        let found = self
            .engine
            .scoped(principal.scope())
            .invocation_by_task(id)
            .await?;
        visible(principal, found, "Invocation")
    }

    /// Invocations that match, newest first: one's own, and those of the apps in which the
    /// caller has `invocations.read`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        principal: &Principal,
        mut query: InvocationQuery,
        page: PageRequest,
    ) -> Result<Page<Invocation>, Error> {
        query.visible_to = readable_by(principal);
        Ok(self
            .engine
            .scoped(principal.scope())
            .list_invocations(query, page)
            .await?)
    }

    /// Every change of an invocation's state in this process, all sites mixed: callers filter.
    pub fn watch(&self) -> broadcast::Receiver<InvocationChanged> {
        self.engine.watch()
    }
}

impl Origin {
    fn marked(self, mut run: TaskRun) -> TaskRun {
        run.invocation.trigger = Trigger::Replay;
        run.invocation.event = self.event;
        run.invocation.event_id = self.event_id;
        run.invocation.replay_of = Some(self.of);
        run
    }
}

/// What was found, if the caller may see it; `what` names it if not.
pub(super) fn visible(
    principal: &Principal,
    found: Option<Invocation>,
    what: &str,
) -> Result<Invocation, Error> {
    let visible = found.filter(|it| {
        it.user_id == Some(principal.user_id())
            || principal.may(Permission::InvocationsRead, Some(it.app_id))
    });
    visible.ok_or_else(|| Error::NotFound(what.to_owned()))
}

async fn written(store: &dyn ScopedStore, id: InvocationId) -> Result<Invocation, Error> {
    let found = store.invocation(id).await?;
    found.ok_or_else(|| Error::Internal("an invocation vanished after it was written".to_owned()))
}
