//! Do a mock's journal and a recording tell the same story?

use std::collections::BTreeMap;

use vod_mock::DEMO_VERIFY_KEY;
use vod_proto::{
    Exchange, PartSpan, Sha1,
    exchange::{End, Mark},
    sign::SecretKey,
    ugc::VerifyContent,
};
use vod_proxy::look::diff;

/// What may lie between two records of one story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Between {
    /// The mock took no connections for a while, because it was killed or refused them: those that waited at its door were reset.
    pub(crate) door_shut: bool,
    /// They were not made at the same time: the proof of a finished upload, which says until when it holds, is another one.
    pub(crate) time: bool,
}

/// What is told by one and not by the other. `A` is the journal, `B` the recording.
///
/// A recorder does not know of faults, only what they look like from outside. It cannot tell a death from a closed connection.
/// And it knows more of what came of nobody's doing: that a server was not reached, or died, or a client, before the request was
/// read.
pub(crate) fn differences(journal: &[Exchange], recorded: &[Exchange], between: Between) -> Vec<String> {
    let mut journal = journal.to_vec();
    for exchange in &mut journal {
        exchange.faults.clear();
    }
    // Whoever was not reached wrote nothing down.
    let mut recorded: Vec<_> = recorded.iter().filter(|exchange| exchange.unreached.is_none()).cloned().collect();
    let seen = by_role(&journal);
    let (mut unseen, mut replies) = (Vec::new(), Vec::new());
    for (role, mut places) in by_role(&recorded) {
        let then = seen.get(&role).map_or(&[][..], Vec::as_slice);
        while places.len() > then.len()
            && let Some(nth) = places.iter().position(|at| may_be_unseen(&recorded[*at], between.door_shut))
        {
            unseen.push(recorded[places.remove(nth)].seq);
        }
        for (at, then) in places.into_iter().zip(then) {
            let (exchange, then) = (&mut recorded[at], &journal[*then]);
            if ended_alike(then, exchange) {
                exchange.end = then.end;
            } else {
                replies.extend(other_reply(then, exchange, between.time));
            }
        }
    }
    recorded.retain(|exchange| !unseen.contains(&exchange.seq));
    let differing = diff(&journal, &recorded);
    differing.iter().map(ToString::to_string).chain(replies).collect()
}

/// The upload, the action or the path, the part.
type Role = (Option<Sha1>, String, Option<PartSpan>);

/// Where the exchanges of each role stand, in their order.
fn by_role(exchanges: &[Exchange]) -> BTreeMap<Role, Vec<usize>> {
    let mut roles = BTreeMap::<Role, Vec<usize>>::new();
    for (at, exchange) in exchanges.iter().enumerate() {
        let asked = exchange.action.clone().unwrap_or_else(|| exchange.path_and_query().0.to_owned());
        roles.entry((exchange.file_sha1, asked, exchange.part)).or_default().push(at);
    }
    roles
}

/// Did it end before the mock can have read it?
fn may_be_unseen(recorded: &Exchange, door_shut: bool) -> bool {
    match recorded.end {
        End::ClientGone { .. } => true,
        End::Reset | End::Closed => door_shut && recorded.reply.is_none(),
        _ => false,
    }
}

/// Did it end alike, as far as the recorder could see: with a client that is gone, or with the server's connection?
fn ended_alike(then: &Exchange, recorded: &Exchange) -> bool {
    match (then.end, recorded.end) {
        (End::Killed, End::ClientGone { .. } | End::Closed | End::Reset) => true,
        // How much of a body had come is no more the same than how much was on its way.
        (End::ClientGone { .. }, End::ClientGone { .. }) => true,
        // A system resets a connection that is closed while bytes are left that nobody read.
        (End::Closed, End::Reset) => then.part.is_some_and(|part| then.request.body.len < part.len),
        _ => false,
    }
}

/// Is what came of the reply what was sent? Of one that broke off, as much as came. Of what is no text a journal keeps what
/// can be read, and a recording the bytes.
fn other_reply(then: &Exchange, recorded: &Exchange, time: bool) -> Option<String> {
    let told = |exchange: &Exchange| {
        let reply = exchange.reply.as_ref()?;
        let body = if time { at_any_time(&reply.body) } else { reply.body.clone() };
        let mark = reply.mark.as_ref().map(|Mark { len, sha1, .. }| (*len, *sha1));
        Some((reply.status, body, mark))
    };
    let (sent, came) = (told(then), told(recorded));
    let no_text =
        matches!((&sent, &came), (Some((a, text, None)), Some((b, _, Some(_)))) if a == b && text.contains('\u{FFFD}'));
    (sent != came && !no_text)
        .then(|| format!("{}: the mock sent {sent:?}, and the recorder saw {came:?}", then.name()))
}

/// A reply as it would be at any time: in the place of a proof that holds stands what it proves.
fn at_any_time(body: &str) -> String {
    let Ok(mut reply) = serde_json::from_str::<serde_json::Value>(body) else { return body.to_owned() };
    let Some(proof) = reply.get_mut("verify_content") else { return body.to_owned() };
    let proved = proof.as_str().and_then(|text| VerifyContent::verify(&SecretKey::new(DEMO_VERIFY_KEY), text).ok());
    if let Some(VerifyContent { file_id, .. }) = proved {
        *proof = format!("proof of {file_id}").into();
    }
    reply.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    /// What is found when a recording is not what the journal is.
    fn found(door_shut: bool, change: impl Fn(&mut Vec<Exchange>, &mut Vec<Exchange>)) -> Vec<String> {
        let mut journal = Story::plain().evidence.exchanges;
        let mut recorded = journal.clone();
        change(&mut journal, &mut recorded);
        differences(&journal, &recorded, Between { door_shut, ..Between::default() })
    }

    #[test]
    fn what_cannot_be_seen_from_both_sides_is_no_difference() {
        for recorded_end in [End::Closed, End::Reset, End::ClientGone { after: 7 }] {
            let found = found(false, |journal, recorded| {
                (journal[2].end, journal[2].reply) = (End::Killed, None);
                (recorded[2].end, recorded[2].reply) = (recorded_end, None);
            });
            assert_eq!(found, [""; 0], "{recorded_end}");
        }
        let ended = |end: End, door_shut| {
            found(door_shut, |_, recorded| {
                let early = Exchange { seq: 90, end, reply: None, ..recorded[2].clone() };
                recorded.insert(2, early);
            })
        };
        assert_eq!(ended(End::ClientGone { after: 0 }, false), [""; 0]);
        assert_eq!(ended(End::Reset, true), [""; 0]);
        assert!(!ended(End::Reset, false).is_empty(), "who broke it off, if nobody died?");
        assert!(!ended(End::Timeout, true).is_empty());
    }

    #[test]
    fn another_end_another_number_and_another_reply_are_differences() {
        let said = found(false, |_, recorded| recorded[2].end = End::Closed);
        assert!(said[0].contains("B: closed"), "{said:?}");
        let said = found(false, |_, recorded| _ = recorded.remove(1));
        assert!(said[0].contains("asked once, and never"), "{said:?}");
        let said = found(false, |_, recorded| recorded[1].reply.as_mut().unwrap().body.push(' '));
        assert!(said[0].contains("the mock sent"), "{said:?}");
        let said = found(true, |journal, recorded| {
            (journal[2].end, journal[2].reply) = (End::Closed, None);
            (recorded[2].end, recorded[2].reply) = (End::Reset, None);
        });
        assert!(said[0].contains("A: closed") && said[0].contains("B: reset"), "{said:?}");
    }

    #[test]
    fn at_another_time_another_proof_of_the_same_file_is_no_difference_and_anything_else_is() {
        let sign = |expires, file_id: &str, key: &str| {
            VerifyContent { expires, file_id: file_id.to_owned() }.sign(&SecretKey::new(key))
        };
        let told = |proof: String, time| {
            let mut journal = Story::plain().evidence.exchanges;
            let mut recorded = journal.clone();
            let body = |proof: &str| format!(r#"{{"code":0,"fileId":"7","verify_content":"{proof}"}}"#);
            journal[2].reply.as_mut().unwrap().body = body(&sign(5, "7", DEMO_VERIFY_KEY));
            recorded[2].reply.as_mut().unwrap().body = body(&proof);
            !differences(&journal, &recorded, Between { time, ..Between::default() }).is_empty()
        };
        assert!(!told(sign(9, "7", DEMO_VERIFY_KEY), true));
        assert!(told(sign(9, "7", DEMO_VERIFY_KEY), false), "at the same time it is the same");
        assert!(told(sign(9, "8", DEMO_VERIFY_KEY), true));
        assert!(told(sign(5, "7", "another key"), true));
    }
}
