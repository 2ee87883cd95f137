//! Dead letters: runs that nobody waited for and whose every attempt failed. They are kept until
//! somebody redrives or discards them.

use super::visible::{readable_by, shown, shown_page, visible};
use crate::draft::Draft;
use crate::engine::{Engine, Queuer, on_behalf, redrive_limits};
use crate::error::Error;
use crate::events::EventType;
use crate::ids::{FunctionId, InvocationId, UserId};
use crate::invocations::{Invocation, InvocationChanged, OnBehalf};
use crate::limits;
use crate::ports::bus::News;
use crate::ports::store::{
    Conflict, DeadLetter, InvocationQuery, Page, PageRequest, Redrive, RedriveVersion, Visibility,
    to_the_end,
};
use crate::rights::{Permission, Principal};
use crate::site::TenantScope;
use crate::tasks::{FailureKind, State};
use crate::text::text_enum;
use crate::validation::FieldError;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Which version of its function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionChoice {
    /// The one that is active now, which may have been mended meanwhile.
    #[default]
    Active,
    /// The one that ran before.
    Own,
}

text_enum!(VersionChoice { Active => "active", Own => "own" });

/// Which dead letters are meant. Nothing set means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of functions with this slug.
    pub function_slug: Option<String>,
    /// Caused by this event type.
    pub event: Option<EventType>,
    /// Whose last attempt failed like this.
    pub kind: Option<FailureKind>,
    /// Of functions of the app with this slug.
    pub app_slug: Option<String>,
}

/// Which dead letters run again, and how.
#[derive(Debug, Clone, Default)]
pub struct RedriveMany {
    /// Those that match.
    pub filter: DeadLetterFilter,
    /// Without a filter, every one is meant.
    pub all: bool,
    /// Most of them.
    pub limit: Option<usize>,
    /// What they run.
    pub choice: VersionChoice,
}

/// What became of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedriveSummary {
    /// Waiting to run again.
    pub redriven: u64,
    /// Left as they were: their function was deleted or switched off, or somebody else was faster.
    pub skipped: u64,
    /// There are more: than one request redrives, or than the site may have waiting now.
    pub more: bool,
}

/// Operations on dead letters.
#[derive(Clone)]
pub struct DeadLetterService {
    engine: Arc<Engine>,
}

/// What a dead letter may run, by function and event.
type Targets = HashMap<(FunctionId, Option<EventType>), Result<Target, Stopped>>;

/// What a dead letter would run.
#[derive(Debug, Clone, Copy)]
struct Target {
    version: RedriveVersion,
    /// The function, if it acts by its own right.
    acting_function: Option<FunctionId>,
}

/// Why a function cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Deleted,
    SwitchedOff,
}

impl DeadLetterService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Dead letters that match, newest first: one's own, and those of the apps in which the caller
    /// has `invocations.read`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        principal: &Principal,
        filter: DeadLetterFilter,
        page: PageRequest,
    ) -> Result<Page<Invocation>, Error> {
        let mut query = filter.query();
        query.visible_to = readable_by(principal);
        let store = self.engine.scoped(principal.scope());
        let page = store.list_invocations(query, page).await?;
        Ok(shown_page(principal, page))
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for what is not dead and for what the caller may not see.
    pub async fn get(&self, principal: &Principal, id: InvocationId) -> Result<Invocation, Error> {
        let found = self.find(principal, id).await?;
        if found.state == State::Dead {
            return Ok(shown(principal, found));
        }
        Err(Error::NotFound("Dead letter".to_owned()))
    }

    /// Runs one dead letter again: it waits for its first attempt, under the same task, and acts for
    /// whoever redrives it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`]; [`Error::BadRequest`] when its function was
    /// deleted or switched off; [`Conflict::NotDead`]; [`Error::QueueFull`].
    pub async fn redrive(
        &self,
        principal: &Principal,
        id: InvocationId,
        choice: VersionChoice,
    ) -> Result<Invocation, Error> {
        let found = self.find_to_act(principal, id).await?;
        let letter = DeadLetter {
            id,
            queued_at: found.queued_at,
            function_id: found.function_id,
            event: found.event,
        };
        let scope = principal.scope();
        let target = self.target(scope, &letter).await?;
        let target = target.map_err(|stopped| stopped.error(&found.function_slug))?;
        let asker = principal.somebody()?.id;
        let redrives = vec![planned(&letter, target, choice, asker)];
        self.engine.admit(scope.site_id(), Queuer::Event, 1).await?;
        if self.write(scope, redrives).await? == 0 {
            return Err(Conflict::NotDead.into());
        }
        Ok(shown(principal, self.find(principal, id).await?))
    }

    /// Runs the dead letters that match again, oldest first, in the apps in which the caller has
    /// `invocations.redrive`. At most `limit`, at most [`limits::REDRIVE_MAX`], and not more than the
    /// site may have waiting: what does not fit stays dead, and the summary says that there is more.
    ///
    /// A failure in the middle leaves what was redriven before it redriven.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without that right in any app; [`Error::Validation`] for an empty
    /// filter without `all`, or a limit out of bounds.
    pub async fn redrive_many(
        &self,
        principal: &Principal,
        draft: Draft<RedriveMany>,
    ) -> Result<RedriveSummary, Error> {
        let visible_to = redrivable(principal)?;
        let errors = check(&draft);
        let RedriveMany {
            filter,
            limit,
            choice,
            ..
        } = draft.checked(errors)?;
        let limit = limit.unwrap_or(limits::REDRIVE_MAX);
        let query = InvocationQuery {
            visible_to,
            ..filter.query()
        };
        let store = self.engine.scoped(principal.scope());
        let (mut summary, mut targets, mut after) =
            (RedriveSummary::default(), Targets::new(), None);
        loop {
            let done = usize::try_from(summary.redriven).unwrap_or(usize::MAX);
            let room = limit.saturating_sub(done);
            // With no room left, one more tells whether there is more.
            let ask = room.clamp(1, limits::REDRIVE_BATCH);
            let letters = store.dead_letters(query.clone(), after, ask).await?;
            let Some(last) = letters.last() else {
                return Ok(summary);
            };
            if room == 0 {
                summary.more = true;
                return Ok(summary);
            }
            after = Some(last.place());
            let scope = principal.scope();
            let redrives = self.plan(principal, &letters, &mut targets, choice).await?;
            let planned = redrives.len();
            let (taken, redriven) = self.write_what_fits(scope, redrives).await?;
            summary.redriven += redriven;
            let unplanned = letters.len() - planned;
            summary.skipped += (unplanned + taken) as u64 - redriven;
            if taken < planned {
                summary.more = true;
                return Ok(summary);
            }
        }
    }

    /// Redrives as many, from the first, as the site's queue has room for: how many were taken, and
    /// how many of these were dead letters still.
    async fn write_what_fits(
        &self,
        scope: TenantScope,
        mut redrives: Vec<Redrive>,
    ) -> Result<(usize, u64), Error> {
        while !redrives.is_empty() {
            let count = redrives.len();
            let admitted = self
                .engine
                .admit(scope.site_id(), Queuer::Event, count as u64);
            match admitted.await {
                Ok(()) => return Ok((count, self.write(scope, redrives).await?)),
                Err(Error::QueueFull { .. }) => redrives.truncate(count / 2),
                Err(error) => return Err(error),
            }
        }
        Ok((0, 0))
    }

    /// Gives a dead letter up: it becomes failed history, and falls under its retention.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Conflict::NotDead`].
    pub async fn discard(&self, principal: &Principal, id: InvocationId) -> Result<(), Error> {
        self.find_to_act(principal, id).await?;
        let scope = principal.scope();
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let written = to_the_end(&self.engine.supervisor, async move {
            let discarded = store.discard(id, engine.clock.now()).await?;
            if discarded {
                engine.tell_watchers(InvocationChanged {
                    site_id: scope.site_id(),
                    id,
                    state: State::Failed,
                });
            }
            Ok(discarded)
        });
        match written.await? {
            true => Ok(()),
            false => Err(Conflict::NotDead.into()),
        }
    }

    /// A record that the caller may see, dead or not.
    async fn find(&self, principal: &Principal, id: InvocationId) -> Result<Invocation, Error> {
        let store = self.engine.scoped(principal.scope());
        visible(principal, store.invocation(id).await?, "Dead letter")
    }

    /// The same, and the right to act on it.
    async fn find_to_act(
        &self,
        principal: &Principal,
        id: InvocationId,
    ) -> Result<Invocation, Error> {
        let found = self.find(principal, id).await?;
        principal.require(Permission::InvocationsRedrive, Some(found.app_id))?;
        if found.state == State::Dead {
            return Ok(found);
        }
        Err(Conflict::NotDead.into())
    }

    async fn plan(
        &self,
        principal: &Principal,
        letters: &[DeadLetter],
        targets: &mut Targets,
        choice: VersionChoice,
    ) -> Result<Vec<Redrive>, Error> {
        let (scope, asker) = (principal.scope(), principal.somebody()?.id);
        let mut redrives = Vec::with_capacity(letters.len());
        for letter in letters {
            let key = (letter.function_id, letter.event);
            let target = match targets.get(&key) {
                Some(known) => *known,
                None => *targets
                    .entry(key)
                    .insert_entry(self.target(scope, letter).await?)
                    .get(),
            };
            let target = target.ok();
            redrives.extend(target.map(|target| planned(letter, target, choice, asker)));
        }
        Ok(redrives)
    }

    /// What a dead letter would run now, with the limits of its function and subscription.
    async fn target(
        &self,
        scope: TenantScope,
        letter: &DeadLetter,
    ) -> Result<Result<Target, Stopped>, Error> {
        let store = self.engine.scoped(scope);
        let Some(function) = store.function_by_id(letter.function_id).await? else {
            return Ok(Err(Stopped::Deleted));
        };
        if !function.is_active {
            return Ok(Err(Stopped::SwitchedOff));
        }
        let Some(executable) = store.executable(letter.function_id).await? else {
            return Ok(Err(Stopped::Deleted));
        };
        let subscriptions = match letter.event {
            Some(event) => Some(self.engine.subscriptions(scope, event).await?),
            None => None,
        };
        let subscription = subscriptions
            .iter()
            .flat_map(|all| all.iter())
            .map(|it| &it.subscription)
            .find(|it| it.executable.function_id == letter.function_id);
        let options = subscription.map(|it| &it.options);
        let (timeout, max_attempts) = redrive_limits(&executable, options);
        let version = RedriveVersion {
            version_id: executable.version_id,
            version: executable.version,
            timeout,
            max_attempts,
        };
        Ok(Ok(Target {
            version,
            acting_function: on_behalf(&executable, OnBehalf::default()).function,
        }))
    }

    /// One transaction; tells how many were dead and wait now.
    async fn write(&self, scope: TenantScope, redrives: Vec<Redrive>) -> Result<u64, Error> {
        let (engine, store) = (Arc::clone(&self.engine), self.engine.scoped(scope));
        let written = to_the_end(&self.engine.supervisor, async move {
            let ids: Vec<_> = redrives.iter().map(|redrive| redrive.id).collect();
            let bus = Arc::clone(&engine.bus);
            let wake = Box::new(move || bus.tell(&News::WorkWaits));
            let flags = store.redrive(redrives, wake).await?;
            let mut redriven = 0;
            for (id, _) in ids.into_iter().zip(flags).filter(|(_, written)| *written) {
                redriven += 1;
                engine.tell_watchers(InvocationChanged {
                    site_id: scope.site_id(),
                    id,
                    state: State::Pending,
                });
            }
            Ok(redriven)
        });
        Ok(written.await?)
    }
}

impl DeadLetterFilter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn query(self) -> InvocationQuery {
        InvocationQuery {
            function_slug: self.function_slug,
            event: self.event,
            states: vec![State::Dead],
            kind: self.kind,
            app_slug: self.app_slug,
            ..InvocationQuery::default()
        }
    }
}

impl Stopped {
    fn error(self, slug: &str) -> Error {
        Error::BadRequest(match self {
            Self::Deleted => format!(
                "Function '{slug}' was deleted, so its dead letter cannot run again; discard it"
            ),
            Self::SwitchedOff => format!(
                "Function '{slug}' is not active; set is_active, then redrive its dead letter"
            ),
        })
    }
}

fn planned(letter: &DeadLetter, target: Target, choice: VersionChoice, asker: UserId) -> Redrive {
    Redrive {
        id: letter.id,
        version: match choice {
            VersionChoice::Active => Some(target.version),
            VersionChoice::Own => None,
        },
        asker,
        acting_function: target.acting_function,
    }
}

/// Where the caller may redrive; none means everywhere.
fn redrivable(principal: &Principal) -> Result<Option<Visibility>, Error> {
    let right = Permission::InvocationsRedrive;
    let apps = principal.apps_with(right);
    if apps.is_empty() {
        principal.require(right, None)?;
    }
    let visible = Visibility {
        user: None,
        own_in: None,
        apps,
    };
    Ok((!principal.may(right, None)).then_some(visible))
}

fn check(draft: &Draft<RedriveMany>) -> Vec<FieldError> {
    let RedriveMany {
        filter, all, limit, ..
    } = draft.look();
    let mut errors = Vec::new();
    let filters = ["function_slug", "event", "kind", "app"];
    let is_named = !filter.is_empty() || filters.iter().any(|it| draft.faults().concern(it));
    if !is_named && !all {
        let message = "Name a filter (function_slug, event, kind, app), or send true to redrive \
                       every dead letter";
        errors.push(FieldError::new("all", message));
    }
    if !(1..=limits::REDRIVE_MAX).contains(&limit.unwrap_or(1)) {
        let message = format!("Use 1 to {}", limits::REDRIVE_MAX);
        errors.push(FieldError::new("limit", message));
    }
    errors
}
