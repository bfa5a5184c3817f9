//! What a mock was sent, what it acknowledged, and whether what is there fits that.

use std::collections::BTreeMap;

use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use serde_json::Value;
use vod_proto::{Md5, Sha1};

use crate::child::{Request, Wire, code, finish, init, part, views};

/// The size of parts, in bytes.
pub(crate) const PART: usize = 32_768;

/// How many uploads are open at once.
const OPEN: usize = 3;

/// What happened so far.
pub(crate) struct Story {
    dice: ChaCha8Rng,
    uploads: BTreeMap<Sha1, Upload>,
    made: u32,
    pub(crate) tally: Tally,
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) parts_acknowledged: u32,
    pub(crate) finishes_acknowledged: u32,
    /// Cut short by a kill, and there afterwards all the same.
    pub(crate) unacknowledged_and_there: u32,
    /// Cut short by a kill, and not there.
    pub(crate) unacknowledged_and_gone: u32,
}

/// What is known of a step that was taken once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known<T> {
    /// It was not taken.
    No,
    /// It was taken, and nobody knows what came of it.
    Maybe,
    /// It was acknowledged.
    Yes(T),
}

struct Upload {
    bytes: Vec<u8>,
    opened: Known<()>,
    parts: Vec<Part>,
    /// With the id of the file.
    finished: Known<String>,
    /// The file was asked for after it was finished, and there.
    confirmed: bool,
}

#[derive(Default)]
struct Part {
    /// What is there for certain, unless it was replaced by what may be there.
    held: Option<Md5>,
    /// What was sent and not acknowledged.
    maybe: Option<Md5>,
}

/// Something to do.
pub(crate) enum Step {
    Init(Sha1),
    /// Which part, and the MD5 of what is sent.
    Part(Sha1, usize, Md5),
    Finish(Sha1),
}

impl Upload {
    fn part(&self, index: usize) -> &[u8] {
        &self.bytes[index * PART..self.bytes.len().min((index + 1) * PART)]
    }

    /// The parts that may be sent, and whether they are there as they should be.
    fn idle_parts(&self) -> Vec<(usize, bool)> {
        let idle = self.parts.iter().enumerate().filter(|(_, part)| part.maybe.is_none());
        idle.map(|(index, part)| (index, part.held == Some(Md5::of(self.part(index))))).collect()
    }
}

impl Story {
    pub(crate) fn new(dice: ChaCha8Rng) -> Self {
        Self { dice, uploads: BTreeMap::new(), made: 0, tally: Tally::default() }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.next_u32()).unwrap() % end
    }

    /// What to do next, beside everything that is being done.
    pub(crate) fn next(&mut self) -> (Step, Request) {
        let open: Vec<Sha1> = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.opened == Known::Yes(()) && upload.finished == Known::No)
            .map(|(sha1, _)| *sha1)
            .collect();
        let chosen = self.below(OPEN);
        let Some(&sha1) = open.get(chosen) else { return self.open() };
        let idle = self.uploads[&sha1].idle_parts();
        let wrong: Vec<usize> = idle.iter().filter(|(_, right)| !right).map(|(index, _)| *index).collect();
        if idle.is_empty() {
            return self.open();
        }
        // Now and then what is there is sent again.
        let again = self.below(8) == 0;
        if wrong.is_empty() && idle.len() == self.uploads[&sha1].parts.len() && !again {
            self.uploads.get_mut(&sha1).unwrap().finished = Known::Maybe;
            return (Step::Finish(sha1), finish(sha1));
        }
        let from = if wrong.is_empty() || again { idle.iter().map(|(index, _)| *index).collect() } else { wrong };
        let index = from[self.below(from.len())];
        let spoil = self.below(6) == 0;
        let upload = self.uploads.get_mut(&sha1).unwrap();
        let mut body = upload.part(index).to_vec();
        if spoil {
            body[0] = !body[0];
        }
        let md5 = Md5::of(&body);
        upload.parts[index].maybe = Some(md5);
        (Step::Part(sha1, index, md5), part(sha1, index * PART, &body))
    }

    fn open(&mut self) -> (Step, Request) {
        self.made += 1;
        let len = (self.below(4) + 1) * PART - self.below(PART - 1);
        let mut bytes = vec![0; len];
        self.dice.fill_bytes(&mut bytes);
        let sha1 = Sha1::of(&bytes);
        let parts = bytes.chunks(PART).map(|_| Part::default()).collect();
        let upload = Upload { bytes, opened: Known::Maybe, parts, finished: Known::No, confirmed: false };
        self.uploads.insert(sha1, upload);
        (Step::Init(sha1), init(sha1, len, PART))
    }

    /// The whole reply to a step was read.
    pub(crate) fn acknowledged(&mut self, step: &Step, reply: &Value) {
        assert_eq!(code(reply), 0, "{reply}");
        match step {
            Step::Init(sha1) => self.uploads.get_mut(sha1).unwrap().opened = Known::Yes(()),
            Step::Part(sha1, index, md5) => {
                let part = &mut self.uploads.get_mut(sha1).unwrap().parts[*index];
                *part = Part { held: Some(*md5), maybe: None };
                self.tally.parts_acknowledged += 1;
            }
            Step::Finish(sha1) => {
                let file_id = reply["fileId"].as_str().unwrap().to_owned();
                self.uploads.get_mut(sha1).unwrap().finished = Known::Yes(file_id);
                self.tally.finishes_acknowledged += 1;
            }
        }
    }

    /// Compares all that is there with what was acknowledged and what was sent. What nobody knew is known then.
    /// Returns how many bodies should be kept.
    pub(crate) fn check(&mut self, wire: &mut Wire) -> usize {
        let views = wire.get(&views(false));
        let mut views: BTreeMap<Sha1, &Value> = views
            .as_array()
            .unwrap()
            .iter()
            .map(|view| (view["file-sha1"].as_str().unwrap().parse().unwrap(), view))
            .collect();
        let tally = &mut self.tally;
        let mut bodies = 0;
        self.uploads.retain(|sha1, upload| {
            let Some(view) = views.remove(sha1) else {
                assert_eq!(upload.opened, Known::Maybe, "upload {sha1} was acknowledged and is gone");
                tally.unacknowledged_and_gone += 1;
                return false;
            };
            tally.unacknowledged_and_there += u32::from(upload.opened == Known::Maybe);
            upload.opened = Known::Yes(());
            match view["state"].as_str().unwrap() {
                "open" => check_open(*sha1, upload, tally, wire),
                "stored" => check_stored(*sha1, upload, view, tally, wire),
                other => panic!("upload {sha1} is {other}"),
            }
            assert_eq!(view["parts"], upload.parts.iter().filter(|part| part.held.is_some()).count());
            bodies += upload.parts.iter().filter(|part| part.held.is_some()).count();
            true
        });
        assert!(views.is_empty(), "nobody ever opened {views:?}");
        bodies
    }

    /// Ends every upload that is open, and has the mock read every file again.
    pub(crate) fn end(&mut self, wire: &mut Wire) {
        for (sha1, upload) in &mut self.uploads {
            if upload.finished != Known::No {
                continue;
            }
            for (index, right) in upload.idle_parts() {
                if !right {
                    let body = upload.part(index);
                    assert_eq!(code(&wire.get(&part(*sha1, index * PART, body))), 0);
                }
            }
            let reply = wire.get(&finish(*sha1));
            assert_eq!(code(&reply), 0, "the parts that were acknowledged do not make the file: {reply}");
        }
        let views = wire.get(&views(true));
        for view in views.as_array().unwrap() {
            assert_eq!(view["stored-sha1"], view["file-sha1"], "{view}");
        }
        assert_eq!(views.as_array().unwrap().len(), self.uploads.len());
    }
}

fn check_open(sha1: Sha1, upload: &mut Upload, tally: &mut Tally, wire: &mut Wire) {
    assert!(!matches!(upload.finished, Known::Yes(_)), "the finish of {sha1} was acknowledged, and it is open");
    tally.unacknowledged_and_gone += u32::from(upload.finished == Known::Maybe);
    upload.finished = Known::No;
    let reply = wire.get(&init(sha1, upload.bytes.len(), PART));
    let mut listed: BTreeMap<usize, Md5> = BTreeMap::new();
    for part in reply["listParts"].as_array().into_iter().flatten() {
        let offset = usize::try_from(part["offset"].as_u64().unwrap()).unwrap();
        listed.insert(offset / PART, part["dataMd5"].as_str().unwrap().parse().unwrap());
    }
    assert_eq!(code(&reply), i64::from(!listed.is_empty()), "{reply}");
    for (index, part) in upload.parts.iter_mut().enumerate() {
        let there = listed.remove(&index);
        assert!(
            there == part.held || there.is_some() && there == part.maybe,
            "part {index} of {sha1} is {there:?}: {:?} was acknowledged, {:?} sent after that",
            part.held,
            part.maybe
        );
        if part.maybe.is_some() && part.maybe != part.held {
            let counted = if there == part.maybe {
                &mut tally.unacknowledged_and_there
            } else {
                &mut tally.unacknowledged_and_gone
            };
            *counted += 1;
        }
        *part = Part { held: there, maybe: None };
    }
    assert!(listed.is_empty(), "{sha1} has no parts {listed:?}");
}

fn check_stored(sha1: Sha1, upload: &mut Upload, view: &Value, tally: &mut Tally, wire: &mut Wire) {
    let file_id = view["file-id"].as_str().unwrap();
    assert_eq!(view["commits"], 1, "{view}");
    match &upload.finished {
        Known::No => panic!("nobody finished {sha1}, and it is stored"),
        Known::Maybe => tally.unacknowledged_and_there += 1,
        Known::Yes(acknowledged) => assert_eq!(acknowledged, file_id),
    }
    if !upload.confirmed {
        let (again, exists) = (wire.get(&finish(sha1)), wire.get(&init(sha1, upload.bytes.len(), PART)));
        assert_eq!((code(&again), again["fileId"].as_str()), (0, Some(file_id)), "{again}");
        assert_eq!((code(&exists), exists["fileId"].as_str()), (2, Some(file_id)), "{exists}");
    }
    upload.confirmed = true;
    upload.finished = Known::Yes(file_id.to_owned());
}
