//! Makes a story that breaks something smaller, as long as it breaks the same.
//!
//! Fewer faults first, by halves and then one by one; then fewer steps, simpler faults, a smaller file and a plainer
//! client. It ends where no single change is left that keeps the breach, or when the runs that it may take are used up.

use vod_proto::{Family, LegacyLayout, Limits, Size};
use vod_serve::fault::{Fault, Phase, Selector, Verdict};

use super::kind::Kind;
use crate::format::{Client, Faults, Mock, Scenario};

/// How often a story may be told to make it smaller, where nobody says. Default 400: a second or two.
pub(super) const RUNS_MOST: usize = 400;

/// Makes a story smaller while `breaks` says that it still breaks what it broke.
pub(super) fn shrink(story: &Scenario, runs: usize, breaks: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut shrinking = Shrinking { best: story.clone(), left: runs, breaks };
    loop {
        let before = shrinking.left;
        let smaller = shrinking.fewer_faults() | shrinking.simpler();
        if !smaller || shrinking.left == 0 || shrinking.left == before {
            return shrinking.best;
        }
    }
}

struct Shrinking<B> {
    best: Scenario,
    left: usize,
    breaks: B,
}

impl<B: FnMut(&Scenario) -> bool> Shrinking<B> {
    /// Is this one as good? Then it is the best so far.
    fn takes(&mut self, candidate: Scenario) -> bool {
        // What no file may say is not told at all.
        if self.left == 0 || candidate.check().is_err() {
            return false;
        }
        self.left -= 1;
        let breaks = (self.breaks)(&candidate);
        if breaks {
            self.best = candidate;
        }
        breaks
    }

    /// Leaves faults out: half of them, a quarter, down to one at a time, until none can go.
    fn fewer_faults(&mut self) -> bool {
        let mut smaller = false;
        let mut chunk = self.best.plan().faults.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            let mut went = false;
            loop {
                let mut faults = self.best.plan().faults;
                if at >= faults.len() {
                    break;
                }
                faults.drain(at..faults.len().min(at + chunk));
                if self.takes(self.best.clone().with_faults(faults)) {
                    went = true;
                } else {
                    at += chunk;
                }
            }
            smaller |= went;
            // One fault may have been needed only by another that is gone now.
            if chunk > 1 || !went {
                chunk /= 2;
            }
        }
        smaller
    }

    /// Takes the first simpler story that still breaks, again and again.
    fn simpler(&mut self) -> bool {
        let mut smaller = false;
        'again: loop {
            for candidate in candidates(&self.best) {
                if self.takes(candidate) {
                    smaller = true;
                    continue 'again;
                }
                if self.left == 0 {
                    return smaller;
                }
            }
            return smaller;
        }
    }
}

/// Every story that is simpler by one change, those that save most first.
fn candidates(story: &Scenario) -> Vec<Scenario> {
    let mut all = fewer_steps(story);
    all.extend(smaller_file(story));
    all.extend(plainer(story));
    let faults = story.plan().faults;
    for (at, fault) in faults.iter().enumerate() {
        for simpler in simpler_faults(fault) {
            let mut faults = faults.clone();
            faults[at] = simpler;
            all.push(story.clone().with_faults(faults));
        }
    }
    all
}

fn fewer_steps(story: &Scenario) -> Vec<Scenario> {
    let steps: Vec<_> = story.steps().cloned().collect();
    let without = |at: usize| {
        let mut steps = steps.clone();
        steps.remove(at);
        story.clone().with_steps(steps)
    };
    let mut all: Vec<_> = (0..steps.len()).filter(|_| steps.len() > 1).map(without).collect();
    if story.plan().faults.is_empty() && steps.iter().any(|step| step.faults == Faults::Off) {
        let mut steps = steps;
        steps.iter_mut().for_each(|step| step.faults = Faults::On);
        all.push(story.clone().with_steps(steps));
    }
    all
}

fn smaller_file(story: &Scenario) -> Vec<Scenario> {
    let (size, part) = (story.source.size.bytes(), story.client.part_size.bytes());
    let first = match story.client.family {
        Family::Legacy => LegacyLayout::new(size, part, &Limits::default()).and_then(|cut| cut.part_at(0)),
        Family::Server | Family::Ugc => None,
    };
    let first = first.map_or(part, |span| span.len);
    let parts = story.parts();
    let mut sizes: Vec<u64> = [1, 2, parts / 2, parts.saturating_sub(1)]
        .into_iter()
        .filter(|fewer| (1..parts).contains(fewer))
        .map(|fewer| first + (fewer - 1) * part)
        .collect();
    // Full parts are plainer than a last one that is shorter.
    sizes.push(first + parts.saturating_sub(1) * part);
    sizes.retain(|smaller| (*smaller < size) || (*smaller > size && *smaller - size < part));
    sizes.dedup();
    let of_size = sizes.into_iter().map(|size| {
        let mut story = story.clone();
        story.source.size = Size::new(size);
        story
    });
    let mut all: Vec<_> = of_size.collect();
    if story.source.seed != 1 {
        let mut story = story.clone();
        story.source.seed = 1;
        all.push(story);
    }
    all
}

/// The same with one thing as it is where nothing is said.
fn plainer(story: &Scenario) -> Vec<Scenario> {
    type Change = fn(&mut Scenario);
    let (client, mock) = (&story.client, &story.mock);
    let changes: [(bool, Change); 6] = [
        (client.parallel > 1, |story| story.client.parallel = 1),
        (client.attempts.is_some(), |story| story.client.attempts = None),
        (client.dialect != Client::default().dialect, |story| story.client.dialect = Client::default().dialect),
        (client.stall_timeout.is_some(), |story| story.client.stall_timeout = None),
        (mock.profile != Mock::default().profile, |story| story.mock.profile = Mock::default().profile),
        (!mock.instant_upload, |story| {
            story.mock.instant_upload = true;
            *story = story.clone().with_exceptions(Vec::new());
        }),
    ];
    let changed = changes.into_iter().filter(|(other, _)| *other).map(|(_, change)| {
        let mut story = story.clone();
        change(&mut story);
        story
    });
    changed.collect()
}

/// The same fault with one thing simpler: a restriction of its selector less, another phase before its own, a simpler
/// verdict. Each is below it in an order, so that this comes to an end.
fn simpler_faults(fault: &Fault) -> Vec<Fault> {
    type Drop = fn(&mut Selector);
    const DROPS: [Drop; 9] = [
        |on| on.chance = None,
        |on| on.every = None,
        |on| on.after = None,
        |on| on.until = None,
        |on| on.account = None,
        |on| on.file_sha = None,
        |on| on.offset = None,
        |on| on.part = None,
        |on| on.attempt = None,
    ];
    let mut all = Vec::new();
    let mut push = |simpler: Fault| {
        if simpler != *fault {
            all.push(simpler);
        }
    };
    for drop in DROPS {
        let mut simpler = fault.clone();
        drop(&mut simpler.on);
        push(simpler);
    }
    if let Some(times) = fault.on.times.filter(|times| *times > 1) {
        for times in [1, times / 2] {
            push(Fault { on: Selector { times: Some(times), ..fault.on.clone() }, ..fault.clone() });
        }
    }
    push(Fault { at: None, ..fault.clone() });
    for phase in Phase::ALL.into_iter().filter(|phase| *phase < fault.phase) {
        push(Fault { phase, at: None, ..fault.clone() });
    }
    let kind = Kind::of(&fault.verdict);
    for simpler in [Verdict::Reset, Verdict::Close, Verdict::EmptyReply].into_iter().filter(|v| Kind::of(v) < kind) {
        push(Fault { verdict: simpler, ..fault.clone() });
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::chaos::draw;

    fn ids(story: &Scenario) -> BTreeSet<String> {
        story.plan().faults.into_iter().map(|fault| fault.id).collect()
    }

    fn with_faults(number: usize) -> Scenario {
        let fault = |n| Fault {
            id: format!("fault-{n}"),
            on: Selector { attempt: Some(2), ..Selector::default() },
            phase: Phase::AfterCommit,
            at: None,
            verdict: Verdict::GarbageReply,
        };
        let steps = draw::story(1, &[]).steps().cloned().collect();
        Scenario { why: "w".to_owned(), ..Scenario::empty() }
            .with_steps(steps)
            .with_faults((1..=number).map(fault).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Where it takes certain faults and whatever more, those alone are left.
        #[test]
        fn of_the_faults_only_those_are_left_that_it_takes(
            number in 1_usize..20,
            needed in proptest::collection::btree_set(1_usize..20, 0..6),
        ) {
            let needed: BTreeSet<_> = needed.into_iter().filter(|n| *n <= number).map(|n| format!("fault-{n}")).collect();
            let smallest = shrink(&with_faults(number), 10_000, |story| needed.is_subset(&ids(story)));
            prop_assert_eq!(ids(&smallest), needed);
        }

        /// Where a breach takes a file of so many bytes, so many steps and so much parallelism, no more is left of them.
        #[test]
        fn what_a_breach_does_not_take_is_gone(seed in 0_u64..200, parts in 1_u64..4, parallel in 1_usize..3) {
            let story = draw::story(seed, &[]);
            let breaks = |story: &Scenario| story.parts() >= parts && story.client.parallel >= parallel;
            prop_assume!(breaks(&story));
            let smallest = shrink(&story, 10_000, breaks);
            prop_assert_eq!(smallest.parts(), parts);
            prop_assert!(smallest.plan().faults.is_empty());
            prop_assert_eq!(smallest.steps().len(), 1);
            prop_assert!(smallest.client.parallel == 1 || parallel == 2);
            prop_assert!(Scenario::parse("smallest.toml", &smallest.to_toml()).is_ok());
        }
    }

    #[test]
    fn a_fault_is_made_as_simple_as_it_can_be() {
        let mut story = with_faults(1);
        let mut faults = story.plan().faults;
        faults[0].on =
            Selector { part: Some(1), chance: Some(0.5), every: Some(2), times: Some(8), ..Selector::default() };
        faults[0].verdict = Verdict::Close;
        story = story.with_faults(faults);
        let smallest = shrink(&story, 10_000, |story| ids(story).contains("fault-1"));
        let left = Fault {
            id: "fault-1".to_owned(),
            on: Selector { times: Some(1), ..Selector::default() },
            phase: Phase::BeforeRead,
            at: None,
            verdict: Verdict::Reset,
        };
        assert_eq!(smallest.plan().faults, [left]);
    }

    #[test]
    fn no_more_runs_are_taken_than_are_allowed_and_what_does_not_break_is_left_alone() {
        let mut runs = 0;
        let story = with_faults(15);
        let same = shrink(&story, 7, |_| {
            runs += 1;
            false
        });
        assert!(runs <= 7 && same.to_toml() == story.to_toml(), "{runs} runs");
    }
}
