//! A client of a few lines: raw requests over raw sockets.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use vod_mock::{Accounts, Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, VodMock};
use vod_proto::{
    Md5, Query, Sha1,
    sign::{SecretKey, SignatureMethod, sign_query},
};
use vod_serve::WallClock;

/// The time of day in these tests, in seconds since 1970.
pub(crate) const NOW: i64 = 1_500_000_000;

/// The smallest part size, and the one of these tests.
pub(crate) const PART: usize = 524_288;

pub(crate) fn config() -> Config {
    config_at(NOW)
}

/// A mock at another time of day.
pub(crate) fn config_at(now: i64) -> Config {
    let epoch = jiff::Timestamp::from_second(now).unwrap();
    Config { clock: WallClock::fixed(epoch), seed: 1, ..Config::default() }
}

/// An account file of one account, which is called `test`.
pub(crate) fn account(more: &str) -> Accounts {
    let keys = format!("secret-id = {DEMO_SECRET_ID:?}\nsecret-key = {DEMO_SECRET_KEY:?}\n");
    toml::from_str(&format!("[[account]]\nname = \"test\"\napp-id = 10013\n{keys}{more}\n")).unwrap()
}

pub(crate) async fn mock(config: Config) -> VodMock {
    VodMock::start_with(config).await.unwrap()
}

/// A file of some parts and a bit, all different.
pub(crate) fn file(parts: usize) -> Vec<u8> {
    // Made by copying: hundreds of tests want one.
    let block: Vec<u8> = (0..7 * 251).map(|n| u8::try_from(n / 7).unwrap()).collect();
    let bytes = block.repeat((parts + 1) * (PART / block.len() + 2));
    (0..=parts).flat_map(|part| bytes[part * 7..][..if part < parts { PART } else { 1000 }].to_vec()).collect()
}

/// A signed request target; `params` may spoil it.
pub(crate) fn target(method: &str, params: &[(&str, &str)]) -> String {
    target_at("/v2/index.php", method, params)
}

/// The same for another path.
pub(crate) fn target_at(path: &str, method: &str, params: &[(&str, &str)]) -> String {
    target_of((DEMO_SECRET_ID, DEMO_SECRET_KEY), path, method, params)
}

/// The same, signed with another key pair.
pub(crate) fn target_of((id, key): (&str, &str), path: &str, method: &str, params: &[(&str, &str)]) -> String {
    let mut query = Query::default();
    for (name, value) in params {
        query.push(name, value);
    }
    let sent: BTreeMap<_, _> = params.iter().copied().collect();
    let now = NOW.to_string();
    for (name, value) in [("Region", "gz"), ("Timestamp", now.as_str()), ("Nonce", "7"), ("SecretId", id)] {
        if !sent.contains_key(name) {
            query.push(name, value);
        }
    }
    let key = SecretKey::new(key);
    sign_query(&key, SignatureMethod::HmacSha1, method, "vod2.qcloud.com", path, &mut query);
    format!("{path}?{query}")
}

/// A target that is not signed here: an upload signature stands in it, or nothing holds.
pub(crate) fn unsigned(params: &[(&str, &str)]) -> String {
    let mut query = Query::default();
    for (name, value) in params {
        query.push(name, value);
    }
    format!("/v2/index.php?{query}")
}

pub(crate) fn init(file: &[u8]) -> String {
    init_at(NOW, file)
}

/// The same, at another time of day.
pub(crate) fn init_at(now: i64, file: &[u8]) -> String {
    let (sha, size, now) = (Sha1::of(file).to_string(), file.len().to_string(), now.to_string());
    target(
        "GET",
        &[
            ("Action", "InitUpload"),
            ("fileName", "test"),
            ("fileSha", &sha),
            ("fileSize", &size),
            ("dataSize", "524288"),
            ("fileType", "mp4"),
            ("Timestamp", &now),
        ],
    )
}

pub(crate) fn finish(file: &[u8]) -> String {
    target("GET", &[("Action", "FinishUpload"), ("fileSha", &Sha1::of(file).to_string())])
}

/// The target and body of a part, counted from 0.
pub(crate) fn part(file: &[u8], index: usize) -> (String, &[u8]) {
    let offset = index * PART;
    let body = &file[offset..file.len().min(offset + PART)];
    (part_of(file, offset, body), body)
}

pub(crate) fn part_of(file: &[u8], offset: usize, body: &[u8]) -> String {
    target(
        "POST",
        &[
            ("Action", "UploadPart"),
            ("fileSha", &Sha1::of(file).to_string()),
            ("offset", &offset.to_string()),
            ("dataSize", &body.len().to_string()),
            ("dataMd5", &Md5::of(body).to_string()),
        ],
    )
}

/// A connection: a socket, TLS on one, or a pipe.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a mock listens.
pub(crate) fn addr(mock: &VodMock) -> &str {
    mock.endpoint().split_once("://").unwrap().1
}

/// A mock that can be talked to.
pub(crate) trait Peer {
    async fn connect(&self) -> std::io::Result<Box<dyn Stream>>;
}

/// Over TLS if it speaks that, with the host in mind that unmodified clients have.
impl Peer for VodMock {
    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(addr(self)).await?;
        let Some(pem) = self.ca_pem() else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from("vod2.qcloud.com").unwrap();
        Ok(Box::new(trusting(pem).connect(name, stream).await?))
    }
}

pub(crate) async fn connect(mock: &impl Peer) -> std::io::Result<Box<dyn Stream>> {
    mock.connect().await
}

/// A TLS client that trusts this certificate alone.
pub(crate) fn trusting(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth()).into()
}

/// What came back, to the byte.
pub(crate) async fn raw(mock: &impl Peer, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(mock).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

pub(crate) async fn send(mock: &impl Peer, method: &str, target: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n{length}\r\n");
    raw(mock, &head, body).await
}

/// The JSON of a reply that must be one.
pub(crate) fn json(answer: &[u8]) -> Value {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

pub(crate) async fn get(mock: &impl Peer, target: &str) -> Value {
    json(&send(mock, "GET", target, b"").await.unwrap())
}

pub(crate) async fn post(mock: &impl Peer, (target, body): (String, &[u8])) -> Value {
    json(&send(mock, "POST", &target, body).await.unwrap())
}

/// The rules of form that the requests so far did not keep, each once, as the admin API tells.
pub(crate) async fn findings(mock: &VodMock) -> Vec<String> {
    let found = get(mock, "/__vod/findings").await;
    let mut rules: Vec<String> = Vec::new();
    for finding in found["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "note") {
        let rule = finding["rule"].as_str().unwrap().to_owned();
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// A code, and words that the message must have.
#[track_caller]
pub(crate) fn assert_says(reply: &Value, code: i64, words: &[&str]) {
    let message = reply["message"].as_str().unwrap_or_default();
    let said = words.iter().all(|word| message.contains(word));
    assert!(reply["code"].as_i64() == Some(code) && said, "expected {code} and {words:?} in {reply}");
}

#[track_caller]
pub(crate) fn assert_code(reply: &Value, code: i64, can_retry: i64) {
    assert_eq!((reply["code"].as_i64(), reply["canRetry"].as_i64()), (Some(code), Some(can_retry)), "{reply}");
}
