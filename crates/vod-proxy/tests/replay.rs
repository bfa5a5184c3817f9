//! `vod-proxy replay` as a process: its first line, what it says at the end, and how long it takes to be ready.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use vod_proto::{
    Exchange, Sha1,
    exchange::{End, FORMAT, Mark, ReplyRecord, RequestRecord, Times},
};
use vod_proxy::{
    Manifest, Recording, exit,
    recording::{self, KeptBodies, Redaction, Source},
};

/// A finish of an upload of its own, by its number, and what it was answered.
fn exchange(seq: u64) -> Exchange {
    Exchange {
        v: FORMAT,
        seq,
        start: "2026-01-02T03:04:05Z".parse().unwrap(),
        account: None,
        action: Some("FinishUpload".to_owned()),
        file_sha1: Some(Sha1::of(&seq.to_be_bytes())),
        part: None,
        part_number: None,
        attempt: 1,
        request: RequestRecord {
            method: "GET".to_owned(),
            host: "vod2.qcloud.com".to_owned(),
            target: format!("{}&Nonce=1", target(seq)),
            headers: vec![],
            body: Mark::default(),
            tls: false,
        },
        reply: Some(ReplyRecord {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: format!(r#"{{"code":0,"fileId":"{seq}"}}"#),
            mark: None,
        }),
        unreached: None,
        end: End::Replied,
        faults: vec![],
        times: Times::default(),
    }
}

fn target(seq: u64) -> String {
    format!("/v2/index.php?Action=FinishUpload&fileSha={}", Sha1::of(&seq.to_be_bytes()))
}

/// A recording of so many exchanges.
fn record(dir: &Path, exchanges: u64) {
    let manifest = Manifest {
        format: recording::FORMAT,
        tool: "test".to_owned(),
        started: "2026-01-02T03:04:05Z".parse().unwrap(),
        bodies: KeptBodies::default(),
        source: Source::Upstream("https://vod2.qcloud.com".to_owned()),
        redaction: Redaction::default(),
    };
    let recording = Recording::create(dir, manifest).unwrap();
    let mut lines = String::new();
    (1..=exchanges).for_each(|seq| writeln!(lines, "{}", exchange(seq).to_line().unwrap()).unwrap());
    fs::write(recording.exchanges_path(), lines).unwrap();
}

struct Running {
    child: Child,
    ready: serde_json::Value,
}

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vod-proxy"));
        command.args(["replay", "--listen", "127.0.0.1:0"]).arg(dir).args(args).env_remove("RUST_LOG");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_default();
        Self { child, ready }
    }

    fn ask(&self, target: &str) -> String {
        let addr = self.ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop. How it ended, and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.end()
    }

    fn end(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_strict_replay_ends_with_what_did_not_go_as_it_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, ready, journal) = (dir.path().join("r"), dir.path().join("ready"), dir.path().join("journal"));
    record(&recording, 3);
    let files = ["--ready-file", ready.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let replay = Running::start(&recording, &[&["--strict"][..], &files].concat());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&fs::read_to_string(&ready).unwrap()).unwrap(), replay.ready);
    assert_eq!(replay.ready["exchanges"], 3);
    assert!(replay.ask(&target(2)).ends_with(r#"{"code":0,"fileId":"2"}"#));
    assert!(replay.ask(&target(9)).starts_with("HTTP/1.1 501 "));
    let (code, said) = replay.stop();
    assert_eq!(code, Some(i32::from(exit::FOUND)), "{said}");
    for expected in [
        "vod-proxy: FinishUpload was not recorded so: the nearest is FinishUpload (request 1), but parameter fileSha is",
        "vod-proxy: FinishUpload (request 1) was recorded and never asked for",
        "vod-proxy: FinishUpload (request 3) was recorded and never asked for",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("(request 2) was recorded"), "{said}");
    assert!(!ready.exists(), "the ready file stays behind");
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 2);
}

#[test]
fn a_strict_replay_of_which_all_is_asked_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r");
    record(&recording, 2);
    let replay = Running::start(&recording, &["--strict"]);
    for seq in [2, 1] {
        assert!(replay.ask(&target(seq)).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(replay.stop(), (Some(i32::from(exit::DONE)), String::new()));
    // What is not strict says how much was left, and is no failure.
    let replay = Running::start(&recording, &[]);
    assert!(replay.ask(&target(1)).starts_with("HTTP/1.1 200 "));
    let expected = "vod-proxy: 1 of 2 recorded exchanges were never asked for\n".to_owned();
    assert_eq!(replay.stop(), (Some(i32::from(exit::DONE)), expected));
}

#[test]
fn faults_strike_on_top_and_those_that_could_not_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, plan) = (dir.path().join("r"), dir.path().join("faults.toml"));
    record(&recording, 1);
    let lost = "[[fault]]\nid = \"lost\"\non = { attempt = 1 }\nphase = \"after-commit\"\ndo = \"close\"\n";
    fs::write(&plan, lost).unwrap();
    let replay = Running::start(&recording, &["--strict", "--faults", plan.to_str().unwrap()]);
    assert_eq!(replay.ask(&target(1)), "");
    assert!(replay.ask(&target(1)).ends_with(r#"{"code":0,"fileId":"1"}"#));
    assert_eq!(replay.stop(), (Some(i32::from(exit::DONE)), String::new()));
    fs::write(&plan, lost.replace("\"close\"", "\"expire-session\"")).unwrap();
    let mut refused = Running::start(&recording, &["--faults", plan.to_str().unwrap()]);
    let (code, said) = refused.end();
    assert_eq!(code, Some(i32::from(exit::USAGE)), "{said}");
    assert!(said.contains("fault \"lost\"") && said.contains("has no uploads of its own to spoil"), "{said}");
}

/// As somebody would write it who knows of no proxy: the environment says which, and whom to trust.
const PYTHON: &str = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode())";

#[test]
fn programs_that_know_nothing_of_it_ask_for_the_real_name_and_are_answered_by_a_forward_replay() {
    for (program, arg) in [("curl", "--version"), ("python3", "--version")] {
        if !Command::new(program).arg(arg).stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            // Past the capture of the test harness: whoever runs this must see what was not proved.
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: there is no {program}: a forward replay was NOT tested with it\n"
            );
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (recording, tls) = (dir.path().join("r"), dir.path().join("ca"));
    record(&recording, 2);
    let replay = Running::start(&recording, &["--strict", "--forward", "--tls-dir", tls.to_str().unwrap()]);
    let (proxy, ca) = (replay.ready["listening"].as_str().unwrap(), replay.ready["ca"].as_str().unwrap());
    let run = |program: &str, args: &[&str], url: &str| {
        let mut command = Command::new(program);
        command.args(args).arg(url).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("https_proxy", proxy), ("http_proxy", proxy), ("SSL_CERT_FILE", ca)]);
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    };
    let url = |seq| format!("https://vod2.qcloud.com{}", target(seq));
    let said = run("curl", &["-sS", "--max-time", "30"], &url(1));
    assert_eq!(said, r#"{"code":0,"fileId":"1"}"#);
    assert_eq!(run("python3", &["-c", PYTHON], &url(2)).trim(), r#"{"code":0,"fileId":"2"}"#);
    // Nobody else is reached, nor asked for by name.
    let said = run("curl", &["-sS", "--max-time", "30"], "https://example.invalid/");
    assert!(said.contains("403"), "{said}");
    let (code, said) = replay.stop();
    assert_eq!(code, Some(i32::from(exit::FOUND)), "{said}");
    assert!(said.contains("example.invalid:443 was not recorded: the recording is of vod2.qcloud.com:443"), "{said}");
    assert!(!said.contains("never asked for"), "{said}");
    let mut refused = Running::start(&recording, &["--forward", "--tls"]);
    let (code, said) = refused.end();
    assert!(code == Some(i32::from(exit::USAGE)) && said.contains("--tls is for a server's place"), "{said}");
}

#[test]
fn what_cannot_be_replayed_or_is_no_timing_is_refused_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r");
    record(&recording, 0);
    for (args, words) in [
        (&[][..], "holds no exchange: there is nothing to replay"),
        (&["--timing", "fast"], "expected none, recorded, or a factor above 0 such as x2, which is twice as fast"),
    ] {
        let (code, said) = Running::start(&recording, args).end();
        assert_eq!(code, Some(i32::from(exit::USAGE)), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
