//! What cannot be in this workspace, and that it is not.
//!
//! - [`dependencies`]: which crate must not depend on which.
//! - [`sources`]: what no tracked file may hold.
//! - [`architecture`]: every invariant that `ARCHITECTURE.md` states has a proof, and the proof exists.

mod architecture;
mod dependencies;
mod sources;

use crate::cargo::{Failure, Line, root};

/// Checks all of them and tells every breach, not the first alone.
///
/// # Errors
/// Lists the breaches, one a line, or says why a check could not be made.
pub(crate) fn check() -> Result<(), Failure> {
    let files = tracked_files()?;
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

/// A text file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// The files that git tracks and that are text, as they lie in the work tree.
fn tracked_files() -> Result<Vec<Source>, Failure> {
    let list = Line::new("git", &["ls-files", "-z"]);
    let output = list.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure(format!("{}: {}", list.failed(output.status), why.trim())));
    }
    let paths = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files = Vec::new();
    for path in paths.split('\0').filter(|path| !path.is_empty()) {
        match std::fs::read(root().join(path)) {
            // What is not UTF-8 is no text that anyone reads.
            Ok(bytes) => files.extend(String::from_utf8(bytes).ok().map(|text| Source { path: path.to_owned(), text })),
            // Deleted, and the deletion is not yet committed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure(format!("{path} could not be read: {error}"))),
        }
    }
    Ok(files)
}
