//! The file that says that a server is ready, for those who cannot read its stdout.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A ready file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the ready file {path}: {source}")]
pub struct ReadyFileError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A ready file that is there; dropping this removes it.
pub struct ReadyFile {
    path: PathBuf,
    line: String,
}

impl ReadyFile {
    /// Makes sure that none of an earlier run is there: a server that is killed leaves its own behind.
    ///
    /// # Errors
    /// If it cannot be taken away, or something else is there.
    pub fn clear(path: &Path) -> Result<(), ReadyFileError> {
        let cleared = match fs::symlink_metadata(path) {
            Ok(old) if old.is_file() => fs::remove_file(path),
            // A pipe, a device or a link is somebody else's, and would be replaced by the file.
            Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "something is there that is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        cleared.map_err(|source| ReadyFileError { path: path.to_owned(), source })
    }

    /// Writes the line, so that nobody sees half of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(path: PathBuf, line: &str) -> Result<Self, ReadyFileError> {
        let write = || {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(dir)?;
            new.write_all(line.as_bytes())?;
            new.persist(&path).map_err(io::Error::from).map(drop)
        };
        match write() {
            Ok(()) => Ok(Self { path, line: line.to_owned() }),
            Err(source) => Err(ReadyFileError { path, source: plain(source) }),
        }
    }
}

/// The error without the name of a temporary file, which nobody gave.
fn plain(error: io::Error) -> io::Error {
    if error.get_ref().is_some() { error.kind().into() } else { error }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Another server may have written its own meanwhile. If this one cannot be removed there is nobody to tell.
        if fs::read_to_string(&self.path).is_ok_and(|line| line == self.line) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
