//! How often each request was seen.

use std::collections::{BTreeMap, VecDeque};

use vod_proto::{Action, Sha1};

/// What makes two requests of an account the same request: action, upload and part.
pub(super) type Key = (Option<Action>, Option<Sha1>, Option<u64>);

/// The requests of an account, each with the number of its attempts.
#[derive(Default)]
pub(super) struct Attempts {
    counts: BTreeMap<Key, u32>,
    /// In the order in which they were first seen.
    seen: VecDeque<Key>,
    forgotten: u64,
}

impl Attempts {
    /// How often the request was seen; 0 where it is new.
    pub(super) fn of(&mut self, key: Key) -> &mut u32 {
        let seen = &mut self.seen;
        self.counts.entry(key).or_insert_with(|| {
            seen.push_back(key);
            0
        })
    }

    /// How many requests are told apart.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// How many requests were forgotten: seen again, they are new.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets the request that was first seen longest ago.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.seen.pop_front() {
            self.counts.remove(&oldest);
            self.forgotten += 1;
        }
    }
}
