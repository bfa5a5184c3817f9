//! Uploads made by hand, so that every rule can be seen to speak and to keep silent.

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Lacking, lint};
use crate::{
    Action, Exchange, Family, FileFacts, FinishUpload, InitUpload, Limits, Md5, PartSpan, Query, Request, Sha1,
    UploadPart,
    exchange::{End, FORMAT, FaultMark, Kept, Mark, ReplyRecord, RequestRecord, Times},
    reply::{InitReply, ListedPart, NextReply, Rejected, Reply, Stored},
    request::NextPart,
    sign::SecretKey,
    ugc::UploadSignature,
};

/// The size of a part in these stories.
pub(super) const PART: u64 = 524_288;

/// Half a part: what remains for the last one.
pub(super) const SIZE: u64 = 2 * PART + PART / 2;

pub(super) const OK: &str = r#"{"code":0}"#;
pub(super) const FINISHED: &str = r#"{"code":0,"fileId":"7"}"#;
pub(super) const BUSY: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;
pub(super) const NO: &str = r#"{"code":-10003,"canRetry":0,"message":"no"}"#;
pub(super) const UNSIGNED: &str = r#"{"code":-10002,"canRetry":0,"message":"no"}"#;
pub(super) const FORBIDDEN: &str = r#"{"code":4100,"canRetry":0,"message":"no"}"#;
pub(super) const FORGOTTEN: &str = r#"{"code":-10005,"canRetry":1,"message":"gone"}"#;

/// An upload, request by request: 100 ms from one to the next, 10 ms each.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) family: Family,
    pub(super) exchanges: Vec<Exchange>,
    signature: String,
}

impl Story {
    /// Nothing was sent yet.
    pub(super) fn of(family: Family) -> Self {
        Self { family, exchanges: Vec::new(), signature: signature("redacted-1", 1) }
    }

    /// A whole upload in the form that the documents ask for.
    pub(super) fn whole(family: Family) -> Self {
        let mut story = Self::of(family);
        if family == Family::Legacy {
            story.next(0, &goes_on(PART));
            story.next(1, &goes_on(2 * PART));
            story.next(2, &stored());
        } else {
            story.open(&fresh());
            (0..3).for_each(|index| _ = story.part(index, OK));
            story.finish(FINISHED);
        }
        story
    }

    pub(super) fn file_sha1() -> Sha1 {
        Sha1::of(b"the file")
    }

    pub(super) fn span(index: u64) -> PartSpan {
        PartSpan { offset: index * PART, len: PART.min(SIZE - index * PART) }
    }

    pub(super) fn md5(index: u64) -> Md5 {
        Md5::of(&index.to_be_bytes())
    }

    pub(super) fn open(&mut self, reply: &str) -> &mut Exchange {
        self.open_in(PART, reply)
    }

    /// Asks for parts of this size.
    pub(super) fn open_in(&mut self, part_size: u64, reply: &str) -> &mut Exchange {
        let init = InitUpload { facts: facts(), file_sha1: Self::file_sha1(), file_size: SIZE, part_size };
        self.push(Request::Init(init), None, reply)
    }

    pub(super) fn part(&mut self, index: u64, reply: &str) -> &mut Exchange {
        self.part_at(Self::span(index), Self::md5(index), reply)
    }

    pub(super) fn part_at(&mut self, span: PartSpan, part_md5: Md5, reply: &str) -> &mut Exchange {
        let part = UploadPart { file_sha1: Self::file_sha1(), span, part_md5 };
        self.push(Request::Part(part), Some((span, part_md5)), reply)
    }

    pub(super) fn finish(&mut self, reply: &str) -> &mut Exchange {
        self.push(Request::Finish(FinishUpload { file_sha1: Self::file_sha1() }), None, reply)
    }

    /// A part of the older generation.
    pub(super) fn next(&mut self, index: u64, reply: &str) -> &mut Exchange {
        let span = Self::span(index);
        let next = NextPart { facts: facts(), file_sha1: Self::file_sha1(), file_size: SIZE, span };
        self.push(Request::Next(next), Some((span, Self::md5(index))), reply)
    }

    /// From now on, with another upload signature.
    pub(super) fn sign_anew(&mut self) {
        self.sign_as(2);
    }

    /// From now on, with the upload signature of this number.
    pub(super) fn sign_as(&mut self, number: u64) {
        self.signature = signature("redacted-1", number);
    }

    /// From now on, secrets have other placeholders: the server was started again.
    pub(super) fn redact_anew(&mut self) {
        self.signature = signature("redacted-2", 1);
    }

    /// This exchange is not in the list, and its number went to the next.
    pub(super) fn lose(&mut self, seq: usize) {
        self.exchanges.remove(seq - 1);
        (1..).zip(&mut self.exchanges).for_each(|(seq, exchange)| exchange.seq = seq);
    }

    fn push(&mut self, request: Request, part: Option<(PartSpan, Md5)>, reply: &str) -> &mut Exchange {
        let action = request.action(self.family);
        let mut query = request.to_query(self.family);
        let seq = self.exchanges.len() as u64 + 1;
        match self.family {
            Family::Ugc => query.push("signature", &self.signature),
            Family::Server | Family::Legacy => {
                for (name, value) in [("Region", "gz"), ("Timestamp", "1465185768"), ("SecretId", "redacted-1")] {
                    query.push(name, value);
                }
                query.push("Nonce", seq);
                query.push("Signature", format!("redacted-{seq}"));
            }
        }
        let len = part.map_or(0, |(span, _)| span.len);
        let headers = part.map(|_| ("content-length".to_owned(), len.to_string()));
        let millis = i64::try_from(seq * 100).expect("a crafted story is short");
        self.exchanges.push(Exchange {
            v: FORMAT,
            seq,
            start: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis),
            account: Some("demo".to_owned()),
            action: Some(action.to_string()),
            file_sha1: Some(Self::file_sha1()),
            part: part.map(|(span, _)| span),
            part_number: None,
            attempt: 1,
            request: RequestRecord {
                method: action.documented_method().to_owned(),
                host: "vod2.qcloud.com".to_owned(),
                target: format!("/v2/index.php?{query}"),
                headers: headers.into_iter().collect(),
                body: Mark {
                    len,
                    sha1: part.filter(|_| len > 0).map(|_| Sha1::of(b"some part")),
                    md5: part.filter(|_| len > 0).map(|(_, md5)| md5),
                    kept: Kept::Digest,
                },
                tls: false,
            },
            reply: Some(ReplyRecord { status: 200, headers: vec![], body: reply.to_owned(), mark: None }),
            unreached: None,
            end: End::Replied,
            faults: vec![],
            times: Times { first_byte: part.map(|_| 1_000), body_done: Some(5_000), reply_done: Some(10_000) },
        });
        self.last()
    }

    pub(super) fn last(&mut self) -> &mut Exchange {
        self.exchanges.last_mut().expect("something was sent")
    }

    /// The last request begins so long after the end of the one before it, in milliseconds.
    pub(super) fn after(&mut self, millis: i64) -> &mut Exchange {
        let over = self.exchanges[self.exchanges.len() - 2].over_us() + millis * 1_000;
        self.last().start = Timestamp::from_microsecond(over).expect("a crafted story is short");
        self.last()
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        lint(&self.exchanges, &Lacking::by_numbers(&self.exchanges), &Limits::default()).findings
    }
}

impl Exchange {
    /// No answer was written.
    pub(super) fn unanswered(&mut self, end: End) -> &mut Self {
        (self.reply, self.end) = (None, end);
        self
    }

    /// A fault struck.
    pub(super) fn struck(&mut self, verdict: &str, on_reply: bool) -> &mut Self {
        let (id, phase, verdict) = ("f".to_owned(), "before-commit".to_owned(), verdict.to_owned());
        self.faults.push(FaultMark { id, phase, verdict, on_reply, at_us: 0 });
        self
    }

    /// It took so long, in milliseconds: with a body, mostly for that.
    pub(super) fn took(&mut self, millis: u64) -> &mut Self {
        self.times.body_done = self.part.map(|_| millis * 1_000 - 1_000);
        self.times.reply_done = Some(millis * 1_000);
        self
    }

    /// The HTTP status.
    pub(super) fn status(&mut self, status: u16) -> &mut Self {
        self.reply.as_mut().expect("it was answered").status = status;
        self
    }

    /// Something else stands in its target.
    pub(super) fn edit(&mut self, from: &str, to: &str) -> &mut Self {
        assert!(self.request.target.contains(from), "{from} is not in {}", self.request.target);
        self.request.target = self.request.target.replace(from, to);
        self
    }
}

fn facts() -> FileFacts {
    FileFacts { name: "test".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() }
}

fn signature(secret_id: &str, nonce: u64) -> String {
    let fs = Story::file_sha1();
    let original = format!("s={secret_id}&f=test&fs={fs}&ft=mp4&t=1465185768&e=1465285768&r={nonce}&uid=1");
    UploadSignature::sign(&SecretKey::new("k"), &Query::parse(&original))
}

pub(super) fn fresh() -> String {
    Reply::Init(InitReply::Fresh).to_json(Family::Server)
}

pub(super) fn exists() -> String {
    Reply::Init(InitReply::Exists(Stored::new("7"))).to_json(Family::Server)
}

/// Code 1 with these parts, on this grid.
pub(super) fn resume(part_size: u64, indexes: &[u64]) -> String {
    let listed = |index: &u64| {
        let PartSpan { offset, len } = Story::span(*index);
        ListedPart { offset, len: Some(len), md5: Some(Story::md5(*index)), sha1: None }
    };
    Reply::Init(InitReply::Resume { part_size, parts: indexes.iter().map(listed).collect() }).to_json(Family::Server)
}

pub(super) fn goes_on(offset: u64) -> String {
    Reply::Next(NextReply::Continue { offset }).to_json(Family::Legacy)
}

pub(super) fn stored() -> String {
    Reply::Next(NextReply::Stored(Stored::new("7"))).to_json(Family::Legacy)
}

/// A refusal of the older generation, which has no `canRetry`.
pub(super) fn refused(code: i64) -> String {
    let rejected = Rejected { code: crate::Code(code), can_retry: None, message: "no".to_owned() };
    Reply::Rejected(rejected).to_json(Family::Legacy)
}

/// An action that belongs to no upload of these.
pub(super) fn small_file() -> Exchange {
    let mut story = Story::of(Family::Server);
    let mut sent = story.part(0, FINISHED).clone();
    sent.action = Some(Action::SmallFileUpload.to_string());
    sent.part = None;
    sent.request.target = format!(
        "/v2/index.php?Action=SmallFileUpload&fileName=cover&fileSha={}&fileSize={PART}&dataSize={PART}&fileType=jpg\
         &extra.usage=1&extra.fileId=7\
         &Region=gz&Timestamp=1465185768&SecretId=redacted-1&Nonce=5&Signature=redacted-2",
        Story::file_sha1()
    );
    sent
}

/// A line a finding, for whoever reads why a test failed.
pub(super) fn to_lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| serde_json::to_string(finding).unwrap() + "\n").collect()
}
