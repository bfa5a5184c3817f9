//! Sessions made by hand, for the tests of this room.

use jiff::Timestamp;
use vod_proto::{
    Action, Exchange, Md5, Query, Sha1,
    exchange::{End, FORMAT, Kept, Mark, ReplyRecord, RequestRecord, Times},
    request::Claims,
    sign::SecretKey,
    ugc::UploadSignature,
};

pub(super) const OK: &str = r#"{"code":0}"#;

/// What was recorded, in the order in which it came.
#[derive(Clone, Default)]
pub(super) struct Session {
    pub(super) exchanges: Vec<Exchange>,
}

pub(super) fn file() -> Sha1 {
    Sha1::of(b"the file")
}

/// The target of a call with these parameters, with what differs from run to run as this number says.
pub(super) fn call(action: Action, params: &[(&str, &str)], run: u64) -> String {
    let mut query = Query::default();
    query.push("Action", action);
    let (run, sha) = (run.to_string(), file().to_string());
    let volatile =
        [("fileSha", &*sha), ("Timestamp", &*run), ("Nonce", &*run), ("SecretId", "redacted-1"), ("Region", "gz")];
    params.iter().chain(&volatile).for_each(|(name, value)| query.push(name, value));
    query.push("Signature", format!("redacted-s{run}"));
    format!("/v2/index.php?{query}")
}

/// The target of a part.
pub(super) fn part(offset: u64, bytes: &[u8], run: u64) -> String {
    let (offset, len, md5) = (offset.to_string(), bytes.len().to_string(), Md5::of(bytes).to_string());
    call(Action::UploadPart, &[("offset", &offset), ("dataSize", &len), ("dataMd5", &md5)], run)
}

/// The target of the end of an upload in the family of browsers, whose signature has these fields beside the volatile ones.
pub(super) fn ugc_finish(fields: &str, run: u64) -> String {
    let original = format!("s=redacted-{run}&fs={}&t={run}&e={run}&r={run}&{fields}", file());
    let mut query = Query::parse("Action=FinishUploadEx");
    query.push("signature", UploadSignature::sign(&SecretKey::new(run.to_string()), &Query::parse(&original)));
    format!("/v2/index.php?{query}")
}

impl Session {
    /// A request that was answered so, or not at all.
    pub(super) fn push(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
        reply: Option<&str>,
        end: End,
    ) -> &mut Exchange {
        let (_, query) = Query::split_target(target);
        let claims = Claims::of(&query);
        let seq = self.exchanges.len() as u64 + 1;
        self.exchanges.push(Exchange {
            v: FORMAT,
            seq,
            start: Timestamp::UNIX_EPOCH,
            account: claims.secret_id.map(|id| id.into_owned()),
            action: claims.action.map(|action| action.into_owned()),
            file_sha1: claims.file_sha1,
            part: claims.part,
            part_number: None,
            attempt: 1,
            request: RequestRecord {
                method: method.to_owned(),
                host: "vod2.qcloud.com".to_owned(),
                target: target.to_owned(),
                headers: vec![("content-length".to_owned(), body.len().to_string())],
                body: Mark {
                    len: body.len() as u64,
                    sha1: (!body.is_empty()).then(|| Sha1::of(body)),
                    md5: None,
                    kept: Kept::Digest,
                },
                tls: false,
            },
            reply: reply.map(|body| ReplyRecord {
                status: 200,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: body.to_owned(),
                mark: None,
            }),
            unreached: None,
            end,
            faults: vec![],
            times: Times::default(),
        });
        self.exchanges.last_mut().expect("it was just pushed")
    }

    pub(super) fn init(&mut self, reply: &str) -> &mut Exchange {
        let target = call(Action::InitUpload, &[("dataSize", "4"), ("fileName", "a b")], 1);
        self.push("GET", &target, b"", Some(reply), End::Replied)
    }

    pub(super) fn part(&mut self, offset: u64, bytes: &[u8], reply: &str) -> &mut Exchange {
        self.push("POST", &part(offset, bytes, 1), bytes, Some(reply), End::Replied)
    }

    pub(super) fn broken_part(&mut self, offset: u64, bytes: &[u8], end: End) -> &mut Exchange {
        self.push("POST", &part(offset, bytes, 1), bytes, None, end)
    }

    pub(super) fn finish(&mut self, reply: &str) -> &mut Exchange {
        self.push("GET", &call(Action::FinishUpload, &[], 1), b"", Some(reply), End::Replied)
    }
}
