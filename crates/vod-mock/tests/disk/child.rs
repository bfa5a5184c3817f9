//! A mock as a process of its own, and a client of a few lines that talks to it byte by byte.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use vod_proto::{Md5, Sha1};

/// Where the mocks of a test live.
pub(crate) struct Place {
    dir: TempDir,
    part_size: usize,
}

impl Place {
    /// A place where parts have this size alone, in bytes.
    pub(crate) fn new(part_size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let limits = format!("part-size-min = {part_size}\npart-size-max = {part_size}\n");
        std::fs::write(dir.path().join("limits.toml"), limits).unwrap();
        Self { dir, part_size }
    }

    pub(crate) const fn part_size(&self) -> usize {
        self.part_size
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// How many bodies are kept, and how many are coming in.
    pub(crate) fn bodies(&self) -> (usize, usize) {
        let [kept, staged] = ["bodies", "staging"].map(|sub| std::fs::read_dir(self.data().join(sub)).unwrap().count());
        (kept, staged)
    }

    /// A mock on the data directory.
    pub(crate) fn mock(&self) -> Command {
        self.mock_under(&[], &["--data-dir", self.data().to_str().unwrap()])
    }

    /// A mock that asks for no signatures, and that these words start.
    pub(crate) fn mock_under(&self, words: &[&str], more: &[&str]) -> Command {
        let limits = self.path("limits.toml");
        let usual = ["--listen", "127.0.0.1:0", "--auth", "any", "--limits", limits.to_str().unwrap()];
        let words: Vec<&str> = words.iter().copied().chain([env!("CARGO_BIN_EXE_vod-mock")]).collect();
        let said = File::options().create(true).append(true).open(self.path("stderr")).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(usual).args(more);
        command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(said);
        command
    }

    /// Starts a mock and waits until it listens.
    pub(crate) fn start(&self, command: Command) -> Mock {
        let mut mock = Mock::starting(command);
        let mut line = String::new();
        BufReader::new(mock.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let said = std::fs::read_to_string(self.path("stderr")).unwrap_or_default();
            panic!("it did not start, but said {line:?} and {said}");
        };
        mock.addr = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        mock
    }
}

/// A mock that runs until it is dropped.
pub(crate) struct Mock {
    child: Child,
    addr: String,
}

impl Mock {
    /// Begins to start, and does not wait.
    pub(crate) fn starting(mut command: Command) -> Self {
        Self { child: command.spawn().unwrap(), addr: String::new() }
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Has it stop, and says with which code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Is it still there?
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.addr).unwrap()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Half of its head is written.
    Head,
    /// Half of its body is written.
    Body,
    /// All of it is written.
    Sent,
}

/// A request to the mock.
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
}

fn request(method: &str, query: &str, body: &[u8]) -> Request {
    Request { line: format!("{method} /v2/index.php?{query}"), body: body.to_vec() }
}

pub(crate) fn init(file_sha1: Sha1, file_size: usize, part_size: usize) -> Request {
    let file = format!("fileName=n&fileType=mp4&fileSha={file_sha1}&fileSize={file_size}&dataSize={part_size}");
    request("GET", &format!("Action=InitUpload&{file}"), b"")
}

pub(crate) fn part(file_sha1: Sha1, offset: usize, body: &[u8]) -> Request {
    let (len, md5) = (body.len(), Md5::of(body));
    let part = format!("fileSha={file_sha1}&offset={offset}&dataSize={len}&dataMd5={md5}");
    request("POST", &format!("Action=UploadPart&{part}"), body)
}

pub(crate) fn finish(file_sha1: Sha1) -> Request {
    request("GET", &format!("Action=FinishUpload&fileSha={file_sha1}"), b"")
}

/// What the mock shows of its uploads.
pub(crate) fn views(rehash: bool) -> Request {
    Request { line: format!("GET /__vod/uploads?rehash={rehash}"), body: Vec::new() }
}

/// A connection.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn connect(addr: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        // What is written is to be on its way when its point is told, and nobody waits for ever.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(stream))
    }

    /// Sends a request, tells how far it is, and reads the reply to its last byte.
    pub(crate) fn ask(&mut self, request: &Request, mut at: impl FnMut(Point)) -> io::Result<Value> {
        let Request { line, body } = request;
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        let (first, rest) = head.split_at(head.len() / 2);
        self.0.write_all(first.as_bytes())?;
        at(Point::Head);
        self.0.write_all(rest.as_bytes())?;
        if !body.is_empty() {
            let (first, rest) = body.split_at(body.len() / 2);
            self.0.write_all(first)?;
            at(Point::Body);
            self.0.write_all(rest)?;
        }
        at(Point::Sent);
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(body) = whole_body(&read) {
                return serde_json::from_slice(body).map_err(io::Error::other);
            }
            match self.0.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read.extend_from_slice(&buffer[..more]),
            }
        }
    }

    /// The same, where nothing may go wrong.
    pub(crate) fn get(&mut self, request: &Request) -> Value {
        self.ask(request, |_| ()).unwrap_or_else(|error| panic!("{}: {error}", request.line))
    }
}

/// The body of a reply that is here to its last byte.
fn whole_body(read: &[u8]) -> Option<&[u8]> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or_else(|| panic!("{head}"));
    let body = &read[end..];
    (body.len() == len.parse::<usize>().unwrap()).then_some(body)
}

/// The code of a reply.
#[track_caller]
pub(crate) fn code(reply: &Value) -> i64 {
    reply["code"].as_i64().unwrap_or_else(|| panic!("no code: {reply}"))
}
