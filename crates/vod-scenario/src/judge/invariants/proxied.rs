//! A recorder between client and mock, and the replay of what it recorded.

use crate::{
    evidence::Happening,
    judge::{Case, Finding},
    proxied::{Between, differences},
};

/// The recording is whole, holds no secret, and says what the mock's journal says.
pub(super) fn recorded_as_it_was(case: Case<'_>) -> Vec<Finding> {
    let Some(proxied) = &case.evidence.proxied else { return vec![] };
    let ended = |what: &Happening| matches!(what, Happening::MockKilled(_) | Happening::Restarted { .. });
    let mut faults = case.evidence.exchanges.iter().flat_map(|exchange| &exchange.faults);
    let door_shut =
        case.evidence.events.iter().any(|event| ended(&event.what)) || faults.any(|fault| fault.verdict == "refuse");
    let between = Between { door_shut, time: proxied.another_day };
    let differing = differences(&case.evidence.exchanges, &proxied.recorded, between);
    proxied.flaws.iter().cloned().chain(differing).map(Finding::Broken).collect()
}

/// Each step ends the same, nothing was asked that was not recorded, and nothing recorded was not asked for.
pub(super) fn same_on_replay(case: Case<'_>) -> Vec<Finding> {
    let Some(proxied) = &case.evidence.proxied else { return vec![] };
    let otherwise = case.evidence.ended_otherwise(&proxied.retold);
    otherwise.into_iter().chain(proxied.retold.said.iter().cloned()).map(Finding::Broken).collect()
}

#[cfg(test)]
mod tests {
    use vod_proto::{
        Exchange,
        exchange::{End, FaultMark},
    };

    use crate::{
        evidence::{ClientReport, StepEnd},
        judge::crafted::Story,
        proxied::{Proxied, Retold},
    };

    fn proxied() -> Story {
        let mut story = Story::plain();
        let ends = story.evidence.steps.iter().map(|step| step.end.clone()).collect();
        let recorded = story.evidence.exchanges.clone();
        story.evidence.proxied =
            Some(Proxied { recorded, flaws: vec![], another_day: false, retold: Retold { ends, said: vec![] } });
        story
    }

    #[test]
    fn a_good_recording_holds_and_one_with_a_flaw_or_a_difference_does_not() {
        proxied().assert_holds("recorded-as-it-was");
        let mut story = proxied();
        story.evidence.proxied.as_mut().unwrap().flaws.push("the secret key stands in it".to_owned());
        story.assert_broken("recorded-as-it-was", "the secret key stands in it");
        let mut story = proxied();
        story.evidence.proxied.as_mut().unwrap().recorded.pop();
        story.assert_broken("recorded-as-it-was", "FinishUpload: asked once, and never");
    }

    #[test]
    fn whoever_waited_at_a_door_that_was_shut_is_known_to_the_recorder_alone() {
        let mut story = proxied();
        let recorded = &mut story.evidence.proxied.as_mut().unwrap().recorded;
        let waited = Exchange { seq: 90, end: End::Reset, reply: None, ..recorded[1].clone() };
        recorded.insert(1, waited);
        story.assert_broken("recorded-as-it-was", "asked once, and 2 times");
        let refuse = FaultMark {
            id: "away".to_owned(),
            phase: "before-read".to_owned(),
            verdict: "refuse".to_owned(),
            on_reply: false,
            at_us: 0,
        };
        story.evidence.exchanges[0].faults.push(refuse);
        story.assert_holds("recorded-as-it-was");
    }

    #[test]
    fn another_end_on_the_replay_is_seen_and_other_words_are_not() {
        let mut story = proxied();
        let retold = &mut story.evidence.proxied.as_mut().unwrap().retold;
        let StepEnd::Reported(report) = &mut retold.ends[0] else { panic!("it was reported") };
        report.message = Some("after 3 s".to_owned());
        story.assert_holds("same-on-replay");
        let retold = &mut story.evidence.proxied.as_mut().unwrap().retold;
        retold.ends[0] = StepEnd::Reported(ClientReport { parts_sent: Some(9), ..ClientReport::default() });
        story.assert_broken("same-on-replay", "and on the replay it ended finished");
        let mut story = proxied();
        story.evidence.proxied.as_mut().unwrap().retold.ends.clear();
        story.assert_broken("same-on-replay", "was never reached");
        let mut story = proxied();
        story.evidence.proxied.as_mut().unwrap().retold.said.push("UploadPart was never asked for".to_owned());
        story.assert_broken("same-on-replay", "never asked for");
    }
}
