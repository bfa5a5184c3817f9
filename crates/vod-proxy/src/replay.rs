//! Answers from a recording, offline: nothing in this room can open a connection.
//!
//! - [`Replay`]: a recording that is ready to answer; [`ReplayServer`]: one that listens, as a test starts it.
//! - `script`: the core that decides which exchange answers which request; `asked`: what is compared of a request; `deaths`: what
//!   was under way when a client was killed.
//! - [`Miss`]: a request that nothing answers. [`Timing`]: when an answer is given.
//! - `host`: the core on the rim; `answer`: a recorded reply on its way out; `numbers`: the numbers of parts.

mod answer;
mod asked;
#[cfg(test)]
mod crafted;
mod deaths;
mod host;
mod miss;
mod numbers;
mod running;
mod script;
mod timing;

use std::{
    convert::Infallible,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use vod_proto::{Exchange, Sha1};
use vod_serve::{
    Engine, Journal, Killer, Listener, Plan, Server, Transport, WallClock,
    clock::fresh_seed,
    fault::{PlanError, Powers},
    journal::{self, FileEnd, JournalError},
    tls::{Ca, Leaf, Tls, TlsTransport},
};

use self::{
    host::{Kills, ReplayHost, Stage, lock},
    script::{Rules, Script, is_silent},
};
pub use self::{
    miss::{Miss, Nearest, Why},
    running::ReplayServer,
    timing::{NotATiming, Timing},
};
use crate::{
    Recording, RecordingError,
    forward::{BadHost, Tunnels, Way},
};

/// How a replay behaves.
pub struct ReplayConfig {
    /// When an answer is given. Default: at once.
    pub timing: Timing,
    /// The faults to inject beside what was recorded.
    pub plan: Plan,
    /// Decides every `chance` of the plan.
    pub seed: u64,
    /// The time of day.
    pub clock: WallClock,
    /// Also append what is asked, and what is answered, to this file, as lines of JSON. Default: memory alone.
    pub journal: Option<PathBuf>,
    /// How much of memory that may take, in bytes, for [`Replay::exchanges`]. Default [`KEPT_MOST`](journal::KEPT_MOST).
    pub journal_memory: usize,
    /// Who carries out the plan's kills. Where there is somebody, a request in the place of one that was never answered,
    /// because its client was killed or gone, gets no answer either: it is for the plan to kill the client again. What was
    /// recorded behind its death is not given before, and connections from before it get nothing afterwards: there is one
    /// client at a time. Default: nobody, and a plan that kills is refused.
    pub killer: Option<Arc<dyn Killer>>,
    /// How TLS is spoken, on every connection. Default: not at all, plain HTTP.
    pub tls: Option<Tls>,
    /// Be a forward proxy for the hosts that were recorded, and for no others: clients know it by `HTTP_PROXY` and `HTTPS_PROXY`,
    /// and ask for the real names. In the tunnels that they ask for, the certificates are this CA's. `tls` is not looked at then.
    /// Default: none, it takes a server's place.
    pub forward: Option<Arc<Ca>>,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            plan: Plan::default(),
            seed: fresh_seed(),
            clock: WallClock::system(),
            journal: None,
            journal_memory: journal::KEPT_MOST,
            killer: None,
            tls: None,
            forward: None,
        }
    }
}

/// A recording that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// It holds no exchange.
    #[error("the recording {0} holds no exchange: there is nothing to replay")]
    Empty(String),
    /// The body of a reply was not kept.
    #[error(
        "{exchange} cannot be replayed: of the body of its reply only length and digest were kept (record with --bodies replies)"
    )]
    NotKept {
        /// Which exchange.
        exchange: String,
    },
    /// The body of a reply is gone.
    #[error("{exchange} cannot be replayed: the body {sha1} of its reply {why}")]
    Missing {
        /// Which exchange.
        exchange: String,
        /// Which body.
        sha1: Sha1,
        /// What is wrong with it.
        why: String,
    },
    /// A fault of the plan could never strike.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What it was recorded from is no host, and no proxy could stand for it.
    #[error("the recording cannot be replayed as by a forward proxy: {0}")]
    Host(#[from] BadHost),
    /// Its own journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Loopback has no port for it.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
}

/// A recording that is ready to answer, without a socket of its own: give it a listener, or single connections.
///
/// Each request is answered by the first exchange of its role that is left: the same action, upload and part, with the same
/// parameters and body. Who asks, when, and how that is signed does not count, nor do the order of parameters and the method.
/// Where a recording has several accounts, whose it is counts too. What is no request of the protocol is known by method,
/// path and query. Failures are given as they were. Whatever is not recorded, or not so, is answered with status 501.
///
/// An answer that nobody got, because a fault took its place or the client was gone, is there again.
pub struct Replay {
    host: Arc<ReplayHost>,
    engine: Arc<Engine>,
    server: Server<ReplayHost>,
    entry: Entry,
    recorded: usize,
    lacks: Option<String>,
}

/// How connections come in.
#[derive(Clone)]
enum Entry {
    Plain,
    Tls(Arc<Ca>, Leaf),
    Forward(Arc<Tunnels<ReplayHost>>),
}

impl Replay {
    /// Opens the recording in this directory, to be replayed as usual.
    ///
    /// ```no_run
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let replay = vod_proxy::Replay::open("recordings/plain-upload")?.start().await?;
    /// // … point an uploader at replay.endpoint() …
    /// replay.assert_complete();
    /// # Ok::<(), vod_proxy::ReplayError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If it cannot be read, or a body is missing that is to be answered.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ReplayError> {
        Self::open_with(dir, ReplayConfig::default())
    }

    /// The same, to be replayed as `config` says.
    ///
    /// # Errors
    /// If it cannot be read, a body is missing that is to be answered, or a fault could never strike.
    pub fn open_with(dir: impl AsRef<Path>, config: ReplayConfig) -> Result<Self, ReplayError> {
        Self::of(&Recording::open(dir.as_ref())?, config)
    }

    /// Replays a recording that was opened.
    ///
    /// # Errors
    /// Like [`open_with`](Self::open_with).
    pub fn of(recording: &Recording, config: ReplayConfig) -> Result<Self, ReplayError> {
        let (exchanges, end) = recording.exchanges()?;
        if exchanges.is_empty() {
            return Err(ReplayError::Empty(recording.dir().display().to_string()));
        }
        exchanges.iter().try_for_each(|exchange| check_body(exchange, recording))?;
        let redaction = &recording.manifest().redaction;
        let rules = Rules { secrets: redaction.parameters.clone(), kills: config.killer.is_some() };
        let recorded = exchanges.len();
        let stage = Arc::new(Stage::new(Script::new(exchanges, rules)));
        let ReplayConfig { timing, plan, seed, clock, journal, journal_memory, killer, tls, forward } = config;
        let (way, entry) = match (forward, tls) {
            (Some(ca), _) => {
                let allowed = recording.manifest().source.allowed()?;
                (Some(Way::Recorded(allowed.clone())), Entry::Forward(Arc::new(Tunnels::new(allowed, ca))))
            }
            (None, Some(tls)) => (None, Entry::Tls(Arc::clone(&tls.ca), tls.leaf())),
            (None, None) => (None, Entry::Plain),
        };
        // What comes in has the placeholders of what was recorded, so that accounts can be told apart.
        let keyed = Journal::builder(seed).key(redaction.key).rules(redaction.rules()).ceiling(journal_memory);
        let journal = match journal {
            Some(path) => keyed.file(&path)?,
            None => keyed.memory(),
        };
        // It keeps no uploads that could be spoilt: what was recorded is all there is.
        let powers =
            Powers { spoils: false, rereads: false, kills: killer.is_some(), refuses: true, longest_body: None };
        let engine = Arc::new(Engine::new(plan, seed, powers)?);
        let killer = killer.map(|by| Arc::new(Kills { by, stage: Arc::clone(&stage) }) as Arc<dyn Killer>);
        let life = stage.script().life();
        let host = Arc::new(ReplayHost {
            stage,
            life,
            misses: Arc::default(),
            journal: Arc::clone(&journal),
            bodies: recording.bodies(),
            timing,
            kills: killer.is_some(),
            way,
        });
        let server = Server::new(Arc::clone(&host), Arc::clone(&engine), journal, clock, killer, Arc::default());
        Ok(Self { host, engine, server, entry, recorded, lacks: lacks(end) })
    }

    /// What the recording lacks: it was cut off, as by a recorder that was killed, or exchanges are missing in between.
    #[must_use]
    pub fn lacks(&self) -> Option<&str> {
        self.lacks.as_deref()
    }

    /// How many exchanges were recorded.
    #[must_use]
    pub const fn recorded(&self) -> usize {
        self.recorded
    }

    /// The certificate that clients must trust, in PEM; none where no TLS is spoken.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        match &self.entry {
            Entry::Plain => None,
            Entry::Tls(ca, _) => Some(ca.pem()),
            Entry::Forward(tunnels) => Some(tunnels.ca().pem()),
        }
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(&self, listener: L) -> Infallible {
        self.server.run_with(listener, |transport| self.connection(transport)).await
    }

    /// Serves one connection to its end.
    pub fn connection<T: Transport>(&self, transport: T) -> impl Future<Output = ()> + Send + use<T> {
        let life = self.host.stage.script().life();
        let host = Arc::new(ReplayHost { life, ..ReplayHost::clone(&self.host) });
        let server = self.server.with(Arc::clone(&host));
        let entry = self.entry.clone();
        async move {
            match entry {
                Entry::Plain => server.connection(transport).await,
                Entry::Tls(_, leaf) => server.connection(TlsTransport::new(transport, &leaf)).await,
                Entry::Forward(tunnels) => {
                    let lead = |way| ReplayHost { way: Some(way), ..ReplayHost::clone(&host) };
                    tunnels.connection(transport, &server, lead).await;
                }
            }
        }
    }

    /// Waits until answers that are handed over are out, a second at most. Call it before [`stop`](Self::stop), while
    /// [`serve`](Self::serve) is still polled.
    pub async fn settled(&self) {
        self.server.settled().await;
    }

    /// Ends what is under way. Call it before dropping [`serve`](Self::serve).
    pub fn stop(&self) {
        self.server.stop();
    }

    /// The faults that are planted, to plant more, to lift them, and to see what became of them.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was asked so far, and what was answered: the evidence of the replay itself.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.host.journal.exchanges()
    }

    /// How many exchanges the journal's file lacks because they could not be written, as on a full disk.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.host.journal.unwritable()
    }

    /// What was recorded and is asked for by nobody so far.
    #[must_use]
    pub fn unused(&self) -> Vec<Arc<Exchange>> {
        self.host.stage.script().unused()
    }

    /// What was asked so far and answered with status 501, each with how often it came, in the order in which it first came.
    #[must_use]
    pub fn unmatched(&self) -> Vec<(Miss, u64)> {
        self.report().unmatched
    }

    /// What is to be said of it at its end.
    #[must_use]
    pub fn report(&self) -> Report {
        let (unmatched, more) = lock(&self.host.misses).all();
        Report { unmatched, more, unused: self.unused() }
    }
}

/// What did not go as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was asked and not recorded so, each with how often it came.
    pub unmatched: Vec<(Miss, u64)>,
    /// How many requests were answered with status 501 beside those: there were too many different ones to remember.
    pub more: u64,
    /// What was recorded and asked for by nobody.
    pub unused: Vec<Arc<Exchange>>,
}

impl Report {
    /// Was everything asked for that was recorded, and nothing else?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unmatched.is_empty() && self.unused.is_empty()
    }

    /// What was asked and not recorded, line by line.
    pub fn unmatched_lines(&self) -> impl Iterator<Item = String> {
        let each = self.unmatched.iter().map(|(miss, times)| match times {
            1 => miss.to_string(),
            times => format!("{miss} (asked {times} times)"),
        });
        each.chain((self.more > 0).then(|| format!("{} more requests were answered with status 501", self.more)))
    }

    /// What was recorded and asked for by nobody, line by line.
    pub fn unused_lines(&self) -> impl Iterator<Item = String> {
        self.unused.iter().map(|exchange| format!("{} was recorded and never asked for", exchange.name()))
    }
}

/// Line by line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.unmatched_lines().chain(self.unused_lines());
        lines.try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Is there what this exchange answers? Its digest is looked at when it is: reading everything would take its time.
fn check_body(exchange: &Exchange, recording: &Recording) -> Result<(), ReplayError> {
    let Some(reply) = exchange.reply.as_ref().filter(|_| !is_silent(exchange)) else { return Ok(()) };
    // What broke off has no digest, and so no file: it breaks off sooner.
    let whole = exchange.end == vod_proto::exchange::End::Replied && exchange.request.method != "HEAD";
    if whole && answer::is_lost(reply) {
        return Err(ReplayError::NotKept { exchange: exchange.name() });
    }
    let Some((sha1, len)) = answer::file_of(reply) else { return Ok(()) };
    let why = match std::fs::metadata(recording.bodies().path(sha1)) {
        Ok(file) if file.len() == len => return Ok(()),
        Ok(file) => format!("has {} bytes: recorded {len}", file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "is missing".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(ReplayError::Missing { exchange: exchange.name(), sha1, why })
}

fn lacks(end: FileEnd) -> Option<String> {
    let torn = end.torn.then(|| "its last line is torn, as a killed recorder leaves it".to_owned());
    let open = end.unclosed.then(|| "it was not closed, and what was under way is missing".to_owned());
    let gap = (end.gap.evicted > 0)
        .then(|| format!("{} exchanges up to number {} are missing in it", end.gap.evicted, end.gap.up_to));
    let lacks: Vec<_> = torn.into_iter().chain(open).chain(gap).collect();
    (!lacks.is_empty()).then(|| lacks.join(", and "))
}

#[cfg(test)]
mod tests;
