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
    process::{Server, peak_of},
    requests,
};
use crate::{
    cargo::{Failure, Line},
    clock::{self, Stopwatch},
};

/// How often the client is looked at. The peak is kept by the system: only what grows in the last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How many parts are sent at once. The bar says eight.
const PARALLEL: &str = "8";

const MIB: u64 = 1 << 20;

/// What an upload took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    /// From the start of the client's process to its end; it takes the file's SHA-1 first.
    pub(super) wall: Duration,
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

/// Uploads a file and checks that it was stored.
///
/// # Errors
/// Says that the client failed, or that the mock stored nothing.
pub(super) fn run(mock: &Server, client: &Line, file: &Path) -> Result<Upload, Failure> {
    let endpoint = format!("http://{}", mock.addr());
    let client = client
        .clone()
        .with(["upload", "--endpoint", &endpoint, "--parallel", PARALLEL, "--quiet"])
        .with(["--name", "benchmark", "--type", "bin"])
        .with([file])
        .env("VOD_SECRET_ID", requests::SECRET_ID)
        .env("VOD_SECRET_KEY", requests::SECRET_KEY);
    let watch = Stopwatch::start();
    let mut child = client.spawn(|command| command.stdin(Stdio::null()))?;
    let (pid, over) = (child.id(), AtomicBool::new(false));
    let (ended, client_peak) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut peak = None;
            while !over.load(Ordering::Relaxed) {
                peak = peak_of(pid).or(peak);
                clock::pause(LOOK_EVERY);
            }
            peak
        });
        let ended = child.wait().map(|status| (status, watch.elapsed()));
        over.store(true, Ordering::Relaxed);
        (ended, looking.join().ok().flatten())
    });
    let (status, wall) = ended.map_err(|error| Failure(format!("`{client}` cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(client.failed(status));
    }
    let mock_peak = mock.peak();
    let uploads = mock.get("/__vod/uploads")?;
    if states(&uploads) != ["stored"] {
        return Err(Failure(format!("the mock stored no file, or more than one: {uploads}")));
    }
    Ok(Upload { wall, mock_peak, client_peak })
}

/// How far each upload is, in what the mock tells of them.
pub(super) fn states(uploads: &str) -> Vec<String> {
    let told: serde_json::Value = serde_json::from_str(uploads).unwrap_or_default();
    let states = told.as_array().into_iter().flatten().map(|upload| &upload["state"]);
    states.map(|state| state.as_str().unwrap_or("unknown").to_owned()).collect()
}
