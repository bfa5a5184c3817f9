//! The world of a simulation: a mock as a task of the same thread as its clients, killed by being dropped.

use std::{collections::BTreeMap, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use vod_client::Credentials;
use vod_mock::{
    Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, Mock, Store, UploadView,
    core::{Upload, UploadKey},
};
use vod_proto::sign::SecretKey;
use vod_serve::{Journal, KillTarget, Killer, Plan, WallClock, fault::Fate, journal::Whose};

use super::{
    client::{Clients, SimClient, endpoint},
    net::Net,
    recorder::Recorder,
};
use crate::{
    evidence::{Evidence, Target},
    format::{Restart, Scenario, Who},
    not_run::NotRun,
    process::secrets,
    source::SourceFacts,
    telling::{self, Ask, Beginning, News, Running, World, first_ended},
};

/// The time of day when every simulation begins: 2017-03-01T00:00:00Z, in the protocol's own days.
pub(super) const EPOCH_S: i64 = 1_488_326_400;

/// How long a killed mock is away. Default 300 ms: longer than the client's first waits, so that it meets
/// a refused connection, and shorter than its patience.
const AWAY: Duration = Duration::from_millis(300);

/// Time that passes only when nothing else can happen: whatever was still to be done is done by then.
const MOMENT: Duration = Duration::from_millis(1);

/// Longer than any timer that a dropped connection or an idle pool may have left running.
const SETTLED: Duration = Duration::from_secs(300);

/// Hands the mock's wish to whoever tells the story.
pub(super) struct SimKiller(pub(super) mpsc::UnboundedSender<Ask>);

impl Killer for SimKiller {
    fn kill<'a>(&'a self, kill: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let (done, killed) = oneshot::channel();
            let _ = self.0.send(Ask { kill, fault: fault.to_owned(), done: Some(done) });
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

/// A mock and those who upload to it, in one thread.
struct Simulation<'a> {
    scenario: &'a Scenario,
    seed: u64,
    clients: Clients<'a>,
    /// The mock's network.
    net: Net,
    /// Who stands between it and the clients, if anybody does.
    recorder: Option<Recorder>,
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    clock: WallClock,
    killer: Arc<SimKiller>,
    asks: mpsc::UnboundedReceiver<Ask>,
    /// None only while it is dead.
    life: Option<Life>,
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
    let epoch = Timestamp::from_second(EPOCH_S).unwrap_or(Timestamp::UNIX_EPOCH);
    let (killer, asks) = mpsc::unbounded_channel();
    // A recorder sees at once what the mock says, or a client that is killed would part what the two of them know.
    let net = if record_to.is_some() { Net::default() } else { Net::with_latency() };
    let clock = WallClock::fixed(epoch);
    let recorder = record_to.map(|dir| Recorder::start(dir, &net, &endpoint(Who::A), clock)).transpose()?;
    let reached = recorder.as_ref().map_or(&net, Recorder::clients).clone();
    let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
    let clients = Clients::of(scenario, reached, clock, credentials);
    let evidence = Evidence::begin(Target::Sim, clients.facts(), secrets());
    let mut world = Simulation {
        scenario,
        seed,
        clients,
        net,
        recorder,
        store,
        journal,
        clock,
        killer: Arc::new(SimKiller(killer)),
        asks,
        life: None,
        evidence,
    };
    world.open(true).await?;
    Ok(telling::tell(scenario, seed, world).await?.close().await)
}

impl Simulation<'_> {
    /// Opens a mock on what is stored and journaled.
    async fn open(&mut self, faults: bool) -> Result<(), NotRun> {
        let config = Config {
            profile: self.scenario.mock.profile,
            limits: self.scenario.limits.clone(),
            instant_upload: self.scenario.mock.instant_upload,
            plan: if faults { self.scenario.plan_at(Target::Sim.hosts()) } else { Plan::default() },
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
        self.life = Some(Life { mock, task });
        Ok(())
    }

    fn mock(&self) -> &Arc<Mock> {
        match &self.life {
            Some(life) => &life.mock,
            None => unreachable!("a mock that is dead is started again before anything is asked of it"),
        }
    }

    /// Ends the mock and gathers what is left.
    async fn close(mut self) -> Evidence {
        let fates = self.mock().fates();
        self.evidence.faults.extend(fates);
        let recorded = self.recorder.as_ref().map(|recorder| recorder.clients().clone());
        if let Some(recorder) = self.recorder.take() {
            let unwritable = recorder.stop().await;
            if unwritable > 0 {
                self.evidence.missing.push(format!("{unwritable} exchanges could not be recorded"));
            }
        }
        self.end_mock(Restart::Kill).await;
        // Whatever still runs now has been forgotten by everybody.
        tokio::time::sleep(SETTLED).await;
        let mut evidence = self.evidence;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks > 0 {
            evidence.left_behind.push(format!("{tasks} tasks still run"));
        }
        let connections = self.net.open() + recorded.map_or(0, |clients| clients.open());
        if connections > 0 {
            evidence.left_behind.push(format!("{connections} connections are still open"));
        }
        forget_uploads(&*self.store).await;
        let kept = self.journal.kept(&Whose::Everybody);
        evidence.evicted = kept.lacking.evicted();
        evidence.exchanges = kept.exchanges.into_iter().map(Arc::unwrap_or_clone).collect();
        evidence
    }
}

impl World for Simulation<'_> {
    type Client = SimClient;

    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    async fn last_seq(&mut self) -> u64 {
        // One that a fault holds may go on into the next step, and is of this one all the same.
        self.journal.last_begun()
    }

    fn begin(&mut self, beginning: &Beginning<'_>) -> Result<(SimClient, SourceFacts), NotRun> {
        self.clients.begin(beginning)
    }

    async fn news(&mut self, running: &mut [Running<SimClient>], holds: &[String]) -> News {
        let mock = Arc::clone(self.mock());
        tokio::select! {
            biased;
            Some(ask) = self.asks.recv() => News::Asked(ask),
            (at, end) = first_ended(running) => News::Ended(at, end),
            () = until_held(&mock, holds), if !holds.is_empty() => News::Held,
        }
    }

    async fn killed(&mut self, ask: Ask) {
        drop(ask.done);
    }

    async fn release(&mut self, hold: &str) {
        let _ = self.mock().engine().release(None, hold);
    }

    async fn lift(&mut self) -> Vec<Fate> {
        self.mock().engine().lift_all(None)
    }

    async fn end_mock(&mut self, how: Restart) {
        let Some(life) = self.life.take() else { return };
        if how == Restart::Stop {
            // As whoever runs it does.
            life.mock.settled().await;
            life.mock.stop();
        }
        life.end().await;
    }

    async fn mock_back(&mut self, faults: bool) -> Result<(), NotRun> {
        tokio::time::sleep(AWAY).await;
        self.open(faults).await
    }

    async fn bury(&mut self, _: usize, _: Who, _: SimClient) {}

    async fn settled(&mut self) -> (Vec<UploadView>, u64) {
        tokio::time::sleep(MOMENT).await;
        (self.mock().uploads().await, self.journal.last_begun())
    }
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
