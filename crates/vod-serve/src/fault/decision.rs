//! A fault that decides for itself what it does, request by request, and what it did wrong.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{HttpFault, Verdict};
use crate::Subject;

/// Decides about a request what data cannot: given what is known of it, and the n-th time it is seen, says what strikes.
///
/// It is asked under the engine's lock, so it must not ask the engine in turn.
pub type Decide = dyn Fn(&Subject, u32) -> Option<Verdict> + Send + Sync;

/// A closure that is planted.
pub(super) struct Decision {
    decide: Box<Decide>,
    mistake: Option<String>,
}

impl Decision {
    pub(super) const fn new(decide: Box<Decide>) -> Self {
        Self { decide, mistake: None }
    }

    /// What strikes this request. Where that panics, or cannot be, the request is answered with status 500, so that its
    /// client learns that nothing is well, and the first such mistake is kept for whoever planted it.
    pub(super) fn about(
        &mut self,
        subject: &Subject,
        attempt: u32,
        can: impl FnOnce(&Verdict) -> Result<(), String>,
    ) -> Option<Verdict> {
        let why = match catch_unwind(AssertUnwindSafe(|| (self.decide)(subject, attempt))) {
            Ok(None) => return None,
            Ok(Some(verdict)) => match can(&verdict) {
                Ok(()) => return Some(verdict),
                Err(why) => why,
            },
            Err(panic) => format!("it panicked: {}", told(panic.as_ref())),
        };
        tracing::error!(why, "a fault could not decide");
        self.mistake.get_or_insert(why);
        Some(Verdict::Http(HttpFault { status: 500, retry_after: None }))
    }

    /// The first thing it did wrong.
    pub(super) fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }
}

fn told(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
