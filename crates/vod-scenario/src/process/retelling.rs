//! A story told again, to the replay of its recording.

use std::path::Path;

use super::{client::ClientProcess, places::Places, proxy::ProxyProcess};
use crate::{
    evidence::{Evidence, Log, StepEnd},
    format::Scenario,
    not_run::NotRun,
    proxied::Retold,
    telling::{Client as _, beginnings},
};

/// Tells the uploads of a story to the replay of its recording.
pub(super) async fn retell(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    places: &Places,
    evidence: &mut Evidence,
) -> Result<Retold, NotRun> {
    let ProxyProcess { mut server, endpoint } =
        ProxyProcess::replay(binary, places, seed, &evidence.kills(scenario)).await?;
    let mut retold = Retold::default();
    for beginning in beginnings(scenario, seed) {
        let story = (scenario, evidence.source);
        let (mut client, _) = ClientProcess::begin(binary, places, story, &beginning, &endpoint)?;
        let end = tokio::select! {
            biased;
            end = client.ended() => end,
            asked = server.asked_to_kill() => {
                client.kill().await;
                match asked {
                    Some(ask) => {
                        server.killed(ask.kill).await;
                        StepEnd::Killed { fault: ask.fault }
                    }
                    None => StepEnd::Silent { how: "the replay ended, and nobody had asked it to".to_owned() },
                }
            }
            () = tokio::time::sleep(scenario.limit(beginning.step - 1)) => {
                client.kill().await;
                StepEnd::TimedOut
            }
        };
        let (logs, _) = client.into_logs("the client", beginning.step).await;
        evidence
            .logs
            .extend(logs.into_iter().map(|log| Log { origin: format!("{} of the replay", log.origin), ..log }));
        retold.ends.push(end);
    }
    let remains = server.stop().await;
    retold.said.extend(remains.refused_to_stop("the replay"));
    // It says what was not as it was recorded, and nothing else is said so.
    let complaints = remains.stderr.lines().filter_map(|line| line.strip_prefix("vod-proxy: "));
    retold.said.extend(complaints.map(str::to_owned));
    evidence.logs.extend(remains.logs("the replay"));
    Ok(retold)
}
