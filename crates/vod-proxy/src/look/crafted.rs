//! Exchanges for tests, of an upload of three parts of 1 MiB.

use jiff::Timestamp;
use vod_proto::{
    Exchange, PartSpan, Sha1,
    exchange::{End, FORMAT, Kept, Mark, ReplyRecord, RequestRecord, Times},
};

pub(crate) const INIT: &str = r#"{"code":0,"message":"","canRetry":0}"#;
pub(crate) const DONE: &str = r#"{"code":0,"message":"","fileId":"1500","url":"http://h/v.mp4"}"#;

/// An exchange, 100 ms after the one before it and over in 50.
pub(crate) fn exchange(seq: u64, action: &str, part: Option<u64>, reply: Option<&str>) -> Exchange {
    let part = part.map(|number| PartSpan { offset: (number - 1) << 20, len: 1 << 20 });
    let span = part.map(|part| format!("&offset={}&dataSize={}", part.offset, part.len)).unwrap_or_default();
    let len = part.map_or(0, |part| part.len);
    let sha1 = part.map(|part| Sha1::of(&part.offset.to_be_bytes()));
    let start = Timestamp::from_millisecond(i64::try_from(seq).unwrap() * 100).unwrap();
    Exchange {
        v: FORMAT,
        seq,
        start,
        account: Some("redacted-0011223344556677".to_owned()),
        action: Some(action.to_owned()),
        file_sha1: Some(Sha1::of(b"video")),
        part,
        part_number: None,
        attempt: 1,
        request: RequestRecord {
            method: "POST".to_owned(),
            host: "vod2.qcloud.com".to_owned(),
            target: format!("/v2/index.php?Action={action}{span}"),
            headers: vec![("user-agent".to_owned(), "test/1".to_owned())],
            body: Mark { len, sha1, md5: None, kept: Kept::Digest },
            tls: true,
        },
        reply: reply.map(|body| ReplyRecord {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_owned(),
            mark: None,
        }),
        unreached: None,
        end: if reply.is_some() { End::Replied } else { End::Reset },
        faults: vec![],
        times: Times { first_byte: part.map(|_| 1_000), body_done: part.map(|_| 20_000), reply_done: Some(50_000) },
    }
}

/// A whole upload in which nothing went wrong.
pub(crate) fn plain() -> Vec<Exchange> {
    vec![
        exchange(1, "InitUpload", None, Some(INIT)),
        exchange(2, "UploadPart", Some(1), Some(INIT)),
        exchange(3, "UploadPart", Some(2), Some(INIT)),
        exchange(4, "UploadPart", Some(3), Some(INIT)),
        exchange(5, "FinishUpload", None, Some(DONE)),
    ]
}

/// The same, but the answer to the second part was lost, and it was sent again.
pub(crate) fn retried() -> Vec<Exchange> {
    let mut exchanges = plain();
    exchanges[2] = exchange(3, "UploadPart", Some(2), None);
    let mut again = exchange(5, "UploadPart", Some(2), Some(INIT));
    again.attempt = 2;
    exchanges.insert(4, again);
    exchanges[5] = exchange(6, "FinishUpload", None, Some(DONE));
    exchanges
}
