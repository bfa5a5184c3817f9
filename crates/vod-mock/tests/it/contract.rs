//! What an upload may rely on, whatever store is under it.

use std::sync::Arc;

use vod_mock::{
    Config, DiskStore, MemoryStore, Store, UploadState, VodMock,
    core::{BodyId, Record},
    store::Staging,
};
use vod_proto::Sha1;

use crate::wire::{PART, assert_code, config, file, finish, get, init, mock, part, post};

#[tokio::test]
async fn parts_come_in_any_order_at_once_and_twice() {
    let mock = mock(config()).await;
    let file = file(3);
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    let sent = [3, 1, 0, 2, 1, 3].map(|index| post(&mock, part(&file, index)));
    for reply in futures_util::future::join_all(sent).await {
        assert_code(&reply, 0, 0);
    }
    let reply = get(&mock, &finish(&file)).await;
    assert_code(&reply, 0, 0);
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!((view.state, view.parts, view.commits), (UploadState::Stored, 4, 1));
    assert_eq!(view.stored_sha1, Some(Sha1::of(&file)), "the bytes themselves were read again");
}

#[tokio::test]
async fn a_part_sent_again_with_other_bytes_replaces_the_first_also_behind_the_hashed_prefix() {
    let mock = mock(config()).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let wrong = vec![9; PART];
    let target = crate::wire::part_of(&file, 0, &wrong);
    assert_code(&post(&mock, (target, &wrong)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
}

#[tokio::test]
async fn resume_lists_what_is_there_on_the_first_grid() {
    let mock = mock(config()).await;
    let file = file(3);
    get(&mock, &init(&file)).await;
    post(&mock, part(&file, 1)).await;
    post(&mock, part(&file, 3)).await;
    let reply = get(&mock, &init(&file)).await;
    assert_code(&reply, 1, 0);
    assert_eq!(reply["dataSize"], 524_288);
    let listed: Vec<_> =
        reply["listParts"].as_array().unwrap().iter().map(|part| (&part["offset"], &part["dataLen"])).collect();
    assert_eq!(serde_json::json!(listed), serde_json::json!([[524_288, 524_288], [1_572_864, 1000]]));
}

#[tokio::test]
async fn a_finish_is_repeatable_and_the_file_exists_afterwards() {
    let mock = mock(config()).await;
    let file = file(0);
    get(&mock, &init(&file)).await;
    post(&mock, part(&file, 0)).await;
    let first = get(&mock, &finish(&file)).await;
    assert_eq!(get(&mock, &finish(&file)).await, first);
    let exists = get(&mock, &init(&file)).await;
    assert_code(&exists, 2, 0);
    assert_eq!((&exists["fileId"], &exists["url"]), (&first["fileId"], &first["url"]));
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().commits, 1);
}

#[tokio::test]
async fn instant_upload_can_be_turned_off() {
    let mock = mock(Config { instant_upload: false, ..config() }).await;
    let file = file(0);
    for _ in 0..2 {
        assert_code(&get(&mock, &init(&file)).await, 0, 0);
        post(&mock, part(&file, 0)).await;
        assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    }
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().commits, 2);
}

#[tokio::test]
async fn whoever_has_an_answer_finds_its_exchange() {
    let mock = mock(config()).await;
    let file = file(0);
    for n in 1..=50 {
        get(&mock, &init(&file)).await;
        let exchanges = mock.exchanges();
        assert_eq!((exchanges.len(), exchanges.last().unwrap().attempt), (n, u32::try_from(n).unwrap()));
    }
    let shown = format!("{:?}", mock.exchanges());
    assert!(!shown.contains("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"), "the SecretId is on record");
}

/// What was acknowledged is there after the server is gone, and only that.
async fn survives(reopen: impl Fn() -> Arc<dyn Store>) {
    let file = file(2);
    let mock = VodMock::start_on(config(), reopen()).await.unwrap();
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 2)).await, 0, 0);
    assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
    mock.stop().await;

    let mock = VodMock::start_on(config(), reopen()).await.unwrap();
    let resumed = get(&mock, &init(&file)).await;
    assert_code(&resumed, 1, 0);
    assert_eq!(resumed["listParts"].as_array().map(Vec::len), Some(2), "{resumed}");
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    let before = mock.upload(Sha1::of(&file)).await;
    mock.stop().await;

    let mock = VodMock::start_on(config(), reopen()).await.unwrap();
    assert_code(&get(&mock, &init(&file)).await, 2, 0);
    let after = mock.upload(Sha1::of(&file)).await;
    assert_eq!(after, before);
    assert_eq!(after.unwrap().stored_sha1, Some(Sha1::of(&file)), "the bytes themselves were read again");
}

#[tokio::test]
async fn acknowledged_parts_survive_the_server_in_memory() {
    let store = MemoryStore::new();
    survives(|| Arc::clone(&store) as Arc<dyn Store>).await;
}

#[tokio::test]
async fn acknowledged_parts_survive_the_server_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    survives(|| DiskStore::open(dir.path()).unwrap()).await;
}

#[tokio::test]
async fn what_was_never_acknowledged_is_cleared_away_and_one_mock_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    drop(DiskStore::open(dir.path()).unwrap());
    for left in ["staging/7", "bodies/8", "bodies/photo.jpg"] {
        std::fs::write(dir.path().join(left), b"x").unwrap();
    }
    let _store = DiskStore::open(dir.path()).unwrap();
    assert!(!dir.path().join("staging/7").exists() && !dir.path().join("bodies/8").exists());
    assert!(dir.path().join("bodies/photo.jpg").exists(), "only numbers are the store's own");
    let error = DiskStore::open(dir.path()).err().expect("it is in use").to_string();
    assert!(error.contains("is in use by another mock"), "{error}");
}

/// A store whose records of parts wait until they are let through.
#[derive(Default)]
struct Slow {
    store: MemoryStore,
    begun: tokio::sync::Notify,
    go_on: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Store for Slow {
    async fn load(&self) -> std::io::Result<Vec<Record>> {
        self.store.load().await
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        if matches!(record, Record::Part { .. }) {
            self.begun.notify_one();
            self.go_on.notified().await;
        }
        self.store.append(record).await
    }

    async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
        self.store.stage().await
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<bytes::Bytes> {
        self.store.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.store.discard(body).await;
    }
}

#[tokio::test]
async fn a_commit_that_was_begun_is_finished_when_its_client_goes_away() {
    use tokio::io::AsyncWriteExt as _;
    let slow = Arc::new(Slow::default());
    let mock = VodMock::start_on(config(), Arc::clone(&slow) as Arc<dyn Store>).await.unwrap();
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut client = tokio::net::TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(body).await.unwrap();
    slow.begun.notified().await;
    drop(client);
    while !mock.exchanges().iter().any(|exchange| exchange.part.is_some()) {
        tokio::task::yield_now().await;
    }
    slow.go_on.notify_one();
    // The client is on record as gone; what it began is there all the same, and nothing lies about half done.
    let finished = async {
        while mock.upload(Sha1::of(&file)).await.unwrap().parts == 0 {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(5);
    tokio::time::timeout(limit, finished).await.expect("a commit that was begun was given up half way");
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), b"x").unwrap();
    let error = DiskStore::open(dir.path()).err().expect("it is not ours").to_string();
    assert!(error.contains("it is not a mock's"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made there");
}

#[tokio::test]
async fn what_was_never_opened_is_no_upload() {
    let mock = mock(config()).await;
    let file = file(0);
    assert_code(&get(&mock, &finish(&file)).await, -10005, 1);
    assert_code(&post(&mock, part(&file, 0)).await, -10005, 1);
    assert_eq!(mock.upload(Sha1::of(&file)).await, None);
}

#[tokio::test]
async fn a_vod_mock_is_one_line() {
    let mock = VodMock::start().await;
    assert!(mock.endpoint().starts_with("http://127.0.0.1:"));
}
