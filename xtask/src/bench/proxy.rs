//! What is measured of the proxy: what passing through costs, what recording costs, and how soon a replay answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{
    bar::{self, median},
    built::{Built, Outcome},
    candidate::{Ask, Candidate},
    floor, load,
    process::Server,
    requests,
    table::{Row, Unit, mib},
};
use crate::{
    cargo::{Failure, Line},
    clock::{self, Stopwatch},
};

/// How many connections send parts at once, for the throughput. The bar says eight.
const CONNECTIONS: usize = 8;

/// The bytes of a part.
const PART: usize = 1 << 20;

/// How often a replay is started to see how long that takes.
const STARTS: usize = 10;

/// How it is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many rounds; the median of them counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each server is asked in a round
    #[arg(long, value_name = "DURATION", default_value = "1500ms", value_parser = humantime::parse_duration)]
    time: Duration,
    #[command(flatten)]
    outcome: Outcome,
}

/// Measures, prints the table, and says by the exit code whether every bar is met.
///
/// # Errors
/// Says what could not be built, started or measured.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let built = Built::new()?;
    let dir = tempfile::tempdir().map_err(|error| Failure(format!("no directory for recordings: {error}")))?;
    let mut rows = passing(&built, options, CONNECTIONS, dir.path())?;
    rows.extend(passing(&built, options, 1, dir.path())?);
    rows.push(ready(&built, dir.path())?);
    options.outcome.publish(&rows)
}

/// A proxy that records before a server, or only passes on.
fn proxy(built: &Built, upstream: &Server, to: Option<&Path>) -> Line {
    let upstream = format!("http://{}", upstream.addr());
    let line = built.proxy.clone();
    let line = match to {
        None => line.with(["pass"]),
        Some(dir) => line.with(["record"]).with([dir]),
    };
    line.with(["--listen", "127.0.0.1:0", "--upstream", &upstream])
}

/// Parts over so many connections: straight to a server, passed on, and recorded, in turn.
fn passing(built: &Built, options: &Options, connections: usize, dir: &Path) -> Result<Vec<Row>, Failure> {
    let recording = dir.join(format!("{connections}-connections"));
    let direct = Candidate::start("direct", &floor::line(built))?;
    let pass = Candidate::start("passed on", &proxy(built, &direct.server, None))?;
    let record = Candidate::start("recorded", &proxy(built, &direct.server, Some(&recording)))?;
    let mut all = [direct, pass, record];
    let threads = load::threads().min(connections);
    let ask = Ask { uploads: 1, connections, body: PART, threads, time: options.time };
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}, {connections} connections", options.rounds);
        for candidate in &mut all {
            candidate.round(built, ask)?;
        }
    }
    let [direct, pass, record] = all;
    let named = |row: Row| Row { what: format!("{}, {connections} at once", row.what), ..row };
    let rows = pass.rows(&direct, (connections > 1).then_some(bar::PASS)).into_iter();
    let mut rows: Vec<_> =
        rows.chain(record.rows(&pass, (connections > 1).then_some(bar::RECORD))).map(named).collect();
    let speed =
        |candidate: &Candidate| median(&candidate.all(load::Report::rate)).unwrap_or(f64::NAN) * mib(PART as u64);
    for candidate in [&direct, &pass, &record] {
        rows.push(named(Row::new(format!("{}, speed", candidate.what), speed(candidate), Unit::MiBPerSecond)));
    }
    if connections == 1 {
        let middle = |candidate: &Candidate| median(&candidate.all(|report| report.p50)).unwrap_or(f64::NAN) / 1e3;
        let late = |candidate: &Candidate| median(&candidate.all(|report| report.p99)).unwrap_or(f64::NAN) / 1e3;
        let added = Row::new("recording adds to p50, 1 at once", middle(&record) - middle(&direct), Unit::Ms);
        rows.push(added.held_to(bar::ADDED_MS));
        rows.push(Row::new("recording adds to p99, 1 at once", late(&record) - late(&direct), Unit::Ms));
    }
    let peak = record.server.peak().map_or(f64::NAN, mib);
    rows.push(named(Row::new("peak memory of the recorder", peak, Unit::MiB)).held_to(bar::RECORDER_MIB));
    // Some hundreds of bytes: of a ratio nothing but zeros would be left.
    let each = mib(size_of_dir(&recording)?) / (record.answered() * mib(PART as u64)) * f64::from(1 << 20);
    rows.push(named(Row::new("bytes recorded for each MiB sent", each, Unit::Count)));
    Ok(rows)
}

/// From the start of a replay of 10,000 exchanges to its first answer.
fn ready(built: &Built, dir: &Path) -> Result<Row, Failure> {
    let recording = dir.join("many");
    let upstream = Server::start(&floor::line(built))?;
    let mut recorder = Candidate::start("recorded", &proxy(built, &upstream, Some(&recording)))?;
    // Each request is sent once before anything is counted, and for no time after that.
    let ask = Ask { uploads: requests::COUNT, connections: 1, body: 0, threads: 1, time: Duration::ZERO };
    recorder.round(built, ask)?;
    drop(recorder);
    let replay = built.proxy.clone().with(["replay"]).with([&recording]).with(["--listen", "127.0.0.1:0"]);
    eprintln!("{STARTS} starts on a recording of {} exchanges", requests::COUNT);
    // Its time and signature count for nothing in a replay, and its `Host` neither.
    let request = requests::render(upstream.addr(), requests::COUNT, clock::unix_seconds()).swap_remove(0);
    let mut millis = Vec::new();
    for _ in 0..STARTS {
        let watch = Stopwatch::start();
        let server = Server::start(&replay)?;
        answered(server.addr(), &request)?;
        millis.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    let figure = median(&millis).unwrap_or(f64::NAN);
    Ok(Row::new("start of a replay to its first answer", figure, Unit::Ms).held_to(bar::READY_MS))
}

/// Asks one thing, and expects an answer with status 200.
fn answered(addr: SocketAddr, request: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure(format!("the replay cannot be asked: {error}"));
    let mut stream = TcpStream::connect(addr).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).map_err(failed)?;
    let said = String::from_utf8_lossy(&reply);
    if said == "HTTP/1.1 200" { Ok(()) } else { Err(Failure(format!("the replay answered {said:?}"))) }
}

/// How many bytes the files in a directory have, and in those below it.
fn size_of_dir(dir: &Path) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure(format!("{} cannot be read: {error}", dir.display()));
    let mut size = 0;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        size += if metadata.is_dir() { size_of_dir(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
