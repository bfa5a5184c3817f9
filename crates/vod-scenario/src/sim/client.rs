//! The clients of a simulation: each a task of its own, as every process is, that is killed by being dropped.

use bytes::Bytes;
use tokio::task::JoinHandle;
use vod_client::{
    BytesSource, ConfigError, Credentials, Identity, Options, Outcome, RetryPolicy, Source, UploadError, UploadReport,
    Uploader, Work,
};
use vod_serve::WallClock;

use super::net::Net;
use crate::{
    claim::Claim,
    evidence::{ClientReport, ReportedOutcome, StepEnd, Target},
    format::{Dialect, Scenario, Who},
    not_run::NotRun,
    source::{self, SourceFacts},
    telling::{Beginning, Client},
};

/// Where the mock is, for a client and for whoever stands between.
pub(super) fn endpoint(who: Who) -> String {
    format!("http://{}", Target::Sim.hosts()[who as usize])
}

/// What the clients of a story have, and where they connect.
pub(super) struct Clients<'a> {
    scenario: &'a Scenario,
    net: Net,
    clock: WallClock,
    credentials: Credentials,
    bytes: Bytes,
    facts: SourceFacts,
}

impl<'a> Clients<'a> {
    pub(super) fn of(scenario: &'a Scenario, net: Net, clock: WallClock, credentials: Credentials) -> Self {
        let (bytes, facts) = source::in_memory(&scenario.source);
        Self { scenario, net, clock, credentials, bytes, facts }
    }

    /// What the story's source is.
    pub(super) const fn facts(&self) -> SourceFacts {
        self.facts
    }

    /// Lets one begin. Says what it uploads, by the digest that it believes in.
    pub(super) fn begin(&self, beginning: &Beginning<'_>) -> Result<(SimClient, SourceFacts), NotRun> {
        let own = &beginning.own.source;
        let (bytes, mut facts) =
            if *own == self.scenario.source { (self.bytes.clone(), self.facts) } else { source::in_memory(own) };
        let mut claim = None;
        if own.claims_source {
            facts.sha1 = self.facts.sha1;
            claim = Some(Claim::of(facts)?);
        }
        let said = |error: ConfigError| NotRun::Client { said: error.to_string() };
        let endpoint = endpoint(beginning.who).parse().map_err(said)?;
        let connector = self.net.connector(beginning.number);
        let options = options(beginning, self.clock, claim.as_ref());
        let uploader = Uploader::with_connector(endpoint, self.credentials.clone(), connector).options(options);
        let file = beginning.own.facts();
        let source = Claimed { bytes: BytesSource::new(bytes), identity: claim.as_ref().map(Claim::identity) };
        let task = tokio::spawn(async move { uploader.upload(source, file).await });
        Ok((SimClient { task, number: beginning.number, net: self.net.clone(), _claim: claim }, facts))
    }
}

/// How a client is set that begins now.
fn options(beginning: &Beginning<'_>, clock: WallClock, claim: Option<&Claim>) -> Options {
    let client = &beginning.own.client;
    let defaults = Options::default();
    Options {
        family: client.family,
        dialect: match client.dialect {
            Dialect::Documented => vod_client::Dialect::Documented,
            Dialect::Observed => vod_client::Dialect::Observed,
        },
        part_size: Some(client.part_size.bytes()),
        parallel: client.parallel,
        retry: RetryPolicy { attempts: beginning.own.attempts(), ..RetryPolicy::default() },
        seed: beginning.seed,
        work: Work::Inline,
        clock: vod_client::WallClock::fixed(clock.now()),
        token_life: client.token_life.unwrap_or(defaults.token_life),
        stall_timeout: client.stall_timeout.unwrap_or(defaults.stall_timeout),
        digest_cache: claim.map(|claim| claim.dir().to_owned()),
        ..defaults
    }
}

/// Bytes that are known by a digest which somebody kept, if they are.
struct Claimed {
    bytes: BytesSource,
    identity: Option<Identity>,
}

impl Source for Claimed {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read_at(offset, buffer)
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }
}

/// A client that runs, or has run.
pub(super) struct SimClient {
    task: JoinHandle<Result<UploadReport, UploadError>>,
    /// By which its connections are known.
    number: usize,
    net: Net,
    /// Where a digest is kept that it believes.
    _claim: Option<Claim>,
}

impl Client for SimClient {
    async fn ended(&mut self) -> StepEnd {
        match (&mut self.task).await {
            Ok(ended) => StepEnd::Reported(report(ended)),
            Err(error) => StepEnd::Silent { how: error.to_string() },
        }
    }

    /// Drops it, and takes its connections away from whatever it left running.
    async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.net.cut(self.number);
    }
}

/// The same words as the client's own JSON line.
fn report(ended: Result<UploadReport, UploadError>) -> ClientReport {
    match ended {
        Ok(report) => ClientReport {
            outcome: match report.outcome {
                Outcome::Finished => ReportedOutcome::Finished,
                Outcome::CommittedEarlier => ReportedOutcome::CommittedEarlier,
                Outcome::Existed => ReportedOutcome::Existed,
            },
            parts_sent: Some(report.parts_sent),
            parts_skipped: Some(report.parts_skipped),
            ..ClientReport::default()
        },
        Err(error) => ClientReport {
            outcome: ReportedOutcome::Failed,
            kind: Some(error.kind().to_owned()),
            code: error.code(),
            may_be_committed: error.may_be_committed,
            message: Some(error.to_string()),
            ..ClientReport::default()
        },
    }
}
