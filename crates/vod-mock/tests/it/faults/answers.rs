//! `reply`, `http`, `garbage-reply`, `empty-reply`, `truncate-reply`: another answer than the one that was made.

use serde_json::json;
use vod_proto::exchange::End;

use super::stage::{Act, Ending, FRESH, Seen, Stage, fault};

/// The phases in which one answer can be put in the place of another, and whether the request had its effect by then.
const PHASES: [(&str, u64); 3] = [("before-read", 0), ("before-commit", 0), ("after-commit", 1)];

/// Lets a fault answer every kind of request in every such phase. Says what must come back, by what.
async fn answers(verdict: &str, name: &str, check: impl Fn(Act, &str, &[u8])) {
    for (phase, effects) in PHASES {
        for act in Act::ALL {
            let case = format!("{verdict} {phase} {act:?}");
            let stage = Stage::in_memory(&fault(&act.on(), phase, verdict)).await;
            stage.prepare(act).await;
            let mut peer = stage.connect().await;
            peer.send(&act.request()).await;
            let reply = peer.reply().await;
            check(act, &reply.head, &reply.body);
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, name, true), "{case}");
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Replied, false), "{case}");
            assert_eq!(exchange.request.body.len, act.body_len(), "{case}: the body is taken in first");
            let recorded = exchange.reply.unwrap();
            assert_eq!(recorded.body, String::from_utf8_lossy(&reply.body), "{case}");
            assert_eq!(recorded.status.to_string(), reply.status()[9..], "{case}");
            assert_eq!(stage.effects(act).await, effects, "{case}");
            // The connection is as good as before.
            peer.send(&act.request()).await;
            assert_eq!(peer.reply().await.json()["code"], 0, "{case}");
            assert_eq!(stage.effects(act).await, 1, "{case}");
        }
    }
}

#[tokio::test]
async fn a_reply_fault_speaks_as_the_actions_family_does() {
    let verdict = "{ reply = { code = -10004, can-retry = true, message = \"no room\" } }";
    answers(verdict, "reply", |act, head, body| {
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        let reply: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&reply["code"], &reply["message"]), (&json!(-10004), &json!("no room")), "{act:?}");
        let can_retry = if matches!(act, Act::Next | Act::Last) { json!(null) } else { json!(1) };
        assert_eq!(reply["canRetry"], can_retry, "{act:?}: the legacy family has none");
    })
    .await;
    answers("{ reply = { code = 4400 } }", "reply", |_, _, body| {
        let reply: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&reply["code"], &reply["message"]), (&json!(4400), &json!("injected")));
        assert_ne!(reply["canRetry"], 1, "unless it is said");
    })
    .await;
}

#[tokio::test]
async fn an_http_fault_has_its_status_and_a_retry_after_in_whole_seconds() {
    answers("{ http = { status = 503, retry-after = \"1500ms\" } }", "http", |_, head, body| {
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains("retry-after: 2\r\n") && head.contains("content-type: text/plain\r\n"), "{head}");
        assert_eq!(body, b"injected 503\n");
    })
    .await;
    for status in [400, 429, 599] {
        let verdict = format!("{{ http = {{ status = {status} }} }}");
        answers(&verdict, "http", |_, head, _| {
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && !head.contains("retry-after"), "{head}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_garbage_reply_is_well_framed_and_neither_json_nor_text() {
    answers("\"garbage-reply\"", "garbage-reply", |_, head, body| {
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(std::str::from_utf8(body).is_err() && body.starts_with(b"{\"code\":0,"), "{body:?}");
        assert!(serde_json::from_slice::<serde_json::Value>(body).is_err());
    })
    .await;
}

#[tokio::test]
async fn an_empty_reply_is_the_end_once_the_whole_request_was_taken() {
    for (phase, effects) in PHASES {
        for act in Act::ALL {
            let case = format!("{phase} {act:?}");
            let stage = Stage::on_sockets(&fault(&act.on(), phase, "\"empty-reply\"")).await;
            stage.prepare(act).await;
            assert_eq!(stage.see(&act.request()).await, Seen::nothing(Ending::Closed), "{case}");
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, "empty-reply", true));
            assert_eq!((exchange.end, exchange.reply.is_some()), (End::Closed, false), "{case}");
            assert_eq!(exchange.request.body.len, act.body_len(), "{case}: the body is taken in first");
            assert_eq!(stage.effects(act).await, effects, "{case}");
            stage.comes_again(act).await;
        }
    }
}

#[tokio::test]
async fn a_truncated_reply_is_the_beginning_of_the_real_one_in_a_message_that_http_takes_for_whole() {
    for at in [0, 1, 20] {
        for act in Act::ALL {
            let case = format!("{act:?} at {at}");
            let real = Stage::in_memory("").await;
            real.prepare(act).await;
            let mut peer = real.connect().await;
            peer.send(&act.request()).await;
            let whole = peer.reply().await.body;
            let verdict = format!("{{ truncate-reply = {{ at = {at} }} }}");
            let stage = Stage::in_memory(&fault(&act.on(), "after-commit", &verdict)).await;
            stage.prepare(act).await;
            let mut peer = stage.connect().await;
            peer.send(&act.request()).await;
            let reply = peer.reply().await;
            assert_eq!((reply.status(), &reply.body[..]), ("HTTP/1.1 200", &whole[..at]), "{case}");
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!((mark.verdict.as_str(), mark.on_reply), ("truncate-reply", true), "{case}");
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Replied, false), "{case}");
            assert_eq!(
                exchange.reply.unwrap().body.as_bytes(),
                &whole[..at],
                "{case}: what was said, not what was meant"
            );
            assert_eq!(stage.effects(act).await, 1, "{case}");
            peer.send(&act.request()).await;
            assert_eq!(peer.reply().await.json()["code"], 0, "{case}: the connection is kept");
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_no_longer_is_not_truncated_and_not_counted() {
    let verdict = format!("{{ truncate-reply = {{ at = {} }} }}", FRESH.len());
    let stage = Stage::in_memory(&fault("{ times = 1 }", "after-commit", &verdict)).await;
    for act in [Act::Init, Act::Part] {
        assert_eq!(stage.answer(&act.request()).await["code"], 0, "{act:?}");
    }
    assert_eq!(stage.mock.unfired(), ["f"], "neither reply is longer than that");
    assert_eq!(stage.mock.fates()[0].matched, 0);
    // The list of parts makes this one longer: it is the first that can be struck, and has the fault's one time.
    let mut peer = stage.connect().await;
    peer.send(&Act::Init.request()).await;
    assert_eq!(peer.reply().await.body.len(), FRESH.len());
    assert_eq!(stage.struck().attempt, 2);
}

#[tokio::test]
async fn a_refusal_has_no_effect_that_a_fault_could_strike_behind() {
    for verdict in ["\"reset\"", "\"garbage-reply\"", "{ truncate-reply = { at = 3 } }", "{ delay = \"1h\" }"] {
        let stage = Stage::in_memory(&fault(&Act::Finish.on(), "after-commit", verdict)).await;
        stage.prepare(Act::Part).await;
        assert_eq!(stage.answer(&Act::Finish.request()).await["code"], -10003, "{verdict}");
        assert_eq!(stage.mock.unfired(), ["f"], "{verdict}");
    }
}
