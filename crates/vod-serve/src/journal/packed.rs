//! An exchange as it is kept in memory: all its texts in one, so that it is made, kept and dropped at little cost.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use vod_proto::{
    Action, Code, Exchange, PartSpan, Sha1,
    exchange::{End, FORMAT, FaultMark, Mark, ReplyRecord, RequestRecord, Times, Unreached},
    redact::Redactor,
};

use super::attempts::Key;
use crate::{
    Head, ReplyOut, Subject,
    message::{self, text_of},
};

/// The headers that an exchange keeps: those by which known clients differ, and on which this protocol depends.
const HEADERS_THAT_MATTER: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "origin",
    "retry-after",
    "transfer-encoding",
    "user-agent",
    "authorization",
];

/// An exchange, packed: [`exchange`](Self::exchange) is what it says.
#[derive(Clone)]
pub(super) struct Packed {
    pub(super) seq: u64,
    pub(super) account: Option<Arc<str>>,
    pub(super) attempt: u32,
    pub(super) body: Mark,
    pub(super) end: End,
    pub(super) faults: Vec<FaultMark>,
    pub(super) times: Times,
    start: Timestamp,
    action: Option<Cow<'static, str>>,
    file_sha1: Option<Sha1>,
    part: Option<PartSpan>,
    part_number: Option<u64>,
    tls: bool,
    /// What was answered, if it was.
    status: Option<u16>,
    unreached: Option<Unreached>,
    /// What is known of a reply's body that is not among the texts.
    reply_mark: Option<Box<Mark>>,
    /// The code in that.
    code: Option<Code>,
    texts: Texts,
}

/// The texts of an exchange, one behind the other. What was answered stands last.
#[derive(Clone, Default)]
struct Texts {
    all: String,
    method_to: usize,
    host_to: usize,
    target_to: usize,
    headers_to: usize,
    reply_headers_to: usize,
}

/// How much room is made for the texts of an exchange beside the target, in bytes: enough for a few headers and a
/// reply that lists no parts.
const BESIDE_TARGET: usize = 256;

impl Packed {
    /// A request that has just come, redacted. It gets its number and attempt later.
    pub(super) fn new(head: &Head, subject: &Subject, start: Timestamp, redactor: &Redactor) -> Self {
        let mut texts = Texts::default();
        let all = &mut texts.all;
        all.reserve(head.target().len() + BESIDE_TARGET);
        all.push_str(head.method.as_str());
        texts.method_to = all.len();
        all.push_str(&head.host());
        texts.host_to = all.len();
        redactor.push_target(all, head.target(), &head.query);
        texts.target_to = all.len();
        for (name, value) in head.headers.iter().filter(|(name, _)| HEADERS_THAT_MATTER.contains(&name.as_str())) {
            let value = text_of(value.as_bytes());
            push_header(all, name.as_str(), &redactor.header(name.as_str(), &value));
        }
        texts.headers_to = all.len();
        texts.reply_headers_to = all.len();
        Self {
            seq: 0,
            account: subject.account.clone(),
            attempt: 0,
            body: Mark::default(),
            end: End::Replied,
            faults: Vec::new(),
            times: Times::default(),
            start,
            action: subject.action.clone(),
            file_sha1: subject.file_sha1,
            part: subject.part,
            part_number: subject.part_number,
            tls: head.secure,
            status: None,
            unreached: None,
            reply_mark: None,
            code: None,
            texts,
        }
    }

    /// Packs an exchange, as one that stands in a file.
    pub(super) fn of(exchange: Exchange) -> Self {
        let code = exchange.code();
        let Exchange { request, reply, .. } = exchange;
        let mut texts = Texts::default();
        let all = &mut texts.all;
        all.push_str(&request.method);
        texts.method_to = all.len();
        all.push_str(&request.host);
        texts.host_to = all.len();
        all.push_str(&request.target);
        texts.target_to = all.len();
        request.headers.iter().for_each(|(name, value)| push_header(all, name, value));
        texts.headers_to = all.len();
        texts.reply_headers_to = all.len();
        let mut packed = Self {
            seq: exchange.seq,
            account: exchange.account.map(Arc::from),
            attempt: exchange.attempt,
            body: request.body,
            end: exchange.end,
            faults: exchange.faults,
            times: exchange.times,
            start: exchange.start,
            action: exchange.action.as_deref().map(message::action),
            file_sha1: exchange.file_sha1,
            part: exchange.part,
            part_number: exchange.part_number,
            tls: request.tls,
            status: None,
            unreached: exchange.unreached,
            reply_mark: None,
            code: None,
            texts,
        };
        if let Some(ReplyRecord { status, headers, body, mark }) = reply {
            packed.reply_mark = mark.map(Box::new);
            let headers = headers.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str())));
            packed.answer(status, code, headers, &body);
        }
        packed.texts.all.shrink_to_fit();
        packed
    }

    /// What is answered, redacted.
    pub(super) fn reply(&mut self, reply: &ReplyOut, redactor: &Redactor) {
        self.unreached = reply.unreached();
        let texts: Vec<_> =
            reply.headers.iter().map(|(name, value)| (name.as_str(), text_of(value.as_bytes()))).collect();
        let headers = texts.iter().map(|(name, value)| (*name, redactor.header(name, value)));
        self.answer(reply.status, reply.code(), headers, "");
        self.text(&text_of(reply.body()), redactor);
    }

    /// The text that was answered, behind the headers. Where secrets in it gave way to what is shorter or longer, so does the
    /// length that is announced for it.
    fn text(&mut self, text: &str, redactor: &Redactor) {
        let redacted = redactor.json(text);
        self.announce(text.len() as u64, redacted.len() as u64);
        self.texts.all.push_str(&redacted);
    }

    /// So many bytes stand where so many came.
    fn announce(&mut self, came: u64, stand: u64) {
        if came == stand {
            return;
        }
        let Texts { all, headers_to, reply_headers_to, .. } = &mut self.texts;
        let mut announced = headers(&all[*headers_to..*reply_headers_to]);
        all.truncate(*headers_to);
        for (name, value) in &mut announced {
            if name == "content-length"
                && let Ok(len) = value.parse::<u64>()
            {
                *value = (len + stand).saturating_sub(came).to_string();
            }
            push_header(all, name, value);
        }
        *reply_headers_to = all.len();
    }

    /// What became known of an answer that came bit by bit, and is text.
    pub(super) fn reply_text(&mut self, text: &str, redactor: &Redactor) {
        self.texts.all.truncate(self.texts.reply_headers_to);
        self.code = vod_proto::reply::code_of(text);
        self.text(text, redactor);
    }

    fn answer<'a>(
        &mut self,
        status: u16,
        code: Option<Code>,
        headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
        body: &str,
    ) {
        (self.status, self.code) = (Some(status), code);
        let Texts { all, headers_to, reply_headers_to, .. } = &mut self.texts;
        all.truncate(*headers_to);
        headers.for_each(|(name, value)| push_header(all, name, &value));
        *reply_headers_to = all.len();
        all.push_str(body);
    }

    /// What became known of an answer whose bytes passed by: so many came, where the mark is of what stands in their place.
    pub(super) fn reply_mark(&mut self, mark: Mark, came: Option<u64>) {
        self.texts.all.truncate(self.texts.reply_headers_to);
        self.announce(came.unwrap_or(mark.len), mark.len);
        self.reply_mark = Some(Box::new(mark));
    }

    /// It is over: nothing more will come.
    pub(super) fn seal(&mut self) {
        let all = &mut self.texts.all;
        // What is left over is mostly less than what another piece of memory would leave.
        if all.capacity() - all.len() > all.len() / 4 {
            all.shrink_to_fit();
        }
    }

    /// What it says.
    pub(super) fn exchange(&self) -> Exchange {
        let Texts { all, method_to, host_to, target_to, headers_to, reply_headers_to } = &self.texts;
        let request = RequestRecord {
            method: all[..*method_to].to_owned(),
            host: all[*method_to..*host_to].to_owned(),
            target: all[*host_to..*target_to].to_owned(),
            headers: headers(&all[*target_to..*headers_to]),
            body: self.body.clone(),
            tls: self.tls,
        };
        let reply = self.status.map(|status| ReplyRecord {
            status,
            headers: headers(&all[*headers_to..*reply_headers_to]),
            body: all[*reply_headers_to..].to_owned(),
            mark: self.reply_mark.as_deref().cloned(),
        });
        Exchange {
            v: FORMAT,
            seq: self.seq,
            start: self.start,
            account: self.account.as_deref().map(str::to_owned),
            action: self.action.as_deref().map(str::to_owned),
            file_sha1: self.file_sha1,
            part: self.part,
            part_number: self.part_number,
            attempt: self.attempt,
            request,
            reply,
            unreached: self.unreached,
            end: self.end,
            faults: self.faults.clone(),
            times: self.times,
        }
    }

    /// The action, if it is a known one.
    pub(super) fn known_action(&self) -> Option<Action> {
        self.action.as_deref()?.parse().ok()
    }

    /// What makes it the same request as another.
    pub(super) fn key(&self) -> Key {
        (self.known_action(), self.file_sha1, self.part.map(|part| part.offset))
    }

    /// The status that was answered.
    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// The code of what was answered.
    pub(super) const fn code(&self) -> Option<Code> {
        self.code
    }

    /// Roughly how much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        /// What the allocator and its place on the shelf take.
        const AROUND: usize = 64;
        /// A fault that struck, with its texts.
        const FAULT: usize = size_of::<FaultMark>() + 64;
        let texts = self.texts.all.capacity() + self.action.as_deref().map_or(0, str::len);
        let mark = self.reply_mark.as_ref().map_or(0, |_| size_of::<Mark>());
        AROUND + size_of::<Self>() + texts + mark + self.faults.len() * FAULT
    }
}

/// Each text with its length before it, so that it may hold anything.
fn push_header(out: &mut String, name: &str, value: &str) {
    for text in [name, value] {
        out.push_str(itoa::Buffer::new().format(text.len()));
        out.push(':');
        out.push_str(text);
    }
}

fn headers(packed: &str) -> Vec<(String, String)> {
    let mut rest = packed;
    let mut next = || {
        let (len, behind) = rest.split_once(':')?;
        let (text, behind) = behind.split_at(len.parse().ok()?);
        rest = behind;
        Some(text.to_owned())
    };
    std::iter::from_fn(|| Some((next()?, next()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vod_proto::exchange::Kept;

    use super::*;

    fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("\\PC{0,9}", "[\\PC\n:0-9]{0,20}"), 0..5)
    }

    prop_compose! {
        fn exchange()(
            request in ("[A-Z]{0,5}", "\\PC{0,20}", "\\PC{0,60}", headers(), any::<bool>()),
            reply in proptest::option::of((any::<u16>(), headers(), "[\\PC\n]{0,60}", any::<bool>())),
            texts in (proptest::option::of("\\PC{0,9}"), proptest::option::of("InitUpload|\\PC{0,9}")),
            numbers in (any::<u64>(), any::<u32>(), proptest::option::of(any::<u64>()), any::<u64>()),
            digests in (any::<bool>(), any::<bool>()),
            faults in 0..3_usize,
        ) -> Exchange {
            let ((method, host, target, headers, tls), (account, action)) = (request, texts);
            let (seq, attempt, part_number, len) = numbers;
            let fault = FaultMark {
                id: "lost".to_owned(),
                phase: "mid-reply".to_owned(),
                verdict: "reset".to_owned(),
                on_reply: true,
                at_us: len,
            };
            let sha1 = digests.0.then(|| Sha1::of(b"x"));
            let body = Mark { len, sha1, md5: None, kept: Kept::Digest };
            Exchange {
                v: FORMAT,
                seq,
                start: Timestamp::UNIX_EPOCH,
                account,
                action,
                file_sha1: sha1,
                part: digests.1.then_some(PartSpan { offset: seq, len }),
                part_number,
                attempt,
                request: RequestRecord { method, host, target, headers, body, tls },
                reply: reply.map(|(status, headers, body, long)| {
                    let mark = long.then_some(Mark { len, sha1, md5: None, kept: Kept::File });
                    ReplyRecord { status, headers, body, mark }
                }),
                unreached: digests.1.then_some(Unreached::Refused),
                end: if tls { End::Replied } else { End::ClientGone { after: len } },
                faults: vec![fault; faults],
                times: Times { first_byte: part_number, body_done: None, reply_done: Some(len) },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_what_comes_out(exchange in exchange()) {
            let packed = Packed::of(exchange.clone());
            prop_assert_eq!(packed.exchange(), exchange.clone());
            prop_assert_eq!((packed.code(), packed.known_action()), (exchange.code(), exchange.known_action()));
            let texts = exchange.request.target.len() + exchange.reply.map_or(0, |reply| reply.body.len());
            prop_assert!(packed.weight() > texts);
        }
    }
}
