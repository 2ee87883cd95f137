//! The chain of functions whose own calls led to a run.
//!
//! A function that causes the event it is subscribed to would run for ever. So every call that a
//! function makes carries the chain that led to it, and what would close a circle is refused.

use crate::events::EventType;
use crate::ids::FunctionId;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One function and what it ran for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link(pub FunctionId, pub Option<EventType>);

/// The links, outermost first. At most [`crate::limits::CHAIN_DEPTH`]. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Chain(Option<Arc<[Link]>>);

impl Chain {
    /// Of links, outermost first.
    pub fn new(links: Vec<Link>) -> Self {
        Self((!links.is_empty()).then(|| links.into()))
    }

    /// The links, outermost first.
    pub fn links(&self) -> &[Link] {
        self.0.as_deref().unwrap_or_default()
    }

    /// How many functions stand between a call and the request from outside.
    pub fn depth(&self) -> u32 {
        u32::try_from(self.links().len()).unwrap_or(u32::MAX)
    }

    /// The chain of what a function calls that is itself at the end of this one.
    #[must_use]
    pub fn with(&self, link: Link) -> Self {
        Self::new([self.links(), &[link]].concat())
    }

    /// Whether this is the other chain, or goes on where that one ends.
    pub fn begins_with(&self, other: &Self) -> bool {
        self.links().starts_with(other.links())
    }

    /// Why the function `name` must not run at the end of this chain; none if it may.
    pub fn refusal(&self, link: Link, name: &str) -> Option<String> {
        if self.depth() >= limits::CHAIN_DEPTH {
            return Some(format!(
                "Function '{name}' was caused by a chain of {} functions, which is the limit",
                limits::CHAIN_DEPTH
            ));
        }
        let event = link.1.filter(|_| self.contains(link))?;
        Some(format!(
            "Function '{name}' runs for {event} and has caused {event} itself, so it would run for \
             ever; give its subscription a filter that does not hold for what it causes"
        ))
    }

    /// Whether a function already runs for this event further up.
    pub fn contains(&self, link: Link) -> bool {
        self.links().contains(&link)
    }
}

impl Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.links().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::events::POST_USER_CREATE;

    #[test]
    fn a_chain_grows_at_its_end_and_survives_storage() {
        let (a, b) = (
            Link(FunctionId(1), Some(POST_USER_CREATE)),
            Link(FunctionId(2), None),
        );
        let chain = Chain::default().with(a).with(b);
        assert_eq!((chain.links(), chain.depth()), (&[a, b][..], 2));
        assert!(chain.contains(a) && !chain.contains(Link(FunctionId(1), None)));
        let first = Chain::default().with(a);
        assert!(chain.begins_with(&first) && chain.begins_with(&chain));
        assert!(!first.begins_with(&chain) && !chain.begins_with(&Chain::default().with(b)));
        let text = serde_json::to_string(&chain).unwrap();
        assert_eq!(text, r#"[[1,"POST_USER_CREATE"],[2,null]]"#);
        assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
        assert_eq!(Chain::new(Vec::new()), Chain::default());
    }
}
