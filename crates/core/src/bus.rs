//! The bus of one process: listeners are called, one after the other.
//!
//! A channel between would let an answer leave before this process knows of what it has written; see ADR 31.

use crate::ports::bus::{Bus, Listener, News};
use parking_lot::RwLock;
use std::sync::Weak;

/// Tells the listeners of this process, and nobody else.
#[derive(Default)]
pub struct LocalBus {
    listeners: RwLock<Vec<Weak<dyn Listener>>>,
}

impl Bus for LocalBus {
    fn tell(&self, news: &News) {
        let listeners = self.listeners.read();
        let there = listeners.iter().filter_map(Weak::upgrade);
        there.for_each(|listener| listener.hear(news));
    }

    fn listen(&self, listener: Weak<dyn Listener>) {
        let mut listeners = self.listeners.write();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Default)]
    struct Ear(Mutex<Vec<SiteId>>);

    impl Listener for Ear {
        fn hear(&self, news: &News) {
            if let News::FunctionsChanged { site } = news {
                self.0.lock().push(*site);
            }
        }
    }

    #[test]
    fn everybody_who_listens_has_heard_before_telling_returns() {
        let bus = LocalBus::default();
        let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
        let changed = |site| News::FunctionsChanged { site: SiteId(site) };
        bus.tell(&changed(1));
        for ear in &ears {
            bus.listen(Arc::downgrade(ear) as _);
        }
        bus.tell(&changed(2));
        bus.tell(&News::WorkWaits);
        for ear in &ears {
            assert_eq!(*ear.0.lock(), [SiteId(2)]);
        }
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let bus = LocalBus::default();
        for _ in 0..10 {
            bus.listen(Arc::downgrade(&Arc::new(Ear::default())) as _);
        }
        assert_eq!(bus.listeners.read().len(), 1);
        bus.tell(&News::SitesChanged);
    }
}
