//! What the PRE stage decides about: something that functions see, may change, and that is saved in the end.
//!
//! The stage asks the proposal, not the rules of whoever makes it. Must never know whose proposal it is.
//! Unless a proposal says otherwise, nothing of it is protected: every function may change what its event
//! type allows.

use crate::error::Error;
use crate::ports::store::ScopedStore;
use crate::rights::Ceiling;
use serde_json::Value;
use std::future::Future;

/// Something that is about to be saved, if every function agrees.
pub trait Proposal: Sized + Send + Sync {
    /// What patches apply to: the fields as they would be saved.
    ///
    /// # Errors
    /// When they have no JSON.
    fn values(&self) -> Result<Value, serde_json::Error>;

    /// The same proposal with these values, which a patch has made of its own. They are checked as if the
    /// operation itself had proposed them.
    ///
    /// # Errors
    /// [`Unsavable`], which names the field.
    fn patched(&self, values: &Value) -> Result<Self, Unsavable>;

    /// Called once when a function wants a change, and before the first is applied. Functions take their
    /// time: what decides whether they may change it is what stands there by now.
    ///
    /// # Errors
    /// When that cannot be read.
    fn settle(
        &mut self,
        _store: &dyn ScopedStore,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Whether there is anything to protect: if not, every function may change it and none is looked up.
    fn is_protected(&self) -> bool {
        false
    }

    /// Why a function with these rights may not change what is protected, if it may not.
    fn refusal(&self, _ceiling: &Ceiling) -> Option<String> {
        None
    }
}

/// What no function changes: it is agreed to or refused as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed;

impl Proposal for Fixed {
    fn values(&self) -> Result<Value, serde_json::Error> {
        Ok(Value::Object(serde_json::Map::new()))
    }

    fn patched(&self, _: &Value) -> Result<Self, Unsavable> {
        Ok(Self)
    }
}

/// Why patched values cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unsavable {
    /// The field; none if the values could not even be read.
    pub field: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl From<serde_json::Error> for Unsavable {
    fn from(error: serde_json::Error) -> Self {
        Self {
            field: None,
            reason: error.to_string(),
        }
    }
}
