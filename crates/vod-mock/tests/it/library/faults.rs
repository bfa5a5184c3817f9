//! Faults that are planted for as long as a test wants them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use expect_test::{Expect, expect};
use vod_mock::{Config, Fault, Phase, PlantedFault, Requests, Verdict, VodMock};
use vod_proto::{Action, exchange::End};

use super::{SMALL, asks, demo_uploads, failure, later_failure, uploads};

/// Dropping this fault fails the test, and says this.
#[track_caller]
fn check(fault: PlantedFault, expected: Expect) {
    expected.assert_eq(&failure(|| drop(fault)));
}

fn busy() -> Fault {
    Fault::on(Action::InitUpload).before_read(Verdict::http(503))
}

#[tokio::test]
async fn a_fault_strikes_for_as_long_as_its_guard_lives() {
    let mock = VodMock::start().await;
    {
        let fault = mock.fault(busy());
        assert_eq!((fault.id(), fault.struck()), ("init-upload-before-read-http", 0));
        demo_uploads(&mock, SMALL).await.unwrap_err();
        assert_eq!(fault.struck(), 3, "every attempt");
        assert_eq!(fault.exchanges().status(503).len(), 3);
    }
    assert_eq!(mock.fates(), [], "nothing of it is left");
    demo_uploads(&mock, SMALL).await.unwrap();
    assert_eq!(mock.exchanges().action(Action::InitUpload).last().unwrap().attempt, 4);
}

#[tokio::test]
async fn the_accounts_own_fault_goes_first_and_then_what_was_planted_first() {
    let mock = VodMock::start().await;
    let account = mock.account();
    let status = |status| Fault::on(Action::InitUpload).named(format!("s{status}")).before_read(Verdict::http(status));
    let mut planted = vec![account.fault(status(500)), mock.fault(status(501)), mock.fault(status(502))];
    for expected in [500, 501, 502] {
        uploads(&account, SMALL).await.unwrap_err();
        let last = account.exchanges().into_iter().next_back().unwrap();
        assert_eq!(last.reply.as_ref().unwrap().status, expected);
        assert_eq!(planted.remove(0).lift().struck, 3);
    }
    uploads(&account, SMALL).await.unwrap();
}

#[tokio::test]
async fn a_fault_that_never_struck_fails_the_test_and_shows_what_came_near() {
    let mock = VodMock::start().await;
    let second = Fault::on(Action::FinishUpload).attempt(2).after_commit(Verdict::Reset);
    check(
        mock.fault(second.clone()),
        expect![[r#"
            the fault "finish-upload-attempt-2-after-commit-reset" never struck
            planted at faults.rs
            it strikes FinishUpload, attempt 2, after-commit: reset
            0 of 0 requests since then fitted: was it kept? `let _ =` lifts it at once, `let _name =` keeps it
        "#]],
    );
    let fault = mock.fault(second);
    demo_uploads(&mock, SMALL).await.unwrap();
    check(
        fault,
        expect![[r#"
            the fault "finish-upload-attempt-2-after-commit-reset" never struck
            planted at faults.rs
            it strikes FinishUpload, attempt 2, after-commit: reset
            0 of 3 requests since then fitted; the nearest:
              #3 FinishUpload, attempt 1, account demo: code 0
                  attempt is 1, expected 2
        "#]],
    );
}

#[tokio::test]
async fn a_fault_that_fitted_and_could_not_strike_says_why() {
    let mock = VodMock::start().await;
    let drop_part = mock.fault(Fault::on_any().named("drop").before_commit(Verdict::DropPart));
    let finish = mock.fault(Fault::on(Action::FinishUpload).named("late").after_commit(Verdict::Close));
    asks(&mock, Action::FinishUpload).await.unwrap_err();
    check(
        finish,
        expect![[r#"
            the fault "late" never struck
            planted at faults.rs
            it strikes FinishUpload, after-commit: close
            3 of 3 requests since then fitted
              #1 FinishUpload, attempt 1, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
              #2 FinishUpload, attempt 2, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
              #3 FinishUpload, attempt 3, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
        "#]],
    );
    check(
        drop_part,
        expect![[r#"
            the fault "drop" never struck
            planted at faults.rs
            it strikes any request, before-commit: drop-part
            3 of 3 requests since then fitted
              #1 FinishUpload, attempt 1, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
              #2 FinishUpload, attempt 2, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
              #3 FinishUpload, attempt 3, account demo: code -10005
                  there was nothing to strike, it was refused with code -10005: there is no upload of 4a559ea5bf8b8debd99608001b6f581b658c86f9: call InitUpload or InitUploadEx first
        "#]],
    );
}

#[tokio::test]
async fn a_fault_whose_turn_never_came_says_how_far_it_was() {
    let mock = VodMock::start().await;
    let fourth = mock.fault(Fault::on(Action::InitUpload).every(4).before_read(Verdict::Close));
    let never = mock.fault(Fault::on(Action::InitUpload).named("behind").before_read(Verdict::Close));
    let first = mock.fault(busy());
    demo_uploads(&mock, SMALL).await.unwrap_err();
    check(
        fourth,
        expect![[r#"
            the fault "init-upload-every-4-before-read-close" never struck
            planted at faults.rs
            it strikes InitUpload, before-read: close
            3 of 3 requests since then fitted
              #1 InitUpload, attempt 1, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
              #2 InitUpload, attempt 2, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
              #3 InitUpload, attempt 3, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
            it was to strike one in every 4; so far it counted 3
        "#]],
    );
    assert_eq!(never.struck(), 3);
    check(
        first,
        expect![[r#"
            the fault "init-upload-before-read-http" never struck
            planted at faults.rs
            it strikes InitUpload, before-read: http
            3 of 3 requests since then fitted
              #1 InitUpload, attempt 1, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
              #2 InitUpload, attempt 2, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
              #3 InitUpload, attempt 3, account demo: no reply, closed, struck by behind (before-read: close)
                  the fault "behind" struck it in this phase
        "#]],
    );
}

#[tokio::test]
async fn a_fault_left_to_chance_may_stay_unused_and_one_that_is_lifted_by_hand_is_for_the_test_to_judge() {
    let mock = VodMock::start().await;
    drop(mock.fault(Fault::on_any().chance(0.001).before_read(Verdict::Reset)).may_stay_unused());
    let fate = mock.fault(busy()).lift();
    assert_eq!((fate.id.as_str(), fate.struck), ("init-upload-before-read-http", 0));
    demo_uploads(&mock, SMALL).await.unwrap();
}

#[tokio::test]
async fn the_same_fault_twice_has_two_names_and_a_name_that_was_given_is_kept() {
    let mock = VodMock::start().await;
    let once = || Fault::on(Action::InitUpload).times(1).before_read(Verdict::http(503));
    let planted = [mock.fault(once()), mock.fault(once()), mock.account().fault(once()).may_stay_unused()];
    let ids = planted.each_ref().map(|fault| fault.id().to_owned());
    let id = "init-upload-times-1-before-read-http";
    assert_eq!(ids, [id.to_owned(), format!("{id}-2"), id.to_owned()], "an account has names of its own");
    demo_uploads(&mock, SMALL).await.unwrap();
    let named = || Fault::on_any().named("mine").before_read(Verdict::Reset);
    let _mine = mock.fault(named()).may_stay_unused();
    let refused = failure(|| drop(mock.fault(named())));
    assert_eq!(refused, "fault \"mine\": its id is taken by a fault that is planted already\n");
}

#[tokio::test]
async fn what_could_never_strike_is_refused_where_it_is_planted() {
    let mock = VodMock::start().await;
    let never = Fault::on(Action::InitUpload).part(2).before_read(Verdict::Close);
    let refused = failure(|| drop(mock.fault(never)));
    assert!(refused.ends_with("part and offset select among requests that send a part\n"), "{refused}");
    let at = (Phase::BeforeRead, 7);
    let refused = failure(|| drop(mock.fault_fn(Fault::on_any(), at, |_, _| None)));
    assert!(refused.contains("\"before-read-at-7-decision\": at counts bytes"), "{refused}");
    assert_eq!(mock.fates(), []);
}

#[tokio::test]
async fn a_closure_decides_what_data_cannot() {
    let mock = VodMock::start().await;
    let seen = std::sync::Arc::new(AtomicU32::new(0));
    let told = std::sync::Arc::clone(&seen);
    let fault = mock.fault_fn(Fault::on_any(), Phase::BeforeCommit, move |subject, attempt| {
        told.fetch_add(1, Ordering::SeqCst);
        (subject.part_number == Some(1) && attempt < 3).then(|| Verdict::reply(-10004))
    });
    demo_uploads(&mock, SMALL).await.unwrap();
    assert_eq!((fault.struck(), seen.load(Ordering::SeqCst)), (2, 5));
    let refused = mock.exchanges().code(-10004);
    assert_eq!(refused.action(Action::UploadPart).struck_by(fault.id()).len(), 2, "{refused:?}");
    drop(fault);
    let indifferent = mock.fault_fn(Fault::on(Action::FinishUpload), Phase::AfterCommit, |_, _| None);
    demo_uploads(&mock, b"another").await.unwrap();
    check(
        indifferent,
        expect![[r#"
            the fault "finish-upload-after-commit-decision" never struck
            planted at faults.rs
            it strikes FinishUpload, after-commit: as a closure decides
            1 of 3 requests since then fitted
              #8 FinishUpload, attempt 1, account demo: code 0
                  the closure let it pass
        "#]],
    );
}

#[tokio::test]
async fn a_closure_that_panics_or_decides_what_cannot_be_fails_the_test_and_its_client() {
    let mock = VodMock::start().await;
    let wrong = mock.fault_fn(Fault::on(Action::InitUpload), Phase::BeforeRead, |_, _| Some(Verdict::DropPart));
    let answered = demo_uploads(&mock, SMALL).await.unwrap_err();
    assert!(answered.starts_with("HTTP/1.1 500"), "{answered}");
    check(
        wrong,
        expect![[r#"
            the closure of the fault "init-upload-before-read-decision" made a mistake: drop-part cannot strike in phase before-read, but in before-commit
            planted at faults.rs
        "#]],
    );
    let panics = || mock.fault_fn(Fault::on(Action::InitUpload), Phase::BeforeCommit, |_, _| panic!("oh my"));
    let lifted = panics().may_stay_unused();
    assert!(demo_uploads(&mock, SMALL).await.unwrap_err().starts_with("HTTP/1.1 500"));
    let told = "the closure of the fault \"init-upload-before-commit-decision\" made a mistake: it panicked: oh my\n";
    assert!(failure(|| drop(lifted.lift())).starts_with(told));
    let dropped = panics().may_stay_unused();
    demo_uploads(&mock, SMALL).await.unwrap_err();
    assert!(failure(|| drop(dropped)).starts_with(told));
    demo_uploads(&mock, SMALL).await.unwrap();
}

#[tokio::test]
async fn a_closure_is_asked_at_a_byte_too() {
    let mock = VodMock::start().await;
    let half = mock.fault_fn(Fault::on(Action::UploadPart), (Phase::MidBody, 9), |_, attempt| {
        (attempt == 1).then_some(Verdict::Reset)
    });
    demo_uploads(&mock, SMALL).await.unwrap();
    let cut = half.exchanges().ended(End::Reset).one();
    assert_eq!((cut.request.body.len, half.struck()), (9, 1));
}

#[tokio::test]
async fn a_plan_of_text_is_planted_whole_or_not_at_all() {
    let mock = VodMock::start().await;
    let fault = |id: &str, phase: &str| format!("[[fault]]\nid = {id:?}\nphase = {phase:?}\ndo = \"close\"\n");
    let refused = failure(|| drop(mock.plan(&fault("a", "before-commit").replace("close", "drop-it"))));
    assert!(refused.contains("line 4, column 6") && refused.contains("unknown variant `drop-it`"), "{refused}");
    let twice = fault("a", "before-read") + &fault("a", "before-commit");
    let refused = failure(|| drop(mock.plan(&twice)));
    assert!(refused.contains("its id stands twice in the plan") && mock.fates().is_empty(), "{refused}");
    let faults = mock.plan(
        &(fault("a", "before-read").replace("phase", "on.times = 1\nphase")
            + &fault("b", "mid-body").replace("phase", "on.action = \"UploadPart\"\nphase")),
    );
    demo_uploads(&mock, SMALL).await.unwrap_err();
    assert_eq!(
        faults.iter().map(|fault| (fault.id(), fault.struck())).collect::<Vec<_>>(),
        [("a", 1), ("b", 3)],
        "{:?}",
        mock.exchanges()
    );
}

#[tokio::test]
async fn what_is_held_is_waited_for_and_released() {
    let mock = VodMock::start().await;
    let door = mock.fault(Fault::on(Action::FinishUpload).after_commit(Verdict::hold("door")));
    let uploading = tokio::spawn({
        let endpoint = mock.clone();
        async move { demo_uploads(&endpoint, SMALL).await }
    });
    door.until_held(1).await;
    assert_eq!(mock.exchanges().action(Action::FinishUpload).len(), 0, "it is under way");
    assert_eq!(mock.release("door"), 1);
    uploading.await.unwrap().unwrap();
    assert_eq!(door.exchanges().acknowledged().len(), 1);
    let unknown = failure(|| assert_eq!(mock.release("gate"), 0));
    assert_eq!(unknown, "no fault holds under the name \"gate\": expected one of door\n");
    let other = failure(|| assert_eq!(mock.account().release("door"), 0));
    let told = "no fault holds under the name \"door\": none holds at all; account account-1 was asked, and each account releases its own holds\n";
    assert_eq!(other, told);
}

#[tokio::test]
async fn a_guard_that_is_dropped_lets_go_whom_it_holds() {
    let mock = VodMock::start().await;
    let door = mock.fault(Fault::on(Action::InitUpload).after_commit(Verdict::hold("door")));
    let uploading = tokio::spawn({
        let endpoint = mock.clone();
        async move { demo_uploads(&endpoint, SMALL).await }
    });
    door.until_struck().await;
    drop(door);
    uploading.await.unwrap().unwrap();
    mock.until_seen(Requests::of(Action::FinishUpload).acknowledged(), 1).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_is_told_what_came_instead() {
    let mock = VodMock::start().await;
    let door =
        mock.fault(Fault::on(Action::InitUpload).attempt(2).after_commit(Verdict::hold("door"))).may_stay_unused();
    asks(&mock, Action::FinishUpload).await.unwrap_err();
    expect![[r#"
        waited 30s at faults.rs until the fault "init-upload-attempt-2-after-commit-hold" held 1 exchanges
        planted at faults.rs
        it strikes InitUpload, attempt 2, after-commit: hold
        0 of 3 requests since then fitted; the nearest:
          #2 FinishUpload, attempt 2, account demo: code -10005
              action is FinishUpload, expected InitUpload
          #3 FinishUpload, attempt 3, account demo: code -10005
              action is FinishUpload, expected InitUpload
              attempt is 3, expected 2
          #1 FinishUpload, attempt 1, account demo: code -10005
              action is FinishUpload, expected InitUpload
              attempt is 1, expected 2
    "#]]
    .assert_eq(&later_failure(door.until_held(1)).await);
    expect![[r#"
        waited 30s at faults.rs until the fault "init-upload-attempt-2-after-commit-hold" struck 3 times
        planted at faults.rs
        it strikes InitUpload, attempt 2, after-commit: hold
        0 of 3 requests since then fitted; the nearest:
          #2 FinishUpload, attempt 2, account demo: code -10005
              action is FinishUpload, expected InitUpload
          #3 FinishUpload, attempt 3, account demo: code -10005
              action is FinishUpload, expected InitUpload
              attempt is 3, expected 2
          #1 FinishUpload, attempt 1, account demo: code -10005
              action is FinishUpload, expected InitUpload
              attempt is 1, expected 2
    "#]]
    .assert_eq(&later_failure(door.until_struck_times(3)).await);
}

#[tokio::test]
async fn a_fault_that_somebody_else_lifted_is_no_success() {
    let mock = VodMock::start().await;
    let account = mock.account();
    let fault = account.fault(busy());
    account.reset().await;
    check(
        fault,
        expect![[r#"
        whether the fault "init-upload-before-read-http" struck is not known: it was lifted by a reset or over the admin API
        planted at faults.rs; drop it, or lift it, before
    "#]],
    );
    let fault = account.fault(busy());
    account.reset().await;
    let waited = later_failure(fault.until_struck()).await;
    assert!(waited.starts_with("whether the fault \"init-upload-before-read-http\" struck is not known"), "{waited}");
    drop(fault.may_stay_unused());
}

#[tokio::test]
async fn a_test_that_fails_anyway_fails_for_its_own_reason() {
    let mock = VodMock::start().await;
    let own = failure(|| {
        let _fault = mock.fault(busy());
        let _expected = mock.expect_here(Requests::of(Action::InitUpload), 1);
        let _account = mock.account();
        panic!("the test's own");
    });
    assert_eq!(own, "the test's own\n", "a second panic would have ended the whole process");
}

#[tokio::test]
async fn a_pattern_that_panics_is_the_tests_failure_and_ends_no_process_where_the_test_fails_anyway() {
    let careless = || Requests::any().that("with a reply", |exchange| exchange.reply.as_ref().unwrap().status == 200);
    for fails_anyway in [true, false] {
        let mock = VodMock::start().await;
        let addr = mock.endpoint().trim_start_matches("http://").to_owned();
        let lost = mock.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::Close));
        mock.expect(careless(), 3);
        let account = mock.account();
        demo_uploads(&mock, SMALL).await.unwrap();
        let own = failure(move || {
            let (_lost, _mock) = (lost, mock);
            assert!(!fails_anyway, "the test's own");
        });
        let expected = if fails_anyway { "the test's own" } else { "called `Option::unwrap()` on a `None` value" };
        assert_eq!(own, format!("{expected}\n"));
        assert!(std::net::TcpStream::connect(&addr).is_err(), "it is stopped all the same");
        drop(account);
    }
    let mock = VodMock::start().await;
    let account = mock.account();
    account.expect(careless(), 4);
    let here = account.expect_here(careless(), 4);
    let lost = account.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::Close));
    uploads(&account, SMALL).await.unwrap();
    let own = failure(move || {
        let _dropped_while_it_unwinds = (lost, here, account);
        panic!("the test's own");
    });
    assert_eq!(own, "the test's own\n");
}

#[tokio::test]
async fn a_planned_fault_of_the_config_is_demanded_by_verify_alone() {
    let plan =
        vod_serve::Plan { faults: vec![busy(), Fault::on_any().named("b").times(1).before_read(Verdict::Close)] };
    let mock = VodMock::start_with(Config { plan, ..Config::default() }).await.unwrap();
    expect![[r#"
        planned faults that never struck: init-upload-before-read-http, b
    "#]]
    .assert_eq(&failure(|| mock.verify()));
    demo_uploads(&mock, SMALL).await.unwrap_err();
    let _own = mock.fault(Fault::on_any().named("own").before_read(Verdict::Close)).may_stay_unused();
    expect![[r#"
        planned faults that never struck: b
    "#]]
    .assert_eq(&failure(|| mock.verify()));
    mock.expect(Requests::of(Action::InitUpload).acknowledged(), 1);
    expect![[r#"
        not met: 1 of 1 expectations of the mock
        expected exactly 1 of: InitUpload, acknowledged
          said at faults.rs
          0 of 0 requests since then fitted
        faults that never struck: b, own
    "#]]
    .assert_eq(&failure(|| drop(mock)));
}

#[tokio::test]
async fn a_fault_outlives_its_mock_without_harm() {
    let mock = VodMock::start().await;
    let fault = mock.fault(busy());
    demo_uploads(&mock, SMALL).await.unwrap_err();
    drop(mock);
    assert_eq!((fault.struck(), fault.exchanges().len()), (3, 3));
    let gone = later_failure(tokio::time::timeout(Duration::from_secs(60), fault.until_struck_times(9))).await;
    assert!(gone.starts_with("the mock is gone"), "{gone}");
}
