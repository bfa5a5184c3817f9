//! `close`, `reset`, `kill`: the connection ends, at once, in every phase and at every byte.

use tokio::io::AsyncWriteExt as _;
use vod_mock::{Config, MemoryStore, Mock};
use vod_proto::exchange::End;

use super::stage::{Act, Ending, Seen, Stage, fault, fault_at, request, video};
use crate::wire::{PART, config, init, part};

/// How each of them is written, called, seen, and recorded.
const CUTS: [(&str, &str, Ending, End); 3] = [
    ("\"close\"", "close", Ending::Closed, End::Closed),
    ("\"reset\"", "reset", Ending::Reset, End::Reset),
    ("{ kill = \"client\" }", "kill client", Ending::Closed, End::Killed),
];

#[tokio::test]
async fn a_cut_leaves_no_byte_and_an_effect_only_behind_the_commit() {
    for (verdict, name, ending, end) in CUTS {
        for (phase, effects) in [("before-read", 0), ("before-commit", 0), ("after-commit", 1)] {
            for act in Act::ALL {
                let case = format!("{verdict} {phase} {act:?}");
                let stage = Stage::on_sockets(&fault(&act.on(), phase, verdict)).await;
                stage.prepare(act).await;
                assert_eq!(stage.see(&act.request()).await, Seen::nothing(ending), "{case}");
                let exchange = stage.struck();
                let mark = &exchange.faults[0];
                assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, name, true), "{case}");
                assert_eq!((exchange.end, exchange.reply.is_some(), exchange.acknowledged()), (end, false, false));
                let read = if phase == "before-read" { 0 } else { act.body_len() };
                assert_eq!(exchange.request.body.len, read, "{case}");
                assert_eq!(stage.effects(act).await, effects, "{case}");
                assert_eq!(stage.killed().len(), usize::from(end == End::Killed), "{case}");
                stage.comes_again(act).await;
            }
        }
    }
}

#[tokio::test]
async fn a_cut_within_a_body_comes_after_so_many_bytes_and_nothing_is_kept() {
    for (verdict, name, ending, end) in CUTS {
        for act in Act::WITH_BODY {
            let last = act.body_len() - 1;
            for at in [0, 1, last] {
                let case = format!("{verdict} {act:?} at {at}");
                let stage = Stage::on_sockets(&fault_at(&act.on(), "mid-body", at, verdict)).await;
                stage.prepare(act).await;
                assert_eq!(stage.see(&act.request()).await, Seen::nothing(ending), "{case}");
                let exchange = stage.struck();
                let mark = &exchange.faults[0];
                assert_eq!((mark.phase.as_str(), mark.verdict.as_str()), ("mid-body", name), "{case}");
                assert_eq!((exchange.end, exchange.request.body.len), (end, at), "{case}");
                assert_eq!(stage.effects(act).await, 0, "{case}");
                stage.comes_again(act).await;
            }
        }
    }
}

#[tokio::test]
async fn a_cut_within_a_chunked_body_comes_after_as_many_bytes_of_what_it_carries() {
    for (verdict, _, ending, end) in CUTS {
        for at in [0, 1, 300, 999] {
            let stage = Stage::on_sockets(&fault_at(&Act::Whole.on(), "mid-body", at, verdict)).await;
            assert_eq!(stage.see(&Act::Whole.chunked(300)).await, Seen::nothing(ending), "{verdict} at {at}");
            let exchange = stage.struck();
            assert_eq!((exchange.end, exchange.request.body.len), (end, at), "{verdict}");
            stage.comes_again(Act::Whole).await;
        }
    }
}

#[tokio::test]
async fn a_cut_within_a_reply_leaves_so_many_bytes_of_it_and_the_effect_stays() {
    for (verdict, name, ending, end) in CUTS {
        for act in Act::ALL {
            let whole = whole_reply(act).await;
            for at in [0, 1, whole.len() - 1] {
                let case = format!("{verdict} {act:?} at {at}");
                let stage = Stage::on_sockets(&fault_at(&act.on(), "mid-reply", at as u64, verdict)).await;
                stage.prepare(act).await;
                let seen = stage.see(&act.request()).await;
                assert_eq!(seen.cut_body(), (&whole[..at], whole.len()), "{case}");
                assert_eq!(seen.end, ending, "{case}");
                let exchange = stage.struck();
                let mark = &exchange.faults[0];
                assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), ("mid-reply", name, true));
                assert_eq!((exchange.end, exchange.acknowledged()), (end, false), "{case}");
                let reply = exchange.reply.as_ref().map(|reply| reply.body.as_bytes());
                assert_eq!(reply, Some(&whole[..]), "{case}: it is on record what would have been said");
                assert_eq!(stage.effects(act).await, 1, "{case}");
                stage.comes_again(act).await;
            }
        }
    }
}

/// The body of the reply where no fault strikes.
async fn whole_reply(act: Act) -> Vec<u8> {
    let stage = Stage::in_memory("").await;
    stage.prepare(act).await;
    let mut peer = stage.connect().await;
    peer.send(&act.request()).await;
    peer.reply().await.body
}

#[tokio::test]
async fn what_lies_unread_makes_no_reset_of_a_close() {
    // A whole part that nobody reads lies there when the connection is closed, and a second request behind another.
    let stage = Stage::on_sockets(&fault(&Act::Next.on(), "before-read", "\"close\"")).await;
    assert_eq!(stage.see(&Act::Next.request()).await, Seen::nothing(Ending::Closed));
    let stage = Stage::on_sockets(&fault(&Act::Init.on(), "after-commit", "\"close\"")).await;
    let pipelined = [Act::Init.request(), Act::Next.request()].concat();
    assert_eq!(stage.see(&pipelined).await, Seen::nothing(Ending::Closed));
    assert_eq!(stage.mock.exchanges().len(), 1, "what stood behind it was never read");
}

#[tokio::test]
async fn a_kill_asks_its_host_and_ends_what_else_the_victim_has_under_way() {
    let stage = Stage::on_sockets(&fault(&Act::Part.on(), "after-commit", "{ kill = \"client\" }")).await;
    stage.answer(&request("GET", &init(video()), b"")).await;
    let (target, body) = part(video(), 0);
    let mut half = tokio::net::TcpStream::connect(stage.addr()).await.unwrap();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    half.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once it has begun to read: from here on the request is under way.
    tokio::io::AsyncReadExt::read_exact(&mut half, &mut [0; 25]).await.unwrap();
    assert_eq!(stage.see(&Act::Part.request()).await, Seen::nothing(Ending::Closed));
    assert_eq!(stage.killed(), ["client by f"]);
    let exchanges = stage.mock.exchanges();
    let ends: Vec<_> = exchanges.iter().filter(|e| e.part.is_some()).map(|e| (e.end, e.request.body.len)).collect();
    assert_eq!(ends, [(End::Killed, 0), (End::Killed, 1000)]);
    assert_eq!(stage.upload().await.unwrap().parts, 1, "it struck after the commit of the one, and within the other");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_two_faults_kill_at_once_is_killed_once_and_the_next_one_is_answered() {
    let on = "{ action = \"UploadPart\", times = 2 }";
    // Both bodies are there in the same instant.
    let slow = fault(on, "before-read", "{ throttle = { read = \"1000/s\" } }").replace("\"f\"", "\"slow\"");
    let stage = Stage::in_memory(&(slow + &fault(on, "before-commit", "{ kill = \"client\" }"))).await;
    stage.prepare(Act::Part).await;
    let second = {
        let (target, body) = part(video(), 1);
        request("POST", &target, body)
    };
    let first = Act::Part.request();
    let (first, second) = tokio::join!(stage.see(&first), stage.see(&second));
    assert_eq!((first, second), (Seen::nothing(Ending::Closed), Seen::nothing(Ending::Closed)));
    assert_eq!((stage.killed(), stage.mock.fates()[1].struck), (vec!["client by f".to_owned()], 2));
    let again = tokio::time::timeout(std::time::Duration::from_secs(60), stage.comes_again(Act::Part)).await;
    again.expect("whoever comes next is not held back");
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_is_dropped_before_it_is_done_holds_nobody_back() {
    let stage = Stage::in_memory(&fault(&Act::Part.on(), "before-commit", "{ kill = \"client\" }")).await;
    stage.prepare(Act::Part).await;
    let mut peer = stage.connect().await;
    peer.send(&Act::Part.request()).await;
    while stage.killed().is_empty() {
        tokio::task::yield_now().await;
    }
    peer.abandon();
    let again = tokio::time::timeout(std::time::Duration::from_secs(60), stage.comes_again(Act::Part)).await;
    again.expect("whoever comes next is not held back");
}

#[tokio::test]
async fn a_kill_of_the_mock_holds_everybody_back() {
    let stage = Stage::on_sockets(&fault(&Act::Finish.on(), "before-commit", "{ kill = \"mock\" }")).await;
    stage.prepare(Act::Finish).await;
    assert_eq!(stage.see(&Act::Finish.request()).await, Seen::nothing(Ending::Closed));
    assert_eq!(stage.killed(), ["mock by f"]);
    let exchange = stage.struck();
    assert_eq!((exchange.end, exchange.faults[0].verdict.as_str()), (End::Killed, "kill mock"));
    assert_eq!(stage.effects(Act::Finish).await, 0);
}

#[tokio::test]
async fn a_plan_that_kills_is_refused_where_nobody_can() {
    let plan = toml::from_str(&fault(&Act::Part.on(), "after-commit", "{ kill = \"client\" }")).unwrap();
    let error = Mock::open(Config { plan, ..config() }, MemoryStore::new()).await.err().unwrap();
    assert!(error.to_string().contains("nobody who kills"), "{error}");
}

#[tokio::test]
async fn what_a_stopping_server_leaves_was_closed_by_the_server() {
    let mut stage = Stage::on_sockets("").await;
    stage.prepare(Act::Part).await;
    let (target, body) = part(video(), 0);
    let mut half = tokio::net::TcpStream::connect(stage.addr()).await.unwrap();
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {PART}\r\n\r\n");
    half.write_all(head.as_bytes()).await.unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut half, &mut [0; 25]).await.unwrap();
    half.write_all(&body[..10]).await.unwrap();
    stage.stop().await;
    assert_eq!(stage.mock.exchanges().pop().unwrap().end, End::Closed);
}

#[tokio::test]
async fn a_client_that_goes_away_within_a_body_is_on_record() {
    let stage = Stage::on_sockets("").await;
    let (head, body) = Act::Next.head_and_body("");
    let mut stream = tokio::net::TcpStream::connect(stage.addr()).await.unwrap();
    stream.write_all(&[&head[..], &body[..1000]].concat()).await.unwrap();
    drop(stream);
    // Nobody waits for anything here, so ask until the exchange is over.
    let end = loop {
        if let Some(gone) = stage.mock.exchanges().pop() {
            break gone.end;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(end, End::ClientGone { after: 1000 });
}
