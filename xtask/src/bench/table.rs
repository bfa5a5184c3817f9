//! What is printed and written of what was measured.

use std::{
    fmt,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use serde::Serialize;

use super::bar::Bar;
use crate::cargo::Failure;

/// What a figure counts.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    /// Requests a second.
    PerSecond,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// MiB.
    MiB,
    /// MiB a second.
    MiBPerSecond,
    /// Nothing but a number.
    Count,
}

/// A figure, what it is held against, and the bar.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Row {
    /// What was measured.
    pub(super) what: String,
    /// What it came to.
    pub(super) figure: f64,
    /// What that counts.
    pub(super) unit: Unit,
    /// What stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) beside: Option<Beside>,
    /// What it, or its ratio to what stands beside it, must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bar: Option<Bar>,
    /// Is that met?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) met: Option<bool>,
}

/// A figure of the same run that another is held against.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    /// What it is.
    pub(super) what: &'static str,
    /// What it came to.
    pub(super) figure: f64,
    /// The median of the ratios of each round.
    pub(super) ratio: f64,
}

impl Row {
    /// A figure that nothing is said about.
    pub(super) fn new(what: impl Into<String>, figure: f64, unit: Unit) -> Self {
        Self { what: what.into(), figure, unit, beside: None, bar: None, met: None }
    }

    /// What the figure is held against.
    pub(super) fn beside(self, what: &'static str, figure: f64, ratio: f64) -> Self {
        Self { beside: Some(Beside { what, figure, ratio }), ..self }
    }

    /// What it must be: the ratio where it stands beside something, else the figure itself.
    pub(super) fn held_to(self, bar: Bar) -> Self {
        let judged = self.beside.as_ref().map_or(self.figure, |beside| beside.ratio);
        Self { bar: Some(bar), met: Some(bar.met(judged)), ..self }
    }
}

/// Prints the table, writes it as JSON too where that is wanted, and says by the exit code whether every bar is met;
/// or that all is well, where no verdict is wanted.
///
/// # Errors
/// Says where it could not be written.
pub(super) fn publish(rows: &[Row], json: Option<&Path>, no_verdict: bool) -> Result<ExitCode, Failure> {
    write!(io::stdout(), "{}", render(rows)).map_err(|error| Failure(error.to_string()))?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(rows).map_err(|error| Failure(error.to_string()))?;
        let failed = |error| Failure(format!("{} cannot be written: {error}", path.display()));
        std::fs::write(path, text + "\n").map_err(failed)?;
    }
    Ok(if no_verdict || all_met(rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Is every bar met?
fn all_met(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.met != Some(false))
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory or of a file stay below 2^53")]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}

/// The table as text, columns aligned.
fn render(rows: &[Row]) -> String {
    let head = ["", "measured", "beside", "ratio", "bar", ""].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Words to the left, figures to the right.
            let padded = if column == 0 || column == 5 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            shown.push_str(&padded);
            shown.push_str("  ");
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 6] {
    let (mut beside, mut ratio) = (String::new(), String::new());
    if let Some(Beside { what, figure, ratio: found }) = &row.beside {
        beside = format!("{what} {}", shown(*figure, row.unit));
        ratio = format!("{found:.2}");
    }
    let bar = row.bar.map(|bar| bar.to_string()).unwrap_or_default();
    let bar = if row.beside.is_none() && row.bar.is_some() { format!("{bar} {}", row.unit) } else { bar };
    let bar = bar.trim_end().to_owned();
    let met = row.met.map_or("", |met| if met { "met" } else { "MISSED" });
    [row.what.clone(), shown(row.figure, row.unit), beside, ratio, bar, met.to_owned()]
}

/// A figure with as many digits as mean anything, and its unit.
fn shown(figure: f64, unit: Unit) -> String {
    let digits = match unit {
        Unit::PerSecond => return format!("{} {unit}", thousands(figure)),
        Unit::Count => return thousands(figure),
        Unit::MiBPerSecond => 0,
        Unit::MiB | Unit::Us => 1,
        Unit::Ms | Unit::S => 2,
    };
    format!("{figure:.digits$} {unit}")
}

/// A whole number with commas.
fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerSecond => "/s",
            Self::Us => "µs",
            Self::Ms => "ms",
            Self::S => "s",
            Self::MiB => "MiB",
            Self::MiBPerSecond => "MiB/s",
            Self::Count => "",
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_table_says_what_is_met_and_what_is_missed() {
        let rows = [
            Row::new("rate", 71_234.4, Unit::PerSecond).beside("floor", 110_000.0, 0.6476).held_to(Bar::AtLeast(0.65)),
            Row::new("p99", 1234.56, Unit::Us).beside("floor", 612.0, 2.01),
            Row::new("start", 6.123, Unit::Ms).held_to(Bar::AtMost(20.0)),
            Row::new("peak", 64.0, Unit::MiB).held_to(Bar::AtMost(64.0)),
            Row::new("opened", 1003.0, Unit::Count).held_to(Bar::AtMost(64.0)),
        ];
        expect![[r#"
                     measured            beside  ratio       bar
            rate    71,234 /s  floor 110,000 /s   0.65    ≥ 0.65  MISSED
            p99     1234.6 µs    floor 612.0 µs   2.01
            start     6.12 ms                            ≤ 20 ms  met
            peak     64.0 MiB                           ≤ 64 MiB  met
            opened      1,003                               ≤ 64  MISSED
        "#]]
        .assert_eq(&render(&rows));
        assert!(!all_met(&rows));
        assert!(all_met(&rows[1..4]), "what has no bar misses none");
    }

    #[test]
    fn a_ratio_is_judged_where_there_is_one_and_the_figure_where_there_is_none() {
        let row = || Row::new("a", 100.0, Unit::MiB);
        assert_eq!(row().held_to(Bar::AtMost(64.0)).met, Some(false));
        assert_eq!(row().beside("b", 90.0, 1.11).held_to(Bar::AtMost(1.5)).met, Some(true));
    }
}
