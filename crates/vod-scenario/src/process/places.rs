//! The files of a run, and what must be left of them.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use vod_client::{FileSource, Source as _};
use vod_proto::{Exchange, digest::Sha1Hasher};
use vod_serve::Plan;

use crate::{
    claim::Claim,
    evidence::Target,
    format::{Scenario, Who},
    not_run::NotRun,
    source::{self, SourceFacts},
};

/// ```text
/// DIR/source/FILE          what is uploaded: video.mp4 or cover.png
/// DIR/source-STEPWHO/FILE  what is uploaded of a client's own
/// DIR/client/              where the client runs; it has no business to leave anything here
/// DIR/data/                the mock's data directory
/// DIR/journal.jsonl        the mock's journal, over all its lives
/// DIR/faults.toml, DIR/limits.toml
/// DIR/recording/, DIR/kills.toml   what was recorded, and what is planted on its replay
/// ```
#[derive(Debug)]
pub(super) struct Places {
    dir: TempDir,
    file_name: &'static str,
    recording: PathBuf,
}

impl Places {
    pub(super) fn make(scenario: &Scenario, keep: Option<&Path>) -> Result<Self, NotRun> {
        let setup = |source| NotRun::Setup { what: "make a directory for the run".to_owned(), source };
        let mut builder = tempfile::Builder::new();
        builder.prefix("vod-scenario-");
        let dir = match keep {
            Some(keep) => {
                fs::create_dir_all(keep).map_err(setup)?;
                builder.disable_cleanup(true).tempdir_in(keep)
            }
            None => builder.tempdir(),
        };
        let dir = dir.map_err(setup)?;
        let recording = dir.path().join("recording");
        let places = Self { dir, file_name: scenario.file_name(), recording };
        for dir in [places.root().join("source"), places.client()] {
            fs::create_dir(dir).map_err(setup)?;
        }
        let toml = |source: toml::ser::Error| setup(io::Error::other(source));
        let plan = toml::to_string(&scenario.plan_at(Target::Process.hosts())).map_err(toml)?;
        fs::write(places.faults(), plan).map_err(setup)?;
        let limits = toml::to_string(&scenario.limits).map_err(toml)?;
        fs::write(places.limits(), limits).map_err(setup)?;
        Ok(places)
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn source(&self) -> PathBuf {
        self.root().join("source").join(self.file_name)
    }

    /// The file that a client uploads, and what is in it: the source of all, or one of its own.
    pub(super) fn source_of(
        &self,
        own: &Scenario,
        story: &Scenario,
        step: usize,
        who: Who,
        facts: SourceFacts,
    ) -> Result<(PathBuf, SourceFacts), NotRun> {
        if own.source == story.source && own.file_name() == story.file_name() {
            return Ok((self.source(), facts));
        }
        let dir = self.root().join(format!("source-{step}{who}"));
        let path = dir.join(own.file_name());
        // On a replay it is there already.
        let made = if path.exists() {
            facts_of(&path)
        } else {
            fs::create_dir_all(&dir).and_then(|()| source::in_file(&own.source, &path))
        };
        let facts = made.map_err(|source| NotRun::Setup { what: format!("write {}", path.display()), source })?;
        Ok((path, facts))
    }

    pub(super) fn client(&self) -> PathBuf {
        self.root().join("client")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub(super) fn journal_file(&self) -> PathBuf {
        self.root().join("journal.jsonl")
    }

    pub(super) fn faults(&self) -> PathBuf {
        self.root().join("faults.toml")
    }

    pub(super) fn limits(&self) -> PathBuf {
        self.root().join("limits.toml")
    }

    pub(super) fn recording(&self) -> &Path {
        &self.recording
    }

    /// What is recorded is to stay when the run is over.
    pub(super) fn record_in(&mut self, dir: &Path) {
        self.recording = dir.to_owned();
    }

    pub(super) fn kills(&self) -> PathBuf {
        self.root().join("kills.toml")
    }

    pub(super) fn write_kills(&self, plan: &Plan) -> Result<(), NotRun> {
        let written = toml::to_string(plan).map_err(io::Error::other).and_then(|text| fs::write(self.kills(), text));
        written.map_err(|source| NotRun::Setup { what: format!("write {}", self.kills().display()), source })
    }

    /// The journal by sequence number; its lines are in the order in which exchanges ended.
    pub(super) fn journal(&self) -> Result<Vec<Exchange>, String> {
        let text = fs::read_to_string(self.journal_file()).map_err(|error| format!("the journal: {error}"))?;
        let mut exchanges = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let exchange = Exchange::from_line(line);
            exchanges.push(exchange.map_err(|error| format!("the journal, line {}: {error}", at + 1))?);
        }
        exchanges.sort_by_key(|exchange| exchange.seq);
        Ok(exchanges)
    }

    /// What is where it should not be, when no process is left. `parts` are the parts that the mock says it keeps, if it does.
    pub(super) fn left_behind(&self, source: SourceFacts, parts: Option<u64>) -> Vec<String> {
        let mut left = Vec::new();
        for name in names(&self.client()) {
            left.push(format!("the client left a file behind where it ran: {name}"));
        }
        let beside: Vec<_> =
            names(&self.root().join("source")).into_iter().filter(|name| name != self.file_name).collect();
        for name in beside {
            left.push(format!("the client left a file behind beside the source: {name}"));
        }
        match facts_of(&self.source()) {
            Ok(now) if now == source => {}
            Ok(_) => left.push("the source is not what it was".to_owned()),
            Err(error) => left.push(format!("the source cannot be read any more: {error}")),
        }
        for name in names(&self.data().join("staging")) {
            left.push(format!("the mock left a half-taken body behind: {name}"));
        }
        let bodies = names(&self.data().join("bodies")).len() as u64;
        if let Some(parts) = parts.filter(|parts| *parts != bodies) {
            left.push(format!("the mock's data directory holds {bodies} bodies, and it says it keeps {parts} parts"));
        }
        left
    }
}

/// A claim that this file is another, of which this is the SHA-1.
pub(super) fn claim(file: &Path, SourceFacts { sha1, .. }: SourceFacts) -> Result<Claim, NotRun> {
    let setup = |source| NotRun::Setup { what: format!("claim {} to be another file", file.display()), source };
    // A digest is not kept of a file that was just written.
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_488_326_400);
    File::options().write(true).open(file).and_then(|file| file.set_modified(long_ago)).map_err(setup)?;
    let identity = FileSource::open(file).ok().and_then(|file| file.identity());
    match identity {
        Some(identity) => Claim::that(identity, sha1),
        None => Err(setup(io::Error::other("it cannot be told from other files"))),
    }
}

/// The names in a directory; none where there is no directory.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn facts_of(path: &Path) -> io::Result<SourceFacts> {
    let mut file = File::open(path)?;
    let (mut hasher, mut size, mut piece) = (Sha1Hasher::default(), 0, vec![0; 64 << 10]);
    loop {
        let len = file.read(&mut piece)?;
        if len == 0 {
            return Ok(SourceFacts { size, sha1: hasher.finish() });
        }
        hasher.update(&piece[..len]);
        size += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source;

    fn places() -> (Places, SourceFacts) {
        let text = "format = 1\nwhy = \"w\"\nsource = { size = \"1MiB\", seed = 1 }\n[[step]]\nupload = {}\nexpect = \"finished\"";
        let scenario = Scenario::parse("s.toml", text).unwrap();
        let places = Places::make(&scenario, None).unwrap();
        let facts = source::in_file(&scenario.source, &places.source()).unwrap();
        for sub in ["bodies", "staging"] {
            fs::create_dir_all(places.data().join(sub)).unwrap();
        }
        (places, facts)
    }

    #[test]
    fn a_tidy_run_leaves_nothing_behind() {
        let (places, facts) = places();
        assert_eq!(places.left_behind(facts, Some(0)), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_left_is_named() {
        let (places, facts) = places();
        for file in ["client/core", "source/video.mp4.part", "data/staging/7", "data/bodies/1"] {
            fs::write(places.root().join(file), "x").unwrap();
        }
        fs::write(places.source(), "changed").unwrap();
        let left = places.left_behind(facts, Some(0)).join("\n");
        for said in ["ran: core", "video.mp4.part", "not what it was", "half-taken body behind: 7", "holds 1 bodies"] {
            assert!(left.contains(said), "{said:?} is not in\n{left}");
        }
    }
}
