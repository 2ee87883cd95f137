//! Rows under headers, in columns as wide as they must be.

use super::harmless::shown;
use super::{Line, Terminal};
use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

/// What a cell that is not the last of its row may take.
const WIDEST: usize = 48;
const HEADER: Style = Style::new().bold();

/// Rows under headers.
pub(crate) struct Table {
    headers: Vec<&'static str>,
    /// Texts and how they look.
    rows: Vec<Vec<Cell>>,
}

/// One cell.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: shown(text.to_string()),
            style: Style::new(),
        }
    }
}

impl Cell {
    /// A cell that looks like this.
    pub(crate) fn styled(text: impl ToString, style: Style) -> Self {
        Self {
            style,
            ..Self::from(text.to_string())
        }
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<const N: usize>(headers: [&'static str; N]) -> Self {
        Self {
            headers: headers.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell for each header.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.headers.len());
        self.rows.push(cells.into());
    }

    /// Prints it; a table without rows prints nothing at all.
    pub(crate) fn print(mut self, terminal: &Terminal) -> std::io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let headers = self
            .headers
            .iter()
            .map(|header| Cell::styled(header, HEADER))
            .collect();
        self.rows.insert(0, headers);
        let widths: Vec<usize> = (0..self.headers.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].text.width());
                cells.max().unwrap_or_default().min(WIDEST)
            })
            .collect();
        for row in self.rows {
            let mut line = Line::new();
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (column, cell) in row.into_iter().enumerate() {
                if last.is_none_or(|last| column > last) {
                    break;
                }
                if column > 0 {
                    line = line.text("  ");
                }
                let ends = last == Some(column);
                let text = if ends {
                    cell.text
                } else {
                    cut(&cell.text, WIDEST)
                };
                let pad = if ends {
                    0
                } else {
                    widths[column].saturating_sub(text.width())
                };
                line = line.styled(cell.style, text).text(" ".repeat(pad));
            }
            terminal.print(line)?;
        }
        Ok(())
    }
}

/// `text` in at most `width` columns, with dots where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}
