use expect_test::{Expect, expect};
use proptest::prelude::*;
use vod_proto::Action;

use super::*;
use crate::replay::crafted::{OK, Session, call, part, ugc_finish};

const BUSY: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;

fn script(session: &Session) -> Script {
    Script::new(session.exchanges.iter().cloned(), Rules::default())
}

/// The number of the exchange that answers, or why none does.
fn ask(script: &mut Script, method: &str, target: &str, body: &[u8]) -> Result<u64, String> {
    let asked = script.read(method, "127.0.0.1:1", target);
    let seen = Seen { len: body.len() as u64, sha1: (!body.is_empty()).then(|| vod_proto::Sha1::of(body)) };
    script.next(&asked, Some(seen)).map(|turn| turn.exchange.seq).map_err(|miss| miss.to_string())
}

fn ask_part(script: &mut Script, offset: u64, bytes: &[u8]) -> Result<u64, String> {
    ask(script, "POST", &part(offset, bytes, 9), bytes)
}

fn unused(script: &Script) -> Vec<u64> {
    script.unused().iter().map(|exchange| exchange.seq).collect()
}

/// How a request is refused.
fn check(script: &mut Script, method: &str, target: &str, body: &[u8], expected: Expect) {
    expected.assert_eq(&ask(script, method, target, body).expect_err("nothing answers it"));
}

#[test]
fn a_role_is_answered_in_its_recorded_order_and_free_of_every_other() {
    let mut session = Session::default();
    session.init(OK);
    session.part(0, b"aaaa", BUSY);
    session.part(4, b"bbbb", OK);
    session.part(0, b"aaaa", OK);
    session.finish(OK);
    let mut script = script(&session);
    assert_eq!(ask(&mut script, "GET", &call(Action::FinishUpload, &[], 9), b""), Ok(5));
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(2));
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(4));
    assert_eq!(unused(&script), [1, 3]);
    assert_eq!(ask_part(&mut script, 4, b"bbbb"), Ok(3));
}

#[test]
fn who_asks_and_when_does_not_count_nor_do_order_and_method() {
    let mut session = Session::default();
    session.init(OK);
    let mut script = script(&session);
    let other = format!(
        "/v2/index.php?Signature=x&Timestamp=7&fileName=a+b&SecretId=me&Region=gz&Nonce=8&SignatureMethod=HmacSHA256\
         &Token=t&dataSize=4&fileSha={}&Action=InitUpload",
        crate::replay::crafted::file()
    );
    assert_eq!(ask(&mut script, "POST", &other, b""), Ok(1));
}

#[test]
fn what_an_upload_signature_says_counts_but_not_whose_it_is_and_how_long() {
    let mut session = Session::default();
    session.push("GET", &ugc_finish("f=a&ft=mp4", 1), b"", Some(OK), End::Replied);
    let mut script = script(&session);
    check(
        &mut script,
        "GET",
        &ugc_finish("f=b&ft=mp4", 2),
        b"",
        expect![[
            r#"FinishUploadEx was not recorded so: the nearest is FinishUploadEx (request 1), but parameter signature.f is "b": recorded "a""#
        ]],
    );
    assert_eq!(ask(&mut script, "GET", &ugc_finish("ft=mp4&f=a", 2), b""), Ok(1));
}

#[test]
fn another_body_or_another_parameter_is_another_request() {
    let mut session = Session::default();
    session.part(0, b"aaaa", OK);
    let mut script = script(&session);
    let target = part(0, b"aaaa", 9);
    check(
        &mut script,
        "POST",
        &target,
        b"aaab",
        expect![
            "UploadPart 0+4 was not recorded so: the nearest is UploadPart 0+4 (request 1), but the body has SHA-1 f1abd73aa0858634f18d36bf5666194958a8b7d2: recorded 70c881d4a26984ddce795f6f71817c9cf4480e79"
        ],
    );
    check(
        &mut script,
        "POST",
        &target,
        b"aa",
        expect![
            "UploadPart 0+4 was not recorded so: the nearest is UploadPart 0+4 (request 1), but the body has 2 bytes: recorded 4"
        ],
    );
    check(
        &mut script,
        "POST",
        &part(0, b"aaaab", 9),
        b"aaaab",
        expect![[
            r#"UploadPart 0+5 was not recorded so: the nearest is UploadPart 0+4 (request 1), but parameter dataMd5 is "11649b4394d09e4aba132ad49bd1e7db": recorded "74b87337454200d4d33f80c4663dc5e5"; parameter dataSize is "5": recorded "4"; the body has 5 bytes: recorded 4"#
        ]],
    );
    check(
        &mut script,
        "POST",
        &format!("{}&priority=1", target.replace("Region=gz", "Region=bj")),
        b"aaaa",
        expect![[
            r#"UploadPart 0+4 was not recorded so: the nearest is UploadPart 0+4 (request 1), but parameter Region is "bj": recorded "gz"; parameter priority is "1": recorded without"#
        ]],
    );
    assert_eq!(unused(&script), [1], "a mismatch takes nothing");
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(1));
}

#[test]
fn what_was_not_recorded_is_told_with_the_nearest() {
    let mut session = Session::default();
    session.init(OK);
    session.part(0, b"aaaa", OK);
    session.push("GET", "/crossdomain.xml?a=1", b"", Some("<x/>"), End::Replied);
    let mut script = script(&session);
    check(
        &mut script,
        "POST",
        &part(4, b"aaaa", 9),
        b"aaaa",
        expect![[
            r#"UploadPart 4+4 was not recorded so: the nearest is UploadPart 0+4 (request 2), but parameter offset is "4": recorded "0""#
        ]],
    );
    check(
        &mut script,
        "GET",
        &call(Action::FinishUpload, &[], 9),
        b"",
        expect![[
            r#"FinishUpload was not recorded so: the nearest is InitUpload (request 1), but the action is "FinishUpload": recorded "InitUpload""#
        ]],
    );
    check(
        &mut script,
        "GET",
        "/crossdomain.xml?a=2",
        b"",
        expect![[
            r#"GET /crossdomain.xml was not recorded so: the nearest is a request without action (request 3), but parameter a is "2": recorded "1""#
        ]],
    );
    assert_eq!(ask(&mut script, "GET", "/crossdomain.xml?a=1", b""), Ok(3));
    check(&mut Script::new([], Rules::default()), "GET", "/", b"", expect!["GET / was not recorded: nothing was"]);
}

#[test]
fn behind_the_last_answer_of_a_role_there_is_none_and_none_is_guessed() {
    let mut session = Session::default();
    session.part(0, b"aaaa", BUSY);
    session.part(0, b"aaaa", OK);
    let mut script = script(&session);
    assert_eq!((ask_part(&mut script, 0, b"aaaa"), ask_part(&mut script, 0, b"aaaa")), (Ok(1), Ok(2)));
    check(
        &mut script,
        "POST",
        &part(0, b"aaaa", 9),
        b"aaaa",
        expect![
            "UploadPart 0+4 was recorded 2 times, and all of that is used: request 1 was used once; request 2 was used once"
        ],
    );
}

#[test]
fn who_was_gone_or_killed_is_passed_over_unless_nothing_else_is_left() {
    let mut session = Session::default();
    session.broken_part(0, b"aaaa", End::Killed);
    session.part(0, b"aaaa", OK);
    session.broken_part(4, b"bbbb", End::ClientGone { after: 2 });
    let mut script = script(&session);
    assert_eq!(unused(&script), [2]);
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(2));
    assert_eq!(unused(&script), [0; 0]);
    assert_eq!(ask_part(&mut script, 4, b"bbbb"), Ok(3), "the place of one who was gone");
    assert!(ask_part(&mut script, 4, b"bbbb").is_err());
}

#[test]
fn who_was_killed_gets_no_answer_again_where_somebody_kills_and_whoever_comes_next_does() {
    let mut session = Session::default();
    session.part(0, b"aaaa", OK);
    session.broken_part(4, b"bbbb", End::Killed);
    session.broken_part(8, b"cccc", End::Killed);
    session.init(OK);
    session.part(4, b"bbbb", OK);
    session.part(8, b"cccc", OK);
    session.broken_part(12, b"dddd", End::ClientGone { after: 1 });
    let rules = Rules { kills: true, ..Rules::default() };
    let mut script = Script::new(session.exchanges, rules);
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(1));
    assert_eq!(ask_part(&mut script, 4, b"bbbb"), Ok(2));
    // The other request that was under way then did not come this time.
    script.death_begins();
    script.death_ends();
    assert_eq!((ask_part(&mut script, 4, b"bbbb"), ask_part(&mut script, 8, b"cccc")), (Ok(5), Ok(6)));
    assert_eq!(ask_part(&mut script, 12, b"dddd"), Ok(7), "the next one is killed later");
}

#[test]
fn an_answer_that_nobody_got_is_the_next_again() {
    let mut session = Session::default();
    session.part(0, b"aaaa", BUSY);
    session.part(0, b"aaaa", OK);
    let mut script = script(&session);
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(1));
    script.give_back(0);
    assert_eq!(unused(&script), [1, 2]);
    assert_eq!((ask_part(&mut script, 0, b"aaaa"), ask_part(&mut script, 0, b"aaaa")), (Ok(1), Ok(2)));
}

#[test]
fn accounts_count_where_there_are_several_and_any_other_takes_the_place_of_a_single_one() {
    let mut session = Session::default();
    session.finish(OK);
    let (me, other) = (call(Action::FinishUpload, &[], 1), call(Action::FinishUpload, &[], 1).replace("d-1", "d-2"));
    let mut script = script(&session);
    assert_eq!(ask(&mut script, "GET", &other, b""), Ok(1));
    session.push("GET", &other, b"", Some(BUSY), End::Replied);
    let mut script = self::script(&session);
    assert_eq!(ask(&mut script, "GET", &other, b""), Ok(2));
    check(
        &mut script,
        "GET",
        &me.replace("d-1", "d-3"),
        b"",
        expect![[
            r#"FinishUpload was not recorded so: the nearest is FinishUpload (request 1), but the account is "redacted-3": recorded "redacted-1""#
        ]],
    );
    assert_eq!(ask(&mut script, "GET", &me, b""), Ok(1));
}

#[test]
fn short_accounts_are_told_apart_by_their_order_in_each_life_of_the_recorder() {
    let asked = |id: &str| call(Action::FinishUpload, &[], 1).replace("redacted-1", id);
    let mut session = Session::default();
    // The first life met two, and the second one what was perhaps the first of them.
    for id in ["redacted-n1", "redacted-n2", "redacted-n3.1"] {
        session.push("GET", &asked(id), b"", Some(OK), End::Replied);
    }
    let mut script = script(&session);
    assert_eq!(ask(&mut script, "GET", &asked("redacted-n1"), b""), Ok(1));
    assert_eq!(ask(&mut script, "GET", &asked("redacted-n1"), b""), Ok(3));
    assert_eq!(ask(&mut script, "GET", &asked("redacted-n2"), b""), Ok(2));
}

#[test]
fn hosts_count_for_pages_where_there_are_several() {
    let mut session = Session::default();
    session.push("GET", "/", b"", Some("one"), End::Replied);
    session.push("GET", "/", b"", Some("two"), End::Replied).request.host = "other.example".to_owned();
    let mut script = script(&session);
    let mut at = |host: &str| {
        let asked = script.read("GET", host, "/");
        script.next(&asked, None).map(|turn| turn.exchange.seq).map_err(|miss| miss.to_string())
    };
    assert_eq!(at("Other.example"), Ok(2));
    assert_eq!(at("vod2.qcloud.com"), Ok(1));
    assert!(at("127.0.0.1").is_err());
}

#[test]
fn a_browser_asks_whether_it_may_as_often_as_it_likes() {
    let mut session = Session::default();
    let target = part(0, b"aaaa", 1);
    session.push("OPTIONS", &target, b"", Some(""), End::Replied);
    session.part(0, b"aaaa", OK);
    let mut script = script(&session);
    assert_eq!(unused(&script), [2]);
    for _ in 0..3 {
        assert_eq!(ask(&mut script, "OPTIONS", &part(0, b"aaaa", 9), b""), Ok(1));
    }
    assert_eq!(ask_part(&mut script, 0, b"aaaa"), Ok(2));
}

#[test]
fn a_request_that_broke_off_in_its_body_does_so_whatever_was_to_come() {
    let mut session = Session::default();
    session.broken_part(0, b"aaaa", End::Reset).request.body = Mark { len: 3, ..Mark::default() };
    session.broken_part(0, b"aaaa", End::Reset);
    let mut script = script(&session);
    let asked = script.read("POST", "h", &part(0, b"aaaa", 9));
    assert_eq!(script.breaks_off(&asked, Life::default()), Some(3));
    assert_eq!(script.next(&asked, None).map(|turn| turn.at).ok(), Some(0));
    assert_eq!(script.breaks_off(&asked, Life::default()), None, "the second was read to its end");
    let mut other = self::script(&session);
    let otherwise = other.read("POST", "h", &part(0, b"bbbb", 9));
    assert_eq!(other.breaks_off(&otherwise, Life::default()), None, "it is another request");
    assert_eq!(ask_part(&mut other, 0, b"aaaa"), Ok(1));
}

#[test]
fn a_report_says_something_else_every_time() {
    let mut session = Session::default();
    session.push("POST", &call(Action::Report, &[("speed", "1")], 1), b"", Some(OK), End::Replied);
    let mut script = script(&session);
    assert_eq!(ask(&mut script, "POST", &call(Action::Report, &[("speed", "2"), ("errCode", "0")], 9), b""), Ok(1));
}

#[test]
fn parameters_that_a_recording_names_as_secrets_do_not_count() {
    let mut session = Session::default();
    session.push("GET", &call(Action::FinishUpload, &[("sessionKey", "redacted-1")], 1), b"", Some(OK), End::Replied);
    let other = call(Action::FinishUpload, &[("SessionKey", "mine")], 2);
    assert!(ask(&mut script(&session), "GET", &other, b"").is_err());
    let rules = Rules { secrets: vec!["sessionkey".to_owned()], ..Rules::default() };
    let mut script = Script::new(session.exchanges, rules);
    assert_eq!(ask(&mut script, "GET", &other, b""), Ok(1));
}

#[test]
fn parts_have_the_numbers_of_the_recorded_grid() {
    let mut session = Session::default();
    session.init(OK);
    session.part(8, b"cc", OK);
    let number = |session: &Session, offset| {
        let part = PartSpan { offset, len: 4 };
        script(session).part_number(Some("UploadPart"), Some(crate::replay::crafted::file()), part)
    };
    assert_eq!((number(&session, 0), number(&session, 8)), (Some(1), Some(3)));
    // The server has the last word on the size.
    session.init(r#"{"code":1,"dataSize":8,"listParts":[]}"#);
    assert_eq!(number(&session, 8), Some(2));
    // Where nobody opened it, no part but the last is shorter.
    let mut middle = Session::default();
    middle.part(8, b"cc", OK);
    middle.part(4, b"bbbb", OK);
    assert_eq!(number(&middle, 8), Some(3));
    assert_eq!(number(&Session::default(), 0), None);
}

proptest! {
    /// Requests of several roles, each sent several times, in any order among the roles.
    #[test]
    fn any_interleaving_of_the_roles_of_a_session_is_answered_wholly(
        roles in proptest::collection::vec(0_u64..6, 1..60),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut session = Session::default();
        for role in &roles {
            session.part(role * 4, b"aaaa", OK);
        }
        let mut script = script(&session);
        // For each role its numbers, as they were recorded.
        let mut left: Vec<Vec<u64>> = (0..6)
            .map(|role| (1..).zip(&roles).filter(|(_, other)| **other == role).map(|(seq, _)| seq).collect())
            .collect();
        for index in order.iter().take(roles.len()) {
            let open: Vec<_> = (0..6).filter(|role| !left[*role].is_empty()).collect();
            let role = open[index.index(open.len())];
            let expected = left[role].remove(0);
            prop_assert_eq!(ask_part(&mut script, role as u64 * 4, b"aaaa"), Ok(expected));
        }
        prop_assert_eq!(unused(&script), Vec::<u64>::new());
    }
}
