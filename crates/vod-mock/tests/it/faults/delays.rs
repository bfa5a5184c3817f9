//! `delay`: the exchange waits and goes on.

use std::time::Duration;

use vod_proto::{Exchange, exchange::End};

use super::stage::{Act, FRESH, FRESH_HEAD, Stage, fault, fault_at};
use crate::{pipe::now, wire::config};

/// What one request took, and its exchange.
async fn asked(stage: &Stage, act: Act) -> (Duration, Exchange) {
    let start = now();
    assert_eq!(stage.answer(&act.request()).await["code"], 0, "{act:?}");
    (start.elapsed(), stage.struck())
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_waited_for_in_every_phase_and_changes_nothing() {
    for phase in ["before-read", "mid-body", "before-commit", "after-commit", "mid-reply"] {
        for act in Act::ALL {
            if phase == "mid-body" && act.body_len() == 0 {
                continue;
            }
            let case = format!("{phase} {act:?}");
            let stage = Stage::in_memory(&fault(&act.on(), phase, "{ delay = \"90s\" }")).await;
            stage.prepare(act).await;
            let (waited, exchange) = asked(&stage, act).await;
            assert_eq!(waited.as_secs(), 90, "{case}");
            let mark = &exchange.faults[0];
            assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, "delay", false), "{case}");
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Replied, true), "{case}");
            assert_eq!(stage.effects(act).await, 1, "{case}");
            let times = exchange.times;
            // What lies behind the wait is late by it, and what lies before is not.
            let late = |time: Option<u64>| time.unwrap() >= 90_000_000;
            assert!(late(times.reply_done) && mark.at_us < 90_000_000, "{case} {times:?}");
            assert_eq!(late(times.body_done), matches!(phase, "before-read" | "mid-body"), "{case} {times:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_between_two_bytes() {
    let stage = Stage::in_memory(&fault_at(&Act::Init.on(), "mid-reply", 20, "{ delay = \"5s\" }")).await;
    let mut peer = stage.connect().await;
    let start = now();
    peer.send(&Act::Init.request()).await;
    let first = peer.read_exact(FRESH_HEAD.len() + 20).await;
    assert_eq!(first, [FRESH_HEAD.as_bytes(), &FRESH.as_bytes()[..20]].concat());
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(peer.read_exact(FRESH.len() - 20).await, &FRESH.as_bytes()[20..]);
    assert_eq!(start.elapsed().as_secs(), 5);
    let within = Stage::in_memory(&fault_at(&Act::Next.on(), "mid-body", 200_000, "{ delay = \"5s\" }")).await;
    let (waited, exchange) = asked(&within, Act::Next).await;
    assert_eq!(waited.as_secs(), 5);
    assert!(exchange.times.first_byte.unwrap() < 1_000_000, "the first bytes are not late: {:?}", exchange.times);
}

#[tokio::test(start_paused = true)]
async fn drawn_delays_lie_within_their_bounds_and_are_the_same_for_the_same_seed_alone() {
    for (spread, least, most) in [
        ("{ uniform = { min = \"10s\", max = \"30s\" } }", 10_000, 30_001),
        ("{ log-normal = { median = \"10s\", sigma = 2.0, cap = \"40s\" } }", 0, 40_001),
    ] {
        let mut drawn = Vec::new();
        for seed in [1, 1, 2] {
            let verdict = format!("{{ delay = {spread} }}");
            let config = vod_mock::Config { seed, ..config() };
            let stage = Stage::with(&fault("{ action = \"InitUpload\" }", "before-read", &verdict), config).await;
            let mut waits = Vec::new();
            for _ in 0..5 {
                let start = now();
                stage.answer(&Act::Init.request()).await;
                waits.push(start.elapsed().as_millis());
            }
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{waits:?}");
            drawn.push(waits);
        }
        assert_eq!(drawn[0], drawn[1], "{spread}");
        assert!(drawn[0].iter().zip(&drawn[2]).all(|(one, other)| one != other), "{spread}: {drawn:?}");
        assert!(drawn[0].windows(2).all(|two| two[0] != two[1]), "each attempt is drawn for itself: {:?}", drawn[0]);
    }
}
