//! Clients that do everything right, on a server and a network that do not: none of them is ever accused.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Lacking, crafted::*, lint};
use crate::{
    Code, Exchange, Family, Limits,
    action::Role,
    code::RetryClass,
    exchange::{End, Times},
    reply::{InitReply, NextReply, Reply},
};

/// How many parts the file of the stories has.
const PARTS: u64 = 3;

/// What is left to chance. A choice that was not drawn is the plainest: 0.
struct Chance {
    drawn: std::vec::IntoIter<u8>,
}

impl Chance {
    fn of(&mut self, several: u64) -> u64 {
        u64::from(self.drawn.next().unwrap_or(0)) % several
    }

    /// Once in so many times.
    fn once_in(&mut self, many: u64) -> bool {
        self.of(many) == many - 1
    }
}

/// What the server keeps.
#[derive(Default)]
struct Server {
    open: bool,
    parts: BTreeSet<u64>,
    stored: bool,
}

impl Server {
    /// Does what is asked and says so.
    fn take(&mut self, family: Family, role: Role, index: u64, kept: bool) -> String {
        match role {
            Role::Open if self.stored => exists(),
            Role::Open => {
                self.open = true;
                let parts: Vec<_> = self.parts.iter().copied().collect();
                if parts.is_empty() { fresh() } else { resume(PART, &parts) }
            }
            Role::Next if self.stored => stored(),
            Role::Next => {
                if index == self.parts.len() as u64 {
                    self.parts.insert(index);
                }
                self.stored = self.parts.len() as u64 == PARTS;
                if self.stored { stored() } else { goes_on(self.parts.len() as u64 * PART) }
            }
            Role::Finish if self.stored => FINISHED.to_owned(),
            _ if !self.open || self.stored => FORGOTTEN.to_owned(),
            Role::Part => {
                if kept {
                    self.parts.insert(index);
                }
                OK.to_owned()
            }
            _ if (self.parts.len() as u64) < PARTS => NO.to_owned(),
            _ => {
                assert_ne!(family, Family::Legacy, "the older generation has no finish");
                self.stored = true;
                FINISHED.to_owned()
            }
        }
    }
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ask {
    role: Role,
    index: u64,
}

const OPEN: Ask = Ask { role: Role::Open, index: 0 };
const FINISH: Ask = Ask { role: Role::Finish, index: 0 };

/// One process of a correct client.
struct Client {
    family: Family,
    /// It has a signature of its own.
    signature: u64,
    /// How many requests it sends at once.
    parallel: usize,
    /// What it still has to do, and from when on it may.
    todo: BTreeMap<Ask, i64>,
    under_way: BTreeSet<Ask>,
    failures: u64,
    asked_again: u64,
    over: bool,
    refused_at_once: bool,
}

impl Client {
    fn start(family: Family, now: i64, signature: u64, parallel: usize) -> Self {
        let first = if family == Family::Legacy { Ask { role: Role::Next, index: 0 } } else { OPEN };
        let todo = BTreeMap::from([(first, now)]);
        let (under_way, failures, asked_again) = (BTreeSet::new(), 0, 0);
        Self {
            family,
            signature,
            parallel,
            todo,
            under_way,
            failures,
            asked_again,
            over: false,
            refused_at_once: false,
        }
    }

    /// What it sends next, and when.
    fn next(&self) -> Option<(i64, Ask)> {
        if self.over || self.under_way.len() >= self.parallel {
            return None;
        }
        // It asks, or finishes, when nothing else is under way.
        let ready = self.todo.iter().filter(|(ask, _)| ask.role == Role::Part || self.under_way.is_empty());
        ready.map(|(ask, at)| (*at, *ask)).min()
    }

    fn ask_again(&mut self, now: i64) {
        self.asked_again += 1;
        self.over |= self.asked_again > 3;
        self.todo = BTreeMap::from([(OPEN, now)]);
    }

    /// Takes an answer, or that there was none.
    fn hear(&mut self, ask: Ask, now: i64, wait: i64, exchange: &Exchange) {
        self.under_way.remove(&ask);
        if self.over {
            return;
        }
        let asks_again = self.todo.contains_key(&OPEN);
        let reply = exchange.whole_reply().filter(|reply| reply.status < 500).and_then(|_| exchange.parsed_reply());
        match (ask.role, reply) {
            (_, Some(Reply::Rejected(rejected))) => match rejected.retry_class() {
                _ if asks_again => {}
                RetryClass::Final if ask.role == Role::Finish => self.ask_again(now),
                RetryClass::Final => {
                    self.refused_at_once = ask.role == Role::Open || (ask.role == Role::Next && ask.index == 0);
                    self.over = true;
                }
                _ if rejected.code == Code::CACHE_READ => self.ask_again(now),
                _ => self.again(ask, now + wait),
            },
            (Role::Open, Some(Reply::Init(InitReply::Exists(_)))) => self.over = true,
            (Role::Open, Some(Reply::Init(reply))) => {
                let listed = match reply {
                    InitReply::Resume { parts, .. } => parts.iter().map(|part| part.offset / PART).collect(),
                    _ => BTreeSet::new(),
                };
                let missing = (0..PARTS).filter(|index| !listed.contains(index));
                self.todo = missing.map(|index| (Ask { role: Role::Part, index }, now)).collect();
                self.finish_if_done(now);
            }
            (Role::Part, Some(Reply::Part)) => self.finish_if_done(now),
            (Role::Finish, Some(_)) => self.over = true,
            (Role::Next, Some(Reply::Next(NextReply::Continue { offset }))) => {
                self.todo = BTreeMap::from([(Ask { role: Role::Next, index: offset / PART }, now)]);
            }
            (Role::Next, Some(_)) => self.over = true,
            // No answer, or none that can be read: a finish may have been done, so it asks.
            (Role::Finish, None) if !asks_again => self.ask_again(now + wait),
            _ if asks_again => {}
            _ => self.again(ask, now + wait),
        }
    }

    fn again(&mut self, ask: Ask, at: i64) {
        self.failures += 1;
        self.over |= self.failures > 8;
        self.todo.insert(ask, at);
    }

    fn finish_if_done(&mut self, now: i64) {
        if self.todo.is_empty() && self.under_way.is_empty() {
            self.todo.insert(FINISH, now);
        }
    }
}

/// An answer that is on its way: when it is over, to whom, to what, and in which exchange.
type Arrival = (i64, usize, Ask, usize);

/// The exchanges of several correct clients on one upload, in virtual microseconds.
fn told(family: Family, clients: usize, drawn: Vec<u8>) -> (Story, Option<usize>) {
    let mut chance = Chance { drawn: drawn.into_iter() };
    let mut server = Server::default();
    let mut story = Story::of(family);
    let mut processes: Vec<Client> = Vec::new();
    let mut arrivals: BTreeSet<Arrival> = BTreeSet::new();
    let mut forgot_at = None;
    let mut now = 1_000_000;
    let parallel = 1 + usize::try_from(chance.of(3)).unwrap();
    processes.push(Client::start(family, now, 1, parallel));
    let mut started = 1;
    let mut restarts = 0;
    let mut refusals = 0;
    while story.exchanges.len() < 60 {
        // A second client begins once the first one was let in.
        let let_in = processes[0].todo.keys().any(|ask| ask.role == Role::Part || ask.index > 0);
        if started < clients && let_in {
            started += 1;
            let parallel = 1 + usize::try_from(chance.of(2)).unwrap();
            processes.push(Client::start(family, now + 30_000, processes.len() as u64 + 1, parallel));
        }
        let send = processes.iter().enumerate().filter_map(|(at, client)| Some((client.next()?, at))).min();
        let arrival = arrivals.first().copied();
        match (send, arrival) {
            (send, Some(arrived)) if send.is_none_or(|((at, _), _)| arrived.0 <= at.max(now)) => {
                arrivals.remove(&arrived);
                let (at, client, ask, exchange) = arrived;
                now = now.max(at);
                // A little later than it was over, and after a wait of 50 ms at least.
                let (delay, wait) = (
                    i64::try_from(chance.of(3)).unwrap() * 700,
                    50_000 + i64::try_from(chance.of(40)).unwrap() * 1_000,
                );
                processes[client].hear(ask, now + delay, wait, &story.exchanges[exchange]);
            }
            (Some(((at, ask), client)), _) => {
                now = now.max(at);
                processes[client].todo.remove(&ask);
                processes[client].under_way.insert(ask);
                let over = send_one(&mut story, &mut server, &processes[client], ask, now, &mut chance, &mut refusals);
                arrivals.insert((over, client, ask, story.exchanges.len() - 1));
            }
            (None, None) => break,
            (None, Some(_)) => unreachable!("an arrival without a request comes first"),
        }
        // Somebody is killed, and started again a little later.
        let victim = usize::try_from(chance.of(processes.len() as u64)).unwrap();
        let ended = processes[victim].over && processes[victim].under_way.is_empty();
        if (chance.once_in(40) || (ended && chance.once_in(3))) && restarts < 2 && !processes[victim].refused_at_once {
            restarts += 1;
            let client = &processes[victim];
            let (family, parallel) = (client.family, client.parallel);
            for (over, _, _, exchange) in arrivals.iter().filter(|(_, client, ..)| *client == victim) {
                let killed = &mut story.exchanges[*exchange];
                if *over > now && chance.once_in(2) {
                    let us = u64::try_from(now - killed.start.as_microsecond()).unwrap_or(0);
                    killed.times = Times { first_byte: None, body_done: None, reply_done: Some(us) };
                    killed.unanswered(End::Killed);
                }
            }
            // No process is up again before what the last one left behind is long over.
            let left = arrivals.iter().filter(|(_, client, ..)| *client == victim).map(|(over, ..)| *over).max();
            arrivals.retain(|(_, client, ..)| *client != victim);
            let up = left.unwrap_or(now).max(now) + 30_000;
            let again = Client::start(family, up, processes.len() as u64 + 9, parallel);
            processes[victim] = again;
        }
        // The server loses what it had.
        if chance.once_in(60) && !server.stored {
            server = Server::default();
            forgot_at = Some(story.exchanges.len());
        }
    }
    (story, forgot_at)
}

/// Sends a request, and lets the server or the network make of it what they will. Says when it is over.
fn send_one(
    story: &mut Story,
    server: &mut Server,
    client: &Client,
    ask: Ask,
    now: i64,
    chance: &mut Chance,
    refusals: &mut u64,
) -> i64 {
    let fate = chance.of(24);
    let kept = fate != 1;
    // A refusal for good is rare enough that no process can have heard three.
    let refused = fate == 2 && *refusals < 1;
    *refusals += u64::from(refused);
    let reply = match fate {
        2 if refused && story.family == Family::Legacy => self::refused(-25_986),
        2 if refused => NO.to_owned(),
        3 | 4 if story.family == Family::Legacy => self::refused(6000),
        3 | 4 => BUSY.to_owned(),
        5 => String::new(),
        6 => "injected 503".to_owned(),
        _ => server.take(story.family, ask.role, ask.index, kept),
    };
    story.sign_as(client.signature);
    let exchange = match ask.role {
        Role::Open => story.open(&reply),
        Role::Part => story.part(ask.index, &reply),
        Role::Finish => story.finish(&reply),
        _ => story.next(ask.index, &reply),
    };
    match fate {
        1 => _ = exchange.struck("drop-part", false),
        5 => _ = exchange.unanswered(End::Reset),
        6 => _ = exchange.status(503),
        // Done, and its answer lost.
        7 => _ = exchange.unanswered(End::Closed),
        8 => _ = exchange.unanswered(End::ClientGone { after: 9 }),
        9 => _ = exchange.struck("truncate-reply", true),
        _ => {}
    }
    exchange.start = Timestamp::from_microsecond(now).unwrap();
    let (body, rest) = (chance.of(4) * 3_000, chance.of(5) * 4_000);
    exchange.times = Times { first_byte: None, body_done: Some(body), reply_done: Some(body + rest) };
    exchange.over_us()
}

#[track_caller]
fn innocent(exchanges: &[Exchange]) -> Result<(), TestCaseError> {
    let findings = lint(exchanges, &Lacking::by_numbers(exchanges), &Limits::default()).findings;
    let shown = || {
        let name = |e: &Exchange| {
            format!(
                "{} {}+{} {} {:?}\n",
                e.name(),
                e.start.as_microsecond(),
                e.times.reply_done.unwrap_or(0),
                e.end,
                e.reply.as_ref().map(|r| &r.body)
            )
        };
        to_lines(&findings) + &exchanges.iter().map(name).collect::<String>()
    };
    prop_assert!(findings.is_empty(), "{}", shown());
    Ok(())
}

/// What a journal makes of these exchanges that sees them first: numbers and attempts from 1.
fn journaled(exchanges: &[Exchange]) -> Vec<Exchange> {
    let mut attempts = BTreeMap::new();
    let mut exchanges = exchanges.to_vec();
    for (at, exchange) in exchanges.iter_mut().enumerate() {
        let attempt = attempts.entry((exchange.action.clone(), exchange.part)).or_insert(0);
        *attempt += 1;
        (exchange.seq, exchange.attempt) = (at as u64 + 1, *attempt);
    }
    exchanges
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_client_is_never_accused(
        family in proptest::sample::select(Family::ALL.to_vec()),
        clients in 1..3_usize,
        drawn in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 0..60_usize,
        holes in proptest::collection::btree_set(1..60_u64, 0..8),
    ) {
        let (story, forgot_at) = told(family, clients, drawn);
        let exchanges = &journaled(&story.exchanges)[..];
        innocent(exchanges)?;
        // The list begins in the middle.
        innocent(&exchanges[cut.min(exchanges.len())..])?;
        // Some are missing here and there.
        innocent(&exchanges.iter().filter(|exchange| !holes.contains(&exchange.seq)).cloned().collect::<Vec<_>>())?;
        if clients == 1 {
            // A server that was started again with a new journal, and kept or lost its memory. Whoever does not come to
            // open anew cannot be told from somebody who never does.
            for from in [cut.min(exchanges.len()), forgot_at.unwrap_or(0)] {
                let life = journaled(&exchanges[from..]);
                let opens = life.iter().any(|exchange| exchange.action.as_deref().is_some_and(|name| name.starts_with("Init")));
                if opens || family == Family::Legacy {
                    innocent(&life)?;
                }
            }
        }
    }
}

#[test]
fn the_stories_of_correct_clients_are_not_all_plain() {
    // A story in which everything goes well is told when nothing is drawn.
    for family in Family::ALL {
        let (story, _) = told(family, 1, Vec::new());
        let last = story.exchanges.last().and_then(Exchange::says_stored);
        assert!(last.is_some() && story.exchanges.len() < 6, "{family}: {} requests", story.exchanges.len());
    }
    let mut seen = BTreeMap::<_, u64>::new();
    for seed in 0..100_u64 {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        let (story, forgot_at) = told(Family::Server, 2, (0..400).map(|_| byte()).collect());
        for exchange in &story.exchanges {
            *seen.entry(exchange.end.to_string()).or_default() += 1;
            *seen.entry(exchange.code().map_or("no code".to_owned(), |code| code.to_string())).or_default() += 1;
        }
        *seen.entry("forgot".to_owned()).or_default() += u64::from(forgot_at.is_some());
        let opens =
            story.exchanges.iter().filter(|exchange| exchange.part.is_none() && exchange.code() == Some(Code::OK));
        *seen.entry("let in twice".to_owned()).or_default() += u64::from(opens.count() > 2);
    }
    for what in [
        "replied",
        "reset",
        "closed",
        "killed",
        "client gone after 9 bytes",
        "forgot",
        "let in twice",
        "0",
        "1",
        "2",
        "-10003",
        "-10004",
        "-10005",
        "no code",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times >= 10), "{what} in {seen:?}");
    }
}
