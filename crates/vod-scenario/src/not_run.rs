//! Why a story was not told.

/// Why a story could not be told. It says nothing about the story.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// Something that every run needs could not be done.
    #[error("cannot {what}: {source}")]
    Setup {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The mock did not start.
    #[error("the mock did not start: {said}")]
    Mock {
        /// Its own words.
        said: String,
    },
    /// The client could not be set up as the file says.
    #[error("the client cannot be set up: {said}")]
    Client {
        /// Its own words.
        said: String,
    },
    /// The recording proxy did not start.
    #[error("the recording proxy did not start: {said}")]
    Proxy {
        /// Its own words.
        said: String,
    },
    /// The recording could not be replayed.
    #[error("the recording cannot be replayed: {said}")]
    Replay {
        /// Whoever should have replayed it says this.
        said: String,
    },
    /// A simulation did not come to an end.
    #[error(
        "it did not end within {seconds} s of real time: something wakes itself for ever, and virtual time stands still"
    )]
    Circles {
        /// How long was waited.
        seconds: u64,
    },
    /// Somebody asked it to stop.
    #[error("it was interrupted")]
    Interrupted,
}
