//! What every measurement needs: the programs, built with optimisation, and what becomes of the figures.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::table::{self, Row};
use crate::cargo::{self, Failure, Line};

/// The programs that are measured, or measure.
pub(super) struct Built {
    pub(super) mock: Line,
    pub(super) proxy: Line,
    pub(super) client: Line,
    pub(super) xtask: Line,
}

impl Built {
    /// Builds them.
    ///
    /// # Errors
    /// Says what could not be built.
    pub(super) fn new() -> Result<Self, Failure> {
        let [mock, proxy, client, xtask] = cargo::build(true, ["vod-mock", "vod-proxy", "vod-client", "xtask"])?;
        Ok(Self {
            mock: Line::built(mock, &["--listen", "127.0.0.1:0"]),
            proxy: Line::built(proxy, &[]),
            client: Line::built(client, &[]),
            xtask: Line::built(xtask, &["bench"]),
        })
    }
}

/// What becomes of the figures.
#[derive(Clone, Debug, Args)]
pub(super) struct Outcome {
    /// Only print: the exit code is 0 whatever bar is missed
    #[arg(long)]
    no_verdict: bool,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Outcome {
    /// Prints the figures, writes them where that is wanted, and says by the exit code whether every bar is met.
    ///
    /// # Errors
    /// Says where they could not be written.
    pub(super) fn publish(&self, rows: &[Row]) -> Result<ExitCode, Failure> {
        table::publish(rows, self.json.as_deref(), self.no_verdict)
    }
}
