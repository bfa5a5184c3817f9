//! What is shown of a sweep, and the files that its failures are saved as.

use std::{
    fmt::{self, Write as _},
    fs, io,
    path::{Path, PathBuf},
};

use vod_proto::Action;
use vod_serve::fault::Phase;

use super::{Failure, Outcome, cell::Possible};
use crate::{
    evidence::Target,
    format::Scenario,
    report,
    run::{self, Named},
};

/// How many failures are told whole. The rest is counted.
const TOLD_MOST: usize = 5;

/// A failure that could not be saved.
#[derive(Debug, thiserror::Error)]
#[error("cannot save the failure as {}: {source}", .path.display())]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

impl Outcome {
    /// Saves every failure that was made smaller, and says where.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<Vec<PathBuf>, SaveError> {
        let mut paths = Vec::new();
        for failure in &self.totals.failures {
            paths.extend(save(dir, failure)?);
        }
        Ok(paths)
    }

    /// The whole report: failures first, with the lines that repeat them, then what was struck.
    #[must_use]
    pub fn report(&self, saved: &[PathBuf]) -> String {
        report(self, saved)
    }
}

/// The file of a failure: it says where it comes from, what it breaks, and how to see that again.
fn file(failure: &Failure, smallest: &Scenario) -> Scenario {
    let Failure { seed, breach, .. } = failure;
    let why = format!("Found by chaos, seed {seed}, and made smaller: it breaks {} ({}).", breach.what, breach.why);
    Scenario { why, ..smallest.clone() }
}

fn name(failure: &Failure) -> String {
    format!("chaos-{}-{}", failure.breach.what, failure.seed)
}

pub(super) fn save(dir: &Path, failure: &Failure) -> Result<Option<PathBuf>, SaveError> {
    let Some(smallest) = &failure.smallest else { return Ok(None) };
    let path = dir.join(format!("{}.toml", name(failure)));
    let repeat = format!("# cargo xtask scenario {} --target sim\n", path.display());
    let text = repeat + &file(failure, smallest).to_toml();
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, text));
    match written {
        Ok(()) => Ok(Some(path)),
        Err(source) => Err(SaveError { path, source }),
    }
}

pub(super) fn report(outcome: &Outcome, saved: &[PathBuf]) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write_report(&mut out, outcome, saved);
    out
}

fn write_report(out: &mut String, outcome: &Outcome, saved: &[PathBuf]) -> fmt::Result {
    let totals = &outcome.totals;
    let told = totals.failures.iter().filter_map(|failure| Some((failure, failure.smallest.as_ref()?)));
    for (failure, smallest) in told.take(TOLD_MOST) {
        write_failure(out, failure, smallest, saved)?;
    }
    write_coverage(out, outcome)?;
    for failure in &totals.failures {
        let Failure { seed, breach, .. } = failure;
        writeln!(out, "  cargo xtask chaos --seeds {seed}..{}   breaks {}: {}", seed + 1, breach.what, breach.why)?;
    }
    let seconds = totals.elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { totals.uploads as f64 / seconds * 60.0 } else { 0.0 };
    let failures = totals.failures.len();
    let verdict = match (outcome.passed(), failures) {
        (true, _) => "every one held".to_owned(),
        (false, 0) => "there was nothing to tell".to_owned(),
        (false, _) => format!("{failures} broke something"),
    };
    write!(
        out,
        "{} stories, {} uploads in {seconds:.1} s ({rate:.0} a minute): {verdict}",
        totals.stories, totals.uploads
    )
}

fn write_failure(out: &mut String, failure: &Failure, smallest: &Scenario, saved: &[PathBuf]) -> fmt::Result {
    let scenario = file(failure, smallest);
    let stem = name(failure);
    let path = saved.iter().find(|path| path.file_stem().is_some_and(|of| of.to_string_lossy() == stem));
    let name = path.map_or_else(|| format!("{stem}.toml"), |path| path.display().to_string());
    if path.is_none() {
        writeln!(out, "# {name}\n{}", scenario.to_toml())?;
    }
    // It is told as every scenario is, with a control run before it.
    let settings = run::Settings::default();
    let run = run::run(&Named { name, scenario }, Target::Sim, &settings);
    writeln!(out, "{}", report::report(&run))
}

/// For each action, how often each fault struck in each phase: `·` never, and blank where it cannot.
fn write_coverage(out: &mut String, outcome: &Outcome) -> fmt::Result {
    writeln!(out, "How often each fault struck, by action and phase; 0 is a gap, and a blank cannot be.")?;
    let actions: Vec<Action> =
        Action::ALL.into_iter().filter(|a| outcome.possible.iter().any(|p| p.cell.action == *a)).collect();
    for action in actions {
        write!(out, "  {action:<29}")?;
        for phase in Phase::ALL {
            write!(out, " {:>13}", phase.to_string())?;
        }
        writeln!(out)?;
        let mut verdicts: Vec<_> = Vec::new();
        for Possible { cell, .. } in outcome.possible.iter().filter(|possible| possible.cell.action == action) {
            if !verdicts.contains(&cell.verdict) {
                verdicts.push(cell.verdict);
            }
        }
        for verdict in verdicts {
            write!(out, "    {verdict:<27}")?;
            for phase in Phase::ALL {
                let cell = outcome
                    .possible
                    .iter()
                    .map(|possible| &possible.cell)
                    .find(|cell| (cell.action, cell.verdict, cell.phase) == (action, verdict, phase));
                let shown = cell.map(|cell| outcome.totals.struck.times(cell).to_string()).unwrap_or_default();
                write!(out, " {shown:>13}")?;
            }
            writeln!(out)?;
        }
    }
    let never = outcome.never_struck();
    writeln!(
        out,
        "{} of {} possible cells were struck.",
        outcome.possible.len() - never.len(),
        outcome.possible.len()
    )?;
    for cell in never {
        writeln!(out, "  never struck: {cell}")?;
    }
    Ok(())
}
