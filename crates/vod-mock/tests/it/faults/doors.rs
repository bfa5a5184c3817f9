//! `refuse` and `hold`: nobody comes in, and nobody goes on.

use std::{io::ErrorKind, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use vod_proto::exchange::End;
use vod_serve::Plan;

use super::stage::{Act, Ending, Peer, Seen, Stage, fault, fault_at};
use crate::pipe::now;

/// Is whoever connects refused?
async fn refused(stage: &Stage) -> bool {
    match TcpStream::connect(stage.addr()).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

/// How long it takes until a connection is taken again.
async fn until_open(stage: &Stage) -> Duration {
    let start = now();
    while refused(stage).await {
        tokio::task::yield_now().await;
    }
    start.elapsed()
}

#[tokio::test]
async fn new_connections_are_refused_for_the_time_and_the_others_go_on() {
    let stage = Stage::on_sockets(&fault(&Act::Init.on(), "after-commit", "{ refuse = \"60ms\" }")).await;
    let mut earlier = stage.connect().await;
    // So that it is known to have been taken before.
    earlier.send(&Act::Next.request()).await;
    earlier.reply().await;
    assert_eq!(stage.see(&Act::Init.request()).await, Seen::nothing(Ending::Closed));
    assert!(refused(&stage).await, "nobody hears of the close before the door is shut");
    let taken = TcpListener::bind(stage.addr()).await.map(drop).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse, "the port is still ours");
    earlier.send(&Act::Last.request()).await;
    assert_eq!(earlier.reply().await.json()["code"], 0);
    assert!(until_open(&stage).await < Duration::from_secs(5), "and then no more");
    let exchange = stage.struck();
    let mark = &exchange.faults[0];
    assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), ("after-commit", "refuse", true));
    assert_eq!(exchange.end, End::Closed);
    assert_eq!(stage.answer(&Act::Part.request()).await["code"], 0, "what was opened is open");
}

#[tokio::test]
async fn connections_are_refused_in_every_phase_for_no_shorter_than_was_said() {
    for (phase, at, effects) in
        [("before-read", None, 0), ("mid-body", Some(7), 0), ("before-commit", None, 0), ("mid-reply", Some(7), 1)]
    {
        let verdict = "{ refuse = \"30ms\" }";
        let plan = match at {
            Some(at) => fault_at(&Act::Next.on(), phase, at, verdict),
            None => fault(&Act::Next.on(), phase, verdict),
        };
        let stage = Stage::on_sockets(&plan).await;
        let start = now();
        let seen = stage.see(&Act::Next.request()).await;
        assert_eq!(seen.end, Ending::Closed, "{phase}");
        assert_eq!(seen.bytes.is_empty(), phase != "mid-reply", "{phase}");
        until_open(&stage).await;
        assert!(start.elapsed() >= Duration::from_millis(30), "{phase}: {:?}", start.elapsed());
        assert_eq!((stage.struck().end, stage.effects(Act::Next).await), (End::Closed, effects), "{phase}");
        stage.comes_again(Act::Next).await;
    }
}

#[tokio::test]
async fn of_refusals_that_overlap_the_one_that_ends_last_counts() {
    let two = |first: &str, second: &str| {
        let one = fault(&Act::Init.on(), "before-read", &format!("{{ refuse = \"{first}\" }}"));
        let other = fault(&Act::Next.on(), "before-read", &format!("{{ refuse = \"{second}\" }}"));
        format!("{one}{}", other.replace("\"f\"", "\"g\""))
    };
    for plan in [two("80ms", "1ms"), two("1h", "1ms").replace("1h", "80ms"), two("1ms", "80ms")] {
        let stage = Stage::on_sockets(&plan).await;
        let mut peers = [stage.connect().await, stage.connect().await];
        let start = now();
        for (peer, act) in peers.iter_mut().zip([Act::Init, Act::Next]) {
            assert_eq!(peer.see(&act.request()).await, Seen::nothing(Ending::Closed), "{plan}");
        }
        until_open(&stage).await;
        assert!(start.elapsed() >= Duration::from_millis(80), "{plan}: {:?}", start.elapsed());
        assert_eq!(stage.mock.unfired(), [""; 0]);
    }
}

#[tokio::test]
async fn a_server_that_stops_while_it_refuses_lets_its_port_go() {
    let mut stage = Stage::on_sockets(&fault(&Act::Init.on(), "before-read", "{ refuse = \"1h\" }")).await;
    stage.see(&Act::Init.request()).await;
    assert!(refused(&stage).await);
    stage.stop().await;
    assert!(TcpListener::bind(stage.addr()).await.is_ok());
}

#[tokio::test]
async fn it_is_not_one_accounts_to_refuse_everybody() {
    let stage = Stage::in_memory("").await;
    let plan = || toml::from_str::<Plan>(&fault("{}", "before-read", "{ refuse = \"1s\" }")).unwrap();
    let error = stage.mock.engine().plant(Some("demo"), plan(), None).unwrap_err().to_string();
    assert!(error.contains("refuse cannot be the account demo's"), "{error}");
    assert!(stage.mock.engine().plant(None, plan(), None).is_ok());
    let plan = toml::from_str(&fault("{}", "before-read", "{ kill = \"mock\" }").replace("\"f\"", "\"k\"")).unwrap();
    let error = stage.mock.engine().plant(Some("demo"), plan, None).unwrap_err().to_string();
    assert!(error.contains("kill mock cannot be the account demo's"), "{error}");
}

/// A peer whose request is held.
async fn held(stage: &Stage, act: Act) -> Peer {
    let mut peer = stage.connect().await;
    let before = stage.mock.fates()[0].held;
    peer.send(&act.request()).await;
    let mut changes = stage.mock.engine().changes();
    while stage.mock.fates()[0].held == before {
        changes.changed().await.unwrap();
    }
    peer
}

#[tokio::test(start_paused = true)]
async fn whoever_is_held_waits_until_he_is_released_and_goes_on_as_if_nothing_was() {
    for phase in ["before-read", "mid-body", "before-commit", "after-commit", "mid-reply"] {
        for act in Act::ALL {
            if phase == "mid-body" && act.body_len() == 0 {
                continue;
            }
            let case = format!("{phase} {act:?}");
            let stage = Stage::in_memory(&fault(&act.on(), phase, "{ hold = \"door\" }")).await;
            stage.prepare(act).await;
            let mut peer = held(&stage, act).await;
            let waits = tokio::time::timeout(Duration::from_secs(3600), peer.read_exact(500)).await;
            assert!(waits.is_err(), "{case}");
            let effects = u64::from(matches!(phase, "after-commit" | "mid-reply"));
            assert_eq!(stage.effects(act).await, effects, "{case}");
            assert_eq!(stage.mock.engine().release(None, "door"), Ok(1), "{case}");
            let mut rest = Vec::new();
            while !rest.ends_with(b"}") {
                rest.extend(peer.read_exact(1).await);
            }
            tokio::task::yield_now().await;
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, "hold", false), "{case}");
            assert!(
                exchange.acknowledged() && exchange.times.reply_done >= Some(3_600_000_000),
                "{case}: {exchange:?}"
            );
            assert_eq!(stage.effects(act).await, 1, "{case}");
            assert_eq!(stage.mock.fates()[0].held, 0, "{case}");
        }
    }
}

#[tokio::test]
async fn several_are_held_under_one_name_and_released_together_and_nobody_after_them() {
    let hold =
        |id: &str, act: Act| fault(&act.at_attempt(1), "before-read", "{ hold = \"door\" }").replace("\"f\"", id);
    let plan = hold("\"f\"", Act::Next) + &hold("\"g\"", Act::Whole);
    let stage = Stage::in_memory(&plan.replace(", attempt = 1", "")).await;
    let mut peers = vec![held(&stage, Act::Next).await, held(&stage, Act::Next).await];
    let mut other = stage.connect().await;
    other.send(&Act::Whole.request()).await;
    let mut changes = stage.mock.engine().changes();
    while stage.mock.fates()[1].held == 0 {
        changes.changed().await.unwrap();
    }
    peers.push(other);
    assert_eq!(stage.mock.fates().iter().map(|fate| fate.held).collect::<Vec<_>>(), [2, 1]);
    let unknown = stage.mock.engine().release(None, "window").unwrap_err().to_string();
    assert!(unknown.contains("\"window\"") && unknown.contains("door"), "{unknown}");
    assert_eq!(stage.mock.engine().release(None, "door"), Ok(3));
    for peer in &mut peers {
        assert_eq!(peer.reply().await.json()["code"], 0);
    }
    assert_eq!(stage.answer(&Act::Next.request()).await["code"], 0, "the door stays open");
    assert_eq!(stage.mock.fates()[0].struck, 3);
}

#[tokio::test]
async fn a_release_before_the_first_comes_holds_nobody() {
    let stage = Stage::in_memory(&fault(&Act::Init.on(), "after-commit", "{ hold = \"door\" }")).await;
    assert_eq!(stage.mock.engine().release(None, "door"), Ok(0));
    assert_eq!(stage.answer(&Act::Init.request()).await["code"], 0);
    assert!(stage.struck().acknowledged());
}

#[tokio::test]
async fn a_fault_that_is_lifted_lets_go_of_whom_it_holds() {
    let stage = Stage::in_memory(&fault(&Act::Part.on(), "before-commit", "{ hold = \"door\" }")).await;
    stage.prepare(Act::Part).await;
    let mut peer = held(&stage, Act::Part).await;
    let fate = stage.mock.engine().lift_named(None, "f").unwrap();
    assert_eq!((fate.struck, fate.held), (1, 1));
    assert_eq!(peer.reply().await.json()["code"], 0);
    assert_eq!(stage.effects(Act::Part).await, 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_held_is_held_no_more() {
    for (phase, effects) in [("before-read", 0), ("before-commit", 0), ("after-commit", 1)] {
        let stage = Stage::in_memory(&fault(&Act::Finish.on(), phase, "{ hold = \"door\" }")).await;
        stage.prepare(Act::Finish).await;
        let mut changes = stage.mock.engine().changes();
        drop(held(&stage, Act::Finish).await);
        while stage.mock.fates()[0].held == 1 {
            changes.changed().await.unwrap();
        }
        while stage.connections() > 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stage.struck().end, End::ClientGone { after: 0 }, "{phase}");
        assert_eq!(stage.effects(Act::Finish).await, effects, "{phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_holds_nobody_back() {
    for phase in ["before-read", "before-commit", "after-commit", "mid-reply"] {
        let mut stage = Stage::in_memory(&fault(&Act::Next.on(), phase, "{ hold = \"door\" }")).await;
        let mut peer = held(&stage, Act::Next).await;
        let start = now();
        stage.stop().await;
        peer.see(b"").await;
        assert_eq!(start.elapsed(), Duration::ZERO, "{phase}");
        assert_eq!(stage.struck().end, End::Closed, "{phase}");
        tokio::task::yield_now().await;
        assert!(peer.is_finished(), "{phase}");
    }
}
