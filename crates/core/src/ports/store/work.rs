//! One unit of work: what is written together, or not at all.
//!
//! Births and ends of runs, the host's own change, what is to be remembered and what is signalled: nothing of it
//! depends on the order in which another write comes. Must never hold what a closure cannot repeat: a store may
//! carry it out more than once before it is committed.

use super::{Author, OnCommit};
use crate::idempotency::Remember;
use crate::invocations::{Completion, Invocation, NewInvocation};
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What is written together, in this order. Nothing of it is written when a part of it cannot be.
pub struct Work {
    /// Whose right it takes; none for the program's own.
    pub author: Option<Author>,
    /// What it is all about; none for runs alone.
    pub change: Option<Change>,
    /// Runs that it causes.
    pub births: Vec<NewInvocation>,
    /// Results of the functions that agreed to it, and records of runs that must not begin. An end that is
    /// not this holder's to write any more takes everything back: the change rests on it.
    pub ends: Vec<Completion>,
    /// The answer of the request that asks for the first of the births.
    pub remember: Option<Remember<Invocation>>,
    /// Runs after the commit, and only then.
    pub on_commit: OnCommit,
}

impl Default for Work {
    /// Nothing.
    fn default() -> Self {
        Self {
            author: None,
            change: None,
            births: Vec::new(),
            ends: Vec::new(),
            remember: None,
            on_commit: Box::new(|| {}),
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("author", &self.author)
            .field("change", &self.change)
            .field("births", &self.births.len())
            .field("ends", &self.ends.len())
            .finish_non_exhaustive()
    }
}

/// A change of tables that are not the engine's, prepared by the store that is to carry it out. Nobody else can
/// read it.
pub struct Change(Box<dyn Any + Send>);

impl Change {
    /// For stores: a change in their own terms.
    pub fn new<C: Send + 'static>(own: C) -> Self {
        Self(Box::new(own))
    }

    /// For stores: what [`Self::new`] took.
    ///
    /// # Errors
    /// The same change, when another store has made it.
    pub fn into_own<C: 'static>(self) -> Result<C, Self> {
        self.0.downcast().map(|own| *own).map_err(Self)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

/// What a change made when it was carried out last: of a unit that was committed, what stands there.
#[derive(Debug)]
pub struct Made<T>(Arc<Mutex<Option<T>>>);

impl<T> Made<T> {
    /// For stores: noted within the unit, each time anew.
    pub fn note(&self, made: T) {
        *self.0.lock() = Some(made);
    }

    /// What was made; none before the unit was carried out.
    pub fn take(&self) -> Option<T> {
        self.0.lock().take()
    }
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Made<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
