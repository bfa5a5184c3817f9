//! Handshakes over pipes, with peers that do not do their part.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::*;
use crate::{
    Listener, WallClock, clock,
    tls::{Ca, HostName, TlsListener},
};

/// A pipe that remembers that it was to be reset.
struct Pipe(DuplexStream, Arc<AtomicBool>);

impl Transport for Pipe {
    fn reset_on_drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A server's certificate, and a client that trusts it.
fn both() -> (Leaf, TlsConnector) {
    let now = WallClock::system().now();
    let ca = Ca::make(now);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    (ca.leaf(&HostName::loopback(), now), Arc::new(config.with_no_client_auth()).into())
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// The two ends of a connection, of which the second speaks TLS and has not begun to, and whether it was reset.
fn ends(leaf: &Leaf) -> (DuplexStream, TlsTransport<Pipe>, Arc<AtomicBool>) {
    let (near, far) = duplex(4096);
    let reset = Arc::new(AtomicBool::new(false));
    (near, TlsTransport::new(Pipe(far, Arc::clone(&reset)), leaf), reset)
}

#[tokio::test]
async fn bytes_go_both_ways_and_an_orderly_end_is_announced() {
    let (leaf, connector) = both();
    let (near, mut far, _) = ends(&leaf);
    assert!(far.is_secure());
    let server = tokio::spawn(async move {
        let mut asked = [0; 4];
        far.read_exact(&mut asked).await.unwrap();
        far.write_all(&asked.map(|byte| byte + 1)).await.unwrap();
        far.shutdown().await.unwrap();
    });
    let mut client = connector.connect(localhost(), near).await.unwrap();
    client.write_all(b"HAL8").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "IBM9");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_dropped_looks_truncated_to_its_client() {
    let (leaf, connector) = both();
    let (near, mut far, _) = ends(&leaf);
    let server = tokio::spawn(async move {
        far.write_all(b"half").await.unwrap();
        far.flush().await.unwrap();
    });
    let mut client = connector.connect(localhost(), near).await.unwrap();
    server.await.unwrap();
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!((answer.as_slice(), error.kind()), (b"half".as_slice(), io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_reset_reaches_the_line_below_before_the_handshake_and_after() {
    let (leaf, connector) = both();
    let (_near, mut far, reset) = ends(&leaf);
    far.reset_on_drop();
    assert!(reset.load(Ordering::SeqCst), "before the handshake");
    let (near, mut far, reset) = ends(&leaf);
    let (client, flushed) = tokio::join!(connector.connect(localhost(), near), far.flush());
    flushed.unwrap();
    assert!(!reset.load(Ordering::SeqCst));
    far.reset_on_drop();
    assert!(reset.load(Ordering::SeqCst), "after the handshake");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time_and_no_more_however_busy_the_peer_seems() {
    let (leaf, _) = both();
    // The beginning of a ClientHello of 512 bytes, which never becomes whole.
    for (begun, then) in [(&b""[..], false), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true)] {
        let (mut near, mut far, _) = ends(&leaf);
        let start = clock::instant();
        let peer = tokio::spawn(async move {
            near.write_all(begun).await.unwrap();
            while then && near.write_all(b"\x00").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            near
        });
        let read = tokio::time::timeout(Duration::from_secs(60), far.read_u8()).await;
        let error = read.expect("a handshake that never ends").unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
        // The line is let go of at once, not when whoever held it is done.
        let mut near = peer.await.unwrap();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(far.read_u8().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}

#[tokio::test]
async fn http_is_answered_in_http_and_garbage_not_at_length() {
    let (leaf, _) = both();
    let heard = async |sent: &[u8]| {
        let (mut near, mut far, _) = ends(&leaf);
        near.write_all(sent).await.unwrap();
        let error = far.read_u8().await.unwrap_err();
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).await.unwrap();
        (error.to_string(), heard)
    };
    let (error, heard_back) = heard(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(error, "plain HTTP was sent to a port that speaks TLS; call it https");
    let answer = String::from_utf8(heard_back).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert_eq!(body, "This port speaks TLS: call it https.\r\n");
    // An alert is seven bytes.
    let (error, heard_back) = heard(b"\x00\x01 is no TLS, nor is it HTTP").await;
    assert!(heard_back.len() <= 7 && error.contains("corrupt message"), "{error}: {heard_back:?}");
}

/// Connections as they come out of a channel.
struct Queue(mpsc::UnboundedReceiver<Pipe>);

impl Listener for Queue {
    type Io = Pipe;

    async fn accept(&mut self) -> io::Result<Pipe> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn shut(&mut self) -> io::Result<()> {
        unreachable!("nobody shuts it")
    }

    fn open(&mut self) -> io::Result<()> {
        unreachable!("nobody shuts it")
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_handshake_of_another() {
    let (leaf, connector) = both();
    let (connect, queue) = mpsc::unbounded_channel();
    let mut listener = TlsListener::new(Queue(queue), leaf);
    let mut peers: Vec<DuplexStream> = (0..100)
        .map(|_| {
            let (near, far) = duplex(4096);
            connect.send(Pipe(far, Arc::default())).ok().unwrap();
            near
        })
        .collect();
    // All but the last say nothing, for ever.
    let last = peers.pop().unwrap();
    let start = clock::instant();
    let mut accepted = Vec::new();
    for _ in 0..100 {
        accepted.push(listener.accept().await.unwrap());
    }
    let mut far = accepted.pop().unwrap();
    let (client, flushed) = tokio::join!(connector.connect(localhost(), last), far.flush());
    assert!(client.is_ok() && flushed.is_ok());
    assert!(start.elapsed().is_zero(), "somebody was waited for: {:?}", start.elapsed());
}
