//! A runner that cannot fail proves nothing: each of these stories must come out red, for its own reason.

use std::path::PathBuf;

use vod_scenario::{
    evidence::Target,
    format::Scenario,
    judge::Verdict,
    report::report,
    run::{self, Named, Settings},
};

const STORY: &str = "format = 1\nwhy = \"It must come out red.\"\nsource = { size = \"3MiB\", seed = 1 }\n";

fn tell(text: &str, target: Target) -> (Verdict, String) {
    let scenario = match Scenario::parse("red.toml", text) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    };
    let story = Named { name: "red.toml".to_owned(), scenario };
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_vod-scenario"));
    let run = run::run(&story, target, &Settings { binary, ..Settings::default() });
    (run.verdict(), report(&run))
}

#[track_caller]
fn red(text: &str, verdict: Verdict, says: &str) {
    let (seen, report) = tell(&format!("{STORY}{text}"), Target::Sim);
    assert_eq!(seen, verdict, "{report}");
    assert!(report.contains(says), "{says:?} is not in\n{report}");
    let first = report.lines().next();
    assert_eq!(first, Some("cargo xtask scenario red.toml --target sim --seed 1"), "{report}");
}

#[test]
fn a_step_that_ends_otherwise() {
    red(
        "[[step]]\nupload = {}\nexpect = \"existed\"",
        Verdict::Fail,
        "outcome · step 1 ends existed: expected existed, it ended finished",
    );
}

#[test]
fn a_count_that_is_not_met() {
    red(
        "[[step]]\nupload = {}\nexpect = \"finished\"\n[expect]\nrequests = { UploadPart = 4 }",
        Verdict::Fail,
        "wire · UploadPart: exactly 4 requests: expected exactly 4, there were 3",
    );
}

/// A busy server, whom the client heeds: each expectation of the wire is red where it is not met.
#[track_caller]
fn red_on_the_wire(expect: &str, says: &str) {
    let fault = "[[fault]]\nid = \"busy\"\non = { action = \"UploadPart\", part = 1, attempt = 1 }\nphase = \"before-commit\"\n\
                 do = { http = { status = 503, retry-after = \"2s\" } }\n[[step]]\nupload = {}\nexpect = \"finished\"\n[expect]\n";
    red(&format!("{fault}{expect}"), Verdict::Fail, says);
}

#[test]
fn an_order_that_is_not_kept() {
    red_on_the_wire(
        "order = [{ first = { last-acknowledged = \"part\" }, then = { first-sent = \"part\" } }]",
        "wire · the last UploadPart is acknowledged before the first UploadPart is sent: in step 1 ",
    );
    red_on_the_wire(
        "order = [{ first = { first-sent = \"SmallFileUpload\" }, then = { first-sent = \"finish\" } }]",
        "in no upload there is both that the first SmallFileUpload is sent",
    );
}

#[test]
fn a_gap_that_is_too_short_too_long_or_none_at_all() {
    red_on_the_wire(
        "gaps = { part = { min = \"3s\" } }",
        "wire · UploadPart: at least 3s before it is sent again: UploadPart 0+",
    );
    red_on_the_wire(
        "gaps = { part = { max = \"1s\" } }",
        "wire · UploadPart: at most 1s before it is sent again: UploadPart 0+",
    );
    red_on_the_wire("gaps = { finish = { min = \"1s\" } }", "no FinishUpload was sent again after it had failed");
}

#[test]
fn bytes_that_are_too_many_or_too_few() {
    red_on_the_wire("bytes = { max = \"3MiB\" }", "wire · at most 3MiB sent: expected at most 3MiB, it was 4MiB");
    red_on_the_wire("bytes-of = { part = { min = \"5MiB\" } }", "wire · UploadPart: at least 5MiB sent: expected");
    red_on_the_wire("bytes-per-source = { max = 1.25 }", "expected at most 1.250, it was 1.333");
}

#[test]
fn a_fault_that_never_strikes() {
    red(
        "[[fault]]\nid = \"late\"\non = { action = \"UploadPart\", part = 1, attempt = 2 }\nphase = \"after-commit\"\n\
         do = \"reset\"\n[[step]]\nupload = {}\nexpect = \"finished\"",
        Verdict::Fail,
        "invariants · every-fault-fired: fault \"late\" never struck",
    );
}

#[test]
fn a_step_that_takes_too_long() {
    red(
        "within = \"2s\"\n[[fault]]\nid = \"slow\"\non = { action = \"FinishUpload\" }\nphase = \"before-commit\"\n\
         do = { delay = \"5s\" }\n[[step]]\nupload = {}\nexpect = \"finished\"",
        Verdict::Fail,
        "invariants · ends-in-time: step 1 took 2000 ms",
    );
}

#[test]
fn a_control_run_that_is_not_healthy_makes_it_inconclusive() {
    red(
        "client = { part-size = \"2MiB\" }\n[[step]]\nupload = {}\nexpect = { failed = -10003 }",
        Verdict::Inconclusive,
        "the control run (no faults) is not healthy",
    );
}

#[test]
fn an_exception_makes_it_green_and_is_told() {
    let story = "[[fault]]\nid = \"late\"\non = { action = \"UploadPart\", part = 1, attempt = 2 }\nphase = \"after-commit\"\n\
         do = \"reset\"\n[[step]]\nupload = {}\nexpect = \"finished\"\n\
         [[except]]\ninvariant = \"every-fault-fired\"\nbecause = \"it is here to be excepted\"";
    let (verdict, report) = tell(&format!("{STORY}{story}"), Target::Sim);
    assert_eq!(verdict, Verdict::Pass, "{report}");
    assert!(report.contains("excepted    every-fault-fired, because it is here to be excepted"), "{report}");
}

#[test]
fn a_process_story_turns_red_too() {
    let story = "within = \"2s\"\n[[fault]]\nid = \"slow\"\non = { action = \"FinishUpload\" }\nphase = \"before-commit\"\n\
         do = { delay = \"60s\" }\n[[step]]\nupload = {}\nexpect = \"finished\"";
    let (verdict, report) = tell(&format!("{STORY}{story}"), Target::Process);
    assert_eq!(verdict, Verdict::Fail, "{report}");
    assert!(report.contains("ends-in-time"), "{report}");
    assert!(report.starts_with("cargo xtask scenario red.toml --target process --seed 1\n"), "{report}");
}
