//! Is all of a recording there that should be?

use std::{collections::BTreeSet, fmt};

use vod_proto::{
    Sha1,
    exchange::{Kept, Mark},
};
use vod_serve::journal::FileEnd;

use super::{Held, Recording, RecordingError};

/// What was found in a recording whose every line can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many exchanges it holds.
    pub exchanges: u64,
    /// How its file of exchanges ends, and what it leaves out.
    pub end: FileEnd,
    /// How many bodies it keeps beside its lines.
    pub bodies: usize,
    /// Bodies that a line speaks of and that are not there.
    pub missing: Vec<Sha1>,
    /// Bodies that a line speaks of and that are not what they were.
    pub changed: Vec<Sha1>,
    /// The names of what stands among the bodies and no line speaks of, in order.
    pub unnamed: BTreeSet<String>,
}

/// How many names of bodies that no exchange speaks of are said. Default 3: how many there are is said too.
const NAMED: usize = 3;

impl Checked {
    /// Is nothing missing?
    ///
    /// A body that no exchange speaks of is what a recorder leaves that is killed between the two. Where there are such bodies and
    /// not a single exchange, the exchanges are gone.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Self { exchanges, end, bodies: _, missing, changed, unnamed } = self;
        let is_cut = end.torn || end.gap.evicted > 0 || (*exchanges == 0 && !unnamed.is_empty());
        !is_cut && missing.is_empty() && changed.is_empty()
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchanges, end, bodies, missing, changed, unnamed } = self;
        write!(f, "{exchanges} exchanges, {bodies} bodies beside them")?;
        if end.torn {
            write!(f, "; the last line is torn, as a killed recorder leaves it")?;
        }
        if end.unclosed {
            write!(
                f,
                "; not closed, as a recorder leaves it that is killed, or is at work: what is under way is missing"
            )?;
        }
        if end.gap.evicted > 0 {
            write!(f, "; {} exchanges up to number {} are missing", end.gap.evicted, end.gap.up_to)?;
        }
        for sha1 in missing {
            write!(f, "; the body {sha1} is missing")?;
        }
        for sha1 in changed {
            write!(f, "; the body {sha1} is not what it was")?;
        }
        if !unnamed.is_empty() {
            let named: Vec<_> = unnamed.iter().take(NAMED).map(String::as_str).collect();
            let more = if unnamed.len() > NAMED { ", …" } else { "" };
            write!(f, "; {} bodies that no exchange speaks of: {}{more}", unnamed.len(), named.join(", "))?;
        }
        if self.is_whole() { write!(f, "; whole") } else { Ok(()) }
    }
}

impl Recording {
    /// Reads all of it, and looks whether every body is there that a line speaks of.
    ///
    /// # Errors
    /// As for [`read`](Self::read), or if a body cannot be read.
    pub fn verify(&self) -> Result<Checked, RecordingError> {
        let (mut exchanges, mut kept) = (0, BTreeSet::new());
        let end = self.read(|exchange| {
            exchanges += 1;
            let reply = exchange.reply.as_ref().and_then(|reply| reply.mark.as_ref());
            kept.extend([Some(&exchange.request.body), reply].into_iter().flatten().filter_map(in_file));
        })?;
        let bodies = self.bodies();
        let (mut missing, mut changed) = (Vec::new(), Vec::new());
        let mut unnamed = bodies.names().map_err(RecordingError::io(self.dir()))?;
        for &sha1 in &kept {
            unnamed.remove(&sha1.to_string());
            match bodies.look(sha1).map_err(RecordingError::io(&bodies.path(sha1)))? {
                Held::Whole => {}
                Held::Missing => missing.push(sha1),
                Held::Changed => changed.push(sha1),
            }
        }
        Ok(Checked { exchanges, end, bodies: kept.len(), missing, changed, unnamed })
    }
}

fn in_file(mark: &Mark) -> Option<Sha1> {
    mark.sha1.filter(|_| mark.kept == Kept::File)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use jiff::Timestamp;
    use vod_proto::redact::Rules;

    use super::*;
    use crate::{
        look::crafted::{INIT, exchange},
        recording::{EXCHANGES_FILE, KeptBodies, Source, Wanted},
    };

    /// A recording of one exchange, whose body is kept beside it.
    fn recorded(dir: &Path) -> (Recording, Sha1) {
        let source = Source::Upstream("http://h".to_owned());
        let wanted = Wanted { source, bodies: KeptBodies::All, rules: Rules::default() };
        let (recording, journal) = Recording::record(dir, wanted, Timestamp::UNIX_EPOCH).unwrap();
        drop(journal);
        let sha1 = keep(&recording, b"hello");
        let mut kept = exchange(1, "UploadPart", Some(1), Some(INIT));
        kept.request.body = Mark { len: 5, sha1: Some(sha1), md5: None, kept: Kept::File };
        fs::write(recording.exchanges_path(), kept.to_line().unwrap() + "\n").unwrap();
        (recording, sha1)
    }

    fn keep(recording: &Recording, bytes: &[u8]) -> Sha1 {
        let mut draft = recording.bodies().draft().unwrap();
        draft.write(bytes).unwrap();
        draft.keep(Sha1::of(bytes)).unwrap();
        Sha1::of(bytes)
    }

    #[test]
    fn a_body_that_is_gone_is_told_from_one_that_is_not_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (recording, sha1) = recorded(dir.path());
        let checked = recording.verify().unwrap();
        assert_eq!(checked.to_string(), "1 exchanges, 1 bodies beside them; whole");
        let path = recording.bodies().path(sha1);
        fs::write(&path, "hullo").unwrap();
        let changed = recording.verify().unwrap();
        assert!(!changed.is_whole());
        assert_eq!(
            changed.to_string(),
            format!("1 exchanges, 1 bodies beside them; the body {sha1} is not what it was")
        );
        fs::remove_file(&path).unwrap();
        let missing = recording.verify().unwrap();
        assert!(!missing.is_whole());
        assert_eq!(missing.to_string(), format!("1 exchanges, 1 bodies beside them; the body {sha1} is missing"));
    }

    #[test]
    fn bodies_that_no_exchange_speaks_of_are_said_and_without_any_exchange_it_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (recording, sha1) = recorded(dir.path());
        let mut others: Vec<_> = [b"1", b"2", b"3", b"4"].map(|bytes| keep(&recording, bytes).to_string()).into();
        others.sort();
        let checked = recording.verify().unwrap();
        assert!(checked.is_whole(), "a recorder that is killed may leave such: {checked}");
        let named = others[..3].join(", ");
        assert_eq!(
            checked.to_string(),
            format!("1 exchanges, 1 bodies beside them; 4 bodies that no exchange speaks of: {named}, …; whole")
        );
        others.iter().for_each(|name| fs::remove_file(dir.path().join("bodies").join(name)).unwrap());

        fs::write(recording.exchanges_path(), "").unwrap();
        let emptied = recording.verify().unwrap();
        assert!(!emptied.is_whole());
        assert_eq!(
            emptied.to_string(),
            format!("0 exchanges, 0 bodies beside them; 1 bodies that no exchange speaks of: {sha1}")
        );
    }

    #[test]
    fn a_recording_without_its_exchanges_is_an_error_for_whoever_reads_it_and_whoever_would_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (recording, _) = recorded(dir.path());
        fs::remove_file(recording.exchanges_path()).unwrap();
        let error = recording.verify().unwrap_err().to_string();
        assert!(error.contains(EXCHANGES_FILE) && error.contains("No such file"), "{error}");
        let source = Source::Upstream("http://h".to_owned());
        let wanted = Wanted { source, bodies: KeptBodies::All, rules: Rules::default() };
        let error = Recording::record(dir.path(), wanted, Timestamp::UNIX_EPOCH).err().expect("it is refused");
        assert!(error.to_string().contains(EXCHANGES_FILE), "{error}");
        assert!(!recording.exchanges_path().exists(), "its numbers would begin anew");
    }
}
