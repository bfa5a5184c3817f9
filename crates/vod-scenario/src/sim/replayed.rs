//! A story that was recorded is told again on its replay, where the server is a script and only the client is killed again.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::{runtime::Builder, sync::mpsc};
use vod_client::Credentials;
use vod_proto::{Exchange, exchange::seal, sign::SecretKey};
use vod_proxy::{
    Manifest, Recording, Replay, ReplayConfig,
    recording::{FORMAT, KeptBodies, Redaction, Source},
};
use vod_serve::{KillTarget, Killer, Plan, WallClock, fault::Verdict};

use super::{
    net::Net,
    run_once,
    story::{Ask, EPOCH_S, SimKiller, client, report},
};
use crate::{
    evidence::{ClientReport, StepEnd},
    format::Scenario,
    library::{self, Found},
    source,
};

const SEED: u64 = 7;

/// What was recorded of a story, as a recorder would have left it.
fn record(exchanges: &[Exchange]) -> (TempDir, Recording) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest {
        format: FORMAT,
        tool: "test".to_owned(),
        started: Timestamp::UNIX_EPOCH,
        bodies: KeptBodies::Replies,
        source: Source::Upstream("http://mock.sim".to_owned()),
        redaction: Redaction::default(),
    };
    let recording = Recording::create(&dir.path().join("recording"), manifest).unwrap();
    let lines = exchanges.iter().map(|exchange| {
        let mut line = exchange.to_line().unwrap();
        seal(&mut line);
        line + "\n"
    });
    std::fs::write(recording.exchanges_path(), lines.collect::<String>()).unwrap();
    (dir, recording)
}

/// How a step ended, as far as it is the same with another server.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    Reported(ClientReport),
    Otherwise(String),
}

/// Only what the client came to: not the words, in which times stand.
fn came_to(report: ClientReport) -> Ended {
    Ended::Reported(ClientReport { message: None, ..report })
}

/// Tells the steps of a scenario to a replay, by other clients, another day. How each ended, and what the replay has to say.
fn retell(scenario: &Scenario, recording: &Recording) -> (Vec<Ended>, String) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let epoch = Timestamp::from_second(EPOCH_S).unwrap() + SignedDuration::from_hours(1_000);
        let clock = WallClock::fixed(epoch);
        let kills = scenario.plan().faults.into_iter();
        let plan = Plan { faults: kills.filter(|fault| fault.verdict == Verdict::Kill(KillTarget::Client)).collect() };
        let (killer, mut asks) = mpsc::unbounded_channel::<Ask>();
        let killer = (!plan.faults.is_empty()).then(|| Arc::new(SimKiller(killer)) as Arc<dyn Killer>);
        let config = ReplayConfig { plan, seed: SEED, clock, killer, ..ReplayConfig::default() };
        let replay = Arc::new(Replay::of(recording, config).unwrap());
        let (net, served) = (Net::default(), Arc::clone(&replay));
        let listener = net.listen();
        tokio::spawn(async move { match served.serve(listener).await {} });
        let (bytes, _) = source::in_memory(&scenario.source);
        let mut ended = Vec::new();
        for number in 1..=scenario.steps().len() {
            let credentials = Credentials::new("AKIDsomebodyelsesomebodyelsesomebody", SecretKey::new("other"));
            let connector = net.connector(number);
            let client = client(scenario, SEED, number, bytes.clone(), clock.now(), credentials, connector);
            let mut client = client.unwrap();
            let end = tokio::select! {
                biased;
                Some(Ask { done, .. }) = asks.recv() => {
                    client.abort();
                    let _ = (&mut client).await;
                    net.cut(number);
                    let _ = done.send(());
                    Ended::Killed
                }
                result = &mut client => came_to(report(result.unwrap())),
                () = tokio::time::sleep(scenario.within) => Ended::Otherwise("it did not come to an end".to_owned()),
            };
            ended.push(end);
        }
        let unfired = replay.engine().unfired();
        assert!(unfired.is_empty(), "never struck: {unfired:?}");
        (ended, replay.report().to_string())
    })
}

/// Tells a story, and tells it again on the replay of its recording: with the same end, and nothing asked that was not before.
fn replays(scenario: &Scenario) -> Result<(), String> {
    let evidence = run_once(scenario, SEED).map_err(|error| error.to_string())?;
    let (_dir, recording) = record(&evidence.exchanges);
    let told = evidence.steps.into_iter().map(|step| match step.end {
        StepEnd::Killed { .. } => Ended::Killed,
        StepEnd::Reported(report) => came_to(report),
        other => Ended::Otherwise(format!("{other:?}")),
    });
    let told: Vec<_> = told.collect();
    let (retold, said) = retell(scenario, &recording);
    if told != retold {
        return Err(format!("it came to {told:?}, and on the replay to {retold:?}:\n{said}"));
    }
    if said.is_empty() { Ok(()) } else { Err(said) }
}

#[test]
fn every_story_comes_to_the_same_end_on_the_replay_of_its_recording() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
    let mut failed = Vec::new();
    for name in library::names(&dir).unwrap() {
        for Found { story, .. } in library::load(&dir, &name).unwrap() {
            if let Err(why) = replays(&story.scenario) {
                failed.push(format!("{}: {why}", story.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
