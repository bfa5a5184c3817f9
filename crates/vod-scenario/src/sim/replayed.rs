//! A story that was recorded is told again on its replay, where the server is a script and only the client is killed again.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Builder, sync::mpsc};
use vod_client::Credentials;
use vod_proto::sign::SecretKey;
use vod_proxy::{Replay, ReplayConfig};
use vod_serve::{Killer, WallClock};

use super::{
    net::Net,
    story::{Ask, EPOCH_S, SimKiller, Telling, client, report},
};
use crate::{
    evidence::StepEnd,
    format::{Does, Faults, Scenario, Who},
    proxied::{Retold, kills},
    run::NotRun,
    source,
};

/// Tells the steps of a story to a replay, by clients of somebody else, on another day.
pub(super) fn retell(scenario: &Scenario, seed: u64, recording: &Path) -> Result<Retold, NotRun> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|source| NotRun::Setup { what: "start a runtime".to_owned(), source })?;
    runtime.block_on(async {
        let epoch = Timestamp::from_second(EPOCH_S).unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = WallClock::fixed(epoch + SignedDuration::from_hours(1_000));
        let plan = kills(scenario);
        let (killer, mut asks) = mpsc::unbounded_channel::<Ask>();
        let killer = (!plan.faults.is_empty()).then(|| Arc::new(SimKiller(killer)) as Arc<dyn Killer>);
        let config = ReplayConfig { plan, seed, clock, killer, ..ReplayConfig::default() };
        let replay =
            Replay::open_with(recording, config).map_err(|error| NotRun::Replay { said: error.to_string() })?;
        let replay = Arc::new(replay);
        let (net, served) = (Net::default(), Arc::clone(&replay));
        let listener = net.listen();
        let serving = tokio::spawn(async move { match served.serve(listener).await {} });
        let (bytes, _) = source::in_memory(&scenario.source);
        let mut ends = Vec::new();
        for (number, step) in (1..).zip(scenario.steps()) {
            // Whoever was held is held by the time that the recording has, if by anything.
            if matches!(step.does(), Does::Restart(_) | Does::Release(..)) {
                continue;
            }
            if step.faults == Faults::Off {
                replay.engine().lift_all(None);
            }
            let credentials = Credentials::new("AKIDsomebodyelsesomebodyelsesomebody", SecretKey::new("other"));
            let connector = net.connector(number);
            let telling = Telling { scenario, seed, number, who: Who::A };
            let mut client = client(&telling, bytes.clone(), None, clock.now(), credentials, connector)?;
            let end = tokio::select! {
                biased;
                Some(Ask { done, fault, .. }) = asks.recv() => {
                    client.abort();
                    let _ = (&mut client).await;
                    net.cut(number);
                    let _ = done.send(());
                    StepEnd::Killed { fault }
                }
                ended = &mut client => match ended {
                    Ok(ended) => StepEnd::Reported(report(ended)),
                    Err(error) => StepEnd::Silent { how: error.to_string() },
                },
                () = tokio::time::sleep(scenario.limit(number - 1)) => {
                    client.abort();
                    StepEnd::TimedOut
                }
            };
            ends.push(end);
        }
        let unfired = replay.engine().unfired().into_iter().map(|id| format!("fault {id:?} never struck"));
        let report = replay.report();
        let said = unfired.chain(report.unmatched_lines()).chain(report.unused_lines()).collect();
        serving.abort();
        Ok(Retold { ends, said })
    })
}
