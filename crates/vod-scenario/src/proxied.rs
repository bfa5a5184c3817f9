//! What a recorder between client and mock adds to a story: its recording, held against the mock's journal, and what came of
//! the story on a replay of it.

mod agreement;

use std::path::Path;

use vod_proto::Exchange;
use vod_proxy::{
    Recording, RecordingError,
    leaks::{self, Leak},
};
use vod_serve::{KillTarget, Plan, fault::Verdict};

use crate::{
    evidence::{ClientReport, Evidence, Secret, StepEnd},
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
        Ok(found) => flaws.extend(found.into_iter().map(|Leak { name, form, path, line }| {
            format!("{name} stands in {}, line {line}, {form}", path.display())
        })),
        Err((path, error)) => flaws.push(format!("{} cannot be searched for secrets: {error}", path.display())),
    }
    Ok((recorded, flaws))
}

/// What of a story's plan is planted again on a replay: its clients are killed. All else was recorded.
pub(crate) fn kills(scenario: &Scenario) -> Plan {
    let mut plan = scenario.plan();
    plan.faults.retain(|fault| fault.verdict == Verdict::Kill(KillTarget::Client));
    plan
}

impl Evidence {
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
