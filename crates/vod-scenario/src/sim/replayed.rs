//! A story that was recorded is told again on its replay, where the server is a script and only the client is killed again.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Builder, sync::mpsc};
use vod_client::Credentials;
use vod_proto::sign::SecretKey;
use vod_proxy::{Replay, ReplayConfig};
use vod_serve::{Killer, Plan, WallClock};

use super::{
    client::Clients,
    net::Net,
    world::{EPOCH_S, SimKiller},
};
use crate::{
    evidence::StepEnd,
    format::Scenario,
    not_run::NotRun,
    proxied::Retold,
    telling::{Client as _, beginnings},
};

/// Tells the uploads of a story to a replay, by clients of somebody else, on another day, with these kills.
pub(super) fn retell(scenario: &Scenario, seed: u64, recording: &Path, kills: Plan) -> Result<Retold, NotRun> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|source| NotRun::Setup { what: "start a runtime".to_owned(), source })?;
    runtime.block_on(async {
        let epoch = Timestamp::from_second(EPOCH_S).unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = WallClock::fixed(epoch + SignedDuration::from_hours(1_000));
        let (killer, mut asks) = mpsc::unbounded_channel();
        let killer = (!kills.faults.is_empty()).then(|| Arc::new(SimKiller(killer)) as Arc<dyn Killer>);
        let config = ReplayConfig { plan: kills, seed, clock, killer, ..ReplayConfig::default() };
        let replay =
            Replay::open_with(recording, config).map_err(|error| NotRun::Replay { said: error.to_string() })?;
        let replay = Arc::new(replay);
        let (net, served) = (Net::with_latency(), Arc::clone(&replay));
        let listener = net.listen();
        let serving = tokio::spawn(async move { match served.serve(listener).await {} });
        let credentials = Credentials::new("AKIDsomebodyelsesomebodyelsesomebody", SecretKey::new("other"));
        let clients = Clients::of(scenario, net, clock, credentials);
        let mut ends = Vec::new();
        for beginning in beginnings(scenario, seed) {
            let (mut client, _) = clients.begin(&beginning)?;
            let end = tokio::select! {
                biased;
                Some(ask) = asks.recv() => {
                    client.kill().await;
                    drop(ask.done);
                    StepEnd::Killed { fault: ask.fault }
                }
                end = client.ended() => end,
                () = tokio::time::sleep(scenario.limit(beginning.step - 1)) => {
                    client.kill().await;
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
