//! What a store is told and asked.

use vod_mock::{DiskStore, VodMock};

use crate::wire::{NOW, PART, assert_code, config, config_at, file, get, init, init_at, part, post};

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
    let view = mock.upload(vod_proto::Sha1::of(&files[0])).await.unwrap();
    assert_eq!(view.state, vod_mock::UploadState::Gone);
    // The one that is still young is there, and its age is not taken from the sweep.
    assert_eq!(mock.upload(vod_proto::Sha1::of(&fresh)).await.unwrap().state, vod_mock::UploadState::Open);
}
