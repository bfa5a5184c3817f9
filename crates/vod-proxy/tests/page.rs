//! `docs/recording.md` against what is written: every field stands there, and no other.

use std::collections::BTreeSet;

use serde_json::Value;
use vod_proto::{
    Exchange, Md5, PartSpan, Sha1,
    exchange::{End, FORMAT, FaultMark, Kept, Mark, ReplyRecord, RequestRecord, Times, Unreached, seal},
};
use vod_proxy::recording::{self, KeptBodies, Manifest, Redaction, Source};

const PAGE: &str = include_str!("../../../docs/recording.md");

/// An exchange that says everything that one can say.
fn full() -> Exchange {
    let mark = Mark { len: 5, sha1: Some(Sha1::of(b"hello")), md5: Some(Md5::of(b"hello")), kept: Kept::File };
    Exchange {
        v: FORMAT,
        seq: 1,
        start: "2026-01-02T03:04:05Z".parse().expect("a time"),
        account: Some("a".to_owned()),
        action: Some("UploadPart".to_owned()),
        file_sha1: Some(Sha1::of(b"file")),
        part: Some(PartSpan { offset: 0, len: 5 }),
        part_number: Some(1),
        attempt: 1,
        request: RequestRecord {
            method: "POST".to_owned(),
            host: "h".to_owned(),
            target: "/".to_owned(),
            headers: vec![],
            body: mark.clone(),
            tls: true,
        },
        reply: Some(ReplyRecord {
            status: 200,
            headers: vec![("a".to_owned(), "b".to_owned())],
            body: String::new(),
            mark: Some(mark),
        }),
        unreached: Some(Unreached::Refused),
        end: End::ClientGone { after: 1 },
        faults: vec![FaultMark {
            id: "f".to_owned(),
            phase: "mid-body".to_owned(),
            verdict: "delay".to_owned(),
            on_reply: false,
            at_us: 1,
        }],
        times: Times { first_byte: Some(1), body_done: Some(2), reply_done: Some(3) },
    }
}

/// The names of all members of all objects in a value.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            names(value, into);
        }),
        Value::Array(values) => values.iter().for_each(|value| names(value, into)),
        _ => {}
    }
}

/// The first cells of the tables of a section, without their quotes.
fn rows(section: &str) -> BTreeSet<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {section}\n")).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

#[test]
fn the_page_names_every_field_of_an_exchange_and_no_other() {
    let mut line = full().to_line().expect("it is JSON");
    seal(&mut line);
    let mut written = BTreeSet::new();
    names(&serde_json::from_str(&line).expect("it is JSON"), &mut written);
    let named = |name: &String| PAGE.contains(&format!("`{name}`")) || PAGE.contains(&format!("\"{name}\""));
    let unnamed: Vec<_> = written.iter().filter(|name| !named(name)).collect();
    assert!(unnamed.is_empty(), "not on the page: {unnamed:?}");
    let ends = [End::Replied, End::Reset, End::Closed, End::Timeout, End::Killed];
    let ends: BTreeSet<_> = ends.iter().map(|end| format!("\"{}\"", end.word())).collect();
    let unknown: Vec<_> =
        rows("An exchange").into_iter().filter(|row| !written.contains(row) && !ends.contains(row)).collect();
    assert_eq!(unknown, ["{\"client-gone\":{\"after\":N}}"]);
    assert!(ends.iter().all(|end| PAGE.contains(&format!("| `{end}` |"))));
}

#[test]
fn the_page_names_every_key_of_a_manifest_and_no_other() {
    let manifest = |source| Manifest {
        format: recording::FORMAT,
        tool: "t".to_owned(),
        started: "2026-01-02T03:04:05Z".parse().expect("a time"),
        bodies: KeptBodies::default(),
        source,
        redaction: Redaction::default(),
    };
    let mut written = BTreeSet::new();
    for source in [Source::Upstream("http://h".to_owned()), Source::Hosts(vec!["h".to_owned()])] {
        let Value::Object(keys) = serde_json::to_value(manifest(source)).expect("it is an object") else {
            unreachable!()
        };
        for (key, value) in keys {
            match value {
                Value::Object(members) => written.extend(members.keys().map(|name| format!("{key}.{name}"))),
                _ => _ = written.insert(key),
            }
        }
    }
    assert_eq!(rows("The manifest"), written);
}
