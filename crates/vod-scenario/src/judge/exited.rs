//! What an exit code leaves open of an outcome, read off the wire.
//!
//! A client that is not ours says no more than that the file is there, that it failed, or that nobody knows. In which way
//! it is there, and why it failed, is in what it was told; what only its own words could tell is not passed.

use std::borrow::Cow;

use vod_proto::{Code, Exchange, action::Role, code::RetryClass, reply::InitReply, reply::Reply};

use super::{Case, Finding, invariants::told};
use crate::{
    evidence::{ExitSays, ReportedOutcome, StepEnd, StepEvidence},
    format::{Failure, StepExpect},
};

/// A step that ended with an exit code, and what the server told the client in it.
struct Exited<'a> {
    step: &'a StepEvidence,
    exchanges: Cow<'a, [Exchange]>,
    /// Is every exchange of the step there?
    whole: bool,
}

impl<'a> Exited<'a> {
    fn of(case: Case<'a>, at: usize) -> Option<Self> {
        let (step, exchanges) = case.evidence.by_step().nth(at)?;
        Some(Self { step, exchanges, whole: case.evidence.is_whole_in(step) })
    }
}

/// Does an upload that ended with an exit code, counted from 0, end as the file says?
pub(super) fn check(case: Case<'_>, at: usize, expected: &StepExpect, says: ExitSays) -> Option<Finding> {
    let exited = Exited::of(case, at)?;
    let end = &exited.step.end;
    let otherwise = |why: &str| format!("expected {expected}, it ended with {end}{why}");
    // Nothing is asked that an exit code does not say.
    if *expected == StepExpect::Any || (*expected == StepExpect::There && says == ExitSays::Stored) {
        return None;
    }
    let (word, success) = match expected {
        StepExpect::Finished => (ReportedOutcome::Finished, true),
        StepExpect::CommittedEarlier => (ReportedOutcome::CommittedEarlier, true),
        StepExpect::Existed => (ReportedOutcome::Existed, true),
        StepExpect::Failed(_) => (ReportedOutcome::Failed, false),
        StepExpect::Killed | StepExpect::Held(_) | StepExpect::There | StepExpect::Any => {
            return Some(Finding::broken(otherwise("")));
        }
    };
    if success != (says == ExitSays::Stored) {
        return Some(Finding::broken(otherwise("")));
    }
    if let StepExpect::Failed(failure) = expected {
        return exited.lacks(failure).map(|why| match why {
            Finding::Broken(why) => Finding::unless_missing(exited.whole, otherwise(&format!(", and {why}"))),
            Finding::Unknown(why) => Finding::Unknown(otherwise(&format!(", and {why}"))),
        });
    }
    match exited.told_stored() {
        Some((seen, _)) if seen == word => None,
        Some((seen, by)) => {
            let why = otherwise(&format!(", and on the wire it is {}, by request {by}", name(seen)));
            Some(Finding::unless_missing(exited.whole, why))
        }
        None => Some(Finding::unless_missing(exited.whole, otherwise(", and no request was answered so"))),
    }
}

const fn name(outcome: ReportedOutcome) -> &'static str {
    match outcome {
        ReportedOutcome::Finished => "finished",
        ReportedOutcome::CommittedEarlier => "committed-earlier",
        ReportedOutcome::Existed => "existed",
        ReportedOutcome::Failed => "failed",
    }
}

impl Exited<'_> {
    /// How and by which request the client was told that the file is there, the last time: by the finish that it asked for;
    /// by asking, when an earlier finish of it had no answer; or else by a server that had the file already.
    fn told_stored(&self) -> Option<(ReportedOutcome, u64)> {
        let at = self
            .exchanges
            .iter()
            .rposition(|exchange| exchange.whole_reply().is_some() && exchange.says_stored().is_some())?;
        let by = &self.exchanges[at];
        let unanswered = |roles: &[Role]| {
            let of_file = self.exchanges[..at].iter().filter(|other| other.file_sha1 == by.file_sha1);
            of_file
                .filter(|other| role(other).is_some_and(|role| roles.contains(&role)))
                .any(|other| told(other).is_none())
        };
        let outcome = match role(by)? {
            Role::Open if unanswered(&[Role::Finish]) => ReportedOutcome::CommittedEarlier,
            Role::Open => ReportedOutcome::Existed,
            Role::Whole | Role::Next if self.sent_before_unanswered(at) => ReportedOutcome::CommittedEarlier,
            Role::Next if !self.ends_file(by) => ReportedOutcome::Existed,
            _ => ReportedOutcome::Finished,
        };
        Some((outcome, by.seq))
    }

    /// Was a request that puts the file together sent before that one, and not answered?
    fn sent_before_unanswered(&self, at: usize) -> bool {
        let by = &self.exchanges[at];
        let ends = |other: &&Exchange| role(other) == Some(Role::Whole) || self.ends_file(other);
        let same = self.exchanges[..at].iter().filter(|other| other.file_sha1 == by.file_sha1);
        same.filter(ends).any(|other| told(other).is_none())
    }

    /// Does its part reach the end of the file?
    fn ends_file(&self, exchange: &Exchange) -> bool {
        let upload = self.step.uploads.iter().find(|upload| Some(upload.file_sha1) == exchange.file_sha1);
        let size = upload.and_then(|upload| upload.file_size);
        exchange.part.zip(size).is_some_and(|(part, size)| part.end() == size)
    }

    /// What speaks against a failure of this sort.
    fn lacks(&self, failure: &Failure) -> Option<Finding> {
        let refused = |wanted: &dyn Fn(Code, RetryClass) -> bool| {
            let refusals = self.exchanges.iter().filter_map(Exchange::refusal);
            refusals.into_iter().any(|rejected| wanted(rejected.code, rejected.retry_class()))
        };
        let (seen, why) = match failure {
            Failure::Code(code) => (refused(&|seen, _| seen == *code), "no request was answered with that code"),
            Failure::Kind(kind) => match kind.as_str() {
                "rejected" => (refused(&|_, class| class == RetryClass::Final), "no request was refused for good"),
                "transport" => (
                    self.exchanges.iter().any(|exchange| exchange.whole_reply().is_none()),
                    "every request was answered",
                ),
                "malformed" => {
                    (self.exchanges.iter().any(|exchange| told(exchange).is_none()), "every answer can be read")
                }
                "exhausted" => (
                    self.exchanges.iter().any(|exchange| {
                        told(exchange).is_none()
                            || exchange.refusal().is_some_and(|no| no.retry_class() != RetryClass::Final)
                    }),
                    "no request failed in a way in which it may be tried again",
                ),
                _ => return Some(Finding::Unknown("only its own words could tell whether that was why".to_owned())),
            },
        };
        (!seen).then(|| Finding::broken(why))
    }
}

fn role(exchange: &Exchange) -> Option<Role> {
    exchange.known_action().map(vod_proto::Action::role)
}

/// How many parts the last step found there and did not send: those that the server told it of.
/// None where it was told of none in a way that says how many, or where that may be missing.
pub(super) fn parts_skipped(case: Case<'_>) -> Option<u64> {
    let at = case.evidence.steps.len().checked_sub(1)?;
    let exited = Exited::of(case, at)?;
    if !matches!(exited.step.end, StepEnd::Exited { .. }) || !exited.whole {
        return None;
    }
    let opened = exited.exchanges.iter().filter(|exchange| role(exchange) == Some(Role::Open));
    let listed = opened.filter_map(told).rfind(|reply| !matches!(reply, Reply::Init(InitReply::Exists(_))));
    let sent = |offset: u64| exited.exchanges.iter().any(|other| other.part.is_some_and(|part| part.offset == offset));
    match listed? {
        Reply::Init(InitReply::Fresh) => Some(0),
        Reply::Init(InitReply::Resume { parts, .. }) => {
            Some(parts.iter().filter(|part| !sent(part.offset)).count() as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{Family, exchange::End};

    use super::*;
    use crate::judge::crafted::{STORED, Story, goes_on};

    const EXISTS: &str = r#"{"code":2,"fileId":"1"}"#;

    fn exit(says: ExitSays) -> StepEnd {
        StepEnd::Exited { says, how: "exit status N".to_owned() }
    }

    /// A story whose last step ended with an exit code, after what `more` adds to it.
    fn story(mut story: Story, says: ExitSays, more: impl FnOnce(&mut Story)) -> Story {
        more(&mut story);
        story.step().last_seq = story.evidence.exchanges.len() as u64;
        story.step().end = exit(says);
        story
    }

    fn finding(story: &Story, expected: &StepExpect) -> Option<Finding> {
        let StepEnd::Exited { says, .. } = story.evidence.steps[0].end else { panic!("no exit code") };
        check(story.case(), 0, expected, says)
    }

    /// Of the three successes it is this one, and neither failed nor killed.
    #[track_caller]
    fn is(story: &Story, expected: &StepExpect) {
        for other in [StepExpect::Finished, StepExpect::CommittedEarlier, StepExpect::Existed] {
            let found = finding(story, &other);
            match found {
                None => assert_eq!(&other, expected),
                Some(Finding::Broken(why)) => {
                    assert_ne!(&other, expected, "{why}");
                    assert!(why.contains(&format!("on the wire it is {expected}, by request ")), "{why}");
                }
                Some(Finding::Unknown(why)) => panic!("{why}"),
            }
        }
        let failed = StepExpect::Failed(Failure::Code(Code::PROTOCOL_PARAMS));
        for other in [failed, StepExpect::Killed] {
            assert!(matches!(finding(story, &other), Some(Finding::Broken(_))), "{other}");
        }
    }

    #[test]
    fn in_which_way_the_file_is_there_is_read_off_the_last_answer_that_says_so() {
        let told = |more: fn(&mut Story)| story(Story::plain(), ExitSays::Stored, more);
        is(&told(|_| {}), &StepExpect::Finished);
        let asked = |story: &mut Story| {
            story.push(Family::Server.open(), None, EXISTS);
        };
        is(&told(asked), &StepExpect::Existed);
        let lost = |story: &mut Story| {
            story.evidence.exchanges.last_mut().unwrap().end = End::Reset;
            story.push(Family::Server.open(), None, EXISTS);
        };
        is(&told(lost), &StepExpect::CommittedEarlier);
        // Whoever repeats the finish instead of asking is told by the finish.
        let repeated = |story: &mut Story| {
            story.evidence.exchanges.last_mut().unwrap().end = End::Reset;
            story.push(Family::Server.finish(), None, STORED);
        };
        is(&told(repeated), &StepExpect::Finished);
    }

    #[test]
    fn there_is_an_exit_code_of_0_and_any_is_every_exit_code() {
        for says in [ExitSays::Stored, ExitSays::Failed, ExitSays::FailedMaybeStored] {
            let story = story(Story::plain(), says, |_| {});
            assert_eq!(finding(&story, &StepExpect::There).is_none(), says == ExitSays::Stored, "{says:?}");
            assert_eq!(finding(&story, &StepExpect::Any), None, "{says:?}");
        }
    }

    #[test]
    fn families_of_one_action_are_read_by_their_parts() {
        let legacy = |more: fn(&mut Story)| story(Story::of(Family::Legacy), ExitSays::Stored, more);
        is(&legacy(|_| {}), &StepExpect::Finished);
        let first = |story: &mut Story| {
            story.push_part(0, STORED);
        };
        is(&legacy(first), &StepExpect::Existed);
        let lost = |story: &mut Story| {
            story.evidence.exchanges.last_mut().unwrap().end = End::Reset;
            story.push_part(3, STORED);
        };
        is(&legacy(lost), &StepExpect::CommittedEarlier);
        let cover = |more: fn(&mut Story)| story(Story::cover(), ExitSays::Stored, more);
        is(&cover(|_| {}), &StepExpect::Finished);
        let lost = |story: &mut Story| {
            story.evidence.exchanges[0].end = End::Reset;
            story.push(vod_proto::Action::SmallFileUpload, None, STORED);
        };
        is(&cover(lost), &StepExpect::CommittedEarlier);
    }

    #[test]
    fn a_success_that_nobody_told_is_none_unless_what_told_it_may_be_missing() {
        let mut untold = story(Story::plain(), ExitSays::Stored, Story::never_sent);
        let why = "it ended with exit status N (the file is there), and no request was answered so";
        assert!(matches!(finding(&untold, &StepExpect::Finished), Some(Finding::Broken(found)) if found.contains(why)));
        untold.step().last_seq += 1;
        assert!(matches!(finding(&untold, &StepExpect::Finished), Some(Finding::Unknown(_))));
    }

    #[test]
    fn a_failure_is_believed_where_the_wire_shows_it_and_passed_nowhere_else() {
        let with = |reply: &str| {
            story(Story::plain(), ExitSays::Failed, |story| {
                story.push_part(1, reply);
            })
        };
        let kind = |kind: &str| StepExpect::Failed(Failure::Kind(kind.to_owned()));
        let code = |code: i64| StepExpect::Failed(Failure::Code(Code(code)));
        let refused = with(r#"{"code":-10003,"canRetry":0,"message":"no"}"#);
        let busy = with(r#"{"code":-10004,"canRetry":1,"message":"busy"}"#);
        let garbage = with("garbage");
        let mut cut = with(r#"{"code":0}"#);
        cut.evidence.exchanges.last_mut().unwrap().end = End::Reset;
        for (story, fitting) in [
            (&refused, vec![code(-10003), kind("rejected")]),
            (&busy, vec![code(-10004), kind("exhausted")]),
            (&garbage, vec![kind("malformed"), kind("exhausted")]),
            (&cut, vec![kind("transport"), kind("malformed"), kind("exhausted")]),
        ] {
            for expected in [code(-10003), code(-10004)]
                .into_iter()
                .chain(["rejected", "transport", "malformed", "exhausted"].map(kind))
            {
                match finding(story, &expected) {
                    None => assert!(fitting.contains(&expected), "{expected}"),
                    Some(found) => {
                        assert!(matches!(found, Finding::Broken(_)) && !fitting.contains(&expected), "{found:?}");
                    }
                }
            }
            for own in ["source", "config"] {
                let found = finding(story, &kind(own));
                assert!(matches!(&found, Some(Finding::Unknown(why)) if why.contains("its own words")), "{found:?}");
            }
        }
        let stored = story(Story::plain(), ExitSays::Stored, |_| {});
        assert!(matches!(finding(&stored, &code(-10003)), Some(Finding::Broken(_))));
    }

    #[test]
    fn skipped_parts_are_those_that_were_listed_and_not_sent() {
        let list = r#"{"code":1,"dataSize":1048576,"listParts":[{"offset":0,"dataSize":1048576},{"offset":1048576,"dataSize":1048576}]}"#;
        let resumed = |first: &str| {
            let mut story = Story::plain();
            story.evidence.exchanges.retain(|exchange| exchange.seq != 2);
            story.evidence.exchanges[0].reply.as_mut().unwrap().body = first.to_owned();
            for (at, exchange) in story.evidence.exchanges.iter_mut().enumerate() {
                exchange.seq = at as u64 + 1;
            }
            story.step().last_seq = 4;
            story.step().end = exit(ExitSays::Stored);
            story
        };
        // Two are listed, and of those the second was sent all the same.
        assert_eq!(parts_skipped(resumed(list).case()), Some(1));
        assert_eq!(parts_skipped(resumed(r#"{"code":0}"#).case()), Some(0));
        assert_eq!(parts_skipped(resumed(EXISTS).case()), None);
        let mut missing = resumed(list);
        missing.step().last_seq += 1;
        assert_eq!(parts_skipped(missing.case()), None);
        assert_eq!(parts_skipped(Story::plain().case()), None, "our own client says it itself");
        let legacy = story(Story::of(Family::Legacy), ExitSays::Stored, |story| {
            story.push_part(0, &goes_on(1 << 20));
        });
        assert_eq!(parts_skipped(legacy.case()), None);
    }
}
