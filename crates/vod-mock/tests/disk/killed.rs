//! A hundred kills at random points: what was acknowledged is there afterwards, and nothing that was never sent.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use vod_serve::clock::fresh_seed;

use crate::{
    child::{Mock, Place, Point, Wire},
    story::{PART, Step, Story},
};

const KILLS: usize = 100;
const CONNECTIONS: usize = 4;

/// A point at which the mock is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Within the n-th head, whatever it asks for.
    MidHead,
    /// Within a part's body.
    MidBody,
    /// A part is sent, and its reply is not there.
    PartSent,
    /// A part's reply is there: others are on their way.
    PartAcknowledged,
    /// An upload is being opened.
    InitSent,
    /// A file is being put together.
    FinishSent,
    /// A file was put together: other uploads go on.
    FinishAcknowledged,
    /// It has just been started, on what the last kill left.
    Starting,
}

const MOMENTS: [Moment; 8] = [
    Moment::MidHead,
    Moment::MidBody,
    Moment::PartSent,
    Moment::PartAcknowledged,
    Moment::InitSent,
    Moment::FinishSent,
    Moment::FinishAcknowledged,
    Moment::Starting,
];

/// One kill that is to come.
struct Kill {
    victim: Pid,
    moment: Moment,
    /// How many such moments pass before it.
    after: AtomicUsize,
    /// How often whoever kills goes round in a circle before: a fraction of a millisecond.
    rounds: usize,
    done: AtomicBool,
}

impl Kill {
    fn at(&self, moment: Moment) {
        if moment != self.moment || self.after.fetch_sub(1, Ordering::Relaxed) != 0 {
            return;
        }
        (0..self.rounds).for_each(|_| std::hint::spin_loop());
        self.done.store(true, Ordering::SeqCst);
        kill_process(self.victim, Signal::KILL).unwrap();
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// Sends one request after another until the mock is gone.
fn client(addr: &str, story: &Mutex<Story>, kill: &Kill) {
    let mut wire = match Wire::connect(addr) {
        Ok(wire) => wire,
        Err(_) if kill.is_done() => return,
        Err(error) => panic!("{error}"),
    };
    while !kill.is_done() {
        let (step, request) = story.lock().unwrap().next();
        let told = |point| match (point, &step) {
            (Point::Head, _) => kill.at(Moment::MidHead),
            (Point::Body, _) => kill.at(Moment::MidBody),
            (Point::Sent, Step::Init(_)) => kill.at(Moment::InitSent),
            (Point::Sent, Step::Part(..)) => kill.at(Moment::PartSent),
            (Point::Sent, Step::Finish(_)) => kill.at(Moment::FinishSent),
        };
        match wire.ask(&request, told) {
            Ok(reply) => story.lock().unwrap().acknowledged(&step, &reply),
            Err(_) if kill.is_done() => return,
            Err(error) => panic!("{} was not answered: {error}", request.line),
        }
        match step {
            Step::Init(_) => {}
            Step::Part(..) => kill.at(Moment::PartAcknowledged),
            Step::Finish(_) => kill.at(Moment::FinishAcknowledged),
        }
    }
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged_and_leave_nothing_that_was_never_sent() {
    let seed = std::env::var("VOD_TEST_SEED").map_or_else(|_| fresh_seed(), |seed| seed.parse().unwrap());
    eprintln!("VOD_TEST_SEED={seed}");
    let place = Place::new(PART);
    let story = Mutex::new(Story::new(ChaCha8Rng::seed_from_u64(seed)));
    for life in 0..KILLS {
        let moment = MOMENTS[life % MOMENTS.len()];
        let (after, rounds) = {
            let mut story = story.lock().unwrap();
            let after = match moment {
                Moment::MidHead | Moment::MidBody | Moment::PartSent | Moment::PartAcknowledged => story.below(16),
                Moment::InitSent | Moment::FinishSent | Moment::FinishAcknowledged => story.below(3),
                Moment::Starting => 0,
            };
            let most = [1, 300, 3_000, 30_000][story.below(4)];
            (after, story.below(most))
        };
        eprintln!("life {life} ends at {moment:?} number {after}, after {rounds} rounds");
        if moment == Moment::Starting {
            let mock = Mock::starting(place.mock());
            (0..rounds * 20).for_each(|_| std::hint::spin_loop());
            drop(mock);
        } else {
            let mock = place.start(place.mock());
            let (after, done) = (AtomicUsize::new(after), AtomicBool::new(false));
            let kill = Kill { victim: mock.pid(), moment, after, rounds, done };
            std::thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(|| client(mock.addr(), &story, &kill));
                }
            });
            assert!(kill.is_done(), "nobody killed it");
        }

        let mock = place.start(place.mock());
        let bodies = story.lock().unwrap().check(&mut mock.connect());
        assert_eq!(place.bodies(), (bodies, 0));
    }
    let mock = place.start(place.mock());
    let mut story = story.into_inner().unwrap();
    story.end(&mut mock.connect());
    eprintln!("{:?}", story.tally);
    assert!(story.tally.parts_acknowledged > 300 && story.tally.finishes_acknowledged > 50, "{:?}", story.tally);
    assert!(story.tally.unacknowledged_and_there > 0, "no kill struck between a commit and its reply");
    assert!(story.tally.unacknowledged_and_gone > 0, "no kill struck before a commit");
}
