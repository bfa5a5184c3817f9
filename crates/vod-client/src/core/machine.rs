//! The machine of an upload: by its family, and by what is uploaded; behind one set of methods.

use std::time::Duration;

use vod_proto::{Family, InitUpload, Limits, Md5, Sha1, SmallFile};

use super::{
    dice::CallId,
    sequence::Sequence,
    upload::{Answered, Plan, Step, Upload},
    whole::Whole,
};
use crate::{error::SourceError, event::Event};

/// What decides about an upload. It is called as [`Upload`] says.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an upload has one of them")]
pub(crate) enum Machine {
    /// Of the families with an action for each step.
    Steps(Upload),
    /// Of the family with one action for all.
    Sequence(Sequence),
    /// Of a small file that is sent whole.
    Whole(Whole),
}

impl Machine {
    pub(crate) fn new(plan: Plan) -> Self {
        match plan.family {
            Family::Server if is_small(&plan.init) => Self::Whole(Whole::new(plan)),
            Family::Server | Family::Ugc => Self::Steps(Upload::new(plan)),
            Family::Legacy => Self::Sequence(Sequence::new(plan)),
        }
    }

    pub(crate) const fn file_sha1(&self) -> Sha1 {
        match self {
            Self::Steps(upload) => upload.file_sha1(),
            Self::Sequence(sequence) => sequence.file_sha1(),
            Self::Whole(whole) => whole.file_sha1(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Steps(upload) => upload.poll_event(),
            Self::Sequence(sequence) => sequence.poll_event(),
            Self::Whole(whole) => whole.poll_event(),
        }
    }

    pub(crate) fn poll_step(&mut self, now: Duration) -> Step {
        match self {
            Self::Steps(upload) => upload.poll_step(now),
            Self::Sequence(sequence) => sequence.poll_step(now),
            Self::Whole(whole) => whole.poll_step(now),
        }
    }

    pub(crate) fn handle_answer(&mut self, call: CallId, answered: Answered, now: Duration) {
        match self {
            Self::Steps(upload) => upload.handle_answer(call, answered, now),
            Self::Sequence(sequence) => sequence.handle_answer(call, answered, now),
            Self::Whole(whole) => whole.handle_answer(call, answered, now),
        }
    }

    pub(crate) fn handle_compared(&mut self, index: u64, md5: Md5, same: bool, now: Duration) {
        match self {
            Self::Steps(upload) => upload.handle_compared(index, md5, same, now),
            Self::Sequence(_) | Self::Whole(_) => unreachable!("where no parts are listed there is nothing to compare"),
        }
    }

    pub(crate) fn handle_source_checked(&mut self, result: Result<(), SourceError>, now: Duration) {
        match self {
            Self::Steps(upload) => upload.handle_source_checked(result, now),
            Self::Sequence(sequence) => sequence.handle_source_checked(result, now),
            Self::Whole(whole) => whole.handle_source_checked(result, now),
        }
    }

    pub(crate) fn handle_source_failed(&mut self, error: SourceError, now: Duration) {
        match self {
            Self::Steps(upload) => upload.handle_source_failed(error, now),
            Self::Sequence(sequence) => sequence.handle_source_failed(error, now),
            Self::Whole(whole) => whole.handle_source_failed(error, now),
        }
    }
}

/// A cover goes whole where it fits: that is what the documents have for it.
fn is_small(init: &InitUpload) -> bool {
    SmallFile::takes(&init.facts, init.file_size, &Limits::default())
}
