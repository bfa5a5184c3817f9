//! Is all of a recording there that should be?

use std::{collections::BTreeSet, fmt};

use vod_proto::{
    Sha1,
    exchange::{Kept, Mark},
};
use vod_serve::journal::FileEnd;

use super::{Recording, RecordingError};

/// What was found in a recording whose every line can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many exchanges it holds.
    pub exchanges: u64,
    /// How its file of exchanges ends, and what it leaves out.
    pub end: FileEnd,
    /// How many bodies it keeps beside its lines.
    pub bodies: usize,
    /// Bodies that a line speaks of and that are not there, or are not what they were.
    pub missing: Vec<Sha1>,
}

impl Checked {
    /// Is nothing missing?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.end.torn && self.end.gap.evicted == 0 && self.missing.is_empty()
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchanges, end, bodies, missing } = self;
        write!(f, "{exchanges} exchanges, {bodies} bodies beside them")?;
        if end.torn {
            write!(f, "; the last line is torn, as a killed recorder leaves it")?;
        }
        if end.gap.evicted > 0 {
            write!(f, "; {} exchanges up to number {} are missing", end.gap.evicted, end.gap.up_to)?;
        }
        for sha1 in missing {
            write!(f, "; the body {sha1} is missing, or is not what it was")?;
        }
        if self.is_whole() { write!(f, "; whole") } else { Ok(()) }
    }
}

impl Recording {
    /// Reads all of it, and looks whether every body is there that a line speaks of.
    ///
    /// # Errors
    /// As for [`read`](Self::read), or if a body cannot be read.
    pub fn verify(&self) -> Result<Checked, RecordingError> {
        let (mut exchanges, mut kept) = (0, BTreeSet::new());
        let end = self.read(|exchange| {
            exchanges += 1;
            let reply = exchange.reply.as_ref().and_then(|reply| reply.mark.as_ref());
            kept.extend([Some(&exchange.request.body), reply].into_iter().flatten().filter_map(in_file));
        })?;
        let bodies = self.bodies();
        let mut missing = Vec::new();
        for &sha1 in &kept {
            if !bodies.holds(sha1).map_err(RecordingError::io(&bodies.path(sha1)))? {
                missing.push(sha1);
            }
        }
        Ok(Checked { exchanges, end, bodies: kept.len(), missing })
    }
}

fn in_file(mark: &Mark) -> Option<Sha1> {
    mark.sha1.filter(|_| mark.kept == Kept::File)
}
