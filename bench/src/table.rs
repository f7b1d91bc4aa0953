//! Table: rows as aligned text.

use std::fmt::Write as _;

use crate::row::{Bound, Goal, Row};

/// What stands below the table.
pub const EXPLANATION: &str = "\
Ratios are medians of rounds that took turns in this run; they hold up on other machines. Absolute numbers (behind ~)
belong to this machine while it did whatever else it did: take them as noisy. Goals are ratios where there is a limit
or a peer to compare with.";

const HEADINGS: [&str; 4] = ["what", "beside", "measured", "goal"];

/// The rows under headings, in columns that are as wide as needed, a line for each number or goal.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    for row in rows {
        let count = row.measures.len().max(row.goals.len()).max(1);
        for index in 0..count {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            let measure = row.measures.get(index).map_or_else(String::new, |m| number(m.name, m.value, m.unit));
            let goal = row.goals.get(index).map_or_else(String::new, |goal| goal_text(row, goal));
            lines.push([first(&row.what), first(&row.beside), measure, goal]);
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "{}", rules.join("  "));
        }
    }
    text
}

/// A ratio as it is, anything else as noisy.
fn number(name: &str, value: f64, unit: &str) -> String {
    if unit.is_empty() { format!("{name} {}", digits(value)) } else { format!("{name} ~{} {unit}", digits(value)) }
}

/// About three digits, which is more than the measurement knows.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn goal_text(row: &Row, goal: &Goal) -> String {
    let (side, value) = match goal.bound {
        Bound::AtLeast(value) => ("at least", value),
        Bound::AtMost(value) => ("at most", value),
    };
    let kept = match row.keeps(goal) {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "not measured",
    };
    format!("{} {side} {}: {kept}", goal.of, digits(value))
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::row::{Bound, Row};

    #[test]
    fn columns_are_aligned_and_missed_goals_stand_out() {
        let rows = [
            Row::new("enqueue, 16", "bare")
                .with("ratio", 0.512, "")
                .with("rate", 5123.4, "msg/s")
                .goal("ratio", Bound::AtLeast(0.4)),
            Row::new("call", "").goal("CPU", Bound::AtMost(2.0)).with("CPU", 2.5, "us"),
        ];
        let expected = "\
what         beside  measured           goal
-----------  ------  -----------------  -----------------------
enqueue, 16  bare    ratio 0.51         ratio at least 0.40: kept
                     rate ~5123 msg/s
call                 CPU ~2.50 us       CPU at most 2.00: MISSED
";
        let dashes = expected.replace("  -----------------------\n", "  -------------------------\n");
        assert_eq!(table(&rows), dashes);
    }
}
