//! The journal's file: one exchange a line, appended when it is over.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use vod_proto::{Exchange, exchange::LineError, lint::Gap};

use super::numbers::Numbers;

/// How a journal's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd {
    /// How many bytes of it are whole lines.
    pub good: u64,
    /// The highest number in it; 0 where there is none.
    pub last: u64,
    /// Half a line follows, as a killed process leaves it.
    pub torn: bool,
    /// Its marker stands: whoever wrote it was killed, or is at work still. What was under way is missing, and the number behind
    /// the last one stands for it.
    pub unclosed: bool,
    /// What the numbers in it leave out, and what is missing because it was not closed.
    pub gap: Gap,
}

/// Reads the exchanges in a file one by one, and changes nothing in it. A torn last line is passed over, and told. Of one that
/// has a [marker](super::Builder::marker) it is told whether it was closed.
///
/// # Errors
/// If the file cannot be read, or holds something that is no journal, with its line.
pub fn read(path: &Path, marker: Option<&Path>, take: impl FnMut(Exchange)) -> Result<FileEnd, JournalError> {
    // Before the lines are read: whoever closes it meanwhile writes more of them first.
    let unclosed = stands(marker)?;
    let file = File::open(path).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    regular(&file, path)?;
    let end = read_lines(&mut BufReader::with_capacity(AT_ONCE, file), path, LINE_MOST, take)?;
    Ok(end.marked(unclosed))
}

impl FileEnd {
    fn marked(mut self, unclosed: bool) -> Self {
        if unclosed {
            // How many were under way nobody knows: one number is left out for all of them.
            let behind_last = self.last.saturating_add(1);
            self.gap = Gap { evicted: self.gap.evicted.saturating_add(1), up_to: behind_last, ..self.gap };
        }
        Self { unclosed, ..self }
    }
}

/// What stands in a marker, for people.
const MARK: &[u8] =
    b"Exchanges are being written here, or their writer was killed: what was under way then is missing.\n";

fn stands(marker: Option<&Path>) -> Result<bool, JournalError> {
    let Some(path) = marker else { return Ok(false) };
    path.try_exists().map_err(|source| JournalError::Io { path: path.to_owned(), source })
}

fn regular(file: &File, path: &Path) -> Result<(), JournalError> {
    let metadata = file.metadata().map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    if metadata.is_file() { Ok(()) } else { Err(JournalError::NotRegular { path: path.to_owned() }) }
}

/// How much of the file is read at once, in bytes. Default 256 KiB: some 300 lines.
const AT_ONCE: usize = 256 << 10;

/// Longest line, in bytes, so that a file that is no journal is not read whole in search of a line break. Default
/// 256 MiB: twice what memory holds of all exchanges, as an answer that lists the parts of a very long upload may be.
const LINE_MOST: u64 = 256 << 20;

/// A journal file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened, read or written.
    #[error("the journal {path} cannot be used: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server writes to it.
    #[error("the journal {path} is in use by another server")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// It is a device, a pipe or a socket: reading what stands in it might never end.
    #[error("the journal {path} cannot be used: it is no regular file, and could not be taken up again")]
    NotRegular {
        /// Which file.
        path: PathBuf,
    },
    /// A line is longer than any that is written here.
    #[error("the journal {path}, line {line}: longer than {LINE_MOST} bytes: not an exchange")]
    Long {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
    },
    /// Two lines claim the same number.
    #[error("the journal {path}, line {line}: exchange {seq} stands there twice")]
    Twice {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// Which exchange.
        seq: u64,
    },
    /// It holds something else.
    #[error("the journal {path}, line {line}: {source}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// Why.
        source: LineError,
    },
}

pub(super) struct JournalFile {
    file: File,
    /// The length up to which every line is whole.
    len: u64,
    /// There may be half a line behind it.
    torn: bool,
    /// Stands for as long as exchanges may be under way, if there is one.
    marker: Option<PathBuf>,
    /// Numbers are left out behind the last line, which nothing but the marker says: it stays.
    lacks: bool,
    /// A line could not be written.
    unwritable: bool,
}

impl JournalFile {
    /// Opens or makes the file, and reads what stands in it, one exchange after the other. Also says what the numbers in
    /// it leave out, to which those that come next have to be added where its marker stands.
    pub(super) fn open(
        path: &Path,
        marker: Option<PathBuf>,
        take_up: impl FnMut(Exchange),
    ) -> Result<(Self, Gap), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
        regular(&file, path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { path: path.to_owned() },
            TryLockError::Error(source) => io(source),
        })?;
        let mut reader = BufReader::with_capacity(AT_ONCE, file);
        let unclosed = stands(marker.as_deref())?;
        let end = read_lines(&mut reader, path, LINE_MOST, take_up)?.marked(unclosed);
        let FileEnd { good, torn, gap, .. } = end;
        if torn {
            tracing::warn!(path = %path.display(), "the journal's last line is torn and was cut off");
        }
        let mut file = reader.into_inner();
        file.set_len(good).map_err(io)?;
        file.seek(io::SeekFrom::End(0)).map_err(io)?;
        if let Some(path) = marker.as_ref().filter(|_| !unclosed) {
            std::fs::write(path, MARK).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        }
        Ok((Self { file, len: good, torn: false, marker, lacks: unclosed, unwritable: false }, gap))
    }

    /// Appends a line, with its line break, in one write, so that a killed process leaves at most one torn line.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one too. If it cannot be cut off now, it is before the next is written.
            self.torn = self.file.set_len(self.len).is_err();
            (self.lacks, self.unwritable) = (true, true);
            return Err(error);
        }
        self.len += line.len() as u64;
        // What was left out before it is seen by its number, but for what could not be written: that may have had a higher one.
        self.lacks = self.unwritable;
        Ok(())
    }
}

/// Whoever drops it has written all that was under way.
impl Drop for JournalFile {
    fn drop(&mut self) {
        let Some(path) = self.marker.as_ref().filter(|_| !self.lacks) else { return };
        // Before the lock is given back: the next one has a marker of its own.
        if let Err(error) = std::fs::remove_file(path) {
            tracing::error!(%error, path = %path.display(), "the journal's file cannot be closed");
        }
    }
}

impl Numbers {
    fn end(&self, good: u64, torn: bool) -> FileEnd {
        FileEnd { good, last: self.last(), torn, unclosed: false, gap: self.gap() }
    }
}

/// Reads lines up to a torn one, if there is. Says how many bytes are good, and what the numbers leave out.
fn read_lines(
    reader: &mut impl BufRead,
    path: &Path,
    line_most: u64,
    mut take_up: impl FnMut(Exchange),
) -> Result<FileEnd, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    let (mut numbers, mut good, mut line) = (Numbers::default(), 0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let len = reader.by_ref().take(line_most).read_until(b'\n', &mut bytes).map_err(io)? as u64;
        if len == 0 {
            return Ok(numbers.end(good, false));
        }
        line += 1;
        if bytes.last() != Some(&b'\n') {
            if len == line_most {
                return Err(JournalError::Long { path: path.to_owned(), line });
            }
            if is_torn(&bytes) {
                return Ok(numbers.end(good, true));
            }
        }
        let exchange = Exchange::from_line(String::from_utf8_lossy(&bytes).trim_end());
        let exchange = exchange.map_err(|source| JournalError::Line { path: path.to_owned(), line, source })?;
        if !numbers.insert(exchange.seq) {
            return Err(JournalError::Twice { path: path.to_owned(), line, seq: exchange.seq });
        }
        take_up(exchange);
        good += len;
    }
}

/// Is this the beginning of a line that a killed process did not finish? Anything else is somebody's file.
fn is_torn(tail: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"v\":";
    let common = tail.len().min(BEGINNING.len());
    tail[..common] == BEGINNING[..common]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<(JournalFile, Vec<Exchange>), JournalError> {
        let mut exchanges = Vec::new();
        let (file, _) = JournalFile::open(path, None, |exchange| exchanges.push(exchange))?;
        Ok((file, exchanges))
    }

    const LINE: &str = r#"{"v":1,"seq":4,"start":"2026-01-02T03:04:05Z","attempt":1,"request":{"method":"GET","host":"h","target":"/","headers":[],"body":{"len":0,"kept":"digest"}},"end":"replied","times":{}}"#;

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_goes_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, format!("{LINE}\n{}", &LINE[..40])).unwrap();
        let (mut file, exchanges) = open(&path).unwrap();
        assert_eq!(exchanges.len(), 1);
        file.append(&format!("{}\n", exchanges[0].to_line().unwrap())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{LINE}\n{LINE}\n"));
    }

    #[test]
    fn lines_are_read_one_by_one_and_none_that_has_no_end() {
        let other = LINE.replace("\"seq\":4", "\"seq\":2");
        let text = format!("{LINE}\n{other}\n{LINE}\n");
        let mut seen = Vec::new();
        let mut read = |text: &str, most| {
            seen.clear();
            let read = read_lines(&mut text.as_bytes(), Path::new("j"), most, |exchange| seen.push(exchange.seq));
            (
                read.map(|FileEnd { good, gap, .. }| (good, gap.evicted, gap.up_to)).map_err(|error| error.to_string()),
                seen.clone(),
            )
        };
        let longest = LINE.len() as u64 + 1;
        let whole = format!("{LINE}\n{other}\n");
        assert_eq!(read(&whole, longest), (Ok((2 * longest, 2, 3)), vec![4, 2]));
        let (refused, before) = read(&text, longest - 1);
        assert!(refused.unwrap_err().starts_with("the journal j, line 1: longer than"));
        assert!(before.is_empty());
        let (refused, before) = read(&text, LINE_MOST);
        assert_eq!(
            (refused.unwrap_err().as_str(), before),
            ("the journal j, line 3: exchange 4 stands there twice", vec![4, 2])
        );
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_regular_file_is_refused_before_it_is_read() {
        // `/dev/null` stands for `/dev/full` and pipes, which would be read for ever if this failed.
        let error = open(Path::new("/dev/null")).err().expect("it is refused").to_string();
        assert!(error.contains("no regular file"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_journal_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("thesis");
        for text in ["precious text", "{\"a\": 1}", &format!("{LINE}\nprecious")] {
            std::fs::write(&path, text).unwrap();
            let error = open(&path).err().expect("it is refused").to_string();
            assert!(error.contains("not an exchange"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn one_mock_has_the_file_and_no_exchange_stands_in_it_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (first, _) = open(&path).unwrap();
        assert!(matches!(open(&path), Err(JournalError::InUse { .. })));
        drop(first);
        std::fs::write(&path, format!("{LINE}\n{LINE}\n")).unwrap();
        assert!(matches!(open(&path), Err(JournalError::Twice { line: 2, seq: 4, .. })));
    }

    #[test]
    fn a_marker_stands_while_exchanges_may_come_and_stays_behind_where_nothing_else_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, marker) = (dir.path().join("journal.jsonl"), dir.path().join("marker"));
        let open = || JournalFile::open(&path, Some(marker.clone()), |_| {}).unwrap();
        let end = || read(&path, Some(&marker), |_| {}).unwrap();
        let numbered = |seq: u64| LINE.replace("\"seq\":4", &format!("\"seq\":{seq}")) + "\n";
        let (mut file, gap) = open();
        assert_eq!((marker.exists(), gap), (true, Gap::default()));
        file.append(&numbered(1)).unwrap();
        assert_eq!((end().unclosed, end().gap), (true, Gap { evicted: 1, up_to: 2, forgotten: 0 }));
        drop(file);
        assert_eq!((marker.exists(), end().unclosed, end().gap), (false, false, Gap::default()));

        // As a process leaves it that is killed.
        std::fs::write(&marker, "").unwrap();
        let (file, gap) = open();
        assert_eq!(gap, Gap { evicted: 1, up_to: 2, forgotten: 0 });
        drop(file);
        assert!(end().unclosed, "nothing was written, so that no number says yet what is missing");
        let (mut file, _) = open();
        file.append(&numbered(3)).unwrap();
        drop(file);
        assert_eq!((end().unclosed, end().gap), (false, Gap { evicted: 1, up_to: 2, forgotten: 0 }));
    }

    #[test]
    fn a_line_that_is_no_exchange_is_refused_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, format!("{LINE}\nhello\n")).unwrap();
        let error = open(&path).err().unwrap().to_string();
        assert!(error.contains("line 2: not an exchange"), "{error}");
    }
}
