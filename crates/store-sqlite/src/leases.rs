//! Leases, in memory and on the monotonic clock: one process owns the file, so whoever is not in
//! this list is an earlier process and dead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Until when each holder is taken to be alive.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<String, Instant>>);

impl Leases {
    pub(crate) fn renew(&self, holder: &str, now: Instant, lease: Duration) {
        self.lock().insert(holder.to_owned(), now + lease);
    }

    pub(crate) fn end(&self, holder: &str) {
        self.lock().remove(holder);
    }

    pub(crate) fn is_alive(&self, holder: &str, now: Instant) -> bool {
        let leases = self.lock();
        leases.get(holder).is_some_and(|until| now < *until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
