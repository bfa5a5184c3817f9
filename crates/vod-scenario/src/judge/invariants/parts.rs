//! What becomes of parts.

use std::collections::BTreeSet;

use vod_client::RetryPolicy;
use vod_proto::{
    Code, Exchange, Layout, PartSpan,
    action::Role,
    exchange::End,
    lint::lists,
    reply::{InitReply, NextReply, Reply},
};

use super::{key, role, told, told_state};
use crate::judge::{Case, Finding};

/// An acknowledged part is sent again only if the server lost it: it was dropped by a fault, or the server said in
/// between what it has, and that part was not in it.
///
/// In the legacy family nobody can ask what the server has without sending a part: a client that starts sends the
/// first one, whatever is there, and is told where to go on. That is how the family resumes, so the first part may
/// come again once for each client that starts, until that client has been answered.
pub(super) fn acknowledged_not_resent(case: Case<'_>) -> Vec<Finding> {
    let exchanges = &case.evidence.exchanges;
    let mut findings = Vec::new();
    for (at, again) in exchanges.iter().enumerate() {
        if !role(again).is_some_and(Role::sends_part) || begins(case, again, &exchanges[..at]) {
            continue;
        }
        // The last acknowledgement before it is the one that counts: between the two, the server may have lost the part.
        let acknowledged = exchanges[..at].iter().rposition(|first| {
            key(first) == key(again)
                && first.acknowledged()
                && first.over_us() <= again.start.as_microsecond()
                && !of_another_at_once(case, first, again)
        });
        let Some(first) = acknowledged else { continue };
        if !lost(&exchanges[first], &exchanges[first + 1..at]) {
            let first = exchanges[first].seq;
            let why = format!("{} was sent although request {first} of the same part was acknowledged", again.name());
            // The server may have said in between that it lost the part.
            findings.push(Finding::unless_missing(case.evidence.is_whole(first, again.seq), why));
        }
    }
    findings
}

/// Are these of two clients at the same time? What one is told the other does not hear.
fn of_another_at_once(case: Case<'_>, first: &Exchange, again: &Exchange) -> bool {
    let upload = |exchange| case.evidence.upload_of(exchange).and_then(|at| case.evidence.steps.get(at));
    upload(first).zip(upload(again)).is_some_and(|(one, other)| case.evidence.concurrent(one, other))
}

/// No more parts are under way at once than the client may send. Only those are counted that were answered: whoever gave
/// one up is not waiting for it any more, though the server may not have heard.
pub(super) fn in_flight_bounded(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (step, exchanges) in case.evidence.by_step() {
        let most = case.scenario.of(step.began, step.who).client.parallel;
        let is_part =
            |exchange: &&Exchange| role(exchange).is_some_and(Role::sends_part) && exchange.whole_reply().is_some();
        let parts: Vec<_> = exchanges.iter().filter(is_part).collect();
        for part in &parts {
            let start = part.start.as_microsecond();
            // Clocks of real processes are read a little after what they are read for.
            let at_once = parts.iter().filter(|other| {
                other.start.as_microsecond() <= start && other.over_us().saturating_sub(CLOCK_GRAIN_US) > start
            });
            let at_once = at_once.count();
            if at_once > most {
                findings.push(Finding::broken(format!(
                    "{at_once} parts were under way with {}, {most} are the most",
                    part.name()
                )));
                break;
            }
        }
    }
    findings
}

/// How far apart the times of two things may be written down that were one after the other, in microseconds.
const CLOCK_GRAIN_US: i64 = 50_000;

/// A part that fails keeps no other from being sent: a client that ends because of one has begun them all, or has met so
/// many failures that a server in trouble is spared the rest.
pub(super) fn others_spared(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (step, exchanges) in case.evidence.by_step() {
        let failed = step.end.report().is_some_and(|report| !report.outcome.is_success());
        let opened = exchanges.iter().rposition(|exchange| matches!(told(exchange), Some(Reply::Init(_))));
        let Some(at) = opened.filter(|_| failed) else { continue };
        let (open, since) = (&exchanges[at], &exchanges[at + 1..]);
        // Another reason to end, or one that is not seen here.
        let other = |exchange: &Exchange| {
            !role(exchange).is_some_and(Role::sends_part)
                || exchange.refusal().is_some_and(|rejected| rejected.code == Code::CACHE_READ)
                || exchange.faults.iter().any(|mark| mark.verdict == "refuse")
                || exchange.end == End::Killed
        };
        if since.is_empty() || since.iter().any(other) {
            continue;
        }
        let asked_for = case.scenario.of(step.began, step.who).client.part_size.bytes();
        let Some(layout) = Layout::new(step.source.size, grid(open, asked_for)) else { continue };
        let done = |span: PartSpan| {
            let of_part = |exchange: &&Exchange| exchange.part == Some(span);
            since.iter().any(|exchange| of_part(&exchange)) || lists_span(open, span)
        };
        let missing = layout.parts().find(|span| !done(*span));
        let failures: BTreeSet<_> = since.iter().filter(|exchange| !exchange.acknowledged()).map(|e| e.part).collect();
        if let Some(span) = missing.filter(|_| failures.len() < RetryPolicy::default().failed_parts) {
            let why = format!("{} failed, and the part at {span} was never sent", case.evidence.name_of(step));
            findings.push(Finding::unless_missing(case.evidence.is_whole_in(step), why));
        }
    }
    findings
}

/// A part that the server lists with other bytes than the client's is sent before the file is finished.
pub(super) fn differing_sent(case: Case<'_>) -> Vec<Finding> {
    let all = &case.evidence.exchanges;
    let mut findings = Vec::new();
    for (_, exchanges) in case.evidence.by_step() {
        for (at, open) in exchanges.iter().enumerate() {
            let Some(Reply::Init(InitReply::Resume { parts: listed, .. })) = told(open) else { continue };
            let since = &exchanges[at + 1..];
            let until = since.iter().position(|e| role(e) == Some(Role::Finish) || told_state(e));
            let Some((until, finish)) = until.and_then(|at| Some((at, since.get(at)?))) else { continue };
            if role(finish) != Some(Role::Finish) {
                continue;
            }
            // Another client may have other bytes under the same name.
            let own = |earlier: &&Exchange| {
                earlier.file_sha1 == open.file_sha1 && case.evidence.who(earlier) == case.evidence.who(open)
            };
            let before: Vec<_> = all.iter().take_while(|earlier| earlier.seq < open.seq).filter(own).collect();
            let begins_at = |sent: &Exchange, offset| {
                role(sent) == Some(Role::Part) && sent.part.is_some_and(|span| span.offset == offset)
            };
            // Of those that began there the last one counts: earlier ones may have been of another grid.
            let last =
                listed.iter().filter_map(|part| before.iter().rfind(|sent| begins_at(sent, part.offset)).copied());
            let mut differ = last.filter(|earlier| {
                lists(open, earlier) == Some(false) && !since[..until].iter().any(|sent| key(sent) == key(earlier))
            });
            if let Some(part) = differ.next() {
                let why =
                    format!("{} was sent without {}, which the list has with other bytes", finish.name(), part.name());
                findings.push(Finding::unless_missing(case.evidence.is_whole(part.seq, finish.seq), why));
            }
        }
    }
    findings
}

/// The grid that holds after this answer, in bytes.
fn grid(open: &Exchange, asked_for: u64) -> u64 {
    match told(open) {
        Some(Reply::Init(InitReply::Resume { part_size, .. })) => part_size,
        _ => asked_for,
    }
}

fn lists_span(open: &Exchange, span: PartSpan) -> bool {
    match told(open) {
        Some(Reply::Init(InitReply::Resume { parts, .. })) => parts.iter().any(|part| part.offset == span.offset),
        _ => false,
    }
}

/// Is this how a client of the legacy family starts: with the first part, before it was told anything of the file?
fn begins(case: Case<'_>, exchange: &Exchange, before: &[Exchange]) -> bool {
    let upload = case.evidence.upload_of(exchange);
    // What is not yet over is of the last process.
    let ended = case.evidence.steps.iter().map(|step| step.last_seq).filter(|last| *last < exchange.seq).max();
    let of_process = |earlier: &&Exchange| match upload {
        Some(_) => case.evidence.upload_of(earlier) == upload,
        None => earlier.seq > ended.unwrap_or(0),
    };
    let mut of_process = before.iter().filter(of_process);
    role(exchange) == Some(Role::Next)
        && exchange.part.is_some_and(|part| part.offset == 0)
        && !of_process.any(|earlier| earlier.file_sha1 == exchange.file_sha1 && told_state(earlier))
}

/// Was the part lost after it was acknowledged, as far as the client could know?
fn lost(acknowledged: &Exchange, between: &[Exchange]) -> bool {
    let dropped = acknowledged.faults.iter().any(|mark| mark.verdict == "drop-part");
    dropped || between.iter().any(|exchange| says_it_lacks(exchange, acknowledged))
}

/// Does this reply say that the server has not got that part?
fn says_it_lacks(exchange: &Exchange, part: &Exchange) -> bool {
    if exchange.file_sha1 != part.file_sha1 {
        return false;
    }
    match told(exchange) {
        // What lies behind the place to go on at is not there.
        Some(Reply::Next(NextReply::Continue { offset })) => part.part.is_some_and(|span| offset <= span.offset),
        _ => lists(exchange, part) == Some(false),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::StepEnd,
        judge::crafted::{STORED, Story, failed, goes_on, mark, part_md5},
    };
    use vod_proto::{Action, Family, exchange::End};

    const ID: &str = "acknowledged-parts-not-resent";

    /// The first part is sent once more at the end, after what `between` adds.
    fn resent(between: impl FnOnce(&mut Story)) -> Story {
        let mut story = Story::plain();
        between(&mut story);
        story.push_part(0, r#"{"code":0}"#);
        story
    }

    fn listing(offset: u64, md5: vod_proto::Md5) -> String {
        format!(
            r#"{{"code":1,"dataSize":1048576,"listParts":[{{"offset":{offset},"dataLen":1048576,"dataMd5":"{md5}"}}]}}"#
        )
    }

    #[test]
    fn sending_an_acknowledged_part_again_is_seen() {
        resent(|_| {}).assert_broken(ID, "UploadPart 0+1048576 (request 6)");
    }

    #[test]
    fn what_is_missing_in_between_may_say_that_the_part_was_lost() {
        let lost = |seq| {
            let mut story = resent(|_| {});
            story.lose(seq);
            story
        };
        lost(1).assert_broken(ID, "UploadPart 0+1048576 (request 6)");
        lost(4).assert_unknown(ID, "UploadPart 0+1048576 (request 6)");
    }

    #[test]
    fn a_part_that_was_not_acknowledged_may_be_sent_again() {
        let story = resent(|story| story.evidence.exchanges[1].end = End::Reset);
        story.assert_holds(ID);
        let story = resent(|story| story.evidence.exchanges[1].faults.push(mark("reply", true)));
        story.assert_holds(ID);
    }

    #[test]
    fn a_part_that_a_fault_dropped_may_be_sent_again_once() {
        let mut story = resent(|story| story.evidence.exchanges[1].faults.push(mark("drop-part", false)));
        story.assert_holds(ID);
        story.push_part(0, r#"{"code":0}"#);
        story.assert_broken(ID, "request 7");
    }

    #[test]
    fn a_list_without_the_part_allows_it_and_a_list_with_it_does_not() {
        let init = |reply: String| resent(move |story| _ = story.push(Action::InitUpload, None, &reply));
        init(r#"{"code":0}"#.to_owned()).assert_holds(ID);
        init(listing(1 << 20, part_md5(1 << 20))).assert_holds(ID);
        init(listing(0, part_md5(1 << 20))).assert_holds(ID);
        init(listing(0, part_md5(0))).assert_broken(ID, "(request 7)");
        init(r#"{"code":-10004}"#.to_owned()).assert_broken(ID, "(request 7)");
    }

    #[test]
    fn a_part_under_way_twice_at_once_was_not_sent_after_its_acknowledgement() {
        let mut story = resent(|_| {});
        story.evidence.exchanges[1].times.reply_done = Some(10_000_000);
        story.assert_holds(ID);
    }

    /// A story of the legacy family: all its parts but the last were acknowledged when a second client starts.
    fn restarted() -> Story {
        let mut story = Story::of(Family::Legacy);
        story.evidence.exchanges.pop();
        story.evidence.steps.clear();
        story.end_step(StepEnd::Killed { fault: "f".to_owned() });
        story
    }

    #[test]
    fn a_legacy_client_that_starts_sends_the_first_part_until_it_is_told_where_to_go_on() {
        let mut story = restarted();
        let last = story.span(3).offset;
        story.push_part(0, &goes_on(last)).end = End::Reset;
        story.push_part(0, &goes_on(last));
        story.push_part(3, STORED);
        story.assert_holds(ID);
        story.push_part(0, STORED);
        story.assert_broken(ID, "MultipartUploadVodFile 0+524288 (request 7)");
    }

    #[test]
    fn a_legacy_client_that_starts_must_not_send_every_part_again() {
        let mut story = restarted();
        story.push_part(0, &goes_on(story.span(3).offset));
        story.push_part(1, &goes_on(story.span(3).offset));
        story.assert_broken(ID, "MultipartUploadVodFile 524288+1048576 (request 5)");
        let mut story = restarted();
        story.push_part(1, &goes_on(story.span(3).offset));
        story.assert_broken(ID, "MultipartUploadVodFile 524288+1048576 (request 4)");
    }

    #[test]
    fn a_legacy_part_that_the_server_asks_for_again_was_lost() {
        let mut story = restarted();
        let second = story.span(1);
        story.push_part(0, &goes_on(second.offset));
        story.push_part(1, &goes_on(second.end()));
        story.assert_holds(ID);
        story.push_part(1, &goes_on(second.end()));
        story.assert_broken(ID, "(request 6)");
    }

    /// The second step is refused its second part for good, when it has begun so many.
    fn refused(begun: u64) -> Story {
        let mut story = Story::plain();
        story.evidence.exchanges.clear();
        story.evidence.steps.clear();
        story.push(Action::InitUpload, None, r#"{"code":0}"#);
        for part in 0..begun {
            let refused = r#"{"code":-10003,"canRetry":0,"message":"no"}"#;
            story.push_part(part, if part == 1 { refused } else { r#"{"code":0}"# });
        }
        story.end_step(failed());
        story
    }

    #[test]
    fn a_part_that_another_one_kept_from_being_sent_is_seen() {
        refused(3).assert_holds("others-spared");
        refused(2).assert_broken("others-spared", "step 1 failed, and the part at 2097152+1048576 was never sent");
        let mut listed = refused(2);
        let list = listing(2_097_152, part_md5(2_097_152)).replace("\"code\":0", "\"code\":1");
        if let Some(reply) = &mut listed.evidence.exchanges[0].reply {
            reply.body = list;
        }
        listed.assert_holds("others-spared");
        let mut asked = refused(2);
        asked.push(Action::FinishUpload, None, r#"{"code":-10003,"canRetry":0}"#);
        asked.step().last_seq += 1;
        asked.assert_holds("others-spared");
        let mut lost = refused(3);
        lost.lose(4);
        lost.assert_unknown("others-spared", "2097152+1048576");
    }

    #[test]
    fn more_parts_at_once_than_may_be_are_seen() {
        let mut story = Story::plain();
        story.scenario.client.parallel = 2;
        for exchange in &mut story.evidence.exchanges[1..3] {
            exchange.start = jiff::Timestamp::UNIX_EPOCH;
            exchange.times.reply_done = Some(1_000_000);
        }
        story.assert_holds("in-flight-bounded");
        story.evidence.exchanges[3].start = jiff::Timestamp::UNIX_EPOCH;
        story.evidence.exchanges[3].times.reply_done = Some(1_000_000);
        story.assert_broken(
            "in-flight-bounded",
            "3 parts were under way with UploadPart 0+1048576 (request 2), 2 are the most",
        );
        // Whoever gave one up is not waiting for it.
        story.evidence.exchanges[1].end = End::ClientGone { after: 7 };
        story.assert_holds("in-flight-bounded");
    }

    #[test]
    fn a_part_that_the_server_has_otherwise_is_sent_before_the_finish() {
        let told = |listed: &[u8]| {
            let mut story = Story::plain();
            story.push(Action::InitUpload, None, &listing(0, vod_proto::Md5::of(listed)));
            story
        };
        let finished = |mut story: Story| {
            story.push(Action::FinishUpload, None, STORED);
            story.end_step(StepEnd::TimedOut);
            story
        };
        finished(told(&0_u64.to_be_bytes())).assert_holds("differing-parts-sent");
        finished(told(b"other"))
            .assert_broken("differing-parts-sent", "was sent without UploadPart 0+1048576 (request 2)");
        let mut sent = told(b"other");
        sent.push_part(0, r#"{"code":0}"#);
        finished(sent).assert_holds("differing-parts-sent");
    }
}
