//! What the documents demand of a client and real clients do not always do.
//!
//! A [`Deviation`] says which [`Rule`] a request does not keep.
//! The `observed` profile accepts and notes it, `documented` refuses it with the rule's code.

use serde::{Deserialize, Serialize};

use crate::{Action, Code, Family, PATH_V2, PATH_V3};

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

/// One demand of the documents.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in findings and refusals.
    pub id: &'static str,
    /// The demand, in one sentence.
    pub says: &'static str,
    /// Where it stands.
    pub source: &'static str,
    /// What `documented` answers; none where a breach is only ever noted.
    pub refusal: Option<Code>,
}

macro_rules! catalogue {
    ($($name:ident = $id:literal, $refusal:expr, $source:literal, $says:literal;)*) => {
        $(#[doc = $says] pub const $name: Rule = Rule { id: $id, says: $says, source: $source, refusal: $refusal };)*
        /// Every rule, in the order of this file.
        pub const ALL: &[&Rule] = &[$(&$name),*];
    };
}

catalogue! {
    DOCUMENTED_METHOD = "documented-method", Some(Code::COMMON_PARAMS), "each action's page, request method",
        "InitUpload and FinishUpload are called by GET, UploadPart by POST.";
    DOCUMENTED_PATH = "documented-path", Some(Code::COMMON_PARAMS), "each action's page, request example",
        "Requests go to /v2/index.php.";
    TAGS_PLURAL = "tags-plural", Some(Code::PROTOCOL_PARAMS), "InitUpload, parameters",
        "Tags are named tags.n.";
    DIGEST_LOWER_CASE = "digest-lower-case", Some(Code::PROTOCOL_PARAMS), "UploadPart, calculation of dataMd5; InitUploadEx, calculation of fileSha",
        "Digests are written in lower-case hexadecimal digits.";
    TIMESTAMP_SECONDS = "timestamp-seconds", Some(Code::REPLAY), "common parameters",
        "Timestamp is in seconds.";
    PART_CONTENT_LENGTH = "part-content-length", Some(Code::BODY), "UploadPart, parameters",
        "A part is sent with a Content-Length, and dataSize is equal to it.";
    LEGACY_CONTENT_LENGTH = "legacy-content-length", Some(Code::LEGACY_DATA_SIZE), "MultipartUploadVodFile, note 4",
        "A part of MultipartUploadVodFile is sent with a Content-Length, and dataSize is equal to it.";
    NO_EMPTY_TAIL = "no-empty-tail", Some(Code::PROTOCOL_PARAMS), "UploadPart, about dataSize",
        "No part is empty, and none starts at the end of the file.";
    FILE_NAME_NO_PIPE = "file-name-no-pipe", Some(Code::PROTOCOL_PARAMS), "InitUpload, parameters",
        "fileName has no pipe character.";
    UGC_PART_SIZE = "ugc-part-size", Some(Code::PROTOCOL_PARAMS), "InitUploadEx, parameters",
        "InitUploadEx takes a dataSize of 524288 or 1048576, nothing between.";
    FILE_SHA_REQUIRED = "file-sha-required", Some(Code::PROTOCOL_PARAMS), "UploadPartEx and FinishUploadEx, parameters",
        "fileSha stands in the query of every action.";
    SIGNATURE_NAME = "signature-name", Some(Code::SIGNATURE), "InitUploadEx, parameters",
        "The upload signature is named signature, in lower case.";
    SIGNATURE_FIELDS = "signature-fields", Some(Code::SIGNATURE), "UGC upload overview, signature",
        "An upload signature has the fields s, f, fs, ft, t, e, r and uid.";
    SIGNATURE_RANDOM = "signature-random", Some(Code::SIGNATURE), "UGC upload overview, signature",
        "The field r of an upload signature is a decimal number of at most 10 digits.";
    EXPIRY_SECONDS = "expiry-seconds", Some(Code::SIGNATURE), "UGC upload overview, signature",
        "The field e of an upload signature is in seconds.";
    EXPIRY_90_DAYS = "expiry-90-days", Some(Code::SIGNATURE), "UGC upload overview, signature",
        "An upload signature expires at most 90 days after the time t that it was made.";
    LEGACY_HTTP_ONLY = "legacy-http-only", Some(Code::PROTOCOL_UNSUPPORTED), "MultipartUploadVodFile, interface, note 1",
        "MultipartUploadVodFile is called over http alone.";
    COVER_PREFIX = "cover-prefix", None, "SmallFileUpload, parameters",
        "What makes a file a cover is named extra.usage and extra.fileId.";
    KNOWN_ACTIONS = "known-actions", None, "list of the service's interfaces",
        "Only actions that the documents name are called.";
    KNOWN_PARAMETERS = "known-parameters", None, "each action's page, parameters",
        "Only parameters that the documents name are sent.";
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

#[cfg(test)]
mod tests {
    use super::*;

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
