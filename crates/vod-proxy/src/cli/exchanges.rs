//! The exchanges that a command looks at: a recording's, or those of a journal, which is a file of the same lines.

use std::path::Path;

use vod_proto::{Exchange, lint::Lacking};
use vod_serve::journal::{self, FileEnd};

use super::complain;
use crate::{Recording, RecordingError, recording::Manifest};

/// What was found at a path.
pub(super) struct Found {
    /// In the order in which they came.
    pub(super) exchanges: Vec<Exchange>,
    /// What is not there.
    pub(super) lacking: Lacking,
    /// What it says of itself, if it is a recording.
    pub(super) manifest: Option<Manifest>,
}

/// Reads a recording, or a journal where the path is that of a file. A torn end is complained of.
pub(super) fn read(path: &Path) -> Result<Found, RecordingError> {
    let (exchanges, end, manifest) = if path.is_file() {
        let mut exchanges = Vec::new();
        let end = journal::read(path, None, |exchange| exchanges.push(exchange))?;
        exchanges.sort_by_key(|exchange: &Exchange| exchange.seq);
        (exchanges, end, None)
    } else {
        let recording = Recording::open(path)?;
        let (exchanges, end) = recording.exchanges()?;
        (exchanges, end, Some(recording.manifest().clone()))
    };
    let FileEnd { torn, unclosed, gap, .. } = end;
    if torn {
        complain(format_args!("{}: the last line is torn and was passed over", path.display()));
    }
    if unclosed {
        complain(format_args!("{}: not closed, so that what was under way is missing", path.display()));
    }
    if gap.evicted > 0 {
        complain(format_args!("{}: {} exchanges up to number {} are missing", path.display(), gap.evicted, gap.up_to));
    }
    Ok(Found { exchanges, lacking: Lacking::of_somebody(gap), manifest })
}
