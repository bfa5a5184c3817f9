//! Peers that behave badly: each has its limit, costs little, and disturbs nobody else.
//!
//! Time is paused here and connections are in memory: what takes minutes takes none.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use vod_mock::{MemoryStore, Mock};
use vod_proto::{Exchange, exchange::End};

use crate::{
    pipe::{Pipe, now},
    wire::{PART, config, file, finish, init, json, part},
};

async fn mock() -> Arc<Mock> {
    Mock::open(config(), MemoryStore::new()).await.unwrap()
}

/// A connection to it, and the task that serves it.
fn connect(mock: &Arc<Mock>) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1024);
    let mock = Arc::clone(mock);
    (near, tokio::spawn(async move { mock.connection(Pipe(far)).await }))
}

fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{more}\r\n")
}

/// What an honest client gets over a connection of its own, and nobody may keep it from it.
async fn honest(mock: &Arc<Mock>, head: &str, body: &[u8]) -> serde_json::Value {
    let (near, _served) = connect(mock);
    let (mut from, mut to) = tokio::io::split(near);
    let answer = async {
        let mut answer = Vec::new();
        from.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let sent = async { to.write_all(&[head.as_bytes(), body].concat()).await };
    let (answer, _) = timeout(Duration::from_secs(1), async { tokio::join!(answer, sent) }).await.expect("it waits");
    json(&answer)
}

async fn uploads(mock: &Arc<Mock>) {
    let file = file(1);
    let close = "Connection: close\r\n";
    assert_eq!(honest(mock, &head("GET", &init(&file), close), b"").await["code"], 0);
    for index in 0..2 {
        let (target, body) = part(&file, index);
        let length = format!("{close}Content-Length: {}\r\n", body.len());
        assert_eq!(honest(mock, &head("POST", &target, &length), body).await["code"], 0);
    }
    assert_eq!(honest(mock, &head("GET", &finish(&file), close), b"").await["code"], 0);
}

/// After how many seconds the mock hangs up.
async fn hangs_up_after(served: JoinHandle<()>, start: Instant) -> u64 {
    timeout(Duration::from_secs(3600), served).await.expect("it never hangs up").unwrap();
    start.elapsed().as_secs()
}

fn last(mock: &Mock) -> Exchange {
    mock.exchanges().into_iter().next_back().expect("an exchange")
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_or_half_a_head_is_let_go_after_75_seconds() {
    for said in ["", "GET /v2/index.php?Action=InitUpload HTTP/1.1\r\nHost: h\r\nX-A: ", "\r\n\r\n"] {
        let mock = mock().await;
        let (start, (mut near, served)) = (now(), connect(&mock));
        near.write_all(said.as_bytes()).await.unwrap();
        uploads(&mock).await;
        assert_eq!(hangs_up_after(served, start).await, 75, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_has_as_long_as_one_that_does_not_come() {
    let mock = mock().await;
    let (start, (mut near, served)) = (now(), connect(&mock));
    let trickle = async {
        for byte in head("GET", &init(&file(0)), "Connection: close\r\n").bytes() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if near.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    let (took, ()) = tokio::join!(hangs_up_after(served, start), trickle);
    assert_eq!((took, mock.exchanges().len()), (75, 0));
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused_within_bounds() {
    let mock = mock().await;
    let (near, served) = connect(&mock);
    let (mut from, mut to) = tokio::io::split(near);
    let sent = async {
        let mut sent = to.write(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: ").await.unwrap();
        while let Ok(more) = to.write(&[b'a'; 4096]).await {
            sent += more;
        }
        sent
    };
    let answer = async {
        let mut answer = Vec::new();
        // Whatever it says, it may hang up before the client has read it.
        let _ = from.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (sent, answer) = tokio::join!(sent, answer);
    served.await.unwrap();
    assert!(sent < 600 << 10, "{sent} bytes of one head were taken");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(mock.traffic().not_http(), 1);
    uploads(&mock).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_refused_and_counted() {
    let mock = mock().await;
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0\0\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ];
    for (at, bytes) in garbage.into_iter().enumerate() {
        let (mut near, served) = connect(&mock);
        near.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        served.await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 ") || answer.starts_with(b"HTTP/1.1 505 "), "{bytes:?}: {answer:?}");
        assert_eq!((mock.traffic().not_http(), mock.exchanges().len()), (at as u64 + 1, 0), "{bytes:?}");
    }
    uploads(&mock).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_waited_for_a_minute_and_nothing_is_kept() {
    let mock = mock().await;
    let file = file(1);
    honest(&mock, &head("GET", &init(&file), "Connection: close\r\n"), b"").await;
    let (target, body) = part(&file, 0);
    let (start, (mut near, served)) = (now(), connect(&mock));
    let announced = format!("Content-Length: {}\r\n", body.len());
    near.write_all(&[head("POST", &target, &announced).as_bytes(), &body[..1000]].concat()).await.unwrap();
    assert_eq!(hangs_up_after(served, start).await, 60);
    let exchange = last(&mock);
    assert_eq!((exchange.end, exchange.request.body.len), (End::Timeout, 1000));
    assert_eq!(mock.uploads().await[0].parts, 0);
    drop(near);
    uploads(&mock).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_has_ten_minutes_and_a_slow_one_gets_through() {
    let mock = mock().await;
    let file = file(1);
    honest(&mock, &head("GET", &init(&file), "Connection: close\r\n"), b"").await;
    let (target, body) = part(&file, 0);
    let whole = head("POST", &target, &format!("Connection: close\r\nContent-Length: {}\r\n", body.len()));
    // A byte now and then, never so late that the line seems dead; and 32 KiB a second, as a bad mobile link has it.
    for (piece, every, takes) in [(1, 50, 600), (32 << 10, 1, (PART as u64) >> 15)] {
        let (start, (mut near, served)) = (now(), connect(&mock));
        near.write_all(whole.as_bytes()).await.unwrap();
        let trickle = async {
            for piece in body.chunks(piece) {
                tokio::time::sleep(Duration::from_secs(every)).await;
                if near.write_all(piece).await.is_err() {
                    break;
                }
            }
            let mut answer = Vec::new();
            let _ = near.read_to_end(&mut answer).await;
        };
        let (took, ()) = tokio::join!(hangs_up_after(served, start), trickle);
        let end = if piece == 1 { End::Timeout } else { End::Replied };
        assert_eq!((took, last(&mock).end), (takes, end), "{piece} bytes every {every} s");
    }
    assert_eq!(mock.uploads().await[0].parts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_within_its_body_is_on_record_with_what_it_sent() {
    let mock = mock().await;
    let file = file(1);
    honest(&mock, &head("GET", &init(&file), "Connection: close\r\n"), b"").await;
    let (target, body) = part(&file, 0);
    let (mut near, served) = connect(&mock);
    let announced = format!("Content-Length: {}\r\n", body.len());
    near.write_all(&[head("POST", &target, &announced).as_bytes(), &body[..70_000]].concat()).await.unwrap();
    drop(near);
    served.await.unwrap();
    assert_eq!(last(&mock).end, End::ClientGone { after: 70_000 });
    uploads(&mock).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_and_is_gone_at_once_is_on_record_and_whoever_still_listens_is_answered() {
    let mock = mock().await;
    let (mut near, served) = connect(&mock);
    near.write_all(head("GET", &init(&file(1)), "").as_bytes()).await.unwrap();
    drop(near);
    served.await.unwrap();
    let exchange = last(&mock);
    assert_eq!((exchange.action.as_deref(), exchange.end), (Some("InitUpload"), End::ClientGone { after: 0 }));
    // It was taken in whole, so it counts.
    assert_eq!(mock.uploads().await.len(), 1);
    let (mut near, served) = connect(&mock);
    near.write_all(head("GET", &init(&file(2)), "").as_bytes()).await.unwrap();
    near.shutdown().await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    served.await.unwrap();
    assert_eq!((json(&answer)["code"].as_i64(), last(&mock).end), (Some(0), End::Replied));
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_body_is_the_next_request_and_spoils_only_itself() {
    let mock = mock().await;
    let file = file(1);
    honest(&mock, &head("GET", &init(&file), "Connection: close\r\n"), b"").await;
    let (target, body) = part(&file, 0);
    let (near, served) = connect(&mock);
    let (mut from, mut to) = tokio::io::split(near);
    let announced = format!("Content-Length: {}\r\n", body.len());
    let sent = [head("POST", &target, &announced).as_bytes(), body, b"\x01\x02 more than it said\r\n\r\n"].concat();
    let mut answer = Vec::new();
    let (sent, read) = tokio::join!(to.write_all(&sent), from.read_to_end(&mut answer));
    sent.unwrap();
    read.unwrap();
    served.await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let answers: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at..at + 12]).collect();
    assert_eq!(answers, ["HTTP/1.1 200", "HTTP/1.1 400"], "{answer}");
    assert!(last(&mock).acknowledged());
}

#[tokio::test(start_paused = true)]
async fn whoever_has_its_answer_has_75_seconds_from_then_for_the_next_request() {
    let file = file(1);
    for asked in [head("GET", &init(&file), ""), head("GET", "/__vod/health", "")] {
        let mock = mock().await;
        let (start, (mut near, served)) = (now(), connect(&mock));
        for answered in 1..=3 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            near.write_all(asked.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                assert_ne!(near.read_buf(&mut answer).await.unwrap(), 0, "it hung up before answer {answered}");
            }
        }
        // Not 75 s after the connection began, nor after the head of the last request did.
        near.write_all(b"GET /").await.unwrap();
        assert_eq!(hangs_up_after(served, start).await, 150 + 75);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_its_answer_is_given_up_after_a_minute() {
    let mock = mock().await;
    let file = file(15);
    honest(&mock, &head("GET", &init(&file), "Connection: close\r\n"), b"").await;
    for index in 0..15 {
        let (target, body) = part(&file, index);
        let length = format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
        honest(&mock, &head("POST", &target, &length), body).await;
    }
    // The list of its parts is longer than the pipe.
    let (start, (mut near, served)) = (now(), connect(&mock));
    near.write_all(head("GET", &init(&file), "").as_bytes()).await.unwrap();
    assert_eq!(hangs_up_after(served, start).await, 60);
    let exchange = last(&mock);
    assert_eq!((exchange.end, exchange.acknowledged()), (End::Timeout, false));
    assert!(exchange.reply.is_some_and(|reply| reply.body.len() > 1024));
    drop(near);
    // Somebody who takes it slowly is not given up.
    let (mut near, _served) = connect(&mock);
    near.write_all(head("GET", &init(&file), "Connection: close\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_secs(40)).await;
        if near.read_buf(&mut answer).await.unwrap() == 0 {
            break;
        }
    }
    assert_eq!((json(&answer)["code"].as_i64(), last(&mock).end), (Some(1), End::Replied));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_are_idle_disturb_nobody_and_are_let_go() {
    let mock = mock().await;
    let idle: Vec<_> = (0..1000).map(|_| connect(&mock)).collect();
    uploads(&mock).await;
    assert_eq!(mock.traffic().open(), 1000);
    for (_near, served) in idle {
        served.await.unwrap();
    }
    assert_eq!(mock.traffic().open(), 0);
}
