//! Table: rows as aligned text.

use std::fmt::Write as _;

use crate::row::{Bound, Goal, Measure, Row};

/// What stands below the table.
pub const EXPLANATION: &str = "\
Ratios are medians of rounds that took turns in this run; they hold up on other machines. Absolute numbers (behind ~)
belong to this machine while it did whatever else it did: take them as noisy.";

const HEADINGS: [&str; 4] = ["what", "beside", "ratios", "goals"];

/// The rows under headings, in columns that are as wide as needed; below each row its absolute numbers.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 4]> = rows.iter().map(cells).collect();
    let heading = HEADINGS.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(&cells);
    let width = |column: usize| all().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut text = line(&heading, &widths);
    text += &line(&widths.map(|width| "-".repeat(width)), &widths);
    for (row, cells) in rows.iter().zip(&cells) {
        text += &line(cells, &widths);
        let noisy: Vec<String> = row.measures.iter().filter(|m| !m.unit.is_empty()).map(number).collect();
        if !noisy.is_empty() {
            let _ = writeln!(text, "  ~ {}", noisy.join(", "));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 4] {
    let ratios: Vec<String> = row.measures.iter().filter(|m| m.unit.is_empty()).map(number).collect();
    let goals: Vec<String> = row.goals.iter().map(|goal| goal_text(row, goal)).collect();
    [row.what.clone(), row.beside.clone(), ratios.join(", "), goals.join(", ")]
}

fn line(cells: &[String; 4], widths: &[usize; 4]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("{}\n", padded.join("  ").trim_end())
}

fn number(measure: &Measure) -> String {
    format!("{} {} {}", measure.name, digits(measure.value), measure.unit).trim_end().to_owned()
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
        Bound::AtLeast(value) => (">=", value),
        Bound::AtMost(value) => ("<=", value),
    };
    let kept = match row.keeps(goal) {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "not measured",
    };
    format!("{} {side} {value}: {kept}", goal.of)
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
                .with("syncs", 0.0312, "")
                .with("rate", 5123.4, "msg/s")
                .with("CPU", 56.78, "us")
                .goal("ratio", Bound::AtLeast(0.4)),
            Row::new("call", "").goal("CPU", Bound::AtMost(2.0)).with("CPU", 2.5, "us"),
            Row::new("end", "").goal("ratio", Bound::AtMost(2.0)),
        ];
        let expected = "\
what         beside  ratios                   goals
-----------  ------  -----------------------  ------------------------
enqueue, 16  bare    ratio 0.51, syncs 0.031  ratio >= 0.4: kept
  ~ rate 5123 msg/s, CPU 56.8 us
call                                          CPU <= 2: MISSED
  ~ CPU 2.50 us
end                                           ratio <= 2: not measured
";
        assert_eq!(table(&rows), expected);
    }
}
