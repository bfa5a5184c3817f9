//! `vod-proxy replay`: answers from a recording, offline.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use vod_serve::{
    Killer, Port,
    clock::fresh_seed,
    program::{
        PlanFileError, ReadyFile, ReadyFileError, StdioKiller, TlsArgs, TlsArgsError, announce, asked_to_stop,
        raise_open_files, read_plan, serve_until, shortened,
    },
};

use super::complain;
use crate::{Replay, ReplayConfig, ReplayError, Timing, exit};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The recording
    #[arg(value_name = "DIR")]
    recording: PathBuf,
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8266")]
    listen: SocketAddr,
    /// When answers are given: none is at once, recorded as long after the request as they came then, x2 twice as fast
    #[arg(long, value_name = "none|recorded|xN", default_value_t)]
    timing: Timing,
    /// End with code 1 unless everything was asked for that was recorded, and nothing else
    #[arg(long)]
    strict: bool,
    /// Faults to inject beside what was recorded, as TOML
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Decides every chance of the fault plan [default: a fresh one, printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Append what is asked, and what is answered, to this file, as lines of JSON
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Be a forward proxy, for clients that know it by HTTP_PROXY or HTTPS_PROXY and ask for the real names: of the hosts that
    /// were recorded; all others are refused
    #[arg(long)]
    forward: bool,
    #[command(flatten)]
    tls: TlsArgs,
    /// Also write the first line of stdout to this file, once it listens; it is removed when the replay is stopped
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Ask on stdout for the kills of the fault plan, and wait for an answer on stdin
    #[arg(long, hide = true)]
    kill_host: bool,
}

/// Why a replay could not start, or go on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Plan(#[from] PlanFileError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Ready(#[from] ReadyFileError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error("the journal's file lacks {0} exchanges that could not be written")]
    Unwritable(u64),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Listen { .. } | Self::Runtime(_) | Self::Replay(ReplayError::Listen(_)) => exit::LISTEN,
            Self::Ready(_)
            | Self::Tls(TlsArgsError::Ca(_))
            | Self::Replay(ReplayError::Journal(_))
            | Self::Unwritable(_) => exit::WRITE,
            Self::Plan(_) | Self::Replay(_) | Self::Tls(_) => exit::USAGE,
        }
    }
}

pub(super) fn run(args: Args) -> u8 {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(replay(args))) {
        Ok(code) => code,
        Err(failure) => {
            complain(shortened(failure.to_string()));
            failure.exit_code()
        }
    }
}

async fn replay(args: Args) -> Result<u8, Failure> {
    let plan = read_plan(args.faults.as_deref())?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let listen = |source| Failure::Listen { addr: args.listen, source };
    let port = Port::bind(args.listen).await.map_err(listen)?;
    if let Some(path) = &args.ready_file {
        ReadyFile::clear(path)?;
    }
    let (tls, forward, ca) = if args.forward {
        let (forward, ca) = args.tls.open_forward()?;
        (None, Some(forward), Some(ca))
    } else {
        let (tls, ca) = args.tls.open(port.addr().ip(), None)?.unzip();
        (tls, None, ca)
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (timing, journal) = (args.timing, args.journal);
    // Nobody here reads the evidence but from its file.
    let killer = args.kill_host.then(|| Arc::new(StdioKiller::start()) as Arc<dyn Killer>);
    let config = ReplayConfig {
        timing,
        plan,
        seed,
        journal,
        journal_memory: 0,
        killer,
        tls,
        forward,
        ..ReplayConfig::default()
    };
    let replay = Replay::open_with(&args.recording, config)?;
    if let Some(lacks) = replay.lacks() {
        complain(format_args!("{} is replayed as far as it goes: {lacks}", args.recording.display()));
    }
    // Whoever reads that it listens may ask it to stop at once.
    let asked_to_stop = asked_to_stop();
    let listening = format!("{scheme}://{}", port.addr());
    let mut ready = serde_json::json!({ "listening": listening, "seed": seed, "exchanges": replay.recorded() });
    if let Some(ca) = ca {
        ready["ca"] = ca.to_string_lossy().into();
    }
    let _ready_file = announce(&ready, args.ready_file)?;
    let stopped = async {
        asked_to_stop.await;
        replay.settled().await;
        // Before the connections are dropped: what this server ends was not ended by its clients.
        replay.stop();
    };
    serve_until(stopped, replay.serve(port)).await;
    finish(&replay, args.strict)
}

/// Says what did not go as it was recorded.
fn finish(replay: &Replay, strict: bool) -> Result<u8, Failure> {
    for id in replay.engine().unfired() {
        complain(format_args!("fault {id:?} never struck"));
    }
    let report = replay.report();
    report.unmatched_lines().for_each(complain);
    match report.unused.len() {
        0 => {}
        _ if strict => report.unused_lines().for_each(complain),
        unused => complain(format_args!("{unused} of {} recorded exchanges were never asked for", replay.recorded())),
    }
    match replay.unwritable() {
        0 if strict && !report.is_complete() => Ok(exit::FOUND),
        0 => Ok(exit::DONE),
        // Last, and loud: whoever judges by that file must not take what is missing for what did not happen.
        unwritable => Err(Failure::Unwritable(unwritable)),
    }
}
