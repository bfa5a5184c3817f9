//! Recordings that are damaged: every byte of the manifest and of a line, flipped and cut off, and their ends in every way.
//!
//! Whatever is wrong is a clear error, or leaves a valid prefix; nothing is ever read as what it is not.

use std::{fs, path::Path};

use vod_proto::{
    Exchange, Sha1,
    exchange::{End, FORMAT, Kept, Mark, ReplyRecord, RequestRecord, Times, seal},
};
use vod_proxy::{
    Manifest, Recording,
    recording::{self, EXCHANGES_FILE, KeptBodies, MANIFEST_FILE, Redaction, Source},
};

/// Which bits of a byte are flipped: another letter, the other case, and what is no text any more.
const FLIPPED: [u32; 3] = [0, 5, 7];

fn manifest() -> Manifest {
    Manifest {
        format: recording::FORMAT,
        tool: "vod-proxy 0".to_owned(),
        started: "2026-01-02T03:04:05Z".parse().expect("a time"),
        bodies: KeptBodies::default(),
        source: Source::Upstream("http://h".to_owned()),
        redaction: Redaction { parameters: vec!["key".to_owned()], ..Redaction::default() },
    }
}

fn exchange(seq: u64) -> Exchange {
    let reply = ReplyRecord {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"code":0,"message":"é"}"#.to_owned(),
        mark: None,
    };
    Exchange {
        v: FORMAT,
        seq,
        start: "2026-01-02T03:04:05Z".parse().expect("a time"),
        account: None,
        action: Some("UploadPart".to_owned()),
        file_sha1: Some(Sha1::of(b"file")),
        part: None,
        part_number: None,
        attempt: 1,
        request: RequestRecord {
            method: "POST".to_owned(),
            host: "h".to_owned(),
            target: "/v2/index.php?Action=UploadPart".to_owned(),
            headers: vec![],
            body: Mark { len: 5, sha1: Some(Sha1::of(b"hello")), md5: None, kept: Kept::Digest },
            tls: false,
        },
        reply: Some(reply),
        unreached: None,
        end: End::Replied,
        faults: vec![],
        times: Times { first_byte: Some(1), body_done: Some(2), reply_done: Some(3) },
    }
}

fn line(seq: u64) -> Vec<u8> {
    let mut line = exchange(seq).to_line().expect("it is JSON");
    seal(&mut line);
    line.push('\n');
    line.into_bytes()
}

/// What is read there: the manifest, the exchanges, and whether the end is torn; or the error, whose words are not empty.
fn read(dir: &Path) -> Result<(Manifest, Vec<Exchange>, bool), String> {
    let read = Recording::open(dir).and_then(|recording| {
        let (exchanges, end) = recording.exchanges()?;
        Ok((recording.manifest().clone(), exchanges, end.torn))
    });
    read.map_err(|error| {
        let text = error.to_string();
        assert!(text.contains(&*dir.to_string_lossy()), "it says where: {text}");
        text
    })
}

#[test]
fn no_byte_of_a_line_is_changed_unseen() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let whole = [line(1), line(2), line(3)];
    let expected: Vec<_> = (1..=3).map(exchange).collect();
    let path = dir.path().join(EXCHANGES_FILE);
    let mut refused = 0;
    for at in 0..whole[1].len() {
        for flip in FLIPPED {
            let mut lines = whole.clone();
            lines[1][at] ^= 1 << flip;
            fs::write(&path, lines.concat()).expect("it is written");
            match read(dir.path()) {
                // The change is in the name of the checksum.
                Ok((_, exchanges, torn)) => assert_eq!((exchanges, torn), (expected.clone(), false), "{at} {flip}"),
                Err(error) => {
                    assert!(error.contains("line 2: "), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > whole[1].len() * 14 / 5, "{refused} of {}", whole[1].len() * 3);
}

#[test]
fn wherever_a_recording_is_cut_off_what_stands_before_is_valid() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let (first, whole) = (line(1).len(), [line(1), line(2)].concat());
    for cut in 0..=whole.len() {
        fs::write(dir.path().join(EXCHANGES_FILE), &whole[..cut]).expect("it is written");
        let (_, exchanges, torn) = read(dir.path()).expect("it is read");
        let lines = usize::from(cut >= first) + usize::from(cut >= whole.len());
        assert_eq!(exchanges.len(), lines, "cut at {cut} of {}", whole.len());
        assert_eq!(torn, ![0, first, whole.len()].contains(&cut), "cut at {cut} of {}", whole.len());
    }
}

#[test]
fn no_byte_of_a_manifest_is_changed_or_lost_unseen() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let path = dir.path().join(MANIFEST_FILE);
    let whole = fs::read(&path).expect("it is there");
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).expect("it is written");
        match read(dir.path()) {
            Ok((read, ..)) => assert_eq!(read, manifest(), "{what}"),
            Err(error) => assert!(error.contains(MANIFEST_FILE), "{error}"),
        }
    };
    for at in 0..whole.len() {
        for flip in FLIPPED {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << flip;
            check(&bytes, &format!("bit {flip} of byte {at}"));
        }
        check(&whole[..at], &format!("cut at {at}"));
    }
}

/// How many bytes at the end are changed in every way: more than a checksum has.
const END: usize = 100;

/// What is put in the place of a byte: what means something there, and what does not.
const INSTEAD: &[u8] = b"\0 \n\"\\#,:[]{}=019afgx\x80\xff";

/// Every way to take bytes away from the end, to take a single one away or put another in its place, and to put a space in.
fn ends(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut ends = Vec::new();
    for at in whole.len() - END.min(whole.len())..whole.len() {
        ends.push(whole[..at].to_vec());
        ends.push([&whole[..at], &whole[at + 1..]].concat());
        ends.push([&whole[..at], b" ", &whole[at..]].concat());
        for byte in INSTEAD.iter().filter(|byte| **byte != whole[at]) {
            ends.push([&whole[..at], &[*byte], &whole[at + 1..]].concat());
        }
    }
    ends
}

#[test]
fn whatever_is_done_to_the_end_of_a_line_is_refused_or_changes_nothing_that_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let (whole, path) = (line(2), dir.path().join(EXCHANGES_FILE));
    // Its line break is not touched, so that it is no torn end.
    for changed in ends(&whole[..whole.len() - 1]) {
        fs::write(&path, [&line(1), &changed[..], b"\n", &line(3)].concat()).expect("it is written");
        match read(dir.path()) {
            Ok((_, exchanges, torn)) => {
                assert_eq!((exchanges, torn), ((1..=3).map(exchange).collect(), false), "{changed:?}");
            }
            // A line break of its own makes two lines of it.
            Err(error) => assert!(error.contains("line 2: ") || error.contains("line 3: "), "{error}"),
        }
    }
}

#[test]
fn a_reply_that_is_changed_is_found_out_whatever_is_done_to_the_checksum() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let (whole, path) = (String::from_utf8(line(1)).expect("it is text"), dir.path().join(EXCHANGES_FILE));
    let forged = whole.replace(r#"\"code\":0"#, r#"\"code\":7"#);
    assert_ne!(forged, whole);
    // The checksum's value, and what stands about it; not its name, for what has none is taken at its word.
    let from = forged.trim_end().len() - "\":\"12345678\"}".len() + 1;
    for at in from..forged.trim_end().len() {
        for changed in
            [format!("{}{}", &forged[..at], &forged[at + 1..]), format!("{} {}", &forged[..at], &forged[at..])]
        {
            fs::write(&path, &changed).expect("it is written");
            assert!(read(dir.path()).is_err(), "{changed}");
        }
    }
}

#[test]
fn whatever_is_done_to_the_end_of_a_manifest_is_refused_or_changes_nothing_that_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    Recording::create(dir.path(), manifest()).expect("it is made");
    let path = dir.path().join(MANIFEST_FILE);
    let whole = fs::read(&path).expect("it is there");
    let sealed = whole.len() - "# checksum of all above: 12345678\n".len();
    for changed in ends(&whole) {
        fs::write(&path, &changed).expect("it is written");
        match read(dir.path()) {
            Ok((read, ..)) => {
                assert_eq!(read, manifest(), "{changed:?}");
                let cut = changed.len() < whole.len() && whole.starts_with(&changed);
                assert!(!cut || changed.len() <= sealed, "cut at {} within the checksum", changed.len());
            }
            Err(error) => assert!(error.contains(MANIFEST_FILE), "{error}"),
        }
    }
}
