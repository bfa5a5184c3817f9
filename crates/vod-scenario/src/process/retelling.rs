//! A story told again, to the replay of its recording.

use std::path::Path;

use super::{client::ClientProcess, foreign::Setting, places::Places, proxy::ProxyProcess, server::Ask};
use crate::{
    evidence::{Evidence, Log, StepEnd},
    format::{Does, Scenario},
    proxied::Retold,
    run::NotRun,
};
/// Tells the steps of a story to the replay of its recording.
pub(super) async fn retell(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    places: &Places,
    evidence: &mut Evidence,
) -> Result<Retold, NotRun> {
    let ProxyProcess { mut server, endpoint } = ProxyProcess::replay(binary, places, scenario, seed).await?;
    let mut retold = Retold::default();
    for (step, number) in scenario.steps().zip(1..) {
        // Whoever was held is held by the time that the recording has, if by anything.
        if matches!(step.does(), Does::Restart(_) | Does::Release(..)) {
            continue;
        }
        let seed = seed.wrapping_add(number as u64);
        let (file_sha1, file) = (evidence.source.sha1, places.source());
        let (endpoint, file) = (&*endpoint, &*file);
        let setting = Setting { places, scenario, endpoint, file, seed, file_sha1, digests: None };
        let mut client = ClientProcess::start(binary, &setting)?;
        let end = tokio::select! {
            biased;
            end = client.ended() => end,
            asked = server.asked_to_kill() => {
                client.kill().await;
                match asked {
                    Some(Ask { kill, fault }) => {
                        server.killed(kill).await;
                        StepEnd::Killed { fault }
                    }
                    None => StepEnd::Silent { how: "the replay ended, and nobody had asked it to".to_owned() },
                }
            }
            () = tokio::time::sleep(scenario.limit(number - 1)) => {
                client.kill().await;
                StepEnd::TimedOut
            }
        };
        let (logs, _) = client.into_logs("the client", number).await;
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
