//! Which code answers what, in the order of the checks.

use serde_json::Value;
use vod_proto::Sha1;

use crate::wire::{
    PART, assert_code, config, file, finish, get, init, json, mock, part, part_of, post, raw, send, target,
};

#[track_caller]
fn assert_says(reply: &Value, code: i64, can_retry: i64, words: &[&str]) {
    assert_code(reply, code, can_retry);
    crate::wire::assert_says(reply, code, words);
}

#[tokio::test]
async fn common_parameters_and_unknown_actions_are_10001() {
    let mock = mock(config()).await;
    assert_says(&get(&mock, "/v2/index.php").await, -10001, 0, &["Action is missing"]);
    let unknown = target("GET", &[("Action", "InitUplaod")]);
    assert_says(&get(&mock, &unknown).await, -10001, 0, &["InitUplaod", "InitUpload"]);
    let nonce = target("GET", &[("Action", "FinishUpload"), ("Nonce", "x")]);
    assert_says(&get(&mock, &nonce).await, -10001, 0, &["Nonce", "\"x\""]);
}

#[tokio::test]
async fn signature_account_and_expiry_are_10002_and_name_no_secret() {
    let mock = mock(config()).await;
    let file = file(0);
    let spoiled = init(&file).replace("fileName=test", "fileName=tess");
    let reply = get(&mock, &spoiled).await;
    assert_says(&reply, -10002, 0, &["parameter Signature", "the signature does not hold", "vod2.qcloud.com"]);
    assert!(!reply.to_string().contains("AKID"), "{reply}");
    let stranger = target("GET", &[("Action", "FinishUpload"), ("SecretId", "AKIDstranger")]);
    assert_says(&get(&mock, &stranger).await, -10002, 0, &["parameter SecretId", "no account"]);
    let late = target("GET", &[("Action", "FinishUpload"), ("Timestamp", "1499992000")]);
    assert_says(&get(&mock, &late).await, -10002, 0, &["1499992000", "7200"]);
}

#[tokio::test]
async fn protocol_parameters_are_10003_after_the_signature_holds() {
    let mock = mock(config()).await;
    let bad = target("GET", &[("Action", "FinishUpload"), ("fileSha", "xyz")]);
    assert_says(&get(&mock, &bad).await, -10003, 0, &["fileSha", "xyz", "hexadecimal"]);
    let unsigned = bad.replace("Signature=", "Signature=x");
    assert_code(&get(&mock, &unsigned).await, -10002, 0);
}

#[tokio::test]
async fn an_upload_that_was_never_begun_is_10005() {
    let mock = mock(config()).await;
    let file = file(1);
    assert_says(&post(&mock, part(&file, 0)).await, -10005, 1, &["InitUpload"]);
    assert_code(&get(&mock, &finish(&file)).await, -10005, 1);
}

#[tokio::test]
async fn a_body_that_is_not_what_the_query_says_is_10006_and_not_kept() {
    let mock = mock(config()).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let mut other = body.to_vec();
    other[5] ^= 1;
    assert_says(&post(&mock, (target.clone(), &other)).await, -10006, 1, &["MD5"]);
    assert_says(&post(&mock, (target.clone(), &body[1..])).await, -10006, 1, &["524287", "524288"]);
    other.push(0);
    assert_says(&post(&mock, (target, &other)).await, -10006, 1, &["524289"]);
    assert_says(&get(&mock, &finish(&file)).await, -10003, 0, &["offset 0 ", "missing"]);
}

#[tokio::test]
async fn a_file_that_is_not_what_its_sha1_said_is_10003_and_dropped() {
    let mock = mock(config()).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let mut other = file[..PART].to_vec();
    other[0] ^= 1;
    assert_code(&post(&mock, (part_of(&file, 0, &other), &other)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    let announced = Sha1::of(&file).to_string();
    let made = Sha1::of(&[&other[..], &file[PART..]].concat()).to_string();
    assert_says(&get(&mock, &finish(&file)).await, -10003, 0, &[&announced, &made]);
    assert_code(&get(&mock, &finish(&file)).await, -10005, 1);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_first() {
    let mock = mock(config()).await;
    let file = vec![3; 4 << 20];
    // No session, so the answer is clear after the head; 4 MiB do not fit the socket's buffers.
    for _ in 0..20 {
        let target = part_of(&file, 0, &file);
        let answer = send(&mock, "POST", &target, &file).await.expect("the whole body can be written");
        assert_code(&json(&answer), -10005, 1);
    }
}

#[tokio::test]
async fn a_request_as_to_a_proxy_is_served_and_its_password_is_nowhere() {
    let mock = mock(config()).await;
    let target = init(&file(0));
    let head = format!(
        "GET http://user:topsecret@vod2.qcloud.com{target} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n\r\n"
    );
    assert_code(&json(&raw(&mock, &head, b"").await.unwrap()), 0, 0);
    let shown = format!("{:?}", mock.exchanges());
    assert!(!shown.contains("topsecret"), "{shown}");
}

#[tokio::test]
async fn a_body_above_the_ceiling_is_refused_and_cut() {
    let mut config = config();
    config.limits.body_ceiling = 1 << 20;
    config.limits.legacy_part_max = 1 << 20;
    let mock = mock(config).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, _) = part(&file, 0);
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".as_slice(), &[0; 1 << 20], b"\r\n"].concat().repeat(64);
    // The server hangs up somewhere within the 64 MiB: what matters is that it stopped reading.
    let _ = raw(&mock, &head, &chunk).await;
    let exchange = mock.exchanges().into_iter().next_back().expect("it is on record");
    assert!(exchange.request.body.len < 4 << 20, "{exchange:?}");
    assert_eq!(exchange.code().map(|code| code.0), Some(-10006), "{exchange:?}");
}
