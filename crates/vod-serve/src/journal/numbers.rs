//! Which numbers were seen, in memory that grows with the gaps between them alone.

use std::collections::BTreeMap;

use vod_proto::lint::Gap;

/// A set of numbers, as runs of those that follow each other.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The first and the last of each run. No two touch.
    runs: BTreeMap<u64, u64>,
    len: u64,
}

impl Numbers {
    /// Takes a number up, and says whether it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let first = before.filter(|(_, last)| last + 1 == number).map_or(number, |(first, _)| first);
        let behind = number.checked_add(1).and_then(|next| self.runs.remove(&next));
        self.runs.insert(first, behind.unwrap_or(number));
        self.len += 1;
        true
    }

    /// The highest; 0 where there is none.
    pub(super) fn last(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// What is missing of the numbers from 1 to the highest; whose it was, no number tells.
    pub(super) fn gap(&self) -> Gap {
        let mut from_the_end = self.runs.iter().rev();
        let last = from_the_end.next();
        // Right before the last run something is missing, unless it begins with the first number there can be.
        let up_to = last.map_or(0, |(first, _)| first.saturating_sub(1));
        Gap { evicted: last.map_or(0, |(_, last)| last.saturating_sub(self.len)), up_to, forgotten: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_in_any_order_are_told_apart_and_so_is_what_is_missing(
            numbers in proptest::collection::vec(prop_oneof![1..30_u64, Just(u64::MAX)], 0..60),
        ) {
            let (mut seen, mut expected) = (Numbers::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(seen.insert(number), expected.insert(number), "{}", number);
            }
            let last = expected.last().copied().unwrap_or(0);
            let mut up_to = last;
            while expected.contains(&up_to) {
                up_to -= 1;
            }
            prop_assert_eq!(seen.gap(), Gap { evicted: last - expected.len() as u64, up_to, forgotten: 0 });
            let ends = expected.iter().filter(|number| !expected.contains(&number.wrapping_add(1))).count();
            prop_assert_eq!(seen.runs.len(), ends, "no more runs than there are gaps");
        }
    }
}
