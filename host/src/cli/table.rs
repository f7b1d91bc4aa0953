//! Table: aligned columns for the terminal. Foreign text is made harmless before it is printed.

use postern_model::text;
use serde_json::Value;

/// The widest a cell may become, in characters.
const MAX_CELL: usize = 72;

/// Rows under a heading, each column as wide as its widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|h| h.to_uppercase()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| text::one_line(&c, MAX_CELL)).collect());
    }

    /// Prints it.
    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            println!("{}", line.trim_end());
        }
    }
}

/// A field of a JSON object as text: empty for null, without quotes for strings.
pub fn field(object: &Value, name: &str) -> String {
    match &object[name] {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        Value::Array(list) => {
            list.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// A field that holds a time, to the second and in UTC.
pub fn time(object: &Value, name: &str) -> String {
    let text = field(object, name);
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|t| t.round(jiff::Unit::Second).ok())
        .map_or(text, |t| t.to_string())
}
