//! A fault that is planted: whom it meets, what it does, how often it did.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{
    super::{Latch, Phase, Powers, Selector, Verdict, decision::Decision},
    Fate,
};
use crate::{KillTarget, Stakes, Subject, message::Need};

pub(super) struct Planted {
    pub(super) id: String,
    pub(super) account: Option<String>,
    pub(super) on: Selector,
    pub(super) phase: Phase,
    pub(super) at: u64,
    pub(super) what: What,
    pub(super) since: Instant,
    /// From here on it strikes no more.
    pub(super) until: Option<Instant>,
    pub(super) latches: BTreeMap<String, Latch>,
    pub(super) count: Count,
}

/// What a planted fault does.
pub(super) enum What {
    /// This.
    Does(Verdict),
    /// What it decides, request by request.
    Decides(Decision),
}

#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) matched: u64,
    pub(super) aimed: u64,
    pub(super) struck: u64,
}

impl Planted {
    #[expect(clippy::too_many_arguments, reason = "every field once, where data and decisions are planted alike")]
    pub(super) fn new(
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

    pub(super) fn asks(&self) -> bool {
        match &self.what {
            What::Does(verdict) => verdict.needs() == Need::Session,
            What::Decides(_) => true,
        }
    }

    pub(super) fn fits(&self, subject: &Subject, attempt: u32, now: Instant) -> bool {
        let on = &self.on;
        let age = now.saturating_duration_since(self.since);
        on.action.is_none_or(|action| subject.action.as_deref() == Some(action.wire_name()))
            && on.part.is_none_or(|number| subject.part_number == Some(number))
            && on.offset.is_none_or(|offset| subject.part.is_some_and(|part| part.offset == offset))
            && on.attempt.is_none_or(|n| n == attempt)
            && on.account.as_ref().is_none_or(|name| subject.account.as_deref() == Some(name))
            && on.file_sha.is_none_or(|sha| subject.file_sha1 == Some(sha))
            && on.host.as_ref().is_none_or(|name| subject.host.as_deref() == Some(name))
            && on.after.is_none_or(|after| age >= after)
            && on.until.is_none_or(|until| age < until)
            && self.until.is_none_or(|until| now < until)
    }

    /// In the phases that count bytes: is there the byte that it waits for, as far as is known?
    pub(super) const fn finds_its_byte(&self, stakes: Stakes) -> bool {
        match (self.phase, stakes.body, stakes.reply) {
            (Phase::MidBody, Some(len), _) | (Phase::MidReply, _, Some(len)) => self.at < len,
            (Phase::MidReply, _, None) => false,
            _ => true,
        }
    }

    pub(super) fn verdict(&mut self, subject: &Subject, attempt: u32, powers: Powers) -> Option<Verdict> {
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
    pub(super) fn counts_in(&mut self) -> bool {
        self.count.matched += 1;
        let turn = self.on.every.is_none_or(|n| self.count.matched.is_multiple_of(n))
            && self.on.times.is_none_or(|times| self.count.aimed < times);
        self.count.aimed += u64::from(turn);
        turn
    }

    pub(super) fn fate(&self, now: Instant) -> Fate {
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

/// Could such a fault be one account's?
pub(super) fn check_scope(account: Option<&str>, verdict: &Verdict) -> Result<(), String> {
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
