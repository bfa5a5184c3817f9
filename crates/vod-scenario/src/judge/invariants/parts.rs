//! What becomes of parts.

use vod_proto::{
    Exchange,
    action::Role,
    lint::lists,
    reply::{NextReply, Reply},
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
        judge::crafted::{STORED, Story, goes_on, mark, part_md5},
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
}
