//! The legacy family: one action, and a server that says where to go on.

use std::sync::Arc;

use serde_json::{Value, json};
use vod_mock::{
    Config, DEMO_SECRET_ID, DiskStore, MemoryStore, Store, Tls, UploadState, VodMock,
    core::{BodyId, Generation, Record},
    store::Staging,
};
use vod_proto::{FileFacts, Sha1, rules::Profile};
use vod_serve::Plan;

use crate::wire::{
    NOW, PART, assert_says, config, config_at, file, findings, get, json as body_of, mock, post, raw, target,
};

/// A request for `body`, which lies at `offset` of the file; `more` is added, or replaces what is usual.
pub(crate) fn next(file: &[u8], offset: usize, body: &[u8], more: &[(&str, &str)]) -> String {
    let (sha, size) = (Sha1::of(file).to_string(), file.len().to_string());
    let (offset, len) = (offset.to_string(), body.len().to_string());
    let mut params = vec![
        ("Action", "MultipartUploadVodFile"),
        ("fileName", "test"),
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", &len),
        ("offset", &offset),
        ("fileType", "mp4"),
    ];
    for (name, value) in more {
        params.retain(|(known, _)| known != name);
        params.push((name, value));
    }
    target("POST", &params)
}

/// Sends the bytes from `offset` to `end`.
async fn send(mock: &VodMock, file: &[u8], offset: usize, end: usize) -> Value {
    let body = &file[offset..end];
    post(mock, (next(file, offset, body, &[]), body)).await
}

pub(crate) fn go_on(offset: usize) -> Value {
    json!({ "code": 0, "message": "", "flag": 0, "offset": offset.to_string() })
}

/// The id of the file, by a reply that says nothing but that it is stored.
#[track_caller]
pub(crate) fn stored(reply: &Value) -> String {
    let id = reply["fileId"].as_str().unwrap_or_else(|| panic!("no file: {reply}"));
    assert_eq!(*reply, json!({ "code": 0, "message": "", "flag": 1, "fileId": id }));
    id.to_owned()
}

#[tokio::test]
async fn parts_of_any_fitting_length_follow_each_other_and_the_last_one_stores_the_file() {
    for profile in [Profile::Observed, Profile::Documented] {
        let mock = mock(Config { profile, ..config() }).await;
        let file = file(5);
        // The first has its size prescribed; then more, then less, then what is left, which may be a single byte.
        let cuts = [PART, PART + 600_000, 2 * PART + 600_000, file.len() - 1, file.len()];
        let mut offset = 0;
        for end in cuts {
            let reply = send(&mock, &file, offset, end).await;
            if end < file.len() {
                assert_eq!(reply, go_on(end), "the offset is a text, as one client needs it");
            } else {
                stored(&reply);
            }
            offset = end;
        }
        let view = mock.upload(Sha1::of(&file)).await.unwrap();
        assert_eq!((view.state, view.generation, view.parts), (UploadState::Stored, Generation::Legacy, 5));
        assert_eq!(view.part_size, None, "there is no grid");
        assert_eq!(
            (view.commits, view.stored_sha1),
            (1, Some(Sha1::of(&file))),
            "the bytes themselves were read again"
        );
        assert_eq!(findings(&mock).await, [""; 0], "what the documents say is no deviation");
    }
}

#[tokio::test]
async fn the_server_dictates_the_offset_and_takes_nothing_twice_or_ahead() {
    let mock = mock(config()).await;
    let file = file(3);
    assert_eq!(send(&mock, &file, PART, 2 * PART).await, go_on(0), "ahead of everything");
    assert_eq!(mock.uploads().await, [], "which begins nothing");
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART), "a part that came already");
    assert_eq!(send(&mock, &file, 2 * PART, 3 * PART).await, go_on(PART), "a gap");
    assert_eq!(send(&mock, &file, 3 * PART, file.len()).await, go_on(PART), "the last part too early");
    assert_eq!(send(&mock, &file, PART + 5, 2 * PART + 5).await, go_on(PART), "a little beside");
    assert_eq!(send(&mock, &file, PART, 3 * PART).await, go_on(3 * PART));
    let id = stored(&send(&mock, &file, 3 * PART, file.len()).await);
    for (offset, end) in [(0, PART), (PART, 2 * PART), (3 * PART, file.len())] {
        assert_eq!(stored(&send(&mock, &file, offset, end).await), id, "a stored file is answered to any part of it");
    }
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!((view.parts, view.commits), (3, 1));
}

#[tokio::test]
async fn of_parts_sent_at_once_for_one_offset_one_is_kept() {
    for last in [false, true] {
        let mock = mock(config()).await;
        let file = file(if last { 0 } else { 1 });
        let end = if last { file.len() } else { PART };
        let replies = futures_util::future::join_all((0..8).map(|_| send(&mock, &file, 0, end))).await;
        let ids: Vec<_> = replies.iter().filter(|reply| reply["flag"] == 1).map(stored).collect();
        if last {
            assert!(ids.len() == 8 && ids.iter().all(|id| *id == ids[0]), "{replies:?}");
        } else {
            assert!(replies.iter().all(|reply| *reply == go_on(PART)), "{replies:?}");
        }
        let view = mock.upload(Sha1::of(&file)).await.unwrap();
        assert_eq!((view.parts, view.commits), (1, u64::from(last)));
    }
}

/// What the mock refuses by itself: every code of the page, by a request that earns it.
#[tokio::test]
async fn each_wrong_parameter_has_its_code_and_is_named() {
    let mock = mock(config()).await;
    let file = file(3);
    let body = &file[..PART];
    let signed_wrongly = next(&file, 0, body, &[]).replace("fileName=test", "fileName=tess");
    let late = (NOW - 7201).to_string();
    let without = |name: &str| {
        let whole = next(&file, 0, body, &[]);
        let kept: Vec<_> = whole.split('&').filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
        kept.join("&")
    };
    let resigned = |more: &[(&str, &str)]| next(&file, 0, body, more);
    for (target, code, words) in [
        (resigned(&[("SecretId", "AKIDstranger")]), 10003, vec!["no account", "SecretId"]),
        (signed_wrongly, 10004, vec!["signature does not hold", "vod.qcloud.com"]),
        (resigned(&[("Timestamp", &late)]), -26498, vec!["Timestamp", &late, "7200"]),
        (without("SecretId"), -25997, vec!["SecretId is missing"]),
        (resigned(&[("SecretId", "")]), -25997, vec!["SecretId"]),
        (without("Signature"), 4000, vec!["Signature is missing"]),
        (resigned(&[("Timestamp", "now")]), 4000, vec!["Timestamp", "now"]),
        (resigned(&[("Nonce", "x")]), 4000, vec!["Nonce", "\"x\""]),
        (resigned(&[("notifyUrl", "www.fs.com")]), -25976, vec!["notifyUrl", "www.fs.com", "http"]),
        (resigned(&[("fileType", "")]), -25986, vec!["fileType"]),
        (resigned(&[("fileType", ".mp4")]), -25986, vec!["fileType", ".mp4"]),
        (resigned(&[("fileSha", "xyz")]), -25985, vec!["fileSha", "xyz", "hexadecimal"]),
        (resigned(&[("tags.1", "")]), -25984, vec!["tags.1"]),
        (resigned(&[("tags.0", "a")]), -25984, vec!["tags.0", "counting from 1"]),
        (resigned(&[("classId", "first")]), -25983, vec!["classId", "first"]),
        (resigned(&[("dataSize", "524287")]), -25982, vec!["dataSize", "524287", "524288", "first part"]),
        (resigned(&[("dataSize", "many")]), -25982, vec!["dataSize", "many"]),
        (resigned(&[("offset", "524288"), ("dataSize", "524287")]), -25982, vec!["dataSize", "524287", "not the last"]),
        (resigned(&[("offset", "1573864"), ("dataSize", "0")]), -25982, vec!["dataSize", "\"0\""]),
        (resigned(&[("fileSize", "0")]), -25981, vec!["fileSize", "\"0\""]),
        (resigned(&[("fileSize", "1e6")]), -25981, vec!["fileSize", "1e6"]),
        (resigned(&[("isScreenshot", "yes")]), -25980, vec!["isScreenshot", "yes"]),
        (resigned(&[("isWatermark", "2")]), -25979, vec!["isWatermark", "\"2\""]),
        (resigned(&[("isTranscode", "-1")]), -25978, vec!["isTranscode", "-1"]),
        (
            resigned(&[("offset", "1573863"), ("dataSize", "2")]),
            -25977,
            vec!["offset 1573863", "dataSize 2", "1573864"],
        ),
        (resigned(&[("offset", "18446744073709551615")]), -25977, vec!["offset", "beyond"]),
        (resigned(&[("offset", "here")]), 4000, vec!["offset", "here"]),
        (resigned(&[("fileName", "a/b")]), 4000, vec!["fileName", "a/b"]),
        (without("fileSha"), 10004, vec!["signature does not hold"]),
    ] {
        let reply = post(&mock, (target, body)).await;
        assert_says(&reply, code, &words);
        let fields: Vec<_> = reply.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "message"], "the family knows no other");
        assert!(!reply.to_string().contains(DEMO_SECRET_ID), "{reply}");
    }
    assert_eq!(mock.uploads().await, [], "nothing came of any of them");
}

#[tokio::test]
async fn every_code_can_be_injected_and_none_says_can_retry() {
    for code in [
        -26498, 10003, 10004, -25997, -25976, -29200, -25986, -25985, -25984, -25983, -25981, -25980, -25979, -25978,
        -25982, -25977, 4000, 4400, 6000,
    ] {
        let plan: Plan = toml::from_str(&format!(
            "[[fault]]\nid = \"f\"\non = {{ action = \"MultipartUploadVodFile\", times = 1 }}\n\
             phase = \"before-commit\"\ndo = {{ reply = {{ code = {code}, can-retry = true }} }}\n"
        ))
        .unwrap();
        let mock = mock(Config { plan, ..config() }).await;
        let file = file(0);
        let reply = send(&mock, &file, 0, file.len()).await;
        assert_eq!(reply, json!({ "code": code, "message": "injected" }));
        stored(&send(&mock, &file, 0, file.len()).await);
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_said_is_25982_and_not_kept() {
    let mut config = config();
    config.limits.body_ceiling = config.limits.legacy_part_max;
    let ceiling = usize::try_from(config.limits.body_ceiling).unwrap();
    let mock = mock(config).await;
    let file = file(1);
    let target = next(&file, 0, &file[..PART], &[]);
    let said = ["dataSize", "524288"];
    assert_says(&post(&mock, (target.clone(), &file[..PART - 1])).await, -25982, &[&said[..], &["524287"]].concat());
    assert_says(&post(&mock, (target.clone(), &file[..PART + 1])).await, -25982, &[&said[..], &["524289"]].concat());
    assert_says(&post(&mock, (target.clone(), b"")).await, -25982, &said);
    let _ = raw(&mock, &head(&target, &format!("Content-Length: {}", ceiling + 1)), &vec![0; ceiling + 1]).await;
    let above = mock.exchanges().into_iter().next_back().unwrap();
    assert_eq!(above.code().map(|code| code.0), Some(-25982), "{above:?}");
    assert_eq!(mock.uploads().await, [], "nothing came of any of them");
}

#[tokio::test]
async fn a_file_that_is_not_what_its_sha_says_is_29200_and_dropped() {
    let mock = mock(config()).await;
    let file = file(1);
    let mut wrong = file[..PART].to_vec();
    wrong[7] ^= 1;
    assert_eq!(post(&mock, (next(&file, 0, &wrong, &[]), &wrong)).await, go_on(PART));
    let reply = send(&mock, &file, PART, file.len()).await;
    let made = Sha1::of(&[&wrong[..], &file[PART..]].concat()).to_string();
    assert_says(&reply, -29200, &[&made, &Sha1::of(&file).to_string(), "dropped"]);
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().state, UploadState::Gone);
    // What was kept is gone: it begins anew.
    assert_eq!(send(&mock, &file, PART, file.len()).await, go_on(0));
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
    stored(&send(&mock, &file, PART, file.len()).await);
}

#[tokio::test]
async fn another_size_for_the_same_file_is_25981() {
    let mock = mock(config()).await;
    let file = file(1);
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
    let other = next(&file, 0, &file[..PART], &[("fileSize", "600000")]);
    assert_says(&post(&mock, (other.clone(), &file[..PART])).await, -25981, &["fileSize", "600000", "525288"]);
    stored(&send(&mock, &file, PART, file.len()).await);
    assert_says(&post(&mock, (other, &file[..PART])).await, -25981, &["fileSize", "600000", "525288"]);
}

/// A store whose process dies when a file is to be recorded as stored, or as forgotten.
pub(crate) struct Dying(pub(crate) Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for Dying {
    async fn load(&self) -> std::io::Result<Vec<Record>> {
        self.0.load().await
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        if matches!(record, Record::Stored { .. } | Record::Forgotten { .. }) {
            return Err(std::io::Error::other("dead"));
        }
        self.0.append(record).await
    }

    async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
        self.0.stage().await
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<bytes::Bytes> {
        self.0.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.0.discard(body).await;
    }
}

#[tokio::test]
async fn a_file_whose_parts_are_all_here_is_stored_by_whatever_request_comes_next() {
    for (offset, end) in [(0, PART), (PART, PART + 1000)] {
        let dir = tempfile::tempdir().unwrap();
        let file = file(1);
        let dying = Dying(DiskStore::open(dir.path()).unwrap());
        let mock = VodMock::start_on(config(), Arc::new(dying)).await.unwrap();
        assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
        assert_says(&send(&mock, &file, PART, file.len()).await, -10004, &["could not be written"]);
        mock.stop().await;
        let store = DiskStore::open(dir.path()).unwrap();
        let mock = VodMock::start_on(config(), store).await.unwrap();
        let view = mock.upload(Sha1::of(&file)).await.unwrap();
        assert_eq!((view.state, view.parts), (UploadState::Open, 2), "all that is missing is the end");
        let id = stored(&send(&mock, &file, offset, end).await);
        assert_eq!(stored(&send(&mock, &file, 0, PART).await), id);
        assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().commits, 1);
    }
}

#[tokio::test]
async fn a_session_that_outlived_its_time_begins_anew() {
    let store = MemoryStore::new();
    let file = file(1);
    let first = VodMock::start_on(config(), Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    assert_eq!(send(&first, &file, 0, PART).await, go_on(PART));
    first.stop().await;
    let two_days = 2 * 86_400;
    let later = VodMock::start_on(config_at(NOW + two_days + 60), store).await.unwrap();
    let at = (NOW + two_days).to_string();
    let at = [("Timestamp", at.as_str())];
    let late = next(&file, PART, &file[PART..], &at);
    assert_eq!(post(&later, (late, &file[PART..])).await, go_on(0));
    assert_eq!(post(&later, (next(&file, 0, &file[..PART], &at), &file[..PART])).await, go_on(PART));
    assert_eq!(later.upload(Sha1::of(&file)).await.unwrap().parts, 1);
}

/// The head of a request without `Content-Length`.
fn head(target: &str, headers: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: vod.qcloud.com\r\nConnection: close\r\n{headers}\r\n\r\n")
}

#[tokio::test]
async fn form_data_is_refused_and_a_form_by_name_alone_is_not_parsed() {
    for profile in [Profile::Observed, Profile::Documented] {
        let mock = mock(Config { profile, ..config() }).await;
        let file = file(0);
        let target = next(&file, 0, &file, &[]);
        let length = format!("Content-Length: {}", file.len());
        let form = head(&target, &format!("Content-Type: Multipart/Form-Data; boundary=x\r\n{length}"));
        assert_says(&body_of(&raw(&mock, &form, &file).await.unwrap()), 4000, &["Content-Type", "boundary=x"]);
        let named = head(&target, &format!("Content-Type: application/x-www-form-urlencoded\r\n{length}"));
        stored(&body_of(&raw(&mock, &named, &file).await.unwrap()));
    }
}

#[tokio::test]
async fn names_are_read_with_either_way_of_writing_a_space() {
    let mock = mock(config()).await;
    for (at, (name, raw_name)) in
        [("夏天", "%E5%A4%8F%E5%A4%A9"), ("my video", "my%20video"), ("my test+name", "my+test%2Bname"), ("a+b", "a+b")]
            .into_iter()
            .enumerate()
    {
        let file = file(at);
        let body = &file[..file.len().min(PART)];
        // `target` writes %20; the oldest SDK wrote a plus sign, another encoded nothing, and both signed what they meant.
        let target = next(&file, 0, body, &[("fileName", name)]);
        let (before, after) = target.split_once("fileName=").unwrap();
        let after = after.split_once('&').unwrap().1;
        assert_eq!(post(&mock, (format!("{before}fileName={raw_name}&{after}"), body)).await["code"], 0, "{name}");
        assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().file.unwrap().name, name);
    }
}

#[tokio::test]
async fn what_is_said_of_the_file_counts_with_the_first_part_alone() {
    let mock = mock(config()).await;
    let file = file(2);
    let said = [
        ("fileName", "first"),
        ("isTranscode", "1"),
        ("isWatermark", "1"),
        ("classId", "9"),
        ("tags.1", "a"),
        ("notifyUrl", "http://me:sEcReT@cb.example.com/x"),
    ];
    assert_eq!(post(&mock, (next(&file, 0, &file[..PART], &said), &file[..PART])).await, go_on(PART));
    let later = [("fileName", "later"), ("isTranscode", "0"), ("isScreenshot", "1"), ("notifyUrl", "http://other/")];
    let rest = &file[PART..];
    stored(&post(&mock, (next(&file, PART, rest, &later), rest)).await);
    let facts = FileFacts {
        name: "first".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned()],
        class_id: Some(9),
        transcode: true,
        watermark: true,
        notify_url: Some("http://redacted@cb.example.com/x".to_owned()),
        ..FileFacts::default()
    };
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().file, Some(facts));
    let seen = get(&mock, "/__vod/uploads").await.to_string() + &format!("{:?}", mock.exchanges());
    assert!(!seen.contains("sEcReT"), "{seen}");
}

#[tokio::test]
async fn the_legacy_action_over_tls_is_noted_and_4600_where_documents_count() {
    let file = file(0);
    let tls = || Some(Tls::default());
    let observed = mock(Config { tls: tls(), ..config() }).await;
    stored(&send(&observed, &file, 0, file.len()).await);
    let exchange = observed.exchanges().into_iter().next_back().unwrap();
    let noted = vod_proto::lint::deviations(&exchange, &vod_proto::Limits::default());
    assert_eq!(noted.iter().map(|found| found.rule.id).collect::<Vec<_>>(), ["legacy-http-only"]);
    let documented = mock(Config { profile: Profile::Documented, tls: tls(), ..config() }).await;
    let refused = send(&documented, &file, 0, file.len()).await;
    assert_says(&refused, 4600, &["MultipartUploadVodFile", "https", "rule legacy-http-only"]);
    // The newer families are called over either.
    crate::wire::assert_code(&get(&documented, &crate::wire::init(&file)).await, 0, 0);
    let plain = mock(Config { profile: Profile::Documented, ..config() }).await;
    stored(&send(&plain, &file, 0, file.len()).await);
    crate::wire::assert_code(&get(&plain, &crate::wire::init(&file)).await, 0, 0);
}

fn fault(on: &str, phase: &str, verdict: &str) -> Plan {
    toml::from_str(&format!("[[fault]]\nid = \"f\"\non = {on}\nphase = \"{phase}\"\ndo = {verdict}\n")).unwrap()
}

#[tokio::test]
async fn faults_count_the_parts_in_the_order_they_are_taken() {
    // 1: before any session; 2: after a part that was longer than the first; offset: wherever the cut fell.
    for (on, struck_at) in [("{ part = 1 }", 0), ("{ part = 3 }", 2 * PART + 9), ("{ offset = 524288 }", PART)] {
        let plan = fault(&on.replace('}', ", times = 1 }"), "before-commit", "{ reply = { code = 6000 } }");
        let mock = mock(Config { plan, ..config() }).await;
        let file = file(3);
        let cuts = [0, PART, 2 * PART + 9, file.len()];
        for step in cuts.windows(2) {
            let first = send(&mock, &file, step[0], step[1]).await;
            assert_eq!(first["code"] == 6000, step[0] == struck_at, "{on} at {}: {first}", step[0]);
            if step[0] == struck_at {
                assert_eq!(send(&mock, &file, step[0], step[1]).await["code"], 0);
            }
        }
        assert_eq!(mock.unfired(), [""; 0], "{on}");
    }
}

#[tokio::test]
async fn a_dropped_part_is_acknowledged_and_asked_for_again() {
    let mock =
        mock(Config { plan: fault("{ part = 2, times = 1 }", "before-commit", "\"drop-part\""), ..config() }).await;
    let file = file(2);
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
    assert_eq!(send(&mock, &file, PART, 2 * PART).await, go_on(2 * PART), "as if it were kept");
    assert_eq!(send(&mock, &file, 2 * PART, file.len()).await, go_on(PART), "but it is not");
    assert_eq!(send(&mock, &file, PART, 2 * PART).await, go_on(2 * PART));
    stored(&send(&mock, &file, 2 * PART, file.len()).await);
    assert_eq!(mock.unfired(), [""; 0]);
}

/// Its acknowledgement is the file itself, and there would be none.
#[tokio::test]
async fn the_last_part_cannot_be_dropped() {
    let mock = mock(Config { plan: fault("{ part = 2 }", "before-commit", "\"drop-part\""), ..config() }).await;
    let file = file(1);
    assert_eq!(send(&mock, &file, 0, PART).await, go_on(PART));
    stored(&send(&mock, &file, PART, file.len()).await);
    assert_eq!(mock.unfired(), ["f"], "and whoever planned it hears so");
}

#[tokio::test]
async fn the_generations_know_nothing_of_each_others_files() {
    let mock = mock(config()).await;
    let file = file(0);
    let legacy = stored(&send(&mock, &file, 0, file.len()).await);
    crate::wire::assert_code(&get(&mock, &crate::wire::init(&file)).await, 0, 0);
    post(&mock, crate::wire::part(&file, 0)).await;
    let current = get(&mock, &crate::wire::finish(&file)).await;
    crate::wire::assert_code(&current, 0, 0);
    assert_ne!(current["fileId"], *legacy, "two files have two ids");
    let seen = get(&mock, &format!("/__vod/uploads/{}?rehash=true", Sha1::of(&file))).await;
    let seen: Vec<_> =
        seen.as_array().unwrap().iter().map(|view| (&view["generation"], &view["stored-sha1"])).collect();
    let sha = json!(Sha1::of(&file).to_string());
    assert_eq!(seen, [(&json!("current"), &sha), (&json!("legacy"), &sha)]);
}
