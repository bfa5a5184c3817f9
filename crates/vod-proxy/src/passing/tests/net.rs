//! Pipes that can be reset, and servers at their other end.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    sync::mpsc,
};
use tower_service::Service;
use vod_proto::{exchange::End, redact::Rules};
use vod_serve::{Transport, WallClock, tls::Ca};

use crate::{
    Proxy, Recording, Route,
    recording::{KeptBodies, Source, Wanted},
    upstream::trust,
};

/// One end of a pipe.
pub(super) struct Pipe {
    pipe: DuplexStream,
    /// This end resets the other.
    resets: Arc<AtomicBool>,
    /// The other end resets this one.
    is_reset: Arc<AtomicBool>,
}

impl Pipe {
    pub(super) fn pair() -> (Self, Self) {
        let (one, other) = tokio::io::duplex(64 << 10);
        let (a, b) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let first = Self { pipe: one, resets: Arc::clone(&a), is_reset: Arc::clone(&b) };
        (first, Self { pipe: other, resets: b, is_reset: a })
    }
}

impl Transport for Pipe {
    fn reset_on_drop(&mut self) {
        self.resets.store(true, Ordering::SeqCst);
    }
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(cx, buf);
        match read {
            Poll::Ready(Ok(())) if buf.filled().len() == before && self.is_reset.load(Ordering::SeqCst) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// As the resolver of hyper-util has it.
#[derive(Debug)]
pub(super) struct DnsError;

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dns error")
    }
}

impl std::error::Error for DnsError {}

/// All servers there are.
#[derive(Clone)]
pub(super) struct Net(Arc<Servers>);

struct Servers {
    behaviour: Behaviour,
    connections: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    accepted: (mpsc::UnboundedSender<Pipe>, tokio::sync::Mutex<mpsc::UnboundedReceiver<Pipe>>),
}

enum Behaviour {
    /// Each request is answered so, and then the connection ends, if it does.
    Answer(Vec<u8>, Option<End>),
    Fail(Mutex<Option<io::Error>>),
    Silent,
    Listen,
}

impl Net {
    fn of(behaviour: Behaviour) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let accepted = (sender, tokio::sync::Mutex::new(receiver));
        Self(Arc::new(Servers { behaviour, connections: Mutex::default(), requests: Mutex::default(), accepted }))
    }

    pub(super) fn answering(answer: &str, then: Option<End>) -> Self {
        Self::answering_bytes(answer.into(), then)
    }

    pub(super) fn answering_bytes(answer: Vec<u8>, then: Option<End>) -> Self {
        Self::of(Behaviour::Answer(answer, then))
    }

    pub(super) fn failing(error: io::Error) -> Self {
        Self::of(Behaviour::Fail(Mutex::new(Some(error))))
    }

    pub(super) fn silent() -> Self {
        Self::of(Behaviour::Silent)
    }

    /// What the test does with connections is its own affair.
    pub(super) fn listening() -> Self {
        Self::of(Behaviour::Listen)
    }

    pub(super) async fn accepted(&self) -> Pipe {
        self.0.accepted.1.lock().await.recv().await.expect("somebody connects")
    }

    /// Whom was connected to.
    pub(super) fn connections(&self) -> Vec<String> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What servers were asked.
    pub(super) fn requests(&self) -> Vec<String> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reverse(&self, bodies: KeptBodies, rules: Rules) -> (Arc<Proxy<Self>>, TempDir) {
        let route = Route::Reverse("http://up".parse().unwrap(), None);
        self.proxy(route, Source::Upstream("http://up".to_owned()), bodies, rules)
    }

    /// The same in front of this server.
    pub(super) fn reverse_to(&self, url: &str) -> (Arc<Proxy<Self>>, TempDir) {
        let route = Route::Reverse(url.parse().unwrap(), None);
        self.proxy(route, Source::Upstream(url.to_owned()), KeptBodies::Replies, Rules::default())
    }

    /// The same for one that goes on in a recording.
    pub(super) fn reverse_in(&self, dir: &Path) -> Arc<Proxy<Self>> {
        let route = Route::Reverse("http://up".parse().unwrap(), None);
        let source = Source::Upstream("http://up".to_owned());
        self.proxy_in(dir, route, source, KeptBodies::Replies, Rules::default())
    }

    pub(super) fn forward(&self, hosts: &[&str]) -> (Arc<Proxy<Self>>, TempDir) {
        let allowed = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let ca = Arc::new(Ca::make(WallClock::system().now()));
        let source = Source::Hosts(hosts.iter().map(ToString::to_string).collect());
        self.proxy(Route::Forward(allowed, ca), source, KeptBodies::Replies, Rules::default())
    }

    fn proxy(&self, route: Route, source: Source, bodies: KeptBodies, rules: Rules) -> (Arc<Proxy<Self>>, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (self.proxy_in(dir.path(), route, source, bodies, rules), dir)
    }

    fn proxy_in(&self, dir: &Path, route: Route, source: Source, bodies: KeptBodies, rules: Rules) -> Arc<Proxy<Self>> {
        let wanted = Wanted { source, bodies, rules };
        let (recording, journal) = Recording::record(dir, wanted, Timestamp::UNIX_EPOCH).unwrap();
        let trusted = trust(Ca::make(WallClock::system().now()).pem().as_bytes()).unwrap();
        let clock = WallClock::fixed(Timestamp::UNIX_EPOCH);
        Arc::new(Proxy::recording_over(self.clone(), route, trusted, &recording, journal, clock))
    }
}

impl Service<Uri> for Net {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Pipe>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let servers = Arc::clone(&self.0);
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        servers.connections.lock().unwrap_or_else(PoisonError::into_inner).push(authority);
        Box::pin(async move {
            let (client, mut server) = Pipe::pair();
            match &servers.behaviour {
                Behaviour::Silent => std::future::pending().await,
                Behaviour::Fail(error) => {
                    let error = error.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Err(error.expect("it is tried once"));
                }
                Behaviour::Listen => drop(servers.accepted.0.send(server)),
                Behaviour::Answer(..) => drop(tokio::spawn(async move {
                    let Behaviour::Answer(answer, then) = &servers.behaviour else { return };
                    while let Some(request) = read_request(&mut server).await {
                        servers.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                        if server.write_all(answer).await.is_err() {
                            return;
                        }
                        if let Some(end) = then {
                            if *end == End::Reset {
                                server.reset_on_drop();
                            }
                            return;
                        }
                    }
                })),
            }
            Ok(TokioIo::new(client))
        })
    }
}

/// Reads a request and as much of a body as it announces; none at the end.
pub(super) async fn read_request(server: &mut Pipe) -> Option<String> {
    let (mut text, mut more) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= announced.unwrap_or(0) {
                return Some(text);
            }
        }
        match server.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.push_str(&String::from_utf8_lossy(&more[..read])),
        }
    }
}

/// What a client heard.
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) text: String,
    /// Its connection was reset.
    pub(super) reset: bool,
}

/// Sends this on a connection of its own, and listens to the end.
pub(super) async fn heard_by(proxy: &Arc<Proxy<Net>>, request: &[u8]) -> Heard {
    let (client, end) = Pipe::pair();
    let connection = tokio::spawn(Arc::clone(proxy).connection(end));
    let heard = heard(client, request.to_vec()).await;
    connection.await.unwrap();
    heard
}

/// Sends this, as much of it as is taken, and listens to the end.
pub(super) async fn heard(mut client: Pipe, request: Vec<u8>) -> Heard {
    let _ = client.write_all(&request).await;
    let mut bytes = Vec::new();
    let mut more = [0; 4096];
    let reset = loop {
        match client.read(&mut more).await {
            Ok(0) => break false,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
            Err(_) => break true,
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Heard { bytes, text, reset }
}
