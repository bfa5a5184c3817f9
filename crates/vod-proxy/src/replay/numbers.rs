//! The number of a part, by which faults select: nobody here keeps a session, so the recorded ones say.

use std::collections::{BTreeMap, BTreeSet};

use vod_proto::{
    Action, Exchange, Family, PartSpan, Sha1,
    action::Role,
    reply::{InitReply, Reply},
};

/// How the parts of recorded uploads are numbered.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The size of the parts of an upload, in bytes, where it has a grid.
    grids: BTreeMap<Sha1, u64>,
    /// The offsets that its parts were sent at, where it has none.
    offsets: BTreeMap<Sha1, BTreeSet<u64>>,
}

impl Numbers {
    pub(super) fn of<'e>(exchanges: impl Iterator<Item = &'e Exchange>) -> Self {
        let (mut numbers, mut said) = (Self::default(), BTreeSet::new());
        for exchange in exchanges {
            let (Some(action), Some(sha1)) = (exchange.known_action(), exchange.file_sha1) else { continue };
            match (action.role(), exchange.part) {
                // The server has the last word on the size, and the client the first.
                (Role::Open, _) => {
                    let answered = match exchange.parsed_reply() {
                        Some(Reply::Init(InitReply::Resume { part_size, .. })) => Some(part_size),
                        _ => None,
                    };
                    let asked = || exchange.path_and_query().1.get("dataSize")?.parse().ok();
                    if let Some(size) = answered.or_else(asked).filter(|size| *size > 0) {
                        numbers.grids.insert(sha1, size);
                        said.insert(sha1);
                    }
                }
                (_, Some(part)) if action.family() == Family::Legacy => {
                    numbers.offsets.entry(sha1).or_default().insert(part.offset);
                }
                // Where nobody said, as in a recording that begins in the middle: none but the last part is shorter.
                (_, Some(part)) if part.len > 0 && !said.contains(&sha1) => {
                    let longest = numbers.grids.entry(sha1).or_default();
                    *longest = part.len.max(*longest);
                }
                _ => {}
            }
        }
        numbers
    }

    /// The number of a part, from 1; none where nothing is known of its upload.
    pub(super) fn number(&self, action: Option<Action>, upload: Option<Sha1>, part: PartSpan) -> Option<u64> {
        let upload = upload?;
        if action?.family() == Family::Legacy {
            let before = self.offsets.get(&upload)?.range(..part.offset).map(|_| 1).sum::<u64>();
            return Some(before + 1);
        }
        self.grids.get(&upload).map(|size| part.offset / size + 1)
    }
}
