//! Plants faults for a whole mock or an account of it.

use vod_serve::{
    Plan, Subject,
    fault::{Aim, Fate, Fault, Phase, PlanError, Verdict},
};

use super::Scope;
use crate::vod_mock::{
    PlantedFault,
    planted::{Strikes, What},
};

/// When a fault that decides for itself is asked: in a phase, and at a byte where the phase counts bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    phase: Phase,
    at: Option<u64>,
}

impl From<Phase> for When {
    fn from(phase: Phase) -> Self {
        Self { phase, at: None }
    }
}

impl From<(Phase, u64)> for When {
    /// At this byte of the body, or of the reply's body.
    fn from((phase, at): (Phase, u64)) -> Self {
        Self { phase, at: Some(at) }
    }
}

impl Scope {
    /// Plants a fault, for as long as what this gives back lives. Of an account it strikes that account's requests
    /// alone, and before those of the whole mock; otherwise the first that was planted and fits strikes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use vod_mock::{Action, Fault, Verdict};
    ///
    /// # let mock = vod_mock::VodMock::start().await;
    /// let lost_ack = mock.fault(Fault::on(Action::FinishUpload).attempt(1).after_commit(Verdict::Reset));
    /// // … upload …
    /// # let lost_ack = lost_ack.may_stay_unused();
    /// assert_eq!(lost_ack.struck(), lost_ack.exchanges().len() as u64);
    /// # }
    /// ```
    ///
    /// # Panics
    /// If it could never strike, or its id is taken. A fault that was given no id gets another then.
    #[track_caller]
    pub fn fault(&self, fault: Fault) -> PlantedFault {
        let derived = (fault.id == fault.derived_id()).then(|| fault.id.clone());
        let mut fault = fault;
        for n in 2.. {
            let refused = match self.plant(Plan { faults: vec![fault.clone()] }) {
                Ok(mut planted) => {
                    if let Some(planted) = planted.pop() {
                        return planted;
                    }
                    break;
                }
                Err(refused) => refused,
            };
            match &derived {
                Some(id) if self.has_fault(&fault.id) => fault.id = format!("{id}-{n}"),
                _ => panic!("{refused}"),
            }
        }
        unreachable!("a plan of one fault has one handle, and an id that is free is found")
    }

    /// Plants a closure as a fault: among the requests that `on` aims at, it is asked about each when that comes to
    /// this phase, and decides what strikes it, if anything. It is told who and what the request is about, and the how
    /// manieth time it is seen, from 1.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use vod_mock::{Action, Fault, Phase, Verdict};
    ///
    /// # let mock = vod_mock::VodMock::start().await;
    /// // Every part fails as often as its number says.
    /// let stubborn = mock.fault_fn(Fault::on(Action::UploadPart), Phase::BeforeCommit, |subject, attempt| {
    ///     (u64::from(attempt) <= subject.part_number?).then(|| Verdict::http(503))
    /// });
    /// # let _stubborn = stubborn.may_stay_unused();
    /// # }
    /// ```
    ///
    /// It must not plant or lift faults itself: whoever asks it holds all of them. Where it panics, or decides what cannot
    /// strike in this phase, the request is answered with status 500, and the test fails when the fault is dropped.
    ///
    /// # Panics
    /// If `on` could never fit in this phase, or its id is taken.
    #[track_caller]
    pub fn fault_fn(
        &self,
        on: Aim,
        when: impl Into<When>,
        decide: impl Fn(&Subject, u32) -> Option<Verdict> + Send + Sync + 'static,
    ) -> PlantedFault {
        let When { phase, at } = when.into();
        let (id, on) = on.into_decision(phase, at);
        let since = self.last_seq();
        let handle = self
            .home
            .enter(|| self.mock.engine().plant_decision(self.name(), &id, on.clone(), phase, at, Box::new(decide)));
        match handle {
            Ok(handle) => {
                let strikes = Strikes { on, phase, at, what: What::Decision };
                PlantedFault::new(self.clone(), id, handle, strikes, since)
            }
            Err(refused) => panic!("{refused}"),
        }
    }

    /// Plants the faults of a plan, written as in a fault file, each for as long as what this gives back for it lives.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let mock = vod_mock::VodMock::start().await;
    /// let faults = mock.plan(r#"
    ///     [[fault]]
    ///     id = "busy"
    ///     on = { action = "InitUpload", times = 2 }
    ///     phase = "before-read"
    ///     do = { http = { status = 503, retry-after = "1s" } }
    /// "#);
    /// assert_eq!(faults[0].id(), "busy");
    /// # faults.into_iter().for_each(|fault| drop(fault.may_stay_unused()));
    /// # }
    /// ```
    ///
    /// # Panics
    /// If it is no plan, with the line; or if a fault of it could never strike, or its id is taken. Then none is planted.
    #[must_use]
    #[track_caller]
    pub fn plan(&self, toml: &str) -> Vec<PlantedFault> {
        // No closures: what panics in one is not said to be the test's.
        let plan = match toml::from_str(toml) {
            Ok(plan) => plan,
            Err(wrong) => panic!("the plan cannot be read: {wrong}"),
        };
        match self.plant(plan) {
            Ok(planted) => planted,
            Err(refused) => panic!("{refused}"),
        }
    }

    #[track_caller]
    fn plant(&self, plan: Plan) -> Result<Vec<PlantedFault>, PlanError> {
        let since = self.last_seq();
        let handles = self.home.enter(|| self.mock.engine().plant(self.name(), plan.clone(), None))?;
        let mut planted = Vec::with_capacity(handles.len());
        for (Fault { id, on, phase, at, verdict }, handle) in plan.faults.into_iter().zip(handles) {
            let strikes = Strikes { on, phase, at, what: What::Verdict(verdict.name()) };
            planted.push(PlantedFault::new(self.clone(), id, handle, strikes, since));
        }
        Ok(planted)
    }

    fn has_fault(&self, id: &str) -> bool {
        self.home.enter(|| self.mock.engine().fates_of(self.name())).iter().any(|fate| fate.id == id)
    }

    /// Lets go whoever a fault holds under this name, and whoever would be held later. Says how many were held.
    /// The holds of an account are its own: they are released there.
    ///
    /// # Panics
    /// If nothing holds under this name.
    #[track_caller]
    pub fn release(&self, hold: &str) -> u64 {
        match self.mock.engine().release(self.name(), hold) {
            Ok(held) => held,
            // What it looks for may be there, and another's.
            Err(unknown) if unknown.known.is_empty() => {
                panic!("{unknown}; {} was asked, and each account releases its own holds", self.whose())
            }
            Err(unknown) => panic!("{unknown}"),
        }
    }

    /// What became of every fault that is planted here: the whole mock's, or the account's.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        self.home.enter(|| self.mock.engine().fates_of(self.name()))
    }

    /// The ids of the faults that are planted here, for the whole mock or the account, and never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.fates().into_iter().filter(|fate| fate.struck == 0).map(|fate| fate.id).collect()
    }
}
