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

use crate::KillTarget;

/// A fault plan: the faults of a run, asked in this order.
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
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
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
    /// Every n-th of the requests that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// With this chance, 0 to 1, keyed by seed, fault and request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// At most so many times in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// When a fault strikes, in the course of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The request's head is known, its body is not read.
    BeforeRead,
    /// While the body is read.
    MidBody,
    /// The body is read, nothing has come of it yet.
    BeforeCommit,
    /// The request has had its effect, the reply is not begun.
    AfterCommit,
    /// While the reply is written.
    MidReply,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeRead => "before-read",
            Self::MidBody => "mid-body",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::MidReply => "mid-reply",
        })
    }
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Answers this in place of what would have been answered.
    Reply(ReplyFault),
    /// Answers with this HTTP status and no JSON.
    Http(HttpFault),
    /// Waits this long, such as `"300ms"`, and goes on.
    Delay(#[serde(with = "duration")] Duration),
    /// Closes the connection.
    Close,
    /// Resets the connection (RST).
    Reset,
    /// Acknowledges the part and does not keep it.
    DropPart,
    /// Lets the transcoding of the file that the request stores fail with this code, which is negative.
    Transcode(i64),
    /// Has a process killed: `"client"` or `"mock"`.
    Kill(KillTarget),
}

impl Verdict {
    /// The word for it in journals and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reply(_) => "reply",
            Self::Http(_) => "http",
            Self::Delay(_) => "delay",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::DropPart => "drop-part",
            Self::Transcode(_) => "transcode",
            Self::Kill(KillTarget::Client) => "kill client",
            Self::Kill(KillTarget::Mock) => "kill mock",
        }
    }

    /// Does it touch the reply, so that what the client gets is no acknowledgement?
    #[must_use]
    pub const fn on_reply(&self) -> bool {
        !matches!(self, Self::Delay(_) | Self::DropPart | Self::Transcode(_))
    }

    /// Can it strike in this phase at all?
    const fn strikes_in(&self, phase: Phase) -> bool {
        match self {
            Self::Reply(_) | Self::Http(_) => {
                matches!(phase, Phase::BeforeRead | Phase::BeforeCommit | Phase::AfterCommit)
            }
            Self::Delay(_) | Self::Close | Self::Reset | Self::Kill(_) => true,
            Self::DropPart | Self::Transcode(_) => matches!(phase, Phase::BeforeCommit),
        }
    }
}

/// A reply of the protocol that the server does not mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplyFault {
    /// The code to answer.
    pub code: i64,
    /// The reply's `canRetry`. Default false.
    #[serde(default)]
    pub can_retry: bool,
    /// The reply's message. Default `injected`.
    #[serde(default = "injected")]
    pub message: String,
}

fn injected() -> String {
    "injected".to_owned()
}

/// An answer of HTTP itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpFault {
    /// The status, 400 to 599.
    pub status: u16,
    /// The `Retry-After` header, in whole seconds on the wire, such as `"2s"`. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration")]
    pub retry_after: Option<Duration>,
}

/// Durations as people write them: `"300ms"`, `"2s"`, `"1m 30s"`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("{text:?} is no duration such as \"300ms\" or \"2s\": {error}")))
    }
}

mod optional_duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature serde calls")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
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
    /// Checks that every fault can strike.
    ///
    /// # Errors
    /// Names the first fault that cannot, and why.
    pub fn check(&self) -> Result<(), PlanError> {
        for (at, fault) in self.faults.iter().enumerate() {
            let refuse = |why: String| Err(PlanError { id: fault.id.clone(), why });
            if fault.id.is_empty() {
                return refuse("its id is empty".to_owned());
            }
            if self.faults[..at].iter().any(|other| other.id == fault.id) {
                return refuse("its id stands twice in the plan".to_owned());
            }
            if let Err(why) = fault.check() {
                return refuse(why);
            }
        }
        Ok(())
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
        if !verdict.strikes_in(*phase) {
            return Err(format!("{} cannot strike in phase {phase}", verdict.name()));
        }
        if at.is_some() && !matches!(phase, Phase::MidBody | Phase::MidReply) {
            return Err(format!("at counts bytes in phases mid-body and mid-reply, not in {phase}"));
        }
        let part = on.part.is_some() || on.offset.is_some();
        let action = |fits: fn(Role) -> bool| on.action.is_none_or(|action| fits(action.role()));
        if part && !action(Role::sends_part) {
            return Err("part and offset select among requests that send a part".to_owned());
        }
        if *phase == Phase::MidBody && !action(Role::has_body) {
            return Err("only requests that send a part or a file have a body".to_owned());
        }
        if *verdict == Verdict::DropPart && !action(Role::sends_part) {
            return Err("only requests that send a part have one to drop".to_owned());
        }
        if let Verdict::Transcode(code) = verdict {
            if !action(Role::can_commit) {
                return Err("only requests that can store a file have one to transcode".to_owned());
            }
            if *code >= 0 {
                return Err(format!("transcode is {code}: expected a negative code such as -502"));
            }
        }
        for (name, zero) in [
            ("part", on.part == Some(0)),
            ("attempt", on.attempt == Some(0)),
            ("every", on.every == Some(0)),
            ("times", on.times == Some(0)),
        ] {
            if zero {
                return Err(format!("{name} counts from 1"));
            }
        }
        if let Some(chance) = on.chance.filter(|chance| !(*chance > 0.0 && *chance <= 1.0)) {
            return Err(format!("chance is {chance}: expected above 0 and up to 1"));
        }
        if let Verdict::Http(http) = verdict
            && !(400..600).contains(&http.status)
        {
            return Err(format!("status is {}: expected 400 to 599", http.status));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Expect) {
        let text = format!("[[fault]]\nid = \"f\"\n{body}\n");
        let shown = match toml::from_str::<Plan>(&text) {
            Err(error) => error.to_string(),
            Ok(plan) => match plan.check() {
                Ok(()) => format!("{:?}\n", plan.faults[0].verdict),
                Err(error) => format!("{error}\n"),
            },
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn verdicts_read_as_people_write_them() {
        check(
            "phase = \"before-read\"\ndo = { reply = { code = -10004, can-retry = true } }",
            expect![[r#"
            Reply(ReplyFault { code: -10004, can_retry: true, message: "injected" })
        "#]],
        );
        check(
            "phase = \"before-read\"\ndo = { http = { status = 503, retry-after = \"2s\" } }",
            expect![[r#"
            Http(HttpFault { status: 503, retry_after: Some(2s) })
        "#]],
        );
        check(
            "phase = \"mid-reply\"\nat = 20\ndo = \"reset\"",
            expect![[r#"
            Reset
        "#]],
        );
        check(
            "phase = \"after-commit\"\ndo = { kill = \"client\" }",
            expect![[r#"
            Kill(Client)
        "#]],
        );
        check(
            "phase = \"after-commit\"\ndo = { delay = \"300ms\" }",
            expect![[r#"
            Delay(300ms)
        "#]],
        );
    }

    #[test]
    fn what_is_unknown_is_refused_with_line_and_caret() {
        check(
            "phase = \"after-comit\"\ndo = \"reset\"",
            expect![[r#"
            TOML parse error at line 3, column 9
              |
            3 | phase = "after-comit"
              |         ^^^^^^^^^^^^^
            unknown variant `after-comit`, expected one of `before-read`, `mid-body`, `before-commit`, `after-commit`, `mid-reply`
        "#]],
        );
        check(
            "on = { parts = 3 }\nphase = \"after-commit\"\ndo = \"reset\"",
            expect![[r#"
            TOML parse error at line 3, column 8
              |
            3 | on = { parts = 3 }
              |        ^^^^^
            unknown field `parts`, expected one of `action`, `part`, `offset`, `attempt`, `account`, `file-sha`, `every`, `chance`, `times`
        "#]],
        );
        check(
            "phase = \"after-commit\"\ndo = { delay = \"soon\" }",
            expect![[r#"
                TOML parse error at line 4, column 6
                  |
                4 | do = { delay = "soon" }
                  |      ^^^^^^^^^^^^^^^^^^
                "soon" is no duration such as "300ms" or "2s": expected number at 0
            "#]],
        );
    }

    #[test]
    fn what_could_never_strike_is_refused() {
        check(
            "phase = \"after-commit\"\ndo = \"drop-part\"",
            expect![[r#"
            fault "f": drop-part cannot strike in phase after-commit
        "#]],
        );
        check(
            "phase = \"mid-body\"\ndo = { http = { status = 503 } }",
            expect![[r#"
            fault "f": http cannot strike in phase mid-body
        "#]],
        );
        check(
            "on = { action = \"InitUpload\", part = 1 }\nphase = \"before-read\"\ndo = \"close\"",
            expect![[r#"
                fault "f": part and offset select among requests that send a part
            "#]],
        );
        check(
            "on = { chance = 1.5 }\nphase = \"before-read\"\ndo = \"close\"",
            expect![[r#"
            fault "f": chance is 1.5: expected above 0 and up to 1
        "#]],
        );
        check(
            "at = 3\nphase = \"before-read\"\ndo = \"close\"",
            expect![[r#"
            fault "f": at counts bytes in phases mid-body and mid-reply, not in before-read
        "#]],
        );
    }

    #[test]
    fn a_plan_reads_back_what_it_writes() {
        let text = "[[fault]]\nid = \"a\"\nphase = \"before-read\"\n[fault.on]\naction = \"InitUpload\"\n[fault.do.http]\nstatus = 503\nretry-after = \"2s\"\n";
        let plan: Plan = toml::from_str(text).unwrap();
        let again: Plan = toml::from_str(&toml::to_string(&plan).unwrap()).unwrap();
        assert_eq!(plan, again);
    }
}
