//! The core of a replay: which recorded exchange answers a request, or why none does. It does no I/O and reads no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vod_proto::{
    Exchange, PartSpan,
    exchange::{End, Mark},
};

use super::{
    asked::{Asked, Key, Reading, Seen, ShortIds},
    deaths::{Deaths, Life},
    miss::{Miss, Nearest, Why},
    numbers::Numbers,
};

/// The exchanges of a recording, and which of them were used.
#[derive(Debug)]
pub(super) struct Script {
    recorded: Vec<Arc<Exchange>>,
    turns: BTreeMap<Key, Turns>,
    /// How often each was used.
    used: Vec<u32>,
    reading: Reading,
    /// The short SecretIds that came so far.
    came: ShortIds,
    numbers: Numbers,
    kills: bool,
    deaths: Deaths,
}

/// The exchanges of one role, by their places in the recording.
#[derive(Debug, Default)]
struct Turns {
    all: Vec<usize>,
    left: BTreeSet<usize>,
}

/// The exchange that answers a request.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) at: usize,
    pub(super) exchange: Arc<Exchange>,
}

/// What a recording says about how its requests are to be read, beside what stands in its exchanges.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Parameters that are secrets beside those of the protocol.
    pub(super) secrets: Vec<String>,
    /// Is somebody there who kills clients, as they were killed then?
    pub(super) kills: bool,
}

/// Nobody was there any more to get an answer.
pub(super) const fn is_silent(exchange: &Exchange) -> bool {
    matches!(exchange.end, End::ClientGone { .. } | End::Killed)
}

/// After how many bytes of the request's body the exchange ended without an answer, if it did within the body.
pub(super) fn broke_off(exchange: &Exchange) -> Option<u64> {
    let broken = matches!(exchange.end, End::Reset | End::Closed | End::Timeout) && exchange.reply.is_none();
    (broken && !was_read(exchange)).then_some(exchange.request.body.len)
}

/// Was the body of its request read to the end?
fn was_read(exchange: &Exchange) -> bool {
    let header = |wanted: &str| exchange.request.headers.iter().find(|(name, _)| name == wanted);
    let Mark { len, sha1, .. } = exchange.request.body;
    if sha1.is_some() {
        return true;
    }
    match header("content-length").and_then(|(_, value)| value.parse::<u64>().ok()) {
        Some(announced) => announced <= len,
        None => len == 0 && header("transfer-encoding").is_none(),
    }
}

impl Script {
    /// A script of these exchanges, in this order.
    pub(super) fn new(exchanges: impl IntoIterator<Item = Exchange>, rules: Rules) -> Self {
        let recorded: Vec<_> = exchanges.into_iter().map(Arc::new).collect();
        let everything = Reading { accounts: true, hosts: true, secrets: rules.secrets, ..Reading::default() };
        let mut keys: Vec<_> = recorded.iter().map(|exchange| everything.recorded(exchange).key).collect();
        let short = ShortIds::recorded(keys.iter().filter_map(|key| key.account.as_ref()));
        for key in &mut keys {
            key.account = key.account.take().map(|placeholder| short.whose(placeholder));
        }
        let several = |of: fn(&Key) -> Option<&String>| {
            let mut different = keys.iter().filter_map(of);
            different.next().is_some_and(|first| different.any(|other| other != first))
        };
        // Where there is but one, another may take its place: a test has credentials of its own.
        let accounts = several(|key| key.account.as_ref());
        let hosts = several(|key| key.host.as_ref());
        for key in &mut keys {
            key.account.take_if(|_| !accounts);
            key.host.take_if(|_| !hosts);
        }
        let mut turns = BTreeMap::<_, Turns>::new();
        for (at, key) in keys.into_iter().enumerate() {
            let turns = turns.entry(key).or_default();
            turns.all.push(at);
            turns.left.insert(at);
        }
        let numbers = Numbers::of(recorded.iter().map(|exchange| &**exchange));
        let used = vec![0; recorded.len()];
        let reading = Reading { accounts, hosts, short, ..everything };
        let deaths = Deaths::of(&recorded);
        Self { recorded, turns, used, reading, came: ShortIds::default(), numbers, kills: rules.kills, deaths }
    }

    /// The life in which a connection begins that is accepted now.
    pub(super) const fn life(&self) -> Life {
        self.deaths.now()
    }

    /// Is the client of that life killed, or about to be? Then what of it comes still is for nobody.
    pub(super) fn is_dead(&self, life: Life) -> bool {
        self.deaths.is_dead(life)
    }

    /// Was this request answered behind the death of a client who is still to be killed? Then its answer is not there yet.
    pub(super) fn is_early(&self, asked: &Asked) -> bool {
        let next = self.turns.get(&asked.key).and_then(|turns| self.answering(turns));
        self.kills && next.is_some_and(|at| self.deaths.lies_behind_one(at))
    }

    /// Reads a request whose target is redacted already.
    pub(super) fn read(&mut self, method: &str, host: &str, target: &str) -> Asked {
        let mut asked = self.reading.read(method, host, target);
        asked.key.account = asked.key.account.map(|placeholder| self.came.came(placeholder));
        asked
    }

    /// The number of the part that a request sends, from 1, as far as the recording tells.
    pub(super) fn part_number(
        &self,
        action: Option<&str>,
        upload: Option<vod_proto::Sha1>,
        part: PartSpan,
    ) -> Option<u64> {
        self.numbers.number(action?.parse().ok(), upload, part)
    }

    /// After how many bytes of its body the request breaks off that comes now, if it does.
    pub(super) fn breaks_off(&self, asked: &Asked, life: Life) -> Option<u64> {
        let at =
            self.answering(self.turns.get(&asked.key)?).filter(|_| !self.is_early(asked) && !self.is_dead(life))?;
        let recorded = &self.recorded[at];
        asked.differences(&self.reading.recorded(recorded)).is_empty().then(|| broke_off(recorded))?
    }

    /// What answers a request. Of a body that breaks off before its end nothing is `seen`.
    ///
    /// The first exchange of its role that is left must be the same request. Exchanges that ended without anybody there
    /// are passed over, as long as another is left behind them; but not where clients are killed as they were then: who gets
    /// no answer now must be who got none then.
    pub(super) fn next(&mut self, asked: &Asked, seen: Option<Seen>) -> Result<Turn, Box<Miss>> {
        let Some(turns) = self.turns.get(&asked.key) else { return Err(self.miss(asked, Why::Unmatched)) };
        let again = || turns.all.last().filter(|_| asked.key.is_preflight());
        let next = self.answering(turns).or_else(|| turns.left.first().or_else(again).copied());
        let Some(at) = next else {
            let times = turns.all.iter().map(|at| (self.recorded[*at].seq, self.used[*at])).collect();
            return Err(self.miss(asked, Why::Exhausted(times)));
        };
        let exchange = Arc::clone(&self.recorded[at]);
        let differences = self.differences(asked, seen, at);
        if !differences.is_empty() {
            let nearest = Nearest { seq: exchange.seq, name: exchange.name(), differences };
            return Err(Box::new(Miss { asked: asked.name(), why: Why::Unmatched, nearest: Some(nearest) }));
        }
        if let Some(turns) = self.turns.get_mut(&asked.key) {
            turns.left.remove(&at);
        }
        self.used[at] += 1;
        Ok(Turn { at, exchange })
    }

    /// An answer that nobody got is there again, unless it was for a client who is dead.
    pub(super) fn give_back(&mut self, at: usize) {
        let Some(exchange) = self.recorded.get(at).filter(|_| !self.deaths.is_over(at)) else { return };
        let key = self.reading.recorded(exchange).key;
        if let Some(turns) = self.turns.get_mut(&key) {
            turns.left.insert(at);
            self.used[at] = self.used[at].saturating_sub(1);
        }
    }

    /// Whoever got no answer, as then, does not wait for it any more.
    pub(super) fn went(&mut self, at: usize) {
        self.deaths.went(at);
    }

    /// The exchanges that nobody asked for, in the order of the recording. Nobody need ask again what nobody waited for then,
    /// nor what came in the moment of a client's death, nor what a browser asks as it likes.
    pub(super) fn unused(&self) -> Vec<Arc<Exchange>> {
        let asked = self.turns.iter().filter(|(key, _)| !key.is_preflight());
        let left: BTreeSet<_> = asked.flat_map(|(_, turns)| &turns.left).collect();
        let left = left.into_iter().filter(|at| !self.deaths.is_excused(**at)).map(|at| &self.recorded[*at]);
        left.filter(|exchange| !is_silent(exchange)).cloned().collect()
    }

    /// A client is about to be killed.
    pub(super) fn death_begins(&mut self) {
        self.deaths.begins(&self.used);
        let deaths = &self.deaths;
        self.turns.values_mut().for_each(|turns| turns.left.retain(|at| !deaths.is_over(*at)));
    }

    /// It is dead: whoever comes now is another one.
    pub(super) const fn death_ends(&mut self) {
        self.deaths.ends();
    }

    /// The first that is left and answers.
    fn answering(&self, turns: &Turns) -> Option<usize> {
        turns.left.iter().copied().find(|at| self.kills || !is_silent(&self.recorded[*at]))
    }

    fn differences(&self, asked: &Asked, seen: Option<Seen>, at: usize) -> Vec<String> {
        let recorded = &self.recorded[at];
        let mut differences = asked.differences(&self.reading.recorded(recorded));
        let Mark { len, sha1, .. } = recorded.request.body;
        if let Some(seen) = seen.filter(|_| was_read(recorded)) {
            if seen.len != len {
                differences.push(format!("the body has {} bytes: recorded {len}", seen.len));
            } else if let (Some(now), Some(then)) = (seen.sha1, sha1)
                && now != then
            {
                differences.push(format!("the body has SHA-1 {now}: recorded {then}"));
            }
        }
        differences
    }

    /// Nothing answers: the nearest that was recorded is named, for whoever looks for what went wrong.
    fn miss(&self, asked: &Asked, why: Why) -> Box<Miss> {
        let nearest = self.turns.iter().max_by_key(|(key, turns)| {
            (asked.key.likeness(key), !turns.left.is_empty(), std::cmp::Reverse(turns.all.first()))
        });
        let at = nearest.and_then(|(_, turns)| turns.left.first().or(turns.all.last()));
        let nearest = at.map(|at| {
            let exchange = &self.recorded[*at];
            Nearest { seq: exchange.seq, name: exchange.name(), differences: self.differences(asked, None, *at) }
        });
        Box::new(Miss { asked: asked.name(), why, nearest })
    }
}

#[cfg(test)]
mod tests;
