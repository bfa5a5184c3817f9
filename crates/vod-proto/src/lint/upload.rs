//! The exchanges of one upload, in the order of time.

use std::collections::BTreeMap;

use super::{Finding, Lacking, conduct, order, told::Told};
use crate::{
    Action, Code, Exchange, Family, PartSpan, Query, Sha1,
    action::Role,
    exchange::ReplyRecord,
    rules::{LISTED_PART_SKIPPED, Rule},
};

/// How far the clocks of two exchanges may disagree, in microseconds: each begins on the wall clock and is measured on
/// another.
const GRAIN_US: i64 = 2_000;

/// Exchanges that belong together. The server and the UGC family share an upload; the others are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Opened, sent in parts, finished.
    Stepped,
    /// Sent in parts, in the order that the server dictates.
    Dictated,
    /// Sent whole.
    Whole,
}

/// One request, as the rules look at it.
pub(super) struct Seen<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) action: Action,
    pub(super) query: Query,
    /// When its head had come, in microseconds since 1970.
    pub(super) start: i64,
    /// From here on a client may know the answer.
    pub(super) may_know: i64,
    /// From here on a client that waits for the answer knows it.
    pub(super) over: i64,
    /// What the client was told.
    pub(super) reply: Option<&'a ReplyRecord>,
    /// The code in it.
    pub(super) code: Option<Code>,
}

impl<'a> Seen<'a> {
    fn new(exchange: &'a Exchange) -> Option<Self> {
        let action = exchange.known_action().filter(|_| exchange.request.method != "OPTIONS")?;
        let (start, over) = (exchange.start.as_microsecond(), exchange.over_us());
        let reply = exchange.whole_reply();
        Some(Self {
            exchange,
            action,
            query: exchange.path_and_query().1,
            start,
            may_know: exchange.body_done_us().max(over.saturating_sub(GRAIN_US)),
            over,
            reply,
            code: reply.and_then(|_| exchange.code()),
        })
    }

    pub(super) const fn seq(&self) -> u64 {
        self.exchange.seq
    }

    pub(super) const fn role(&self) -> Role {
        self.action.role()
    }

    /// The part that it sends.
    pub(super) fn part(&self) -> Option<PartSpan> {
        self.exchange.part.filter(|_| self.role().sends_part())
    }

    /// Does an upload begin with it, so that a client that starts again sends it without knowing anything?
    pub(super) fn is_first_contact(&self) -> bool {
        match self.role() {
            Role::Open | Role::Whole | Role::Report => true,
            Role::Next => self.part().is_none_or(|part| part.offset == 0),
            Role::Part | Role::Finish => false,
        }
    }

    /// Was it answered so that an upload can go on from it?
    pub(super) fn opened(&self) -> bool {
        self.role() == Role::Open && matches!(self.code, Some(Code::OK | Code::RESUME))
    }

    /// Was it answered that the file is there?
    pub(super) fn existed(&self) -> bool {
        self.role() == Role::Open && self.code == Some(Code::EXISTS)
    }

    /// Was it answered, and not by yes?
    pub(super) fn failed(&self) -> bool {
        let succeeded = match self.role() {
            Role::Open => self.opened() || self.existed(),
            _ => self.code == Some(Code::OK),
        };
        self.reply.is_some() && !succeeded
    }

    /// What the client was told, in a few words.
    pub(super) fn answer(&self) -> String {
        match (self.code, self.reply) {
            (Some(code), _) => format!("was answered {code}"),
            (None, Some(reply)) => format!("was answered by HTTP {} without a code", reply.status),
            (None, None) => "got no answer".to_owned(),
        }
    }

    /// The upload signature of the UGC family.
    pub(super) fn upload_signature(&self) -> Option<String> {
        let given = ["signature", "Signature"].iter().find_map(|name| self.query.get(name));
        given.filter(|_| self.action.family() == Family::Ugc).map(|text| text.into_owned())
    }

    /// What makes two requests the same request, whatever else their parameters say.
    pub(super) fn key(&self) -> (Action, Option<PartSpan>) {
        (self.action, self.part())
    }

    /// What makes two requests the same to the letter, but for what changes by itself.
    pub(super) fn to_the_letter(&self) -> String {
        let volatile = |name: &str| match name {
            "Timestamp" | "Nonce" => true,
            "Signature" => self.action.family() != Family::Ugc,
            _ => false,
        };
        let pairs = self.query.pairs().filter(|pair| !volatile(&pair.name()));
        let mut pairs: Vec<_> = pairs.map(|pair| format!("{}={}", pair.raw_name(), pair.raw_value())).collect();
        pairs.sort_unstable();
        let request = &self.exchange.request;
        format!("{} {} {}", request.method, self.exchange.path_and_query().0, pairs.join("&"))
    }
}

/// The exchanges of one upload, by number.
pub(super) struct Upload<'a> {
    seen: Vec<Seen<'a>>,
    /// Are exchanges of it missing, or may be, before the list begins?
    cut: bool,
}

/// The exchanges by upload, from where on nothing is missing. What names no file belongs to none.
pub(super) fn all<'a>(exchanges: &[&'a Exchange], lacking: &Lacking) -> Vec<Upload<'a>> {
    let mut uploads: BTreeMap<(Option<&str>, Sha1, Kind), Vec<Seen<'_>>> = BTreeMap::new();
    for seen in exchanges.iter().copied().filter_map(Seen::new) {
        let kind = match seen.role() {
            Role::Open | Role::Part | Role::Finish => Kind::Stepped,
            Role::Next => Kind::Dictated,
            Role::Whole => Kind::Whole,
            Role::Report => continue,
        };
        let account = seen.exchange.account.as_deref();
        if let Some(file_sha1) = seen.exchange.file_sha1
            && seen.seq() > lacking.gap(account).up_to
        {
            uploads.entry((account, file_sha1, kind)).or_default().push(seen);
        }
    }
    let upload = |((account, _, _), mut seen): ((Option<&str>, _, _), Vec<Seen<'a>>)| {
        seen.sort_by_key(|seen| (seen.start, seen.seq()));
        let gap = lacking.gap(account);
        // Attempts are counted over everything that was ever seen, unless they were forgotten: the first of its kind is
        // the first there was.
        let first = seen.first().filter(|_| gap.forgotten == 0);
        let begins = first.is_some_and(|first| first.is_first_contact() && first.exchange.attempt <= 1);
        Upload { seen, cut: gap.up_to > 0 && !begins }
    };
    uploads.into_iter().map(upload).collect()
}

/// What happens to one request in the course of an upload, in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Sent,
    Knowable,
    Known,
}

impl<'a> Upload<'a> {
    /// Goes through the upload in the order of time and holds each request against what its client could know.
    pub(super) fn check(&self, findings: &mut Vec<Finding>) {
        let mut moments: Vec<_> = self
            .seen
            .iter()
            .enumerate()
            .flat_map(|(at, seen)| {
                [(seen.start, at, Moment::Sent), (seen.may_know, at, Moment::Knowable), (seen.over, at, Moment::Known)]
            })
            .collect();
        // At one time, as on a simulated clock, requests come in their own order: what was over before one was sent
        // began before it too.
        moments.sort_unstable();
        let mut told = Told::new(self.cut, &self.seen);
        for (_, at, moment) in moments {
            let seen = &self.seen[at];
            match moment {
                Moment::Known => told.known(seen),
                Moment::Knowable => told.knowable(seen),
                Moment::Sent => {
                    findings.extend(order::check(&mut told, seen));
                    conduct::check(&mut told, seen).into_iter().for_each(|finding| add(findings, finding));
                    told.sent(seen);
                }
            }
        }
    }
}

/// Who ignores a list ignores it for part after part: that is one breach, proven by the list and all of them.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    let is_list = finding.rule == &LISTED_PART_SKIPPED;
    let same = findings
        .iter_mut()
        .rev()
        .take_while(|_| is_list)
        .find(|earlier| earlier.rule == finding.rule && earlier.exchanges.first() == finding.exchanges.first());
    match same {
        Some(earlier) => earlier.exchanges.extend(&finding.exchanges[1..]),
        None => findings.push(finding),
    }
}

/// A breach, proven by these requests.
pub(super) fn breach(rule: &'static Rule, found: String, proof: &[&Seen<'_>]) -> Finding {
    let mut exchanges: Vec<u64> = proof.iter().map(|seen| seen.seq()).collect();
    exchanges.sort_unstable();
    exchanges.dedup();
    let last = proof.last().map(|seen| seen.exchange);
    Finding {
        rule,
        found,
        exchanges,
        account: last.and_then(|exchange| exchange.account.clone()),
        file_sha1: last.and_then(|exchange| exchange.file_sha1),
    }
}
