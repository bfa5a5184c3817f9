//! Exchanges as they end, for whoever reads along.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use vod_mock::Config;
use vod_serve::Journal;

use super::{api::Api, uploader::Uploader};
use crate::wire::{addr, config, file, get, mock};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Whoever reads along.
struct Reader {
    api: Api,
    body: Incoming,
    read: String,
}

impl Reader {
    async fn new(api: &Api, path: &str) -> Self {
        let answer = api.send("GET", path, &[], Bytes::new()).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/jsonl".parse().unwrap())
        );
        Self { api: api.clone(), body: answer.into_body(), read: String::new() }
    }

    /// The next line, which is as documented; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.find('\n') {
                let line = self.read.drain(..=end).collect::<String>();
                let value: Value = serde_json::from_str(&line).unwrap();
                let schema = if value.get("missed").is_some() { "Missed" } else { "Exchange" };
                self.api.validate(schema, &json!({ "$ref": format!("#/components/schemas/{schema}") }), &value);
                return Some(value);
            }
            let frame = timeout(LONG, self.body.frame()).await.expect("nothing comes, and no end");
            let data = frame?.expect("the end is no end in order").into_data().unwrap();
            self.read.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.next().await.unwrap()["seq"].as_u64().unwrap());
        }
        numbers
    }
}

#[tokio::test]
async fn whoever_follows_reads_what_was_and_then_each_exchange_once_until_the_mock_stops() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let (a, b) = (Uploader::new(&mock, &api, "a", json!({})).await, Uploader::new(&mock, &api, "b", json!({})).await);
    let file = file(0);
    a.init(&file).await;
    b.init(&file).await;
    let mut all = Reader::new(&api, "/__vod/exchanges?follow=1").await;
    let mut own = Reader::new(&api, "/__vod/exchanges?follow=true&account=b").await;
    let mut parts = Reader::new(&api, "/__vod/exchanges?follow=1&action=UploadPart&after=3").await;
    assert_eq!((all.numbers(2).await, own.numbers(1).await), (vec![1, 2], vec![2]));
    a.part(&file).await;
    assert_eq!(all.numbers(1).await, [3], "it comes while others are awaited");
    b.part(&file).await;
    b.finish(&file).await;
    assert_eq!((all.numbers(2).await, own.numbers(2).await), (vec![4, 5], vec![4, 5]));
    assert_eq!(parts.numbers(1).await, [4], "the third is not after the third");
    let stopped = tokio::spawn(mock.stop());
    assert_eq!((all.next().await, own.next().await, parts.next().await), (None, None, None));
    timeout(LONG, stopped).await.expect("it waits for nobody").unwrap();
}

#[tokio::test]
async fn whoever_reads_slowly_has_read_all_when_the_mock_has_stopped() {
    let mock = mock(config()).await;
    let long = format!("/v2/index.php?Action=Nope&long={}", "x".repeat(60_000));
    for _ in 0..150 {
        get(&mock, &long).await;
    }
    // 9 MB, twice as much as fits between the two: the system makes a sender's buffer no larger than 4 MB.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(65_536).unwrap();
    let mut stream = socket.connect(addr(&mock).parse().unwrap()).await.unwrap();
    stream.write_all(b"GET /__vod/exchanges?follow=1 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut read = vec![0];
    stream.read_exact(&mut read).await.unwrap();
    let stopped = tokio::spawn(mock.stop());
    timeout(LONG, stream.read_to_end(&mut read)).await.expect("no end").unwrap();
    let read = String::from_utf8(read).unwrap();
    assert_eq!((read.matches("\"seq\":").count(), read.ends_with("\r\n0\r\n\r\n")), (150, true), "an end in order");
    timeout(LONG, stopped).await.expect("it waits for nobody").unwrap();
}

#[tokio::test]
async fn an_exchange_is_told_when_it_is_over_and_not_before() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let a = Uploader::new(&mock, &api, "a", json!({})).await;
    let plan = json!({ "fault": [{ "id": "f", "on": { "action": "UploadPart" }, "phase": "before-commit", "do": { "hold": "door" } }] });
    assert_eq!(api.post(&a.own("faults"), &plan).await.status, 201);
    let mut reader = Reader::new(&api, "/__vod/exchanges?follow=1").await;
    let file = file(0);
    a.init(&file).await;
    let rest = async {
        while api.seen(&a.own("faults")).await[0]["held"] != 1 {}
        a.finish(&file).await;
        assert_eq!(reader.numbers(2).await, [1, 3], "in the order in which they end");
        assert_eq!(api.command(&a.own("release/door")).await.json()["released"], 1);
        reader.next().await.unwrap()
    };
    let (_, last) = tokio::join!(a.part(&file), rest);
    assert_eq!((&last["seq"], &last["end"], &last["faults"][0]["id"]), (&json!(2), &json!("replied"), &json!("f")));
}

#[tokio::test]
async fn whoever_comes_late_is_told_how_many_are_missing() {
    let journal = Journal::builder(1).ceiling(4_000).memory();
    let mock = mock(Config { journal: journal.clone(), ..config() }).await;
    let api = Api::of(&mock).await;
    let a = Uploader::new(&mock, &api, "a", json!({})).await;
    for _ in 0..10 {
        a.init(&file(0)).await;
    }
    let missing = journal.evicted();
    assert!((1..10).contains(&missing), "{missing}");
    let mut reader = Reader::new(&api, "/__vod/exchanges?follow=1").await;
    assert_eq!(reader.next().await, Some(json!({ "missed": missing })));
    let left = usize::try_from(10 - missing).unwrap();
    assert_eq!(reader.numbers(left).await, (missing + 1..=10).collect::<Vec<_>>());
    assert_eq!(api.command(&a.own("reset")).await.status, 200);
    a.init(&file(0)).await;
    assert_eq!(reader.numbers(1).await, [11], "what was read already is not missing");
}

#[tokio::test]
async fn whoever_goes_away_is_followed_by_nothing() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let followers = async || {
        let page = api.get("/__vod/metrics").await.text;
        page.lines().find_map(|line| line.strip_prefix("vod_mock_followers ")).unwrap().to_owned()
    };
    let mut stream = TcpStream::connect(addr(&mock)).await.unwrap();
    stream.write_all(b"GET /__vod/exchanges?follow=1 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut head).await.unwrap();
    }
    assert_eq!(followers().await, "1");
    drop(stream);
    let gone = async { while followers().await != "0" {} };
    timeout(LONG, gone).await.expect("it is counted for ever");
}
