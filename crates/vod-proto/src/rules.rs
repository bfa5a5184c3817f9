//! The catalogue of rules: what is demanded of a client, and real clients do not always do.
//!
//! A [`Deviation`] says which [`Rule`] a single request does not keep.
//! The `observed` profile accepts and notes it, `documented` refuses it with the rule's code.
//! What it takes several exchanges to see is seen by [`lint`](crate::lint::lint) alone.

use serde::{Deserialize, Serialize};

use crate::{Action, Code, Family, PATH_V2, PATH_V3, PartSpan, UploadPart, action::Role};

/// How strictly a server holds clients to the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Accepts what the documents say and what public clients really send.
    #[default]
    Observed,
    /// Refuses every deviation from the documents.
    Documented,
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "observed" => Ok(Self::Observed),
            "documented" => Ok(Self::Documented),
            _ => Err(format!("unknown profile {text:?}, expected observed or documented")),
        }
    }
}

/// How much a breach matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The upload can fail by it, or seem to succeed without its file.
    Error,
    /// The upload goes on, and somebody pays: work is done twice, or the server is pressed.
    Warning,
    /// Another form than the documents', as real clients are known to send it.
    Note,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One demand on clients. Where a list of exchanges does not keep it, [`lint`](crate::lint::lint) tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in findings and refusals.
    pub id: &'static str,
    /// The demand, in one sentence.
    pub says: &'static str,
    /// Where it stands: the document and its heading, or that it is observed or assumed.
    pub source: &'static str,
    /// How much a breach matters.
    pub severity: Severity,
    /// What the profile `documented` alone answers in the newer families; none where a breach is only ever noted, or answered alike by both.
    pub refusal: Option<Code>,
}

impl Rule {
    /// What `documented` answers in a family. The legacy one has codes of its own for the parameters it names, and the
    /// service's common one for everything else.
    #[must_use]
    pub fn refusal_in(&self, family: Family) -> Option<Code> {
        let upload = [Some(Code::COMMON_PARAMS), Some(Code::PROTOCOL_PARAMS)];
        if family != Family::Legacy || !upload.contains(&self.refusal) {
            return self.refusal;
        }
        Some(if *self == TAGS_PLURAL {
            Code::LEGACY_TAG
        } else if *self == DIGEST_LOWER_CASE {
            Code::LEGACY_FILE_SHA
        } else {
            Code::BAD_PARAMETER
        })
    }
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $section:ident {
        $($name:ident = $id:literal, $severity:ident, $refusal:expr, $source:literal, $says:literal;)*
    })*) => {
        $($(
            #[doc = $says]
            pub const $name: Rule =
                Rule { id: $id, says: $says, source: $source, severity: Severity::$severity, refusal: $refusal };
        )*)*
        $($(#[$doc])* pub const $section: &[&Rule] = &[$(&$name),*];)*
        /// Every rule, in the order of this file.
        pub const ALL: &[&Rule] = &[$($(&$name),*),*];
    };
}

catalogue! {
    /// What one request looks like.
    WIRE {
        DOCUMENTED_METHOD = "documented-method", Note, Some(Code::COMMON_PARAMS), "each action's page, request method",
            "InitUpload and FinishUpload are called by GET, UploadPart by POST.";
        DOCUMENTED_PATH = "documented-path", Note, Some(Code::COMMON_PARAMS), "each action's page, request example",
            "Requests go to /v2/index.php.";
        TAGS_PLURAL = "tags-plural", Note, Some(Code::PROTOCOL_PARAMS), "InitUpload, parameters",
            "Tags are named tags.n.";
        DIGEST_LOWER_CASE = "digest-lower-case", Note, Some(Code::PROTOCOL_PARAMS), "UploadPart, calculation of dataMd5; InitUploadEx, calculation of fileSha",
            "Digests are written in lower-case hexadecimal digits.";
        TIMESTAMP_SECONDS = "timestamp-seconds", Note, Some(Code::REPLAY), "common parameters",
            "Timestamp is in seconds.";
        PART_CONTENT_LENGTH = "part-content-length", Note, Some(Code::BODY), "UploadPart, parameters",
            "A part is sent with a Content-Length, and dataSize is equal to it.";
        LEGACY_CONTENT_LENGTH = "legacy-content-length", Note, Some(Code::LEGACY_DATA_SIZE), "MultipartUploadVodFile, note 4",
            "A part of MultipartUploadVodFile is sent with a Content-Length, and dataSize is equal to it.";
        NO_EMPTY_TAIL = "no-empty-tail", Note, Some(Code::PROTOCOL_PARAMS), "UploadPart, about dataSize",
            "No part is empty, and none starts at the end of the file.";
        FILE_NAME_NO_PIPE = "file-name-no-pipe", Note, Some(Code::PROTOCOL_PARAMS), "InitUpload, parameters",
            "fileName has no pipe character.";
        UGC_PART_SIZE = "ugc-part-size", Note, Some(Code::PROTOCOL_PARAMS), "InitUploadEx, parameters",
            "InitUploadEx takes a dataSize of 524288 or 1048576, nothing between.";
        FILE_SHA_REQUIRED = "file-sha-required", Note, Some(Code::PROTOCOL_PARAMS), "UploadPartEx and FinishUploadEx, parameters",
            "fileSha stands in the query of every action.";
        SIGNATURE_NAME = "signature-name", Note, Some(Code::SIGNATURE), "InitUploadEx, parameters",
            "The upload signature is named signature, in lower case.";
        SIGNATURE_FIELDS = "signature-fields", Note, Some(Code::SIGNATURE), "UGC upload overview, signature",
            "An upload signature has the fields s, f, fs, ft, t, e, r and uid.";
        SIGNATURE_RANDOM = "signature-random", Note, Some(Code::SIGNATURE), "UGC upload overview, signature",
            "The field r of an upload signature is a decimal number of at most 10 digits.";
        EXPIRY_SECONDS = "expiry-seconds", Note, Some(Code::SIGNATURE), "UGC upload overview, signature",
            "The field e of an upload signature is in seconds.";
        EXPIRY_90_DAYS = "expiry-90-days", Note, Some(Code::SIGNATURE), "UGC upload overview, signature",
            "An upload signature expires at most 90 days after the time t that it was made.";
        LEGACY_HTTP_ONLY = "legacy-http-only", Note, Some(Code::PROTOCOL_UNSUPPORTED), "MultipartUploadVodFile, interface, note 1",
            "MultipartUploadVodFile is called over http alone.";
        COVER_PREFIX = "cover-prefix", Note, None, "SmallFileUpload, parameters",
            "What makes a file a cover is named extra.usage and extra.fileId.";
        KNOWN_ACTIONS = "known-actions", Note, None, "list of the service's interfaces",
            "Only actions that the documents name are called.";
        KNOWN_PARAMETERS = "known-parameters", Note, None, "each action's page, parameters",
            "Only parameters that the documents name are sent.";
        PARAMETERS = "parameters", Error, None, "each action's page, parameters",
            "Every required parameter is there, in its form and within its range.";
        PART_GRID = "part-grid", Error, None, "UploadPart, about dataSize",
            "A part begins at a multiple of the upload's part size and has that size, or what remains of the file.";
        PART_BODY = "part-body", Error, None, "UploadPart, calculation of dataMd5",
            "The body of a part has the length that dataSize and the MD5 that dataMd5 says.";
    }
    /// What comes before what.
    ORDER {
        OPEN_BEFORE_PARTS = "open-before-parts", Error, None, "UploadPart, feature description",
            "An upload is opened, and the answer awaited, before a part of it is sent or it is finished.";
        FINISH_AFTER_PARTS = "finish-after-parts", Error, None, "UploadPart, feature description",
            "An upload is finished after its last part was acknowledged.";
        NO_PART_AFTER_STORED = "no-part-after-stored", Warning, None, "InitUploadEx, response parameters, code",
            "No part is sent of a file that the server said it has.";
        DICTATED_OFFSET = "dictated-offset", Error, None, "MultipartUploadVodFile, parameters, offset; upload flow",
            "A part of MultipartUploadVodFile begins at 0, or where a reply said that the next one begins.";
    }
    /// How a client takes what it is told.
    CONDUCT {
        NOTHING_AFTER_FINAL = "nothing-after-final", Warning, None, "common error codes",
            "A request that was refused for good is not sent again as it is.";
        CAN_RETRY = "can-retry", Warning, None, "each action's page, response parameters, canRetry",
            "A request that was refused with canRetry 0 is not sent again as it is.";
        FAILED_PART_AGAIN = "failed-part-again", Error, None, "UploadPart, feature description",
            "A part that got no answer is sent again before the upload is finished.";
        ERROR_NOT_SUCCESS = "error-not-success", Error, None, "each action's page, response parameters, code",
            "What was answered by an error is not taken for done.";
        ACKNOWLEDGED_PART_ONCE = "acknowledged-part-once", Warning, None, "InitUploadEx, response parameters, listParts",
            "A part that was acknowledged is sent again only if the server lost it.";
        LISTED_PART_SKIPPED = "listed-part-skipped", Warning, None, "InitUploadEx, response parameters, listParts",
            "A part that listParts names with the client's own bytes is not sent again.";
        RETURNED_PART_SIZE = "returned-part-size", Error, None, "InitUploadEx, response parameters, dataSize",
            "After code 1 the parts have the dataSize of the reply, whatever was asked for.";
        RETRY_GAP = "retry-gap", Warning, None, "assumed: half of the shortest delay of a client that spreads its retries; RFC 9110, Retry-After",
            "A request that the server ended is sent again after at least 25 ms, and no sooner than Retry-After says.";
        ONE_SIGNATURE = "one-signature", Error, None, "InitUploadEx, request domain, notes",
            "The signature of InitUploadEx serves every later call of that upload.";
    }
}

/// The rule with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// A rule that a request does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Which rule.
    pub rule: &'static Rule,
    /// What was sent instead.
    pub found: String,
}

impl Deviation {
    /// Notes that a rule was not kept.
    #[must_use]
    pub fn new(rule: &'static Rule, found: impl Into<String>) -> Self {
        Self { rule, found: found.into() }
    }
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (rule {}: {})", self.found, self.rule.id, self.rule.says)
    }
}

/// Is this path one that the service is known under?
#[must_use]
pub fn known_path(path: &str) -> bool {
    path == PATH_V2 || path == PATH_V3
}

/// What the method and path of a request deviate in.
#[must_use]
pub fn request_line(action: Action, method: &str, path: &str) -> Vec<Deviation> {
    let mut deviations = Vec::new();
    if method != action.documented_method() {
        deviations.push(Deviation::new(&DOCUMENTED_METHOD, format!("{action} was sent by {method}")));
    }
    if path != PATH_V2 {
        deviations.push(Deviation::new(&DOCUMENTED_PATH, format!("{action} was sent to {path}")));
    }
    deviations
}

/// What a request deviates in by the transport it came over.
#[must_use]
pub fn transport(action: Action, tls: bool) -> Option<Deviation> {
    let wrong = tls && action.family() == Family::Legacy;
    wrong.then(|| Deviation::new(&LEGACY_HTTP_ONLY, format!("{action} was sent over https")))
}

/// An empty part, as one client sends it at the end of a file whose size is a multiple of the part size.
#[must_use]
pub fn empty_tail(part: &UploadPart) -> Option<Deviation> {
    (part.span.len == 0)
        .then(|| Deviation::new(&NO_EMPTY_TAIL, format!("an empty part at offset {}", part.span.offset)))
}

/// What the announced length of a part's body deviates in; none is a body whose length is not announced.
#[must_use]
pub fn part_length(role: Role, span: PartSpan, content_length: Option<u64>) -> Option<Deviation> {
    let found = match content_length {
        Some(len) if len == span.len => return None,
        Some(len) => format!("Content-Length is {len}, dataSize is {}", span.len),
        None => "the part has no Content-Length".to_owned(),
    };
    let rule = if role == Role::Next { &LEGACY_CONTENT_LENGTH } else { &PART_CONTENT_LENGTH };
    Some(Deviation::new(rule, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legacy_family_is_never_answered_with_a_code_of_the_newer_ones() {
        for rule in ALL {
            let legacy = rule.refusal_in(Family::Legacy);
            assert_eq!(legacy.is_some(), rule.refusal.is_some(), "{}", rule.id);
            assert_eq!(rule.refusal_in(Family::Server), rule.refusal);
        }
        let codes = [&DOCUMENTED_PATH, &TAGS_PLURAL, &DIGEST_LOWER_CASE, &FILE_NAME_NO_PIPE, &LEGACY_CONTENT_LENGTH];
        let codes = codes.map(|rule| rule.refusal_in(Family::Legacy).map(|code| code.0));
        assert_eq!(codes, [Some(4000), Some(-25984), Some(-25985), Some(4000), Some(-25982)]);
    }

    #[test]
    fn ids_are_unique() {
        for (at, rule) in ALL.iter().enumerate() {
            assert!(ALL[at + 1..].iter().all(|other| other.id != rule.id), "{} stands twice", rule.id);
        }
    }

    #[test]
    fn the_documents_own_examples_deviate_in_nothing() {
        assert_eq!(request_line(Action::InitUpload, "GET", PATH_V2), []);
        assert_eq!(request_line(Action::UploadPart, "POST", PATH_V2), []);
        let found: Vec<_> = request_line(Action::FinishUpload, "POST", PATH_V3).iter().map(|d| d.rule.id).collect();
        assert_eq!(found, ["documented-method", "documented-path"]);
    }
}
