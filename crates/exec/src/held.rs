//! What this process knows that it holds, from the commit or claim until the end is on disk.
//!
//! The store knows the same from its rows. What stands there and not here has been lost sight of:
//! the keeper queues it again.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tollgate_core::ids::InvocationId;

/// The list. Cloning is cheap.
#[derive(Default, Clone)]
pub(crate) struct Holdings(Arc<Mutex<HashMap<InvocationId, u32>>>);

/// One entry; dropping it removes it.
pub(crate) struct Held {
    list: Holdings,
    id: InvocationId,
}

impl Holdings {
    pub(crate) fn add(&self, id: InvocationId) -> Held {
        // Counted: the end of one hold may still be on its way when the next one begins.
        *self.0.lock().entry(id).or_default() += 1;
        Held {
            list: self.clone(),
            id,
        }
    }

    pub(crate) fn knows(&self, id: InvocationId) -> bool {
        self.0.lock().contains_key(&id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut list = self.list.0.lock();
        if let Some(count) = list.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                list.remove(&self.id);
            }
        }
    }
}
