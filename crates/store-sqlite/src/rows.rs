//! Reading rows: columns in the order of the SELECT, each named for the error message.
//!
//! A stored value that cannot be read is a [`StoreError::Corrupt`] with table, column and row,
//! never a panic, and a placeholder only where the caller asks for one ([`Record::shown`]).

use crate::error::{DbError, DbResult};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tollgate_core::json::JsonText;
use tollgate_core::ports::store::StoreError;
use tollgate_core::time::Timestamp;
use uuid::Uuid;

/// What stands for a text that cannot be read.
const DAMAGED: &str = "(damaged)";

/// One row, read from left to right.
pub(crate) struct Record<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
    table: &'static str,
    id: i64,
    damaged: Vec<&'static str>,
}

impl<'r, 's> Record<'r, 's> {
    /// A row of `table`; its first column must be the row's id.
    pub(crate) fn new(table: &'static str, row: &'r Row<'s>) -> Self {
        let id = row.get(0).unwrap_or_default();
        Self {
            row,
            at: 0,
            table,
            id,
            damaged: Vec::new(),
        }
    }

    fn corrupt(&self, column: &'static str) -> DbError {
        let row = self.id.to_string();
        DbError::Store(StoreError::Corrupt {
            table: self.table,
            column,
            row,
        })
    }

    /// The next column.
    pub(crate) fn get<T: FromSql>(&mut self, column: &'static str) -> DbResult<T> {
        debug_assert_eq!(
            self.row.as_ref().column_name(self.at).ok(),
            Some(column),
            "column {} of {}",
            self.at,
            self.table
        );
        let value = self.row.get(self.at).map_err(|_| self.corrupt(column))?;
        self.at += 1;
        Ok(value)
    }

    /// What `read` finds in the next column; `instead`, if that makes no sense, which [`Self::damaged`]
    /// tells then. For what is shown and decides nothing: a damaged value must not hide its row.
    pub(crate) fn shown<T>(
        &mut self,
        instead: T,
        read: impl FnOnce(&mut Self) -> DbResult<T>,
    ) -> DbResult<T> {
        let next = self.at + 1;
        match read(self) {
            Err(DbError::Store(error @ StoreError::Corrupt { column, .. })) => {
                tracing::error!(%error, "a placeholder is shown");
                self.at = next;
                self.damaged.push(column);
                Ok(instead)
            }
            read => read,
        }
    }

    /// The columns that [`Self::shown`] found damaged so far.
    pub(crate) fn damaged(&self) -> Vec<&'static str> {
        self.damaged.clone()
    }

    /// A text that is shown.
    pub(crate) fn shown_text(&mut self, column: &'static str) -> DbResult<String> {
        self.shown(DAMAGED.to_owned(), |row| row.get(column))
    }

    /// A name or slug that is shown. No other is like its placeholder, neither a good one nor that of
    /// another row.
    pub(crate) fn shown_name(&mut self, column: &'static str) -> DbResult<String> {
        let instead = format!("(damaged {})", self.id);
        self.shown(instead, |row| row.get(column))
    }

    /// A text that is shown, or NULL.
    pub(crate) fn shown_text_opt(&mut self, column: &'static str) -> DbResult<Option<String>> {
        self.shown(None, |row| row.get(column))
    }

    /// A word that is shown.
    pub(crate) fn shown_word<T>(
        &mut self,
        column: &'static str,
        instead: T,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> DbResult<T> {
        self.shown(instead, |row| row.word(column, read))
    }

    /// JSON of a known shape that is shown.
    pub(crate) fn shown_json<T: DeserializeOwned>(
        &mut self,
        column: &'static str,
        instead: T,
    ) -> DbResult<T> {
        self.shown(instead, |row| row.json(column))
    }

    /// A text that `read` understands.
    pub(crate) fn word<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> DbResult<T> {
        self.word_opt(column, read)?
            .ok_or_else(|| self.corrupt(column))
    }

    /// The same or NULL.
    pub(crate) fn word_opt<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> DbResult<Option<T>> {
        let value = self.row.get_ref(self.at)?;
        self.at += 1;
        let text = value.as_str_or_null().map_err(|_| self.corrupt(column))?;
        text.map(|text| read(text).ok_or_else(|| self.corrupt(column)))
            .transpose()
    }

    /// A number that fits 32 bits.
    pub(crate) fn u32(&mut self, column: &'static str) -> DbResult<u32> {
        u32::try_from(self.get::<i64>(column)?).map_err(|_| self.corrupt(column))
    }

    /// A moment.
    pub(crate) fn time(&mut self, column: &'static str) -> DbResult<Timestamp> {
        self.get(column).map(Timestamp::from_micros)
    }

    /// A moment or NULL.
    pub(crate) fn time_opt(&mut self, column: &'static str) -> DbResult<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    /// A time span or NULL.
    pub(crate) fn span_opt(&mut self, column: &'static str) -> DbResult<Option<Duration>> {
        self.get::<Option<i64>>(column)?
            .map(|micros| u64::try_from(micros).map(Duration::from_micros))
            .transpose()
            .map_err(|_| self.corrupt(column))
    }

    /// A time span.
    pub(crate) fn span(&mut self, column: &'static str) -> DbResult<Duration> {
        self.span_opt(column)?.ok_or_else(|| self.corrupt(column))
    }

    /// A UUID.
    pub(crate) fn uuid(&mut self, column: &'static str) -> DbResult<Uuid> {
        self.get::<[u8; 16]>(column).map(Uuid::from_bytes)
    }

    /// A UUID or NULL.
    pub(crate) fn uuid_opt(&mut self, column: &'static str) -> DbResult<Option<Uuid>> {
        Ok(self.get::<Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
    }

    /// JSON of a known shape.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> DbResult<T> {
        self.word(column, |text| serde_json::from_str(text).ok())
    }

    /// JSON of a known shape or NULL.
    pub(crate) fn json_opt<T: DeserializeOwned>(
        &mut self,
        column: &'static str,
    ) -> DbResult<Option<T>> {
        self.word_opt(column, |text| serde_json::from_str(text).ok())
    }

    /// Any JSON, kept as text, or NULL.
    pub(crate) fn json_text_opt(&mut self, column: &'static str) -> DbResult<Option<JsonText>> {
        self.word_opt(column, |text| JsonText::parse(text.to_owned()).ok())
    }

    /// Any JSON, kept as text.
    pub(crate) fn json_text(&mut self, column: &'static str) -> DbResult<JsonText> {
        self.json_text_opt(column)?
            .ok_or_else(|| self.corrupt(column))
    }
}

/// Every row of a query.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> DbResult<T>,
) -> DbResult<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    Ok(items)
}

/// The first row of a query.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> DbResult<T>,
) -> DbResult<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Whether a query has a row.
pub(crate) fn exists(connection: &Connection, sql: &str, params: impl Params) -> DbResult<bool> {
    Ok(connection.prepare_cached(sql)?.exists(params)?)
}

/// Runs a write and returns how many rows it touched.
pub(crate) fn write(connection: &Connection, sql: &str, params: impl Params) -> DbResult<usize> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// The one number that a query answers.
pub(crate) fn count(connection: &Connection, sql: &str, params: impl Params) -> DbResult<u64> {
    let number: i64 = connection
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// JSON text for a column.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> DbResult<String> {
    serde_json::to_string(value).map_err(DbError::bug)
}

/// Microseconds for a column.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// How SQLite carries a query out.
#[cfg(test)]
pub(crate) fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    // Unbound parameters are NULL, which changes no plan.
    let mut rows = statement.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push(row.get::<_, String>(3).unwrap());
    }
    plan.join("; ")
}
