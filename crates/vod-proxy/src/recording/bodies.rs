//! Bodies that are kept, each once, under the SHA-1 of its bytes.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};
use vod_proto::{Sha1, digest::Sha1Hasher};

/// How much of a body is read at once, in bytes, to check it.
const AT_ONCE: usize = 64 << 10;

/// What begins the name of a body that is being written.
const DRAFT: &str = ".draft-";

/// The bodies of a recording.
#[derive(Clone, Debug)]
pub struct Bodies {
    dir: PathBuf,
}

impl Bodies {
    pub(super) fn of(recording: &Path) -> Self {
        Self { dir: recording.join("bodies") }
    }

    /// Where a body is, or would be.
    #[must_use]
    pub fn path(&self, sha1: Sha1) -> PathBuf {
        self.dir.join(sha1.to_string())
    }

    /// Clears away what recorders that were killed had begun. Nobody else may be recording.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Begins a body. It has no name until it is [kept](Draft::keep), and is gone if it never is.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn draft(&self) -> io::Result<Draft> {
        fs::create_dir_all(&self.dir)?;
        Ok(Draft {
            file: Builder::new().prefix(DRAFT).permissions(Permissions::from_mode(0o666)).tempfile_in(&self.dir)?,
            dir: self.dir.clone(),
        })
    }

    /// The names of what is there, in order, but for what was only begun.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn names(&self) -> io::Result<BTreeSet<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with(DRAFT))).collect()
    }

    /// Is a body there, and is it the one that its name says?
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn look(&self, sha1: Sha1) -> io::Result<Held> {
        let mut file = match File::open(self.path(sha1)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Missing),
            Err(error) => return Err(error),
        };
        let (mut hasher, mut bytes) = (Sha1Hasher::default(), vec![0; AT_ONCE]);
        loop {
            match file.read(&mut bytes)? {
                0 => return Ok(if hasher.finish() == sha1 { Held::Whole } else { Held::Changed }),
                read => hasher.update(&bytes[..read]),
            }
        }
    }
}

/// What is there under the name of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The body.
    Whole,
    /// Nothing.
    Missing,
    /// Something else: it is not what it was.
    Changed,
}

/// A body that is being written.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    dir: PathBuf,
}

impl Draft {
    /// Appends to it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Keeps it under this name, which is the SHA-1 of what was written. One that is there already stays.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn keep(self, sha1: Sha1) -> io::Result<()> {
        match self.file.persist_noclobber(self.dir.join(sha1.to_string())) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_once_and_a_changed_one_is_told_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let bodies = Bodies::of(dir.path());
        let sha1 = Sha1::of(b"hello");
        assert_eq!(bodies.look(sha1).unwrap(), Held::Missing);
        for _ in 0..2 {
            let mut draft = bodies.draft().unwrap();
            draft.write(b"hel").unwrap();
            draft.write(b"lo").unwrap();
            draft.keep(sha1).unwrap();
        }
        drop(bodies.draft().unwrap());
        assert_eq!(fs::read_dir(dir.path().join("bodies")).unwrap().count(), 1);
        assert_eq!(bodies.look(sha1).unwrap(), Held::Whole);
        fs::write(bodies.path(sha1), "hullo").unwrap();
        assert_eq!(bodies.look(sha1).unwrap(), Held::Changed);
    }
}
