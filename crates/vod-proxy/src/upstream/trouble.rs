//! What an error says of how an exchange with a server ended.

use std::{error::Error as StdError, io, iter};

use hyper_util::client::legacy;
use tokio_rustls::rustls;
use vod_proto::exchange::{End, Unreached};

use super::TooLate;

/// How it went wrong before there was a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server was not reached, and why, for people.
    Unreached(Unreached, String),
    /// It ended the connection, and so does a proxy.
    Ended(End),
}

impl Trouble {
    pub(super) fn of(error: &legacy::Error) -> Self {
        if error.is_connect() {
            let (why, text) = unreached(error);
            return Self::Unreached(why, text);
        }
        let not_http =
            causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse));
        if not_http { Self::Unreached(Unreached::Failed, innermost(error)) } else { Self::Ended(broken_by(error)) }
    }
}

fn unreached(error: &(dyn StdError + 'static)) -> (Unreached, String) {
    for cause in causes(error) {
        if cause.is::<TooLate>() {
            return (Unreached::Timeout, cause.to_string());
        }
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref::<rustls::Error>() {
            return (Unreached::Untrusted, format!("its certificate is not trusted: {why}"));
        }
        // The resolver's own type is not public.
        if cause.to_string() == "dns error" {
            return (Unreached::Unresolved, format!("its name has no address: {}", innermost(error)));
        }
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return (Unreached::Refused, innermost(error)),
            Some(io::ErrorKind::TimedOut) => return (Unreached::Timeout, innermost(error)),
            _ => {}
        }
    }
    (Unreached::Failed, innermost(error))
}

/// How the server ended a connection in the middle of an exchange.
pub(crate) fn broken_by(error: &(dyn StdError + 'static)) -> End {
    let reset = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
    });
    if reset { End::Reset } else { End::Closed }
}

/// An error and what is behind it. What an `io::Error` was made of is not its source, but counts too.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    iter::successors(Some(error), |&cause| {
        let made_of = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        made_of.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| cause.source())
    })
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    let text = causes(error).last().unwrap_or(error).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
