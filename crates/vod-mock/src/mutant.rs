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

pub use self::upload::Upload;
use crate::{Auth, Config, Store};

macro_rules! mutants {
    ($($(#[doc = $says:literal])+ $name:ident = $id:literal,)*) => {
        /// A mistake that a server could make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $says])+ $name,)*
        }

        impl Mutant {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in tables.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($says),+).trim_ascii(),)*
                }
            }
        }
    };
}

mutants! {
    /// A part is acknowledged, and its bytes are thrown away.
    PartNotKept = "part-not-kept",
    /// A bit of every part is lost on the way to where it is kept.
    BitsRot = "bits-rot",
    /// What is given up stays where it is kept, for ever.
    BodiesNeverFreed = "bodies-never-freed",
    /// A server that starts again has lost the part that came first.
    PartLostOnRestart = "part-lost-on-restart",
    /// A server that starts again does not know any more that it put a file together.
    FinishLostOnRestart = "finish-lost-on-restart",
    /// A server that starts again has lost its evidence.
    JournalLostOnRestart = "journal-lost-on-restart",
    /// A file is put together although a part is missing.
    GapCommitted = "gap-committed",
    /// A file is put together whose SHA-1 is not the one that was announced.
    MismatchCommitted = "mismatch-committed",
    /// A finish that comes again puts the file together again.
    FinishCommitsAgain = "finish-commits-again",
    /// A file that is there is taken once more.
    FileNotRecognised = "file-not-recognised",
    /// Whoever asks again is told another id of the same file.
    OtherFileId = "other-file-id",
    /// The list of parts lacks the one that came last.
    ListStale = "list-stale",
    /// The list of parts has each one part further on.
    ListShifted = "list-shifted",
    /// A session that is to be dropped stays.
    SessionNeverDropped = "session-never-dropped",
    /// The legacy family's parts are taken in whatever order they come.
    AnyPartTaken = "any-part-taken",
    /// No signature is looked at: a lapsed one is as good as any.
    SignaturesUnchecked = "signatures-unchecked",
    /// Attempts are counted from 0: a fault strikes one too late.
    FaultOneTooLate = "fault-one-too-late",
    /// A fault strikes twice as often as was planned.
    FaultStrikesTwice = "fault-strikes-twice",
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
