//! Fault plans as data.
//!
//! ```
//! let plan: vod_serve::Plan = toml::from_str(r#"
//!     [[fault]]
//!     id = "lost-ack"
//!     on = { action = "FinishUpload", attempt = 1 }
//!     phase = "after-commit"
//!     do = "reset"
//! "#).unwrap();
//! assert_eq!(plan.faults[0].id, "lost-ack");
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vod_proto::{Action, Sha1, action::Role};

use super::{Corrupt, Phase, Verdict, duration, verdict::Power};
use crate::KillTarget;

/// A fault plan: faults that are asked in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// The faults.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
}

/// One fault: where it strikes, when, and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// Its name in the journal and in reports; unique within the plan.
    pub id: String,
    /// Which requests it strikes.
    #[serde(default)]
    pub on: Selector,
    /// When, in the course of an exchange.
    pub phase: Phase,
    /// The byte of the body (`mid-body`) or of the reply's body (`mid-reply`) it strikes at. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// What it does.
    #[serde(rename = "do")]
    pub verdict: Verdict,
}

/// Which requests a fault strikes: all that is given must fit, and what is not given fits everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    rename_all = "kebab-case",
    expecting = "a table such as { action = \"UploadPart\", part = 2 }"
)]
pub struct Selector {
    /// Requests of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The part with this number on the session's grid, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// The part that starts at this byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The n-th time this very request is seen, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Requests of this account, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Requests for this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_sha: Option<Sha1>,
    /// Requests to the host of this name, without its port: clients that know a server by several names are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Every n-th of the requests that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// With this chance, 0 to 1, keyed by seed, fault and request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// From so long after the fault was planted: when the server started, or when it came over the admin API.
    #[serde(skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub after: Option<Duration>,
    /// Until so long after the fault was planted.
    #[serde(skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub until: Option<Duration>,
    /// At most so many times in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// What a server can do to itself for a fault's sake. A plan that asks for more is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// It keeps uploads of its own, which can be spoilt; a proxy keeps none.
    pub spoils: bool,
    /// It can read the bytes of parts again, so that a changed one is found out; a store of digests cannot.
    pub rereads: bool,
    /// Somebody kills for it.
    pub kills: bool,
    /// It has a listener of its own, which can refuse connections.
    pub refuses: bool,
    /// How many bytes of a request's body it reads at most; none where that is not known.
    pub longest_body: Option<u64>,
}

impl Powers {
    /// Says what is missing for a verdict.
    pub(super) fn check(self, verdict: &Verdict) -> Result<(), String> {
        if let Verdict::Corrupt(Corrupt { offset }) = verdict {
            self.reads(*offset, "offset")?;
        }
        let (has, lacks) = match verdict.takes() {
            Power::Any => return Ok(()),
            Power::Spoils => (self.spoils, "has no uploads of its own to spoil"),
            Power::Rereads => (self.spoils && self.rereads, "keeps no bytes of parts that could differ from what came"),
            Power::Kills => (self.kills, "has nobody who kills for it"),
            Power::Refuses => (self.refuses, "has no listener of its own that could refuse connections"),
        };
        if has { Ok(()) } else { Err(format!("{} cannot strike here: this server {lacks}", verdict.name())) }
    }

    /// Is there ever a byte there, where a fault waits for one?
    pub(super) fn reach(self, phase: Phase, at: Option<u64>) -> Result<(), String> {
        match (phase, at) {
            (Phase::MidBody, Some(at)) => self.reads(at, "at"),
            _ => Ok(()),
        }
    }

    /// Is this byte of a body ever read?
    fn reads(self, at: u64, name: &str) -> Result<(), String> {
        match self.longest_body {
            Some(longest) if at >= longest => {
                Err(format!("{name} is {at}: this server reads no more than {longest} bytes of a body"))
            }
            _ => Ok(()),
        }
    }
}

/// A plan that is refused, because a fault in it could never do what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {id:?}: {why}")]
pub struct PlanError {
    /// The fault.
    pub id: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl Plan {
    /// Checks that every fault can strike on some server.
    ///
    /// # Errors
    /// Names the first fault that cannot, and why.
    pub fn check(&self) -> Result<(), PlanError> {
        let all = Powers { spoils: true, rereads: true, kills: true, refuses: true, longest_body: None };
        self.check_for(all)
    }

    /// Checks that every fault can strike on a server that can do this much.
    pub(super) fn check_for(&self, powers: Powers) -> Result<(), PlanError> {
        for (at, fault) in self.faults.iter().enumerate() {
            let refuse = |why: String| Err(PlanError { id: fault.id.clone(), why });
            if fault.id.is_empty() {
                return refuse("its id is empty".to_owned());
            }
            if self.faults[..at].iter().any(|other| other.id == fault.id) {
                return refuse("its id stands twice in the plan".to_owned());
            }
            let checked = fault.check().and_then(|()| powers.check(&fault.verdict));
            if let Err(why) = checked.and_then(|()| powers.reach(fault.phase, fault.at)) {
                return refuse(why);
            }
        }
        Ok(())
    }

    /// The faults that select requests of an account which is not known, by id, each with that account's name: they wait
    /// for it, and strike nobody until somebody makes it.
    pub fn strangers(&self, known: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
        let named = self.faults.iter().filter_map(|fault| Some((&*fault.id, fault.on.account.as_deref()?)));
        named.filter(move |(_, account)| !known(account))
    }

    /// Does any fault ask for this kill?
    #[must_use]
    pub fn kills(&self, target: KillTarget) -> bool {
        self.faults.iter().any(|fault| fault.verdict == Verdict::Kill(target))
    }
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        let Self { on, phase, at, verdict, .. } = self;
        verdict.check(*phase, on)?;
        on.check(*phase, *at)
    }
}

impl Selector {
    /// Could it select a request in this phase, at this byte?
    pub(super) fn check(&self, phase: Phase, at: Option<u64>) -> Result<(), String> {
        if at.is_some() && !phase.counts_bytes() {
            return Err(format!("at counts bytes in phases mid-body and mid-reply, not in {phase}"));
        }
        if self.part.is_some() || self.offset.is_some() {
            self.sends_part("part and offset select among requests that send a part")?;
        }
        if phase == Phase::MidBody {
            self.of_role(Role::has_body, "only requests that send a part or a file have a body")?;
        }
        if let (Some(part @ 1..), Some(offset)) = (self.part, self.offset)
            && (part == 1) != (offset == 0)
        {
            return Err(format!("part {part} never starts at offset {offset}: part 1 is the one that starts at 0"));
        }
        for (name, zero) in [
            ("part", self.part == Some(0)),
            ("attempt", self.attempt == Some(0)),
            ("every", self.every == Some(0)),
            ("times", self.times == Some(0)),
        ] {
            if zero {
                return Err(format!("{name} counts from 1"));
            }
        }
        if let Some(chance) = self.chance.filter(|chance| !(*chance > 0.0 && *chance <= 1.0)) {
            return Err(format!("chance is {chance}: expected above 0 and up to 1"));
        }
        if let Some(until) = self.until.filter(|until| *until <= self.after.unwrap_or_default()) {
            let shown = humantime::format_duration;
            let after = shown(self.after.unwrap_or_default());
            return Err(format!("until is {}: expected later than after, {after}", shown(until)));
        }
        Ok(())
    }

    /// Does it select requests that send a part, or any? Otherwise says why it must.
    pub(super) fn sends_part(&self, why: &str) -> Result<(), String> {
        self.of_role(Role::sends_part, why)
    }

    /// Does it select requests of such a role, or any? Otherwise says why it must.
    pub(super) fn of_role(&self, fits: impl Fn(Role) -> bool, why: &str) -> Result<(), String> {
        if self.action.is_none_or(|action| fits(action.role())) { Ok(()) } else { Err(why.to_owned()) }
    }
}

#[cfg(test)]
mod tests;
