//! Reads a fault plan from the file that a flag names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Plan;

/// A fault plan that cannot be taken from its file.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no plan: the error says where, and what was expected.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where, and why.
        source: Box<toml::de::Error>,
    },
    /// Whoever names a file wants something to go wrong.
    #[error("{0}: the plan has no fault: expected at least one [[fault]]")]
    NoFault(PathBuf),
}

/// The plan in this file; without a file nothing goes wrong.
///
/// # Errors
/// If the file cannot be read, or is no plan, or one without a fault.
pub fn read_plan(path: Option<&Path>) -> Result<Plan, PlanFileError> {
    let Some(path) = path else { return Ok(Plan::default()) };
    let text = fs::read_to_string(path).map_err(|source| PlanFileError::Read { path: path.to_owned(), source })?;
    let parsed = toml::from_str(&text);
    let plan: Plan =
        parsed.map_err(|source| PlanFileError::Parse { path: path.to_owned(), source: Box::new(source) })?;
    if plan.faults.is_empty() { Err(PlanFileError::NoFault(path.to_owned())) } else { Ok(plan) }
}
