//! Does what the core says: reads, signs, sends, waits, and tells the core how it went.

use std::sync::Arc;

use ::http::Method;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use vod_proto::{FileFacts, InitUpload, Md5, NextPart, PartSpan, Request, UploadPart, reply::Reply};

#[cfg(feature = "mutants")]
use crate::mutant::{Machine, Parts, Signer};
use crate::{
    clock::Stopwatch,
    core::{Answered, CallId, Job, Plan, Send as Attempt, Step, Trouble, What},
    error::{Failure, SourceError, UploadError},
    event::Event,
    http::{Connect, Http, Outgoing},
    report::UploadReport,
    signer::{self, Line},
    source::{Cache, Digests, Identity, Source, Work},
    uploader::{Endpoint, Options, Uploader},
};
#[cfg(not(feature = "mutants"))]
use crate::{core::Machine, signer::Signer, source::Parts};

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
    let early = |error| UploadError::early(error, watch.elapsed());
    signer::check(&uploader.credentials, options).map_err(early)?;
    let total = source.len();
    observe(Event::Queued { total });
    let kept = Kept::of(options, &source).await;
    let found = kept.look().await;
    let cached = found.is_some();
    let digests = match found {
        Some(digests) => digests,
        None => {
            let hashing = |done| observe(Event::Hashing { done, total });
            let taken = Digests::take(&source, options.work, options.md5_grid(), hashing).await;
            let digests = taken.map_err(|error| UploadError::early(error, watch.elapsed()))?;
            kept.keep(&source, digests).await
        }
    };
    let file_sha1 = digests.sha1();
    observe(Event::Hashed { file_sha1, cached });
    let signer = Signer::new(&uploader.credentials, options, facts, file_sha1).map_err(early)?;

    let mut upload = Machine::new(Plan {
        family: options.family,
        init: InitUpload { facts: facts.clone(), file_sha1, file_size: total, part_size: options.part_size() },
        parallel: options.parallel,
        retry: options.retry.clone(),
        seed: options.seed,
    });
    let parts = Parts::new(source, options.work, digests);
    let rim = Rim { endpoint: &uploader.endpoint, signer: &signer, http, facts, parts: &parts };
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
            Step::Done(result) => {
                if let Err(UploadError { failure: Failure::Rejected(_) | Failure::Source(_), .. }) = &result {
                    // They may be to blame: the next upload looks for itself.
                    kept.forget().await;
                }
                return result;
            }
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

/// What is known of the digests of a source from an earlier upload, if anything is kept.
struct Kept {
    place: Option<(Cache, Identity)>,
    work: Work,
}

impl Kept {
    async fn of(options: &Options, source: &Arc<dyn Source>) -> Self {
        let work = options.work;
        let place = match options.digest_cache.as_deref().map(Cache::at) {
            Some(cache) => {
                let source = Arc::clone(source);
                work.run(move || source.identity()).await.map(|identity| (cache, identity))
            }
            None => None,
        };
        Self { place, work }
    }

    async fn with<R: Send + 'static>(&self, act: impl FnOnce(Cache, Identity) -> R + Send + 'static) -> Option<R> {
        let (cache, identity) = self.place.clone()?;
        Some(self.work.run(move || act(cache, identity)).await)
    }

    async fn look(&self) -> Option<Digests> {
        let found = self.with(|cache, identity| cache.look(&identity)).await.flatten();
        if found.is_some() {
            tracing::debug!("the file's digests are known from an earlier upload");
        }
        found
    }

    /// Keeps digests, if the source is still what it was.
    async fn keep(&self, source: &Arc<dyn Source>, digests: Digests) -> Digests {
        let (source, digests) = (Arc::clone(source), Arc::new(digests));
        let kept = Arc::clone(&digests);
        let done = self.with(move |cache, identity| match source.check_unchanged() {
            Ok(()) => cache.keep(&identity, &kept),
            Err(_) => Ok(()),
        });
        if let Some(Err(error)) = done.await {
            tracing::warn!(%error, "the file's digests cannot be kept: it will be read again");
        }
        Arc::into_inner(digests).expect("whoever kept them is done")
    }

    async fn forget(&self) {
        self.with(|cache, identity| cache.forget(&identity)).await;
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
    fn tell(self, upload: &mut Machine, watch: Stopwatch) {
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
    endpoint: &'a Endpoint,
    signer: &'a Signer<'a>,
    http: &'a Http<C>,
    facts: &'a FileFacts,
    parts: &'a Parts,
}

impl<'a, C: Connect> Rim<'a, C> {
    fn perform(&self, upload: &Machine, job: Job) -> BoxFuture<'a, Ended> {
        let Self { endpoint, signer, http, facts, parts } = *self;
        match job {
            Job::CheckSource => async move { Ended::Checked(parts.check_unchanged().await) }.boxed(),
            Job::Compare { index, span, md5 } => async move {
                match parts.md5(span).await {
                    Ok(ours) => Ended::Compared { index, md5, same: ours == md5 },
                    Err(error) => Ended::SourceFailed(error),
                }
            }
            .boxed(),
            Job::Send(attempt) => {
                let (file_sha1, file_size) = (upload.file_sha1(), parts.len());
                async move {
                    let Attempt { call, what, nonce, .. } = attempt;
                    let (request, body, part_md5) = match what {
                        What::Init(init) => (Request::Init(init), Bytes::new(), None),
                        What::Finish(finish) => (Request::Finish(finish), Bytes::new(), None),
                        What::Part(span) => match parts.with_md5(span).await {
                            Ok((bytes, part_md5)) => {
                                (Request::Part(UploadPart { file_sha1, span, part_md5 }), bytes, Some(part_md5))
                            }
                            Err(error) => return Ended::SourceFailed(error),
                        },
                        What::Next(span) => match parts.bytes(span).await {
                            Ok(bytes) => {
                                let facts = facts.clone();
                                (Request::Next(NextPart { facts, file_sha1, file_size, span }), bytes, None)
                            }
                            Err(error) => return Ended::SourceFailed(error),
                        },
                        What::Whole(whole) => {
                            let span = PartSpan { offset: 0, len: whole.file_size };
                            match parts.bytes(span).await {
                                Ok(bytes) => (Request::Whole(whole), bytes, None),
                                Err(error) => return Ended::SourceFailed(error),
                            }
                        }
                    };
                    let Line { action, method, target } = signer.line(&request, nonce);
                    let method = Method::from_bytes(method.as_bytes()).expect("GET and POST are methods");
                    let outgoing = Outgoing { action, method, uri: endpoint.uri(&target), body };
                    let (result, bytes): (Result<Reply, Trouble>, u64) = http.send(outgoing).await;
                    // A part is most likely refused because its bytes are no longer those whose MD5 was announced.
                    if part_md5.is_some()
                        && matches!(&result, Ok(Reply::Rejected(_)))
                        && let Err(changed) = parts.check_unchanged().await
                    {
                        return Ended::SourceFailed(changed);
                    }
                    Ended::Answered { call, answered: Answered { result, part_md5, bytes } }
                }
                .boxed()
            }
        }
    }
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
