//! A peer that takes nothing is noticed in the time that the client's documentation says, and a link that moves is left
//! alone however slow it is; in simulation, on a paused clock.

use std::time::Duration;

use vod_client::Options;
use vod_scenario::{
    evidence::{StepEnd, Target},
    format::Scenario,
    judge::Verdict,
    report::report,
    run::{self, Named, Settings},
    sim,
};

/// Tells a story of one part of 1 MiB with the client's own limits. Says how long the upload took, and what the client
/// said of it.
#[track_caller]
fn tell(family: &str, fault: &str, end: &str, requests: &str) -> (Duration, String) {
    let text = format!(
        r#"
        format = 1
        why = "Slow is not dead."
        within = "1h"
        source = {{ size = "1MiB", seed = 1 }}
        client = {{ family = "{family}" }}

        [[fault]]
        id = "slow"
        {fault}

        [[step]]
        upload = {{}}
        expect = {end}

        [expect]
        requests = {{ {requests} }}
        "#
    );
    let scenario = Scenario::parse("stall.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let evidence = sim::run_once(&scenario, 1).unwrap_or_else(|error| panic!("{error}"));
    let story = Named { name: "stall.toml".to_owned(), scenario };
    let settings = Settings::default();
    let run = run::run(&story, Target::Sim, &settings);
    assert_eq!(run.verdict(), Verdict::Pass, "{}", report(&run));
    let step = &evidence.steps[0];
    let StepEnd::Reported(said) = &step.end else { panic!("{:?}", step.end) };
    (step.elapsed, said.message.clone().unwrap_or_default())
}

const FINISHED: &str = "\"finished\"";

#[track_caller]
fn assert_between(elapsed: Duration, least: u64, most: u64) {
    let expected = Duration::from_secs(least)..=Duration::from_secs(most);
    assert!(expected.contains(&elapsed), "{elapsed:?} is not within {least} and {most} s");
}

/// The figures below are those of the documentation.
#[test]
fn the_limits_are_those_of_the_documentation() {
    assert_eq!(Options::default().stall_timeout, Duration::from_secs(30));
    assert_eq!(Options::default().retry.attempts, 6);
}

#[test]
fn a_peer_that_takes_nothing_is_noticed_in_half_a_minute_each_time_and_told_as_a_stall() {
    let silent = r#"on = { action = "UploadPart" }
        phase = "before-read"
        do = { stall = "forever" }"#;
    let (elapsed, said) =
        tell("server", silent, r#"{ failed = "exhausted" }"#, "InitUpload = 1, UploadPart = 6, FinishUpload = 0");
    // Six attempts, each given up half a minute after its last byte, and five waits of less than 2 s between them.
    assert_between(elapsed, 180, 190);
    assert!(said.contains("gave up after 6 attempts in 18") && said.ends_with("no byte moved for 30 s"), "{said}");
}

#[test]
fn a_peer_that_takes_nothing_once_costs_half_a_minute() {
    let silent = r#"on = { action = "UploadPart", attempt = 1 }
        phase = "before-read"
        do = { stall = "forever" }"#;
    let (elapsed, _) = tell("server", silent, FINISHED, "InitUpload = 1, UploadPart = 2, FinishUpload = 1");
    assert_between(elapsed, 30, 31);
}

#[test]
fn a_peer_that_falls_silent_within_a_part_is_given_half_a_minute_from_there() {
    let silent = r#"on = { action = "UploadPart", attempt = 1 }
        phase = "mid-body"
        at = 500000
        do = { stall = "forever" }"#;
    let (elapsed, _) = tell("server", silent, FINISHED, "InitUpload = 1, UploadPart = 2, FinishUpload = 1");
    assert_between(elapsed, 30, 31);
}

#[test]
fn a_link_of_32_kib_a_second_is_left_alone_for_a_whole_part() {
    let slow = |action| {
        format!(
            "on = {{ action = \"{action}\" }}\nphase = \"before-read\"\ndo = {{ throttle = {{ read = \"32KiB/s\" }} }}"
        )
    };
    // 1 MiB takes longer than the client waits for a byte.
    let (elapsed, _) =
        tell("server", &slow("UploadPart"), FINISHED, "InitUpload = 1, UploadPart = 1, FinishUpload = 1");
    assert_between(elapsed, 31, 33);
    let (elapsed, _) =
        tell("ugc", &slow("UploadPartEx"), FINISHED, "InitUploadEx = 1, UploadPartEx = 1, FinishUploadEx = 1");
    assert_between(elapsed, 31, 33);
    let (elapsed, _) = tell("legacy", &slow("MultipartUploadVodFile"), FINISHED, "MultipartUploadVodFile = 2");
    assert_between(elapsed, 31, 33);
}

#[test]
fn a_reply_that_trickles_is_waited_for() {
    // Neither its head nor its body takes half a minute, but both together do.
    let slow = r#"on = { action = "FinishUpload" }
        phase = "after-commit"
        do = { throttle = { write = "6/s" } }"#;
    let (elapsed, _) = tell("server", slow, FINISHED, "InitUpload = 1, UploadPart = 1, FinishUpload = 1");
    assert_between(elapsed, 31, 58);
}

#[test]
fn an_answer_may_take_almost_half_a_minute_and_one_that_takes_longer_is_asked_about() {
    let delay = |seconds: u64| {
        format!(
            "on = {{ action = \"FinishUpload\", attempt = 1 }}\nphase = \"after-commit\"\ndo = {{ delay = \"{seconds}s\" }}"
        )
    };
    let (elapsed, _) = tell("server", &delay(29), FINISHED, "InitUpload = 1, UploadPart = 1, FinishUpload = 1");
    assert_between(elapsed, 29, 30);
    let (elapsed, _) =
        tell("server", &delay(31), "\"committed-earlier\"", "InitUpload = 2, UploadPart = 1, FinishUpload = 1");
    assert_between(elapsed, 30, 31);
}
