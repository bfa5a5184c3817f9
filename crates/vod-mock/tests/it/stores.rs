//! What one store does alone, and what any store is told.

use std::sync::Arc;

use vod_mock::{
    DigestStore, DiskStore, MemoryStore, Store, VodMock,
    core::{BodyId, Record},
    store::Staging,
};
use vod_proto::Sha1;

use crate::{
    covers::whole,
    wire::{NOW, PART, assert_code, config, config_at, file, finish, get, init, init_at, part, part_of, post},
};

#[tokio::test]
async fn sessions_that_outlived_their_time_are_freed_when_others_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let kept = || std::fs::read_dir(dir.path().join("bodies")).unwrap().count();
    let mock = VodMock::start_on(config(), DiskStore::open(dir.path()).unwrap()).await.unwrap();
    let files: Vec<Vec<u8>> = (0..40_u8).map(|n| [&[n][..], &file(0)].concat()).collect();
    for file in &files {
        get(&mock, &init(file)).await;
        assert_code(&post(&mock, part(file, 0)).await, 0, 0);
    }
    assert_eq!(kept(), files.len());
    mock.stop().await;

    let two_days = 2 * 86_400;
    let almost = VodMock::start_on(config_at(NOW + two_days - 60), DiskStore::open(dir.path()).unwrap()).await.unwrap();
    let fresh = file(1);
    assert_code(&get(&almost, &init_at(NOW + two_days - 60, &fresh)).await, 0, 0);
    assert_eq!(kept(), files.len(), "none of them has outlived its time yet");
    almost.stop().await;

    let later = NOW + two_days + 60;
    let mock = VodMock::start_on(config_at(later), DiskStore::open(dir.path()).unwrap()).await.unwrap();
    let mut opened = 0;
    while kept() > 0 && opened < 10 {
        let before = kept();
        let other = vec![7; PART + opened];
        assert_code(&get(&mock, &init_at(later, &other)).await, 0, 0);
        opened += 1;
        assert!(before - kept() <= 16, "one request did the work of {}", before - kept());
    }
    assert_eq!((kept(), opened), (0, 3), "a round over 41 uploads takes three openings");
    let view = mock.upload(Sha1::of(&files[0])).await.unwrap();
    assert_eq!(view.state, vod_mock::UploadState::Gone);
    // The one that is still young is there, and its age is not taken from the sweep.
    assert_eq!(mock.upload(Sha1::of(&fresh)).await.unwrap().state, vod_mock::UploadState::Open);
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
async fn a_vod_mock_is_one_line() {
    let mock = VodMock::start().await;
    assert!(mock.endpoint().starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn a_part_whose_record_is_torn_is_not_listed_and_its_body_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let (log, bodies) = (dir.path().join("sessions.log"), dir.path().join("bodies"));
    let file = file(1);
    let mock = VodMock::start_on(config(), DiskStore::open(dir.path()).unwrap()).await.unwrap();
    get(&mock, &init(&file)).await;
    for index in 0..2 {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
    }
    mock.stop().await;
    let whole = std::fs::read(&log).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for len in last..whole.len() {
        std::fs::write(&log, &whole[..len]).unwrap();
        std::fs::write(bodies.join("2"), &file[PART..]).unwrap();
        let store = DiskStore::open(dir.path()).unwrap();
        let records = store.load().await.unwrap();
        let parts = records.iter().filter(|record| matches!(record, Record::Part { .. })).count();
        assert_eq!((records.len(), parts), (2, 1), "{len} bytes of the log were written");
        assert!(bodies.join("1").exists() && !bodies.join("2").exists());
    }
    let mock = VodMock::start_on(config(), DiskStore::open(dir.path()).unwrap()).await.unwrap();
    assert_eq!(get(&mock, &init(&file)).await["listParts"].as_array().map(Vec::len), Some(1));
    assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
}

#[tokio::test]
async fn digests_hold_bodies_only_while_there_is_a_gap_before_them() {
    let store = DigestStore::new();
    let mock = VodMock::start_on(config(), Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    let file = file(4);
    get(&mock, &init(&file)).await;
    let mut held = Vec::new();
    // In order; again; ahead of a gap, twice; other bytes behind what was hashed; the gap; the end.
    for index in [0, 0, 2, 2, 3] {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
        held.push(store.held() / PART as u64);
    }
    let wrong = vec![9; PART];
    assert_code(&post(&mock, (part_of(&file, 0, &wrong), &wrong)).await, -10003, 0);
    let (target, body) = part(&file, 1);
    assert_code(&post(&mock, (target, &body[1..])).await, -10006, 1);
    held.push(store.held() / PART as u64);
    assert_eq!(held, [0, 0, 1, 1, 2, 2]);
    for index in [1, 4, 4] {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
        assert_eq!(store.held(), 0, "the gap is closed");
    }
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    let small = &file[..1000];
    assert_code(&post(&mock, (whole(small, &[]), small)).await, 0, 0);
    assert_eq!(store.held(), 0, "a small file is hashed as it comes");

    let other = &file[7..];
    get(&mock, &init(other)).await;
    assert_code(&post(&mock, part(other, 1)).await, 0, 0);
    assert!(store.held() > 0);
    mock.stop().await;
    let mock = VodMock::start_on(config(), Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    assert_eq!((mock.uploads().await, store.held()), (vec![], 0), "what nobody knows of is not held");
}

#[tokio::test]
async fn memory_holds_no_body_that_nobody_needs() {
    let store = MemoryStore::with_ceiling(PART as u64);
    let mock = VodMock::start_on(config(), Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    let file = file(2);
    get(&mock, &init(&file)).await;
    for index in [0, 1, 1, 0, 2, 1] {
        assert_code(&post(&mock, part(&file, index)).await, 0, 0);
    }
    // Two parts and a bit, and in the file the gap of a part that was replaced.
    assert!(store.held() < 3 * PART as u64 + 100_000, "{} bytes", store.held());
    let wrong = vec![9; PART];
    assert_code(&post(&mock, (part_of(&file, 0, &wrong), &wrong)).await, 0, 0);
    assert_code(&get(&mock, &finish(&file)).await, -10003, 0);
    assert_eq!(store.held(), 0, "the upload was dropped");
}
