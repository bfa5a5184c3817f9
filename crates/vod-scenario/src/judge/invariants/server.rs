//! What a server is held to: a mock that breaks its word would make every verdict on a client worthless.

use std::collections::{BTreeMap, BTreeSet};

use vod_proto::{
    Action, Code, Exchange, Family, Layout, Query, Sha1,
    action::Role,
    lint::lists,
    reply::{InitReply, NextReply, Reply},
    ugc::UploadSignature,
};

use vod_serve::fault::Phase;

use super::{role, told};
use crate::{
    judge::{Case, Finding},
    source::SourceFacts,
};

/// What was acknowledged is known when the server is asked again, and what was stored stays stored.
pub(super) fn acknowledged_is_kept(case: Case<'_>) -> Vec<Finding> {
    files(case).into_iter().flat_map(|(sha1, size)| of_file_is_kept(case, sha1, size)).collect()
}

/// What was to be uploaded: each SHA-1 once, with the least size that anybody says of it.
fn files(case: Case<'_>) -> BTreeMap<Sha1, u64> {
    let mut files = BTreeMap::new();
    for SourceFacts { sha1, size } in case.evidence.steps.iter().map(|step| step.source) {
        let least = files.entry(sha1).or_insert(size);
        *least = size.min(*least);
    }
    files
}

fn of_file_is_kept(case: Case<'_>, sha1: Sha1, size: u64) -> Vec<Finding> {
    let own = |exchange: &&Exchange| exchange.file_sha1 == Some(sha1);
    let exchanges: Vec<_> = case.evidence.exchanges.iter().filter(own).collect();
    let ends: Vec<_> = exchanges.iter().copied().filter(|exchange| may_end_session(exchange, size)).collect();
    let parts: Vec<_> = exchanges.iter().copied().filter(|exchange| keeps_part(exchange)).collect();
    let says_so = |exchange: &Exchange| exchange.whole_reply().is_some() && exchange.says_stored().is_some();
    let stored =
        exchanges.iter().find(|exchange| says_so(exchange) || carried_out(case, exchange, size, &parts, &ends));
    let mut findings = Vec::new();
    for asked in &exchanges {
        let Some(reply) = told(asked).filter(|_| !is_marked(asked, "list")) else { continue };
        let before = |earlier: &Exchange| earlier.over_us() < asked.start.as_microsecond();
        let ended = |part: &Exchange| {
            ends.iter().any(|end| {
                end.over_us() >= part.start.as_microsecond() && end.start.as_microsecond() <= asked.over_us()
            })
        };
        let lost = parts.iter().find(|part| before(part) && lacks(case, asked, &reply, part) && !ended(part));
        if let Some(part) = lost {
            let why = format!("{} lacks {}, which was acknowledged", asked.name(), part.name());
            findings.push(Finding::unless_missing(case.evidence.is_whole(part.seq, asked.seq), why));
        }
        if let Some(stored) = stored.filter(|stored| before(stored) && forgets(case, &reply)) {
            let why = format!("{} was answered as if the file of request {} were not there", asked.name(), stored.seq);
            findings.push(Finding::broken(why));
        }
    }
    findings
}

/// Was this a finish that put the file together, whatever became of its answer? All parts were there, as they came, and a
/// fault struck behind it.
fn carried_out(case: Case<'_>, finish: &Exchange, size: u64, parts: &[&Exchange], ends: &[&Exchange]) -> bool {
    let after = Phase::AfterCommit.to_string();
    let struck = finish.faults.iter().any(|mark| mark.phase == after);
    if role(finish) != Some(Role::Finish) || !struck || ends.iter().any(|end| end.seq < finish.seq) {
        return false;
    }
    let Some(layout) = Layout::new(size, case.scenario.client.part_size.bytes()) else {
        return false;
    };
    let whole = |part: &&&Exchange| part.over_us() <= finish.start.as_microsecond() && !is_marked(part, "corrupt");
    let there: BTreeSet<_> = parts.iter().filter(whole).filter_map(|part| part.part).map(|span| span.offset).collect();
    layout.parts().all(|span| there.contains(&span.offset))
}

fn is_marked(exchange: &Exchange, verdict: &str) -> bool {
    exchange.faults.iter().any(|mark| mark.verdict.starts_with(verdict))
}

/// Was a part acknowledged, and kept for that?
fn keeps_part(exchange: &Exchange) -> bool {
    role(exchange).is_some_and(Role::sends_part) && exchange.acknowledged() && !is_marked(exchange, "drop-part")
}

/// Does this reply say that the server lacks a part that it had acknowledged?
fn lacks(case: Case<'_>, exchange: &Exchange, reply: &Reply, part: &Exchange) -> bool {
    let lifetime = i64::try_from(case.scenario.limits.session_lifetime_s).unwrap_or(i64::MAX);
    if exchange.start.as_second() - part.start.as_second() >= lifetime {
        return false;
    }
    match reply {
        Reply::Next(NextReply::Continue { offset }) => part.part.is_some_and(|span| *offset <= span.offset),
        _ => lists(exchange, part) == Some(false),
    }
}

/// Does this reply to one who asks not know a file that is there?
fn forgets(case: Case<'_>, reply: &Reply) -> bool {
    match reply {
        Reply::Init(reply) => case.scenario.mock.instant_upload && !matches!(reply, InitReply::Exists(_)),
        Reply::Next(reply) => matches!(reply, NextReply::Continue { .. }),
        _ => false,
    }
}

/// May the session be over by this: made to expire, the file put together, or found to be another?
fn may_end_session(exchange: &Exchange, size: u64) -> bool {
    if is_marked(exchange, "expire-session") || is_marked(exchange, "data-size") {
        return true;
    }
    let mended = exchange.refusal().is_some_and(|rejected| rejected.code != Code::PROTOCOL_PARAMS);
    let untouched = mended && !exchange.faults.iter().any(|mark| mark.on_reply);
    match role(exchange) {
        Some(Role::Finish | Role::Whole) => !untouched,
        Some(Role::Next) => exchange.part.is_none_or(|part| part.end() >= size),
        _ => false,
    }
}

/// Where the server dictates the order, no part is taken that has a gap before it. What may have been taken counts as there.
pub(super) fn taken_in_order(case: Case<'_>) -> Vec<Finding> {
    files(case).into_keys().flat_map(|sha1| of_file_in_order(case, sha1)).collect()
}

fn of_file_in_order(case: Case<'_>, sha1: Sha1) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    let own = |exchange: &&Exchange| exchange.file_sha1 == Some(sha1);
    for exchange in case.evidence.exchanges.iter().filter(own).filter(|e| role(e) == Some(Role::Next)) {
        let Some(part) = exchange.part else { continue };
        let after = Phase::AfterCommit.to_string();
        let expires = exchange.faults.iter().find(|mark| mark.verdict == "expire-session");
        if expires.is_some_and(|mark| mark.phase != after) {
            there.clear();
        }
        let reach = there.iter().fold(0, |reach, (from, to)| if *from <= reach { reach.max(*to) } else { reach });
        if keeps_part(exchange) && exchange.says_stored().is_none() && reach < part.offset {
            let why = format!("{} was taken, and the server has nothing from {reach} on", exchange.name());
            findings.push(Finding::unless_missing(case.evidence.is_whole(1, exchange.seq), why));
        }
        if !is_marked(exchange, "drop-part") && exchange.refusal().is_none() {
            let end = there.entry(part.offset).or_default();
            *end = part.end().max(*end);
        }
        if let Some(Reply::Next(NextReply::Continue { offset })) =
            told(exchange).filter(|_| !is_marked(exchange, "drop-part"))
        {
            there.insert(0, offset);
        }
        if expires.is_some_and(|mark| mark.phase == after) {
            there.clear();
        }
    }
    findings
}

/// A file that is stored once has one id, whoever asks and whenever.
pub(super) fn one_file_id(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let uploads = case.evidence.steps.last().map_or(&[][..], |step| &step.uploads);
    for upload in uploads.iter().filter(|upload| upload.commits == 1) {
        let Some(id) = &upload.file_id else { continue };
        let own = |exchange: &&Exchange| exchange.file_sha1 == Some(upload.file_sha1) && told(exchange).is_some();
        for exchange in case.evidence.exchanges.iter().filter(own) {
            if let Some(other) = exchange.says_stored().filter(|stored| stored.file_id != *id) {
                let why =
                    format!("{} was answered that the file is {}, and it is {id}", exchange.name(), other.file_id);
                findings.push(Finding::broken(why));
            }
        }
    }
    findings
}

/// Nobody is answered whose signature does not hold any more.
pub(super) fn lapsed_signatures_refused(case: Case<'_>) -> Vec<Finding> {
    let window = i64::try_from(case.scenario.limits.timestamp_window_s).unwrap_or(i64::MAX);
    let mut findings = Vec::new();
    for exchange in &case.evidence.exchanges {
        let Some(action) = exchange.known_action() else { continue };
        if !told(exchange).is_some_and(|reply| !matches!(reply, Reply::Rejected(_))) {
            continue;
        }
        let Some(made) = proof(action, exchange) else { continue };
        let (start, lapsed) = (
            exchange.start.as_second(),
            match made {
                Proof::Until(expires) => expires,
                Proof::At(timestamp) => timestamp.saturating_add(window),
            },
        );
        if start > lapsed {
            let late = start - lapsed;
            findings.push(Finding::broken(format!(
                "{} was answered, and its signature had lapsed {late} s before",
                exchange.name()
            )));
        }
    }
    findings
}

/// How long a request's proof holds, in seconds since 1970.
enum Proof {
    Until(i64),
    /// As long as the server lets it.
    At(i64),
}

fn proof(action: Action, exchange: &Exchange) -> Option<Proof> {
    let (_, query) = Query::split_target(&exchange.request.target);
    if action.family() == Family::Ugc {
        let signature = ["signature", "Signature"].iter().find_map(|name| query.get(name))?;
        let expires = UploadSignature::decode(&signature).ok()?.expires().ok()?;
        return i64::try_from(expires).ok().map(Proof::Until);
    }
    query.get("Timestamp")?.parse().ok().map(Proof::At)
}

#[cfg(test)]
mod tests {
    use vod_proto::{
        Action, Family, PartSpan,
        exchange::{End, FaultMark},
    };

    use crate::judge::crafted::{STORED, Story, failed, goes_on, mark, part_md5};

    /// An answer to an opening that lists these parts.
    fn list(story: &Story, parts: &[u64]) -> String {
        let listed = parts.iter().map(|part| {
            let PartSpan { offset, len } = story.span(*part);
            format!(r#"{{"offset":{offset},"dataLen":{len},"dataMd5":"{}"}}"#, part_md5(offset))
        });
        format!(r#"{{"code":1,"dataSize":1048576,"listParts":[{}]}}"#, listed.collect::<Vec<_>>().join(","))
    }

    /// Two parts are acknowledged, and the server is asked what it has.
    fn asked(parts: &[u64]) -> Story {
        let mut story = Story::plain();
        story.evidence.exchanges.clear();
        story.evidence.steps.clear();
        story.push(Action::InitUpload, None, r#"{"code":0}"#);
        story.push_part(0, r#"{"code":0}"#);
        story.push_part(1, r#"{"code":0}"#);
        let listed = list(&story, parts);
        story.push(Action::InitUpload, None, &listed);
        story.end_step(failed());
        story
    }

    #[test]
    fn a_list_has_what_was_acknowledged() {
        asked(&[0, 1]).assert_holds("acknowledged-is-kept");
        asked(&[0]).assert_broken(
            "acknowledged-is-kept",
            "InitUpload (request 4) lacks UploadPart 1048576+1048576 (request 3)",
        );
        asked(&[]).assert_broken("acknowledged-is-kept", "lacks");
    }

    #[test]
    fn what_a_fault_took_may_be_lacking() {
        for verdict in ["drop-part", "expire-session"] {
            let mut story = asked(&[0]);
            story.evidence.exchanges[2].faults.push(mark(verdict, false));
            story.assert_holds("acknowledged-is-kept");
        }
        let mut story = asked(&[0]);
        story.evidence.exchanges[3].faults.push(mark("list-stale", false));
        story.assert_holds("acknowledged-is-kept");
        let mut story = asked(&[0]);
        story.lose(3);
        story.assert_holds("acknowledged-is-kept");
        let mut story = asked(&[1]);
        story.lose(3);
        story.assert_unknown("acknowledged-is-kept", "lacks UploadPart 0+1048576");
    }

    #[test]
    fn a_part_that_was_under_way_may_be_lacking() {
        let mut story = asked(&[0]);
        story.evidence.exchanges[3].start = story.evidence.exchanges[2].start;
        story.assert_holds("acknowledged-is-kept");
    }

    #[test]
    fn the_legacy_family_says_where_it_goes_on() {
        for (offset, kept) in [(524_288 + 1_048_576, true), (524_288, false), (0, false)] {
            let mut story = Story::of(Family::Legacy);
            story.evidence.exchanges.truncate(2);
            story.evidence.steps.clear();
            story.push_part(0, &goes_on(offset));
            story.end_step(failed());
            if kept {
                story.assert_holds("acknowledged-is-kept");
            } else {
                story.assert_broken("acknowledged-is-kept", "lacks");
            }
        }
    }

    #[test]
    fn no_part_is_taken_behind_a_gap() {
        let story = || Story::of(Family::Legacy);
        story().assert_holds("taken-in-order");
        let mut expired = story();
        expired.evidence.exchanges[1].faults.push(mark("expire-session", false));
        expired.assert_broken("taken-in-order", "and the server has nothing from 0 on");
        let mut dropped = story();
        dropped.evidence.exchanges[1].faults.push(mark("drop-part", false));
        dropped.assert_broken("taken-in-order", "and the server has nothing from 524288 on");
        dropped.lose(1);
        dropped.assert_unknown("taken-in-order", "nothing from 0 on");
    }

    #[test]
    fn a_file_that_is_stored_stays_so() {
        let mut story = Story::plain();
        story.push(Action::InitUpload, None, r#"{"code":2,"fileId":"1"}"#);
        story.end_step(failed());
        story.assert_holds("acknowledged-is-kept");
        let mut story = Story::plain();
        story.push(Action::InitUpload, None, r#"{"code":0}"#);
        story.end_step(failed());
        story.assert_broken("acknowledged-is-kept", "as if the file of request 5 were not there");
        story.scenario.mock.instant_upload = false;
        story.assert_holds("acknowledged-is-kept");
    }

    #[test]
    fn a_finish_that_was_carried_out_is_one_whatever_became_of_its_answer() {
        let killed = |phase: &str| {
            let mut story = Story::plain();
            let finish = &mut story.evidence.exchanges[4];
            (finish.end, finish.reply) = (End::Killed, None);
            finish.faults = vec![FaultMark { phase: phase.to_owned(), ..mark("kill mock", true) }];
            story.push(Action::InitUpload, None, r#"{"code":0}"#);
            story.end_step(failed());
            story
        };
        killed("before-commit").assert_holds("acknowledged-is-kept");
        killed("after-commit").assert_broken("acknowledged-is-kept", "as if the file of request 5 were not there");
        // It was refused, then.
        for verdict in ["drop-part", "corrupt"] {
            let mut story = killed("after-commit");
            story.evidence.exchanges[2].faults.push(mark(verdict, false));
            story.assert_holds("acknowledged-is-kept");
        }
    }

    #[test]
    fn a_file_has_one_id() {
        let mut story = Story::plain();
        story.upload().file_id = Some("1".to_owned());
        story.assert_holds("one-file-id");
        story.push(Action::FinishUpload, None, &STORED.replace("\"1\"", "\"2\""));
        story.assert_broken("one-file-id", "was answered that the file is 2, and it is 1");
        story.upload().commits = 2;
        story.assert_holds("one-file-id");
    }

    #[test]
    fn a_lapsed_signature_is_refused() {
        for (family, lapses) in [(Family::Server, 7_200), (Family::Ugc, 86_400), (Family::Legacy, 7_200)] {
            let mut story = Story::of(family);
            let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
            story.evidence.exchanges[1].start = at(lapses);
            story.assert_holds("lapsed-signatures-refused");
            story.evidence.exchanges[1].start = at(lapses + 1);
            story.assert_broken("lapsed-signatures-refused", "its signature had lapsed 1 s before");
            let reply = story.evidence.exchanges[1].reply.as_mut().unwrap();
            reply.body = r#"{"code":-10002,"message":"no"}"#.to_owned();
            story.assert_holds("lapsed-signatures-refused");
        }
    }
}
