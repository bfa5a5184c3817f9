//! What the linter found, and what follows from it where the list lacks something.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::Finding;
use crate::{
    Exchange, Verdict,
    rules::{self, Rule, Severity},
};

/// What a list of exchanges lacks of an account, or of everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// How many exchanges.
    pub evicted: u64,
    /// The highest number among them; 0 where there is none. Behind it nothing is missing.
    pub up_to: u64,
    /// How many requests had the count of their attempts forgotten. One that came again is the first of its kind to the list.
    pub forgotten: u64,
}

/// What a list of exchanges lacks, as far as whoever kept it can tell.
///
/// Exchanges that were still under way when the list was taken are not lacking: the list is of what is over so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    of_everybody: Gap,
    of_accounts: BTreeMap<Option<String>, Gap>,
}

impl Lacking {
    /// Nothing: the list is all that there was.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// This is missing, and nobody knows of whom.
    #[must_use]
    pub fn of_somebody(gap: Gap) -> Self {
        Self { of_everybody: gap, ..Self::default() }
    }

    /// What the numbers of a list leave out, where nothing was under way any more when it was taken. They count from 1.
    #[must_use]
    pub fn by_numbers<E: Borrow<Exchange>>(exchanges: &[E]) -> Self {
        let numbers: BTreeSet<u64> = exchanges.iter().map(|exchange| exchange.borrow().seq).collect();
        let last = numbers.last().copied().unwrap_or(0);
        let evicted = last.saturating_sub(numbers.len() as u64);
        // From the end downwards the numbers go down by one, as long as nothing is missing.
        let up_to = (1..=last).rev().zip(numbers.iter().rev()).find(|(expected, number)| expected != *number);
        let up_to = up_to.map_or(evicted, |(expected, _)| expected);
        Self::of_somebody(Gap { evicted, up_to, forgotten: 0 })
    }

    /// This is missing of an account; of none, of requests without a known one.
    pub fn of_account(&mut self, account: Option<String>, gap: Gap) {
        if gap != Gap::default() {
            self.of_accounts.insert(account, gap);
        }
    }

    /// How many exchanges are missing.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.all().map(|gap| gap.evicted).sum()
    }

    /// How many requests had the count of their attempts forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.all().map(|gap| gap.forgotten).sum()
    }

    /// The highest number of an exchange that is missing; 0 where none is. Behind it nothing is.
    #[must_use]
    pub fn up_to(&self) -> u64 {
        self.all().map(|gap| gap.up_to).fold(0, u64::max)
    }

    fn all(&self) -> impl Iterator<Item = &Gap> {
        std::iter::once(&self.of_everybody).chain(self.of_accounts.values())
    }

    /// What is missing of an account's uploads.
    pub(super) fn gap(&self, account: Option<&str>) -> Gap {
        let everybody = self.of_everybody;
        // An account's name is cloned only where something is missing, which is seldom.
        let own = if self.of_accounts.is_empty() { None } else { self.of_accounts.get(&account.map(str::to_owned)) };
        own.map_or(everybody, |own| Gap {
            evicted: everybody.evicted + own.evicted,
            up_to: everybody.up_to.max(own.up_to),
            forgotten: everybody.forgotten + own.forgotten,
        })
    }
}

/// What the linter found in a list, and how far that can be trusted.
///
/// As JSON it is `{"verdict": …, "evicted": …, "findings": […]}`, with `forgotten` where that is not 0:
/// what `GET /__vod/findings` answers and `vod-mock --findings` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Every breach that the list proves, in the order of the exchanges that begin their proof.
    pub findings: Vec<Finding>,
    /// What the list lacks. What is found is proven all the same; what is not found may be missing.
    pub lacking: Lacking,
}

impl Findings {
    /// These breaches, put in order, from a list that lacks this.
    #[must_use]
    pub fn new(mut findings: Vec<Finding>, lacking: Lacking) -> Self {
        let place = |rule: &Rule| rules::ALL.iter().position(|other| *other == rule);
        findings.sort_by_cached_key(|finding| (finding.exchanges.first().copied(), place(finding.rule)));
        Self { findings, lacking }
    }

    /// What follows: `fail` with an error or a warning; otherwise `inconclusive` where the list lacks exchanges or
    /// counts of attempts; otherwise `pass`. A note alone fails nobody: it is how real clients are known to write.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let broken = self.findings.iter().any(|finding| finding.rule.severity != Severity::Note);
        Verdict::of(broken, self.lacking.evicted() > 0 || self.lacking.forgotten() > 0)
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Findings", 4)?;
        shown.serialize_field("verdict", &self.verdict())?;
        shown.serialize_field("evicted", &self.lacking.evicted())?;
        match self.lacking.forgotten() {
            0 => shown.skip_field("forgotten")?,
            forgotten => shown.serialize_field("forgotten", &forgotten)?,
        }
        shown.serialize_field("findings", &self.findings)?;
        shown.end()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{super::crafted::*, *};
    use crate::{Family, Limits, lint::lint};

    /// A part that was refused for good comes again, and then an upload that nothing is wrong with.
    fn breach() -> Story {
        let mut story = Story::of(Family::Server);
        story.open(&fresh());
        story.part(0, NO);
        story.part(0, OK);
        story
    }

    fn lacks(account: &str, gap: Gap) -> Lacking {
        let mut lacking = Lacking::nothing();
        lacking.of_account(Some(account.to_owned()), gap);
        lacking
    }

    #[track_caller]
    fn check(story: &Story, lacking: Lacking, verdict: Verdict, rules: &[&str]) {
        let findings = lint(&story.exchanges, &lacking, &Limits::default());
        let found: Vec<_> = findings.findings.iter().map(|finding| finding.rule.id).collect();
        assert_eq!((findings.verdict(), &found[..]), (verdict, rules));
    }

    #[test]
    fn nothing_found_where_something_is_missing_is_inconclusive_and_what_is_proven_stays_proven() {
        let whole = || Story::whole(Family::Server);
        let gap = |evicted, up_to, forgotten| Gap { evicted, up_to, forgotten };
        check(&whole(), Lacking::nothing(), Verdict::Pass, &[]);
        check(&whole(), lacks("other", gap(1, 9, 0)), Verdict::Inconclusive, &[]);
        check(&whole(), lacks("other", gap(0, 0, 1)), Verdict::Inconclusive, &[]);
        check(&breach(), lacks("other", gap(1, 9, 0)), Verdict::Fail, &["can-retry"]);
        // A note is no failure, and no pass where something is missing.
        let mut note = whole();
        note.exchanges[0].request.method = "POST".to_owned();
        check(&note, Lacking::nothing(), Verdict::Pass, &["documented-method"]);
        check(&note, lacks("demo", gap(1, 0, 0)), Verdict::Inconclusive, &["documented-method"]);
    }

    #[test]
    fn what_came_before_the_last_that_is_missing_of_an_account_accuses_nobody_of_it() {
        let gap = |up_to| Gap { evicted: 1, up_to, forgotten: 0 };
        // Two requests make the breach: where one of them may not be the last before the other, nobody knows.
        check(&breach(), lacks("demo", gap(2)), Verdict::Inconclusive, &[]);
        let mut later = breach();
        later.exchanges.iter_mut().for_each(|exchange| exchange.seq += 7);
        check(&later, lacks("demo", gap(7)), Verdict::Fail, &["can-retry"]);
        // The first of its kind may be the first that was not forgotten.
        let forgotten = Gap { forgotten: 1, ..gap(7) };
        check(&later, lacks("demo", forgotten), Verdict::Inconclusive, &[]);
    }

    #[test]
    fn numbers_that_are_left_out_are_missing() {
        let lacking = |numbers: &[u64]| {
            let mut story = Story::whole(Family::Server);
            story.exchanges.truncate(numbers.len());
            for (exchange, number) in story.exchanges.iter_mut().zip(numbers) {
                exchange.seq = *number;
            }
            let Gap { evicted, up_to, .. } = Lacking::by_numbers(&story.exchanges).gap(Some("demo"));
            (evicted, up_to)
        };
        assert_eq!(lacking(&[]), (0, 0));
        assert_eq!(lacking(&[1, 2, 3]), (0, 0));
        assert_eq!(lacking(&[3, 4]), (2, 2));
        assert_eq!(lacking(&[5, 1, 6, 3]), (2, 4));
        assert_eq!(lacking(&[0, 1]), (0, 0), "nobody counts so, and nobody falls over it");
    }

    #[test]
    fn findings_are_shown_with_what_they_come_to() {
        #[track_caller]
        fn shown(findings: &Findings, expected: &Expect) {
            expected.assert_eq(&serde_json::to_string(findings).unwrap());
        }
        let none = |lacking| Findings { findings: vec![], lacking };
        shown(&none(Lacking::nothing()), &expect![[r#"{"verdict":"pass","evicted":0,"findings":[]}"#]]);
        let gap = Gap { evicted: 12, up_to: 40, forgotten: 3 };
        let missing = expect![[r#"{"verdict":"inconclusive","evicted":12,"forgotten":3,"findings":[]}"#]];
        shown(&none(lacks("demo", gap)), &missing);
    }
}
