//! Accounts as namespaces: each has its uploads, its clock and its limits, and none touches another's.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use vod_proto::{Limits, Sha1};
use vod_serve::WallClock;

use crate::{
    accounts::{Account, AccountsError},
    core::{Generation, Record, Session, Upload, UploadKey},
    mind::Slot,
    rates::Rates,
};

/// An account that requests are answered for.
pub(crate) struct ActiveAccount {
    pub(crate) account: Account,
    pub(crate) limits: Limits,
    pub(crate) rates: Rates,
    pub(crate) space: Arc<Namespace>,
    removed: AtomicBool,
    /// How often it began anew.
    resets: AtomicU64,
}

impl ActiveAccount {
    /// Was it removed, while requests of it are still under way?
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// How often it began anew: whatever began before is not its own any more.
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::SeqCst)
    }

    /// Lets it begin anew. Before anybody looks for what is to be forgotten, so that nothing is added behind his back.
    pub(crate) fn begin_anew(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
}

/// The uploads under an account's name, and the time that passes there. It stays when the mock starts again without
/// the account, and waits for it.
pub(crate) struct Namespace {
    name: Arc<str>,
    clock: WallClock,
    /// How far its clock was moved, in milliseconds.
    advanced: AtomicU64,
    /// How long a session lives after its last part, in seconds.
    lifetime: AtomicU64,
    uploads: Mutex<Uploads>,
}

#[derive(Default)]
struct Uploads {
    slots: BTreeMap<(Generation, Sha1), Arc<Slot>>,
    /// The last upload that a sweep looked at.
    swept: Option<(Generation, Sha1)>,
}

impl Namespace {
    fn new(name: &str, clock: WallClock, lifetime: u64) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::from(name),
            clock,
            advanced: AtomicU64::new(0),
            lifetime: AtomicU64::new(lifetime),
            uploads: Mutex::default(),
        })
    }

    /// The account's name.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The time of day here: what lets sessions and upload signatures expire.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        let ahead = i64::try_from(self.advanced.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        now.saturating_add(SignedDuration::from_millis(ahead)).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let moved = |ahead: u64| Some(ahead.saturating_add(by));
        // The closure always has a value, so this cannot fail.
        let _ = self.advanced.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }

    /// Puts the clock back where every clock stands.
    pub(crate) fn put_clock_back(&self) {
        self.advanced.store(0, Ordering::SeqCst);
    }

    /// How long a session lives after its last part.
    pub(crate) fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime.load(Ordering::SeqCst))
    }

    /// The upload's session, as long as it lives.
    pub(crate) fn session_of<'a>(&self, upload: &'a Upload) -> Option<&'a Session> {
        upload.session(self.now(), self.lifetime())
    }

    /// The key of an upload here.
    pub(crate) fn key(&self, generation: Generation, file_sha1: Sha1) -> UploadKey {
        UploadKey { account: self.name.as_ref().to_owned(), generation, file_sha1 }
    }

    /// An upload that is known.
    pub(crate) fn slot(&self, generation: Generation, file_sha1: Sha1) -> Option<Arc<Slot>> {
        self.uploads().slots.get(&(generation, file_sha1)).cloned()
    }

    /// An upload, known or not.
    pub(crate) fn slot_or_new(&self, generation: Generation, file_sha1: Sha1) -> Arc<Slot> {
        let mut uploads = self.uploads();
        let slot = uploads.slots.entry((generation, file_sha1));
        Arc::clone(slot.or_insert_with(|| Arc::new(Slot::new(Upload::default()))))
    }

    /// Every upload, in order of generation and digest.
    pub(crate) fn slots(&self) -> Vec<(UploadKey, Arc<Slot>)> {
        let uploads = self.uploads();
        let slots = uploads.slots.iter();
        slots.map(|((generation, sha1), slot)| (self.key(*generation, *sha1), Arc::clone(slot))).collect()
    }

    /// So many uploads at most, behind those that were given here the last time, round and round.
    pub(crate) fn next_to_sweep(&self, most: usize) -> Vec<(UploadKey, Arc<Slot>)> {
        let mut uploads = self.uploads();
        let behind = uploads.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
        let slots = &uploads.slots;
        let all = slots.len().min(most);
        let next = slots.range((behind, Bound::Unbounded)).chain(slots.range(..)).take(all);
        let next: Vec<_> = next.map(|(key, slot)| (*key, Arc::clone(slot))).collect();
        uploads.swept = next.last().map(|(key, _)| *key);
        next.into_iter().map(|((generation, sha1), slot)| (self.key(generation, sha1), slot)).collect()
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All namespaces, and the accounts that open them.
pub(crate) struct Namespaces {
    clock: WallClock,
    /// The limits of accounts that have none of their own, and of requests without an account.
    limits: Limits,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    spaces: BTreeMap<String, Arc<Namespace>>,
    by_secret_id: BTreeMap<String, Arc<ActiveAccount>>,
    by_name: BTreeMap<String, Arc<ActiveAccount>>,
    /// The account that requests without a SecretId belong to where signatures are not asked for.
    first: Option<Arc<ActiveAccount>>,
}

impl Namespaces {
    /// Takes up what records of earlier lives say.
    pub(crate) fn new(clock: WallClock, limits: Limits, records: &[Record]) -> Self {
        let mut uploads = BTreeMap::<&UploadKey, Upload>::new();
        for record in records {
            uploads.entry(record.key()).or_default().apply(record);
        }
        let mut state = State::default();
        for (key, upload) in uploads {
            let space = state.spaces.entry(key.account.clone());
            let space = space.or_insert_with(|| Namespace::new(&key.account, clock, limits.session_lifetime_s));
            space.uploads().slots.insert((key.generation, key.file_sha1), Arc::new(Slot::new(upload)));
        }
        Self { clock, limits, state: RwLock::new(state) }
    }

    /// Answers for one account more.
    ///
    /// # Errors
    /// If it cannot be told from another, or its limits exclude each other.
    pub(crate) fn add(&self, account: Account) -> Result<Arc<ActiveAccount>, AccountsError> {
        account.check()?;
        let limits = account.limits.clone().unwrap_or_else(|| self.limits.clone());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.by_name.contains_key(&account.name) {
            return Err(AccountsError::Name(account.name));
        }
        if let Some(other) = state.by_secret_id.get(&account.secret_id) {
            return Err(AccountsError::SecretId(other.account.name.clone(), account.name));
        }
        let lifetime = limits.session_lifetime_s;
        let space = state.spaces.entry(account.name.clone());
        let space = space.or_insert_with(|| Namespace::new(&account.name, self.clock, lifetime));
        space.lifetime.store(lifetime, Ordering::SeqCst);
        let (space, rates, removed) = (Arc::clone(space), Rates::default(), AtomicBool::new(false));
        let resets = AtomicU64::new(0);
        let active = Arc::new(ActiveAccount { account, limits, rates, space, removed, resets });
        state.by_name.insert(active.account.name.clone(), Arc::clone(&active));
        state.by_secret_id.insert(active.account.secret_id.clone(), Arc::clone(&active));
        state.first.get_or_insert_with(|| Arc::clone(&active));
        Ok(active)
    }

    /// Answers for an account no more, and gives its namespace up. What is in there is the caller's to forget.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<ActiveAccount>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let active = state.by_name.remove(name)?;
        state.by_secret_id.remove(&active.account.secret_id);
        state.spaces.remove(name);
        if state.first.as_ref().is_some_and(|first| first.account.name == name) {
            state.first = state.by_name.values().next().cloned();
        }
        // Before anybody looks for what is to be forgotten, so that nothing is added behind his back.
        active.removed.store(true, Ordering::SeqCst);
        Some(active)
    }

    /// The account with this SecretId.
    pub(crate) fn of_secret_id(&self, secret_id: &str) -> Option<Arc<ActiveAccount>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_secret_id.get(secret_id).cloned()
    }

    /// The account of this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<ActiveAccount>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// The account that requests without a SecretId belong to where signatures are not asked for.
    pub(crate) fn first(&self) -> Option<Arc<ActiveAccount>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).first.clone()
    }

    /// Every account, by name.
    pub(crate) fn accounts(&self) -> Vec<Arc<ActiveAccount>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// Every namespace, by name; also those whose account is unknown in this life.
    pub(crate) fn spaces(&self) -> Vec<Arc<Namespace>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).spaces.values().cloned().collect()
    }

    /// The namespace of this name.
    pub(crate) fn space(&self, name: &str) -> Option<Arc<Namespace>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).spaces.get(name).cloned()
    }

    /// The limits of whoever has none of its own.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_cannot_be_told_apart_are_refused() {
        let account = |name: &str, id: &str| {
            let text = format!("name = \"{name}\"\napp-id = 1\nsecret-id = \"{id}\"\nsecret-key = \"k\"\n");
            toml::from_str::<Account>(&text).expect("an account")
        };
        let spaces = Namespaces::new(WallClock::system(), Limits::default(), &[]);
        let add = |name, id| spaces.add(account(name, id)).map(drop);
        assert_eq!(add("a", "1"), Ok(()));
        assert_eq!(add("a", "2"), Err(AccountsError::Name("a".to_owned())));
        assert_eq!(add("b", "1"), Err(AccountsError::SecretId("a".to_owned(), "b".to_owned())));
        assert_eq!(add("b", "2"), Ok(()));
        assert!(spaces.remove("a").is_some_and(|removed| removed.is_removed()));
        assert_eq!(spaces.first().map(|first| first.account.name.clone()).as_deref(), Some("b"));
        assert_eq!(add("c", "1"), Ok(()), "the removed one's SecretId is free");
    }
}
