//! What becomes of parts.

use vod_proto::{Action, Exchange, lint::lists};

use super::key;
use crate::judge::{Case, Finding};

/// An acknowledged part is sent again only if the server lost it:
/// it was dropped by a fault, or an `InitUpload` in between was answered without it.
pub(super) fn acknowledged_not_resent(case: Case<'_>) -> Vec<Finding> {
    let exchanges = &case.evidence.exchanges;
    let mut findings = Vec::new();
    for (at, again) in exchanges.iter().enumerate() {
        if again.known_action() != Some(Action::UploadPart) {
            continue;
        }
        // The last acknowledgement before it is the one that counts: between the two, the server may have lost the part.
        let acknowledged = exchanges[..at].iter().rposition(|first| {
            key(first) == key(again) && first.acknowledged() && first.over_us() <= again.start.as_microsecond()
        });
        let Some(first) = acknowledged else { continue };
        if !lost(&exchanges[first], &exchanges[first + 1..at]) {
            findings.push(Finding::broken(format!(
                "{} was sent although request {} of the same part was acknowledged",
                again.name(),
                exchanges[first].seq
            )));
        }
    }
    findings
}

/// Was the part lost after it was acknowledged, as far as the client could know?
fn lost(acknowledged: &Exchange, between: &[Exchange]) -> bool {
    let dropped = acknowledged.faults.iter().any(|mark| mark.verdict == "drop-part");
    dropped || between.iter().any(|exchange| is_init_without(exchange, acknowledged))
}

/// Is this an `InitUpload` of the same file, answered without that part?
fn is_init_without(exchange: &Exchange, part: &Exchange) -> bool {
    exchange.file_sha1 == part.file_sha1 && lists(exchange, part) == Some(false)
}

#[cfg(test)]
mod tests {
    use crate::judge::crafted::{Story, mark, part_md5};
    use vod_proto::{Action, exchange::End};

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
}
