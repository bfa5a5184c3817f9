//! The third layer: what holds in every story, on every target, whatever its file says.
//!
//! A file may except itself from one, by name and with a reason; the report then shows both.

mod commit;
mod documents;
mod ending;
mod parts;
mod proxied;
mod retry;
mod secrets;
mod server;

use vod_proto::{Action, Exchange, PartSpan, Sha1, action::Role, reply::Reply};

use super::{Case, Check, Finding, Layer, Ruling, ruled};
use crate::format::Stage;

/// Something that always holds.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// Its name in files and reports.
    pub id: &'static str,
    /// What holds, in a sentence.
    pub says: &'static str,
    /// Is there anything here that it can be applied to?
    applies: fn(Case<'_>) -> bool,
    /// What speaks against it.
    check: fn(Case<'_>) -> Vec<Finding>,
}

const fn always(id: &'static str, says: &'static str, check: fn(Case<'_>) -> Vec<Finding>) -> Invariant {
    Invariant { id, says, applies: |_| true, check }
}

/// Of our own client alone: how another one plans its retries and its parts is its own affair.
const fn ours(id: &'static str, says: &'static str, check: fn(Case<'_>) -> Vec<Finding>) -> Invariant {
    Invariant { id, says, applies: |case| case.scenario.client.command.is_none(), check }
}

/// Every invariant, in the order of reports.
pub const ALL: &[Invariant] = &[
    always(
        "nothing-lost",
        "What is stored is the source, to the byte, and as the cover that it is.",
        commit::nothing_lost,
    ),
    always("one-commit", "A file is put together once.", commit::one_commit),
    always(
        "no-success-without-commit",
        "A client that says the file is there was told so by a server that has it.",
        commit::no_success_without_commit,
    ),
    always(
        "no-failure-hiding-commit",
        "A client that says it failed while the file is there says that this may be so.",
        commit::no_failure_hiding_commit,
    ),
    always(
        "acknowledged-parts-not-resent",
        "An acknowledged part is sent again only if the server lost it.",
        parts::acknowledged_not_resent,
    ),
    always(
        "attempts-and-gaps",
        "A request is sent as often as the policy allows, and never sooner than it or Retry-After allows.",
        retry::attempts_and_gaps,
    ),
    ours("budget-kept", "All retries of an upload together stay within its budget.", retry::budget_kept),
    ours("quota-waited-for", "Whoever is asked to wait for a quota waits.", retry::quota_waited_for),
    always("signed-anew", "No two requests of a process have the same signature.", retry::signed_anew),
    ours(
        "in-flight-bounded",
        "No more parts are under way at once than the client may send.",
        parts::in_flight_bounded,
    ),
    ours(
        "differing-parts-sent",
        "A part that the server lists with other bytes is sent before the file is finished.",
        parts::differing_sent,
    ),
    ours("others-spared", "A part that fails keeps no other from being sent.", parts::others_spared),
    always("nothing-after-final", "A request that was refused for good is not sent again.", retry::nothing_after_final),
    always("documents-kept", "The client breaks no rule of the documents, as the linter reads them.", documents::kept),
    Invariant {
        id: "every-fault-fired",
        says: "Every planned fault struck.",
        applies: |case| case.scenario.plan() != vod_serve::Plan::default(),
        check: ending::every_fault_fired,
    },
    Invariant {
        id: "faults-as-planned",
        says: "No fault struck that was not planned, or another request, or more often.",
        applies: |case| case.evidence.exchanges.iter().any(|exchange| !exchange.faults.is_empty()),
        check: ending::faults_as_planned,
    },
    always(
        "acknowledged-is-kept",
        "What the server acknowledged it has when it is asked again, and what it stored stays stored.",
        server::acknowledged_is_kept,
    ),
    always(
        "taken-in-order",
        "Where the server dictates the order of parts, none is taken that has a gap before it.",
        server::taken_in_order,
    ),
    always("one-file-id", "A file that is stored once has one id.", server::one_file_id),
    always(
        "lapsed-signatures-refused",
        "Nobody is answered whose signature does not hold any more.",
        server::lapsed_signatures_refused,
    ),
    always("ends-in-time", "Every step ends within its limit.", ending::ends_in_time),
    always("no-panic", "Neither client nor mock panics, nor any task of them.", ending::no_panic),
    Invariant {
        id: "memory-bounded",
        says: "No program needs more memory than its ceiling, whatever the size of the source.",
        applies: |case| !case.evidence.peak_memory.is_empty(),
        check: ending::memory_bounded,
    },
    always("no-secret-leaked", "No secret stands in the journal or in a log.", secrets::none_leaked),
    always(
        "nothing-left-behind",
        "When all is over no connection, task, process or stray file is left.",
        ending::nothing_left_behind,
    ),
    Invariant {
        id: "recorded-as-it-was",
        says: "What a recorder between client and mock saw is what happened, and no secret is in it.",
        applies: |case| case.evidence.proxied.is_some(),
        check: proxied::recorded_as_it_was,
    },
    Invariant {
        id: "same-on-replay",
        says: "On the replay of its recording a story ends the same, and nothing more or less is asked.",
        applies: |case| case.evidence.proxied.is_some(),
        check: proxied::same_on_replay,
    },
];

/// The invariant with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static Invariant> {
    ALL.iter().find(|invariant| invariant.id == id)
}

/// Judges them all.
pub(super) fn check(case: Case<'_>) -> Vec<Check> {
    ALL.iter().map(|invariant| one(invariant, case)).collect()
}

fn one(invariant: &Invariant, case: Case<'_>) -> Check {
    if !(invariant.applies)(case) {
        return Check { layer: Layer::Invariants, name: invariant.id.to_owned(), ruling: Ruling::NotJudged };
    }
    let check = ruled(Layer::Invariants, invariant.id, (invariant.check)(case));
    let evidence = case.evidence;
    let here = |on: Stage| match on {
        Stage::Sim | Stage::Process => on == evidence.target.into(),
        Stage::ThroughProxy => evidence.proxied.is_some(),
    };
    let mut exceptions = case.scenario.exceptions();
    let exception = exceptions.find(|exception| exception.invariant == invariant.id && exception.on.is_none_or(here));
    match (check.ruling, exception) {
        (Ruling::Found(findings), Some(exception)) => {
            Check { ruling: Ruling::Excepted { because: exception.because.clone(), findings }, ..check }
        }
        (ruling, _) => Check { ruling, ..check },
    }
}

/// What makes two requests the same request.
pub(super) type Key<'a> = (Option<&'a str>, Option<Action>, Option<Sha1>, Option<PartSpan>);

pub(super) fn key(exchange: &Exchange) -> Key<'_> {
    (exchange.account.as_deref(), exchange.known_action(), exchange.file_sha1, exchange.part)
}

fn role(exchange: &Exchange) -> Option<Role> {
    exchange.known_action().map(Action::role)
}

/// What the client was told. A reply that was cut, or is none of this protocol, tells nothing.
pub(super) fn told(exchange: &Exchange) -> Option<Reply> {
    exchange.whole_reply().and_then(|_| exchange.parsed_reply())
}

/// Was the client told what the server has of the file?
fn told_state(exchange: &Exchange) -> bool {
    matches!(told(exchange), Some(Reply::Init(_) | Reply::Next(_)))
}

#[cfg(test)]
mod tests {
    use vod_proto::Family;

    use super::{super::crafted::Story, *};
    use crate::{evidence::Target, judge::Verdict};

    #[test]
    fn a_good_story_keeps_them_all() {
        for story in Family::ALL.map(Story::of).into_iter().chain([Story::cover()]) {
            assert_eq!(story.judge().verdict, Verdict::Pass);
            for invariant in ALL {
                story.assert_holds(invariant.id);
            }
        }
    }

    #[test]
    fn ids_are_unique() {
        for (at, invariant) in ALL.iter().enumerate() {
            assert!(ALL[at + 1..].iter().all(|other| other.id != invariant.id), "{} stands twice", invariant.id);
        }
    }

    #[test]
    fn an_exception_excuses_its_own_invariant_alone_and_is_reported() {
        let mut story = Story::with("[[except]]\ninvariant = \"one-commit\"\nbecause = \"it is about commits\"");
        story.upload().commits = 2;
        let judgement = story.judge();
        assert_eq!(judgement.verdict, Verdict::Pass);
        let excused = judgement.checks.iter().find(|check| check.name == "one-commit");
        assert!(
            matches!(excused.map(|check| &check.ruling), Some(Ruling::Excepted { because, .. }) if because == "it is about commits")
        );
        story.evidence.left_behind.push("a file".to_owned());
        assert_eq!(story.judge().verdict, Verdict::Fail);
    }

    #[test]
    fn an_exception_for_one_stage_excuses_nothing_on_another() {
        let mut story =
            Story::with("[[except]]\ninvariant = \"one-commit\"\non = \"process\"\nbecause = \"it is about commits\"");
        story.upload().commits = 2;
        for (target, expected) in [(Target::Process, Verdict::Pass), (Target::Sim, Verdict::Fail)] {
            story.evidence.target = target;
            assert_eq!(story.judge().verdict, expected, "{target}");
        }
    }
}
