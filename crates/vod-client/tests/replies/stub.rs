//! A stub that answers what it is told, and otherwise with the least that works with every known client.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use vod_client::{
    BytesSource, Credentials, Failure, Family, FileFacts, Options, RetryPolicy, UploadError, UploadReport, Uploader,
};
use vod_proto::{Action, action::Role, sign::SecretKey};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

pub(super) const FRESH: &str =
    r#"{"canRetry":0,"code":0,"codeDesc":" 0\n","message":"","sessionInfo":"{\"sessionKey\":\"xxx\"}"}"#;
pub(super) const EXISTS: &str =
    r#"{"canRetry":0,"code":2,"codeDesc":"","message":"","fileId":"9031868222958931071","url":"http://x/f0.mp4"}"#;
pub(super) const PART: &str = r#"{"canRetry":0,"code":0,"codeDesc":"","message":""}"#;
pub(super) const FINISHED: &str = r#"{"canRetry":0,"code":0,"codeDesc":"","fileId":"9031868222958931071","message":"","sessionInfo":"","url":"http://x/f0.mp4"}"#;
pub(super) const NEXT_STORED: &str = r#"{"code":0,"message":"","flag":1,"fileId":"9031868222958931071"}"#;

/// A reply with status 200 and this text.
pub(super) fn says(text: impl Into<Vec<u8>>) -> ResponseTemplate {
    answer(200, "application/json", text)
}

pub(super) fn answer(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.into(), kind)
}

/// What is uploaded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Two parts of the server or the UGC family.
    Steps(Family),
    /// Two parts of the legacy family, the second of which is the last.
    Sequence,
    /// A cover that is sent whole.
    Whole,
}

impl Way {
    pub(super) const ALL: [Self; 4] =
        [Self::Steps(Family::Server), Self::Steps(Family::Ugc), Self::Sequence, Self::Whole];

    pub(super) fn family(self) -> Family {
        match self {
            Self::Steps(family) => family,
            Self::Sequence => Family::Legacy,
            Self::Whole => Family::Server,
        }
    }

    /// Its requests, each of which may be answered strangely: actions, with the offset of a part.
    pub(super) fn requests(self) -> Vec<Asked> {
        match self {
            Self::Steps(family) => vec![(family.open(), None), (family.part(), Some(1000)), (family.finish(), None)],
            Self::Sequence => [0, FIRST].map(|offset| (Action::MultipartUploadVodFile, Some(offset))).into(),
            Self::Whole => vec![(Action::SmallFileUpload, None)],
        }
    }

    fn len(self) -> usize {
        if self == Self::Sequence { 600_000 } else { 1500 }
    }
}

/// The length of the first part in the legacy family.
pub(super) const FIRST: u64 = 524_288;

/// A request: its action, and where its part begins.
pub(super) type Asked = (Action, Option<u64>);

#[derive(Default)]
struct Script {
    replies: BTreeMap<Asked, VecDeque<ResponseTemplate>>,
    /// What these are always answered.
    always: BTreeMap<Asked, ResponseTemplate>,
    story: Vec<Asked>,
}

/// A stub for one upload.
pub(super) struct Stub {
    server: MockServer,
    script: Arc<Mutex<Script>>,
    way: Way,
}

/// What the stub does with a request.
struct Answers(Arc<Mutex<Script>>, Way);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| query.get(name).map(|value| value.parse::<u64>().unwrap());
        let action: Action = query["Action"].parse().unwrap();
        let asked = (action, number("offset"));
        let mut script = self.0.lock().unwrap();
        let finished = script.story.iter().any(|(action, _)| action.role() == Role::Finish);
        script.story.push(asked);
        if let Some(reply) = script.replies.get_mut(&asked).and_then(VecDeque::pop_front) {
            return reply;
        }
        if let Some(reply) = script.always.get(&asked) {
            return reply.clone();
        }
        let end = asked.1.map(|offset| offset + number("dataSize").unwrap());
        says(match action.role() {
            // Whatever became of its reply, the finish was heard.
            Role::Open if finished => EXISTS.to_owned(),
            Role::Open => FRESH.to_owned(),
            Role::Part | Role::Report => PART.to_owned(),
            Role::Finish | Role::Whole => FINISHED.to_owned(),
            Role::Next if end == Some(self.1.len() as u64) => NEXT_STORED.to_owned(),
            Role::Next => format!(r#"{{"code":0,"message":"","flag":0,"offset":"{}"}}"#, end.unwrap()),
        })
    }
}

impl Stub {
    pub(super) async fn start(way: Way) -> Self {
        let (server, script) = (MockServer::start().await, Arc::<Mutex<Script>>::default());
        Mock::given(matchers::any()).respond_with(Answers(Arc::clone(&script), way)).mount(&server).await;
        Self { server, script, way }
    }

    /// These replies, one after the other, before the usual one.
    pub(super) fn answers(self, asked: Asked, replies: impl IntoIterator<Item = ResponseTemplate>) -> Self {
        self.script.lock().unwrap().replies.insert(asked, replies.into_iter().collect());
        self
    }

    /// This reply, whenever it is asked.
    pub(super) fn always(self, asked: Asked, reply: ResponseTemplate) -> Self {
        self.script.lock().unwrap().always.insert(asked, reply);
        self
    }

    /// `InitUpload UploadPart@0 …`: what was asked, in order.
    pub(super) fn story(&self) -> String {
        let script = self.script.lock().unwrap();
        let shown = script.story.iter().map(|(action, offset)| match offset {
            Some(offset) => format!("{action}@{offset}"),
            None => action.to_string(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    pub(super) async fn upload(&self, attempts: u32) -> Result<UploadReport, UploadError> {
        // Nobody has to wait for the point of it.
        let soon = Duration::from_micros(1);
        let retry = RetryPolicy {
            attempts,
            delay_min: soon,
            delay_base: soon,
            delay_max: soon,
            retry_after_max: soon,
            quota_patience: Duration::ZERO,
            ..RetryPolicy::default()
        };
        let options = Options {
            family: self.way.family(),
            part_size: Some(if self.way == Way::Sequence { FIRST } else { 1000 }),
            parallel: 1,
            retry,
            seed: 7,
            ..Options::default()
        };
        let credentials = Credentials::new("id", SecretKey::new("Gu5t9xGARNpq86cd98joQYCN3Cozk1qA"));
        let uploader = Uploader::new(self.server.uri().parse().unwrap(), credentials).options(options);
        let facts = FileFacts {
            cover_of: (self.way == Way::Whole).then(|| "16092504232103571364".to_owned()),
            ..FileFacts::from_path("a.mp4".as_ref())
        };
        uploader.upload(BytesSource::new(vec![7; self.way.len()]), facts).await
    }
}

/// How an upload ended, and by which requests, as text.
pub(super) async fn told(stub: &Stub, attempts: u32) -> String {
    let ended = match stub.upload(attempts).await {
        Ok(report) => format!("{} as {}", report.outcome.as_str(), report.file_id),
        Err(error) => {
            let unclear = if error.may_be_committed { ", and may be committed" } else { "" };
            format!("{}: {}{unclear}", error.kind(), error.failure)
        }
    };
    format!("{ended}\n{}", stub.story())
}

/// Why an upload failed in the end, without that it was tried more than once.
pub(super) fn last(error: &UploadError) -> &Failure {
    match &error.failure {
        Failure::Exhausted { last: Some(last), .. } => last,
        failure => failure,
    }
}
