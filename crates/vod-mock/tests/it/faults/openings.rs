//! `list`, `data-size` and `expire-session`: what an opening tells is not so, or is so no longer.

use serde_json::{Value, json};
use vod_proto::{Exchange, Md5, Sha1, exchange::End};

use super::stage::{Act, Stage, fault, request, video};
use crate::{
    ugc,
    wire::{PART, assert_code, file, finish, init, part, part_of},
};

async fn opens(stage: &Stage) -> Value {
    stage.answer(&request("GET", &init(video()), b"")).await
}

async fn sends(stage: &Stage, index: usize) -> Value {
    let (target, body) = part(video(), index);
    stage.answer(&request("POST", &target, body)).await
}

#[track_caller]
fn assert_mark(exchange: &Exchange, phase: &str, verdict: &str) {
    let mark = &exchange.faults[0];
    assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), (phase, verdict, false));
    assert_eq!(exchange.end, End::Replied);
}

/// The list as it is, of these parts.
fn list(indices: &[usize]) -> Value {
    let entry = |index: &usize| {
        let body = part(video(), *index).1;
        let (offset, len) = (index * PART, body.len());
        json!({ "offset": offset, "dataLen": len, "dataSize": len, "dataMd5": Md5::of(body) })
    };
    json!(indices.iter().map(entry).collect::<Vec<_>>())
}

/// The list as it is, but for what is done to each entry.
fn spoilt(indices: &[usize], spoil: impl Fn(&mut serde_json::Map<String, Value>, &[u8])) -> Value {
    let mut list = list(indices);
    for (entry, index) in list.as_array_mut().unwrap().iter_mut().zip(indices) {
        spoil(entry.as_object_mut().unwrap(), part(video(), *index).1);
    }
    list
}

const RESUME: &str = "{ action = \"InitUpload\", attempt = 2 }";

#[tokio::test]
async fn each_lie_about_the_parts_is_told_once_and_the_parts_stay() {
    let without_md5 = |order: &[usize]| {
        spoilt(order, |entry, _| {
            entry.remove("dataMd5");
        })
    };
    let sha = |order: &[usize]| {
        spoilt(order, |entry, body| {
            entry.remove("dataMd5");
            entry.insert("dataSha".to_owned(), json!(Sha1::of(body)));
        })
    };
    let other_md5 = |order: &[usize]| {
        spoilt(order, |entry, body| {
            entry.insert("dataMd5".to_owned(), json!(Md5::of(Md5::of(body).as_bytes())));
        })
    };
    for (lie, order, expected) in [
        ("stale", [0, 1], list(&[0])),
        ("stale", [1, 0], list(&[1])),
        ("without-md5", [0, 1], without_md5(&[0, 1])),
        ("sha-instead-of-md5", [1, 0], sha(&[0, 1])),
        ("other-md5", [0, 1], other_md5(&[0, 1])),
        ("empty", [0, 1], json!([])),
    ] {
        let stage = Stage::in_memory(&fault(RESUME, "before-commit", &format!("{{ list = \"{lie}\" }}"))).await;
        opens(&stage).await;
        for index in order {
            sends(&stage, index).await;
        }
        let told = opens(&stage).await;
        assert_code(&told, 1, 0);
        assert_eq!((&told["listParts"], &told["dataSize"]), (&expected, &json!(PART)), "{lie}");
        let exchange = stage.struck();
        assert_mark(&exchange, "before-commit", &format!("list {lie}"));
        assert_eq!(exchange.reply.unwrap().body, told.to_string(), "{lie}");
        assert_eq!(opens(&stage).await["listParts"], list(&[0, 1]), "{lie}: the truth, when it is asked for again");
        assert_code(&stage.answer(&request("GET", &finish(video()), b"")).await, 0, 0);
    }
}

#[tokio::test]
async fn there_is_no_lying_about_parts_where_there_are_none() {
    for lie in ["stale", "without-md5", "sha-instead-of-md5", "other-md5", "empty"] {
        let on = "{ action = \"InitUpload\" }";
        let stage = Stage::in_memory(&fault(on, "before-commit", &format!("{{ list = \"{lie}\" }}"))).await;
        for _ in 0..2 {
            assert_code(&opens(&stage).await, 0, 0);
        }
        assert_eq!((stage.mock.unfired(), stage.mock.fates()[0].matched), (vec!["f".to_owned()], 0));
        // And none where the file is there.
        for index in [0, 1] {
            sends(&stage, index).await;
        }
        stage.answer(&request("GET", &finish(video()), b"")).await;
        assert_code(&opens(&stage).await, 2, 0);
        assert_eq!(stage.mock.unfired(), ["f"], "{lie}");
    }
}

#[tokio::test]
async fn the_ugc_family_is_lied_to_in_the_same_way() {
    let on = "{ action = \"InitUploadEx\" }";
    let stage = Stage::in_memory(&fault(on, "before-commit", "{ list = \"empty\" }")).await;
    let token = ugc::token(&ugc::original(video()));
    let opens = || request("GET", &ugc::init(video(), &token), b"");
    assert_code(&stage.answer(&opens()).await, 0, 0);
    let (target, body) = ugc::part(video(), 1, &token);
    assert_code(&stage.answer(&request("POST", &target, body)).await, 0, 0);
    let told = stage.answer(&opens()).await;
    assert_eq!((&told["code"], &told["listParts"]), (&json!(1), &json!([])));
    assert_mark(&stage.struck(), "before-commit", "list empty");
}

#[tokio::test]
async fn an_upload_begins_anew_on_the_grid_that_is_insisted_on_and_can_be_finished_there() {
    for (attempt, before) in [(1, 0), (2, 0), (2, 1)] {
        let on = format!("{{ action = \"InitUpload\", attempt = {attempt} }}");
        let stage = Stage::in_memory(&fault(&on, "before-commit", "{ data-size = \"1MiB\" }")).await;
        let file = file(3);
        let opens = request("GET", &init(&file), b"");
        if attempt == 2 {
            assert_code(&stage.answer(&opens).await, 0, 0);
        }
        for index in 0..before {
            let (target, body) = part(&file, index);
            assert_code(&stage.answer(&request("POST", &target, body)).await, 0, 0);
        }
        let told = stage.answer(&opens).await;
        assert_code(&told, 1, 0);
        assert_eq!((&told["dataSize"], &told["listParts"]), (&json!(2 * PART), &json!([])), "{on}");
        assert_mark(&stage.struck(), "before-commit", "data-size");
        assert_eq!(stage.upload().await.unwrap().part_size, Some(2 * PART as u64));
        let off = part(&file, 0);
        assert_code(&stage.answer(&request("POST", &off.0, off.1)).await, -10003, 0);
        for (offset, end) in [(2 * PART, file.len()), (0, 2 * PART)] {
            let body = &file[offset..end];
            assert_code(&stage.answer(&request("POST", &part_of(&file, offset, body), body)).await, 0, 0);
        }
        assert_code(&stage.answer(&request("GET", &finish(&file), b"")).await, 0, 0);
        assert_eq!(stage.upload().await.unwrap().stored_sha1, Some(Sha1::of(&file)));
    }
}

#[tokio::test]
async fn whoever_is_on_the_grid_already_goes_on() {
    let stage = Stage::in_memory(&fault(RESUME, "before-commit", "{ data-size = \"512KiB\" }")).await;
    opens(&stage).await;
    sends(&stage, 1).await;
    let told = opens(&stage).await;
    assert_code(&told, 1, 0);
    assert_eq!((&told["dataSize"], &told["listParts"]), (&json!(PART), &list(&[1])));
    assert_mark(&stage.struck(), "before-commit", "data-size");
}

#[tokio::test]
async fn a_file_that_is_there_has_no_grid_to_insist_on() {
    let on = "{ action = \"InitUpload\", attempt = 2 }";
    let stage = Stage::in_memory(&fault(on, "before-commit", "{ data-size = \"1MiB\" }")).await;
    stage.prepare(Act::Finish).await;
    assert_eq!(stage.answer(&Act::Finish.request()).await["code"], 0);
    assert_code(&opens(&stage).await, 2, 0);
    assert_eq!(stage.mock.unfired(), ["f"]);
}

#[tokio::test]
async fn a_session_expires_for_the_request_itself_or_behind_it() {
    // What the request is answered, and what is asked for next: the part again, and then the upload.
    for (phase, code, then) in
        [("before-read", -10005, -10005), ("before-commit", -10005, -10005), ("after-commit", 0, -10005)]
    {
        let stage = Stage::in_memory(&fault(&Act::Part.on(), phase, "\"expire-session\"")).await;
        stage.prepare(Act::Part).await;
        assert_eq!(stage.answer(&Act::Part.request()).await["code"], code, "{phase}");
        let exchange = stage.struck();
        assert_mark(&exchange, phase, "expire-session");
        assert_eq!(exchange.request.body.len, 1000, "{phase}");
        assert_eq!(stage.answer(&Act::Part.request()).await["code"], then, "{phase}");
        assert_code(&opens(&stage).await, 0, 0);
        assert_eq!(stage.answer(&Act::Part.request()).await["code"], 0, "{phase}");
    }
}

#[tokio::test]
async fn an_opening_finds_its_session_expired_or_loses_it_once_it_is_told_of_it() {
    for (phase, code, then) in [("before-read", 0, 0), ("before-commit", 0, 0), ("after-commit", 1, -10005)] {
        let stage = Stage::in_memory(&fault(RESUME, phase, "\"expire-session\"")).await;
        stage.prepare(Act::Part).await;
        sends(&stage, 0).await;
        assert_eq!(opens(&stage).await["code"], code, "{phase}");
        assert_mark(&stage.struck(), phase, "expire-session");
        assert_eq!(sends(&stage, 1).await["code"], then, "{phase}");
    }
}

#[tokio::test]
async fn a_finish_finds_its_session_expired_and_nothing_is_stored() {
    for phase in ["before-read", "before-commit"] {
        let stage = Stage::in_memory(&fault(&Act::Finish.on(), phase, "\"expire-session\"")).await;
        stage.prepare(Act::Finish).await;
        assert_code(&stage.answer(&Act::Finish.request()).await, -10005, 1);
        assert_mark(&stage.struck(), phase, "expire-session");
        assert_eq!(stage.effects(Act::Finish).await, 0, "{phase}");
    }
}

#[tokio::test]
async fn a_legacy_upload_whose_session_expired_is_asked_for_from_its_start() {
    for (phase, offset) in [("before-read", 0), ("before-commit", 0)] {
        let stage = Stage::in_memory(&fault(&Act::Last.on(), phase, "\"expire-session\"")).await;
        stage.prepare(Act::Last).await;
        let told = stage.answer(&Act::Last.request()).await;
        assert_eq!((&told["code"], &told["offset"]), (&json!(0), &json!(offset.to_string())), "{phase}");
        assert_mark(&stage.struck(), phase, "expire-session");
    }
    let stage = Stage::in_memory(&fault(&Act::Next.on(), "after-commit", "\"expire-session\"")).await;
    assert_eq!(stage.answer(&Act::Next.request()).await["offset"], PART.to_string());
    stage.struck();
    assert_eq!(stage.answer(&Act::Last.request()).await["offset"], "0");
}

#[tokio::test]
async fn where_there_is_no_session_none_expires() {
    for phase in ["before-read", "before-commit", "after-commit"] {
        let on = "{ action = \"SmallFileUpload\" }";
        let stage = Stage::in_memory(&fault(on, phase, "\"expire-session\"")).await;
        assert_eq!(stage.answer(&Act::Whole.request()).await["code"], 0);
        assert_eq!((stage.mock.unfired(), stage.mock.fates()[0].matched), (vec!["f".to_owned()], 0), "{phase}");
    }
}
