//! The binary as people and scripts meet it: what it prints where, its exit codes, and what it never prints.
//!
//! - `digests`: what is resumed is not read again.
//! - `exit_codes`: the page of exit codes; `explain`.
//! - `fate`: failures that may hide a stored file.
//! - `interrupt`: Ctrl-C.
//! - `keys`: secrets, from files.
//! - `limits`: the page of retries.
//! - `many`: several files, against a mock.
//! - `plan`: `--dry-run`, against a mock.
//! - `printed`: completions, the manual page, colours.
//! - `signing`: `sign` and `verify`.
//! - `terminal`: bars.
//! - `upload`: `upload`, before anybody answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "cli/digests.rs"]
mod digests;
#[path = "cli/exit_codes.rs"]
mod exit_codes;
#[path = "cli/fate.rs"]
mod fate;
#[path = "cli/interrupt.rs"]
mod interrupt;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/many.rs"]
mod many;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/printed.rs"]
mod printed;
#[path = "cli/signing.rs"]
mod signing;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/upload.rs"]
mod upload;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use vod_proto::sign::SecretKey;

const ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";
const VERIFY_KEY: &str = "bLcPnl88WU30VY57ipRhSePfPdOfSruK";

const KEYS: [(&str, &str); 3] = [("VOD_SECRET_ID", ID), ("VOD_SECRET_KEY", KEY), ("VOD_VERIFY_KEY", VERIFY_KEY)];

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the client with these arguments and keys, as chatty as it can be.
fn run_with(args: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vod-client"))
        .args(args)
        .env_clear()
        .env("RUST_LOG", "trace")
        .env("NO_COLOR", "1")
        // Nothing of a test is kept in the user's cache; a relative path there counts for none.
        .env("HOME", "nowhere")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that this test was built with");
    // One that does not read its stdin may be gone already.
    let _ = child.stdin.take().expect("it was piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    for (name, secret) in env.iter().filter(|(name, _)| *name != "VOD_SECRET_ID") {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{name} was printed:\n{stdout}\n{stderr}");
    }
    Ran { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

fn run(args: &[&str]) -> Ran {
    run_with(args, &KEYS, "")
}

#[track_caller]
fn check(ran: &Ran, code: i32, stdout: &str, stderr: &str) {
    let Ran { code: ended, stdout: out, stderr: err } = ran;
    assert_eq!(*ended, code, "{out}{err}");
    assert_eq!(out, stdout, "{err}");
    assert!(err.contains(stderr), "{stderr:?} is not in\n{err}");
}

fn key() -> SecretKey {
    SecretKey::new(KEY)
}
