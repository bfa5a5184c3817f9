//! What is measured of the mock.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    bar::{self, median},
    built::{Built, Outcome},
    candidate::{Ask, Candidate},
    floor, load,
    process::Server,
    requests,
    table::{Row, Unit, mib},
    upload::{self, Upload},
};
use crate::{cargo::Failure, clock::Stopwatch};

/// How many connections ask. The bar says 64.
const CONNECTIONS: usize = 64;

/// How often the mock is started to see how long that takes.
const STARTS: usize = 30;

/// How it is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Measure this alone. May be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// How many rounds; the median of them counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each server is asked in a round
    #[arg(long, value_name = "DURATION", default_value = "1500ms", value_parser = humantime::parse_duration)]
    time: Duration,
    /// How many threads the load has [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Upload no 10 GiB, which take half a minute
    #[arg(long)]
    skip_10gib: bool,
    #[command(flatten)]
    outcome: Outcome,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests a second, and how long they take.
    Rates,
    /// From the start of the process to its first answer.
    Start,
    /// Memory, while a large file is uploaded.
    Memory,
}

/// Measures, prints the table, and says by the exit code whether every bar is met.
///
/// # Errors
/// Says what could not be built, started or measured.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let built = Built::new()?;
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let mut rows = Vec::new();
    if wanted(Part::Rates) {
        rows.extend(rates(&built, options)?);
    }
    if wanted(Part::Start) {
        rows.push(start(&built)?);
    }
    if wanted(Part::Memory) {
        rows.extend(memory(&built, options)?);
    }
    options.outcome.publish(&rows)
}

/// Requests a second, and how long they take: the floor, the mock with few sessions, the mock with many, in turn.
fn rates(built: &Built, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut all = [
        Candidate::start("floor", &floor::line(built))?,
        Candidate::start("10 sessions", &built.mock)?,
        Candidate::start("10,000 sessions", &built.mock)?,
    ];
    let uploads = |what: &str| if what == "10 sessions" { 10 } else { requests::COUNT };
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for candidate in &mut all {
            let uploads = uploads(candidate.what);
            let threads = options.threads.map_or_else(load::threads, usize::from);
            candidate.round(built, Ask { uploads, connections: CONNECTIONS, body: 0, threads, time: options.time })?;
        }
        // In turn from either end, so that none always follows the same one.
        all.reverse();
    }
    all.sort_by_key(|candidate| candidate.what != "floor");
    let [floor, few, many] =
        ["floor", "10 sessions", "10,000 sessions"].map(|what| all.iter().find(|one| one.what == what));
    let (Some(floor), Some(few), Some(many)) = (floor, few, many) else { unreachable!("each was started above") };
    for candidate in [few, many] {
        let open = upload::states(&candidate.server.get("/__vod/uploads")?);
        if open.len() != uploads(candidate.what) || open.iter().any(|state| state != "open") {
            return Err(Failure(format!("{}: the mock has {} uploads open", candidate.what, open.len())));
        }
    }
    Ok(few.rows(floor, Some(bar::RATE)).into_iter().chain(many.rows(few, Some(bar::MANY_SESSIONS))).collect())
}

/// From the start of the process to its first answer.
fn start(built: &Built) -> Result<Row, Failure> {
    eprintln!("{STARTS} starts");
    let mut millis = Vec::new();
    for _ in 0..STARTS {
        let watch = Stopwatch::start();
        let server = Server::start(&built.mock)?;
        server.get("/__vod/health")?;
        millis.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    let figure = median(&millis).unwrap_or(f64::NAN);
    Ok(Row::new("start to first answer", figure, Unit::Ms).held_to(bar::START_MS))
}

/// Memory of both ends while large files are uploaded, and how long that takes.
fn memory(built: &Built, options: &Options) -> Result<Vec<Row>, Failure> {
    let dir = tempfile::tempdir().map_err(|error| Failure(format!("no directory for large files: {error}")))?;
    let mut rows = Vec::new();
    let mut earlier: Option<Upload> = None;
    let sizes: &[u64] = if options.skip_10gib { &[1] } else { &[1, 10] };
    for gib in sizes {
        eprintln!("upload of {gib} GiB");
        let file = dir.path().join(format!("{gib}gib.bin"));
        upload::sparse_file(&file, gib << 10)?;
        // A process for each, since what is asked for is the peak of its whole life.
        let mock = Server::start(&built.mock.clone().with(["--store", "digest"]))?;
        let done = upload::run(&mock, &built.client, &file, upload::PARALLEL)?;
        let seconds = done.wall.as_secs_f64();
        rows.push(Row::new(format!("{gib} GiB, wall time"), seconds, Unit::S));
        rows.push(Row::new(format!("{gib} GiB, speed"), mib(gib << 30) / seconds, Unit::MiBPerSecond));
        let ends = [
            ("mock", done.mock_peak, earlier.and_then(|upload| upload.mock_peak)),
            ("client", done.client_peak, earlier.and_then(|upload| upload.client_peak)),
        ];
        for (end, peak, before) in ends {
            // Where the system does not tell, the bar is not met: there is no evidence.
            let peak = peak.map_or(f64::NAN, mib);
            let what = format!("{gib} GiB, peak memory of the {end}");
            rows.push(Row::new(&what, peak, Unit::MiB).held_to(bar::PEAK_MIB));
            if let Some(before) = before.map(mib) {
                let row = Row::new(what, peak, Unit::MiB).beside("1 GiB", before, peak / before);
                rows.push(row.held_to(bar::SAME_PEAK));
            }
        }
        earlier = Some(done);
    }
    Ok(rows)
}
