//! Which functions have loaded workers: a version before it is active, a PRE function always.
//!
//! Must never make a caller wait for a worker that could have been ready.

use super::Engine;
use crate::error::Error;
use crate::events::Phase;
use crate::functions::{CodeError, Executable};
use crate::ids::{FunctionId, SiteId, VersionId};
use crate::ports::bus::News;
use crate::ports::store::StoreError;
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
            self.retire(scope.site_id(), function, Some(executable.version_id));
            let mut called = false;
            for event in self.catalogue.types() {
                called |= event.phase() == Phase::Pre
                    && store
                        .subscriber(event, function)
                        .await?
                        .is_some_and(|it| it.inactive.is_none());
            }
            self.keep(&executable, called);
            Ok::<_, StoreError>(())
        };
        // A failed look-up costs a cold start, no more.
        if let Err(error) = settled.await {
            tracing::warn!(function.id = function.0, %error, "workers were left as they are");
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

    pub(crate) fn retire(&self, site: SiteId, function: FunctionId, active: Option<VersionId>) {
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
