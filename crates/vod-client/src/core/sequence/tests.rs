//! The machine against scripted and random servers, without a socket or a clock. Scripts count in KiB.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use vod_proto::{
    Family, FileFacts, InitUpload,
    reply::Rejected,
    retry::{self, LostReply},
};

use super::*;
use crate::{
    core::{RetryPolicy, Trouble},
    error::TransportError,
};

const KIB: u64 = 1024;
const FIRST: u64 = 512 * KIB;
const PART: u64 = 600 * KIB;
/// Parts at 0, 512 and 1112 KiB.
const SIZE: u64 = 1412 * KIB;

fn plan(file_size: u64) -> Plan {
    let init = InitUpload { facts: FileFacts::default(), file_sha1: Sha1::of(b"file"), file_size, part_size: PART };
    Plan { family: Family::Legacy, init, parallel: 4, retry: RetryPolicy::default(), seed: 1 }
}

/// An answer, by a short name, as tests write them.
fn answer(span: PartSpan, file_size: u64, name: &str) -> Result<Reply, Trouble> {
    let trouble = |failure, delivery| Err(Trouble { failure, delivery, retry_after: None });
    let next = |reply| Ok(Reply::Next(reply));
    match name {
        "ok" if span.end() < file_size => next(NextReply::Continue { offset: span.end() }),
        "ok" | "stored" => next(NextReply::Stored(Stored::new("7"))),
        "reset" | "half" => trouble(Failure::Transport(TransportError::Reset), Delivery::MaybeActedOn),
        "refused" => trouble(Failure::Transport(TransportError::Connect("refused".to_owned())), Delivery::NotActedOn),
        "garbage" => trouble(Failure::Malformed("garbage".to_owned()), Delivery::MaybeActedOn),
        _ => match name.strip_prefix("at") {
            Some(offset) => next(NextReply::Continue { offset: offset.parse::<u64>().unwrap() * KIB }),
            None => {
                let code = name.parse().unwrap_or_else(|_| panic!("unknown answer {name:?}"));
                Ok(Reply::Rejected(Rejected { code: Code(code), can_retry: None, message: String::new() }))
            }
        },
    }
}

fn span_of(send: &Send) -> PartSpan {
    let What::Next(span) = send.what else { panic!("no such request in this family: {send:?}") };
    span
}

/// A file against a script: for each part, by its offset, the answers in turn.
/// What the script does not mention is answered with `ok`.
struct Run {
    sequence: Sequence,
    script: BTreeMap<u64, Vec<String>>,
    size: u64,
    now: Duration,
    story: Vec<String>,
    /// What the source says, each time it is looked at; then that it is unchanged.
    source: Vec<Result<(), SourceError>>,
    events: Vec<Event>,
}

impl Run {
    fn new(script: &str) -> Self {
        Self::with(plan(SIZE), script)
    }

    fn with(plan: Plan, script: &str) -> Self {
        let script = script.split(';').filter(|line| !line.trim().is_empty()).map(|line| {
            let (offset, answers) = line.split_once(':').unwrap();
            let answers = answers.split(',').rev().map(|answer| answer.trim().to_owned()).collect();
            (offset.trim().parse::<u64>().unwrap() * KIB, answers)
        });
        let (script, size) = (script.collect(), plan.init.file_size);
        let sequence = Sequence::new(plan);
        Self { sequence, script, size, now: Duration::ZERO, story: vec![], source: vec![], events: vec![] }
    }

    /// Runs to the end.
    fn run(&mut self) -> Result<UploadReport, UploadError> {
        let mut under_way = None;
        for _ in 0..10_000 {
            let step = self.sequence.poll_step(self.now);
            self.events.extend(std::iter::from_fn(|| self.sequence.poll_event()));
            match step {
                Step::Do(job) => assert_eq!(under_way.replace(job), None, "one job at a time"),
                Step::Done(result) => return result,
                Step::Wait(until) => match under_way.take() {
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
                self.sequence.handle_source_checked(self.source.pop().unwrap_or(Ok(())), self.now);
            }
            Job::Compare { .. } => panic!("this family lists no parts to compare"),
            Job::Send(send) => {
                let span = span_of(&send);
                let says = self.script.get_mut(&span.offset).and_then(Vec::pop).unwrap_or_else(|| "ok".to_owned());
                let name = format!("{}+{}", span.offset / KIB, span.len / KIB);
                self.story.push(if says == "ok" { name } else { format!("{name}={says}") });
                let bytes = if says == "half" { span.len / 2 } else { span.len };
                let answered = Answered { result: answer(span, self.size, &says), part_md5: None, bytes };
                self.sequence.handle_answer(send.call, answered, self.now);
            }
        }
    }

    fn tell(&self, end: Result<UploadReport, UploadError>) -> String {
        let end = match end {
            Ok(UploadReport { outcome, parts_sent, parts_skipped, attempts, bytes_sent, .. }) => {
                let kib = bytes_sent / KIB;
                format!("{outcome:?} sent={parts_sent} skipped={parts_skipped} attempts={attempts} KiB={kib}")
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
    check_plan(plan(SIZE), script, expected);
}

#[track_caller]
fn check_plan(plan: Plan, script: &str, expected: Expect) {
    let mut run = Run::with(plan, script);
    let end = run.run();
    expected.assert_eq(&run.tell(end));
}

#[test]
fn a_plain_upload_sends_part_after_part_and_checks_before_the_last() {
    check(
        "",
        expect![[r#"
        0+512 512+600 check-source 1112+300
        Finished sent=3 skipped=0 attempts=3 KiB=1412
    "#]],
    );
}

#[test]
fn a_file_of_one_part_is_opened_and_finished_by_one_request() {
    check_plan(
        plan(5 * KIB),
        "",
        expect![[r#"
        check-source 0+5
        Finished sent=1 skipped=0 attempts=1 KiB=5
    "#]],
    );
    check_plan(
        plan(FIRST),
        "",
        expect![[r#"
        check-source 0+512
        Finished sent=1 skipped=0 attempts=1 KiB=512
    "#]],
    );
    // One byte more, and there are two parts.
    let mut run = Run::with(plan(FIRST + 1), "");
    assert_eq!(run.run().unwrap().parts_sent, 2, "{:?}", run.story);
}

#[test]
fn a_file_that_exists_is_not_sent_beyond_its_first_part() {
    check(
        "0: stored",
        expect![[r#"
        0+512=stored
        Existed sent=0 skipped=0 attempts=1 KiB=512
    "#]],
    );
}

#[test]
fn a_file_that_is_stored_by_others_meanwhile_existed() {
    check(
        "512: stored",
        expect![[r#"
        0+512 512+600=stored
        Existed sent=1 skipped=0 attempts=2 KiB=1112
    "#]],
    );
}

#[test]
fn resume_goes_on_where_the_server_says() {
    check(
        "0: at1112",
        expect![[r#"
        0+512=at1112 check-source 1112+300
        Finished sent=1 skipped=2 attempts=2 KiB=812
    "#]],
    );
    // Off the cut of this upload: the session was begun with other parts.
    check(
        "0: at700",
        expect![[r#"
        0+512=at700 700+600 check-source 1300+112
        Finished sent=2 skipped=2 attempts=3 KiB=1224
    "#]],
    );
    check(
        "0: at100",
        expect![[r#"
        0+512=at100 100+600 700+600 check-source 1300+112
        Finished sent=3 skipped=0 attempts=4 KiB=1824
    "#]],
    );
}

#[test]
fn a_session_that_is_lost_is_begun_again() {
    check(
        "512: at0",
        expect![[r#"
        0+512 512+600=at0 0+512 512+600 check-source 1112+300
        Finished sent=4 skipped=0 attempts=5 KiB=2524
    "#]],
    );
    check(
        "1112: at0",
        expect![[r#"
        0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300
        Finished sent=5 skipped=0 attempts=6 KiB=2824
    "#]],
    );
}

#[test]
fn a_part_that_was_acknowledged_and_lost_is_sent_again() {
    check(
        "1112: at512",
        expect![[r#"
        0+512 512+600 check-source 1112+300=at512 512+600 check-source 1112+300
        Finished sent=4 skipped=0 attempts=5 KiB=2312
    "#]],
    );
}

#[test]
fn what_was_not_taken_is_sent_again_after_a_wait() {
    // The last of them leads to the last part, with a look at the source before it.
    for script in ["512: at512", "512: at0", "0: at700; 700: at1112"] {
        let mut run = Run::new(script);
        run.run().unwrap();
        assert!(run.now >= RetryPolicy::default().delay_min, "{script}: {:?} after {:?}", run.story, run.now);
    }
}

#[test]
fn a_part_of_which_some_was_kept_is_sent_from_there() {
    check(
        "512: at600",
        expect![[r#"
        0+512 512+600=at600 600+600 check-source 1200+212
        Finished sent=3 skipped=0 attempts=4 KiB=1924
    "#]],
    );
}

#[test]
fn every_kind_of_trouble_is_tried_again() {
    check(
        "0: refused, reset, garbage; 512: half, refused; 1112: refused",
        expect![[r#"
        0+512=refused 0+512=reset 0+512=garbage 0+512 512+600=half 512+600=refused 512+600 check-source 1112+300=refused 1112+300
        Finished sent=3 skipped=0 attempts=9 KiB=4148
    "#]],
    );
}

#[test]
fn answers_that_allow_it_are_tried_again() {
    check(
        "0: -10004; 512: 6000, 6200; 1112: -10004",
        expect![[r#"
        0+512=-10004 0+512 512+600=6000 512+600=6200 512+600 check-source 1112+300=-10004 1112+300
        Finished sent=3 skipped=0 attempts=7 KiB=3424
    "#]],
    );
}

#[test]
fn a_lost_reply_in_the_middle_is_sent_again() {
    assert_eq!(retry::of(ACTION).lost, LostReply::SendAgain, "the table says so");
    // The server had the part, and goes on behind it; or it had not.
    check(
        "512: reset, at1112",
        expect![[r#"
        0+512 512+600=reset 512+600=at1112 check-source 1112+300
        Finished sent=3 skipped=0 attempts=4 KiB=2012
    "#]],
    );
}

#[test]
fn after_a_lost_last_reply_the_same_is_asked_again() {
    check(
        "1112: reset",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300
        CommittedEarlier sent=3 skipped=0 attempts=4 KiB=1712
    "#]],
    );
    check(
        "1112: garbage",
        expect![[r#"
        0+512 512+600 check-source 1112+300=garbage 1112+300
        CommittedEarlier sent=3 skipped=0 attempts=4 KiB=1712
    "#]],
    );
    // Also where the file was stored, and the server tells so from the start of it.
    check(
        "1112: reset, at0; 0: ok, stored",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300=at0 0+512=stored
        CommittedEarlier sent=2 skipped=0 attempts=5 KiB=2224
    "#]],
    );
}

#[test]
fn a_last_part_that_did_not_arrive_whole_was_not_stored_by_it() {
    check(
        "1112: half",
        expect![[r#"
        0+512 512+600 check-source 1112+300=half 1112+300
        Finished sent=3 skipped=0 attempts=4 KiB=1562
    "#]],
    );
    check(
        "1112: refused",
        expect![[r#"
        0+512 512+600 check-source 1112+300=refused 1112+300
        Finished sent=3 skipped=0 attempts=4 KiB=1712
    "#]],
    );
    check(
        "1112: half, -25986",
        expect![[r#"
        0+512 512+600 check-source 1112+300=half 1112+300=-25986
        rejected: upload part at 1138688+307200: the server answered -25986 (fileType is wrong) (attempt 2)
    "#]],
    );
}

#[test]
fn a_failure_after_a_lost_last_reply_may_be_committed() {
    check(
        "1112: reset, -25986",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300=-25986
        rejected: upload part at 1138688+307200: the server answered -25986 (fileType is wrong) (attempt 2); the file may have been committed: ask before uploading it again
    "#]],
    );
    check(
        "1112: reset, reset, reset, reset, reset, reset",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300=reset 1112+300=reset 1112+300=reset 1112+300=reset 1112+300=reset
        exhausted: upload part at 1138688+307200: gave up after 6 attempts in 0.0 s: connection reset; the file may have been committed: ask before uploading it again
    "#]],
    );
    check(
        "1112: reset, at0; 0: ok, 10003",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300=at0 0+512=10003
        rejected: upload part at 0+524288: the server answered 10003 (no account has this SecretId); the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn a_server_that_has_all_and_does_not_store_it_is_asked_again_and_not_for_ever() {
    check(
        "1112: at1412",
        expect![[r#"
        0+512 512+600 check-source 1112+300=at1412 1112+300
        Finished sent=3 skipped=0 attempts=4 KiB=1712
    "#]],
    );
    check(
        "0: at1412, stored",
        expect![[r#"
        0+512=at1412 0+512=stored
        Existed sent=0 skipped=0 attempts=2 KiB=1024
    "#]],
    );
    check(
        "1112: at1412, at1412, at1412, at1412, at1412, at1412",
        expect![[r#"
        0+512 512+600 check-source 1112+300=at1412 1112+300=at1412 1112+300=at1412 1112+300=at1412 1112+300=at1412 1112+300=at1412
        exhausted: upload part at 1138688+307200: gave up after 6 attempts in 0.0 s: the reply cannot be read: offset 1445888 is wanted, where the file ends, and the file is not stored; the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn the_same_offset_for_ever_ends_the_upload() {
    check(
        "512: at512, at512, at512, at512, at512, at512",
        expect![[r#"
        0+512 512+600=at512 512+600=at512 512+600=at512 512+600=at512 512+600=at512 512+600=at512
        exhausted: upload part at 524288+614400: gave up after 6 attempts in 0.0 s: the reply cannot be read: offset 524288 is wanted again, right after its part was sent
    "#]],
    );
    // Counted together with what else goes wrong with this part.
    check(
        "512: at512, reset, at512, reset, at512, reset",
        expect![[r#"
        0+512 512+600=at512 512+600=reset 512+600=at512 512+600=reset 512+600=at512 512+600=reset
        exhausted: upload part at 524288+614400: gave up after 6 attempts in 0.0 s: connection reset
    "#]],
    );
    // And not with what goes wrong with others.
    check(
        "0: at0, at0, at0; 512: at512, at512, at512",
        expect![[r#"
        0+512=at0 0+512=at0 0+512=at0 0+512 512+600=at512 512+600=at512 512+600=at512 512+600 check-source 1112+300
        Finished sent=3 skipped=0 attempts=9 KiB=4748
    "#]],
    );
}

#[test]
fn a_server_that_forgets_for_ever_ends_the_upload() {
    let forgets = ["at0"; 20].join(",");
    check(
        &format!("512: {forgets}"),
        expect![[r#"
        0+512 512+600=at0 0+512 512+600=at0 0+512 512+600=at0 0+512 512+600=at0 0+512 512+600=at0 0+512 512+600=at0
        exhausted: upload part at 524288+614400: gave up after 6 attempts in 0.0 s: the reply cannot be read: offset 0 is wanted, after the part at 524288+614400 was sent
    "#]],
    );
    check(
        &format!("1112: {forgets}"),
        expect![[r#"
        0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300=at0 0+512 512+600 check-source 1112+300=at0
        exhausted: upload part at 1138688+307200: gave up after 6 attempts in 0.0 s: the reply cannot be read: offset 0 is wanted, after the part at 1138688+307200 was sent
    "#]],
    );
    check(
        "512: at0, at600, at0, at600; 600: at0, at700; 700: at512",
        expect![[r#"
        0+512 512+600=at0 0+512 512+600=at600 600+600=at0 0+512 512+600=at0 0+512 512+600=at600 600+600=at700
        exhausted: upload part at 614400+614400: gave up after 6 attempts in 0.0 s: the reply cannot be read: offset 716800 is wanted, after the part at 614400+614400 was sent
    "#]],
    );
}

#[test]
fn a_server_that_forgets_a_little_of_each_part_is_served_to_the_end() {
    // Each part is lost once, after its acknowledgement, which is more often than one place may be lost.
    let size = FIRST + 20 * PART;
    let lost = (1..=20).map(|n| 512 + (n - 1) * 600).map(|at| {
        let before = if at == 512 { 0 } else { at - 600 };
        format!("{at}: at{before}")
    });
    let mut run = Run::with(plan(size), &lost.collect::<Vec<_>>().join(";"));
    assert_eq!(run.run().unwrap().parts_sent, 41, "{:?}", run.story);
}

#[test]
fn offsets_outside_the_file_are_malformed_and_final() {
    check(
        "0: at1413",
        expect![[r#"
        0+512=at1413
        malformed: upload part at 0+524288: the reply cannot be read: offset 1446912 is wanted, of a file of 1445888 bytes
    "#]],
    );
    check(
        "512: at99999999999",
        expect![[r#"
        0+512 512+600=at99999999999
        malformed: upload part at 524288+614400: the reply cannot be read: offset 102399999998976 is wanted, of a file of 1445888 bytes
    "#]],
    );
    check(
        "1112: reset, at1413",
        expect![[r#"
        0+512 512+600 check-source 1112+300=reset 1112+300=at1413
        malformed: upload part at 1138688+307200: the reply cannot be read: offset 1446912 is wanted, of a file of 1445888 bytes (attempt 2); the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn final_codes_are_final() {
    check(
        "0: 10004",
        expect![[r#"
        0+512=10004
        rejected: upload part at 0+524288: the server answered 10004 (the signature does not hold)
    "#]],
    );
    check(
        "512: -25977",
        expect![[r#"
        0+512 512+600=-25977
        rejected: upload part at 524288+614400: the server answered -25977 (offset and dataSize together reach beyond fileSize)
    "#]],
    );
    check(
        "1112: -1",
        expect![[r#"
        0+512 512+600 check-source 1112+300=-1
        rejected: upload part at 1138688+307200: the server answered -1
    "#]],
    );
}

#[test]
fn a_mismatch_stands_where_the_source_is_what_it_was() {
    check(
        "1112: -29200",
        expect![[r#"
        0+512 512+600 check-source 1112+300=-29200 check-source
        rejected: upload part at 1138688+307200: the server answered -29200 (the SHA-1 of the uploaded file is not fileSha)
    "#]],
    );
    check_plan(
        plan(5 * KIB),
        "0: reset, -29200",
        expect![[r#"
        check-source 0+5=reset 0+5=-29200 check-source
        rejected: upload part at 0+5120: the server answered -29200 (the SHA-1 of the uploaded file is not fileSha) (attempt 2); the file may have been committed: ask before uploading it again
    "#]],
    );
}

#[test]
fn a_mismatch_is_the_sources_where_that_has_changed() {
    let mut run = Run::new("1112: -29200");
    run.source = vec![Err(SourceError::Changed("it is longer".to_owned())), Ok(())];
    let end = run.run();
    expect![[r#"
        0+512 512+600 check-source 1112+300=-29200 check-source
        source: the file changed during the upload: it is longer
    "#]]
    .assert_eq(&run.tell(end));
}

#[test]
fn a_changed_source_is_never_finished() {
    let mut run = Run::new("");
    run.source = vec![Err(SourceError::Changed("it is longer".to_owned()))];
    let end = run.run();
    expect![[r#"
        0+512 512+600 check-source
        source: the file changed during the upload: it is longer
    "#]]
    .assert_eq(&run.tell(end));
}

#[test]
fn a_source_that_cannot_be_read_ends_the_upload() {
    let mut sequence = Sequence::new(plan(SIZE));
    let Step::Do(Job::Send(_)) = sequence.poll_step(Duration::ZERO) else { panic!("sends first") };
    let error = SourceError::Read { offset: 0, why: "it is gone".to_owned() };
    sequence.handle_source_failed(error, Duration::ZERO);
    let Step::Done(Err(error)) = sequence.poll_step(Duration::ZERO) else { panic!("that is the end") };
    assert_eq!((error.kind(), error.action, error.span, error.requests), ("source", None, None, 1));
}

#[test]
fn quota_waits_are_not_charged() {
    let quota = ["4400"; 20].join(",");
    let policy = RetryPolicy { attempts: 2, budget: 1, ..RetryPolicy::default() };
    let mut run = Run::with(Plan { retry: policy, ..plan(SIZE) }, &format!("512: {quota}, -10004"));
    // With two attempts in all: had one wait been charged, the -10004 would have been the end.
    run.run().unwrap();
    assert!(run.now > Duration::from_secs(120), "twenty waits of up to 15 s: {:?}", run.now);
}

#[test]
fn the_budget_ends_the_retries_of_the_whole_upload() {
    let policy = RetryPolicy { budget: 3, refund_percent: 0, ..RetryPolicy::default() };
    check_plan(
        Plan { retry: policy, ..plan(SIZE) },
        "0: reset, at0; 512: at0, reset",
        expect![[r#"
        0+512=reset 0+512=at0 0+512 512+600=at0 0+512 512+600=reset
        exhausted: upload part at 524288+614400: gave up after 1 attempt in 0.0 s (the upload's budget of retries is spent): connection reset
    "#]],
    );
}

#[test]
fn with_one_attempt_nothing_is_tried_again() {
    let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    for script in ["512: reset", "512: at0", "512: at512"] {
        let mut run = Run::with(Plan { retry: policy.clone(), ..plan(SIZE) }, script);
        let error = run.run().unwrap_err();
        assert_eq!((error.attempts, run.story.len()), (1, 2), "{script}: {error}");
        assert_ne!(error.kind(), "exhausted", "a failure keeps its kind");
    }
}

#[test]
fn the_deadline_ends_an_upload_and_is_honest_about_a_last_part_under_way() {
    let deadline = Duration::from_secs(5);
    let policy = RetryPolicy { deadline: Some(deadline), ..RetryPolicy::default() };
    let now = Duration::from_secs(1);
    // What is under way at the deadline, and what the error says of it.
    let cases = [("0", true, false), ("check", false, false), ("1112", true, true), ("mismatch", true, false)];
    for (stop_at, blames, may_be_committed) in cases {
        let mut sequence = Sequence::new(Plan { retry: policy.clone(), ..plan(SIZE) });
        let mut checks = 0;
        let error = loop {
            let Step::Do(job) = sequence.poll_step(now) else { panic!("one thing after the other") };
            let name = match &job {
                Job::Send(send) => (span_of(send).offset / KIB).to_string(),
                _ if checks == 0 => "check".to_owned(),
                _ => "mismatch".to_owned(),
            };
            if name == stop_at {
                assert_eq!(sequence.poll_step(now), Step::Wait(Some(deadline)));
                let Step::Done(end) = sequence.poll_step(deadline) else { panic!("the deadline is the end") };
                break end.unwrap_err();
            }
            match job {
                Job::Send(send) => {
                    let span = span_of(&send);
                    let says = if name == "1112" { "-29200" } else { "ok" };
                    let answered = Answered { result: answer(span, SIZE, says), part_md5: None, bytes: span.len };
                    sequence.handle_answer(send.call, answered, now);
                }
                _ => {
                    checks += 1;
                    sequence.handle_source_checked(Ok(()), now);
                }
            }
        };
        assert_eq!(error.kind(), if stop_at == "mismatch" { "rejected" } else { "exhausted" }, "at {stop_at}: {error}");
        assert_eq!(error.may_be_committed, may_be_committed, "at {stop_at}: {error}");
        assert_eq!((error.action == Some(ACTION), error.span.is_some()), (blames, blames), "at {stop_at}: {error}");
    }
}

#[test]
fn events_tell_where_the_server_is() {
    let mut run = Run::new("0: at700, reset; 700: at0");
    run.run().unwrap();
    let told = run.events.iter().map(|event| match event {
        Event::Opened { parts, listed, held_bytes, .. } => format!("opened {listed}/{parts} {}", held_bytes / KIB),
        Event::PartDone { span, skipped } => format!("done {} {skipped}", span.offset / KIB),
        Event::AttemptStarted { span, attempt, .. } => format!("send {} #{attempt}", span.unwrap().offset / KIB),
        Event::AttemptFailed { failure, retry_in, .. } => format!("{failure} ({})", retry_in.is_some()),
        other => format!("{other:?}"),
    });
    expect![[r#"
        send 0 #1
        opened 2/4 700
        send 700 #1
        the reply cannot be read: offset 0 is wanted, after the part at 716800+614400 was sent (true)
        opened 0/3 0
        send 0 #1
        connection reset (true)
        send 0 #2
        done 0 false
        send 512 #1
        done 512 false
        Finishing
        send 1112 #1
        done 1112 false
    "#]]
    .assert_eq(&(told.collect::<Vec<_>>().join("\n") + "\n"));
}

#[test]
fn the_same_seed_and_replies_give_the_same_requests_at_the_same_times() {
    let trace = |seed| {
        let mut run = Run::with(Plan { seed, ..plan(SIZE) }, "0: reset; 512: at0, -10004; 1112: garbage");
        run.run().unwrap();
        (run.story, run.now)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).1, trace(2).1, "another seed waits otherwise");
}

#[test]
fn no_two_requests_have_the_same_nonce() {
    let mut sequence = Sequence::new(plan(SIZE));
    let (mut now, mut nonces, mut sent) = (Duration::ZERO, BTreeSet::new(), 0);
    // Forgets everything after the second part, again and again.
    loop {
        match sequence.poll_step(now) {
            Step::Do(Job::Send(send)) => {
                let span = span_of(&send);
                nonces.insert(send.nonce);
                sent += 1;
                let says = if span.offset == 0 { "ok" } else { "at0" };
                let answered = Answered { result: answer(span, SIZE, says), part_md5: None, bytes: span.len };
                sequence.handle_answer(send.call, answered, now);
            }
            Step::Wait(until) => now = until.unwrap(),
            Step::Done(_) => break,
            Step::Do(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((nonces.len(), sent), (12, 12));
}

/// What a client that was told all this may believe.
#[derive(Default)]
struct Belief {
    /// The offset that the server last named, and how often the part there was sent since.
    dictated: u64,
    started: u32,
    /// Of those, waits for a quota.
    free: u32,
    checked: bool,
    /// The server said something after which there is nothing to ask.
    over: bool,
    stored: bool,
    /// A lost reply may hide a commit; and so may the word that all is there.
    lost: bool,
    all_there: bool,
}

impl Belief {
    fn hear(&mut self, span: PartSpan, size: u64, bytes: u64, result: &Result<Reply, Trouble>) {
        match result {
            Ok(Reply::Next(NextReply::Stored(_))) => (self.over, self.stored) = (true, true),
            Ok(Reply::Next(NextReply::Continue { offset })) => {
                (self.all_there, self.over) = (*offset == size, *offset > size);
                if *offset < size && *offset != span.offset {
                    (self.dictated, self.started, self.free, self.checked) = (*offset, 0, 0, false);
                }
            }
            Ok(Reply::Rejected(rejected)) => {
                self.free += u32::from(rejected.code == Code::OVER_QUOTA);
                self.over = !matches!(rejected.code, Code::OVER_QUOTA | Code::CACHE_WRITE);
            }
            Ok(other) => panic!("{other:?}"),
            Err(trouble) => {
                let whole = span.end() == size && bytes == span.len;
                self.lost |= whole && trouble.delivery == Delivery::MaybeActedOn;
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, ..Default::default() })]

    /// A server that answers at random, and takes its time: the upload ends, and keeps its promises.
    #[test]
    fn whatever_the_server_does_the_promises_hold(
        size in 1..6_000_u64,
        attempts in 1..8_u32,
        deadline in proptest::option::of(1..100_u64),
        choices in proptest::collection::vec((0..100_u8, 0..6_500_u64), 0..300),
    ) {
        let size = size * KIB;
        let policy = RetryPolicy { attempts, deadline: deadline.map(Duration::from_secs), ..RetryPolicy::default() };
        let mut sequence = Sequence::new(Plan { retry: policy, ..plan(size) });
        let mut choices = choices.into_iter();
        let (mut now, mut under_way) = (Duration::ZERO, None::<(Job, Duration)>);
        let (mut belief, mut requests, mut ended) = (Belief::default(), 0, None);
        for _ in 0..20_000 {
            let until = match sequence.poll_step(now) {
                Step::Do(job) => {
                    proptest::prop_assert!(under_way.is_none(), "{:?} beside {:?}", job, under_way);
                    proptest::prop_assert!(!belief.over || job == Job::CheckSource, "after the end: {:?}", job);
                    if let Job::Send(send) = &job {
                        let span = span_of(send);
                        let len = if span.offset == 0 { FIRST } else { PART };
                        proptest::prop_assert_eq!(span.offset, belief.dictated, "the server dictates");
                        proptest::prop_assert!(span.len == len || span.end() == size && span.len < len, "{}", span);
                        proptest::prop_assert!(span.len > 0 && span.end() <= size, "{} of {}", span, size);
                        proptest::prop_assert!(span.end() < size || belief.checked, "the source was not checked");
                        (belief.started, requests) = (belief.started + 1, requests + 1);
                        proptest::prop_assert_eq!(send.attempt, belief.started);
                        proptest::prop_assert!(belief.started - belief.free <= attempts, "too often: {:?}", send);
                    }
                    let takes = choices.as_slice().first().map_or(0, |(_, kib)| *kib);
                    under_way = Some((job, now + Duration::from_millis(takes)));
                    continue;
                }
                Step::Done(result) => {
                    ended = Some(result);
                    break;
                }
                Step::Wait(until) => until,
            };
            match under_way.take() {
                None => now = until.unwrap(),
                Some((job, at)) if until.is_some_and(|until| until < at) => {
                    // The deadline comes first, and nobody waits for the reply of what may be the last request.
                    now = until.unwrap();
                    belief.lost |= matches!(&job, Job::Send(send) if span_of(send).end() == size);
                    under_way = Some((job, at));
                }
                Some((Job::CheckSource, at)) => {
                    (now, belief.checked) = (at, true);
                    sequence.handle_source_checked(Ok(()), now);
                }
                Some((Job::Compare { .. }, _)) => proptest::prop_assert!(false, "nothing to compare"),
                Some((Job::Send(send), at)) => {
                    now = at;
                    let span = span_of(&send);
                    let (choice, kib) = choices.next().unwrap_or((0, 0));
                    let says = match choice {
                        0..50 => "ok".to_owned(),
                        50..56 => "reset".to_owned(),
                        56..60 => "half".to_owned(),
                        60..63 => "refused".to_owned(),
                        63..66 => "garbage".to_owned(),
                        66..70 => "-10004".to_owned(),
                        70..72 => "4400".to_owned(),
                        72 => "-29200".to_owned(),
                        73 => "10004".to_owned(),
                        74 => "stored".to_owned(),
                        75..80 => "at0".to_owned(),
                        80..85 => format!("at{}", span.offset / KIB),
                        85..88 => format!("at{}", size / KIB),
                        88..95 => format!("at{}", kib % (size / KIB)),
                        _ => format!("at{kib}"),
                    };
                    let bytes = if says == "half" { span.len / 2 } else { span.len };
                    let result = answer(span, size, &says);
                    belief.hear(span, size, bytes, &result);
                    sequence.handle_answer(send.call, Answered { result, part_md5: None, bytes }, now);
                }
            }
        }
        match ended {
            None => proptest::prop_assert!(false, "no end in sight"),
            Some(Ok(report)) => {
                proptest::prop_assert!(belief.stored, "success without a word of it");
                proptest::prop_assert_eq!(report.attempts, requests);
            }
            Some(Err(error)) => {
                proptest::prop_assert!(!belief.stored, "failure although it is stored: {}", error);
                proptest::prop_assert_eq!(error.may_be_committed, belief.lost || belief.all_there, "{}", error);
                proptest::prop_assert_eq!(error.requests, requests);
            }
        }
    }
}
