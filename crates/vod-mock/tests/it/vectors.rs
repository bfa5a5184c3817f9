//! Requests of real clients, byte by byte as they were sent, to a mock whose clock stands at their time.

use std::fmt::Write as _;

use serde::Deserialize;
use vod_mock::{Accounts, Config, VodMock};
use vod_proto::{Limits, Query, lint, rules};
use vod_serve::WallClock;

use crate::wire::{json, mock, raw};

#[derive(Deserialize)]
struct Vectors {
    requests: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    client: String,
    action: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_len: usize,
}

fn vectors() -> Vec<Sent> {
    let text = include_str!("../../../vod-proto/tests/vectors/clients.json");
    serde_json::from_str::<Vectors>(text).unwrap().requests
}

/// A mock with the account that the clients were given, at the time of this request.
async fn at_the_time_of(sent: &Sent) -> VodMock {
    let accounts: Accounts = toml::from_str(
        "[[account]]\nname = \"test\"\napp-id = 1\nsecret-id = \"testSecretId\"\nsecret-key = \"testSecretKey\"\n",
    )
    .unwrap();
    let timestamp = Query::split_target(&sent.target).1.get("Timestamp").unwrap()[..10].parse().unwrap();
    let clock = WallClock::fixed(jiff::Timestamp::from_second(timestamp).unwrap());
    mock(Config { accounts, clock, ..Config::default() }).await
}

/// Sends it with the framing that the client gave it, and other bytes: the bodies are not on record.
async fn send(mock: &VodMock, sent: &Sent) -> i64 {
    let chunked = sent.headers.iter().any(|(name, _)| name == "Transfer-Encoding");
    let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:8266\r\n", sent.method, sent.target);
    for (name, value) in sent.headers.iter().filter(|(name, _)| name != "Connection") {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("Connection: close\r\n\r\n");
    let body = match (chunked, sent.body_len) {
        (false, len) => vec![0; len],
        (true, 0) => b"0\r\n\r\n".to_vec(),
        (true, len) => [format!("{len:x}\r\n").as_bytes(), &vec![0; len], b"\r\n0\r\n\r\n"].concat(),
    };
    json(&raw(mock, &head, &body).await.unwrap())["code"].as_i64().unwrap()
}

/// What of the last exchange the documents would have had otherwise, each rule once; the body is this test's own.
fn noted(mock: &VodMock) -> Vec<&'static str> {
    let exchange = mock.exchanges().into_iter().next_back().unwrap();
    let mut rules: Vec<_> = lint::deviations(&exchange, &Limits::default()).iter().map(|found| found.rule.id).collect();
    rules.retain(|id| *id != rules::PART_BODY.id);
    rules.dedup();
    rules
}

#[tokio::test]
async fn requests_of_real_clients_pass_every_check_up_to_the_body() {
    let vectors = vectors();
    let mut told = String::new();
    for sent in &vectors {
        let mock = at_the_time_of(sent).await;
        // What comes after an opening is preceded by this client's own, at whatever time that was sent.
        if sent.action != "MultipartUploadVodFile" && sent.action != "InitUpload" {
            let opening = vectors.iter().find(|other| other.client == sent.client && other.action == "InitUpload");
            assert_eq!(send(&mock, opening.unwrap()).await, 0, "{} opens", sent.client);
        }
        let code = send(&mock, sent).await;
        writeln!(told, "{} {}: {code}, {}", sent.client, sent.action, noted(&mock).join(" ")).unwrap();
    }
    // A part of zeros fails at its MD5, and the finish at the missing part; the legacy family has no MD5 to fail at.
    expect_test::expect![[r#"
        nodejs-server-sdk-v4 InitUpload: 0, documented-method timestamp-seconds known-parameters
        nodejs-server-sdk-v4 UploadPart: -10006, timestamp-seconds known-parameters part-content-length
        nodejs-server-sdk-v4 FinishUpload: -10003, documented-method timestamp-seconds known-parameters
        php-server-sdk-v4 InitUpload: 0, documented-method documented-path known-parameters tags-plural
        php-server-sdk-v4 UploadPart: -10006, documented-path known-parameters
        php-server-sdk-v4 FinishUpload: -10003, documented-method documented-path known-parameters
        php-shaozeming-multipart MultipartUploadVodFile: 0, known-parameters
    "#]]
    .assert_eq(&told);
}

#[tokio::test]
async fn the_same_requests_are_refused_when_a_byte_changes_or_the_clock_does() {
    for sent in vectors() {
        let wrong = if sent.action == "MultipartUploadVodFile" { 10004 } else { -10002 };
        let mock = at_the_time_of(&sent).await;
        let spoilt = Sent { target: sent.target.replacen("Nonce=", "Nonce=0", 1), ..sent };
        assert_eq!(send(&mock, &spoilt).await, wrong, "{} {}", spoilt.client, spoilt.action);
        let later = crate::wire::config_at(1_795_226_785 + 9_000).clock;
        let late = Config { clock: later, ..Config::default() };
        let accounts = toml::from_str(
            "[[account]]\nname = \"test\"\napp-id = 1\nsecret-id = \"testSecretId\"\nsecret-key = \"testSecretKey\"\n",
        );
        let late = crate::wire::mock(Config { accounts: accounts.unwrap(), ..late }).await;
        let lapsed = if spoilt.action == "MultipartUploadVodFile" { -26498 } else { -10002 };
        let intact = Sent { target: spoilt.target.replacen("Nonce=0", "Nonce=", 1), ..spoilt };
        assert_eq!(send(&late, &intact).await, lapsed, "{} {}", intact.client, intact.action);
    }
}
