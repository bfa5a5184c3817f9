//! The engine by itself: faults that are planted, aimed, lifted and counted without a server.

use vod_proto::{PartSpan, Sha1};

use super::*;

/// A request that can be spoilt in every way.
const ALL: Stakes =
    Stakes { part: Some(10), file: true, list: true, opening: true, session: true, body: None, reply: Some(100) };
const POWERS: Powers = Powers { spoils: true, rereads: true, kills: true, refuses: true, longest_body: None };

fn engine(faults: &str, seed: u64) -> Engine {
    let plan = toml::from_str(faults).expect("the plan of a test is TOML");
    Engine::new(plan, seed, POWERS).expect("the plan of a test can strike")
}

/// Strikes at once, as in the phases that count no bytes.
fn strike(engine: &Engine, phase: Phase, subject: &Subject, attempt: u32) -> Option<Strike> {
    let strike = engine.aim(phase, subject, attempt, ALL)?;
    assert!(engine.hit(&strike));
    Some(strike)
}

fn part(number: u64) -> Subject {
    Subject {
        account: Some("demo".into()),
        action: Some("UploadPart".into()),
        file_sha1: Some(Sha1::of(b"f")),
        part: Some(PartSpan { offset: (number - 1) * 10, len: 10 }),
        part_number: Some(number),
        preflight: false,
        host: None,
    }
}

#[test]
fn requests_are_told_apart_by_the_host_that_they_ask() {
    let engine = engine("[[fault]]\nid = \"f\"\non = { host = \"b\" }\nphase = \"before-commit\"\ndo = \"reset\"\n", 1);
    for (host, struck) in [(None, false), (Some("a"), false), (Some("b"), true)] {
        let subject = Subject { host: host.map(Box::from), ..part(1) };
        let strike = engine.aim(Phase::BeforeCommit, &subject, 1, Stakes::default());
        assert_eq!(strike.is_some(), struck, "{host:?}");
    }
    assert_eq!(["b:80", "b", "[::1]:80", "[::1]"].map(crate::host_name), ["b", "b", "[::1]", "[::1]"]);
}

#[test]
fn a_fault_that_strikes_everything_waits_for_a_request_behind_the_preflight() {
    let engine = engine("[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = \"close\"\n", 1);
    let preflight = Subject { preflight: true, ..Subject::default() };
    assert!(strike(&engine, Phase::BeforeRead, &preflight, 1).is_none());
    assert_eq!(engine.fates()[0].matched, 0, "it is not counted either");
    assert!(strike(&engine, Phase::BeforeRead, &Subject::default(), 1).is_some());
}

#[test]
fn only_the_selected_request_is_struck_and_it_is_counted() {
    let engine = engine(
        "[[fault]]\nid = \"a\"\non = { action = \"UploadPart\", part = 2, attempt = 1 }\nphase = \"after-commit\"\ndo = \"reset\"",
        1,
    );
    for (phase, number, attempt) in [(Phase::AfterCommit, 1, 1), (Phase::BeforeRead, 2, 1), (Phase::AfterCommit, 2, 2)]
    {
        assert!(strike(&engine, phase, &part(number), attempt).is_none(), "{phase} {number} {attempt}");
    }
    assert_eq!(engine.unfired(), ["a"]);
    assert_eq!(strike(&engine, Phase::AfterCommit, &part(2), 1).map(|s| s.verdict), Some(Verdict::Reset));
    assert!(engine.unfired().is_empty());
}

#[test]
fn every_and_times_bound_how_often() {
    let engine =
        engine("[[fault]]\nid = \"a\"\non = { every = 3, times = 2 }\nphase = \"before-read\"\ndo = \"close\"", 1);
    let struck: Vec<_> = (1..=12).filter(|n| strike(&engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
    assert_eq!(struck, [3, 6]);
}

#[test]
fn a_fault_that_waits_for_a_byte_is_struck_when_it_comes_and_counted_as_aimed_before() {
    let engine =
        engine("[[fault]]\nid = \"a\"\non = { every = 2, times = 1 }\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"", 1);
    assert!(engine.aim(Phase::MidBody, &part(1), 1, ALL).is_none());
    let strike = engine.aim(Phase::MidBody, &part(2), 1, ALL).expect("the second fits");
    assert_eq!((strike.at, engine.unfired()), (7, vec!["a".to_owned()]));
    assert!(engine.hit(&strike));
    assert!(engine.unfired().is_empty());
    assert!(engine.aim(Phase::MidBody, &part(4), 1, ALL).is_none(), "once is enough");
}

#[test]
fn a_body_or_a_reply_without_the_byte_is_neither_aimed_at_nor_counted() {
    for phase in [Phase::MidBody, Phase::MidReply] {
        let fault = format!("[[fault]]\nid = \"a\"\non = {{ times = 1 }}\nphase = \"{phase}\"\nat = 7\ndo = \"reset\"");
        let engine = engine(&fault, 1);
        let aims = |len| {
            let stakes = Stakes { body: Some(len), reply: Some(len), ..ALL };
            engine.aim(phase, &part(1), 1, stakes).is_some()
        };
        assert!(!aims(0) && !aims(7), "{phase}");
        assert_eq!(engine.fates()[0].matched, 0, "{phase}");
        assert!(aims(8), "{phase}");
    }
}

#[test]
fn a_byte_that_never_came_leaves_the_fault_its_time() {
    let engine = engine("[[fault]]\nid = \"a\"\non = { times = 1 }\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"", 1);
    let strike = engine.aim(Phase::MidBody, &part(1), 1, ALL).expect("it fits");
    assert!(engine.aim(Phase::MidBody, &part(2), 1, ALL).is_none(), "its one time is waited for");
    engine.missed(&strike);
    let strike = engine.aim(Phase::MidBody, &part(3), 1, ALL).expect("it has its time again");
    assert!(engine.hit(&strike));
    assert_eq!(engine.fates()[0].struck, 1);
}

#[test]
fn a_fault_whose_life_ends_before_its_time_is_refused() {
    let plan = "[[fault]]\nid = \"a\"\non = { after = \"3s\" }\nphase = \"before-read\"\ndo = \"close\"\n";
    let plan: Plan = toml::from_str(plan).unwrap();
    let engine = engine("", 1);
    let plant = |seconds| engine.plant(None, plan.clone(), Some(Duration::from_secs(seconds))).map(drop);
    let refused = plant(3).unwrap_err().to_string();
    assert_eq!(refused, "fault \"a\": after is 3s: expected earlier than the end of its time to live, 3s");
    assert_eq!(plant(4), Ok(()));
}

#[test]
fn a_decision_is_held_to_what_data_is() {
    let engine = Engine::new(Plan::default(), 1, Powers { longest_body: Some(1000), ..POWERS }).unwrap();
    let plant = |id, phase, at| {
        let planted = engine.plant_decision(None, id, Selector::default(), phase, at, Box::new(|_, _| None));
        planted.map_err(|error| error.why)
    };
    assert_eq!(plant("", Phase::BeforeRead, None), Err("its id is empty".to_owned()));
    let refused = plant("a", Phase::MidBody, Some(1000)).unwrap_err();
    assert_eq!(refused, "at is 1000: this server reads no more than 1000 bytes of a body");
    assert!(plant("a", Phase::MidBody, Some(999)).is_ok());
    assert!(plant("a", Phase::BeforeRead, None).unwrap_err().contains("its id is taken"));
    engine.reads_bodies_of(2000);
    assert!(plant("b", Phase::MidBody, Some(1999)).is_ok(), "longer ones are read now");
}

#[test]
fn what_was_lifted_strikes_no_more_even_where_it_was_aimed() {
    let engine = engine("", 1);
    let plan = toml::from_str("[[fault]]\nid = \"a\"\nphase = \"mid-body\"\nat = 7\ndo = \"reset\"").unwrap();
    let handles = engine.plant(None, plan, None).unwrap();
    let strike = engine.aim(Phase::MidBody, &part(1), 1, ALL).expect("it fits");
    assert_eq!(engine.lift(handles[0]).map(|fate| fate.struck), Some(0));
    assert!(!engine.hit(&strike));
}

#[test]
fn nothing_is_dropped_where_nothing_is_kept() {
    let engine = engine("[[fault]]\nid = \"a\"\nphase = \"before-commit\"\ndo = \"drop-part\"", 1);
    assert!(engine.aim(Phase::BeforeCommit, &part(1), 1, Stakes::default()).is_none());
    assert!(engine.aim(Phase::BeforeCommit, &part(1), 1, ALL).is_some());
}

#[test]
fn the_first_fault_that_fits_wins_and_a_spent_one_lets_the_next() {
    let engine = engine(
        "[[fault]]\nid = \"a\"\non = { times = 1 }\nphase = \"before-read\"\ndo = \"close\"\n[[fault]]\nid = \"b\"\nphase = \"before-read\"\ndo = \"reset\"",
        1,
    );
    let ids: Vec<_> = (0..3).filter_map(|_| strike(&engine, Phase::BeforeRead, &part(1), 1)).map(|s| s.id).collect();
    assert_eq!(ids, ["a", "b", "b"]);
}

#[test]
fn chance_does_not_depend_on_order_or_on_other_faults() {
    let one = "[[fault]]\nid = \"a\"\non = { chance = 0.5 }\nphase = \"before-read\"\ndo = \"close\"\n";
    let two = format!("[[fault]]\nid = \"z\"\non = {{ part = 99 }}\nphase = \"before-read\"\ndo = \"reset\"\n{one}");
    let fates = |engine: &Engine, order: &[u64]| {
        let mut struck: Vec<_> =
            order.iter().copied().filter(|n| strike(engine, Phase::BeforeRead, &part(*n), 1).is_some()).collect();
        struck.sort_unstable();
        struck
    };
    let forward: Vec<u64> = (1..=40).collect();
    let backward: Vec<u64> = (1..=40).rev().collect();
    let expected = fates(&engine(one, 5), &forward);
    assert!(!expected.is_empty() && expected.len() < 40);
    assert_eq!(fates(&engine(one, 5), &backward), expected);
    assert_eq!(fates(&engine(&two, 5), &forward), expected);
    assert_ne!(fates(&engine(one, 6), &forward), expected);
}

#[test]
fn an_accounts_faults_strike_its_requests_alone_and_before_the_servers() {
    let engine = engine("[[fault]]\nid = \"s\"\nphase = \"before-read\"\ndo = \"close\"\n", 1);
    let own = "[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = \"reset\"\n";
    let own: Plan = toml::from_str(own).unwrap();
    let handles = engine.plant(Some("demo"), own.clone(), None).unwrap();
    engine.plant(Some("other"), own.clone(), None).unwrap();
    let other = Subject { account: Some("third".into()), ..part(1) };
    let nobody = Subject { account: None, ..part(1) };
    let struck = |subject: &Subject| strike(&engine, Phase::BeforeRead, subject, 1).map(|strike| strike.id);
    assert_eq!([struck(&part(1)), struck(&other), struck(&nobody)].map(Option::unwrap), ["a", "s", "s"]);
    let refused = engine.plant(Some("demo"), own, None).unwrap_err().to_string();
    assert!(refused.contains("its id is taken"), "{refused}");
    let fate = engine.lift(handles[0]).unwrap();
    assert_eq!((fate.account.as_deref(), fate.struck), (Some("demo"), 1));
    assert_eq!(struck(&part(1)).as_deref(), Some("s"), "what was lifted is gone");
    assert_eq!(engine.unfired(), ["a"], "the other account's never struck");
    assert_eq!(engine.lift_all(Some("other")).len(), 1);
    assert!(engine.unfired().is_empty());
}

#[test]
fn an_account_and_the_server_have_room_for_so_many_faults_each_and_a_lifted_one_makes_room() {
    let plan = |from: usize, number: usize| {
        let fault = |n| format!("[[fault]]\nid = \"f{n}\"\nphase = \"before-read\"\ndo = \"close\"\n");
        toml::from_str::<Plan>(&(from..from + number).map(fault).collect::<String>()).unwrap()
    };
    let engine = engine("", 1);
    for account in [None, Some("a")] {
        let refused = engine.plant(account, plan(0, PLANTED_MOST + 1), None).unwrap_err();
        assert!(refused.id == "f1000" && refused.why.contains("more than 1000 faults"), "{refused}");
        assert_eq!(engine.fates_of(account), [], "then none is planted");
        assert!(engine.plant(account, plan(0, PLANTED_MOST), None).is_ok());
        assert!(engine.plant(account, plan(PLANTED_MOST, 1), None).is_err());
        assert_eq!(engine.lift_named(account, "f7").map(|fate| fate.id).as_deref(), Some("f7"));
        assert_eq!(engine.lift_named(account, "f7"), None);
        assert!(engine.plant(account, plan(PLANTED_MOST, 1), None).is_ok());
    }
}

#[test]
fn connections_are_refused_for_the_whole_server_alone() {
    let plan = "[[fault]]\nid = \"f\"\nphase = \"before-read\"\ndo = { refuse = \"1s\" }\n";
    let plan: Plan = toml::from_str(plan).unwrap();
    let engine = engine("", 1);
    let refused = engine.plant(Some("a"), plan.clone(), None).unwrap_err().to_string();
    assert!(refused.contains("refuse cannot be the account a's") && refused.contains("on.account"), "{refused}");
    assert!(engine.plant(None, plan, None).is_ok());
    assert!(engine.lift_named(Some("a"), "f").is_none() && engine.lift_named(None, "f").is_some());
    let decide = |_: &Subject, _| Some(Verdict::Refuse(super::super::Refuse(Duration::from_secs(1))));
    let on = Selector::default;
    for (account, expected) in [(Some("demo"), "http"), (None, "refuse")] {
        let handle = engine.plant_decision(account, "d", on(), Phase::BeforeRead, None, Box::new(decide)).unwrap();
        let verdict = strike(&engine, Phase::BeforeRead, &part(1), 1).map(|strike| strike.verdict.name());
        assert_eq!(verdict, Some(expected), "{account:?}");
        engine.lift(handle);
    }
}

#[test]
fn a_fault_of_one_account_that_selects_another_is_refused() {
    let plan = "[[fault]]\nid = \"a\"\non = { account = \"b\" }\nphase = \"before-read\"\ndo = \"reset\"\n";
    let plan: Plan = toml::from_str(plan).unwrap();
    let engine = engine("", 1);
    let refused = engine.plant(Some("a"), plan.clone(), None).unwrap_err().to_string();
    assert!(refused.contains("the account a's") && refused.contains("b alone"), "{refused}");
    assert!(engine.plant(Some("b"), plan, None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn faults_have_their_time() {
    let engine = engine(
        "[[fault]]\nid = \"a\"\non = { after = \"2s\", until = \"5s\" }\nphase = \"before-read\"\ndo = \"close\"\n",
        1,
    );
    let plan = "[[fault]]\nid = \"b\"\nphase = \"after-commit\"\ndo = \"close\"\n";
    engine.plant(None, toml::from_str(plan).unwrap(), Some(Duration::from_secs(3))).unwrap();
    let mut struck = Vec::new();
    for _ in 0..7 {
        struck.push([Phase::BeforeRead, Phase::AfterCommit].map(|phase| strike(&engine, phase, &part(1), 1).is_some()));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(struck.iter().map(|[a, _]| *a).collect::<Vec<_>>(), [false, false, true, true, true, false, false]);
    assert_eq!(struck.iter().map(|[_, b]| *b).collect::<Vec<_>>(), [true, true, true, false, false, false, false]);
    let expired: Vec<_> = engine.fates().into_iter().map(|fate| (fate.id, fate.expired)).collect();
    assert_eq!(expired, [("a".to_owned(), false), ("b".to_owned(), true)]);
}

#[test]
fn a_decision_is_asked_about_what_its_selector_fits_and_refused_loudly_where_it_cannot_strike() {
    let engine = engine("", 1);
    let decide = |subject: &Subject, attempt| match (subject.part_number, attempt) {
        (Some(2), 1) => Some(Verdict::Reset),
        (Some(3), 1) => Some(Verdict::DropPart),
        (Some(4), 1) => panic!("part {} is too much", 4),
        _ => None,
    };
    let on = Selector { action: Some(vod_proto::Action::UploadPart), ..Selector::default() };
    let planted = engine.plant_decision(None, "f", on, Phase::AfterCommit, None, Box::new(decide));
    let planted = planted.unwrap();
    let mistake = || engine.mistake(planted);
    let verdict = |n| strike(&engine, Phase::AfterCommit, &part(n), 1).map(|strike| strike.verdict);
    let loud = Some(Verdict::http(500));
    assert_eq!((verdict(1), verdict(2), mistake()), (None, Some(Verdict::Reset), None));
    assert_eq!((verdict(4), mistake()), (loud.clone(), Some("it panicked: part 4 is too much".to_owned())));
    assert_eq!((verdict(3), mistake()), (loud, Some("it panicked: part 4 is too much".to_owned())), "the first");
    let finish = Subject { action: Some("FinishUpload".into()), ..part(2) };
    assert!(strike(&engine, Phase::AfterCommit, &finish, 1).is_none());
    assert_eq!(engine.fates()[0].struck, 3);
}

#[test]
fn a_server_is_not_asked_for_what_it_cannot_do() {
    let plant = |verdict: &str, powers| {
        let plan = format!("[[fault]]\nid = \"f\"\nphase = \"before-commit\"\ndo = {verdict}\n");
        Engine::new(toml::from_str(&plan).unwrap(), 1, powers).err().map(|error| error.to_string())
    };
    for (verdict, lacking, says) in [
        ("\"drop-part\"", Powers { spoils: false, ..POWERS }, "no uploads of its own"),
        ("{ corrupt = { offset = 1 } }", Powers { rereads: false, ..POWERS }, "keeps no bytes"),
        ("{ kill = \"mock\" }", Powers { kills: false, ..POWERS }, "nobody who kills"),
        ("{ refuse = \"1s\" }", Powers { refuses: false, ..POWERS }, "no listener of its own"),
    ] {
        assert_eq!(plant(verdict, POWERS), None, "{verdict}");
        let refused = plant(verdict, lacking).expect("it cannot strike");
        assert!(refused.contains(says), "{refused}");
    }
}

#[tokio::test]
async fn a_hold_opens_for_good_when_it_is_released_or_lifted() {
    let engine = engine("[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = { hold = \"door\" }\n", 1);
    let unknown = engine.release(None, "gate").unwrap_err().to_string();
    assert_eq!(unknown, "no fault holds under the name \"gate\": expected one of door");
    assert_eq!(engine.release(None, "door"), Ok(0), "nobody is there yet");
    assert_eq!(engine.release(Some("a"), "door").unwrap_err().known, [""; 0], "it is the server's, not an account's");
}

#[tokio::test(start_paused = true)]
async fn a_hold_lets_go_when_the_time_of_its_fault_is_over() {
    let engine = engine("", 1);
    let plan = "[[fault]]\nid = \"a\"\nphase = \"before-read\"\ndo = { hold = \"door\" }\n";
    engine.plant(None, toml::from_str(plan).unwrap(), Some(Duration::from_secs(9))).unwrap();
    let strike = strike(&engine, Phase::BeforeRead, &part(1), 1).expect("it fits");
    let start = instant();
    tokio::time::advance(Duration::from_secs(2)).await;
    strike.latch.expect("it holds").wait().await;
    assert_eq!(start.elapsed(), Duration::from_secs(9));
}
