//! The exchanges that a mock or an account can be judged by, and what is missing of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use vod_proto::{Exchange, lint::Lacking};
use vod_serve::{
    Journal,
    journal::{Kept, Whose},
};

/// The exchanges that a mock or an account can be judged by.
pub(super) struct Evidence {
    pub(super) all: Vec<Arc<Exchange>>,
    pub(super) lacking: Lacking,
    /// Of accounts that were reset or removed something is missing up to this number.
    forgotten_to: u64,
}

impl Evidence {
    pub(super) fn of(journal: &Journal, account: Option<&str>, forgotten: &Forgotten) -> Self {
        let Kept { exchanges, lacking } = journal.kept(&account.map_or(Whose::Everybody, Whose::account));
        Self { all: exchanges, lacking, forgotten_to: forgotten.up_to(account) }
    }

    #[cfg(test)]
    pub(super) const fn made(all: Vec<Arc<Exchange>>, lacking: Lacking) -> Self {
        Self { all, lacking, forgotten_to: 0 }
    }

    /// What came after this one.
    pub(super) fn since(&self, seq: u64) -> &[Arc<Exchange>] {
        &self.all[self.all.partition_point(|exchange| exchange.seq <= seq)..]
    }

    /// Is anything missing of what came after this one? Says what.
    pub(super) fn missing_since(&self, seq: u64) -> Option<String> {
        if self.lacking.up_to() > seq {
            return Some(format!("{} exchanges were evicted from memory", self.lacking.evicted()));
        }
        let forgotten = self.forgotten_to > seq;
        forgotten.then(|| "the exchanges of accounts that were reset or removed meanwhile are forgotten".to_owned())
    }
}

/// How far exchanges were forgotten by resets and removals, by account.
#[derive(Clone, Default)]
pub(super) struct Forgotten(Arc<Mutex<BTreeMap<String, u64>>>);

impl Forgotten {
    /// The account's exchanges up to now are about to be forgotten.
    pub(super) fn note(&self, account: &str, journal: &Journal) {
        if !journal.kept(&Whose::account(account)).exchanges.is_empty() {
            self.all().insert(account.to_owned(), journal.last_seq());
        }
    }

    fn up_to(&self, account: Option<&str>) -> u64 {
        let all = self.all();
        match account {
            Some(name) => all.get(name).copied().unwrap_or(0),
            None => all.values().copied().fold(0, u64::max),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
