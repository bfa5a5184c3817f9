//! What a recorder between client and mock adds to a story: its recording, held against the mock's journal, and what came of
//! the story on a replay of it.

mod agreement;

use std::path::Path;

use vod_proto::Exchange;
use vod_proxy::{
    Recording, RecordingError,
    leaks::{self, Leak},
};
use vod_serve::Plan;

use crate::{
    evidence::{ClientReport, Event, Evidence, Happening, Secret, StepEnd},
    format::Scenario,
};

pub(crate) use agreement::{Between, differences};

/// A story that was told through a recorder, and again on the replay of its recording.
#[derive(Clone, Debug)]
pub struct Proxied {
    /// What the recorder saw, by sequence number.
    pub recorded: Vec<Exchange>,
    /// What is wrong with the recording itself: something is missing, or a secret stands in it.
    pub flaws: Vec<String>,
    /// Was it recorded some other day, when the same story was told?
    pub another_day: bool,
    /// What came of the story on the replay.
    pub retold: Retold,
}

/// A story on a replay.
#[derive(Clone, Debug, Default)]
pub struct Retold {
    /// How each step ended.
    pub ends: Vec<StepEnd>,
    /// What was not as it was recorded: requests that nothing answers, exchanges that nobody asked for, kills that did not
    /// strike.
    pub said: Vec<String>,
}

impl Proxied {
    /// Reads a recording, and looks for what is wrong with it.
    pub(crate) fn read(dir: &Path, secrets: &[Secret], retold: Retold) -> Self {
        let (recorded, flaws) = match read(dir, secrets) {
            Ok(read) => read,
            Err(error) => (vec![], vec![error.to_string()]),
        };
        Self { recorded, flaws, another_day: false, retold }
    }
}

fn read(dir: &Path, secrets: &[Secret]) -> Result<(Vec<Exchange>, Vec<String>), RecordingError> {
    let recording = Recording::open(dir)?;
    let (recorded, _) = recording.exchanges()?;
    let checked = recording.verify()?;
    let mut flaws: Vec<_> = (!checked.is_whole()).then(|| checked.to_string()).into_iter().collect();
    let secrets: Vec<_> = secrets.iter().filter_map(|secret| leaks::Secret::new(secret.name, &secret.value)).collect();
    match leaks::find(dir, &secrets) {
        Ok(found) => flaws.extend(found.leaks.into_iter().map(|Leak { name, form, path, line }| {
            format!("{name} stands in {}, line {line}, {form}", path.display())
        })),
        Err((path, error)) => flaws.push(format!("{} cannot be searched for secrets: {error}", path.display())),
    }
    Ok((recorded, flaws))
}

impl Evidence {
    /// What of a story's plan is planted again on a replay: its clients are killed. All else was recorded.
    ///
    /// Each fault kills as often as it did, and no more: nobody lifts faults on a replay, as a step of the story may have.
    pub(crate) fn kills(&self, scenario: &Scenario) -> Plan {
        let mut plan = scenario.plan();
        plan.faults.retain_mut(|fault| {
            let killed = |event: &&Event| matches!(&event.what, Happening::ClientKilled(id) if *id == fault.id);
            let times = self.events.iter().filter(killed).count() as u64;
            fault.on.times = Some(times);
            times > 0
        });
        plan
    }

    /// In which steps the client came to another end on the replay. Words do not count: times stand in them.
    pub(crate) fn ended_otherwise(&self, retold: &Retold) -> Vec<String> {
        let came_to = |end: &StepEnd| match end {
            StepEnd::Reported(report) => StepEnd::Reported(ClientReport { message: None, ..report.clone() }),
            other => other.clone(),
        };
        let mut found = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let again = retold.ends.get(at);
            if again.map(came_to) != Some(came_to(&step.end)) {
                let again = again.map_or_else(|| "was never reached".to_owned(), |end| format!("ended {end}"));
                found.push(format!("step {} ended {}, and on the replay it {again}", at + 1, step.end));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    #[test]
    fn on_a_replay_a_client_is_killed_as_often_as_it_was_and_whoever_was_spared_then_is_spared_again() {
        let faults = "[[fault]]\nid = \"often\"\non = { action = \"UploadPart\", times = 4 }\nphase = \"before-commit\"\n\
                      do = { kill = \"client\" }\n\
                      [[fault]]\nid = \"never\"\non = { action = \"FinishUpload\", times = 1 }\nphase = \"before-commit\"\n\
                      do = { kill = \"client\" }\n\
                      [[fault]]\nid = \"reset\"\non = { action = \"InitUpload\" }\nphase = \"before-commit\"\ndo = \"reset\"\n";
        let text = format!(
            "format = 1\nwhy = \"w\"\nsource = {{ size = \"1MiB\", seed = 1 }}\n{faults}[[step]]\nupload = {{}}\nexpect = \"killed\"\n"
        );
        let scenario = Scenario::parse("s.toml", &text).unwrap();
        let planted = |killed: &[&str]| {
            let mut story = Story::plain();
            let killed = killed.iter().map(|id| Happening::ClientKilled((*id).to_owned()));
            story.evidence.events.extend(killed.map(|what| Event { after_seq: 1, what }));
            let plan = story.evidence.kills(&scenario);
            plan.faults.into_iter().map(|fault| (fault.id, fault.on.times)).collect::<Vec<_>>()
        };
        assert_eq!(planted(&[]), []);
        assert_eq!(planted(&["often", "often"]), [("often".to_owned(), Some(2))]);
    }
}
