//! One upload, decided about wrongly.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use jiff::Timestamp;
use vod_proto::{
    Code, InitUpload, NextPart, Sha1,
    reply::{InitReply, Rejected},
};

use super::{Mutant, here};
use crate::core::{BodyId, Decides, Finish, InitDecision, NextCheck, Record, StoredFile, UploadKey};

/// An upload that errs; with no mistake to make it is the upload.
#[derive(Debug, Default)]
pub struct Upload(Decides);

impl Deref for Upload {
    type Target = Decides;

    fn deref(&self) -> &Decides {
        &self.0
    }
}

impl DerefMut for Upload {
    fn deref_mut(&mut self) -> &mut Decides {
        &mut self.0
    }
}

/// What stands here stands before what is behind it.
impl Upload {
    /// Takes in a fact. Returns the bodies that nobody needs any more.
    pub fn apply(&mut self, record: &Record) -> Vec<BodyId> {
        match (here(), record) {
            (Some(Mutant::SessionNeverDropped), Record::Dropped { .. }) => Vec::new(),
            (Some(Mutant::FinishCommitsAgain), Record::Stored { key, at, .. }) => {
                let again = self.0.stored().cloned().filter(|_| self.0.session_mut().is_none());
                let Some(file) = again else { return self.0.apply(record) };
                self.put_together_again(key, *at, &file);
                self.0.apply(record);
                // The file is what it was, and so are its bodies.
                Vec::new()
            }
            _ => self.0.apply(record),
        }
    }

    /// The session that made a file, once more up to its end.
    fn put_together_again(&mut self, key: &UploadKey, at: Timestamp, file: &StoredFile) {
        self.0.apply(&Record::Opened { key: key.clone(), at, facts: file.facts.clone() });
        for part in file.parts.iter().copied() {
            let (span, md5, sha1, body) = (part.span, part.md5, part.sha1, part.body);
            self.0.apply(&Record::Part { key: key.clone(), at, span, md5, sha1, body });
        }
    }

    /// Every body that belongs to it.
    pub fn bodies(&self) -> impl Iterator<Item = BodyId> {
        self.0.bodies()
    }

    /// Decides about an `InitUpload`.
    ///
    /// # Errors
    /// If another size was announced for the same digest.
    pub fn decide_init(
        &self,
        key: &UploadKey,
        init: &InitUpload,
        now: Timestamp,
        lifetime: Duration,
        instant: bool,
    ) -> Result<InitDecision, Rejected> {
        let instant = instant && here() != Some(Mutant::FileNotRecognised);
        let mut decision = self.0.decide_init(key, init, now, lifetime, instant)?;
        match (here(), &mut decision) {
            (Some(Mutant::ListStale), InitDecision::Answer(InitReply::Resume { parts, .. })) => _ = parts.pop(),
            (Some(Mutant::ListShifted), InitDecision::Answer(InitReply::Resume { part_size, parts })) => {
                parts.iter_mut().for_each(|part| part.offset += *part_size);
            }
            (Some(Mutant::OtherFileId), InitDecision::Exists(file)) => other_id(file),
            _ => {}
        }
        Ok(decision)
    }

    /// Decides about the head of a `MultipartUploadVodFile`.
    ///
    /// # Errors
    /// If another size was announced for the same digest.
    pub fn decide_next(&self, next: &NextPart, now: Timestamp, lifetime: Duration) -> Result<NextCheck, Rejected> {
        match (here(), self.0.decide_next(next, now, lifetime)?) {
            (Some(Mutant::AnyPartTaken), NextCheck::Wanted(_)) => Ok(NextCheck::Take),
            (Some(Mutant::OtherFileId), NextCheck::Exists(id)) => Ok(NextCheck::Exists(other(&id))),
            (_, check) => Ok(check),
        }
    }

    /// Decides about a `FinishUpload`.
    ///
    /// # Errors
    /// If there is neither a session nor a file, or a part is missing.
    pub fn decide_finish(&self, file_sha1: Sha1, now: Timestamp, lifetime: Duration) -> Result<Finish, Rejected> {
        match (here(), self.0.decide_finish(file_sha1, now, lifetime)) {
            (Some(Mutant::GapCommitted), Err(no)) if no.code == Code::PROTOCOL_PARAMS => Ok(Finish::Whole(file_sha1)),
            (Some(Mutant::MismatchCommitted), Ok(Finish::Whole(_))) => Ok(Finish::Whole(file_sha1)),
            (Some(Mutant::FinishCommitsAgain), Ok(Finish::Again(_))) => Ok(Finish::Whole(file_sha1)),
            (Some(Mutant::OtherFileId), Ok(Finish::Again(mut file))) => {
                other_id(&mut file);
                Ok(Finish::Again(file))
            }
            (_, decided) => decided,
        }
    }
}

fn other_id(file: &mut StoredFile) {
    file.file_id = other(&file.file_id);
}

fn other(id: &str) -> String {
    id.chars().rev().collect()
}
