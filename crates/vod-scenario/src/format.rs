//! The scenario file: what it may say.
//!
//! One file is one story: a source, a client, a mock with faults, the steps, and what must be true afterwards.
//! The vocabulary is closed; what is unknown is refused with file, line and caret, and so is what could never happen.
//!
//! ```
//! let scenario = vod_scenario::format::Scenario::parse("story.toml", r#"
//!     format = 1
//!     why = "A file arrives."
//!     source = { size = "1MiB", seed = 7 }
//!     [[step]]
//!     upload = {}
//!     expect = "finished"
//! "#).unwrap();
//! assert_eq!(scenario.source.size.bytes(), 1 << 20);
//! ```

mod check;
mod command;
mod count;
mod error;
mod expect;
mod matrix;
mod roles;
mod settings;
mod step;
mod wire;
mod write;

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};
use vod_proto::{Action, Family, FileFacts, Layout, LegacyLayout, Limits, SmallFile, rules::Profile};
use vod_serve::{
    Plan,
    fault::{Fault, Refuse, Verdict},
};

use self::check::Problem;
use crate::{evidence::Target, near};

pub(crate) use command::Place as CommandPlace;
pub use command::{ClientCommand, CommandError};
pub use count::Count;
pub use error::{FileError, Place};
pub use expect::{Expect, Failure, StepExpect};
pub use step::{Does, Faults, Restart, Step, Teller, Together, Upload, Who};
pub use vod_proto::Size;
pub use wire::{Bounds, Bytes, Moment, Order, Times, Wait, Waits};

/// The format this version reads.
pub const FORMAT: i64 = 1;

/// The format as a JSON schema, for editors: it knows every word, and leaves to [`read`] what only whole files tell.
pub const SCHEMA: &str = include_str!("scenario.schema.json");

/// How long a step may take where the file does not say. Default 60 s: the client's longest chain of retries
/// (six attempts, 5 s apart at most) fits twice.
const WITHIN: Duration = Duration::from_secs(60);

/// How many parts are under way at a time where the file does not say. Default 4: enough to cross each other.
const PARALLEL: usize = 4;

/// The client's part size where the file does not say, 1 MiB: the largest that the documents allow.
const PART_SIZE: Size = Size::new(1 << 20);

/// How often the client sends one request where the file does not say. Default 6, as the client's own.
pub const ATTEMPTS: u32 = 6;

/// A scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The version of the format, [`FORMAT`].
    pub format: i64,
    /// What would be broken if this failed, in a sentence or two.
    pub why: String,
    /// Words to select it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How long one step may take: virtual time in `sim`, wall time in `process`. Default `"60s"`.
    #[serde(default = "within", deserialize_with = "duration", serialize_with = "write::duration")]
    pub within: Duration,
    /// Its faults were drawn by chance, so that one of them may find nothing to strike.
    /// Default false: every fault of a story must strike.
    #[serde(default)]
    pub faults_drawn: bool,
    /// What is uploaded.
    pub source: Source,
    /// How the client is set.
    #[serde(default)]
    pub client: Client,
    /// How the mock is set.
    #[serde(default)]
    pub mock: Mock,
    /// What the mock allows.
    #[serde(default, serialize_with = "write::limits")]
    pub limits: Limits,
    /// What is injected, asked in this order.
    #[serde(default, rename = "fault")]
    pub(crate) faults: Vec<Spanned<Fault>>,
    /// What is done, in this order.
    #[serde(default, rename = "step")]
    pub(crate) steps: Vec<Spanned<Step>>,
    /// What must be seen on the wire.
    #[serde(default)]
    pub expect: Expect,
    /// Which invariants this story breaks on purpose.
    #[serde(default, rename = "except")]
    pub(crate) exceptions: Vec<Spanned<Exception>>,
    /// Where it is not told.
    #[serde(default, rename = "skip")]
    pub(crate) skips: Vec<Spanned<Skip>>,
    /// Nothing: cells have no matrix. It stands here to be named among the keys of a file.
    #[serde(default, rename = "matrix", skip_serializing)]
    #[expect(dead_code, reason = "only its name is of use")]
    pub(crate) matrix: (),
}

/// What is uploaded: bytes made from a seed, so that nothing is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// How many bytes, such as `"64MiB"`.
    pub size: Size,
    /// Other seeds make other bytes.
    pub seed: u64,
    /// Its client says that it is the file's `[source]`, by that one's SHA-1, as one does that was handed a digest of
    /// something else. Default false. Only where an upload has a source of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claims_source: bool,
}

/// How the client is set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Client {
    /// Which family of the protocol it speaks. Default `server`.
    pub family: Family,
    /// How many parts are under way at a time. Default 4.
    pub parallel: usize,
    /// The part size it asks for; in the legacy family, of every part but the first and the last. Default `"1MiB"`.
    pub part_size: Size,
    /// How often it sends one request at most. Default 6.
    pub attempts: Option<u32>,
    /// What its requests look like. Default `documented`.
    pub dialect: Dialect,
    /// How long the upload signature holds that each upload makes for itself, in the UGC family.
    /// Default none: the client's own default, which no story outlives.
    #[serde(deserialize_with = "some_duration", serialize_with = "write::some_duration")]
    pub token_life: Option<Duration>,
    /// How long an attempt in which nothing moves is waited for.
    /// Default none: the client's own, 30 s, which is long for a story that is told in real time.
    #[serde(deserialize_with = "some_duration", serialize_with = "write::some_duration")]
    pub stall_timeout: Option<Duration>,
    /// A program in the client's place, on the target `process` alone. Default none: our own client.
    pub command: Option<ClientCommand>,
    /// The source is an image, the cover of the video with this id, in the server family. Default none: it is a video.
    pub cover_of: Option<String>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            family: Family::default(),
            parallel: PARALLEL,
            part_size: PART_SIZE,
            attempts: None,
            dialect: Dialect::default(),
            token_life: None,
            stall_timeout: None,
            command: None,
            cover_of: None,
        }
    }
}

/// What a client's requests look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// As the documents say: GET, `/v2`.
    #[default]
    Documented,
    /// As public clients do: POST, `/v3`.
    Observed,
}

impl Dialect {
    /// The word for it in files and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Observed => "observed",
        }
    }
}

/// How the mock is set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mock {
    /// How strictly it holds the client to the documents. Default `observed`.
    pub profile: Profile,
    /// Does it answer code 2 to a file it has already? Default true.
    pub instant_upload: bool,
}

impl Default for Mock {
    fn default() -> Self {
        Self { profile: Profile::default(), instant_upload: true }
    }
}

/// An invariant that this story breaks on purpose.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exception {
    /// Its id.
    pub invariant: String,
    /// Where it cannot hold; elsewhere it must all the same. Default: it cannot hold anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Stage>,
    /// Why it cannot hold here.
    pub because: String,
}

/// Where this story is not told, and why not.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Skip {
    /// Where.
    pub on: Stage,
    /// Why it cannot be told there.
    pub because: String,
}

/// Where stories are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The target `sim`.
    Sim,
    /// The target `process`.
    Process,
    /// Either of them, with a recorder between client and mock.
    ThroughProxy,
}

impl From<Target> for Stage {
    fn from(target: Target) -> Self {
        match target {
            Target::Sim => Self::Sim,
            Target::Process => Self::Process,
        }
    }
}

/// One scenario of a file: all of it, or one cell of its `[matrix]`.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What varies and how, such as `parallel=8,phase=after-commit`; none where the file has no matrix.
    pub name: Option<String>,
    /// The scenario.
    pub scenario: Scenario,
    /// What a file says that has this cell and no other.
    pub text: String,
}

/// Reads and checks a file. There is at least one cell.
///
/// # Errors
/// Says what is wrong with it, and where.
pub fn load(path: &Path) -> Result<Vec<Cell>, FileError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Unreadable { file: name.clone(), source })?;
    let mut cells = read(&name, &text)?;
    let here = path.parent().unwrap_or(path);
    for Cell { scenario, .. } in &mut cells {
        scenario.set_clients(|client| {
            client.command = client.command.take().map(|command| command.written_in(here));
        });
    }
    Ok(cells)
}

/// Reads and checks a text, each cell like a file of its own. `file` is only what errors call it.
///
/// # Errors
/// Says what is wrong with it, where, and in which cell.
pub fn read(file: &str, text: &str) -> Result<Vec<Cell>, FileError> {
    #[derive(Deserialize)]
    struct Version {
        format: Option<Spanned<i64>>,
    }
    let syntax = |error: toml::de::Error| Problem::new(error.span(), near::explained(error.message()));
    let wrong = |problem: Problem| FileError::wrong(file, text, problem.span, &problem.message);
    let table = DeTable::parse(text).map_err(|error| wrong(syntax(error)))?;
    // Which format it is decides whether anything else in it can be judged.
    let version = Version::deserialize(Deserializer::from(table.clone())).map_err(|error| wrong(syntax(error)))?;
    if let Some(found) = version.format.filter(|found| *found.as_ref() != FORMAT) {
        let message = format!(
            "format {} is not known to this version, which reads format {FORMAT}: a newer vod-scenario may",
            found.as_ref()
        );
        return Err(wrong(Problem::new(Some(found.span()), message)));
    }
    let cells = matrix::cells(text, table).map_err(wrong)?;
    let read = cells.into_iter().map(|matrix::Cell { name, mut table, text: own }| {
        let scenario = roles::resolve(table.get_mut())
            .map(|()| settings::complete(table.get_mut()))
            .and_then(|()| Scenario::deserialize(Deserializer::from(table)).map_err(syntax))
            .and_then(|scenario| check::check(&scenario).map(|()| scenario));
        let scenario = scenario.map_err(|problem| match &name {
            Some(name) => wrong(Problem { message: format!("{} (in the cell [{name}])", problem.message), ..problem }),
            None => wrong(problem),
        });
        scenario.map(|scenario| Cell { name, scenario, text: own })
    });
    read.collect()
}

impl Scenario {
    /// Reads and checks a text that has no `[matrix]`. `file` is only what errors call it.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub fn parse(file: &str, text: &str) -> Result<Self, FileError> {
        let mut cells = read(file, text)?;
        match (cells.pop(), cells.is_empty()) {
            (Some(Cell { name: None, scenario, .. }), true) => Ok(scenario),
            _ => Err(FileError::wrong(file, text, None, "it has a [matrix], and one scenario alone is wanted here")),
        }
    }

    /// A story about nothing yet, to be filled in.
    pub(crate) fn empty() -> Self {
        Self {
            format: FORMAT,
            why: String::new(),
            tags: Vec::new(),
            within: WITHIN,
            faults_drawn: false,
            source: Source { size: Size::new(1), seed: 0, claims_source: false },
            client: Client::default(),
            mock: Mock::default(),
            limits: Limits::default(),
            faults: Vec::new(),
            steps: Vec::new(),
            expect: Expect::default(),
            exceptions: Vec::new(),
            skips: Vec::new(),
            matrix: (),
        }
    }

    /// The same with these faults alone. They stand nowhere, so that an error about them shows no line.
    #[must_use]
    pub(crate) fn with_faults(self, faults: Vec<Fault>) -> Self {
        Self { faults: placeless(faults), ..self }
    }

    /// The same with these steps alone.
    #[must_use]
    pub(crate) fn with_steps(self, steps: Vec<Step>) -> Self {
        Self { steps: placeless(steps), ..self }
    }

    /// The same with these exceptions alone.
    #[must_use]
    pub(crate) fn with_exceptions(self, exceptions: Vec<Exception>) -> Self {
        Self { exceptions: placeless(exceptions), ..self }
    }

    /// Would a file that says this be a good one? Says why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        check::check(self).map_err(|problem| problem.message)
    }

    /// How long connections may be refused after the faults are off, by one that struck just before.
    #[must_use]
    pub(crate) fn longest_refusal(&self) -> Duration {
        let refusals = self.faults.iter().filter_map(|fault| match fault.as_ref().verdict {
            Verdict::Refuse(Refuse(time)) => Some(time),
            _ => None,
        });
        refusals.max().unwrap_or_default()
    }

    /// The file that says this, and nothing that goes without saying.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::write(self)
    }

    /// The faults as a plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan { faults: self.faults.iter().map(|fault| fault.as_ref().clone()).collect() }
    }

    /// The steps, in order. There is at least one.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &Step> {
        self.steps.iter().map(Spanned::as_ref)
    }

    /// How long a step may take, counted from 0.
    #[must_use]
    pub fn limit(&self, step: usize) -> Duration {
        self.steps.get(step).and_then(|step| step.as_ref().within).unwrap_or(self.within)
    }

    /// The exceptions, in order.
    pub fn exceptions(&self) -> impl ExactSizeIterator<Item = &Exception> {
        self.exceptions.iter().map(Spanned::as_ref)
    }

    /// Why it is not told there: as its file says, or because it cannot be. None where it can.
    #[must_use]
    pub fn not_told(&self, target: Target, through_proxy: bool) -> Option<String> {
        let stages = [Some(target.into()), through_proxy.then_some(Stage::ThroughProxy)];
        let mut said = self.skips.iter().map(Spanned::as_ref);
        if let Some(skip) = said.find(|skip| stages.contains(&Some(skip.on))) {
            return Some(skip.because.clone());
        }
        let own = self.tellers().into_iter().map(|teller| self.of(teller.step, teller.who).into_owned());
        let mut foreign = own.filter_map(|own| Some((own.client.command?, own.source.claims_source))).peekable();
        if let Some((command, _)) = foreign.peek().filter(|_| target == Target::Sim) {
            let command = command.to_string();
            return Some(format!("the client is {command:?}, and sim starts no programs"));
        }
        if foreign.any(|(_, claims)| claims) {
            return Some(
                "one of its clients goes by a digest of another file, and ours alone can be told to".to_owned(),
            );
        }
        (through_proxy && self.has_two_at_once()).then(|| {
            "what two clients do at the same time has no order, and a recording could not be told again as it was"
                .to_owned()
        })
    }

    /// The first sentence of what would be broken.
    #[must_use]
    pub fn first_sentence(&self) -> String {
        let why = self.why.split_whitespace().collect::<Vec<_>>().join(" ");
        // A stop between two digits ends no sentence.
        let end = why.find(". ").or_else(|| why.find(": ")).map_or(why.len(), |at| at + 1);
        why[..end].trim_end_matches(':').to_owned()
    }

    /// How often the client sends one request at most.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.client.attempts.unwrap_or(ATTEMPTS)
    }

    /// What the source's file is called.
    #[must_use]
    pub const fn file_name(&self) -> &'static str {
        if self.client.cover_of.is_some() { "cover.png" } else { "video.mp4" }
    }

    /// What the client says of the source.
    #[must_use]
    pub fn facts(&self) -> FileFacts {
        FileFacts { cover_of: self.client.cover_of.clone(), ..FileFacts::from_path(self.file_name().as_ref()) }
    }

    /// The action that sends the whole source, if the client takes it.
    #[must_use]
    pub fn whole(&self) -> Option<Action> {
        let fits = SmallFile::takes(&self.facts(), self.source.size.bytes(), &Limits::default());
        fits.then_some(Action::SmallFileUpload)
    }

    /// What the client sends in this story, if nothing goes wrong.
    #[must_use]
    pub fn actions(&self) -> Vec<Action> {
        let family = self.client.family;
        let mut actions =
            self.whole().map_or_else(|| vec![family.open(), family.part(), family.finish()], |one| vec![one]);
        actions.dedup();
        actions
    }

    /// How many parts the source has, cut as the client cuts it.
    #[must_use]
    pub fn parts(&self) -> u64 {
        if self.whole().is_some() {
            return 1;
        }
        let (size, part_size) = (self.source.size.bytes(), self.client.part_size.bytes());
        let parts = match self.client.family {
            Family::Legacy => {
                LegacyLayout::new(size, part_size, &Limits::default()).map(|layout| layout.count(0, size))
            }
            Family::Server | Family::Ugc => Layout::new(size, part_size).map(|layout| layout.count()),
        };
        parts.unwrap_or(0)
    }

    /// The same story without its faults and without what the file expects: every upload must then finish.
    ///
    /// Nobody is held then, so that nobody is let go; and whoever claims to be another file is not heard, for no server
    /// should believe it. Where instant upload is off, a second upload of the same file is by design a second commit, so
    /// that the story ends with its first step.
    #[must_use]
    pub fn control(&self) -> Self {
        let mut control = self.clone();
        control.faults.clear();
        control.exceptions.clear();
        control.expect = Expect::default();
        if !control.mock.instant_upload {
            control.steps.truncate(1);
        }
        let steps = control.steps().filter_map(|step| step.in_control()).collect();
        control.with_steps(steps)
    }
}

fn placeless<T>(things: Vec<T>) -> Vec<Spanned<T>> {
    things.into_iter().map(|thing| Spanned::new(0..0, thing)).collect()
}

const fn within() -> Duration {
    WITHIN
}

fn some_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("{text:?} is no duration such as \"300ms\" or \"60s\": {error}"))
    })
}
