//! `throttle`: a slow reader and a slow writer, to the end of the exchange and no further.

use std::time::Duration;

use vod_proto::exchange::End;

use super::stage::{Act, FRESH, FRESH_HEAD, Stage, fault, fault_at};
use crate::{pipe::now, wire::PART};

/// Is it so many seconds, give or take a tenth?
#[track_caller]
fn assert_about(took: Duration, seconds: f64, what: &str) {
    let ratio = took.as_secs_f64() / seconds;
    assert!((0.9..=1.1).contains(&ratio), "{what}: {took:?}, expected about {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_takes_a_body_in_at_its_rate() {
    for (rate, bytes_a_second) in [("1KiB/s", 1024.0), ("64KiB/s", 65_536.0), ("1MiB/s", 1_048_576.0), ("500/s", 500.0)]
    {
        for phase in ["before-read", "mid-body"] {
            let case = format!("{rate} {phase}");
            let verdict = format!("{{ throttle = {{ read = \"{rate}\" }} }}");
            let stage = Stage::in_memory(&fault(&Act::Next.on(), phase, &verdict)).await;
            let start = now();
            assert_eq!(stage.answer(&Act::Next.request()).await["code"], 0, "{case}");
            assert_about(start.elapsed(), 524_288.0 / bytes_a_second, &case);
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!(
                (mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply),
                (phase, "throttle", false),
                "{case}"
            );
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Replied, true), "{case}: slow is not dead");
            assert_eq!(stage.effects(Act::Next).await, 1, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_byte_is_taken_in_as_fast_as_it_comes() {
    let verdict = "{ throttle = { read = \"1KiB/s\" } }";
    let stage = Stage::in_memory(&fault_at(&Act::Next.on(), "mid-body", 400_000, verdict)).await;
    let (mut peer, start) = (stage.connect().await, now());
    let (head, body) = Act::Next.head_and_body("");
    peer.send(&[&head[..], &body[..400_000]].concat()).await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    peer.send(&body[400_000..]).await;
    assert_eq!(peer.reply().await.json()["code"], 0);
    assert_about(start.elapsed(), 124_288.0 / 1024.0, "the rest");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_came_with_its_head_is_taken_in_slowly_too() {
    for request in [Act::Whole.request(), Act::Whole.chunked(300)] {
        let verdict = "{ throttle = { read = \"100/s\" } }";
        let stage = Stage::in_memory(&fault(&Act::Whole.on(), "before-read", verdict)).await;
        let start = now();
        assert_eq!(stage.answer(&request).await["code"], 0);
        assert_about(start.elapsed(), 10.0, "1,000 bytes at 100 a second");
        let times = stage.struck().times;
        assert!(times.first_byte.unwrap() < 100_000 && times.body_done.unwrap() > 9_000_000, "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_writer_gives_a_reply_out_at_its_rate_evenly() {
    for phase in ["before-read", "before-commit", "after-commit"] {
        let stage = Stage::in_memory(&fault(&Act::Init.on(), phase, "{ throttle = { write = \"10/s\" } }")).await;
        let (mut peer, start) = (stage.connect().await, now());
        peer.send(&Act::Init.request()).await;
        let (mut given, mut at) = (Vec::new(), 0.0);
        for piece in [20, 50, 30, FRESH_HEAD.len() + FRESH.len() - 100] {
            given.extend(peer.read_exact(piece).await);
            at += f64::from(u32::try_from(piece).unwrap()) / 10.0;
            // The first byte is not waited for.
            assert_about(start.elapsed() + Duration::from_millis(100), at, phase);
        }
        assert_eq!(String::from_utf8(given).unwrap(), format!("{FRESH_HEAD}{FRESH}"));
        tokio::task::yield_now().await;
        let exchange = stage.struck();
        assert!(exchange.acknowledged() && !exchange.faults[0].on_reply, "{exchange:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_of_a_reply_are_fast_and_the_rest_is_slow() {
    let verdict = "{ throttle = { write = \"2/s\" } }";
    let stage = Stage::in_memory(&fault_at(&Act::Init.on(), "mid-reply", 16, verdict)).await;
    let (mut peer, start) = (stage.connect().await, now());
    peer.send(&Act::Init.request()).await;
    peer.read_exact(FRESH_HEAD.len() + 16).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    peer.read_exact(FRESH.len() - 16).await;
    assert_about(start.elapsed() + Duration::from_millis(500), 39.5, "79 bytes at 2 a second");
    assert_eq!(stage.struck().faults[0].phase, "mid-reply");
}

#[tokio::test(start_paused = true)]
async fn a_throttle_ends_with_its_exchange_and_the_next_on_the_connection_is_fast() {
    let verdict = "{ throttle = { read = \"1KiB/s\", write = \"10/s\" } }";
    let stage = Stage::in_memory(&fault(&Act::Next.on(), "before-read", verdict)).await;
    let (mut peer, start) = (stage.connect().await, now());
    peer.send(&Act::Next.request()).await;
    let first = peer.reply().await;
    let slow = f64::from(u32::try_from(first.head.len() + first.body.len()).unwrap()) / 10.0 + 512.0;
    assert_about(start.elapsed(), slow, "both ways");
    let start = now();
    peer.send(&Act::Next.request()).await;
    assert_eq!(peer.reply().await.json()["offset"], PART.to_string());
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_taken_for_a_client_that_trickles() {
    // 524 s and 16 more: without the fault a body must be there within ten minutes.
    let stage = Stage::in_memory(&fault(&Act::Next.on(), "before-read", "{ throttle = { read = \"600/s\" } }")).await;
    let start = now();
    assert_eq!(stage.answer(&Act::Next.request()).await["code"], 0);
    assert_about(start.elapsed(), 524_288.0 / 600.0, "longer than a body may take");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_does_not_wait_for_the_next_slow_piece() {
    let mut stage =
        Stage::in_memory(&fault(&Act::Init.on(), "before-commit", "{ throttle = { write = \"1/s\" } }")).await;
    let mut peer = stage.connect().await;
    peer.send(&Act::Init.request()).await;
    peer.read_exact(1).await;
    let start = now();
    stage.stop().await;
    assert_eq!(peer.see(b"").await.bytes, b"");
    // It waits a second for what is handed over, and that is all.
    assert!(start.elapsed() <= Duration::from_millis(1001), "{:?}", start.elapsed());
    assert_eq!(stage.struck().end, End::Closed);
}
