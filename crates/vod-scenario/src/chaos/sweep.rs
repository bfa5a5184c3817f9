//! Goes through seeds on several threads, until they or the time are over.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Failure, Seeds, Shard, Totals,
    cell::Possible,
    draw,
    shrink::{self, shrink},
    tell::{Breach, How, is_healthy, tell},
};
use crate::clock::Stopwatch;

/// Every so many seeds one is told twice, with logs the second time. Default 16: it costs a tenth of the time.
const TWICE_EVERY: u64 = 16;

/// How many failures of one kind are made smaller. Default 3: where everything is broken, the rest are only counted.
const SHRUNK_MOST: usize = 3;

/// What all threads share.
struct Sweep<'a> {
    seeds: &'a Seeds,
    shard: Shard,
    until: Option<Duration>,
    began: Stopwatch,
    next: AtomicU64,
    possible: &'a [Possible],
    shrunk: Mutex<BTreeMap<String, usize>>,
}

/// Goes through the seeds.
pub(super) fn sweep(
    seeds: &Seeds,
    shard: Shard,
    until: Option<Duration>,
    jobs: usize,
    possible: &[Possible],
) -> Totals {
    let sweep = Sweep {
        seeds,
        shard,
        until,
        began: Stopwatch::start(),
        next: AtomicU64::new(seeds.from),
        possible,
        shrunk: Mutex::default(),
    };
    let mut totals = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(|| sweep.work())).collect();
        let mut totals = Totals::default();
        for thread in threads {
            match thread.join() {
                Ok(part) => totals.add(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        totals
    });
    totals.failures.sort_by_key(|failure| failure.seed);
    totals.elapsed = sweep.began.elapsed();
    totals
}

impl Sweep<'_> {
    fn work(&self) -> Totals {
        let mut totals = Totals::default();
        while let Some(seed) = self.seed() {
            let story = draw::story(seed, self.possible);
            let how = how_to_tell(seed);
            let mut told = tell(&story, how);
            totals.stories += 1;
            totals.uploads += told.uploads;
            if let Some(evidence) = &told.evidence {
                totals.struck.count(&evidence.exchanges);
            }
            // A failure that does not come again is another failure.
            if told.breach.is_some() && how == How::Once {
                told = tell(&story, How::Twice);
            }
            let Some(breach) = told.breach else { continue };
            let smallest = self.may_shrink(&breach.what).then(|| {
                let breaks = |candidate: &_| {
                    let same = |other: Breach| other.what == breach.what;
                    tell(candidate, how_to_see(&breach.what)).breach.is_some_and(same) && is_healthy(candidate)
                };
                shrink(&story, shrink::RUNS_MOST, breaks)
            });
            totals.failures.push(Failure { seed, breach, smallest });
        }
        totals
    }

    fn seed(&self) -> Option<u64> {
        if self.until.is_some_and(|until| self.began.elapsed() >= until) {
            return None;
        }
        loop {
            // Behind the last number there is no seed: it stays where it is, and is nobody's.
            let next = |seed: u64| seed.checked_add(1).filter(|_| self.seeds.to.is_none_or(|to| seed < to));
            let seed = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
            if self.shard.has(seed) {
                return Some(seed);
            }
        }
    }

    fn may_shrink(&self, what: &str) -> bool {
        let mut shrunk = self.shrunk.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shrunk.entry(what.to_owned()).or_default();
        *count += 1;
        *count <= SHRUNK_MOST
    }
}

/// How often, and with which logs, the story of a seed is told.
pub(super) const fn how_to_tell(seed: u64) -> How {
    if seed.is_multiple_of(TWICE_EVERY) { How::Twice } else { How::Once }
}

/// What only two tellings, or logs, can show is looked for with them.
fn how_to_see(what: &str) -> How {
    if ["same-when-run-again", "no-secret-leaked"].contains(&what) { How::Twice } else { How::Once }
}
