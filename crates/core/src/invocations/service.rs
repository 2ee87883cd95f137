//! Executing functions directly, and reading what ran.

use super::VersionChoice;
use super::visible::{readable_by, shown, shown_page, visible};
use super::watched::Look;
use crate::engine::{Admitted, Cause, Engine, Queuer, WaitedRun};
use crate::error::Error;
use crate::events::EventType;
use crate::functions::{Function, RawAnswer, RequestForm};
use crate::idempotency::Remember;
use crate::ids::{EventId, InvocationId, SiteId, TaskId, UserId, VersionId};
use crate::invocations::{Completion, Invocation, InvocationChanged, Link, OnBehalf, Trigger};
use crate::json::JsonText;
use crate::ports::bus::News;
use crate::ports::dispatch::{Reservation, TaskRun};
use crate::ports::store::{InvocationQuery, Page, PageRequest, ScopedStore, Work, to_the_end};
use crate::request::RequestInfo;
use crate::rights::{AppAccess, Permission, Principal, right};
use crate::site::TenantScope;
use crate::tasks::{FailureKind, State, Waiter};
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
    /// What it returns may be an HTTP answer, and is a failure if that cannot be sent.
    pub may_answer: bool,
}

/// What a call runs.
struct Target {
    slug: String,
    /// None when there is none.
    function: Option<Function>,
    /// None for a call from outside.
    origin: Option<Origin>,
}

/// What a replay takes over from the run that it repeats.
struct Origin {
    of: InvocationId,
    /// Who caused that one.
    user: Option<UserId>,
    event: Option<EventType>,
    event_id: Option<EventId>,
    /// The request that caused that one.
    request: Option<JsonText>,
    /// The version to run; none for the active one.
    version: Option<VersionId>,
}

/// Operations on invocations.
#[derive(Clone)]
pub struct InvocationService {
    engine: Arc<Engine>,
}

/// Who calls: somebody who is signed in, or nobody.
struct Caller<'a> {
    scope: TenantScope,
    principal: Option<&'a Principal>,
    request: Option<&'a RequestInfo>,
}

impl<'a> From<&'a Principal> for Caller<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            scope: principal.scope(),
            principal: Some(principal),
            request: principal.request(),
        }
    }
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
        let target = Target {
            slug: slug.to_owned(),
            function,
            origin: None,
        };
        self.run_for(principal, target, call).await
    }

    /// As [`Self::run`] for somebody, who is shown what they may see of the record.
    async fn run_for(
        &self,
        principal: &Principal,
        target: Target,
        call: Call,
    ) -> Result<Executed, Error> {
        let remembering = principal.clone();
        let call = Call {
            // What is kept of the answer is what its caller is given.
            remember: call.remember.map(|it| {
                it.of(move |executed: &Executed| Executed {
                    invocation: shown(&remembering, executed.invocation.clone()),
                    queued: executed.queued,
                })
            }),
            ..call
        };
        match self.run(principal.into(), target, call).await {
            Ok(Executed { invocation, queued }) => Ok(Executed {
                invocation: shown(principal, invocation),
                queued,
            }),
            Err(Error::FunctionFailed(invocation)) => Err(Error::FunctionFailed(Box::new(shown(
                principal,
                *invocation,
            )))),
            Err(error) => Err(error),
        }
    }

    /// The same for anyone, if the function is public; otherwise it does not exist. The record is
    /// nothing for them to see.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_public(
        &self,
        site: SiteId,
        (app_slug, slug): (&str, &str),
        call: Call,
        request: Option<Arc<RequestInfo>>,
    ) -> Result<Executed, Error> {
        let scope = TenantScope::of_stranger(site);
        let function = self.public(scope, (app_slug, slug)).await?;
        let caller = Caller {
            scope,
            principal: None,
            request: request.as_deref(),
        };
        let target = Target {
            slug: slug.to_owned(),
            function,
            origin: None,
        };
        self.run(caller, target, call).await
    }

    /// What a public function is given of a call; none where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn public_form(
        &self,
        site: SiteId,
        names: (&str, &str),
    ) -> Result<Option<RequestForm>, Error> {
        let function = self.public(TenantScope::of_stranger(site), names).await?;
        Ok(function.map(|function| function.options.request))
    }

    async fn public(
        &self,
        scope: TenantScope,
        (app_slug, slug): (&str, &str),
    ) -> Result<Option<Function>, Error> {
        let store = self.engine.scoped(scope);
        let Some(app) = store.app(app_slug).await? else {
            return Ok(None);
        };
        let function = store.function(app.id, slug).await?;
        Ok(function.filter(|it| it.is_public && it.is_active))
    }

    /// Runs an earlier invocation again, as a new one with the same parameters. It acts for whoever
    /// asks; what it is told of who caused it stays. What a replayed PRE function returns is its
    /// result and decides nothing.
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
        remember: Option<Remember<Executed>>,
    ) -> Result<Executed, Error> {
        let found = self.replayable(principal, id).await?;
        let store = self.engine.scoped(principal.scope());
        let function = store.function_by_id(found.function_id).await?;
        if function.is_none() {
            return Err(Error::BadRequest(format!(
                "Function '{}' was deleted, so its runs cannot be repeated",
                found.function_slug
            )));
        }
        if found.damaged.contains(&"params") {
            return Err(Error::BadRequest(
                "The stored parameters of this run are damaged, so it cannot be repeated"
                    .to_owned(),
            ));
        }
        let call = Call {
            params: found.params,
            queued,
            remember,
            may_answer: false,
        };
        let target = Target {
            slug: found.function_slug,
            function,
            origin: Some(Origin {
                of: found.id,
                user: found.user_id,
                event: found.event,
                event_id: found.event_id,
                request: found.request,
                version: (choice == VersionChoice::Own).then_some(found.version_id),
            }),
        };
        self.run_for(principal, target, call).await
    }

    /// Whether an invocation may be replayed: for an answer that was given before.
    ///
    /// # Errors
    /// As [`Self::get`]; [`Error::Forbidden`].
    pub async fn may_replay(&self, principal: &Principal, id: InvocationId) -> Result<(), Error> {
        self.replayable(principal, id).await.map(drop)
    }

    async fn replayable(
        &self,
        principal: &Principal,
        id: InvocationId,
    ) -> Result<Invocation, Error> {
        let found = self.find(principal, id).await?;
        principal.require(Permission::FunctionsExecute, Some(found.app_id))?;
        Ok(found)
    }

    async fn run(&self, caller: Caller<'_>, target: Target, call: Call) -> Result<Executed, Error> {
        let Target {
            slug,
            function,
            origin,
        } = target;
        let not_found =
            || Error::NotFound(format!("Function '{}'", crate::text::prefix(&slug, 64)));
        let function = function.ok_or_else(not_found)?;
        if !function.is_active {
            return Err(Error::BadRequest(format!(
                "Function '{slug}' is not active; set is_active to run it"
            )));
        }
        // A replay of an event's run stands in the chain for that event, as the first one did.
        let link = Link(function.id, origin.as_ref().and_then(|origin| origin.event));
        let chain = caller.principal.map(Principal::chain).cloned();
        let chain = chain.unwrap_or_default();
        if let Some(reason) = chain.refusal(link, &function.name) {
            return Err(Error::Chain(reason));
        }
        let store = self.engine.scoped(caller.scope);
        let version = origin.as_ref().and_then(|origin| origin.version);
        let executable = match version {
            Some(version) => self.engine.version(caller.scope.site_id(), version).await?,
            None => store.executable(function.id).await?.map(Arc::new),
        };
        let executable = executable.ok_or_else(not_found)?;
        let waiter = match call.queued.unwrap_or(function.async_mode) {
            true => Waiter::Nobody,
            false => Waiter::Caller,
        };
        // For what a function asks its runtime has found room.
        let from_outside = caller.principal.is_none_or(|it| it.actor().is_none());
        let _room = if from_outside && waiter == Waiter::Caller {
            let (site, bytes) = (caller.scope.site_id(), call.params.as_str().len());
            self.engine.params.enter(site, bytes)?
        } else {
            None
        };
        let _admitted = self.admit(&caller, &function, waiter).await?;
        let (user, user_data, behalf) = self.causer(&caller, origin.as_ref()).await?;
        let cause = Cause {
            trigger: origin.as_ref().map_or(Trigger::Api, |_| Trigger::Replay),
            event: origin.as_ref().and_then(Origin::event),
            options: None,
            waiter,
            user,
            user_data,
            behalf,
            chain,
            params: call.params,
            request: request_behind(&caller, origin.as_ref()),
            replay_of: origin.as_ref().map(|origin| origin.of),
            pinned: version.is_some(),
            at: self.engine.clock.now(),
        };
        let run = self.engine.new_run(executable, cause).await?;
        let queued = waiter == Waiter::Nobody;
        let remember = call.remember.map(|it| {
            it.of(move |written: &Invocation| Executed {
                invocation: written.clone(),
                queued,
            })
        });
        match waiter {
            Waiter::Nobody => self.queue(&*store, run, remember).await,
            Waiter::Caller => self.wait(&store, run, remember, call.may_answer).await,
        }
    }

    /// Who caused a run, what it is told of them, and in whose name it acts.
    async fn causer(
        &self,
        caller: &Caller<'_>,
        origin: Option<&Origin>,
    ) -> Result<(Option<UserId>, Option<JsonText>, OnBehalf), Error> {
        let Some(principal) = caller.principal else {
            return Ok((None, None, OnBehalf::default()));
        };
        let Some(origin) = origin else {
            let user_data = principal.data();
            return Ok((principal.user_id(), user_data, principal.behalf()));
        };
        let site = caller.scope.site_id();
        let user_data = self.engine.user_data_of(site, origin.user).await?;
        let behalf = OnBehalf {
            asker: principal.user_id(),
            ..principal.behalf()
        };
        Ok((origin.user, user_data, behalf))
    }

    /// Lets a call in, or says what there is too much of.
    async fn admit(
        &self,
        caller: &Caller<'_>,
        function: &Function,
        waiter: Waiter,
    ) -> Result<Option<Admitted>, Error> {
        let (engine, slug) = (&self.engine, &function.slug);
        if let Some(rate) = &function.options.rate_limit {
            engine.rates.count(function.id, slug, rate)?;
        }
        let queuer = match caller.principal {
            Some(_) => Queuer::Caller,
            None => Queuer::Stranger,
        };
        match (waiter, queuer) {
            (Waiter::Nobody, queuer) => {
                engine.admit(caller.scope.site_id(), queuer, 1).await?;
                Ok(None)
            }
            (Waiter::Caller, Queuer::Stranger) => {
                Ok(Some(engine.strangers.enter(function.id, slug).await?))
            }
            (Waiter::Caller, _) => Ok(None),
        }
    }

    async fn queue(
        &self,
        store: &dyn ScopedStore,
        mut run: TaskRun,
        remember: Option<Remember<Invocation>>,
    ) -> Result<Executed, Error> {
        let id = run.invocation.id;
        let bus = Arc::clone(&self.engine.bus);
        let dispatcher = &self.engine.dispatcher;
        let reservation = dispatcher.reserve(run.invocation.site_id, &[run.invocation.function_id]);
        if reservation.granted(0) {
            run.invocation.holder = Some(Arc::clone(&run.taken.hold.holder));
        }
        let births = vec![run.invocation.clone()];
        let on_commit = Box::new(move || {
            if run.invocation.holder.is_some() {
                Reservation::submit(reservation, vec![run]);
            } else {
                bus.tell(&News::WorkWaits);
            }
        });
        store
            .commit(Work {
                births,
                on_commit,
                remember,
                ..Work::default()
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
        may_answer: bool,
    ) -> Result<Executed, Error> {
        let id = run.invocation.id;
        let mut waited = WaitedRun::start(&self.engine, store, run);
        let result = &waited.wait().await.report.result;
        let unsendable = |result| RawAnswer::of(result).err();
        if let Some(failure) = result
            .as_ref()
            .ok()
            .filter(|_| may_answer)
            .and_then(unsendable)
        {
            waited.fail(failure);
        }
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
        let written = to_the_end(&self.engine.supervisor, async move {
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
        let look = Look::begin(&self.engine, principal);
        let found = self.find(principal, id).await?;
        self.settled(principal, look, found).await
    }

    /// What was found, or what it has become by the time at which a run that asks for it is answered.
    async fn settled(
        &self,
        principal: &Principal,
        look: Option<Look<'_>>,
        found: Invocation,
    ) -> Result<Invocation, Error> {
        if let Some(mut look) = look
            && let Some(principal) = look.at_one(&found).await?
        {
            return Ok(shown(&principal, self.find(&principal, found.id).await?));
        }
        Ok(shown(principal, found))
    }

    /// The same with everything, for what is not an answer.
    async fn find(&self, principal: &Principal, id: InvocationId) -> Result<Invocation, Error> {
        let found = self.engine.scoped(principal.scope()).invocation(id).await?;
        visible(principal, found, "Invocation")
    }

    /// The same by task.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn by_task(&self, principal: &Principal, id: TaskId) -> Result<Invocation, Error> {
        let look = Look::begin(&self.engine, principal);
        let store = self.engine.scoped(principal.scope());
        let found = store.invocation_by_task(id).await?;
        let found = visible(principal, found, "Invocation")?;
        self.settled(principal, look, found).await
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
        let store = self.engine.scoped(principal.scope());
        let Some(mut look) = Look::begin(&self.engine, principal) else {
            let found = store.list_invocations(query, page).await?;
            return Ok(shown_page(principal, found));
        };
        let found = store.list_invocations(query.clone(), page).await?;
        if let Some(principal) = look.at_many(&*store, query.clone(), &found).await? {
            query.visible_to = readable_by(&principal);
            let found = store.list_invocations(query, page).await?;
            return Ok(shown_page(&principal, found));
        }
        Ok(shown_page(principal, found))
    }

    /// Every change of an invocation's state in this process, all sites mixed: callers filter.
    pub fn watch(&self) -> broadcast::Receiver<InvocationChanged> {
        self.engine.watch()
    }
}

impl Origin {
    fn event(&self) -> Option<(EventType, EventId)> {
        self.event.zip(self.event_id)
    }
}

async fn written(store: &dyn ScopedStore, id: InvocationId) -> Result<Invocation, Error> {
    let found = store.invocation(id).await?;
    found.ok_or_else(|| Error::Internal("an invocation vanished after it was written".to_owned()))
}

/// The request that a run is told of. What an event's filters and functions saw is seen again.
fn request_behind(caller: &Caller<'_>, origin: Option<&Origin>) -> Option<JsonText> {
    match origin {
        Some(origin) => origin.request.clone(),
        None => caller.request.and_then(RequestInfo::written),
    }
}
