//! Ctrl-C: what is under way stops, the command that resumes is said, and a second one ends the program at once.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use vod_mock::{Action, Fault, Verdict};

use super::many::Stage;

/// Starts an upload that can be interrupted.
fn start(stage: &Stage, files: &[&str], more: &[&str], stdout: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_vod-client"))
        .args(stage.args(files, more))
        .env_clear()
        .envs(stage.keys())
        .envs([("RUST_LOG", "info"), ("HOME", "nowhere")])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// How it ended, within half a minute.
fn ended(mut child: Child) -> ExitStatus {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let pid = Pid::from_child(&child);
    let waiting = runtime.spawn_blocking(move || child.wait().unwrap());
    let limit = std::time::Duration::from_secs(30);
    runtime.block_on(async { tokio::time::timeout(limit, waiting).await }).map_or_else(
        |_| {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("it does not end");
        },
        |status| status.unwrap(),
    )
}

#[test]
fn ctrl_c_stops_an_upload_and_the_command_that_it_says_resumes_it() {
    let stage = Stage::with(&["done.mp4"]);
    let bytes: Vec<u8> = (0..3 * 1_048_576_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect();
    fs::write(stage.path("it's big.mp4"), &bytes).unwrap();
    let held = stage.account.fault(Fault::on(Action::UploadPart).offset(2_097_152).before_read(Verdict::hold("door")));
    let more = ["--jobs", "1", "--parallel", "1", "--tag", "done.mp4"];
    let child = start(&stage, &["done.mp4", "it's big.mp4"], &more, Stdio::piped());
    held.until_held(1);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("it's big.mp4: interrupted\ninterrupted: 1 of 2 files stored\nto resume: "), "{stderr}");
    drop(held);

    let command = stderr.lines().find_map(|line| line.strip_prefix("to resume: ")).unwrap();
    assert!(!command.contains("/done.mp4"), "what is stored is not asked about again: {command}");
    let resumed = Command::new("sh")
        .args(["-c", &format!("{command} --json")])
        .env_clear()
        .envs(stage.keys())
        .env("HOME", "nowhere")
        .output()
        .unwrap();
    let stdout = String::from_utf8(resumed.stdout).unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{command}\n{stdout}{}", String::from_utf8_lossy(&resumed.stderr));
    // Of the third part all was on its way; whether the server took it is its own affair.
    let skipped = |parts| stdout.contains(&format!(r#""parts-skipped":{parts},"#));
    assert!(stdout.contains(r#""outcome":"finished""#) && (skipped(2) || skipped(3)), "{stdout}");
    assert_eq!(stage.stored(), ["done", "it's big"].map(str::to_owned).into());
}

#[test]
fn an_upload_that_is_interrupted_while_it_is_finished_may_be_committed_and_says_so() {
    let stage = Stage::with(&["a.mp4", "b.mp4"]);
    let held = stage.account.fault(Fault::on(Action::FinishUpload).after_commit(Verdict::hold("door")));
    let child = start(&stage, &["a.mp4", "b.mp4"], &["--jobs", "1", "--json", "--quiet"], Stdio::piped());
    held.until_held(1);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{stdout}{stderr}");
    let lines: Vec<_> = stdout.lines().collect();
    let [a, b] = lines[..] else { panic!("a line for each file, begun or not:\n{stdout}") };
    assert!(a.contains("a.mp4") && a.contains(r#""kind":"interrupted","code":null,"may-be-committed":true"#), "{a}");
    assert!(b.contains("b.mp4") && b.contains(r#""kind":"interrupted","code":null,"may-be-committed":false"#), "{b}");
    assert!(stderr.contains("to resume: ") && stderr.contains("a.mp4 "), "{stderr}");
}

#[test]
fn a_second_ctrl_c_ends_the_program_though_nobody_takes_what_it_prints() {
    let stage = Stage::with(&["a.mp4"]);
    // A pipe that is full already: the first line that is printed waits for ever.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut child = start(&stage, &["a.mp4"], &["--json"], Stdio::from(writer));
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("upload begins")));
    interrupt(&child);
    assert!(log.any(|line| line.contains("once more ends at once")));
    interrupt(&child);
    assert_eq!(ended(child).code(), Some(130));
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    assert!(!printed.contains("result"), "it got no further");
}
