//! What happened in a run: its exchanges, and between them the steps and whatever else befell client and mock.

use vod_proto::timeline::Timeline;

use crate::evidence::{Evidence, Happening};

pub(super) fn timeline(evidence: &Evidence) -> String {
    let steps = evidence.steps.iter().enumerate();
    let ends = steps.map(|(at, step)| {
        let text = format!("step {} {} after {} ms", at + 1, step.end, step.elapsed.as_millis());
        (step.last_seq, at + 1, Place::End, text)
    });
    // Which step something befell: the one that began last.
    let events = evidence.events.iter().scan(0, |step, event| {
        let place = match event.what {
            Happening::StepBegan(number) => {
                *step = number;
                Place::Beginning
            }
            _ => Place::Within,
        };
        Some((event.after_seq, *step, place, happening(&event.what)))
    });
    let mut notes: Vec<_> = events.chain(ends).collect();
    notes.sort_by_key(|(after_seq, step, place, _)| (*after_seq, *step, *place));
    let timeline = Timeline::of(&evidence.exchanges);
    notes.into_iter().fold(timeline, |timeline, (after_seq, .., text)| timeline.note(after_seq, text)).to_string()
}

/// Where in a step something happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Beginning,
    Within,
    End,
}

fn happening(what: &Happening) -> String {
    match what {
        Happening::StepBegan(number) => format!("step {number}: upload"),
        Happening::ClientKilled(fault) => format!("the client is killed (fault {fault:?})"),
        Happening::MockKilled(fault) => format!("the mock is killed (fault {fault:?})"),
        Happening::MockBack => "the mock is back".to_owned(),
        Happening::FaultsLifted => "the faults are lifted".to_owned(),
    }
}
