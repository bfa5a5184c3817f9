//! Small files in one request, and covers either way.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use vod_mock::{
    MemoryStore, Store, UploadState, VodMock,
    core::{BodyId, Record},
    store::Staging,
};
use vod_proto::{Md5, Sha1};

use crate::wire::{
    PART, assert_code, assert_says, config, file, findings, finish, get, init, mock, part, post, raw, target,
};

const VIDEO: &str = "14508071098244954105";

/// A picture of a thousand bytes.
fn picture() -> Vec<u8> {
    file(0)
}

/// A request for a whole small file; `more` is added, or replaces what is usual.
pub(crate) fn whole(file: &[u8], more: &[(&str, &str)]) -> String {
    let (sha, size) = (Sha1::of(file).to_string(), file.len().to_string());
    let mut params = vec![
        ("Action", "SmallFileUpload"),
        ("fileName", "cover"),
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", &size),
        ("fileType", "png"),
        ("extra.usage", "1"),
        ("extra.fileId", VIDEO),
    ];
    for (name, value) in more {
        params.retain(|(known, _)| known != name);
        params.push((name, value));
    }
    target("POST", &params)
}

async fn send(mock: &VodMock, file: &[u8]) -> Value {
    post(mock, (whole(file, &[]), file)).await
}

#[track_caller]
fn cover_url(reply: &Value) -> String {
    let id = reply["fileId"].as_str().unwrap_or_else(|| panic!("no file: {reply}"));
    format!("http://10013.vod2.myqcloud.com/vod10013/{VIDEO}/{id}.png")
}

#[tokio::test]
async fn a_small_file_is_stored_in_one_request_and_once() {
    let mock = mock(config()).await;
    let picture = picture();
    let first = send(&mock, &picture).await;
    assert_code(&first, 0, 0);
    assert_eq!(first["url"], cover_url(&first));
    assert_eq!(send(&mock, &picture).await, first, "sent again it is the same file");
    let view = mock.upload(Sha1::of(&picture)).await.unwrap();
    assert_eq!((view.state, view.commits, view.stored_sha1), (UploadState::Stored, 1, Some(Sha1::of(&picture))));
    assert_eq!(view.file.unwrap().cover_of.as_deref(), Some(VIDEO));
    assert_eq!(findings(&mock).await, [""; 0], "what the documents say is no deviation");
}

#[tokio::test]
async fn a_small_file_that_is_not_what_was_said_is_refused() {
    let mock = mock(config()).await;
    let picture = picture();
    let (sha, other) = (Sha1::of(&picture).to_string(), vec![9; 1000]);
    let without = |name: &str| {
        let all = [("fileName", "cover"), ("fileSha", &sha), ("fileSize", "1000"), ("dataSize", "1000")];
        let rest = [("fileType", "png"), ("extra.usage", "1"), ("extra.fileId", VIDEO)];
        let mut params: Vec<_> = all.into_iter().chain(rest).filter(|(known, _)| *known != name).collect();
        params.insert(0, ("Action", "SmallFileUpload"));
        target("POST", &params)
    };
    let megabyte = (1 << 20).to_string();
    for (target, body, code, words) in [
        (whole(&picture, &[]), &other[..], -10003, vec![Sha1::of(&other).to_string(), sha.clone(), "fileSha".into()]),
        (whole(&picture, &[]), &picture[1..], -10006, vec!["999".into(), "1000".into()]),
        (whole(&picture, &[]), b"", -10006, vec!["1000".into()]),
        (
            whole(&picture, &[("fileSize", &megabyte), ("dataSize", &megabyte)]),
            &picture,
            -10003,
            vec!["fileSize".into(), megabyte.clone(), "1048575".into()],
        ),
        (
            whole(&picture, &[("dataSize", "999")]),
            &picture,
            -10003,
            vec!["dataSize".into(), "999".into(), "1000".into()],
        ),
        (whole(&picture, &[("extra.usage", "2")]), &picture, -10003, vec!["extra.usage".into(), "\"2\"".into()]),
        (whole(&picture, &[("extra.fileId", "../7")]), &picture, -10003, vec!["extra.fileId".into(), "../7".into()]),
        (without("extra.usage"), &picture, -10003, vec!["parameter extra.usage is missing".into()]),
        (without("extra.fileId"), &picture, -10003, vec!["parameter extra.fileId is missing".into()]),
        (without("fileName"), &picture, -10003, vec!["parameter fileName is missing".into()]),
    ] {
        let reply = post(&mock, (target, body)).await;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        assert_says(&reply, code, &words);
        assert_code(&reply, code, i64::from(code == -10006));
    }
    // One client sends it without any query.
    assert_says(&post(&mock, ("/v3/index.php".to_owned(), &picture)).await, -10001, &["Action is missing"]);
    assert_eq!(mock.uploads().await, [], "nothing came of any of them");
}

/// The video's cover by the three steps, with the names of the documents and as one client writes them.
#[tokio::test]
async fn a_cover_may_come_in_three_steps_and_without_the_prefix() {
    for (usage, id, noted) in
        [("extra.usage", "extra.fileId", vec![]), ("usage", "fileId", vec!["cover-prefix", "known-parameters"])]
    {
        let mock = mock(config()).await;
        let picture = file(1);
        let (sha, size) = (Sha1::of(&picture).to_string(), picture.len().to_string());
        let init = target(
            "GET",
            &[
                ("Action", "InitUpload"),
                ("fileName", "cover"),
                ("fileSha", &sha),
                ("fileSize", &size),
                ("dataSize", "524288"),
                ("fileType", "png"),
                (usage, "1"),
                (id, VIDEO),
            ],
        );
        assert_code(&get(&mock, &init).await, 0, 0);
        assert_code(&post(&mock, part(&picture, 0)).await, 0, 0);
        assert_code(&post(&mock, part(&picture, 1)).await, 0, 0);
        let stored = get(&mock, &finish(&picture)).await;
        assert_eq!(stored["url"], cover_url(&stored), "{usage}");
        let exists = get(&mock, &init).await;
        assert_eq!((&exists["code"], &exists["url"]), (&2.into(), &stored["url"]));
        assert_eq!(findings(&mock).await, noted);
    }
}

#[tokio::test]
async fn a_small_file_and_the_three_steps_are_two_doors_to_one_file() {
    let mock = mock(config()).await;
    let picture = picture();
    let stored = send(&mock, &picture).await;
    let exists = get(&mock, &init(&picture)).await;
    assert_code(&exists, 2, 0);
    assert_eq!((&exists["fileId"], &exists["url"]), (&stored["fileId"], &stored["url"]));
    assert_eq!(get(&mock, &finish(&picture)).await["fileId"], stored["fileId"]);
}

#[tokio::test]
async fn a_small_file_ends_the_three_steps_that_were_under_way_with_it() {
    let store = Arc::new(Counting::default());
    let kept = Arc::clone(&store.kept);
    let mock = VodMock::start_on(config(), store).await.unwrap();
    let picture = picture();
    get(&mock, &init(&picture)).await;
    assert_code(&post(&mock, part(&picture, 0)).await, 0, 0);
    let stored = send(&mock, &picture).await;
    assert_code(&stored, 0, 0);
    assert_eq!(kept.lock().unwrap().len(), 1, "the part is not needed any more");
    assert_code(&post(&mock, part(&picture, 0)).await, -10005, 1);
    assert_eq!(get(&mock, &finish(&picture)).await["fileId"], stored["fileId"]);
    assert_code(&get(&mock, &init(&picture)).await, 2, 0);
    assert_eq!(send(&mock, &picture).await, stored);
    let view = mock.upload(Sha1::of(&picture)).await.unwrap();
    assert_eq!((view.state, view.commits), (UploadState::Stored, 1));
}

#[tokio::test]
async fn a_small_file_that_does_not_end_is_refused_and_cut() {
    let mock = mock(config()).await;
    let target = whole(&picture(), &[]);
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".as_slice(), &[0; 1 << 20], b"\r\n"].concat().repeat(64);
    // The server hangs up somewhere within the 64 MiB: what matters is that it stopped reading.
    let _ = raw(&mock, &head, &chunk).await;
    let exchange = mock.exchanges().into_iter().next_back().expect("it is on record");
    assert!(exchange.request.body.len < 16 << 20, "{exchange:?}");
    assert_eq!(exchange.code().map(|code| code.0), Some(-10006), "{exchange:?}");
    assert_eq!(mock.uploads().await, []);
}

/// Counts which bodies are kept.
#[derive(Default)]
struct Counting {
    store: Arc<MemoryStore>,
    kept: Arc<Mutex<Vec<BodyId>>>,
}

struct CountingStaging {
    inner: Box<dyn Staging>,
    kept: Arc<Mutex<Vec<BodyId>>>,
}

#[async_trait::async_trait]
impl Staging for CountingStaging {
    async fn write(&mut self, bytes: bytes::Bytes) -> std::io::Result<()> {
        self.inner.write(bytes).await
    }

    async fn flip(&mut self, offset: u64) -> std::io::Result<()> {
        self.inner.flip(offset).await
    }

    async fn keep(self: Box<Self>) -> std::io::Result<BodyId> {
        let body = self.inner.keep().await?;
        self.kept.lock().unwrap().push(body);
        Ok(body)
    }
}

#[async_trait::async_trait]
impl Store for Counting {
    async fn load(&self) -> std::io::Result<Vec<Record>> {
        self.store.load().await
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        self.store.append(record).await
    }

    async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
        let inner = self.store.stage().await?;
        Ok(Box::new(CountingStaging { inner, kept: Arc::clone(&self.kept) }))
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<bytes::Bytes> {
        self.store.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.kept.lock().unwrap().retain(|kept| *kept != body);
        self.store.discard(body).await;
    }
}

#[tokio::test]
async fn nothing_is_kept_twice_however_often_it_comes() {
    let store = Arc::new(Counting::default());
    let kept = Arc::clone(&store.kept);
    let mock = VodMock::start_on(config(), store).await.unwrap();
    let picture = picture();
    let sent = futures_util::future::join_all((0..6).map(|_| send(&mock, &picture))).await;
    assert!(sent.iter().all(|reply| *reply == sent[0]), "{sent:?}");
    assert_eq!(kept.lock().unwrap().len(), 1, "one small file");
    let video = file(1);
    get(&mock, &init(&video)).await;
    for index in [0, 0, 1, 0, 1] {
        assert_code(&post(&mock, part(&video, index)).await, 0, 0);
    }
    assert_eq!(kept.lock().unwrap().len(), 3, "and two parts");
}

#[tokio::test]
async fn a_report_is_heard_and_nothing_comes_of_it() {
    let mock = mock(config()).await;
    let sha = Sha1::of(b"x").to_string();
    let params = [("errCode", "0"), ("speed", "12"), ("fileId", "7"), ("platform", "java"), ("version", "1.0")];
    for file in [None, Some(("fileSha", sha.as_str()))] {
        let params: Vec<_> = [("Action", "Report")].into_iter().chain(params).chain(file).collect();
        assert_code(&post(&mock, (target("POST", &params), b"")).await, 0, 0);
        assert_code(&get(&mock, &target("GET", &params)).await, 0, 0);
    }
    assert_eq!(mock.uploads().await, []);
    assert_eq!(findings(&mock).await, ["known-actions", "documented-method"]);
    let stranger = target("POST", &[("Action", "Report"), ("SecretId", "AKIDstranger")]);
    assert_code(&post(&mock, (stranger, b"")).await, -10002, 0);
}

#[tokio::test]
async fn a_small_file_may_carry_what_one_client_adds() {
    let mock = mock(config()).await;
    let picture = picture();
    let md5 = Md5::of(&picture).to_string();
    let target = whole(&picture, &[("offset", "0"), ("dataMd5", &md5), ("storeTime", "0")]);
    assert_code(&post(&mock, (target, &picture)).await, 0, 0);
    assert_eq!(findings(&mock).await, ["known-parameters"]);
    assert!(picture.len() < PART);
}
