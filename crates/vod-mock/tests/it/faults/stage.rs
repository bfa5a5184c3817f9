//! Where faults are tried: a mock with a plan, requests of every kind, and what a peer sees of the answer to the byte.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::TcpStream,
    task::{AbortHandle, JoinHandle},
};
use vod_mock::{Config, MemoryStore, Mock, UploadView};
use vod_proto::{Exchange, exchange::FaultMark};
use vod_serve::{KillTarget, Killer, Plan, Port};

use crate::{
    covers, legacy,
    pipe::Pipe,
    wire::{PART, config, file, finish, init, part},
};

/// The file of all these uploads: one part and a bit.
pub(super) fn video() -> &'static [u8] {
    static VIDEO: LazyLock<Vec<u8>> = LazyLock::new(|| file(1));
    &VIDEO
}

/// A request of one kind, about a file of one part and a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Opens the upload.
    Init,
    /// Sends the second part, which is short.
    Part,
    /// Finishes what is whole.
    Finish,
    /// Opens a legacy upload with its first part.
    Next,
    /// Ends a legacy upload with its second part.
    Last,
    /// Sends a small file.
    Whole,
}

impl Act {
    pub(super) const ALL: [Self; 6] = [Self::Init, Self::Part, Self::Finish, Self::Next, Self::Last, Self::Whole];

    /// Those with a body.
    pub(super) const WITH_BODY: [Self; 4] = [Self::Part, Self::Next, Self::Last, Self::Whole];

    /// Selects it, at its first attempt.
    pub(super) fn on(self) -> String {
        self.at_attempt(1)
    }

    /// Selects it, at this attempt.
    pub(super) fn at_attempt(self, attempt: u32) -> String {
        let what = match self {
            Self::Init => "action = \"InitUpload\"",
            Self::Part => "action = \"UploadPart\", part = 2",
            Self::Finish => "action = \"FinishUpload\"",
            Self::Next => "action = \"MultipartUploadVodFile\", part = 1",
            Self::Last => "action = \"MultipartUploadVodFile\", part = 2",
            Self::Whole => "action = \"SmallFileUpload\"",
        };
        format!("{{ {what}, attempt = {attempt} }}")
    }

    /// What must have come before it.
    const fn before(self) -> &'static [Self] {
        match self {
            Self::Init | Self::Next | Self::Whole => &[],
            Self::Part => &[Self::Init],
            Self::Finish => &[Self::Init, Self::Part],
            Self::Last => &[Self::Next],
        }
    }

    fn method_target_body(self) -> (&'static str, String, Vec<u8>) {
        let whole = video();
        match self {
            Self::Init => ("GET", init(whole), Vec::new()),
            Self::Part => {
                let (target, body) = part(whole, 1);
                ("POST", target, body.to_vec())
            }
            Self::Finish => ("GET", finish(whole), Vec::new()),
            Self::Next => ("POST", legacy::next(whole, 0, &whole[..PART], &[]), whole[..PART].to_vec()),
            Self::Last => ("POST", legacy::next(whole, PART, &whole[PART..], &[]), whole[PART..].to_vec()),
            Self::Whole => ("POST", covers::whole(&file(0), &[]), file(0)),
        }
    }

    /// How long its body is.
    pub(super) fn body_len(self) -> u64 {
        self.method_target_body().2.len() as u64
    }

    /// The request, on a connection that is kept.
    pub(super) fn request(self) -> Vec<u8> {
        let (method, target, body) = self.method_target_body();
        request(method, &target, &body)
    }

    /// The same in chunks of this size.
    pub(super) fn chunked(self, size: usize) -> Vec<u8> {
        let (method, target, body) = self.method_target_body();
        let mut bytes =
            format!("{method} {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(size) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend([chunk, b"\r\n"].concat());
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// Its head alone, with more in it, and its body alone.
    pub(super) fn head_and_body(self, more: &str) -> (Vec<u8>, Vec<u8>) {
        let (method, target, body) = self.method_target_body();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n{more}\r\n", body.len());
        (head.into_bytes(), body)
    }
}

/// The whole reply to an opening that no fault touches.
pub(super) const FRESH: &str =
    r#"{"canRetry":0,"code":0,"codeDesc":" 0\n","message":"","sessionInfo":"{\"sessionKey\":\"xxx\"}"}"#;

/// The head before it.
pub(super) const FRESH_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 95\r\n\r\n";

/// A request on a connection that is kept.
pub(super) fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    [format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{length}\r\n").as_bytes(), body].concat()
}

/// One fault, called `f`, as TOML.
pub(super) fn fault(on: &str, phase: &str, verdict: &str) -> String {
    format!("[[fault]]\nid = \"f\"\non = {on}\nphase = \"{phase}\"\ndo = {verdict}\n")
}

/// The same, at a byte.
pub(super) fn fault_at(on: &str, phase: &str, at: u64, verdict: &str) -> String {
    format!("{}at = {at}\n", fault(on, phase, verdict))
}

/// Says that it killed, after a while in which others go on, and kills nobody.
#[derive(Default)]
struct Sham(Mutex<Vec<String>>);

impl Killer for Sham {
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.0.lock().unwrap().push(format!("{target} by {fault}"));
        Box::pin(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        })
    }
}

/// A mock with a plan, on sockets or in memory.
pub(super) struct Stage {
    pub(super) mock: Arc<Mock>,
    addr: Option<SocketAddr>,
    killer: Arc<Sham>,
    serving: Option<JoinHandle<()>>,
    unfinished: Arc<AtomicUsize>,
}

impl Stage {
    /// On a port of loopback, in real time.
    pub(super) async fn on_sockets(plan: &str) -> Self {
        let mut stage = Self::in_memory(plan).await;
        let port = Port::bind("127.0.0.1:0").await.unwrap();
        let mock = Arc::clone(&stage.mock);
        stage.addr = Some(port.addr());
        stage.serving = Some(tokio::spawn(async move {
            mock.serve(port).await;
        }));
        stage
    }

    /// Over pipes in memory.
    pub(super) async fn in_memory(plan: &str) -> Self {
        Self::with(plan, config()).await
    }

    /// The same, and the mock is set otherwise.
    pub(super) async fn with(plan: &str, config: Config) -> Self {
        let plan: Plan = toml::from_str(plan).unwrap_or_else(|error| panic!("{error}\n{plan}"));
        let killer = Arc::new(Sham::default());
        let config = Config { plan, killer: Some(Arc::clone(&killer) as Arc<dyn Killer>), ..config };
        let mock = Mock::open(config, MemoryStore::new()).await.unwrap();
        Self { mock, addr: None, killer, serving: None, unfinished: Arc::default() }
    }

    /// A fresh connection.
    pub(super) async fn connect(&self) -> Peer {
        let Some(addr) = self.addr else {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (mock, unfinished) = (Arc::clone(&self.mock), Arc::clone(&self.unfinished));
            unfinished.fetch_add(1, Ordering::SeqCst);
            let task = tokio::spawn(async move {
                mock.connection(Pipe(far)).await;
                unfinished.fetch_sub(1, Ordering::SeqCst);
            });
            return Peer { io: Box::new(near), task: Some(task.abort_handle()) };
        };
        Peer { io: Box::new(TcpStream::connect(addr).await.unwrap()), task: None }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr.expect("a stage on sockets")
    }

    /// How many connections in memory are still served.
    pub(super) fn connections(&self) -> usize {
        self.unfinished.load(Ordering::SeqCst)
    }

    /// Stops as a mock does in a test or on a command line.
    pub(super) async fn stop(&mut self) {
        self.mock.settled().await;
        self.mock.stop();
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Sends what must have come before.
    pub(super) async fn prepare(&self, act: Act) {
        for earlier in act.before() {
            if *earlier == Act::Part {
                let (target, body) = part(video(), 0);
                assert_eq!(self.answer(&request("POST", &target, body)).await["code"], 0);
            }
            assert_eq!(self.answer(&earlier.request()).await["code"], 0);
        }
    }

    /// Sends a request on a fresh connection, and tells what comes to its end.
    pub(super) async fn see(&self, request: &[u8]) -> Seen {
        self.connect().await.see(request).await
    }

    /// The JSON of an answer that must come.
    pub(super) async fn answer(&self, request: &[u8]) -> Value {
        let mut peer = self.connect().await;
        peer.send(request).await;
        peer.reply().await.json()
    }

    /// The exchange that the fault struck.
    #[track_caller]
    pub(super) fn struck(&self) -> Exchange {
        let mut struck = self.mock.exchanges();
        struck.retain(|exchange| exchange.faults.iter().any(|mark| mark.id == "f"));
        assert_eq!(struck.len(), 1, "{struck:#?}");
        assert_eq!(self.mock.unfired(), [""; 0], "the journal tells of what the engine does not");
        let [FaultMark { at_us, .. }] = struck[0].faults[..] else { panic!("{struck:#?}") };
        assert!(struck[0].times.reply_done.is_some_and(|over| at_us <= over), "{struck:#?}");
        struck.remove(0)
    }

    /// The upload that all requests here are about, if there is one.
    pub(super) async fn upload(&self) -> Option<UploadView> {
        self.mock.uploads().await.pop()
    }

    /// How often the request had its effect.
    pub(super) async fn effects(&self, act: Act) -> u64 {
        let Some(view) = self.upload().await else { return 0 };
        match act {
            Act::Init => u64::from(view.state == vod_mock::UploadState::Open),
            Act::Part | Act::Next => view.parts,
            Act::Finish | Act::Last | Act::Whole => view.commits,
        }
    }

    /// The same request comes again on a fresh connection: it is answered well, and then had its effect once.
    pub(super) async fn comes_again(&self, act: Act) {
        assert_eq!(self.answer(&act.request()).await["code"], 0, "{act:?}");
        assert_eq!(self.effects(act).await, 1, "{act:?}");
    }

    /// Who was killed, and by which fault.
    pub(super) fn killed(&self) -> Vec<String> {
        self.killer.0.lock().unwrap().clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.mock.stop();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A client's end of a connection.
pub(super) struct Peer {
    io: Box<dyn Io>,
    /// What serves the other end, in memory.
    task: Option<AbortHandle>,
}

impl Peer {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    pub(super) async fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.io.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// One whole reply; the connection stays.
    pub(super) async fn reply(&mut self) -> Reply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.io.read_u8().await.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head));
            }));
        }
        let head = String::from_utf8(head).unwrap();
        let body = self.read_exact(content_length(&head)).await;
        Reply { head, body }
    }

    /// Sends, reads to the end meanwhile, and tells how the connection ended. It leaves its own side open.
    pub(super) async fn see(&mut self, request: &[u8]) -> Seen {
        let (mut from, mut to) = split(&mut self.io);
        let mut bytes = Vec::new();
        let read = async { from.read_to_end(&mut bytes).await.err() };
        let written = async { to.write_all(request).await.err() };
        let (read, written) = tokio::join!(read, written);
        // Whichever of them the reset meets first takes the news of it.
        let kinds: Vec<_> = [read, written].into_iter().flatten().map(|error| error.kind()).collect();
        let end = match () {
            () if kinds.contains(&ErrorKind::ConnectionReset) => Ending::Reset,
            () if kinds.iter().all(|kind| *kind == ErrorKind::BrokenPipe) => Ending::Closed,
            () => panic!("{kinds:?}"),
        };
        Seen { bytes, end }
    }

    /// The other end is served no more, from one moment to the next.
    pub(super) fn abandon(&self) {
        self.task.as_ref().expect("a stage in memory").abort();
    }

    /// Is the other end no longer served?
    pub(super) fn is_finished(&self) -> bool {
        self.task.as_ref().is_some_and(AbortHandle::is_finished)
    }
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.unwrap_or_else(|| panic!("no length: {head}")).parse().unwrap()
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn status(&self) -> &str {
        &self.head[..12]
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status(), "HTTP/1.1 200", "{self:?}");
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// How a connection ended, for whoever read on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In order: nothing more comes (FIN).
    Closed,
    /// With a reset (RST).
    Reset,
}

/// What came over a connection until its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) end: Ending,
}

impl Seen {
    pub(super) fn nothing(end: Ending) -> Self {
        Self { bytes: Vec::new(), end }
    }

    /// What came of the body of a reply whose head came whole, and how long it was said to be.
    #[track_caller]
    pub(super) fn cut_body(&self) -> (&[u8], usize) {
        let at = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let at = at.unwrap_or_else(|| panic!("no whole head: {:?}", String::from_utf8_lossy(&self.bytes))) + 4;
        let head = std::str::from_utf8(&self.bytes[..at]).unwrap();
        (&self.bytes[at..], content_length(head))
    }
}
