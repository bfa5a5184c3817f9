//! The journal by itself: exchanges that begin and end without a server.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use vod_proto::{Action, Code, PartSpan, Sha1, lint::Gap};

use super::*;
use crate::{
    ReplyOut,
    transport::{Line as Connection, Transport},
};

/// A connection that nothing passes.
impl Transport for tokio::io::Empty {
    fn reset_on_drop(&mut self) {}
}

/// A part of an account's upload begins to come. Its target is so long that each weighs about as much as is said.
fn begin_long(journal: &Arc<Journal>, account: Option<&str>, part: u64, len: usize) -> Arc<Open> {
    let target = format!("/v2/index.php?Action=UploadPart&pad={}", "x".repeat(len));
    let request = http::Request::post(target).header("host", "h").body(()).expect("a request");
    let head = Head::of(request.into_parts().0, false);
    let subject = Subject {
        account: account.map(Arc::from),
        action: Some("UploadPart".into()),
        file_sha1: Some(Sha1::of(b"file")),
        part: Some(PartSpan { offset: part, len: 1 }),
        ..Subject::default()
    };
    let (_, line) = Connection::new(tokio::io::empty());
    journal.writer(line).open(&head, subject, jiff::Timestamp::UNIX_EPOCH, || account != Some("gone"))
}

fn begin(journal: &Arc<Journal>, account: Option<&str>, part: u64) -> Arc<Open> {
    begin_long(journal, account, part, 0)
}

/// It comes, and is answered.
fn serve(journal: &Arc<Journal>, account: Option<&str>, part: u64) {
    let open = begin(journal, account, part);
    open.reply(&ReplyOut::json(r#"{"code":0}"#.to_owned()));
    open.publish();
    open.end(End::Replied);
}

fn numbers(exchanges: &[Exchange]) -> Vec<u64> {
    exchanges.iter().map(|exchange| exchange.seq).collect()
}

fn ceiling_of(exchanges: usize) -> usize {
    let journal = Journal::memory(1);
    serve(&journal, Some("a"), 0);
    exchanges * Packed::of(journal.exchanges().remove(0)).weight()
}

#[test]
fn one_noisy_account_costs_no_other_its_evidence() {
    let journal = Journal::builder(1).ceiling(ceiling_of(10)).memory();
    serve(&journal, Some("quiet"), 0);
    serve(&journal, None, 0);
    (0..30).for_each(|part| serve(&journal, Some("noisy"), part));
    serve(&journal, Some("quiet"), 1);
    let noisy = Whose::account("noisy");
    assert_eq!(numbers(&journal.exchanges_of(&Whose::account("quiet"))), [1, 33]);
    assert_eq!(numbers(&journal.exchanges_of(&Whose::Nobody)), [2]);
    assert_eq!(numbers(&journal.exchanges_of(&noisy)), (26..=32).collect::<Vec<_>>(), "the oldest go first");
    assert_eq!((journal.evicted(), journal.evicted_of(&noisy)), (23, 23));
    assert_eq!(journal.evicted_of(&Whose::account("quiet")) + journal.evicted_of(&Whose::Nobody), 0);
    let Kept { exchanges, lacking } = journal.kept(&Whose::Everybody);
    assert_eq!(exchanges.len(), 10);
    let mut expected = Lacking::nothing();
    expected.of_account(Some("noisy".to_owned()), Gap { evicted: 23, up_to: 25, forgotten: 0 });
    assert_eq!(lacking, expected);
    let nothing = Journal::builder(1).ceiling(0).memory();
    serve(&nothing, None, 0);
    let handed_over = begin(&nothing, None, 0);
    assert_eq!((nothing.exchanges().len(), nothing.last_seq()), (0, 1));
    handed_over.publish();
    assert_eq!((nothing.exchanges().len(), nothing.last_seq()), (1, 2), "whoever has an answer finds its exchange");
}

#[test]
fn what_ends_late_is_evicted_late_and_the_gap_reaches_behind_it() {
    let journal = Journal::builder(1).ceiling(ceiling_of(2)).memory();
    let late = begin(&journal, Some("a"), 0);
    (1..5).for_each(|part| serve(&journal, Some("a"), part));
    late.end(End::Closed);
    let Kept { exchanges, lacking } = journal.kept(&Whose::account("a"));
    assert_eq!(exchanges.iter().map(|exchange| exchange.seq).collect::<Vec<_>>(), [1, 5]);
    let mut expected = Lacking::nothing();
    expected.of_account(Some("a".to_owned()), Gap { evicted: 3, up_to: 4, forgotten: 0 });
    assert_eq!(lacking, expected);
}

proptest! {
    #[test]
    fn an_account_below_its_fair_share_never_loses_anything(
        accounts in 1..6_usize,
        ceiling in 5_000..40_000_usize,
        served in proptest::collection::vec((0..6_usize, 0..3_000_usize, 0..4_usize), 1..80),
    ) {
        let journal = Journal::builder(1).ceiling(ceiling).memory();
        // What each account had in all: numbers and weight.
        let mut had: BTreeMap<Option<String>, (Vec<u64>, usize)> = BTreeMap::new();
        let mut under_way: Vec<Arc<Open>> = Vec::new();
        let mut end = |open: &Arc<Open>| {
            open.end(End::Closed);
            let packed = open.slot().shown().expect("it is over");
            let (numbers, weight) = had.entry(packed.account.as_deref().map(str::to_owned)).or_default();
            numbers.push(packed.seq);
            *weight += packed.weight();
        };
        for (account, len, ends) in served {
            let account = account % accounts;
            let account = (account > 0).then(|| format!("account {account}"));
            under_way.push(begin_long(&journal, account.as_deref(), 0, len));
            // Some of those under way end, the latest first.
            under_way.drain(under_way.len().saturating_sub(ends)..).rev().for_each(|open| end(&open));
        }
        under_way.iter().for_each(&mut end);
        let kept = journal.kept(&Whose::Everybody).exchanges;
        prop_assert!(kept.iter().map(|exchange| Packed::of(Exchange::clone(exchange)).weight()).sum::<usize>() <= ceiling);
        let all: usize = had.values().map(|(numbers, _)| numbers.len()).sum();
        prop_assert_eq!(kept.len() as u64 + journal.evicted(), all as u64);
        let share = ceiling / had.len();
        for (account, (mut numbers, weight)) in had {
            let whose = account.as_deref().map_or(Whose::Nobody, Whose::account);
            let kept = journal.kept(&whose).exchanges;
            prop_assert_eq!(kept.len() as u64 + journal.evicted_of(&whose), numbers.len() as u64);
            if weight <= share {
                numbers.sort_unstable();
                prop_assert_eq!(kept.iter().map(|exchange| exchange.seq).collect::<Vec<_>>(), numbers);
            }
        }
    }

    #[test]
    fn an_account_that_floods_resets_no_attempts_of_another(
        seen in proptest::collection::vec((0..4_usize, 0..30_u64), 1..200),
        most in 8..40_usize,
    ) {
        let mut shelves = Shelves::new(KEPT_MOST, most);
        let names = ["a", "b", "c", "d"];
        let mut attempts: BTreeMap<usize, BTreeMap<u64, u32>> = BTreeMap::new();
        for (account, part) in seen {
            let key = (Some(Action::UploadPart), None, Some(part));
            let counted = shelves.attempts(Some(names[account]), key, |count| *count += 1);
            let own = attempts.entry(account).or_default();
            *own.entry(part).or_insert(0) += 1;
            if own.len() <= most / names.len() {
                prop_assert_eq!(counted, own[&part], "account {} has no more than its share", account);
            }
        }
        let forgotten = |account: &str| shelves.of_whom(&Whose::account(account)).map(|(_, shelf)| shelf.gap().forgotten).sum::<u64>();
        let known: usize = attempts.values().map(BTreeMap::len).sum();
        prop_assert_eq!(names.map(forgotten).iter().sum::<u64>() == 0, known <= most);
    }
}

#[test]
fn an_attempt_that_is_forgotten_is_told_and_its_request_is_new_again() {
    let mut shelves = Shelves::new(KEPT_MOST, 2);
    let mut attempt = |part| shelves.attempts(Some("a"), (None, None, Some(part)), |count| *count += 1);
    assert_eq!([attempt(0), attempt(0), attempt(1), attempt(2)], [1, 2, 1, 1]);
    assert_eq!(attempt(0), 1, "it was forgotten as the oldest");
    let gaps: Vec<_> = shelves.of_whom(&Whose::Everybody).map(|(_, shelf)| shelf.gap()).collect();
    let forgotten = Gap { forgotten: 2, ..Gap::default() };
    assert_eq!(gaps, [Gap::default(), forgotten]);
    assert_eq!(shelves.take(&Whose::account("a")).len(), 1);
    assert_eq!(shelves.attempts(Some("b"), (None, None, Some(0)), |count| *count += 1), 1);
}

#[test]
fn a_reset_forgets_one_account_ends_what_is_under_way_and_lets_numbers_go_on() {
    let journal = Journal::builder(1).ceiling(ceiling_of(3)).memory();
    (0..4).for_each(|part| serve(&journal, Some("a"), part));
    serve(&journal, Some("b"), 0);
    let (own, other) = (begin(&journal, Some("a"), 9), begin(&journal, Some("b"), 0));
    journal.reset(&Whose::account("a"));
    assert!(journal.exchanges_of(&Whose::account("a")).is_empty());
    assert_eq!(journal.evicted(), 0, "what was evicted of it is forgotten too");
    assert_eq!(journal.kept(&Whose::Everybody).lacking, Lacking::nothing());
    assert_eq!(own.slot().shown().map(|exchange| exchange.end), Some(End::Closed));
    assert!(other.slot().shown().is_none(), "the other goes on");
    assert_eq!(other.attempt(), 2);
    assert_eq!(begin(&journal, Some("a"), 0).attempt(), 1);
    let (next, tallies) = (begin(&journal, Some("b"), 0), journal.tallies());
    assert_eq!(next.attempt(), 3);
    next.end(End::Closed);
    assert_eq!(numbers(&journal.exchanges()), [5, 8, 9], "the one begun in between was left by its client");
    assert_eq!(tallies.keys().cloned().collect::<Vec<_>>(), [None, Some("a".to_owned()), Some("b".to_owned())]);
    journal.reset(&Whose::Everybody);
    assert!(journal.exchanges().is_empty());
}

#[test]
fn what_begins_when_its_account_is_gone_is_nobodys() {
    let journal = Journal::memory(1);
    let open = begin(&journal, Some("gone"), 0);
    assert_eq!((open.subject().account.as_deref(), open.attempt()), (None, 1));
    open.end(End::Replied);
    assert!(!journal.knows("gone"));
    assert_eq!(numbers(&journal.exchanges_of(&Whose::Nobody)), [1]);
}

#[test]
fn what_is_dropped_while_its_account_is_reset_is_forgotten_too() {
    let journal = Journal::memory(1);
    for whose in [Whose::account("a"), Whose::Everybody] {
        let open = begin(&journal, Some("a"), 0);
        let (seq, slot) = (open.seq(), Arc::clone(open.slot()));
        // It cannot end before this is let go, and nobody else can end it once it is being dropped.
        let held = slot.state();
        let dropping = std::thread::spawn(move || drop(open));
        while journal.state().under_way[&seq].open.strong_count() > 0 {
            std::thread::yield_now();
        }
        journal.reset(&whose);
        let later = begin(&journal, Some("b"), 0);
        drop(held);
        dropping.join().unwrap();
        assert!(!journal.knows("a"), "{whose:?}");
        later.end(End::Closed);
        assert_eq!(numbers(&journal.exchanges()), [seq + 1], "{whose:?}");
        journal.reset(&Whose::Everybody);
    }
}

#[test]
fn what_is_counted_only_grows_and_an_account_takes_it_along() {
    let journal = Journal::builder(1).ceiling(ceiling_of(2)).memory();
    (0..5).for_each(|part| serve(&journal, Some("a"), part));
    let refused = begin(&journal, Some("a"), 9);
    refused.body_progress(300);
    refused.reply(&ReplyOut::json(r#"{"code":-77}"#.to_owned()));
    refused.end(End::ClientGone { after: 300 });
    begin(&journal, None, 0).end(End::Reset);
    let tallies = journal.tallies();
    let own = &tallies[&Some("a".to_owned())];
    let counted = |end, status, code| Counted { action: Some(Action::UploadPart), end, status, code };
    let expected = [
        (counted("client-gone", Some(200), Some(CountedCode::Unknown)), 1),
        (counted("replied", Some(200), Some(CountedCode::Known(Code::OK))), 5),
    ];
    assert_eq!(own.exchanges, BTreeMap::from(expected));
    assert_eq!((own.faults, own.body_bytes), (0, 300));
    assert_eq!(tallies[&None].exchanges, BTreeMap::from([(counted("reset", None, None), 1)]));
    assert_eq!(journal.evicted(), 5, "what was evicted was counted");
    let mut sum = Tally::default();
    tallies.values().for_each(|tally| sum.add(tally));
    assert_eq!(sum.exchanges.values().sum::<u64>(), 7);
    journal.reset(&Whose::account("a"));
    assert!(!journal.tallies().contains_key(&Some("a".to_owned())));
}

#[test]
fn the_file_keeps_what_is_evicted_and_reset_in_the_order_of_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let lines = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let seqs = text.lines().map(|line| Exchange::from_line(line).unwrap().seq);
        seqs.collect::<Vec<_>>()
    };
    let journal = Journal::builder(1).ceiling(ceiling_of(2)).file(&path).unwrap();
    let late = begin(&journal, Some("a"), 7);
    (0..3).for_each(|part| serve(&journal, Some("a"), part));
    assert_eq!(lines(), [2, 3, 4]);
    late.end(End::Closed);
    journal.reset(&Whose::Everybody);
    serve(&journal, Some("a"), 0);
    assert_eq!(lines(), [2, 3, 4, 1, 5]);
    drop((late, journal));
    // The next life takes up what still fits, in the order of ends, and counts on.
    let journal = Journal::builder(1).ceiling(ceiling_of(2)).file(&path).unwrap();
    assert_eq!((numbers(&journal.exchanges()), journal.evicted()), (vec![1, 5], 3));
    let next = begin(&journal, Some("a"), 2);
    assert_eq!((next.attempt(), journal.tallies()[&Some("a".to_owned())].clone()), (2, Tally::default()));
    next.end(End::Closed);
    assert_eq!(lines(), [2, 3, 4, 1, 5, 6]);
}

#[test]
fn a_number_that_an_earlier_life_never_wrote_is_missing_whoever_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::file(&path, 1).unwrap();
    let killed = begin(&journal, Some("a"), 7);
    (0..3).for_each(|part| serve(&journal, Some("b"), part));
    let written = std::fs::read_to_string(&path).unwrap();
    drop((killed, journal));
    // As a process leaves it that is killed.
    std::fs::write(&path, written).unwrap();
    let journal = Journal::file(&path, 1).unwrap();
    for whose in [Whose::Everybody, Whose::account("b"), Whose::Nobody] {
        assert_eq!(journal.evicted_of(&whose), 1, "{whose:?}");
    }
    serve(&journal, Some("b"), 3);
    assert_eq!(journal.kept(&Whose::Everybody).lacking, Lacking::by_numbers(&journal.exchanges()));
    journal.reset(&Whose::Everybody);
    assert_eq!(journal.evicted(), 0);
}

#[test]
fn lines_of_many_threads_are_whole_and_in_the_order_of_ends_and_nothing_is_lost_or_doubled() {
    const THREADS: u64 = 4;
    const EACH: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::file(&path, 1).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = &journal;
            let account = format!("account {}", thread % 2);
            scope.spawn(move || {
                for part in 0..EACH {
                    serve(journal, Some(&account), part);
                    // Whoever has its answer finds it, also while others write theirs.
                    let own = journal.kept(&Whose::account(&account)).exchanges;
                    assert!(own.iter().any(|exchange| exchange.part.map(|part| part.offset) == Some(part)));
                }
            });
        }
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let written: Vec<Exchange> = text.lines().map(|line| Exchange::from_line(line).unwrap()).collect();
    let ended: Vec<u64> = {
        let state = journal.state();
        let mut over: Vec<_> = state.shelves.of_whom(&Whose::Everybody).flat_map(|(_, shelf)| shelf.after(0)).collect();
        over.sort_by_key(|over| over.end);
        over.iter().map(|over| over.packed.seq).collect()
    };
    assert_eq!(numbers(&written), ended);
    assert_eq!(numbers(&journal.exchanges()), (1..=THREADS * EACH).collect::<Vec<_>>());
    let mut attempts: Vec<u32> = written.iter().map(|exchange| exchange.attempt).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [vec![1; 400], vec![2; 400]].concat(), "two threads send each part of an account");
}

#[test]
fn whoever_ends_an_exchange_waits_for_its_line_and_whoever_reads_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let journal = Journal::file(&path, 1).unwrap();
    let open = begin(&journal, Some("a"), 0);
    let written = || std::fs::read_to_string(&path).unwrap().lines().count();
    let writing = journal.file.as_ref().unwrap().lock().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| open.end(End::Replied));
        // It is over as soon as it can be seen, and its line cannot be written yet.
        while journal.exchanges().is_empty() {
            std::thread::yield_now();
        }
        let others = [
            scope.spawn(|| {
                open.end(End::Killed);
                written()
            }),
            scope.spawn(|| {
                assert!(journal.under_way().is_empty());
                written()
            }),
            scope.spawn(|| {
                journal.stop();
                written()
            }),
        ];
        (0..1_000).for_each(|_| std::thread::yield_now());
        assert!(open.over().now_or_never().is_none(), "its line is not written yet");
        assert_eq!(written(), 0);
        drop(writing);
        first.join().unwrap();
        assert_eq!(others.map(|other| other.join().unwrap()), [1; 3]);
    });
    assert_eq!(journal.exchanges()[0].end, End::Replied, "the first end counts");
}

/// Everything there is to read without waiting, as numbers; what was missed in brackets.
async fn read(follower: &mut Follower) -> String {
    let mut all = Vec::new();
    // It is ready, or it waits: no time passes.
    while let Ok(next) = tokio::time::timeout(std::time::Duration::ZERO, follower.next()).await {
        all.push(match next {
            Some(Followed::Exchange(exchange)) => exchange.seq.to_string(),
            Some(Followed::Missed(number)) => format!("[{number}]"),
            None => {
                all.push("end".to_owned());
                break;
            }
        });
    }
    all.join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_follower_reads_each_exchange_once_when_it_is_over_in_the_order_of_ends() {
    let journal = Journal::memory(1);
    let late = begin(&journal, Some("a"), 0);
    serve(&journal, Some("b"), 0);
    let mut everything = journal.follow(Whose::Everybody, Since::Beginning);
    let mut own = journal.follow(Whose::account("a"), Since::Beginning);
    let mut new = journal.follow(Whose::Everybody, Since::Now);
    assert_eq!(read(&mut everything).await, "2");
    late.publish();
    assert_eq!(read(&mut everything).await, "", "a reply that is handed over may still be lost");
    late.end(End::Replied);
    (1..200).for_each(|part| serve(&journal, Some(if part % 2 == 0 { "a" } else { "b" }), part));
    let all: Vec<_> = std::iter::once(1).chain(3..=201).map(|seq| seq.to_string()).collect();
    assert_eq!(read(&mut everything).await, all.join(" "));
    assert_eq!(read(&mut new).await, all.join(" "));
    let of_a: Vec<_> = std::iter::once(1).chain((4..=201).step_by(2)).map(|seq| seq.to_string()).collect();
    assert_eq!(read(&mut own).await, of_a.join(" "));
    assert_eq!(read(&mut own).await, "");
}

/// What wakes a follower that waits already.
async fn woken(mut follower: Follower, by: impl FnOnce()) -> (Option<Followed>, Follower) {
    let waiting = tokio::spawn(async move { (follower.next().await, follower) });
    // It runs until it waits.
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    by();
    let woken = tokio::time::timeout(std::time::Duration::from_secs(1), waiting).await;
    woken.expect("nobody woke it").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_waits_is_woken_by_an_end_a_reset_and_the_servers_stop() {
    let journal = Journal::memory(1);
    let number = |followed: Option<Followed>| match followed {
        Some(Followed::Exchange(exchange)) => (exchange.seq, exchange.end),
        other => panic!("{other:?}"),
    };
    let follower = journal.follow(Whose::Everybody, Since::Now);
    let (first, follower) = woken(follower, || serve(&journal, Some("a"), 0)).await;
    assert_eq!(number(first), (1, End::Replied));
    let under_way = begin(&journal, None, 0);
    let (second, follower) = woken(follower, || journal.reset(&Whose::Nobody)).await;
    assert_eq!(second, Some(Followed::Missed(1)), "it was ended and forgotten at once");
    let third = begin(&journal, None, 0);
    let (last, follower) = woken(follower, || journal.stop()).await;
    assert_eq!(number(last), (3, End::Closed));
    drop((under_way, third, follower));
    // What was there can be read afterwards, and there is an end to it; with the next server it goes on.
    let mut later = journal.follow(Whose::Everybody, Since::Beginning);
    assert_eq!(read(&mut later).await, "1 3 end");
    journal.begin();
    serve(&journal, None, 0);
    assert_eq!(read(&mut later).await, "end");
    let mut anew = journal.follow(Whose::Everybody, Since::Beginning);
    assert_eq!(read(&mut anew).await, "1 3 4");
    let (end, _) = woken(anew, || journal.stop()).await;
    assert_eq!(end, None, "nothing was under way");
}

#[tokio::test(start_paused = true)]
async fn a_slow_follower_is_told_what_it_missed() {
    let journal = Journal::builder(1).ceiling(ceiling_of(4)).memory();
    let mut slow = journal.follow(Whose::Everybody, Since::Beginning);
    let mut of_b = journal.follow(Whose::account("b"), Since::Beginning);
    (0..3).for_each(|part| serve(&journal, Some("a"), part));
    assert_eq!(read(&mut slow).await, "1 2 3");
    serve(&journal, Some("b"), 0);
    (3..9).for_each(|part| serve(&journal, Some("a"), part));
    // 1 to 7 of "a" are evicted, three of them read.
    assert_eq!(read(&mut slow).await, "[3] 4 8 9 10");
    assert_eq!(read(&mut of_b).await, "4");
    serve(&journal, Some("b"), 1);
    journal.reset(&Whose::Everybody);
    assert_eq!(read(&mut of_b).await, "[1]", "what a reset takes is missed too");
    serve(&journal, Some("b"), 2);
    journal.stop();
    assert_eq!(read(&mut of_b).await, "12 end");
    assert_eq!(read(&mut slow).await, "[1] 12 end");
}

#[test]
fn a_follower_that_is_gone_is_remembered_by_nobody() {
    let journal = Journal::memory(1);
    let follower = journal.follow(Whose::Everybody, Since::Beginning);
    assert!(!journal.state().followers.is_empty());
    drop(follower);
    assert!(journal.state().followers.is_empty());
}
