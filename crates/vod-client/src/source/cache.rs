//! The digests of files that were read before, on disk, so that an upload that is resumed does not read 100 GB again.
//!
//! An entry is a file of its own, put in place whole. It is believed only if its own digest holds and the file that it
//! is about is what it was, to the nanosecond of its last change: whatever is torn, foreign or outdated is as good as
//! nothing.

#[cfg(not(unix))]
use std::time::SystemTime;
use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use vod_proto::{Md5, Sha1};

use super::Digests;
use crate::clock;

/// What an entry begins with. A version that is not known is not read.
const FORMAT: &str = "vod-client digests 1";

/// How long an entry is kept. Default 7 days: the service forgets what was begun after two, and a week covers a
/// holiday between two tries.
const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);

/// How old the last change of a file must be when it is opened, for its digests to be kept. Default 2 s: the clocks of
/// file systems are that coarse, and a change within the same tick, while it is read, could not be seen.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells one state of a file from any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Where it lies, from the root.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written, in seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    /// When anything about it was last changed, which nobody can set back; none where the system does not tell.
    pub changed: Option<(i64, i64)>,
    /// Its device and its number there; none where the system does not tell.
    pub place: Option<(u64, u64)>,
}

impl Identity {
    /// None where there is no telling: without a path from the root or a time of the last change, or so soon after it
    /// that another could follow unseen.
    pub(super) fn of(path: &Path, metadata: &fs::Metadata) -> Option<Self> {
        if clock::age(metadata.modified().ok()?) < SETTLED {
            return None;
        }
        let path = std::path::absolute(path).ok()?;
        let len = metadata.len();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let changed = Some((metadata.ctime(), metadata.ctime_nsec()));
            let place = Some((metadata.dev(), metadata.ino()));
            Some(Self { path, len, modified, changed, place })
        }
        #[cfg(not(unix))]
        {
            let modified = metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let modified = (i64::try_from(modified.as_secs()).ok()?, modified.subsec_nanos().into());
            Some(Self { path, len, modified, changed: None, place: None })
        }
    }
}

/// A directory of digests.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    identity: Identity,
    sha1: Sha1,
    grid: u64,
    md5s: Vec<Md5>,
}

impl Cache {
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The digests of a file, if they are known and it has not changed.
    pub(crate) fn look(&self, identity: &Identity) -> Option<Digests> {
        let text = fs::read_to_string(self.place(identity)).ok()?;
        let entry = read(&text)?;
        (entry.identity == *identity).then(|| Digests::known(entry.sha1, identity.len, entry.grid, entry.md5s))
    }

    /// Keeps the digests of a file, and drops entries that are too old.
    ///
    /// # Errors
    /// If they cannot be written: the next upload reads the file again.
    pub(crate) fn keep(&self, identity: &Identity, digests: &Digests) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        self.drop_old();
        let (grid, md5s) = digests.parts();
        let entry = Entry { identity: identity.clone(), sha1: digests.sha1(), grid, md5s: md5s.to_vec() };
        let mut new = tempfile::NamedTempFile::new_in(&self.dir)?;
        new.write_all(write(&entry)?.as_bytes())?;
        new.persist(self.place(identity))?;
        Ok(())
    }

    /// Forgets a file.
    pub(crate) fn forget(&self, identity: &Identity) {
        // It may never have been known.
        let _ = fs::remove_file(self.place(identity));
    }

    fn place(&self, identity: &Identity) -> PathBuf {
        self.dir.join(format!("{}.digests", Sha1::of(identity.path.as_os_str().as_encoded_bytes())))
    }

    fn drop_old(&self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in entries {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_entry = entry.path().extension().is_some_and(|extension| extension == "digests");
            if is_entry && modified.is_ok_and(|modified| clock::age(modified) > KEPT_FOR) {
                // Whoever else cleans up may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The format and the digest of what follows, and behind them the entry in one line.
fn write(entry: &Entry) -> io::Result<String> {
    let line = serde_json::to_string(entry)?;
    Ok(format!("{FORMAT} {}\n{line}\n", Sha1::of(line.as_bytes())))
}

fn read(text: &str) -> Option<Entry> {
    let (head, line) = text.strip_suffix('\n')?.split_once('\n')?;
    let sum: Sha1 = head.strip_prefix(FORMAT)?.strip_prefix(' ')?.parse().ok()?;
    if sum != Sha1::of(line.as_bytes()) {
        return None;
    }
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FileSource, Source as _};

    fn digests() -> Digests {
        let md5s = vec![Md5::of(b"a"), Md5::of(b"b")];
        Digests::known(Sha1::of(b"ab"), 2, 1, md5s)
    }

    fn identity() -> Identity {
        let (modified, changed) = ((1_465_185_768, 7), Some((1_465_185_768, 8)));
        Identity { path: "/videos/a.mp4".into(), len: 2, modified, changed, place: Some((1, 2)) }
    }

    #[test]
    fn what_is_kept_is_found_as_long_as_nothing_about_the_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(&dir.path().join("made/when/needed"));
        let identity = identity();
        assert!(cache.look(&identity).is_none());
        cache.keep(&identity, &digests()).unwrap();
        let found = cache.look(&identity).unwrap();
        assert_eq!((found.sha1(), found.parts()), (digests().sha1(), digests().parts()));
        let others = [
            Identity { path: "/videos/b.mp4".into(), ..identity.clone() },
            Identity { len: 3, ..identity.clone() },
            Identity { modified: (1_465_185_768, 8), ..identity.clone() },
            Identity { changed: Some((1_465_185_769, 8)), ..identity.clone() },
            Identity { place: Some((1, 3)), ..identity.clone() },
        ];
        assert!(others.iter().all(|other| cache.look(other).is_none()));
        cache.forget(&identity);
        assert!(cache.look(&identity).is_none());
    }

    #[test]
    fn an_entry_that_was_cut_or_changed_at_any_byte_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, identity) = (Cache::at(dir.path()), identity());
        cache.keep(&identity, &digests()).unwrap();
        let place = cache.place(&identity);
        let whole = fs::read(&place).unwrap();
        for at in 0..whole.len() {
            fs::write(&place, &whole[..at]).unwrap();
            assert!(cache.look(&identity).is_none(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&place, &changed).unwrap();
            // The digits of a digest may be written in either case.
            assert!(cache.look(&identity).is_none(), "changed at {at}");
        }
        fs::write(&place, &whole).unwrap();
        assert!(cache.look(&identity).is_some());
    }

    #[test]
    fn a_file_that_was_just_written_may_change_unseen_and_is_not_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let identity = || FileSource::open(file.path()).unwrap().identity();
        // Asked of the moment at which it is opened: by the time that it was read it may be settled, and have changed.
        assert_eq!(identity(), None);
        let written = file.as_file().metadata().unwrap().modified().unwrap();
        file.as_file().set_modified(written - Duration::from_secs(3)).unwrap();
        assert!(identity().is_some());
        file.as_file().set_modified(written + Duration::from_secs(60)).unwrap();
        assert_eq!(identity(), None, "who knows when that is");
    }

    #[test]
    fn entries_that_nobody_needs_any_more_are_dropped_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let (old, other) = (identity(), Identity { path: "/videos/b.mp4".into(), ..identity() });
        cache.keep(&old, &digests()).unwrap();
        let foreign = dir.path().join("notes.txt");
        fs::write(&foreign, "not ours").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_465_185_768);
        for path in [cache.place(&old), foreign.clone()] {
            fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        cache.keep(&other, &digests()).unwrap();
        assert!(cache.look(&old).is_none() && cache.look(&other).is_some() && foreign.exists());
    }

    #[test]
    fn a_file_is_another_as_soon_as_it_is_written_to_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let written = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            // Set back, as by whoever wants to hide it.
            let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_465_185_768);
            fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
            FileSource::open(&path).unwrap().identity().unwrap()
        };
        let first = written(b"0123");
        assert_eq!(FileSource::open(&path).unwrap().identity(), Some(first.clone()));
        assert!(first.path.is_absolute() && first.len == 4);
        fs::rename(&path, dir.path().join("kept")).unwrap();
        let replaced = written(b"0123");
        assert_ne!(replaced, first, "another file of the same name and length");
    }
}
