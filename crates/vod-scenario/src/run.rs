//! One story on one target: the control run first, then the story itself, then the verdict.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use vod_proto::rules::Profile;

use crate::{
    clock::Stopwatch,
    evidence::{Evidence, Target},
    format::{ClientCommand, Dialect, Scenario},
    judge::{Case, Judgement, Verdict, judge, judge_control},
    not_run::NotRun,
    process, sim,
};

/// The seed of a run where nobody chose one. A scenario is a regression test: the same every day.
pub const SEED: u64 = 1;

/// What a run needs beside the story.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides the client's waits and every chance of the fault plan.
    pub seed: u64,
    /// The `vod-scenario` binary, which can be client and mock too. Only `process` needs it.
    pub binary: PathBuf,
    /// Where files and evidence of runs are kept, if they are.
    pub keep: Option<PathBuf>,
    /// A client in the place of the file's. Only on `process`.
    pub client: Option<InPlace>,
    /// Does a recorder stand between client and mock? Then the story is told again on the replay of what it recorded.
    pub through_proxy: bool,
    /// What a person types before a story's name to run it.
    pub command: String,
    /// The directory of the bundle that the story is of, if it is: it finds the story again, where the name does not.
    pub bundle: Option<String>,
}

impl Default for Settings {
    /// As `cargo xtask scenario` runs a story where nothing else is said, without the binary.
    fn default() -> Self {
        Self {
            seed: SEED,
            binary: PathBuf::new(),
            keep: None,
            client: None,
            through_proxy: false,
            command: "cargo xtask scenario".to_owned(),
            bundle: None,
        }
    }
}

/// A client that is put in the place of the file's, whatever the file says.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// Its command.
    pub command: ClientCommand,
    /// What its requests look like, where that is not what the file says. No mock refuses `observed` then, whatever the file
    /// says of its profile: the story is about something else.
    pub dialect: Option<Dialect>,
    /// A bundle says it, so that no command line need.
    pub is_of_bundle: bool,
}

impl InPlace {
    fn apply(&self, scenario: &mut Scenario) {
        scenario.set_clients(|client| {
            client.command = Some(self.command.clone());
            client.dialect = self.dialect.unwrap_or(client.dialect);
        });
        if self.dialect == Some(Dialect::Observed) {
            scenario.mock.profile = Profile::Observed;
        }
    }

    /// As a shell hands it over.
    fn flags(&self) -> String {
        if self.is_of_bundle {
            return String::new();
        }
        let dialect = self.dialect.map(|dialect| format!(" --dialect {}", dialect.name())).unwrap_or_default();
        format!(" --client {}{dialect}", self.command.quoted())
    }
}

/// A story that can be told again by its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// What `vod-scenario run` knows it by: the name of its file, or the path.
    pub name: String,
    /// The story.
    pub scenario: Scenario,
}

impl Named {
    /// Its name as that of a folder: the file's without its place and ending, and the cell's.
    #[must_use]
    pub fn folder(&self) -> String {
        let (file, cell) = self.name.split_once('[').unwrap_or((&self.name, ""));
        let file = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        let cell = if cell.is_empty() { String::new() } else { format!("[{}", cell.replace('/', "-")) };
        format!("{file}{cell}")
    }

    /// Where in a directory of kept runs its run on a target lies.
    #[must_use]
    pub fn kept_in(&self, target: Target) -> PathBuf {
        Path::new(&self.folder()).join(target.name())
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// The story.
    pub story: Named,
    /// Where it ran.
    pub target: Target,
    /// With which seed.
    pub seed: u64,
    /// The client that the command line put in the place of the file's.
    pub client: Option<InPlace>,
    /// Did a recorder stand between client and mock?
    pub through_proxy: bool,
    /// What a person types before the story's name to run it again.
    pub command: String,
    /// The directory of the bundle that the story is of, if it is.
    pub bundle: Option<String>,
    /// How long all of it took, in real time, the control run included.
    pub took: Duration,
    /// What came of it.
    pub result: RunResult,
}

/// What came of a run.
#[derive(Debug)]
pub enum RunResult {
    /// It was told to its end and judged.
    Judged(Box<Judged>),
    /// The control run is not healthy, so that the story itself would prove nothing.
    ControlUnhealthy(Box<Judged>),
    /// It could not be run at all.
    NotRun(NotRun),
    /// It is not told here, for this reason.
    Skipped(String),
}

/// Evidence and what was made of it.
#[derive(Debug)]
pub struct Judged {
    /// What happened.
    pub evidence: Evidence,
    /// What follows.
    pub judgement: Judgement,
}

impl Run {
    /// How it went.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.result {
            RunResult::Judged(judged) => judged.judgement.verdict,
            RunResult::ControlUnhealthy(_) | RunResult::NotRun(_) | RunResult::Skipped(_) => Verdict::Inconclusive,
        }
    }

    /// Why it was not told here, if it was not.
    #[must_use]
    pub fn skipped(&self) -> Option<&str> {
        match &self.result {
            RunResult::Skipped(because) => Some(because),
            _ => None,
        }
    }

    /// How it went, in a word for people.
    #[must_use]
    pub fn word(&self) -> String {
        if self.skipped().is_some() { "skipped".to_owned() } else { self.verdict().to_string() }
    }

    /// The line that repeats it.
    #[must_use]
    pub fn repeat(&self) -> String {
        // A shell takes brackets for a pattern, and a space for the end of a name.
        let name = self.bundle.as_deref().unwrap_or(&self.story.name);
        let name = shlex::try_quote(name).unwrap_or(name.into());
        let mut line = format!("{} {name} --target {} --seed {}", self.command, self.target, self.seed);
        if let Some(client) = &self.client {
            line.push_str(&client.flags());
        }
        if self.through_proxy {
            line.push_str(" --through-proxy");
        }
        line
    }
}

/// Runs a story on a target.
#[must_use]
pub fn run(story: &Named, target: Target, settings: &Settings) -> Run {
    let stopwatch = Stopwatch::start();
    let mut story = story.clone();
    if let Some(client) = &settings.client {
        client.apply(&mut story.scenario);
    }
    let result = match told(&story, target, settings) {
        Ok(result) => result,
        Err(why) => RunResult::NotRun(why),
    };
    let Settings { seed, client, through_proxy, command, bundle, .. } = settings.clone();
    Run { story, target, seed, client, through_proxy, command, bundle, took: stopwatch.elapsed(), result }
}

fn told(story: &Named, target: Target, settings: &Settings) -> Result<RunResult, NotRun> {
    if let Some(because) = story.scenario.not_told(target, settings.through_proxy) {
        return Ok(RunResult::Skipped(because));
    }
    let control = story.scenario.control();
    let dir = kept(story, target, settings, "control");
    let evidence = match target {
        Target::Sim => sim::run_once(&control, settings.seed)?,
        Target::Process => process::run(&control, settings.seed, &settings.binary, dir.as_deref())?,
    };
    keep(dir.as_deref(), &evidence)?;
    let judgement = judge_control(Case { scenario: &control, evidence: &evidence });
    if judgement.verdict != Verdict::Pass {
        return Ok(RunResult::ControlUnhealthy(Box::new(Judged { evidence, judgement })));
    }
    let dir = kept(story, target, settings, "run");
    let (evidence, determinism) = match target {
        Target::Sim => {
            let twice = if settings.through_proxy { sim::run_twice_through_proxy } else { sim::run_twice };
            let (evidence, difference) = twice(&story.scenario, settings.seed)?;
            (evidence, Some(difference.map(|difference| difference.to_string())))
        }
        Target::Process => {
            let tell = if settings.through_proxy { process::run_through_proxy } else { process::run };
            (tell(&story.scenario, settings.seed, &settings.binary, dir.as_deref())?, None)
        }
    };
    keep(dir.as_deref(), &evidence)?;
    let mut judgement = judge(Case { scenario: &story.scenario, evidence: &evidence });
    if let Some(difference) = determinism {
        judgement.note_determinism(difference);
    }
    Ok(RunResult::Judged(Box::new(Judged { evidence, judgement })))
}

fn kept(story: &Named, target: Target, settings: &Settings, which: &str) -> Option<PathBuf> {
    Some(settings.keep.as_ref()?.join(story.kept_in(target)).join(which))
}

/// Keeps what was seen, if that is wanted, so that it can be looked at with other tools.
fn keep(dir: Option<&Path>, evidence: &Evidence) -> Result<(), NotRun> {
    let Some(dir) = dir else { return Ok(()) };
    let what = || format!("keep the evidence in {}", dir.display());
    write_evidence(dir, evidence).map_err(|source| NotRun::Setup { what: what(), source })
}

fn write_evidence(dir: &Path, evidence: &Evidence) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let lines: Result<Vec<_>, _> = evidence.exchanges.iter().map(vod_proto::Exchange::to_line).collect();
    // Somebody may send it to somebody.
    std::fs::write(dir.join("exchanges.jsonl"), evidence.masked(&(lines?.join("\n") + "\n")))?;
    for log in &evidence.logs {
        std::fs::write(dir.join(format!("{}.log", log.origin.replace(['\'', ' '], "-"))), evidence.masked(&log.text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Log, judge::crafted::Story};

    #[test]
    fn no_secret_is_kept_in_what_somebody_may_send_to_somebody() {
        let dir = tempfile::tempdir().unwrap();
        let mut evidence = Story::plain().evidence;
        let secret = evidence.secrets[0].value.clone();
        evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text: format!("signing with {secret}") });
        evidence.exchanges[0].request.target.push_str(&secret);
        write_evidence(dir.path(), &evidence).unwrap();
        for file in ["exchanges.jsonl", "the-client-s-stderr.log"] {
            let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(!text.contains(&secret) && text.contains("[the secret key]"), "{file}: {text}");
        }
    }

    #[test]
    fn the_line_that_repeats_a_cell_is_one_word_for_a_shell() {
        let name = "resume-after-crash[family=ugc]".to_owned();
        let story = Named { name, scenario: Story::plain().scenario };
        assert_eq!(story.kept_in(Target::Sim), Path::new("resume-after-crash[family=ugc]/sim"));
        let slashed = Named { name: "a/b.toml[read=1MiB/s]".to_owned(), ..story.clone() };
        assert_eq!(slashed.kept_in(Target::Process), Path::new("b[read=1MiB-s]/process"));
        let run = Run {
            story,
            target: Target::Sim,
            seed: 7,
            client: None,
            through_proxy: false,
            command: Settings::default().command,
            bundle: None,
            took: Duration::ZERO,
            result: RunResult::NotRun(NotRun::Interrupted),
        };
        assert_eq!(run.repeat(), "cargo xtask scenario 'resume-after-crash[family=ugc]' --target sim --seed 7");
    }
}
