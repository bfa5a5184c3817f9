//! What every connection of a server shares: the faults that strike, and whoever is being killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use vod_proto::exchange::End;

use crate::{
    Engine, Journal, KillTarget, Killer, WallClock,
    aside::Asides,
    door::Door,
    fault::{Change, Phase, Scene, Strike},
    journal::Open,
    message::{Stakes, Subject},
    traffic::Traffic,
};

/// The connection was ended by this server on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection was cut: {0}")]
pub struct Cut(End);

impl Cut {
    pub(crate) const fn of(end: End) -> Self {
        Self(end)
    }
}

/// How long replies that are on their way are waited for, by a server that stops or has somebody killed.
/// Default 1 s: on loopback they take microseconds.
pub(crate) const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// What every connection of a server shares.
pub(crate) struct Rim {
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    clock: WallClock,
    killer: Option<Arc<dyn Killer>>,
    door: Door,
    asides: Asides,
    traffic: Arc<Traffic>,
    /// Whoever is being killed at this moment gets no answer any more.
    condemned: watch::Sender<Vec<Condemned>>,
    /// Is that anybody? Asked for every request, so not behind the lock.
    killing: AtomicBool,
    /// This server stops.
    stopping: watch::Sender<bool>,
}

/// Whose exchanges are held back while a kill is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condemned {
    /// Those of one account to one host: its client is being killed. Who asks another host is another client.
    Client { account: Option<Arc<str>>, host: Option<Box<str>> },
    /// All: this server is being killed.
    All,
}

impl Condemned {
    /// Does whoever is meant by the other die with this one?
    fn takes_in(&self, other: &Self) -> bool {
        *self == Self::All || self == other
    }

    fn holds(&self, open: &Open) -> bool {
        match self {
            Self::Client { account, host } => {
                let Subject { account: of, host: to, .. } = open.subject();
                // What came before any fault was planted is not known by its host.
                of == account && host.as_ref().zip(to.as_ref()).is_none_or(|(host, to)| host == to)
            }
            Self::All => true,
        }
    }
}

impl Rim {
    pub(crate) fn new(
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        clock: WallClock,
        killer: Option<Arc<dyn Killer>>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let (condemned, stopping) = (watch::Sender::new(Vec::new()), watch::Sender::new(false));
        let (door, asides) = (Door::default(), Asides::default());
        let killing = AtomicBool::new(false);
        Self { engine, journal, clock, killer, door, asides, traffic, condemned, killing, stopping }
    }

    /// Ends every exchange that is under way, and lets go of what is held up although its exchange is over.
    pub(crate) fn stop(&self) {
        self.journal.stop();
        self.stopping.send_replace(true);
    }

    /// Waits until this server stops.
    pub(crate) async fn stopped(&self) {
        // The sender is this rim itself, so it cannot be gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    pub(crate) const fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(crate) const fn asides(&self) -> &Asides {
        &self.asides
    }

    pub(crate) const fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) const fn clock(&self) -> &WallClock {
        &self.clock
    }

    pub(crate) const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Could any fault strike at all?
    pub(crate) fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }

    /// Which fault waits for a byte of a body, or of a reply, of which `stakes` says how long it is?
    pub(crate) fn aim(self: &Arc<Self>, phase: Phase, open: &Arc<Open>, stakes: Stakes) -> Option<Aimed> {
        let strike = self.engine.aim(phase, open.subject(), open.attempt(), stakes)?;
        Some(Aimed { strike: Some(Box::new(strike)), phase, rim: Arc::clone(self), open: Arc::clone(open) })
    }

    /// Could a fault strike in this phase that needs to know what the request has to spoil?
    pub(crate) fn asks(&self, phase: Phase, open: &Open) -> bool {
        self.engine.asks(phase, open.subject())
    }

    /// Lets the fault that fits strike, if there is one. `stakes` says what there is to spoil.
    pub(crate) async fn strike(
        self: &Arc<Self>,
        phase: Phase,
        open: &Arc<Open>,
        stakes: Stakes,
    ) -> Result<Change, Cut> {
        match self.engine.aim(phase, open.subject(), open.attempt(), stakes) {
            Some(strike) => self.hit(strike, phase, open).await,
            None => Ok(Change::default()),
        }
    }

    /// Carries a fault out.
    async fn hit(self: &Arc<Self>, strike: Strike, phase: Phase, open: &Arc<Open>) -> Result<Change, Cut> {
        if !self.engine.hit(&strike) {
            return Ok(Change::default());
        }
        open.struck(phase, &strike);
        let Strike { id, verdict, dice, latch, .. } = &strike;
        tracing::debug!(fault = id, %phase, verdict = verdict.name(), "a fault strikes");
        verdict.strike(&Scene { rim: self, open, id, dice, latch: latch.as_ref() }).await
    }

    /// Holds everything back, has the victim killed, and lets its connections go. Who is being killed already is not killed
    /// once more.
    pub(crate) async fn kill(&self, target: KillTarget, fault: &str, open: &Open) {
        let condemned = match target {
            KillTarget::Mock => Condemned::All,
            KillTarget::Client => {
                let Subject { account, host, .. } = open.subject().clone();
                Condemned::Client { account, host }
            }
        };
        // First the word, then the list: an exchange that is not on the list yet will hear the word.
        let Some(sentence) = Sentence::of(self, condemned.clone()) else {
            let _ = self.admit(open).await;
            return;
        };
        let mut victims = self.journal.under_way();
        victims.retain(|other| condemned.holds(other));
        for victim in &victims {
            victim.line().freeze();
            if victim.is_handed_over() {
                // What is on its way cannot be called back. It is let out, so that the evidence says who has an answer.
                victim.line().thaw();
            } else {
                victim.end(End::Killed);
            }
        }
        let on_their_way = async {
            for victim in &victims {
                victim.over().await;
            }
        };
        // Whoever reads nothing for so long is killed with the reply unread.
        let _ = tokio::time::timeout(SETTLED_WITHIN, on_their_way).await;
        for victim in &victims {
            victim.line().freeze();
            victim.end(End::Killed);
        }
        if let Some(killer) = &self.killer {
            killer.kill(target, fault).await;
        }
        for victim in &victims {
            victim.line().close();
        }
        drop(sentence);
    }

    /// Lets an exchange go on, unless it came from or to someone who is being killed.
    pub(crate) async fn admit(&self, open: &Open) -> Result<(), Cut> {
        let held = |all: &Vec<Condemned>| all.iter().any(|one| one.holds(open));
        if !self.killing.load(Ordering::SeqCst) || !held(&self.condemned.borrow()) {
            return Ok(());
        }
        open.line().freeze();
        open.end(End::Killed);
        // The sender is this rim itself, so it cannot be gone.
        let _ = self.condemned.subscribe().wait_for(|all| !held(all)).await;
        open.line().close();
        Err(Cut(End::Killed))
    }
}

/// The time in which somebody is condemned. It ends also where the exchange that brought the kill ends before it is carried
/// out, or whoever comes next would be held back for ever.
struct Sentence<'a> {
    rim: &'a Rim,
    condemned: Condemned,
}

impl<'a> Sentence<'a> {
    /// Gives the word, unless somebody gave it before.
    fn of(rim: &'a Rim, condemned: Condemned) -> Option<Self> {
        let given = rim.condemned.send_if_modified(|all| {
            let first = !all.iter().any(|other| other.takes_in(&condemned));
            if first {
                all.push(condemned.clone());
                rim.killing.store(true, Ordering::SeqCst);
            }
            first
        });
        given.then(|| Self { rim, condemned })
    }
}

impl Drop for Sentence<'_> {
    fn drop(&mut self) {
        self.rim.condemned.send_modify(|all| {
            all.retain(|other| *other != self.condemned);
            self.rim.killing.store(!all.is_empty(), Ordering::SeqCst);
        });
    }
}

/// A fault that waits for a byte. Where it is dropped before, the byte did not come.
pub(crate) struct Aimed {
    /// Boxed: bodies are moved about, and most have none.
    strike: Option<Box<Strike>>,
    phase: Phase,
    rim: Arc<Rim>,
    open: Arc<Open>,
}

impl Aimed {
    /// The byte it waits for.
    pub(crate) fn at(&self) -> u64 {
        self.strike.as_ref().map_or(u64::MAX, |strike| strike.at)
    }

    /// Lets it strike.
    pub(crate) async fn hit(mut self) -> Result<(), Cut> {
        match self.strike.take() {
            Some(strike) => self.rim.hit(*strike, self.phase, &self.open).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Aimed {
    fn drop(&mut self) {
        if let Some(strike) = &self.strike {
            self.rim.engine.missed(strike);
        }
    }
}

/// Ends an exchange and its connection, and says so to whoever is in the middle of it.
pub(crate) fn cut(open: &Open, end: End) -> Cut {
    open.end(end);
    if end == End::Reset {
        open.line().reset()
    } else {
        open.line().close()
    }
    Cut(end)
}
