//! What is resumed is not read again only to know what it is.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use serde_json::Value;
use vod_mock::{Action, Fault, Verdict};

use super::many::{Stage, lines};

/// The lines that tell how the file became known: how often it was read of, and whether the cache knew it.
fn known(lines: &[Value]) -> (usize, bool) {
    let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    let [hashed] = of("hashed").collect::<Vec<_>>()[..] else { panic!("{lines:?}") };
    (of("hashing").count(), hashed["cached"].as_bool().unwrap())
}

#[test]
fn an_upload_that_was_killed_is_resumed_without_a_second_reading_of_the_file() {
    let stage = Stage::with(&[]);
    let video = File::create(stage.path("a.mp4")).unwrap();
    video.set_len(3 << 20).unwrap();
    // A file that was just written may be written to again unseen.
    video.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_488_326_400)).unwrap();
    let cache = stage.path("digests");
    let more = ["--json", "--parallel", "1", "--part-size", "1MiB", "--digest-cache", cache.to_str().unwrap()];

    let held = stage.account.fault(Fault::on(Action::UploadPart).part(3).before_commit(Verdict::hold("door")));
    let mut child = Command::new(env!("CARGO_BIN_EXE_vod-client"))
        .args(stage.args(&["a.mp4"], &more))
        .env_clear()
        .envs(stage.keys())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    held.until_held(1);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);

    let resumed = stage.upload(&["a.mp4"], &more);
    let told = lines(&resumed);
    assert_eq!(known(&told), (0, true), "{}", resumed.stdout);
    let result = told.last().unwrap();
    // Of the third part all may have been on its way; whether the server took it is its own affair.
    let skipped = result["parts-skipped"].as_u64().unwrap();
    assert!(result["outcome"] == "finished" && skipped >= 2, "{result}");

    // And where it may not be known, it is read.
    let anew = stage.upload(&["a.mp4"], &["--json", "--no-digest-cache"]);
    let (read, cached) = known(&lines(&anew));
    assert!(read > 0 && !cached, "{}", anew.stdout);
    video.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_488_326_401)).unwrap();
    let changed = stage.upload(&["a.mp4"], &more);
    let (read, cached) = known(&lines(&changed));
    assert!(read > 0 && !cached, "{}", changed.stdout);
}
