//! Events as a stream, in bounded memory.

use futures_util::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::Event;

/// How many events wait for their reader at most. Default 1024: all that happens between two looks of a reader that
/// looks ten times a second, at 64 parts in flight; a quarter of a megabyte.
const WAITING_MOST: usize = 1024;

/// The events of an upload, for whoever would rather wait for them than be called with them.
///
/// No upload waits for its reader. At most 1024 events lie here; if the reader is further behind, the oldest are let go,
/// and [`Event::Missed`] stands in their place and says how many they were. The last events of an upload, and with them
/// how it ended, are never let go.
///
/// ```
/// # use vod_client::{Credentials, SecretKey, Uploader};
/// use vod_client::{BytesSource, Event, Events, FileFacts};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = vod_mock::VodMock::start().await;
/// # let key = SecretKey::new(vod_mock::DEMO_SECRET_KEY);
/// # let uploader = Uploader::new(mock.endpoint().parse()?, Credentials::new(vod_mock::DEMO_SECRET_ID, key));
/// let (tell, mut events) = Events::channel();
/// let upload = uploader.upload_observed(BytesSource::new(vec![7; 1 << 20]), FileFacts::from_path("a.mp4".as_ref()), tell);
/// let watch = async {
///     let mut parts = 0;
///     // Ends with the upload, or when it is dropped.
///     while let Some(event) = events.next().await {
///         match event {
///             Event::PartDone { .. } => parts += 1,
///             Event::AttemptFailed { failure, retry_in, .. } => eprintln!("{failure}; again in {retry_in:?}"),
///             Event::Failed { error } => eprintln!("{error}"),
///             _ => {}
///         }
///     }
///     parts
/// };
/// let (report, parts) = tokio::join!(upload, watch);
/// assert_eq!((report?.parts_sent, parts), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// What to hand to an upload so that it tells, and what is told.
    pub fn channel() -> (impl FnMut(Event) + Send + 'static, Self) {
        let (sender, receiver) = broadcast::channel(WAITING_MOST);
        // Nobody may listen any more.
        let tell = move |event| drop(sender.send(event));
        (tell, Self(receiver))
    }

    /// The next event, as soon as there is one; none when the upload has ended, or was dropped.
    ///
    /// Nothing is lost if this is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(Event::Missed { events }),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same as a [`Stream`], for its combinators.
    pub fn into_stream(self) -> impl Stream<Item = Event> + Send + Unpin + 'static {
        Box::pin(stream::unfold(self, async |mut events| {
            let event = events.next().await?;
            Some((event, events))
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn hashing(done: u64) -> Event {
        Event::Hashing { done, total: 9999 }
    }

    #[test]
    fn what_was_told_is_read_in_order_and_then_there_is_no_more() {
        let (mut tell, mut events) = Events::channel();
        tell(hashing(1));
        tell(hashing(2));
        assert_eq!(events.next().now_or_never(), Some(Some(hashing(1))));
        assert_eq!(events.next().now_or_never(), Some(Some(hashing(2))));
        assert_eq!(events.next().now_or_never(), None, "the upload may tell more");
        tell(Event::Finishing);
        drop(tell);
        assert_eq!(events.into_stream().collect::<Vec<_>>().now_or_never(), Some(vec![Event::Finishing]));
    }

    #[test]
    fn a_reader_that_is_too_far_behind_is_told_how_much_it_missed_and_misses_the_oldest() {
        let (mut tell, mut events) = Events::channel();
        (0..5000).for_each(|done| tell(hashing(done)));
        drop(tell);
        assert_eq!(events.next().now_or_never(), Some(Some(Event::Missed { events: 5000 - 1024 })));
        let rest = events.into_stream().collect::<Vec<_>>().now_or_never().unwrap();
        assert_eq!((rest.len(), rest.first(), rest.last()), (1024, Some(&hashing(3976)), Some(&hashing(4999))));
    }

    #[test]
    fn an_upload_goes_on_when_nobody_listens_any_more() {
        let (mut tell, events) = Events::channel();
        drop(events);
        tell(hashing(1));
    }
}
