//! Bars: on a terminal, and nowhere else.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use vod_mock::{Action, Fault, Verdict};

use super::many::Stage;

/// A terminal of 120 columns: the end where a person sits, and the program's.
fn terminal() -> (File, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(&program, Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (person.into(), program.into())
}

/// What an upload of two files writes to stderr.
fn stderr(more: &[&str], on_terminal: bool) -> String {
    let stage = Stage::with(&["a.mp4", "b.mp4"]);
    // Long enough for a bar that is drawn four times a second to be seen.
    let slow = Fault::on(Action::UploadPart).before_read(Verdict::delay(Duration::from_millis(400)));
    let _slow = on_terminal.then(|| stage.account.fault(slow));
    let mut upload = Command::new(env!("CARGO_BIN_EXE_vod-client"));
    upload.args(stage.args(&["a.mp4", "b.mp4"], more)).env_clear().envs(stage.keys());
    upload.envs([("HOME", "nowhere"), ("TERM", "xterm")]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut seen = Vec::new();
    let status = if on_terminal {
        let (mut person, program) = terminal();
        let mut child = upload.stderr(program).spawn().unwrap();
        // Its copy of the terminal is gone with it: then the person's end fails when all has been read.
        drop(upload);
        let _ = person.read_to_end(&mut seen);
        child.wait().unwrap()
    } else {
        let output = upload.stderr(Stdio::piped()).output().unwrap();
        seen = output.stderr;
        output.status
    };
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(status.success(), "{seen}");
    seen
}

#[test]
fn a_terminal_shows_a_bar_for_each_file_and_one_for_all() {
    let seen = stderr(&[], true);
    for words in ["a.mp4  ", "b.mp4  ", "total  ", "0/2", "uploading", "░"] {
        assert!(seen.contains(words), "{words:?} is not in\n{seen}");
    }
    assert!(seen.trim_end().ends_with("all 2 files stored"), "{seen}");
}

#[test]
fn where_nobody_looks_there_is_no_bar() {
    assert_eq!(stderr(&[], false), "all 2 files stored\n");
    for more in [&["--quiet"][..], &["--json"], &["--json", "--quiet"]] {
        assert_eq!(stderr(more, true), "", "{more:?} on a terminal");
        assert_eq!(stderr(more, false), "", "{more:?}");
    }
}
