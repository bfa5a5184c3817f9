//! Does what the core says: reads, signs, sends, waits, and tells the core how it went.

use std::sync::Arc;

use ::http::Method;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use vod_proto::{
    Family, FileFacts, InitUpload, Md5, Request, UploadPart,
    reply::Reply,
    sign::{self, SignatureMethod},
};

use crate::{
    clock::Stopwatch,
    core::{Answered, CallId, Job, Plan, Send as Attempt, Step, Trouble, Upload, What},
    error::{SourceError, UploadError},
    event::Event,
    http::{Connect, Http, Outgoing},
    report::UploadReport,
    source::{self, Source},
    uploader::Uploader,
};

/// The region in every request. The documents say that any will do for this service.
const REGION: &str = "gz";

/// Runs one upload to its end.
pub(crate) async fn run<C: Connect>(
    uploader: &Uploader<C>,
    http: &Http<C>,
    source: Arc<dyn Source>,
    facts: &FileFacts,
    watch: Stopwatch,
    mut observe: impl FnMut(Event) + Send,
) -> Result<UploadReport, UploadError> {
    let options = &uploader.options;
    tracing::info!(seed = options.seed, endpoint = %uploader.endpoint, name = %facts.name, "upload begins");
    let total = source.len();
    let hashed = source::hash(&source, options.work, |done| observe(Event::Hashing { done, total })).await;
    let file_sha1 = hashed.map_err(|error| UploadError::early(error, watch.elapsed()))?;
    observe(Event::Hashed { file_sha1 });

    let mut upload = Upload::new(Plan {
        init: InitUpload { facts: facts.clone(), file_sha1, file_size: total, part_size: options.part_size },
        parallel: options.parallel,
        retry: options.retry.clone(),
        seed: options.seed,
    });
    let rim = Rim { uploader, http, source };
    let mut jobs = FuturesUnordered::new();
    loop {
        let step = upload.poll_step(watch.elapsed());
        while let Some(event) = upload.poll_event() {
            log(&event);
            observe(event);
        }
        let until = match step {
            Step::Do(job) => {
                jobs.push(rim.perform(&upload, job));
                continue;
            }
            Step::Done(result) => return result,
            Step::Wait(until) => until,
        };
        tokio::select! {
            biased;
            Some(ended) = jobs.next() => ended.tell(&mut upload, watch),
            () = sleep_until(watch, until), if until.is_some() => {}
            else => unreachable!("the core waits for a job or a time"),
        }
    }
}

async fn sleep_until(watch: Stopwatch, until: Option<std::time::Duration>) {
    if let Some(until) = until {
        tokio::time::sleep_until(watch.at(until)).await;
    }
}

/// How a job ended.
enum Ended {
    Answered { call: CallId, answered: Answered },
    Compared { index: u64, md5: Md5, same: bool },
    Checked(Result<(), SourceError>),
    SourceFailed(SourceError),
}

impl Ended {
    fn tell(self, upload: &mut Upload, watch: Stopwatch) {
        let now = watch.elapsed();
        match self {
            Self::Answered { call, answered } => upload.handle_answer(call, answered, now),
            Self::Compared { index, md5, same } => upload.handle_compared(index, md5, same, now),
            Self::Checked(result) => upload.handle_source_checked(result, now),
            Self::SourceFailed(error) => upload.handle_source_failed(error, now),
        }
    }
}

/// What jobs are done with.
struct Rim<'a, C> {
    uploader: &'a Uploader<C>,
    http: &'a Http<C>,
    source: Arc<dyn Source>,
}

impl<'a, C: Connect> Rim<'a, C> {
    fn perform(&self, upload: &Upload, job: Job) -> BoxFuture<'a, Ended> {
        let Self { uploader, http, .. } = *self;
        let (source, work) = (Arc::clone(&self.source), uploader.options.work);
        match job {
            Job::CheckSource => async move { Ended::Checked(work.run(move || source.check_unchanged()).await) }.boxed(),
            Job::Compare { index, span, md5 } => async move {
                match source::read_part(&source, work, span).await {
                    Ok((_, ours)) => Ended::Compared { index, md5, same: ours == md5 },
                    Err(error) => Ended::SourceFailed(error),
                }
            }
            .boxed(),
            Job::Send(attempt) => {
                let file_sha1 = upload.file_sha1();
                async move {
                    let Attempt { call, what, nonce, .. } = attempt;
                    let (request, body, part_md5) = match what {
                        What::Init(init) => (Request::Init(init), Bytes::new(), None),
                        What::Finish(finish) => (Request::Finish(finish), Bytes::new(), None),
                        What::Part(span) => match source::read_part(&source, work, span).await {
                            Ok((bytes, part_md5)) => {
                                (Request::Part(UploadPart { file_sha1, span, part_md5 }), bytes, Some(part_md5))
                            }
                            Err(error) => return Ended::SourceFailed(error),
                        },
                    };
                    let outgoing = sign_request(uploader, &request, body, nonce);
                    let (result, bytes): (Result<Reply, Trouble>, u64) = http.send(outgoing).await;
                    Ended::Answered { call, answered: Answered { result, part_md5, bytes } }
                }
                .boxed()
            }
        }
    }
}

/// Completes a request with what every request carries, the signature last.
fn sign_request<C>(uploader: &Uploader<C>, request: &Request, body: Bytes, nonce: u64) -> Outgoing {
    let Uploader { endpoint, credentials, options, .. } = uploader;
    let action = request.action(Family::Server);
    let (method, path) = options.dialect.request_line(action);
    let mut query = request.to_query(Family::Server);
    query.push("Region", REGION);
    query.push("Timestamp", options.clock.seconds());
    query.push("Nonce", nonce);
    query.push("SecretId", &credentials.secret_id);
    let algorithm = SignatureMethod::HmacSha1;
    sign::sign_query(&credentials.secret_key, algorithm, method, &options.sign_host, path, &mut query);
    let method = Method::from_bytes(method.as_bytes()).expect("GET and POST are methods");
    Outgoing { action, method, uri: endpoint.uri(&format!("{path}?{query}")), body }
}

fn log(event: &Event) {
    match event {
        Event::AttemptFailed { action, span, attempt, failure, retry_in } => {
            let part = span.map(tracing::field::display);
            match retry_in {
                Some(delay) => tracing::warn!(%action, part, attempt, ?delay, "{failure}; will be tried again"),
                // What ends the upload is told by its error; all else that is not retried is followed by a reopening.
                None => tracing::debug!(%action, part, attempt, "{failure}"),
            }
        }
        Event::Reopening { because } => tracing::warn!("asking what the server has, because: {because}"),
        event => tracing::debug!(?event),
    }
}

#[cfg(test)]
mod tests;
