//! The world of real processes: a mock, clients, and a recorder between them if there is one.

use std::{path::Path, time::Duration};

use vod_mock::UploadView;
use vod_serve::fault::Fate;

use super::{
    admin,
    afterwards::{gap, last_of, panics, parts_kept},
    client::ClientProcess,
    mock::MockProcess,
    places::Places,
    proxy::ProxyProcess,
    server,
};
use crate::{
    evidence::Evidence,
    format::{Restart, Scenario, Who},
    not_run::NotRun,
    source::SourceFacts,
    telling::{Ask, Beginning, News, Running, World, first_ended},
};

/// How soon the mock is asked again whether somebody is held. Default 20 ms: a person does not notice, nor does the mock.
const LOOKED_AGAIN: Duration = Duration::from_millis(20);

/// Waits until one of these faults holds somebody.
async fn until_held(admin: &str, faults: &[String]) {
    loop {
        // A mock that does not answer is missed by whoever asks it next.
        let fates = admin::faults(admin).await.unwrap_or_default();
        if fates.iter().any(|fate| fate.held > 0 && faults.contains(&fate.id)) {
            return;
        }
        tokio::time::sleep(LOOKED_AGAIN).await;
    }
}

/// A mock and those who upload to it.
pub(super) struct Processes<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) seed: u64,
    pub(super) binary: &'a Path,
    pub(super) places: &'a Places,
    /// None only while it is dead.
    pub(super) mock: Option<MockProcess>,
    /// Where it listens in each of its lives.
    pub(super) port: u16,
    pub(super) lives: usize,
    /// Who stands between it and the clients, if anybody does.
    pub(super) recorder: Option<ProxyProcess>,
    pub(super) evidence: Evidence,
}

impl Processes<'_> {
    /// Asks the mock something. An answer that does not come is missing evidence.
    async fn ask<T>(&mut self, question: impl AsyncFn(&str) -> Result<T, admin::NoAnswer>) -> Option<T> {
        let endpoint = self.mock.as_ref()?.admin();
        match question(endpoint).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.evidence.missing.push(error.to_string());
                None
            }
        }
    }

    fn lay_to_rest(&mut self, remains: &server::Remains) {
        let name = if self.lives == 1 { "the mock".to_owned() } else { format!("the mock's life {}", self.lives) };
        self.evidence.logs.extend(remains.logs(&name));
        if let Some(peak) = remains.peak_memory {
            let known = self.evidence.peak_memory.entry("mock".to_owned()).or_default();
            *known = (*known).max(peak);
        }
    }

    /// Stops the mock and gathers what is left.
    pub(super) async fn close(mut self) -> Evidence {
        let planted = self.ask(admin::faults).await.unwrap_or_default();
        self.evidence.faults.extend(planted);
        if let Some(recorder) = self.recorder.take() {
            let remains = recorder.server.stop().await;
            self.evidence.left_behind.extend(remains.refused_to_stop("the recorder"));
            self.evidence.peak_memory.extend(remains.peak_memory.map(|peak| ("recorder".to_owned(), peak)));
            self.evidence.logs.extend(remains.logs("the recorder"));
        }
        // Asked to stop, and not killed: whatever is still under way is then written down as left by its client.
        self.end_mock(Restart::Stop).await;
        let mut evidence = self.evidence;
        match self.places.journal() {
            Ok(exchanges) => {
                let last = evidence.steps.last().map_or(0, |step| step.last_seq);
                evidence.missing.extend(gap(&exchanges, last));
                evidence.exchanges = exchanges;
            }
            Err(error) => evidence.missing.push(error),
        }
        evidence.panics = panics(&evidence.logs, self.scenario);
        let parts = evidence.steps.last().and_then(|step| parts_kept(&step.uploads));
        evidence.left_behind.extend(self.places.left_behind(evidence.source, parts));
        evidence
    }
}

impl World for Processes<'_> {
    type Client = ClientProcess;

    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    async fn last_seq(&mut self) -> u64 {
        let exchanges = match self.mock {
            Some(_) => self.ask(admin::exchanges).await,
            // The journal's file is all that can say what had been seen: nobody is there to be asked.
            None => self.places.journal().ok(),
        };
        exchanges.map_or(0, |exchanges| last_of(&exchanges))
    }

    fn begin(&mut self, beginning: &Beginning<'_>) -> Result<(ClientProcess, SourceFacts), NotRun> {
        let endpoint = match (&self.recorder, &self.mock) {
            (Some(recorder), _) => recorder.endpoint.clone(),
            (None, Some(mock)) => mock.endpoint_of(beginning.who),
            (None, None) => return Err(NotRun::Mock { said: "it is dead".to_owned() }),
        };
        let story = (self.scenario, self.evidence.source);
        ClientProcess::begin(self.binary, self.places, story, beginning, &endpoint)
    }

    async fn news(&mut self, running: &mut [Running<ClientProcess>], holds: &[String]) -> News {
        let Some(mock) = &mut self.mock else { return News::MockGone };
        let admin = mock.admin().to_owned();
        tokio::select! {
            biased;
            (at, end) = first_ended(running) => News::Ended(at, end),
            asked = mock.server.asked_to_kill() => asked.map_or(News::MockGone, News::Asked),
            () = until_held(&admin, holds), if !holds.is_empty() => News::Held,
        }
    }

    async fn killed(&mut self, ask: Ask) {
        if let Some(mock) = &mut self.mock {
            mock.server.killed(ask.kill).await;
        }
    }

    async fn release(&mut self, hold: &str) {
        self.ask(async |endpoint: &str| admin::release(endpoint, hold).await).await;
    }

    async fn lift(&mut self) -> Vec<Fate> {
        self.ask(admin::lift_faults).await.unwrap_or_default()
    }

    async fn end_mock(&mut self, how: Restart) {
        let Some(mock) = self.mock.take() else { return };
        let remains = match how {
            Restart::Stop => mock.server.stop().await,
            Restart::Kill => mock.server.kill().await,
        };
        if how == Restart::Stop {
            self.evidence.left_behind.extend(remains.refused_to_stop("the mock"));
        }
        self.lay_to_rest(&remains);
    }

    /// The same port, the same data, the same journal.
    async fn mock_back(&mut self, faults: bool) -> Result<(), NotRun> {
        self.lives += 1;
        let port = Some(self.port);
        let mock = MockProcess::start(self.binary, self.places, self.scenario, self.seed, port, faults).await?;
        self.mock = Some(mock);
        Ok(())
    }

    async fn bury(&mut self, step: usize, who: Who, mut client: ClientProcess) {
        let whose = if self.scenario.has_two_at_once() { format!("the client {who}") } else { "the client".to_owned() };
        let left = client.left_behind().await.into_iter();
        self.evidence
            .left_behind
            .extend(left.map(|name| format!("{whose} left a process behind in step {step}: {name}")));
        if let Some(peak) = client.peak_memory() {
            let known = self.evidence.peak_memory.entry("client".to_owned()).or_default();
            *known = (*known).max(peak);
        }
        let (logs, lost) = client.into_logs(&whose, step).await;
        self.evidence.logs.extend(logs);
        self.evidence.missing.extend(lost);
    }

    async fn settled(&mut self) -> (Vec<UploadView>, u64) {
        let last_seq = self.last_seq().await;
        (self.ask(admin::uploads).await.unwrap_or_default(), last_seq)
    }
}
