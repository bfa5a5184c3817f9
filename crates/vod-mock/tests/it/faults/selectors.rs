//! Which requests a fault strikes, and how often.

use std::time::Duration;

use vod_mock::{Accounts, Config, DEMO_SECRET_ID};
use vod_proto::Sha1;

use super::stage::{Act, Stage, fault, fault_at, request, video};
use crate::{
    legacy,
    wire::{PART, config, file, init, part, target},
};

/// What a struck request is answered here; nothing else is ever answered so.
const STRUCK: &str = "{ reply = { code = 4400 } }";

fn opens(file: &[u8]) -> Vec<u8> {
    request("GET", &init(file), b"")
}

/// Sends the part with this index, and says whether it was struck.
async fn part_is_struck(stage: &Stage, file: &[u8], index: usize) -> bool {
    let (target, body) = part(file, index);
    let code = stage.answer(&request("POST", &target, body)).await["code"].as_i64().unwrap();
    assert!(code == 0 || code == 4400, "{code}");
    code == 4400
}

/// Which of the parts that are sent one after the other are struck.
async fn struck_parts(on: &str, file: &[u8], indices: &[usize]) -> Vec<usize> {
    let stage = Stage::in_memory(&fault(on, "before-commit", STRUCK)).await;
    stage.answer(&opens(file)).await;
    let mut struck = Vec::new();
    for index in indices {
        if part_is_struck(&stage, file, *index).await {
            struck.push(*index);
        }
    }
    let marked = stage.mock.exchanges().iter().filter(|exchange| !exchange.faults.is_empty()).count();
    assert_eq!(marked, struck.len(), "{on}: nothing but what was told");
    struck
}

#[tokio::test]
async fn a_part_is_selected_by_its_number_or_its_offset_or_both() {
    let file = file(3);
    for (on, expected) in [
        ("{ action = \"UploadPart\", part = 1 }", vec![0, 0]),
        ("{ part = 4 }", vec![3]),
        ("{ offset = 1048576 }", vec![2]),
        ("{ part = 3, offset = 1048576 }", vec![2]),
        ("{ part = 2, offset = 1048576 }", vec![]),
        ("{ offset = 1 }", vec![]),
        ("{ part = 5 }", vec![]),
    ] {
        assert_eq!(struck_parts(on, &file, &[3, 0, 2, 1, 0]).await, expected, "{on}");
    }
}

#[tokio::test]
async fn the_nth_attempt_is_the_nth_time_that_this_very_request_comes() {
    let file = file(3);
    let on = |attempt| format!("{{ action = \"UploadPart\", attempt = {attempt} }}");
    assert_eq!(struck_parts(&on(1), &file, &[2, 2, 0, 2, 0]).await, [2, 0]);
    assert_eq!(struck_parts(&on(2), &file, &[2, 2, 0, 2, 0]).await, [2, 0]);
    assert_eq!(struck_parts(&on(3), &file, &[2, 2, 0, 2, 0]).await, [2]);
}

#[tokio::test]
async fn every_nth_that_fits_is_struck_and_no_more_than_so_many_times() {
    let file = file(3);
    let sent = [0, 1, 2, 3, 0, 1, 2, 3];
    for (on, expected) in [
        ("{ action = \"UploadPart\", every = 3 }", vec![2, 1]),
        ("{ action = \"UploadPart\", every = 2, times = 3 }", vec![1, 3, 1]),
        ("{ action = \"UploadPart\", times = 2 }", vec![0, 1]),
        ("{ part = 2, every = 2 }", vec![1]),
    ] {
        assert_eq!(struck_parts(on, &file, &sent).await, expected, "{on}");
    }
}

#[tokio::test]
async fn chance_falls_the_same_for_a_request_whatever_comes_before_it_or_beside_it() {
    let file = file(15);
    let on = "{ action = \"UploadPart\", chance = 0.5 }";
    let forward: Vec<_> = (0..16).collect();
    let expected = struck_parts(on, &file, &forward).await;
    assert!((2..15).contains(&expected.len()), "{expected:?}");
    let backward: Vec<_> = forward.iter().copied().rev().collect();
    let mut struck = struck_parts(on, &file, &backward).await;
    struck.sort_unstable();
    assert_eq!(struck, expected);

    let crowd = fault("{ part = 99 }", "before-commit", STRUCK).replace("\"f\"", "\"other\"");
    let stage = Stage::in_memory(&format!("{crowd}{}", fault(on, "before-commit", STRUCK))).await;
    stage.answer(&opens(&file)).await;
    let all = forward.iter().map(|index| part_is_struck(&stage, &file, *index));
    let at_once = futures_util::future::join_all(all).await;
    let struck: Vec<_> = forward.into_iter().filter(|index| at_once[*index]).collect();
    assert_eq!(struck, expected, "all at once, and beside another fault");

    let other = Stage::with(&fault(on, "before-commit", STRUCK), Config { seed: 2, ..config() }).await;
    other.answer(&opens(&file)).await;
    let mut struck = Vec::new();
    for index in 0..16 {
        if part_is_struck(&other, &file, index).await {
            struck.push(index);
        }
    }
    assert_ne!(struck, expected, "another seed");
}

#[tokio::test(start_paused = true)]
async fn a_fault_has_its_time_after_it_was_planted() {
    let on = "{ action = \"InitUpload\", after = \"2s\", until = \"5s\" }";
    let stage = Stage::in_memory(&fault(on, "before-read", STRUCK)).await;
    let mut codes = Vec::new();
    for _ in 0..7 {
        codes.push(stage.answer(&Act::Init.request()).await["code"].as_i64().unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(codes, [0, 0, 4400, 4400, 4400, 0, 0]);
}

#[tokio::test]
async fn a_file_and_an_account_are_selected_and_nobody_else() {
    let (one, other) = (file(0), file(1));
    let on = format!("{{ file-sha = \"{}\" }}", Sha1::of(&one));
    let stage = Stage::in_memory(&fault(&on, "before-read", STRUCK)).await;
    assert_eq!(stage.answer(&opens(&other)).await["code"], 0);
    assert_eq!(stage.answer(&opens(&one)).await["code"], 4400);

    let accounts: Accounts = toml::from_str(&format!(
        "[[account]]\nname = \"a\"\napp-id = 1\nsecret-id = \"{DEMO_SECRET_ID}\"\nsecret-key = \"{key}\"\n\
         [[account]]\nname = \"b\"\napp-id = 2\nsecret-id = \"AKIDb\"\nsecret-key = \"{key}\"\n",
        key = vod_mock::DEMO_SECRET_KEY
    ))
    .unwrap();
    let stage =
        Stage::with(&fault("{ account = \"b\" }", "before-read", STRUCK), Config { accounts, ..config() }).await;
    let of = |secret_id: &str| {
        let (sha, size) = (Sha1::of(&one).to_string(), one.len().to_string());
        let params = [
            ("Action", "InitUpload"),
            ("fileName", "test"),
            ("fileSha", sha.as_str()),
            ("fileSize", &size),
            ("dataSize", "524288"),
            ("fileType", "mp4"),
            ("SecretId", secret_id),
        ];
        request("GET", &target("GET", &params), b"")
    };
    assert_eq!(stage.answer(&of(DEMO_SECRET_ID)).await["code"], 0);
    assert_eq!(stage.answer(&of("AKIDb")).await["code"], 4400);
    let struck: Vec<_> = stage.mock.exchanges().into_iter().map(|e| (e.account, e.faults.len())).collect();
    assert_eq!(struck, [(Some("a".to_owned()), 0), (Some("b".to_owned()), 1)]);
}

#[tokio::test]
async fn legacy_parts_count_in_the_order_they_are_taken() {
    for (on, struck_at) in [("{ part = 1 }", 0), ("{ part = 2 }", PART), ("{ offset = 524288 }", PART)] {
        let stage = Stage::in_memory(&fault(&on.replace('}', ", times = 1 }"), "before-commit", STRUCK)).await;
        for (offset, end) in [(0, PART), (PART, video().len())] {
            let body = &video()[offset..end];
            let sent = || request("POST", &legacy::next(video(), offset, body, &[]), body);
            let code = stage.answer(&sent()).await["code"].as_i64();
            assert_eq!(code, Some(if offset == struck_at { 4400 } else { 0 }), "{on} at {offset}");
            if offset == struck_at {
                assert_eq!(stage.answer(&sent()).await["code"], 0, "{on}");
            }
        }
        stage.struck();
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_several_phases_strike_one_exchange_one_after_the_other() {
    let plan = [
        fault(&Act::Next.on(), "before-read", "{ delay = \"1s\" }").replace("\"f\"", "\"a\""),
        fault_at(&Act::Next.on(), "mid-body", 1000, "{ delay = \"2s\" }").replace("\"f\"", "\"b\""),
        fault(&Act::Next.on(), "before-commit", "{ corrupt = { offset = 3 } }").replace("\"f\"", "\"c\""),
        fault(&Act::Next.on(), "after-commit", "{ truncate-reply = { at = 30 } }").replace("\"f\"", "\"d\""),
        fault_at(&Act::Next.on(), "mid-reply", 29, "{ delay = \"4s\" }").replace("\"f\"", "\"e\""),
        // Behind the truncation there is no such byte.
        fault_at(&Act::Next.on(), "mid-reply", 30, "\"reset\"").replace("\"f\"", "\"never\""),
    ];
    let stage = Stage::in_memory(&plan.concat()).await;
    let mut peer = stage.connect().await;
    peer.send(&Act::Next.request()).await;
    assert_eq!(peer.reply().await.body.len(), 30);
    tokio::task::yield_now().await;
    let exchange = stage.mock.exchanges().pop().unwrap();
    let marks: Vec<_> = exchange.faults.iter().map(|mark| (mark.id.as_str(), mark.at_us / 1_000_000)).collect();
    assert_eq!(marks, [("a", 0), ("b", 1), ("c", 3), ("d", 3), ("e", 3)]);
    assert_eq!(stage.mock.unfired(), ["never"]);
    assert!(!exchange.acknowledged());
    assert!(exchange.times.reply_done >= Some(7_000_000), "{:?}", exchange.times);
}

#[tokio::test]
async fn of_several_faults_in_one_phase_the_first_that_fits_strikes() {
    let plan = [
        fault("{ action = \"UploadPart\" }", "before-read", "\"close\"").replace("\"f\"", "\"unfit\""),
        fault(&Act::Init.on(), "before-read", STRUCK),
        fault("{ action = \"InitUpload\" }", "before-read", "{ reply = { code = 6000 } }").replace("\"f\"", "\"next\""),
    ];
    let stage = Stage::in_memory(&plan.concat()).await;
    assert_eq!(stage.answer(&Act::Init.request()).await["code"], 4400);
    assert_eq!(stage.mock.unfired(), ["unfit", "next"]);
    assert_eq!(stage.answer(&Act::Init.request()).await["code"], 6000);
    assert_eq!(stage.mock.unfired(), ["unfit"]);
    let marks: Vec<_> = stage.mock.exchanges().iter().map(|exchange| exchange.faults.len()).collect();
    assert_eq!(marks, [1, 1], "one of a phase");
}

#[tokio::test]
async fn a_byte_behind_the_end_never_comes_and_the_fault_is_listed() {
    for (phase, act, at, request) in [
        ("mid-body", Act::Part, 1000, Act::Part.request()),
        ("mid-body", Act::Part, 1000, Act::Part.chunked(10)),
        ("mid-body", Act::Whole, 8_388_607, Act::Whole.chunked(999)),
        ("mid-reply", Act::Part, 50, Act::Part.request()),
    ] {
        let stage = Stage::in_memory(&fault_at(&act.on(), phase, at, "\"reset\"")).await;
        stage.prepare(act).await;
        assert_eq!(stage.answer(&request).await["code"], 0, "{phase} at {at}");
        assert_eq!(stage.mock.unfired(), ["f"], "{phase} at {at}");
        assert_eq!(stage.effects(act).await, 1);
    }
}

#[tokio::test]
async fn a_fault_within_bodies_waits_for_a_request_that_has_one() {
    let stage = Stage::in_memory(&fault("{ times = 1 }", "mid-body", "{ delay = \"1ms\" }")).await;
    for act in [Act::Init, Act::Part] {
        assert_eq!(stage.answer(&act.request()).await["code"], 0);
    }
    assert_eq!(stage.struck().action.as_deref(), Some("UploadPart"), "an opening has no byte to wait for");
}
