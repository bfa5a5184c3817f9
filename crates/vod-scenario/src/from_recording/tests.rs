use super::*;
use crate::{
    evidence::Target,
    judge::{
        Verdict as Judged,
        crafted::{STORED, Story, mark},
    },
    library::{self, Found},
    report::report,
    run::{self, Named, Settings},
    sim,
};

fn told(story: &Story) -> String {
    scenario("journal.jsonl", &story.evidence.exchanges).unwrap().unwrap()
}

fn plan(text: &str) -> Vec<Fault> {
    Scenario::parse("made.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}")).plan().faults
}

#[test]
fn what_went_well_is_a_story_without_faults() {
    let text = told(&Story::plain());
    assert!(plan(&text).is_empty(), "{text}");
    for said in ["size = \"3MiB\"", "part-size = \"1MiB\"", "family = \"server\"", "expect = \"finished\""] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

/// What is recorded of a story with faults has the same faults again, and comes to the same end.
#[test]
fn a_story_that_was_recorded_is_told_again_with_the_same_faults() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
    let mut struck = 0;
    for name in [
        "finish-is-tried-again",
        "lost-replies",
        "retry-cache-errors",
        "retried-part-is-whole",
        "ugc-retry-cache-errors",
    ] {
        for Found { story, .. } in library::load(&dir, name).unwrap() {
            let evidence = sim::run_once(&story.scenario, 1).unwrap();
            let text = scenario(&story.name, &evidence.exchanges).unwrap().unwrap();
            let place = |fault: &Fault| {
                // A reply that is cut short is recorded as what is left of it, which is garbage.
                let verdict = match fault.verdict.name() {
                    "truncate-reply" => "garbage-reply",
                    name => name,
                };
                (fault.on.action, fault.on.part, fault.on.attempt, fault.phase, fault.at, verdict)
            };
            let places = |faults: &[Fault]| {
                let mut places: Vec<_> = faults.iter().map(|fault| format!("{:?}", place(fault))).collect();
                places.sort();
                places
            };
            let again = plan(&text);
            assert_eq!(places(&again), places(&story.scenario.plan().faults), "{}\n{text}", story.name);
            struck += again.len();
            let made = Named { name: story.name, scenario: Scenario::parse("made.toml", &text).unwrap() };
            let run = run::run(&made, Target::Sim, &Settings::default());
            assert_eq!(run.verdict(), Judged::Pass, "{}\n{text}", report(&run));
        }
    }
    assert!(struck > 20, "{struck}");
}

#[test]
fn a_part_that_broke_off_breaks_off_at_the_same_byte() {
    let mut story = Story::plain();
    let broken = &mut story.evidence.exchanges[2];
    (broken.end, broken.reply, broken.request.body.len) = (End::Reset, None, 70_000);
    let faults = plan(&told(&story));
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].phase, faults[0].at, &faults[0].verdict), (Phase::MidBody, Some(70_000), &Verdict::Reset));
    assert_eq!(
        (faults[0].on.action, faults[0].on.part, faults[0].on.attempt),
        (Some(Action::UploadPart), Some(2), Some(1))
    );
}

#[test]
fn an_answer_that_was_lost_is_lost_after_the_commit_only_where_a_later_one_tells_so() {
    let mut story = Story::plain();
    let finish = story.evidence.exchanges.last_mut().unwrap();
    (finish.end, finish.reply) = (End::Closed, None);
    let text = told(&story);
    assert_eq!(plan(&text)[0].phase, Phase::BeforeCommit);
    assert!(text.contains("nobody can tell whether it was done"), "{text}");
    story.push(Action::InitUpload, None, &STORED.replace("\"code\":0", "\"code\":2"));
    let text = told(&story);
    assert_eq!((plan(&text)[0].phase, &plan(&text)[0].verdict), (Phase::AfterCommit, &Verdict::Close));
    assert!(text.contains("expect = \"committed-earlier\""), "{text}");
}

/// What is made of these exchanges passes when it is told.
#[track_caller]
fn assert_passes(text: &str) {
    let made = Named { name: "made".to_owned(), scenario: Scenario::parse("made.toml", text).unwrap() };
    let run = run::run(&made, Target::Sim, &Settings::default());
    assert_eq!(run.verdict(), Judged::Pass, "{}\n{text}", report(&run));
}

#[test]
fn a_file_that_was_there_before_the_recording_began_is_uploaded_first() {
    let exists = STORED.replace("\"code\":0", "\"code\":2");
    let mut story = Story::plain();
    story.evidence.exchanges.truncate(1);
    let reply = story.evidence.exchanges[0].reply.as_mut().unwrap();
    (reply.status, reply.body) = (503, "busy".into());
    story.push(Action::InitUpload, None, &exists).attempt = 2;
    let text = told(&story);
    let ends = ["nothing in the recording stored it", "expect = \"finished\"", "expect = \"existed\""];
    let places: Vec<_> = ends.map(|end| text.find(end).unwrap_or_else(|| panic!("{end} is not in\n{text}"))).into();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(plan(&text)[0].on.attempt, Some(2), "the first is that of the upload that is added");
    assert_passes(&text);
}

#[test]
fn a_file_that_somebody_stored_whose_finish_nobody_saw_is_there_for_the_next() {
    let mut story = Story::plain();
    let finish = story.evidence.exchanges.last_mut().unwrap();
    (finish.end, finish.reply) = (End::ClientGone { after: 0 }, None);
    story.push(Action::InitUpload, None, &STORED.replace("\"code\":0", "\"code\":2")).attempt = 2;
    let text = told(&story);
    assert!(!text.contains("committed-earlier") && !text.contains("is added"), "{text}");
    assert_passes(&text);
}

#[test]
fn what_no_fault_can_say_stands_in_a_comment() {
    let mut story = Story::plain();
    story.evidence.exchanges[1].end = End::ClientGone { after: 7 };
    story.evidence.exchanges[2].end = End::Killed;
    let mut other = story.evidence.exchanges[0].clone();
    (other.seq, other.file_sha1) = (99, Some(Sha1::of(b"another file")));
    story.evidence.exchanges.push(other);
    let text = told(&story);
    assert!(plan(&text).is_empty(), "{text}");
    for said in
        ["the client left by itself after 7 bytes", "ended when somebody was killed", "# 1 requests of the recording"]
    {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

#[test]
fn a_client_that_was_killed_is_killed_in_a_step_of_its_own() {
    let mut story = Story::plain();
    story.evidence.exchanges[2].end = End::Killed;
    story.evidence.exchanges[2].faults.push(mark("kill client", true));
    let text = told(&story);
    assert_eq!(plan(&text)[0].verdict, Verdict::Kill(KillTarget::Client));
    let scenario = Scenario::parse("made.toml", &text).unwrap();
    assert_eq!(scenario.steps().len(), 2, "{text}");
}

#[test]
fn a_journal_without_an_upload_is_no_story() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.jsonl");
    std::fs::write(&file, "").unwrap();
    let error = from_recording(&file).unwrap_err().to_string();
    assert!(error.ends_with("has no request of an upload: there is no story to tell"), "{error}");
    assert!(matches!(from_recording(dir.path()), Err(NoScenario::Recording(_))));
}
