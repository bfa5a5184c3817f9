//! `corrupt` and `drop-part`: acknowledged, and not what came; and `transcode`, which nobody sees in an answer.

use serde_json::json;
use vod_mock::{Config, DigestStore, Mock};
use vod_proto::{Sha1, exchange::End};

use super::stage::{Act, Stage, fault, request, video};
use crate::{
    legacy,
    wire::{PART, assert_code, config, finish, init, part},
};

/// The file as it is when a byte of it is turned.
fn turned(at: usize) -> Sha1 {
    let mut file = video().to_vec();
    file[at] = !file[at];
    Sha1::of(&file)
}

async fn sends(stage: &Stage, index: usize) {
    let (target, body) = part(video(), index);
    assert_code(&stage.answer(&request("POST", &target, body)).await, 0, 0);
}

async fn opens(stage: &Stage) -> serde_json::Value {
    stage.answer(&request("GET", &init(video()), b"")).await
}

async fn finishes(stage: &Stage) -> serde_json::Value {
    stage.answer(&request("GET", &finish(video()), b"")).await
}

const FIRST: &str = "{ action = \"UploadPart\", part = 1, attempt = 1 }";

#[tokio::test]
async fn a_corrupted_part_is_acknowledged_and_found_out_by_the_finish() {
    for (on, offset, byte) in
        [(FIRST, 0, 0), (FIRST, PART - 1, PART - 1), (&*Act::Part.on(), 0, PART), (&*Act::Part.on(), 999, PART + 999)]
    {
        for order in [[0, 1], [1, 0]] {
            let verdict = format!("{{ corrupt = {{ offset = {offset} }} }}");
            let stage = Stage::in_memory(&fault(on, "before-commit", &verdict)).await;
            opens(&stage).await;
            for index in order {
                sends(&stage, index).await;
            }
            let exchange = stage.struck();
            let mark = &exchange.faults[0];
            let said = (mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply);
            assert_eq!(said, ("before-commit", "corrupt", false), "{on}");
            assert_eq!((exchange.end, exchange.acknowledged()), (End::Replied, true), "nobody could tell");
            let refused = finishes(&stage).await;
            assert_code(&refused, -10003, 0);
            let message = refused["message"].as_str().unwrap();
            for digest in [turned(byte), Sha1::of(video())] {
                assert!(message.contains(&digest.to_string()), "{digest} in {message}");
            }
            // The upload begins anew, and is what it should be.
            assert_code(&opens(&stage).await, 0, 0);
            for index in order {
                sends(&stage, index).await;
            }
            assert_code(&finishes(&stage).await, 0, 0);
            assert_eq!(stage.upload().await.unwrap().stored_sha1, Some(Sha1::of(video())));
        }
    }
}

#[tokio::test]
async fn the_same_part_sent_again_heals_what_was_corrupted_whenever_it_comes() {
    for order in [[0, 0, 1], [0, 1, 0], [1, 0, 0]] {
        let stage = Stage::in_memory(&fault(FIRST, "before-commit", "{ corrupt = { offset = 7 } }")).await;
        opens(&stage).await;
        for index in order {
            sends(&stage, index).await;
        }
        stage.struck();
        assert_code(&finishes(&stage).await, 0, 0);
        assert_eq!(stage.upload().await.unwrap().stored_sha1, Some(Sha1::of(video())), "{order:?}");
    }
}

#[tokio::test]
async fn a_corrupted_legacy_part_is_found_out_with_the_last_one() {
    for at in [0, PART - 1] {
        let verdict = format!("{{ corrupt = {{ offset = {at} }} }}");
        let stage = Stage::in_memory(&fault(&Act::Next.on(), "before-commit", &verdict)).await;
        assert_eq!(stage.answer(&Act::Next.request()).await["offset"], PART.to_string());
        assert!(stage.struck().acknowledged());
        let refused = stage.answer(&Act::Last.request()).await;
        let message = refused["message"].as_str().unwrap();
        assert_eq!(refused["code"], -29200, "{refused}");
        assert!(message.contains(&turned(at).to_string()) && message.contains(&Sha1::of(video()).to_string()));
        for act in [Act::Next, Act::Last] {
            assert_eq!(stage.answer(&act.request()).await["code"], 0, "it begins anew");
        }
        assert_eq!(stage.upload().await.unwrap().stored_sha1, Some(Sha1::of(video())));
    }
}

#[tokio::test]
async fn a_part_without_that_byte_or_one_that_is_not_kept_is_not_corrupted() {
    for (act, verdict) in [
        // The last part has 1,000 bytes.
        (Act::Part, "{ corrupt = { offset = 1000 } }"),
        // What acknowledges the last one is the file itself.
        (Act::Last, "{ corrupt = { offset = 0 } }"),
        (Act::Last, "\"drop-part\""),
    ] {
        let stage = Stage::in_memory(&fault(&act.on(), "before-commit", verdict)).await;
        stage.prepare(act).await;
        assert_eq!(stage.answer(&act.request()).await["code"], 0, "{verdict}");
        assert_eq!((stage.mock.unfired(), stage.mock.fates()[0].matched), (vec!["f".to_owned()], 0), "{verdict}");
        assert_eq!(stage.effects(act).await, 1, "{verdict}");
    }
}

#[tokio::test]
async fn a_refused_part_has_nothing_to_spoil() {
    for verdict in ["\"drop-part\"", "{ corrupt = { offset = 0 } }"] {
        let stage = Stage::in_memory(&fault(&Act::Part.on(), "before-commit", verdict)).await;
        stage.prepare(Act::Part).await;
        let (target, body) = part(video(), 1);
        assert_code(&stage.answer(&request("POST", &target, &body[1..])).await, -10006, 1);
        assert_eq!(stage.mock.unfired(), ["f"], "{verdict}");
    }
}

#[tokio::test]
async fn a_store_of_digests_refuses_plans_that_corrupt() {
    let plan = toml::from_str(&fault("{}", "before-commit", "{ corrupt = { offset = 0 } }")).unwrap();
    let error = Mock::open(Config { plan, ..config() }, DigestStore::new()).await.err().unwrap().to_string();
    assert!(error.contains("keeps no bytes of parts"), "{error}");
    let plan = toml::from_str(&fault("{}", "before-commit", "\"drop-part\"")).unwrap();
    assert!(Mock::open(Config { plan, ..config() }, DigestStore::new()).await.is_ok());
}

#[tokio::test]
async fn a_dropped_part_is_acknowledged_and_missing_until_it_comes_again() {
    let stage = Stage::in_memory(&fault(&Act::Part.on(), "before-commit", "\"drop-part\"")).await;
    opens(&stage).await;
    for index in [0, 1] {
        sends(&stage, index).await;
    }
    let exchange = stage.struck();
    let mark = &exchange.faults[0];
    assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), ("before-commit", "drop-part", false));
    assert!(exchange.acknowledged());
    let refused = finishes(&stage).await;
    assert_code(&refused, -10003, 0);
    assert!(refused["message"].as_str().unwrap().contains("offset 524288 "), "{refused}");
    let list = opens(&stage).await["listParts"].clone();
    assert_eq!(list.as_array().unwrap().iter().map(|part| &part["offset"]).collect::<Vec<_>>(), [&json!(0)]);
    sends(&stage, 1).await;
    assert_code(&finishes(&stage).await, 0, 0);
}

#[tokio::test]
async fn a_dropped_part_that_was_there_before_stays_as_it_was() {
    let stage = Stage::in_memory(&fault(&Act::Part.at_attempt(2), "before-commit", "\"drop-part\"")).await;
    stage.prepare(Act::Finish).await;
    sends(&stage, 1).await;
    stage.struck();
    assert_code(&finishes(&stage).await, 0, 0);
}

#[tokio::test]
async fn a_transcoding_that_is_to_fail_is_on_record_and_not_in_the_answer() {
    for act in [Act::Finish, Act::Last, Act::Whole] {
        let stage = Stage::in_memory(&fault(&act.on(), "before-commit", "{ transcode = -502 }")).await;
        stage.prepare(act).await;
        let told = stage.answer(&act.request()).await;
        let exchange = stage.struck();
        let mark = &exchange.faults[0];
        assert_eq!((mark.phase.as_str(), mark.verdict.as_str(), mark.on_reply), ("before-commit", "transcode", false));
        assert!(exchange.acknowledged() && told["fileId"].is_string(), "{act:?}: {told}");
        let again = stage.answer(&act.request()).await;
        assert_eq!(again["fileId"], told["fileId"], "{act:?}");
    }
    let stage = Stage::in_memory(&fault("{}", "before-commit", "{ transcode = -502 }")).await;
    legacy::stored(&stage_whole_legacy(&stage).await);
    assert_eq!(stage.struck().part.map(|part| part.offset), Some(PART as u64), "the part that stores the file");
}

async fn stage_whole_legacy(stage: &Stage) -> serde_json::Value {
    stage.prepare(Act::Last).await;
    stage.answer(&Act::Last.request()).await
}
