//! Which functions have loaded workers: a version before it is active, a PRE function always.
//!
//! Must never make a caller wait for a worker that could have been ready.

use super::Engine;
use crate::error::Error;
use crate::events::Phase;
use crate::functions::{CodeError, Executable, Image, Variables};
use crate::ids::{FunctionId, SiteId};
use crate::ports::bus::News;
use crate::ports::runtime::RunReport;
use crate::ports::store::{Instead, ScopedStore, StoreError};
use crate::rights::Actor;
use crate::site::TenantScope;
use crate::tasks::{Failure, FailureKind};
use std::sync::Arc;

impl Engine {
    /// Loads code that is about to take traffic.
    ///
    /// # Errors
    /// [`Error::Code`] when it does not load, [`Error::Unavailable`] when that cannot be tried.
    pub(crate) async fn load(&self, executable: &Arc<Executable>) -> Result<(), Error> {
        let unavailable = |reason: String| {
            Error::Unavailable(format!(
                "Version {} of function '{}' could not be loaded, so nothing was changed: {reason}",
                executable.version, executable.function_slug
            ))
        };
        let runtime = self
            .runtimes
            .of(&executable.source)
            .map_err(|failure| unavailable(failure.message))?;
        let Err(failure) = runtime.warm(executable).await else {
            return Ok(());
        };
        let failure = self.redacted(executable, failure);
        match failure.kind {
            FailureKind::Unavailable => Err(unavailable(failure.message)),
            _ => Err(Error::Code(CodeError {
                message: format!(
                    "Version {} of function '{}' does not load: {failure}",
                    executable.version, executable.function_slug
                ),
                line: failure.traceback.as_deref().and_then(last_line),
                column: None,
                traceback: failure.traceback.as_deref().map(str::to_owned),
            })),
        }
    }

    /// What was told to code that does not load is nothing for whoever deploys it.
    fn redacted(&self, executable: &Executable, failure: Failure) -> Failure {
        let mut report = RunReport::failed(failure.clone());
        let nobody = Actor::nobody(executable);
        self.own_app(&nobody, executable).redact(&mut report);
        report.result.err().unwrap_or(failure)
    }

    /// The same at the start, where nobody is told: what does not load shows itself at its first
    /// call.
    pub(crate) async fn warm_up(&self, executable: &Arc<Executable>) {
        if let Err(error) = self.load(executable).await {
            tracing::warn!(function.slug = executable.function_slug, %error, "function does not warm up");
        }
        self.keep(executable, true);
    }

    /// After a change of a function or its subscriptions: workers of other versions may go, and
    /// one of the active version stays for as long as a PRE event may call it.
    pub(crate) async fn settle_workers(&self, scope: TenantScope, function: FunctionId) {
        let settled = async {
            let store = self.scoped(scope);
            let Some(executable) = store.executable(function).await? else {
                return Ok(());
            };
            let executable = Arc::new(executable);
            self.retire(scope.site_id(), function, Some(executable.image()));
            let called = self.is_called_by_pre_events(&*store, function).await?;
            self.keep(&executable, called);
            Ok::<_, StoreError>(())
        };
        // A failed look-up costs a cold start, no more.
        if let Err(error) = settled.await {
            tracing::warn!(function.id = function.0, %error, "workers were left as they are");
        }
    }

    async fn is_called_by_pre_events(
        &self,
        store: &dyn ScopedStore,
        function: FunctionId,
    ) -> Result<bool, StoreError> {
        for event in self.catalogue.types() {
            if event.phase() != Phase::Pre {
                continue;
            }
            let subscriber = store.subscriber(event, function).await?;
            if subscriber.is_some_and(|it| it.inactive.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Loads, with other variables of their app, those of these functions of which one worker stays.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) async fn load_with(
        &self,
        scope: TenantScope,
        functions: &[FunctionId],
        variables: &Variables,
    ) -> Result<(), Error> {
        let store = self.scoped(scope);
        for &function in functions {
            if !self.is_called_by_pre_events(&*store, function).await? {
                continue;
            }
            let Some(now) = store.executable(function).await? else {
                continue;
            };
            let instead = Instead::of_app(variables);
            let then = store.executable_of(function, now.version, instead).await?;
            if let Some(then) = then.filter(|then| then.image() != now.image()) {
                self.load(&Arc::new(then)).await?;
            }
        }
        Ok(())
    }

    /// Variables of these functions, or the secrets behind them, were written: where one worker stays, the one with
    /// the new variables is ready before the one with the old goes.
    pub(crate) async fn variables_changed(&self, scope: TenantScope, functions: &[FunctionId]) {
        let store = self.scoped(scope);
        for &function in functions {
            let ready = async {
                if self.is_called_by_pre_events(&*store, function).await?
                    && let Some(executable) = store.executable(function).await?
                {
                    self.load(&Arc::new(executable)).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = ready.await {
                tracing::warn!(function.id = function.0, %error, "function does not load with its new variables");
            }
        }
        self.functions_changed(scope.site_id());
        for &function in functions {
            self.settle_workers(scope, function).await;
        }
    }

    fn keep(&self, executable: &Arc<Executable>, keep: bool) {
        if let Ok(runtime) = self.runtimes.of(&executable.source) {
            runtime.keep(executable, keep);
        }
    }

    /// Functions were deleted or switched off: their runs end so, their workers go.
    pub(crate) fn functions_stopped(
        &self,
        site: SiteId,
        functions: impl IntoIterator<Item = FunctionId>,
        why: &Failure,
    ) {
        // First, so that no run begins between its function's cancellation and this.
        self.functions_changed(site);
        for function in functions {
            self.bus.tell(&News::FunctionStopped {
                site,
                function,
                failure: why.clone(),
            });
        }
    }

    pub(crate) fn retire(&self, site: SiteId, function: FunctionId, active: Option<Image>) {
        for runtime in self.runtimes.all() {
            runtime.retire(site, function, active);
        }
    }
}

/// The line that a traceback ends at.
fn last_line(traceback: &str) -> Option<u32> {
    let (_, rest) = traceback.rsplit_once(", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_innermost_one() {
        let traceback = "Traceback (most recent call last):\n  File \"x.py\", line 12, in <module>\n    f()\n  File \"x.py\", line 3, in f\nKeyError: 1";
        assert_eq!(last_line(traceback), Some(3));
        assert_eq!(last_line("nothing"), None);
    }
}
