//! What a mock makes of evidence that it could not keep.

use std::sync::Arc;

use serde_json::{Value, json};
use vod_mock::{Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, VodMock};
use vod_proto::Verdict;
use vod_serve::journal::Journal;

use crate::wire::{config, file, finish, get, init, mock, part, post, send, target};

/// A mock that keeps so many bytes of evidence, after an upload as the documents ask for.
async fn after_an_upload(kept: usize) -> (VodMock, Arc<Journal>) {
    let journal = Journal::builder(1).ceiling(kept).memory();
    let account =
        |name, id, key| format!("[[account]]\nname = {name:?}\napp-id = 1\nsecret-id = {id:?}\nsecret-key = {key:?}\n");
    let accounts = account("demo", DEMO_SECRET_ID, DEMO_SECRET_KEY) + &account("quiet", "i", "k");
    let accounts = toml::from_str(&accounts).unwrap();
    let mock = mock(Config { accounts, journal: Arc::clone(&journal), ..config() }).await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    for index in 0..3 {
        post(&mock, part(&file, index)).await;
    }
    get(&mock, &finish(&file)).await;
    (mock, journal)
}

async fn shown(mock: &VodMock) -> (Value, Value) {
    let findings = get(mock, "/__vod/findings").await;
    assert_eq!(findings, serde_json::to_value(mock.findings()).unwrap(), "one answer, however one asks");
    (findings["verdict"].clone(), findings["evicted"].clone())
}

async fn evicted(mock: &VodMock, query: &str) -> String {
    let answer = send(mock, "GET", &format!("/__vod/exchanges{query}"), b"").await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let header = text.lines().find_map(|line| line.strip_prefix("x-vod-evicted: "));
    header.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[tokio::test]
async fn nothing_found_in_evidence_that_was_evicted_is_no_pass() {
    let (mock, _) = after_an_upload(1 << 20).await;
    assert_eq!(shown(&mock).await, (json!("pass"), json!(0)));
    let (mock, _) = after_an_upload(4_000).await;
    let lost = mock.findings().lacking.evicted();
    assert!(lost > 0 && mock.exchanges().len() as u64 + lost == 5, "{lost}");
    assert_eq!(shown(&mock).await, (json!("inconclusive"), json!(lost)));
    assert_eq!(evicted(&mock, "").await, lost.to_string());
    assert_eq!(evicted(&mock, "?account=demo").await, lost.to_string());
    assert_eq!(evicted(&mock, "?account=quiet").await, "0");
}

#[tokio::test]
async fn what_the_exchanges_that_are_there_prove_is_a_failure_whatever_is_missing() {
    let (mock, journal) = after_an_upload(4_000).await;
    get(&mock, &target("GET", &[("Action", "FinishUpload"), ("fileSha", "xyz")])).await;
    let findings = mock.findings();
    let rules: Vec<_> = findings.findings.iter().map(|finding| (finding.rule.id, &finding.exchanges[..])).collect();
    assert_eq!((findings.verdict(), rules), (Verdict::Fail, vec![("parameters", &[6_u64][..])]));
    assert_eq!(shown(&mock).await, (json!("fail"), json!(journal.evicted())));
}
