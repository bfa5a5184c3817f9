//! The suite proves itself: told with a client or a mock that makes one classic mistake, a scenario that is about it turns
//! red, and so does chaos. Only in tests, which alone are built with such clients and mocks.
//!
//! Which mistake is made is a matter of the thread, so that other tests run beside it: see `vod_client::mutant`.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use expect_test::expect_file;
use strum::{EnumMessage as _, VariantArray as _};
use vod_client::mutant::{self as client, Mutant as Client};
use vod_mock::mutant::{self as mock, Mutant as Mock};

use crate::{
    chaos,
    evidence::Target,
    format::Scenario,
    judge::{Check, Judgement, Layer},
    library,
    run::{self, Named, RunResult, Settings},
};

/// How many seeds chaos has for each mistake: some seconds of a debug build for one that takes them all.
const SEEDS: u64 = 200;

/// What stands around the table in the page.
const MARKS: [&str; 2] = ["<!-- mutations -->\n", "<!-- /mutations -->\n"];

/// Work that is done on another thread, with the mistake that is made on this one.
pub(crate) fn inherited<T>(work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static {
    let here = Mutation::here();
    move || here.during(work)
}

/// A mistake, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    None,
    Client(Client),
    Mock(Mock),
}

impl Mutation {
    fn all() -> Vec<Self> {
        let clients = Client::VARIANTS.iter().copied().map(Self::Client);
        clients.chain(Mock::VARIANTS.iter().copied().map(Self::Mock)).collect()
    }

    fn here() -> Self {
        match (client::here(), mock::here()) {
            (Some(mutant), _) => Self::Client(mutant),
            (None, Some(mutant)) => Self::Mock(mutant),
            (None, None) => Self::None,
        }
    }

    /// Does something with the mistake made on this thread.
    fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let enter = |mutation| {
            client::enter(if let Self::Client(mutant) = mutation { Some(mutant) } else { None });
            mock::enter(if let Self::Mock(mutant) = mutation { Some(mutant) } else { None });
        };
        let before = Self::here();
        enter(self);
        let done = work();
        enter(before);
        done
    }

    fn id(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client(mutant) => mutant.into(),
            Self::Mock(mutant) => mutant.into(),
        }
    }

    fn says(self) -> &'static str {
        let says = match self {
            Self::None => Some("Nothing is wrong."),
            Self::Client(mutant) => mutant.get_documentation(),
            Self::Mock(mutant) => mutant.get_documentation(),
        };
        says.expect("a mistake without a word of documentation does not compile")
    }

    /// The scenarios that are about it: each must turn red.
    const fn scenarios(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Client(mutant) => of_client(mutant),
            Self::Mock(mutant) => of_mock(mutant),
        }
    }

    /// Why chaos cannot see it, where it cannot.
    const fn beyond_chaos(self) -> Option<&'static str> {
        match self {
            Self::Client(Client::SlowTakenForStalled) => {
                Some("no: parts of chaos are shorter than the frame by which a client sees what moves")
            }
            _ => None,
        }
    }
}

const fn of_client(mutant: Client) -> &'static [&'static str] {
    match mutant {
        Client::FinishBeforeLastAck => &["finish-is-tried-again"],
        Client::ListIgnored => &["resume-list-stale", "dropped-part"],
        Client::ListTrusted => &["resume-list-unusable[list=other-md5]"],
        Client::OwnGridKept => &["another-grid"],
        Client::ExistsNotUnderstood => &["instant-upload", "lost-finish-reply[family=server,do=reset]"],
        Client::FailedPartForgotten => &["retry-cache-errors", "refused-connections"],
        Client::FinalRefusalOverheard | Client::FinalRefusalTriedAgain => &["final-error-is-final"],
        Client::OneFailedPartStopsAll => &["one-failed-part-spares-the-others"],
        Client::RetriedPartCut => &["retried-part-is-whole"],
        Client::PartsSentTwice => &["plain-upload[family=server]"],
        Client::ParallelUnbounded => &["resume-list-stale"],
        Client::AttemptsTripled => &["retry-gives-up"],
        Client::BudgetEndless => &["retries-are-budgeted"],
        Client::BackoffNone => &["retry-cache-errors"],
        Client::RetryAfterIgnored => &["retry-after-a-refusal-of-http"],
        Client::QuotaNotWaitedFor => &["legacy-quota-waits"],
        Client::RetryNotSignedAnew => &["retry-is-signed-anew"],
        Client::LostFinishIsSuccess | Client::LostFinishIsFailure => {
            &["lost-finish-not-committed", "lost-finish-reply[family=server,do=reset]"]
        }
        Client::MaybeNeverSaid => &["lost-finish-unclear", "legacy-lost-replies-unclear"],
        Client::StallUnnoticed => &["stalled-part"],
        Client::SlowTakenForStalled => &["slow-is-not-stalled"],
        Client::PartMd5Wrong | Client::FileSha1Wrong | Client::SecretLogged | Client::TaskLeftBehind => {
            &["plain-upload[family=server]"]
        }
        Client::CoverForgotten => &["cover", "cover-three-steps"],
        Client::OffsetIgnored => &["legacy-dropped-part"],
        Client::GarbagePanics => &["garbled-replies"],
    }
}

const fn of_mock(mutant: Mock) -> &'static [&'static str] {
    match mutant {
        Mock::PartNotKept | Mock::BitsRot => &["plain-upload[family=server]"],
        Mock::BodiesNeverFreed | Mock::MismatchCommitted => &["corrupted-part"],
        Mock::PartLostOnRestart | Mock::JournalLostOnRestart => &["legacy-resume-after-mock-crash"],
        Mock::FinishLostOnRestart => &["mock-crash-after-finish[family=server]"],
        Mock::GapCommitted => &["dropped-part"],
        Mock::FinishCommitsAgain => &["finish-refused-when-done[family=server]"],
        Mock::FileNotRecognised | Mock::OtherFileId => &["instant-upload"],
        Mock::ListStale | Mock::ListShifted => &["lost-finish-not-committed"],
        Mock::SessionNeverDropped => &["expired-session"],
        Mock::AnyPartTaken => &["legacy-dropped-part"],
        Mock::SignaturesUnchecked => &["ugc-signature-expires"],
        Mock::FaultOneTooLate | Mock::FaultStrikesTwice => &["retry-cache-errors"],
    }
}

/// What became of a mistake.
struct Row {
    mutation: Mutation,
    /// What of each scenario that is about it was broken; nothing where it stayed green.
    scenarios: Vec<(&'static str, Option<String>)>,
    /// What the first seed that saw it broke.
    chaos: Option<String>,
}

impl Row {
    fn of(mutation: Mutation, stories: &[Scenario]) -> Self {
        let scenarios = mutation.scenarios().iter().map(|name| (*name, mutation.during(|| broken_by(name))));
        let chaos = mutation.during(|| chaos::first_breach(stories));
        Self { mutation, scenarios: scenarios.collect(), chaos }
    }

    /// What the suite has missed.
    fn missed(&self) -> Vec<String> {
        let id = self.mutation.id();
        let mut missed = Vec::new();
        if self.scenarios.is_empty() {
            missed.push(format!("{id}: no scenario is about it"));
        }
        let green = self.scenarios.iter().filter(|(_, broken)| broken.is_none());
        missed.extend(green.map(|(name, _)| format!("{id}: the scenario {name} stayed green")));
        match (&self.chaos, self.mutation.beyond_chaos()) {
            (None, None) => missed.push(format!("{id}: {SEEDS} seeds of chaos stayed green")),
            (Some(broken), Some(_)) => missed.push(format!("{id}: chaos cannot see it, and saw {broken}")),
            _ => {}
        }
        missed
    }

    fn line(&self) -> String {
        let scenarios = self.scenarios.iter().map(|(name, broken)| {
            let broken = broken.as_deref().unwrap_or("**nothing**");
            format!("`{name}`: {broken}")
        });
        let chaos = self.chaos.as_ref().map(|broken| format!("`{broken}`"));
        let chaos = chaos.or_else(|| self.mutation.beyond_chaos().map(str::to_owned));
        format!(
            "| `{}` | {} | {} | {} |",
            self.mutation.id(),
            self.mutation.says(),
            scenarios.collect::<Vec<_>>().join("<br>"),
            chaos.unwrap_or_else(|| "**nothing**".to_owned())
        )
    }
}

/// A scenario, of a matrix one cell.
fn story(name: &str) -> Named {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(library::DIR);
    let found = library::load(&library, name).unwrap_or_else(|error| panic!("{error}"));
    let [found] = &found[..] else { panic!("{name} is {} cells", found.len()) };
    found.story.clone()
}

/// What a scenario says is broken.
fn broken_by(name: &str) -> Option<String> {
    match run::run(&story(name), Target::Sim, &Settings::default()).result {
        RunResult::Judged(judged) => against(&judged.judgement),
        RunResult::ControlUnhealthy(judged) => {
            against(&judged.judgement).map(|broken| format!("{broken}, without any fault"))
        }
        RunResult::NotRun(why) => Some(why.to_string()),
        RunResult::Skipped(why) => panic!("{name} is not told in simulation: {why}"),
    }
}

/// The invariants that are broken; where none is, what else is.
fn against(judgement: &Judgement) -> Option<String> {
    let of = |layer| judgement.against().map(|(check, _)| check).filter(move |check: &&Check| check.layer == layer);
    let invariants: Vec<_> = of(Layer::Invariants).map(|check| format!("`{}`", check.name)).collect();
    if !invariants.is_empty() {
        return Some(invariants.join(", "));
    }
    let first = of(Layer::Outcome).next().or_else(|| of(Layer::Wire).next());
    first.map(|check| check.name.clone())
}

/// What became of every mistake, on as many threads as there are processors.
fn rows() -> Vec<Row> {
    let (all, stories) = (Mutation::all(), chaos::stories(SEEDS));
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutation) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = Row::of(*mutation, &stories);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| all.iter().position(|mutation| *mutation == row.mutation));
    rows
}

fn table(rows: &[Row]) -> String {
    let of = |who: &str, rows: &mut dyn Iterator<Item = &Row>| {
        let lines: Vec<_> = rows.map(Row::line).collect();
        format!(
            "\n### What {who} may do wrong\n\n| mistake | what it does | scenario: what it breaks | chaos |\n|---|---|---|---|\n{}\n\n",
            lines.join("\n")
        )
    };
    let is_client = |row: &&Row| matches!(row.mutation, Mutation::Client(_));
    let clients = of("a client", &mut rows.iter().filter(is_client));
    let mocks = of("a mock", &mut rows.iter().filter(|row| !is_client(row)));
    format!("{clients}{}", mocks.trim_start())
}

#[test]
fn every_mistake_is_seen_by_a_scenario_and_by_chaos() {
    let rows = rows();
    let missed: Vec<_> = rows.iter().flat_map(Row::missed).collect();
    assert!(missed.is_empty(), "the suite has missed:\n{}", missed.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (head, rest) = page.split_once(MARKS[0]).expect("the page has a place for the table");
    let (_, tail) = rest.split_once(MARKS[1]).expect("the table has an end");
    expect_file![path].assert_eq(&format!("{head}{}{}{}{tail}", MARKS[0], table(&rows), MARKS[1]));
}

/// Otherwise the mistakes would not be what turns them red.
#[test]
fn without_a_mistake_the_same_is_green() {
    let names: BTreeSet<_> = Mutation::all().into_iter().flat_map(|mutation| mutation.scenarios()).collect();
    let red: Vec<_> = names.into_iter().filter_map(|name| Some((name, broken_by(name)?))).collect();
    assert_eq!(red, [], "scenarios that are red without any mistake");
    // All of the seeds are green in the test of chaos itself.
    assert_eq!(chaos::first_breach(&chaos::stories(20)), None);
}

#[test]
fn a_mistake_that_nothing_sees_is_told() {
    let mutation = Mutation::Client(Client::BackoffNone);
    let row = Row { mutation, scenarios: vec![("plain-upload", None)], chaos: None };
    assert_eq!(
        row.missed(),
        ["backoff-none: the scenario plain-upload stayed green", "backoff-none: 200 seeds of chaos stayed green"]
    );
    assert!(row.line().ends_with("| `plain-upload`: **nothing** | **nothing** |"), "{}", row.line());
    let row = Row { mutation: Mutation::None, scenarios: Vec::new(), chaos: Some("heals".to_owned()) };
    assert_eq!(row.missed(), ["none: no scenario is about it"]);
}

#[test]
fn a_mistake_is_made_on_its_own_thread_alone() {
    let mutation = Mutation::Mock(Mock::BitsRot);
    mutation.during(|| {
        assert_eq!(std::thread::spawn(inherited(Mutation::here)).join().ok(), Some(mutation));
        assert_eq!(std::thread::spawn(Mutation::here).join().ok(), Some(Mutation::None));
    });
    assert_eq!(Mutation::here(), Mutation::None);
}

#[test]
fn no_two_mistakes_have_one_name() {
    let ids: BTreeSet<_> = Mutation::all().into_iter().map(Mutation::id).collect();
    assert_eq!(ids.len(), Client::VARIANTS.len() + Mock::VARIANTS.len());
}
