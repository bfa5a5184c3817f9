//! The binary as people meet it: exit codes, and one clear sentence for what cannot be done.

use std::{
    path::Path,
    process::{Command, Output},
};

fn vod_scenario(args: &[&str]) -> Output {
    vod_scenario_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), args)
}

fn vod_scenario_in(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vod-scenario"))
        .args(args)
        .current_dir(dir)
        .env_remove("VOD_SCENARIO_COMMAND")
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
fn families_and_tags_narrow_the_choice() {
    let told = |args: &[&str]| {
        let output = vod_scenario(&[&["run", "--target", "sim", "--tag", "smoke"], args].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .filter(|line| line.contains(" · seed "))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let smoke: Vec<String> = told(&[]);
    assert!(smoke.len() > 2, "{smoke:?}");
    assert_eq!(told(&["--family", "legacy"]), ["legacy-plain-upload"]);
    let others: Vec<String> = told(&["--skip-tag", "legacy", "--skip-tag", "dialect"]);
    assert_eq!(others, ["plain-upload[family=server]", "plain-upload[family=ugc]"]);
    check(&["run", "--family", "legasy"], 2, "", "expected server, ugc, legacy: did you mean legacy?");
    check(&["run", "--tag", "smoke", "--skip-tag", "smoke"], 2, "", "no scenario fits what was asked for");
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/err/unknown-field.toml");
    check(&["check", file], 2, "", "unknown-field.toml:6:1: unknown field `paralel`");
    check(&["run", file], 2, "", "unknown-field.toml:6:1: unknown field `paralel`");
}

#[test]
fn chaos_says_what_it_told_and_what_was_struck() {
    check(&["chaos", "--seeds", "0..3", "--jobs", "1"], 0, "3 stories, ", "");
    check(&["chaos", "--seeds", "0..6", "--shard", "2/3", "--jobs", "1"], 0, "2 stories, ", "");
    check(&["chaos", "--seeds", "0..3"], 0, "never struck: InitUpload × ", "");
}

#[test]
fn seeds_that_are_none_and_shards_that_are_none_are_refused() {
    check(&["chaos", "--seeds", "9..3"], 2, "", "\"9..3\" are no seeds at all");
    check(&["chaos", "--seeds", "nine"], 2, "", "no seeds such as 0..1000");
    check(&["chaos", "--shard", "4/3"], 2, "", "\"4/3\" is no shard such as 2/3");
    check(&["chaos", "--seeds", "9.."], 2, "", "--seeds without an end needs --for");
    check(&["chaos", "--jobs", "0"], 2, "", "expected a number of 1 or more");
    check(&["run", "--jobs", "0"], 2, "", "expected a number of 1 or more");
}

#[test]
fn chaos_ends_at_the_last_seed() {
    let last = "18446744073709551614..";
    check(&["chaos", "--seeds", &format!("{last}18446744073709551615")], 0, "1 stories, ", "");
    check(&["chaos", "--seeds", last, "--for", "600s"], 0, "1 stories, ", "");
    check(&["chaos", "--help"], 0, "[default: 0..1000; with", "");
}

#[test]
fn where_nothing_can_be_written_is_said_before_anything_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = file.join("below").display().to_string();
    check(&["chaos", "--seeds", "0..1", "--save", &below], 2, "", &format!("cannot make the directory {below}"));
    let said = format!("--keep: cannot write to {below}");
    check(&["run", "plain-upload", "--target", "sim", "--keep", &below], 2, "", &said);
}

#[test]
fn a_folder_is_no_story_and_the_bundles_below_it_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().display().to_string();
    check(&["run", &folder], 2, "", &format!("{folder} is a folder, and neither a scenario's file nor a bundle\n"));
    check(&["run", "final-error-is-final", "--target", "sim", "--keep", &folder], 0, "", "");
    let said = format!("the bundles below it are {folder}/final-error-is-final/sim\n");
    check(&["run", &folder], 2, "", &said);
}

#[test]
fn a_story_that_is_not_told_somewhere_is_shown_there_with_its_reason_and_passes_by_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("skips.toml");
    let story = "format = 1\nwhy = \"w\"\nsource = { size = \"1MiB\", seed = 1 }\n[[step]]\nupload = {}\n\
                 expect = \"finished\"\n[[skip]]\non = \"process\"\nbecause = \"it would take an hour\"\n";
    std::fs::write(&file, story).expect("a file");
    let (name, junit) = (file.display().to_string(), dir.path().join("junit.xml"));
    let said = format!("{name} · process · skipped: it would take an hour");
    check(&["run", &name, "--junit", junit.to_str().expect("UTF-8")], 0, &said, "");
    check(&["run", &name], 0, "1 passed, 1 skipped\n  skipped      ", "");
    let junit = std::fs::read_to_string(junit).expect("it was written");
    assert!(junit.contains("<skipped message=\"it would take an hour\"/>"), "{junit}");
    // Where nothing is told, nothing has passed.
    check(&["run", &name, "--target", "process"], 1, &said, "");
    let folder = dir.path().to_str().expect("UTF-8");
    check(&["list", "--scenarios", folder], 0, "skips is not told on process: it would take an hour", "");
    let listed = vod_scenario(&["list", "--json", "--scenarios", folder]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(rows[0]["targets"], serde_json::json!(["sim"]));
    assert_eq!(rows[0]["skipped"], serde_json::json!({ "process": "it would take an hour" }));
}

#[test]
fn the_library_is_listed() {
    check(&["list"], 0, "resume-after-crash[family=ugc]", "");
    let output = vod_scenario(&["list", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let cell = rows.iter().find(|row| row["name"] == "plain-upload[family=ugc]").expect("a cell of a matrix");
    assert_eq!((&cell["family"], &cell["tags"][0]), (&"ugc".into(), &"smoke".into()));
    assert_eq!(cell["targets"], serde_json::json!(["sim", "process"]));
}

#[test]
fn a_library_elsewhere_is_told_from_any_directory_and_the_line_that_repeats_a_story_names_it() {
    let here = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(here.path().join("my stories")).expect("a directory");
    std::fs::write(here.path().join("my stories/red.toml"), RED).expect("a file");
    let told = |args: &[&str]| {
        let output = vod_scenario_in(here.path(), args);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = told(&["list"]);
    assert!(code == Some(2) && text.contains("scenarios: No such file or directory"), "{text}");
    let (code, text) = told(&["list", "--scenarios", "my stories"]);
    assert!(code == Some(0) && text.contains("red[parallel=2]"), "{text}");
    let (code, text) = told(&["run", "red[parallel=2]", "--scenarios", "my stories", "--target", "sim"]);
    let first = "vod-scenario run --scenarios 'my stories' 'red[parallel=2]' --target sim --seed 1\n";
    assert!(code == Some(1) && text.starts_with(first), "{text}");
}

/// A story that fails in simulation, for a reason that the seed and the cell decide.
const RED: &str = "format = 1\nwhy = \"It comes out red.\"\nsource = { size = \"2MiB\", seed = 1 }\n\
                   [matrix] # each cell by itself\nclient.parallel = [1, 2]\n\
                   [[step]]\nupload = {}\nexpect = \"existed\"\n";

#[test]
fn a_failed_run_is_kept_as_a_bundle_that_runs_again_as_it_ran() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, keep) = (dir.path().join("red.toml"), dir.path().join("kept"));
    std::fs::write(&file, RED).expect("a file");
    let cell = format!("{}[parallel=2]", file.display());
    let keep = keep.to_str().expect("UTF-8");
    check(
        &["run", &cell, "plain-upload", "--target", "sim", "--seed", "7", "--keep", keep, "--only-failed"],
        1,
        "2 passed, 1 failed",
        "",
    );
    let bundle = format!("{keep}/red[parallel=2]/sim");
    for file in
        ["scenario.toml", "faults.toml", "report.txt", "report.html", "run/exchanges.jsonl", "control/exchanges.jsonl"]
    {
        assert!(Path::new(&bundle).join(file).is_file(), "{file}");
    }
    assert!(!Path::new(keep).join("plain-upload[family=ugc]").exists());
    let manifest = std::fs::read_to_string(format!("{bundle}/bundle.json")).expect("the manifest");
    assert!(manifest.contains(&format!("vod-scenario run '{cell}' --target sim --seed 7")), "{manifest}");
    // The file it was made from may be gone.
    std::fs::remove_file(file).expect("the file");
    let first = format!("vod-scenario run '{bundle}' --target sim --seed 7\n");
    check(&["run", &bundle], 1, &first, "");
    check(&["run", &bundle, "--seed", "8"], 1, "--target sim --seed 8", "");
}

#[test]
fn what_was_recorded_is_made_a_scenario_that_passes_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let keep = dir.path().to_str().expect("UTF-8");
    check(&["run", "final-error-is-final", "--target", "sim", "--keep", keep], 0, "", "");
    let journal = format!("{keep}/final-error-is-final/sim/run/exchanges.jsonl");
    let output = vod_scenario(&["from-recording", &journal]);
    let made = dir.path().join("made.toml");
    std::fs::write(&made, &output.stdout).expect("a file");
    let made = made.to_str().expect("UTF-8");
    check(&["check", made], 0, "a good scenario", "");
    check(&["run", made, "--target", "sim"], 0, "failed with -10003", "");
    check(&["from-recording", "no/such/recording"], 2, "", "no/such/recording");
}

#[test]
fn the_schema_is_printed() {
    check(&["schema"], 0, "\"title\": \"A scenario of vod-scenario, format 1\"", "");
}

#[test]
fn a_cell_is_run_by_its_name_and_an_unknown_one_is_answered_with_the_nearest() {
    check(&["run", "plain-upload[family=ugc]", "--target", "sim"], 0, "UploadPartEx", "");
    check(&["run", "plain-upload[family=ucg]"], 2, "", "did you mean [family=ugc]?");
}

#[test]
fn several_are_told_at_a_time_reported_in_order_and_written_as_junit_and_as_pages() {
    let dir = tempfile::tempdir().expect("a directory");
    let (junit, html) = (dir.path().join("out/junit.xml"), dir.path().join("out/all.html"));
    let (junit_flag, html_flag) = (junit.to_str().expect("UTF-8"), html.to_str().expect("UTF-8"));
    let names = ["instant-upload", "plain-upload", "dropped-part"];
    let flags = ["--target", "sim", "--jobs", "4", "--junit", junit_flag, "--html", html_flag];
    let output = vod_scenario(&[&["run"][..], &names, &flags].concat());
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    let told = [
        "instant-upload · sim",
        "plain-upload[family=server] · sim",
        "plain-upload[family=ugc] · sim",
        "dropped-part · sim",
    ];
    let places: Vec<_> = told.iter().map(|told| out.find(told)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}\n{out}");
    let junit = std::fs::read_to_string(junit).expect("the JUnit file");
    assert!(
        junit.contains(r#"<testsuites name="vod-scenario" tests="4" skipped="0" failures="0" errors="0">"#),
        "{junit}"
    );
    let index = std::fs::read_to_string(html).expect("the index");
    assert!(index.contains(r#"<a href="all/plain-upload%5Bfamily%3Dugc%5D-sim.html">"#), "{index}");
    let page = std::fs::read_to_string(dir.path().join("out/all/dropped-part-sim.html")).expect("a page");
    assert!(page.contains("class=\"fault-name\"") && page.contains(">lost</text>"), "{page}");
}

#[test]
fn it_can_be_the_mock_and_the_client_too() {
    check(&["mock", "--version"], 0, "vod-mock", "");
    check(&["client", "--version"], 0, "vod-client", "");
}
