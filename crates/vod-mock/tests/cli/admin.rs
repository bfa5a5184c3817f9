//! Where the binary serves its admin API, and the token it demands there.

use std::{
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    net::TcpStream,
    process::Command,
};

use vod_mock::exit;

use crate::{ask, ask_with, cannot_start, refused, started};

const TOKEN: &str = "sEcReT-of-the-admin-api";

/// A mock that listens here.
fn vod_mock(listen: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-mock"));
    command.args(["--listen", listen]).args(args).env_remove("RUST_LOG").env_remove("VOD_ADMIN_TOKEN");
    command
}

/// An address on this machine, of a listener for all of its addresses.
fn here(addr: &str) -> String {
    addr.replace("0.0.0.0", "127.0.0.1")
}

fn token_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn on_loopback_it_is_beside_the_protocol_and_told_in_the_first_line() {
    let (_child, ready, _) = started(vod_mock("127.0.0.1:0", &[]));
    assert_eq!(ready["admin"], ready["listening"]);
}

#[test]
fn an_address_of_its_own_is_told_in_the_first_line_and_outlives_a_protocol_that_is_refused() {
    let (_child, ready, addr) = started(vod_mock("127.0.0.1:0", &["--admin-listen", "127.0.0.1:0", "--auth", "any"]));
    let admin = ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert_ne!(admin, addr);
    let plan = r#"{"fault":[{"id":"gone","phase":"before-read","do":{"refuse":"1h"}}]}"#;
    let json = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", plan.len());
    let answer = ask_with(admin, "POST /__vod/faults", &json, plan);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(ask(&addr, "GET /v2/index.php?Action=Report"), "", "the connection is closed");
    assert!(TcpStream::connect(&addr).is_err(), "and every other is refused");
    let answer = ask(admin, "GET /__vod/faults");
    assert!(answer.contains(r#""id":"gone","matched":1,"struck":1"#), "{answer}");
}

#[test]
fn whoever_follows_the_exchanges_is_told_that_they_are_over_when_it_is_stopped() {
    for args in [&["--admin-listen", "127.0.0.1:0"][..], &[]] {
        let (mut child, ready, addr) = started(vod_mock("127.0.0.1:0", args));
        let admin = ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.write_all(b"GET /__vod/exchanges?follow=1 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        ask(&addr, "GET /v2/index.php?Action=Nope");
        let mut read = String::new();
        let mut reader = BufReader::new(&mut stream);
        while !read.contains("Action=Nope") {
            assert_ne!(reader.read_line(&mut read).unwrap(), 0, "{read}");
        }
        assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
        reader.read_to_string(&mut read).unwrap();
        assert!(read.ends_with("\r\n0\r\n\r\n"), "the last piece, which is empty: {read}");
        assert!(child.0.wait().unwrap().success());
    }
}

#[test]
fn beyond_loopback_it_is_not_served_without_a_token_and_that_is_said() {
    let mut log = tempfile::tempfile().unwrap();
    let mut command = vod_mock("0.0.0.0:0", &[]);
    command.stderr(log.try_clone().unwrap());
    let (child, ready, addr) = started(command);
    assert!(ready.get("admin").is_none(), "{ready}");
    let answer = ask(&here(&addr), "GET /__vod/health");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("VOD_ADMIN_TOKEN"), "{answer}");
    drop(child);
    let mut said = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut said).unwrap();
    assert!(said.lines().count() == 1 && said.contains("the admin API is not served"), "{said:?}");
    let apart = ["--admin-listen", "0.0.0.0:0"];
    refused(&apart, exit::USAGE, &["0.0.0.0:0", "--admin-token-file", "VOD_ADMIN_TOKEN"]);
}

#[test]
fn a_token_is_demanded_wherever_there_is_one_and_never_logged() {
    let file = token_file(&format!("{TOKEN}\n"));
    let path = file.path().to_str().unwrap().to_owned();
    let from_file = |listen, args: &[&str]| vod_mock(listen, &[args, &["--admin-token-file", &path]].concat());
    let from_variable = |listen, args: &[&str]| {
        let mut command = vod_mock(listen, args);
        command.env("VOD_ADMIN_TOKEN", TOKEN);
        command
    };
    for command in [
        from_file("127.0.0.1:0", &[]),
        from_file("0.0.0.0:0", &[]),
        from_variable("0.0.0.0:0", &[]),
        from_variable("127.0.0.1:0", &["--admin-listen", "127.0.0.1:0"]),
        from_file("127.0.0.1:0", &["--admin-listen", "0.0.0.0:0"]),
    ] {
        let mut log = tempfile::tempfile().unwrap();
        let mut command = command;
        command.env("RUST_LOG", "trace").stderr(log.try_clone().unwrap());
        let (child, ready, addr) = started(command);
        assert!(!ready.to_string().contains(TOKEN), "{ready}");
        ask(&here(&addr), "no HTTP\r\n");
        let admin = here(ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap());
        assert!(ask(&admin, "GET /__vod/health").starts_with("HTTP/1.1 401 "));
        let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
        let answer = ask_with(&admin, "GET /__vod/health", &bearer, "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let account = r#"{"name":"a","secret-key":"kEy-of-a"}"#;
        let json = format!("{bearer}Content-Type: application/json\r\nContent-Length: {}\r\n", account.len());
        let answer = ask_with(&admin, "POST /__vod/accounts", &json, account);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        let mut said = String::new();
        // What was no HTTP is logged at the end of its connection, which nobody who asks otherwise waits for.
        let logged = (0..1000).any(|_| {
            ask(&admin, "GET /__vod/health");
            said.clear();
            log.rewind().unwrap();
            log.read_to_string(&mut said).unwrap();
            said.contains("not HTTP was refused")
        });
        drop(child);
        assert!(logged, "there is a log: {said}");
        assert!(!said.contains(TOKEN) && !said.contains("kEy-of-a"), "{said}");
    }
}

#[test]
fn a_token_that_no_request_could_show_is_refused() {
    let empty = token_file("\n");
    refused(&["--admin-token-file", empty.path().to_str().unwrap()], exit::USAGE, &["the admin token is empty"]);
    let blank = token_file("sEcReT and more");
    let words = [blank.path().to_str().unwrap(), "visible ASCII"];
    refused(&["--admin-token-file", words[0]], exit::USAGE, &words);
    refused(&["--admin-token-file", "/nowhere/token"], exit::USAGE, &["/nowhere/token", "cannot read"]);
    let mut empty = vod_mock("127.0.0.1:0", &[]);
    empty.env("VOD_ADMIN_TOKEN", "");
    cannot_start(empty, exit::USAGE, &["VOD_ADMIN_TOKEN: the admin token is empty"]);
}
