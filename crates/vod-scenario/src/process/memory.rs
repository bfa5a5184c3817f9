//! How much memory a child process needed at its peak, where the system tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

/// How often a process is looked at. The peak itself is kept by the system: only what grows in the last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at a process until it is dropped.
#[derive(Debug)]
pub(super) struct PeakMemory {
    peak: Arc<AtomicU64>,
    watch: JoinHandle<()>,
}

impl PeakMemory {
    pub(super) fn of(pid: Option<u32>) -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&peak);
        let watch = tokio::spawn(async move {
            while let Some(bytes) = pid.and_then(peak_of) {
                seen.fetch_max(bytes, Ordering::Relaxed);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { peak, watch }
    }

    /// The peak in bytes; none where the system does not tell.
    pub(super) fn bytes(&self) -> Option<u64> {
        Some(self.peak.load(Ordering::Relaxed)).filter(|peak| *peak > 0)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Linux tells it in a line such as `VmHWM:     5232 kB`; elsewhere there is no such file.
fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_peak_and_one_that_is_gone_has_none() {
        let own = peak_of(std::process::id()).unwrap();
        assert!((1 << 20..1 << 34).contains(&own), "{own} bytes");
        assert_eq!(peak_of(u32::MAX), None);
    }
}
