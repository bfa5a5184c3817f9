//! Bodies: in memory up to a ceiling, behind it in a temporary file.
//!
//! What is in memory is copied once, as it comes in, and read without a copy and without another thread.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Staging, nothing_at,
    spill::{Extent, Spill},
};
use crate::core::BodyId;

/// How long a piece in memory is at most, in bytes. Default 64 KiB: so much memory is held for nothing at most by a
/// body, and so seldom is it asked for.
const PIECE_MOST: usize = 64 << 10;

/// How long a piece in memory is at least, in bytes. Default 4 KiB, for bodies that trickle in.
const PIECE_LEAST: usize = 4 << 10;

/// Bodies by their number.
pub(super) struct Bodies {
    room: Arc<Room>,
    spill: Arc<Spill>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bodies: BTreeMap<BodyId, Arc<Pieces>>,
    last: u64,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bodies {
    /// With so many bytes in memory at most, those included that are still coming in.
    pub(super) fn new(ceiling: u64) -> Self {
        Self::with(ceiling, Spill::default())
    }

    fn with(ceiling: u64, spill: Spill) -> Self {
        let room = Arc::new(Room { ceiling, used: AtomicU64::new(0) });
        Self { room, spill: Arc::new(spill), kept: Arc::default() }
    }

    /// Begins to take in a body.
    pub(super) fn stage(&self) -> Box<dyn Staging> {
        Box::new(Incoming {
            room: Arc::clone(&self.room),
            spill: Arc::clone(&self.spill),
            kept: Arc::clone(&self.kept),
            pieces: Pieces::default(),
            open: Open::None,
        })
    }

    /// Reads what is at hand together.
    pub(super) async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        let pieces = lock(&self.kept).bodies.get(&body).cloned().ok_or(io::ErrorKind::NotFound)?;
        let Some((n, within)) = pieces.find(offset) else { return Ok(Bytes::new()) };
        if let Place::Memory(bytes, _) = &pieces.pieces[n].place {
            let from = usize::try_from(within).map_err(io::Error::other)?;
            return Ok(bytes.slice(from..bytes.len().min(from.saturating_add(len))));
        }
        let read = move || match &pieces.pieces[n].place {
            Place::File(extent) => extent.read(within, len),
            Place::Memory(..) => Err(io::ErrorKind::NotFound.into()),
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// Gives up a body.
    pub(super) fn discard(&self, body: BodyId) {
        let given_up = lock(&self.kept).bodies.remove(&body);
        // Not under the lock: the file may be cut short by it.
        drop(given_up);
    }

    /// How many bytes are taken up, in memory and in the file.
    pub(super) fn held(&self) -> u64 {
        self.room.used.load(Ordering::Relaxed) + self.spill.end()
    }

    /// Gives up every body.
    pub(super) fn clear(&self) {
        let given_up = std::mem::take(&mut lock(&self.kept).bodies);
        drop(given_up);
    }
}

/// How much memory may be used.
struct Room {
    ceiling: u64,
    used: AtomicU64,
}

impl Room {
    fn reserve(self: &Arc<Self>, len: usize) -> Option<Reserved> {
        let len = len as u64;
        let fits = |used: u64| used.checked_add(len).filter(|sum| *sum <= self.ceiling);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reserved { room: Arc::clone(self), len })
    }
}

/// Memory that is accounted for, given back when it is dropped.
struct Reserved {
    room: Arc<Room>,
    len: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// A body, piece by piece.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Piece>,
    len: u64,
}

struct Piece {
    /// Where it begins in the body.
    start: u64,
    place: Place,
}

enum Place {
    Memory(Bytes, Reserved),
    File(Extent),
}

impl Pieces {
    fn push(&mut self, place: Place) {
        let len = match &place {
            Place::Memory(bytes, _) => bytes.len() as u64,
            Place::File(extent) => extent.filled(),
        };
        self.pieces.push(Piece { start: self.len, place });
        self.len += len;
    }

    /// Which piece holds this byte, and where in it.
    fn find(&self, offset: u64) -> Option<(usize, u64)> {
        let n = self.pieces.partition_point(|piece| piece.start <= offset).checked_sub(1)?;
        (offset < self.len).then(|| (n, offset - self.pieces[n].start))
    }
}

/// A body that is coming in.
struct Incoming {
    room: Arc<Room>,
    spill: Arc<Spill>,
    kept: Arc<Mutex<Kept>>,
    /// What is full.
    pieces: Pieces,
    open: Open,
}

/// The piece that the next bytes go to.
enum Open {
    None,
    Memory(BytesMut, Reserved),
    File(Extent),
}

impl Incoming {
    /// Closes the open piece.
    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::None) {
            Open::None => {}
            Open::Memory(bytes, reserved) => self.pieces.push(Place::Memory(bytes.freeze(), reserved)),
            Open::File(mut extent) => {
                extent.shrink();
                self.pieces.push(Place::File(extent));
            }
        }
    }

    /// A piece for this many bytes, or for their beginning.
    fn begin(&self, len: usize) -> Open {
        let capacity = len.clamp(PIECE_LEAST, PIECE_MOST);
        match self.room.reserve(capacity) {
            Some(reserved) => Open::Memory(BytesMut::with_capacity(capacity), reserved),
            None => Open::File(self.spill.extent(len as u64)),
        }
    }
}

#[async_trait]
impl Staging for Incoming {
    async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::mem::replace(&mut self.open, Open::None) {
                Open::None => self.open = self.begin(bytes.len()),
                Open::Memory(mut piece, reserved) => {
                    let fits = bytes.len().min(piece.capacity() - piece.len());
                    piece.extend_from_slice(&bytes[..fits]);
                    bytes.advance(fits);
                    self.open = Open::Memory(piece, reserved);
                }
                Open::File(extent) => {
                    let fits = bytes.len().min(usize::try_from(extent.room()).unwrap_or(usize::MAX));
                    self.open = Open::File(extent.append(bytes.split_to(fits)).await?);
                }
            }
            let full = match &self.open {
                Open::None => false,
                Open::Memory(piece, _) => piece.len() == piece.capacity(),
                Open::File(extent) => extent.room() == 0,
            };
            if full {
                self.close();
            }
        }
        Ok(())
    }

    async fn flip(&mut self, offset: u64) -> io::Result<()> {
        self.close();
        let (n, within) = self.pieces.find(offset).ok_or_else(|| nothing_at(offset))?;
        let Piece { start, place } = self.pieces.pieces.remove(n);
        let place = match place {
            Place::Memory(bytes, reserved) => {
                let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                let at = usize::try_from(within).map_err(io::Error::other)?;
                bytes[at] = !bytes[at];
                Place::Memory(bytes.freeze(), reserved)
            }
            Place::File(extent) => Place::File(extent.flip(within).await?),
        };
        self.pieces.pieces.insert(n, Piece { start, place });
        Ok(())
    }

    async fn keep(mut self: Box<Self>) -> io::Result<BodyId> {
        self.close();
        let mut kept = lock(&self.kept);
        kept.last += 1;
        let body = BodyId(kept.last);
        kept.bodies.insert(body, Arc::new(std::mem::take(&mut self.pieces)));
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    async fn read_all(bodies: &Bodies, body: BodyId, piece: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = bodies.read(body, bytes.len() as u64, piece).await.expect("it is kept");
            if more.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(&more);
        }
    }

    fn used(bodies: &Bodies) -> (u64, u64) {
        (bodies.room.used.load(Ordering::Relaxed), bodies.spill.end())
    }

    fn on_a_runtime<T>(run: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime").block_on(run)
    }

    /// A simulation has one thread and a clock that runs ahead while nobody works.
    #[test]
    fn below_the_ceiling_nothing_waits_for_another_thread() {
        let bodies = Bodies::new(1 << 20);
        let mut staged = bodies.stage();
        let bytes = Bytes::from(vec![7; 200_000]);
        staged.write(bytes.clone()).now_or_never().expect("at once").expect("it is taken in");
        staged.flip(150_000).now_or_never().expect("at once").expect("it is there");
        let body = staged.keep().now_or_never().expect("at once").expect("it is kept");
        let read = read_all(&bodies, body, usize::MAX).now_or_never().expect("at once");
        assert_eq!((read.len(), read[150_000], read[149_999]), (200_000, !7, 7));
        assert_eq!(used(&bodies).1, 0, "nor is there a file");
    }

    #[test]
    fn what_is_in_memory_is_read_without_a_copy() {
        let bodies = Bodies::new(1 << 20);
        let mut staged = bodies.stage();
        staged.write(Bytes::from(vec![7; 100_000])).now_or_never().expect("at once").expect("it is taken in");
        let body = staged.keep().now_or_never().expect("at once").expect("it is kept");
        let read = || bodies.read(body, 70_000, 1 << 20).now_or_never().expect("at once").expect("it is kept");
        assert_eq!(read().as_ptr(), read().as_ptr());
    }

    #[test]
    fn a_body_beyond_the_ceiling_goes_to_the_file_and_leaves_nothing_there() {
        on_a_runtime(async {
            let bodies = Bodies::new(PIECE_MOST as u64);
            let bytes: Vec<u8> = (0..500_000_u32).map(|n| n.to_be_bytes()[3]).collect();
            let mut staged = bodies.stage();
            for piece in bytes.chunks(PIECE_MOST / 2) {
                staged.write(Bytes::copy_from_slice(piece)).await.expect("it is taken in");
            }
            let memory = PIECE_MOST as u64;
            assert!(used(&bodies).1 > 500_000 - memory, "{:?}", used(&bodies));
            let body = staged.keep().await.expect("it is kept");
            assert_eq!(used(&bodies), (memory, 500_000 - memory), "what was not filled was given back");
            assert_eq!(read_all(&bodies, body, 7_777).await, bytes);
            let file = bodies.spill.file().expect("there is one");
            assert!(file.metadata().expect("it is open").len() > 0);
            bodies.discard(body);
            assert_eq!((used(&bodies), file.metadata().expect("it is open").len()), ((0, 0), 0));
        });
    }

    #[test]
    fn a_body_that_does_not_fit_on_the_disk_is_an_error_and_leaves_nothing() {
        on_a_runtime(async {
            let full = std::fs::File::options().read(true).write(true).open("/dev/full").expect("a full disk");
            let bodies = Bodies::with(PIECE_MOST as u64, Spill::into(full));
            let mut staged = bodies.stage();
            let error = staged.write(Bytes::from(vec![7; 100_000])).await.expect_err("the disk is full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            drop(staged);
            assert_eq!(used(&bodies), (0, 0));
            let mut staged = bodies.stage();
            staged.write(Bytes::from(vec![7; 10_000])).await.expect("there is room in memory");
            let body = staged.keep().await.expect("it is kept");
            assert_eq!(read_all(&bodies, body, 10_000).await.len(), 10_000);
        });
    }

    /// Whoever is given a stretch of the file must not find somebody else still writing to it, or reading from it.
    #[test]
    fn a_stretch_of_the_file_is_given_back_when_no_thread_works_on_it_any_more() {
        on_a_runtime(async {
            let bodies = Bodies::new(0);
            let mut staged = bodies.stage();
            staged.write(Bytes::from(vec![7; 1000])).await.expect("it is taken in");
            let body = staged.keep().await.expect("it is kept");
            // The one thread that may block does, until it is told otherwise.
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let mut staged = bodies.stage();
            assert!(staged.write(Bytes::from(vec![8; 1000])).now_or_never().is_none());
            drop(staged);
            assert!(bodies.read(body, 0, 1000).now_or_never().is_none());
            bodies.discard(body);
            assert!(used(&bodies).1 > 1000, "both were given up, and both are waited for");
            go_on.send(()).expect("it waits");
            busy.await.expect("it ended").expect("it was told");
            // What waits behind it is done, in turn, before this is.
            tokio::task::spawn_blocking(|| ()).await.expect("it ended");
            assert_eq!(used(&bodies).1, 0);
        });
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Flip(usize, prop::sample::Index),
        Keep(usize),
        GiveUp(usize),
        Discard(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = (0..20_000_usize, any::<u8>())
            .prop_map(|(len, first)| (0..len).map(|n| first.wrapping_add(n.to_le_bytes()[0])).collect());
        prop_oneof![
            6 => (0..3_usize, bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            2 => (0..3_usize, any::<prop::sample::Index>()).prop_map(|(at, byte)| Step::Flip(at, byte)),
            2 => (0..3_usize).prop_map(Step::Keep),
            1 => (0..3_usize).prop_map(Step::GiveUp),
            1 => any::<prop::sample::Index>().prop_map(Step::Discard),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bodies_read_back_as_they_came_wherever_they_are(
            ceiling in prop_oneof![Just(0), Just(30_000_u64), Just(1 << 20)],
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            on_a_runtime(async {
                let bodies = Bodies::new(ceiling);
                let mut incoming: Vec<(Box<dyn Staging>, Vec<u8>)> = (0..3).map(|_| (bodies.stage(), vec![])).collect();
                let mut kept: Vec<(BodyId, Vec<u8>)> = Vec::new();
                for step in steps {
                    match step {
                        Step::Write(at, bytes) => {
                            incoming[at].0.write(Bytes::copy_from_slice(&bytes)).await?;
                            incoming[at].1.extend(bytes);
                        }
                        Step::Flip(at, byte) => {
                            let (staged, model) = &mut incoming[at];
                            let byte = byte.index(model.len() + 1);
                            prop_assert_eq!(staged.flip(byte as u64).await.is_ok(), byte < model.len());
                            if let Some(byte) = model.get_mut(byte) {
                                *byte = !*byte;
                            }
                        }
                        Step::Keep(at) => {
                            let (staged, model) = std::mem::replace(&mut incoming[at], (bodies.stage(), vec![]));
                            kept.push((staged.keep().await?, model));
                        }
                        Step::GiveUp(at) => incoming[at] = (bodies.stage(), vec![]),
                        Step::Discard(which) if !kept.is_empty() => {
                            let (body, _) = kept.swap_remove(which.index(kept.len()));
                            bodies.discard(body);
                            prop_assert!(bodies.read(body, 0, 1).await.is_err());
                        }
                        Step::Discard(_) => {}
                    }
                    prop_assert!(used(&bodies).0 <= ceiling);
                }
                for (body, model) in &kept {
                    prop_assert_eq!(&read_all(&bodies, *body, 9_999).await, model);
                }
                bodies.clear();
                drop(incoming);
                prop_assert_eq!(used(&bodies), (0, 0));
                Ok(())
            })?;
        }
    }
}
