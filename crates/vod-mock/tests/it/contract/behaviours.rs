//! The behaviours. Each is told the arm it is to hold in.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vod_mock::{Config, UploadState, core::Generation};
use vod_proto::Sha1;

use super::arm::{Arm, Served};
use crate::{
    covers::whole,
    legacy::{go_on, next, stored},
    wire::{PART, Peer as _, assert_code, assert_says, config, file, finish, get, init, part, part_of, post},
};

/// Other bytes in the place of a part.
async fn spoil(mock: &Served, file: &[u8], index: usize, bytes: u8) -> Value {
    let wrong = vec![bytes; PART];
    post(mock, (part_of(file, index * PART, &wrong), &wrong)).await
}

/// The offsets and lengths of the parts that are there, as whoever resumes hears of them.
async fn listed(mock: &Served, file: &[u8]) -> Value {
    let reply = get(mock, &init(file)).await;
    let parts = reply["listParts"].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| json!([part["offset"], part["dataLen"]])).collect()
}

/// The bytes of the stored file, as the mock has them, make what was announced.
async fn assert_stored(mock: &Served, file: &[u8], parts: u64) {
    let view = mock.upload(Sha1::of(file)).await.unwrap();
    assert_eq!((view.state, view.parts, view.commits), (UploadState::Stored, parts, 1));
    assert_eq!(view.stored_sha1, Some(Sha1::of(file)), "the bytes are not those of the file");
}

pub(super) async fn parts_come_in_any_order_at_once_and_twice(arm: Arm) {
    let mock = arm.start().await;
    let file = file(3);
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    let sent = [3, 1, 0, 2, 1, 3].map(|index| post(&mock, part(&file, index)));
    for reply in futures_util::future::join_all(sent).await {
        assert_code(&reply, 0, 0);
    }
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_stored(&mock, &file, 4).await;
}

pub(super) async fn a_part_ahead_of_a_gap_is_replaced_when_it_is_sent_again(arm: Arm) {
    let mock = arm.start().await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    for wrong in [8, 9] {
        assert_code(&spoil(&mock, &file, 1, wrong).await, 0, 0);
    }
    for index in [1, 2, 0] {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
    }
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_stored(&mock, &file, 3).await;
}

pub(super) async fn a_part_behind_what_was_hashed_is_replaced_or_refused(arm: Arm) {
    let mock = arm.start().await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    assert_code(&spoil(&mock, &file, 0, 9).await, 0, 0);
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    let replaced = post(&mock, part(&file, 0)).await;
    if arm.keeps.rereads() {
        assert_code(&replaced, 0, 0);
        assert_code(&get(&mock, &finish(&file)).await, 0, 0);
        assert_stored(&mock, &file, 2).await;
    } else {
        assert_code(&replaced, -10003, 0);
        assert_says(&replaced, -10003, &["offset 0 ", "digests alone"]);
        assert_says(&get(&mock, &finish(&file)).await, -10003, &["dropped"]);
        // That is the way out: it begins anew, and right.
        assert_code(&get(&mock, &init(&file)).await, 0, 0);
        for index in [0, 1] {
            assert_code(&post(&mock, part(&file, index)).await, 0, 0);
        }
        assert_code(&get(&mock, &finish(&file)).await, 0, 0);
        assert_stored(&mock, &file, 2).await;
    }
}

pub(super) async fn a_part_sent_again_with_the_same_bytes_is_taken(arm: Arm) {
    let mock = arm.start().await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    for index in [0, 0, 1, 0, 2, 1, 0, 2] {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
    }
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_stored(&mock, &file, 3).await;
}

pub(super) async fn resume_lists_what_is_there_on_the_first_grid(arm: Arm) {
    let mock = arm.start().await;
    let file = file(3);
    get(&mock, &init(&file)).await;
    for index in [1, 3] {
        post(&mock, part(&file, index)).await;
    }
    let reply = get(&mock, &init(&file)).await;
    assert_code(&reply, 1, 0);
    assert_eq!(reply["dataSize"], 524_288);
    assert_eq!(listed(&mock, &file).await, json!([[524_288, 524_288], [1_572_864, 1000]]));
}

pub(super) async fn a_finish_names_the_part_that_is_missing(arm: Arm) {
    let mock = arm.start().await;
    let file = file(3);
    get(&mock, &init(&file)).await;
    for index in [0, 1, 3] {
        post(&mock, part(&file, index)).await;
    }
    assert_says(&get(&mock, &finish(&file)).await, -10003, &["offset 1048576 "]);
    assert_code(&post(&mock, part(&file, 2)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_stored(&mock, &file, 4).await;
}

pub(super) async fn a_finish_is_repeatable_and_the_file_exists_afterwards(arm: Arm) {
    let mock = arm.start().await;
    let file = file(0);
    get(&mock, &init(&file)).await;
    post(&mock, part(&file, 0)).await;
    let first = get(&mock, &finish(&file)).await;
    assert_code(&first, 0, 0);
    assert_eq!(get(&mock, &finish(&file)).await, first);
    let exists = get(&mock, &init(&file)).await;
    assert_code(&exists, 2, 0);
    assert_eq!((&exists["fileId"], &exists["url"]), (&first["fileId"], &first["url"]));
    assert_stored(&mock, &file, 1).await;
}

pub(super) async fn parts_that_make_another_file_are_refused_and_dropped(arm: Arm) {
    let mock = arm.start().await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&spoil(&mock, &file, 0, 9).await, 0, 0);
    let made = Sha1::of(&[&vec![9; PART][..], &file[PART..]].concat());
    let refused = get(&mock, &finish(&file)).await;
    assert_says(&refused, -10003, &[&made.to_string(), &Sha1::of(&file).to_string(), "dropped"]);
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!((view.state, view.parts, view.stored_sha1), (UploadState::Gone, 0, None));
    assert_code(&get(&mock, &finish(&file)).await, -10005, 1);
}

pub(super) async fn a_body_that_is_not_what_was_said_leaves_nothing(arm: Arm) {
    let mock = arm.start().await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    assert_code(&post(&mock, (target.clone(), &body[1..])).await, -10006, 1);
    assert_code(&post(&mock, (target.clone(), &[body, b"x"].concat())).await, -10006, 1);
    assert_code(&post(&mock, (target, &vec![9; PART])).await, -10006, 1);
    assert_eq!(listed(&mock, &file).await, json!([]));
}

pub(super) async fn instant_upload_can_be_turned_off(arm: Arm) {
    let mock = arm.start_with(Config { instant_upload: false, ..config() }).await;
    let file = file(0);
    for _ in 0..2 {
        assert_code(&get(&mock, &init(&file)).await, 0, 0);
        post(&mock, part(&file, 0)).await;
        assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    }
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!((view.commits, view.stored_sha1), (2, Some(Sha1::of(&file))));
}

pub(super) async fn what_was_never_opened_is_no_upload(arm: Arm) {
    let mock = arm.start().await;
    let file = file(0);
    assert_code(&get(&mock, &finish(&file)).await, -10005, 1);
    assert_code(&post(&mock, part(&file, 0)).await, -10005, 1);
    assert_eq!(mock.uploads().await, []);
}

pub(super) async fn a_small_file_comes_whole_and_once(arm: Arm) {
    let mock = arm.start().await;
    let file = file(1);
    let sent = (0..4).map(|_| post(&mock, (whole(&file, &[]), &file)));
    let sent = futures_util::future::join_all(sent).await;
    assert_code(&sent[0], 0, 0);
    assert!(sent.iter().all(|reply| *reply == sent[0]), "{sent:?}");
    assert_stored(&mock, &file, 1).await;
    let wrong = vec![9; file.len()];
    assert_code(&post(&mock, (whole(&file, &[]), &wrong)).await, -10003, 0);
}

/// Sends the bytes from `offset` to `end` as the older generation does.
async fn send_next(mock: &Served, file: &[u8], offset: usize, end: usize) -> Value {
    let body = &file[offset..end];
    post(mock, (next(file, offset, body, &[]), body)).await
}

pub(super) async fn a_legacy_upload_goes_part_after_part(arm: Arm) {
    let mock = arm.start().await;
    let file = file(4);
    let (second, third) = (PART + 600_000, 2 * PART + 600_000);
    assert_eq!(send_next(&mock, &file, PART, second).await, go_on(0), "ahead of everything");
    assert_eq!(send_next(&mock, &file, 0, PART).await, go_on(PART));
    assert_eq!(send_next(&mock, &file, 0, PART).await, go_on(PART), "a part that came already");
    assert_eq!(send_next(&mock, &file, PART, second).await, go_on(second));
    assert_eq!(send_next(&mock, &file, third, file.len()).await, go_on(second), "the last part too early");
    assert_eq!(send_next(&mock, &file, second, third).await, go_on(third));
    let id = stored(&send_next(&mock, &file, third, file.len()).await);
    assert_eq!(stored(&send_next(&mock, &file, 0, PART).await), id);
    assert_stored(&mock, &file, 4).await;
}

pub(super) async fn both_generations_keep_a_file_of_their_own(arm: Arm) {
    let mock = arm.start().await;
    let file = file(0);
    stored(&send_next(&mock, &file, 0, file.len()).await);
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    let of: Vec<_> = mock.uploads().await.into_iter().map(|view| (view.generation, view.stored_sha1)).collect();
    assert_eq!(of, [Generation::Current, Generation::Legacy].map(|generation| (generation, Some(Sha1::of(&file)))));
}

pub(super) async fn whoever_has_an_answer_finds_its_exchange(arm: Arm) {
    let mock = arm.start().await;
    let file = file(0);
    for n in 1..=30 {
        get(&mock, &init(&file)).await;
        let exchanges = mock.exchanges();
        assert_eq!((exchanges.len(), exchanges.last().unwrap().attempt), (n, u32::try_from(n).unwrap()));
    }
    let shown = format!("{:?}", mock.exchanges());
    assert!(!shown.contains(vod_mock::DEMO_SECRET_ID), "the SecretId is on record");
}

/// What was acknowledged is there after the server is gone, and only that.
pub(super) async fn acknowledged_parts_survive_the_server(arm: Arm) {
    let file = file(2);
    let mock = arm.start().await;
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 2)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    mock.stop().await;

    let mock = arm.start().await;
    if !arm.keeps.remembers() {
        assert_eq!(mock.uploads().await, []);
        assert_code(&post(&mock, part(&file, 1)).await, -10005, 1);
        return;
    }
    assert_eq!(listed(&mock, &file).await, json!([[0, 524_288], [1_048_576, 1000]]));
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    let before = mock.upload(Sha1::of(&file)).await;
    mock.stop().await;

    let mock = arm.start().await;
    assert_code(&get(&mock, &init(&file)).await, 2, 0);
    assert_eq!(mock.upload(Sha1::of(&file)).await, before);
    assert_stored(&mock, &file, 3).await;
}

pub(super) async fn a_legacy_upload_goes_on_where_the_last_server_left_it(arm: Arm) {
    let file = file(3);
    let (second, begin) = (2 * PART + 7, if arm.keeps.remembers() { 2 * PART + 7 } else { 0 });
    let mock = arm.start().await;
    assert_eq!(send_next(&mock, &file, 0, PART).await, go_on(PART));
    assert_eq!(send_next(&mock, &file, PART, second).await, go_on(second));
    mock.stop().await;
    let mock = arm.start().await;
    // A client that lost its place begins at the end and hears where to go on.
    assert_eq!(send_next(&mock, &file, 3 * PART, file.len()).await, go_on(begin));
    if begin == 0 {
        assert_eq!(send_next(&mock, &file, 0, PART).await, go_on(PART));
        assert_eq!(send_next(&mock, &file, PART, second).await, go_on(second));
    }
    let id = stored(&send_next(&mock, &file, second, file.len()).await);
    assert_eq!(stored(&send_next(&mock, &file, 0, PART).await), id);
    assert_stored(&mock, &file, 3).await;
}

pub(super) async fn what_comes_after_a_restart_is_written_over_nothing(arm: Arm) {
    let (picture, video) = (file(0), file(1));
    let mock = arm.start().await;
    let stored = post(&mock, (whole(&picture, &[]), &picture)).await;
    mock.stop().await;
    let mock = arm.start().await;
    get(&mock, &init(&video)).await;
    for index in [0, 1] {
        assert_code(&post(&mock, part(&video, index)).await, 0, 0);
    }
    assert_code(&get(&mock, &finish(&video)).await, 0, 0);
    assert_eq!(post(&mock, (whole(&picture, &[]), &picture)).await["fileId"], stored["fileId"]);
    assert_stored(&mock, &picture, 1).await;
    assert_stored(&mock, &video, 2).await;
}

pub(super) async fn requests_of_one_connection_follow_each_other(arm: Arm) {
    let mock = arm.start().await;
    let file = file(1);
    let mut stream = mock.connect().await.unwrap();
    let mut ask = async |line: String, body: &[u8]| {
        let head = format!("{line} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the connection ended");
        }
        crate::wire::json(&answer)
    };
    assert_code(&ask(format!("GET {}", init(&file)), b"").await, 0, 0);
    for index in [0, 1] {
        let (target, body) = part(&file, index);
        assert_code(&ask(format!("POST {target}"), body).await, 0, 0);
    }
    assert_code(&ask(format!("GET {}", finish(&file)), b"").await, 0, 0);
    assert_stored(&mock, &file, 2).await;
}
