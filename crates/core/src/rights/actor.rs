//! In whose name a run acts: numbers, so that rights are asked anew whenever they are used.

use crate::functions::Executable;
use crate::ids::{FunctionId, SiteId, UserId, VersionId};
use crate::invocations::{Chain, Link, NewInvocation, OnBehalf};
use crate::site::TenantScope;

/// Who a run acts for, and which functions bound what it may do. Made by the engine only.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(crate) site: SiteId,
    /// None when nobody who is signed in acts.
    pub(crate) user: Option<UserId>,
    /// Ends with the run's own function.
    pub(crate) chain: Chain,
    /// The link from which on functions bound it.
    pub(crate) from: u32,
    /// The version that runs.
    pub(crate) version: VersionId,
}

impl Actor {
    /// Of a run of `version`.
    pub(crate) fn of(run: &NewInvocation, version: VersionId) -> Self {
        let OnBehalf { asker, from, .. } = run.behalf;
        Self {
            site: run.site_id,
            user: asker.or(run.user_id),
            chain: run.chain.with(Link(run.function_id, run.event)),
            from,
            version,
        }
    }

    /// The key to the data of the run's site.
    pub(crate) const fn scope(&self) -> TenantScope {
        TenantScope::of_run(self.site)
    }

    /// Of code that is loaded, which nobody has called.
    pub(crate) fn nobody(executable: &Executable) -> Self {
        Self {
            site: executable.site_id,
            user: None,
            chain: Chain::new(vec![Link(executable.function_id, None)]),
            from: 0,
            version: executable.version_id,
        }
    }

    /// The functions that bound it, outermost first; the last one is the run's own, with the version
    /// that runs.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = (FunctionId, Option<VersionId>)> {
        let links = self.chain.links();
        let own = links.len().saturating_sub(1);
        // The own function always bounds, whatever is stored.
        let from = usize::try_from(self.from).unwrap_or(usize::MAX).min(own);
        links[from..].iter().enumerate().map(move |(place, link)| {
            let version = (from + place == own).then_some(self.version);
            (link.0, version)
        })
    }
}
