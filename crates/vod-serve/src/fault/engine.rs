//! Asked at every phase of every exchange; keeps account of what struck.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vod_proto::Exchange;

use super::{Fault, Phase, Plan, PlanError, Verdict, chance};
use crate::{KillTarget, Stakes, Subject};

/// Decides which fault strikes, and counts.
pub struct Engine {
    seed: u64,
    plan: Plan,
    counts: Mutex<Vec<Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    matched: u64,
    aimed: u64,
    struck: u64,
}

/// A fault that is about to strike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    index: usize,
    /// The byte it strikes at, in the phases that count bytes.
    pub at: u64,
    /// The fault's id.
    pub id: String,
    /// What it does.
    pub verdict: Verdict,
}

/// What became of a planned fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Account {
    /// The fault's id.
    pub id: String,
    /// How often a request fitted its selector, chance and limits aside.
    pub matched: u64,
    /// How often it struck.
    pub struck: u64,
}

impl Engine {
    /// An engine for a plan. The seed decides every `chance`.
    ///
    /// # Errors
    /// If a fault of the plan could never strike.
    pub fn new(plan: Plan, seed: u64) -> Result<Self, PlanError> {
        plan.check()?;
        let counts = Mutex::new(vec![Count::default(); plan.faults.len()]);
        Ok(Self { seed, plan, counts })
    }

    /// Takes up the account of an earlier life of this server from what it wrote down.
    pub fn recall<'a>(&self, exchanges: impl IntoIterator<Item = &'a Exchange>) {
        let mut counts = self.counts();
        for mark in exchanges.into_iter().flat_map(|exchange| &exchange.faults) {
            if let Some(at) = self.plan.faults.iter().position(|fault| fault.id == mark.id) {
                counts[at].matched += 1;
                counts[at].aimed += 1;
                counts[at].struck += 1;
            }
        }
    }

    /// Which fault will strike an exchange in this phase? The first of the plan that fits.
    ///
    /// It counts as struck only with [`hit`](Self::hit): where it waits for a byte of a body, that may never come.
    /// `stakes` says what the request has that a fault could spoil.
    #[must_use]
    pub fn aim(&self, phase: Phase, subject: &Subject, attempt: u32, stakes: Stakes) -> Option<Strike> {
        let mut counts = self.counts();
        for (index, (fault, count)) in self.plan.faults.iter().zip(counts.iter_mut()).enumerate() {
            let spoils = match fault.verdict {
                Verdict::DropPart => stakes.part,
                Verdict::Transcode(_) => stakes.file,
                _ => true,
            };
            if !spoils || !self.fits(fault, phase, subject, attempt) {
                continue;
            }
            count.matched += 1;
            if fault.on.every.is_none_or(|n| count.matched.is_multiple_of(n))
                && fault.on.times.is_none_or(|times| count.aimed < times)
            {
                count.aimed += 1;
                let at = fault.at.unwrap_or(0);
                return Some(Strike { index, id: fault.id.clone(), at, verdict: fault.verdict.clone() });
            }
        }
        None
    }

    /// The fault strikes now.
    pub fn hit(&self, strike: &Strike) {
        if let Some(count) = self.counts().get_mut(strike.index) {
            count.struck += 1;
        }
    }

    /// Does any fault of the plan kill?
    #[must_use]
    pub fn kills(&self) -> bool {
        [KillTarget::Client, KillTarget::Mock].into_iter().any(|target| self.plan.kills(target))
    }

    /// What became of every fault, in the plan's order.
    #[must_use]
    pub fn account(&self) -> Vec<Account> {
        let counts = self.counts();
        let faults = self.plan.faults.iter().zip(counts.iter());
        faults
            .map(|(fault, count)| Account { id: fault.id.clone(), matched: count.matched, struck: count.struck })
            .collect()
    }

    /// The faults that never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.account().into_iter().filter(|account| account.struck == 0).map(|account| account.id).collect()
    }

    fn fits(&self, fault: &Fault, phase: Phase, subject: &Subject, attempt: u32) -> bool {
        let on = &fault.on;
        let part = subject.part;
        !subject.preflight
            && fault.phase == phase
            && on.action.is_none_or(|action| subject.action.as_deref() == Some(action.wire_name()))
            && on.part.is_none_or(|number| subject.part_number == Some(number))
            && on.offset.is_none_or(|offset| part.is_some_and(|part| part.offset == offset))
            && on.attempt.is_none_or(|n| n == attempt)
            && on.account.as_ref().is_none_or(|name| subject.account.as_ref() == Some(name))
            && on.file_sha.is_none_or(|sha| subject.file_sha1 == Some(sha))
            && on.chance.is_none_or(|chance| chance::roll(self.seed, &fault.id, subject, attempt) < chance)
    }

    fn counts(&self) -> MutexGuard<'_, Vec<Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{PartSpan, Sha1};

    use super::*;

    /// A request that can be spoilt in every way.
    const ALL: Stakes = Stakes { part: true, file: true };

    fn engine(faults: &str, seed: u64) -> Engine {
        let plan = toml::from_str(faults).expect("the plan of a test is TOML");
        Engine::new(plan, seed).expect("the plan of a test can strike")
    }

    /// Strikes at once, as in the phases that count no bytes.
    fn strike(engine: &Engine, phase: Phase, subject: &Subject, attempt: u32) -> Option<Strike> {
        let strike = engine.aim(phase, subject, attempt, ALL)?;
        engine.hit(&strike);
        Some(strike)
    }

    fn part(number: u64) -> Subject {
        Subject {
            account: Some("demo".to_owned()),
            action: Some("UploadPart".to_owned()),
            file_sha1: Some(Sha1::of(b"f")),
            part: Some(PartSpan { offset: (number - 1) * 10, len: 10 }),
            part_number: Some(number),
            preflight: false,
        }
    }

    #[test]
    fn a_fault_that_strikes_everything_waits_for_a_request_behind_the_preflight() {
        let engine = engine("[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = \"close\"\n", 1);
        let preflight = Subject { preflight: true, ..Subject::default() };
        assert_eq!(strike(&engine, Phase::BeforeRead, &preflight, 1), None);
        assert_eq!(engine.account()[0].matched, 0, "it is not counted either");
        assert!(strike(&engine, Phase::BeforeRead, &Subject::default(), 1).is_some());
    }

    #[test]
    fn only_the_selected_request_is_struck_and_it_is_counted() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { action = \"UploadPart\", part = 2, attempt = 1 }\nphase = \"after-commit\"\ndo = \"reset\"",
            1,
        );
        assert_eq!(strike(&engine, Phase::AfterCommit, &part(1), 1), None);
        assert_eq!(strike(&engine, Phase::BeforeRead, &part(2), 1), None);
        assert_eq!(strike(&engine, Phase::AfterCommit, &part(2), 2), None);
        assert_eq!(engine.unfired(), ["a"]);
        assert_eq!(strike(&engine, Phase::AfterCommit, &part(2), 1).map(|s| s.verdict), Some(Verdict::Reset));
        assert!(engine.unfired().is_empty());
    }

    #[test]
    fn every_and_times_bound_how_often() {
        let engine =
            engine("[[fault]]\nid = \"a\"\non = { every = 3, times = 2 }\nphase = \"before-read\"\ndo = \"close\"", 1);
        let struck: Vec<_> = (1..=12).filter(|n| strike(&engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
        assert_eq!(struck, [3, 6]);
    }

    #[test]
    fn a_fault_that_waits_for_a_byte_is_struck_when_it_comes_and_counted_as_aimed_before() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { every = 2, times = 1 }\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"",
            1,
        );
        assert_eq!(engine.aim(Phase::MidBody, &part(1), 1, ALL), None);
        let strike = engine.aim(Phase::MidBody, &part(2), 1, ALL).expect("the second fits");
        assert_eq!((strike.at, engine.unfired()), (7, vec!["a".to_owned()]));
        engine.hit(&strike);
        assert!(engine.unfired().is_empty());
        assert_eq!(engine.aim(Phase::MidBody, &part(4), 1, ALL), None, "once is enough");
    }

    #[test]
    fn nothing_is_dropped_where_nothing_is_kept() {
        let engine = engine("[[fault]]\nid = \"a\"\nphase = \"before-commit\"\ndo = \"drop-part\"", 1);
        assert_eq!(engine.aim(Phase::BeforeCommit, &part(1), 1, Stakes::default()), None);
        assert!(engine.aim(Phase::BeforeCommit, &part(1), 1, ALL).is_some());
    }

    #[test]
    fn the_first_fault_that_fits_wins_and_a_spent_one_lets_the_next() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { times = 1 }\nphase = \"before-read\"\ndo = \"close\"\n[[fault]]\nid = \"b\"\nphase = \"before-read\"\ndo = \"reset\"",
            1,
        );
        let ids: Vec<_> =
            (0..3).filter_map(|_| strike(&engine, Phase::BeforeRead, &part(1), 1)).map(|s| s.id).collect();
        assert_eq!(ids, ["a", "b", "b"]);
    }

    #[test]
    fn chance_does_not_depend_on_order_or_on_other_faults() {
        let one = "[[fault]]\nid = \"a\"\non = { chance = 0.5 }\nphase = \"before-read\"\ndo = \"close\"\n";
        let two =
            format!("[[fault]]\nid = \"z\"\non = {{ part = 99 }}\nphase = \"before-read\"\ndo = \"reset\"\n{one}");
        let fates = |engine: &Engine, order: &[u64]| {
            let mut struck: Vec<_> =
                order.iter().copied().filter(|n| strike(engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
            struck.sort_unstable();
            struck
        };
        let forward: Vec<u64> = (1..=40).collect();
        let backward: Vec<u64> = (1..=40).rev().collect();
        let expected = fates(&engine(one, 5), &forward);
        assert!(!expected.is_empty() && expected.len() < 40);
        assert_eq!(fates(&engine(one, 5), &backward), expected);
        assert_eq!(fates(&engine(&two, 5), &forward), expected);
        assert_ne!(fates(&engine(one, 6), &forward), expected);
    }
}
