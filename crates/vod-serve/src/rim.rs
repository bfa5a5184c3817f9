//! What every connection of a server shares: the faults that strike, and whoever is being killed.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use vod_proto::{
    Action, Code,
    exchange::End,
    reply::{Rejected, Reply},
};

use crate::{
    Engine, Journal, KillTarget, Killer, WallClock,
    fault::{HttpFault, Phase, ReplyFault, Strike, Verdict},
    journal::Open,
    message::{Effects, ReplyOut, Stakes},
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
    pub(crate) body_ceiling: u64,
    /// Whoever is being killed at this moment gets no answer any more.
    condemned: watch::Sender<Vec<Condemned>>,
}

/// Whose exchanges are held back while a kill is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condemned {
    /// Those of one account: its client is being killed.
    Account(Option<String>),
    /// All: this server is being killed.
    All,
}

impl Condemned {
    fn holds(&self, open: &Open) -> bool {
        match self {
            Self::Account(account) => open.subject().account == *account,
            Self::All => true,
        }
    }
}

/// What a fault changes in the course of an exchange that goes on.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) reply: Option<ReplyOut>,
    pub(crate) effects: Effects,
}

impl Rim {
    pub(crate) fn new(
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        clock: WallClock,
        killer: Option<Arc<dyn Killer>>,
        body_ceiling: u64,
    ) -> Self {
        Self { engine, journal, clock, killer, body_ceiling, condemned: watch::Sender::new(Vec::new()) }
    }

    pub(crate) const fn clock(&self) -> &WallClock {
        &self.clock
    }

    pub(crate) const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Which fault waits for a byte of this body, or of this reply?
    pub(crate) fn aim(&self, phase: Phase, open: &Open) -> Option<Strike> {
        self.engine.aim(phase, open.subject(), open.attempt(), Stakes::default())
    }

    /// Lets the fault that fits strike, if there is one. `stakes` says what there is to spoil.
    pub(crate) async fn strike(&self, phase: Phase, open: &Arc<Open>, stakes: Stakes) -> Result<Change, Cut> {
        match self.engine.aim(phase, open.subject(), open.attempt(), stakes) {
            Some(strike) => self.hit(strike, phase, open).await,
            None => Ok(Change::default()),
        }
    }

    /// Carries a fault out.
    pub(crate) async fn hit(&self, strike: Strike, phase: Phase, open: &Arc<Open>) -> Result<Change, Cut> {
        self.engine.hit(&strike);
        open.struck(phase, &strike);
        let Strike { id, verdict, .. } = strike;
        tracing::debug!(fault = id, %phase, verdict = verdict.name(), "a fault strikes");
        let mut change = Change::default();
        match verdict {
            Verdict::Reply(reply) => change.reply = Some(injected_reply(&reply, open)),
            Verdict::Http(http) => change.reply = Some(injected_http(&http)),
            Verdict::Delay(delay) => tokio::time::sleep(delay).await,
            Verdict::DropPart => change.effects.drop_part = true,
            Verdict::Transcode(code) => change.effects.transcode = Some(code),
            Verdict::Close => return Err(cut(open, End::Closed)),
            Verdict::Reset => return Err(cut(open, End::Reset)),
            Verdict::Kill(target) => {
                self.kill(target, &id, open).await;
                return Err(cut(open, End::Killed));
            }
        }
        Ok(change)
    }

    /// Holds everything back, has the victim killed, and lets its connections go.
    async fn kill(&self, target: KillTarget, fault: &str, open: &Open) {
        let condemned = match target {
            KillTarget::Mock => Condemned::All,
            KillTarget::Client => Condemned::Account(open.subject().account.clone()),
        };
        // First the word, then the list: an exchange that is not on the list yet will hear the word.
        self.condemned.send_modify(|all| all.push(condemned.clone()));
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
        self.condemned.send_modify(|all| {
            if let Some(at) = all.iter().position(|other| *other == condemned) {
                all.remove(at);
            }
        });
    }

    /// Lets an exchange go on, unless it came from or to someone who is being killed.
    pub(crate) async fn admit(&self, open: &Open) -> Result<(), Cut> {
        let mut condemned = self.condemned.subscribe();
        let held = |all: &Vec<Condemned>| all.iter().any(|one| one.holds(open));
        if !held(&condemned.borrow_and_update()) {
            return Ok(());
        }
        open.line().freeze();
        open.end(End::Killed);
        // The sender is this rim itself, so it cannot be gone.
        let _ = condemned.wait_for(|all| !held(all)).await;
        open.line().close();
        Err(Cut(End::Killed))
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

/// Written as the action's family writes it; for an unknown action like most.
fn injected_reply(reply: &ReplyFault, open: &Open) -> ReplyOut {
    let action = open.subject().action.as_deref().and_then(|name| name.parse::<Action>().ok());
    let family = action.map(Action::family).unwrap_or_default();
    let rejected =
        Rejected { code: Code(reply.code), can_retry: Some(reply.can_retry), message: reply.message.clone() };
    ReplyOut::json(Reply::Rejected(rejected).to_json(family))
}

fn injected_http(http: &HttpFault) -> ReplyOut {
    let mut headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    if let Some(after) = http.retry_after {
        // The header counts whole seconds: a fraction is rounded up, since coming back sooner was not asked for.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.push(("retry-after".to_owned(), seconds.to_string()));
    }
    ReplyOut { status: http.status, headers, body: format!("injected {}\n", http.status) }
}
