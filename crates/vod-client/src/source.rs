//! Bytes that can be read again at any place: for every attempt of a part anew.
//!
//! - `cache`: the digests of files that were read before, on disk.
//! - `digests`: the one reading that gives the SHA-1 of the whole and the MD5 of each part.
//! - `parts`: the bytes of a part, in memory that is used again.

mod cache;
mod digests;
mod parts;

use std::{
    fs::{File, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

pub use self::cache::Identity;
pub(crate) use self::{cache::Cache, digests::Digests, parts::Parts};
use crate::error::SourceError;

/// What can be uploaded: bytes that can be read at any place, as often as it takes.
///
/// [`FileSource`] and [`BytesSource`] are sources; so is whatever says how long it is and fills a buffer. Here a film that
/// lies behind a header which is not to be uploaded:
///
/// ```
/// use std::io;
/// use vod_client::{FileSource, Source, SourceError};
///
/// struct Behind {
///     header: u64,
///     file: FileSource,
/// }
///
/// impl Source for Behind {
///     fn len(&self) -> u64 {
///         self.file.len() - self.header
///     }
///
///     fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
///         self.file.read_at(self.header + offset, buffer)
///     }
///
///     fn check_unchanged(&self) -> Result<(), SourceError> {
///         self.file.check_unchanged()
///     }
///     // No identity: the file's is that of other bytes.
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("film.bin");
/// # std::fs::write(&path, b"header, film")?;
/// let film = Behind { header: 8, file: FileSource::open(&path)? };
/// let mut bytes = [0; 4];
/// film.read_at(0, &mut bytes)?;
/// assert_eq!((film.len(), &bytes), (4, b"film"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its methods may block, but for [`len`](Self::len): with [`Work::Pool`] they are called on threads where that is
/// allowed, several at once.
pub trait Source: Send + Sync + 'static {
    /// The length in bytes, as it was when the source was made. It is asked often, and where nothing may block.
    fn len(&self) -> u64;

    /// Is there nothing in it?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills the whole buffer with the bytes from `offset` on.
    ///
    /// # Errors
    /// When the bytes cannot be read; [`io::ErrorKind::UnexpectedEof`] when there are too few of them.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Is it still what it was when it was made? Asked after the last part and before the finish.
    ///
    /// # Errors
    /// [`SourceError::Changed`] if not. The default says that it is.
    fn check_unchanged(&self) -> Result<(), SourceError> {
        Ok(())
    }

    /// What tells it, as it was when it was made, from anything else, so that its digests can be found again in a later
    /// process. The default says that nothing does, as of a file that was written to a moment before it was opened.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// What points at a source is one.
macro_rules! points_at_a_source {
    ($pointer:ident) => {
        impl<S: Source + ?Sized> Source for $pointer<S> {
            fn len(&self) -> u64 {
                (**self).len()
            }

            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                (**self).read_at(offset, buffer)
            }

            fn check_unchanged(&self) -> Result<(), SourceError> {
                (**self).check_unchanged()
            }

            fn identity(&self) -> Option<Identity> {
                (**self).identity()
            }
        }
    };
}

points_at_a_source!(Arc);
points_at_a_source!(Box);

/// A file on disk.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    path: PathBuf,
    len: u64,
    /// Some file systems keep none.
    modified: Option<SystemTime>,
    identity: Option<Identity>,
}

impl FileSource {
    /// Opens a file, and remembers its length and when it was last written.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref().to_owned();
        let shown = || path.display().to_string();
        let failed = |error: io::Error| SourceError::Open { path: shown(), why: plain(&error) };
        // Before it is opened: opening a pipe waits for its writer.
        if !std::fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(SourceError::NotAFile { path: shown() });
        }
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let (len, modified) = (metadata.len(), metadata.modified().ok());
        let identity = Identity::of(&path, &metadata);
        Ok(Self { file, path, len, modified, identity })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn changes(&self, now: &Metadata) -> Option<String> {
        if now.len() != self.len {
            return Some(format!("it was {} bytes long and is {} now", self.len, now.len()));
        }
        (now.modified().ok() != self.modified).then(|| "it was written to".to_owned())
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    offset += n as u64;
                    buffer = &mut buffer[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    fn check_unchanged(&self) -> Result<(), SourceError> {
        let now = self.file.metadata().map_err(|error| SourceError::Changed(plain(&error)))?;
        self.changes(&now).map_or(Ok(()), |what| Err(SourceError::Changed(what)))
    }
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct BytesSource(Bytes);

impl BytesSource {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

impl Source for BytesSource {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from.checked_add(buffer.len()).and_then(|to| self.0.get(from..to));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Where reading and hashing is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// On the runtime's blocking threads, so that sockets are served meanwhile. The default.
    #[default]
    Pool,
    /// Where the upload runs, without any thread: for simulations, and for sources in memory.
    Inline,
}

impl Work {
    /// Does what may block.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => work(),
            Self::Pool => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

fn read(source: &dyn Source, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
    source.read_at(offset, buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            SourceError::Changed(format!("it ends before {}", offset + buffer.len() as u64))
        }
        _ => SourceError::Read { offset, why: plain(&error) },
    })
}

fn in_memory(len: u64) -> usize {
    usize::try_from(len).expect("a part is within the source, whose parts the options bound")
}

/// The system's words without the `(os error 2)` behind them.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn temporary(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_noticed() {
        let mut file = temporary(b"0123456789");
        let source = FileSource::open(file.path()).unwrap();
        assert_eq!(source.check_unchanged(), Ok(()));
        file.write_all(b"more").unwrap();
        let error = source.check_unchanged().unwrap_err();
        assert_eq!(error.to_string(), "the file changed during the upload: it was 10 bytes long and is 14 now");
        file.as_file().set_len(4).unwrap();
        let error = read(&source, 0, &mut [0; 10]).unwrap_err();
        assert_eq!(error.to_string(), "the file changed during the upload: it ends before 10");
    }

    #[test]
    fn a_file_that_is_written_to_in_place_is_noticed() {
        let file = temporary(b"0123456789");
        let source = FileSource::open(file.path()).unwrap();
        file.as_file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(matches!(source.check_unchanged(), Err(SourceError::Changed(_))));
    }

    #[test]
    fn what_is_no_file_is_said_so() {
        let missing = FileSource::open("/nonexistent/video.mp4").unwrap_err();
        assert_eq!(missing.to_string(), "cannot open /nonexistent/video.mp4: no such file or directory");
        assert!(matches!(FileSource::open("/").unwrap_err(), SourceError::NotAFile { .. }));
    }
}
