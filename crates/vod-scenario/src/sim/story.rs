//! One telling of a story: client and mock as tasks of one thread, killed by being dropped.

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use vod_client::{
    BytesSource, ConfigError, Credentials, Options, Outcome, RetryPolicy, UploadError, UploadReport, Uploader, Work,
};
use vod_mock::{Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, MemoryStore, Mock, Store};
use vod_proto::sign::SecretKey;
use vod_serve::{Journal, KillTarget, Killer, Plan, WallClock, journal::Whose};

use super::{
    net::{Net, SimConnector},
    recorder::Recorder,
};
use crate::{
    clock::Stopwatch,
    evidence::{ClientReport, Event, Evidence, Happening, ReportedOutcome, StepEnd, StepEvidence, Target},
    format::{self, Faults, Scenario},
    process::secrets,
    run::NotRun,
    source,
};

/// The time of day when every simulation begins: 2017-03-01T00:00:00Z, in the protocol's own days.
pub(super) const EPOCH_S: i64 = 1_488_326_400;

/// Where the mock is, for clients and for whoever stands between.
const ENDPOINT: &str = "http://mock.sim";

/// How long a killed mock is away. Default 300 ms: longer than the client's first waits, so that it meets
/// a refused connection, and shorter than its patience.
const AWAY: Duration = Duration::from_millis(300);

/// Time that passes only when nothing else can happen: whatever was still to be done is done by then.
const MOMENT: Duration = Duration::from_millis(1);

/// Longer than any timer that a dropped connection or an idle pool may have left running.
const SETTLED: Duration = Duration::from_secs(300);

/// Somebody is to be killed.
pub(super) struct Ask {
    pub(super) target: KillTarget,
    pub(super) fault: String,
    pub(super) done: oneshot::Sender<()>,
}

/// Hands the mock's wish to whoever tells the story.
pub(super) struct SimKiller(pub(super) mpsc::UnboundedSender<Ask>);

impl Killer for SimKiller {
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let (done, killed) = oneshot::channel();
            let _ = self.0.send(Ask { target, fault: fault.to_owned(), done });
            let _ = killed.await;
        })
    }
}

/// One life of the mock.
struct Life {
    mock: Arc<Mock>,
    task: JoinHandle<()>,
}

impl Life {
    /// Drops the mock and with it its connections, as the death of its process would.
    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

struct Story<'a> {
    scenario: &'a Scenario,
    seed: u64,
    bytes: Bytes,
    /// The mock's network.
    net: Net,
    /// Who stands between it and the clients, if anybody does.
    recorder: Option<Recorder>,
    store: Arc<MemoryStore>,
    journal: Arc<Journal>,
    clock: WallClock,
    killer: Arc<SimKiller>,
    asks: mpsc::UnboundedReceiver<Ask>,
    /// The faults are lifted, and a mock that starts again plans none.
    healing: bool,
    evidence: Evidence,
}

/// Tells a story on the current runtime, whose clock is paused; through a recorder, where it is said where to record.
pub(super) async fn tell(
    scenario: &Scenario,
    seed: u64,
    journal: Arc<Journal>,
    record_to: Option<&Path>,
) -> Result<Evidence, NotRun> {
    let (bytes, facts) = source::in_memory(&scenario.source);
    let epoch = Timestamp::from_second(EPOCH_S).unwrap_or(Timestamp::UNIX_EPOCH);
    let (killer, asks) = mpsc::unbounded_channel();
    let evidence = Evidence::begin(Target::Sim, facts, secrets());
    let (net, clock) = (Net::default(), WallClock::fixed(epoch));
    let recorder = record_to.map(|dir| Recorder::start(dir, &net, ENDPOINT, clock)).transpose()?;
    let mut story = Story {
        scenario,
        seed,
        bytes,
        net,
        recorder,
        store: MemoryStore::new(),
        journal,
        clock,
        killer: Arc::new(SimKiller(killer)),
        asks,
        healing: false,
        evidence,
    };
    let mut life = story.open().await?;
    for number in 1..=scenario.steps().len() {
        life = story.step(number, life).await?;
    }
    story.close(life).await
}

impl Story<'_> {
    /// Opens a mock on what is stored and journaled.
    async fn open(&self) -> Result<Life, NotRun> {
        let config = Config {
            profile: self.scenario.mock.profile,
            limits: self.scenario.limits.clone(),
            instant_upload: self.scenario.mock.instant_upload,
            plan: if self.healing { Plan::default() } else { self.scenario.plan() },
            seed: self.seed,
            clock: self.clock,
            journal: Arc::clone(&self.journal),
            killer: Some(Arc::clone(&self.killer) as Arc<dyn Killer>),
            ..Config::default()
        };
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let mock = Mock::open(config, store).await.map_err(|error| NotRun::Mock { said: error.to_string() })?;
        let (serving, listener) = (Arc::clone(&mock), self.net.listen());
        let task = tokio::spawn(async move { match serving.serve(listener).await {} });
        Ok(Life { mock, task })
    }

    async fn step(&mut self, number: usize, mut life: Life) -> Result<Life, NotRun> {
        if self.scenario.steps().nth(number - 1).is_some_and(|step| step.faults == Faults::Off) && !self.healing {
            self.heal(&life).await;
        }
        self.happened(Happening::StepBegan(number));
        let stopwatch = Stopwatch::start();
        let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
        let connector = self.clients().connector(number);
        let mut client =
            client(self.scenario, self.seed, number, self.bytes.clone(), self.clock.now(), credentials, connector)?;
        let mut limit = std::pin::pin!(tokio::time::sleep(self.scenario.limit(number - 1)));
        let end = loop {
            tokio::select! {
                biased;
                Some(ask) = self.asks.recv() => match ask.target {
                    KillTarget::Client => {
                        self.kill_client(number, &mut client).await;
                        self.happened(Happening::ClientKilled(ask.fault.clone()));
                        let _ = ask.done.send(());
                        break StepEnd::Killed { fault: ask.fault };
                    }
                    KillTarget::Mock => {
                        life.end().await;
                        self.happened(Happening::MockKilled(ask.fault));
                        tokio::time::sleep(AWAY).await;
                        life = self.open().await?;
                        self.happened(Happening::MockBack);
                    }
                },
                ended = &mut client => break match ended {
                    Ok(ended) => StepEnd::Reported(report(ended)),
                    Err(error) => StepEnd::Silent { how: error.to_string() },
                },
                () = &mut limit => {
                    self.kill_client(number, &mut client).await;
                    break StepEnd::TimedOut;
                }
            }
        };
        let elapsed = stopwatch.elapsed();
        tokio::time::sleep(MOMENT).await;
        let uploads = life.mock.uploads().await;
        self.evidence.steps.push(StepEvidence { end, last_seq: self.last_seq(), elapsed, uploads });
        Ok(life)
    }

    /// Lifts the faults, and writes down what became of them. Whoever is still asked to kill for one is not any more.
    async fn heal(&mut self, life: &Life) {
        self.healing = true;
        self.evidence.faults = life.mock.engine().lift_all(None);
        // A door that one of them shut opens by itself.
        tokio::time::sleep(self.scenario.longest_refusal()).await;
        while self.asks.try_recv().is_ok() {}
        self.happened(Happening::FaultsLifted);
    }

    /// Drops the client, and takes its connections away from whatever it left running.
    async fn kill_client(&self, number: usize, client: &mut JoinHandle<Result<UploadReport, UploadError>>) {
        client.abort();
        let _ = client.await;
        self.clients().cut(number);
    }

    /// Where clients connect.
    fn clients(&self) -> &Net {
        self.recorder.as_ref().map_or(&self.net, Recorder::clients)
    }

    fn happened(&mut self, what: Happening) {
        let after_seq = self.last_seq();
        self.evidence.events.push(Event { after_seq, what });
    }

    fn last_seq(&self) -> u64 {
        // One that a fault holds may go on into the next step, and is of this one all the same.
        self.journal.last_begun()
    }

    /// Ends the mock and gathers what is left.
    async fn close(self, life: Life) -> Result<Evidence, NotRun> {
        let clients = self.recorder.as_ref().map(|recorder| recorder.clients().clone());
        let mut evidence = self.evidence;
        evidence.faults.extend(life.mock.fates());
        if let Some(recorder) = self.recorder {
            let unwritable = recorder.stop().await;
            if unwritable > 0 {
                evidence.missing.push(format!("{unwritable} exchanges could not be recorded"));
            }
        }
        life.end().await;
        // Whatever still runs now has been forgotten by everybody.
        tokio::time::sleep(SETTLED).await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks > 0 {
            evidence.left_behind.push(format!("{tasks} tasks still run"));
        }
        let connections = self.net.open() + clients.map_or(0, |clients| clients.open());
        if connections > 0 {
            evidence.left_behind.push(format!("{connections} connections are still open"));
        }
        let kept = self.journal.kept(&Whose::Everybody);
        evidence.evicted = kept.lacking.evicted();
        evidence.exchanges = kept.exchanges.into_iter().map(Arc::unwrap_or_clone).collect();
        Ok(evidence)
    }
}

/// A client of its own, as every process is, that begins at this time.
pub(super) fn client(
    scenario: &Scenario,
    seed: u64,
    number: usize,
    bytes: Bytes,
    now: Timestamp,
    credentials: Credentials,
    connector: SimConnector,
) -> Result<JoinHandle<Result<UploadReport, UploadError>>, NotRun> {
    let client = &scenario.client;
    let defaults = Options::default();
    let options = Options {
        family: client.family,
        dialect: match client.dialect {
            format::Dialect::Documented => vod_client::Dialect::Documented,
            format::Dialect::Observed => vod_client::Dialect::Observed,
        },
        part_size: Some(client.part_size.bytes()),
        parallel: client.parallel,
        retry: RetryPolicy { attempts: scenario.attempts(), ..RetryPolicy::default() },
        seed: seed.wrapping_add(number as u64),
        work: Work::Inline,
        clock: vod_client::WallClock::fixed(now),
        token_life: client.token_life.unwrap_or(defaults.token_life),
        stall_timeout: client.stall_timeout.unwrap_or(defaults.stall_timeout),
        ..defaults
    };
    let endpoint = ENDPOINT.parse().map_err(|error: ConfigError| NotRun::Client { said: error.to_string() })?;
    let uploader = Uploader::with_connector(endpoint, credentials, connector).options(options);
    let facts = scenario.facts();
    let source = BytesSource::new(bytes);
    Ok(tokio::spawn(async move { uploader.upload(source, facts).await }))
}

/// The same words as the client's own JSON line.
pub(super) fn report(ended: Result<UploadReport, UploadError>) -> ClientReport {
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
