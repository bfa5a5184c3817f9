//! Clients that were killed while they were recorded, and are killed again: what was under way then, and in whose life a
//! request comes.
//!
//! What a client has under way in the moment of its death is a race, and ends another way each time: answered already, begun, or
//! not even asked for. So three things hold, whoever wins it:
//! - What was recorded in the moment of a death is over with it, asked for again or not.
//! - What was recorded behind a death is not given before it.
//! - What comes of a dead client takes no answer from the next one.

use std::{collections::BTreeSet, sync::Arc};

use vod_proto::Exchange;

use super::script::is_silent;

/// The deaths of a recording, and of its replay. Exchanges are named by their places in the recording.
#[derive(Debug)]
pub(super) struct Deaths {
    /// When each exchange began and was over, in microseconds since 1970.
    spans: Vec<(i64, i64)>,
    /// Those without an answer.
    silent: BTreeSet<usize>,
    /// Those of them that are still to come, or are waited for: one of them is the next death.
    ahead: BTreeSet<usize>,
    /// What answers nobody any more.
    over: BTreeSet<usize>,
    /// What need not be asked for.
    excused: BTreeSet<usize>,
    now: Life,
    /// How many are being killed.
    dying: u32,
}

/// Between which deaths somebody lives: it counts how often one began or was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life(u64);

impl Deaths {
    pub(super) fn of(recorded: &[Arc<Exchange>]) -> Self {
        let silent = recorded.iter().enumerate().filter(|(_, exchange)| is_silent(exchange));
        let silent: BTreeSet<_> = silent.map(|(at, _)| at).collect();
        Self {
            spans: recorded.iter().map(|exchange| (exchange.start.as_microsecond(), exchange.over_us())).collect(),
            ahead: silent.clone(),
            silent,
            over: BTreeSet::new(),
            excused: BTreeSet::new(),
            now: Life::default(),
            dying: 0,
        }
    }

    pub(super) const fn now(&self) -> Life {
        self.now
    }

    /// Is whoever lived then dead, or dying?
    pub(super) fn is_dead(&self, life: Life) -> bool {
        self.dying > 0 || life != self.now
    }

    pub(super) fn is_over(&self, at: usize) -> bool {
        self.over.contains(&at)
    }

    pub(super) fn is_excused(&self, at: usize) -> bool {
        self.excused.contains(&at)
    }

    /// Did this one begin when somebody was gone who is there still?
    pub(super) fn lies_behind_one(&self, at: usize) -> bool {
        self.ahead.range(..at).any(|death| self.spans[*death].1 < self.spans[at].0)
    }

    /// Whoever got no answer went by itself: that was no death.
    pub(super) fn went(&mut self, at: usize) {
        self.ahead.remove(&at);
    }

    /// Somebody is about to be killed.
    pub(super) fn begins(&mut self, used: &[u32]) {
        (self.now.0, self.dying) = (self.now.0 + 1, self.dying + 1);
        // Where nobody waits, the kill strikes before the request is read.
        let waited_for = self.ahead.iter().rfind(|at| used[**at] > 0);
        let Some(death) = waited_for.or_else(|| self.ahead.first()).copied() else { return };
        let (start, end) = self.spans[death];
        // Those that began before its end, and in the same instant those without an answer that come right behind it.
        let right_behind = (death + 1..).take_while(|at| self.silent.contains(at) && self.spans[*at].0 <= end).count();
        let with_it = |at: &usize| *at <= death + right_behind || self.spans[*at].0 < end;
        let with_it: BTreeSet<_> = self.ahead.iter().copied().filter(with_it).collect();
        let last = with_it.last().copied().unwrap_or(death);
        let overlaps = |at: usize| if at < death { self.spans[at].1 >= start } else { self.spans[at].0 < end };
        let answered = (0..self.spans.len()).filter(|at| *at != death && overlaps(*at));
        // What began before the last of those that died was certainly the dead one's own.
        let (over, excused): (Vec<_>, Vec<_>) = answered.partition(|at| *at <= last);
        self.ahead.retain(|at| !with_it.contains(at));
        self.over.extend(with_it.into_iter().chain(over));
        self.excused.extend(excused);
    }

    /// And is dead.
    pub(super) const fn ends(&mut self) {
        (self.now.0, self.dying) = (self.now.0 + 1, self.dying - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchanges that began and were over then, and whether they were answered.
    fn deaths(recorded: &[(i64, i64, bool)]) -> Deaths {
        let silent = recorded.iter().enumerate().filter(|(_, (.., answered))| !answered);
        let silent: BTreeSet<_> = silent.map(|(at, _)| at).collect();
        Deaths {
            spans: recorded.iter().map(|(start, end, _)| (*start, *end)).collect(),
            ahead: silent.clone(),
            silent,
            ..Deaths::of(&[])
        }
    }

    /// What answers nobody any more once a client is killed, and what need not be asked for.
    fn after_a_kill(recorded: &[(i64, i64, bool)], used: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let mut deaths = deaths(recorded);
        let used: Vec<_> = (0..recorded.len()).map(|at| u32::from(used.contains(&at))).collect();
        deaths.begins(&used);
        let all = || 0..recorded.len();
        (all().filter(|at| deaths.is_over(*at)).collect(), all().filter(|at| deaths.is_excused(*at)).collect())
    }

    /// An opening, two parts that end with a death, beside them one that was answered, and what the next client did.
    const CRASH: [(i64, i64, bool); 6] =
        [(0, 5, true), (6, 30, false), (7, 20, true), (8, 31, false), (40, 45, true), (46, 60, true)];

    #[test]
    fn what_was_under_way_is_over_whoever_won_the_race() {
        for used in [&[0, 1][..], &[0, 3], &[0, 1, 2, 3], &[0], &[]] {
            assert_eq!(after_a_kill(&CRASH, used), (vec![1, 2, 3], vec![]), "{used:?}");
        }
    }

    #[test]
    fn an_answer_in_the_moment_of_a_death_need_not_be_asked_for_nor_is_it_taken_from_the_next() {
        let late = [(0, 5, true), (6, 30, false), (7, 20, true), (29, 35, true)];
        assert_eq!(after_a_kill(&late, &[0, 1]), (vec![1], vec![2, 3]));
    }

    #[test]
    fn two_that_broke_off_in_the_same_instant_died_together() {
        let instant = [(0, 0, true), (0, 0, false), (0, 0, false), (0, 0, true), (0, 0, false)];
        assert_eq!(after_a_kill(&instant, &[0, 1]).0, [0, 1, 2]);
    }

    #[test]
    fn who_went_by_itself_was_not_killed() {
        let mut deaths = deaths(&[(0, 9, false), (10, 12, true), (13, 30, false), (31, 33, true)]);
        assert!(deaths.lies_behind_one(1));
        deaths.went(0);
        assert!(!deaths.lies_behind_one(1) && deaths.lies_behind_one(3));
        deaths.begins(&[1, 1, 0, 0]);
        assert!(deaths.is_over(2) && !deaths.lies_behind_one(3));
    }

    #[test]
    fn what_began_in_the_instant_of_a_death_does_not_wait_for_it() {
        assert!(!deaths(&[(0, 9, false), (9, 12, true)]).lies_behind_one(1));
        assert!(deaths(&[(0, 9, false), (10, 12, true)]).lies_behind_one(1));
    }

    #[test]
    fn whoever_was_there_before_a_death_is_dead_and_so_is_who_came_meanwhile() {
        let mut deaths = deaths(&CRASH);
        let before = deaths.now();
        assert!(!deaths.is_dead(before));
        deaths.begins(&[0; 6]);
        let meanwhile = deaths.now();
        assert!(deaths.is_dead(before) && deaths.is_dead(meanwhile));
        deaths.ends();
        assert!(deaths.is_dead(before) && deaths.is_dead(meanwhile) && !deaths.is_dead(deaths.now()));
    }
}
