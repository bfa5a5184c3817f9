//! The binary in a crowd: thousands of idle connections, ten thousand open sessions, and one honest client among them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use vod_proto::{Md5, Query, Sha1};

/// How many connections are held open without a word. Fewer than any usual limit on open files allows this process.
const IDLE: usize = 800;

const SESSIONS: u32 = 10_000;

/// What the mock may need at most, in bytes: the bar for any upload, with ten thousand of them begun.
const MEMORY_MOST: u64 = 64 << 20;

/// Ends the process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mock() -> (Running, String) {
    // With the low limit of open files that a shell may hand down, and that the mock has to raise.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_vod-mock")]);
    command.args(["--listen", "127.0.0.1:0", "--auth", "any", "--store", "digest"]).env_remove("RUST_LOG");
    let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let addr = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    (child, addr)
}

fn target(params: &[(&str, &str)]) -> String {
    let mut query = Query::default();
    params.iter().for_each(|(name, value)| query.push(name, value));
    format!("/v2/index.php?{query}")
}

fn init(sha1: &str, size: &str) -> String {
    target(&[
        ("Action", "InitUpload"),
        ("fileName", "crowd"),
        ("fileType", "mp4"),
        ("fileSha", sha1),
        ("fileSize", size),
        ("dataSize", "524288"),
    ])
}

/// One request on a connection that stays open; the code of its answer.
fn ask(stream: &mut BufReader<TcpStream>, method: &str, target: &str, body: &[u8]) -> i64 {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the mock hung up");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["code"].as_i64().unwrap()
}

/// The most memory that the process ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

#[test]
fn an_upload_gets_through_a_crowd_and_the_crowd_costs_little() {
    let (child, addr) = mock();
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| TcpStream::connect(&addr).unwrap()).collect();
    // Every other one begins a request and says no more.
    for stream in idle.iter_mut().step_by(2) {
        stream.write_all(b"GET /v2/index.php?Action=InitUpload HTTP/1.1\r\nHost:").unwrap();
    }
    let mut stream = BufReader::new(TcpStream::connect(&addr).unwrap());
    for n in 0..SESSIONS {
        let sha1 = Sha1::of(&n.to_be_bytes()).to_string();
        assert_eq!(ask(&mut stream, "GET", &init(&sha1, "1000000000"), b""), 0, "session {n}");
    }
    let file: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let sha1 = Sha1::of(&file).to_string();
    assert_eq!(ask(&mut stream, "GET", &init(&sha1, "3000000"), b""), 0);
    for (at, part) in file.chunks(524_288).enumerate() {
        let (offset, len) = ((at * 524_288).to_string(), part.len().to_string());
        let target = target(&[
            ("Action", "UploadPart"),
            ("fileSha", &sha1),
            ("offset", &offset),
            ("dataSize", &len),
            ("dataMd5", &Md5::of(part).to_string()),
        ]);
        assert_eq!(ask(&mut stream, "POST", &target, part), 0, "the part at {offset}");
    }
    assert_eq!(ask(&mut stream, "GET", &target(&[("Action", "FinishUpload"), ("fileSha", &sha1)]), b""), 0);
    #[cfg(target_os = "linux")]
    {
        let peak = peak_memory(&child.0);
        assert!(peak < MEMORY_MOST, "the mock needed {} MiB, {} MiB is the most", peak >> 20, MEMORY_MOST >> 20);
        eprintln!("peak memory {} MiB", peak >> 20);
    }
    drop(child);
}
