//! Exchanges as a HAR file (HTTP Archive 1.2), for browsers' developer tools and whatever else reads it.
//!
//! An export, not a format of ours: HAR cannot say how a connection ended, holds no binary body of a request, and knows
//! neither uploads nor faults. What it cannot say stands in `comment` fields.

use serde_json::{Value, json};
use vod_proto::{
    Exchange, Query,
    exchange::{End, Kept, Mark},
    timeline::came_of,
};

/// A HAR file of these exchanges. `comment` says what they are.
#[must_use]
pub fn har(exchanges: &[Exchange], comment: &str) -> Value {
    let entries: Vec<_> = exchanges.iter().map(entry).collect();
    json!({ "log": {
        "version": "1.2",
        "creator": { "name": "vod-proxy", "version": env!("CARGO_PKG_VERSION") },
        "pages": [],
        "entries": entries,
        "comment": comment,
    }})
}

fn entry(exchange: &Exchange) -> Value {
    let times = exchange.times;
    let ms = |us: u64| f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1000.0;
    let sent = times.body_done.unwrap_or(0);
    let done = times.reply_done.unwrap_or(sent).max(sent);
    let mut entry = json!({
        "startedDateTime": format!("{:.6}", exchange.start),
        "time": ms(done),
        "request": request(exchange),
        "response": response(exchange),
        "cache": {},
        "timings": { "blocked": -1, "dns": -1, "connect": -1, "send": ms(sent), "wait": ms(done - sent), "receive": 0, "ssl": -1 },
        "comment": remarks(exchange),
    });
    if exchange.end != End::Replied {
        // What browsers write, and show, where a request failed.
        entry["response"]["_error"] = exchange.end.word().into();
    }
    entry
}

/// What HAR has no place for.
fn remarks(exchange: &Exchange) -> String {
    let mut remarks = vec![format!("exchange {}, attempt {}", exchange.seq, exchange.attempt)];
    remarks.extend(exchange.action.as_ref().map(|action| format!("action {action}")));
    remarks.extend(exchange.file_sha1.map(|sha1| format!("upload {sha1}")));
    remarks.extend(exchange.part.map(|part| format!("part {part}")));
    remarks.extend(exchange.account.as_ref().map(|account| format!("account {account}")));
    remarks.push(format!("came to: {}", came_of(exchange)));
    if exchange.end != End::Replied && exchange.reply.is_some() {
        remarks.push(format!("the reply was not wholly written: {}", exchange.end));
    }
    remarks.join("; ")
}

fn request(exchange: &Exchange) -> Value {
    let request = &exchange.request;
    let (_, query) = Query::split_target(&request.target);
    let scheme = if request.tls { "https" } else { "http" };
    let pairs =
        query.pairs().map(|pair| json!({ "name": pair.name(), "value": pair.value(vod_proto::query::Decoding::Form) }));
    let mut shown = json!({
        "method": request.method,
        "url": format!("{scheme}://{}{}", request.host, request.target),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&request.headers),
        "queryString": pairs.collect::<Vec<_>>(),
        "headersSize": -1,
        "bodySize": request.body.len,
    });
    if request.body.len > 0 {
        shown["postData"] = json!({
            "mimeType": header(&request.headers, "content-type").unwrap_or("application/octet-stream"),
            "params": [],
            "text": "",
            "comment": format!("HAR holds no binary body: {}", mark(&request.body)),
        });
    }
    shown
}

fn response(exchange: &Exchange) -> Value {
    let Some(reply) = &exchange.reply else {
        return json!({
            "status": 0, "statusText": "", "httpVersion": "HTTP/1.1", "cookies": [], "headers": [],
            "content": { "size": 0, "mimeType": "x-unknown" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
            "comment": format!("no reply: {}", exchange.end),
        });
    };
    let size = reply.mark.as_ref().map_or(reply.body.len() as u64, |mark| mark.len);
    let mut content = json!({
        "size": size,
        "mimeType": header(&reply.headers, "content-type").unwrap_or("x-unknown"),
    });
    match &reply.mark {
        None => content["text"] = reply.body.clone().into(),
        Some(body) => content["comment"] = format!("not in this file: {}", mark(body)).into(),
    }
    let status = http::StatusCode::from_u16(reply.status).ok();
    json!({
        "status": reply.status,
        "statusText": status.and_then(|status| status.canonical_reason()).unwrap_or(""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&reply.headers),
        "content": content,
        "redirectURL": header(&reply.headers, "location").unwrap_or(""),
        "headersSize": -1,
        "bodySize": size,
    })
}

/// What is known of a body whose bytes do not stand there.
fn mark(body: &Mark) -> String {
    let mut text = format!("{} bytes", body.len);
    if let Some(sha1) = body.sha1 {
        text += &format!(", SHA-1 {sha1}");
    }
    if let Some(md5) = body.md5 {
        text += &format!(", MD5 {md5}");
    }
    match (body.kept, body.sha1) {
        (Kept::File, Some(sha1)) => text + &format!(", kept as bodies/{sha1}"),
        _ => text + ", not kept",
    }
}

fn headers(headers: &[(String, String)]) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::look::crafted::retried;

    #[test]
    fn an_exchange_without_an_answer_and_bodies_that_are_elsewhere_say_so() {
        let mut exchanges = retried();
        exchanges.truncate(5);
        let long = Mark { len: 9_000_000, kept: Kept::File, ..exchanges[4].request.body.clone() };
        let reply = exchanges[4].reply.as_mut().unwrap();
        (reply.body, reply.mark) = (String::new(), Some(long));
        let har = har(&exchanges[2..], "a test");
        expect![[r#"
            {
              "cache": {},
              "comment": "exchange 3, attempt 1; action UploadPart; upload ffbaf58f1231628f9ac2a583f038b51719006ec6; part 1048576+1048576; account redacted-0011223344556677; came to: reset",
              "request": {
                "bodySize": 1048576,
                "cookies": [],
                "headers": [
                  {
                    "name": "user-agent",
                    "value": "test/1"
                  }
                ],
                "headersSize": -1,
                "httpVersion": "HTTP/1.1",
                "method": "POST",
                "postData": {
                  "comment": "HAR holds no binary body: 1048576 bytes, SHA-1 6ec840a81833ee228e8e403fb036926a90ce15c6, not kept",
                  "mimeType": "application/octet-stream",
                  "params": [],
                  "text": ""
                },
                "queryString": [
                  {
                    "name": "Action",
                    "value": "UploadPart"
                  },
                  {
                    "name": "offset",
                    "value": "1048576"
                  },
                  {
                    "name": "dataSize",
                    "value": "1048576"
                  }
                ],
                "url": "https://vod2.qcloud.com/v2/index.php?Action=UploadPart&offset=1048576&dataSize=1048576"
              },
              "response": {
                "_error": "reset",
                "bodySize": -1,
                "comment": "no reply: reset",
                "content": {
                  "mimeType": "x-unknown",
                  "size": 0
                },
                "cookies": [],
                "headers": [],
                "headersSize": -1,
                "httpVersion": "HTTP/1.1",
                "redirectURL": "",
                "status": 0,
                "statusText": ""
              },
              "startedDateTime": "1970-01-01T00:00:00.300000Z",
              "time": 50.0,
              "timings": {
                "blocked": -1,
                "connect": -1,
                "dns": -1,
                "receive": 0,
                "send": 20.0,
                "ssl": -1,
                "wait": 30.0
              }
            }"#]].assert_eq(&format!("{:#}", har["log"]["entries"][0]));
        expect![[r#"
            {
              "bodySize": 9000000,
              "content": {
                "comment": "not in this file: 9000000 bytes, SHA-1 6ec840a81833ee228e8e403fb036926a90ce15c6, kept as bodies/6ec840a81833ee228e8e403fb036926a90ce15c6",
                "mimeType": "application/json",
                "size": 9000000
              },
              "cookies": [],
              "headers": [
                {
                  "name": "content-type",
                  "value": "application/json"
                }
              ],
              "headersSize": -1,
              "httpVersion": "HTTP/1.1",
              "redirectURL": "",
              "status": 200,
              "statusText": "OK"
            }"#]].assert_eq(&format!("{:#}", har["log"]["entries"][2]["response"]));
        assert_eq!(har["log"]["version"], "1.2");
    }
}
