//! What is measured of uploads: how long they take beside the same bytes in frames over bare TCP, and what of; and how
//! many connections a thousand small files take.

use std::{path::Path, process::ExitCode, time::Duration};

use clap::Args;

use super::{
    bar::{self, Bar, median, median_ratio},
    built::{Built, Outcome},
    process::Server,
    table::{Row, Unit, mib},
    upload::{self, Upload, Watched},
};
use crate::cargo::Failure;

/// How many parts are sent at once, in turn.
const PARALLEL: [usize; 3] = [1, 4, upload::PARALLEL];

/// How many small files there are.
const FILES: usize = 1000;

/// How many small files are uploaded at once.
const JOBS: usize = 8;

/// How it is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many rounds; the median of them counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How large the file is, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
    /// Only this many parts at once [default: 1, 4 and 8 in turn]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
    /// Upload no 10 GiB, which take half a minute
    #[arg(long)]
    skip_10gib: bool,
    /// Measure small files alone
    #[arg(long, conflicts_with_all = ["mib", "parallel", "skip_10gib"])]
    only_small: bool,
    #[command(flatten)]
    outcome: Outcome,
}

/// Where the mock keeps what is uploaded, and what its time may be beside the floor's.
#[derive(Clone, Copy)]
struct Store {
    name: &'static str,
    bar: Bar,
}

const STORES: [Store; 2] =
    [Store { name: "digest", bar: bar::UPLOAD_DIGEST }, Store { name: "disk", bar: bar::UPLOAD_DISK }];

/// What was measured at one number of parts at once, round by round.
struct Measured {
    parallel: usize,
    floor: Vec<f64>,
    uploads: [Vec<Upload>; 2],
}

/// Measures, prints the table, and says by the exit code whether every bar is met.
///
/// # Errors
/// Says what could not be built, started or measured.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let built = Built::new()?;
    let dir = tempfile::tempdir().map_err(|error| Failure(format!("no directory for files: {error}")))?;
    let mut rows = Vec::new();
    if !options.only_small {
        rows.extend(large(&built, options, dir.path())?);
    }
    rows.extend(small(&built, options, dir.path())?);
    options.outcome.publish(&rows)
}

/// One large file at a time.
fn large(built: &Built, options: &Options, dir: &Path) -> Result<Vec<Row>, Failure> {
    let file = dir.join("file.bin");
    upload::sparse_file(&file, options.mib.into())?;
    let receiver = Server::start(&built.xtask.clone().with(["receive"]))?;
    let wanted = options.parallel.map_or(PARALLEL.to_vec(), |only| vec![only.into()]);
    let mut all: Vec<_> = wanted
        .into_iter()
        .map(|parallel| Measured { parallel, floor: Vec::new(), uploads: [Vec::new(), Vec::new()] })
        .collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for measured in &mut all {
            measured.round(built, &receiver, &file, dir)?;
        }
    }
    let mut rows: Vec<_> = all.iter().flat_map(Measured::rows).collect();
    if !options.skip_10gib {
        eprintln!("upload of 10 GiB");
        let large = dir.join("10gib.bin");
        upload::sparse_file(&large, 10 << 10)?;
        let done = STORES[0].upload(built, &large, upload::PARALLEL, dir)?;
        rows.push(Row::new("10 GiB to digest, 8 at once, wall time", done.wall.as_secs_f64(), Unit::S));
        rows.extend(peaks("10 GiB to digest, 8 at once", &[done]));
    }
    Ok(rows)
}

/// Many small files, several at once.
fn small(built: &Built, options: &Options, dir: &Path) -> Result<Vec<Row>, Failure> {
    let pattern = upload::small_files(&dir.join("small"), FILES)?;
    let (mut rates, mut opened, mut uploads) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("small files, round {round} of {}", options.rounds);
        let mock = Server::start(&built.mock.clone().with(["--store", "digest"]))?;
        let (upload, connections) = upload::run_many(&mock, &built.client, (&pattern, FILES), JOBS)?;
        rates.push(count(FILES) / upload.wall.as_secs_f64());
        opened.push(connections);
        uploads.push(upload);
    }
    let what = "1,000 small files, 8 at once";
    let mut rows = vec![Row::new(format!("{what}, files"), median(&rates).unwrap_or(f64::NAN), Unit::PerSecond)];
    if let Some(cpu) = median(&seconds(&uploads, |upload| upload.cpu)) {
        rows.push(Row::new(format!("{what}, processor time of both ends"), cpu, Unit::S));
    }
    // The worst round counts: what happens rarely is a storm all the same.
    let most = opened.into_iter().max().and_then(|most| usize::try_from(most).ok()).map_or(f64::NAN, count);
    rows.push(Row::new(format!("{what}, connections opened"), most, Unit::Count).held_to(bar::SMALL_CONNECTIONS));
    rows.extend(peaks(what, &uploads));
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "files and connections are thousands at most")]
fn count(number: usize) -> f64 {
    number as f64
}

impl Store {
    /// One upload to a mock that is started for it: what is stored already is not uploaded.
    fn upload(self, built: &Built, file: &Path, parallel: usize, dir: &Path) -> Result<Upload, Failure> {
        // Removed with what is stored when it is dropped.
        let kept = tempfile::tempdir_in(dir).map_err(|error| Failure(format!("no directory for a store: {error}")))?;
        let mock = built.mock.clone().with(["--store", self.name]);
        let mock = if self.name == "disk" { mock.with(["--data-dir".as_ref(), kept.path()]) } else { mock };
        upload::run(&Server::start(&mock)?, &built.client, file, parallel)
    }
}

impl Measured {
    fn round(&mut self, built: &Built, receiver: &Server, file: &Path, dir: &Path) -> Result<(), Failure> {
        let send = built.xtask.clone().with(["send", "--at", &receiver.addr().to_string()]);
        let send = send.with(["--connections", &self.parallel.to_string()]).with([file]);
        let Watched { wall, .. } = upload::watched(&send)?;
        self.floor.push(wall.as_secs_f64());
        for (store, uploads) in STORES.into_iter().zip(&mut self.uploads) {
            uploads.push(store.upload(built, file, self.parallel, dir)?);
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (store, uploads) in STORES.iter().zip(&self.uploads) {
            let what = format!("to {}, {} at once", store.name, self.parallel);
            let wall = seconds(uploads, |upload| Some(upload.wall));
            let row = Row::new(format!("{what}, wall time"), median(&wall).unwrap_or(f64::NAN), Unit::S);
            let floor = median(&self.floor).unwrap_or(f64::NAN);
            let row = row.beside("floor", floor, median_ratio(&wall, &self.floor).unwrap_or(f64::NAN));
            // The bar is for as many parts at once as it names; the others are told beside it.
            rows.push(if self.parallel == upload::PARALLEL { row.held_to(store.bar) } else { row });
            if let Some(cpu) = median(&seconds(uploads, |upload| upload.cpu)) {
                rows.push(Row::new(format!("{what}, processor time of both ends"), cpu, Unit::S));
            }
            rows.extend(peaks(&what, uploads));
        }
        rows
    }
}

fn seconds(uploads: &[Upload], which: impl Fn(&Upload) -> Option<Duration>) -> Vec<f64> {
    uploads.iter().filter_map(which).map(|time| time.as_secs_f64()).collect()
}

/// The highest peaks of memory, of either end.
fn peaks(what: &str, uploads: &[Upload]) -> [Row; 2] {
    let highest = |which: fn(&Upload) -> Option<u64>| {
        // Where the system does not tell, the bar is not met: there is no evidence.
        let peaks: Option<Vec<u64>> = uploads.iter().map(which).collect();
        peaks.and_then(|peaks| peaks.into_iter().max()).map_or(f64::NAN, mib)
    };
    let row = |end, peak| Row::new(format!("{what}, peak memory of the {end}"), peak, Unit::MiB).held_to(bar::PEAK_MIB);
    [row("mock", highest(|upload| upload.mock_peak)), row("client", highest(|upload| upload.client_peak))]
}
