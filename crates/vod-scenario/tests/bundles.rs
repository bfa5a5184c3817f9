//! Bundles: whoever is handed one tells the same story again, from anywhere, and no two are kept in one place.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

const PASSES: &str = "format = 1\nwhy = \"It passes.\"\nsource = { size = \"1MiB\", seed = 1 }\n\
                      [[step]]\nupload = {}\nexpect = \"finished\"\n";

/// Runs it in a directory: its exit code, and what it says.
fn told_in(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-scenario"));
    let output = command.args(args).current_dir(dir).env_remove("VOD_SCENARIO_COMMAND").output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), text)
}

/// A directory with files in folders.
fn with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn manifest(bundle: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(bundle.join("bundle.json")).unwrap()).unwrap()
}

#[test]
fn two_stories_of_one_name_are_refused_before_anything_is_told() {
    let fails = PASSES.replace("finished", "existed");
    let dir = with(&[("a/x.toml", PASSES), ("b/x.toml", &fails)]);
    let (code, text) = told_in(dir.path(), &["run", "b/x.toml", "a/x.toml", "--target", "sim", "--keep", "k"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("two scenarios are called \"x\": b/x.toml and a/x.toml"), "{text}");
    assert!(!dir.path().join("k").exists(), "{text}");
    let (code, text) = told_in(dir.path(), &["run", "a/x.toml", "a/x.toml"]);
    assert!(code == Some(2) && text.contains("\"x\" is named twice, by a/x.toml"), "{text}");
}

#[test]
fn a_bundle_that_is_run_again_and_kept_has_the_name_of_its_story() {
    let dir = with(&[("x.toml", PASSES)]);
    let (code, text) = told_in(dir.path(), &["run", "x.toml", "--target", "sim", "--keep", "k"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = told_in(dir.path(), &["run", "k/x/sim", "--keep", "k2"]);
    assert_eq!(code, Some(0), "{text}");
    let again = manifest(&dir.path().join("k2/x/sim"));
    assert_eq!(again["name"], "x.toml");
    // Its line finds the bundle, for the file may be gone.
    assert_eq!(again["command"], "vod-scenario run k/x/sim --target sim --seed 1");
}

#[test]
fn what_ran_through_a_recorder_runs_so_again() {
    let dir = with(&[("x.toml", PASSES)]);
    let (code, text) = told_in(dir.path(), &["run", "x.toml", "--target", "sim", "--keep", "k", "--through-proxy"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = told_in(dir.path(), &["run", "k/x/sim", "--keep", "k2"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(manifest(&dir.path().join("k2/x/sim"))["through-proxy"], true);
    // These are judged of a recording alone.
    assert!(!text.contains("recorded-as-it-was"), "it was judged, so that it does not stand among the idle:\n{text}");
}

/// A client that says that the file is there, and sends nothing.
#[cfg(unix)]
const LIAR: &str = "#!/bin/sh\necho it-was-me >&2\nexit 0\n";

#[cfg(unix)]
#[test]
fn a_client_is_found_again_from_anywhere() {
    use std::os::unix::fs::PermissionsExt as _;
    let by_file = PASSES.replace("[[step]]", "client = { command = \"./liar.sh {file}\" }\n[[step]]");
    let dir = with(&[("x.toml", PASSES), ("y.toml", &by_file), ("liar.sh", LIAR)]);
    fs::set_permissions(dir.path().join("liar.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let keep = dir.path().join("k");
    let (keep, target) = (keep.to_str().unwrap(), ["--target", "process"]);
    // The command line names the one client, and the file the other.
    for (args, bundle) in [(&["x.toml", "--client", "./liar.sh {file}"][..], "x"), (&["y.toml"], "y")] {
        let (_, text) = told_in(dir.path(), &[&["run"], args, &target, &["--keep", keep]].concat());
        assert!(text.contains("it-was-me"), "{text}");
        let (_, text) = told_in(elsewhere.path(), &["run", &format!("{keep}/{bundle}/process")]);
        assert!(text.contains("it-was-me"), "{text}");
    }
}
