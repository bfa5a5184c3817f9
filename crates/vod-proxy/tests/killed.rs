//! `vod-proxy record` as a process that is killed while an exchange is under way: what its recording says of that, to everybody
//! who reads it, and for ever.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use vod_proxy::{Recording, Replay, exit, recording::MARKER_FILE};

/// A server that answers every request at once, but for one that asks to be held: that one it tells of, and no more.
fn server() -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let (mut text, mut more) = (String::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut more) {
                    text.push_str(std::str::from_utf8(&more[..read]).unwrap());
                    if !text.ends_with("\r\n\r\n") {
                        continue;
                    }
                    if text.starts_with("GET /held ") {
                        let _ = tell.send(());
                    } else {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                    }
                    text.clear();
                }
            });
        }
    });
    (url, told)
}

struct Recorder {
    child: Child,
    addr: String,
}

impl Recorder {
    fn start(recording: &Path, upstream: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vod-proxy"));
        command.arg("record").arg(recording).args(["--upstream", upstream, "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
        let addr = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, addr }
    }

    fn ask(&self, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        client
    }

    fn answer(&self, path: &str) {
        let mut answer = String::new();
        self.ask(path).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a command says of a recording, and its code.
fn says(command: &str, recording: &Path) -> (String, u8) {
    let output = Command::new(env!("CARGO_BIN_EXE_vod-proxy")).arg(command).arg(recording).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (said, output.status.code().unwrap().try_into().unwrap())
}

fn numbers(recording: &Path) -> Vec<u64> {
    let (exchanges, _) = Recording::open(recording).unwrap().exchanges().unwrap();
    exchanges.iter().map(|exchange| exchange.seq).collect()
}

#[test]
fn what_was_under_way_when_a_recorder_was_killed_is_missing_for_ever() {
    let (upstream, held) = server();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording");

    // A recorder that is stopped closes its recording, whatever its clients do: then nothing is missing.
    let recorder = Recorder::start(&recording, &upstream);
    recorder.answer("/first");
    let waiting = recorder.ask("/held");
    held.recv().unwrap();
    let at_work = says("verify", &recording);
    assert!(at_work.0.contains("not closed") && at_work.1 == exit::FOUND, "{at_work:?}");
    recorder.stop();
    drop(waiting);
    assert!(!recording.join(MARKER_FILE).exists());
    let whole = says("verify", &recording);
    assert!(whole.0.ends_with("2 exchanges, 0 bodies beside them; whole\n") && whole.1 == exit::DONE, "{whole:?}");
    assert_eq!(says("lint", &recording).1, exit::DONE);

    let recorder = Recorder::start(&recording, &upstream);
    recorder.answer("/third");
    let _waiting = recorder.ask("/held");
    held.recv().unwrap();
    recorder.kill();
    let killed = says("verify", &recording);
    assert!(killed.0.contains("3 exchanges") && killed.0.contains("not closed"), "{killed:?}");
    assert!(killed.0.contains("1 exchanges up to number 4 are missing") && killed.1 == exit::FOUND, "{killed:?}");
    let linted = says("lint", &recording);
    assert!(linted.0.contains("not closed") && linted.1 == exit::INCONCLUSIVE, "{linted:?}");
    let lacks = Replay::open(&recording).unwrap().lacks().map(str::to_owned).unwrap();
    assert!(lacks.contains("was not closed") && lacks.contains("up to number 4"), "{lacks}");

    // Whoever goes on, and is asked for nothing, is killed, or is stopped, takes nothing back.
    Recorder::start(&recording, &upstream).kill();
    Recorder::start(&recording, &upstream).stop();
    assert_eq!(says("verify", &recording), killed);

    let recorder = Recorder::start(&recording, &upstream);
    recorder.answer("/fifth");
    recorder.stop();
    assert_eq!(numbers(&recording), [1, 2, 3, 5]);
    assert!(!recording.join(MARKER_FILE).exists());
    let gone_on = says("verify", &recording);
    assert!(gone_on.0.contains("; 1 exchanges up to number 4 are missing\n"), "{gone_on:?}");
    assert_eq!((gone_on.1, says("lint", &recording).1), (exit::FOUND, exit::INCONCLUSIVE));
}

#[test]
fn a_recorder_that_is_killed_before_anything_was_written_leaves_its_trace_too() {
    let (upstream, held) = server();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording");
    let recorder = Recorder::start(&recording, &upstream);
    let _waiting = recorder.ask("/held");
    held.recv().unwrap();
    recorder.kill();
    let killed = says("verify", &recording);
    assert!(
        killed.0.contains("0 exchanges, 0 bodies") && killed.0.contains("up to number 1 are missing"),
        "{killed:?}"
    );
    let recorder = Recorder::start(&recording, &upstream);
    recorder.answer("/second");
    recorder.stop();
    assert_eq!(numbers(&recording), [2]);
    assert_eq!(fs::read_dir(&recording).unwrap().count(), 2, "manifest and exchanges");
}
