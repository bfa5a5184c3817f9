//! The figures to meet, and the arithmetic of a verdict. Pure.

use serde::Serialize;

/// What a figure must be to meet the bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bar {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Bar {
    /// Is it met? A figure that is no number meets nothing: without evidence there is no pass.
    pub(crate) fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

/// Requests a second of a verified and journaled `InitUpload`, against bare hyper that does nothing.
/// The signature, the reading of the query and the evidence may cost half as much again as HTTP itself.
pub(crate) const RATE: Bar = Bar::AtLeast(0.65);

/// The rate with 10,000 sessions open, against that with 10: what is open must not slow down who asks.
pub(crate) const MANY_SESSIONS: Bar = Bar::AtLeast(0.9);

/// Milliseconds from the start of the process to its first answer: nobody should notice that a test starts a mock.
pub(crate) const START_MS: Bar = Bar::AtMost(20.0);

/// MiB of memory at the peak of an upload, each side: no file may be too large for a small machine.
pub(crate) const PEAK_MIB: Bar = Bar::AtMost(64.0);

/// The time of an upload to the digest store, everything verified at both ends, against the same bytes in frames over
/// bare TCP that are hashed alike: HTTP, signatures and evidence may cost an eighth.
pub(crate) const UPLOAD_DIGEST: Bar = Bar::AtMost(1.15);

/// The same to the disk store, which also writes what it takes.
pub(crate) const UPLOAD_DISK: Bar = Bar::AtMost(1.4);

/// Connections that a thousand small files take, eight at once. Eight would do; some are opened because a request came
/// a moment before the connection of the last was free again. One for each file would be a storm.
pub(crate) const SMALL_CONNECTIONS: Bar = Bar::AtMost(64.0);

/// The peak for a file of ten times the size, against that for the smaller. The same would be 1; pages that the
/// allocator happens to keep, and the evidence of ten times as many requests, are not the file.
pub(crate) const SAME_PEAK: Bar = Bar::AtMost(1.5);

/// MiB a second of parts of 1 MiB through a proxy that keeps nothing, against the same without it. All that a byte passes
/// twice is the kernel: half of that would be all there is.
pub(crate) const PASS: Bar = Bar::AtLeast(0.4);

/// The same while it is recorded, against passing it on: what is recorded of a body is its SHA-1.
pub(crate) const RECORD: Bar = Bar::AtLeast(0.4);

/// Milliseconds that recording adds to the middle of the latencies of a part of 1 MiB, over one connection: nobody's
/// time limits should notice.
pub(crate) const ADDED_MS: Bar = Bar::AtMost(1.5);

/// MiB of memory at the peak of a recorder, whatever it records.
pub(crate) const RECORDER_MIB: Bar = Bar::AtMost(48.0);

/// Milliseconds from the start of a replay of 10,000 exchanges to its first answer: a test that starts it should not have
/// to wait.
pub(crate) const READY_MS: Bar = Bar::AtMost(200.0);

/// The middle one of some figures, the mean of the middle two if their number is even. None of none.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(sorted.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper))
}

/// The median of what each round measured against what the same round measured beside it. Rounds are compared one by
/// one because a machine that others use is slower in some of them, for both.
pub(crate) fn median_ratio(figures: &[f64], beside: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = figures.iter().zip(beside).map(|(figure, beside)| figure / beside).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order_and_one_outlier() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[5.0, 900.0, 1.0, 4.0, 3.0]), Some(4.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_round_in_which_the_machine_was_slow_does_not_move_the_ratio() {
        // The third round ran at a tenth of the speed, for both.
        assert_eq!(median_ratio(&[80.0, 70.0, 7.5], &[100.0, 100.0, 10.0]), Some(0.75));
        assert_eq!(median_ratio(&[], &[1.0]), None);
    }

    #[test]
    fn a_bar_is_met_at_its_figure_and_missed_beyond_it_or_without_one() {
        assert!(Bar::AtLeast(0.65).met(0.65) && !Bar::AtLeast(0.65).met(0.649));
        assert!(Bar::AtMost(20.0).met(20.0) && !Bar::AtMost(20.0).met(20.1));
        assert!(!Bar::AtLeast(0.65).met(f64::NAN) && !Bar::AtMost(20.0).met(f64::NAN));
    }
}
