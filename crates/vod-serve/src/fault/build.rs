//! Faults as values: which requests, then when and what.
//!
//! ```
//! use std::time::Duration;
//! use vod_proto::Action;
//! use vod_serve::fault::{Fault, Verdict};
//!
//! let lost_ack = Fault::on(Action::FinishUpload).attempt(1).after_commit(Verdict::Reset);
//! assert_eq!(lost_ack.id, "finish-upload-attempt-1-after-commit-reset");
//! let slow = Fault::on(Action::UploadPart).every(3).before_read(Verdict::delay(Duration::from_millis(50)));
//! let half = Fault::on(Action::UploadPart).part(2).named("half-a-part").mid_body(262_144, Verdict::Close);
//! assert_eq!((half.id.as_str(), half.at), ("half-a-part", Some(262_144)));
//! # let _ = slow;
//! ```

use std::time::Duration;

use vod_proto::{Action, Code, Sha1, Size};

use super::{
    Corrupt, DataSize, Delay, Fault, Hold, HttpFault, ListLie, Phase, Rate, Refuse, ReplyFault, Selector, Spread,
    Stall, Throttle, Transcode, TruncateReply, Verdict,
};
use crate::KillTarget;

impl Fault {
    /// Begins a fault that strikes requests of this action.
    pub const fn on(action: Action) -> Aim {
        Aim { on: Selector { action: Some(action), ..NOTHING }, id: None }
    }

    /// Begins a fault that strikes requests of every action, also of unknown ones.
    pub const fn on_any() -> Aim {
        Aim { on: NOTHING, id: None }
    }

    /// The id of a fault that was given none: what it says of itself, in the letters of an id.
    /// The same fault has the same id in every run, and so the same chance.
    #[must_use]
    pub fn derived_id(&self) -> String {
        let mut id = self.on.words();
        id.extend(when(self.phase, self.at));
        id.push(self.verdict.name().replace(' ', "-"));
        id.join("-")
    }
}

const NOTHING: Selector = Selector {
    action: None,
    part: None,
    offset: None,
    attempt: None,
    account: None,
    file_sha: None,
    host: None,
    every: None,
    chance: None,
    after: None,
    until: None,
    times: None,
};

/// A fault in the making: it knows which requests it strikes, and lacks when and what.
///
/// All that is said must fit, and what is not said fits everything. What could never strike, such as a part of an
/// action that sends none, is refused when the fault is planted.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a fault without a phase and a verdict does nothing"]
pub struct Aim {
    on: Selector,
    id: Option<String>,
}

impl Aim {
    /// The part with this number on the session's grid, from 1.
    pub fn part(mut self, number: u64) -> Self {
        self.on.part = Some(number);
        self
    }

    /// The part that starts at this byte.
    pub fn offset(mut self, bytes: u64) -> Self {
        self.on.offset = Some(bytes);
        self
    }

    /// The n-th time this very request is seen, from 1.
    pub fn attempt(mut self, n: u32) -> Self {
        self.on.attempt = Some(n);
        self
    }

    /// Requests of this account, by name.
    pub fn account(mut self, name: impl Into<String>) -> Self {
        self.on.account = Some(name.into());
        self
    }

    /// Requests for this file.
    pub fn file(mut self, sha1: Sha1) -> Self {
        self.on.file_sha = Some(sha1);
        self
    }

    /// Requests to the host of this name, without its port.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.on.host = Some(name.into());
        self
    }

    /// Every n-th of the requests that fit.
    pub fn every(mut self, n: u64) -> Self {
        self.on.every = Some(n);
        self
    }

    /// With this chance, above 0 and up to 1, keyed by seed, fault and request.
    pub fn chance(mut self, chance: f64) -> Self {
        self.on.chance = Some(chance);
        self
    }

    /// From so long after it is planted.
    pub fn after(mut self, time: Duration) -> Self {
        self.on.after = Some(time);
        self
    }

    /// Until so long after it is planted.
    pub fn until(mut self, time: Duration) -> Self {
        self.on.until = Some(time);
        self
    }

    /// At most so many times. Default: always.
    pub fn times(mut self, n: u64) -> Self {
        self.on.times = Some(n);
        self
    }

    /// Its name in journals and reports. Default: what it says of itself.
    pub fn named(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Strikes when the request's head is known and its body is not read.
    #[must_use]
    pub fn before_read(self, verdict: impl Into<Verdict>) -> Fault {
        self.strike(Phase::BeforeRead, None, verdict.into())
    }

    /// Strikes when so many bytes of the body are read; a body that is shorter is not struck.
    #[must_use]
    pub fn mid_body(self, at: u64, verdict: impl Into<Verdict>) -> Fault {
        self.strike(Phase::MidBody, Some(at), verdict.into())
    }

    /// Strikes when the body is read and nothing has come of it.
    #[must_use]
    pub fn before_commit(self, verdict: impl Into<Verdict>) -> Fault {
        self.strike(Phase::BeforeCommit, None, verdict.into())
    }

    /// Strikes when the request has had its effect and the reply is not begun. There is none behind a refusal.
    #[must_use]
    pub fn after_commit(self, verdict: impl Into<Verdict>) -> Fault {
        self.strike(Phase::AfterCommit, None, verdict.into())
    }

    /// Strikes when so many bytes of the reply's body are written; a reply that is shorter is not struck.
    #[must_use]
    pub fn mid_reply(self, at: u64, verdict: impl Into<Verdict>) -> Fault {
        self.strike(Phase::MidReply, Some(at), verdict.into())
    }

    /// Takes it apart, for a fault that decides for itself what it does in this phase: its id, which requests it is
    /// asked about.
    #[must_use]
    pub fn into_decision(self, phase: Phase, at: Option<u64>) -> (String, Selector) {
        let Self { on, id } = self;
        let derived = || {
            let mut words = on.words();
            words.extend(when(phase, at));
            words.push("decision".to_owned());
            words.join("-")
        };
        (id.unwrap_or_else(derived), on)
    }

    fn strike(self, phase: Phase, at: Option<u64>, verdict: Verdict) -> Fault {
        let mut fault = Fault { id: String::new(), on: self.on, phase, at, verdict };
        fault.id = self.id.unwrap_or_else(|| fault.derived_id());
        fault
    }
}

fn when(phase: Phase, at: Option<u64>) -> impl Iterator<Item = String> {
    [Some(phase.to_string()), at.map(|at| format!("at-{at}"))].into_iter().flatten()
}

impl Selector {
    /// What it says, in the letters of an id.
    fn words(&self) -> Vec<String> {
        let shown = |time: Duration| humantime::format_duration(time).to_string().replace(' ', "");
        let words = [
            self.action.map(|action| kebab(action.wire_name())),
            self.part.map(|number| format!("part-{number}")),
            self.offset.map(|offset| format!("offset-{offset}")),
            self.attempt.map(|n| format!("attempt-{n}")),
            self.account.as_ref().map(|name| format!("account-{name}")),
            self.file_sha.map(|sha| format!("file-{}", &sha.to_string()[..8])),
            self.host.as_ref().map(|name| format!("host-{name}")),
            self.every.map(|n| format!("every-{n}")),
            self.chance.map(|chance| format!("chance-{chance}")),
            self.after.map(|time| format!("after-{}", shown(time))),
            self.until.map(|time| format!("until-{}", shown(time))),
            self.times.map(|n| format!("times-{n}")),
        ];
        words.into_iter().flatten().collect()
    }
}

/// `FinishUpload` as `finish-upload`.
fn kebab(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

impl Verdict {
    /// A reply of the protocol that the server does not mean. Its `canRetry` is what the table of codes says of this
    /// code; for another, or another message, give a [`ReplyFault`].
    #[must_use]
    pub fn reply(code: i64) -> Self {
        Self::Reply(ReplyFault { code, can_retry: Code(code).can_retry(), message: "injected".to_owned() })
    }

    /// An answer of HTTP itself, with status 400 to 599; for one with `Retry-After` see
    /// [`http_retry_after`](Self::http_retry_after).
    #[must_use]
    pub const fn http(status: u16) -> Self {
        Self::Http(HttpFault { status, retry_after: None })
    }

    /// An answer of HTTP itself that says when to come back, in whole seconds on the wire.
    #[must_use]
    pub const fn http_retry_after(status: u16, retry_after: Duration) -> Self {
        Self::Http(HttpFault { status, retry_after: Some(retry_after) })
    }

    /// Waits so long, and goes on; for a time that is drawn give a [`Spread`].
    #[must_use]
    pub const fn delay(time: Duration) -> Self {
        Self::Delay(Delay::Fixed(time))
    }

    /// Takes the request in at so many bytes a second, at least one; for both ways give a [`Throttle`].
    #[must_use]
    pub fn throttle_read(bytes: u64) -> Self {
        Self::Throttle(Throttle { read: Rate::new(bytes), write: None })
    }

    /// Gives the reply out at so many bytes a second, at least one.
    #[must_use]
    pub fn throttle_write(bytes: u64) -> Self {
        Self::Throttle(Throttle { read: None, write: Rate::new(bytes) })
    }

    /// Falls silent for so long, and closes the connection.
    #[must_use]
    pub const fn stall(silence: Duration) -> Self {
        Self::Stall(Stall(Some(silence)))
    }

    /// Falls silent for ever.
    #[must_use]
    pub const fn stall_forever() -> Self {
        Self::Stall(Stall(None))
    }

    /// Gives the first bytes of the reply's body alone, in a message that HTTP takes for whole.
    #[must_use]
    pub const fn truncate_reply(at: u64) -> Self {
        Self::TruncateReply(TruncateReply { at })
    }

    /// Keeps a part with this byte of it changed.
    #[must_use]
    pub const fn corrupt(offset: u64) -> Self {
        Self::Corrupt(Corrupt { offset })
    }

    /// Insists on a part size of so many bytes.
    #[must_use]
    pub const fn data_size(bytes: u64) -> Self {
        Self::DataSize(DataSize(Size::new(bytes)))
    }

    /// Closes the connection, and refuses every new one for so long. It is the whole server's, not an account's.
    #[must_use]
    pub const fn refuse(time: Duration) -> Self {
        Self::Refuse(Refuse(time))
    }

    /// Waits until somebody releases what is held under this name.
    #[must_use]
    pub fn hold(name: impl Into<String>) -> Self {
        Self::Hold(Hold(name.into()))
    }

    /// Lets the transcoding of the file that the request stores fail with this code, which is negative.
    #[must_use]
    pub const fn transcode(code: i64) -> Self {
        Self::Transcode(Transcode(code))
    }
}

impl From<ReplyFault> for Verdict {
    fn from(reply: ReplyFault) -> Self {
        Self::Reply(reply)
    }
}

impl From<Spread> for Verdict {
    fn from(spread: Spread) -> Self {
        Self::Delay(Delay::Drawn(spread))
    }
}

impl From<Throttle> for Verdict {
    fn from(throttle: Throttle) -> Self {
        Self::Throttle(throttle)
    }
}

impl From<ListLie> for Verdict {
    fn from(lie: ListLie) -> Self {
        Self::List(lie)
    }
}

impl From<KillTarget> for Verdict {
    fn from(victim: KillTarget) -> Self {
        Self::Kill(victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Plan;

    /// A value and what people would write in a file are the same fault.
    #[track_caller]
    fn check(fault: Fault, id: &str, written: &str) {
        let plan: Plan = toml::from_str(&format!("[[fault]]\nid = {id:?}\n{written}\n")).unwrap();
        let value = Plan { faults: vec![fault] };
        assert_eq!(plan, value);
        value.check().unwrap();
    }

    #[test]
    fn every_selector_is_written_as_a_value_and_goes_into_the_id() {
        let part = || Fault::on(Action::UploadPart);
        let (ms, close) = (Duration::from_millis, "phase = \"before-read\"\ndo = \"close\"");
        let sha = Sha1::of(b"file");
        for (aim, id, on) in [
            (Fault::on_any(), "", String::new()),
            (part().part(2), "upload-part-part-2-", "action = \"UploadPart\", part = 2".to_owned()),
            (part().offset(7), "upload-part-offset-7-", "action = \"UploadPart\", offset = 7".to_owned()),
            (Fault::on_any().attempt(3), "attempt-3-", "attempt = 3".to_owned()),
            (Fault::on_any().account("a"), "account-a-", "account = \"a\"".to_owned()),
            (Fault::on_any().file(sha), "file-971c419d-", format!("file-sha = \"{sha}\"")),
            (Fault::on_any().every(3), "every-3-", "every = 3".to_owned()),
            (Fault::on_any().chance(0.25), "chance-0.25-", "chance = 0.25".to_owned()),
            (Fault::on_any().after(ms(1500)), "after-1s500ms-", "after = \"1500ms\"".to_owned()),
            (Fault::on_any().until(ms(20)), "until-20ms-", "until = \"20ms\"".to_owned()),
            (Fault::on_any().times(2), "times-2-", "times = 2".to_owned()),
        ] {
            check(
                aim.before_read(Verdict::Close),
                &format!("{id}before-read-close"),
                &format!("on = {{ {on} }}\n{close}"),
            );
        }
        check(Fault::on_any().named("n").before_read(Verdict::Close), "n", close);
    }

    #[test]
    fn every_phase_and_verdict_is_written_as_a_value() {
        let (any, part) = (Fault::on_any, || Fault::on(Action::UploadPart));
        let (open, finish) = (|| Fault::on(Action::InitUpload), || Fault::on(Action::FinishUpload));
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let own = |code, can_retry, message: &str| ReplyFault { code, can_retry, message: message.to_owned() };
        let both = Throttle { read: Rate::new(1024), write: Rate::new(7) };
        for (fault, phase, verdict) in [
            (any().before_read(Verdict::Close), "before-read", "\"close\""),
            (part().mid_body(9, Verdict::Reset), "mid-body", "\"reset\"\nat = 9"),
            (
                any().before_commit(Verdict::reply(-10004)),
                "before-commit",
                "{ reply = { code = -10004, can-retry = true } }",
            ),
            (any().after_commit(Verdict::reply(-10003)), "after-commit", "{ reply = { code = -10003 } }"),
            (any().mid_reply(4, Verdict::Close), "mid-reply", "\"close\"\nat = 4"),
            (
                any().before_read(own(5, true, "m")),
                "before-read",
                "{ reply = { code = 5, can-retry = true, message = \"m\" } }",
            ),
            (any().before_read(Verdict::http(500)), "before-read", "{ http = { status = 500 } }"),
            (
                any().before_read(Verdict::http_retry_after(503, s(2))),
                "before-read",
                "{ http = { status = 503, retry-after = \"2s\" } }",
            ),
            (any().before_read(Verdict::delay(ms(300))), "before-read", "{ delay = \"300ms\" }"),
            (
                any().before_read(Spread::Uniform { min: ms(1), max: ms(2) }),
                "before-read",
                "{ delay = { uniform = { min = \"1ms\", max = \"2ms\" } } }",
            ),
            (any().before_read(Verdict::throttle_read(1024)), "before-read", "{ throttle = { read = \"1KiB/s\" } }"),
            (any().after_commit(Verdict::throttle_write(7)), "after-commit", "{ throttle = { write = \"7/s\" } }"),
            (any().before_read(both), "before-read", "{ throttle = { read = \"1KiB/s\", write = \"7/s\" } }"),
            (any().before_read(Verdict::stall(s(10))), "before-read", "{ stall = \"10s\" }"),
            (any().before_read(Verdict::stall_forever()), "before-read", "{ stall = \"forever\" }"),
            (any().after_commit(Verdict::truncate_reply(20)), "after-commit", "{ truncate-reply = { at = 20 } }"),
            (any().after_commit(Verdict::GarbageReply), "after-commit", "\"garbage-reply\""),
            (any().after_commit(Verdict::EmptyReply), "after-commit", "\"empty-reply\""),
            (part().before_commit(Verdict::corrupt(100)), "before-commit", "{ corrupt = { offset = 100 } }"),
            (part().before_commit(Verdict::DropPart), "before-commit", "\"drop-part\""),
            (any().after_commit(KillTarget::Client), "after-commit", "{ kill = \"client\" }"),
            (open().before_commit(ListLie::Stale), "before-commit", "{ list = \"stale\" }"),
            (open().before_commit(Verdict::data_size(524_288)), "before-commit", "{ data-size = \"512KiB\" }"),
            (part().after_commit(Verdict::ExpireSession), "after-commit", "\"expire-session\""),
            (any().before_read(Verdict::refuse(s(2))), "before-read", "{ refuse = \"2s\" }"),
            (any().after_commit(Verdict::hold("door")), "after-commit", "{ hold = \"door\" }"),
            (finish().before_commit(Verdict::transcode(-502)), "before-commit", "{ transcode = -502 }"),
        ] {
            let on = fault.on.action.map(|action| format!("on = {{ action = \"{action}\" }}\n")).unwrap_or_default();
            let id = fault.id.clone();
            check(fault, &id, &format!("{on}phase = \"{phase}\"\ndo = {verdict}"));
        }
    }

    #[test]
    fn a_throttle_of_nothing_is_refused_like_every_other_zero() {
        let refused = |fault| Plan { faults: vec![fault] }.check().unwrap_err().to_string();
        let zero = refused(Fault::on_any().before_read(Verdict::throttle_read(0)));
        assert!(zero.contains("neither read nor write"), "{zero}");
        assert!(refused(Fault::on_any().attempt(0).before_read(Verdict::Close)).contains("counts from 1"));
    }
}
