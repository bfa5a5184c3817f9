//! What `observed` accepts and notes, `documented` refuses with the rule named.

use serde_json::Value;
use vod_mock::{Config, VodMock};
use vod_proto::{Limits, Sha1, findings, rules::Profile};

use crate::wire::{NOW, assert_code, config, file, get, init, json, mock, part, post, raw, send, target};

async fn both() -> (VodMock, VodMock) {
    (mock(config()).await, mock(Config { profile: Profile::Documented, ..config() }).await)
}

/// `observed` answered `code` and noted the rule; `documented` refused with `refusal` and named it.
#[track_caller]
fn check(rule: &str, code: i64, refusal: i64, mocks: &(VodMock, VodMock), replies: (Value, Value)) {
    assert_eq!(replies.0["code"].as_i64(), Some(code), "{}", replies.0);
    let exchange = mocks.0.exchanges().pop().unwrap();
    let noted: Vec<_> = findings::of_exchange(&exchange, &Limits::default()).iter().map(|d| d.rule.id).collect();
    assert!(noted.contains(&rule), "{noted:?}");
    assert_code(&replies.1, refusal, i64::from(refusal == -10006));
    assert!(replies.1["message"].as_str().unwrap().contains(&format!("rule {rule}")), "{}", replies.1);
}

fn init_with(change: &[(&str, &str)]) -> String {
    let sha = Sha1::of(b"profile").to_string();
    let mut params = vec![
        ("Action", "InitUpload"),
        ("fileName", "test"),
        ("fileSha", sha.as_str()),
        ("fileSize", "600000"),
        ("dataSize", "524288"),
        ("fileType", "mp4"),
    ];
    for (name, value) in change {
        params.retain(|(known, _)| known != name);
        params.push((name, value));
    }
    target("GET", &params)
}

async fn get_both(mocks: &(VodMock, VodMock), target: &str) -> (Value, Value) {
    (get(&mocks.0, target).await, get(&mocks.1, target).await)
}

#[tokio::test]
async fn what_the_documents_say_passes_both() {
    let mocks = both().await;
    for mock in [&mocks.0, &mocks.1] {
        let file = file(1);
        assert_code(&get(mock, &init(&file)).await, 0, 0);
        assert_code(&post(mock, part(&file, 0)).await, 0, 0);
        assert_code(&post(mock, part(&file, 1)).await, 0, 0);
        assert_code(&get(mock, &crate::wire::finish(&file)).await, 0, 0);
        for exchange in mock.exchanges() {
            assert_eq!(findings::of_exchange(&exchange, &Limits::default()), []);
        }
    }
}

#[tokio::test]
async fn row_1_methods() {
    let mocks = both().await;
    let signed = target_signed("POST", &init_with(&[]));
    let replies = (
        json(&send(&mocks.0, "POST", &signed, b"").await.unwrap()),
        json(&send(&mocks.1, "POST", &signed, b"").await.unwrap()),
    );
    check("documented-method", 0, -10001, &mocks, replies);
}

/// The same parameters, signed for another method.
fn target_signed(method: &str, of: &str) -> String {
    let (_, query) = vod_proto::Query::split_target(of);
    let params: Vec<_> = query
        .pairs()
        .iter()
        .map(|pair| (pair.name().into_owned(), pair.value(vod_proto::query::Decoding::Form).into_owned()))
        .filter(|(name, _)| name != "Signature")
        .collect();
    let params: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    target(method, &params)
}

#[tokio::test]
async fn row_2_paths() {
    let mocks = both().await;
    let mut query = vod_proto::Query::split_target(&init_with(&[])).1;
    let without: Vec<_> =
        query.to_string().split('&').filter(|p| !p.starts_with("Signature=")).map(str::to_owned).collect();
    query = vod_proto::Query::parse(&without.join("&"));
    let key = vod_proto::sign::SecretKey::new(vod_mock::DEMO_SECRET_KEY);
    vod_proto::sign::sign_query(
        &key,
        vod_proto::sign::SignatureMethod::HmacSha1,
        "GET",
        "vod2.qcloud.com",
        "/v3/index.php",
        &mut query,
    );
    let replies = get_both(&mocks, &format!("/v3/index.php?{query}")).await;
    check("documented-path", 0, -10001, &mocks, replies);
}

#[tokio::test]
async fn row_7_tags() {
    let mocks = both().await;
    let replies = get_both(&mocks, &init_with(&[("tag.1", "a")])).await;
    check("tags-plural", 0, -10003, &mocks, replies);
}

#[tokio::test]
async fn row_8_upper_case_digests() {
    let mocks = both().await;
    let sha = Sha1::of(b"profile").to_string().to_uppercase();
    let replies = get_both(&mocks, &init_with(&[("fileSha", &sha)])).await;
    check("digest-lower-case", 0, -10003, &mocks, replies);
}

#[tokio::test]
async fn row_12_timestamps_in_milliseconds() {
    let mocks = both().await;
    let replies = get_both(&mocks, &init_with(&[("Timestamp", &format!("{NOW}000"))])).await;
    check("timestamp-seconds", 0, 4500, &mocks, replies);
}

#[tokio::test]
async fn row_12_timestamps_out_of_the_window_have_a_code_of_their_own() {
    let mocks = both().await;
    let replies = get_both(&mocks, &init_with(&[("Timestamp", &(NOW - 7201).to_string())])).await;
    assert_code(&replies.0, -10002, 0);
    assert_code(&replies.1, 4500, 0);
    assert_code(&get(&mocks.1, &init_with(&[("Timestamp", &(NOW - 7190).to_string())])).await, 0, 0);
}

#[tokio::test]
async fn row_18_chunked_parts() {
    let mocks = both().await;
    let file = file(0);
    get_both(&mocks, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    let body = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    let replies =
        (json(&raw(&mocks.0, &head, &body).await.unwrap()), json(&raw(&mocks.1, &head, &body).await.unwrap()));
    check("part-content-length", 0, -10006, &mocks, replies);
}

#[tokio::test]
async fn row_18_an_empty_part_at_the_end() {
    let mocks = both().await;
    let file = file(1);
    get_both(&mocks, &init(&file)).await;
    let target = crate::wire::part_of(&file, file.len(), b"");
    let replies = (post(&mocks.0, (target.clone(), b"")).await, post(&mocks.1, (target, b"")).await);
    check("no-empty-tail", 0, -10003, &mocks, replies);
}

#[tokio::test]
async fn row_19_a_pipe_in_the_name() {
    let mocks = both().await;
    let replies = get_both(&mocks, &init_with(&[("fileName", "a|b")])).await;
    check("file-name-no-pipe", 0, -10003, &mocks, replies);
}

#[tokio::test]
async fn unknown_parameters_are_never_refused() {
    let mocks = both().await;
    let replies = get_both(&mocks, &init_with(&[("storeTime", "0")])).await;
    assert_code(&replies.0, 0, 0);
    assert_code(&replies.1, 0, 0);
}

#[tokio::test]
async fn post_without_length_or_chunks_is_an_empty_body() {
    let mocks = both().await;
    let signed = target_signed("POST", &init_with(&[]));
    let head = format!("POST {signed} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_code(&json(&raw(&mocks.0, &head, b"").await.unwrap()), 0, 0);
}
