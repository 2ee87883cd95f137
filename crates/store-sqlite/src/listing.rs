//! Pages of lists: the same limit and total everywhere.

use rusqlite::types::{ToSql, ToSqlOutput};
use tollgate_core::ports::store::PageRequest;

/// A page's limit and offset as SQLite takes them.
pub(crate) fn bounds(page: PageRequest) -> (i64, i64) {
    (
        i64::from(page.limit),
        i64::try_from(page.offset).unwrap_or(i64::MAX),
    )
}

/// A condition that is assembled from constant parts; what comes from outside is always bound.
#[derive(Default)]
pub(crate) struct Filter {
    sql: String,
    values: Vec<Value>,
}

/// A bound value.
pub(crate) enum Value {
    Integer(i64),
    Text(String),
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Filter {
    /// Adds a condition, which must be made of constants and places only.
    pub(crate) fn that(&mut self, condition: &str) {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
    }

    /// Binds a value and returns its place, such as `?3`.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Adds a condition on one value, which stands as `?N` in it.
    pub(crate) fn with(&mut self, condition: &'static str, value: impl Into<Value>) {
        let place = self.bind(value);
        self.that(&condition.replace("?N", &place));
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }
}
