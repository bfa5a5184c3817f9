//! `stall`: silence, and then the end. On record it is a timeout from the start.

use std::time::Duration;

use vod_proto::exchange::End;

use super::stage::{Act, Ending, FRESH, Seen, Stage, fault, fault_at};
use crate::pipe::now;

const PHASES: [(&str, u64); 5] =
    [("before-read", 0), ("mid-body", 0), ("before-commit", 0), ("after-commit", 1), ("mid-reply", 1)];

#[tokio::test(start_paused = true)]
async fn a_stall_is_silent_for_its_time_and_then_closes() {
    for (phase, effects) in PHASES {
        for act in Act::ALL {
            if phase == "mid-body" && act.body_len() == 0 {
                continue;
            }
            let case = format!("{phase} {act:?}");
            let stage = Stage::in_memory(&fault(&act.on(), phase, "{ stall = \"1h\" }")).await;
            stage.prepare(act).await;
            let start = now();
            let mut peer = stage.connect().await;
            // What is on its way is not read either: of a large body nothing more than fits a pipe leaves.
            let seen = peer.see(&act.request()).await;
            assert_eq!(start.elapsed().as_secs(), 3600, "{case}");
            match phase {
                "mid-reply" => assert_eq!(seen.cut_body().0, b"", "{case}"),
                _ => assert_eq!(seen, Seen::nothing(Ending::Closed), "{case}"),
            }
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, "stall", true), "{case}");
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Timeout, false), "{case}");
            assert!(exchange.times.reply_done.unwrap() < 1_000_000, "{case}: it was over when it began");
            assert_eq!(stage.effects(act).await, effects, "{case}");
            stage.comes_again(act).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_in_or_given_out_behind_the_byte() {
    let stage = Stage::in_memory(&fault_at(&Act::Next.on(), "mid-body", 100_000, "{ stall = \"1h\" }")).await;
    let mut peer = stage.connect().await;
    let (start, seen) = (now(), peer.see(&Act::Next.request()).await);
    assert_eq!((seen, start.elapsed().as_secs()), (Seen::nothing(Ending::Closed), 3600));
    assert_eq!(stage.struck().request.body.len, 100_000);
    let stage = Stage::in_memory(&fault_at(&Act::Init.on(), "mid-reply", 20, "{ stall = \"1h\" }")).await;
    let seen = stage.see(&Act::Init.request()).await;
    assert_eq!(seen.cut_body(), (&FRESH.as_bytes()[..20], FRESH.len()));
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_on_record_while_it_lasts_and_a_client_that_leaves_changes_nothing() {
    for phase in ["before-read", "before-commit", "after-commit", "mid-reply"] {
        let stage = Stage::in_memory(&fault(&Act::Init.on(), phase, "{ stall = \"forever\" }")).await;
        let mut peer = stage.connect().await;
        peer.send(&Act::Init.request()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = stage.struck();
        assert_eq!(before.end, End::Timeout, "{phase}");
        drop(peer);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(stage.struck(), before, "{phase}");
        assert_eq!(stage.answer(&Act::Init.request()).await["code"], 0, "{phase}: nobody else waits for it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_neither_waits_for_a_stall_nor_leaves_its_connection_behind() {
    for phase in ["before-read", "before-commit", "after-commit", "mid-reply"] {
        let mut stage = Stage::in_memory(&fault(&Act::Init.on(), phase, "{ stall = \"forever\" }")).await;
        let mut peer = stage.connect().await;
        peer.send(&Act::Init.request()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (start, before) = (now(), stage.struck());
        assert!(!peer.is_finished(), "{phase}");
        stage.stop().await;
        peer.see(b"").await;
        assert_eq!(start.elapsed(), Duration::ZERO, "{phase}");
        tokio::task::yield_now().await;
        assert_eq!((stage.connections(), peer.is_finished()), (0, true), "{phase}");
        assert_eq!(stage.struck(), before, "{phase}");
    }
}

#[tokio::test]
async fn on_a_socket_a_stalled_connection_ends_in_order_whatever_was_sent_to_it() {
    let stage = Stage::on_sockets(&fault(&Act::Next.on(), "before-read", "{ stall = \"20ms\" }")).await;
    assert_eq!(stage.see(&Act::Next.request()).await, Seen::nothing(Ending::Closed));
    let exchange = stage.struck();
    assert_eq!((exchange.end, exchange.request.body.len), (End::Timeout, 0));
    stage.comes_again(Act::Next).await;
}

#[tokio::test]
async fn a_server_on_sockets_that_stops_lets_go_of_the_stalled() {
    let mut stage = Stage::on_sockets(&fault(&Act::Init.on(), "after-commit", "{ stall = \"forever\" }")).await;
    let mut peer = stage.connect().await;
    peer.send(&Act::Init.request()).await;
    while stage.mock.exchanges().is_empty() {
        tokio::task::yield_now().await;
    }
    stage.stop().await;
    assert_eq!(peer.see(b"").await.bytes, b"");
    assert_eq!(stage.mock.traffic().open(), 0);
    assert_eq!(stage.struck().end, End::Timeout);
}
