//! What differs between two lists of exchanges, by meaning: what was asked how often, and what was answered.
//!
//! When things happened, in which order those that are free of each other came, and what signs a request differs between any
//! two runs, and counts for nothing here.

use std::{collections::BTreeMap, fmt};

use vod_proto::{Exchange, PartSpan, Sha1, Size, exchange::End, timeline::came_of};

/// How many parts are named, of those that differ in the same way.
const PARTS_NAMED: usize = 4;

/// One thing that was asked in either list, and not with the same answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The upload, where either list has several.
    pub upload: Option<Sha1>,
    /// What was asked: the action, or the path where there is none.
    pub asked: String,
    /// The parts of which this is true, in their order in the file; empty for what sends none.
    pub parts: Vec<PartSpan>,
    /// What came of it each time, in order, in the first list and in the second.
    pub came_of_it: [Vec<String>; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sha1) = self.upload {
            write!(f, "{sha1} ")?;
        }
        write!(f, "{}", self.asked)?;
        for (at, part) in self.parts.iter().take(PARTS_NAMED).enumerate() {
            write!(f, "{} {}", if at == 0 { " at" } else { "," }, Size::new(part.offset))?;
        }
        if self.parts.len() > PARTS_NAMED {
            write!(f, " … ({} parts)", self.parts.len())?;
        }
        let times = |came: &[String]| match came.len() {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let [a, b] = &self.came_of_it;
        match (times(a), times(b)) {
            (a, b) if a == b => write!(f, ": asked {a}")?,
            (a, b) => write!(f, ": asked {a}, and {b}")?,
        }
        for (name, came) in ["A", "B"].iter().zip(&self.came_of_it).filter(|(_, came)| !came.is_empty()) {
            write!(f, "\n    {name}: {}", came.join("; "))?;
        }
        Ok(())
    }
}

/// What was asked: upload, action or path, part.
type Role = (Option<Sha1>, String, Option<PartSpan>);

/// What differs between two lists. Uploads are told apart by their file; where each list has a single one, the files may
/// differ too.
#[must_use]
pub fn diff(a: &[Exchange], b: &[Exchange]) -> Vec<Difference> {
    let single = [a, b].iter().all(|exchanges| {
        let mut uploads: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.file_sha1).collect();
        uploads.sort_unstable();
        uploads.dedup();
        uploads.len() <= 1
    });
    let mut roles = BTreeMap::<Role, ([Vec<String>; 2], u64)>::new();
    for (at, exchanges) in [a, b].into_iter().enumerate() {
        let mut exchanges: Vec<_> = exchanges.iter().collect();
        exchanges.sort_by_key(|exchange| exchange.seq);
        for exchange in exchanges {
            let role = role(exchange, single);
            let (came, _) = roles.entry(role).or_insert_with(|| ([vec![], vec![]], exchange.seq));
            came[at].push(what_came(exchange));
        }
    }
    let mut differing: Vec<_> = roles.into_iter().filter(|(_, ([a, b], _))| a != b).collect();
    differing.sort_by_key(|(_, (_, first_seq))| *first_seq);
    let mut differences: Vec<Difference> = Vec::new();
    for ((upload, asked, part), (came_of_it, _)) in differing {
        let alike = |other: &&mut Difference| {
            part.is_some() && (other.upload, &other.asked, &other.came_of_it) == (upload, &asked, &came_of_it)
        };
        match differences.iter_mut().find(alike) {
            Some(other) => other.parts.extend(part),
            None => differences.push(Difference { upload, asked, parts: part.into_iter().collect(), came_of_it }),
        }
    }
    for difference in &mut differences {
        difference.parts.sort_unstable_by_key(|part| part.offset);
    }
    differences
}

fn role(exchange: &Exchange, single: bool) -> Role {
    let upload = exchange.file_sha1.filter(|_| !single);
    let asked = exchange.action.clone().unwrap_or_else(|| {
        let (path, _) = exchange.path_and_query();
        format!("{} {path}", exchange.request.method)
    });
    (upload, asked, exchange.part)
}

/// What came of an exchange, and of how much of a body nobody knows the rest.
fn what_came(exchange: &Exchange) -> String {
    let came = came_of(exchange);
    match (exchange.end, exchange.part) {
        (End::Replied, Some(part)) if exchange.request.body.len != part.len => {
            format!("{came} to a body of {} bytes", exchange.request.body.len)
        }
        _ => came,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use vod_proto::exchange::Unreached;

    use super::*;
    use crate::look::crafted::{exchange, plain, retried};

    fn told(a: &[Exchange], b: &[Exchange]) -> String {
        diff(a, b).iter().map(|difference| format!("{difference}\n")).collect()
    }

    #[test]
    fn what_any_two_runs_differ_in_counts_for_nothing() {
        let mut other = plain();
        other.swap(1, 3);
        for (exchange, seq) in other.iter_mut().zip(1..) {
            exchange.seq = seq;
            exchange.start += jiff::SignedDuration::from_secs(3);
            exchange.account = None;
            exchange.request.target += "&Nonce=7&Signature=redacted-n1";
            exchange.file_sha1 = Some(Sha1::of(b"another video"));
        }
        assert_eq!(told(&plain(), &other), "");
    }

    #[test]
    fn what_was_asked_more_often_or_answered_otherwise_is_told_in_order() {
        let mut other = retried();
        let reply = other[0].reply.as_mut().unwrap();
        (reply.status, reply.body) = (503, "busy".to_owned());
        other[4].request.body.len = 7;
        other.remove(1);
        expect![[r#"
            InitUpload: asked once
                A: code 0
                B: HTTP 503
            UploadPart at 0 bytes: asked once, and never
                A: code 0
            UploadPart at 1MiB: asked once, and 2 times
                A: code 0
                B: reset; code 0 to a body of 7 bytes
        "#]]
        .assert_eq(&told(&plain(), &other));
    }

    #[test]
    fn the_same_status_of_a_server_and_of_a_proxy_that_did_not_reach_it_are_told_apart() {
        let mut servers = plain();
        servers[0].reply.as_mut().unwrap().status = 502;
        servers[0].reply.as_mut().unwrap().body = "refused".to_owned();
        let mut own = servers.clone();
        own[0].unreached = Some(Unreached::Refused);
        expect![[r#"
            InitUpload: asked once
                A: HTTP 502
                B: HTTP 502, of the proxy: the server refused the connection
        "#]]
        .assert_eq(&told(&servers, &own));
    }

    #[test]
    fn parts_that_differ_alike_are_told_as_one_and_several_uploads_apart() {
        let mut other = plain();
        other.extend((4..=9).map(|number| exchange(10 + number, "UploadPart", Some(number), None)));
        expect![[r#"
            UploadPart at 3MiB, 4MiB, 5MiB, 6MiB … (6 parts): asked never, and once
                B: reset
        "#]]
        .assert_eq(&told(&plain(), &other));
        let another = Sha1::of(b"another video");
        let mut both = plain();
        let opened = Exchange { seq: 30, file_sha1: Some(another), ..both[0].clone() };
        both.push(opened);
        let told = told(&plain(), &both);
        assert_eq!(told, format!("{another} InitUpload: asked never, and once\n    B: code 0\n"));
    }
}
