//! One upload: its session, the file it became, and what is decided about either.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use vod_proto::{
    Code, InitUpload, Layout, Md5, NextPart, PartSpan, Sha1, UploadPart,
    layout::OffGrid,
    reply::{InitReply, ListedPart, Rejected, Stored},
};

use vod_serve::fault::ListLie;

use super::{BodyId, Generation, Opened, Prefix, Record, UploadKey, refuse};

/// Everything known of one upload.
#[derive(Debug, Default)]
pub struct Upload {
    session: Option<Session>,
    stored: Option<StoredFile>,
    commits: u64,
    sessions: u64,
}

/// An upload under way.
#[derive(Debug)]
pub struct Session {
    facts: Opened,
    grid: Grid,
    parts: BTreeMap<u64, KeptPart>,
    touched: Timestamp,
    prefix: Prefix,
}

/// How the parts of a session lie.
#[derive(Clone, Copy, Debug)]
enum Grid {
    /// On a grid that was agreed on at the start.
    Fixed(Layout),
    /// One behind the other, each as long as the client likes.
    InOrder,
}

/// A part that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPart {
    /// Where it lies.
    pub span: PartSpan,
    /// Its MD5, where the family has one.
    pub md5: Option<Md5>,
    /// Its SHA-1.
    pub sha1: Sha1,
    /// Where its bytes are kept.
    pub body: BodyId,
}

impl KeptPart {
    const fn listed(&self) -> ListedPart {
        ListedPart { offset: self.span.offset, len: Some(self.span.len), md5: self.md5, sha1: None }
    }
}

/// A file that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The id that was handed out.
    pub file_id: String,
    /// What was said of it.
    pub facts: Opened,
    /// Its parts, in order.
    pub parts: Vec<KeptPart>,
    /// The SHA-1 that its bytes made when they were taken in; none where that was before the last restart.
    pub taken_sha1: Option<Sha1>,
}

/// What to do about an `InitUpload`.
#[derive(Debug, PartialEq, Eq)]
pub enum InitDecision {
    /// Remember this, then answer.
    Open(Record, InitReply),
    /// Answer from what is there.
    Answer(InitReply),
    /// The file is there.
    Exists(StoredFile),
}

/// What to do about the head of an `UploadPart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartCheck {
    /// Take the body in.
    Take,
    /// An empty part at the end of the file, as one client sends it: nothing to keep.
    EmptyTail,
}

/// What to do about the head of a `MultipartUploadVodFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextCheck {
    /// It is the part that is wanted: take the body in.
    Take,
    /// Another one is wanted, at this offset.
    Wanted(u64),
    /// Every part is here, and only the file is not put together yet.
    Complete,
    /// The file is there, under this id.
    Exists(String),
}

/// What to do about a `FinishUpload`.
#[derive(Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was finished before: answer the same again.
    Again(Box<StoredFile>),
    /// All parts are here, and this is what they make.
    Whole(Sha1),
    /// All parts are here, but the SHA-1 has not been taken to the end yet.
    Hash,
}

impl Upload {
    /// Takes in a fact. Returns the bodies that nobody needs any more.
    pub fn apply(&mut self, record: &Record) -> Vec<BodyId> {
        match record {
            Record::Opened { at, facts, .. } => {
                let freed = self.drop_session();
                self.sessions += 1;
                let grid = match facts.part_size {
                    Some(part_size) => Layout::new(facts.file_size, part_size).map(Grid::Fixed),
                    None => Some(Grid::InOrder),
                };
                if let Some(grid) = grid {
                    self.session = Some(Session {
                        facts: facts.clone(),
                        grid,
                        parts: BTreeMap::new(),
                        touched: *at,
                        prefix: Prefix::of_session(self.sessions),
                    });
                }
                freed
            }
            Record::Part { at, span, md5, sha1, body, .. } => {
                let Some(session) = &mut self.session else { return vec![*body] };
                session.touched = *at;
                let part = KeptPart { span: *span, md5: *md5, sha1: *sha1, body: *body };
                let Some(earlier) = session.parts.insert(span.offset, part) else { return Vec::new() };
                if earlier.sha1 != *sha1 {
                    session.prefix.replaced(*span);
                }
                vec![earlier.body]
            }
            Record::Stored { file_id, .. } => {
                let Some(session) = self.session.take() else { return Vec::new() };
                let whole = session.prefix.passed() == session.facts.file_size;
                self.store(StoredFile {
                    file_id: file_id.clone(),
                    taken_sha1: whole.then(|| session.prefix.sha1()),
                    facts: session.facts,
                    parts: session.parts.into_values().collect(),
                })
            }
            Record::Whole { facts, sha1, body, file_id, .. } => {
                let span = PartSpan { offset: 0, len: facts.file_size };
                let part = KeptPart { span, md5: None, sha1: *sha1, body: *body };
                // Whoever was sending parts of it finds the file.
                let mut freed = self.drop_session();
                freed.extend(self.store(StoredFile {
                    file_id: file_id.clone(),
                    taken_sha1: Some(*sha1),
                    facts: facts.clone(),
                    parts: vec![part],
                }));
                freed
            }
            Record::Dropped { .. } => self.drop_session(),
            Record::Forgotten { .. } => {
                let freed = self.bodies().collect();
                *self = Self::default();
                freed
            }
        }
    }

    fn store(&mut self, file: StoredFile) -> Vec<BodyId> {
        self.commits += 1;
        let earlier = self.stored.replace(file);
        earlier.map(|file| file.parts.iter().map(|part| part.body).collect()).unwrap_or_default()
    }

    fn drop_session(&mut self) -> Vec<BodyId> {
        let session = self.session.take();
        session.map(|session| session.parts.values().map(|part| part.body).collect()).unwrap_or_default()
    }

    /// The session, if one is open and has not outlived its time.
    #[must_use]
    pub fn session(&self, now: Timestamp, lifetime: Duration) -> Option<&Session> {
        self.session.as_ref().filter(|session| !session.expired(now, lifetime))
    }

    /// Is there a session that has outlived its time, and only takes up room?
    #[must_use]
    pub fn is_outlived(&self, now: Timestamp, lifetime: Duration) -> bool {
        self.session.as_ref().is_some_and(|session| session.expired(now, lifetime))
    }

    /// The session, whatever its age, to take its hash further.
    pub const fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// The file, if it was put together.
    #[must_use]
    pub const fn stored(&self) -> Option<&StoredFile> {
        self.stored.as_ref()
    }

    /// Was there ever anything of it? A request that came to nothing leaves nothing behind.
    #[must_use]
    pub const fn ever_began(&self) -> bool {
        self.sessions > 0 || self.commits > 0
    }

    /// How often the file was put together.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// Every body that belongs to it.
    pub fn bodies(&self) -> impl Iterator<Item = BodyId> {
        let open = self.session.iter().flat_map(|session| session.parts.values());
        let stored = self.stored.iter().flat_map(|file| &file.parts);
        open.chain(stored).map(|part| part.body)
    }

    /// Decides about an `InitUpload`. `instant` says whether a file that is there is answered with code 2.
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
        if let Some(session) = self.session(now, lifetime) {
            same_size(&session.facts, init.file_size, Code::PROTOCOL_PARAMS)?;
            let fresh = session.parts.is_empty() && session.facts.part_size == Some(init.part_size);
            let reply = if fresh { InitReply::Fresh } else { session.resume() };
            return Ok(InitDecision::Answer(reply));
        }
        if let Some(stored) = self.stored.as_ref().filter(|_| instant) {
            same_size(&stored.facts, init.file_size, Code::PROTOCOL_PARAMS)?;
            return Ok(InitDecision::Exists(stored.clone()));
        }
        let opened = Record::Opened { key: key.clone(), at: now, facts: init.into() };
        Ok(InitDecision::Open(opened, InitReply::Fresh))
    }

    /// Decides about an `InitUpload` where a fault insists on a grid. The upload goes on if it is on that grid
    /// already, and otherwise begins anew, as if somebody had begun it so.
    #[must_use]
    pub fn decide_init_on(
        &self,
        key: &UploadKey,
        init: &InitUpload,
        now: Timestamp,
        lifetime: Duration,
        part_size: u64,
    ) -> InitDecision {
        if let Some(session) = self.session(now, lifetime)
            && session.facts.part_size == Some(part_size)
        {
            return InitDecision::Answer(session.resume());
        }
        let facts = Opened { part_size: Some(part_size), ..init.into() };
        let opened = Record::Opened { key: key.clone(), at: now, facts };
        InitDecision::Open(opened, InitReply::Resume { part_size, parts: Vec::new() })
    }

    /// Decides about the head of an `UploadPart`.
    ///
    /// # Errors
    /// If there is no session, or the span is no part of its grid.
    pub fn decide_part(&self, part: &UploadPart, now: Timestamp, lifetime: Duration) -> Result<PartCheck, Rejected> {
        let session = self.session(now, lifetime).ok_or_else(|| no_session(part.file_sha1))?;
        let Grid::Fixed(layout) = session.grid else { return Err(no_session(part.file_sha1)) };
        let tail = PartSpan { offset: layout.file_size(), len: 0 };
        match layout.index_of(part.span) {
            Ok(_) => Ok(PartCheck::Take),
            Err(OffGrid::Outside { .. } | OffGrid::Offset { .. }) if part.span == tail => Ok(PartCheck::EmptyTail),
            Err(off) => Err(refuse(Code::PROTOCOL_PARAMS, off.to_string())),
        }
    }

    /// Decides about the bytes of a part, where those that the file's hash has passed cannot be read again.
    ///
    /// # Errors
    /// If other bytes were passed in its place.
    pub fn decide_unread(&self, span: PartSpan, sha1: Sha1) -> Result<(), Rejected> {
        let Some(session) = self.session.as_ref().filter(|session| session.has_passed(span)) else { return Ok(()) };
        match session.parts.get(&span.offset) {
            Some(earlier) if earlier.sha1 != sha1 => Err(refuse(
                Code::PROTOCOL_PARAMS,
                format!(
                    "the part at offset {} came with SHA-1 {} and now comes with {sha1}: this server keeps digests \
                     alone, and cannot replace bytes that the file's digest has taken in",
                    span.offset, earlier.sha1
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Decides about the head of a `MultipartUploadVodFile`.
    ///
    /// # Errors
    /// If another size was announced for the same digest.
    pub fn decide_next(&self, next: &NextPart, now: Timestamp, lifetime: Duration) -> Result<NextCheck, Rejected> {
        let same_size = |facts| same_size(facts, next.file_size, Code::LEGACY_FILE_SIZE);
        let wanted = match (self.session(now, lifetime), &self.stored) {
            (Some(session), _) => {
                same_size(&session.facts)?;
                session.passed()
            }
            (None, Some(stored)) => {
                same_size(&stored.facts)?;
                return Ok(NextCheck::Exists(stored.file_id.clone()));
            }
            (None, None) => 0,
        };
        Ok(if wanted == next.file_size {
            NextCheck::Complete
        } else if wanted == next.span.offset {
            NextCheck::Take
        } else {
            NextCheck::Wanted(wanted)
        })
    }

    /// Decides about a `FinishUpload`.
    ///
    /// # Errors
    /// If there is neither a session nor a file, or a part is missing: the first missing offset is named.
    pub fn decide_finish(&self, file_sha1: Sha1, now: Timestamp, lifetime: Duration) -> Result<Finish, Rejected> {
        let Some(session) = self.session(now, lifetime) else {
            return self.stored.clone().map(Box::new).map(Finish::Again).ok_or_else(|| no_session(file_sha1));
        };
        if let Some(missing) = session.first_missing() {
            let message = format!("the part at offset {} ({} bytes) is missing", missing.offset, missing.len);
            return Err(refuse(Code::PROTOCOL_PARAMS, message));
        }
        let whole = session.prefix.passed() == session.facts.file_size;
        Ok(if whole { Finish::Whole(session.prefix.sha1()) } else { Finish::Hash })
    }

    /// The id of the file that finishing would make now: decimal digits, the same in every run.
    #[must_use]
    pub fn next_file_id(&self, key: &UploadKey) -> String {
        let mut hash = Sha256::new();
        hash.update(key.account.as_bytes());
        if key.generation == Generation::Legacy {
            hash.update(b"legacy");
        }
        hash.update(key.file_sha1.as_bytes());
        hash.update(self.commits.to_be_bytes());
        let digest = hash.finalize();
        let bytes = [digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]];
        // The highest bit makes it 19 or 20 digits long, like the ids of the real service.
        (u64::from_be_bytes(bytes) | 1 << 63).to_string()
    }
}

fn same_size(facts: &Opened, file_size: u64, code: Code) -> Result<(), Rejected> {
    if facts.file_size == file_size {
        return Ok(());
    }
    let was = facts.file_size;
    Err(refuse(code, format!("parameter fileSize is {file_size}: the same fileSha was announced with {was}")))
}

/// The refusal of a request for an upload that nobody opened, or that is gone.
#[must_use]
pub fn no_session(file_sha1: Sha1) -> Rejected {
    refuse(Code::CACHE_READ, format!("there is no upload of {file_sha1}: call InitUpload or InitUploadEx first"))
}

impl Session {
    fn expired(&self, now: Timestamp, lifetime: Duration) -> bool {
        now.duration_since(self.touched) > jiff::SignedDuration::try_from(lifetime).unwrap_or(jiff::SignedDuration::MAX)
    }

    fn resume(&self) -> InitReply {
        let part_size = self.facts.part_size.unwrap_or_default();
        InitReply::Resume { part_size, parts: self.parts.values().map(KeptPart::listed).collect() }
    }

    /// The list of parts as a fault wants it.
    #[must_use]
    pub fn lie(&self, lie: ListLie) -> Vec<ListedPart> {
        let newest = self.parts.values().max_by_key(|part| part.body).map(|part| part.span.offset);
        let listed = self.parts.values().filter(|part| lie != ListLie::Stale || Some(part.span.offset) != newest);
        let spoilt = |part: &KeptPart| match lie {
            ListLie::Stale => Some(part.listed()),
            ListLie::WithoutMd5 => Some(ListedPart { md5: None, ..part.listed() }),
            ListLie::ShaInsteadOfMd5 => Some(ListedPart { md5: None, sha1: Some(part.sha1), ..part.listed() }),
            ListLie::OtherMd5 => {
                let other = part.md5.map(|md5| Md5::of(md5.as_bytes()));
                Some(ListedPart { md5: other, ..part.listed() })
            }
            ListLie::Empty => None,
        };
        listed.filter_map(spoilt).collect()
    }

    /// How far the file is here without a gap, where parts come in order.
    fn passed(&self) -> u64 {
        self.parts.values().fold(0, |end, part| if part.span.offset == end { part.span.end() } else { end })
    }

    fn first_missing(&self) -> Option<PartSpan> {
        match self.grid {
            Grid::Fixed(layout) => layout.parts().find(|part| !self.parts.contains_key(&part.offset)),
            Grid::InOrder => {
                let (offset, size) = (self.passed(), self.facts.file_size);
                (offset < size).then(|| PartSpan { offset, len: size - offset })
            }
        }
    }

    /// The number of the part at an offset, from 1: on the grid, or in the order that parts came.
    #[must_use]
    pub fn part_number(&self, offset: u64) -> u64 {
        match self.grid {
            Grid::Fixed(layout) => offset / layout.part_size() + 1,
            Grid::InOrder => self.parts.range(..offset).map(|_| 1).sum::<u64>() + 1,
        }
    }

    /// What was said of the file.
    #[must_use]
    pub const fn facts(&self) -> &Opened {
        &self.facts
    }

    /// How many parts are here.
    #[must_use]
    pub fn parts_kept(&self) -> usize {
        self.parts.len()
    }

    /// Has the hash along the prefix passed this part's place?
    #[must_use]
    pub const fn has_passed(&self, span: PartSpan) -> bool {
        span.offset < self.prefix.passed()
    }

    /// The hash along the prefix, and the part it wants next, if that is here.
    #[must_use]
    pub fn next_to_hash(&self) -> (Prefix, Option<KeptPart>) {
        (self.prefix.clone(), self.parts.get(&self.prefix.passed()).copied())
    }

    /// Takes over hashing that was done outside.
    pub fn hashed(&mut self, ahead: Prefix) {
        self.prefix.take_over(ahead);
    }
}

impl StoredFile {
    /// How the server speaks of it.
    #[must_use]
    pub fn reply(&self, app_id: u64) -> Stored {
        let Self { file_id, facts, .. } = self;
        let (host, file_type) = (format!("http://{app_id}.vod2.myqcloud.com/vod{app_id}"), &facts.file.file_type);
        let url = match &facts.file.cover_of {
            Some(video) => format!("{host}/{video}/{file_id}.{file_type}"),
            None => format!("{host}/{file_id}/f0.{file_type}"),
        };
        Stored { url: Some(url), ..Stored::new(file_id) }
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::FileFacts;

    use super::{super::Generation, *};

    const DAY: Duration = Duration::from_secs(86_400);
    const PART: u64 = 524_288;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hours)
    }

    fn key() -> UploadKey {
        UploadKey { account: "demo".to_owned(), generation: Generation::Current, file_sha1: Sha1::of(b"file") }
    }

    fn init(file_size: u64, part_size: u64) -> InitUpload {
        let facts = FileFacts { name: "test".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() };
        InitUpload { facts, file_sha1: key().file_sha1, file_size, part_size }
    }

    /// Parts of one MD5, as they can be made on purpose: only the SHA-1 tells the bytes apart.
    fn part(index: u64, bytes: &[u8]) -> Record {
        let span = PartSpan { offset: index * PART, len: PART };
        Record::Part {
            key: key(),
            at: at(0),
            span,
            md5: Some(Md5::of(b"")),
            sha1: Sha1::of(bytes),
            body: BodyId(index),
        }
    }

    /// An upload of two parts of which these have come.
    fn open(parts: &[u64]) -> Upload {
        let mut upload = Upload::default();
        upload.apply(&Record::Opened { key: key(), at: at(0), facts: (&init(2 * PART, PART)).into() });
        for index in parts {
            upload.apply(&part(*index, b"x"));
        }
        upload
    }

    fn stored() -> Upload {
        let mut upload = open(&[0, 1]);
        upload.apply(&Record::Stored { key: key(), at: at(0), file_id: "7".to_owned() });
        upload
    }

    fn ask(upload: &Upload, init: &InitUpload, hours: i64, instant: bool) -> Result<InitDecision, Rejected> {
        upload.decide_init(&key(), init, at(hours), DAY, instant)
    }

    #[test]
    fn the_first_init_opens_and_the_next_without_parts_is_fresh_again() {
        let first = ask(&Upload::default(), &init(2 * PART, PART), 0, true);
        assert!(matches!(first, Ok(InitDecision::Open(Record::Opened { .. }, InitReply::Fresh))), "{first:?}");
        let again = ask(&open(&[]), &init(2 * PART, PART), 0, true);
        assert_eq!(again, Ok(InitDecision::Answer(InitReply::Fresh)));
    }

    #[test]
    fn the_first_grid_holds_whatever_a_later_init_asks_for() {
        for parts in [&[][..], &[1]] {
            let answer = ask(&open(parts), &init(2 * PART, 2 * PART), 0, true);
            let Ok(InitDecision::Answer(InitReply::Resume { part_size, parts: listed })) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!((part_size, listed.len()), (PART, parts.len()));
        }
    }

    #[test]
    fn another_size_for_the_same_digest_is_refused() {
        for upload in [open(&[0]), stored()] {
            let refused = ask(&upload, &init(2 * PART + 1, PART), 0, true).expect_err("the size differs");
            assert_eq!(refused.code, Code::PROTOCOL_PARAMS);
            assert!(refused.message.contains("1048577") && refused.message.contains("1048576"), "{refused}");
        }
    }

    /// No server writes such records. A finish that took them for a whole file would never come to its end.
    #[test]
    fn parts_in_order_count_as_far_as_they_have_no_gap() {
        let mut upload = Upload::default();
        let facts = Opened { part_size: None, ..(&init(2 * PART, PART)).into() };
        upload.apply(&Record::Opened { key: key(), at: at(0), facts });
        upload.apply(&part(1, b"x"));
        let refused = upload.decide_finish(key().file_sha1, at(0), DAY).expect_err("the first part is missing");
        assert!(refused.message.contains("offset 0 "), "{refused}");
        upload.apply(&part(0, b"y"));
        assert_eq!(upload.decide_finish(key().file_sha1, at(0), DAY), Ok(Finish::Hash));
    }

    #[test]
    fn a_stored_file_is_there_at_once_unless_instant_upload_is_off() {
        assert!(matches!(ask(&stored(), &init(2 * PART, PART), 0, true), Ok(InitDecision::Exists(_))));
        assert!(matches!(ask(&stored(), &init(2 * PART, PART), 0, false), Ok(InitDecision::Open(..))));
    }

    #[test]
    fn a_session_expires_after_its_lifetime() {
        let upload = open(&[0]);
        let part = UploadPart {
            file_sha1: key().file_sha1,
            span: PartSpan { offset: PART, len: PART },
            part_md5: Md5::of(b""),
        };
        assert_eq!(upload.decide_part(&part, at(24), DAY), Ok(PartCheck::Take));
        assert_eq!(upload.decide_part(&part, at(25), DAY).expect_err("expired").code, Code::CACHE_READ);
        assert!(matches!(ask(&upload, &init(2 * PART, PART), 25, true), Ok(InitDecision::Open(..))));
    }

    #[test]
    fn parts_must_lie_on_the_sessions_grid() {
        let upload = open(&[]);
        let check = |offset, len| {
            let part =
                UploadPart { file_sha1: key().file_sha1, span: PartSpan { offset, len }, part_md5: Md5::of(b"") };
            upload.decide_part(&part, at(0), DAY).map_err(|rejected| rejected.code)
        };
        assert_eq!(check(PART, PART), Ok(PartCheck::Take));
        assert_eq!(check(PART, PART - 1), Err(Code::PROTOCOL_PARAMS));
        assert_eq!(check(1, PART), Err(Code::PROTOCOL_PARAMS));
        assert_eq!(check(2 * PART, PART), Err(Code::PROTOCOL_PARAMS));
        assert_eq!(check(2 * PART, 0), Ok(PartCheck::EmptyTail));
    }

    #[test]
    fn a_finish_names_the_first_missing_part_and_is_refused_finally() {
        let refused = open(&[1]).decide_finish(key().file_sha1, at(0), DAY).expect_err("a part is missing");
        assert_eq!((refused.code, refused.can_retry), (Code::PROTOCOL_PARAMS, Some(false)));
        assert!(refused.message.contains("offset 0 "), "{refused}");
    }

    #[test]
    fn a_finish_is_answered_again_after_it_was_done_and_unknown_uploads_are_not_found() {
        assert!(matches!(stored().decide_finish(key().file_sha1, at(0), DAY), Ok(Finish::Again(_))));
        let unknown = Upload::default().decide_finish(key().file_sha1, at(0), DAY).expect_err("unknown");
        assert_eq!((unknown.code, unknown.can_retry), (Code::CACHE_READ, Some(true)));
    }

    #[test]
    fn bytes_that_cannot_be_read_again_are_not_replaced_once_they_were_passed() {
        let mut upload = open(&[0, 1]);
        let span = |index| PartSpan { offset: index * PART, len: PART };
        let other = Sha1::of(b"other");
        assert_eq!(upload.decide_unread(span(0), other), Ok(()), "nothing was passed yet");
        let session = upload.session_mut().expect("open");
        let (mut ahead, _) = session.next_to_hash();
        ahead.absorb(&vec![0; usize::try_from(PART).unwrap()]);
        session.hashed(ahead);
        let refused = upload.decide_unread(span(0), other).expect_err("it was passed");
        assert_eq!((refused.code, refused.can_retry), (Code::PROTOCOL_PARAMS, Some(false)));
        assert!(refused.message.contains("offset 0 ") && refused.message.contains("digests alone"), "{refused}");
        assert_eq!(upload.decide_unread(span(0), Sha1::of(b"x")), Ok(()), "the same bytes");
        assert_eq!(upload.decide_unread(span(1), other), Ok(()), "it is ahead");
    }

    #[test]
    fn a_stored_file_knows_what_its_bytes_made_only_where_they_were_seen() {
        assert_eq!(stored().stored().expect("stored").taken_sha1, None, "its parts come from an earlier life");
        let mut upload = open(&[0, 1]);
        let (mut ahead, _) = upload.session_mut().expect("open").next_to_hash();
        ahead.absorb(&vec![7; usize::try_from(2 * PART).unwrap()]);
        upload.session_mut().expect("open").hashed(ahead);
        upload.apply(&Record::Stored { key: key(), at: at(0), file_id: "7".to_owned() });
        let made = Sha1::of(&vec![7; usize::try_from(2 * PART).unwrap()]);
        assert_eq!(upload.stored().expect("stored").taken_sha1, Some(made), "not what was announced");
    }

    #[test]
    fn a_part_sent_again_replaces_and_frees_the_earlier_one() {
        let mut upload = open(&[0]);
        let session = upload.session_mut().expect("open");
        let (mut ahead, next) = session.next_to_hash();
        assert_eq!(next.map(|part| part.body), Some(BodyId(0)));
        ahead.absorb(&vec![0; usize::try_from(PART).unwrap()]);
        session.hashed(ahead);
        let mut same = part(0, b"x");
        if let Record::Part { body, .. } = &mut same {
            *body = BodyId(9);
        }
        assert_eq!(upload.apply(&same), [BodyId(0)]);
        assert_eq!(upload.session_mut().expect("open").next_to_hash().0.passed(), PART, "the same bytes keep the hash");
        assert_eq!(upload.apply(&part(0, b"y")), [BodyId(9)]);
        assert_eq!(upload.session_mut().expect("open").next_to_hash().0.passed(), 0, "other bytes start it again");
    }
}
