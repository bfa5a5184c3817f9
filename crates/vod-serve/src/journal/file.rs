//! The journal's file: one exchange a line, appended when it is over.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use vod_proto::{Exchange, exchange::LineError};

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
}

impl JournalFile {
    /// Opens or makes the file, and reads what stands in it.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Exchange>), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
        let mut reader = BufReader::new(file);
        let (mut exchanges, mut good, mut number) = (Vec::new(), 0, 0);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let len = reader.read_until(b'\n', &mut bytes).map_err(io)?;
            if len == 0 {
                break;
            }
            number += 1;
            if bytes.last() != Some(&b'\n') {
                tracing::warn!(path = %path.display(), line = number, "the journal's last line is torn and was cut off");
                break;
            }
            let line = String::from_utf8_lossy(&bytes);
            let exchange = Exchange::from_line(line.trim_end()).map_err(|source| JournalError::Line {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            exchanges.push(exchange);
            good += len as u64;
        }
        let mut file = reader.into_inner();
        file.set_len(good).map_err(io)?;
        file.seek(io::SeekFrom::End(0)).map_err(io)?;
        Ok((Self { file }, exchanges))
    }

    /// Appends a line in one write, so that a killed process leaves at most one torn line.
    pub(super) fn append(&mut self, exchange: &Exchange) -> io::Result<()> {
        let mut line = exchange.to_line()?;
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"v":1,"seq":4,"start":"2026-01-02T03:04:05Z","attempt":1,"request":{"method":"GET","host":"h","target":"/","headers":[],"body":{"len":0,"kept":"digest"}},"end":"replied","times":{}}"#;

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_goes_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, format!("{LINE}\n{}", &LINE[..40])).unwrap();
        let (mut file, exchanges) = JournalFile::open(&path).unwrap();
        assert_eq!(exchanges.len(), 1);
        file.append(&exchanges[0]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{LINE}\n{LINE}\n"));
    }

    #[test]
    fn a_line_that_is_no_exchange_is_refused_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, format!("{LINE}\nhello\n")).unwrap();
        let error = JournalFile::open(&path).err().unwrap().to_string();
        assert!(error.contains("line 2: not an exchange"), "{error}");
    }
}
