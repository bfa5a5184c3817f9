//! From a seed to a story: the same story on every machine, for ever.
//!
//! Each thing is drawn from a stream of its own, so that one more draw here changes nothing there.
//! A seed also draws which kinds of fault are on at all (a *swarm*): with all of them on, the loudest would hide the rest.

use std::{collections::BTreeSet, time::Duration};

use vod_proto::{Family, Limits, Sha1, Size, action::Role, rules::Profile};
use vod_serve::fault::{Fault, Phase, Selector};

use super::{
    cell::{Cell, Possible},
    dice::Dice,
    kind::Kind,
};
use crate::{
    format::{Client, Dialect, Exception, FORMAT, Faults, Mock, Scenario, Source, Step, StepExpect},
    source,
};

/// How long a step with faults may take. Virtual time costs nothing, and six attempts that each stall for half a minute,
/// part after part, are long: what is looked for is who never ends.
const WITHIN: Duration = Duration::from_secs(6 * 3600);

/// How long the last step may take, whose faults are off: as long as a file says where it says nothing.
const HEALS_WITHIN: Duration = Duration::from_secs(60);

/// The parts of a drawn upload, at most: enough to be in flight four at a time for a while.
const PARTS_MOST: u64 = 24;

/// The largest part, in bytes. Small parts make a simulated upload a matter of a millisecond.
const PART_MOST: u64 = 8 << 10;

/// How often a fault is drawn again that could never strike, before it is left out.
const REDRAWN_MOST: usize = 20;

/// The phases that are drawn from. What is done and not known to be done is where most mistakes are made.
const PHASES: [Phase; 7] = [
    Phase::BeforeRead,
    Phase::MidBody,
    Phase::BeforeCommit,
    Phase::AfterCommit,
    Phase::AfterCommit,
    Phase::AfterCommit,
    Phase::MidReply,
];

/// The story of a seed. `possible` are the cells that seeds are aimed at, each at one.
pub(super) fn story(seed: u64, possible: &[Possible]) -> Scenario {
    let dice = |name| Dice::of(seed, name);
    // Not by the seed's own digits: a shard that takes every n-th seed must come by all of them.
    let aimed = aim(&mut dice("aim"), possible);
    let client = client(&mut dice("client"), aimed);
    let whole = client.cover_of.is_some();
    let (size, part, limits) = sizes(&mut dice("size"), &client);
    let token_life = token_life(&mut dice("token"), client.family);
    let client = Client { part_size: Size::new(part), token_life, ..client };
    let mut scenario = Scenario {
        format: FORMAT,
        why: format!(
            "Drawn by chance, from seed {seed}: whatever strikes, the invariants hold, and what is broken heals."
        ),
        tags: vec!["chaos".to_owned()],
        within: WITHIN,
        faults_drawn: true,
        source: Source {
            size: Size::new(size),
            seed: dice("source").within(0, u64::from(u32::MAX)),
            claims_source: false,
        },
        mock: mock(&mut dice("mock"), &client),
        client,
        limits,
        ..Scenario::empty()
    };
    if !scenario.mock.instant_upload {
        scenario = scenario.with_exceptions(vec![Exception {
            invariant: "one-commit".to_owned(),
            on: None,
            because: "instant upload is off: by design the same file is stored again when it is uploaded again"
                .to_owned(),
        }]);
    }
    let mut steps = Vec::new();
    for _ in 0..dice("steps").within(1, 3) {
        steps.push(Step::upload(StepExpect::Any));
    }
    steps.push(Step { faults: Faults::Off, within: Some(HEALS_WITHIN), ..Step::upload(StepExpect::There) });
    let scenario = scenario.with_steps(steps);
    let mut drawing = Drawing { seed, scenario, faults: Vec::new() };
    if let Some(aimed) = aimed {
        drawing.aimed(aimed);
    }
    let swarm = swarm(&mut dice("swarm"));
    // What is behind many other faults is seldom reached: some seeds go straight for the request that commits.
    let commits = aimed.is_some_and(|aimed| aimed.cell.action.role() == Role::Finish);
    let alone = commits && dice("alone").percent(60);
    let most = if alone { 0 } else { dice("faults").rather_small(0, 6) };
    for number in 1..=most {
        drawing.fault(number, &swarm, whole);
    }
    let Drawing { mut scenario, faults, .. } = drawing;
    // In the legacy family nobody can tell which part is damaged: whoever finds out is refused for good, and the server
    // lets go of all of it, so that the next one begins anew.
    let corrupts = faults.iter().any(|fault| Kind::of(&fault.verdict) == Kind::Corrupt);
    if corrupts && scenario.client.family == Family::Legacy {
        let mut steps: Vec<_> = scenario.steps().cloned().collect();
        let finds_out = steps.last().cloned().map(|last| Step { expect: Some(StepExpect::Any), ..last });
        steps.splice(steps.len() - 1..steps.len() - 1, finds_out);
        scenario = scenario.with_steps(steps);
    }
    scenario.with_faults(faults)
}

/// The cell that a seed is aimed at: first of which kind, for some kinds have fifty cells and others two. The request that
/// commits, and what is done and not known to be done, are where most mistakes are made: they are aimed at more often.
fn aim<'a>(dice: &mut Dice, possible: &'a [Possible]) -> Option<&'a Possible> {
    let kinds: BTreeSet<_> = possible.iter().map(|possible| Kind::of(&possible.fault.verdict)).collect();
    let kinds: Vec<_> = kinds.into_iter().collect();
    let kind = (!kinds.is_empty()).then(|| *dice.one(&kinds))?;
    let mut cells: Vec<_> = possible.iter().filter(|possible| Kind::of(&possible.fault.verdict) == kind).collect();
    let (commits, done) = (dice.percent(30), dice.percent(30));
    let wanted = |possible: &&Possible| {
        let Cell { action, phase, .. } = possible.cell;
        (!commits || action.role() == Role::Finish) && (!done || phase == Phase::AfterCommit)
    };
    if cells.iter().any(wanted) {
        cells.retain(wanted);
    }
    Some(*dice.one(&cells))
}

/// Which kinds are on: each with the same chance, and never none.
fn swarm(dice: &mut Dice) -> Vec<Kind> {
    let share = *dice.one(&[10, 30, 60, 100]);
    let on: Vec<_> = Kind::ALL.into_iter().filter(|_| dice.percent(share)).collect();
    if on.is_empty() { vec![*dice.one(&Kind::ALL)] } else { on }
}

/// Who uploads: as the cell needs it that is aimed at.
fn client(dice: &mut Dice, aimed: Option<&Possible>) -> Client {
    let drawn = *dice.one(&[Family::Server, Family::Server, Family::Server, Family::Ugc, Family::Ugc, Family::Legacy]);
    let family = aimed.map_or(drawn, |aimed| aimed.cell.action.family());
    let sent_whole =
        aimed.is_some_and(|aimed| ![family.open(), family.part(), family.finish()].contains(&aimed.cell.action));
    Client {
        family,
        parallel: usize::try_from(dice.rather_small(1, 8)).unwrap_or(1),
        attempts: dice.percent(30).then(|| u32::try_from(dice.within(2, 9)).unwrap_or(2)),
        dialect: if dice.percent(25) { Dialect::Observed } else { Dialect::Documented },
        stall_timeout: dice.percent(20).then(|| dice.time(5_000, 60_000)),
        cover_of: sent_whole.then(|| "7031868222807567".to_owned()),
        ..Client::default()
    }
}

/// How long upload signatures hold that the client makes: some lapse while the upload is under way. None lapses before
/// what is to heal has healed.
fn token_life(dice: &mut Dice, family: Family) -> Option<Duration> {
    (family == Family::Ugc && dice.percent(40)).then(|| Duration::from_secs(dice.rather_small(10, 200)))
}

fn mock(dice: &mut Dice, client: &Client) -> Mock {
    // What is refused without any fault tests nothing: the profile of the documents refuses what public clients do.
    let strict = client.dialect == Dialect::Documented && dice.percent(30);
    Mock { profile: if strict { Profile::Documented } else { Profile::Observed }, instant_upload: dice.percent(80) }
}

/// How long the file is and its parts are, and limits that allow them.
fn sizes(dice: &mut Dice, client: &Client) -> (u64, u64, Limits) {
    let part = if dice.percent(60) { 1 << dice.within(10, 13) } else { dice.within(1 << 10, PART_MOST) };
    let limits = Limits {
        // The UGC family knows two sizes of parts, and no other.
        part_size_min: if client.family == Family::Ugc { part } else { 1 << 10 },
        part_size_max: PART_MOST,
        ..Limits::default()
    };
    let last = if dice.percent(40) { part } else { dice.within(1, part) };
    let more = dice.rather_small(0, PARTS_MOST - 1);
    let size = match client.family {
        // The first part of that family is long: not always more than that.
        Family::Legacy if dice.percent(70) => limits.legacy_first_part + more * part + last,
        Family::Legacy => last,
        Family::Server | Family::Ugc => more * part + last,
    };
    (size, part, limits)
}

/// A plan that grows.
struct Drawing {
    seed: u64,
    scenario: Scenario,
    faults: Vec<Fault>,
}

impl Drawing {
    /// The fault that this seed is aimed with, before all others, so that none is asked first.
    fn aimed(&mut self, aimed: &Possible) {
        let mut dice = Dice::of(self.seed, "aimed");
        let Possible { cell, fault } = aimed;
        let kind = Kind::of(&fault.verdict);
        let mut fault = fault.clone();
        fault.on.times = (kind.kills() || dice.percent(70)).then(|| dice.rather_small(1, 4));
        if kind != Kind::List {
            // Drawn as any other of its kind, as long as it stays in its cell.
            let verdict = self.verdict(kind, &mut dice);
            fault.verdict = verdict;
        }
        fault.at = self.byte(fault.phase, &mut dice);
        let list = kind == Kind::List;
        let opens = cell.action == self.scenario.client.family.open();
        // Who comes again, mostly when all was done, or some of it.
        if opens && !list && dice.percent(30) {
            fault.on.attempt = Some(2);
        }
        let resumes = list || (opens && fault.on.attempt.is_none() && dice.percent(60));
        if self.fits(&fault) {
            self.faults.push(fault);
        }
        if resumes {
            // Some can only strike an upload that was begun before; and in the legacy family, only one that is behind its
            // first part, which everybody sends, is told where to go on.
            let first = if self.scenario.client.family == Family::Legacy { 3 } else { 1 };
            let parts = self.scenario.parts();
            let on = Selector {
                action: Some(self.scenario.client.family.part()),
                part: Some(dice.within(first.min(parts), parts.clamp(1, first + 2))),
                times: Some(1),
                ..Selector::default()
            };
            // What is to be listed must have been kept.
            let phase = if list { Phase::AfterCommit } else { *dice.one(&[Phase::AfterCommit, Phase::BeforeCommit]) };
            let verdict = Kind::KillClient.draw(&mut dice, (1, 1), 1);
            let kill = Fault { id: "leaves-it".to_owned(), on, phase, at: None, verdict };
            if self.fits(&kill) {
                self.faults.push(kill);
            }
        }
    }

    /// One fault of the kinds that are on. One that could never strike is drawn again.
    fn fault(&mut self, number: u64, swarm: &[Kind], whole: bool) {
        let mut dice = Dice::of(self.seed, &format!("fault {number}"));
        for _ in 0..REDRAWN_MOST {
            let kind = *dice.one(swarm);
            let verdict = self.verdict(kind, &mut dice);
            let phase = *dice.one(&PHASES);
            let on = self.selector(kind, whole, &mut dice);
            let at = self.byte(phase, &mut dice);
            let fault = Fault { id: format!("fault-{number}"), on, phase, at, verdict };
            if self.fits(&fault) {
                self.faults.push(fault);
                return;
            }
        }
    }

    fn verdict(&self, kind: Kind, dice: &mut Dice) -> vod_serve::fault::Verdict {
        let Scenario { limits, source, client, .. } = &self.scenario;
        let grids = match client.family {
            // Two sizes, so that the one between is none.
            Family::Ugc => (limits.part_size_max, limits.part_size_max),
            _ => (limits.part_size_min, limits.part_size_max),
        };
        kind.draw(dice, grids, client.part_size.bytes().min(source.size.bytes()))
    }

    fn byte(&self, phase: Phase, dice: &mut Dice) -> Option<u64> {
        let longest = match phase {
            Phase::MidBody => self.scenario.client.part_size.bytes().min(self.scenario.source.size.bytes()) - 1,
            Phase::MidReply => 25,
            _ => return None,
        };
        dice.percent(60).then(|| dice.within(0, longest))
    }

    fn selector(&self, kind: Kind, whole: bool, dice: &mut Dice) -> Selector {
        let family = self.scenario.client.family;
        let action = if whole {
            self.scenario.whole()
        } else {
            Some(*dice.one(&[family.open(), family.part(), family.finish()]))
        };
        let mut on = Selector { action: action.filter(|_| dice.percent(85)), ..Selector::default() };
        let parts = self.scenario.parts();
        if dice.percent(25) {
            on.part = Some(dice.within(1, parts.max(1)));
        } else if dice.percent(10) {
            on.offset = Some(dice.within(0, parts.saturating_sub(1)) * self.scenario.client.part_size.bytes());
        }
        on.attempt = dice.percent(25).then(|| u32::try_from(dice.rather_small(1, 6)).unwrap_or(1));
        on.every = dice.percent(10).then(|| dice.within(1, 4));
        on.chance = dice.percent(25).then(|| *dice.one(&[0.05, 0.2, 0.5, 0.9, 1.0]));
        on.after = dice.percent(8).then(|| dice.time(1, 60_000));
        on.until = dice.percent(8).then(|| on.after.unwrap_or_default() + dice.time(1, 60_000));
        on.times = (kind.kills() || dice.percent(40)).then(|| dice.rather_small(1, 8));
        on.account = dice.percent(3).then(|| "demo".to_owned());
        if dice.percent(3) {
            on.file_sha = Some(self.sha1());
        }
        on
    }

    fn sha1(&self) -> Sha1 {
        source::in_memory(&self.scenario.source).1.sha1
    }

    /// Would a file that says this be a good one?
    fn fits(&self, fault: &Fault) -> bool {
        let mut faults = self.faults.clone();
        faults.push(fault.clone());
        self.scenario.clone().with_faults(faults).check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::cell;

    #[test]
    fn every_seed_is_a_good_file_that_says_the_same_when_it_is_read() {
        let possible = cell::possible();
        for seed in 0..150 {
            let story = story(seed, &possible);
            let text = story.to_toml();
            let read =
                Scenario::parse("drawn.toml", &text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert_eq!(read.to_toml(), text);
            assert_eq!(read.plan(), story.plan(), "seed {seed}\n{text}");
        }
    }

    #[test]
    fn a_seed_is_one_story_and_two_seeds_are_two() {
        let possible = cell::possible();
        let drawn: BTreeSet<_> = (0..200).map(|seed| story(seed, &possible).to_toml()).collect();
        assert_eq!(drawn.len(), 200);
        assert_eq!(story(7, &possible).to_toml(), story(7, &possible).to_toml());
    }

    #[test]
    fn everything_there_is_to_draw_comes_up() {
        type Has = fn(&Selector) -> bool;
        let possible = cell::possible();
        let stories: Vec<_> = (0..1_200).map(|seed| story(seed, &possible)).collect();
        let faults: Vec<_> = stories.iter().flat_map(|story| story.plan().faults).collect();
        let kinds: BTreeSet<_> = faults.iter().map(|fault| Kind::of(&fault.verdict)).collect();
        assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
        let phases: BTreeSet<_> = faults.iter().map(|fault| fault.phase).collect();
        assert_eq!(phases.len(), Phase::ALL.len());
        let families: BTreeSet<_> = stories.iter().map(|story| story.client.family).collect();
        assert_eq!(families.len(), Family::ALL.len());
        let whole = stories.iter().filter(|story| story.whole().is_some()).count();
        assert!(whole > 10, "{whole} of {}", stories.len());
        let has: [(&str, Has); 11] = [
            ("action", |on| on.action.is_some()),
            ("no action", |on| on.action.is_none()),
            ("part", |on| on.part.is_some()),
            ("offset", |on| on.offset.is_some()),
            ("attempt", |on| on.attempt.is_some()),
            ("every", |on| on.every.is_some()),
            ("chance", |on| on.chance.is_some()),
            ("after", |on| on.after.is_some()),
            ("until", |on| on.until.is_some()),
            ("times", |on| on.times.is_some()),
            ("file-sha", |on| on.file_sha.is_some()),
        ];
        for (what, has) in has {
            let count = faults.iter().filter(|fault| has(&fault.on)).count();
            assert!(count > 4, "{what} came up {count} times in {} faults", faults.len());
        }
    }
}
