//! One telling of a story: client and mock as tasks of one thread, killed by being dropped.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinHandle},
};
use vod_client::{
    BytesSource, ConfigError, Credentials, Identity, Options, Outcome, RetryPolicy, Source, UploadError, UploadReport,
    Uploader, Work,
};
use vod_mock::{
    Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, Mock, Store,
    core::{Upload, UploadKey},
};
use vod_proto::sign::SecretKey;
use vod_serve::{Journal, KillTarget, Killer, Plan, WallClock, journal::Whose};

use super::{
    net::{Net, SimConnector},
    recorder::Recorder,
};
use crate::{
    claim::Claim,
    clock::Stopwatch,
    evidence::{ClientReport, Event, Evidence, Happening, ReportedOutcome, StepEnd, StepEvidence, Target},
    format::{self, Does, Faults, Restart, Scenario, StepExpect, Who},
    process::secrets,
    run::NotRun,
    source::{self, SourceFacts},
};

/// The time of day when every simulation begins: 2017-03-01T00:00:00Z, in the protocol's own days.
pub(super) const EPOCH_S: i64 = 1_488_326_400;

/// Where the mock is, for a client and for whoever stands between.
pub(super) fn endpoint(who: Who) -> String {
    format!("http://{}", Target::Sim.hosts()[who as usize])
}

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
    /// Asks it to end, as whoever runs it does.
    async fn stop(self) {
        self.mock.settled().await;
        self.mock.stop();
        self.end().await;
    }

    /// Drops the mock and with it its connections, as the death of its process would.
    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Somebody who uploads, and how that ended.
struct Running {
    began: usize,
    who: Who,
    /// By which its connections are known.
    number: usize,
    source: SourceFacts,
    after_seq: u64,
    task: JoinHandle<Result<UploadReport, UploadError>>,
    ended: Option<(StepEnd, Duration)>,
    /// Under which name it was left held, by an earlier step.
    held: Option<String>,
    /// Where a digest is kept that it believes.
    _claim: Option<tempfile::TempDir>,
}

struct Story<'a> {
    scenario: &'a Scenario,
    seed: u64,
    bytes: Bytes,
    /// Who is under way: those of this step, and one that an earlier step left held.
    running: Vec<Running>,
    /// The mock's network.
    net: Net,
    /// Who stands between it and the clients, if anybody does.
    recorder: Option<Recorder>,
    store: Arc<dyn Store>,
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
    store: Arc<dyn Store>,
) -> Result<Evidence, NotRun> {
    let (bytes, facts) = source::in_memory(&scenario.source);
    let epoch = Timestamp::from_second(EPOCH_S).unwrap_or(Timestamp::UNIX_EPOCH);
    let (killer, asks) = mpsc::unbounded_channel();
    let evidence = Evidence::begin(Target::Sim, facts, secrets());
    let (net, clock) = (Net::default(), WallClock::fixed(epoch));
    let recorder = record_to.map(|dir| Recorder::start(dir, &net, &endpoint(Who::A), clock)).transpose()?;
    let mut story = Story {
        scenario,
        seed,
        bytes,
        running: Vec::new(),
        net,
        recorder,
        store,
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
            plan: if self.healing { Plan::default() } else { self.scenario.plan_at(Target::Sim.hosts()) },
            seed: self.seed,
            clock: self.clock,
            journal: Arc::clone(&self.journal),
            killer: Some(Arc::clone(&self.killer) as Arc<dyn Killer>),
            ..Config::default()
        };
        let store = Arc::clone(&self.store);
        let mock = Mock::open(config, store).await.map_err(|error| NotRun::Mock { said: error.to_string() })?;
        let (serving, listener) = (Arc::clone(&mock), self.net.listen());
        let task = tokio::spawn(async move { match serving.serve(listener).await {} });
        Ok(Life { mock, task })
    }

    async fn step(&mut self, number: usize, mut life: Life) -> Result<Life, NotRun> {
        let Some(step) = self.scenario.steps().nth(number - 1) else { return Ok(life) };
        if step.faults == Faults::Off && !self.healing {
            self.heal(&life).await;
        }
        let stopwatch = Stopwatch::start();
        match step.does() {
            Does::Upload(..) | Does::Together(_) => {
                self.happened(Happening::StepBegan(number));
                let tellers: Vec<_> = self.scenario.tellers();
                for teller in tellers.into_iter().filter(|teller| teller.step == number) {
                    let running = self.begin(number, teller.who)?;
                    self.running.push(running);
                }
            }
            Does::Release(hold, _) => {
                // It may be that nobody is held any more.
                let _ = life.mock.engine().release(None, hold);
                self.happened(Happening::Released { step: number, hold: hold.to_owned() });
            }
            Does::Restart(restart) => {
                self.happened(Happening::Restarted { step: number, how: restart });
                match restart {
                    Restart::Stop => life.stop().await,
                    Restart::Kill => life.end().await,
                }
                tokio::time::sleep(AWAY).await;
                let life = self.open().await?;
                self.happened(Happening::MockBack);
                return Ok(life);
            }
        }
        let holds = match step.does() {
            Does::Upload(_, StepExpect::Held(hold)) => self.scenario.holding(hold),
            _ => vec![],
        };
        // Whoever was left held is waited for when he is released.
        let waits = |running: &Running| match step.does() {
            Does::Release(hold, _) => running.held.as_deref() == Some(hold),
            _ => running.began == number,
        };
        let mut limit = std::pin::pin!(tokio::time::sleep(self.scenario.limit(number - 1)));
        let held = loop {
            if self.running.iter().filter(|running| waits(running)).all(|running| running.ended.is_some()) {
                break false;
            }
            let mock = Arc::clone(&life.mock);
            tokio::select! {
                biased;
                Some(ask) = self.asks.recv() => match ask.target {
                    KillTarget::Client => {
                        let victim = self.scenario.victim(&ask.fault);
                        let is_victim = |running: &Running| {
                            running.ended.is_none() && victim.map_or(running.began == number, |who| running.who == who)
                        };
                        if let Some(at) = self.running.iter().position(is_victim) {
                            self.kill_client(at).await;
                            self.happened(Happening::ClientKilled(ask.fault.clone()));
                            self.running[at].ended = Some((StepEnd::Killed { fault: ask.fault }, stopwatch.elapsed()));
                        }
                        let _ = ask.done.send(());
                    }
                    KillTarget::Mock => {
                        life.end().await;
                        self.happened(Happening::MockKilled(ask.fault));
                        tokio::time::sleep(AWAY).await;
                        life = self.open().await?;
                        self.happened(Happening::MockBack);
                    }
                },
                (at, ended) = first_ended(&mut self.running) => {
                    let end = match ended {
                        Ok(ended) => StepEnd::Reported(report(ended)),
                        Err(error) => StepEnd::Silent { how: error.to_string() },
                    };
                    self.running[at].ended = Some((end, stopwatch.elapsed()));
                }
                () = until_held(&mock, &holds), if !holds.is_empty() => break true,
                () = &mut limit => {
                    for at in 0..self.running.len() {
                        if self.running[at].ended.is_none() && waits(&self.running[at]) {
                            self.kill_client(at).await;
                            self.running[at].ended = Some((StepEnd::TimedOut, stopwatch.elapsed()));
                        }
                    }
                }
            }
        };
        if let (true, Does::Upload(_, StepExpect::Held(hold))) = (held, step.does()) {
            let left = self.running.iter_mut().filter(|running| running.began == number);
            left.for_each(|running| running.held = Some(hold.clone()));
            self.happened(Happening::Held { step: number, hold: hold.clone() });
            return Ok(life);
        }
        tokio::time::sleep(MOMENT).await;
        let (uploads, last_seq) = (life.mock.uploads().await, self.last_seq());
        let (over, others) = std::mem::take(&mut self.running).into_iter().partition(|running| waits(running));
        self.running = others;
        let over: Vec<Running> = over;
        for Running { began, who, source, after_seq, ended, .. } in over {
            let Some((end, elapsed)) = ended else { unreachable!("a step waits until all have ended") };
            let (step, uploads) = (number, uploads.clone());
            self.evidence.steps.push(StepEvidence {
                step,
                began,
                who,
                source,
                end,
                after_seq,
                last_seq,
                elapsed,
                uploads,
            });
        }
        Ok(life)
    }

    /// Lets a client begin.
    fn begin(&self, step: usize, who: Who) -> Result<Running, NotRun> {
        let own = self.scenario.of(step, who);
        // Each has connections and dice of its own.
        let number = if who == Who::A { step } else { step + self.scenario.steps().len() };
        let (bytes, mut source) = match own.source == self.scenario.source {
            true => (self.bytes.clone(), self.evidence.source),
            false => source::in_memory(&own.source),
        };
        let mut claim = None;
        if own.source.claims_source {
            source.sha1 = self.evidence.source.sha1;
            claim = Some(Claim::of(source)?);
        }
        let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
        let telling = Telling { scenario: &own, seed: self.seed, number, who };
        let connector = self.clients().connector(number);
        let after_seq = self.last_seq();
        let task = client(&telling, bytes, claim.as_ref(), self.clock.now(), credentials, connector)?;
        let _claim = claim.map(Claim::into_dir);
        Ok(Running { began: step, who, number, source, after_seq, task, ended: None, held: None, _claim })
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

    /// Drops a client, and takes its connections away from whatever it left running.
    async fn kill_client(&mut self, at: usize) {
        let Running { task, number, .. } = &mut self.running[at];
        task.abort();
        let _ = task.await;
        let number = *number;
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
        forget_uploads(&*self.store).await;
        let kept = self.journal.kept(&Whose::Everybody);
        evidence.evicted = kept.lacking.evicted();
        evidence.exchanges = kept.exchanges.into_iter().map(Arc::unwrap_or_clone).collect();
        Ok(evidence)
    }
}

/// Gives up the bodies of all uploads. What a store still keeps then belongs to nobody.
async fn forget_uploads(store: &dyn Store) {
    let mut uploads = BTreeMap::<UploadKey, Upload>::new();
    for record in store.load().await.unwrap_or_default() {
        uploads.entry(record.key().clone()).or_default().apply(&record);
    }
    for body in uploads.values().flat_map(Upload::bodies) {
        store.discard(body).await;
    }
}

/// Waits for the first of those that are under way to end.
async fn first_ended(running: &mut [Running]) -> (usize, Result<Result<UploadReport, UploadError>, JoinError>) {
    poll_fn(|cx| {
        for (at, Running { task, .. }) in running.iter_mut().enumerate().filter(|(_, running)| running.ended.is_none())
        {
            if let Poll::Ready(ended) = Pin::new(task).poll(cx) {
                return Poll::Ready((at, ended));
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits until one of these faults holds somebody.
async fn until_held(mock: &Mock, faults: &[String]) {
    let mut changes = mock.engine().changes();
    while !mock.engine().fates().iter().any(|fate| fate.held > 0 && faults.contains(&fate.id)) {
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Which client of a story begins.
pub(super) struct Telling<'a> {
    /// The story as that client sees it.
    pub(super) scenario: &'a Scenario,
    /// The seed of the run.
    pub(super) seed: u64,
    /// Its dice are its own.
    pub(super) number: usize,
    pub(super) who: Who,
}

/// A client of its own, as every process is, that begins at this time.
pub(super) fn client(
    telling: &Telling<'_>,
    bytes: Bytes,
    claim: Option<&Claim>,
    now: Timestamp,
    credentials: Credentials,
    connector: SimConnector,
) -> Result<JoinHandle<Result<UploadReport, UploadError>>, NotRun> {
    let Telling { scenario, seed, number, who } = *telling;
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
        digest_cache: claim.map(|claim| claim.dir().to_owned()),
        ..defaults
    };
    let endpoint = endpoint(who).parse().map_err(|error: ConfigError| NotRun::Client { said: error.to_string() })?;
    let uploader = Uploader::with_connector(endpoint, credentials, connector).options(options);
    let facts = scenario.facts();
    let source = Claimed { bytes: BytesSource::new(bytes), identity: claim.map(Claim::identity) };
    Ok(tokio::spawn(async move { uploader.upload(source, facts).await }))
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
