//! Who may ask, and where.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use vod_mock::{AdminPlace, AdminPolicy, AdminToken, Config, VodMock};

use super::api::Api;
use crate::wire::{addr, config, get, mock, send};

const TOKEN: &str = "tOkEn-that-nobody-knows";

async fn guarded(place: AdminPlace) -> VodMock {
    let token = Some(AdminToken::new(TOKEN).unwrap());
    mock(Config { admin: AdminPolicy { place, token }, ..config() }).await
}

#[tokio::test]
async fn where_there_is_a_token_every_request_must_show_it() {
    for place in [AdminPlace::Shared, AdminPlace::Apart] {
        let mock = guarded(place).await;
        let api = Api::at(mock.admin_endpoint().unwrap(), Some(TOKEN)).await;
        assert_eq!(api.get("/__vod/health").await.status, 200);
        let paths = api.document()["paths"].as_object().unwrap().keys();
        let paths: Vec<_> = paths.map(String::as_str).chain(["/__vod/nothing", "/__vod"]).collect();
        for path in paths {
            let path = path.replace(['{', '}'], "");
            for (shown, words) in [
                (None, "is missing"),
                (Some("Bearer wrong"), "does not have"),
                (Some("Bearer "), "does not have"),
                (Some("Bearer"), "does not have"),
                (Some(TOKEN), "does not have"),
                (Some("Basic tOkEn-that-nobody-knows"), "does not have"),
                (Some("Bearer tOkEn-that-nobody-know"), "does not have"),
                (Some("Bearer tOkEn-that-nobody-knows "), ""),
                (Some("bearer tOkEn-that-nobody-knows"), ""),
            ] {
                let headers = shown.map(|shown| ("Authorization", shown));
                let stranger = api.without_token();
                let answer = stranger.ask("GET", &path, headers.as_slice(), "").await;
                if words.is_empty() {
                    assert_ne!(answer.status, 401, "{shown:?}: {answer:?}");
                    continue;
                }
                let told = answer.refused(401, "header", &["Authorization", words]);
                assert_eq!(
                    (told["name"].as_str(), answer.header("www-authenticate")),
                    (Some("Authorization"), "Bearer")
                );
                assert!(!answer.text.contains(TOKEN), "{answer:?}");
            }
        }
        assert!(mock.exchanges().is_empty() || place == AdminPlace::Apart);
    }
}

#[tokio::test]
async fn a_name_that_anybody_can_register_is_no_name_of_this_machine() {
    let status = async |mock: &VodMock, host: &str| {
        let head = format!("GET /__vod/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(crate::wire::raw(mock, &head, b"").await.unwrap()).unwrap();
        (answer[9..12].parse::<u16>().unwrap(), answer)
    };
    let open = mock(config()).await;
    for host in
        ["127.0.0.1:8266", "[::1]:8266", "localhost:8266", "a.localhost", "mock:8266", "VOD2.qcloud.com", "10.0.0.7"]
    {
        assert_eq!(status(&open, host).await.0, 200, "{host}");
    }
    for host in [
        "evil.example:80",
        "evil.example.",
        "127.0.0.1.evil.example",
        "qcloud.com",
        "vod2.qcloud.com.evil.example",
        "a@b.c",
    ] {
        let (status, answer) = status(&open, host).await;
        assert!(status == 403 && answer.contains("header Host is"), "{host}: {answer}");
    }
    let guarded = guarded(AdminPlace::Shared).await;
    let (status, answer) = status(&guarded, "evil.example").await;
    assert!(status == 401 && answer.contains("Authorization"), "whoever has the token may come by any name: {answer}");
}

#[tokio::test]
async fn a_token_is_never_shown() {
    let token = AdminToken::new(TOKEN).unwrap();
    let shown = format!("{:?} {:?}", token, AdminPolicy { token: Some(token.clone()), ..AdminPolicy::default() });
    assert!(!shown.contains("tOkEn") && !shown.contains('['), "neither it nor its digest: {shown}");
    for bad in ["", "a b", "a\n", "\u{e9}"] {
        assert!(AdminToken::new(bad).unwrap_err().to_string().contains("visible ASCII"), "{bad:?}");
    }
}

#[tokio::test]
async fn web_pages_are_refused_whatever_they_ask() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let own = mock.endpoint().to_owned();
    for origin in ["http://evil.example", "null", &own] {
        for (method, path) in [
            ("POST", "/__vod/reset"),
            ("DELETE", "/__vod/accounts/demo"),
            ("GET", "/__vod/exchanges"),
            ("OPTIONS", "/__vod/faults"),
            ("GET", "/__vod/nothing"),
        ] {
            let answer = api.ask(method, path, &[("Origin", origin)], "").await;
            let told = answer.refused(403, "header", &["a web page", origin]);
            assert_eq!(told["name"], "Origin");
        }
    }
    assert_eq!(api.seen("/__vod/accounts").await[0]["name"], "demo", "nothing came of it");
}

#[tokio::test]
async fn with_a_port_of_its_own_the_admin_api_is_unknown_on_the_protocols_and_only_there_is_it_answered() {
    let mock = mock(Config { admin: AdminPolicy { place: AdminPlace::Apart, token: None }, ..config() }).await;
    let answer = String::from_utf8(send(&mock, "GET", "/__vod/health", b"").await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("unknown path /__vod/health"), "{answer}");
    assert!(!answer.contains("or /__vod/"), "it is no place to look: {answer}");
    assert_eq!(mock.exchanges().len(), 1, "a request like any other");
    assert_ne!(mock.admin_endpoint(), Some(mock.endpoint()));
    let api = Api::of(&mock).await;
    assert_eq!(api.seen("/__vod/health").await["status"], "ok");
    api.get("/v2/index.php?Action=InitUpload").await.refused(404, "path", &["unknown path /v2/index.php"]);
    assert_eq!(mock.exchanges().len(), 1, "what is asked over there is not on record");
}

#[tokio::test]
async fn where_there_is_none_it_says_so() {
    let mock = mock(Config { admin: AdminPolicy { place: AdminPlace::Nowhere, token: None }, ..config() }).await;
    assert_eq!(mock.admin_endpoint(), None);
    for path in ["/__vod/health", "/__vod/exchanges?follow=1", "/__vod"] {
        let answer = String::from_utf8(send(&mock, "GET", path, b"").await.unwrap()).unwrap();
        let said =
            ["not served here", "--admin-token-file", "VOD_ADMIN_TOKEN"].iter().all(|word| answer.contains(word));
        assert!(answer.starts_with("HTTP/1.1 404 ") && said, "{answer}");
    }
    assert!(mock.exchanges().is_empty());
}

#[tokio::test]
async fn no_answer_repeats_all_of_what_is_far_too_long() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let long = "x".repeat(900_000);
    let fault = |id: &str, key: &str, at: &str| {
        let mut fault = json!({ "id": id, "phase": "before-read", "do": "close" });
        fault[key] = at.into();
        json!({ "fault": [fault] })
    };
    let short = "x".repeat(60_000);
    let refused = [
        api.post("/__vod/accounts", &json!({ "name": long })).await,
        api.post("/__vod/faults", &fault(&long, "do", "drop-part")).await,
        api.post("/__vod/faults", &fault("f", &long, "0")).await,
        api.post("/__vod/faults", &fault("f", "phase", &long)).await,
        api.get(&format!("/__vod/{short}")).await,
        api.get(&format!("/__vod/uploads?{short}=1")).await,
        api.get(&format!("/__vod/uploads?account={short}")).await,
        api.command(&format!("/__vod/release/{short}")).await,
    ];
    for answer in refused {
        assert!((400..500).contains(&answer.status) && answer.text.len() < 4000, "{} bytes", answer.text.len());
        assert!(answer.text.contains("bytes left out"), "{}", answer.text);
    }
    // What is planted may have a long name; it is not told to whoever asks for another.
    let hold = json!({ "fault": [{ "id": "f", "on": { "part": 9 }, "phase": "before-read", "do": { "hold": long } }] });
    assert_eq!(api.post("/__vod/faults", &hold).await.status, 201);
    let answer = api.command("/__vod/release/other").await;
    assert!(answer.status == 404 && answer.text.len() < 4000, "{} bytes", answer.text.len());
    let answer = get(&mock, &format!("/v2/index.php?Action={short}")).await;
    let message = answer["message"].as_str().unwrap();
    assert!(answer["code"] == -10001 && message.len() < 1200 && message.contains("bytes left out"), "{message}");
}

#[tokio::test]
async fn a_body_without_end_is_given_up_and_heard_about() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    // Twice as much as is read, all of which is heard out: the answer would be lost otherwise.
    let long = json!({ "more": "x".repeat(2 << 20) });
    api.post("/__vod/faults", &long).await.refused(413, "body", &["longer than 1048576 bytes"]);
    api.post("/__vod/nothing", &long).await.refused(404, "path", &["/__vod/nothing"]);
    let mut stream = TcpStream::connect(addr(&mock)).await.unwrap();
    let head = "POST /__vod/faults HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = [b' '; 65_536];
    let sent = async {
        let mut sent = 0;
        // Until nobody takes it any more.
        while let Ok(len) = stream.write(&piece).await {
            sent += len;
        }
        sent
    };
    let sent = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("it is read for ever");
    assert!(sent >= 8 << 20, "{sent}");
}
