//! A disk without room: it is answered, nothing that was acknowledged is lost, and the mock goes on when there is room.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use vod_proto::{Exchange, Sha1};

use crate::child::{Mock, Place, Wire, code, finish, init, part, views};

/// Has no file of the mock grow beyond so many bytes, or lets them grow again. Whoever writes more is told so, at that
/// very byte.
fn files_end_at(mock: &Mock, bytes: Option<u64>) {
    prlimit(Some(mock.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// Lets a process hear of a file that may not grow, where it would be killed.
const DEAF: [&str; 4] = ["sh", "-c", r#"trap "" XFSZ; exec "$@""#, "sh"];

#[track_caller]
fn assert_full(reply: &Value) {
    assert_eq!((code(reply), &reply["canRetry"]), (-10004, &1.into()), "{reply}");
    assert!(reply["message"].as_str().unwrap().contains("could not be written"), "{reply}");
}

/// What is there of an upload, as it answers whoever resumes it.
fn listed(wire: &mut Wire, file: &[u8], part_size: usize) -> Vec<u64> {
    let reply = wire.get(&init(Sha1::of(file), file.len(), part_size));
    let parts = reply["listParts"].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| part["offset"].as_u64().unwrap()).collect()
}

#[test]
fn a_disk_that_is_full_at_any_byte_is_answered_and_loses_nothing() {
    const PART: usize = 64;
    let place = Place::new(PART);
    let (data, journal) = (place.data(), place.path("journal"));
    let args = ["--data-dir", data.to_str().unwrap(), "--journal", journal.to_str().unwrap()];
    let mock = place.start(place.mock_under(&DEAF, &args));
    let mut wire = mock.connect();
    let file: Vec<u8> = (0..8 * PART).map(|n| n.to_le_bytes()[0]).collect();
    let sha1 = Sha1::of(&file);
    let sent = |index: usize| part(sha1, index * PART, &file[index * PART..(index + 1) * PART]);
    let log = || fs::metadata(data.join("sessions.log")).unwrap().len();
    let mut asked = 0;

    // Not even the session can be opened.
    files_end_at(&mock, Some(log()));
    assert_full(&wire.get(&init(sha1, file.len(), PART)));
    files_end_at(&mock, None);
    assert_eq!(wire.get(&views(false)), Value::Array(vec![]), "nothing came of it");
    assert_eq!(code(&wire.get(&init(sha1, file.len(), PART))), 0);
    asked += 2;

    // The body ends at each of its bytes.
    for room in 0..PART as u64 {
        files_end_at(&mock, Some(room));
        assert_full(&wire.get(&sent(0)));
        assert_eq!(place.bodies(), (0, 0), "{room} bytes of a body were left behind");
    }
    files_end_at(&mock, None);
    for index in 0..6 {
        assert_eq!(code(&wire.get(&sent(index))), 0);
    }
    asked += PART + 6;

    // The log ends at each byte of its line; the body fits.
    let before = log();
    assert!(before > PART as u64);
    assert_eq!(code(&wire.get(&sent(0))), 0);
    // Times are written without the zeros at their end, so that a line may have up to ten bytes less than another.
    let line = log() - before - 10;
    let before = log();
    for room in 0..line {
        files_end_at(&mock, Some(before + room));
        assert_full(&wire.get(&sent(6)));
        assert_eq!((log(), place.bodies()), (before, (6, 0)), "{room} bytes of the log's line fitted");
    }
    // A part that is there is sent again, and stays as it was.
    assert_full(&wire.get(&sent(0)));
    files_end_at(&mock, None);
    assert_eq!(listed(&mut wire, &file, PART), [0, 64, 128, 192, 256, 320]);
    assert_eq!(code(&wire.get(&sent(6))), 0);
    asked += usize::try_from(line).unwrap() + 4;

    // There is no place for a body that comes in, nor for one that is kept.
    for sub in ["staging", "bodies"] {
        fs::rename(data.join(sub), data.join("aside")).unwrap();
        assert_full(&wire.get(&sent(7)));
        fs::rename(data.join("aside"), data.join(sub)).unwrap();
        assert_eq!(place.bodies(), (7, 0));
    }
    assert_eq!(code(&wire.get(&sent(7))), 0);
    asked += 3;

    // Neither can the file be put together; afterwards it is, once.
    files_end_at(&mock, Some(log()));
    assert_full(&wire.get(&finish(sha1)));
    files_end_at(&mock, None);
    let stored = wire.get(&finish(sha1));
    assert_eq!(code(&stored), 0, "{stored}");
    asked += 2;

    // A line of the journal ends in its middle, and nobody is refused for that. A line is written before the next
    // request of its connection is read.
    wire.get(&views(false));
    let journaled = fs::metadata(&journal).unwrap().len();
    assert!(journaled > log());
    files_end_at(&mock, Some(journaled + 10));
    for _ in 0..2 {
        assert_eq!(wire.get(&finish(sha1)), stored);
    }
    files_end_at(&mock, None);
    assert_eq!(wire.get(&finish(sha1)), stored);
    asked += 3;

    let mut metrics = String::new();
    let mut stream = TcpStream::connect(mock.addr()).unwrap();
    stream.write_all(b"GET /__vod/metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut metrics).unwrap();

    // What it answered last is in its journal when it has stopped; and it says that some is not.
    assert_eq!(mock.stop(), Some(i32::from(vod_mock::exit::STORE)));
    let mock = place.start(place.mock());
    let views = mock.connect().get(&views(true));
    assert_eq!(views[0]["file-id"], stored["fileId"], "{views}");
    assert_eq!((&views[0]["commits"], views[0]["stored-sha1"].as_str()), (&1.into(), Some(sha1.to_string().as_str())));
    assert_eq!(place.bodies(), (8, 0));

    // The journal was on the full disk too. It lacks exchanges, and none of its lines is broken.
    let journal = fs::read_to_string(journal).unwrap();
    let journaled: Vec<_> = journal.lines().map(|line| Exchange::from_line(line).unwrap().seq).collect();
    assert!(journaled.is_sorted() && journaled.len() < asked, "{} of {asked} exchanges", journaled.len());
    let lacking = format!("vod_mock_exchanges_unwritable_total {}\n", asked - journaled.len());
    assert!(metrics.contains(&lacking), "expected {lacking:?} in {metrics}");
    assert_eq!(journaled.last(), Some(&u64::try_from(asked).unwrap()), "it was written again when there was room");
}

#[test]
fn parts_that_wait_in_a_temporary_file_are_lost_to_no_full_disk_either() {
    // Six parts and a bit fill the memory of the digest store.
    const PART: usize = 5 << 20;
    let place = Place::new(PART);
    let mock = place.start(place.mock_under(&DEAF, &["--store", "digest"]));
    let mut wire = mock.connect();
    let file: Vec<u8> = (0..8_u8).flat_map(|n| vec![n; PART]).collect();
    let sha1 = Sha1::of(&file);
    let sent = |index: usize| part(sha1, index * PART, &file[index * PART..(index + 1) * PART]);
    assert_eq!(code(&wire.get(&init(sha1, file.len(), place.part_size()))), 0);
    for index in 1..7 {
        assert_eq!(code(&wire.get(&sent(index))), 0);
    }
    files_end_at(&mock, Some(1 << 20));
    assert_full(&wire.get(&sent(7)));
    files_end_at(&mock, None);
    assert_eq!(code(&wire.get(&sent(7))), 0);
    assert_eq!(code(&wire.get(&sent(0))), 0);
    assert_eq!(code(&wire.get(&finish(sha1))), 0);
}

/// Starts a mock on a disk of its own, which is full but for so many bytes; none where this machine does not allow it.
fn on_a_small_disk(place: &Place, disk: &str, size: usize) -> Option<Mock> {
    fs::create_dir(disk).unwrap();
    let mount = format!(r#"mount -t tmpfs -o size={size} tmpfs {disk} && exec "$@""#);
    let words = ["unshare", "-rm", "sh", "-c", &mount, "sh"];
    let allowed = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("\n*** SKIPPED: a full file system cannot be tested here, unshare and mount said {allowed:?} ***\n");
        return None;
    }
    Some(place.start(place.mock_under(&words, &["--data-dir", &format!("{disk}/data")])))
}

#[test]
fn a_real_disk_that_is_full_is_answered_and_used_again_when_there_is_room() {
    const PAGE: usize = 4096;
    let place = Place::new(PAGE);
    let disk = place.path("disk");
    let Some(mut mock) = on_a_small_disk(&place, disk.to_str().unwrap(), 64 * PAGE) else { return };
    // The disk is mounted where the mock alone sees it.
    let seen = format!("/proc/{}/root{}", mock.pid().as_raw_nonzero(), disk.display());
    let filler = File::create(format!("{seen}/filler")).unwrap();
    let fill_but = |pages: usize| {
        use std::os::unix::fs::FileExt as _;
        let (mut at, page) = (0, [1; PAGE]);
        while filler.write_all_at(&page, at).is_ok() {
            at += PAGE as u64;
        }
        filler.set_len(at - (pages * PAGE) as u64).unwrap();
    };
    let mut wire = mock.connect();
    let file: Vec<u8> = (0..3_u8).flat_map(|n| [n; PAGE]).collect();
    let sha1 = Sha1::of(&file);
    let sent = |index: usize| part(sha1, index * PAGE, &file[index * PAGE..(index + 1) * PAGE]);
    assert_eq!(code(&wire.get(&init(sha1, file.len(), PAGE))), 0);

    // No room for the body.
    fill_but(0);
    assert_full(&wire.get(&sent(0)));
    assert!(listed(&mut wire, &file, PAGE).is_empty(), "nothing came of it");

    // Room for the body, and soon none for the log: a line of it does not fit on its last page.
    fill_but(1);
    assert_eq!(code(&wire.get(&sent(0))), 0);
    fill_but(1);
    let mut taken = 0;
    let refused = loop {
        let reply = wire.get(&sent(0));
        if code(&reply) != 0 {
            break reply;
        }
        taken += 1;
        assert!(taken < PAGE / 100, "the log never needs another page");
    };
    assert_full(&refused);
    assert_eq!(listed(&mut wire, &file, PAGE), [0], "what was there is there");

    // There is room again, and what was acknowledged makes the file.
    fill_but(8);
    for index in [1, 2] {
        assert_eq!(code(&wire.get(&sent(index))), 0);
    }
    let stored = wire.get(&finish(sha1));
    assert_eq!(code(&stored), 0, "{stored}");
    let views = wire.get(&views(true));
    assert_eq!(views[0]["stored-sha1"].as_str(), Some(sha1.to_string().as_str()), "{views}");
    assert!(mock.lives());
}
