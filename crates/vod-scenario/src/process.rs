//! The target `process`: real binaries over loopback sockets, killed by SIGKILL.
//!
//! - `world`: the programs of a story, and what the story that is told does to them; `afterwards`: what is read off the evidence
//!   then; `retelling`: the same on the replay of what was recorded.
//! - `mock`, `client`: the two programs as child processes; both die with whoever holds them.
//! - `proxy`: a recorder between them, and the replay of what it recorded; `server`: what all that serve have in common.
//! - `foreign`: a client that is not ours, in the place of it; `kin`: what it starts.
//! - `admin`: what the mock says of itself.
//! - `capture`: what programs write, kept up to a bound; `memory`: what they need.
//! - `places`: the files of a run, and what must be left of them.

mod admin;
mod afterwards;
mod capture;
mod client;
mod foreign;
mod kin;
mod memory;
mod mock;
mod places;
mod proxy;
mod retelling;
mod server;
mod world;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};
use vod_proto::{Query, sign::SecretKey, ugc::UploadSignature};
use vod_serve::program::asked_to_stop;

use self::{mock::MockProcess, places::Places, proxy::ProxyProcess, retelling::retell, world::Processes};
use crate::{
    evidence::{Evidence, Secret, Target},
    format::{Scenario, Step, StepExpect},
    not_run::NotRun,
    proxied::Proxied,
    source, telling,
};

/// What the programs write to their logs: enough that a secret in any of it would be seen.
const LOG_FILTER: &str = "info,vod_client=debug,vod_mock=debug,vod_proxy=debug,vod_serve=debug";

/// How long a program may take to start, to stop when asked, or to answer a question.
/// Default 20 s: a hundred times what they need, for machines that are busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// The secrets of a run: the documentation's public example pair, which no run may show all the same.
pub(crate) fn secrets() -> Vec<Secret> {
    vec![
        Secret { name: "the SecretId", value: DEMO_SECRET_ID.to_owned() },
        Secret { name: "the secret key", value: DEMO_SECRET_KEY.to_owned() },
        Secret { name: "an upload signature", value: every_token() },
    ]
}

/// What stands in every upload signature that names the SecretId first, as most makers do, whatever else it says.
fn every_token() -> String {
    let mut fields = Query::default();
    fields.push("s", DEMO_SECRET_ID);
    let token = UploadSignature::sign(&SecretKey::new(DEMO_SECRET_KEY), &fields);
    // The proof and `s=` are 22 bytes, so the ninth group of three is the first that is of the SecretId alone;
    // the last group depends on what follows.
    token[32..token.len() - 4].to_owned()
}

/// Tells a story with real processes of this binary.
///
/// # Errors
/// If it could not be told: no file could be written, or no process started.
pub fn run(scenario: &Scenario, seed: u64, binary: &Path, keep: Option<&Path>) -> Result<Evidence, NotRun> {
    block_on(tell(scenario, seed, binary, keep, Recorded::Not))
}

/// The same through a recorder, and again on the replay of what was recorded.
///
/// # Errors
/// If it could not be told or recorded, or its recording not be replayed.
pub fn run_through_proxy(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    keep: Option<&Path>,
) -> Result<Evidence, NotRun> {
    block_on(tell(&as_recorded(scenario), seed, binary, keep, Recorded::WithTheRest))
}

/// The same, and the recording stays: in this directory, which is empty.
///
/// # Errors
/// If it could not be told or recorded, or its recording not be replayed.
pub fn record(scenario: &Scenario, seed: u64, binary: &Path, into: &Path) -> Result<Evidence, NotRun> {
    block_on(tell(&as_recorded(scenario), seed, binary, None, Recorded::In(into)))
}

/// Is there a recorder, and where does it record?
#[derive(Clone, Copy)]
enum Recorded<'a> {
    Not,
    /// Among the other files of the run.
    WithTheRest,
    In(&'a Path),
}

/// A story as it can be told again on a replay: where an upload ends before all of it was sent, killed or given up, what was
/// under way by then is chance if several parts were, and no replay could be asked the same.
fn as_recorded(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    let ends_early = |step: &Step| matches!(step.expect, Some(StepExpect::Killed | StepExpect::Failed(_)));
    if scenario.steps().any(ends_early) {
        scenario.set_clients(|client| client.parallel = 1);
    }
    scenario
}

fn block_on(telling: impl Future<Output = Result<Evidence, NotRun>>) -> Result<Evidence, NotRun> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NotRun::Setup { what: "start a runtime".to_owned(), source })?;
    runtime.block_on(async {
        let asked_to_stop = asked_to_stop();
        tokio::select! {
            biased;
            told = telling => told,
            // Dropping the story kills its processes.
            () = asked_to_stop => Err(NotRun::Interrupted),
        }
    })
}

async fn tell(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    keep: Option<&Path>,
    recorded: Recorded<'_>,
) -> Result<Evidence, NotRun> {
    let mut places = Places::make(scenario, keep)?;
    if let Recorded::In(dir) = recorded {
        places.record_in(dir);
    }
    let path = places.source();
    let facts = source::in_file(&scenario.source, &path)
        .map_err(|source| NotRun::Setup { what: format!("write {}", path.display()), source })?;
    let evidence = Evidence::begin(Target::Process, facts, secrets());
    let mock = MockProcess::start(binary, &places, scenario, seed, None, true).await?;
    let recorder = match recorded {
        Recorded::Not => None,
        Recorded::WithTheRest | Recorded::In(_) => Some(ProxyProcess::record(binary, &places, mock.endpoint()).await?),
    };
    let port = mock.port();
    let mock = Some(mock);
    let world = Processes { scenario, seed, binary, places: &places, mock, port, lives: 1, recorder, evidence };
    let mut evidence = telling::tell(scenario, seed, world).await?.close().await;
    if !matches!(recorded, Recorded::Not) {
        let retold = retell(scenario, seed, binary, &places, &mut evidence).await?;
        evidence.proxied = Some(Proxied::read(places.recording(), &evidence.secrets, retold));
    }
    Ok(evidence)
}

/// The binary that is running: it can be client and mock too.
///
/// # Errors
/// If the system cannot tell.
pub fn this_binary() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
