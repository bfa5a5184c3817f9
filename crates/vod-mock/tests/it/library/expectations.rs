//! What is expected, and whether it came.

use expect_test::expect;
use vod_mock::{Config, Fault, Requests, Times, Verdict, VodMock};
use vod_proto::Action;
use vod_serve::Journal;

use super::{SMALL, asks, demo_uploads, failure, later_failure, uploads};

#[tokio::test]
async fn counts_are_exact_or_bounded_on_either_side() {
    let mock = VodMock::start().await;
    let part = || Requests::of(Action::UploadPart);
    let met: [Times; 7] =
        [1.into(), (1..=2).into(), (0..2).into(), (1..).into(), (..=1).into(), (..2).into(), (0..).into()];
    let unmet: [Times; 6] = [0.into(), 2.into(), (2..=3).into(), (2..5).into(), (2..).into(), (..1).into()];
    let met = met.map(|times| mock.expect_here(part(), times));
    let unmet = unmet.map(|times| mock.expect_here(part(), times));
    demo_uploads(&mock, SMALL).await.unwrap();
    drop(met);
    let said: String = unmet.into_iter().map(|expected| failure(|| drop(expected))).collect();
    let lines = said.lines().filter(|line| line.starts_with("expected"));
    expect![[r#"
        expected no request of: UploadPart
        expected exactly 2 of: UploadPart
        expected 2 to 3 of: UploadPart
        expected 2 to 4 of: UploadPart
        expected at least 2 of: UploadPart
        expected no request of: UploadPart
    "#]]
    .assert_eq(&lines.map(|line| format!("{line}\n")).collect::<String>());
}

#[tokio::test]
async fn what_did_not_come_is_told_with_the_nearest_that_came_and_what_came_too_often_with_all_of_it() {
    let mock = VodMock::start().await;
    let early = mock.expect_here(Requests::of(Action::FinishUpload).attempt(4).acknowledged(), 1);
    let never = mock.expect_here(Requests::of(Action::FinishUpload).not_acknowledged(), ..=1);
    let more = mock.expect_here(Requests::of(Action::FinishUpload).attempt(1), 3);
    let parts = mock.expect_here(Requests::of(Action::UploadPart), 2);
    asks(&mock, Action::FinishUpload).await.unwrap_err();
    demo_uploads(&mock, b"another file").await.unwrap();
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 1 of: FinishUpload, attempt 4, acknowledged
          said at expectations.rs
          0 of 6 requests since then fitted; the nearest:
          #6 FinishUpload, attempt 1, account demo: code 0
              attempt is 1, expected 4
          #3 FinishUpload, attempt 3, account demo: code -10005
              attempt is 3, expected 4
              it was not acknowledged: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
          #2 FinishUpload, attempt 2, account demo: code -10005
              attempt is 2, expected 4
              it was not acknowledged: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
    "#]]
    .assert_eq(&failure(|| drop(early)));
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected at most 1 of: FinishUpload, not acknowledged
          said at expectations.rs
          3 of 6 requests since then fitted:
          #1 FinishUpload, attempt 1, account demo: code -10005
          #2 FinishUpload, attempt 2, account demo: code -10005
          #3 FinishUpload, attempt 3, account demo: code -10005
    "#]]
    .assert_eq(&failure(|| drop(never)));
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 3 of: FinishUpload, attempt 1
          said at expectations.rs
          2 of 6 requests since then fitted:
          #1 FinishUpload, attempt 1, account demo: code -10005
          #6 FinishUpload, attempt 1, account demo: code 0
          and did not fit:
          #3 FinishUpload, attempt 3, account demo: code -10005
              attempt is 3, expected 1
          #2 FinishUpload, attempt 2, account demo: code -10005
              attempt is 2, expected 1
    "#]]
    .assert_eq(&failure(|| drop(more)));
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 2 of: UploadPart
          said at expectations.rs
          1 of 6 requests since then fitted:
          #5 UploadPart part 1 (0+12), attempt 1, account demo: code 0
    "#]]
    .assert_eq(&failure(|| drop(parts)));
}

#[tokio::test]
async fn order_is_expected_like_everything_else() {
    let mock = VodMock::start().await;
    let kept = || Requests::of(Action::UploadPart).acknowledged();
    let finish = || Requests::of(Action::FinishUpload);
    let behind = mock.expect_here(finish().after_last(kept()), 1);
    let all_behind = mock.expect_here(finish(), 1);
    let before = mock.expect_here(Requests::of(Action::InitUpload).after_last(kept()), 1);
    let none = mock.expect_here(finish().after_last(kept().part(9)), 1);
    demo_uploads(&mock, SMALL).await.unwrap();
    drop((behind, all_behind));
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 1 of: InitUpload, after the last of (UploadPart, acknowledged)
          said at expectations.rs
          0 of 3 requests since then fitted; the nearest:
          #1 InitUpload, attempt 1, account demo: code 0
              it came before request 2 was over
    "#]]
    .assert_eq(&failure(|| drop(before)));
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 1 of: FinishUpload, after the last of (UploadPart, acknowledged, part 9)
          said at expectations.rs
          0 of 3 requests since then fitted; the nearest:
          #3 FinishUpload, attempt 1, account demo: code 0
              none came of (UploadPart, acknowledged, part 9)
    "#]]
    .assert_eq(&failure(|| drop(none)));
}

#[tokio::test]
async fn only_what_comes_from_then_on_is_meant() {
    let mock = VodMock::start().await;
    demo_uploads(&mock, SMALL).await.unwrap();
    mock.expect(Requests::of(Action::UploadPart), 0);
    let exists = mock.expect_here(Requests::of(Action::InitUpload).code(2), 1);
    // The file is there already: its parts are sent in vain, and those count.
    asks(&mock, Action::FinishUpload).await.unwrap();
    mock.verify();
    let unmet = failure(|| drop(exists));
    assert!(unmet.contains("\n  0 of 1 requests since then fitted; the nearest:\n"), "{unmet}");
}

#[tokio::test]
async fn it_is_checked_when_asked_and_again_when_mock_or_account_is_dropped() {
    let mock = VodMock::start().await;
    let account = mock.account();
    mock.expect(Requests::of(Action::InitUpload), ..=1);
    account.expect(Requests::of(Action::FinishUpload).acknowledged(), 1);
    let unmet = failure(|| account.verify());
    assert!(unmet.starts_with("not met: 1 of 1 expectations of account account-1\n"), "{unmet}");
    uploads(&account, SMALL).await.unwrap();
    account.verify();
    mock.verify();
    demo_uploads(&mock, SMALL).await.unwrap();
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected at most 1 of: InitUpload
          said at expectations.rs
          2 of 6 requests since then fitted:
          #1 InitUpload, attempt 1, account account-1: code 0
          #4 InitUpload, attempt 1, account demo: code 0
    "#]]
    .assert_eq(&failure(|| drop(mock)));
    drop(account);
    let mock = VodMock::start().await;
    let account = mock.account();
    account.expect(Requests::any(), 1..);
    expect![[r#"
        not met: 1 of 1 expectations of account account-1
        expected at least 1 of: any request
          said at expectations.rs
          0 of 0 requests since then fitted
    "#]]
    .assert_eq(&failure(|| drop(account)));
}

#[tokio::test]
async fn what_an_account_takes_with_it_makes_it_inconclusive_for_the_mock() {
    let mock = VodMock::start().await;
    mock.expect(Requests::of(Action::SmallFileUpload), 0);
    drop(mock.account());
    mock.verify();
    let account = mock.account();
    uploads(&account, SMALL).await.unwrap();
    mock.verify();
    drop(account);
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected no request of: SmallFileUpload
          said at expectations.rs
          0 of 0 requests since then fitted
          inconclusive: the exchanges of accounts that were reset or removed meanwhile are forgotten
    "#]]
    .assert_eq(&failure(|| mock.verify()));
    let account = mock.account();
    account.expect(Requests::any(), 3);
    uploads(&account, SMALL).await.unwrap();
    let reset = later_failure(mock.reset()).await;
    assert!(reset.contains("forgotten"), "{reset}");
    mock.reset().await;
    let unmet = failure(|| drop(account));
    assert!(unmet.contains("inconclusive: the exchanges of accounts that were reset"), "{unmet}");
}

#[tokio::test]
async fn what_one_account_expects_no_other_can_meet_or_break() {
    let mock = VodMock::start().await;
    let (one, other) = (mock.account(), mock.account());
    one.expect(Requests::any(), 0);
    other.expect(Requests::of(Action::FinishUpload), 1);
    uploads(&other, SMALL).await.unwrap();
    drop(one);
    drop(other);
}

#[tokio::test]
async fn evicted_evidence_makes_it_inconclusive_unless_what_is_left_settles_it() {
    // Room for some three exchanges.
    let journal = Journal::builder(1).ceiling(3_600).memory();
    let mock = VodMock::start_with(Config { journal, ..Config::default() }).await.unwrap();
    let finish = || Requests::of(Action::FinishUpload);
    let settled = [mock.expect_here(finish(), 1..), mock.expect_here(Requests::any(), 1..)];
    let too_many = mock.expect_here(finish(), ..=1);
    let exact = mock.expect_here(finish(), 30);
    let never = mock.expect_here(Requests::of(Action::SmallFileUpload), 0);
    let order = mock.expect_here(finish().after_last(Requests::of(Action::InitUpload)), 1..);
    asks(&mock, Action::InitUpload).await.unwrap_err();
    for _ in 0..9 {
        asks(&mock, Action::FinishUpload).await.unwrap_err();
    }
    assert!(mock.exchanges().evicted() > 20, "{:?}", mock.exchanges());
    drop(settled);
    let inconclusive = "\n  inconclusive: ";
    let told = [too_many, exact, never, order].map(|expected| failure(|| drop(expected)));
    assert_eq!(told.each_ref().map(|told| told.contains(inconclusive)), [false, true, true, true], "{told:#?}");
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected no request of: SmallFileUpload
          said at expectations.rs
          0 of 3 requests since then fitted
          inconclusive: 27 exchanges were evicted from memory
    "#]]
    .assert_eq(&told[2]);
    let late = mock.expect_here(finish(), 2);
    let one = failure(|| drop(mock.exchanges().attempt(1).one()));
    assert!(one.ends_with("were evicted from memory: this is inconclusive\n"), "{one}");
    drop(late.until_met());
    asks(&mock, Action::Report).await.unwrap();
    let late = failure(|| drop(late));
    assert!(!late.contains(inconclusive), "what was evicted came before: {late}");
}

#[tokio::test]
async fn what_nothing_could_meet_is_refused_where_it_is_said() {
    let mock = VodMock::start().await;
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let impossible: [Times; 3] = [(3..=2).into(), (3..3).into(), (..0).into()];
    for times in impossible {
        let refused = failure(|| mock.expect(Requests::any(), times));
        assert!(refused.ends_with(": nothing could meet that\n"), "{refused}");
    }
}

#[tokio::test]
async fn what_is_expected_can_be_waited_for() {
    let mock = VodMock::start().await;
    let finished = mock.expect_here(Requests::of(Action::FinishUpload).acknowledged(), 2);
    let handle = mock.clone();
    let uploading = tokio::spawn(async move {
        demo_uploads(&handle, SMALL).await.unwrap();
        demo_uploads(&handle, b"and another").await.unwrap();
    });
    finished.until_met().await;
    mock.until_seen(Requests::of(Action::UploadPart), 2).await;
    uploading.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_in_vain_is_told_with_what_came() {
    let mock = VodMock::start().await;
    let fault = mock.fault(Fault::on(Action::InitUpload).before_read(Verdict::stall_forever()));
    let handle = mock.clone();
    let stalled = tokio::spawn(async move { asks(&handle, Action::InitUpload).await });
    fault.until_struck().await;
    let waited = later_failure(mock.until_seen(Requests::of(Action::InitUpload).acknowledged(), 1)).await;
    expect![[r#"
        waited up to 30s at expectations.rs
        expected at least 1 of: InitUpload, acknowledged
          said at expectations.rs
          0 of 1 requests since then fitted; the nearest:
          #1 InitUpload, attempt 1, account demo: no reply, timeout, struck by init-upload-before-read-stall (before-read: stall)
              it was not acknowledged
    "#]].assert_eq(&waited);
    stalled.abort();
}

#[tokio::test]
async fn a_reset_ends_what_was_expected_and_checks_it_first() {
    let mock = VodMock::start().await;
    let account = mock.account();
    account.expect(Requests::of(Action::FinishUpload), 1);
    let unmet = later_failure(account.reset()).await;
    assert!(unmet.starts_with("not met: 1 of 1 expectations of account account-1\n"), "{unmet}");
    account.expect(Requests::of(Action::FinishUpload), 1);
    uploads(&account, SMALL).await.unwrap();
    account.reset().await;
    assert!(account.exchanges().is_empty() && account.uploads().await.is_empty());
}
