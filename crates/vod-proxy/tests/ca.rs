//! `vod-proxy ca` as a process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use vod_proxy::exit;

fn ca(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let (verb, rest) = args.split_first().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-proxy"));
    command.args(["ca", verb, "--tls-dir"]).arg(dir).args(rest).env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

#[test]
fn a_ca_is_made_once_shown_and_exported_and_its_key_is_its_owners_alone() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ca");
    for verb in ["show", "export"] {
        let (code, said, why) = ca(&dir, &[verb]);
        assert_eq!((code, said.as_str()), (i32::from(exit::USAGE), ""), "{verb}: {why}");
        assert!(why.contains("there is no CA in") && why.contains("make one with vod-proxy ca make"), "{why}");
    }
    assert!(!dir.exists(), "whoever only looks makes none");

    let (code, made, why) = ca(&dir, &["make"]);
    assert_eq!(code, i32::from(exit::DONE), "{why}");
    for word in ["certificate: ", "subject: ", "SHA-256: ", "holds: "] {
        assert!(made.contains(word), "{made}");
    }
    let modes: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("PRIVATE KEY")))
        .map(|entry| entry.metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600], "one file has the key, and its owner alone reads it");

    // It is the same each time.
    assert_eq!(ca(&dir, &["make"]).1, made);
    assert_eq!(ca(&dir, &["show"]).1, made);
    let pem = fs::read_to_string(dir.join("ca.pem")).unwrap();
    assert!(pem.contains("BEGIN CERTIFICATE") && !pem.contains("PRIVATE"), "{pem}");
    assert_eq!(ca(&dir, &["export"]), (i32::from(exit::DONE), pem.clone(), String::new()));
    let to = home.path().join("trust-this.pem");
    assert_eq!(ca(&dir, &["export", "-o", to.to_str().unwrap()]).0, i32::from(exit::DONE));
    assert_eq!(fs::read_to_string(&to).unwrap(), pem);
    let (code, _, why) = ca(&dir, &["export", "-o", home.path().join("no/such").to_str().unwrap()]);
    assert!(code == i32::from(exit::WRITE) && why.contains("cannot write"), "{why}");
}
