//! Mocks that are wrong on purpose, for a suite that proves itself. Only with the feature `mutants`, which no build has
//! that anybody ships.
//!
//! The core knows nothing of them: what the mock stands on is taken out, and one that errs is put in its place.
//! - [`upload`]: what is decided about an upload. [`store`]: what is kept of it.
//!
//! Which mistake is made is a matter of the thread: a simulation lives on one, and others run beside it.

mod store;
mod upload;

use std::{cell::Cell, sync::Arc};

use strum::{EnumMessage, IntoStaticStr, VariantArray};

pub use self::upload::Upload;
use crate::{Auth, Config, Store};

/// A mistake that a server could make: its name in tables, what it does in a sentence, and all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Mutant {
    /// A part is acknowledged, and its bytes are thrown away.
    PartNotKept,
    /// A bit of every part is lost on the way to where it is kept.
    BitsRot,
    /// What is given up stays where it is kept, for ever.
    BodiesNeverFreed,
    /// A server that starts again has lost the part that came first.
    PartLostOnRestart,
    /// A server that starts again does not know any more that it put a file together.
    FinishLostOnRestart,
    /// A server that starts again has lost its evidence.
    JournalLostOnRestart,
    /// A file is put together although a part is missing.
    GapCommitted,
    /// A file is put together whose SHA-1 is not the one that was announced.
    MismatchCommitted,
    /// A finish that comes again puts the file together again.
    FinishCommitsAgain,
    /// A file that is there is taken once more.
    FileNotRecognised,
    /// Whoever asks again is told another id of the same file.
    OtherFileId,
    /// The list of parts lacks the one that came last.
    ListStale,
    /// The list of parts has each one part further on.
    ListShifted,
    /// A session that is to be dropped stays.
    SessionNeverDropped,
    /// The legacy family's parts are taken in whatever order they come.
    AnyPartTaken,
    /// No signature is looked at: a lapsed one is as good as any.
    SignaturesUnchecked,
    /// Attempts are counted from 0: a fault strikes one too late.
    FaultOneTooLate,
    /// A fault strikes twice as often as was planned.
    FaultStrikesTwice,
}

thread_local! {
    static HERE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Lets every mock that is opened on this thread make this mistake from now on, or none.
pub fn enter(mutant: Option<Mutant>) {
    HERE.set(mutant);
}

/// The mistake that is made on this thread.
#[must_use]
pub fn here() -> Option<Mutant> {
    HERE.get()
}

/// Is this the mistake that is made here?
fn is(mutant: Mutant) -> bool {
    here() == Some(mutant)
}

/// What a mock is opened with in the place of this.
pub(crate) fn opened(mut config: Config, store: Arc<dyn Store>) -> (Config, Arc<dyn Store>) {
    match here() {
        Some(Mutant::SignaturesUnchecked) => config.auth = Auth::Any,
        Some(Mutant::FaultOneTooLate) => {
            for fault in &mut config.plan.faults {
                fault.on.attempt = fault.on.attempt.map(|attempt| attempt + 1);
            }
        }
        Some(Mutant::FaultStrikesTwice) => {
            for fault in &mut config.plan.faults {
                let on = &mut fault.on;
                on.times = on.times.map(|times| 2 * times).or(on.attempt.take().map(|_| 2));
            }
        }
        _ => {}
    }
    let store = Arc::new(store::Keeps { real: store, journal: Arc::clone(&config.journal) });
    (config, store)
}
