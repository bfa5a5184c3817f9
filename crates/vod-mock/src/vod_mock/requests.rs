//! Which requests are meant: a pattern that exchanges fit, or miss by this and that.

use std::{fmt, mem::discriminant, sync::Arc};

use vod_proto::{Action, Code, Exchange, Sha1, exchange::End};
use vod_serve::{fault::Selector, host_name};

use super::nearest::refusal;

/// Which requests are meant, by what came of them: all that is said must fit.
///
/// ```
/// use vod_mock::{Action, Requests};
///
/// let kept = Requests::of(Action::UploadPart).acknowledged();
/// let finish = Requests::of(Action::FinishUpload).attempt(1).after_last(kept);
/// assert_eq!(finish.to_string(), "FinishUpload, attempt 1, after the last of (UploadPart, acknowledged)");
/// ```
#[derive(Clone, Default)]
#[must_use = "a pattern does nothing by itself"]
pub struct Requests(Vec<Condition>);

/// One thing that must fit.
#[derive(Clone)]
pub(super) enum Condition {
    Action(Action),
    Part(u64),
    Offset(u64),
    Attempt(u32),
    Account(String),
    File(Sha1),
    Acknowledged(bool),
    End(End),
    Code(Code),
    Status(u16),
    StruckBy(String),
    After(u64, i64),
    Before(u64, i64),
    AfterLast(Requests),
    Other(String, Arc<dyn Fn(&Exchange) -> bool + Send + Sync>),
}

/// The words by which requests are told apart, for whatever is narrowed down by them.
macro_rules! narrowing {
    ($narrowed:ty) => {
        impl $narrowed {
            /// Those of this action.
            pub fn action(&self, action: vod_proto::Action) -> Self {
                self.narrow(Condition::Action(action))
            }

            /// Those that send the part with this number on the session's grid, from 1.
            pub fn part(&self, number: u64) -> Self {
                self.narrow(Condition::Part(number))
            }

            /// Those that send the part that starts at this byte.
            pub fn offset(&self, bytes: u64) -> Self {
                self.narrow(Condition::Offset(bytes))
            }

            /// Those that are the n-th of their kind: this very request (account, action, upload, part), from 1.
            pub fn attempt(&self, n: u32) -> Self {
                self.narrow(Condition::Attempt(n))
            }

            /// Those of this account, by name.
            pub fn account(&self, name: impl Into<String>) -> Self {
                self.narrow(Condition::Account(name.into()))
            }

            /// Those for the file with this SHA-1.
            pub fn file(&self, sha1: vod_proto::Sha1) -> Self {
                self.narrow(Condition::File(sha1))
            }

            /// Those that were acknowledged: code 0, the whole reply written, and no fault on the reply.
            pub fn acknowledged(&self) -> Self {
                self.narrow(Condition::Acknowledged(true))
            }

            /// Those that were not.
            pub fn not_acknowledged(&self) -> Self {
                self.narrow(Condition::Acknowledged(false))
            }

            /// Those that ended like this; with [`End::ClientGone`](vod_proto::exchange::End::ClientGone), after however
            /// many bytes.
            pub fn ended(&self, end: vod_proto::exchange::End) -> Self {
                self.narrow(Condition::End(end))
            }

            /// Those whose reply has this code.
            pub fn code(&self, code: i64) -> Self {
                self.narrow(Condition::Code(vod_proto::Code(code)))
            }

            /// Those whose reply has this HTTP status.
            pub fn status(&self, status: u16) -> Self {
                self.narrow(Condition::Status(status))
            }

            /// Those that the fault with this id struck.
            pub fn struck_by(&self, fault: impl Into<String>) -> Self {
                self.narrow(Condition::StruckBy(fault.into()))
            }

            /// Those that came when this one was over.
            pub fn after(&self, other: &vod_proto::Exchange) -> Self {
                self.narrow(Condition::After(other.seq, other.over_us()))
            }

            /// Those that were over when this one came.
            pub fn before(&self, other: &vod_proto::Exchange) -> Self {
                self.narrow(Condition::Before(other.seq, other.start.as_microsecond()))
            }

            /// Those that came when the last of these was over; none, where none of these came.
            pub fn after_last(&self, others: Requests) -> Self {
                self.narrow(Condition::AfterLast(others))
            }

            /// Those of which this is true. `what` says it in messages, such as `with a body of 1,000 bytes`.
            pub fn that(
                &self,
                what: impl Into<String>,
                is: impl Fn(&vod_proto::Exchange) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.narrow(Condition::Other(what.into(), std::sync::Arc::new(is)))
            }
        }
    };
}
pub(super) use narrowing;

narrowing!(Requests);

impl Requests {
    /// Requests of this action.
    pub fn of(action: Action) -> Self {
        Self::any().action(action)
    }

    /// Every request.
    pub const fn any() -> Self {
        Self(Vec::new())
    }

    /// Those that a fault's selector selects, as far as one exchange tells.
    pub(super) fn selected_by(on: &Selector) -> Self {
        let conditions = [
            on.action.map(Condition::Action),
            on.part.map(Condition::Part),
            on.offset.map(Condition::Offset),
            on.attempt.map(Condition::Attempt),
            on.account.clone().map(Condition::Account),
            on.file_sha.map(Condition::File),
            on.host.clone().map(|name| {
                let words = format!("to the host {name}");
                Condition::Other(words, Arc::new(move |exchange| host_name(&exchange.request.host) == name))
            }),
        ];
        Self(conditions.into_iter().flatten().collect())
    }

    pub(super) fn narrow(&self, condition: Condition) -> Self {
        Self(self.0.iter().cloned().chain([condition]).collect())
    }

    pub(super) fn conditions(&self) -> &[Condition] {
        &self.0
    }

    /// Is this exchange one of those? `all` is what else is known.
    pub(super) fn fit(&self, exchange: &Exchange, all: &[Arc<Exchange>]) -> bool {
        self.0.iter().all(|condition| condition.miss(exchange, all).is_none())
    }

    /// What of an exchange does not fit.
    pub(super) fn misses(&self, exchange: &Exchange, all: &[Arc<Exchange>]) -> Vec<String> {
        self.0.iter().filter_map(|condition| condition.miss(exchange, all)).collect()
    }

    /// Is it of another action than these? Then it is far off, whatever else fits.
    pub(super) fn is_other_action(&self, exchange: &Exchange) -> bool {
        let mut actions = self.0.iter().filter(|condition| matches!(condition, Condition::Action(_)));
        actions.any(|action| action.miss(exchange, &[]).is_some())
    }

    /// Could an exchange cease to fit by what comes later, or is not known any more?
    pub(super) fn depends_on_others(&self) -> bool {
        self.0.iter().any(|condition| matches!(condition, Condition::AfterLast(_)))
    }

    /// Does it matter how often a request was seen before?
    pub(super) fn counts_attempts(&self) -> bool {
        self.0.iter().any(|condition| match condition {
            Condition::Attempt(_) => true,
            Condition::AfterLast(others) => others.counts_attempts(),
            _ => false,
        })
    }
}

impl Condition {
    /// What of an exchange does not fit, and what was expected; none where it fits.
    fn miss(&self, exchange: &Exchange, all: &[Arc<Exchange>]) -> Option<String> {
        let differ = |what: &str, is: Option<String>, expected: String| {
            let is = is.map_or_else(|| format!("it has no {what}"), |is| format!("{what} is {is}"));
            Some(format!("{is}, expected {expected}"))
        };
        let reply = exchange.reply.as_ref();
        match self {
            Self::Action(action) if exchange.known_action() != Some(*action) => {
                differ("action", exchange.action.clone(), action.to_string())
            }
            Self::Part(number) if exchange.part_number != Some(*number) => {
                differ("part number", exchange.part_number.map(|number| number.to_string()), number.to_string())
            }
            Self::Offset(offset) if exchange.part.map(|part| part.offset) != Some(*offset) => {
                differ("offset", exchange.part.map(|part| part.offset.to_string()), offset.to_string())
            }
            Self::Attempt(n) if exchange.attempt != *n => {
                differ("attempt", Some(exchange.attempt.to_string()), n.to_string())
            }
            Self::Account(name) if exchange.account.as_ref() != Some(name) => {
                differ("account", exchange.account.clone(), name.clone())
            }
            Self::File(sha1) if exchange.file_sha1 != Some(*sha1) => {
                differ("fileSha", exchange.file_sha1.map(|sha1| sha1.to_string()), sha1.to_string())
            }
            Self::Acknowledged(true) if !exchange.acknowledged() => {
                let why = refusal(exchange).map(|message| format!(": {message}")).unwrap_or_default();
                Some(format!("it was not acknowledged{why}"))
            }
            Self::Acknowledged(false) if exchange.acknowledged() => Some("it was acknowledged".to_owned()),
            Self::End(end) if discriminant(end) != discriminant(&exchange.end) => {
                Some(format!("it ended as {}, expected {}", exchange.end.word(), end.word()))
            }
            Self::Code(code) if exchange.code() != Some(*code) => {
                differ("code", exchange.code().map(|code| code.0.to_string()), code.0.to_string())
            }
            Self::Status(status) if reply.map(|reply| reply.status) != Some(*status) => {
                differ("status", reply.map(|reply| reply.status.to_string()), status.to_string())
            }
            Self::StruckBy(id) if !exchange.faults.iter().any(|mark| mark.id == *id) => {
                Some(format!("the fault {id:?} did not strike it"))
            }
            Self::After(seq, over) => {
                let after = exchange.seq > *seq && exchange.start.as_microsecond() >= *over;
                (!after).then(|| format!("it came before request {seq} was over"))
            }
            Self::Before(seq, start) => {
                let before = exchange.seq < *seq && exchange.over_us() <= *start;
                (!before).then(|| format!("it was not over when request {seq} came"))
            }
            Self::AfterLast(others) => {
                let last = all.iter().filter(|other| others.fit(other, all)).max_by_key(|other| other.over_us());
                match last {
                    None => Some(format!("none came of ({others})")),
                    Some(last) => Self::After(last.seq, last.over_us()).miss(exchange, all),
                }
            }
            Self::Other(what, is) if !is(exchange) => Some(format!("it is not {what}")),
            _ => None,
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.iter().any(|condition| matches!(condition, Condition::Action(_))) {
            f.write_str("any request")?;
            if !self.0.is_empty() {
                f.write_str(", ")?;
            }
        }
        for (at, condition) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requests({self})")
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => write!(f, "{action}"),
            Self::Part(number) => write!(f, "part {number}"),
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Attempt(n) => write!(f, "attempt {n}"),
            Self::Account(name) => write!(f, "account {name}"),
            Self::File(sha1) => write!(f, "fileSha {sha1}"),
            Self::Acknowledged(true) => f.write_str("acknowledged"),
            Self::Acknowledged(false) => f.write_str("not acknowledged"),
            Self::End(end) => write!(f, "ended as {}", end.word()),
            Self::Code(code) => write!(f, "code {}", code.0),
            Self::Status(status) => write!(f, "status {status}"),
            Self::StruckBy(id) => write!(f, "struck by {id}"),
            Self::After(seq, _) => write!(f, "after request {seq}"),
            Self::Before(seq, _) => write!(f, "before request {seq}"),
            Self::AfterLast(others) => write!(f, "after the last of ({others})"),
            Self::Other(what, _) => f.write_str(what),
        }
    }
}
