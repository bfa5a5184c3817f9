//! Exchanges, narrowed down.

use expect_test::{Expect, expect};
use vod_mock::{Exchanges, Fault, Requests, Verdict, VodMock};
use vod_proto::{Action, Sha1, exchange::End};

use super::{SMALL, asks, demo_uploads, failure, uploads};

/// There is not one exchange of these, and the failure says this.
#[track_caller]
fn check(exchanges: &Exchanges, expected: Expect) {
    expected.assert_eq(&failure(|| drop(exchanges.one())));
}

/// Two parts, of which the second is lost once and answered with another code once; then a finish whose reply is cut.
async fn eventful(mock: &VodMock) -> Vec<u8> {
    let file = vec![7; 524_288 + 100];
    let second = || Fault::on(Action::UploadPart).part(2);
    let faults = [
        mock.fault(second().attempt(1).named("lost").before_commit(Verdict::Reset)),
        mock.fault(second().attempt(2).named("no").after_commit(Verdict::reply(-10004))),
        mock.fault(Fault::on(Action::FinishUpload).attempt(1).named("cut").mid_reply(3, Verdict::Close)),
    ];
    demo_uploads(mock, &file).await.unwrap();
    drop(faults);
    file
}

#[tokio::test]
async fn exchanges_are_narrowed_down_by_everything_that_is_known_of_them() {
    let mock = VodMock::start().await;
    let account = mock.account();
    let file = eventful(&mock).await;
    uploads(&account, SMALL).await.unwrap();
    let all = mock.exchanges();
    let seqs = |exchanges: Exchanges| exchanges.iter().map(|exchange| exchange.seq).collect::<Vec<_>>();
    // 1 init, 2 part 1, 3 to 5 part 2, 6 and 7 finish; 8 to 10 the other account's.
    for (exchanges, expected) in [
        (all.clone(), (1..=10).collect::<Vec<_>>()),
        (all.action(Action::UploadPart), vec![2, 3, 4, 5, 9]),
        (all.part(2), vec![3, 4, 5]),
        (all.offset(524_288), vec![3, 4, 5]),
        (all.offset(0), vec![2, 9]),
        (all.attempt(2), vec![4, 7]),
        (all.account("demo").attempt(3), vec![5]),
        (all.account(account.name()), vec![8, 9, 10]),
        (all.file(Sha1::of(&file)).action(Action::FinishUpload), vec![6, 7]),
        (all.acknowledged(), vec![1, 2, 5, 7, 8, 9, 10]),
        (all.not_acknowledged(), vec![3, 4, 6]),
        (all.ended(End::Reset), vec![3]),
        (all.ended(End::Closed), vec![6]),
        (all.code(-10004), vec![4]),
        (all.status(200), vec![1, 2, 4, 5, 6, 7, 8, 9, 10]),
        (all.struck_by("lost"), vec![3]),
        (all.after(&all[4]), vec![6, 7, 8, 9, 10]),
        (all.before(&all[4]), vec![1, 2, 3, 4]),
        (all.after_last(Requests::any().part(2).acknowledged()).account("demo"), vec![6, 7]),
        (all.after_last(Requests::any().code(4711)), vec![]),
        (all.that("without a body", |exchange| exchange.request.body.len == 0).account("demo"), vec![1, 6, 7]),
        (all.matching(&Requests::of(Action::UploadPart).acknowledged()), vec![2, 5, 9]),
        (account.exchanges(), vec![8, 9, 10]),
    ] {
        let shown = format!("{exchanges:?}");
        assert_eq!(seqs(exchanges), expected, "{shown}");
    }
    assert_eq!(all.acknowledged().action(Action::FinishUpload).account("demo").one().seq, 7);
}

#[tokio::test]
async fn a_finish_is_seen_to_come_after_the_last_acknowledged_part() {
    let mock = VodMock::start().await;
    eventful(&mock).await;
    let parts = mock.exchanges().action(Action::UploadPart).acknowledged();
    let finishes = mock.exchanges().action(Action::FinishUpload);
    assert_eq!(finishes.after(parts.last().unwrap()).len(), finishes.len());
    assert_eq!(finishes.before(&parts[0]).len(), 0);
}

#[tokio::test]
async fn what_came_while_another_was_under_way_is_neither_before_nor_after_it() {
    let mock = VodMock::start().await;
    let door = mock.fault(Fault::on(Action::FinishUpload).after_commit(Verdict::hold("door")));
    let handle = mock.clone();
    let held = tokio::spawn(async move { demo_uploads(&handle, SMALL).await });
    door.until_held(1).await;
    asks(&mock, Action::InitUpload).await.unwrap_err();
    mock.release("door");
    held.await.unwrap().unwrap();
    let (finish, meanwhile) = (mock.exchanges().action(Action::FinishUpload).one(), mock.exchanges().attempt(4).one());
    assert!(meanwhile.seq > finish.seq, "{:?}", mock.exchanges());
    assert_eq!(mock.exchanges().after(&finish).len(), 0);
    assert_eq!(mock.exchanges().before(&meanwhile).action(Action::FinishUpload).len(), 0);
    assert_eq!(mock.exchanges().after_last(Requests::of(Action::FinishUpload)).len(), 0);
}

#[tokio::test]
async fn the_one_that_is_not_there_or_not_alone_is_told_with_what_came() {
    let mock = VodMock::start().await;
    check(
        &mock.exchanges(),
        expect![[r#"
        expected one exchange: any request
        none of 0 is
    "#]],
    );
    eventful(&mock).await;
    let all = mock.exchanges();
    check(
        &all.action(Action::FinishUpload),
        expect![[r#"
            expected one exchange: FinishUpload
            2 of 7 are
              #6 FinishUpload, attempt 1, account demo: code 0, closed, struck by cut (mid-reply: close)
              #7 FinishUpload, attempt 2, account demo: code 0
        "#]],
    );
    check(
        &all.action(Action::UploadPart).part(2).attempt(4).acknowledged(),
        expect![[r#"
            expected one exchange: UploadPart, part 2, attempt 4, acknowledged
            none of 7 is; the nearest:
              #5 UploadPart part 2 (524288+100), attempt 3, account demo: code 0
                  attempt is 3, expected 4
              #4 UploadPart part 2 (524288+100), attempt 2, account demo: code -10004, struck by no (after-commit: reply)
                  attempt is 2, expected 4
                  it was not acknowledged: injected
              #3 UploadPart part 2 (524288+100), attempt 1, account demo: no reply, reset, struck by lost (before-commit: reset)
                  attempt is 1, expected 4
                  it was not acknowledged
        "#]],
    );
    check(
        &all.action(Action::FinishUpload).code(-10003).struck_by("lost"),
        expect![[r#"
            expected one exchange: FinishUpload, code -10003, struck by lost
            none of 7 is; the nearest:
              #7 FinishUpload, attempt 2, account demo: code 0
                  code is 0, expected -10003
                  the fault "lost" did not strike it
              #6 FinishUpload, attempt 1, account demo: code 0, closed, struck by cut (mid-reply: close)
                  code is 0, expected -10003
                  the fault "lost" did not strike it
        "#]],
    );
    check(
        &all.account("nobody").that("by candle light", |_| false),
        expect![[r#"
            expected one exchange: any request, account nobody, by candle light
            none of 7 is; the nearest:
              #7 FinishUpload, attempt 2, account demo: code 0
                  account is demo, expected nobody
                  it is not by candle light
              #6 FinishUpload, attempt 1, account demo: code 0, closed, struck by cut (mid-reply: close)
                  account is demo, expected nobody
                  it is not by candle light
              #5 UploadPart part 2 (524288+100), attempt 3, account demo: code 0
                  account is demo, expected nobody
                  it is not by candle light
        "#]],
    );
    check(
        &all.action(Action::InitUpload).after(&all[1]).ended(End::Killed).status(503),
        expect![[r#"
            expected one exchange: InitUpload, after request 2, ended as killed, status 503
            none of 7 is; the nearest:
              #1 InitUpload, attempt 1, account demo: code 0
                  it came before request 2 was over
                  it ended as replied, expected killed
                  status is 200, expected 503
        "#]],
    );
    check(
        &all.offset(9).file(Sha1::of(b"other")).before(&all[0]),
        expect![[r#"
            expected one exchange: any request, offset 9, fileSha d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2, before request 1
            none of 7 is; the nearest:
              #7 FinishUpload, attempt 2, account demo: code 0
                  it has no offset, expected 9
                  fileSha is 5a9b4c7f36e391b6642acf932103cd2c500d7083, expected d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2
                  it was not over when request 1 came
              #6 FinishUpload, attempt 1, account demo: code 0, closed, struck by cut (mid-reply: close)
                  it has no offset, expected 9
                  fileSha is 5a9b4c7f36e391b6642acf932103cd2c500d7083, expected d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2
                  it was not over when request 1 came
              #5 UploadPart part 2 (524288+100), attempt 3, account demo: code 0
                  offset is 524288, expected 9
                  fileSha is 5a9b4c7f36e391b6642acf932103cd2c500d7083, expected d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2
                  it was not over when request 1 came
        "#]],
    );
}

#[tokio::test]
async fn a_long_list_is_cut() {
    let mock = VodMock::start().await;
    for _ in 0..4 {
        asks(&mock, Action::FinishUpload).await.unwrap_err();
    }
    check(
        &mock.exchanges(),
        expect![[r#"
            expected one exchange: any request
            12 of 12 are
              #1 FinishUpload, attempt 1, account demo: code -10005
              #2 FinishUpload, attempt 2, account demo: code -10005
              #3 FinishUpload, attempt 3, account demo: code -10005
              #4 FinishUpload, attempt 4, account demo: code -10005
              #5 FinishUpload, attempt 5, account demo: code -10005
              #6 FinishUpload, attempt 6, account demo: code -10005
              #7 FinishUpload, attempt 7, account demo: code -10005
              #8 FinishUpload, attempt 8, account demo: code -10005
              #9 FinishUpload, attempt 9, account demo: code -10005
              #10 FinishUpload, attempt 10, account demo: code -10005
              and 2 more
        "#]],
    );
}
