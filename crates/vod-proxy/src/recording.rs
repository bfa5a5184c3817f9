//! A recording on disk: a directory that can be read, reviewed and kept beside the tests that replay it.
//!
//! ```text
//! recordings/NAME/
//!   recording.toml      versions, whom it was recorded from and when, what was redacted, what is kept of bodies
//!   exchanges.jsonl     one exchange a line, appended as it ends; valid after the recorder was killed
//!   not-closed          stands while it is recorded into, and is left by a recorder that is killed
//!   bodies/             bodies that do not stand in the lines, each once, under the SHA-1 of its bytes
//! ```
//!
//! - [`Manifest`]: what `recording.toml` says.
//! - `bodies`: what is kept under its own SHA-1.
//! - `making`: making one, or going on in it.
//! - `verify`: is all there that should be?

mod bodies;
mod making;
mod manifest;
mod verify;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use vod_proto::Exchange;
use vod_serve::journal::{self, FileEnd, JournalError};

pub use bodies::{Bodies, Draft, Held};
pub use making::Wanted;
pub use manifest::{FORMAT, KeptBodies, Manifest, ManifestError, Redaction, Source};
pub use verify::Checked;

/// The file that says what a recording is.
pub const MANIFEST_FILE: &str = "recording.toml";

/// The file of the exchanges.
pub const EXCHANGES_FILE: &str = "exchanges.jsonl";

/// The file that stands there for as long as it is recorded into. A recorder that is killed leaves it behind: what was under way
/// then is missing.
pub const MARKER_FILE: &str = "not-closed";

/// A recording that cannot be used, and where it went wrong.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be read or written.
    #[error("the recording {path} cannot be used: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such directory, or nothing in it says that it is a recording.
    #[error("{path} is no recording: expected a directory with a {MANIFEST_FILE}")]
    None {
        /// Which directory.
        path: PathBuf,
    },
    /// Its manifest cannot be used.
    #[error("{path}: {source}")]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// It is not what is to be recorded.
    #[error("{path} is another recording: {what}: record into another directory")]
    Other {
        /// Which directory.
        path: PathBuf,
        /// What is otherwise.
        what: String,
    },
    /// Its exchanges cannot be used.
    #[error(transparent)]
    Exchanges(#[from] JournalError),
}

impl RecordingError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A recording that was opened: its manifest has been read, its exchanges not yet.
#[derive(Clone, Debug)]
pub struct Recording {
    dir: PathBuf,
    manifest: Manifest,
}

impl Recording {
    /// Opens a recording, to read it. Nothing in it is changed.
    ///
    /// # Errors
    /// If there is none, or its manifest cannot be used.
    pub fn open(dir: &Path) -> Result<Self, RecordingError> {
        let path = dir.join(MANIFEST_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(RecordingError::None { path: dir.to_owned() });
            }
            Err(source) => return Err(RecordingError::Io { path, source }),
        };
        let manifest = Manifest::from_toml(&text).map_err(|source| RecordingError::Manifest { path, source })?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its exchanges stand.
    #[must_use]
    pub fn exchanges_path(&self) -> PathBuf {
        self.dir.join(EXCHANGES_FILE)
    }

    /// The bodies that do not stand in its lines.
    #[must_use]
    pub fn bodies(&self) -> Bodies {
        Bodies::of(&self.dir)
    }

    /// Reads its exchanges one by one, in the order in which they ended. A recording that was cut off is read up to its last
    /// complete exchange, and the end says so.
    ///
    /// # Errors
    /// If they are not there or cannot be read, or a line is no exchange, is not as it was written, or stands there twice.
    pub fn read(&self, take: impl FnMut(Exchange)) -> Result<FileEnd, RecordingError> {
        Ok(journal::read(&self.exchanges_path(), Some(&self.dir.join(MARKER_FILE)), take)?)
    }

    /// All its exchanges, in the order in which they came.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn exchanges(&self) -> Result<(Vec<Exchange>, FileEnd), RecordingError> {
        let mut exchanges = Vec::new();
        let end = self.read(|exchange| exchanges.push(exchange))?;
        exchanges.sort_by_key(|exchange| exchange.seq);
        Ok((exchanges, end))
    }
}
