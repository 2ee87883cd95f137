//! The PRE stage: waits for every function's verdict and adds them up. It fails closed.

use super::Engine;
use super::patch::enrich;
use super::proposal::Proposal;
use super::publish::EventService;
use super::verdict::{Refusal, RefusedBy, Verdict};
use super::waited::WaitedRun;
use crate::error::Error;
use crate::events::{Denial, DeniedBy, Event, EventSpec};
use crate::functions::Executable;
use crate::invocations::{Completion, RecordedVerdict};
use crate::json::JsonText;
use crate::numbers::{self, Inexact, Integers};
use crate::ports::store::{ScopedStore, Work};
use crate::rights::Principal;
use crate::subscribers::Subscription;
use crate::tasks::{Failure, FailureKind};
use crate::{limits, text};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The functions of one PRE event, under way, in the order in which their patches apply.
pub struct PreStage {
    spec: EventSpec,
    events: EventService,
    store: Arc<dyn ScopedStore>,
    /// Who wants it.
    principal: Principal,
    members: Vec<Member>,
}

/// Why a run has no result that the stage did not wait for.
const ENDED: &str = "The stage had already ended";

struct Member {
    subscription: Subscription,
    run: WaitedRun,
    patch: Option<Value>,
    verdict: Option<RecordedVerdict>,
    /// A number in it that would be changed.
    inexact: Option<Inexact>,
    /// What its patch came to.
    changes: Option<JsonText>,
}

impl Member {
    fn take_completion(&mut self, if_unfinished: &str) -> Completion {
        Completion {
            verdict: self.verdict.take(),
            changes: self.changes.take(),
            ..self.run.take_completion(if_unfinished)
        }
    }
}

/// Every function agreed.
pub struct Agreement<P> {
    /// What was proposed, with all patches applied.
    pub proposal: P,
    /// The results, to be written with it.
    pub verdicts: Verdicts,
}

/// Results of functions that agreed. Dropping them puts them on record alone, soon.
#[derive(Default)]
pub struct Verdicts(Vec<Member>);

impl Verdicts {
    /// Those of a second stage of the same operation.
    pub fn join(&mut self, mut next: Self) {
        self.0.append(&mut next.0);
    }

    /// What is to be written. Call it when the write is certain to follow.
    pub(super) fn take_completions(&mut self) -> Vec<Completion> {
        let members = self.0.iter_mut();
        members.map(|it| it.take_completion(ENDED)).collect()
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        for member in &mut self.0 {
            if !member.run.is_recorded() {
                let completion = member.take_completion(ENDED);
                member.run.complete_later(completion.unsaved());
            }
        }
    }
}

/// Why a function may not change what is proposed, if it may not.
async fn refusal<P: Proposal>(
    engine: &Engine,
    executable: &Executable,
    proposal: &P,
) -> Result<Option<String>, Error> {
    if !proposal.is_protected() {
        return Ok(None);
    }
    let (site, version) = (executable.site_id, Some(executable.version_id));
    let ceiling = engine.ceiling(site, executable.function_id, version);
    Ok(match ceiling.await? {
        Some(ceiling) => proposal.refusal(&ceiling),
        None => Some("the function was deleted".to_owned()),
    })
}

/// A number of the returned parameters that would be changed on its way into the record.
fn inexact(result: &JsonText) -> Option<Inexact> {
    #[derive(Deserialize)]
    struct Returned<'a> {
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    let returned: Returned<'_> = result.read().ok()?;
    numbers::check(returned.params?.get(), Integers::Bits64).err()
}

fn cannot_be_kept(function_name: &str, inexact: &Inexact) -> Failure {
    let field = &inexact.path;
    let message = format!(
        "Function '{function_name}' returned an enrichment of '{field}' that cannot be saved: {inexact}"
    );
    Failure::new(FailureKind::Enrichment, message)
}

/// Writes the results that are there, with the runs of whoever wants to be told of the refusal.
async fn record_refusal(
    events: &EventService,
    store: &Arc<dyn ScopedStore>,
    principal: &Principal,
    denied: Option<Event>,
    ends: Vec<Completion>,
) {
    let mut work = Work::default();
    if let Some(denied) = denied
        && let Err(error) = events.add(&denied, principal, &mut work).await
    {
        // The operation is refused, whatever becomes of what follows.
        let event = denied.event_type();
        tracing::warn!(%error, %event, "a refusal is told to nobody");
    }
    let engine = &events.engine;
    if work.births.is_empty() && work.ends.is_empty() {
        engine.complete_or_later(store, ends).await;
    } else if let Err(error) = engine.write(store, work, ends).await {
        tracing::error!(%error, "a refusal could not be told");
    }
}

impl PreStage {
    pub(super) fn new(
        spec: EventSpec,
        events: EventService,
        store: Arc<dyn ScopedStore>,
        principal: Principal,
        runs: impl IntoIterator<Item = (Subscription, WaitedRun)>,
    ) -> Self {
        let members = runs
            .into_iter()
            .map(|(subscription, run)| Member {
                subscription,
                run,
                patch: None,
                verdict: None,
                inexact: None,
                changes: None,
            })
            .collect();
        Self {
            spec,
            events,
            store,
            principal,
            members,
        }
    }

    /// Waits for all verdicts, or the first refusal, and applies the enrichments to `proposal`.
    ///
    /// Dropping the future cancels what still runs.
    ///
    /// # Errors
    /// [`Error::PreStage`] when a function refused or broke; every run that has ended is on record by then,
    /// and the others soon.
    pub async fn decide<P: Proposal>(mut self, mut proposal: P) -> Result<Agreement<P>, Error> {
        if let Some((index, verdict)) = self.first_refusal().await {
            return Err(self.refuse(index, verdict).await);
        }
        if let Err((index, failure)) = self.enrich(&mut proposal).await? {
            self.members[index].run.fail(failure.clone());
            let verdict = Verdict::Broken(failure);
            self.members[index].verdict = Some(verdict.recorded());
            return Err(self.refuse(index, verdict).await);
        }
        Ok(Agreement {
            proposal,
            verdicts: Verdicts(self.members),
        })
    }

    /// Notes patches as they come in and stops at the first verdict that is a no.
    async fn first_refusal(&mut self) -> Option<(usize, Verdict)> {
        let mut verdicts: FuturesUnordered<_> = self
            .members
            .iter_mut()
            .enumerate()
            .map(|(index, member)| async move {
                let finished = member.run.wait().await;
                let options = &member.subscription.options;
                let verdict = Verdict::of(&finished.report.result, options.on_timeout);
                member.verdict = Some(verdict.recorded());
                match verdict {
                    Verdict::Allow => None,
                    Verdict::Enrich(patch) => {
                        member.inexact = finished.report.result.as_ref().ok().and_then(inexact);
                        member.patch = Some(patch);
                        None
                    }
                    refusal @ (Verdict::Deny { .. } | Verdict::Broken(_)) => Some((index, refusal)),
                }
            })
            .collect();
        while let Some(verdict) = verdicts.next().await {
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    async fn enrich<P: Proposal>(
        &mut self,
        proposal: &mut P,
    ) -> Result<Result<(), (usize, Failure)>, Error> {
        if self.members.iter().all(|member| member.patch.is_none()) {
            return Ok(Ok(()));
        }
        proposal.settle(&*self.store).await?;
        for (index, member) in self.members.iter_mut().enumerate() {
            if let Some(patch) = &member.patch {
                let executable = &member.subscription.executable;
                let refusal = refusal(&self.events.engine, executable, proposal).await?;
                let (name, refusal) = (&executable.function_name, refusal.as_deref());
                let given = &member.run.invocation().params;
                let changes = match &member.inexact {
                    Some(inexact) => Err(cannot_be_kept(name, inexact)),
                    None => enrich(&self.spec, name, proposal, patch, refusal, given),
                };
                match changes {
                    Ok(changes) => member.changes = Some(changes),
                    Err(failure) => return Ok(Err((index, failure))),
                }
            }
        }
        Ok(Ok(()))
    }

    /// Cancels the rest, writes the results that are there and names who refused.
    async fn refuse(mut self, index: usize, verdict: Verdict) -> Error {
        let by = self.refused_by(index, &verdict);
        let broken = matches!(verdict, Verdict::Broken(_));
        let reason = format!("Function '{}' refused first", by.function_name);
        let mut completions = Vec::new();
        for member in &mut self.members {
            if member.run.has_ended() {
                completions.push(member.take_completion(&reason).unsaved());
            } else {
                // The answer does not wait for it.
                member.run.let_go(&reason);
            }
        }
        let denied = self.denied(index, &verdict, &by);
        let Self {
            spec,
            events,
            store,
            principal,
            members: _,
        } = self;
        // Whoever waits may go away: what has been taken is written all the same.
        let engine = Arc::clone(&events.engine);
        let work = async move {
            record_refusal(&events, &store, &principal, denied, completions).await;
        };
        engine.detached(work).await;
        Error::PreStage(Box::new(Refusal {
            event: spec.event,
            broken,
            by: vec![by],
        }))
    }

    /// What tells of the refusal, if the event has such a type.
    fn denied(&self, index: usize, verdict: &Verdict, by: &RefusedBy) -> Option<Event> {
        let denied = self.spec.denied()?;
        let run = self.members[index].run.invocation();
        let (message, user_message) = match verdict {
            Verdict::Deny {
                message,
                user_message,
                ..
            } => (message, user_message.as_ref()),
            _ => (&by.message, None),
        };
        let denial = Denial {
            event: self.spec.event.as_str().to_owned(),
            event_id: run.event_id,
            params: run.params.clone(),
            refused_by: DeniedBy {
                function_id: by.function_id,
                function_name: by.function_name.clone(),
                function_slug: by.function_slug.clone(),
                task_id: by.task_id,
                invocation_id: by.invocation_id,
                kind: by.kind.to_owned(),
                message: text::prefix(message, limits::VERDICT_MESSAGE_BYTES).to_owned(),
                user_message: user_message.and_then(|it| serde_json::to_value(it).ok()),
            },
        };
        let params = JsonText::of(&denial).ok()?;
        Some(Event::written(denied, params))
    }

    fn refused_by(&self, index: usize, verdict: &Verdict) -> RefusedBy {
        let Member {
            subscription, run, ..
        } = &self.members[index];
        let mut told = None;
        let (kind, message, fields) = match verdict {
            Verdict::Deny {
                message,
                errors,
                user_message,
            } => {
                let request = self.principal.request();
                let languages = request.map_or(&[][..], |request| &request.languages);
                let text = user_message.as_ref().map(|it| it.in_language(languages));
                told = text.map(str::to_owned);
                let message = told.clone().unwrap_or_else(|| message.clone());
                ("denied", message, errors.clone())
            }
            Verdict::Broken(failure) => (failure.kind.as_str(), failure.message.clone(), None),
            Verdict::Allow | Verdict::Enrich(_) => {
                (FailureKind::Cancelled.as_str(), String::new(), None)
            }
        };
        RefusedBy {
            subscriber_id: subscription.id,
            function_id: subscription.executable.function_id,
            function_name: subscription.executable.function_name.clone(),
            function_slug: subscription.executable.function_slug.clone(),
            task_id: run.invocation().task_id,
            invocation_id: run.invocation().id,
            kind,
            message,
            user_message: told,
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrichment_keeps_its_numbers_or_is_broken() {
        let result = |text: &str| JsonText::parse(text.to_owned()).unwrap();
        let kept = r#"{"other": 36893488147419103232, "params": {"attributes": {"n": 0.1}}}"#;
        assert_eq!(inexact(&result(kept)), None);
        for number in ["36893488147419103232", "1e400", "1.00000000000000000001"] {
            let text = format!(
                r#"{{"other": 1e400, "params": {{"attributes": {{"n": [1, {number}]}}}}}}"#
            );
            let found = inexact(&result(&text)).unwrap();
            let failure = cannot_be_kept("F", &found);
            assert!(
                failure.message.contains("'attributes.n.1'"),
                "{}",
                failure.message
            );
        }
    }
}
