//! The append-only log of records: a version line, then one record a line behind its checksum.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    path::Path,
};

use crate::core::Record;

/// What the first line says.
const HEADER: &str = "vod-mock sessions, format 3\n";

pub(super) struct Log {
    file: File,
    /// The length up to which the file is known to be whole.
    len: u64,
    /// There may be half a line behind it.
    torn: bool,
}

/// A log that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its first line is of another format, or of something else entirely.
    #[error("it begins with {found:?}: this version reads {expected:?}", expected = HEADER.trim_end())]
    Header {
        /// What stands there.
        found: String,
    },
    /// A line in its middle is damaged.
    #[error("line {line} is damaged: {why}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// In which way.
        why: String,
    },
}

impl Log {
    /// Opens or makes the log and reads its records. A torn last line was never acknowledged and is cut off;
    /// damage anywhere else is an error, because what was acknowledged would be lost unseen.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Record>), LogError> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        if file.metadata()?.len() < HEADER.len() as u64 {
            let mut found = String::new();
            file.read_to_string(&mut found)?;
            if !HEADER.starts_with(&found) {
                return Err(LogError::Header { found });
            }
            file.set_len(0)?;
            file.write_all(HEADER.as_bytes())?;
            return Ok((Self { file, len: HEADER.len() as u64, torn: false }, Vec::new()));
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        if line != HEADER.as_bytes() {
            let found = String::from_utf8_lossy(&line).chars().take(60).collect::<String>();
            return Err(LogError::Header { found: found.trim_end().to_owned() });
        }
        let (mut records, mut len, mut number) = (Vec::new(), line.len() as u64, 1);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            if line.last() != Some(&b'\n') {
                tracing::warn!(path = %path.display(), line = number, "the log's last line is torn and was cut off");
                break;
            }
            records.push(decode(&line).map_err(|why| LogError::Line { line: number, why })?);
            len += line.len() as u64;
        }
        let mut file = reader.into_inner();
        file.set_len(len)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok((Self { file, len, torn: false }, records))
    }

    /// Appends a record in one write. After a failure, as on a full disk, the log is as it was before.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = encode(record)?;
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

fn encode(record: &Record) -> io::Result<String> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

fn decode(line: &[u8]) -> Result<Record, String> {
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let (sum, json) =
        line.trim_end_matches('\n').split_once(' ').ok_or("there is no checksum before its first space")?;
    let found = format!("{:08x}", crc32fast::hash(json.as_bytes()));
    if sum != found {
        return Err(format!("its checksum says {sum}, its bytes make {found}"));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use vod_proto::Sha1;

    use super::*;
    use crate::core::UploadKey;

    fn record(n: u8) -> Record {
        Record::Dropped {
            key: UploadKey {
                account: "demo".to_owned(),
                generation: crate::core::Generation::default(),
                file_sha1: Sha1::of(&[n]),
            },
        }
    }

    fn written(records: u8) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.log");
        let (mut log, _) = Log::open(&path).unwrap();
        (0..records).for_each(|n| log.append(&record(n)).unwrap());
        (dir, path)
    }

    #[test]
    fn records_read_back_in_order() {
        let (_dir, path) = written(3);
        assert_eq!(Log::open(&path).unwrap().1, [record(0), record(1), record(2)]);
    }

    #[test]
    fn a_log_cut_anywhere_keeps_every_whole_record_and_goes_on() {
        let (_dir, path) = written(3);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut log, records) = Log::open(&path).unwrap();
            let lines = whole[..len].iter().filter(|b| **b == b'\n').count();
            assert_eq!(records.len(), lines.saturating_sub(1), "cut at {len}");
            log.append(&record(9)).unwrap();
            drop(log);
            assert_eq!(Log::open(&path).unwrap().1.last(), Some(&record(9)), "cut at {len}");
        }
    }

    #[test]
    fn a_flipped_byte_is_never_believed() {
        let (_dir, path) = written(2);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            // The last line's break may turn into something else, which makes that line a torn one.
            match Log::open(&path) {
                Ok((_, records)) => assert_eq!(records, [record(0)], "byte {at}"),
                Err(LogError::Line { .. } | LogError::Header { .. }) => {}
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}
