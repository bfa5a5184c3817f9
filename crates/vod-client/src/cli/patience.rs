//! How often, how soon and for how long `vod-client upload` tries.

use std::time::Duration;

use clap::Args;

use super::values;
use crate::core::RetryPolicy;

/// Every limit of [`RetryPolicy`], and when a connection counts as dead.
#[derive(Args)]
#[command(next_help_heading = "Retries")]
pub(super) struct PatienceArgs {
    /// How often a request may be sent, the first time included
    #[arg(long, value_name = "N", default_value_t = 6)]
    attempts: u32,

    /// The longest wait before the first retry; it doubles with each further one
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = values::duration)]
    retry_delay: Duration,

    /// Where the doubling ends
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    retry_delay_max: Duration,

    /// How many retries the whole upload may spend
    #[arg(long, value_name = "N", default_value_t = 50)]
    retry_budget: u32,

    /// What each request that succeeds at once gives back to the budget, in hundredths of a retry
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    retry_refund: u32,

    /// How often the upload is opened again because its finish was refused or its session is gone
    #[arg(long, value_name = "N", default_value_t = 2)]
    reopenings: u32,

    /// How many parts may fail before no further one is begun
    #[arg(long, value_name = "N", default_value_t = 16)]
    failed_parts: usize,

    /// How much of a server's Retry-After is honoured
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    retry_after_max: Duration,

    /// How long a request may wait for the account's quota (code 4400)
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = values::duration)]
    quota_patience: Duration,

    /// When to give up the whole upload, such as 10m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    deadline: Option<Duration>,

    /// How long a request may be without any byte moving
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(super) stall_timeout: Duration,
}

impl PatienceArgs {
    pub(super) fn policy(&self) -> RetryPolicy {
        let usual = RetryPolicy::default();
        RetryPolicy {
            attempts: self.attempts,
            // Nobody who wants to wait less than the shortest wait means to wait longer.
            delay_min: usual.delay_min.min(self.retry_delay).min(self.retry_delay_max),
            delay_base: self.retry_delay,
            delay_max: self.retry_delay_max,
            budget: self.retry_budget,
            refund_percent: self.retry_refund,
            reopenings: self.reopenings,
            failed_parts: self.failed_parts,
            retry_after_max: self.retry_after_max,
            quota_patience: self.quota_patience,
            deadline: self.deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Options;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        patience: PatienceArgs,
    }

    fn read(flags: &[&str]) -> PatienceArgs {
        Line::try_parse_from(["line"].iter().chain(flags)).unwrap_or_else(|error| panic!("{error}")).patience
    }

    #[test]
    fn without_a_flag_everything_is_as_in_the_library() {
        assert_eq!(read(&[]).policy(), RetryPolicy::default());
        assert_eq!(read(&[]).stall_timeout, Options::default().stall_timeout);
    }

    #[test]
    fn each_limit_has_its_flag() {
        let usual = RetryPolicy::default();
        let millis = Duration::from_millis;
        for (flag, value, expected) in [
            ("--attempts", "1", RetryPolicy { attempts: 1, ..usual.clone() }),
            ("--retry-delay", "2s", RetryPolicy { delay_base: millis(2000), ..usual.clone() }),
            ("--retry-delay", "1ms", RetryPolicy { delay_min: millis(1), delay_base: millis(1), ..usual.clone() }),
            ("--retry-delay-max", "1m", RetryPolicy { delay_max: millis(60_000), ..usual.clone() }),
            ("--retry-delay-max", "5ms", RetryPolicy { delay_min: millis(5), delay_max: millis(5), ..usual.clone() }),
            ("--retry-budget", "0", RetryPolicy { budget: 0, ..usual.clone() }),
            ("--retry-refund", "100", RetryPolicy { refund_percent: 100, ..usual.clone() }),
            ("--reopenings", "0", RetryPolicy { reopenings: 0, ..usual.clone() }),
            ("--failed-parts", "1", RetryPolicy { failed_parts: 1, ..usual.clone() }),
            ("--retry-after-max", "1s", RetryPolicy { retry_after_max: millis(1000), ..usual.clone() }),
            ("--quota-patience", "1s", RetryPolicy { quota_patience: millis(1000), ..usual.clone() }),
            ("--deadline", "10m", RetryPolicy { deadline: Some(millis(600_000)), ..usual.clone() }),
        ] {
            assert_eq!(read(&[flag, value]).policy(), expected, "{flag} {value}");
        }
        assert_eq!(read(&["--stall-timeout", "2s"]).stall_timeout, millis(2000));
    }
}
