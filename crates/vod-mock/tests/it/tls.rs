//! The mock over TLS, called by clients that are not ours and that do not know where they are.

use std::{
    io::{ErrorKind, Write as _},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::rustls::{self, pki_types::ServerName};
use vod_mock::{Config, Tls, UploadState, VodMock};
use vod_proto::{Sha1, exchange::End};
use vod_serve::Plan;

use crate::wire::{
    addr, assert_code, config, connect, file, finish, get, init, json, mock, part, post, raw, send, trusting,
};

/// A mock that speaks TLS.
async fn secure(config: Config) -> VodMock {
    mock(Config { tls: Some(Tls::default()), ..config }).await
}

/// Asks with `curl`, which is told where the host is and whom to trust, and nothing else.
async fn curl(mock: &VodMock, args: &[&str], target: &str) -> Value {
    let (mut ca, port) = (tempfile::NamedTempFile::new().unwrap(), addr(mock).rsplit_once(':').unwrap().1);
    ca.write_all(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"]).arg(ca.path());
    command.args(["--resolve", &format!("vod2.qcloud.com:{port}:127.0.0.1")]).args(args);
    command.arg(format!("https://vod2.qcloud.com:{port}{target}"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {:?} {said}", output.stdout))
}

#[tokio::test]
async fn curl_uploads_to_the_host_that_it_believes_in() {
    if Command::new("curl").arg("--version").output().is_err() {
        // Past the capture of the test harness: whoever runs this must see what was not proved.
        let words = "SKIPPED: there is no curl on PATH: an upload over TLS by a client that is not ours was NOT tested";
        let _ = writeln!(std::io::stderr(), "\n{words}\n");
        return;
    }
    let mock = secure(config()).await;
    let file = file(1);
    assert_code(&curl(&mock, &[], &init(&file)).await, 0, 0);
    for index in 0..2 {
        let (target, body) = part(&file, index);
        let mut kept = tempfile::NamedTempFile::new().unwrap();
        kept.write_all(body).unwrap();
        let data = format!("@{}", kept.path().display());
        assert_code(&curl(&mock, &["--data-binary", &data], &target).await, 0, 0);
    }
    assert_code(&curl(&mock, &[], &finish(&file)).await, 0, 0);
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!((view.state, view.stored_sha1), (UploadState::Stored, Some(Sha1::of(&file))));
    let exchanges = mock.exchanges();
    assert_eq!(exchanges.len(), 4);
    for exchange in exchanges {
        assert!(exchange.request.tls && exchange.acknowledged(), "{exchange:#?}");
        assert!(exchange.request.host.starts_with("vod2.qcloud.com:"), "{}", exchange.request.host);
    }
}

#[tokio::test]
async fn a_client_with_a_host_of_the_service_in_mind_uploads_and_its_journal_says_tls() {
    let mock = secure(config()).await;
    let file = file(1);
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().stored_sha1, Some(Sha1::of(&file)));
    assert!(mock.exchanges().iter().all(|exchange| exchange.request.tls));
    let plain = crate::wire::mock(config()).await;
    get(&plain, &init(&file)).await;
    assert!(plain.ca_pem().is_none() && !plain.exchanges()[0].request.tls);
}

#[tokio::test]
async fn a_mock_with_tls_in_one_line_is_good_for_every_host_of_the_service_and_loopback() {
    let mock = VodMock::start_tls().await;
    assert!(mock.endpoint().starts_with("https://127.0.0.1:"), "{}", mock.endpoint());
    let connector = trusting(mock.ca_pem().unwrap());
    let shaken = async |name: &'static str| {
        let stream = TcpStream::connect(addr(&mock)).await.unwrap();
        connector.connect(ServerName::try_from(name).unwrap(), stream).await.map(drop)
    };
    for name in vod_proto::SIGN_HOSTS.into_iter().chain(["localhost", "127.0.0.1", "::1"]) {
        assert!(shaken(name).await.is_ok(), "{name}");
    }
    assert!(shaken("example.com").await.is_err(), "no certificate should be good for everything");
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let mock = secure(config()).await;
    let mut stream = connect(&mock).await.unwrap();
    for n in 1..=3 {
        let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", init(&file(0)));
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the connection ended");
        }
        json(&answer);
        assert_eq!(mock.exchanges().len(), n);
    }
}

async fn with_fault(on: &str, more: &str) -> VodMock {
    let plan: Plan = toml::from_str(&format!("[[fault]]\nid = \"f\"\non = {on}\n{more}\n")).unwrap();
    secure(Config { plan, ..config() }).await
}

const INIT: &str = "{ action = \"InitUpload\" }";

/// What a client has when the connection ends, and how that looked to it. Were there a `close_notify`, it would be
/// an orderly end whatever came behind it.
async fn heard(mock: &VodMock, request: &str, body: &[u8]) -> (String, Option<ErrorKind>) {
    let mut stream = connect(mock).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that is gone already is heard of when its answer is read.
    let _ = stream.write_all(body).await;
    let _ = stream.flush().await;
    let mut heard = Vec::new();
    let end = stream.read_to_end(&mut heard).await.err().map(|error| error.kind());
    (String::from_utf8(heard).unwrap(), end)
}

fn init_request() -> String {
    format!("GET {} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n\r\n", init(&file(0)))
}

#[tokio::test]
async fn a_reset_is_a_reset_of_the_socket_and_nothing_is_said_before_it() {
    for phase in ["before-read", "before-commit", "after-commit"] {
        let mock = with_fault(INIT, &format!("phase = {phase:?}\ndo = \"reset\"")).await;
        let ended = heard(&mock, &init_request(), b"").await;
        assert_eq!(ended, (String::new(), Some(ErrorKind::ConnectionReset)), "{phase}");
        assert_eq!((mock.exchanges()[0].end, mock.unfired().len()), (End::Reset, 0), "{phase}");
    }
    let mock = with_fault("{ action = \"UploadPart\" }", "phase = \"mid-body\"\nat = 1000\ndo = \"reset\"").await;
    let file = file(0);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    // One byte is held back, so that the server cannot have read all of it by chance.
    let request = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len() + 1);
    let ended = heard(&mock, &request, body).await;
    assert_eq!(ended, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(mock.exchanges()[1].request.body.len, 1000);
}

#[tokio::test]
async fn a_close_within_a_reply_gives_what_was_written_and_looks_truncated() {
    let mock = with_fault(INIT, "phase = \"mid-reply\"\nat = 20\ndo = \"close\"").await;
    let (answer, end) = heard(&mock, &init_request(), b"").await;
    assert_eq!(answer.split_once("\r\n\r\n").expect("the head came whole").1, r#"{"canRetry":0,"code""#);
    assert_eq!((end, mock.exchanges()[0].end), (Some(ErrorKind::UnexpectedEof), End::Closed));
    // Where nothing strikes, the end of the same request is announced.
    let mock = secure(config()).await;
    let (answer, end) = heard(&mock, &init_request(), b"").await;
    assert_code(&json(answer.as_bytes()), 0, 0);
    assert_eq!(end, None);
}

#[tokio::test]
async fn whoever_does_not_shake_hands_disturbs_nobody() {
    let mock = secure(config()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(addr(&mock)).await.unwrap());
    }
    let mut half = TcpStream::connect(addr(&mock)).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let mut gone = TcpStream::connect(addr(&mock)).await.unwrap();
    gone.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    gone.shutdown().await.unwrap();
    assert_eq!(gone.read_to_end(&mut Vec::new()).await.unwrap(), 0, "it is let go");
    let mut garbage = TcpStream::connect(addr(&mock)).await.unwrap();
    garbage.write_all(&[0; 3000]).await.unwrap();
    let mut plain = TcpStream::connect(addr(&mock)).await.unwrap();
    plain.write_all(b"GET /v2/index.php HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut told = String::new();
    plain.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 400 ") && told.ends_with("speaks TLS: call it https.\r\n"), "{told}");
    // It may end as a reset, as what was sent was not all read.
    let _ = garbage.read_to_end(&mut Vec::new()).await;
    assert_code(&get(&mock, &init(&file(0))).await, 0, 0);
    assert_eq!(mock.exchanges().len(), 1, "what was never a request is no exchange");
    // The garbage and the plain request; not who says nothing, or half of what he has to say, and goes on or is gone.
    no_tls(&mock, 2).await;
    drop((silent, half));
}

/// Waits until so many handshakes have failed, and nothing else was no HTTP.
async fn no_tls(mock: &VodMock, expected: u64) {
    let expected = format!("vod_mock_tls_failed_total {expected}\n");
    let mut metrics = String::new();
    let counted = async {
        while !metrics.contains(&expected) {
            metrics = String::from_utf8(send(mock, "GET", "/__vod/metrics", b"").await.unwrap()).unwrap();
        }
    };
    let in_time = timeout(Duration::from_secs(20), counted).await.is_ok();
    assert!(in_time && metrics.contains("vod_mock_not_http_total 0\n"), "expected {expected:?} in {metrics}");
}

#[tokio::test]
async fn a_client_that_trusts_somebody_else_sends_nothing() {
    let (mock, other) = tokio::join!(secure(config()), VodMock::start_tls());
    let stream = TcpStream::connect(addr(&mock)).await.unwrap();
    let name = ServerName::try_from("vod2.qcloud.com").unwrap();
    let error = trusting(other.ca_pem().unwrap()).connect(name, stream).await.unwrap_err();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    assert!(matches!(cause, Some(rustls::Error::InvalidCertificate(_))), "{error:?}");
    assert!(mock.exchanges().is_empty());
    no_tls(&mock, 1).await;
}

#[tokio::test]
async fn the_same_bytes_are_answered_alike_with_tls_and_without() {
    let (plain, secure) = tokio::join!(mock(config()), secure(config()));
    for request in [
        init_request(),
        "GET /v2/index.php?Action=Nope HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /elsewhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n".to_owned(),
        "no HTTP at all\r\n\r\n".to_owned(),
    ] {
        let (over_tcp, over_tls) =
            (raw(&plain, &request, b"").await.unwrap(), raw(&secure, &request, b"").await.unwrap());
        assert_eq!(String::from_utf8_lossy(&over_tcp), String::from_utf8_lossy(&over_tls), "{request}");
    }
}
