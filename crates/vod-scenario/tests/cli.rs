//! The binary as people meet it: exit codes, and one clear sentence for what cannot be done.

use std::{
    path::Path,
    process::{Command, Output},
};

fn vod_scenario(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_vod-scenario"))
        .args(args)
        .current_dir(root)
        .output()
        .expect("the binary that this test was built with")
}

#[track_caller]
fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = vod_scenario(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout), "{stdout:?} is not in\n{out}");
    assert!(err.contains(stderr), "{stderr:?} is not in\n{err}");
}

#[test]
fn a_passing_scenario_shows_its_timeline_and_exits_0() {
    check(&["run", "plain-upload", "--target", "sim"], 0, "6 parts acknowledged", "");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    check(
        &["run", "plain-uplaod"],
        2,
        "",
        "there is no scenario \"plain-uplaod\" in scenarios: did you mean plain-upload?",
    );
}

#[test]
fn a_tag_that_nobody_has_runs_nothing_and_says_so() {
    check(&["run", "--tag", "nobody"], 2, "", "no scenario fits what was asked for");
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/err/unknown-field.toml");
    check(&["check", file], 2, "", "unknown-field.toml:6:1: unknown field `paralel`");
    check(&["run", file], 2, "", "unknown-field.toml:6:1: unknown field `paralel`");
}

#[test]
fn the_library_is_listed() {
    check(&["list"], 0, "resume-after-crash", "");
}

#[test]
fn it_can_be_the_mock_and_the_client_too() {
    check(&["mock", "--version"], 0, "vod-mock", "");
    check(&["client", "--version"], 0, "vod-client", "");
}
