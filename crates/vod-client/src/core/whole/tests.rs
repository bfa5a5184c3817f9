//! The machine against scripted and random servers, without a socket or a clock.

use std::collections::{BTreeSet, VecDeque};

use expect_test::{Expect, expect};
use vod_proto::{
    Code, Family, FileFacts, InitUpload,
    reply::Rejected,
    retry::{self, LostReply},
};

use super::*;
use crate::{
    core::{Machine, RetryPolicy, Trouble},
    error::TransportError,
};

const SIZE: u64 = 204_800;

fn plan() -> Plan {
    let facts = FileFacts { cover_of: Some("7".to_owned()), ..FileFacts::from_path("cover.png".as_ref()) };
    let init = InitUpload { facts, file_sha1: Sha1::of(b"file"), file_size: SIZE, part_size: 1 << 20 };
    Plan { family: Family::Server, init, parallel: 4, retry: RetryPolicy::default(), seed: 1 }
}

fn with(retry: RetryPolicy) -> Plan {
    Plan { retry, ..plan() }
}

/// An answer, by a short name, as tests write them.
fn answer(name: &str) -> Answered {
    let trouble = |failure, delivery| Err(Trouble { failure, delivery, retry_after: None });
    let (result, bytes) = match name {
        "ok" => (Ok(Reply::Finish(Stored::new("9"))), SIZE),
        "reset" => (trouble(Failure::Transport(TransportError::Reset), Delivery::MaybeActedOn), SIZE),
        "half" => (trouble(Failure::Transport(TransportError::Reset), Delivery::MaybeActedOn), SIZE / 2),
        "refused" => {
            (trouble(Failure::Transport(TransportError::Connect("refused".to_owned())), Delivery::NotActedOn), 0)
        }
        "turned-away" => (trouble(Failure::Transport(TransportError::Reset), Delivery::NotActedOn), SIZE),
        "garbage" => (trouble(Failure::Malformed("garbage".to_owned()), Delivery::MaybeActedOn), SIZE),
        code => {
            let code = code.parse().unwrap_or_else(|_| panic!("unknown answer {code:?}"));
            (Ok(Reply::Rejected(Rejected { code: Code(code), can_retry: None, message: String::new() })), SIZE)
        }
    };
    Answered { result, part_md5: None, bytes }
}

/// The request against a script: the answers in turn, then `ok`.
struct Run {
    whole: Whole,
    script: VecDeque<String>,
    now: Duration,
    story: Vec<String>,
    /// What the source says, each time it is looked at; then that it is unchanged.
    source: VecDeque<Result<(), SourceError>>,
    nonces: BTreeSet<u64>,
    events: Vec<Event>,
}

impl Run {
    fn new(plan: Plan, script: &str) -> Self {
        Self {
            whole: Whole::new(plan),
            script: script.split_whitespace().map(str::to_owned).collect(),
            now: Duration::ZERO,
            story: vec![],
            source: VecDeque::new(),
            nonces: BTreeSet::new(),
            events: vec![],
        }
    }

    /// Runs to the end.
    fn run(&mut self) -> Result<UploadReport, UploadError> {
        for _ in 0..1_000 {
            let step = self.whole.poll_step(self.now);
            self.events.extend(std::iter::from_fn(|| self.whole.poll_event()));
            match step {
                Step::Done(result) => return result,
                Step::Wait(until) => self.now = until.expect("nothing is under way, so something must be due"),
                Step::Do(Job::CheckSource) => {
                    self.story.push("check".to_owned());
                    self.whole.handle_source_checked(self.source.pop_front().unwrap_or(Ok(())), self.now);
                }
                Step::Do(Job::Send(send)) => {
                    assert!(matches!(&send.what, What::Whole(file) if file.file_size == SIZE), "{send:?}");
                    assert!(self.nonces.insert(send.nonce), "no two requests have the same nonce");
                    let says = self.script.pop_front().unwrap_or_else(|| "ok".to_owned());
                    self.story.push(format!("{}={says}", send.attempt));
                    self.whole.handle_answer(send.call, answer(&says), self.now);
                }
                Step::Do(other) => panic!("no such job for a file that is sent whole: {other:?}"),
            }
        }
        panic!("no end in sight: {:?}", self.story);
    }

    fn tell(&mut self) -> String {
        let end = match self.run() {
            Ok(UploadReport { outcome, parts_sent, attempts, bytes_sent, .. }) => {
                format!("{outcome:?} sent={parts_sent} attempts={attempts} bytes={bytes_sent}")
            }
            Err(mut error) => {
                // How long it took is the dice's business.
                error.elapsed = Duration::ZERO;
                format!("{}: {error}", error.kind())
            }
        };
        format!("{}\n{end}\n", self.story.join(" "))
    }
}

#[track_caller]
fn check(script: &str, expected: Expect) {
    expected.assert_eq(&Run::new(plan(), script).tell());
}

#[test]
fn a_small_file_is_looked_at_and_sent_once() {
    check(
        "",
        expect![[r#"
        check 1=ok
        Finished sent=1 attempts=1 bytes=204800
    "#]],
    );
}

#[test]
fn what_allows_it_is_tried_again_and_the_source_looked_at_each_time() {
    check(
        "refused -10004 -10006 half turned-away",
        expect![[r#"
        check 1=refused check 2=-10004 check 3=-10006 check 4=half check 5=turned-away check 6=ok
        Finished sent=1 attempts=6 bytes=921600
    "#]],
    );
}

#[test]
fn after_a_lost_reply_the_same_is_sent_again() {
    assert_eq!(retry::of(ACTION).lost, LostReply::SendAgain, "the table says so");
    check(
        "reset",
        expect![[r#"
        check 1=reset check 2=ok
        CommittedEarlier sent=1 attempts=2 bytes=409600
    "#]],
    );
    check(
        "garbage -10004",
        expect![[r#"
        check 1=garbage check 2=-10004 check 3=ok
        CommittedEarlier sent=1 attempts=3 bytes=614400
    "#]],
    );
}

#[test]
fn a_file_that_did_not_arrive_whole_was_not_stored() {
    check(
        "half",
        expect![[r#"
        check 1=half check 2=ok
        Finished sent=1 attempts=2 bytes=307200
    "#]],
    );
    check(
        "half -10003",
        expect![[r#"
        check 1=half check 2=-10003
        rejected: upload small file: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced) (attempt 2)
    "#]],
    );
}

#[test]
fn a_final_answer_is_the_end() {
    check(
        "-10003",
        expect![[r#"
        check 1=-10003
        rejected: upload small file: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
    check(
        "reset -10003",
        expect![[r#"
        check 1=reset check 2=-10003
        rejected: upload small file: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced) (attempt 2); the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn what_never_succeeds_is_given_up() {
    check(
        "-10004 -10004 -10004 -10004 -10004 -10004",
        expect![[r#"
        check 1=-10004 check 2=-10004 check 3=-10004 check 4=-10004 check 5=-10004 check 6=-10004
        exhausted: upload small file: gave up after 6 attempts in 0.0 s: the server answered -10004 (the server could not write what it must remember)
    "#]],
    );
    check(
        "-10004 -10004 reset -10004 -10004 -10004",
        expect![[r#"
        check 1=-10004 check 2=-10004 check 3=reset check 4=-10004 check 5=-10004 check 6=-10004
        exhausted: upload small file: gave up after 6 attempts in 0.0 s: the server answered -10004 (the server could not write what it must remember); the file may have been committed: ask before uploading it again
    "#]],
    );
    let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    expect![[r#"
        check 1=reset
        transport: upload small file: connection reset; the file may have been committed: ask before uploading it again
    "#]]
    .assert_eq(&Run::new(with(once), "reset").tell());
}

#[test]
fn quota_waits_are_not_charged() {
    let policy = RetryPolicy { attempts: 2, budget: 1, ..RetryPolicy::default() };
    let mut run = Run::new(with(policy), &format!("{} -10004", ["4400"; 20].join(" ")));
    // With two attempts in all: had one wait been charged, the -10004 would have been the end.
    run.run().unwrap();
    assert!(run.now > Duration::from_secs(120), "twenty waits of up to 15 s: {:?}", run.now);
}

#[test]
fn a_changed_source_is_not_sent_and_not_sent_again() {
    let changed = || Err(SourceError::Changed("it is longer".to_owned()));
    let mut run = Run::new(plan(), "");
    run.source = [changed()].into();
    expect![[r#"
        check
        source: the file changed during the upload: it is longer
    "#]]
    .assert_eq(&run.tell());
    let mut run = Run::new(plan(), "reset");
    run.source = [Ok(()), changed()].into();
    expect![[r#"
        check 1=reset check
        source: the file changed during the upload: it is longer; the file may have been committed: ask before uploading it again
    "#]].assert_eq(&run.tell());
}

#[test]
fn a_source_that_cannot_be_read_ends_the_upload() {
    let mut whole = Whole::new(plan());
    assert_eq!(whole.poll_step(Duration::ZERO), Step::Do(Job::CheckSource));
    whole.handle_source_checked(Ok(()), Duration::ZERO);
    let Step::Do(Job::Send(_)) = whole.poll_step(Duration::ZERO) else { panic!("it is sent") };
    whole.handle_source_failed(SourceError::Read { offset: 0, why: "it is gone".to_owned() }, Duration::ZERO);
    let Step::Done(Err(error)) = whole.poll_step(Duration::ZERO) else { panic!("that is the end") };
    assert_eq!((error.kind(), error.action, error.requests, error.may_be_committed), ("source", None, 1, false));
}

#[test]
fn the_deadline_is_honest_about_a_request_under_way() {
    let deadline = Duration::from_secs(5);
    let policy = RetryPolicy { deadline: Some(deadline), ..RetryPolicy::default() };
    // What is under way at the deadline, and what the error says of it.
    for (sent, may_be_committed) in [(false, false), (true, true)] {
        let mut whole = Whole::new(with(policy.clone()));
        let now = Duration::from_secs(1);
        assert_eq!(whole.poll_step(now), Step::Do(Job::CheckSource));
        if sent {
            whole.handle_source_checked(Ok(()), now);
            assert!(matches!(whole.poll_step(now), Step::Do(Job::Send(_))));
        }
        assert_eq!(whole.poll_step(now), Step::Wait(Some(deadline)));
        let Step::Done(Err(error)) = whole.poll_step(deadline) else { panic!("the deadline is the end") };
        assert_eq!((error.kind(), error.may_be_committed), ("exhausted", may_be_committed), "{error}");
        assert_eq!((error.action, error.attempts), (sent.then_some(ACTION), u32::from(sent)), "{error}");
    }
}

#[test]
fn events_tell_of_every_attempt() {
    let mut run = Run::new(plan(), "reset");
    run.run().unwrap();
    let told = run.events.iter().map(|event| match event {
        Event::AttemptStarted { action, span: None, attempt } => format!("{action} #{attempt}"),
        Event::AttemptFailed { failure, retry_in, .. } => format!("{failure} ({})", retry_in.is_some()),
        Event::PartDone { span, skipped } => format!("done {span} {skipped}"),
        other => format!("{other:?}"),
    });
    expect![[r#"
        SmallFileUpload #1
        connection reset (true)
        SmallFileUpload #2
        done 0+204800 false
    "#]]
    .assert_eq(&(told.collect::<Vec<_>>().join("\n") + "\n"));
}

#[test]
fn the_same_seed_and_replies_give_the_same_requests_at_the_same_times() {
    let trace = |seed| {
        let mut run = Run::new(Plan { seed, ..plan() }, "reset -10004 garbage");
        run.run().unwrap();
        (run.story, run.now, run.nonces)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).1, trace(2).1, "another seed waits otherwise");
}

#[test]
fn only_a_cover_of_the_server_family_goes_whole() {
    let is_whole = |plan: Plan| matches!(Machine::new(plan), Machine::Whole(_));
    let sized = |file_size| Plan { init: InitUpload { file_size, ..plan().init }, ..plan() };
    let video = FileFacts { cover_of: None, ..plan().init.facts };
    assert!(is_whole(plan()));
    assert!(is_whole(sized(1_048_575)));
    assert!(!is_whole(sized(1_048_576)));
    assert!(!is_whole(Plan { init: InitUpload { facts: video, ..plan().init }, ..plan() }));
    assert!(!is_whole(Plan { family: Family::Ugc, ..plan() }));
}

proptest::proptest! {
    /// A server that answers at random: the upload ends, says what is true, and sends nothing that was refused for good.
    #[test]
    fn whatever_the_server_does_the_promises_hold(
        attempts in 1..8_u32,
        says in proptest::collection::vec(
            proptest::sample::select(vec!["ok", "reset", "half", "refused", "garbage", "-10004", "-10003", "4400"]), 0..30),
    ) {
        let policy = RetryPolicy { attempts, ..RetryPolicy::default() };
        let mut run = Run::new(with(policy), &says.join(" "));
        let end = run.run();
        let sent: Vec<_> = run.story.iter().filter_map(|line| Some(line.split_once('=')?.1)).collect();
        let unclear = sent.iter().any(|says| ["reset", "garbage"].contains(says));
        let charged = sent.iter().filter(|says| **says != "4400").count();
        proptest::prop_assert!(charged <= attempts as usize, "{:?}", run.story);
        proptest::prop_assert!(!sent[..sent.len() - 1].iter().any(|says| ["ok", "-10003"].contains(says)), "{:?}", sent);
        proptest::prop_assert_eq!(run.story.len(), 2 * sent.len(), "the source is looked at before each");
        match end {
            Ok(report) => {
                let outcome = if unclear { Outcome::CommittedEarlier } else { Outcome::Finished };
                proptest::prop_assert_eq!((sent.last(), report.outcome), (Some(&"ok"), outcome));
            }
            Err(error) => {
                proptest::prop_assert_ne!(sent.last(), Some(&"ok"));
                proptest::prop_assert_eq!(error.may_be_committed, unclear, "{}", error);
            }
        }
    }
}
