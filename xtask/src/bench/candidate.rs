//! A server that is asked in every round, and what came of it beside another.

use std::time::Duration;

use super::{
    bar::{Bar, median, median_ratio},
    built::Built,
    load::Report,
    process::Server,
    table::{Row, Unit},
};
use crate::cargo::{Failure, Line};

/// What is asked in a round.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// For how many uploads, in turn.
    pub(super) uploads: usize,
    /// Over how many connections.
    pub(super) connections: usize,
    /// With how many bytes of a body; without, no part is sent and uploads are opened.
    pub(super) body: usize,
    /// How many threads carry the connections.
    pub(super) threads: usize,
    /// For how long.
    pub(super) time: Duration,
}

/// A server, and what came of asking it, round by round.
pub(super) struct Candidate {
    /// Its name in the table.
    pub(super) what: &'static str,
    /// The server.
    pub(super) server: Server,
    reports: Vec<Report>,
    /// Microseconds of processor time that a request took, by round.
    cpu: Vec<f64>,
}

impl Candidate {
    /// Starts the server.
    ///
    /// # Errors
    /// Says that it could not be started.
    pub(super) fn start(what: &'static str, line: &Line) -> Result<Self, Failure> {
        Ok(Self { what, server: Server::start(line)?, reports: Vec::new(), cpu: Vec::new() })
    }

    /// Asks it for one round.
    ///
    /// # Errors
    /// Says which answer was none.
    pub(super) fn round(&mut self, built: &Built, ask: Ask) -> Result<(), Failure> {
        let Ask { uploads, connections, body, threads, time } = ask;
        let load = built.xtask.clone().with([
            "load".to_owned(),
            format!("--at={}", self.server.addr()),
            format!("--uploads={uploads}"),
            format!("--connections={connections}"),
            format!("--body={body}"),
            format!("--threads={threads}"),
            format!("--millis={}", time.as_millis()),
        ]);
        let before = self.server.cpu();
        let output = load.output()?;
        let after = self.server.cpu();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure(format!("{}: {}: {}", self.what, load.failed(output.status), why.trim())));
        }
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure(format!("`{load}` gave no report: {error}")))?;
        if let (Some(before), Some(after)) = (before, after) {
            self.cpu.push((after - before).as_secs_f64() * 1e6 / report.sent());
        }
        self.reports.push(report);
        Ok(())
    }

    /// How many requests were answered in all rounds.
    pub(super) fn answered(&self) -> f64 {
        self.reports.iter().map(Report::sent).sum()
    }

    /// A figure of each round.
    pub(super) fn all(&self, figure: impl Fn(&Report) -> f64) -> Vec<f64> {
        self.reports.iter().map(figure).collect()
    }

    /// Its rows beside another candidate; the bar is for its rate.
    pub(super) fn rows(&self, beside: &Self, bar: Option<Bar>) -> Vec<Row> {
        let row = |what: &str, unit, own: &[f64], others: &[f64]| {
            let figure = median(own)?;
            let row = Row::new(format!("{}, {what}", self.what), figure, unit);
            Some(match (median(others), median_ratio(own, others)) {
                (Some(other), Some(ratio)) => row.beside(beside.what, other, ratio),
                _ => row,
            })
        };
        let compared = |what, unit, figure: fn(&Report) -> f64| row(what, unit, &self.all(figure), &beside.all(figure));
        let rate = compared("rate", Unit::PerSecond, Report::rate);
        let rate = rate.map(|row| if let Some(bar) = bar { row.held_to(bar) } else { row });
        let p50 = compared("p50", Unit::Us, |report| report.p50);
        let p99 = compared("p99", Unit::Us, |report| report.p99);
        let cpu = row("processor time a request", Unit::Us, &self.cpu, &beside.cpu);
        [rate, p50, p99, cpu].into_iter().flatten().collect()
    }
}
