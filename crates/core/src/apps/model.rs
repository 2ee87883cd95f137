//! Apps: named groups of functions within a site.

use crate::functions::Variables;
use crate::ids::AppId;
use crate::time::Timestamp;

/// An app as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its number.
    pub id: AppId,
    /// Its name for people.
    pub name: String,
    /// Its name in paths, unique within the site.
    pub slug: String,
    /// What it is for.
    pub description: String,
    /// Environment variables of all its functions.
    pub variables: Variables,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}
