//! What is over, one exchange after the other, for whoever reads along.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use vod_proto::Exchange;

use super::{
    Journal, Whose,
    packed::Packed,
    shelf::{Over, Shelves},
};

/// How many exchanges a follower takes at once, so that it seldom stands in the way of requests.
const AT_ONCE: usize = 64;

/// From where on a follower reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From the oldest that is still kept.
    Beginning,
    /// Only what ends from now on.
    Now,
}

/// What a follower reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// An exchange that is over. It will not change any more.
    Exchange(Arc<Exchange>),
    /// So many exchanges were dropped before they could be read here: evicted, or forgotten by a reset.
    Missed(u64),
}

/// Reads each exchange once, when it is over, in the order in which exchanges end.
///
/// It reads at its own pace and holds nobody up. What it has not read yet stands in the journal, whose memory is
/// bounded: a follower that is too slow is told how many it [missed](Followed::Missed), before what comes next.
pub struct Follower {
    journal: Arc<Journal>,
    id: u64,
    taken: VecDeque<Arc<Packed>>,
}

impl Follower {
    pub(super) const fn new(journal: Arc<Journal>, id: u64) -> Self {
        Self { journal, id, taken: VecDeque::new() }
    }

    /// The next one; none when the server has stopped and everything was read that was over by then.
    ///
    /// Safe to drop at any time: nothing is lost by it.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            if let Some(packed) = self.taken.pop_front() {
                return Some(Followed::Exchange(Arc::new(packed.exchange())));
            }
            let more = self.journal.followed.notified();
            tokio::pin!(more);
            // Before the look, so that no end between look and wait is missed.
            more.as_mut().enable();
            let look = self.journal.look(self.id);
            match look {
                Look::Missed(number) => return Some(Followed::Missed(number)),
                Look::Taken(taken) => self.taken = taken,
                Look::Nothing => more.await,
                Look::Over => return None,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.journal.forget(self.id);
    }
}

/// What there is for a follower.
pub(super) enum Look {
    Missed(u64),
    Taken(VecDeque<Arc<Packed>>),
    /// Not yet.
    Nothing,
    /// Nor will there be.
    Over,
}

/// Everybody who reads along.
#[derive(Default)]
pub(super) struct Followers {
    next_id: u64,
    all: BTreeMap<u64, Place>,
}

/// How far one has come.
struct Place {
    whose: Whose,
    /// It has taken, or missed, what ended up to here.
    taken_to: u64,
    /// It reads no further than this, because the server stopped then.
    until: Option<u64>,
    missed: u64,
}

impl Followers {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// This is not kept any more.
    pub(super) fn dropped(&mut self, over: &Over) {
        for place in self.all.values_mut() {
            let to_be_read = over.end > place.taken_to && place.until.is_none_or(|until| over.end <= until);
            if to_be_read && place.whose.is(over.packed.account.as_deref()) {
                place.missed += 1;
            }
        }
    }

    /// The server stops: nobody reads further than to what is over by now.
    pub(super) fn stop(&mut self, ends: u64) {
        for place in self.all.values_mut() {
            place.until.get_or_insert(ends);
        }
    }

    /// A new one.
    pub(super) fn follow(&mut self, whose: Whose, taken_to: u64, until: Option<u64>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.all.insert(id, Place { whose, taken_to, until, missed: 0 });
        id
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.all.remove(&id);
    }

    pub(super) fn look(&mut self, id: u64, shelves: &Shelves) -> Look {
        let Some(place) = self.all.get_mut(&id) else { return Look::Over };
        let missed = std::mem::take(&mut place.missed);
        if missed > 0 {
            return Look::Missed(missed);
        }
        let mut taken = VecDeque::new();
        // The next one of each shelf, by its place in the order of ends, with those behind it.
        let mut heads = BTreeMap::new();
        for (_, shelf) in shelves.of_whom(&place.whose) {
            let mut unread = shelf.after(place.taken_to);
            if let Some(head) = unread.next() {
                heads.insert(head.end, (head, unread));
            }
        }
        while taken.len() < AT_ONCE
            && let Some((end, (head, mut unread))) = heads.pop_first()
            && place.until.is_none_or(|until| end <= until)
        {
            place.taken_to = end;
            taken.push_back(Arc::clone(&head.packed));
            if let Some(head) = unread.next() {
                heads.insert(head.end, (head, unread));
            }
        }
        match (taken.is_empty(), place.until) {
            (false, _) => Look::Taken(taken),
            (true, Some(_)) => Look::Over,
            (true, None) => Look::Nothing,
        }
    }
}
