//! The table of a whole comparison: a row per figure, a column per peer, and ratios.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::peers::Peer;

/// One kind of number that a scenario gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Figure {
    /// Name and unit.
    pub(crate) label: &'static str,
    pub(crate) better: Better,
}

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// All rows, in the order in which they are printed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    scenario: String,
    #[serde(flatten)]
    figure: Figure,
    cells: BTreeMap<Peer, Cell>,
}

/// What all runs of one peer gave for one row.
#[derive(Debug, Default, Serialize)]
struct Cell {
    /// One value per run that succeeded.
    values: Vec<f64>,
    /// Why the last run that failed did.
    failed: Option<String>,
}

/// Median and range of a cell's values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Table {
    /// Appends the row of a figure, so that the table has it even if nobody manages to fill it.
    pub(crate) fn add_row(&mut self, scenario: &str, figure: Figure) {
        self.rows.push(Row { scenario: scenario.to_owned(), figure, cells: BTreeMap::new() });
    }

    /// Adds the value of one run.
    pub(crate) fn add_value(&mut self, scenario: &str, figure: Figure, peer: Peer, value: f64) {
        if let Some(cell) = self.cell(scenario, figure, peer) {
            cell.values.push(value);
        }
    }

    /// Notes that a run failed.
    pub(crate) fn add_failure(&mut self, scenario: &str, figure: Figure, peer: Peer, why: &str) {
        if let Some(cell) = self.cell(scenario, figure, peer) {
            cell.failed = Some(why.to_owned());
        }
    }

    /// The table in Markdown, with a column for each of `peers`.
    ///
    /// Ratios compare Dormouse's median with the other's and are above 1 where Dormouse is better,
    /// whichever way the figure improves.
    pub(crate) fn markdown(&self, peers: &[Peer]) -> String {
        let rivals: Vec<Peer> = match peers.contains(&Peer::Dormouse) {
            true => peers.iter().copied().filter(|&peer| peer != Peer::Dormouse).collect(),
            false => Vec::new(),
        };
        let mut text = String::from("| scenario | figure |");
        for peer in peers {
            push(&mut text, format_args!(" {} |", peer.title()));
        }
        for rival in &rivals {
            push(&mut text, format_args!(" vs {} |", rival.title()));
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---:|".repeat(peers.len() + rivals.len()));
        for row in &self.rows {
            push(&mut text, format_args!("\n| {} | {} |", row.scenario, row.figure.label));
            for peer in peers {
                push(&mut text, format_args!(" {} |", row.quote(*peer)));
            }
            for rival in &rivals {
                push(&mut text, format_args!(" {} |", row.quote_ratio(*rival)));
            }
        }
        text.push('\n');
        text
    }

    fn cell(&mut self, scenario: &str, figure: Figure, peer: Peer) -> Option<&mut Cell> {
        let row =
            self.rows.iter_mut().find(|row| row.scenario == scenario && row.figure == figure)?;
        Some(row.cells.entry(peer).or_default())
    }
}

impl Row {
    /// Median and range, or why there are none, or nothing for a peer that has no such scenario.
    fn quote(&self, peer: Peer) -> String {
        let Some(cell) = self.cells.get(&peer) else { return String::new() };
        match (&cell.failed, cell.spread()) {
            // A bar would break the table's columns.
            (Some(why), _) => format!("failed: {}", why.replace('|', "/")),
            (None, Some(spread)) => spread.to_string(),
            (None, None) => String::new(),
        }
    }

    fn quote_ratio(&self, rival: Peer) -> String {
        let median = |peer| {
            let cell: &Cell = self.cells.get(&peer)?;
            cell.spread().filter(|_| cell.failed.is_none()).map(|spread| spread.median)
        };
        let (Some(ours), Some(theirs)) = (median(Peer::Dormouse), median(rival)) else {
            return String::new();
        };
        let ratio = match self.figure.better {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
        };
        // Memory that shrank by itself can make a figure zero or negative.
        if !ratio.is_finite() || ratio <= 0.0 {
            return String::new();
        }
        format!("{} ×", quote_number(ratio))
    }
}

impl Cell {
    fn spread(&self) -> Option<Spread> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Spread { min, median, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, median, max] = [self.min, self.median, self.max].map(quote_number);
        if self.min == self.max {
            return f.write_str(&median);
        }
        write!(f, "**{median}** ({min} to {max})")
    }
}

/// Writes a number with as many digits as it deserves: about three, and thousands separated.
fn quote_number(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => {
            let digits = format!("{:.0}", number.abs());
            let mut text = String::from(if number < 0.0 { "-" } else { "" });
            for (index, digit) in digits.char_indices() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Figure = Figure { label: "calls/s", better: Better::Higher };
    const DELAY: Figure = Figure { label: "p50 µs", better: Better::Lower };

    #[test]
    fn a_ratio_above_one_means_better_whichever_way_the_figure_improves() {
        let mut table = Table::default();
        for (figure, ours, theirs) in [(RATE, 2_000.0, 1_000.0), (DELAY, 50.0, 100.0)] {
            table.add_row("calls", figure);
            table.add_value("calls", figure, Peer::Dormouse, ours);
            table.add_value("calls", figure, Peer::Bun, theirs);
        }

        let markdown = table.markdown(&[Peer::Dormouse, Peer::Bun]);

        assert_eq!(
            markdown,
            "| scenario | figure | Dormouse | Bun | vs Bun |\n|---|---|---:|---:|---:|\n\
             | calls | calls/s | 2,000 | 1,000 | 2.00 × |\n\
             | calls | p50 µs | 50.0 | 100 | 2.00 × |\n"
        );
    }

    #[test]
    fn a_cell_quotes_the_median_with_its_range_and_a_failure_instead_of_either() {
        let mut table = Table::default();
        table.add_row("calls", RATE);
        for value in [3_000_000.0, 1_000_000.0, 1_234_567.0] {
            table.add_value("calls", RATE, Peer::Dormouse, value);
            table.add_value("calls", RATE, Peer::Ws, value);
        }
        table.add_failure("calls", RATE, Peer::Ws, "a | b");

        let markdown = table.markdown(&[Peer::Dormouse, Peer::Ws]);

        let row = markdown.lines().last().expect("there is a row");
        assert_eq!(
            row,
            "| calls | calls/s | **1,234,567** (1,000,000 to 3,000,000) | failed: a / b |  |"
        );
    }

    #[test]
    fn numbers_keep_about_three_digits() {
        for (number, quoted) in
            [(0.0, "0.00"), (1.234, "1.23"), (56.78, "56.8"), (999.6, "1,000"), (-1234.0, "-1,234")]
        {
            assert_eq!(quote_number(number), quoted);
        }
    }
}
