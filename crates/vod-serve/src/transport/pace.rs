//! How a line is throttled.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Sleep;

use crate::fault::Rate;

/// The pace of what is throttled: small pieces, and after each the time that it should have taken.
#[derive(Default)]
pub(crate) struct Pace {
    until: Option<Pin<Box<Sleep>>>,
}

/// How many pieces pass in a second. Default 20: often enough to look even, and few enough to cost nothing.
const PIECES_A_SECOND: u64 = 20;

impl Pace {
    /// How many bytes may pass now, at least one.
    pub(crate) fn poll_allowed(&mut self, rate: Rate, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(until) = &mut self.until {
            ready!(until.as_mut().poll(cx));
            self.until = None;
        }
        Poll::Ready(usize::try_from(rate.bytes().div_ceil(PIECES_A_SECOND)).unwrap_or(usize::MAX))
    }

    pub(crate) fn passed(&mut self, bytes: usize, rate: Rate) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / rate.bytes();
        self.until = Some(Box::pin(tokio::time::sleep(Duration::from_nanos(nanos))));
    }
}
