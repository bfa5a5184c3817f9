//! Bodies as files, records as a log, in one directory. What was acknowledged survives the death of the process.
//!
//! ```text
//! DIR/lock            held while a mock runs on the directory
//! DIR/sessions.log    records, see log.rs
//! DIR/bodies/N        kept bodies
//! DIR/staging/N       bodies that are being taken in; emptied at the start
//! ```
//!
//! Nothing is synced: the promise is about the process, not about the power.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, IoSlice, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Staging, Store,
    log::{Log, LogError},
    nothing_at,
};
use crate::core::{BodyId, Record, Upload, UploadKey};

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be made, read or written.
    #[error("the data directory {dir} cannot be used: {source}")]
    Io {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is somebody else's.
    #[error("the data directory {dir} has no sessions.log and is not empty: it is not a mock's")]
    Foreign {
        /// Which.
        dir: PathBuf,
    },
    /// Another mock runs on it.
    #[error("the data directory {dir} is in use by another mock")]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// Its log cannot be trusted.
    #[error("the log {path} cannot be read: {source}")]
    Log {
        /// Which.
        path: PathBuf,
        /// Why.
        source: LogError,
    },
}

/// Keeps bodies and records in a directory.
pub struct DiskStore {
    dir: PathBuf,
    log: Mutex<Log>,
    loaded: Mutex<Vec<Record>>,
    last: Arc<AtomicU64>,
    /// Held for as long as the store lives; the system lets go of it when the process dies.
    _lock: File,
}

impl DiskStore {
    /// Opens or makes a data directory, and clears away what an earlier life left half done.
    ///
    /// # Errors
    /// If it cannot be used, is in use, or its log is damaged.
    pub fn open(dir: &Path) -> Result<Arc<Self>, DiskError> {
        let io = |source| DiskError::Io { dir: dir.to_owned(), source };
        let path = dir.join("sessions.log");
        fs::create_dir_all(dir).map_err(io)?;
        if !path.exists() && holds_anything(dir).map_err(io)? {
            return Err(DiskError::Foreign { dir: dir.to_owned() });
        }
        let lock = File::create(dir.join("lock")).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DiskError::InUse { dir: dir.to_owned() },
            TryLockError::Error(source) => io(source),
        })?;
        let (log, records) = Log::open(&path).map_err(|source| DiskError::Log { path, source })?;
        for sub in ["bodies", "staging"] {
            fs::create_dir_all(dir.join(sub)).map_err(io)?;
        }
        let last = clear_away(dir, &records).map_err(io)?;
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            log: Mutex::new(log),
            loaded: Mutex::new(records),
            last: Arc::new(AtomicU64::new(last)),
            _lock: lock,
        }))
    }

    fn body(&self, body: BodyId) -> PathBuf {
        self.dir.join("bodies").join(body.0.to_string())
    }
}

/// Removes bodies that no record speaks of. Returns the highest number in use.
fn clear_away(dir: &Path, records: &[Record]) -> io::Result<u64> {
    let mut uploads = std::collections::BTreeMap::<&UploadKey, Upload>::new();
    let mut last = 0;
    for record in records {
        uploads.entry(record.key()).or_default().apply(record);
        if let Record::Part { body, .. } | Record::Whole { body, .. } = record {
            last = last.max(body.0);
        }
    }
    let kept: BTreeSet<String> = uploads.values().flat_map(Upload::bodies).map(|body| body.0.to_string()).collect();
    for sub in ["staging", "bodies"] {
        for entry in fs::read_dir(dir.join(sub))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Bodies have numbers for names: whatever else lies here was put here by somebody else.
            let ours = name.parse::<u64>().is_ok();
            if ours && (sub == "staging" || !kept.contains(name.as_ref())) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(last)
}

/// Is there anything in the directory, beside the lock that a mock makes first?
fn holds_anything(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name() != "lock" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for DiskStore {
    async fn load(&self) -> io::Result<Vec<Record>> {
        Ok(std::mem::take(&mut *lock(&self.loaded)))
    }

    async fn append(&self, record: &Record) -> io::Result<()> {
        // A few hundred bytes into the page cache: shorter than the way to another thread and back.
        lock(&self.log).append(record)
    }

    async fn stage(&self) -> io::Result<Box<dyn Staging>> {
        let body = BodyId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let path = self.dir.join("staging").join(body.0.to_string());
        // Not on another thread: a request that is given up meanwhile would leave the file behind.
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let (file, gathered, path) = (Arc::new(file), Vec::new(), Some(path));
        Ok(Box::new(DiskStaging { file, gathered, path, kept: self.body(body), body }))
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        let path = self.body(body);
        let read = move || {
            let file = File::open(path)?;
            let mut bytes = vec![0; len];
            let mut filled = 0;
            while filled < len {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            Ok(Bytes::from(bytes))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    async fn discard(&self, body: BodyId) {
        if let Err(error) = tokio::fs::remove_file(self.body(body)).await {
            tracing::warn!(%error, body = body.0, "a body that nobody needs could not be removed");
        }
    }
}

/// How much of a body is gathered before it is written. Default 256 KiB: the way to another thread and back then costs
/// little beside the writing.
const GATHERED_MOST: usize = 256 << 10;

/// In how many pieces that may be. Default 32: each may hold on to more memory than it has bytes.
const PIECES_MOST: usize = 32;

struct DiskStaging {
    file: Arc<File>,
    /// What is still to be written.
    gathered: Vec<Bytes>,
    /// Where the bytes are, until they are kept.
    path: Option<PathBuf>,
    kept: PathBuf,
    body: BodyId,
}

impl DiskStaging {
    /// Writes what was gathered, and then does this with the file, where it may block.
    async fn write_and<R: Send + 'static>(
        &mut self,
        then: impl FnOnce(&File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let (file, gathered) = (Arc::clone(&self.file), std::mem::take(&mut self.gathered));
        let write = move || {
            write_all(&file, &gathered)?;
            then(&file)
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Writes pieces one behind the other.
fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[async_trait]
impl Staging for DiskStaging {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        // An empty piece would be taken for a file that takes no more.
        if !bytes.is_empty() {
            self.gathered.push(bytes);
        }
        let len: usize = self.gathered.iter().map(Bytes::len).sum();
        if len >= GATHERED_MOST || self.gathered.len() >= PIECES_MOST {
            self.write_and(|_| Ok(())).await
        } else {
            Ok(())
        }
    }

    async fn flip(&mut self, offset: u64) -> io::Result<()> {
        self.write_and(move |file| {
            let mut byte = [0];
            if file.read_at(&mut byte, offset)? == 0 {
                return Err(nothing_at(offset));
            }
            file.write_all_at(&[!byte[0]], offset)
        })
        .await
    }

    async fn keep(mut self: Box<Self>) -> io::Result<BodyId> {
        if let Some(path) = self.path.clone() {
            let kept = self.kept.clone();
            self.write_and(move |_| fs::rename(path, kept)).await?;
        }
        self.path = None;
        Ok(self.body)
    }
}

impl Drop for DiskStaging {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing depends on it: what stays is cleared away at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_cannot_be_given_up_while_it_is_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = DiskStore::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        tokio::select! {
            biased;
            staged = store.stage() => drop(staged),
            () = std::future::ready(()) => panic!("there was a moment at which the request could be given up"),
        }
        let left = fs::read_dir(dir.path().join("staging")).expect("a directory").count();
        assert_eq!(left, 0, "what was begun is cleared away");
    }
}
