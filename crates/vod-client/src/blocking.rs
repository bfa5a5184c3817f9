//! The same for programs that are not asynchronous: an uploader that blocks the thread until a file is stored.
//!
//! It is made of an [`Uploader`](crate::Uploader), with all the options of one. A plain `main` needs nothing else:
//!
//! ```
//! use vod_client::{BytesSource, Credentials, Event, FileFacts, Options, SecretKey, blocking};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   let mock = vod_mock::blocking::VodMock::start();
//! #   let (endpoint, id, key) = (mock.endpoint(), vod_mock::DEMO_SECRET_ID, vod_mock::DEMO_SECRET_KEY);
//!     let credentials = Credentials::new(id, SecretKey::new(key));
//!     let uploader = vod_client::Uploader::new(endpoint.parse()?, credentials)
//!         .options(Options { parallel: 8, ..Options::default() });
//!     let uploader = blocking::Uploader::new(uploader)?;
//!
//!     let (film, facts) = (vec![7; 3 << 20], FileFacts::from_path("film.mp4".as_ref()));
//!     let mut stored = 0;
//!     let report = uploader.upload_observed(BytesSource::new(film), facts, |event| {
//!         if let Event::PartDone { span, .. } = event {
//!             stored += span.len;
//!         }
//!     })?;
//!     assert_eq!((report.parts_sent, stored), (3, 3 << 20));
//!     Ok(())
//! }
//! ```
//!
//! Within an asynchronous runtime it would keep a thread from whatever else is to be done there, or wait for itself: it
//! refuses with [`ConfigError::WithinRuntime`], before anything is read or sent. There, await the
//! [`Uploader`](crate::Uploader) that it was made of; on a thread of `spawn_blocking`, `Handle::block_on` does that.

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    FileFacts,
    error::{ConfigError, UploadError},
    event::Event,
    http::Connect,
    report::UploadReport,
    source::Source,
    uploader,
};

/// Uploads files to one endpoint, and waits for each.
///
/// It has threads of its own, which end when it is dropped, and serves many threads at once. No upload can be stopped
/// from outside; [`RetryPolicy::deadline`](crate::RetryPolicy::deadline) bounds how long one may take.
pub struct Uploader<C = HttpConnector> {
    uploader: uploader::Uploader<C>,
    /// None once it is dropped.
    runtime: Option<Runtime>,
}

impl<C: Connect> Uploader<C> {
    /// An uploader that does the same, and blocks.
    ///
    /// # Errors
    /// [`ConfigError::Start`] if the system has no threads for it.
    pub fn new(uploader: uploader::Uploader<C>) -> Result<Self, ConfigError> {
        let runtime = Builder::new_multi_thread().thread_name("vod-client").enable_all().build();
        let runtime = runtime.map_err(|error| ConfigError::Start(error.to_string()))?;
        Ok(Self { uploader, runtime: Some(runtime) })
    }

    /// Uploads a source, or what the server lacks of it; see [`crate::Uploader::upload`].
    ///
    /// # Errors
    /// With what failed, and whether the server may have stored the file nevertheless; with
    /// [`ConfigError::WithinRuntime`] within an asynchronous runtime.
    pub fn upload(&self, source: impl Source, facts: FileFacts) -> Result<UploadReport, UploadError> {
        self.upload_observed(source, facts, drop)
    }

    /// The same, and tells what happens meanwhile: `observe` is called on this very thread, between requests, and must
    /// not block. To read events on another thread, hand it the sending half of a channel.
    ///
    /// # Errors
    /// Like [`upload`](Self::upload).
    pub fn upload_observed(
        &self,
        source: impl Source,
        facts: FileFacts,
        mut observe: impl FnMut(Event) + Send,
    ) -> Result<UploadReport, UploadError> {
        if Handle::try_current().is_ok() {
            let refused = Err(UploadError::early(ConfigError::WithinRuntime, std::time::Duration::ZERO));
            observe(Event::ended(&refused));
            return refused;
        }
        let runtime = self.runtime.as_ref().expect("it is there until the uploader is dropped");
        runtime.block_on(self.uploader.upload_observed(source, facts, observe))
    }
}

impl<C> Drop for Uploader<C> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // To wait for its threads is refused where it may be dropped; and a read may hang on a dead disk.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, blocking::VodMock};

    use super::*;
    use crate::{BytesSource, Credentials, Failure, Outcome, SecretKey};

    fn uploader(mock: &VodMock) -> Uploader {
        let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
        Uploader::new(uploader::Uploader::new(mock.endpoint().parse().unwrap(), credentials)).unwrap()
    }

    fn film(seed: u8) -> BytesSource {
        BytesSource::new(vec![seed; 1 << 20])
    }

    fn facts() -> FileFacts {
        FileFacts::from_path("film.mp4".as_ref())
    }

    #[test]
    fn uploads_go_one_after_the_other_and_side_by_side() {
        let mock = VodMock::start();
        let uploader = uploader(&mock);
        assert_eq!(uploader.upload(film(0), facts()).unwrap().outcome, Outcome::Finished);
        assert_eq!(uploader.upload(film(0), facts()).unwrap().outcome, Outcome::Existed);
        thread::scope(|scope| {
            let upload = |seed| uploader.upload(film(seed), facts());
            let all: Vec<_> = (1..5).map(|seed| scope.spawn(move || upload(seed))).collect();
            for upload in all {
                assert_eq!(upload.join().unwrap().unwrap().outcome, Outcome::Finished);
            }
        });
        assert_eq!(mock.uploads().len(), 5);
    }

    #[test]
    fn events_can_be_read_on_another_thread() {
        let mock = VodMock::start();
        let (tell, events) = mpsc::channel();
        let reading = thread::spawn(move || events.into_iter().collect::<Vec<_>>());
        let report = uploader(&mock).upload_observed(film(0), facts(), |event| tell.send(event).unwrap()).unwrap();
        drop(tell);
        let events = reading.join().unwrap();
        assert_eq!(events.first(), Some(&Event::Queued { total: 1 << 20 }));
        assert_eq!(events.last(), Some(&Event::Finished { report: Box::new(report) }));
    }

    #[test]
    fn within_a_runtime_it_refuses_and_says_what_to_do_and_may_be_dropped() {
        let mock = VodMock::start();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async { uploader(&mock).upload(film(0), facts()).unwrap_err() });
        assert_eq!(error.failure, Failure::Config(ConfigError::WithinRuntime));
        assert!(error.to_string().contains("await vod_client::Uploader::upload"), "{error}");
        assert_eq!(mock.exchanges().len(), 0, "nothing was sent");
    }
}
