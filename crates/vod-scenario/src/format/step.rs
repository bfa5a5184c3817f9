//! The steps of a story: who uploads what, alone or two at once, and what is done to the mock in between.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Client, ClientCommand, Scenario, Source, StepExpect, some_duration, write};

/// One of the two clients that a story may have at the same time. Where there is one alone, it is `a`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The first of two, or the only one.
    #[default]
    A,
    /// The second: of two that begin together, or the one that begins while `a` is held.
    B,
}

impl Who {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Its name in files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The client of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|who| who.name() == name)
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is done, and how it must end: exactly one of `upload`, `together`, `release` and `restart`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// A client uploads a file, as a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
    /// Two clients, `a` and `b`, upload at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Vec<Together>>,
    /// What is held under this name is let go, and the upload that an earlier step left held goes on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The mock is ended and started again on what it had kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Do the faults of the file still strike? Once they are off, they are so to the end. Default `on`.
    #[serde(default)]
    pub faults: Faults,
    /// How long this step may take, in place of what the file says for all.
    #[serde(default, deserialize_with = "some_duration", serialize_with = "write::some_duration")]
    pub within: Option<Duration>,
    /// How that ends. Of two clients each says it itself, and a restart has no end of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<StepExpect>,
}

/// Do the faults of the file strike in a step?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Faults {
    /// As they say themselves.
    #[default]
    On,
    /// They are lifted before the step, and whom they hold is let go: what was broken must heal now.
    Off,
}

/// An upload. What it does not say is as the file says it for all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table: {} for an upload as the file says, or what is other than there"
)]
pub struct Upload {
    /// What is uploaded. Default: the file's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How its client is set; what it leaves out is as in the file's `[client]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
}

/// One of two uploads at the same time.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Together {
    /// What is uploaded. Default: the file's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How its client is set; what it leaves out is as in the file's `[client]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// How it ends.
    pub expect: StepExpect,
}

/// How the mock is ended before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is asked to: what is under way is closed, and written down as closed.
    Stop,
    /// It is killed.
    Kill,
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
pub enum Does<'a> {
    /// One client uploads, and ends so.
    Upload(&'a Upload, &'a StepExpect),
    /// Two clients upload.
    Together(&'a [Together]),
    /// What is held under this name is let go, and the upload that was held ends so.
    Release(&'a str, &'a StepExpect),
    /// The mock is ended and started again.
    Restart(Restart),
}

impl Step {
    /// A client uploads the file's source.
    #[must_use]
    pub fn upload(expect: StepExpect) -> Self {
        Self {
            upload: Some(Upload::default()),
            together: None,
            release: None,
            restart: None,
            faults: Faults::On,
            within: None,
            expect: Some(expect),
        }
    }

    /// What it does; or why it is no step.
    pub(super) fn understood(&self) -> Result<Does<'_>, &'static str> {
        match (&self.upload, &self.together, &self.release, self.restart, &self.expect) {
            (Some(upload), None, None, None, Some(expect)) => Ok(Does::Upload(upload, expect)),
            (None, Some(both), None, None, None) if both.len() == Who::BOTH.len() => Ok(Does::Together(both)),
            (None, Some(_), None, None, None) => Err("two clients upload together, neither more nor fewer"),
            (None, None, Some(hold), None, Some(expect)) => Ok(Does::Release(hold, expect)),
            (None, None, None, Some(restart), None) => Ok(Does::Restart(restart)),
            (Some(_), None, None, None, None) => Err("this step does not say in expect how its upload ends"),
            (None, None, Some(_), None, None) => {
                Err("this step does not say in expect how the upload ends that was held")
            }
            (None, Some(_), None, None, Some(_)) => {
                Err("each of two uploads together says itself how it ends: expect belongs within the braces of each")
            }
            (None, None, None, Some(_), Some(_)) => Err("a restart ends no upload: it has no expect"),
            (None, None, None, None, _) => {
                Err("this step does nothing: it needs one of upload, together, release and restart")
            }
            _ => Err("this step does several things: it has one of upload, together, release and restart"),
        }
    }

    /// What it does.
    ///
    /// # Panics
    /// If it was never checked.
    #[must_use]
    pub fn does(&self) -> Does<'_> {
        match self.understood() {
            Ok(does) => does,
            Err(why) => unreachable!("a step that was checked does one thing: {why}"),
        }
    }
}

impl Step {
    /// What is left of it where nothing goes wrong.
    pub(super) fn in_control(&self) -> Option<Self> {
        let honest = |source: &Option<Source>| !source.as_ref().is_some_and(|source| source.claims_source);
        let alone = |upload: Upload| Self { upload: Some(upload), expect: Some(StepExpect::There), ..self.bare() };
        match self.does() {
            Does::Upload(upload, _) => honest(&upload.source).then(|| alone(upload.clone())),
            Does::Together(both) => {
                let each = both.iter().filter(|one| honest(&one.source));
                let each: Vec<_> = each.map(|one| Together { expect: StepExpect::There, ..one.clone() }).collect();
                match &each[..] {
                    [] => None,
                    [Together { source, client, .. }] => {
                        Some(alone(Upload { source: source.clone(), client: client.clone() }))
                    }
                    _ => Some(Self { together: Some(each), ..self.bare() }),
                }
            }
            Does::Release(..) => None,
            Does::Restart(restart) => Some(Self { restart: Some(restart), ..self.bare() }),
        }
    }

    /// When and how long, and nothing to do.
    const fn bare(&self) -> Self {
        Self {
            upload: None,
            together: None,
            release: None,
            restart: None,
            faults: self.faults,
            within: self.within,
            expect: None,
        }
    }
}

/// Somebody who uploads in a story.
#[derive(Clone, Debug)]
pub struct Teller<'a> {
    /// The step that it begins in, counted from 1.
    pub step: usize,
    /// Which of the clients it is.
    pub who: Who,
    /// What is said of its file.
    pub source: Option<&'a Source>,
    /// What is said of it.
    pub client: Option<&'a Client>,
    /// How it must end; or how it is left.
    pub expect: &'a StepExpect,
}

impl Scenario {
    /// Everybody who uploads, in the order in which they begin.
    #[must_use]
    pub fn tellers(&self) -> Vec<Teller<'_>> {
        let (mut tellers, mut held) = (Vec::new(), Vec::<(Who, &str)>::new());
        for (step, number) in self.steps().zip(1..) {
            match step.understood() {
                Ok(Does::Upload(Upload { source, client }, expect)) => {
                    let who = if held.iter().any(|(who, _)| *who == Who::A) { Who::B } else { Who::A };
                    if let StepExpect::Held(hold) = expect {
                        held.push((who, hold));
                    }
                    let (source, client) = (source.as_ref(), client.as_ref());
                    tellers.push(Teller { step: number, who, source, client, expect });
                }
                Ok(Does::Together(both)) => {
                    tellers.extend(Who::BOTH.into_iter().zip(both).map(
                        |(who, Together { source, client, expect })| Teller {
                            step: number,
                            who,
                            source: source.as_ref(),
                            client: client.as_ref(),
                            expect,
                        },
                    ));
                }
                Ok(Does::Release(hold, _)) => held.retain(|(_, held)| *held != hold),
                Ok(Does::Restart(_)) | Err(_) => {}
            }
        }
        tellers
    }

    /// The story as this client sees it that begins in this step: its own source, and its own settings.
    #[must_use]
    pub fn of(&self, step: usize, who: Who) -> Cow<'_, Self> {
        match self.tellers().into_iter().find(|teller| (teller.step, teller.who) == (step, who)) {
            Some(Teller { source, client, .. }) if source.is_some() || client.is_some() => Cow::Owned(Self {
                source: source.unwrap_or(&self.source).clone(),
                client: client.unwrap_or(&self.client).clone(),
                ..self.clone()
            }),
            _ => Cow::Borrowed(self),
        }
    }

    /// Changes the settings of every client.
    pub(crate) fn set_clients(&mut self, set: impl Fn(&mut Client)) {
        set(&mut self.client);
        for step in &mut self.steps {
            let step = step.get_mut();
            let alone = step.upload.iter_mut().filter_map(|upload| upload.client.as_mut());
            let both = step.together.iter_mut().flatten().filter_map(|one| one.client.as_mut());
            alone.chain(both).for_each(&set);
        }
    }

    /// The first command of a client that is not ours.
    pub(crate) fn a_command(&self) -> Option<&ClientCommand> {
        let of_steps = self.steps().flat_map(|step| {
            let alone = step.upload.iter().filter_map(|upload| upload.client.as_ref());
            alone.chain(step.together.iter().flatten().filter_map(|one| one.client.as_ref()))
        });
        std::iter::once(&self.client).chain(of_steps).find_map(|client| client.command.as_ref())
    }

    /// Are there ever two clients at the same time?
    #[must_use]
    pub fn has_two_at_once(&self) -> bool {
        self.tellers().iter().any(|teller| teller.who == Who::B)
    }

    /// The faults as a plan for clients that reach the mock at these hosts.
    pub(crate) fn plan_at(&self, hosts: [&str; 2]) -> vod_serve::Plan {
        let mut plan = self.plan();
        for fault in &mut plan.faults {
            if let Some(who) = fault.on.host.as_deref().and_then(Who::named) {
                fault.on.host = Some(hosts[who as usize].to_owned());
            }
        }
        plan
    }

    /// Whom a fault kills that kills the client. It says so itself where there are two.
    pub(crate) fn victim(&self, fault: &str) -> Option<Who> {
        let fault = self.faults.iter().map(toml::Spanned::as_ref).find(|other| other.id == fault)?;
        fault.on.host.as_deref().and_then(Who::named)
    }

    /// The faults that hold under this name.
    pub(crate) fn holding(&self, name: &str) -> Vec<String> {
        let holds = |fault: &&vod_serve::fault::Fault| matches!(&fault.verdict, vod_serve::fault::Verdict::Hold(hold) if hold.0 == name);
        self.faults.iter().map(toml::Spanned::as_ref).filter(holds).map(|fault| fault.id.clone()).collect()
    }
}
