//! What the clients of an upload have been told so far, and what follows from it.
//!
//! What excuses a request counts as soon as its client *may* know it, what speaks against it only when it *must*.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{retry, upload::Seen};
use crate::{
    Action, Code, Exchange, Family, Layout, Md5, PartSpan,
    action::Role,
    code::RetryClass,
    reply::{InitReply, ListedPart, NextReply, Reply},
};

/// Does this answer to an `InitUpload` list the part that another exchange sends, so that a client trusts it?
/// None where it is no answer that could.
///
/// A listed part whose length or MD5 is not that of the bytes is not to be trusted: to the client it is lost.
#[must_use]
pub fn lists(open: &Exchange, part: &Exchange) -> Option<bool> {
    let span = part.part?;
    match open_reply(open)? {
        InitReply::Fresh => Some(false),
        InitReply::Resume { parts, .. } => Some(parts.iter().any(|listed| is_of(listed, span, own_md5(part)))),
        InitReply::Exists(_) => None,
    }
}

fn open_reply(open: &Exchange) -> Option<InitReply> {
    match open.whole_reply().and_then(|_| open.parsed_reply())? {
        Reply::Init(reply) => Some(reply),
        _ => None,
    }
}

fn is_of(listed: &ListedPart, span: PartSpan, own: Option<Md5>) -> bool {
    let trusted = listed.md5.is_some_and(|md5| own.is_none_or(|own| own == md5));
    listed.offset == span.offset && listed.len == Some(span.len) && trusted
}

/// The MD5 of what the client sends: of the bytes that came, or else what it says itself.
fn own_md5(part: &Exchange) -> Option<Md5> {
    part.request.body.md5.or_else(|| part.path_and_query().1.get("dataMd5")?.parse().ok())
}

/// What a yes of the older generation says of the next part.
enum Next {
    /// It begins here.
    At(u64),
    /// There is none: the file is stored.
    Stored,
}

fn next(seen: &Seen<'_>) -> Option<Next> {
    if seen.role() != Role::Next || seen.code != Some(Code::OK) {
        return None;
    }
    match seen.exchange.parsed_reply() {
        Some(Reply::Next(NextReply::Continue { offset })) => Some(Next::At(offset)),
        Some(Reply::Next(NextReply::Stored(_))) => Some(Next::Stored),
        // A yes that does not say where leaves the client to go on where it is.
        _ => Some(Next::At(seen.part()?.end())),
    }
}

/// The grid of an upload, as one `InitUpload` and its answer agreed on it.
pub(super) struct Grid<'a> {
    pub(super) open: &'a Seen<'a>,
    /// The grid in force.
    pub(super) layout: Layout,
    /// The grid that was asked for, where the answer named another.
    pub(super) asked: Option<Layout>,
}

/// A request that the server ended.
struct Ended<'a> {
    seen: &'a Seen<'a>,
    /// Was it the first of its kind, so that its client cannot have given up by having tried often enough?
    first_try: bool,
}

/// What is known of one part.
#[derive(Default)]
pub(super) struct Part<'a> {
    /// The request that sent it last.
    pub(super) sent: Option<&'a Seen<'a>>,
    /// Acknowledgements that a client must know, by the part's length: how many, and the latest.
    acknowledged: BTreeMap<u64, (u64, &'a Seen<'a>)>,
    /// Answers of `InitUpload` that list it, and which a client must know.
    listed: Vec<(&'a Seen<'a>, ListedPart)>,
    /// May it be on the server, for all that a client may know? By length, or of any length if it was listed.
    there: BTreeSet<Option<u64>>,
    /// How often a reply dictated that it comes next.
    dictated: u64,
}

type Key = (Action, Option<PartSpan>);

/// How many failures of one request are remembered: more clients than anybody lets loose on one upload.
const REMEMBERED_MOST: usize = 64;

/// What the clients of one upload have been told so far.
pub(super) struct Told<'a> {
    /// Are exchanges of the upload missing before the list begins?
    pub(super) cut: bool,
    /// Does the list hold the upload from its first request on?
    pub(super) whole: bool,
    /// Where the parts begin that are sent, now or later.
    sent_at: BTreeSet<u64>,
    /// Where they end.
    sent_to: BTreeSet<u64>,
    /// How many of its opening requests are answered by yes, now or later.
    openings: u64,
    /// Did somebody open the upload before the list begins, or may have? The server took parts that nobody had opened
    /// it for; or the client was told that it had forgotten them, and opened anew.
    pub(super) begun_before: bool,

    // What excuses.
    /// Answers by which somebody may be at work on the upload.
    pub(super) opened: u64,
    /// Answers that the file is there.
    pub(super) existed: u64,
    pub(super) grids: Vec<Grid<'a>>,
    pub(super) signatures: BTreeSet<String>,
    /// Answers by which what was acknowledged may be lost.
    losses: u64,
    /// The last answer by which somebody may be at work.
    pub(super) last_opened: Option<&'a Seen<'a>>,
    /// How often an upload was begun by its first part, in the older generation.
    starts: u64,

    // What speaks against.
    /// The last opening request that was answered by an error.
    pub(super) refused_open: Option<&'a Seen<'a>>,
    /// The last answer that the file is there, or was put together.
    pub(super) stored: Option<&'a Seen<'a>>,
    /// The last reply that dictated an offset.
    pub(super) dictation: Option<&'a Seen<'a>>,
    /// Refusals for good, with the request to the letter.
    refused: BTreeMap<Key, VecDeque<(String, &'a Seen<'a>)>>,
    ended: BTreeMap<Key, VecDeque<Ended<'a>>>,

    /// How often each request was sent since it was last answered by yes.
    tries: BTreeMap<Key, u64>,
    pub(super) parts: BTreeMap<u64, Part<'a>>,
    /// What was found already and need not be said again.
    said: BTreeSet<(&'static str, u64)>,
}

impl<'a> Told<'a> {
    pub(super) fn new(cut: bool, seen: &'a [Seen<'a>]) -> Self {
        let opens = || seen.iter().filter(|seen| seen.opened() || seen.existed());
        let starts =
            |seen: &&Seen<'_>| seen.is_first_contact() && seen.role() != Role::Open && seen.code == Some(Code::OK);
        let whole = !cut && seen.first().is_some_and(Seen::is_first_contact);
        Self {
            cut,
            whole,
            sent_at: seen.iter().filter_map(|seen| Some(seen.part()?.offset)).collect(),
            sent_to: seen.iter().filter_map(|seen| Some(seen.part()?.end())).collect(),
            openings: (opens().count() + seen.iter().filter(starts).count()) as u64,
            begun_before: cut || (!whole && begun_before(seen)),
            opened: 0,
            existed: 0,
            grids: Vec::new(),
            signatures: BTreeSet::new(),
            losses: 0,
            last_opened: None,
            starts: 0,
            refused_open: None,
            stored: None,
            dictation: None,
            refused: BTreeMap::new(),
            ended: BTreeMap::new(),
            tries: BTreeMap::new(),
            parts: BTreeMap::new(),
            said: BTreeSet::new(),
        }
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, seen: &'a Seen<'a>) {
        *self.tries.entry(seen.key()).or_default() += 1;
        if let Some(span) = seen.part() {
            self.parts.entry(span.offset).or_default().sent = Some(seen);
        }
        if seen.role() == Role::Open {
            self.signatures.extend(seen.upload_signature());
        }
        self.starts += u64::from(seen.role() == Role::Next && seen.is_first_contact());
    }

    /// From now on its client may know the answer: all that excuses counts.
    pub(super) fn knowable(&mut self, seen: &'a Seen<'a>) {
        if seen.opened() {
            self.opened += 1;
            self.last_opened = Some(seen);
        }
        self.existed += u64::from(seen.existed());
        if let Some(reply) = open_reply(seen.exchange) {
            self.grids.extend(grid(seen, &reply));
            if let InitReply::Resume { parts, .. } = reply {
                for listed in parts {
                    self.parts.entry(listed.offset).or_default().there.insert(None);
                }
            }
        }
        // A yes that a fault made up is a yes to whoever got it.
        if let Some(span) = seen.part().filter(|_| seen.code == Some(Code::OK)) {
            self.parts.entry(span.offset).or_default().there.insert(Some(span.len));
        }
        let lost = seen.failed() && (seen.role() == Role::Finish || seen.code == Some(Code::CACHE_READ));
        self.losses += u64::from(lost);
        if let Some(Next::At(offset)) = next(seen) {
            self.parts.entry(offset).or_default().dictated += 1;
        }
    }

    /// From now on its client knows the answer: all that speaks against the next request counts.
    pub(super) fn known(&mut self, seen: &'a Seen<'a>) {
        if !seen.failed() && seen.reply.is_some() {
            self.tries.remove(&seen.key());
        }
        if seen.role() == Role::Open && seen.failed() {
            self.refused_open = Some(seen);
        }
        if let Some(InitReply::Resume { parts, .. }) = open_reply(seen.exchange) {
            let by_offset: BTreeMap<u64, ListedPart> = parts.into_iter().map(|part| (part.offset, part)).collect();
            for (offset, listed) in by_offset {
                self.parts.entry(offset).or_default().listed.push((seen, listed));
            }
        }
        match next(seen) {
            Some(Next::Stored) => self.stored = Some(seen),
            Some(Next::At(_)) => self.dictation = Some(seen),
            None if seen.existed() => self.stored = Some(seen),
            None if seen.role() == Role::Finish && seen.code == Some(Code::OK) => self.stored = Some(seen),
            None => {}
        }
        if let Some(span) = seen.part().filter(|_| seen.exchange.acknowledged()) {
            let (count, last) =
                self.parts.entry(span.offset).or_default().acknowledged.entry(span.len).or_insert((0, seen));
            (*count, *last) = (*count + 1, seen);
        }
        if is_final(seen) {
            remember(self.refused.entry(seen.key()).or_default(), (seen.to_the_letter(), seen));
        }
        if retry::ended_by_server(seen.exchange) {
            let first_try = self.tries.get(&seen.key()) == Some(&1);
            remember(self.ended.entry(seen.key()).or_default(), Ended { seen, first_try });
        }
    }

    /// Does the list hold a request that sends a part from here, now or later?
    pub(super) fn listed_as_sent(&self, offset: u64) -> bool {
        self.sent_at.contains(&offset)
    }

    /// The same of a part up to here.
    pub(super) fn listed_as_sent_to(&self, end: u64) -> bool {
        self.sent_to.contains(&end)
    }

    /// Is this said for the first time?
    pub(super) fn first_said(&mut self, rule: &'static str, of: u64) -> bool {
        self.said.insert((rule, of))
    }

    /// How many clients may each send this very request, without knowing of the others.
    pub(super) fn senders(&self, seen: &Seen<'_>) -> u64 {
        match (seen.role(), seen.part()) {
            (Role::Part, _) => self.opened.max(1),
            (Role::Finish, _) => (self.opened + self.existed).max(1),
            (Role::Next, Some(part)) if part.offset > 0 => {
                let dictated = self.parts.get(&part.offset).map_or(0, |part| part.dictated);
                dictated.max(1)
            }
            // A process that was started again, beside the one that was told.
            _ => 2,
        }
    }

    /// The last answer that the file is there, if whoever sends this knows of it: no other client can be at work.
    pub(super) fn known_stored(&self, seen: &Seen<'_>) -> Option<&'a Seen<'a>> {
        let clients = if seen.role() == Role::Next { self.starts } else { self.opened + self.existed };
        self.stored.filter(|_| clients <= 1 && !seen.is_first_contact())
    }

    /// The answers by which a part was there already and known to be, if whoever sends it now knows one of them.
    ///
    /// Each client to which the server did not name the part may send it until it is acknowledged to that client:
    /// so with as many acknowledgements as there are such clients, whoever sends it once more knows of one.
    pub(super) fn there_already(&self, seen: &Seen<'_>) -> Option<There<'a>> {
        let span = seen.part().filter(|_| !seen.is_first_contact())?;
        let part = self.parts.get(&span.offset)?;
        let own = own_md5(seen.exchange);
        let mut listed = part.listed.iter().filter(|(_, listed)| is_of(listed, span, own));
        let lists = listed.clone().count() as u64;
        let may_send = match seen.role() {
            Role::Next => part.dictated,
            _ => self.opened.saturating_sub(lists) + self.losses,
        };
        // In the older generation the server dictates where a part begins, and the client how long it is.
        let same = |(len, _): &(&u64, _)| **len == span.len || seen.role() == Role::Next;
        let known: Vec<_> = part.acknowledged.iter().filter(same).map(|(_, known)| *known).collect();
        let acknowledged: u64 = known.iter().map(|(count, _)| count).sum();
        if acknowledged < may_send || acknowledged + lists == 0 {
            return None;
        }
        let last = known.iter().map(|(_, last)| *last).max_by_key(|last| last.over);
        match (listed.next_back(), last) {
            (Some((open, _)), last) if last.is_none_or(|last| last.over <= open.over) => Some(There::Listed(open)),
            (_, last) => last.map(There::Acknowledged),
        }
    }

    /// The final refusals of this very request, if whoever sends it now got one of them.
    pub(super) fn refused_for_good(&self, seen: &Seen<'_>) -> Vec<&'a Seen<'a>> {
        let Some(refused) = self.refused.get(&seen.key()) else { return Vec::new() };
        let letter = seen.to_the_letter();
        let same = refused.iter().filter(|(refused, _)| *refused == letter).map(|(_, refused)| *refused);
        as_many_as(self.senders(seen), same.filter(|refused| !signed_better(refused, seen)).collect())
    }

    /// The tries of this very request that the server ended, and after which a client would still wait,
    /// if whoever sends it now sent one of them.
    pub(super) fn too_soon_after(&self, seen: &Seen<'_>) -> Vec<&'a Seen<'a>> {
        let Some(ended) = self.ended.get(&seen.key()) else { return Vec::new() };
        let begins = seen.is_first_contact();
        let waits = |ended: &&Ended<'_>| {
            // Whoever starts again need not know of the wait that an earlier process was asked for.
            let least = if begins { retry::GAP_LEAST_US } else { retry::least_gap_us(ended.seen.exchange) };
            (ended.first_try || !begins) && seen.start.saturating_sub(ended.seen.over) < least
        };
        let after: Vec<_> = ended.iter().filter(waits).map(|ended| ended.seen).collect();
        let clients = if begins { self.openings.max(1) } else { self.senders(seen) };
        as_many_as(clients, after)
    }
}

/// The last ones, as many as there may be clients: each got one of them. None, if some client may have got none.
fn as_many_as<'a>(clients: u64, mut all: Vec<&'a Seen<'a>>) -> Vec<&'a Seen<'a>> {
    let clients = usize::try_from(clients).unwrap_or(usize::MAX);
    match all.len().checked_sub(clients) {
        Some(surplus) => all.split_off(surplus),
        None => Vec::new(),
    }
}

fn remember<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() == REMEMBERED_MOST {
        all.pop_front();
    }
    all.push_back(one);
}

/// Was the client told no for good? A failure of HTTP may pass, whatever its text says.
fn is_final(seen: &Seen<'_>) -> bool {
    let refusal = seen.exchange.refusal().filter(|_| seen.reply.is_some_and(|reply| reply.status < 500));
    refusal.is_some_and(|rejected| rejected.retry_class() == RetryClass::Final)
}

/// Was the signature of a request refused, and is it not any more? Then its key or its clock was put right, which nobody
/// sees: a request's signature is always another. A fault refuses whatever was signed.
fn signed_better(refused: &Seen<'_>, seen: &Seen<'_>) -> bool {
    let of_signature = |seen: &Seen<'_>| seen.code.is_some_and(Code::is_of_signature);
    let made_up = refused.exchange.faults.iter().any(|fault| fault.on_reply);
    seen.action.family() != Family::Ugc && of_signature(refused) && !made_up && !of_signature(seen)
}

/// Was an upload that the list does not begin with an opening of opened before?
fn begun_before(seen: &[Seen<'_>]) -> bool {
    let first_opened = seen.iter().filter(|seen| seen.opened() || seen.existed()).map(|seen| seen.may_know).min();
    let mut others = seen.iter().filter(|seen| seen.role() != Role::Open);
    // The server knew the upload already.
    let taken = |seen: &Seen<'_>| seen.code == Some(Code::OK) && first_opened.is_none_or(|first| seen.start < first);
    // The server had forgotten it, together with its journal, and the client opened it when it was told so.
    let first_open = seen.iter().find(|seen| seen.role() == Role::Open).map(|open| open.start);
    let learnt = others.clone().map(|seen| seen.over).min();
    let anew = first_open.zip(learnt).is_some_and(|(open, learnt)| learnt <= open);
    anew || others.any(taken)
}

/// Why a part was there already.
pub(super) enum There<'a> {
    /// An `InitUpload` was answered with it.
    Listed(&'a Seen<'a>),
    /// It was acknowledged.
    Acknowledged(&'a Seen<'a>),
}

impl Part<'_> {
    /// Did a reply say that the next part begins here?
    pub(super) const fn is_dictated(&self) -> bool {
        self.dictated > 0
    }

    /// May this part be on the server, for all that a client may know?
    pub(super) fn may_be_there(&self, span: PartSpan) -> bool {
        self.there.contains(&None) || self.there.contains(&Some(span.len))
    }
}

fn grid<'a>(open: &'a Seen<'a>, reply: &InitReply) -> Option<Grid<'a>> {
    let number = |name: &str| open.query.get(name)?.parse::<u64>().ok();
    let file_size = number("fileSize")?;
    let asked = number("dataSize").and_then(|part_size| Layout::new(file_size, part_size));
    match reply {
        InitReply::Fresh => Some(Grid { open, layout: asked?, asked: None }),
        InitReply::Resume { part_size, .. } => {
            let layout = Layout::new(file_size, *part_size)?;
            Some(Grid { open, layout, asked: asked.filter(|asked| *asked != layout) })
        }
        InitReply::Exists(_) => None,
    }
}
