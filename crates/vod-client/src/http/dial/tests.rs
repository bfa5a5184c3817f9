//! Proxies and TLS over connections in memory, on paused time: nothing here needs a socket.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vod_mock::vod_serve::tls::Ca;

use super::*;
use crate::{
    clock::Stopwatch,
    connection::{Proxies, Trust},
    http::Timed,
};

/// Opens pipes whose other ends do as told, and writes down whose they are.
#[derive(Clone)]
struct Pipes {
    called: Arc<Mutex<Vec<String>>>,
    /// Answered to what is said first, byte by byte. Then there is silence, or with `gone` at the end, an end.
    answer: &'static str,
    heard: Arc<Mutex<String>>,
}

impl Service<Uri> for Pipes {
    type Response = Stream;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.called.lock().unwrap().push(to.to_string());
        let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
        let (answer, heard) = (self.answer, Arc::clone(&self.heard));
        tokio::spawn(async move {
            let mut said = vec![0; 16 * 1024];
            let len = theirs.read(&mut said).await.unwrap_or_default();
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&said[..len]));
            for byte in answer.as_bytes() {
                // Whoever has heard enough may be gone already.
                let _ = theirs.write_all(&[*byte]).await;
            }
            if !answer.ends_with("gone") {
                std::future::pending().await
            }
        });
        std::future::ready(Ok(Stream { io: Box::new(TokioIo::new(ours)), proxied: false }))
    }
}

/// What comes of dialling a server, who was called, and what was said first.
async fn dial(server: &'static str, proxy: &str, answer: &'static str) -> (String, Vec<String>, String) {
    let server = Uri::from_static(server);
    let proxy = (!proxy.is_empty()).then(|| Proxies::through(proxy).unwrap().to(&server).unwrap().unwrap());
    let ca = Ca::make(vod_mock::WallClock::system().now());
    let trust = Trust::only(ca.pem().as_bytes()).unwrap();
    let pipes = Pipes { called: Arc::default(), answer, heard: Arc::default() };
    let connector = Dial::new(pipes.clone(), Some(TlsConnector::from(trust.config().unwrap())), proxy);
    let mut timed = Timed { connector, timeout: Duration::from_secs(10) };
    let watch = Stopwatch::start();
    let ended = match timed.call(server).await {
        Ok(stream) => format!("open, {}", if stream.proxied { "to a proxy" } else { "to the server" }),
        Err(error) => error.to_string(),
    };
    let took = watch.elapsed().as_secs();
    let (called, heard) = (pipes.called.lock().unwrap().clone(), pipes.heard.lock().unwrap().clone());
    (format!("{ended} ({took} s)"), called, heard)
}

#[tokio::test(start_paused = true)]
async fn a_transport_is_asked_for_whoever_comes_next() {
    let (ended, called, _) = dial("http://h:8266/v2", "", "").await;
    assert_eq!((&*ended, &*called.concat()), ("open, to the server (0 s)", "http://h:8266/v2"));
    let (ended, called, _) = dial("http://h:8266/v2", "http://p:3128", "").await;
    assert_eq!((&*ended, &*called.concat()), ("open, to a proxy (0 s)", "http://p:3128/"));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_asked_for_by_name_and_port_with_what_the_proxy_must_know() {
    let said = async |server, proxy: &str| {
        let (ended, called, heard) = dial(server, proxy, "HTTP/1.1 403 Forbidden\r\n\r\n").await;
        assert_eq!(ended, "the proxy http://p:3128 refuses to connect to the server (0 s)");
        assert_eq!(called, ["http://p:3128/"]);
        heard
    };
    assert_eq!(said("https://h/v2", "p:3128").await, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    assert_eq!(
        said("https://[::1]:8266", "http://me:s3cret@p:3128").await,
        "CONNECT [::1]:8266 HTTP/1.1\r\nHost: [::1]:8266\r\nProxy-Authorization: Basic bWU6czNjcmV0\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_on_any_stretch_of_the_way_ends_when_a_connection_must_be_there() {
    for (server, proxy, answer) in [
        ("https://h", "", ""),
        ("https://h", "http://p:3128", ""),
        ("https://h", "http://p:3128", "HTTP/1.1 200 OK\r\nVia"),
        ("https://h", "http://p:3128", "HTTP/1.1 200 OK\r\n\r\n"),
        ("http://h", "https://p:3128", ""),
    ] {
        let (ended, ..) = dial(server, proxy, answer).await;
        assert_eq!(ended, "no answer in 10 s (10 s)", "{server} {proxy} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_gone_on_the_way_is_named() {
    let (ended, ..) = dial("https://h", "http://p:3128", "HTTP/1.1 200 gone").await;
    assert_eq!(ended, "to the proxy http://p:3128: tunnel error: unexpected end of file (0 s)");
    let (ended, ..) = dial("http://h", "https://p:3128", "gone").await;
    assert!(ended.starts_with("cannot speak TLS with p:3128: "), "{ended}");
    let (ended, ..) = dial("https://h", "", "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(ended.starts_with("cannot speak TLS with h: "), "{ended}");
}
