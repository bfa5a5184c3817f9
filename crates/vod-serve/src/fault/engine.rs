//! Holds what is planted, is asked at every phase of every exchange, and keeps account of what struck.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use vod_proto::Exchange;

use super::{
    Decide, Dice, Fault, Latch, Phase, Plan, PlanError, Powers, Selector, Verdict, chance, decision::Decision,
};
use crate::{KillTarget, Stakes, Subject, clock::instant, message::Need};

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

struct Planted {
    id: String,
    account: Option<String>,
    on: Selector,
    phase: Phase,
    at: u64,
    what: What,
    since: Instant,
    /// From here on it strikes no more.
    until: Option<Instant>,
    latches: BTreeMap<String, Latch>,
    count: Count,
}

/// What a planted fault does.
enum What {
    /// This.
    Does(Verdict),
    /// What it decides, request by request.
    Decides(Decision),
}

#[derive(Clone, Copy, Default)]
struct Count {
    matched: u64,
    aimed: u64,
    struck: u64,
}

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

/// Could such a fault be one account's?
fn check_scope(account: Option<&str>, verdict: &Verdict) -> Result<(), String> {
    let why = match (account, verdict) {
        (Some(_), Verdict::Refuse(_)) => "whoever is refused has not said whose he is",
        (Some(_), Verdict::Kill(KillTarget::Mock)) => "a server that is killed is gone for all",
        _ => return Ok(()),
    };
    Err(format!(
        "{} cannot be the account {}'s: {why}. Plant it for the whole server, with on.account to say whose request \
         sets it off",
        verdict.name(),
        account.unwrap_or_default()
    ))
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

impl Planted {
    #[expect(clippy::too_many_arguments, reason = "every field once, where data and decisions are planted alike")]
    fn new(
        id: String,
        account: Option<&str>,
        on: Selector,
        phase: Phase,
        at: Option<u64>,
        what: What,
        since: Instant,
        until: Option<Instant>,
    ) -> Self {
        let account = account.map(str::to_owned);
        let (at, latches, count) = (at.unwrap_or(0), BTreeMap::new(), Count::default());
        Self { id, account, on, phase, at, what, since, until, latches, count }
    }

    fn asks(&self) -> bool {
        match &self.what {
            What::Does(verdict) => verdict.needs() == Need::Session,
            What::Decides(_) => true,
        }
    }

    fn fits(&self, subject: &Subject, attempt: u32, now: Instant) -> bool {
        let on = &self.on;
        let age = now.saturating_duration_since(self.since);
        on.action.is_none_or(|action| subject.action.as_deref() == Some(action.wire_name()))
            && on.part.is_none_or(|number| subject.part_number == Some(number))
            && on.offset.is_none_or(|offset| subject.part.is_some_and(|part| part.offset == offset))
            && on.attempt.is_none_or(|n| n == attempt)
            && on.account.as_ref().is_none_or(|name| subject.account.as_deref() == Some(name))
            && on.file_sha.is_none_or(|sha| subject.file_sha1 == Some(sha))
            && on.after.is_none_or(|after| age >= after)
            && on.until.is_none_or(|until| age < until)
            && self.until.is_none_or(|until| now < until)
    }

    /// In the phases that count bytes: is there the byte that it waits for, as far as is known?
    const fn finds_its_byte(&self, stakes: Stakes) -> bool {
        match (self.phase, stakes.body, stakes.reply) {
            (Phase::MidBody, Some(len), _) | (Phase::MidReply, _, Some(len)) => self.at < len,
            (Phase::MidReply, _, None) => false,
            _ => true,
        }
    }

    fn verdict(&mut self, subject: &Subject, attempt: u32, powers: Powers) -> Option<Verdict> {
        let Self { what, phase, on, account, .. } = self;
        match what {
            What::Does(verdict) => Some(verdict.clone()),
            What::Decides(decision) => decision.about(subject, attempt, |verdict| {
                verdict.check(*phase, on).and_then(|()| powers.check(verdict))?;
                check_scope(account.as_deref(), verdict)
            }),
        }
    }

    /// Counts a request that fits. Is it this one's turn?
    fn counts_in(&mut self) -> bool {
        self.count.matched += 1;
        let turn = self.on.every.is_none_or(|n| self.count.matched.is_multiple_of(n))
            && self.on.times.is_none_or(|times| self.count.aimed < times);
        self.count.aimed += u64::from(turn);
        turn
    }

    fn fate(&self, now: Instant) -> Fate {
        Fate {
            id: self.id.clone(),
            account: self.account.clone(),
            matched: self.count.matched,
            struck: self.count.struck,
            held: self.latches.values().map(Latch::held).sum(),
            expired: self.until.is_some_and(|until| now >= until),
        }
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{PartSpan, Sha1};

    use super::*;

    /// A request that can be spoilt in every way.
    const ALL: Stakes =
        Stakes { part: Some(10), file: true, list: true, opening: true, session: true, body: None, reply: Some(100) };
    const POWERS: Powers = Powers { spoils: true, rereads: true, kills: true, refuses: true, longest_body: None };

    fn engine(faults: &str, seed: u64) -> Engine {
        let plan = toml::from_str(faults).expect("the plan of a test is TOML");
        Engine::new(plan, seed, POWERS).expect("the plan of a test can strike")
    }

    /// Strikes at once, as in the phases that count no bytes.
    fn strike(engine: &Engine, phase: Phase, subject: &Subject, attempt: u32) -> Option<Strike> {
        let strike = engine.aim(phase, subject, attempt, ALL)?;
        assert!(engine.hit(&strike));
        Some(strike)
    }

    fn part(number: u64) -> Subject {
        Subject {
            account: Some("demo".into()),
            action: Some("UploadPart".into()),
            file_sha1: Some(Sha1::of(b"f")),
            part: Some(PartSpan { offset: (number - 1) * 10, len: 10 }),
            part_number: Some(number),
            preflight: false,
        }
    }

    #[test]
    fn a_fault_that_strikes_everything_waits_for_a_request_behind_the_preflight() {
        let engine = engine("[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = \"close\"\n", 1);
        let preflight = Subject { preflight: true, ..Subject::default() };
        assert!(strike(&engine, Phase::BeforeRead, &preflight, 1).is_none());
        assert_eq!(engine.fates()[0].matched, 0, "it is not counted either");
        assert!(strike(&engine, Phase::BeforeRead, &Subject::default(), 1).is_some());
    }

    #[test]
    fn only_the_selected_request_is_struck_and_it_is_counted() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { action = \"UploadPart\", part = 2, attempt = 1 }\nphase = \"after-commit\"\ndo = \"reset\"",
            1,
        );
        for (phase, number, attempt) in
            [(Phase::AfterCommit, 1, 1), (Phase::BeforeRead, 2, 1), (Phase::AfterCommit, 2, 2)]
        {
            assert!(strike(&engine, phase, &part(number), attempt).is_none(), "{phase} {number} {attempt}");
        }
        assert_eq!(engine.unfired(), ["a"]);
        assert_eq!(strike(&engine, Phase::AfterCommit, &part(2), 1).map(|s| s.verdict), Some(Verdict::Reset));
        assert!(engine.unfired().is_empty());
    }

    #[test]
    fn every_and_times_bound_how_often() {
        let engine =
            engine("[[fault]]\nid = \"a\"\non = { every = 3, times = 2 }\nphase = \"before-read\"\ndo = \"close\"", 1);
        let struck: Vec<_> = (1..=12).filter(|n| strike(&engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
        assert_eq!(struck, [3, 6]);
    }

    #[test]
    fn a_fault_that_waits_for_a_byte_is_struck_when_it_comes_and_counted_as_aimed_before() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { every = 2, times = 1 }\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"",
            1,
        );
        assert!(engine.aim(Phase::MidBody, &part(1), 1, ALL).is_none());
        let strike = engine.aim(Phase::MidBody, &part(2), 1, ALL).expect("the second fits");
        assert_eq!((strike.at, engine.unfired()), (7, vec!["a".to_owned()]));
        assert!(engine.hit(&strike));
        assert!(engine.unfired().is_empty());
        assert!(engine.aim(Phase::MidBody, &part(4), 1, ALL).is_none(), "once is enough");
    }

    #[test]
    fn a_body_or_a_reply_without_the_byte_is_neither_aimed_at_nor_counted() {
        for phase in [Phase::MidBody, Phase::MidReply] {
            let fault =
                format!("[[fault]]\nid = \"a\"\non = {{ times = 1 }}\nphase = \"{phase}\"\nat = 7\ndo = \"reset\"");
            let engine = engine(&fault, 1);
            let aims = |len| {
                let stakes = Stakes { body: Some(len), reply: Some(len), ..ALL };
                engine.aim(phase, &part(1), 1, stakes).is_some()
            };
            assert!(!aims(0) && !aims(7), "{phase}");
            assert_eq!(engine.fates()[0].matched, 0, "{phase}");
            assert!(aims(8), "{phase}");
        }
    }

    #[test]
    fn a_byte_that_never_came_leaves_the_fault_its_time() {
        let engine =
            engine("[[fault]]\nid = \"a\"\non = { times = 1 }\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"", 1);
        let strike = engine.aim(Phase::MidBody, &part(1), 1, ALL).expect("it fits");
        assert!(engine.aim(Phase::MidBody, &part(2), 1, ALL).is_none(), "its one time is waited for");
        engine.missed(&strike);
        let strike = engine.aim(Phase::MidBody, &part(3), 1, ALL).expect("it has its time again");
        assert!(engine.hit(&strike));
        assert_eq!(engine.fates()[0].struck, 1);
    }

    #[test]
    fn a_fault_whose_life_ends_before_its_time_is_refused() {
        let plan = "[[fault]]\nid = \"a\"\non = { after = \"3s\" }\nphase = \"before-read\"\ndo = \"close\"\n";
        let plan: Plan = toml::from_str(plan).unwrap();
        let engine = engine("", 1);
        let plant = |seconds| engine.plant(None, plan.clone(), Some(Duration::from_secs(seconds))).map(drop);
        let refused = plant(3).unwrap_err().to_string();
        assert_eq!(refused, "fault \"a\": after is 3s: expected earlier than the end of its time to live, 3s");
        assert_eq!(plant(4), Ok(()));
    }

    #[test]
    fn a_decision_is_held_to_what_data_is() {
        let engine = Engine::new(Plan::default(), 1, Powers { longest_body: Some(1000), ..POWERS }).unwrap();
        let plant = |id, phase, at| {
            let planted = engine.plant_decision(None, id, Selector::default(), phase, at, Box::new(|_, _| None));
            planted.map_err(|error| error.why)
        };
        assert_eq!(plant("", Phase::BeforeRead, None), Err("its id is empty".to_owned()));
        let refused = plant("a", Phase::MidBody, Some(1000)).unwrap_err();
        assert_eq!(refused, "at is 1000: this server reads no more than 1000 bytes of a body");
        assert!(plant("a", Phase::MidBody, Some(999)).is_ok());
        assert!(plant("a", Phase::BeforeRead, None).unwrap_err().contains("its id is taken"));
        engine.reads_bodies_of(2000);
        assert!(plant("b", Phase::MidBody, Some(1999)).is_ok(), "longer ones are read now");
    }

    #[test]
    fn what_was_lifted_strikes_no_more_even_where_it_was_aimed() {
        let engine = engine("", 1);
        let plan = toml::from_str("[[fault]]\nid = \"a\"\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"").unwrap();
        let handles = engine.plant(None, plan, None).unwrap();
        let strike = engine.aim(Phase::MidBody, &part(1), 1, ALL).expect("it fits");
        assert_eq!(engine.lift(handles[0]).map(|fate| fate.struck), Some(0));
        assert!(!engine.hit(&strike));
    }

    #[test]
    fn nothing_is_dropped_where_nothing_is_kept() {
        let engine = engine("[[fault]]\nid = \"a\"\nphase = \"before-commit\"\ndo = \"drop-part\"", 1);
        assert!(engine.aim(Phase::BeforeCommit, &part(1), 1, Stakes::default()).is_none());
        assert!(engine.aim(Phase::BeforeCommit, &part(1), 1, ALL).is_some());
    }

    #[test]
    fn the_first_fault_that_fits_wins_and_a_spent_one_lets_the_next() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { times = 1 }\nphase = \"before-read\"\ndo = \"close\"\n[[fault]]\nid = \"b\"\nphase = \"before-read\"\ndo = \"reset\"",
            1,
        );
        let ids: Vec<_> =
            (0..3).filter_map(|_| strike(&engine, Phase::BeforeRead, &part(1), 1)).map(|s| s.id).collect();
        assert_eq!(ids, ["a", "b", "b"]);
    }

    #[test]
    fn chance_does_not_depend_on_order_or_on_other_faults() {
        let one = "[[fault]]\nid = \"a\"\non = { chance = 0.5 }\nphase = \"before-read\"\ndo = \"close\"\n";
        let two =
            format!("[[fault]]\nid = \"z\"\non = {{ part = 99 }}\nphase = \"before-read\"\ndo = \"reset\"\n{one}");
        let fates = |engine: &Engine, order: &[u64]| {
            let mut struck: Vec<_> =
                order.iter().copied().filter(|n| strike(engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
            struck.sort_unstable();
            struck
        };
        let forward: Vec<u64> = (1..=40).collect();
        let backward: Vec<u64> = (1..=40).rev().collect();
        let expected = fates(&engine(one, 5), &forward);
        assert!(!expected.is_empty() && expected.len() < 40);
        assert_eq!(fates(&engine(one, 5), &backward), expected);
        assert_eq!(fates(&engine(&two, 5), &forward), expected);
        assert_ne!(fates(&engine(one, 6), &forward), expected);
    }

    #[test]
    fn an_accounts_faults_strike_its_requests_alone_and_before_the_servers() {
        let engine = engine("[[fault]]\nid = \"s\"\nphase = \"before-read\"\ndo = \"close\"\n", 1);
        let own = "[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = \"reset\"\n";
        let own: Plan = toml::from_str(own).unwrap();
        let handles = engine.plant(Some("demo"), own.clone(), None).unwrap();
        engine.plant(Some("other"), own.clone(), None).unwrap();
        let other = Subject { account: Some("third".into()), ..part(1) };
        let nobody = Subject { account: None, ..part(1) };
        let struck = |subject: &Subject| strike(&engine, Phase::BeforeRead, subject, 1).map(|strike| strike.id);
        assert_eq!([struck(&part(1)), struck(&other), struck(&nobody)].map(Option::unwrap), ["a", "s", "s"]);
        let refused = engine.plant(Some("demo"), own, None).unwrap_err().to_string();
        assert!(refused.contains("its id is taken"), "{refused}");
        let fate = engine.lift(handles[0]).unwrap();
        assert_eq!((fate.account.as_deref(), fate.struck), (Some("demo"), 1));
        assert_eq!(struck(&part(1)).as_deref(), Some("s"), "what was lifted is gone");
        assert_eq!(engine.unfired(), ["a"], "the other account's never struck");
        assert_eq!(engine.lift_all(Some("other")).len(), 1);
        assert!(engine.unfired().is_empty());
    }

    #[test]
    fn an_account_and_the_server_have_room_for_so_many_faults_each_and_a_lifted_one_makes_room() {
        let plan = |from: usize, number: usize| {
            let fault = |n| format!("[[fault]]\nid = \"f{n}\"\nphase = \"before-read\"\ndo = \"close\"\n");
            toml::from_str::<Plan>(&(from..from + number).map(fault).collect::<String>()).unwrap()
        };
        let engine = engine("", 1);
        for account in [None, Some("a")] {
            let refused = engine.plant(account, plan(0, PLANTED_MOST + 1), None).unwrap_err();
            assert!(refused.id == "f1000" && refused.why.contains("more than 1000 faults"), "{refused}");
            assert_eq!(engine.fates_of(account), [], "then none is planted");
            assert!(engine.plant(account, plan(0, PLANTED_MOST), None).is_ok());
            assert!(engine.plant(account, plan(PLANTED_MOST, 1), None).is_err());
            assert_eq!(engine.lift_named(account, "f7").map(|fate| fate.id).as_deref(), Some("f7"));
            assert_eq!(engine.lift_named(account, "f7"), None);
            assert!(engine.plant(account, plan(PLANTED_MOST, 1), None).is_ok());
        }
    }

    #[test]
    fn connections_are_refused_for_the_whole_server_alone() {
        let plan = "[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = { refuse = \"1s\" }\n";
        let plan: Plan = toml::from_str(plan).unwrap();
        let engine = engine("", 1);
        let refused = engine.plant(Some("a"), plan.clone(), None).unwrap_err().to_string();
        assert!(refused.contains("refuse cannot be the account a's") && refused.contains("on.account"), "{refused}");
        assert!(engine.plant(None, plan, None).is_ok());
        assert!(engine.lift_named(Some("a"), "f").is_none() && engine.lift_named(None, "f").is_some());
        let decide = |_: &Subject, _| Some(Verdict::Refuse(super::super::Refuse(Duration::from_secs(1))));
        let on = Selector::default;
        for (account, expected) in [(Some("demo"), "http"), (None, "refuse")] {
            let handle = engine.plant_decision(account, "d", on(), Phase::BeforeRead, None, Box::new(decide)).unwrap();
            let verdict = strike(&engine, Phase::BeforeRead, &part(1), 1).map(|strike| strike.verdict.name());
            assert_eq!(verdict, Some(expected), "{account:?}");
            engine.lift(handle);
        }
    }

    #[test]
    fn a_fault_of_one_account_that_selects_another_is_refused() {
        let plan = "[[fault]]\nid = \"a\"\non = { account = \"b\" }\nphase = \"before-read\"\ndo = \"reset\"\n";
        let plan: Plan = toml::from_str(plan).unwrap();
        let engine = engine("", 1);
        let refused = engine.plant(Some("a"), plan.clone(), None).unwrap_err().to_string();
        assert!(refused.contains("the account a's") && refused.contains("b alone"), "{refused}");
        assert!(engine.plant(Some("b"), plan, None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn faults_have_their_time() {
        let engine = engine(
            "[[fault]]\nid = \"a\"\non = { after = \"2s\", until = \"5s\" }\nphase = \"before-read\"\ndo = \"close\"\n",
            1,
        );
        let plan = "[[fault]]\nid = \"b\"\nphase = \"after-commit\"\ndo = \"close\"\n";
        engine.plant(None, toml::from_str(plan).unwrap(), Some(Duration::from_secs(3))).unwrap();
        let mut struck = Vec::new();
        for _ in 0..7 {
            struck.push(
                [Phase::BeforeRead, Phase::AfterCommit].map(|phase| strike(&engine, phase, &part(1), 1).is_some()),
            );
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(struck.iter().map(|[a, _]| *a).collect::<Vec<_>>(), [false, false, true, true, true, false, false]);
        assert_eq!(struck.iter().map(|[_, b]| *b).collect::<Vec<_>>(), [true, true, true, false, false, false, false]);
        let expired: Vec<_> = engine.fates().into_iter().map(|fate| (fate.id, fate.expired)).collect();
        assert_eq!(expired, [("a".to_owned(), false), ("b".to_owned(), true)]);
    }

    #[test]
    fn a_decision_is_asked_about_what_its_selector_fits_and_refused_loudly_where_it_cannot_strike() {
        let engine = engine("", 1);
        let decide = |subject: &Subject, attempt| match (subject.part_number, attempt) {
            (Some(2), 1) => Some(Verdict::Reset),
            (Some(3), 1) => Some(Verdict::DropPart),
            (Some(4), 1) => panic!("part {} is too much", 4),
            _ => None,
        };
        let on = Selector { action: Some(vod_proto::Action::UploadPart), ..Selector::default() };
        let planted = engine.plant_decision(None, "f", on, Phase::AfterCommit, None, Box::new(decide));
        let planted = planted.unwrap();
        let mistake = || engine.mistake(planted);
        let verdict = |n| strike(&engine, Phase::AfterCommit, &part(n), 1).map(|strike| strike.verdict);
        let loud = Some(Verdict::http(500));
        assert_eq!((verdict(1), verdict(2), mistake()), (None, Some(Verdict::Reset), None));
        assert_eq!((verdict(4), mistake()), (loud.clone(), Some("it panicked: part 4 is too much".to_owned())));
        assert_eq!((verdict(3), mistake()), (loud, Some("it panicked: part 4 is too much".to_owned())), "the first");
        let finish = Subject { action: Some("FinishUpload".into()), ..part(2) };
        assert!(strike(&engine, Phase::AfterCommit, &finish, 1).is_none());
        assert_eq!(engine.fates()[0].struck, 3);
    }

    #[test]
    fn a_server_is_not_asked_for_what_it_cannot_do() {
        let plant = |verdict: &str, powers| {
            let plan = format!("[[fault]]\nid = \"f\"\nphase = \"before-commit\"\ndo = {verdict}\n");
            Engine::new(toml::from_str(&plan).unwrap(), 1, powers).err().map(|error| error.to_string())
        };
        for (verdict, lacking, says) in [
            ("\"drop-part\"", Powers { spoils: false, ..POWERS }, "no uploads of its own"),
            ("{ corrupt = { offset = 1 } }", Powers { rereads: false, ..POWERS }, "keeps no bytes"),
            ("{ kill = \"mock\" }", Powers { kills: false, ..POWERS }, "nobody who kills"),
            ("{ refuse = \"1s\" }", Powers { refuses: false, ..POWERS }, "no listener of its own"),
        ] {
            assert_eq!(plant(verdict, POWERS), None, "{verdict}");
            let refused = plant(verdict, lacking).expect("it cannot strike");
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_hold_opens_for_good_when_it_is_released_or_lifted() {
        let engine = engine("[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = { hold = \"door\" }\n", 1);
        let unknown = engine.release(None, "gate").unwrap_err().to_string();
        assert_eq!(unknown, "no fault holds under the name \"gate\": expected one of door");
        assert_eq!(engine.release(None, "door"), Ok(0), "nobody is there yet");
        assert_eq!(
            engine.release(Some("a"), "door").unwrap_err().known,
            [""; 0],
            "it is the server's, not an account's"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_lets_go_when_the_time_of_its_fault_is_over() {
        let engine = engine("", 1);
        let plan = "[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = { hold = \"door\" }\n";
        engine.plant(None, toml::from_str(plan).unwrap(), Some(Duration::from_secs(9))).unwrap();
        let strike = strike(&engine, Phase::BeforeRead, &part(1), 1).expect("it fits");
        let start = instant();
        tokio::time::advance(Duration::from_secs(2)).await;
        strike.latch.expect("it holds").wait().await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));
    }
}
