//! Seeded chaos: stories drawn by chance, judged by what always holds, made smaller when they break it.
//!
//! - `dice`, `kind`, `draw`: from a seed to a story, which is a scenario like those that people write.
//! - `tell`: one story in simulation, judged by the invariants and by whether it heals once the faults are off.
//! - `shrink`: makes a story that breaks something smaller, as long as it breaks the same.
//! - `cell`: which action × fault × phase is possible, and which was struck.
//! - `sweep`: many seeds on several threads. `report`: what is shown of it, and the files that are saved.

mod cell;
mod dice;
mod draw;
mod kind;
mod report;
mod shrink;
mod sweep;
mod tell;

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

pub use self::report::SaveError;
use self::{
    cell::{Possible, Struck},
    tell::Breach,
};
use crate::format::Scenario;

/// How many seeds are gone through where nobody says how many, or for how long. Default 1,000: a few seconds.
const SEEDS: u64 = 1_000;

/// The seeds to go through, such as `0..1000`, or `1000..` without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The first that is left out; none if they go on for as long as there is time.
    pub to: Option<u64>,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} are no seeds such as 0..1000, or 1000.. with --for");
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let from = number(from)?;
        let to = if to.is_empty() { None } else { Some(number(to)?) };
        if to.is_some_and(|to| to <= from) {
            return Err(format!("{text:?} are no seeds at all: the second is the first that is left out"));
        }
        Ok(Self { from, to })
    }
}

/// One machine's share of the seeds: `2/3` is the second of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u64,
    of: u64,
}

impl Default for Shard {
    /// All of them.
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl Shard {
    /// Is this seed one of its own?
    #[must_use]
    pub const fn has(self, seed: u64) -> bool {
        seed % self.of == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no shard such as 2/3, the second of three");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let parsed = number.parse().ok().zip(of.parse().ok());
        let shard = parsed.map(|(number, of)| Self { number, of }).ok_or_else(wrong)?;
        if (1..=shard.of).contains(&shard.number) { Ok(shard) } else { Err(wrong()) }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which seeds. Default `0..1000`; with a time, from 0 for as long as there is time.
    pub seeds: Option<Seeds>,
    /// For how long at most. Default: until the seeds are over.
    pub time: Option<Duration>,
    /// Whose share of them. Default all.
    pub shard: Shard,
    /// How many stories are told at a time, each on a thread of its own. Default: the number of processors.
    pub jobs: Option<NonZeroUsize>,
    /// Where failures are saved as scenario files. Default: nowhere, they are printed.
    pub save: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    totals: Totals,
    possible: Vec<Possible>,
}

#[derive(Debug, Default)]
struct Totals {
    stories: u64,
    uploads: u64,
    struck: Struck,
    failures: Vec<Failure>,
    elapsed: Duration,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.stories += other.stories;
        self.uploads += other.uploads;
        self.struck.add(other.struck);
        self.failures.extend(other.failures);
    }
}

/// A seed whose story broke something.
#[derive(Debug)]
struct Failure {
    seed: u64,
    breach: Breach,
    /// The smallest story that breaks the same; none where there are enough of its kind.
    smallest: Option<Scenario>,
}

/// Goes through the seeds.
#[must_use]
pub fn run(settings: &Settings) -> Outcome {
    let possible = cell::possible();
    let to = if settings.time.is_some() { None } else { Some(SEEDS) };
    let seeds = settings.seeds.unwrap_or(Seeds { from: 0, to });
    let jobs = settings.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let totals = sweep::sweep(&seeds, settings.shard, settings.time, jobs, &possible);
    Outcome { totals, possible }
}

impl Outcome {
    /// Did every story hold?
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.totals.failures.is_empty() && self.totals.stories > 0
    }

    /// How many uploads were simulated.
    #[must_use]
    pub const fn uploads(&self) -> u64 {
        self.totals.uploads
    }

    /// The cells that are possible, and were never struck: `action × fault × phase`.
    #[must_use]
    pub fn never_struck(&self) -> Vec<String> {
        let never = self.possible.iter().filter(|possible| self.totals.struck.times(&possible.cell) == 0);
        never.map(|Possible { cell, .. }| format!("{} × {} × {}", cell.action, cell.verdict, cell.phase)).collect()
    }
}

/// The stories of the first so many seeds.
#[cfg(test)]
pub(crate) fn stories(seeds: u64) -> Vec<Scenario> {
    let possible = cell::possible();
    (0..seeds).map(|seed| draw::story(seed, &possible)).collect()
}

/// What the first of these stories breaks that breaks anything.
#[cfg(test)]
pub(crate) fn first_breach(stories: &[Scenario]) -> Option<String> {
    let mut seeds = (0..).zip(stories);
    seeds.find_map(|(seed, story)| tell::tell(story, sweep::how_to_tell(seed)).breach.map(|breach| breach.what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chaos::tell::{How, tell},
        run, sim,
    };

    #[test]
    fn seeds_and_shards_are_read_and_what_is_none_is_refused() {
        assert_eq!("3..9".parse(), Ok(Seeds { from: 3, to: Some(9) }));
        assert_eq!("3..".parse(), Ok(Seeds { from: 3, to: None }));
        for wrong in ["", "7", "..", "a..b", "-1..3"] {
            assert_eq!(
                wrong.parse::<Seeds>(),
                Err(format!("{wrong:?} are no seeds such as 0..1000, or 1000.. with --for"))
            );
        }
        assert!("9..9".parse::<Seeds>().unwrap_err().contains("no seeds at all"));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b"] {
            assert_eq!(wrong.parse::<Shard>(), Err(format!("{wrong:?} is no shard such as 2/3, the second of three")));
        }
    }

    #[test]
    fn every_seed_is_of_one_shard_alone() {
        let shards = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Shard>().unwrap());
        for seed in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.has(seed)).count(), 1, "{seed}");
        }
        assert!(Shard::default().has(7));
    }

    #[test]
    fn the_same_seed_is_told_alike_and_two_seeds_are_not() {
        let possible = cell::possible();
        let trace = |seed| {
            let evidence = sim::run_once_with(&draw::story(seed, &possible), run::SEED, sim::Logs::None).unwrap();
            format!("{:?}{:?}{:?}{:?}", evidence.exchanges, evidence.events, evidence.steps, evidence.faults)
        };
        for seed in 0..10 {
            let told = trace(seed);
            assert!(told == trace(seed) && told != trace(seed + 1), "seed {seed}");
        }
    }

    #[test]
    fn a_few_hundred_seeds_hold_and_strike_most_of_what_can_be_struck() {
        let seeds = Some(Seeds { from: 0, to: Some(SEEDS_OF_THE_TEST) });
        let outcome = run(&Settings { seeds, time: None, shard: Shard::default(), jobs: None, save: None });
        assert!(outcome.passed(), "{}", report::report(&outcome, &[]));
        assert_eq!(outcome.totals.stories, SEEDS_OF_THE_TEST);
        assert!(outcome.uploads() > 2 * SEEDS_OF_THE_TEST, "{}", outcome.uploads());
        // Nothing strikes that no file may plan.
        assert_eq!(outcome.totals.struck.beside(&outcome.possible), Vec::<String>::new());
        let never = outcome.never_struck().len();
        assert!(never * 2 < outcome.possible.len(), "{never} of {} cells were never struck", outcome.possible.len());
    }

    /// Some seconds of a debug build.
    const SEEDS_OF_THE_TEST: u64 = 300;

    /// The way from a failure to a file that fails alone, with an invariant that this story breaks in any case: it takes
    /// as long as it takes.
    #[test]
    fn a_failure_is_made_smaller_saved_and_fails_alone() {
        let mut story = draw::story(3, &cell::possible());
        story = story.clone().with_steps(
            story
                .steps()
                .cloned()
                .map(|step| crate::format::Step { within: Some(Duration::from_nanos(1)), ..step })
                .collect(),
        );
        story.within = Duration::from_nanos(1);
        let told = tell(&story, How::Once);
        let breach = told.breach.unwrap();
        let smallest = shrink::shrink(&story, 100, |candidate| {
            tell(candidate, How::Once).breach.is_some_and(|other| other.what == breach.what)
        });
        let dir = tempfile::tempdir().unwrap();
        let failure = Failure { seed: 3, breach: breach.clone(), smallest: Some(smallest) };
        let path = report::save(dir.path(), &failure).unwrap().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let saved = Scenario::parse("saved.toml", &text).unwrap();
        assert_eq!(tell(&saved, How::Once).breach.unwrap().what, breach.what);
        assert!(saved.why.contains("seed 3") && saved.why.contains(&breach.what), "{}", saved.why);
        assert!(saved.plan().faults.len() <= story.plan().faults.len());
    }
}
