//! Replies as types, read tolerantly from JSON and written in the one form that every known client reads.
//!
//! - `write`: that form.

mod write;

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use crate::{Action, Code, Md5, Sha1, action::Role, code::RetryClass};

/// A part that the server says it has.
///
/// Length and MD5 are optional because real replies have been seen to garble them;
/// a part that lacks one of them cannot be compared with the local bytes and is therefore not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// First byte of the part.
    pub offset: u64,
    /// `dataLen`, or `dataSize` where that is missing.
    pub len: Option<u64>,
    /// `dataMd5`, or a `dataSha` as long as an MD5 (a copying error of the documents) where that is missing.
    pub md5: Option<Md5>,
    /// A `dataSha` that is one. No document has it, and nobody compares it.
    pub sha1: Option<Sha1>,
}

/// What the server says to `InitUpload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitReply {
    /// Code 0: nothing is there yet, send every part.
    Fresh,
    /// Code 1: some parts are there; the grid of the first `InitUpload` holds, whatever was asked for now.
    Resume {
        /// The grid in force, in bytes.
        part_size: u64,
        /// The parts that need not be sent.
        parts: Vec<ListedPart>,
    },
    /// Code 2: the whole file is there already (instant upload).
    Exists(Stored),
}

/// A file the service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// `fileId`: decimal digits, too large for a JSON number.
    pub file_id: String,
    /// Where it can be fetched; some documented replies show none.
    pub url: Option<String>,
    /// `verify_content`: what the UGC family's finish proves it by to an application's own server.
    pub verify_content: Option<String>,
}

impl Stored {
    /// A file that is known by its id alone.
    #[must_use]
    pub fn new(file_id: impl Into<String>) -> Self {
        Self { file_id: file_id.into(), url: None, verify_content: None }
    }
}

/// What the server says to `MultipartUploadVodFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextReply {
    /// `flag` 0: go on at this offset. It is the server's to say; what was sent may have to be sent again.
    Continue {
        /// First byte of the part that is wanted next.
        offset: u64,
    },
    /// `flag` 1: the whole file is there.
    Stored(Stored),
}

/// The server said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub code: Code,
    /// The reply's `canRetry`, where it has one.
    pub can_retry: Option<bool>,
    /// The server's own words.
    pub message: String,
}

impl Rejected {
    /// May the same request be sent again?
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        self.code.retry_class(self.can_retry)
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {}", self.code)?;
        if let Some(row) = self.code.meaning() {
            write!(f, " ({})", row.meaning)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `InitUpload`.
    Init(InitReply),
    /// To `UploadPart`: the part is kept. To `Report`: it was heard.
    Part,
    /// To `FinishUpload` and `SmallFileUpload`: the file is stored.
    Finish(Stored),
    /// To `MultipartUploadVodFile`.
    Next(NextReply),
    /// To any: no.
    Rejected(Rejected),
}

/// A reply, and the fields in it that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedReply {
    /// What it says.
    pub reply: Reply,
    /// Names of fields that were ignored, in bytewise order.
    pub unknown_fields: Vec<String>,
}

/// A text that is no reply of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON at all.
    #[error("expected a JSON object, found what is no JSON ({why}): {start:?}")]
    NotJson {
        /// The parser's complaint, with line and column.
        why: String,
        /// How the text begins.
        start: String,
    },
    /// JSON, but not an object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// A field that is needed is missing or cannot be read.
    #[error("field {field}: expected {expected}, found {found}")]
    Field {
        /// Which.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

const KNOWN_FIELDS: [&str; 12] = [
    "canRetry",
    "code",
    "codeDesc",
    "dataSize",
    "fileId",
    "listParts",
    "message",
    "sessionInfo",
    "url",
    "flag",
    "offset",
    "verify_content",
];

impl Reply {
    /// Reads the reply to an action.
    ///
    /// Numbers may be numeric strings, `dataLen` and `dataSize` stand for each other, unknown fields are noted, a byte
    /// order mark is not.
    ///
    /// # Errors
    /// Says which field is missing or wrong, or that the text is no JSON object.
    pub fn parse(action: Action, text: &str) -> Result<ParsedReply, Malformed> {
        let text = without_mark(text);
        if text.trim_ascii().is_empty() {
            return Err(Malformed::NotAnObject { found: "nothing" });
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Malformed::NotJson { why: error.to_string(), start: text.chars().take(60).collect() })?;
        let Value::Object(object) = value else { return Err(Malformed::NotAnObject { found: kind(&value) }) };
        let fields: BTreeMap<String, Value> = object.into_iter().collect();
        let code = Code(integer(&fields, "code")?);
        let reply = match (action.role(), code) {
            (Role::Open, Code::OK) => Self::Init(InitReply::Fresh),
            (Role::Open, Code::RESUME) => Self::Init(InitReply::Resume {
                part_size: unsigned(&fields, "dataSize", "dataSize")?,
                parts: listed_parts(&fields)?,
            }),
            (Role::Open, Code::EXISTS) => Self::Init(InitReply::Exists(stored(&fields)?)),
            (Role::Part | Role::Report, Code::OK) => Self::Part,
            (Role::Finish | Role::Whole, Code::OK) => Self::Finish(stored(&fields)?),
            (Role::Next, Code::OK) => Self::Next(next_reply(&fields)?),
            _ => Self::Rejected(Rejected {
                code,
                // The legacy family knows no such field: there the table alone decides.
                can_retry: fields.get("canRetry").filter(|_| action.role() != Role::Next).and_then(as_flag),
                message: fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            }),
        };
        let unknown_fields = fields.into_keys().filter(|name| !KNOWN_FIELDS.contains(&name.as_str())).collect();
        Ok(ParsedReply { reply, unknown_fields })
    }
}

/// The code of a reply's text, whatever else it says. Nothing else of it is kept, however long it is.
#[must_use]
pub fn code_of(text: &str) -> Option<Code> {
    struct Coded(Option<Value>);

    #[derive(Deserialize)]
    #[serde(field_identifier, rename_all = "lowercase")]
    enum Field {
        Code,
        #[serde(other)]
        Other,
    }

    impl<'de> Deserialize<'de> for Coded {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(FieldsOf)
        }
    }

    struct FieldsOf;

    impl<'de> Visitor<'de> for FieldsOf {
        type Value = Coded;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Coded, A::Error> {
            let mut coded = Coded(None);
            while let Some(field) = fields.next_key()? {
                match field {
                    // Of several, the last holds, as everywhere.
                    Field::Code => coded.0 = Some(fields.next_value()?),
                    Field::Other => _ = fields.next_value::<IgnoredAny>()?,
                }
            }
            Ok(coded)
        }
    }

    let Coded(code) = serde_json::from_str(without_mark(text)).ok()?;
    code.as_ref().and_then(as_integer).map(Code)
}

/// A text without the byte order mark that some write before it, as RFC 8259 allows readers to ignore it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn listed_parts(fields: &BTreeMap<String, Value>) -> Result<Vec<ListedPart>, Malformed> {
    let parts = match fields.get("listParts") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(parts)) => parts,
        Some(other) => return Err(wrong("listParts", "an array", Some(other))),
    };
    let mut listed = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let Value::Object(object) = part else {
            return Err(wrong(&format!("listParts[{at}]"), "an object", Some(part)));
        };
        let offset = object.get("offset");
        listed.push(ListedPart {
            offset: offset
                .and_then(as_unsigned)
                .ok_or_else(|| wrong(&format!("listParts[{at}].offset"), "a byte offset", offset))?,
            len: ["dataLen", "dataSize"].iter().find_map(|name| as_unsigned(object.get(*name)?)),
            md5: ["dataMd5", "dataSha"].iter().find_map(|name| object.get(*name)?.as_str()?.parse().ok()),
            sha1: object.get("dataSha").and_then(|sha1| sha1.as_str()?.parse().ok()),
        });
    }
    Ok(listed)
}

fn stored(fields: &BTreeMap<String, Value>) -> Result<Stored, Malformed> {
    let id = fields.get("fileId");
    let file_id = match id {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(wrong("fileId", "a file id", id)),
    };
    let url = fields.get("url").and_then(Value::as_str).filter(|url| !url.is_empty()).map(str::to_owned);
    let proof = fields.get("verify_content").and_then(Value::as_str).filter(|proof| !proof.is_empty());
    Ok(Stored { file_id, url, verify_content: proof.map(str::to_owned) })
}

fn next_reply(fields: &BTreeMap<String, Value>) -> Result<NextReply, Malformed> {
    match fields.get("flag").and_then(as_integer) {
        Some(0) => {
            let offset = fields.get("offset");
            let known = offset.and_then(as_unsigned).ok_or_else(|| wrong("offset", "a byte offset", offset))?;
            Ok(NextReply::Continue { offset: known })
        }
        Some(1) => Ok(NextReply::Stored(stored(fields)?)),
        _ => Err(wrong("flag", "0 or 1", fields.get("flag"))),
    }
}

fn integer(fields: &BTreeMap<String, Value>, name: &str) -> Result<i64, Malformed> {
    let value = fields.get(name);
    value.and_then(as_integer).ok_or_else(|| wrong(name, "an integer", value))
}

fn unsigned(fields: &BTreeMap<String, Value>, name: &str, shown: &str) -> Result<u64, Malformed> {
    let value = fields.get(name);
    value.and_then(as_unsigned).filter(|n| *n > 0).ok_or_else(|| wrong(shown, "a positive integer", value))
}

fn as_integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn as_flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| as_integer(value).map(|flag| flag != 0))
}

fn as_unsigned(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn wrong(field: &str, expected: &'static str, found: Option<&Value>) -> Malformed {
    let found = match found {
        None => "nothing".to_owned(),
        Some(value) => value.to_string().chars().take(60).collect(),
    };
    Malformed::Field { field: field.to_owned(), expected, found }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::Family;

    #[track_caller]
    fn check(action: Action, text: &str, expected: Expect) {
        let shown = match Reply::parse(action, text) {
            Ok(parsed) if parsed.unknown_fields.is_empty() => format!("{:?}", parsed.reply),
            Ok(parsed) => format!("{:?} ignoring {:?}", parsed.reply, parsed.unknown_fields),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_sha_in_the_place_of_an_md5_is_written_and_read_as_one() {
        let part = ListedPart { offset: 0, len: Some(5), md5: None, sha1: Some(Sha1::of(b"hello")) };
        let reply = Reply::Init(InitReply::Resume { part_size: 9, parts: vec![part] });
        let text = reply.to_json(Family::Server);
        assert!(
            text.contains(r#""dataSha":"aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d""#) && !text.contains("dataMd5"),
            "{text}"
        );
        assert_eq!(Reply::parse(Action::InitUpload, &text).unwrap().reply, reply);
    }

    #[test]
    fn the_documents_resume_example_with_its_copying_error() {
        check(
            Action::InitUpload,
            r#"{"code":1,"message":"","codeDesc":"","canRetry":0,"dataSize":1048576,"listParts":[
                {"offset":0,"dataSize":1048576,"dataMd5":"0bee89b07a248e27c83fc3d5951213c1"},
                {"offset":1048576,"dataSize":1048576,"dataSha":"f5ac8127b3b6b85cdc13f237c6005d80"}]}"#,
            expect![
                "Init(Resume { part_size: 1048576, parts: [ListedPart { offset: 0, len: Some(1048576), md5: Some(Md5(0bee89b07a248e27c83fc3d5951213c1)), sha1: None }, ListedPart { offset: 1048576, len: Some(1048576), md5: Some(Md5(f5ac8127b3b6b85cdc13f237c6005d80)), sha1: None }] })"
            ],
        );
    }

    #[test]
    fn numeric_strings_and_unknown_fields_are_taken() {
        check(
            Action::InitUpload,
            r#"{"code":"1","dataSize":"524288","listParts":[{"offset":"0","dataLen":"5","dataMd5":"xxx......"}],"new":1}"#,
            expect![[
                r#"Init(Resume { part_size: 524288, parts: [ListedPart { offset: 0, len: Some(5), md5: None, sha1: None }] }) ignoring ["new"]"#
            ]],
        );
        check(
            Action::InitUpload,
            r#"{"code":1,"dataSize":9,"listParts":[{"offset":0,"dataLen":null,"dataSize":5,"dataMd5":"x","dataSha":"5d41402abc4b2a76b9719d911017c592"}]}"#,
            expect![
                "Init(Resume { part_size: 9, parts: [ListedPart { offset: 0, len: Some(5), md5: Some(Md5(5d41402abc4b2a76b9719d911017c592)), sha1: None }] })"
            ],
        );
        check(
            Action::FinishUpload,
            r#"{"code":0,"message":"","fileId":16092504232103571364}"#,
            expect![[r#"Finish(Stored { file_id: "16092504232103571364", url: None, verify_content: None })"#]],
        );
    }

    #[test]
    fn failures_keep_what_the_server_said() {
        check(
            Action::UploadPart,
            r#"{"code":-10001,"message":"invalid arg","canRetry":0}"#,
            expect![[r#"Rejected(Rejected { code: Code(-10001), can_retry: Some(false), message: "invalid arg" })"#]],
        );
        check(
            Action::UploadPart,
            r#"{"code":1}"#,
            expect![[r#"Rejected(Rejected { code: Code(1), can_retry: None, message: "" })"#]],
        );
        check(
            Action::InitUpload,
            r#"{"code":3}"#,
            expect![[r#"Rejected(Rejected { code: Code(3), can_retry: None, message: "" })"#]],
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_reply() {
        let text = "\u{feff}{\"code\":0}";
        check(Action::UploadPart, text, expect!["Part"]);
        assert_eq!(code_of(text), Some(Code::OK));
        check(Action::UploadPart, "\u{feff}", expect!["error: expected a JSON object, found nothing"]);
    }

    #[test]
    fn the_legacy_family_knows_no_can_retry() {
        let text = r#"{"code":-25985,"message":"no","canRetry":1}"#;
        check(
            Action::MultipartUploadVodFile,
            text,
            expect![[r#"Rejected(Rejected { code: Code(-25985), can_retry: None, message: "no" })"#]],
        );
        check(
            Action::UploadPart,
            text,
            expect![[r#"Rejected(Rejected { code: Code(-25985), can_retry: Some(true), message: "no" })"#]],
        );
    }

    #[test]
    fn what_is_no_reply_says_where_it_goes_wrong() {
        check(
            Action::InitUpload,
            "<html>",
            expect![[
                r#"error: expected a JSON object, found what is no JSON (expected value at line 1 column 1): "<html>""#
            ]],
        );
        check(Action::InitUpload, "", expect!["error: expected a JSON object, found nothing"]);
        check(Action::InitUpload, "[]", expect!["error: expected a JSON object, found an array"]);
        check(Action::InitUpload, r#"{"code":null}"#, expect!["error: field code: expected an integer, found null"]);
        check(
            Action::InitUpload,
            r#"{"code":1,"listParts":[]}"#,
            expect!["error: field dataSize: expected a positive integer, found nothing"],
        );
        check(
            Action::InitUpload,
            r#"{"code":1,"dataSize":1,"listParts":[{"offset":-1}]}"#,
            expect!["error: field listParts[0].offset: expected a byte offset, found -1"],
        );
        check(Action::FinishUpload, r#"{"code":0}"#, expect!["error: field fileId: expected a file id, found nothing"]);
    }

    #[test]
    fn replies_are_written_as_every_known_client_reads_them() {
        let stored = Stored { url: Some("http://x/f0.mp4".to_owned()), ..Stored::new("7") };
        let part = ListedPart { offset: 0, len: Some(5), md5: Some(Md5::of(b"hello")), sha1: None };
        let rejected = Rejected { code: Code::PROTOCOL_PARAMS, can_retry: None, message: "m".to_owned() };
        let written = [
            Reply::Init(InitReply::Fresh),
            Reply::Init(InitReply::Resume { part_size: 524_288, parts: vec![part] }),
            Reply::Init(InitReply::Exists(stored.clone())),
            Reply::Part,
            Reply::Finish(stored),
            Reply::Rejected(rejected),
        ]
        .map(|reply| reply.to_json(Family::Server));
        expect![[r#"
            {"canRetry":0,"code":0,"codeDesc":" 0\n","message":"","sessionInfo":"{\"sessionKey\":\"xxx\"}"}
            {"canRetry":0,"code":1,"codeDesc":"","dataSize":524288,"listParts":[{"dataLen":5,"dataMd5":"5d41402abc4b2a76b9719d911017c592","dataSize":5,"offset":0}],"message":""}
            {"canRetry":0,"code":2,"codeDesc":"","fileId":"7","message":"","url":"http://x/f0.mp4"}
            {"canRetry":0,"code":0,"codeDesc":"","message":""}
            {"canRetry":0,"code":0,"codeDesc":"","fileId":"7","message":"","sessionInfo":"","url":"http://x/f0.mp4"}
            {"canRetry":0,"code":-10003,"codeDesc":"a protocol parameter is wrong, or the parts do not make the file that was announced","message":"m"}
        "#]]
        .assert_eq(&(written.join("\n") + "\n"));
    }

    #[test]
    fn the_legacy_family_has_its_own_replies() {
        let rejected = Rejected { code: Code::LEGACY_SHA_MISMATCH, can_retry: Some(true), message: "m".to_owned() };
        let written = [
            Reply::Next(NextReply::Continue { offset: 524_288 }),
            Reply::Next(NextReply::Stored(Stored::new("18168685704931758788"))),
            Reply::Rejected(rejected),
        ]
        .map(|reply| reply.to_json(Family::Legacy));
        expect![[r#"
            {"code":0,"flag":0,"message":"","offset":"524288"}
            {"code":0,"fileId":"18168685704931758788","flag":1,"message":""}
            {"code":-29200,"message":"m"}
        "#]]
        .assert_eq(&(written.join("\n") + "\n"));
        let action = Action::MultipartUploadVodFile;
        check(
            action,
            r#"{"code" : 0, "message" : "", "flag" : 0, "offset" : "512"}"#,
            expect!["Next(Continue { offset: 512 })"],
        );
        check(action, r#"{"code":0,"flag":"0","offset":512}"#, expect!["Next(Continue { offset: 512 })"]);
        check(
            action,
            r#"{"code":0,"flag":1,"fileId":"18168685704931758788"}"#,
            expect![[r#"Next(Stored(Stored { file_id: "18168685704931758788", url: None, verify_content: None }))"#]],
        );
        check(action, r#"{"code":0,"flag":0}"#, expect!["error: field offset: expected a byte offset, found nothing"]);
        check(action, r#"{"code":0}"#, expect!["error: field flag: expected 0 or 1, found nothing"]);
        check(
            action,
            r#"{"code":10004,"message":"check sign failure"}"#,
            expect![[r#"Rejected(Rejected { code: Code(10004), can_retry: None, message: "check sign failure" })"#]],
        );
    }

    #[test]
    fn a_ugc_finish_brings_its_proof() {
        let proven = Stored { verify_content: Some("cHJvb2Y=".to_owned()), ..Stored::new("7") };
        let text = Reply::Finish(proven.clone()).to_json(Family::Ugc);
        let parsed = Reply::parse(Action::FinishUploadEx, &text).unwrap();
        assert_eq!((parsed.reply, parsed.unknown_fields.len()), (Reply::Finish(proven), 0));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", which in 0..Action::ALL.len()) {
            let _ = Reply::parse(Action::ALL[which], &text);
            let _ = code_of(&text);
        }
    }
}
