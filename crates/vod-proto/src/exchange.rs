//! The exchange: a request and what came of it. The one kind of evidence in this house.
//!
//! The mock's journal, a scenario's evidence and the linter's input are lists of exchanges.
//! One exchange is one line of JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Action, Code, Md5, PartSpan, Query, Sha1,
    action::Role,
    reply::{self, InitReply, NextReply, Rejected, Reply, Stored},
};

/// The format that this version writes, in each line's `v`.
pub const FORMAT: u32 = 1;

/// A request and what came of it, with nothing secret left in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exchange {
    /// The format of the line, [`FORMAT`].
    pub v: u32,
    /// Counts from 1 within one journal, in order of arrival.
    pub seq: u64,
    /// When the request's head had arrived.
    pub start: Timestamp,
    /// Whose upload it is, by name; none where the request named no known account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The value of `Action`, also one that nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The file's SHA-1: with the account, the upload it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha1: Option<Sha1>,
    /// The part, where the action sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartSpan>,
    /// The part's number on the session's grid, from 1, by which faults select; none where there is no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_number: Option<u64>,
    /// This is the n-th time that this very request (account, action, upload, part) was seen; from 1.
    pub attempt: u32,
    /// What was asked.
    pub request: RequestRecord,
    /// What was answered; none where no answer was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyRecord>,
    /// Why a proxy answered itself instead of the server that was asked for: then `reply` is the proxy's own, and no word of
    /// that server. None in all other exchanges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<Unreached>,
    /// How it ended.
    pub end: End,
    /// The faults that struck, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultMark>,
    /// When what happened, in microseconds after `start`.
    pub times: Times,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestRecord {
    /// The HTTP method.
    pub method: String,
    /// The `Host` header.
    pub host: String,
    /// The raw request target, redacted. The parameters are derived from it.
    pub target: String,
    /// Headers that matter to the protocol, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What is known of the body.
    pub body: Mark,
    /// Did it come over TLS?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

/// What is known of a body: never its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mark {
    /// How many bytes of it were read.
    pub len: u64,
    /// Their SHA-1; none of a body that was empty, not read to its end, or not hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Sha1>,
    /// Their MD5, where it was checked anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
    /// How the bytes themselves are kept.
    pub kept: Kept,
}

/// How the bytes of a body are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Not at all: length and digests are what remains.
    #[default]
    Digest,
    /// Under their SHA-1, in the `bodies` of the recording that the exchange stands in.
    File,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplyRecord {
    /// The HTTP status.
    pub status: u16,
    /// Headers that matter to the protocol, names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The text of the body; empty where `mark` stands for it.
    pub body: String,
    /// What is known of a body that is too long to stand here, or no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// Why a proxy did not reach the server that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreached {
    /// It may not be asked for: nothing was tried, not even to resolve its name.
    NotAllowed,
    /// Its name has no address.
    Unresolved,
    /// It refused the connection.
    Refused,
    /// Its certificate is not trusted.
    Untrusted,
    /// It did not let itself be connected to in time.
    Timeout,
    /// The connection failed in another way, or what came over it was not HTTP.
    Failed,
}

/// What a person is told of it: words that go on after "the server that was asked for".
impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "may not be asked for",
            Self::Unresolved => "has no address",
            Self::Refused => "refused the connection",
            Self::Untrusted => "has a certificate that is not trusted",
            Self::Timeout => "could not be connected to in time",
            Self::Failed => "could not be talked to",
        })
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The whole reply was written.
    Replied,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection without a whole reply.
    Closed,
    /// The server gave up waiting.
    Timeout,
    /// Client or server was killed while it was under way.
    Killed,
    /// The client went away after this many bytes of its body.
    ClientGone {
        /// Bytes of the body that had been read.
        after: u64,
    },
}

impl End {
    /// The word for it in a line of a journal, whatever else stands there.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Killed => "killed",
            Self::ClientGone { .. } => "client-gone",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientGone { after } => write!(f, "client gone after {after} bytes"),
            _ => f.write_str(self.word()),
        }
    }
}

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FaultMark {
    /// The fault's id in its plan.
    pub id: String,
    /// The phase it struck in.
    pub phase: String,
    /// What it did, in a word.
    pub verdict: String,
    /// Did it touch the reply? A reply that a fault made or cut is no acknowledgement.
    pub on_reply: bool,
    /// When, in microseconds after the exchange's start.
    pub at_us: u64,
}

/// When what happened, in microseconds after the exchange's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// First byte of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u64>,
    /// Last byte of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_done: Option<u64>,
    /// The reply was handed over, or the exchange was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_done: Option<u64>,
}

impl Exchange {
    /// The known action, if it is one.
    #[must_use]
    pub fn known_action(&self) -> Option<Action> {
        self.action.as_deref()?.parse().ok()
    }

    /// The path of the request and its parameters, secrets redacted.
    #[must_use]
    pub fn path_and_query(&self) -> (&str, Query) {
        Query::split_target(&self.request.target)
    }

    /// The `code` of the reply, if it was one of this protocol.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.reply.as_ref().and_then(|reply| reply::code_of(&reply.body))
    }

    /// What the reply says, if it was one of this protocol.
    #[must_use]
    pub fn parsed_reply(&self) -> Option<Reply> {
        let (action, reply) = (self.known_action()?, self.reply.as_ref()?);
        Reply::parse(action, &reply.body).ok().map(|parsed| parsed.reply)
    }

    /// Was the request acknowledged: code 0, the whole reply written, and no fault on the reply?
    ///
    /// In the legacy family code 0 may also mean that the server wants another part than it was sent: only a reply
    /// that goes on behind the part, or is done, acknowledges it.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        let whole = self.end == End::Replied && !self.faults.iter().any(|fault| fault.on_reply);
        whole && self.code() == Some(Code::OK) && self.kept()
    }

    fn kept(&self) -> bool {
        if self.known_action().map(Action::role) != Some(Role::Next) {
            return true;
        }
        let Some(part) = self.part else { return false };
        match self.parsed_reply() {
            Some(Reply::Next(NextReply::Continue { offset })) => offset >= part.end(),
            Some(Reply::Next(NextReply::Stored(_))) => true,
            _ => false,
        }
    }

    /// Does the reply say that the file is stored by this request, or was before?
    #[must_use]
    pub fn says_stored(&self) -> Option<Stored> {
        match self.parsed_reply()? {
            Reply::Finish(stored) | Reply::Next(NextReply::Stored(stored)) | Reply::Init(InitReply::Exists(stored)) => {
                Some(stored)
            }
            Reply::Init(_) | Reply::Part | Reply::Next(NextReply::Continue { .. }) | Reply::Rejected(_) => None,
        }
    }

    /// When it was over, in microseconds since 1970: the reply was handed over, or the exchange was given up.
    #[must_use]
    pub fn over_us(&self) -> i64 {
        let Times { first_byte, body_done, reply_done } = self.times;
        self.us_after_start([first_byte, body_done, reply_done].into_iter().flatten().max().unwrap_or(0))
    }

    /// When its body had come, in microseconds since 1970; the start, where there was none.
    #[must_use]
    pub fn body_done_us(&self) -> i64 {
        self.us_after_start(self.times.body_done.unwrap_or(0))
    }

    fn us_after_start(&self, us: u64) -> i64 {
        self.start.as_microsecond().saturating_add(i64::try_from(us).unwrap_or(i64::MAX))
    }

    /// The reply, if the client got it as it stands here: wholly written, and not cut or garbled by a fault.
    #[must_use]
    pub fn whole_reply(&self) -> Option<&ReplyRecord> {
        let garbled = self.faults.iter().any(|fault| fault.on_reply && fault.verdict.ends_with("-reply"));
        self.reply.as_ref().filter(|_| self.end == End::Replied && !garbled)
    }

    /// What the client was told, if it was told no in the words of the protocol.
    #[must_use]
    pub fn refusal(&self) -> Option<Rejected> {
        match self.whole_reply().and_then(|_| self.parsed_reply())? {
            Reply::Rejected(rejected) => Some(rejected),
            _ => None,
        }
    }

    /// Its action and part, and its number: as reports call it.
    #[must_use]
    pub fn name(&self) -> String {
        let action = self.action.as_deref().unwrap_or("a request without action");
        match self.part {
            Some(part) => format!("{action} {part} (request {})", self.seq),
            None => format!("{action} (request {})", self.seq),
        }
    }

    /// Reads one line of a journal. Where it is [sealed](seal), it must be as it was written; one without any `sum` is taken at
    /// its word, for somebody may have written it by hand.
    ///
    /// # Errors
    /// Says what is wrong with the line, and which format it has if this version cannot read it.
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        let is_as_written = match split_seal(line) {
            Some((before, sum)) => sum == checksum(before),
            None => !names_seal(line),
        };
        if !is_as_written {
            return Err(LineError::Changed);
        }
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let read = serde_json::from_str(line);
        if let Ok(Self { v: FORMAT, .. }) = read {
            return Ok(read?);
        }
        // A line of another format may have any shape: what is wrong with it is that.
        let Version { v } = serde_json::from_str(line)?;
        if v == FORMAT { Ok(read?) } else { Err(LineError::Version { found: v }) }
    }

    /// Writes the exchange as one line, without the line break.
    ///
    /// # Errors
    /// Only if a text in it could not be written as JSON, which no text does.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// What stands before the checksum of a sealed line.
const SEAL: &str = ",\"sum\":\"";

/// Seals a line: adds a checksum (CRC-32, eight hexadecimal digits) of all that stands before it, as the last member of the
/// object, so that a byte that changed in the file is found out. A line that is no object stays as it is.
pub fn seal(line: &mut String) {
    if !line.ends_with('}') {
        return;
    }
    line.pop();
    let sum = checksum(line);
    line.push_str(SEAL);
    line.push_str(&sum);
    line.push_str("\"}");
}

/// What a sealed line says before its seal, and the checksum it claims; none for a line without.
fn split_seal(line: &str) -> Option<(&str, &str)> {
    let (before, sum) = line.strip_suffix("\"}")?.split_at_checked(line.len().checked_sub(2 + 8)?)?;
    Some((before.strip_suffix(SEAL)?, sum))
}

/// Has a line a member of the name of the seal, wherever it stands and whatever its value? Within a text, the quotes have
/// backslashes before them, and no text has a colon behind it but the name of a member.
fn names_seal(line: &str) -> bool {
    const NAME: &[u8] = b"\"sum\"";
    let bytes = line.as_bytes();
    memchr::memmem::find_iter(bytes, NAME).any(|at| bytes[at + NAME.len()..].trim_ascii_start().starts_with(b":"))
}

fn checksum(text: &str) -> String {
    hex::encode(crc32fast::hash(text.as_bytes()).to_be_bytes())
}

/// A line that is no exchange.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not JSON, or not of this shape.
    #[error("not an exchange: {0}")]
    Json(#[from] serde_json::Error),
    /// Not as it was written.
    #[error("not as it was written: its checksum, `sum`, says otherwise (whoever changes it takes that member away)")]
    Changed,
    /// Written by another version of these tools.
    #[error("an exchange of format {found}: this version reads format {FORMAT}")]
    Version {
        /// What the line says.
        found: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(end: End, body: &str) -> Exchange {
        Exchange {
            v: FORMAT,
            seq: 3,
            start: Timestamp::UNIX_EPOCH,
            account: Some("demo".to_owned()),
            action: Some("UploadPart".to_owned()),
            file_sha1: Some(Sha1::of(b"file")),
            part: Some(PartSpan { offset: 0, len: 5 }),
            part_number: None,
            attempt: 1,
            request: RequestRecord {
                method: "POST".to_owned(),
                host: "vod2.qcloud.com".to_owned(),
                target: "/v2/index.php?Action=UploadPart".to_owned(),
                headers: vec![],
                body: Mark { len: 5, sha1: Some(Sha1::of(b"hello")), md5: Some(Md5::of(b"hello")), kept: Kept::Digest },
                tls: false,
            },
            reply: Some(ReplyRecord { status: 200, headers: vec![], body: body.to_owned(), mark: None }),
            unreached: None,
            end,
            faults: vec![],
            times: Times { first_byte: Some(1), body_done: Some(2), reply_done: Some(3) },
        }
    }

    #[test]
    fn a_line_reads_back() {
        let exchange = part(End::ClientGone { after: 3 }, r#"{"code":0}"#);
        let line = exchange.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Exchange::from_line(&line).unwrap(), exchange);
    }

    #[test]
    fn a_sealed_line_reads_back_and_no_byte_of_it_changes_unseen() {
        let exchange = part(End::Replied, r#"{"code":0}"#);
        let plain = exchange.to_line().unwrap();
        let mut line = plain.clone();
        seal(&mut line);
        assert_eq!(Exchange::from_line(&line).unwrap(), exchange);
        assert_eq!(line.len(), plain.len() + ",\"sum\":\"12345678\"".len());
        for at in 0..line.len() {
            for flip in [1, 2, 16, 32] {
                let mut bytes = line.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                // What is not refused says what it said: then the change is in the name of the checksum.
                if let Ok(read) = Exchange::from_line(&changed) {
                    assert_eq!(read, exchange, "{changed}");
                }
            }
            assert!(Exchange::from_line(&line[..at]).is_err(), "{}", &line[..at]);
        }
    }

    #[test]
    fn a_line_that_has_a_checksum_has_it_as_it_was_written() {
        let exchange = part(End::Replied, r#"{"code":0}"#);
        let mut line = exchange.to_line().unwrap();
        seal(&mut line);
        // The reply says something else now, and the checksum is no longer where and what it was.
        let changed = line.replace(r#"\"code\":0"#, r#"\"code\":7"#);
        let (before, sum) = changed.split_at(changed.len() - 10);
        let (digits, unsealed) = (&sum[..8], before.strip_suffix(SEAL).unwrap());
        for end in [
            format!(r#","sum":"{}"}}"#, &digits[..7]),
            format!(r#","sum": "{digits}"}}"#),
            format!(r#","sum" :"{digits}"}}"#),
            format!(r#","sum":"{digits}" }}"#),
            format!(r#","sum":"{digits}","later":1}}"#),
            r#","sum":null}"#.to_owned(),
        ] {
            let changed = format!("{unsealed}{end}");
            assert!(matches!(Exchange::from_line(&changed), Err(LineError::Changed)), "{changed}");
        }
        // What is no member is none of it, and without any the line is taken at its word.
        let spoken = Exchange { account: Some("sum".to_owned()), ..part(End::Replied, r#"{"sum":1}"#) };
        assert_eq!(Exchange::from_line(&spoken.to_line().unwrap()).unwrap(), spoken);
    }

    #[test]
    fn a_line_of_another_format_says_so() {
        let line = part(End::Replied, "{}").to_line().unwrap().replace("\"v\":1", "\"v\":9");
        let error = Exchange::from_line(&line).unwrap_err().to_string();
        assert_eq!(error, "an exchange of format 9: this version reads format 1");
    }

    #[test]
    fn acknowledged_means_code_0_wholly_written_and_untouched() {
        assert!(part(End::Replied, r#"{"code":0}"#).acknowledged());
        assert!(!part(End::Replied, r#"{"code":-10004}"#).acknowledged());
        assert!(!part(End::Reset, r#"{"code":0}"#).acknowledged());
        let mut forged = part(End::Replied, r#"{"code":0}"#);
        forged.faults.push(FaultMark {
            id: "f".to_owned(),
            phase: "before-commit".to_owned(),
            verdict: "reply".to_owned(),
            on_reply: true,
            at_us: 0,
        });
        assert!(!forged.acknowledged());
    }
}
