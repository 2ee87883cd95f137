//! The port to the bus: what processes that share a store tell each other of what was written.
//!
//! News only says "look again": the store is the truth, and what memory keeps of it has an age limit besides, so that
//! lost news costs moments and nothing else. Must never carry what a listener could not find in the store.

use crate::ids::{FunctionId, SiteId, UserId};
use crate::invocations::InvocationChanged;
use crate::tasks::Failure;
use std::sync::Weak;

/// Something was written that others keep in memory, or wait for.
#[derive(Debug, Clone)]
pub enum News {
    /// Functions, subscriptions, event types or hosts of a site.
    FunctionsChanged {
        /// The site.
        site: SiteId,
    },
    /// A function was deleted or switched off: its runs end with this failure, and its workers go.
    FunctionStopped {
        /// The site.
        site: SiteId,
        /// The function.
        function: FunctionId,
        /// What its runs end with.
        failure: Failure,
    },
    /// Somebody's account, roles or sign-ins; everybody's in the site when no user is named.
    PrincipalChanged {
        /// The site.
        site: SiteId,
        /// Whose.
        user: Option<UserId>,
    },
    /// API keys of somebody were deleted.
    KeysChanged {
        /// The site.
        site: SiteId,
        /// Whose.
        user: UserId,
    },
    /// Sites, or the domains that lead to them.
    SitesChanged,
    /// The state of a run.
    RunChanged(InvocationChanged),
    /// There are queued runs that nobody holds.
    WorkWaits,
}

/// Something that keeps a copy of what the store holds, or waits for it.
pub trait Listener: Send + Sync {
    /// Takes note. It is called on the thread of whoever tells, which may be the store's own: it must neither block nor
    /// write. News that it does not care about is ignored.
    fn hear(&self, news: &News);
}

/// Carries news.
pub trait Bus: Send + Sync {
    /// Tells everybody: the listeners of this process before it returns, so that whoever wrote finds their own change;
    /// those of other processes soon after. Never blocks, and never fails: what does not get through grows old.
    fn tell(&self, news: &News);

    /// From now on `listener` hears, for as long as it is there.
    fn listen(&self, listener: Weak<dyn Listener>);
}
