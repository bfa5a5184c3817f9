//! Clients that are wrong on purpose, for a suite that proves itself. Only with the feature `mutants`, which no build has
//! that anybody ships.
//!
//! The cores know nothing of them: what the driver stands on is taken out, and one that errs is put in its place.
//! - [`machine`]: the decisions, told something else than what happened.
//! - [`parts`]: the bytes of parts. [`signer`]: what requests say, and what proves them.
//!
//! Which mistake is made is a matter of the thread: a simulation lives on one, and others run beside it.

mod machine;
mod parts;
mod signer;

use std::{cell::Cell, time::Duration};

use strum::{EnumMessage, IntoStaticStr, VariantArray};

pub(crate) use self::{machine::Machine, parts::Parts, signer::Signer};
use crate::{core::RetryPolicy, uploader::Options};

/// A mistake that a client could make: its name in tables, what it does in a sentence, and all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Mutant {
    /// The finish is sent while the last part is still under way.
    FinishBeforeLastAck,
    /// What the server has is not asked after: a resumed upload sends every part again.
    ListIgnored,
    /// Whatever the server lists is taken for the same bytes, and not compared.
    ListTrusted,
    /// A resumed upload goes on in parts of the size that was asked for, not of the size that holds.
    OwnGridKept,
    /// That the file is there already is not understood: it is sent once more.
    ExistsNotUnderstood,
    /// A part that failed is never sent again.
    FailedPartForgotten,
    /// A part that was refused for good counts as sent, and the upload goes on.
    FinalRefusalOverheard,
    /// What was refused for good is tried again all the same.
    FinalRefusalTriedAgain,
    /// When one part fails no other one is begun.
    OneFailedPartStopsAll,
    /// A part that is sent again is what was left of it: its second half.
    RetriedPartCut,
    /// Every part is sent twice, in case one of the two is lost.
    PartsSentTwice,
    /// Parts go out side by side without any bound.
    ParallelUnbounded,
    /// A request is tried three times as often as it may be.
    AttemptsTripled,
    /// The budget of retries that an upload has is never spent.
    BudgetEndless,
    /// What failed is sent again at once.
    BackoffNone,
    /// `Retry-After` is not read.
    RetryAfterIgnored,
    /// A server that asks to wait for its quota is asked again like any other.
    QuotaNotWaitedFor,
    /// A retry goes out with the signature of the first attempt.
    RetryNotSignedAnew,
    /// A finish without an answer is taken for a success.
    LostFinishIsSuccess,
    /// A finish without an answer is taken for a failure.
    LostFinishIsFailure,
    /// A failure never says that the file may be there all the same.
    MaybeNeverSaid,
    /// A peer that falls silent is waited for without end.
    StallUnnoticed,
    /// A request that takes long is given up, however it moves.
    SlowTakenForStalled,
    /// The MD5 that is announced is not that of the part.
    PartMd5Wrong,
    /// The SHA-1 that is announced is not that of the file.
    FileSha1Wrong,
    /// A cover is uploaded as if it were a video.
    CoverForgotten,
    /// The legacy family's word for where to go on is not heard: the next part is the next one.
    OffsetIgnored,
    /// A reply that cannot be read ends the program.
    GarbagePanics,
    /// The signed line of every request is logged.
    SecretLogged,
    /// Something of each upload goes on when it is over.
    TaskLeftBehind,
}

thread_local! {
    static HERE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Lets every upload that begins on this thread make this mistake from now on, or none.
pub fn enter(mutant: Option<Mutant>) {
    HERE.set(mutant);
}

/// The mistake that is made on this thread.
#[must_use]
pub fn here() -> Option<Mutant> {
    HERE.get()
}

/// Is this the mistake that is made here?
pub(crate) fn is(mutant: Mutant) -> bool {
    here() == Some(mutant)
}

/// Longer than anybody waits, and short enough to be added to any time.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// What becomes of settings.
pub(crate) fn options(mut options: Options) -> Options {
    match here() {
        Some(Mutant::StallUnnoticed) => options.stall_timeout = FOR_EVER,
        Some(Mutant::ParallelUnbounded) => options.parallel = crate::uploader::PARALLEL_MAX,
        Some(mutant) => policy(mutant, &mut options.retry),
        None => {}
    }
    options
}

fn policy(mutant: Mutant, policy: &mut RetryPolicy) {
    match mutant {
        Mutant::OneFailedPartStopsAll => policy.failed_parts = 1,
        Mutant::AttemptsTripled => policy.attempts *= 3,
        Mutant::BudgetEndless => policy.budget = u32::MAX,
        Mutant::BackoffNone => {
            (policy.delay_min, policy.delay_base, policy.delay_max) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        }
        Mutant::RetryAfterIgnored => policy.retry_after_max = Duration::ZERO,
        _ => {}
    }
}

/// When something moved last, as the watchdog sees it.
pub(crate) fn moved_at(now_us: u64) -> u64 {
    if is(Mutant::SlowTakenForStalled) { 0 } else { now_us }
}
