//! What happened in a run: its exchanges, and between them the steps and whatever else befell client and mock.

use vod_proto::{Exchange, timeline::Timeline};

use crate::{
    evidence::{Evidence, Happening},
    format::{Restart, Who},
};

pub(super) fn timeline(evidence: &Evidence) -> String {
    let ends = evidence.steps.iter().map(|step| {
        let text = format!("{} {} after {} ms", evidence.name_of(step), step.end, step.elapsed.as_millis());
        (step.last_seq, step.step, Place::End, text)
    });
    // Which step something befell: the one that began last.
    let events = evidence.events.iter().scan(0, |step, event| {
        let place = match &event.what {
            Happening::StepBegan(number)
            | Happening::Released { step: number, .. }
            | Happening::Restarted { step: number, .. } => {
                *step = *number;
                Place::Beginning
            }
            Happening::Held { .. } => Place::End,
            _ => Place::Within,
        };
        Some((event.after_seq, *step, place, happening(evidence, &event.what)))
    });
    let mut notes: Vec<_> = events.chain(ends).collect();
    notes.sort_by_key(|(after_seq, step, place, _)| (*after_seq, *step, *place));
    let two = evidence.has_two();
    let whose = |exchange: &Exchange| evidence.who(exchange).filter(|_| two).map(Who::name);
    let timeline = Timeline::of(&evidence.exchanges).told_apart(whose);
    notes.into_iter().fold(timeline, |timeline, (after_seq, .., text)| timeline.note(after_seq, text)).to_string()
}

/// Where in a step something happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Beginning,
    Within,
    End,
}

/// What befell client or mock, in words.
pub(super) fn happening(evidence: &Evidence, what: &Happening) -> String {
    match what {
        Happening::StepBegan(number) => {
            let whose: Vec<_> =
                evidence.steps.iter().filter(|step| step.began == *number).map(|step| step.who).collect();
            match whose[..] {
                [one, other] => format!("step {number}: two uploads together, of {one} and {other}"),
                [Who::B] => format!("step {number}: upload of b"),
                _ => format!("step {number}: upload"),
            }
        }
        Happening::ClientKilled(fault) => format!("the client is killed (fault {fault:?})"),
        Happening::MockKilled(fault) => format!("the mock is killed (fault {fault:?})"),
        Happening::MockBack => "the mock is back".to_owned(),
        Happening::FaultsLifted => "the faults are lifted".to_owned(),
        Happening::Held { step, hold } => format!("step {step} is left: the client is held by {hold:?}"),
        Happening::Released { step, hold } => format!("step {step}: {hold:?} is released"),
        Happening::Restarted { step, how: Restart::Stop } => format!("step {step}: the mock is stopped"),
        Happening::Restarted { step, how: Restart::Kill } => format!("step {step}: the mock is killed"),
    }
}
