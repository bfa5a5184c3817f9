//! Each fault as it looks on the wire, and as it stands in the journal.

use std::{
    future::Future,
    io::ErrorKind,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use vod_mock::{Config, MemoryStore, Mock, VodMock};
use vod_proto::{Exchange, Sha1, exchange::End};
use vod_serve::{KillTarget, Killer, Plan};

use crate::wire::{assert_code, config, file, finish, get, init, json, mock, part, post, send};

fn plan(on: &str, phase: &str, verdict: &str) -> Plan {
    toml::from_str(&format!("[[fault]]\nid = \"f\"\non = {on}\nphase = \"{phase}\"\ndo = {verdict}\n")).unwrap()
}

async fn with_fault(on: &str, phase: &str, verdict: &str) -> VodMock {
    mock(Config { plan: plan(on, phase, verdict), ..config() }).await
}

/// The exchange that the fault struck.
#[track_caller]
fn struck(mock: &VodMock) -> Exchange {
    assert_eq!(mock.unfired(), [""; 0], "the fault never struck");
    let mut exchanges = mock.exchanges();
    exchanges.retain(|exchange| exchange.faults.iter().any(|mark| mark.id == "f"));
    assert_eq!(exchanges.len(), 1, "{exchanges:#?}");
    exchanges.remove(0)
}

const INIT: &str = "{ action = \"InitUpload\", attempt = 1 }";
const FINISH: &str = "{ action = \"FinishUpload\", attempt = 1 }";
const PART_2: &str = "{ action = \"UploadPart\", part = 2, attempt = 1 }";

#[tokio::test]
async fn a_reply_fault_answers_in_place_of_the_server() {
    let mock = with_fault(INIT, "before-read", "{ reply = { code = -10004, can-retry = true } }").await;
    let file = file(0);
    assert_code(&get(&mock, &init(&file)).await, -10004, 1);
    assert!(!struck(&mock).acknowledged());
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
}

#[tokio::test]
async fn an_http_fault_has_its_status_and_retry_after() {
    let mock = with_fault(INIT, "before-commit", "{ http = { status = 503, retry-after = \"1500ms\" } }").await;
    let answer = String::from_utf8(send(&mock, "GET", &init(&file(0)), b"").await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 2\r\n"), "{answer}");
    assert_eq!(struck(&mock).reply.unwrap().status, 503);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    for phase in ["before-read", "before-commit", "after-commit"] {
        let mock = with_fault(INIT, phase, "\"reset\"").await;
        let error = send(&mock, "GET", &init(&file(0)), b"").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{phase}");
        let exchange = struck(&mock);
        assert_eq!((exchange.end, exchange.reply.is_some()), (End::Reset, false), "{phase}");
    }
}

#[tokio::test]
async fn a_close_ends_without_a_byte() {
    let mock = with_fault(INIT, "before-commit", "\"close\"").await;
    assert_eq!(send(&mock, "GET", &init(&file(0)), b"").await.unwrap(), b"");
    assert_eq!(struck(&mock).end, End::Closed);
}

#[tokio::test]
async fn after_the_commit_the_effect_stays_and_before_it_there_is_none() {
    for (phase, code) in [("before-commit", 0), ("after-commit", 2)] {
        let mock = with_fault(FINISH, phase, "\"reset\"").await;
        let file = file(0);
        get(&mock, &init(&file)).await;
        post(&mock, part(&file, 0)).await;
        send(&mock, "GET", &finish(&file), b"").await.unwrap_err();
        struck(&mock);
        let again = get(&mock, &init(&file)).await;
        // Before the commit all parts are there and the upload can be resumed.
        assert_code(&again, if code == 0 { 1 } else { code }, 0);
    }
}

#[tokio::test]
async fn a_reset_within_the_body_comes_after_so_many_bytes() {
    let plan: Plan = toml::from_str(&format!(
        "[[fault]]\nid = \"f\"\non = {PART_2}\nphase = \"mid-body\"\nat = 300000\ndo = \"reset\"\n"
    ))
    .unwrap();
    let mock = mock(Config { plan, ..config() }).await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    let (target, body) = part(&file, 1);
    send(&mock, "POST", &target, body).await.unwrap_err();
    let exchange = struck(&mock);
    assert_eq!((exchange.end, exchange.request.body.len), (End::Reset, 300_000));
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
}

#[tokio::test]
async fn a_reply_is_cut_after_so_many_bytes() {
    let plan: Plan = toml::from_str(&format!(
        "[[fault]]\nid = \"f\"\non = {INIT}\nphase = \"mid-reply\"\nat = 20\ndo = \"close\"\n"
    ))
    .unwrap();
    let mock = mock(Config { plan, ..config() }).await;
    let answer = String::from_utf8(send(&mock, "GET", &init(&file(0)), b"").await.unwrap()).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("the head came whole");
    assert_eq!(body, r#"{"canRetry":0,"code""#);
    let exchange = struck(&mock);
    assert_eq!((exchange.end, exchange.acknowledged()), (End::Closed, false));
}

#[tokio::test]
async fn a_dropped_part_is_acknowledged_and_missing() {
    let mock = with_fault(PART_2, "before-commit", "\"drop-part\"").await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    for index in 0..3 {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
    }
    assert!(struck(&mock).acknowledged());
    let refused = get(&mock, &finish(&file)).await;
    assert_code(&refused, -10003, 0);
    assert!(refused["message"].as_str().unwrap().contains("offset 524288 "), "{refused}");
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
}

#[tokio::test]
async fn a_fault_behind_an_effect_does_not_strike_a_refusal() {
    for (on, phase, verdict) in [(FINISH, "after-commit", "\"reset\""), (PART_2, "before-commit", "\"drop-part\"")] {
        let mock = with_fault(on, phase, verdict).await;
        let file = file(1);
        get(&mock, &init(&file)).await;
        let (target, body) = part(&file, 1);
        assert_code(&post(&mock, (target, &body[1..])).await, -10006, 1);
        assert_code(&get(&mock, &finish(&file)).await, -10003, 0);
        assert_eq!(mock.unfired(), ["f"], "{phase}");
    }
}

#[tokio::test]
async fn what_a_stopping_server_leaves_was_closed_by_the_server() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let journal = vod_serve::Journal::memory(1);
    let mock = mock(Config { journal: Arc::clone(&journal), ..config() }).await;
    let mut stream = tokio::net::TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 25]).await.unwrap();
    mock.stop().await;
    assert_eq!(journal.exchanges().last().unwrap().end, End::Closed);
}

#[tokio::test]
async fn a_delay_is_measured_and_changes_nothing() {
    let mock = with_fault(INIT, "after-commit", "{ delay = \"30ms\" }").await;
    assert_code(&get(&mock, &init(&file(0))).await, 0, 0);
    let exchange = struck(&mock);
    let waited = exchange.times.reply_done.unwrap() - exchange.times.body_done.unwrap();
    assert!(waited >= 30_000, "{waited} µs");
    assert!(exchange.acknowledged());
}

#[derive(Default)]
struct CountingKiller(AtomicUsize);

impl Killer for CountingKiller {
    fn kill<'a>(&'a self, target: KillTarget, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        assert_eq!(target, KillTarget::Client);
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_kill_asks_its_host_and_nothing_is_answered() {
    let killer = Arc::new(CountingKiller::default());
    let plan = plan(PART_2, "after-commit", "{ kill = \"client\" }");
    let mock = mock(Config { plan, killer: Some(Arc::clone(&killer) as Arc<dyn Killer>), ..config() }).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 1);
    assert_eq!(send(&mock, "POST", &target, body).await.unwrap_or_default(), b"");
    assert_eq!(killer.0.load(Ordering::SeqCst), 1);
    assert_eq!(struck(&mock).end, End::Killed);
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().parts, 1, "it struck after the commit");
}

#[tokio::test]
async fn a_kill_ends_what_else_the_victim_had_under_way() {
    use tokio::io::AsyncWriteExt as _;
    let plan = plan(PART_2, "after-commit", "{ kill = \"client\" }");
    let killer: Arc<dyn Killer> = Arc::new(CountingKiller::default());
    let mock = mock(Config { plan, killer: Some(killer), ..config() }).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let mut half = tokio::net::TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    half.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once it has begun to read: from here on the request is under way.
    let mut invitation = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut half, &mut invitation).await.unwrap();
    let (target, body) = part(&file, 1);
    let _ = send(&mock, "POST", &target, body).await;
    let ends: Vec<_> = mock.exchanges().iter().filter(|e| e.part.is_some()).map(|e| e.end).collect();
    assert_eq!(ends, [End::Killed, End::Killed]);
}

#[tokio::test]
async fn a_plan_that_kills_is_refused_where_nobody_can() {
    let plan = plan(PART_2, "after-commit", "{ kill = \"client\" }");
    let error = Mock::open(Config { plan, ..config() }, MemoryStore::new()).await.err().unwrap();
    assert!(error.to_string().contains("nobody who kills"), "{error}");
}

#[tokio::test]
async fn a_fault_that_never_struck_is_reported() {
    let mock = with_fault(PART_2, "before-read", "\"reset\"").await;
    assert_code(&get(&mock, &init(&file(0))).await, 0, 0);
    assert_eq!(mock.unfired(), ["f"]);
}

#[tokio::test]
async fn a_client_that_goes_away_within_a_body_is_on_record() {
    use tokio::io::AsyncWriteExt as _;
    let mock = mock(config()).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let addr = mock.endpoint().strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..1000]).await.unwrap();
    drop(stream);
    // The next request of the same part waits for nothing, so ask until the first one is over.
    let end = loop {
        let gone = mock.exchanges().into_iter().find(|exchange| exchange.part.is_some());
        if let Some(exchange) = gone {
            break exchange.end;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(end, End::ClientGone { after: 1000 });
    assert_code(&json(&send(&mock, "GET", &finish(&file), b"").await.unwrap()), -10003, 0);
}
