//! Accounts that are a test's own, on a mock that many share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::sync::Barrier;
use vod_mock::{Config, Fault, Phase, Requests, UploadState, Verdict, VodMock};
use vod_proto::{Action, Sha1, exchange::End};

use super::{SMALL, demo_uploads, failure, uploads};

#[tokio::test]
async fn keys_are_drawn_from_the_seed_and_differ_from_account_to_account() {
    let keys = async |seed| {
        let mock = VodMock::start_with(Config { seed, ..Config::default() }).await.unwrap();
        let accounts = [mock.account(), mock.account()];
        accounts.map(|account| [account.secret_id(), account.secret_key(), account.verify_key()].map(str::to_owned))
    };
    let (first, again, other) = (keys(1).await, keys(1).await, keys(2).await);
    assert_eq!(first, again);
    let mut all: Vec<_> = first.into_iter().chain(other).flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 12, "{all:?}");
}

#[tokio::test]
async fn an_account_can_have_a_name_and_limits_and_no_keys_but_its_own() {
    let mock = VodMock::start().await;
    let _taken = mock.account_with(|account| account.name = "account-2".to_owned());
    let next = mock.account();
    assert_eq!(next.name(), "account-3", "the name that was next was taken");
    let limits = vod_proto::Limits { file_name_max: 3, ..vod_proto::Limits::default() };
    let strict = mock.account_with(|account| account.limits = Some(limits.clone()));
    let refused = uploads(&strict, SMALL).await.unwrap_err();
    assert!(refused.contains("-10003"), "{refused}");
    let twice = failure(|| drop(mock.account_with(|account| account.name = "demo".to_owned())));
    assert_eq!(twice, "two accounts are named \"demo\"\n");
    let keyed = failure(|| drop(mock.account_with(|account| account.secret_id = "mine".to_owned())));
    assert!(keyed.starts_with("the keys of a test's account are drawn"), "{keyed}");
}

#[tokio::test]
async fn everything_of_an_account_is_its_own() {
    let mock = VodMock::start().await;
    let (one, other) = (mock.account(), mock.account());
    let fault = one.fault(Fault::on(Action::InitUpload).times(1).before_read(Verdict::http(503)));
    let own = one.expect_here(Requests::any(), 4);
    uploads(&one, SMALL).await.unwrap();
    uploads(&other, SMALL).await.unwrap();
    drop(own);
    assert_eq!((fault.struck(), fault.exchanges().len(), one.exchanges().len(), other.exchanges().len()), (1, 1, 4, 3));
    assert_eq!((one.fates().len(), other.fates().len(), mock.fates().len()), (1, 0, 0));
    let sha1 = Sha1::of(SMALL);
    assert_eq!(mock.uploads().await.len(), 2);
    assert_eq!(one.upload(sha1).await.map(|upload| upload.account).as_deref(), Some(one.name()));
    drop(fault);
    one.reset().await;
    assert_eq!((one.upload(sha1).await, one.exchanges().len()), (None, 0));
    assert_eq!(other.upload(sha1).await.map(|upload| upload.state), Some(UploadState::Stored));
    assert_eq!(other.exchanges().acknowledged().len(), 3);
}

#[tokio::test]
async fn the_clock_of_an_account_moves_alone_and_that_of_a_mock_moves_all() {
    let mock = VodMock::start().await;
    let accounts = [mock.account(), mock.account(), mock.account()];
    let lost = accounts
        .each_ref()
        .map(|account| account.fault(Fault::on(Action::FinishUpload).times(3).before_read(Verdict::Close)));
    for account in &accounts {
        uploads(account, SMALL).await.unwrap_err();
    }
    let states = async || {
        let states = accounts.each_ref().map(|account| account.upload(Sha1::of(SMALL)));
        join_all(states).await.into_iter().map(|upload| upload.unwrap().state).collect::<Vec<_>>()
    };
    use UploadState::{Gone, Open};
    assert_eq!(states().await, [Open, Open, Open]);
    accounts[1].advance(Duration::from_secs(49 * 3600)).await;
    assert_eq!(states().await, [Open, Gone, Open]);
    mock.advance(Duration::from_secs(49 * 3600)).await;
    assert_eq!(states().await, [Gone, Gone, Gone]);
    drop(lost);
}

#[tokio::test]
async fn an_account_is_removed_with_the_last_that_belongs_to_it() {
    let mock = VodMock::start().await;
    let account = mock.account();
    let (secret_id, secret_key) = (account.secret_id().to_owned(), account.secret_key().to_owned());
    let again = async || crate::uploader::upload(mock.endpoint(), &secret_id, &secret_key, SMALL).await;
    again().await.unwrap();
    let fault = account.fault(Fault::on_any().times(1).before_read(Verdict::Close));
    drop(account);
    again().await.unwrap();
    assert_eq!(fault.struck(), 1, "the guard keeps the account");
    assert_eq!(mock.uploads().await.len(), 1);
    drop(fault);
    let refused = again().await.unwrap_err();
    assert!(refused.contains("-10002"), "{refused}");
    assert_eq!((mock.uploads().await.len(), mock.fates().len()), (0, 0));
    assert!(mock.exchanges().iter().all(|exchange| exchange.account.is_none()), "{:?}", mock.exchanges());
    let heir = mock.account_with(|account| account.name = "account-1".to_owned());
    assert!(heir.exchanges().is_empty() && heir.uploads().await.is_empty());
}

#[tokio::test]
async fn an_account_that_is_dropped_while_a_request_is_under_way_takes_it_along() {
    let mock = VodMock::start().await;
    let account = mock.account();
    // The mock's, not the account's: it holds on when the account is gone.
    let late = Fault::on(Action::FinishUpload).account(account.name()).before_read(Verdict::hold("late"));
    let late = mock.fault(late);
    let (endpoint, id, key) =
        (mock.endpoint().to_owned(), account.secret_id().to_owned(), account.secret_key().to_owned());
    let uploading = tokio::spawn(async move { crate::uploader::upload(&endpoint, &id, &key, SMALL).await });
    late.until_held(1).await;
    drop(account);
    let refused = uploading.await.unwrap().unwrap_err();
    assert!(refused.contains("-10002"), "cut off, and then refused: {refused}");
    drop(late);
    assert_eq!(mock.uploads().await, []);
    demo_uploads(&mock, SMALL).await.unwrap();
}

/// 200 accounts on one mock upload at once, each with faults of its own that strike it alone, and each with evidence and
/// expectations that no other meets or breaks.
async fn two_hundred(mock: Arc<VodMock>) {
    let together = Arc::new(Barrier::new(200));
    let tests = (0..200_usize).map(|n| {
        let (mock, together) = (Arc::clone(&mock), Arc::clone(&together));
        tokio::spawn(async move {
            let account = mock.account();
            // Every account meets another fault, at another request, in another way.
            let action = [Action::InitUpload, Action::UploadPart, Action::FinishUpload][n % 3];
            let verdict = [Verdict::Reset, Verdict::Close, Verdict::http(503), Verdict::reply(-10004)][n % 4].clone();
            let end = [Some(End::Reset), Some(End::Closed), None, None][n % 4];
            let on = Fault::on(action).attempt(1);
            let fault = account.fault(if n % 2 == 0 { on.before_read(verdict) } else { on.before_commit(verdict) });
            account.expect(Requests::any().not_acknowledged().struck_by(fault.id()), 1);
            account.expect(Requests::any().acknowledged(), 3);
            account.expect(Requests::any(), 4);
            // One in ten expects what does not come: it alone is told, and of itself alone.
            let late = account.expect_here(Requests::of(action).attempt(3), u64::from(n % 10 == 0));
            let (name, others) = (account.name().to_owned(), Arc::new(AtomicU64::new(0)));
            let strangers = Arc::clone(&others);
            let watch = account.fault_fn(Fault::on_any(), Phase::AfterCommit, move |subject, _| {
                strangers.fetch_add(u64::from(subject.account.as_deref() != Some(&name)), Ordering::SeqCst);
                (subject.account.as_deref() == Some(&name)).then(|| Verdict::delay(Duration::from_millis(1)))
            });
            together.wait().await;
            // All are planted now, and as many files are the same as there are different ones.
            let file = format!("the file of account {}", n / 2).into_bytes();
            let uploaded = uploads(&account, &file).await;
            // Only then may one fail: all others wait for it here.
            together.wait().await;
            uploaded.unwrap();
            assert_eq!((fault.struck(), watch.struck(), others.load(Ordering::SeqCst)), (1, 3, 0));
            let seen = account.exchanges();
            assert!(seen.iter().all(|exchange| exchange.account.as_deref() == Some(account.name())), "{seen:?}");
            assert_eq!((seen.len(), seen.struck_by(watch.id()).len()), (4, 3));
            match n % 10 {
                0 => {
                    let told = failure(|| drop(late));
                    assert!(told.starts_with(&format!("not met: 1 of 1 expectations of account {}\n", account.name())));
                    assert!(told.contains("0 of 4 requests since then fitted; the nearest:"), "{told}");
                }
                _ => drop(late),
            }
            let struck = fault.exchanges().one();
            assert_eq!((struck.known_action(), struck.end), (Some(action), end.unwrap_or(End::Replied)));
            assert_eq!(account.uploads().await.len(), 1);
            account.advance(Duration::from_secs(60)).await;
        })
    });
    for test in join_all(tests).await {
        test.unwrap();
    }
    assert_eq!((mock.exchanges().len(), mock.uploads().await.len(), mock.fates().len()), (0, 0, 0), "all are removed");
}

#[tokio::test]
async fn two_hundred_accounts_keep_apart_on_one_thread() {
    two_hundred(Arc::new(VodMock::start().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_accounts_keep_apart_on_many_threads() {
    two_hundred(Arc::new(VodMock::start().await)).await;
}
