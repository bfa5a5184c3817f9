//! Which stretches of a file are in use: the first gap that is large enough is used again, neighbours are joined.

use std::collections::BTreeMap;

/// The stretches of a file that nobody uses, and where the file may end.
#[derive(Debug, Default)]
pub(super) struct Extents {
    /// Gaps by their offset, with their length: none empty, no two side by side, none at the end.
    gaps: BTreeMap<u64, u64>,
    /// Behind it nothing is in use.
    end: u64,
}

impl Extents {
    /// Takes a stretch into use. Returns its offset.
    pub(super) fn take(&mut self, len: u64) -> u64 {
        let gap = self.gaps.iter().find(|(_, gap)| **gap >= len).map(|(at, gap)| (*at, *gap));
        let Some((at, gap)) = gap else {
            let at = self.end;
            self.end += len;
            return at;
        };
        self.gaps.remove(&at);
        if gap > len {
            self.gaps.insert(at + len, gap - len);
        }
        at
    }

    /// Gives a stretch, or a part of one, back.
    pub(super) fn give(&mut self, mut at: u64, mut len: u64) {
        if len == 0 {
            return;
        }
        if let Some(behind) = self.gaps.remove(&(at + len)) {
            len += behind;
        }
        if let Some((&before, &gap)) = self.gaps.range(..at).next_back()
            && before + gap == at
        {
            self.gaps.remove(&before);
            at = before;
            len += gap;
        }
        if at + len == self.end {
            self.end = at;
        } else {
            self.gaps.insert(at, len);
        }
    }

    /// Where the file may end.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_gap_that_is_large_enough_is_used_again() {
        let mut extents = Extents::default();
        let taken: Vec<u64> = [10, 20, 30, 40].map(|len| extents.take(len)).to_vec();
        assert_eq!(taken, [0, 10, 30, 60]);
        extents.give(10, 20);
        extents.give(30, 30);
        assert_eq!(extents.take(45), 10, "two neighbours make one gap");
        assert_eq!(extents.take(6), 100, "what is left is too small");
        assert_eq!(extents.take(5), 55);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        /// Gives back the n-th of what is in use, all of it or its tail from a byte on.
        Give(usize, Option<u64>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..100_u64).prop_map(Step::Take),
            2 => any::<usize>().prop_map(|n| Step::Give(n, None)),
            1 => (any::<usize>(), 1..50_u64).prop_map(|(n, from)| Step::Give(n, Some(from))),
        ]
    }

    proptest! {
        #[test]
        fn no_two_stretches_overlap_and_no_gap_is_wasted(steps in proptest::collection::vec(step(), 0..200)) {
            let mut extents = Extents::default();
            let mut used: Vec<(u64, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(len) => {
                        let before = extents.end();
                        let fits = extents.gaps.iter().find(|(_, gap)| **gap >= len).map(|(at, _)| *at);
                        let at = extents.take(len);
                        prop_assert_eq!(at, fits.unwrap_or(before), "the file grows only where no gap is large enough");
                        for (other, other_len) in &used {
                            prop_assert!(at + len <= *other || other + other_len <= at, "{at}+{len} and {other}+{other_len}");
                        }
                        used.push((at, len));
                    }
                    Step::Give(n, from) if !used.is_empty() => {
                        let n = n % used.len();
                        let (at, len) = used.swap_remove(n);
                        let from = from.unwrap_or(0).min(len);
                        extents.give(at + from, len - from);
                        if from > 0 {
                            used.push((at, from));
                        }
                    }
                    Step::Give(..) => {}
                }
                let in_use: u64 = used.iter().map(|(_, len)| len).sum();
                let gaps: u64 = extents.gaps.values().sum();
                prop_assert_eq!(in_use + gaps, extents.end(), "every byte is in use or in a gap");
                let joined = extents.gaps.iter().all(|(at, len)| *len > 0 && !extents.gaps.contains_key(&(at + len)));
                prop_assert!(joined && extents.gaps.iter().all(|(at, len)| at + len < extents.end()), "{extents:?}");
            }
            used.drain(..).for_each(|(at, len)| extents.give(at, len));
            prop_assert_eq!(extents.end(), 0, "nothing is left of what nobody uses");
        }
    }
}
