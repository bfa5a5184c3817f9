//! The machine against scripted and random servers, without a socket or a clock.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use vod_proto::{Sha1, reply::ListedPart};

use super::*;
use crate::{core::Delivery, error::TransportError};

const PART: u64 = 10;

fn plan(file_size: u64) -> Plan {
    Plan {
        family: Family::Server,
        init: InitUpload {
            facts: vod_proto::FileFacts::default(),
            file_sha1: Sha1::of(b"file"),
            file_size,
            part_size: PART,
        },
        parallel: 2,
        retry: RetryPolicy::default(),
        seed: 1,
    }
}

/// The MD5 that the local part at this offset has, in these tests.
fn md5_at(offset: u64) -> Md5 {
    Md5::of(&offset.to_be_bytes())
}

fn stored() -> Stored {
    Stored::new("7")
}

fn listed(offset: u64, len: u64) -> ListedPart {
    ListedPart { offset, len: Some(len), md5: Some(md5_at(offset)), sha1: None }
}

/// An answer, by a short name, as tests write them.
fn answer(send: &Send, name: &str) -> Result<Reply, Trouble> {
    let rejected = |code, can_retry| {
        Ok(Reply::Rejected(Rejected { code: Code(code), can_retry: Some(can_retry), message: String::new() }))
    };
    let trouble = |failure, delivery| Err(Trouble { failure, delivery, retry_after: None });
    match name {
        "ok" => Ok(match &send.what {
            What::Init(_) => Reply::Init(InitReply::Fresh),
            What::Part(_) => Reply::Part,
            What::Finish(_) => Reply::Finish(stored()),
            What::Next(_) | What::Whole(_) => unreachable!("not in three steps"),
        }),
        "proven" => Ok(Reply::Finish(Stored { verify_content: Some("proof".to_owned()), ..stored() })),
        "exists" => Ok(Reply::Init(InitReply::Exists(stored()))),
        "reset" => trouble(Failure::Transport(TransportError::Reset), Delivery::MaybeActedOn),
        "refused" => trouble(Failure::Transport(TransportError::Connect("refused".to_owned())), Delivery::NotActedOn),
        "garbage" => trouble(Failure::Malformed("garbage".to_owned()), Delivery::MaybeActedOn),
        _ => {
            if let (Some(offsets), What::Init(init)) = (name.strip_prefix("have"), &send.what) {
                let parts = offsets.split_whitespace().map(|offset| {
                    let offset = offset.parse().unwrap();
                    listed(offset, PART.min(init.file_size - offset))
                });
                return Ok(Reply::Init(InitReply::Resume { part_size: PART, parts: parts.collect() }));
            }
            let (code, can_retry) = match name.strip_suffix('!') {
                Some(code) => (code, false),
                None => (name, true),
            };
            rejected(code.parse().unwrap_or_else(|_| panic!("unknown answer {name:?}")), can_retry)
        }
    }
}

fn name_of(send: &Send) -> String {
    match &send.what {
        What::Init(_) => "init".to_owned(),
        What::Part(span) => format!("part{}", span.offset),
        What::Finish(_) => "finish".to_owned(),
        What::Next(span) => format!("next{}", span.offset),
        What::Whole(_) => "whole".to_owned(),
    }
}

/// An upload of 25 bytes in parts of 10 against a script: for each request, by name, its answers in turn.
/// What the script does not mention is answered with `ok`.
struct Run {
    upload: Upload,
    script: BTreeMap<String, Vec<String>>,
    now: Duration,
    story: Vec<String>,
    actions: Vec<Action>,
    source: Result<(), SourceError>,
    in_flight_max: usize,
}

impl Run {
    fn new(script: &str) -> Self {
        Self::with(plan(25), script)
    }

    fn with(plan: Plan, script: &str) -> Self {
        let script = script.split(';').filter(|line| !line.trim().is_empty()).map(|line| {
            let (name, answers) = line.split_once(':').unwrap();
            (name.trim().to_owned(), answers.split(',').rev().map(|answer| answer.trim().to_owned()).collect())
        });
        let script = script.collect();
        let upload = Upload::new(plan);
        Self { upload, script, now: Duration::ZERO, story: vec![], actions: vec![], source: Ok(()), in_flight_max: 0 }
    }

    /// Runs to the end. Jobs end in the order they were begun, whenever nothing else is to be done.
    fn run(&mut self) -> Result<UploadReport, UploadError> {
        let mut jobs = VecDeque::new();
        for _ in 0..10_000 {
            match self.upload.poll_step(self.now) {
                Step::Do(job) => {
                    jobs.push_back(job);
                    self.in_flight_max = self.in_flight_max.max(jobs.len());
                }
                Step::Done(result) => return result,
                Step::Wait(until) => match jobs.pop_front() {
                    Some(job) => self.end(job),
                    None => self.now = until.expect("nothing under way, so something must be due"),
                },
            }
        }
        panic!("no end in sight: {:?}", self.story);
    }

    fn end(&mut self, job: Job) {
        match job {
            Job::CheckSource => {
                self.story.push("check-source".to_owned());
                self.upload.handle_source_checked(self.source.clone(), self.now);
            }
            Job::Compare { index, span, md5 } => {
                self.story.push(format!("compare{}", span.offset));
                self.upload.handle_compared(index, md5, md5 == md5_at(span.offset), self.now);
            }
            Job::Send(send) => {
                let name = name_of(&send);
                let says = self.script.get_mut(&name).and_then(Vec::pop).unwrap_or_else(|| "ok".to_owned());
                self.actions.push(send.call.action);
                self.story.push(if says == "ok" { name } else { format!("{name}={says}") });
                let part_md5 = if let What::Part(span) = &send.what { Some(md5_at(span.offset)) } else { None };
                let bytes = if let What::Part(span) = &send.what { span.len } else { 0 };
                let answered = Answered { result: answer(&send, &says), part_md5, bytes };
                self.upload.handle_answer(send.call, answered, self.now);
            }
        }
    }
}

#[track_caller]
fn check(script: &str, expected: Expect) {
    check_plan(plan(25), script, expected);
}

#[track_caller]
fn check_plan(plan: Plan, script: &str, expected: Expect) {
    let mut run = Run::with(plan, script);
    let end = match run.run() {
        Ok(UploadReport { outcome, parts_sent, parts_skipped, attempts, bytes_sent, .. }) => {
            format!("{outcome:?} sent={parts_sent} skipped={parts_skipped} attempts={attempts} bytes={bytes_sent}")
        }
        Err(mut error) => {
            // How long it took is the dice's business.
            error.elapsed = Duration::ZERO;
            format!("{}: {error}", error.kind())
        }
    };
    expected.assert_eq(&format!("{}\n{end}\n", run.story.join(" ")));
}

#[test]
fn a_plain_upload_opens_sends_checks_and_finishes() {
    check(
        "",
        expect![[r#"
        init part0 part10 part20 check-source finish
        Finished sent=3 skipped=0 attempts=5 bytes=25
    "#]],
    );
}

#[test]
fn the_ugc_family_takes_the_same_steps_by_its_own_names() {
    let script = "init: reset, ok, have 0 10 20; part0: -10004; finish: reset, ok";
    let actions = |family| {
        let mut run = Run::with(Plan { family, ..plan(25) }, script);
        run.run().unwrap();
        run.actions
    };
    let renamed = actions(Family::Server).into_iter().map(|action| match action.role() {
        Role::Open => Action::InitUploadEx,
        Role::Part => Action::UploadPartEx,
        _ => Action::FinishUploadEx,
    });
    assert_eq!(actions(Family::Ugc), renamed.collect::<Vec<_>>());
    let error = Run::with(Plan { family: Family::Ugc, ..plan(25) }, "part10: -10003!").run().unwrap_err();
    assert_eq!(error.action, Some(Action::UploadPartEx));
}

#[test]
fn the_proof_of_a_finish_is_reported() {
    let mut run = Run::with(Plan { family: Family::Ugc, ..plan(25) }, "finish: proven");
    assert_eq!(run.run().unwrap().verify_content.as_deref(), Some("proof"));
    assert_eq!(Run::new("").run().unwrap().verify_content, None);
}

#[test]
fn a_file_that_exists_is_not_sent() {
    check(
        "init: exists",
        expect![[r#"
        init=exists
        Existed sent=0 skipped=0 attempts=1 bytes=0
    "#]],
    );
}

#[test]
fn resume_sends_only_missing_parts() {
    check(
        "init: have 10",
        expect![[r#"
        init=have 10 part0 compare10 part20 check-source finish
        Finished sent=2 skipped=1 attempts=4 bytes=15
    "#]],
    );
    check(
        "init: have 0 10 20",
        expect![[r#"
        init=have 0 10 20 compare0 compare10 compare20 check-source finish
        Finished sent=0 skipped=3 attempts=2 bytes=0
    "#]],
    );
}

#[test]
fn a_listed_part_with_other_bytes_is_sent_again() {
    let mut run = Run::new("");
    // The server lists part 10 with the MD5 of part 0.
    let other = ListedPart { md5: Some(md5_at(0)), ..listed(10, 10) };
    let Step::Do(Job::Send(send)) = run.upload.poll_step(Duration::ZERO) else { panic!("opens first") };
    let reply = Reply::Init(InitReply::Resume { part_size: PART, parts: vec![other] });
    let answered = Answered { result: Ok(reply), part_md5: None, bytes: 0 };
    run.upload.handle_answer(send.call, answered, Duration::ZERO);
    let report = run.run().unwrap();
    assert_eq!((report.parts_sent, report.parts_skipped), (3, 0), "{:?}", run.story);
}

#[test]
fn the_servers_grid_wins() {
    let mut run = Run::new("");
    let Step::Do(Job::Send(send)) = run.upload.poll_step(Duration::ZERO) else { panic!("opens first") };
    let reply = Reply::Init(InitReply::Resume { part_size: 5, parts: vec![] });
    let answered = Answered { result: Ok(reply), part_md5: None, bytes: 0 };
    run.upload.handle_answer(send.call, answered, Duration::ZERO);
    assert_eq!(run.run().unwrap().parts_sent, 5, "25 bytes in parts of 5, not of 10: {:?}", run.story);
}

#[test]
fn a_nonsensical_grid_is_malformed_and_final() {
    let mut run = Run::with(plan(1 << 40), "");
    let Step::Do(Job::Send(send)) = run.upload.poll_step(Duration::ZERO) else { panic!("opens first") };
    let reply = Reply::Init(InitReply::Resume { part_size: 1, parts: vec![] });
    run.upload.handle_answer(send.call, Answered { result: Ok(reply), part_md5: None, bytes: 0 }, Duration::ZERO);
    assert_eq!(run.run().unwrap_err().kind(), "malformed");
}

#[test]
fn a_final_error_is_sent_once() {
    check(
        "init: -10001!",
        expect![[r#"
        init=-10001!
        rejected: open upload: the server answered -10001 (a common parameter is missing or malformed, or the action is unknown)
    "#]],
    );
    check(
        "part10: -10003!",
        expect![[r#"
        init part0 part10=-10003! part20
        rejected: upload part at 10+10: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
    check(
        "finish: -10002!",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10002!
        rejected: finish upload: the server answered -10002 (the signature does not hold, has expired, or its account is unknown)
    "#]],
    );
    check(
        "init: 4100",
        expect![[r#"
        init=4100
        rejected: open upload: the server answered 4100 (the signature does not hold)
    "#]],
    );
}

#[test]
fn answers_that_allow_it_are_tried_again() {
    check(
        "init: -10004; part0: -10004, -10006; finish: -10004",
        expect![[r#"
        init=-10004 init part0=-10004 part10 part20 part0=-10006 part0 check-source finish=-10004 finish
        Finished sent=3 skipped=0 attempts=9 bytes=45
    "#]],
    );
}

#[test]
fn every_kind_of_trouble_is_tried_again() {
    check(
        "init: refused, reset; part20: garbage, reset, refused; finish: refused",
        expect![[r#"
        init=refused init=reset init part0 part10 part20=garbage part20=reset part20=refused part20 check-source finish=refused finish
        Finished sent=3 skipped=0 attempts=11 bytes=40
    "#]],
    );
}

#[test]
fn one_parts_failure_does_not_stop_the_others() {
    check(
        "part0: -10003!",
        expect![[r#"
        init part0=-10003! part10 part20
        rejected: upload part at 0+10: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
    check(
        "part0: reset, reset, reset, reset, reset, reset",
        expect![[r#"
        init part0=reset part10 part20 part0=reset part0=reset part0=reset part0=reset part0=reset
        exhausted: upload part at 0+10: gave up after 6 attempts in 0.0 s: connection reset
    "#]],
    );
    check(
        "part0: -10003!; part20: -10006!",
        expect![[r#"
        init part0=-10003! part10 part20=-10006!
        rejected: upload part at 0+10: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced); 2 parts failed in all
    "#]],
    );
}

#[test]
fn parts_that_fail_by_the_dozen_end_the_upload() {
    let every = (0..100).map(|n| format!("part{}: -10003!", n * 10)).collect::<Vec<_>>().join(";");
    let mut run = Run::with(plan(1000), &every);
    let error = run.run().unwrap_err();
    assert_eq!(error.parts_failed, 17, "sixteen, and what was in flight with the sixteenth");
}

#[test]
fn no_more_parts_are_in_flight_than_allowed() {
    for parallel in [1, 2, 7] {
        let mut run = Run::with(Plan { parallel, ..plan(500) }, "part0: reset; part10: -10004; init: have 30");
        run.run().unwrap();
        assert_eq!(run.in_flight_max, parallel);
    }
}

#[test]
fn a_part_that_waits_leaves_its_place_to_others() {
    // With one place, part 0 waits for its second attempt while 10 and 20 are sent.
    check_plan(
        Plan { parallel: 1, ..plan(25) },
        "part0: reset",
        expect![[r#"
        init part0=reset part10 part20 part0 check-source finish
        Finished sent=3 skipped=0 attempts=6 bytes=35
    "#]],
    );
}

#[test]
fn a_lost_finish_reply_is_resolved_by_asking() {
    check(
        "init: ok, exists; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=exists
        CommittedEarlier sent=3 skipped=0 attempts=6 bytes=25
    "#]],
    );
    check(
        "init: ok, exists; finish: garbage",
        expect![[r#"
        init part0 part10 part20 check-source finish=garbage init=exists
        CommittedEarlier sent=3 skipped=0 attempts=6 bytes=25
    "#]],
    );
}

#[test]
fn an_unclear_finish_that_was_not_committed_is_sent_again() {
    check(
        "init: ok, have 0 10 20; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=have 0 10 20 check-source finish
        Finished sent=3 skipped=0 attempts=7 bytes=25
    "#]],
    );
    check(
        "init: ok, have 0 20; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=have 0 20 part10 check-source finish
        Finished sent=4 skipped=0 attempts=8 bytes=35
    "#]],
    );
}

#[test]
fn an_unclear_finish_without_a_session_is_not_uploaded_twice() {
    check(
        "init: ok, ok; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init
        transport: finish upload: connection reset; the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn an_unclear_finish_that_cannot_be_resolved_may_be_committed() {
    check(
        "init: ok, -10001!; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=-10001!
        rejected: open upload: the server answered -10001 (a common parameter is missing or malformed, or the action is unknown); the file may have been committed: ask before uploading it again
    "#]],
    );
    let all = "have 0 10 20";
    check(
        &format!("init: ok, {}; finish: reset, reset, reset, reset, reset, reset", [all; 6].join(",")),
        expect![[r#"
            init part0 part10 part20 check-source finish=reset init=have 0 10 20 check-source finish=reset init=have 0 10 20 check-source finish=reset init=have 0 10 20 check-source finish=reset init=have 0 10 20 check-source finish=reset init=have 0 10 20 check-source finish=reset init=have 0 10 20
            exhausted: finish upload: gave up after 6 attempts in 0.0 s: connection reset; the file may have been committed: ask before uploading it again
        "#]],
    );
}

#[test]
fn also_the_last_attempt_of_a_finish_is_resolved() {
    let once = Plan { retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() }, ..plan(25) };
    check_plan(
        once.clone(),
        "init: ok, exists; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=exists
        CommittedEarlier sent=3 skipped=0 attempts=6 bytes=25
    "#]],
    );
    check_plan(
        once,
        "init: ok, have 0 10 20; finish: reset",
        expect![[r#"
        init part0 part10 part20 check-source finish=reset init=have 0 10 20
        transport: finish upload: connection reset; the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn a_refused_finish_asks_what_is_missing_and_sends_it() {
    check(
        "init: ok, have 0 20; finish: -10003!",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10003! init=have 0 20 part10 check-source finish
        Finished sent=4 skipped=0 attempts=8 bytes=35
    "#]],
    );
}

#[test]
fn a_refused_finish_stands_when_nothing_is_missing() {
    check(
        "init: ok, have 0 10 20; finish: -10003!",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10003! init=have 0 10 20
        rejected: finish upload: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
}

#[test]
fn a_server_that_dropped_the_session_gets_the_file_again() {
    check(
        "init: ok, ok; finish: -10003!",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10003! init part0 part10 part20 check-source finish
        Finished sent=6 skipped=0 attempts=10 bytes=50
    "#]],
    );
}

#[test]
fn after_a_refused_finish_the_upload_is_reopened_at_most_twice() {
    check(
        "init: ok, have 0, have 0, have 0; finish: -10003!, -10003!, -10003!, -10003!",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10003! init=have 0 part10 part20 check-source finish=-10003! init=have 0 part10 part20 check-source finish=-10003!
        rejected: finish upload: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
}

#[test]
fn two_missing_sessions_in_a_row_open_the_upload_again() {
    check(
        "part10: -10005, -10005",
        expect![[r#"
        init part0 part10=-10005 part20 part10=-10005 init part0 part10 part20 check-source finish
        Finished sent=5 skipped=0 attempts=10 bytes=60
    "#]],
    );
    check(
        "init: ok, have 0 10 20; finish: -10005, -10005",
        expect![[r#"
        init part0 part10 part20 check-source finish=-10005 finish=-10005 init=have 0 10 20 check-source finish
        Finished sent=3 skipped=0 attempts=8 bytes=25
    "#]],
    );
    // Another failure in between: not in a row.
    check(
        "part10: -10005, -10004, -10005",
        expect![[r#"
        init part0 part10=-10005 part20 part10=-10004 part10=-10005 part10 check-source finish
        Finished sent=3 skipped=0 attempts=8 bytes=55
    "#]],
    );
}

#[test]
fn a_session_that_vanishes_for_ever_ends_the_upload() {
    let gone = ["-10005"; 20].join(",");
    check_plan(
        Plan { parallel: 1, ..plan(10) },
        &format!("part0: {gone}"),
        expect![[r#"
        init part0=-10005 part0=-10005 init part0=-10005 part0=-10005 init part0=-10005 part0=-10005 part0=-10005 part0=-10005 part0=-10005 part0=-10005
        exhausted: upload part at 0+10: gave up after 6 attempts in 0.0 s: the server answered -10005 (the server could not find or read the upload's session)
    "#]],
    );
}

#[test]
fn a_final_answer_is_final_also_while_the_session_vanishes() {
    check(
        "part0: -10005, -10005; part10: -10005, -10003!; part20: -10005, -10005",
        expect![[r#"
        init part0=-10005 part10=-10005 part20=-10005 part20=-10005 init part0=-10005 part10=-10003! part20 part0
        rejected: upload part at 10+10: the server answered -10003 (a protocol parameter is wrong, or the parts do not make the file that was announced)
    "#]],
    );
}

#[test]
fn a_final_answer_that_comes_while_others_miss_the_session_is_not_asked_again() {
    let mut upload = Upload::new(plan(20));
    let mut now = Duration::ZERO;
    let mut sends = Vec::new();
    let tell = |upload: &mut Upload, send: &Send, says, now| {
        let answered = Answered { result: answer(send, says), part_md5: Some(md5_at(0)), bytes: 0 };
        upload.handle_answer(send.call, answered, now);
    };
    loop {
        match upload.poll_step(now) {
            Step::Do(Job::Send(send)) if name_of(&send) == "init" => {
                assert_eq!(send.attempt + send.call.round, 1, "opened once only");
                tell(&mut upload, &send, "ok", now);
            }
            Step::Do(Job::Send(send)) => sends.push(send),
            Step::Wait(_) if sends.is_empty() => panic!("nothing to wait for"),
            Step::Wait(Some(until)) if name_of(&sends[0]) == "part10" && sends.len() == 1 && until > now => now = until,
            Step::Wait(_) => {
                // Part 0 first, as long as it is there; the part beside it stays in flight.
                let at = sends.iter().position(|send| name_of(send) == "part0").unwrap_or(0);
                let send = sends.remove(at);
                tell(&mut upload, &send, if name_of(&send) == "part0" { "-10005" } else { "-10003!" }, now);
            }
            Step::Done(end) => {
                let error = end.unwrap_err();
                assert_eq!(error.code(), Some(Code::PROTOCOL_PARAMS), "{error}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn quota_waits_are_not_charged() {
    let quota = ["4400"; 20].join(",");
    let policy = RetryPolicy { attempts: 2, budget: 1, ..RetryPolicy::default() };
    let mut run = Run::with(Plan { retry: policy, ..plan(25) }, &format!("init: {quota}, -10004"));
    // With two attempts in all: had one wait been charged, the -10004 would have been the end.
    run.run().unwrap();
    assert!(run.now > Duration::from_secs(120), "twenty waits of up to 15 s: {:?}", run.now);
}

#[test]
fn the_budget_ends_the_retries_of_all_parts_together() {
    let policy = RetryPolicy { budget: 2, ..RetryPolicy::default() };
    check_plan(
        Plan { retry: policy, ..plan(25) },
        "part0: reset, reset, reset; part10: reset, reset; part20: reset",
        expect![[r#"
            init part0=reset part10=reset part20=reset part0=reset part10=reset
            exhausted: upload part at 0+10: gave up after 2 attempts in 0.0 s (the upload's budget of retries is spent): connection reset; 3 parts failed in all
        "#]],
    );
}

#[test]
fn a_changed_source_is_never_finished() {
    let mut run = Run::new("");
    run.source = Err(SourceError::Changed("it is longer".to_owned()));
    assert_eq!(run.run().unwrap_err().kind(), "source");
    assert!(!run.story.contains(&"finish".to_owned()), "{:?}", run.story);
}

#[test]
fn the_deadline_ends_an_upload_and_is_honest_about_a_finish_under_way() {
    let deadline = Duration::from_secs(5);
    let policy = RetryPolicy { deadline: Some(deadline), ..RetryPolicy::default() };
    for stop_at in ["init", "part0", "finish"] {
        let mut upload = Upload::new(Plan { retry: policy.clone(), parallel: 1, ..plan(10) });
        let now = Duration::from_secs(1);
        let error = loop {
            match upload.poll_step(now) {
                Step::Do(Job::Send(send)) if name_of(&send) == stop_at => {
                    assert_eq!(upload.poll_step(now), Step::Wait(Some(deadline)));
                    let Step::Done(end) = upload.poll_step(deadline) else { panic!("the deadline is the end") };
                    break end.unwrap_err();
                }
                Step::Do(Job::Send(send)) => {
                    let answered = Answered { result: answer(&send, "ok"), part_md5: Some(md5_at(0)), bytes: 0 };
                    upload.handle_answer(send.call, answered, now);
                }
                Step::Do(Job::CheckSource) => upload.handle_source_checked(Ok(()), now),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error.kind(), "exhausted");
        assert_eq!(error.may_be_committed, stop_at == "finish", "stopped at {stop_at}");
    }
}

#[test]
fn the_same_seed_and_replies_give_the_same_requests_at_the_same_times() {
    let trace = |seed| {
        let script = "init: reset; part0: reset, -10004; part20: garbage; finish: -10004";
        let mut run = Run::with(Plan { seed, ..plan(25) }, script);
        run.run().unwrap();
        (run.story, run.now)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).1, trace(2).1, "another seed waits otherwise");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, ..Default::default() })]

    /// A server that answers at random, with jobs that end in any order: the upload ends, and keeps its promises.
    #[test]
    fn whatever_the_server_does_the_promises_hold(
        size in 1..80_u64,
        parallel in 1..5_usize,
        choices in proptest::collection::vec(0..100_u8, 0..300),
    ) {
        let mut upload = Upload::new(Plan { parallel, ..plan(size) });
        let mut choices = choices.into_iter();
        let (mut now, mut jobs) = (Duration::ZERO, Vec::<Job>::new());
        let (mut acknowledged, mut compared, mut finals) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut grid_parts, mut committed, mut inits) = (size.div_ceil(PART), false, 0);
        let mut ended = None;
        for _ in 0..5000 {
            match upload.poll_step(now) {
                Step::Do(job) => {
                    if let Job::Send(send) = &job {
                        proptest::prop_assert!(!finals.contains(&(name_of(send), send.call.round)), "after a final answer: {:?}", send);
                        if let What::Finish(_) = send.what {
                            let held = acknowledged.union(&compared).count();
                            proptest::prop_assert_eq!(held as u64, grid_parts, "finish before all acknowledgements");
                            proptest::prop_assert!(jobs.is_empty(), "finish while something is in flight");
                        }
                    }
                    jobs.push(job);
                    proptest::prop_assert!(jobs.len() <= parallel);
                }
                Step::Done(result) => {
                    ended = Some(result);
                    break;
                }
                Step::Wait(until) if jobs.is_empty() => now = until.unwrap(),
                Step::Wait(_) => {
                    let choice = choices.next().unwrap_or(0);
                    let job = jobs.swap_remove(usize::from(choice) % jobs.len());
                    match job {
                        Job::CheckSource => upload.handle_source_checked(Ok(()), now),
                        Job::Compare { index, span, md5 } => {
                            let same = choice % 3 != 0;
                            if same {
                                compared.insert(span.offset);
                            }
                            upload.handle_compared(index, md5, same, now);
                        }
                        Job::Send(send) => {
                            let says = match choice {
                                0..60 => "ok",
                                60..68 => "reset",
                                68..72 => "refused",
                                72..76 => "garbage",
                                76..82 => "-10004",
                                82..90 => "-10005",
                                90..94 => "-10003!",
                                94..96 => "4400",
                                96..98 if matches!(send.what, What::Init(_)) => "exists",
                                _ if matches!(send.what, What::Init(_)) => "have",
                                _ => "-10006",
                            };
                            let result = answer(&send, says);
                            if says.ends_with('!') {
                                finals.insert((name_of(&send), send.call.round));
                            }
                            if let What::Init(_) = send.what {
                                inits += 1;
                            }
                            match (&result, &send.what) {
                                (Ok(Reply::Init(InitReply::Fresh | InitReply::Resume { .. })), _) => {
                                    acknowledged.clear();
                                    compared.clear();
                                    grid_parts = size.div_ceil(PART);
                                }
                                (Ok(Reply::Part), What::Part(span)) => {
                                    acknowledged.insert(span.offset);
                                }
                                // A lost reply may hide a commit, as far as the client can know.
                                (Ok(Reply::Finish(_)) | Err(Trouble { delivery: Delivery::MaybeActedOn, .. }), What::Finish(_)) => {
                                    committed = true;
                                }
                                (Ok(Reply::Init(InitReply::Exists(_))), _) => committed = true,
                                _ => {}
                            }
                            let part_md5 = if let What::Part(span) = &send.what { Some(md5_at(span.offset)) } else { None };
                            upload.handle_answer(send.call, Answered { result, part_md5, bytes: 0 }, now);
                        }
                    }
                }
            }
        }
        match ended {
            None => proptest::prop_assert!(false, "no end in sight"),
            Some(Ok(_)) => proptest::prop_assert!(committed, "success without a commit"),
            Some(Err(error)) => proptest::prop_assert_eq!(error.may_be_committed, committed, "{}", error),
        }
        proptest::prop_assert!(inits < 100, "{} times opened", inits);
    }
}
