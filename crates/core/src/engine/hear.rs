//! What the engine does about news: forgets what it keeps, and passes on what others of this process wait for.
//!
//! Must never write, and never wait: whoever tells may be the store's own thread.

use super::Engine;
use crate::ids::SiteId;
use crate::ports::bus::{Listener, News};

impl Listener for Engine {
    fn hear(&self, news: &News) {
        match news {
            News::FunctionsChanged { site } => self.forget_functions(*site),
            News::FunctionStopped {
                site,
                function,
                failure,
            } => {
                self.dispatcher.cancel_function(*function, failure.clone());
                self.retire(*site, *function, None);
            }
            News::RunChanged(change) => {
                // Nobody watching is no error.
                let _ = self.changes.send(*change);
            }
            News::WorkWaits => self.dispatcher.wake(),
            News::PrincipalChanged { .. } | News::KeysChanged { .. } | News::SitesChanged => {}
        }
    }
}

impl Engine {
    fn forget_functions(&self, site: SiteId) {
        // First: conditions of subscriptions are compiled for the types as they are here.
        self.own_types.drop_where(|(of, _), _| *of == site);
        self.subscriptions.drop_where(|(of, _), _| *of == site);
        self.versions.drop_where(|(of, _), _| *of == site);
        self.ceilings.drop_where(|(of, ..), _| *of == site);
        self.active.drop_where(|(of, _), _| *of == site);
    }
}
