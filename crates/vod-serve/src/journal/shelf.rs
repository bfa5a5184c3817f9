//! What is kept of each account, and whose is dropped where all of it is too much.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use vod_proto::lint::Gap;

use super::{
    Whose,
    attempts::{Attempts, Key},
    packed::Packed,
    tally::Tally,
};

/// An exchange that is over.
pub(super) struct Over {
    /// Its place in the order in which exchanges ended, from 1.
    pub(super) end: u64,
    pub(super) packed: Arc<Packed>,
}

/// What is kept of one account.
#[derive(Default)]
pub(super) struct Shelf {
    /// In the order in which they ended.
    over: VecDeque<Over>,
    /// The weight of all of them.
    weight: usize,
    /// How many were dropped.
    evicted: u64,
    /// The highest number among those.
    up_to: u64,
    attempts: Attempts,
    tally: Tally,
}

impl Shelf {
    /// What ended after this place in the order of ends.
    pub(super) fn after(&self, end: u64) -> impl Iterator<Item = &Over> {
        self.over.range(self.over.partition_point(|over| over.end <= end)..)
    }

    pub(super) const fn gap(&self) -> Gap {
        Gap { evicted: self.evicted, up_to: self.up_to, forgotten: self.attempts.forgotten() }
    }

    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    fn drop_oldest(&mut self) -> Option<Over> {
        let dropped = self.over.pop_front()?;
        self.weight -= dropped.packed.weight();
        self.evicted += 1;
        self.up_to = self.up_to.max(dropped.packed.seq);
        Some(dropped)
    }
}

/// The shelves of all accounts.
///
/// Where they hold too much, the oldest of the heaviest is dropped: whoever holds less than its share, the whole divided
/// by the number of shelves, never loses anything. The same holds of counts of attempts.
pub(super) struct Shelves {
    /// How much all may weigh, in bytes.
    ceiling: usize,
    /// How many requests have their attempts counted.
    counted_most: usize,
    /// What all weigh.
    kept: usize,
    /// How many requests have their attempts counted now.
    counted: usize,
    /// Of requests without a known account.
    nobody: Shelf,
    accounts: BTreeMap<Arc<str>, Shelf>,
}

impl Shelves {
    pub(super) fn new(ceiling: usize, counted_most: usize) -> Self {
        Self { ceiling, counted_most, kept: 0, counted: 0, nobody: Shelf::default(), accounts: BTreeMap::new() }
    }

    /// The shelf of an account; a new one where it has none yet.
    fn of(&mut self, account: Option<&str>) -> &mut Shelf {
        let Some(name) = account else { return &mut self.nobody };
        // The name is copied for a new shelf alone.
        if !self.accounts.contains_key(name) {
            self.accounts.insert(Arc::from(name), Shelf::default());
        }
        self.accounts.get_mut(name).expect("a shelf that is there or was just put there")
    }

    /// Has this account a shelf?
    pub(super) fn has(&self, account: &str) -> bool {
        self.accounts.contains_key(account)
    }

    /// Each of these shelves, with whose it is.
    pub(super) fn of_whom<'a>(&'a self, whose: &'a Whose) -> impl Iterator<Item = (Option<&'a str>, &'a Shelf)> {
        let nobody = whose.is(None).then_some((None, &self.nobody));
        let (one, all) = match whose {
            Whose::Account(name) => (self.accounts.get_key_value(name), None),
            Whose::Nobody => (None, None),
            Whose::Everybody => (None, Some(&self.accounts)),
        };
        let accounts = one.into_iter().chain(all.into_iter().flatten());
        nobody.into_iter().chain(accounts.map(|(name, shelf)| (Some(&**name), shelf)))
    }

    /// Changes how often a request of an account was seen, and says how often it was.
    pub(super) fn attempts(&mut self, account: Option<&str>, key: Key, change: impl FnOnce(&mut u32)) -> u32 {
        let attempts = &mut self.of(account).attempts;
        let before = attempts.len();
        let count = attempts.of(key);
        change(count);
        let count = *count;
        self.counted += attempts.len() - before;
        while self.counted > self.counted_most {
            self.most_of(|shelf| shelf.attempts.len()).attempts.forget_oldest();
            self.counted -= 1;
        }
        count
    }

    /// Puts an exchange on its shelf, and says what had to be dropped for it: for the caller to drop where nobody waits.
    pub(super) fn keep(&mut self, over: Over) -> Vec<Over> {
        let weight = over.packed.weight();
        let shelf = self.of(over.packed.account.as_deref());
        shelf.weight += weight;
        shelf.over.push_back(over);
        self.kept += weight;
        let mut dropped = Vec::new();
        while self.kept > self.ceiling {
            let heaviest = self.most_of(|shelf| shelf.weight);
            let before = heaviest.weight;
            let Some(over) = heaviest.drop_oldest() else { break };
            self.kept -= before - heaviest.weight;
            dropped.push(over);
        }
        dropped
    }

    /// The tally of an account.
    pub(super) fn tally(&mut self, account: Option<&str>) -> &mut Tally {
        &mut self.of(account).tally
    }

    /// The shelf that has the most of something.
    fn most_of(&mut self, what: impl Fn(&Shelf) -> usize) -> &mut Shelf {
        let mut most = &mut self.nobody;
        for shelf in self.accounts.values_mut() {
            if what(shelf) > what(most) {
                most = shelf;
            }
        }
        most
    }

    /// Takes these shelves away, with all that stands on them.
    pub(super) fn take(&mut self, whose: &Whose) -> Vec<Shelf> {
        let mut taken = Vec::new();
        if whose.is(None) {
            taken.push(std::mem::take(&mut self.nobody));
        }
        match whose {
            Whose::Account(name) => taken.extend(self.accounts.remove(name)),
            Whose::Everybody => taken.extend(std::mem::take(&mut self.accounts).into_values()),
            Whose::Nobody => {}
        }
        self.kept -= taken.iter().map(|shelf| shelf.weight).sum::<usize>();
        self.counted -= taken.iter().map(|shelf| shelf.attempts.len()).sum::<usize>();
        taken
    }
}
