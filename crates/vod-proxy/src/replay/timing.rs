//! When a recorded answer is given: at once, or after as long as it took.

use std::{fmt, str::FromStr, time::Duration};

use vod_proto::Exchange;

/// When a recorded answer is given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Timing {
    /// As soon as the request is there. The default: a test should not wait for a server that is not there.
    #[default]
    None,
    /// As long after the end of the request as it came then.
    Recorded,
    /// So many times as fast: 2 waits half as long, 0.5 twice as long.
    Times(f64),
}

/// No timing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no timing: expected none, recorded, or a factor above 0 such as x2, which is twice as fast")]
pub struct NotATiming(String);

impl Timing {
    /// How long the answer of this exchange is waited for, once its request is there.
    pub(super) fn wait(self, exchange: &Exchange) -> Duration {
        let times = exchange.times;
        // From the end of the body: how long that took to come is the client's own affair.
        let took = times.reply_done.unwrap_or(0).saturating_sub(times.body_done.unwrap_or(0));
        let took = Duration::from_micros(took);
        match self {
            Self::None => Duration::ZERO,
            Self::Recorded => took,
            Self::Times(factor) => Duration::try_from_secs_f64(took.as_secs_f64() / factor).unwrap_or(Duration::MAX),
        }
    }
}

impl FromStr for Timing {
    type Err = NotATiming;

    fn from_str(text: &str) -> Result<Self, NotATiming> {
        let factor = |text: &str| text.strip_prefix('x')?.parse().ok().filter(|factor: &f64| factor.is_normal());
        match text {
            "none" => Ok(Self::None),
            "recorded" => Ok(Self::Recorded),
            _ => match factor(text) {
                Some(factor) if factor > 0.0 => Ok(Self::Times(factor)),
                _ => Err(NotATiming(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Recorded => f.write_str("recorded"),
            Self::Times(factor) => write!(f, "x{factor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::crafted::Session;

    #[test]
    fn an_answer_waits_as_long_after_the_body_as_it_did_or_a_fraction_of_it() {
        let mut session = Session::default();
        let exchange = session.part(0, b"part", "{}");
        exchange.times.body_done = Some(40_000);
        exchange.times.reply_done = Some(240_000);
        let wait = |timing: &str| timing.parse::<Timing>().unwrap().wait(&session.exchanges[0]);
        assert_eq!(wait("none"), Duration::ZERO);
        assert_eq!(wait("recorded"), Duration::from_millis(200));
        assert_eq!(wait("x2"), Duration::from_millis(100));
        assert_eq!(wait("x0.5"), Duration::from_millis(400));
        assert_eq!(wait("x0.0000000000000000000000000001"), Duration::MAX);
    }

    #[test]
    fn what_is_no_timing_is_refused_with_what_would_be() {
        for text in ["", "x", "x0", "x-1", "xinf", "xNaN", "2", "fast", "Recorded"] {
            let error = text.parse::<Timing>().unwrap_err().to_string();
            assert!(error.contains("expected none, recorded, or a factor above 0 such as x2"), "{error}");
        }
        for text in ["none", "recorded", "x2", "x0.5"] {
            assert_eq!(text.parse::<Timing>().unwrap().to_string(), text);
        }
    }
}
