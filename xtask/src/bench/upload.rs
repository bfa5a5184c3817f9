//! Files, uploaded by the client's binary while the memory of both ends is watched: a large one, or many small ones.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    process::{Server, cpu_of, peak_of},
    requests,
};
use crate::{
    cargo::{Failure, Line},
    clock::{self, Stopwatch},
};

/// How often the client is looked at. Its peak and its processor time are kept by the system: only what comes in the
/// last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How many parts are sent at once. The bar says eight.
pub(super) const PARALLEL: usize = 8;

/// The bytes of a small file.
const SMALL: usize = 4096;

const MIB: u64 = 1 << 20;

/// What an upload took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    /// From the start of the client's process to its end; it takes the file's digests first.
    pub(super) wall: Duration,
    /// The processor time that both ends took together; none where the system does not tell.
    pub(super) cpu: Option<Duration>,
    /// The most memory that the mock ever had, in bytes.
    pub(super) mock_peak: Option<u64>,
    /// The most memory that the client ever had, in bytes.
    pub(super) client_peak: Option<u64>,
}

/// Makes a file of so many MiB that takes next to no room: each MiB begins with its number, and the rest of it is a
/// hole that reads as zeros. No two parts are the same, and hashing takes as long as for any other bytes; only the
/// disk has nothing to do.
pub(super) fn sparse_file(path: &Path, mib: u64) -> Result<(), Failure> {
    let made = || {
        let file = File::create(path)?;
        file.set_len(mib * MIB)?;
        (0..mib).try_for_each(|n| file.write_all_at(format!("part {n}\n").as_bytes(), n * MIB))
    };
    made().map_err(|error: io::Error| Failure(format!("{} cannot be made: {error}", path.display())))
}

/// Makes so many small files in a directory, and gives back the pattern that they match. No two are the same.
pub(super) fn small_files(dir: &Path, count: usize) -> Result<PathBuf, Failure> {
    let made = || {
        std::fs::create_dir(dir)?;
        (0..count).try_for_each(|n| std::fs::write(dir.join(format!("{n}.bin")), format!("{n:>SMALL$}")))
    };
    made().map_err(|error: io::Error| Failure(format!("{} cannot be made: {error}", dir.display())))?;
    Ok(dir.join("*.bin"))
}

/// Uploads a file, so many parts at once, and checks that it was stored.
///
/// # Errors
/// Says that the client failed, or that the mock stored nothing.
pub(super) fn run(mock: &Server, client: &Line, file: &Path, parallel: usize) -> Result<Upload, Failure> {
    let parallel = parallel.to_string();
    let client = client.clone().with(["upload", "--parallel", &parallel, "--name", "benchmark", "--type", "bin"]);
    stored(mock, client.with([file]), 1)
}

/// Uploads all files that match a pattern, so many at once, and checks that they were stored. Also tells how many
/// connections the mock took.
///
/// # Errors
/// Says that the client failed, or that the mock stored fewer or more.
pub(super) fn run_many(
    mock: &Server,
    client: &Line,
    (pattern, count): (&Path, usize),
    jobs: usize,
) -> Result<(Upload, u64), Failure> {
    let before = connections(mock)?;
    let client = client.clone().with(["upload", "--jobs", &jobs.to_string(), "--type", "bin"]);
    let upload = stored(mock, client.with([pattern]), count)?;
    // Two of them asked how it went.
    Ok((upload, (connections(mock)? - before).saturating_sub(2)))
}

/// Runs an upload of so many files to its end.
fn stored(mock: &Server, client: Line, files: usize) -> Result<Upload, Failure> {
    let endpoint = format!("http://{}", mock.addr());
    let client = client
        .with(["--endpoint", &endpoint, "--no-proxy", "--quiet"])
        // Files are read every time: that is part of what is measured.
        .with(["--no-digest-cache"])
        .env("VOD_SECRET_ID", requests::SECRET_ID)
        .env("VOD_SECRET_KEY", requests::SECRET_KEY);
    let before = mock.cpu();
    let Watched { wall, cpu, peak: client_peak } = watched(&client)?;
    let mock_cpu = mock.cpu().zip(before).map(|(after, before)| after - before);
    let cpu = cpu.zip(mock_cpu).map(|(client, mock)| client + mock);
    let mock_peak = mock.peak();
    let states = states(&mock.get("/__vod/uploads")?);
    if states.len() != files || states.iter().any(|state| state != "stored") {
        return Err(Failure(format!("the mock should have stored {files}, and these are its uploads: {states:?}")));
    }
    Ok(Upload { wall, cpu, mock_peak, client_peak })
}

/// How many connections a mock took since it was started, the one that asks included.
fn connections(mock: &Server) -> Result<u64, Failure> {
    let metrics = mock.get("/__vod/metrics")?;
    let sample = metrics.lines().find_map(|line| line.strip_prefix("vod_mock_connections_total "));
    let count = sample.and_then(|sample| sample.parse().ok());
    count.ok_or_else(|| Failure(format!("the mock does not tell its connections: {metrics}")))
}

/// What a process took that ran to its end.
pub(super) struct Watched {
    /// From its start to its end.
    pub(super) wall: Duration,
    /// Its processor time, and the most memory it ever had in bytes; none where the system does not tell.
    pub(super) cpu: Option<Duration>,
    pub(super) peak: Option<u64>,
}

/// Runs a program to its end and looks at it meanwhile.
///
/// # Errors
/// Says that it could not be started, or that it failed.
pub(super) fn watched(line: &Line) -> Result<Watched, Failure> {
    let watch = Stopwatch::start();
    let mut child = line.spawn(|command| command.stdin(Stdio::null()))?;
    let (pid, over) = (child.id(), AtomicBool::new(false));
    let (ended, (cpu, peak)) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut cpu, mut peak) = (None, None);
            while !over.load(Ordering::Relaxed) {
                (cpu, peak) = (cpu_of(pid).or(cpu), peak_of(pid).or(peak));
                clock::pause(LOOK_EVERY);
            }
            (cpu, peak)
        });
        let ended = child.wait().map(|status| (status, watch.elapsed()));
        over.store(true, Ordering::Relaxed);
        (ended, looking.join().unwrap_or_default())
    });
    let (status, wall) = ended.map_err(|error| Failure(format!("`{line}` cannot be waited for: {error}")))?;
    if status.success() { Ok(Watched { wall, cpu, peak }) } else { Err(line.failed(status)) }
}

/// How far each upload is, in what the mock tells of them.
pub(super) fn states(uploads: &str) -> Vec<String> {
    let told: serde_json::Value = serde_json::from_str(uploads).unwrap_or_default();
    let states = told.as_array().into_iter().flatten().map(|upload| &upload["state"]);
    states.map(|state| state.as_str().unwrap_or("unknown").to_owned()).collect()
}
