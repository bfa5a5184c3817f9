//! The binary's first line, and what it says to bad input: one sentence on stderr and a code of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "cli/admin.rs"]
mod admin;
#[path = "cli/tls.rs"]
mod tls;

use std::{
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use vod_mock::exit;

fn vod_mock(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-mock"));
    command.args(["--listen", "127.0.0.1:0"]).args(args).env_remove("RUST_LOG").env_remove("VOD_ADMIN_TOKEN");
    command
}

/// Runs a mock that must not start.
#[track_caller]
fn refused(args: &[&str], code: u8, words: &[&str]) {
    cannot_start(vod_mock(args), code, words);
}

#[track_caller]
fn cannot_start(mut command: Command, code: u8, words: &[&str]) {
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    // One that starts all the same would say so first, and then go on for ever.
    let mut first = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "", "{command:?}");
    let mut said = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(i32::from(code)), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "expected {words:?} in {said:?}");
    assert!(!said.contains("panicked") && !said.contains("sEcReT"), "{said}");
}

/// Ends the process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mock that listens, what it said first, and where.
fn listening(args: &[&str]) -> (Running, serde_json::Value, String) {
    started(vod_mock(args))
}

fn started(mut command: Command) -> (Running, serde_json::Value, String) {
    let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let addr = ready["listening"].as_str().unwrap().split_once("://").unwrap().1.to_owned();
    (child, ready, addr)
}

fn ask(addr: &str, request_line: &str) -> String {
    ask_with(addr, request_line, "", "")
}

/// The same with more headers, each with the end of its line, and a body.
fn ask_with(addr: &str, request_line: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("{request_line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_first_line_says_where_it_listens_and_it_does() {
    let (_child, ready, addr) = listening(&["--seed", "7"]);
    assert_eq!(ready["seed"], 7);
    let answer = ask(&addr, "GET /__vod/health");
    assert!(answer.contains(r#""status":"ok""#), "{answer}");
}

#[test]
fn the_ready_file_has_the_first_line_for_as_long_as_it_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready.json");
    std::fs::write(&path, "of an earlier run that was killed\n").unwrap();
    let (mut child, ready, addr) = listening(&["--ready-file", path.to_str().unwrap()]);
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), ready);
    assert!(written.ends_with("}\n") && written.contains(&addr), "{written:?}");
    let names = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(), ["ready.json"], "nothing else is left there");
    // Who cannot start leaves the file of whoever listens alone.
    let mut second = Command::new(env!("CARGO_BIN_EXE_vod-mock"));
    let refused = second.args(["--listen", &addr, "--ready-file", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(i32::from(exit::LISTEN)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    let stopped = Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    assert!(stopped.success() && child.0.wait().unwrap().success());
    assert_eq!(names(), [""; 0], "a mock that is stopped is not ready");
}

#[test]
fn a_ready_file_that_cannot_be_written_is_named_before_anything_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, taken) = (dir.path().join("missing/ready.json"), dir.path().to_str().unwrap());
    let missing = missing.to_str().unwrap();
    let told = format!("the ready file {missing}: entity not found\n");
    refused(&["--ready-file", missing], exit::STORE, &[&told]);
    refused(&["--ready-file", taken], exit::STORE, &["ready file", taken, "no file"]);
    // Renaming a file over what is no file, such as a device, would take it away from everybody.
    let (socket, link) = (dir.path().join("socket"), dir.path().join("link"));
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    for path in [&socket, &link] {
        refused(
            &["--ready-file", path.to_str().unwrap()],
            exit::STORE,
            &["ready file", path.to_str().unwrap(), "no file"],
        );
    }
    assert!(link.is_symlink());
}

#[test]
fn findings_are_shown_while_it_runs_and_written_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("findings.json");
    std::fs::write(&path, "of an earlier run\n").unwrap();
    let (mut child, _, addr) = listening(&["--findings", path.to_str().unwrap()]);
    assert!(!path.exists(), "what an earlier run found is not what this one will find");
    ask(&addr, "GET /v3/index.php?Action=FinishUpload&fileSha=b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9");
    let shown = ask(&addr, "GET /__vod/findings");
    let shown: serde_json::Value = serde_json::from_str(&shown[shown.find("\r\n\r\n").unwrap()..]).unwrap();
    let stopped = Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    assert!(stopped.success() && child.0.wait().unwrap().success());
    let written = std::fs::read_to_string(&path).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, shown);
    assert_eq!((&written["verdict"], &written["evicted"]), (&serde_json::json!("fail"), &serde_json::json!(0)));
    let findings = written["findings"].as_array().unwrap();
    let rules: Vec<_> = findings.iter().map(|finding| (&finding["rule"], &finding["exchanges"])).collect();
    let expected = serde_json::json!([["documented-path", [1]], ["parameters", [1]]]);
    assert_eq!(serde_json::json!(rules), expected);
}

#[test]
fn memory_for_exchanges_is_as_wide_as_is_said() {
    let (_child, _, addr) = listening(&["--journal-memory", "0"]);
    ask(&addr, "GET /v2/index.php?Action=Nope");
    let answer = ask(&addr, "GET /__vod/exchanges");
    assert!(answer.contains("x-vod-evicted: 1\r\n") && !answer.contains("Nope"), "{answer}");
    let (_child, _, addr) = listening(&["--journal-memory", "1MiB"]);
    ask(&addr, "GET /v2/index.php?Action=Nope");
    let answer = ask(&addr, "GET /__vod/exchanges");
    assert!(answer.contains("x-vod-evicted: 0\r\n") && answer.contains("Nope"), "{answer}");
    refused(&["--journal-memory", "1.5MiB"], exit::USAGE, &["1.5MiB", "\"64MiB\""]);
}

#[test]
#[cfg(target_os = "linux")]
fn whoever_reads_that_it_listens_may_stop_it_at_once() {
    // Nothing more fits into the pipe that it writes its first line to: it is held just before.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b' '; 65_536]).unwrap();
    let mut child = Running(vod_mock(&[]).stdout(writer).spawn().unwrap());
    let status = format!("/proc/{}/status", child.0.id());
    let hears = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        // SIGTERM is the fifteenth.
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    };
    assert!((0..200_000).any(|_| hears()), "SIGTERM would kill it");
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains("listening"), "{said}");
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn what_is_logged_to_a_file_has_no_colours() {
    let mut log = tempfile::tempfile().unwrap();
    let mut command = vod_mock(&[]);
    command.stderr(log.try_clone().unwrap());
    let (child, _, addr) = started(command);
    ask(&addr, "GET /v2/index.php?Action=Nope");
    drop(child);
    let mut said = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut said).unwrap();
    assert!(said.contains("Nope") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-mock"));
    let output = command.args(["--listen", &addr]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(exit::LISTEN)), "{said}");
    assert!(said.contains(&format!("cannot listen on {addr}")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    // A file where the directory should be stops even a superuser.
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    refused(&["--data-dir", below.to_str().unwrap()], exit::STORE, &["data directory", below.to_str().unwrap()]);
    refused(&["--journal", below.to_str().unwrap()], exit::STORE, &["journal", below.to_str().unwrap()]);
    refused(&["--findings", below.to_str().unwrap()], exit::STORE, &["findings", below.to_str().unwrap()]);
}

#[test]
fn stores_that_exclude_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    refused(&["--store", "disk"], exit::USAGE, &["--store disk needs --data-dir"]);
    for store in ["memory", "digest"] {
        refused(&["--store", store, "--data-dir", path], exit::USAGE, &["--store", store, "--data-dir"]);
    }
    refused(&["--store", "tape"], exit::USAGE, &["tape", "memory, disk, digest"]);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing was made there");
    let plan = "[[fault]]\nid = \"a\"\nphase = \"after-commit\"\ndo = { kill = \"mock\" }\n";
    let kill = dir.path().join("kill.toml");
    std::fs::write(&kill, plan).unwrap();
    for store in [&[][..], &["--store", "memory"], &["--store", "digest"]] {
        let args = [&["--kill-host", "--faults", kill.to_str().unwrap()], store].concat();
        refused(&args, exit::USAGE, &["kills the mock", "nothing would be left"]);
    }
}

/// The JSON of a reply.
fn json(answer: &str) -> serde_json::Value {
    serde_json::from_str(&answer[answer.find("\r\n\r\n").unwrap()..]).unwrap()
}

#[test]
fn every_store_takes_a_file_and_only_digest_refuses_to_replace_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let limits = dir.path().join("limits.toml");
    std::fs::write(&limits, "part-size-min = 10\npart-size-max = 10\n").unwrap();
    let data = dir.path().join("data");
    let stores =
        [("memory", &[][..], 0), ("disk", &["--data-dir", data.to_str().unwrap()], 0), ("digest", &[], -10003)];
    for (store, more, replaced) in stores {
        let args = [&["--store", store, "--auth", "any", "--limits", limits.to_str().unwrap()], more].concat();
        let (_child, _, addr) = listening(&args);
        let asked = |line: &str, body: &str| {
            let mut stream = TcpStream::connect(&addr).unwrap();
            let head = format!("{line}&fileSha=c9ba0f7d724228c8b6a410f87135d379da33eb87 HTTP/1.1\r\nHost: h\r\n");
            let rest = format!("Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all((head + &rest).as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            json(&answer)["code"].as_i64().unwrap()
        };
        let part = |offset: u64, md5: &str, body: &str| {
            let line = format!("POST /v2/index.php?Action=UploadPart&offset={offset}&dataSize=10&dataMd5={md5}");
            asked(&line, body)
        };
        let init = "GET /v2/index.php?Action=InitUpload&fileName=n&fileType=mp4&fileSize=20&dataSize=10";
        assert_eq!(asked(init, ""), 0, "{store}");
        let sent = [
            part(10, "82136b4240d6ce4ea7d03e51469a393b", "bbbbbbbbbb"),
            part(0, "e09c80c42fda55f9d992e59ca6b3307d", "aaaaaaaaaa"),
            part(0, "82136b4240d6ce4ea7d03e51469a393b", "bbbbbbbbbb"),
            part(0, "e09c80c42fda55f9d992e59ca6b3307d", "aaaaaaaaaa"),
        ];
        assert_eq!(sent, [0, 0, replaced, 0], "{store}");
        assert_eq!(asked("GET /v2/index.php?Action=FinishUpload", ""), 0, "{store}");
        let views = json(&ask(&addr, "GET /__vod/uploads?rehash=true"));
        assert_eq!(views[0]["stored-sha1"], "c9ba0f7d724228c8b6a410f87135d379da33eb87", "{store}");
    }
    assert!(data.join("sessions.log").exists(), "only disk was told where");
}

#[test]
fn files_that_cannot_be_read_say_where_and_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = dir.path().join("missing.toml");
    refused(&["--faults", missing.to_str().unwrap()], exit::USAGE, &["missing.toml", "cannot read"]);
    let plan = write("plan.toml", "[[fault]]\nid = \"a\"\nphase = \"after-commit\"\ndo = \"explode\"\n");
    refused(&["--faults", &plan], exit::USAGE, &["plan.toml", "line 4", "^", "explode", "`reset`"]);
    let idle = write("idle.toml", "[[fault]]\nid = \"a\"\nphase = \"after-commit\"\ndo = \"drop-part\"\n");
    refused(&["--faults", &idle], exit::USAGE, &["\"a\"", "drop-part cannot strike in phase after-commit"]);
    let kill = write("kill.toml", "[[fault]]\nid = \"a\"\nphase = \"after-commit\"\ndo = { kill = \"client\" }\n");
    refused(&["--faults", &kill], exit::USAGE, &["nobody who kills"]);
    let empty = write("empty.toml", "# nothing yet\n");
    refused(&["--faults", &empty], exit::USAGE, &["empty.toml", "no fault: expected at least one [[fault]]"]);
    let account = "[[account]]\nname = \"a\"\napp-id = 1\nsecret-id = \"i\"\n";
    let accounts = write("accounts.toml", &format!("{account}secret-key = [\"sEcReT\"]\n"));
    refused(&["--accounts", &accounts], exit::USAGE, &["accounts.toml", "line 5"]);
    let accounts = write("typo.toml", &format!("{account}secret-kye = \"sEcReT\"\n"));
    refused(&["--accounts", &accounts], exit::USAGE, &["typo.toml", "line 5", "secret-kye"]);
    let limits = write("limits.toml", "part-size = 3\n");
    refused(&["--limits", &limits], exit::USAGE, &["line 1", "part-size-min"]);
    refused(&["--profile", "strict"], exit::USAGE, &["strict", "observed or documented"]);
}

#[test]
fn a_fault_for_an_account_that_is_not_there_is_told_and_refused_where_nobody_can_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.toml");
    let fault = |account: &str| {
        format!("[[fault]]\nid = \"f\"\non = {{ account = {account:?} }}\nphase = \"before-read\"\ndo = \"close\"\n")
    };
    std::fs::write(&plan, fault("nobody")).unwrap();
    let args = ["--faults", plan.to_str().unwrap()];
    // Beyond loopback there is no admin API without a token.
    let beyond = [&["--listen", "0.0.0.0:0"], &args[..]].concat();
    let told = "fault \"f\" can never strike: there is no account \"nobody\"";
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-mock"));
    command.args(beyond).env_remove("VOD_ADMIN_TOKEN");
    cannot_start(command, exit::USAGE, &[told]);
    for (account, expected) in [("nobody", "\"f\" strikes nobody until"), ("demo", "")] {
        std::fs::write(&plan, fault(account)).unwrap();
        let mut command = vod_mock(&args);
        command.stderr(Stdio::piped());
        let (mut child, ..) = started(command);
        child.0.kill().unwrap();
        let mut said = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{account}: {said:?}");
    }
}

#[test]
fn a_damaged_log_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let log: &Path = &dir.path().join("sessions.log");
    std::fs::write(log, "vod-mock sessions, format 3\n00000000 {}\n").unwrap();
    refused(&["--data-dir", dir.path().to_str().unwrap()], exit::STORE, &["sessions.log", "line 2", "checksum"]);
    std::fs::write(log, "vod-mock sessions, format 1\n").unwrap();
    refused(&["--data-dir", dir.path().to_str().unwrap()], exit::STORE, &["format 1", "format 3"]);
}

/// Takes one call, and gives back the JSON in it.
fn called(listener: &TcpListener) -> serde_json::Value {
    let (mut stream, _) = listener.accept().unwrap();
    let mut asked = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut len = 0;
    while reader.read_line(&mut asked).unwrap() > 2 {
        let line = asked.lines().last().unwrap().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            len = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(asked.starts_with("POST /told?a=b HTTP/1.1"), "{asked}");
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn told_to_notify_it_calls_the_address_that_a_client_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http%3A%2F%2F{}%2Ftold%3Fa%3Db", listener.local_addr().unwrap());
    let args = ["--auth", "any", "--notify", "--callback-delay", "0ms", "--transcode-delay", "10ms"];
    let (_child, _, addr) = listening(&args);
    // The SHA-1 of "hello".
    let line = format!(
        "POST /v2/index.php?Action=MultipartUploadVodFile&fileName=n&fileType=mp4&fileSize=5&dataSize=5&offset=0\
         &fileSha=aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d&isTranscode=1&notifyUrl={url}"
    );
    let mut stream = TcpStream::connect(&addr).unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""flag":1"#), "{answer}");
    // Taken on another thread, so that a call which never comes is a failure and no wait for ever.
    let (heard, calls) = std::sync::mpsc::channel();
    std::thread::spawn(move || [(); 2].map(|()| heard.send(called(&listener))));
    let next = || calls.recv_timeout(std::time::Duration::from_secs(20)).expect("nobody called");
    let (stored, transcoded) = (next(), next());
    assert_eq!((&stored["task"], &stored["data"]["ret"]), (&"file_upload".into(), &303.into()));
    assert_eq!((&transcoded["task"], &transcoded["data"]["ret"]), (&"transcode".into(), &0.into()));
}
