//! Which part is where: to be sent, in flight, waiting for its next attempt, held by the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vod_proto::{Layout, Md5, PartSpan, reply::ListedPart};

use super::retry::Tries;
use crate::error::Failure;

/// The most parts a grid may have. A million parts of the documented size are half a terabyte; a reply that claims a
/// finer grid would have us allocate by its word.
const PARTS_MAX: u64 = 1_000_000;

/// The longest part in bytes, 64 MiB. Parts are read into memory: with the most in flight they take 4 GiB, and a reply
/// that claims a coarser grid would have us take more by its word.
pub(crate) const PART_SIZE_MAX: u64 = 64 << 20;

/// Where one part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Here, to be sent.
    Local,
    /// The server says it has it, with these bytes; not yet compared.
    Listed(Md5),
    /// A request or a comparison is under way.
    InFlight,
    /// Its next attempt has its time.
    Waiting,
    /// The server acknowledged these bytes, or listed them and they are ours.
    Held(Md5),
    /// Given up.
    Failed,
}

/// A part that is not tried any more.
#[derive(Clone, Debug)]
pub(crate) struct FailedPart {
    pub(crate) span: PartSpan,
    pub(crate) failure: Failure,
    pub(crate) tries: Tries,
    /// When it was given up.
    pub(crate) at: Duration,
}

/// What to do with the part that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send { index: u64, span: PartSpan },
    Compare { index: u64, span: PartSpan, md5: Md5 },
}

/// What is kept beside a part while it is being tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trying {
    pub(crate) tries: Tries,
    /// How often in a row the server said that it has no such session.
    pub(crate) vanished: u32,
}

/// The parts of one opened upload.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    layout: Layout,
    places: Vec<Place>,
    /// Every part before this one has been picked at least once.
    fresh_from: u64,
    waiting: BTreeSet<(Duration, u64)>,
    trying: BTreeMap<u64, Trying>,
    failed: BTreeMap<u64, FailedPart>,
    held: u64,
    listed: u64,
}

impl Parts {
    /// Lays out a file, with nothing on the server.
    pub(crate) fn fresh(file_size: u64, part_size: u64) -> Result<Self, Failure> {
        let fits = |layout: &Layout| layout.count() <= PARTS_MAX && part_size.min(file_size) <= PART_SIZE_MAX;
        let layout = Layout::new(file_size, part_size).filter(fits).ok_or_else(|| {
            let expected = format!("expected at most {PARTS_MAX} parts, of at most {PART_SIZE_MAX} bytes");
            Failure::Malformed(format!("parts of {part_size} bytes: {expected}"))
        })?;
        Ok(Self {
            layout,
            places: layout.parts().map(|_| Place::Local).collect(),
            fresh_from: 0,
            waiting: BTreeSet::new(),
            trying: BTreeMap::new(),
            failed: BTreeMap::new(),
            held: 0,
            listed: 0,
        })
    }

    /// Lays out a file of which the server has parts.
    ///
    /// Only what is a part of the grid, with an MD5, can be compared with the local bytes; all else is sent.
    /// Bytes that were sent or compared before, in `earlier`, need no second look.
    pub(crate) fn resumed(
        file_size: u64,
        part_size: u64,
        listed: &[ListedPart],
        earlier: Option<&Self>,
    ) -> Result<Self, Failure> {
        let mut parts = Self::fresh(file_size, part_size)?;
        let earlier = earlier.filter(|earlier| earlier.layout == parts.layout);
        for part in listed {
            let (Some(len), Some(md5)) = (part.len, part.md5) else { continue };
            let Ok(index) = parts.layout.index_of(PartSpan { offset: part.offset, len }) else { continue };
            let known = earlier.and_then(|earlier| match earlier.place(index) {
                Place::Held(md5) => Some(md5),
                _ => None,
            });
            *parts.place_mut(index) = match known {
                Some(known) if known == md5 => Place::Held(md5),
                Some(_) => Place::Local,
                None => Place::Listed(md5),
            };
        }
        parts.held = parts.count_places(|place| matches!(place, Place::Held(_)));
        parts.listed = parts.count_places(|place| matches!(place, Place::Held(_) | Place::Listed(_)));
        Ok(parts)
    }

    fn count_places(&self, which: impl Fn(&Place) -> bool) -> u64 {
        self.places.iter().filter(|place| which(place)).map(|_| 1).sum()
    }

    fn at(index: u64) -> usize {
        usize::try_from(index).expect("a grid has at most PARTS_MAX parts")
    }

    fn place(&self, index: u64) -> Place {
        self.places[Self::at(index)]
    }

    fn place_mut(&mut self, index: u64) -> &mut Place {
        &mut self.places[Self::at(index)]
    }

    pub(crate) const fn part_size(&self) -> u64 {
        self.layout.part_size()
    }

    pub(crate) const fn count(&self) -> u64 {
        self.layout.count()
    }

    /// How many the server said it has.
    pub(crate) const fn listed(&self) -> u64 {
        self.listed
    }

    /// The bytes of the parts that the server is known to have.
    pub(crate) fn held_bytes(&self) -> u64 {
        let spans = self.layout.parts().zip(&self.places);
        spans.filter(|(_, place)| matches!(place, Place::Held(_))).map(|(span, _)| span.len).sum()
    }

    pub(crate) fn span(&self, index: u64) -> PartSpan {
        self.layout.part(index).expect("an index that this grid gave out")
    }

    /// Does the server have every part?
    pub(crate) const fn complete(&self) -> bool {
        self.held == self.layout.count()
    }

    pub(crate) const fn failed(&self) -> &BTreeMap<u64, FailedPart> {
        &self.failed
    }

    /// The part to do something with now, and marks it as in flight. What waited goes first.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Next> {
        if let Some(&(at, index)) = self.waiting.first()
            && at <= now
        {
            self.waiting.pop_first();
            *self.place_mut(index) = Place::InFlight;
            return Some(Next::Send { index, span: self.span(index) });
        }
        while self.fresh_from < self.count() {
            let index = self.fresh_from;
            self.fresh_from += 1;
            let span = self.span(index);
            let next = match self.place(index) {
                Place::Local => Next::Send { index, span },
                Place::Listed(md5) => Next::Compare { index, span, md5 },
                Place::InFlight | Place::Waiting | Place::Held(_) | Place::Failed => continue,
            };
            *self.place_mut(index) = Place::InFlight;
            return Some(next);
        }
        None
    }

    /// When the next waiting part is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(at, _)| *at)
    }

    pub(crate) fn trying(&mut self, index: u64) -> &mut Trying {
        self.trying.entry(index).or_default()
    }

    /// The server has it.
    pub(crate) fn hold(&mut self, index: u64, md5: Md5) {
        self.trying.remove(&index);
        *self.place_mut(index) = Place::Held(md5);
        self.held += 1;
    }

    /// It is sent (again) at this time.
    pub(crate) fn wait(&mut self, index: u64, at: Duration) {
        *self.place_mut(index) = Place::Waiting;
        self.waiting.insert((at, index));
    }

    /// It is not tried any more.
    pub(crate) fn fail(&mut self, index: u64, failure: Failure, now: Duration) {
        let tries = self.trying.remove(&index).unwrap_or_default().tries;
        let failed = FailedPart { span: self.span(index), failure, tries, at: now };
        *self.place_mut(index) = Place::Failed;
        self.failed.insert(index, failed);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn listed(offset: u64, len: u64, bytes: &[u8]) -> ListedPart {
        ListedPart { offset, len: Some(len), md5: Some(Md5::of(bytes)), sha1: None }
    }

    /// What is done with the parts of 25 bytes on a grid of 10.
    #[track_caller]
    fn check(list: &[ListedPart], earlier: Option<&Parts>, expected: Expect) {
        let mut parts = Parts::resumed(25, 10, list, earlier).unwrap();
        let todo = std::iter::from_fn(|| parts.next(NOW)).map(|next| match next {
            Next::Send { span, .. } => format!("send {span}"),
            Next::Compare { span, .. } => format!("compare {span}"),
        });
        expected.assert_eq(&todo.collect::<Vec<_>>().join(", "));
    }

    #[test]
    fn what_is_not_listed_is_sent_and_what_is_listed_is_compared() {
        check(&[], None, expect!["send 0+10, send 10+10, send 20+5"]);
        check(&[listed(10, 10, b"x")], None, expect!["send 0+10, compare 10+10, send 20+5"]);
        check(&[listed(20, 5, b"x"), listed(0, 10, b"x")], None, expect!["compare 0+10, send 10+10, compare 20+5"]);
    }

    #[test]
    fn what_cannot_be_compared_is_sent() {
        let without_md5 = ListedPart { md5: None, ..listed(0, 10, b"") };
        let without_len = ListedPart { len: None, ..listed(10, 10, b"") };
        let too_long = listed(20, 10, b"");
        let off_grid = listed(5, 10, b"");
        let outside = listed(30, 10, b"");
        check(
            &[without_md5, without_len, too_long, off_grid, outside],
            None,
            expect!["send 0+10, send 10+10, send 20+5"],
        );
    }

    #[test]
    fn what_was_acknowledged_needs_no_second_look_and_what_differs_is_sent() {
        let mut earlier = Parts::fresh(25, 10).unwrap();
        earlier.hold(0, Md5::of(b"same"));
        earlier.hold(1, Md5::of(b"ours"));
        let list = [listed(0, 10, b"same"), listed(10, 10, b"theirs"), listed(20, 5, b"new")];
        check(&list, Some(&earlier), expect!["send 10+10, compare 20+5"]);
        let other_grid = Parts::fresh(25, 5).unwrap();
        check(&list, Some(&other_grid), expect!["compare 0+10, compare 10+10, compare 20+5"]);
    }

    #[test]
    fn a_grid_that_would_exhaust_memory_is_refused() {
        assert!(matches!(Parts::fresh(1 << 40, 1), Err(Failure::Malformed(_))));
        assert!(matches!(Parts::fresh(10, 0), Err(Failure::Malformed(_))));
        assert!(matches!(Parts::fresh(1 << 40, PART_SIZE_MAX + 1), Err(Failure::Malformed(_))));
        assert!(Parts::fresh(1 << 40, PART_SIZE_MAX).is_ok());
        assert!(Parts::fresh(PART_SIZE_MAX, 1 << 40).is_ok(), "no part of it is longer than the file");
        assert!(Parts::fresh(1_000_000, 1).is_ok());
    }

    #[test]
    fn waiting_parts_go_first_once_they_are_due() {
        let mut parts = Parts::fresh(25, 10).unwrap();
        assert!(matches!(parts.next(NOW), Some(Next::Send { index: 0, .. })));
        parts.wait(0, Duration::from_secs(1));
        assert_eq!(parts.next_due(), Some(Duration::from_secs(1)));
        assert!(matches!(parts.next(NOW), Some(Next::Send { index: 1, .. })), "part 0 is not due");
        assert!(matches!(parts.next(Duration::from_secs(1)), Some(Next::Send { index: 0, .. })), "now it is");
    }
}
