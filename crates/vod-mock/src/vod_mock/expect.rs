//! What is expected of the requests of a test, and whether it came.

use std::{
    fmt,
    ops::{Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive},
    panic::Location,
    sync::Arc,
};

use super::{
    Scope,
    evidence::Evidence,
    nearest::{Listed, nearest},
    requests::Requests,
};

/// How often: `1`, `2..=3`, `1..` (at least), `..=5` (at most), `0` (never).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    least: u64,
    most: Option<u64>,
}

impl From<u64> for Times {
    fn from(exactly: u64) -> Self {
        Self { least: exactly, most: Some(exactly) }
    }
}

impl From<RangeInclusive<u64>> for Times {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self { least: *range.start(), most: Some(*range.end()) }
    }
}

impl From<Range<u64>> for Times {
    /// An empty range, such as `3..3`, expects what cannot be.
    fn from(range: Range<u64>) -> Self {
        match range.end.checked_sub(1) {
            Some(most) => Self { least: range.start, most: Some(most) },
            None => Self { least: 1, most: Some(0) },
        }
    }
}

impl From<RangeFrom<u64>> for Times {
    fn from(range: RangeFrom<u64>) -> Self {
        Self { least: range.start, most: None }
    }
}

impl From<RangeToInclusive<u64>> for Times {
    fn from(range: RangeToInclusive<u64>) -> Self {
        Self { least: 0, most: Some(range.end) }
    }
}

impl From<RangeTo<u64>> for Times {
    fn from(range: RangeTo<u64>) -> Self {
        (0..range.end).into()
    }
}

impl Times {
    const fn can_be(self) -> bool {
        match self.most {
            Some(most) => self.least <= most,
            None => true,
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { least: 0, most: Some(0) } => f.write_str("no request"),
            Self { least, most: Some(most) } if least == most => write!(f, "exactly {least}"),
            Self { least: 0, most: Some(most) } => write!(f, "at most {most}"),
            Self { least, most: Some(most) } => write!(f, "{least} to {most}"),
            Self { least, most: None } => write!(f, "at least {least}"),
        }
    }
}

/// Something that is expected.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) wanted: Requests,
    pub(super) times: Times,
    /// Only what came after this one counts.
    pub(super) since: u64,
    pub(super) said_at: &'static Location<'static>,
}

impl Expected {
    /// # Panics
    /// If it could never be met.
    #[track_caller]
    pub(super) fn new(wanted: Requests, times: Times, since: u64) -> Self {
        assert!(times.can_be(), "{wanted} is expected {} times: nothing could meet that", Impossible(times));
        Self { wanted, times, since, said_at: Location::caller() }
    }

    /// Is it met? Otherwise says what was expected, what came, and what came near.
    pub(super) fn check(&self, evidence: &Evidence) -> Result<(), String> {
        let Self { wanted, times, since, said_at } = self;
        let all = evidence.since(*since);
        let came: Vec<_> = all.iter().filter(|exchange| wanted.fit(exchange, all)).map(Arc::clone).collect();
        let count = came.len() as u64;
        let (enough, too_many) = (count >= times.least, times.most.is_some_and(|most| count > most));
        // What is missing could only add to what is here, unless it could tell of what is here that it does not fit.
        let attempts = wanted.counts_attempts() && evidence.lacking.forgotten() > 0;
        let missing = evidence.missing_since(*since);
        let missing = missing.or_else(|| attempts.then(|| "how often some requests came is forgotten".to_owned()));
        let certain = missing.is_none() || !wanted.depends_on_others() && !wanted.counts_attempts();
        let met = enough && !too_many && (missing.is_none() || times.most.is_none() && certain);
        if met {
            return Ok(());
        }
        let mut story = format!(
            "expected {times} of: {wanted}\n  said at {said_at}\n  {count} of {} requests since then fitted",
            all.len()
        );
        if !came.is_empty() {
            story.push_str(&format!(":{}", Listed(&came)));
        }
        if !enough {
            story.push_str(&match (nearest(wanted, all), came.is_empty()) {
                (near, _) if near.is_empty() => near,
                (near, true) => format!("; the nearest:{near}"),
                (near, false) => format!("\n  and did not fit:{near}"),
            });
        }
        if let Some(missing) = missing.filter(|_| !(too_many && certain)) {
            story.push_str(&format!("\n  inconclusive: {missing}"));
        }
        Err(story)
    }
}

struct Impossible(Times);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at least {} and at most {}", self.0.least, self.0.most.unwrap_or(u64::MAX))
    }
}

/// An expectation that is checked when this is dropped; made by [`Scope::expect_here`].
#[must_use = "it is checked when it is dropped, which is at once where it has no name"]
pub struct Expectation {
    scope: Scope,
    expected: Expected,
}

impl Expectation {
    pub(super) const fn new(scope: Scope, expected: Expected) -> Self {
        Self { scope, expected }
    }

    /// Waits until it is met, by what has come so far.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with what came near.
    #[track_caller]
    pub fn until_met(&self) -> impl Future<Output = ()> + Send + use<> {
        self.scope.until(self.expected.clone())
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expected { wanted, times, .. } = &self.expected;
        write!(f, "Expectation({times} of: {wanted})")
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        if let Some(failure) = super::failed(|| self.scope.check(std::slice::from_ref(&self.expected))) {
            failure.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{
        Action, Exchange,
        lint::{Gap, Lacking},
    };

    use super::*;

    fn exchange(seq: u64, action: &str) -> Arc<Exchange> {
        let line = format!(
            "{{\"v\":1,\"seq\":{seq},\"start\":\"2026-01-02T03:04:0{seq}Z\",\"action\":{action:?},\"attempt\":1,\"request\":\
             {{\"method\":\"GET\",\"host\":\"h\",\"target\":\"/\",\"headers\":[],\"body\":{{\"len\":0,\"kept\":\"digest\"}}}},\
             \"end\":\"replied\",\"times\":{{}}}}"
        );
        Arc::new(Exchange::from_line(&line).unwrap())
    }

    /// Requests 3 and 4 are here.
    #[track_caller]
    fn check(wanted: Requests, times: impl Into<Times>, gap: Gap, expected: Result<(), bool>) {
        let mut lacking = Lacking::nothing();
        lacking.of_account(None, gap);
        let evidence = Evidence::made(vec![exchange(3, "InitUpload"), exchange(4, "FinishUpload")], lacking);
        let checked = Expected::new(wanted.clone(), times.into(), 1).check(&evidence);
        let inconclusive = checked.as_ref().map_err(|story| story.contains("inconclusive"));
        assert_eq!(inconclusive.copied(), expected, "{wanted}: {checked:?}");
    }

    #[test]
    fn missing_evidence_excuses_nothing_and_settles_only_what_it_cannot_change() {
        let finish = || Requests::of(Action::FinishUpload);
        let behind = || finish().after_last(Requests::of(Action::InitUpload));
        let whole = Gap::default();
        let before = Gap { evicted: 1, up_to: 1, forgotten: 0 };
        let evicted = Gap { evicted: 1, up_to: 2, forgotten: 0 };
        let forgotten = Gap { forgotten: 1, ..whole };
        for gap in [whole, before] {
            check(finish(), 1, gap, Ok(()));
            check(behind(), 1.., gap, Ok(()));
            check(finish(), 2.., gap, Err(false));
            check(finish(), 0, gap, Err(false));
        }
        // Another that fits may be among those that are missing,
        check(finish(), 1, evicted, Err(true));
        check(finish(), ..=1, evicted, Err(true));
        check(finish(), 2.., evicted, Err(true));
        // which changes nothing where there are enough, or too many.
        check(finish(), 1.., evicted, Ok(()));
        check(finish(), 0, evicted, Err(false));
        // It may also have been the last, or the first of its kind.
        check(behind(), 1.., evicted, Err(true));
        check(behind(), 0, evicted, Err(true));
        check(finish().attempt(1), 1.., evicted, Err(true));
        check(finish().attempt(1), 1.., forgotten, Err(true));
        check(finish(), 1, forgotten, Ok(()));
    }
}
