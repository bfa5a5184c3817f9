//! `vod-scenario run`: stories are told, several at a time, and their reports go where they are wanted.
//!
//! - `chosen`: which stories those are.

mod chosen;

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use clap::ValueEnum;
use vod_proto::Family;

use self::chosen::{Telling, chosen};
use super::{Library, complain, jobs, say, stop::Stop};
use crate::{
    bundle,
    evidence::Target,
    exit,
    format::{ClientCommand, Dialect, Scenario},
    judge::Verdict,
    near::did_you_mean,
    not_run::NotRun,
    process,
    report::{html, junit, report, summary},
    run::{self, InPlace, Run, RunResult, Settings},
};

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Names of scenarios, files, or bundles that were kept; NAME[CELL] is one cell of a matrix
    #[arg(value_name = "NAME|FILE|BUNDLE")]
    names: Vec<String>,
    #[command(flatten)]
    library: Library,
    /// Where to run them [default: all; of a bundle, where it ran]
    #[arg(long, value_enum)]
    target: Option<Targets>,
    /// Decides the client's waits and every chance of the fault plan [default: 1; of a bundle, its own]
    #[arg(long)]
    seed: Option<u64>,
    /// Only scenarios with this tag; several tags widen the choice
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// No scenario with this tag, such as cover; may be given several times
    #[arg(long, value_name = "TAG")]
    skip_tag: Vec<String>,
    /// Only scenarios of this family
    #[arg(long, value_name = "FAMILY", value_parser = family)]
    family: Option<Family>,
    /// Put this program in the client's place, on the target process: words as a shell splits them, with {file},
    /// {endpoint} and others filled in; credentials are in its environment, its exit code is the outcome
    #[arg(long, value_name = "COMMAND")]
    client: Option<ClientCommand>,
    /// What the requests of --client look like, whatever the files say: observed is POST, /v3, which
    /// no mock refuses then
    #[arg(long, value_name = "DIALECT", requires = "client", value_parser = dialect)]
    dialect: Option<Dialect>,
    /// How many scenarios are told at a time [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
    /// Write the results to this file, in the XML of JUnit
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a page to this file; of several runs an index, with their pages in a folder beside it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Put `vod-proxy record` between client and mock, and tell each story again on the replay of what it recorded
    #[arg(long)]
    through_proxy: bool,
    /// Keep each run in this directory, as a bundle: scenario, faults, exchanges, logs, reports and the command
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Keep only runs that did not pass
    #[arg(long, requires = "keep")]
    only_failed: bool,
    /// What a person types to run scenarios
    #[arg(long, hide = true, env = "VOD_SCENARIO_COMMAND", default_value = "vod-scenario run")]
    command: String,
}

fn dialect(word: &str) -> Result<Dialect, String> {
    let known = [Dialect::Documented, Dialect::Observed];
    known.into_iter().find(|dialect| dialect.name() == word).ok_or_else(|| "expected documented or observed".to_owned())
}

fn family(word: &str) -> Result<Family, String> {
    let names: Vec<_> = Family::ALL.map(Family::name).into();
    let known = Family::ALL.into_iter().find(|family| family.name() == word);
    known.ok_or_else(|| format!("expected {}{}", names.join(", "), did_you_mean(word, names.iter().copied())))
}

impl RunArgs {
    /// Is it among those that were asked for?
    fn asks_for(&self, scenario: &Scenario) -> bool {
        let has = |tags: &[String]| tags.iter().any(|tag| scenario.tags.contains(tag));
        let family = self.family.is_none_or(|family| family == scenario.client.family);
        family && (self.tag.is_empty() || has(&self.tag)) && !has(&self.skip_tag)
    }

    /// The program in the client's place: the command line's, or else that of a bundle.
    fn in_place(&self, of_bundle: Option<InPlace>) -> Result<Option<InPlace>, String> {
        if self.client.is_none() && of_bundle.is_none() {
            return Ok(None);
        }
        if matches!(self.target, Some(Targets::Sim)) {
            return Err("--client is a program, and sim starts none: use --target process".to_owned());
        }
        let Some(command) = self.client.clone() else { return Ok(of_bundle) };
        let here = std::env::current_dir().map_err(|error| format!("cannot find the current directory: {error}"))?;
        Ok(Some(InPlace { command: command.written_in(&here), dialect: self.dialect, is_of_bundle: false }))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Targets {
    /// In one thread, on a paused clock
    Sim,
    /// With real processes
    Process,
    /// Both
    All,
}

impl From<Target> for Targets {
    fn from(target: Target) -> Self {
        match target {
            Target::Sim => Self::Sim,
            Target::Process => Self::Process,
        }
    }
}

impl Targets {
    fn each(self) -> &'static [Target] {
        match self {
            Self::Sim => &[Target::Sim],
            Self::Process => &[Target::Process],
            Self::All => &Target::ALL,
        }
    }
}

pub(super) fn run_all(args: &RunArgs) -> u8 {
    let tellings = match chosen(&args.library.scenarios, args) {
        Ok(tellings) => tellings,
        Err(errors) => {
            errors.iter().for_each(complain);
            return exit::USAGE;
        }
    };
    let binary = match process::this_binary() {
        Ok(binary) => binary,
        Err(error) => {
            complain(format!("cannot find its own binary: {error}"));
            return exit::USAGE;
        }
    };
    if let Err(error) = places_to_write(args, &tellings) {
        complain(error);
        return exit::USAGE;
    }
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let tell = |telling: &Telling| {
        let settings = Settings {
            seed: telling.seed,
            binary: binary.clone(),
            keep: args.keep.clone(),
            client: telling.client.clone(),
            through_proxy: telling.through_proxy,
            command: format!("{}{}", args.command, args.library.flag()),
            bundle: telling.bundle.clone(),
        };
        let run = run::run(&telling.story, telling.target, &settings);
        let kept = args.keep.as_deref().map_or(Ok(()), |dir| keep(dir, args.only_failed, &run, &telling.text));
        (run, kept)
    };
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format!("cannot listen for signals: {error}"));
            return exit::USAGE;
        }
    };
    let (mut runs, mut all_kept) = (Vec::new(), true);
    let interrupted = at_a_time(jobs, &tellings, tell, |(run, kept)| {
        say(report(&run));
        if let Err(error) = kept {
            let to = args.keep.as_deref().unwrap_or(Path::new("")).join(run.story.kept_in(run.target));
            complain(format!("cannot keep the run of {} in {}: {error}", run.story.name, to.display()));
            all_kept = false;
        }
        let interrupted = matches!(run.result, RunResult::NotRun(NotRun::Interrupted));
        runs.push(run);
        interrupted || stop.is_asked()
    });
    if interrupted {
        let told = runs.iter().filter(|run| !matches!(run.result, RunResult::NotRun(NotRun::Interrupted))).count();
        complain(format!("asked to stop: {told} of {} stories were told", tellings.len()));
    } else if runs.len() > 1 {
        say(summary(&runs));
    }
    if let Err((file, error)) = write_reports(args, &runs) {
        complain(format!("cannot write {}: {error}", file.display()));
        return exit::NOT_PASSED;
    }
    // What is told nowhere has not passed.
    let mut told = runs.iter().filter(|run| run.skipped().is_none()).peekable();
    let passed = told.peek().is_some() && told.all(|run| run.verdict() == Verdict::Pass);
    if !interrupted && all_kept && passed { exit::PASS } else { exit::NOT_PASSED }
}

/// Can be written what runs write? Says where not, before anything is told.
fn places_to_write(args: &RunArgs, tellings: &[Telling]) -> Result<(), String> {
    if let Some(dir) = &args.keep {
        let tried = std::fs::create_dir_all(dir).and_then(|()| tempfile::tempdir_in(dir).map(drop));
        return tried.map_err(|error| format!("--keep: cannot write to {}: {error}", dir.display()));
    }
    if tellings.iter().all(|telling| telling.target == Target::Sim) {
        return Ok(());
    }
    let refused = |error| format!("cannot write to {}, which TMPDIR names: {error}", std::env::temp_dir().display());
    tempfile::tempdir().map(drop).map_err(refused)
}

/// Makes a bundle of what a run left in the directory; of one that passed, where only others are wanted, nothing is left.
fn keep(dir: &Path, only_failed: bool, run: &Run, text: &str) -> io::Result<()> {
    if run.skipped().is_some() {
        return Ok(());
    }
    let kept = dir.join(run.story.kept_in(run.target));
    if !only_failed || run.verdict() != Verdict::Pass {
        return bundle::write(&kept, run, text);
    }
    std::fs::remove_dir_all(&kept)?;
    // It stays if the other target of the same story has something to keep.
    if let Some(folder) = kept.parent() {
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

/// Does something with each item, so many at a time, and hands on what comes of it in the order of the items.
/// Whoever takes it says whether to stop: then nothing more is begun or handed on, and this is true.
fn at_a_time<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> bool,
) -> bool {
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            let (done, next, work) = (done.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    if done.send((at, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early: Vec<Option<R>> = items.iter().map(|_| None).collect();
        let mut taken = 0;
        for (at, result) in results {
            early[at] = Some(result);
            while let Some(result) = early.get_mut(taken).and_then(Option::take) {
                taken += 1;
                if take(result) {
                    next.store(items.len(), Ordering::Relaxed);
                    return true;
                }
            }
        }
        false
    })
}

/// Writes what was asked for beside the terminal; or says which file could not be written.
fn write_reports(args: &RunArgs, runs: &[Run]) -> Result<(), (PathBuf, io::Error)> {
    if let Some(file) = &args.junit {
        let text = junit::junit(runs).map_err(io::Error::other);
        text.and_then(|text| write(file, &text)).map_err(|error| (file.clone(), error))?;
    }
    let Some(file) = &args.html else { return Ok(()) };
    if let [run] = runs {
        return write(file, &html::page(run)).map_err(|error| (file.clone(), error));
    }
    let folder = file.with_extension("");
    let mut addresses = Vec::new();
    for run in runs {
        let name = format!("{}-{}.html", run.story.folder(), run.target);
        let page = folder.join(&name);
        write(&page, &html::page(run)).map_err(|error| (page, error))?;
        addresses.push((run, html::address(&[&folder.file_name().unwrap_or_default().to_string_lossy(), &name])));
    }
    write(file, &html::index(&addresses)).map_err(|error| (file.clone(), error))
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    pub(super) fn args(line: &[&str]) -> RunArgs {
        Line::try_parse_from(std::iter::once("run").chain(line.iter().copied())).unwrap().args
    }

    #[test]
    fn what_xtask_hands_over_is_understood() {
        let args = args(&["a", "b", "--target", "sim", "--seed", "7", "--jobs", "3"]);
        assert_eq!((args.names, args.seed), (vec!["a".to_owned(), "b".to_owned()], Some(7)));
        assert_eq!((args.target.unwrap().each(), args.jobs.map(NonZeroUsize::get)), (&[Target::Sim][..], Some(3)));
    }

    #[test]
    fn results_come_in_the_order_of_the_items_however_long_each_takes() {
        // The first item is done last: it waits for all others.
        let (items, others) = ([0, 1, 2, 3, 4], std::sync::Barrier::new(2));
        let work = |item: &usize| {
            if *item == 0 || *item == 4 {
                others.wait();
            }
            *item
        };
        let mut taken = Vec::new();
        let stopped = at_a_time(2, &items, work, |item| {
            taken.push(item);
            false
        });
        assert!(!stopped);
        assert_eq!(taken, items);
    }

    #[test]
    fn whoever_takes_the_results_can_stop_and_is_handed_nothing_more() {
        let mut taken = Vec::new();
        let stopped = at_a_time(
            2,
            &[0, 1, 2, 3, 4],
            |item: &usize| *item,
            |item| {
                taken.push(item);
                item == 2
            },
        );
        assert!(stopped);
        assert_eq!(taken, [0, 1, 2]);
    }
}
