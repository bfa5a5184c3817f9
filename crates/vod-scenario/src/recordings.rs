//! Recordings that are kept beside their stories: `NAME/` was recorded while `NAME.toml` was told with real processes.
//!
//! - [`all`]: those of a directory. [`Kept::judge`]: does one still say what client and mock do?
//! - [`Kept::make`]: it is made anew; [`Made`] says whether that makes a difference, and replaces it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use vod_proxy::{Recording, RecordingError};

use crate::{
    judge::{Case, Judgement, Verdict, judge},
    library::{self, Found, LibraryError},
    not_run::NotRun,
    process,
    proxied::{Between, differences},
    run::{Named, SEED},
    sim,
};

/// Where they are kept, seen from the root of the workspace.
pub const DIR: &str = "recordings";

/// A recording that is kept, or is to be.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The story that it is of.
    pub story: Named,
    /// Where it is.
    pub dir: PathBuf,
}

/// A recording that was made anew.
#[derive(Debug)]
pub struct Made<'a> {
    kept: &'a Kept,
    /// Holds the new one.
    run: tempfile::TempDir,
    reasons: Vec<String>,
}

/// A recording that could not be made anew.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// Its story could not be told.
    #[error(transparent)]
    NotRun(#[from] NotRun),
    /// Its story does not pass, and a recording of it would say what nobody wants.
    #[error("the story did not pass:\n{0}")]
    NotPassed(String),
    /// The new one cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The new one cannot be put in the place of the old one.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// All recordings in a directory, by the files of their stories, in order.
///
/// # Errors
/// If the directory cannot be read, or a file is no story.
pub fn all(dir: &Path) -> Result<Vec<Kept>, LibraryError> {
    let no_library = |source| LibraryError::NoLibrary { dir: dir.display().to_string(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(no_library)? {
        files.push(entry.map_err(no_library)?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let cells = library::load(dir, &file.display().to_string())?;
        all.extend(cells.into_iter().map(|Found { story, .. }| Kept { dir: dir.join(story.folder()), story }));
    }
    Ok(all)
}

impl Kept {
    /// Holds it against what client and mock do now: the story is told in simulation, the mock must answer as the recording
    /// says, and the client must come to the same end on a replay of it.
    ///
    /// # Errors
    /// If the story cannot be told, or the recording not be replayed.
    pub fn judge(&self) -> Result<Judgement, NotRun> {
        let scenario = &self.story.scenario;
        let evidence = sim::run_beside(scenario, SEED, &self.dir)?;
        Ok(judge(Case { scenario, evidence: &evidence }))
    }

    /// Makes it anew, with real processes of this binary, and leaves the old one alone.
    ///
    /// # Errors
    /// If the story cannot be told, or does not pass.
    pub fn make(&self, binary: &Path) -> Result<Made<'_>, NotMade> {
        let setup = |source| NotRun::Setup { what: "make a directory for a recording".to_owned(), source };
        let run = tempfile::tempdir().map_err(setup)?;
        let scenario = &self.story.scenario;
        let evidence = process::record(scenario, SEED, binary, run.path())?;
        let judgement = judge(Case { scenario, evidence: &evidence });
        if judgement.verdict != Verdict::Pass {
            return Err(NotMade::NotPassed(against(&judgement)));
        }
        let made = Recording::open(run.path())?.exchanges()?.0;
        let reasons = match Recording::open(&self.dir).and_then(|old| old.exchanges()) {
            Ok((old, _)) => {
                let mut reasons = differences(&old, &made, Between { time: true, ..Between::default() });
                match self.judge() {
                    Ok(judgement) if judgement.verdict == Verdict::Pass => {}
                    Ok(judgement) => reasons.push(against(&judgement)),
                    Err(error) => reasons.push(error.to_string()),
                }
                reasons
            }
            Err(error) => vec![error.to_string()],
        };
        Ok(Made { kept: self, run, reasons })
    }
}

/// What speaks against a judgement, line by line.
fn against(judgement: &Judgement) -> String {
    let found = judgement.against().map(|(check, findings)| {
        let findings: Vec<_> = findings.iter().map(|finding| finding.why().to_owned()).collect();
        format!("{} {}: {}", check.layer, check.name, findings.join("; "))
    });
    found.collect::<Vec<_>>().join("\n")
}

impl Made<'_> {
    /// What the one that is kept does not say, or says otherwise; nothing, if it is as good as the new one.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Puts it in the place of the one that is kept, if that makes a difference, and says which.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn replace(self) -> Result<Vec<String>, NotMade> {
        if !self.reasons.is_empty() {
            let to = &self.kept.dir;
            let put = || {
                if to.exists() {
                    fs::remove_dir_all(to)?;
                }
                copy(self.run.path(), to)
            };
            put().map_err(|source| NotMade::Io { path: to.clone(), source })?;
        }
        Ok(self.reasons)
    }
}

/// Copies a directory and what is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
