//! A large file, uploaded by the client's binary while the memory of both ends is watched.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
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

/// Uploads a file, so many parts at once, and checks that it was stored.
///
/// # Errors
/// Says that the client failed, or that the mock stored nothing.
pub(super) fn run(mock: &Server, client: &Line, file: &Path, parallel: usize) -> Result<Upload, Failure> {
    let endpoint = format!("http://{}", mock.addr());
    let client = client
        .clone()
        .with(["upload", "--endpoint", &endpoint, "--no-proxy", "--parallel", &parallel.to_string(), "--quiet"])
        // It is read every time: that is part of what is measured.
        .with(["--name", "benchmark", "--type", "bin", "--no-digest-cache"])
        .with([file])
        .env("VOD_SECRET_ID", requests::SECRET_ID)
        .env("VOD_SECRET_KEY", requests::SECRET_KEY);
    let before = mock.cpu();
    let Watched { wall, cpu, peak: client_peak } = watched(&client)?;
    let mock_cpu = mock.cpu().zip(before).map(|(after, before)| after - before);
    let cpu = cpu.zip(mock_cpu).map(|(client, mock)| client + mock);
    let mock_peak = mock.peak();
    let uploads = mock.get("/__vod/uploads")?;
    if states(&uploads) != ["stored"] {
        return Err(Failure(format!("the mock stored no file, or more than one: {uploads}")));
    }
    Ok(Upload { wall, cpu, mock_peak, client_peak })
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
