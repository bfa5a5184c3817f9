//! What comes next on the same connection, and odd ways of sending.

use std::time::Duration;

use vod_proto::exchange::End;

use super::stage::{Act, Ending, FRESH, Seen, Stage, fault, fault_at};
use crate::{pipe::now, wire::PART};

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn after_a_fault_that_keeps_the_connection_the_next_request_on_it_is_served() {
    for (phase, at, verdict) in [
        ("before-read", None, "{ reply = { code = -10004 } }"),
        ("before-commit", None, "{ http = { status = 500 } }"),
        ("after-commit", None, "\"garbage-reply\""),
        ("after-commit", None, "{ truncate-reply = { at = 0 } }"),
        ("mid-body", Some(7), "{ delay = \"1s\" }"),
        ("mid-reply", Some(7), "{ delay = \"1s\" }"),
        ("before-read", None, "{ throttle = { read = \"100KiB/s\", write = \"50/s\" } }"),
        ("before-commit", None, "{ corrupt = { offset = 0 } }"),
        ("before-commit", None, "\"drop-part\""),
        ("after-commit", None, "\"expire-session\""),
    ] {
        let plan = match at {
            Some(at) => fault_at(&Act::Next.on(), phase, at, verdict),
            None => fault(&Act::Next.on(), phase, verdict),
        };
        for pipelined in [false, true] {
            let stage = Stage::in_memory(&plan).await;
            let mut peer = stage.connect().await;
            if pipelined {
                peer.send(&[Act::Next.request(), Act::Whole.request()].concat()).await;
                peer.reply().await;
            } else {
                peer.send(&Act::Next.request()).await;
                peer.reply().await;
                peer.send(&Act::Whole.request()).await;
            }
            assert_eq!(peer.reply().await.json()["code"], 0, "{phase} {verdict} {pipelined}");
            tokio::task::yield_now().await;
            let [first, second] = &stage.mock.exchanges()[..] else { panic!("{verdict}") };
            assert_eq!((first.faults.len(), second.faults.len()), (1, 0), "{phase} {verdict} {pipelined}");
            assert!(second.acknowledged(), "{phase} {verdict} {pipelined}");
        }
    }
}

#[tokio::test]
async fn what_is_pipelined_behind_a_cut_is_never_served() {
    for (verdict, ending) in
        [("\"close\"", Ending::Closed), ("\"reset\"", Ending::Reset), ("\"empty-reply\"", Ending::Closed)]
    {
        let stage = Stage::on_sockets(&fault(&Act::Init.on(), "before-commit", verdict)).await;
        let seen = stage.see(&[Act::Init.request(), Act::Init.request()].concat()).await;
        assert_eq!(seen, Seen::nothing(ending), "{verdict}");
        assert_eq!(stage.mock.exchanges().len(), 1, "{verdict}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_to_be_asked_for_his_body_is_asked_unless_the_fault_ends_it_first() {
    let expecting = |phase: &'static str, verdict: &'static str| async move {
        let stage = Stage::in_memory(&fault(&Act::Next.on(), phase, verdict)).await;
        let mut peer = stage.connect().await;
        let (head, body) = Act::Next.head_and_body("Expect: 100-continue\r\n");
        let start = now();
        peer.send(&head).await;
        (stage, peer, body, start)
    };
    // It waits, and only then asks.
    let (stage, mut peer, body, start) = expecting("before-read", "{ delay = \"3s\" }").await;
    assert_eq!(peer.read_exact(GO_ON.len()).await, GO_ON);
    assert_eq!(start.elapsed().as_secs(), 3);
    peer.send(&body).await;
    assert_eq!(peer.reply().await.json()["offset"], PART.to_string());
    assert!(stage.struck().acknowledged());
    // The answer that takes the place of the server's comes once the body is taken.
    for phase in ["before-read", "before-commit"] {
        let (stage, mut peer, body, _) = expecting(phase, "{ http = { status = 503 } }").await;
        assert_eq!(peer.read_exact(GO_ON.len()).await, GO_ON, "{phase}");
        peer.send(&body).await;
        assert_eq!(peer.reply().await.status(), "HTTP/1.1 503", "{phase}");
        assert_eq!(stage.struck().request.body.len, PART as u64, "{phase}");
    }
    // Nobody asks any more, also where it is the first byte that is waited for.
    for phase in ["before-read", "mid-body"] {
        for verdict in ["\"close\"", "\"reset\"", "{ stall = \"1m\" }", "{ kill = \"client\" }"] {
            let (stage, mut peer, ..) = expecting(phase, verdict).await;
            assert_eq!(peer.see(b"").await.bytes, b"", "{phase} {verdict}");
            assert_eq!(stage.struck().request.body.len, 0, "{phase} {verdict}");
        }
    }
}

/// A plan that strikes whatever comes, in every phase.
fn everywhere(verdict: &str) -> String {
    let phases = ["before-read", "before-commit", "after-commit", "mid-reply"];
    phases.map(|phase| fault("{}", phase, verdict).replace("\"f\"", &format!("\"{phase}\""))).concat()
}

#[tokio::test]
async fn a_browsers_question_and_what_is_asked_beside_the_protocol_are_left_alone() {
    let stage = Stage::in_memory(&everywhere("\"reset\"")).await;
    let mut peer = stage.connect().await;
    let target = String::from_utf8(Act::Init.request()).unwrap().split(' ').nth(1).unwrap().to_owned();
    let preflight = format!(
        "OPTIONS {target} HTTP/1.1\r\nHost: h\r\nOrigin: http://page\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    );
    let aside = "GET /__vod/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let seen = peer.see(&[preflight.as_bytes(), aside.as_bytes()].concat()).await;
    let text = String::from_utf8(seen.bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 204 ") && text.contains("HTTP/1.1 200 OK"), "{text}");
    assert_eq!(stage.mock.unfired().len(), 4, "and nothing was counted");
    assert!(stage.mock.fates().iter().all(|fate| fate.matched == 0));
    // What follows the question is the request that was meant.
    assert_eq!(stage.see(&Act::Init.request()).await.bytes, b"");
    assert_eq!(stage.mock.unfired().len(), 3);
}

#[tokio::test]
async fn a_reply_without_a_body_has_no_byte_to_strike_at() {
    let stage = Stage::in_memory(&fault("{ times = 1 }", "mid-reply", "\"reset\"")).await;
    let head = String::from_utf8(Act::Init.request()).unwrap().replacen("GET", "HEAD", 1);
    let close = head.replace("Host: h", "Host: h\r\nConnection: close");
    let seen = stage.see(close.as_bytes()).await;
    assert!(seen.bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && seen.bytes.ends_with(b"\r\n\r\n"), "{seen:?}");
    assert_eq!(stage.mock.fates()[0].matched, 0);
    assert_eq!(stage.see(&Act::Init.request()).await.cut_body(), (&b""[..], FRESH.len()));
    assert_eq!(stage.struck().end, End::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_body_in_chunks_is_struck_at_the_same_bytes() {
    for at in [0, 1, 299, 300, 301, 999] {
        let plan = fault_at(&Act::Whole.on(), "mid-body", at, "{ stall = \"1m\" }");
        for size in [1, 300, 1000] {
            let stage = Stage::in_memory(&plan).await;
            let start = now();
            assert_eq!(stage.see(&Act::Whole.chunked(size)).await, Seen::nothing(Ending::Closed));
            assert_eq!((stage.struck().request.body.len, start.elapsed().as_secs()), (at, 60), "{size}");
        }
    }
}

#[tokio::test]
async fn a_byte_that_never_comes_is_not_struck_and_the_next_request_may_be() {
    let on = "{ action = \"MultipartUploadVodFile\", times = 1 }";
    let stage = Stage::on_sockets(&fault_at(on, "mid-body", 400_000, "\"close\"")).await;
    let (head, body) = Act::Next.head_and_body("");
    let mut peer = stage.connect().await;
    peer.send(&[&head[..], &body[..1000]].concat()).await;
    drop(peer);
    while stage.mock.exchanges().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.mock.exchanges()[0].end, End::ClientGone { after: 1000 });
    assert_eq!(stage.mock.unfired(), ["f"]);
    assert_eq!(stage.see(&Act::Next.request()).await, Seen::nothing(Ending::Closed), "its one time is still to come");
    assert_eq!(stage.struck().request.body.len, 400_000);
}

#[tokio::test(start_paused = true)]
async fn while_one_exchange_is_stalled_others_go_on() {
    let stage = Stage::in_memory(&fault(&Act::Init.on(), "before-read", "{ stall = \"forever\" }")).await;
    let mut stalled = stage.connect().await;
    stalled.send(&Act::Init.request()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let start = now();
    for act in [Act::Init, Act::Part, Act::Next, Act::Last, Act::Whole] {
        assert_eq!(stage.answer(&act.request()).await["code"], 0, "{act:?}");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}
