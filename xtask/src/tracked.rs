//! The text files of the repository.

use crate::cargo::{Failure, Line, root};

/// A text file of the repository.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// The files that git tracks and that are text, as they lie in the work tree.
///
/// # Errors
/// Says why git, or a file, could not be read.
pub(crate) fn files() -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in paths(&[])? {
        match std::fs::read(root().join(&path)) {
            // What is not UTF-8 is no text that anyone reads.
            Ok(bytes) => files.extend(String::from_utf8(bytes).ok().map(|text| Source { path, text })),
            // Deleted, and the deletion is not yet committed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure(format!("{path} could not be read: {error}"))),
        }
    }
    Ok(files)
}

/// The paths of the files that git tracks, from the root, with `/`; those under these paths alone, if there are any.
///
/// # Errors
/// Says why git could not tell.
pub(crate) fn paths(under: &[&str]) -> Result<Vec<String>, Failure> {
    let list = Line::new("git", &["ls-files", "-z", "--"]).with(under);
    let output = list.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure(format!("{}: {}", list.failed(output.status), why.trim())));
    }
    let paths = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}
