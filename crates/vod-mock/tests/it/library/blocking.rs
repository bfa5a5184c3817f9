//! The blocking wrapper, in tests that are not asynchronous and in some that are.

use std::time::Duration;

use vod_mock::{
    Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, Fault, MemoryStore, Phase, Requests, UploadState, Verdict,
    blocking::{Scope, VodMock},
};
use vod_proto::{Action, Sha1, lint::Findings};

use super::{SMALL, failure};
use crate::uploader::upload;

/// Uploads with a client that blocks: it has a runtime of its own inside.
fn uploads(mock: &Scope, secret_id: &str, secret_key: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(upload(mock.endpoint(), secret_id, secret_key, SMALL))
}

fn demo_uploads(mock: &Scope) -> Result<String, String> {
    uploads(mock, DEMO_SECRET_ID, DEMO_SECRET_KEY)
}

#[test]
fn a_plain_test_has_all_of_it_without_a_runtime() {
    let mock = VodMock::start();
    let account = mock.account_with(|account| account.name = "alice".to_owned());
    let fault = account.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::Reset));
    let decided = account.fault_fn(Fault::on(Action::FinishUpload), Phase::BeforeRead, |_, attempt| {
        (attempt == 1).then_some(Verdict::Close)
    });
    let planned = account.plan("[[fault]]\nid = \"p\"\non.times = 1\nphase = \"mid-reply\"\ndo = \"close\"\n");
    account.expect(Requests::any().acknowledged(), 3);
    let here = account.expect_here(Requests::of(Action::UploadPart), 1..);
    uploads(&account, account.secret_id(), account.secret_key()).unwrap();
    here.until_met();
    fault.until_struck();
    decided.until_struck_times(1);
    account.until_seen(Requests::of(Action::FinishUpload), 2);
    assert_eq!([fault.struck(), decided.lift().struck, planned[0].struck()], [1, 1, 1]);
    assert_eq!(account.upload(Sha1::of(SMALL)).map(|upload| upload.state), Some(UploadState::Stored));
    assert_eq!((account.uploads().len(), mock.uploads().len(), account.name()), (1, 1, "alice"));
    assert!(account.verify_key().len() == 40 && matches!(mock.findings(), Findings { .. }));
    account.advance(Duration::from_secs(3600));
    drop((here, fault, planned));
    account.reset();
    assert!(account.uploads().is_empty() && account.exchanges().is_empty());
    mock.stop();
}

#[test]
fn what_is_held_is_waited_for_and_released() {
    let mock = VodMock::start();
    let door = mock.fault(Fault::on(Action::FinishUpload).after_commit(Verdict::hold("door")));
    let handle = Scope::clone(&mock);
    let uploading = std::thread::spawn(move || demo_uploads(&handle));
    door.until_held(1);
    assert_eq!(mock.release("door"), 1);
    uploading.join().unwrap().unwrap();
}

#[test]
fn what_is_not_met_fails_a_plain_test_too() {
    let mock = VodMock::start_with(Config::default()).unwrap();
    let unused = failure(|| drop(mock.fault(Fault::on_any().before_read(Verdict::Close))));
    assert!(unused.starts_with("the fault \"before-read-close\" never struck\n"), "{unused}");
    drop(mock.fault(Fault::on_any().before_read(Verdict::Close)).may_stay_unused());
    mock.expect(Requests::any(), 1..);
    assert!(failure(|| drop(mock)).starts_with("not met: 1 of 1 expectations of the mock\n"));
    let secure = VodMock::start_tls();
    assert!(secure.endpoint().starts_with("https://") && secure.ca_pem().is_some());
}

#[tokio::test]
async fn it_works_and_goes_away_within_a_runtime_as_well() {
    let mock = VodMock::start_on(Config::default(), MemoryStore::new()).unwrap();
    let account = mock.account();
    upload(mock.endpoint(), account.secret_id(), account.secret_key(), SMALL).await.unwrap();
    assert_eq!(account.uploads().len(), 1);
    drop(account);
    assert!(mock.uploads().is_empty());
    drop(mock);
    VodMock::start().stop();
}

#[tokio::test(start_paused = true)]
async fn a_paused_runtime_neither_stops_it_nor_lends_it_its_clock() {
    let mock = VodMock::start();
    tokio::time::advance(Duration::from_secs(3600)).await;
    // By the paused clock this would be planted in an hour.
    let fault = Fault::on(Action::InitUpload).attempt(1).after(Duration::from_nanos(1));
    let fault = mock.fault(fault.before_read(Verdict::delay(Duration::from_millis(5))));
    let handle = Scope::clone(&mock);
    std::thread::spawn(move || demo_uploads(&handle)).join().unwrap().unwrap();
    fault.until_struck();
}
