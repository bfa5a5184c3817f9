//! Making a recording, or going on in one.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use vod_proto::redact::Rules;
use vod_serve::{Journal, clock::fresh_secret};

use super::{
    EXCHANGES_FILE, FORMAT, KeptBodies, MANIFEST_FILE, MARKER_FILE, Manifest, Recording, RecordingError, Redaction,
    Source,
};

/// How much memory exchanges may take, in bytes. Default 1 MiB: the file is what counts.
const IN_MEMORY: usize = 1 << 20;

/// How many different requests have their attempts counted. Default 50,000, in some 5 MB: of a request that is seen again after
/// so many others, the attempts are counted anew.
const COUNTED: usize = 50_000;

/// What begins the name of a manifest that is being written.
const UNFINISHED: &str = ".draft-";

/// What a recording is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whom it is made from.
    pub source: Source,
    /// What is kept of bodies.
    pub bodies: KeptBodies,
    /// What is a secret beside what always is.
    pub rules: Rules,
}

impl Recording {
    /// Makes a recording, or goes on in the one that stands in the directory, and says where exchanges go.
    ///
    /// Drop the journal to close the recording: until then, and for ever if the process is killed, it says that it is not closed.
    ///
    /// One that is gone on in must be of the same source, keep the same of bodies and redact by the same rules. Its numbers go
    /// on, and half a line that a killed recorder left is cut off; what it had under way has a number that is left out. Nobody
    /// else can record into it for as long as the journal lives.
    ///
    /// # Errors
    /// If it cannot be written or read, is another's, or something else stands there.
    pub fn record(dir: &Path, wanted: Wanted, now: Timestamp) -> Result<(Self, Arc<Journal>), RecordingError> {
        let recording = match Self::open(dir) {
            Err(RecordingError::None { .. }) => {
                let key = fresh_secret().map_err(RecordingError::io(dir))?;
                let Wanted { source, bodies, rules } = wanted.clone();
                let redaction =
                    Redaction { key, parameters: rules.parameters, headers: rules.headers, fields: rules.fields };
                let tool = concat!("vod-proxy ", env!("CARGO_PKG_VERSION")).to_owned();
                Self::create(dir, Manifest { format: FORMAT, tool, started: now, bodies, source, redaction })?;
                // Perhaps somebody else's, who was faster.
                Self::open(dir)?
            }
            opened => opened?,
        };
        let manifest = recording.manifest();
        manifest.check(&wanted).map_err(|what| RecordingError::Other { path: dir.to_owned(), what })?;
        // Somebody took them away: numbers would begin anew.
        let exchanges = recording.exchanges_path();
        fs::metadata(&exchanges).map_err(RecordingError::io(&exchanges))?;
        let journal = Journal::builder(0)
            .key(manifest.redaction.key)
            .rules(manifest.redaction.rules())
            .ceiling(IN_MEMORY)
            .counted(COUNTED)
            .marker(&dir.join(MARKER_FILE))
            .file(&exchanges)?;
        recording.bodies().sweep().map_err(RecordingError::io(dir))?;
        Ok((recording, journal))
    }

    /// Makes a recording without exchanges in a directory that is empty or not there yet. Its manifest is there whole, or not at
    /// all, and where it is, so is the file of the exchanges.
    ///
    /// # Errors
    /// If it cannot be written, or something stands there already.
    pub fn create(dir: &Path, manifest: Manifest) -> Result<Self, RecordingError> {
        let io = RecordingError::io(dir);
        fs::create_dir_all(dir).map_err(&io)?;
        for entry in fs::read_dir(dir).map_err(&io)? {
            let entry = entry.map_err(&io)?;
            let name = entry.file_name();
            // Those of recorders that were killed, or begin at this very moment.
            let is_begun = name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
                || name == MANIFEST_FILE
                || (name == EXCHANGES_FILE && entry.metadata().map_err(&io)?.len() == 0);
            if !is_begun {
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "something stands in the directory already");
                return Err(RecordingError::Io { path: dir.to_owned(), source });
            }
        }
        let path = dir.join(MANIFEST_FILE);
        let write = || {
            File::options().append(true).create(true).open(dir.join(EXCHANGES_FILE))?;
            let mut file = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(dir)?;
            file.write_all(manifest.to_toml().as_bytes())?;
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
                Ok(_) | Err(_) => Ok(()),
            }
        };
        write().map_err(RecordingError::io(&path))?;
        Self::open(dir)
    }
}

/// Lists that are given on a command line or in a file of rules mean the same in any order.
fn set(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

impl Source {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hosts(hosts), Self::Hosts(others)) => set(hosts) == set(others),
            _ => self == other,
        }
    }
}

impl Manifest {
    /// Says what is wanted otherwise than it is, if anything.
    fn check(&self, wanted: &Wanted) -> Result<(), String> {
        let Wanted { source, bodies, rules } = wanted;
        if !self.source.is(source) {
            return Err(format!("it was recorded from {}, not from {source}", self.source));
        }
        if self.bodies != *bodies {
            return Err(format!("it keeps bodies by --bodies {}, not by --bodies {bodies}", self.bodies));
        }
        let own = self.redaction.rules();
        let lists =
            [(&own.parameters, &rules.parameters), (&own.headers, &rules.headers), (&own.fields, &rules.fields)];
        if lists.iter().any(|(own, wanted)| set(own) != set(wanted)) {
            return Err("what is redacted in it is not what --redact says now".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let source = Source::Upstream("https://vod2.qcloud.com".to_owned());
        Wanted { source, bodies: KeptBodies::Replies, rules: Rules::default() }
    }

    fn refused(dir: &Path, wanted: Wanted) -> String {
        match Recording::record(dir, wanted, Timestamp::UNIX_EPOCH) {
            Ok(_) => panic!("it is recorded into"),
            Err(error) => error.to_string().replace(&dir.display().to_string(), "DIR"),
        }
    }

    #[test]
    fn a_recording_is_gone_on_in_by_its_like_alone_and_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (first, journal) = Recording::record(dir.path(), wanted(), Timestamp::UNIX_EPOCH).unwrap();
        // It is there to be kept beside tests, and read by others: like any file of its maker's.
        let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode(MANIFEST_FILE), mode(EXCHANGES_FILE));
        let in_use = refused(dir.path(), wanted());
        assert!(in_use.ends_with("exchanges.jsonl is in use by another server"), "{in_use}");
        drop(journal);
        let (again, _journal) = Recording::record(dir.path(), wanted(), Timestamp::MAX).unwrap();
        assert_eq!(first.manifest(), again.manifest(), "its key and its beginning are the same");
        let other = Source::Upstream("http://h".to_owned());
        let why = ": record into another directory";
        assert_eq!(
            refused(dir.path(), Wanted { source: other, ..wanted() }),
            format!("DIR is another recording: it was recorded from https://vod2.qcloud.com, not from http://h{why}")
        );
        assert_eq!(
            refused(dir.path(), Wanted { bodies: KeptBodies::All, ..wanted() }),
            format!("DIR is another recording: it keeps bodies by --bodies replies, not by --bodies all{why}")
        );
        let rules = Rules { fields: vec!["a".to_owned()], ..Rules::default() };
        assert_eq!(
            refused(dir.path(), Wanted { rules, ..wanted() }),
            format!("DIR is another recording: what is redacted in it is not what --redact says now{why}")
        );
    }

    #[test]
    fn hosts_and_rules_are_the_same_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let of = |hosts: &[&str]| {
            let rules = Rules { fields: names(hosts), ..Rules::default() };
            Wanted { source: Source::Hosts(names(hosts)), rules, ..wanted() }
        };
        drop(Recording::record(dir.path(), of(&["a", "b:81", "c"]), Timestamp::UNIX_EPOCH).unwrap());
        drop(Recording::record(dir.path(), of(&["c", "a", "b:81", "a"]), Timestamp::UNIX_EPOCH).unwrap());
        let fewer = refused(dir.path(), of(&["a", "c"]));
        assert!(fewer.contains("it was recorded from the hosts a, b:81, c, not from the hosts a, c: "), "{fewer}");
    }

    #[test]
    fn what_a_killed_recorder_left_unfinished_is_no_hindrance_and_somebodys_files_are() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".draft-x"), "").unwrap();
        fs::write(dir.path().join(EXCHANGES_FILE), "").unwrap();
        drop(Recording::record(dir.path(), wanted(), Timestamp::UNIX_EPOCH).unwrap());
        let body = dir.path().join("bodies/.draft-y");
        fs::create_dir(dir.path().join("bodies")).unwrap();
        fs::write(&body, "").unwrap();
        let (recording, journal) = Recording::record(dir.path(), wanted(), Timestamp::UNIX_EPOCH).unwrap();
        drop(journal);
        assert!(recording.verify().unwrap().is_whole());
        assert!(!body.exists(), "a body that was begun belongs to nobody");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("holiday.jpg"), "").unwrap();
        let error = refused(dir.path(), wanted());
        assert!(error.ends_with("something stands in the directory already"), "{error}");
    }
}
