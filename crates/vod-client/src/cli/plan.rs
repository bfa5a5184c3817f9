//! `--dry-run`: what an upload would do, found out by asking the machine that decides about uploads and answering it as a
//! server does that has nothing of the file. So a plan cannot differ from the upload, and nothing is sent.

use std::{path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use vod_proto::{
    Action, FileFacts, InitUpload, Md5, NextPart, PartSpan, Request, Sha1, UploadPart,
    action::Role,
    redact::Redactor,
    reply::{InitReply, NextReply, Reply, Stored},
};

use super::early;
use crate::{
    core::{Answered, Job, Machine, Plan as Start, Send as Attempt, Step, What},
    error::{SourceError, UploadError},
    signer::{self, Line, Signer},
    source::{Digests, FileSource, Parts, Source},
    uploader::Uploader,
};

/// How many parts are shown at each end.
const SHOWN: usize = 2;

/// What an upload would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Plan {
    pub(super) size: u64,
    pub(super) file_sha1: Sha1,
    pub(super) endpoint: String,
    pub(super) family: &'static str,
    /// The grid; in the legacy family, the size of the parts behind the first.
    pub(super) part_size: u64,
    pub(super) parts: u64,
    /// The first parts and the last; all if they are few.
    pub(super) spans: Vec<PartSpan>,
    /// The requests of these parts, and those before and after them.
    pub(super) requests: Vec<PlannedRequest>,
    /// Of all parts.
    pub(super) request_count: u64,
    /// The bytes of all bodies.
    pub(super) bytes: u64,
}

/// A request that would be made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PlannedRequest {
    pub(super) action: Action,
    pub(super) method: &'static str,
    /// Path and query; what proves the request is replaced, and the time is that of the plan.
    pub(super) target: String,
    pub(super) body_bytes: u64,
}

/// Reads the file and finds out what an upload of it would do.
pub(super) async fn make(uploader: &Uploader, path: &Path, facts: &FileFacts) -> Result<Plan, UploadError> {
    let options = &uploader.options;
    uploader.check(facts).map_err(early)?;
    let source: Arc<dyn Source> = Arc::new(FileSource::open(path).map_err(early)?);
    if source.is_empty() {
        return Err(early(SourceError::Empty));
    }
    signer::check(&uploader.credentials, options).map_err(early)?;
    let size = source.len();
    let digests = Digests::take(&source, options.work, options.md5_grid(), drop).await.map_err(early)?;
    let file_sha1 = digests.sha1();
    let signer = Signer::new(&uploader.credentials, options, facts, file_sha1).map_err(early)?;
    let init = InitUpload { facts: facts.clone(), file_sha1, file_size: size, part_size: options.part_size() };
    let calls = Calls::of(Start {
        family: options.family,
        init,
        parallel: 1,
        retry: options.retry.clone(),
        seed: options.seed,
    });
    let parts = Parts::new(source, options.work, digests);
    // Nothing is kept that another plan would have to agree with.
    let redactor = Redactor::new([0; 32]);
    let mut requests = Vec::new();
    for Attempt { what, nonce, .. } in calls.shown {
        let (request, body_bytes) = match what {
            What::Init(init) => (Request::Init(init), 0),
            What::Finish(finish) => (Request::Finish(finish), 0),
            What::Part(span) => {
                let part_md5 = parts.md5(span).await.map_err(early)?;
                (Request::Part(UploadPart { file_sha1, span, part_md5 }), span.len)
            }
            What::Next(span) => {
                (Request::Next(NextPart { facts: facts.clone(), file_sha1, file_size: size, span }), span.len)
            }
            What::Whole(whole) => (Request::Whole(whole), size),
        };
        let Line { action, method, target } = signer.line(&request, nonce);
        requests.push(PlannedRequest { action, method, target: redactor.target(&target), body_bytes });
    }
    Ok(Plan {
        size,
        file_sha1,
        endpoint: uploader.endpoint.to_string(),
        family: options.family.name(),
        part_size: options.part_size(),
        parts: calls.parts,
        spans: calls.spans,
        requests,
        request_count: calls.count,
        bytes: calls.bytes,
    })
}

/// What the machine asks for.
#[derive(Default)]
struct Calls {
    shown: Vec<Attempt>,
    spans: Vec<PartSpan>,
    parts: u64,
    count: u64,
    bytes: u64,
}

impl Calls {
    fn of(start: Start) -> Self {
        let (size, now) = (start.init.file_size, Duration::ZERO);
        let (mut machine, mut calls) = (Machine::new(start), Self::default());
        loop {
            match machine.poll_step(now) {
                Step::Do(Job::Send(attempt)) => {
                    let (call, answered) = (attempt.call, answer(&attempt, size));
                    calls.note(attempt, size);
                    machine.handle_answer(call, answered, now);
                }
                Step::Do(Job::CheckSource) => machine.handle_source_checked(Ok(()), now),
                Step::Do(Job::Compare { .. }) => unreachable!("the server listed no part"),
                Step::Wait(_) => unreachable!("every request was answered at once"),
                Step::Done(_) => return calls,
            }
            while machine.poll_event().is_some() {}
        }
    }

    fn note(&mut self, attempt: Attempt, size: u64) {
        self.count += 1;
        let whole = matches!(attempt.what, What::Whole(_)).then_some(PartSpan { offset: 0, len: size });
        let Some(span) = attempt.what.span().or(whole) else { return self.shown.push(attempt) };
        self.parts += 1;
        self.bytes += span.len;
        self.spans.push(span);
        self.shown.push(attempt);
        // Beyond the first ones and the last, the middle is forgotten as it comes.
        if self.spans.len() > 2 * SHOWN {
            self.spans.remove(SHOWN);
            let parts_at = self.shown.len() - 2 * SHOWN - 1;
            self.shown.remove(parts_at + SHOWN);
        }
    }
}

/// The answer of a server that has nothing of the file and takes everything.
fn answer(attempt: &Attempt, size: u64) -> Answered {
    let end = attempt.what.span().map_or(size, PartSpan::end);
    let stored = || Stored::new("0");
    let reply = match attempt.call.action.role() {
        Role::Open => Reply::Init(InitReply::Fresh),
        Role::Part | Role::Report => Reply::Part,
        Role::Finish | Role::Whole => Reply::Finish(stored()),
        Role::Next if end == size => Reply::Next(NextReply::Stored(stored())),
        Role::Next => Reply::Next(NextReply::Continue { offset: end }),
    };
    // Which MD5 a part had is of no interest to a plan: nothing is compared with it.
    Answered { result: Ok(reply), part_md5: Some(Md5::of(b"")), bytes: 0 }
}

impl Plan {
    /// As people read it.
    pub(super) fn in_words(&self, path: &Path) -> String {
        let Self { size, file_sha1, endpoint, family, part_size, parts, spans, requests, request_count, bytes } = self;
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let mut text = format!("{}: {size} bytes, SHA-1 {file_sha1}\n", path.display());
        let left_out = parts - spans.len() as u64;
        let mut shown: Vec<_> = spans.iter().map(ToString::to_string).collect();
        if left_out > 0 {
            shown.insert(SHOWN, format!("… {left_out} more …"));
        }
        text += &format!("{parts} part{}, in a grid of {part_size} bytes: {}\n", plural(*parts), shown.join(", "));
        text += &format!(
            "to {endpoint}, in the {family} family: {request_count} request{} with {bytes} bytes, if the server has \
             nothing of it",
            plural(*request_count)
        );
        let mut bodies = 0;
        for PlannedRequest { method, target, body_bytes, .. } in requests {
            if *body_bytes > 0 {
                if left_out > 0 && bodies == SHOWN {
                    text += &format!("\n  … {left_out} more …");
                }
                bodies += 1;
            }
            let body = if *body_bytes > 0 { format!(" with {body_bytes} bytes") } else { String::new() };
            text += &format!("\n  {method} {target}{body}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::{Family, Limits};

    use super::*;
    use crate::core::RetryPolicy;

    /// How many requests, and which are shown.
    fn check(family: Family, file_size: u64, part_size: u64, cover_of: Option<&str>, expected: &str) {
        let facts = FileFacts {
            name: "n".to_owned(),
            file_type: "mp4".to_owned(),
            cover_of: cover_of.map(str::to_owned),
            ..FileFacts::default()
        };
        let init = InitUpload { facts, file_sha1: Sha1::of(b""), file_size, part_size };
        let calls = Calls::of(Start { family, init, parallel: 1, retry: RetryPolicy::default(), seed: 7 });
        let shown = calls.shown.iter().map(|attempt| match attempt.what.span() {
            Some(span) => span.to_string(),
            None => attempt.call.action.to_string(),
        });
        let shown = shown.collect::<Vec<_>>().join(" ");
        let story = format!("{} parts, {} bytes, {} requests: {shown}", calls.parts, calls.bytes, calls.count);
        assert_eq!(story, expected, "{family}, {file_size} bytes");
    }

    #[test]
    fn the_first_parts_and_the_last_are_shown_and_all_are_counted() {
        check(Family::Server, 5, 10, None, "1 parts, 5 bytes, 3 requests: InitUpload 0+5 FinishUpload");
        check(
            Family::Ugc,
            35,
            10,
            None,
            "4 parts, 35 bytes, 6 requests: InitUploadEx 0+10 10+10 20+10 30+5 FinishUploadEx",
        );
        check(
            Family::Server,
            95,
            10,
            None,
            "10 parts, 95 bytes, 12 requests: InitUpload 0+10 10+10 80+10 90+5 FinishUpload",
        );
        let first = Limits::default().legacy_first_part;
        check(
            Family::Legacy,
            first + 1_000_005,
            100_000,
            None,
            "12 parts, 1524293 bytes, 12 requests: 0+524288 524288+100000 1424288+100000 1524288+5",
        );
        check(Family::Server, 5, 10, Some("7"), "1 parts, 5 bytes, 1 requests: SmallFileUpload");
    }
}
