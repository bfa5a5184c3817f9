//! `docs/json-lines.md` says what the lines are; here they are held against it.

use std::collections::BTreeMap;

use expect_test::expect_file;
use serde_json::Value;

use super::*;
use crate::{
    cli::plan::PlannedRequest,
    error::{Failure, GaveUp, TransportError},
    report::Outcome,
};

/// What each field is; those with one name in several lines are one thing.
const FIELDS: &[(&str, &str)] = &[
    ("event", "which line this is"),
    ("file", "the file, as it was named or found by a pattern; null where nothing was begun"),
    ("done", "bytes read so far, for the SHA-1"),
    ("total", "the file's size in bytes"),
    ("file-sha1", "the SHA-1 of the whole file, in hexadecimal digits"),
    ("cached", "true if the digest cache knew it, so that the file was not read"),
    ("part-size", "the grid in force, in bytes"),
    ("parts", "how many parts the file has"),
    ("listed", "how many of them the server says it has"),
    ("held-bytes", "the bytes of those that need no second look"),
    ("action", "the action's name"),
    ("part", "`offset` and `len` of the part, in bytes; null for a request that sends none"),
    ("size", "the file's size in bytes"),
    ("endpoint", "where the requests would go"),
    ("family", "`server`, `ugc` or `legacy`"),
    ("spans", "`offset` and `len` of the first parts and the last; of all, if they are few"),
    (
        "requests",
        "`action`, `method`, `target` and `body-bytes` of the requests of these parts, and of those before and after \
         them; what proves them is replaced",
    ),
    ("request-count", "how many requests there would be, if the server has nothing of the file"),
    ("bytes", "the bytes of all their bodies"),
    ("attempt", "the n-th time since the upload was last opened, counted from 1"),
    ("kind", "the kind of the failure, as in [exit-codes.md](exit-codes.md)"),
    ("code", "the code that the server answered last; null where it answered none"),
    ("message", "the failure in words, for people: they may change"),
    ("retry-in-ms", "when the request is sent again, in milliseconds; null where it is not"),
    ("skipped", "true if the server had it before, with the same bytes"),
    ("exit", "the exit code that this file alone would have"),
    ("outcome", "`finished`, `committed-earlier`, `existed` or `failed`"),
    ("file-id", "the service's name for the file: decimal digits, as a string"),
    ("url", "where it can be fetched; null if the server did not say"),
    ("verify-content", "what proves the upload to the application's own server; null outside the ugc family"),
    ("parts-sent", "parts that were sent and acknowledged"),
    ("parts-skipped", "parts that the server had before"),
    ("attempts", "requests that were sent, of every action"),
    ("bytes-sent", "bytes of parts that were handed to the transport, those of failed attempts included"),
    ("elapsed-ms", "how long it took, in milliseconds"),
    ("may-be-committed", "true if the server may have stored the file nevertheless"),
];

/// When each line is printed.
const LINES: &[(&str, &str)] = &[
    ("queued", "the upload was accepted: nothing has been read or sent yet"),
    ("hashing", "so much of the file has been read"),
    ("hashed", "the upload's identity is known"),
    ("opened", "the server opened the upload, or told what it has of it"),
    ("attempt-started", "a request goes out"),
    ("attempt-failed", "a request failed"),
    ("part-done", "the server has this part"),
    ("reopening", "the server is asked again what it has"),
    ("finishing", "every part is there, and the server is asked to put them together"),
    ("plan", "with `--dry-run`, instead of all other lines, but for the result of a file that cannot be uploaded"),
    ("result", "the file is stored, or is not; each file has one, and it is the last of its lines"),
];

fn samples() -> Vec<Value> {
    let failure =
        Failure::Exhausted { why: GaveUp::Attempts, last: Some(Box::new(Failure::Transport(TransportError::Reset))) };
    let (action, part) = (Action::UploadPart, PartSpan { offset: 1_048_576, len: 4 });
    let events = [
        Event::Queued { total: 1_048_580 },
        Event::Hashing { done: 4, total: 1_048_580 },
        Event::Hashed { file_sha1: Sha1::of(b""), cached: false },
        Event::Opened { part_size: 1_048_576, parts: 2, listed: 1, held_bytes: 0 },
        Event::AttemptStarted { action, span: Some(part), attempt: 1 },
        Event::AttemptFailed {
            action,
            span: Some(part),
            attempt: 1,
            failure: failure.clone(),
            retry_in: Some(Duration::from_millis(70)),
        },
        Event::PartDone { span: part, skipped: false },
        Event::Reopening { because: failure.clone() },
        Event::Finishing,
    ];
    let mut lines: Vec<_> =
        events.iter().map(|event| serde_json::to_value(Line::of("a.mp4", event).unwrap()).unwrap()).collect();
    let requests = vec![PlannedRequest {
        action,
        method: "POST",
        target: "/v2/index.php?Action=UploadPart".to_owned(),
        body_bytes: 4,
    }];
    let plan = Plan {
        size: 4,
        file_sha1: Sha1::of(b""),
        endpoint: "http://h".to_owned(),
        family: "server",
        part_size: 4,
        parts: 1,
        spans: vec![part],
        requests,
        request_count: 3,
        bytes: 4,
    };
    lines.push(serde_json::to_value(Line::Plan { file: "a.mp4", plan: &plan }).unwrap());
    let report = UploadReport {
        outcome: Outcome::Finished,
        file_id: "7".to_owned(),
        url: None,
        verify_content: None,
        parts_sent: 1,
        parts_skipped: 1,
        attempts: 4,
        bytes_sent: 4,
        elapsed: Duration::from_millis(12),
    };
    lines.push(serde_json::to_value(Line::Result(ResultLine::stored("a.mp4", &report))).unwrap());
    let error = UploadError::early(failure, Duration::ZERO);
    lines.push(serde_json::to_value(Line::Result(ResultLine::failed(&error, 6, "gave up"))).unwrap());
    lines
}

/// `UPDATE_EXPECT=1` writes the page anew.
#[test]
fn the_page_of_lines_has_every_line_and_field_that_is_printed() {
    let mut page = "# The lines of `vod-client upload --json`\n\n\
        One JSON object a line on stdout: one for each event, and one, with `\"event\":\"result\"`, for each file.\n\
        `--quiet` leaves the events out.\n\
        The log, and how to resume after Ctrl-C, go to stderr.\n\
        Lines of files that are uploaded at the same time are mixed; `file` tells them apart.\n\
        Names keep their meaning; new lines and new fields may come, and readers should pass over what they do not know.\n\
        This page is held against the program by a test in `crates/vod-client/src/cli/output/lines`.\n\n\
        | `event` | when | fields |\n|---|---|---|\n"
        .to_owned();
    let mut by_line: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for line in samples() {
        let keys: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        by_line.entry(line["event"].as_str().unwrap().to_owned()).or_default().push(keys);
    }
    for (name, when) in LINES {
        for keys in by_line.remove(*name).unwrap_or_else(|| panic!("{name} is never printed")) {
            let known = FIELDS.iter().map(|(field, _)| *field).filter(|field| *field != "event");
            let fields: Vec<_> = known.filter(|field| keys.iter().any(|key| key == field)).collect();
            assert_eq!(fields.len() + 1, keys.len(), "a field of {name} is not described: {keys:?}");
            let fields = fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            page += &format!("| `{name}` | {when} | {fields} |\n");
        }
    }
    assert_eq!(by_line, BTreeMap::new(), "these are not described");
    page += "\n| field | what it is |\n|---|---|\n";
    for (name, what) in FIELDS {
        page += &format!("| `{name}` | {what} |\n");
    }
    expect_file!["../../../../../../docs/json-lines.md"].assert_eq(&page);
}

#[test]
fn a_line_begins_with_its_event_and_its_file() {
    let part = PartSpan { offset: 0, len: 4 };
    let line = Line::of("a.mp4", &Event::PartDone { span: part, skipped: true }).unwrap();
    expect_test::expect![[r#"{"event":"part-done","file":"a.mp4","part":{"offset":0,"len":4},"skipped":true}"#]]
        .assert_eq(&serde_json::to_string(&line).unwrap());
    let line = Line::Result(ResultLine::interrupted(false, "interrupted"));
    expect_test::expect![[r#"{"event":"result","file":null,"exit":130,"outcome":"failed","kind":"interrupted","code":null,"may-be-committed":false,"message":"interrupted"}"#]]
        .assert_eq(&serde_json::to_string(&line).unwrap());
}
