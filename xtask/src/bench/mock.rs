//! What is measured of the mock.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    bar::{self, median, median_ratio},
    built::{Built, Outcome},
    load::Report,
    process::Server,
    requests,
    table::{Row, Unit, mib},
    upload::{self, Upload},
};
use crate::{
    cargo::{Failure, Line},
    clock::Stopwatch,
};

/// How many connections ask. The bar says 64.
const CONNECTIONS: usize = 64;

/// How often the mock is started to see how long that takes.
const STARTS: usize = 30;

/// What the floor answers: as long as what the mock says to `InitUpload`, and as good.
const FLOOR_BODY: &str =
    r#"{"canRetry":0,"code":0,"codeDesc":" 0\n","message":"","sessionInfo":"{\"sessionKey\":\"xxx\"}"}"#;

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

/// A server that is asked in every round, and what came of it.
struct Candidate {
    what: &'static str,
    uploads: usize,
    server: Server,
    reports: Vec<Report>,
    /// Microseconds of processor time that a request took, by round.
    cpu: Vec<f64>,
}

impl Candidate {
    fn start(what: &'static str, line: &Line, uploads: usize) -> Result<Self, Failure> {
        Ok(Self { what, uploads, server: Server::start(line)?, reports: Vec::new(), cpu: Vec::new() })
    }

    /// Asks it for one round.
    fn round(&mut self, built: &Built, options: &Options) -> Result<(), Failure> {
        let millis = options.time.as_millis();
        let threads = options.threads.map(usize::from);
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let load = built.xtask.clone().with([
            "load".to_owned(),
            format!("--at={}", self.server.addr()),
            format!("--uploads={}", self.uploads),
            format!("--connections={CONNECTIONS}"),
            format!("--threads={threads}"),
            format!("--millis={millis}"),
        ]);
        let before = self.server.cpu();
        let output = load.output()?;
        let after = self.server.cpu();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure(format!("{}: {}: {}", self.what, load.failed(output.status), why.trim())));
        }
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure(format!("`{load}` gave no report: {error}")))?;
        if let (Some(before), Some(after)) = (before, after) {
            self.cpu.push((after - before).as_secs_f64() * 1e6 / report.sent());
        }
        self.reports.push(report);
        Ok(())
    }

    fn all(&self, figure: impl Fn(&Report) -> f64) -> Vec<f64> {
        self.reports.iter().map(figure).collect()
    }

    /// The rows of a candidate beside another.
    fn rows(&self, beside: &Self, bar: bar::Bar) -> Vec<Row> {
        let row = |what: &str, unit, own: &[f64], others: &[f64]| {
            let figure = median(own)?;
            let row = Row::new(format!("{}, {what}", self.what), figure, unit);
            Some(match (median(others), median_ratio(own, others)) {
                (Some(other), Some(ratio)) => row.beside(beside.what, other, ratio),
                _ => row,
            })
        };
        let compared = |what, unit, figure: fn(&Report) -> f64| row(what, unit, &self.all(figure), &beside.all(figure));
        let rate = compared("rate", Unit::PerSecond, Report::rate).map(|row| row.held_to(bar));
        let p50 = compared("p50", Unit::Us, |report| report.p50);
        let p99 = compared("p99", Unit::Us, |report| report.p99);
        let cpu = row("processor time a request", Unit::Us, &self.cpu, &beside.cpu);
        [rate, p50, p99, cpu].into_iter().flatten().collect()
    }
}

/// Requests a second, and how long they take: the floor, the mock with few sessions, the mock with many, in turn.
fn rates(built: &Built, options: &Options) -> Result<Vec<Row>, Failure> {
    let floor = built.xtask.clone().with(["floor", FLOOR_BODY]);
    let mut all = [
        Candidate::start("floor", &floor, requests::COUNT)?,
        Candidate::start("10 sessions", &built.mock, 10)?,
        Candidate::start("10,000 sessions", &built.mock, requests::COUNT)?,
    ];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for candidate in &mut all {
            candidate.round(built, options)?;
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
        if open.len() != candidate.uploads || open.iter().any(|state| state != "open") {
            return Err(Failure(format!("{}: the mock has {} uploads open", candidate.what, open.len())));
        }
    }
    Ok(few.rows(floor, bar::RATE).into_iter().chain(many.rows(few, bar::MANY_SESSIONS)).collect())
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
