//! What was seen, by account: exchanges, findings, uploads, and what is counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use vod_mock::Config;
use vod_proto::Sha1;
use vod_serve::Journal;

use super::{api::Api, uploader::Uploader};
use crate::wire::{PART, addr, config, connect, file, get, init, mock, target_of};

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn evidence_is_asked_for_by_account_action_file_and_number() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let (a, b) = (Uploader::new(&mock, &api, "a", json!({})).await, Uploader::new(&mock, &api, "b", json!({})).await);
    let (one, two) = (file(0), [file(0), b"more".to_vec()].concat());
    a.upload(&one).await;
    b.upload(&one).await;
    a.upload(&two).await;
    get(&mock, "/v2/index.php?Action=Nope").await;
    let wrong = [("Action", "FinishUpload"), ("fileSha", "xyz")];
    get(&mock, &target_of((&b.secret_id, &b.secret_key), "/v2/index.php", "GET", &wrong)).await;
    let sha = Sha1::of(&one);
    for (query, expected) in [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..]),
        ("?account=a", &[1, 2, 3, 7, 8, 9]),
        ("?action=InitUpload", &[1, 4, 7]),
        ("?action=Nope", &[10]),
        ("?action=Report", &[]),
        (&format!("?file-sha1={sha}"), &[1, 2, 3, 4, 5, 6]),
        ("?after=8", &[9, 10, 11]),
        (&format!("?account=a&action=UploadPart&file-sha1={sha}&after=1"), &[2]),
        ("?account=b&follow=0", &[4, 5, 6, 11]),
    ] {
        assert_eq!(numbers(&api.get(&format!("/__vod/exchanges{query}")).await.lines()), expected, "{query}");
    }
    for (query, name) in [("file-sha1=xyz", "file-sha1"), ("after=-1", "after"), ("follow=yes", "follow")] {
        let told = api.get(&format!("/__vod/exchanges?{query}")).await.refused(400, "query", &[name, "expected"]);
        assert_eq!(told["name"], name);
    }
    assert_eq!(api.seen("/__vod/findings?account=a").await, json!({ "verdict": "pass", "evicted": 0, "findings": [] }));
    let found = api.seen("/__vod/findings?account=b").await;
    assert_eq!((&found["verdict"], &found["findings"][0]["exchanges"]), (&json!("fail"), &json!([11])));
    let found = api.seen("/__vod/findings").await;
    let whose: Vec<_> = found["findings"].as_array().unwrap().iter().map(|finding| &finding["account"]).collect();
    assert_eq!(whose, [&Value::Null, &json!("b")]);
    let uploads = |seen: Value| seen.as_array().unwrap().iter().map(|view| view["account"].clone()).collect::<Vec<_>>();
    assert_eq!(uploads(api.seen("/__vod/uploads").await), ["a", "a", "b"]);
    assert_eq!(uploads(api.seen("/__vod/uploads?account=b").await), ["b"]);
    assert_eq!(uploads(api.seen(&format!("/__vod/uploads/{sha}")).await), ["a", "b"]);
    let own = api.seen(&format!("/__vod/uploads/{sha}?account=b&rehash=1")).await;
    assert_eq!((own[0]["account"].as_str(), &own[0]["stored-sha1"]), (Some("b"), &json!(sha)));
    let other = Sha1::of(&two);
    let told = api.get(&format!("/__vod/uploads/{other}?account=b")).await.refused(404, "path", &[&other.to_string()]);
    assert_eq!(told["name"], "sha");
    api.get("/__vod/uploads/xyz").await.refused(400, "path", &["xyz"]);
}

#[tokio::test]
async fn what_is_left_of_an_account_that_is_unknown_in_this_life_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let life = || Config { journal: Journal::file(&path, 1).unwrap(), ..config() };
    let first = mock(life()).await;
    let api = Api::of(&first).await;
    Uploader::new(&first, &api, "gone", json!({})).await.init(&file(0)).await;
    first.stop().await;
    let second = mock(life()).await;
    let api = Api::of(&second).await;
    assert_eq!(api.get("/__vod/exchanges?account=gone").await.lines().len(), 1);
    api.get("/__vod/exchanges?account=nobody").await.refused(404, "query", &["\"nobody\"", "expected demo"]);
    api.get("/__vod/faults?account=gone").await.refused(404, "query", &["\"gone\""]);
    second.stop().await;
    // It is known also where nothing of it is kept any more.
    let third = mock(Config { journal: Journal::builder(1).ceiling(0).file(&path).unwrap(), ..config() }).await;
    let answer = Api::of(&third).await.get("/__vod/exchanges?account=gone").await;
    assert_eq!((answer.status, answer.header("x-vod-evicted"), &*answer.text), (200, "1", ""));
}

#[tokio::test]
async fn answers_may_be_longer_than_a_batch() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let long = format!("/v2/index.php?Action=Nope&long={}", "x".repeat(30_000));
    for _ in 0..10 {
        get(&mock, &long).await;
    }
    let answer = api.get("/__vod/exchanges").await;
    assert_eq!((numbers(&answer.lines()), answer.text.len() > 300_000), ((1..=10).collect(), true));
}

/// The samples of a page, after a look at its form.
fn samples(page: &str) -> BTreeMap<String, u64> {
    let (mut samples, mut family) = (BTreeMap::new(), String::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(!samples.keys().any(|sample: &String| sample.starts_with(&family)), "{family} stands twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let counter = family.ends_with("_total");
            assert_eq!(kind, format!("{family} {}", if counter { "counter" } else { "gauge" }));
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(sample == family || sample.starts_with(&format!("{family}{{")), "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(samples.insert(sample.to_owned(), value), None, "{line} stands twice");
        }
    }
    assert!(page.ends_with('\n'));
    samples
}

#[tokio::test]
async fn what_is_counted_is_told_to_prometheus() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let a = Uploader::new(&mock, &api, "a", json!({})).await;
    let plan = json!({ "fault": [
        { "id": "lost", "on": { "action": "FinishUpload", "times": 1 }, "phase": "after-commit", "do": "reset" },
        { "id": "never", "on": { "part": 9 }, "phase": "after-commit", "do": "reset" },
    ] });
    let file = file(0);
    assert_eq!((a.init(&file).await["code"].as_i64(), a.part(&file).await["code"].as_i64()), (Some(0), Some(0)));
    get(&mock, &init(&file)).await;
    get(&mock, "/v2/index.php?Action=Nope").await;
    let mut stranger = connect(&mock).await.unwrap();
    stranger.write_all(b"no HTTP\r\n\r\n").await.unwrap();
    stranger.read_to_end(&mut Vec::new()).await.unwrap();
    let count = async |sample: &str| samples(&api.get("/__vod/metrics").await.text).get(sample).copied();
    while count("vod_mock_not_http_total").await != Some(1) {}
    assert_eq!(api.post(&a.own("faults"), &plan).await.status, 201);
    let cut = tokio::spawn({
        let sha = Sha1::of(&file).to_string();
        let params = [("Action", "FinishUpload"), ("fileSha", &*sha)];
        let target = target_of((&a.secret_id, &a.secret_key), "/v2/index.php", "GET", &params);
        let addr = addr(&mock).to_owned();
        async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap_err().kind()
        }
    });
    assert_eq!(cut.await.unwrap(), std::io::ErrorKind::ConnectionReset);
    let answer = api.get("/__vod/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let samples = samples(&answer.text);
    let exchanges = |labels: &str| samples[&format!("vod_mock_exchanges_total{{{labels}}}")];
    assert_eq!(exchanges(r#"account="a",action="InitUpload",end="replied",status="200",code="0""#), 1);
    assert_eq!(exchanges(r#"account="a",action="UploadPart",end="replied",status="200",code="0""#), 1);
    assert_eq!(exchanges(r#"account="a",action="FinishUpload",end="reset",status="",code="""#), 1);
    assert_eq!(exchanges(r#"account="",action="",end="replied",status="200",code="-10001""#), 1);
    for (sample, expected) in [
        ("vod_mock_accounts", 2),
        (r#"vod_mock_faults_struck_total{account="a"}"#, 1),
        (r#"vod_mock_faults_planted{account="a"}"#, 2),
        (r#"vod_mock_faults_unfired{account="a"}"#, 1),
        (r#"vod_mock_request_body_bytes_total{account="a"}"#, 1000),
        (r#"vod_mock_exchanges_evicted_total{account="a"}"#, 0),
        (r#"vod_mock_sessions_open{account="a"}"#, 0),
        (r#"vod_mock_sessions_open{account="demo"}"#, 1),
        ("vod_mock_not_http_total", 1),
        ("vod_mock_followers", 0),
    ] {
        assert_eq!(samples.get(sample), Some(&expected), "{sample}");
    }
    assert!(
        file.len() < PART && samples["vod_mock_connections_total"] >= 6 && samples["vod_mock_connections_open"] >= 1
    );
}
