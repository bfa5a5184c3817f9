//! Evidence made by hand, so that every check can be seen to fail.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vod_mock::{UploadState, UploadView};
use vod_proto::{
    Action, Exchange, Family, FinishUpload, InitUpload, Layout, LegacyLayout, Limits, Md5, NextPart, PartSpan, Query,
    Request, Sha1, SmallFile, UploadPart,
    action::Role,
    exchange::{End, FORMAT, FaultMark, Kept, Mark, ReplyRecord, RequestRecord, Times},
    reply::{NextReply, Reply},
    request::{TokenTerms, sign_token},
    sign::SecretKey,
};

use super::{Case, Finding, Judgement, Ruling, invariants, judge};
use crate::{
    evidence::{ClientReport, Evidence, ReportedOutcome, Secret, StepEnd, StepEvidence, Target},
    format::{Scenario, Who},
    source::SourceFacts,
};

const PART: u64 = 1 << 20;

/// The answer that the file is there, in any family.
pub(crate) const STORED: &str = r#"{"code":0,"flag":1,"fileId":"1"}"#;

/// The legacy family's answer to go on here.
pub(crate) fn goes_on(offset: u64) -> String {
    Reply::Next(NextReply::Continue { offset }).to_json(Family::Legacy)
}

/// A story and its evidence, good until a test breaks it.
pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    pub(crate) evidence: Evidence,
}

impl Story {
    /// Three parts, one step: 100 ms a request, each acknowledged.
    pub(crate) fn plain() -> Self {
        Self::with("")
    }

    /// The same with more text in the scenario's file.
    pub(crate) fn with(more: &str) -> Self {
        Self::told(Family::Server, more)
    }

    /// The same in any family; in the legacy one there are four parts, the first and the last of 512 KiB.
    pub(crate) fn of(family: Family) -> Self {
        Self::told(family, "")
    }

    fn told(family: Family, more: &str) -> Self {
        let (open, opened) = match family {
            Family::Legacy => ("MultipartUploadVodFile = 4", "MultipartUploadVodFile = [0, 0, 0, 0]"),
            Family::Ugc => ("InitUploadEx = 1", "InitUploadEx = [0]"),
            Family::Server => ("InitUpload = 1", "InitUpload = [0]"),
        };
        let text = format!(
            "format = 1\nwhy = \"w\"\nclient = {{ family = \"{family}\" }}\n[source]\nsize = \"3MiB\"\nseed = 1\n\
             [[step]]\nupload = {{}}\nexpect = \"finished\"\n\
             [expect]\nrequests = {{ {open} }}\nreplies = {{ {opened} }}\n\
             parts-sent-twice = 0\nskipped-parts = 0\n{more}"
        );
        Self::crafted(&text)
    }

    /// A small cover, sent whole by one request.
    pub(crate) fn cover() -> Self {
        Self::crafted(
            "format = 1\nwhy = \"w\"\nclient = { cover-of = \"7\" }\n[source]\nsize = \"200KiB\"\nseed = 1\n\
             [[step]]\nupload = {}\nexpect = \"finished\"\n\
             [expect]\nrequests = { SmallFileUpload = 1 }\nreplies = { SmallFileUpload = [0] }\n\
             parts-sent-twice = 0\nskipped-parts = 0",
        )
    }

    /// Two clients upload the same file at the same time, request by request in turn.
    pub(crate) fn together() -> Self {
        let mut story = Self::of_file(
            "format = 1\nwhy = \"w\"\nsource = { size = \"3MiB\", seed = 1 }\n\
             [[step]]\ntogether = [{ expect = \"finished\" }, { expect = \"there\" }]\n",
        );
        for (action, index) in
            [(Action::InitUpload, None), (Action::UploadPart, Some(0)), (Action::UploadPart, Some(1))]
                .into_iter()
                .chain([(Action::UploadPart, Some(2)), (Action::FinishUpload, None)])
        {
            for who in Who::BOTH {
                let part = index.map(|index| story.span(index));
                let reply = if action == Action::FinishUpload { STORED } else { r#"{"code":0}"# };
                // The mock counts requests, whoever sends them.
                story.push(action, part, reply).attempt = if who == Who::A { 1 } else { 2 };
                story.is_of(who);
            }
        }
        let report = ClientReport { parts_sent: Some(3), parts_skipped: Some(0), ..ClientReport::default() };
        for who in Who::BOTH {
            story.end_step(StepEnd::Reported(report.clone()));
            let step = story.step();
            (step.step, step.began, step.who, step.after_seq) = (1, 1, who, 0);
        }
        story
    }

    /// The last exchange is this client's.
    pub(crate) fn is_of(&mut self, who: Who) {
        let exchange = self.evidence.exchanges.last_mut().expect("a story has an exchange");
        exchange.request.host = self.evidence.target.hosts()[who as usize].to_owned();
        let seq = exchange.seq;
        for step in &mut self.evidence.steps {
            step.last_seq = step.last_seq.max(seq);
        }
    }

    fn crafted(text: &str) -> Self {
        let mut story = Self::of_file(text);
        story.push_upload();
        story.end_step(StepEnd::Reported(ClientReport {
            outcome: ReportedOutcome::Finished,
            parts_sent: Some(story.scenario.parts()),
            parts_skipped: Some(0),
            ..ClientReport::default()
        }));
        story
    }

    /// A story in which nothing has happened yet.
    fn of_file(text: &str) -> Self {
        let scenario = match Scenario::parse("crafted.toml", text) {
            Ok(scenario) => scenario,
            Err(error) => panic!("{error}"),
        };
        let sha1 = Sha1::of(b"the source");
        let source = SourceFacts { size: scenario.source.size.bytes(), sha1 };
        let secret = Secret { name: "the secret key", value: "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA".to_owned() };
        let evidence = Evidence::begin(Target::Sim, source, vec![secret]);
        Self { scenario, evidence }
    }

    pub(crate) fn family(&self) -> Family {
        self.scenario.client.family
    }

    /// A whole upload, everything acknowledged.
    fn push_upload(&mut self) {
        let (family, parts) = (self.family(), self.scenario.parts());
        if let Some(whole) = self.scenario.whole() {
            self.push(whole, None, STORED);
            return;
        }
        if family == Family::Legacy {
            for part in 0..parts - 1 {
                self.push_part(part, &goes_on(self.span(part).end()));
            }
            self.push_part(parts - 1, STORED);
            return;
        }
        self.push(family.open(), None, r#"{"code":0}"#);
        for part in 0..parts {
            self.push_part(part, r#"{"code":0}"#);
        }
        self.push(family.finish(), None, STORED);
    }

    pub(crate) fn case(&self) -> Case<'_> {
        Case { scenario: &self.scenario, evidence: &self.evidence }
    }

    pub(crate) fn judge(&self) -> Judgement {
        judge(self.case())
    }

    /// What one invariant finds.
    pub(crate) fn findings(&self, id: &str) -> Vec<Finding> {
        let checks = invariants::check(self.case());
        match checks.into_iter().find(|check| check.name == id).map(|check| check.ruling) {
            Some(Ruling::Found(findings) | Ruling::Excepted { findings, .. }) => findings,
            Some(Ruling::Holds | Ruling::NotJudged) => vec![],
            None => panic!("there is no invariant {id}"),
        }
    }

    #[track_caller]
    pub(crate) fn assert_holds(&self, id: &str) {
        assert_eq!(self.findings(id), [], "{id}");
    }

    #[track_caller]
    pub(crate) fn assert_broken(&self, id: &str, says: &str) {
        let findings = self.findings(id);
        let broken = |f: &Finding| matches!(f, Finding::Broken(why) if why.contains(says));
        assert!(findings.iter().any(broken), "{id}: {says:?} is not in {findings:#?}");
    }

    /// It cannot be said whether one invariant holds, and this is why.
    #[track_caller]
    pub(crate) fn assert_unknown(&self, id: &str, says: &str) {
        let findings = self.findings(id);
        let unknown = |f: &Finding| matches!(f, Finding::Unknown(why) if why.contains(says));
        assert!(
            findings.iter().any(unknown) && findings.iter().all(|f| matches!(f, Finding::Unknown(_))),
            "{id}: {says:?} in {findings:#?}"
        );
    }

    pub(crate) fn push(&mut self, action: Action, part: Option<PartSpan>, reply: &str) -> &mut Exchange {
        let at = self.evidence.exchanges.len();
        let whole = (action.role() == Role::Whole).then_some(self.evidence.source.size);
        let len = part.map(|part| part.len).or(whole);
        let exchange = Exchange {
            v: FORMAT,
            seq: 0,
            start: Timestamp::UNIX_EPOCH,
            account: Some("demo".to_owned()),
            action: Some(action.to_string()),
            file_sha1: Some(self.evidence.source.sha1),
            part,
            part_number: None,
            attempt: 1,
            request: RequestRecord {
                method: action.documented_method().to_owned(),
                host: "vod2.qcloud.com".to_owned(),
                target: format!("/v2/index.php?{}", self.query(action, part)),
                headers: len.iter().map(|len| ("content-length".to_owned(), len.to_string())).collect(),
                tls: false,
                body: Mark {
                    len: len.unwrap_or(0),
                    sha1: None,
                    md5: part.map(|part| part_md5(part.offset)),
                    kept: Kept::Digest,
                },
            },
            reply: Some(ReplyRecord { status: 200, headers: vec![], body: reply.to_owned(), mark: None }),
            unreached: None,
            end: End::Replied,
            faults: vec![],
            times: Times { first_byte: None, body_done: None, reply_done: Some(10_000) },
        };
        self.insert(at, exchange);
        &mut self.evidence.exchanges[at]
    }

    /// The last request was never sent.
    pub(crate) fn never_sent(&mut self) {
        self.evidence.exchanges.pop();
        let last = self.evidence.exchanges.last().map_or(0, |exchange| exchange.seq);
        self.step().last_seq = last;
    }

    /// The request with this number is missing from the evidence.
    pub(crate) fn lose(&mut self, seq: u64) {
        self.evidence.exchanges.retain(|exchange| exchange.seq != seq);
        self.evidence.evicted += 1;
    }

    /// The part with this index, counted from 0.
    pub(crate) fn span(&self, index: u64) -> PartSpan {
        let size = self.evidence.source.size;
        let part = if self.family() == Family::Legacy {
            let layout = LegacyLayout::new(size, PART, &Limits::default()).expect("a part has bytes");
            (0..index).try_fold(0, |at, _| Some(layout.part_at(at)?.end())).and_then(|at| layout.part_at(at))
        } else {
            Layout::new(size, PART).and_then(|layout| layout.part(index))
        };
        part.expect("a part of the source")
    }

    pub(crate) fn push_part(&mut self, index: u64, reply: &str) -> &mut Exchange {
        self.push(self.family().part(), Some(self.span(index)), reply)
    }

    /// The parameters as the documents ask for them, with placeholders in the place of secrets.
    fn query(&self, action: Action, part: Option<PartSpan>) -> Query {
        let SourceFacts { sha1: file_sha1, size: file_size } = self.evidence.source;
        let facts = || self.scenario.facts();
        let span = || part.expect("a part is of the source");
        let request = match action.role() {
            Role::Open => Request::Init(InitUpload { facts: facts(), file_sha1, file_size, part_size: PART }),
            Role::Part => Request::Part(UploadPart { file_sha1, span: span(), part_md5: part_md5(span().offset) }),
            Role::Finish => Request::Finish(FinishUpload { file_sha1 }),
            Role::Next => Request::Next(NextPart { facts: facts(), file_sha1, file_size, span: span() }),
            Role::Whole => Request::Whole(SmallFile { facts: facts(), file_sha1, file_size }),
            Role::Report => unreachable!("no crafted story has a {action}"),
        };
        let mut query = request.to_query(action.family());
        if action.family() == Family::Ugc {
            let terms =
                TokenTerms { secret_id: "redacted-1", file_sha1, made: 0, expires: 86_400, random: 7, uid: "1" };
            query.push("signature", sign_token(&SecretKey::new("none"), &facts(), &terms));
        } else {
            for (name, value) in [
                ("Region", "gz"),
                ("Timestamp", "0"),
                ("Nonce", "7"),
                ("SecretId", "redacted-1"),
                ("Signature", &format!("redacted-{}", self.evidence.exchanges.len() + 2)),
            ] {
                query.push(name, value);
            }
        }
        query
    }

    /// Puts an exchange at a place and counts anew; exchanges begin 100 ms apart and take 10 ms.
    pub(crate) fn insert(&mut self, at: usize, exchange: Exchange) {
        self.evidence.exchanges.insert(at, exchange);
        for step in &mut self.evidence.steps {
            for number in [&mut step.after_seq, &mut step.last_seq] {
                *number += u64::from(*number > at as u64);
            }
        }
        for (at, exchange) in self.evidence.exchanges.iter_mut().enumerate() {
            let at = i64::try_from(at).expect("a crafted story is short");
            exchange.seq = at.unsigned_abs() + 1;
            exchange.start = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(100 * at);
        }
    }

    /// Ends a step here: with a success the file is stored once, otherwise the upload is open.
    pub(crate) fn end_step(&mut self, end: StepEnd) {
        let sha1 = self.evidence.source.sha1;
        let stored = end.is_success();
        let upload = UploadView {
            generation: self.family().into(),
            account: "demo".to_owned(),
            file_sha1: sha1,
            file: Some(self.scenario.facts()),
            file_size: Some(self.evidence.source.size),
            part_size: None,
            parts: self.scenario.parts(),
            file_id: None,
            state: if stored { UploadState::Stored } else { UploadState::Open },
            commits: u64::from(stored),
            stored_sha1: stored.then_some(sha1),
        };
        let number = self.evidence.steps.len() + 1;
        self.evidence.steps.push(StepEvidence {
            step: number,
            began: number,
            who: Who::A,
            source: self.evidence.source,
            end,
            after_seq: self.evidence.steps.last().map_or(0, |step| step.last_seq),
            last_seq: self.evidence.exchanges.len() as u64,
            elapsed: Duration::from_secs(1),
            uploads: vec![upload],
        });
    }

    /// The upload after the last step.
    pub(crate) fn upload(&mut self) -> &mut UploadView {
        &mut self.evidence.steps.last_mut().expect("a story has a step").uploads[0]
    }

    /// The last step.
    pub(crate) fn step(&mut self) -> &mut StepEvidence {
        self.evidence.steps.last_mut().expect("a story has a step")
    }
}

/// The MD5 of the part at this offset.
pub(crate) fn part_md5(offset: u64) -> Md5 {
    Md5::of(&offset.to_be_bytes())
}

/// A failure as the client reports it.
pub(crate) fn failed() -> StepEnd {
    StepEnd::Reported(ClientReport { outcome: ReportedOutcome::Failed, ..ClientReport::default() })
}

/// A mark of a fault with this verdict.
pub(crate) fn mark(verdict: &str, on_reply: bool) -> FaultMark {
    FaultMark { id: "f".to_owned(), phase: "before-commit".to_owned(), verdict: verdict.to_owned(), on_reply, at_us: 0 }
}
