//! What cannot be in this workspace, and that it is not.
//!
//! - [`dependencies`]: which crate must not depend on which.
//! - [`sources`]: what no tracked file may hold.
//! - [`architecture`]: every invariant that `ARCHITECTURE.md` states has a proof, and the proof exists.

mod architecture;
mod dependencies;
mod sources;

use crate::{cargo::Failure, tracked};

/// Checks all of them and tells every breach, not the first alone.
///
/// # Errors
/// Lists the breaches, one a line, or says why a check could not be made.
pub(crate) fn check() -> Result<(), Failure> {
    let files = tracked::files()?;
    let mut breaches = dependencies::breaches()?;
    breaches.extend(sources::breaches(&files));
    breaches.extend(architecture::breaches(&files));
    if breaches.is_empty() {
        eprintln!("{} dependencies, {} tracked files and ARCHITECTURE.md hold", dependencies::count(), files.len());
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("breach: {breach}");
    }
    let count = breaches.len();
    Err(Failure(format!("{count} {} of the invariants", if count == 1 { "breach" } else { "breaches" })))
}
