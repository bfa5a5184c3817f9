//! The target `sim`: real client and real mock in one thread, over pipes in memory, on a paused clock.
//!
//! - `net`, `pipe`: the network; connections can be refused, closed, reset, and taken away from the dead.
//! - `world`: the mock, and what the story that is told does to it; `client`: who uploads.
//! - `panics`: what panicked, whoever got over that.
//! - `recorder`: a recorder between client and mock; `replayed`: the story again, on a replay of what it recorded.
//! - `dropped`: tests that drop an upload wherever it waits, and resume it.
//! - `trace`: what a telling looked like, line by line.
//!
//! A story is told twice, each time from nothing, and the two traces must be equal:
//! only then does a failure found by chance come again with its seed.

mod client;
#[cfg(test)]
mod dropped;
mod net;
mod panics;
mod pipe;
mod recorder;
mod replayed;
mod trace;
mod world;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use tokio::runtime::Builder;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};
use vod_mock::{MemoryStore, Store};
use vod_serve::Journal;

pub use self::trace::Difference;
use crate::{
    evidence::{Evidence, Log},
    format::Scenario,
    not_run::NotRun,
    proxied::{Proxied, Retold},
};

/// What the logs of a simulation hold: everything our own crates say, so that a secret in it would be seen.
const LOG_FILTER: &str = "info,vod_client=trace,vod_mock=trace,vod_proxy=trace,vod_serve=trace";

/// How long one telling may take in real time. Default 2 minutes: a hundred times what the longest story needs.
/// Virtual time stands still while anything is still to be done, so a task that wakes itself for ever stops it for good.
const REAL_TIME_MOST: Duration = Duration::from_secs(120);

/// What of a simulation's logs is kept. They are at trace level, and take longer than all the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// All: a secret in them is seen.
    Trace,
    /// None: nothing can be said about them.
    None,
}

/// Tells a story twice. The evidence is the first telling's; the difference is the first line in which the other differs.
///
/// # Errors
/// If it could not be told.
pub fn run_twice(scenario: &Scenario, seed: u64) -> Result<(Evidence, Option<Difference>), NotRun> {
    run_twice_with(scenario, seed, [Logs::Trace; 2])
}

/// The same, and says of each telling whether its logs are kept.
///
/// # Errors
/// If it could not be told.
pub fn run_twice_with(
    scenario: &Scenario,
    seed: u64,
    logs: [Logs; 2],
) -> Result<(Evidence, Option<Difference>), NotRun> {
    let first = run_once_with(scenario, seed, logs[0])?;
    let second = run_once_with(scenario, seed, logs[1])?;
    let difference = trace::difference(&first, &second);
    Ok((first, difference))
}

/// Tells a story once, from nothing.
///
/// # Errors
/// If it could not be told, or did not come to an end.
pub fn run_once(scenario: &Scenario, seed: u64) -> Result<Evidence, NotRun> {
    run_once_with(scenario, seed, Logs::Trace)
}

/// The same, and says whether its logs are kept.
///
/// # Errors
/// If it could not be told, or did not come to an end.
pub fn run_once_with(scenario: &Scenario, seed: u64, logs: Logs) -> Result<Evidence, NotRun> {
    let scenario = scenario.clone();
    within(REAL_TIME_MOST, move || tell(&scenario, seed, Journal::memory(seed), logs, None))
}

/// Tells a story twice through a recorder, and each time again on the replay of what was recorded.
///
/// # Errors
/// If it could not be told or recorded, or its recording not be replayed.
pub fn run_twice_through_proxy(scenario: &Scenario, seed: u64) -> Result<(Evidence, Option<Difference>), NotRun> {
    let first = run_through_proxy(scenario, seed)?;
    let second = run_through_proxy(scenario, seed)?;
    let difference = trace::difference(&first, &second);
    Ok((first, difference))
}

/// The same once.
fn run_through_proxy(scenario: &Scenario, seed: u64) -> Result<Evidence, NotRun> {
    let dir = tempfile::tempdir()
        .map_err(|source| NotRun::Setup { what: "make a directory for a recording".to_owned(), source })?;
    let recording = dir.path().join("recording");
    let (story, to) = (scenario.clone(), recording.clone());
    let mut evidence =
        within(REAL_TIME_MOST, move || tell(&story, seed, Journal::memory(seed), Logs::Trace, Some(&to)))?;
    let retold = retell(scenario, seed, &recording, &evidence)?;
    evidence.proxied = Some(Proxied::read(&recording, &evidence.secrets, retold));
    Ok(evidence)
}

/// Tells a story once, and holds it against a recording that was made of it some day: as if that had just been made.
///
/// # Errors
/// If it could not be told, or the recording not be replayed.
pub fn run_beside(scenario: &Scenario, seed: u64, recording: &Path) -> Result<Evidence, NotRun> {
    let mut evidence = run_once(scenario, seed)?;
    let retold = retell(scenario, seed, recording, &evidence)?;
    evidence.proxied = Some(Proxied { another_day: true, ..Proxied::read(recording, &evidence.secrets, retold) });
    Ok(evidence)
}

/// Tells a story again on the replay of what was recorded of it. The evidence is of its first telling.
fn retell(scenario: &Scenario, seed: u64, recording: &Path, evidence: &Evidence) -> Result<Retold, NotRun> {
    let (story, from, kills) = (scenario.clone(), recording.to_owned(), evidence.kills(scenario));
    within(REAL_TIME_MOST, move || {
        let (retold, panics) = panics::heard(|| replayed::retell(&story, seed, &from, kills));
        let mut retold = retold?;
        retold.said.extend(panics.into_iter().map(|panic| format!("something {panic}")));
        Ok(retold)
    })
}

/// Does something on a thread of its own, and gives it up after so much real time.
fn within<T: Send + 'static>(
    most: Duration,
    work: impl FnOnce() -> Result<T, NotRun> + Send + 'static,
) -> Result<T, NotRun> {
    #[cfg(test)]
    let work = crate::mutants::inherited(work);
    let (done, result) = mpsc::sync_channel(1);
    // A thread that runs in circles cannot be stopped: it is left to end with the process.
    let thread = std::thread::spawn(move || {
        let _ = done.send(work());
    });
    match result.recv_timeout(most) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(NotRun::Circles { seconds: most.as_secs() }),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a thread that ends without a panic has sent its result"),
        },
    }
}

fn tell(
    scenario: &Scenario,
    seed: u64,
    journal: Arc<Journal>,
    logs: Logs,
    record_to: Option<&Path>,
) -> Result<Evidence, NotRun> {
    let store = MemoryStore::new();
    let mut evidence = tell_on(scenario, seed, journal, logs, record_to, Arc::clone(&store) as Arc<dyn Store>)?;
    let held = store.held();
    if held > 0 {
        evidence.left_behind.push(format!("{held} bytes of bodies that no upload has are still kept"));
    }
    Ok(evidence)
}

/// The same by a mock that keeps its uploads in this store.
fn tell_on(
    scenario: &Scenario,
    seed: u64,
    journal: Arc<Journal>,
    logs: Logs,
    record_to: Option<&Path>,
    store: Arc<dyn Store>,
) -> Result<Evidence, NotRun> {
    let (told, panics) = panics::heard(|| tell_here(scenario, seed, journal, logs, record_to, store));
    let mut evidence = told?;
    evidence.panics = panics;
    Ok(evidence)
}

fn tell_here(
    scenario: &Scenario,
    seed: u64,
    journal: Arc<Journal>,
    logs: Logs,
    record_to: Option<&Path>,
    store: Arc<dyn Store>,
) -> Result<Evidence, NotRun> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|source| NotRun::Setup { what: "start a runtime".to_owned(), source })?;
    if logs == Logs::None {
        return runtime.block_on(world::tell(scenario, seed, journal, record_to, store));
    }
    let log = MemoryLog::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(LOG_FILTER))
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    // One thread does everything, so that its default subscriber hears everything.
    let mut evidence = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(world::tell(scenario, seed, journal, record_to, store))
    })?;
    evidence.logs.push(Log { origin: "the log of client and mock".to_owned(), text: log.text() });
    Ok(evidence)
}

/// A log in memory.
#[derive(Clone, Default)]
struct MemoryLog(Arc<Mutex<Vec<u8>>>);

impl MemoryLog {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for MemoryLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for MemoryLog {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Case, Verdict, judge};

    /// How a story ends whose mock keeps so many bytes of evidence.
    fn verdict(kept: usize, parts_sent_twice: u64) -> (Verdict, u64) {
        let text = format!(
            "format = 1\nwhy = \"w\"\nsource = {{ size = \"3MiB\", seed = 1 }}\n\
             [[step]]\nupload = {{}}\nexpect = \"finished\"\n\
             [expect]\nrequests = {{ InitUpload = 1, FinishUpload = 1 }}\nparts-sent-twice = {parts_sent_twice}\n"
        );
        let scenario = Scenario::parse("s.toml", &text).unwrap();
        let evidence = tell(&scenario, 1, Journal::builder(1).ceiling(kept).memory(), Logs::Trace, None).unwrap();
        (judge(Case { scenario: &scenario, evidence: &evidence }).verdict, evidence.evicted)
    }

    #[test]
    fn a_mock_that_forgot_evidence_makes_its_story_inconclusive() {
        assert_eq!(verdict(1 << 20, 0), (Verdict::Pass, 0));
        for kept in [0, 1_000, 2_000, 3_000] {
            let (verdict, evicted) = verdict(kept, 0);
            assert!(verdict == Verdict::Inconclusive && evicted > 0, "{kept} bytes: {verdict}, {evicted} evicted");
        }
        // Nine parts sent twice would take more requests than are missing.
        let (verdict, evicted) = verdict(3_000, 9);
        assert!(verdict == Verdict::Fail && evicted > 0, "{verdict}, {evicted} evicted");
    }

    #[test]
    fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
        let busy = "[[fault]]\nid = \"busy\"\non = { action = \"UploadPart\", attempt = 1 }\nphase = \"before-commit\"\n\
                    do = { http = { status = 503 } }\n";
        let alone = "upload = {}\nexpect = \"finished\"\n";
        let both = "together = [{ expect = \"there\" }, { expect = \"there\" }]\n";
        for step in [alone, both] {
            let text =
                format!("format = 1\nwhy = \"w\"\nsource = {{ size = \"3MiB\", seed = 1 }}\n{busy}[[step]]\n{step}");
            let scenario = Scenario::parse("s.toml", &text).unwrap();
            let told = |seed| run_once_with(&scenario, seed, Logs::None).unwrap();
            let first = told(1);
            assert_eq!(trace::difference(&first, &told(1)), None, "{step}");
            let second = told(2);
            assert!(trace::difference(&first, &second).is_some(), "{step}");
            // The client's dice are of the seed too, and not the mock's alone.
            let starts = |evidence: &Evidence| evidence.exchanges.iter().map(|e| e.start).collect::<Vec<_>>();
            assert_ne!(starts(&first), starts(&second), "{step}");
        }
    }

    #[test]
    fn what_runs_in_circles_is_given_up() {
        let (stop, stopped) = mpsc::channel::<()>();
        let circles = within(Duration::from_millis(20), move || Ok(stopped.recv().is_ok()));
        assert!(matches!(circles, Err(NotRun::Circles { .. })), "{circles:?}");
        drop(stop);
        assert!(matches!(within(Duration::from_secs(60), || Ok(7)), Ok(7)));
    }

    #[test]
    #[should_panic(expected = "a bug of ours")]
    fn a_panic_stays_one() {
        let _ = within(Duration::from_secs(60), || -> Result<(), NotRun> { panic!("a bug of ours") });
    }
}
