//! Executing functions directly, and reading what ran.

use crate::auth::{AppAccess, Permission, Principal, right};
use crate::engine::Engine;
use crate::engine::WaitedRun;
use crate::error::Error;
use crate::function::{Executable, Function};
use crate::idempotency::Remember;
use crate::ids::{InvocationId, SiteId, TaskId, UserId};
use crate::invocation::{
    Completion, FailureKind, Invocation, InvocationChanged, NewInvocation, Trigger, Waiter,
};
use crate::json::JsonText;
use crate::limits;
use crate::ports::dispatch::{Acting, Reservation, TaskRun};
use crate::ports::store::{
    InvocationQuery, NewWork, Page, PageRequest, ScopedStore, Visibility, to_the_end,
};
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

/// A call of a function.
#[derive(Debug)]
pub struct Call {
    /// What the function is given.
    pub params: JsonText,
    /// Whether it is queued instead of waited for; the function's own mode when none.
    pub queued: Option<bool>,
    /// The answer of the request that asks for it: stored with the queued run, or with the result
    /// of one that succeeded.
    pub remember: Option<Remember<Executed>>,
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
        call: Call,
    ) -> Result<Executed, Error> {
        let principal = access.principal();
        let store = self.engine.scoped(principal.scope());
        let function = store.function(access.app().id, slug).await?;
        let caller = Caller {
            scope: principal.scope(),
            user: Some(principal.user_id()),
            acting: self.engine.acting(principal),
            chain_depth: principal.chain_depth(),
        };
        self.run(caller, slug, function, call).await
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
        call: Call,
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
        self.run(caller, slug, function, call).await
    }

    async fn run(
        &self,
        caller: Caller,
        slug: &str,
        function: Option<Function>,
        call: Call,
    ) -> Result<Executed, Error> {
        let not_found = || Error::NotFound(format!("Function '{}'", crate::text::prefix(slug, 64)));
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
        let executable = store.executable(function.id).await?.ok_or_else(not_found)?;
        let waiter = match call.queued.unwrap_or(function.async_mode) {
            true => Waiter::Nobody,
            false => Waiter::Caller,
        };
        let run = self
            .new_run(caller, executable.into(), call.params, waiter)
            .await?;
        let queued = waiter == Waiter::Nobody;
        let remember = call.remember.map(|it| {
            it.of(move |written: &Invocation| Executed {
                invocation: written.clone(),
                queued,
            })
        });
        match waiter {
            Waiter::Nobody => self.queue(&*store, run, remember).await,
            Waiter::Caller => self.wait(&store, run, remember).await,
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
        };
        Ok(TaskRun {
            invocation,
            attempt: 1,
            executable,
            acting: caller.acting,
            deadline: None,
        })
    }

    async fn queue(
        &self,
        store: &dyn ScopedStore,
        mut run: TaskRun,
        remember: Option<Remember<Invocation>>,
    ) -> Result<Executed, Error> {
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
                on_commit,
                remember,
            })
            .await?;
        Ok(Executed {
            invocation: written(store, id).await?,
            queued: true,
        })
    }

    async fn wait(
        &self,
        store: &Arc<dyn ScopedStore>,
        run: TaskRun,
        remember: Option<Remember<Invocation>>,
    ) -> Result<Executed, Error> {
        let id = run.invocation.id;
        let mut waited = WaitedRun::start(&self.engine, store, run);
        waited.wait().await;
        let completion = waited.take_completion("The run had already ended");
        match remember.filter(|_| completion.state == State::Succeeded) {
            Some(remember) => self.record(store, completion, remember).await?,
            None => self.engine.complete(&**store, vec![completion]).await?,
        }
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

    /// Writes the end of a run with the answer that its caller is given.
    async fn record(
        &self,
        store: &Arc<dyn ScopedStore>,
        completion: Completion,
        remember: Remember<Invocation>,
    ) -> Result<(), Error> {
        let (engine, store) = (Arc::clone(&self.engine), Arc::clone(store));
        let written = to_the_end(async move {
            let change = completion.change();
            let written = store.complete_and_remember(completion.clone(), remember);
            match written.await {
                Ok(_) => {
                    engine.tell_watchers(change);
                    Ok(())
                }
                Err(error) => {
                    // The function did run, whatever became of the answer.
                    engine.complete_or_later(&store, vec![completion]).await;
                    Err(error)
                }
            }
        });
        Ok(written.await?)
    }

    /// One invocation: one's own, or with the permission `invocations.read` in its app.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the caller may not see as well.
    pub async fn get(&self, principal: &Principal, id: InvocationId) -> Result<Invocation, Error> {
        let found = self.engine.scoped(principal.scope()).invocation(id).await?;
        visible(principal, found)
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
        visible(principal, found)
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
        if !principal.may(Permission::InvocationsRead, None) {
            let apps = principal.apps_with(Permission::InvocationsRead);
            query.visible_to = Some(Visibility {
                user: principal.user_id(),
                apps,
            });
        }
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

fn visible(principal: &Principal, found: Option<Invocation>) -> Result<Invocation, Error> {
    let visible = found.filter(|it| {
        it.user_id == Some(principal.user_id())
            || principal.may(Permission::InvocationsRead, Some(it.app_id))
    });
    visible.ok_or_else(|| Error::NotFound("Invocation".to_owned()))
}

async fn written(store: &dyn ScopedStore, id: InvocationId) -> Result<Invocation, Error> {
    let found = store.invocation(id).await?;
    found.ok_or_else(|| Error::Internal("an invocation vanished after it was written".to_owned()))
}
