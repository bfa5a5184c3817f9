//! When a request may be sent again: what the linter and a scenario's judge agree on.

use crate::{Exchange, code::RetryClass, exchange::End};

/// The shortest wait before a request is sent again, in microseconds.
/// Half of the shortest delay of a client that spreads its retries, 50 ms, so that no clock's grain ever makes a good
/// client look bad.
pub(super) const GAP_LEAST_US: i64 = 25_000;

/// A whole `Retry-After` may be cut short by this much, in microseconds: both ends round their clocks.
const GRAIN_US: i64 = 2_000;

/// How long a client waits at least before it sends this request again, in microseconds: as long as `Retry-After` asks,
/// and 25 ms in any case.
#[must_use]
pub fn least_gap_us(failed: &Exchange) -> i64 {
    let seconds = failed
        .whole_reply()
        .and_then(|reply| reply.headers.iter().find(|(name, _)| name == "retry-after"))
        .and_then(|(_, value)| value.parse::<i64>().ok());
    let asked = seconds.map_or(0, |seconds| seconds.saturating_mul(1_000_000).saturating_sub(GRAIN_US));
    asked.max(GAP_LEAST_US)
}

/// Did the server end it in a way that lets the client try again: a cut connection, a failure of HTTP, a refusal that
/// may be resolved by sending the request again?
pub(super) fn ended_by_server(exchange: &Exchange) -> bool {
    match exchange.end {
        End::Closed | End::Reset => true,
        End::Replied => {
            let failed = exchange.whole_reply().is_some_and(|reply| reply.status >= 500);
            failed || exchange.refusal().is_some_and(|rejected| rejected.retry_class() != RetryClass::Final)
        }
        End::Timeout | End::Killed | End::ClientGone { .. } => false,
    }
}
