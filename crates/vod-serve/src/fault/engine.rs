//! Holds what is planted, is asked at every phase of every exchange, and keeps account of what struck.

mod planted;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use vod_proto::Exchange;

use self::planted::{Planted, What, check_scope};
use super::{
    Decide, Dice, Fault, Latch, Phase, Plan, PlanError, Powers, Selector, Verdict, chance, decision::Decision,
};
use crate::{Stakes, Subject, clock::instant};

/// How many faults may be planted for one account, and as many for the whole server. Default 1,000: every request is
/// held against all that it may meet, at every phase.
pub const PLANTED_MOST: usize = 1_000;

/// Decides which fault strikes, and counts.
pub struct Engine {
    seed: u64,
    powers: Powers,
    /// How many bytes of a body are read at most, of whichever account; 0 where that is not known.
    longest_body: AtomicU64,
    /// How many faults are planted, so that a server without any never waits for the lock.
    planted: AtomicUsize,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    planted: BTreeMap<Handle, Planted>,
    /// The faults of one account, and under none those of the whole server, as they were planted.
    order: BTreeMap<Option<String>, Vec<Handle>>,
    next: u64,
}

/// A planted fault, to be lifted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(u64);

/// A fault that is about to strike.
#[derive(Clone, Debug)]
pub struct Strike {
    handle: Handle,
    /// The byte it strikes at, in the phases that count bytes.
    pub at: u64,
    /// The fault's id.
    pub id: String,
    /// What it does.
    pub verdict: Verdict,
    pub(crate) dice: Dice,
    pub(crate) latch: Option<Latch>,
}

/// What became of a planted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fate {
    /// The fault's id.
    pub id: String,
    /// Whose it is; none for the whole server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How often a request fitted its selector, chance and limits aside.
    pub matched: u64,
    /// How often it struck.
    pub struck: u64,
    /// How many exchanges it holds at this moment.
    #[serde(default)]
    pub held: u64,
    /// Its time is over: it strikes no more.
    #[serde(default)]
    pub expired: bool,
}

/// There is nothing under this name that holds anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault holds under the name {name:?}: {}", known_holds(.known))]
pub struct UnknownHold {
    /// The name.
    pub name: String,
    /// Those there are.
    pub known: Vec<String>,
}

fn known_holds(known: &[String]) -> String {
    if known.is_empty() { "none holds at all".to_owned() } else { format!("expected one of {}", known.join(", ")) }
}

impl Engine {
    /// An engine with a plan for the whole server. The seed decides every `chance` and every drawn delay.
    ///
    /// # Errors
    /// If a fault of the plan could never strike a server of these powers.
    pub fn new(plan: Plan, seed: u64, powers: Powers) -> Result<Self, PlanError> {
        let engine = Self {
            seed,
            longest_body: AtomicU64::new(powers.longest_body.unwrap_or(0)),
            powers,
            planted: AtomicUsize::new(0),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        engine.plant(None, plan, None)?;
        Ok(engine)
    }

    /// Plants the faults of a plan behind those that are there: for requests of one account, or for all.
    /// With a time to live they strike no more once it is over; they stay in the account of what struck.
    ///
    /// # Errors
    /// If one could never strike, its id is taken, or they become too many. Then none is planted.
    pub fn plant(
        &self,
        account: Option<&str>,
        plan: Plan,
        time_to_live: Option<Duration>,
    ) -> Result<Vec<Handle>, PlanError> {
        plan.check_for(self.powers())?;
        for Fault { id, on, .. } in &plan.faults {
            outlives(on, time_to_live).map_err(|why| PlanError { id: id.clone(), why })?;
        }
        let now = instant();
        let mut state = self.state();
        state.check_room(account, plan.faults.iter().map(|fault| fault.id.as_str()))?;
        for fault in &plan.faults {
            state.check(account, &fault.id, &fault.on)?;
            check_scope(account, &fault.verdict).map_err(|why| PlanError { id: fault.id.clone(), why })?;
        }
        let until = time_to_live.and_then(|life| now.checked_add(life));
        let planted = plan.faults.into_iter().map(|fault| {
            let Fault { id, on, phase, at, verdict } = fault;
            let hold = if let Verdict::Hold(hold) = &verdict { Some(hold.0.clone()) } else { None };
            let mut planted = Planted::new(id, account, on, phase, at, What::Does(verdict), now, until);
            // From now on, so that a release that comes before the first exchange is no mistake.
            planted.latches.extend(hold.map(|name| (name, Latch::new(self.changes.clone(), until))));
            planted
        });
        let handles = planted.map(|planted| state.add(planted)).collect();
        self.count(&state);
        drop(state);
        self.changed();
        Ok(handles)
    }

    /// Plants a fault that decides for itself what it does, among the requests that its selector fits.
    /// A verdict that cannot strike in this phase, or on this server, and a panic, is answered with status 500;
    /// [`mistake`](Self::mistake) says what it was.
    ///
    /// # Errors
    /// If its selector could never fit, its id is taken, or there are too many.
    pub fn plant_decision(
        &self,
        account: Option<&str>,
        id: &str,
        on: Selector,
        phase: Phase,
        at: Option<u64>,
        decide: Box<Decide>,
    ) -> Result<Handle, PlanError> {
        if id.is_empty() {
            return Err(PlanError { id: String::new(), why: "its id is empty".to_owned() });
        }
        let reaches = |()| self.powers().reach(phase, at);
        on.check(phase, at).and_then(reaches).map_err(|why| PlanError { id: id.to_owned(), why })?;
        let mut state = self.state();
        state.check_room(account, std::iter::once(id))?;
        state.check(account, id, &on)?;
        let what = What::Decides(Decision::new(decide));
        let handle = state.add(Planted::new(id.to_owned(), account, on, phase, at, what, instant(), None));
        self.count(&state);
        drop(state);
        self.changed();
        Ok(handle)
    }

    /// Takes a fault away, and says what became of it. Whom it holds it lets go.
    pub fn lift(&self, handle: Handle) -> Option<Fate> {
        let mut state = self.state();
        let fate = state.lift(handle);
        self.count(&state);
        drop(state);
        self.changed();
        fate
    }

    /// The same for a fault of an account, or of the whole server, by its id.
    pub fn lift_named(&self, account: Option<&str>, id: &str) -> Option<Fate> {
        let mut state = self.state();
        let named = state.of(account).find(|(_, planted)| planted.id == id).map(|(handle, _)| handle);
        let fate = named.and_then(|handle| state.lift(handle));
        self.count(&state);
        drop(state);
        self.changed();
        fate
    }

    /// Takes away all faults of an account, or all of the whole server's, and says what became of them.
    pub fn lift_all(&self, account: Option<&str>) -> Vec<Fate> {
        let mut state = self.state();
        let handles = state.order.remove(&account.map(str::to_owned)).unwrap_or_default();
        let fates = handles.into_iter().filter_map(|handle| state.lift(handle)).collect();
        self.count(&state);
        drop(state);
        self.changed();
        fates
    }

    /// Lets go whoever a fault of this account, or of the whole server, holds under this name, and whoever comes later.
    /// Says how many were held.
    ///
    /// # Errors
    /// If nothing holds under this name.
    pub fn release(&self, account: Option<&str>, name: &str) -> Result<u64, UnknownHold> {
        let state = self.state();
        let own = state.planted.values().filter(|planted| planted.account.as_deref() == account);
        let latches: Vec<_> = own.flat_map(|planted| &planted.latches).collect();
        let fitting: Vec<_> = latches.iter().filter(|(known, _)| *known == name).map(|(_, latch)| latch).collect();
        if fitting.is_empty() {
            let known = latches.iter().map(|(known, _)| (*known).clone()).collect();
            return Err(UnknownHold { name: name.to_owned(), known });
        }
        let held = fitting.iter().map(|latch| latch.held()).sum();
        fitting.iter().for_each(|latch| latch.open());
        Ok(held)
    }

    /// Takes up the account of an earlier life of this server from what it wrote down.
    pub fn recall<'a>(&self, exchanges: impl IntoIterator<Item = &'a Exchange>) {
        let mut state = self.state();
        for mark in exchanges.into_iter().flat_map(|exchange| &exchange.faults) {
            if let Some(planted) = state.planted.values_mut().find(|planted| planted.id == mark.id) {
                planted.count.matched += 1;
                planted.count.aimed += 1;
                planted.count.struck += 1;
            }
        }
    }

    /// Would it matter in this phase whether the request's upload has a session?
    pub(crate) fn asks(&self, phase: Phase, subject: &Subject) -> bool {
        !self.is_idle() && self.state().facing(subject).any(|(_, planted)| planted.phase == phase && planted.asks())
    }

    /// Is no fault planted at all, so that nobody needs to know what there is to spoil?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.planted.load(Ordering::Relaxed) == 0
    }

    /// Which fault will strike an exchange in this phase? The first that fits: the account's own, then the server's.
    ///
    /// It counts as struck only with [`hit`](Self::hit): where it waits for a byte of a body, that may never come.
    /// `stakes` says what the request has that a fault could spoil.
    #[must_use]
    pub fn aim(&self, phase: Phase, subject: &Subject, attempt: u32, stakes: Stakes) -> Option<Strike> {
        if self.is_idle() || subject.preflight {
            return None;
        }
        let (now, powers) = (instant(), self.powers());
        let mut state = self.state();
        let handles: Vec<_> = state.facing(subject).map(|(handle, _)| handle).collect();
        handles.into_iter().find_map(|handle| {
            let planted = state.planted.get_mut(&handle)?;
            if planted.phase != phase || !planted.fits(subject, attempt, now) {
                return None;
            }
            let dice = Dice::of(self.seed, &planted.id, subject, attempt);
            if planted.on.chance.is_some_and(|chance| dice.roll(chance::WHETHER) >= chance) {
                return None;
            }
            let verdict = planted.verdict(subject, attempt, powers)?;
            if !stakes.have(verdict.needs()) || !planted.finds_its_byte(stakes) || !planted.counts_in() {
                return None;
            }
            let latch = match &verdict {
                Verdict::Hold(name) => {
                    let (until, latch) = (planted.until, planted.latches.entry(name.0.clone()));
                    Some(latch.or_insert_with(|| Latch::new(self.changes.clone(), until)).clone())
                }
                _ => None,
            };
            Some(Strike { handle, at: planted.at, id: planted.id.clone(), verdict, dice, latch })
        })
    }

    /// The fault strikes now; or it was lifted meanwhile, and says no.
    #[must_use]
    pub fn hit(&self, strike: &Strike) -> bool {
        let struck = match self.state().planted.get_mut(&strike.handle) {
            Some(planted) => {
                planted.count.struck += 1;
                true
            }
            None => false,
        };
        self.changed();
        struck
    }

    /// The byte that the fault waited for does not come any more: it may strike another time in its place.
    pub fn missed(&self, strike: &Strike) {
        if let Some(planted) = self.state().planted.get_mut(&strike.handle) {
            planted.count.aimed -= 1;
        }
    }

    /// What became of every fault: the whole server's first, then by account, each as they were planted.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        let (now, state) = (instant(), self.state());
        let handles = state.order.values().flatten();
        handles.filter_map(|handle| state.planted.get(handle)).map(|planted| planted.fate(now)).collect()
    }

    /// What became of the faults of one account, or of the whole server's, as they were planted.
    #[must_use]
    pub fn fates_of(&self, account: Option<&str>) -> Vec<Fate> {
        let (now, state) = (instant(), self.state());
        state.of(account).map(|(_, planted)| planted.fate(now)).collect()
    }

    /// What became of one fault, as long as it is planted.
    #[must_use]
    pub fn fate(&self, handle: Handle) -> Option<Fate> {
        self.state().planted.get(&handle).map(|planted| planted.fate(instant()))
    }

    /// The first thing that a fault which decides for itself did wrong, as long as it is planted: it panicked, or decided
    /// what cannot strike.
    #[must_use]
    pub fn mistake(&self, handle: Handle) -> Option<String> {
        match &self.state().planted.get(&handle)?.what {
            What::Does(_) => None,
            What::Decides(decision) => decision.mistake().map(str::to_owned),
        }
    }

    /// Changes whenever a fault is planted, lifted, strikes, or holds an exchange or lets it go.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The ids of the faults that never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.fates().into_iter().filter(|fate| fate.struck == 0).map(|fate| fate.id).collect()
    }

    /// Bodies of so many bytes are read from now on, if they were not before.
    pub fn reads_bodies_of(&self, bytes: u64) {
        if self.powers.longest_body.is_some() {
            self.longest_body.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    fn powers(&self) -> Powers {
        let longest = self.longest_body.load(Ordering::Relaxed);
        Powers { longest_body: self.powers.longest_body.map(|_| longest), ..self.powers }
    }

    fn count(&self, state: &State) {
        self.planted.store(state.planted.len(), Ordering::Relaxed);
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is there a time for it to strike before it dies?
fn outlives(on: &Selector, time_to_live: Option<Duration>) -> Result<(), String> {
    match (on.after, time_to_live) {
        (Some(after), Some(life)) if after >= life => {
            let shown = humantime::format_duration;
            Err(format!(
                "after is {}: expected earlier than the end of its time to live, {}",
                shown(after),
                shown(life)
            ))
        }
        _ => Ok(()),
    }
}

impl State {
    /// Is there room here for faults with these ids?
    fn check_room<'a>(
        &self,
        account: Option<&str>,
        mut coming: impl Iterator<Item = &'a str>,
    ) -> Result<(), PlanError> {
        let room = PLANTED_MOST.saturating_sub(self.of(account).count());
        let Some(id) = coming.nth(room) else { return Ok(()) };
        let why = format!("there would be more than {PLANTED_MOST} faults of one account, or of the server: lift some");
        Err(PlanError { id: id.to_owned(), why })
    }

    /// Could a fault with this id and selector be planted here?
    fn check(&self, account: Option<&str>, id: &str, on: &Selector) -> Result<(), PlanError> {
        let refuse = |why: String| Err(PlanError { id: id.to_owned(), why });
        if self.of(account).any(|(_, planted)| planted.id == id) {
            return refuse("its id is taken by a fault that is planted already".to_owned());
        }
        match (account, &on.account) {
            (Some(own), Some(other)) if own != other => {
                refuse(format!("it is the account {own}'s, and would strike requests of {other} alone"))
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, planted: Planted) -> Handle {
        self.next += 1;
        let handle = Handle(self.next);
        self.order.entry(planted.account.clone()).or_default().push(handle);
        self.planted.insert(handle, planted);
        handle
    }

    fn lift(&mut self, handle: Handle) -> Option<Fate> {
        let planted = self.planted.remove(&handle)?;
        if let Some(order) = self.order.get_mut(&planted.account) {
            order.retain(|other| *other != handle);
        }
        planted.latches.values().for_each(Latch::open);
        Some(planted.fate(instant()))
    }

    fn of(&self, account: Option<&str>) -> impl Iterator<Item = (Handle, &Planted)> {
        let handles = self.order.get(&account.map(str::to_owned)).into_iter().flatten();
        handles.filter_map(|handle| Some((*handle, self.planted.get(handle)?)))
    }

    /// Those that a request may meet.
    fn facing(&self, subject: &Subject) -> impl Iterator<Item = (Handle, &Planted)> {
        let own = subject.account.as_deref().map(|account| self.of(Some(account)));
        own.into_iter().flatten().chain(self.of(None))
    }
}

#[cfg(test)]
mod tests;
