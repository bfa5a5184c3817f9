//! The records of one upload, without those that nothing depends on any more.

use std::collections::BTreeMap;

use super::Record;

/// What is to be remembered of an upload: as much as is alive of it, however long its story is.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// How often a file was put together before the one that is there. The ids of later ones depend on it.
    earlier: u64,
    /// What made the file that is there.
    file: Option<Life>,
    /// What made the session that is open.
    session: Option<Life>,
    /// A session that came to nothing, as long as nothing else tells that there ever was one.
    dropped: Option<[Record; 2]>,
}

/// The records of one session, or of one file.
#[derive(Clone, Debug)]
struct Life {
    /// What began it, or all of it where a file came whole.
    first: Record,
    /// Its parts by their offset, each with its place in the order they came in.
    parts: BTreeMap<u64, (u64, Record)>,
    came: u64,
    /// What ended it.
    end: Option<Record>,
}

impl Life {
    const fn new(first: Record) -> Self {
        Self { first, parts: BTreeMap::new(), came: 0, end: None }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        let mut parts: Vec<_> = self.parts.values().collect();
        parts.sort_by_key(|(came, _)| *came);
        let parts = parts.into_iter().map(|(_, record)| record);
        std::iter::once(&self.first).chain(parts).chain(&self.end)
    }
}

impl History {
    /// Takes in the next record.
    pub(crate) fn push(&mut self, record: Record) {
        match record {
            Record::Opened { .. } => self.session = Some(Life::new(record)),
            Record::Part { span, .. } => {
                if let Some(session) = &mut self.session {
                    session.came += 1;
                    session.parts.insert(span.offset, (session.came, record));
                }
            }
            Record::Stored { .. } => {
                if let Some(session) = self.session.take() {
                    self.keep(Life { end: Some(record), ..session });
                }
            }
            Record::Whole { .. } => {
                self.session = None;
                self.keep(Life::new(record));
            }
            Record::Dropped { .. } => {
                if let Some(session) = self.session.take() {
                    self.dropped = Some([session.first, record]);
                }
            }
            Record::Forgotten { .. } => *self = Self::default(),
        }
    }

    fn keep(&mut self, file: Life) {
        self.earlier += u64::from(self.file.replace(file).is_some());
    }

    /// Records that make the same upload as all that were taken in.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(file) = &self.file {
            for _ in 0..self.earlier {
                records.extend(std::iter::once(&file.first).chain(&file.end).cloned());
            }
            records.extend(file.records().cloned());
        }
        match (&self.session, &self.dropped) {
            (Some(session), _) => records.extend(session.records().cloned()),
            (None, Some(dropped)) if self.file.is_none() => records.extend(dropped.iter().cloned()),
            (None, _) => {}
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use vod_proto::{FileFacts, PartSpan, Sha1};

    use super::{
        super::{BodyId, Generation, Opened, Upload, UploadKey},
        *,
    };

    const PART: u64 = 524_288;
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

    fn key() -> UploadKey {
        UploadKey { account: "demo".to_owned(), generation: Generation::Current, file_sha1: Sha1::of(b"file") }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Opened,
        Part(u64, u8),
        Stored,
        Whole,
        Dropped,
        Forgotten,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Opened),
            6 => (0..3_u64, 0..3_u8).prop_map(|(index, bytes)| Step::Part(index, bytes)),
            2 => Just(Step::Stored),
            1 => Just(Step::Whole),
            1 => Just(Step::Dropped),
            1 => Just(Step::Forgotten),
        ]
    }

    /// The n-th record, a day after the one before.
    fn record(n: usize, step: Step) -> Record {
        let n = u64::try_from(n).unwrap();
        let at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * i64::try_from(n).unwrap());
        let file = FileFacts { name: format!("name {n}"), file_type: "mp4".to_owned(), ..FileFacts::default() };
        let facts = Opened { file, file_size: 3 * PART, part_size: Some(PART) };
        let (key, body, file_id) = (key(), BodyId(n), n.to_string());
        match step {
            Step::Opened => Record::Opened { key, at, facts },
            Step::Part(index, bytes) => {
                let span = PartSpan { offset: index * PART, len: PART };
                Record::Part { key, at, span, md5: None, sha1: Sha1::of(&[bytes]), body }
            }
            Step::Stored => Record::Stored { key, at, file_id },
            Step::Whole => Record::Whole { key, at, facts, sha1: Sha1::of(b"whole"), body, file_id },
            Step::Dropped => Record::Dropped { key },
            Step::Forgotten => Record::Forgotten { key },
        }
    }

    fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Upload {
        let mut upload = Upload::default();
        for record in records {
            upload.apply(record);
        }
        upload
    }

    /// Everything that an answer, a later id, a view or the freeing of bodies may depend on.
    fn seen(upload: &Upload, now: Timestamp) -> String {
        let session = upload.session(now, 3 * DAY);
        format!(
            "{:?} {:?} {} {} {:?} {:?} {:?} {}",
            upload.stored(),
            upload.bodies().collect::<Vec<_>>(),
            upload.commits(),
            upload.ever_began(),
            session.map(|session| (session.facts(), session.parts_kept(), session.next_to_hash().1)),
            upload.decide_finish(key().file_sha1, now, 3 * DAY),
            upload.next_file_id(&key()),
            upload.is_outlived(now, 3 * DAY),
        )
    }

    proptest! {
        #[test]
        fn what_is_remembered_makes_the_same_upload_and_no_more_than_is_alive(
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            let mut history = History::default();
            let mut all = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                history.push(record(n, step));
                all.push(record(n, step));
                let (whole, short) = (fold(&all), fold(&history.records()));
                for days in 0..6 {
                    let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * (i64::try_from(n).unwrap() + days));
                    prop_assert_eq!(seen(&whole, now), seen(&short, now), "after {:?} a day {}", &all, days);
                }
                // A file's and a session's two ends each, and a session that came to nothing.
                let held = [&history.file, &history.session].into_iter().flatten().map(|life| life.records().count());
                prop_assert!(held.sum::<usize>() <= whole.bodies().count() + 3, "{history:?}");
            }
        }
    }
}
