//! A fault that is planted for as long as a test wants it.

use std::{fmt, fmt::Write as _, panic::Location, sync::Arc};

use vod_proto::{Code, Exchange};
use vod_serve::fault::{Fate, Handle, Phase, Selector};

use super::{
    Exchanges, Failure, Scope,
    nearest::{Listed, Story, nearest, refusal},
    requests::Requests,
};

/// A fault that strikes for as long as this lives. Where it never struck, dropping it fails the test, with the requests
/// that came nearest to it. A closure that panicked, or decided what cannot strike, fails it as well.
///
/// In a test that returns a `Result` this happens also behind a `?`, and hides its error: better `unwrap`.
///
/// Made by [`Scope::fault`], [`Scope::fault_fn`] and [`Scope::plan`].
#[must_use = "a fault is lifted when this is dropped, which is at once where it has no name"]
pub struct PlantedFault {
    scope: Scope,
    id: String,
    handle: Handle,
    strikes: Strikes,
    since: u64,
    planted_at: &'static Location<'static>,
    may_stay_unused: bool,
    lifted: bool,
}

/// When a fault strikes, and what it does: what messages tell of it.
#[derive(Clone)]
pub(super) struct Strikes {
    pub(super) on: Selector,
    pub(super) phase: Phase,
    pub(super) at: Option<u64>,
    pub(super) what: What,
}

/// What a fault does.
#[derive(Clone)]
pub(super) enum What {
    /// This.
    Verdict(&'static str),
    /// What a closure decides.
    Decision,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict(name) => name,
            Self::Decision => "as a closure decides",
        })
    }
}

impl Strikes {
    /// Does it strike some of those that fit, and not all?
    fn is_limited(&self) -> bool {
        let Selector { every, chance, after, until, times, .. } = &self.on;
        every.is_some() || chance.is_some() || after.is_some() || until.is_some() || times.is_some()
    }
}

impl PlantedFault {
    #[track_caller]
    pub(super) fn new(scope: Scope, id: String, handle: Handle, strikes: Strikes, since: u64) -> Self {
        let planted_at = Location::caller();
        Self { scope, id, handle, strikes, since, planted_at, may_stay_unused: false, lifted: false }
    }

    /// Its name in journals and reports.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Does not fail the test if it never strikes. For faults that are left to chance.
    pub const fn may_stay_unused(mut self) -> Self {
        self.may_stay_unused = true;
        self
    }

    /// How often it struck so far.
    ///
    /// # Panics
    /// Like [`fate`](Self::fate).
    #[must_use]
    #[track_caller]
    pub fn struck(&self) -> u64 {
        self.fate().struck
    }

    /// What became of it so far.
    ///
    /// # Panics
    /// If it was lifted by somebody else: by a reset, or over the admin API.
    #[must_use]
    #[track_caller]
    pub fn fate(&self) -> Fate {
        match self.scope.home().enter(|| self.scope.mock().engine().fate(self.handle)) {
            Some(fate) => fate,
            None => panic!("{}", self.lost()),
        }
    }

    /// The exchanges that it struck, as far as they are over.
    pub fn exchanges(&self) -> Exchanges {
        self.scope.exchanges().struck_by(&self.id)
    }

    /// Waits until it has struck. The exchange may still be under way then; to wait for its end, see
    /// [`Scope::until_seen`].
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_struck(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until_struck_times(1)
    }

    /// Waits until it has struck so often.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_struck_times(&self, n: u64) -> impl Future<Output = ()> + Send + use<> {
        self.until(["struck", "times"], |fate| fate.struck, n)
    }

    /// Waits until it holds so many exchanges at once, where it is one that holds.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_held(&self, n: u64) -> impl Future<Output = ()> + Send + use<> {
        self.until(["held", "exchanges"], |fate| fate.held, n)
    }

    /// Takes it away, and says what became of it: then it is up to the test whether that is a failure. Whom it holds it
    /// lets go.
    ///
    /// # Panics
    /// If it was lifted before by somebody else: by a reset, or over the admin API; or if it is a closure that panicked,
    /// or decided what cannot strike.
    #[track_caller]
    pub fn lift(mut self) -> Fate {
        match self.take() {
            (_, Some(mistake)) => panic!("{}", self.mistaken(&mistake)),
            (Some(fate), None) => fate,
            (None, None) => panic!("{}", self.lost()),
        }
    }

    /// What became of it, and what it did wrong where it is a closure.
    fn take(&mut self) -> (Option<Fate>, Option<String>) {
        self.lifted = true;
        let engine = self.scope.mock().engine();
        let mistake = engine.mistake(self.handle);
        (self.scope.home().enter(|| engine.lift(self.handle)), mistake)
    }

    #[track_caller]
    fn until(
        &self,
        [does, what]: [&'static str; 2],
        count: fn(&Fate) -> u64,
        n: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let asked_at = Location::caller();
        let (scope, handle) = (self.scope.clone(), self.handle);
        let report = self.report();
        let (home, mock) = (scope.home().clone(), Arc::clone(scope.mock()));
        async move {
            let reached = home.run(super::patient(async move {
                let mut changes = mock.engine().changes();
                loop {
                    changes.borrow_and_update();
                    let fate = mock.engine().fate(handle);
                    if fate.as_ref().is_none_or(|fate| count(fate) >= n) || changes.changed().await.is_err() {
                        return fate.is_some();
                    }
                }
            }));
            match reached.await {
                Some(true) => {}
                Some(false) => panic!("{}", report.lost()),
                None => {
                    let fate = scope.home().enter(|| scope.mock().engine().fate(handle));
                    let (patience, story) = (super::shown_patience(), report.story(fate.as_ref()));
                    panic!("waited {patience} at {asked_at} until the fault {:?} {does} {n} {what}\n{story}", report.id)
                }
            }
        }
    }

    fn lost(&self) -> String {
        self.report().lost()
    }

    fn mistaken(&self, mistake: &str) -> String {
        format!("the closure of the fault {:?} made a mistake: {mistake}\nplanted at {}", self.id, self.planted_at)
    }

    fn report(&self) -> Report {
        let Self { scope, id, strikes, since, planted_at, .. } = self;
        Report { scope: scope.clone(), id: id.clone(), strikes: strikes.clone(), since: *since, planted_at }
    }
}

impl fmt::Debug for PlantedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlantedFault").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for PlantedFault {
    fn drop(&mut self) {
        if self.lifted {
            return;
        }
        let why = match self.take() {
            (_, Some(mistake)) => self.mistaken(&mistake),
            (Some(Fate { struck: 1.., .. }), _) => return,
            _ if self.may_stay_unused => return,
            (Some(fate), _) => format!("the fault {:?} never struck\n{}", self.id, self.report().story(Some(&fate))),
            (None, _) => self.lost(),
        };
        Failure::Wrong(why).fail();
    }
}

/// What a failure tells of a fault.
struct Report {
    scope: Scope,
    id: String,
    strikes: Strikes,
    since: u64,
    planted_at: &'static Location<'static>,
}

impl Report {
    fn lost(&self) -> String {
        let Self { id, planted_at, .. } = self;
        format!(
            "whether the fault {id:?} struck is not known: it was lifted by a reset or over the admin API\n\
             planted at {planted_at}; drop it, or lift it, before"
        )
    }

    /// Which requests came, and why they were not struck.
    fn story(&self, fate: Option<&Fate>) -> String {
        let Strikes { on, phase, at, what } = &self.strikes;
        let wanted = Requests::selected_by(on);
        let mut story = format!("planted at {}\nit strikes {wanted}, {phase}", self.planted_at);
        // Writing into a text does not fail.
        let _ = match at {
            Some(at) => write!(story, " at byte {at}: {what}"),
            None => write!(story, ": {what}"),
        };
        let evidence = self.scope.evidence();
        let since = evidence.since(self.since);
        let mut fitting: Vec<_> = since.to_vec();
        fitting.retain(|exchange| wanted.fit(exchange, since));
        let _ = write!(story, "\n{} of {} requests since then fitted", fitting.len(), since.len());
        if since.is_empty() {
            story.push_str(": was it kept? `let _ =` lifts it at once, `let _name =` keeps it");
        } else if fitting.is_empty() {
            let _ = write!(story, "; the nearest:{}", nearest(&wanted, since));
        } else if fitting.len() > 3 {
            let _ = write!(story, ":{}", Listed(&fitting));
        } else {
            for exchange in &fitting {
                let _ = write!(story, "\n  {}\n      {}", Story(exchange), self.why_not(exchange));
            }
        }
        if let Some(fate) = fate {
            self.limits(fate, &mut story);
        }
        if let Some(missing) = evidence.missing_since(self.since) {
            let _ = write!(story, "\n{missing}, and not shown");
        }
        story
    }

    /// What else decides whether it strikes, and how far that went.
    fn limits(&self, fate: &Fate, story: &mut String) {
        let on = &self.strikes.on;
        let shown = humantime::format_duration;
        let limits = [
            on.every.map(|n| format!("one in every {n}")),
            on.chance.map(|chance| format!("with a chance of {chance}")),
            on.after.map(|time| format!("after {}", shown(time))),
            on.until.map(|time| format!("until {}", shown(time))),
            on.times.map(|n| format!("{n} times at most")),
        ];
        let limits: Vec<_> = limits.into_iter().flatten().collect();
        if !limits.is_empty() {
            let _ = write!(story, "\nit was to strike {}; so far it counted {}", limits.join(", "), fate.matched);
        }
        if fate.held > 0 {
            let _ = write!(story, "\nit holds {} at this moment", fate.held);
        }
    }

    /// Why an exchange that fits was not struck.
    fn why_not(&self, exchange: &Exchange) -> String {
        let phase = self.strikes.phase;
        if exchange.faults.iter().any(|mark| mark.id == self.id) {
            return "this one it struck".to_owned();
        }
        if let Some(other) = exchange.faults.iter().find(|mark| mark.phase == phase.to_string()) {
            return format!("the fault {:?} struck it in this phase", other.id);
        }
        if let Some(other) = exchange.faults.iter().find(|mark| mark.on_reply) {
            return format!("the fault {:?} ended it before", other.id);
        }
        match (exchange.code(), &self.strikes.what) {
            (Some(Code(code)), _) if code < 0 && phase >= Phase::BeforeCommit => {
                let why = refusal(exchange).map(|message| format!(": {message}")).unwrap_or_default();
                format!("there was nothing to strike, it was refused with code {code}{why}")
            }
            _ if self.strikes.is_limited() => "it was not to strike this one".to_owned(),
            (_, What::Decision) => "the closure let it pass".to_owned(),
            (_, What::Verdict(_)) => format!("in phase {phase} it had nothing that this could strike"),
        }
    }
}
