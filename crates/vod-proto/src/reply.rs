//! Replies as types, read tolerantly from JSON and written in the one form that every known client reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Action, Code, Md5, code::RetryClass};

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
    /// `dataMd5`, or `dataSha` (a copying error of the documents) where that is missing.
    pub md5: Option<Md5>,
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
    /// To `UploadPart`: the part is kept.
    Part,
    /// To `FinishUpload`: the file is stored.
    Finish(Stored),
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
    #[error("not JSON ({why}): {start:?}")]
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

const KNOWN_FIELDS: [&str; 11] = [
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
];

impl Reply {
    /// Reads the reply to an action.
    ///
    /// Numbers may be numeric strings, `dataLen` and `dataSize` stand for each other, unknown fields are noted.
    ///
    /// # Errors
    /// Says which field is missing or wrong, or that the text is no JSON object.
    pub fn parse(action: Action, text: &str) -> Result<ParsedReply, Malformed> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Malformed::NotJson { why: error.to_string(), start: text.chars().take(60).collect() })?;
        let Value::Object(object) = value else { return Err(Malformed::NotAnObject { found: kind(&value) }) };
        let fields: BTreeMap<String, Value> = object.into_iter().collect();
        let code = Code(integer(&fields, "code")?);
        let reply = match (action, code) {
            (Action::InitUpload, Code::OK) => Self::Init(InitReply::Fresh),
            (Action::InitUpload, Code::RESUME) => Self::Init(InitReply::Resume {
                part_size: unsigned(&fields, "dataSize", "dataSize")?,
                parts: listed_parts(&fields)?,
            }),
            (Action::InitUpload, Code::EXISTS) => Self::Init(InitReply::Exists(stored(&fields)?)),
            (Action::UploadPart, Code::OK) => Self::Part,
            (Action::FinishUpload, Code::OK) => Self::Finish(stored(&fields)?),
            _ => Self::Rejected(Rejected {
                code,
                can_retry: fields.get("canRetry").and_then(as_flag),
                message: fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            }),
        };
        let unknown_fields = fields.into_keys().filter(|name| !KNOWN_FIELDS.contains(&name.as_str())).collect();
        Ok(ParsedReply { reply, unknown_fields })
    }

    /// Writes the reply: fields in alphabetical order, as the real service does; always with `canRetry`, `code`,
    /// `codeDesc` and `message`, because known clients read them with getters that throw.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields: BTreeMap<&str, Value> = BTreeMap::from([
            ("canRetry", json!(0)),
            ("code", json!(0)),
            ("codeDesc", json!("")),
            ("message", json!("")),
        ]);
        match self {
            Self::Init(InitReply::Fresh) => {
                // What a real server was seen to answer, to the letter.
                fields.insert("codeDesc", json!(" 0\n"));
                fields.insert("sessionInfo", json!(r#"{"sessionKey":"xxx"}"#));
            }
            Self::Init(InitReply::Resume { part_size, parts }) => {
                fields.insert("code", json!(Code::RESUME));
                fields.insert("dataSize", json!(part_size));
                fields.insert("listParts", parts.iter().map(|part| part.to_json()).collect());
            }
            Self::Init(InitReply::Exists(stored)) => {
                fields.insert("code", json!(Code::EXISTS));
                insert_stored(&mut fields, stored);
            }
            Self::Part => {}
            Self::Finish(stored) => {
                insert_stored(&mut fields, stored);
                fields.insert("sessionInfo", json!(""));
            }
            Self::Rejected(rejected) => {
                fields.insert("canRetry", json!(i32::from(rejected.can_retry.unwrap_or(false))));
                fields.insert("code", json!(rejected.code));
                fields.insert("codeDesc", json!(rejected.code.meaning().map_or("", |row| row.meaning)));
                fields.insert("message", json!(rejected.message));
            }
        }
        json!(fields).to_string()
    }
}

impl ListedPart {
    fn to_json(self) -> Value {
        let mut fields: BTreeMap<&str, Value> = BTreeMap::from([("offset", json!(self.offset))]);
        if let Some(len) = self.len {
            // Two clients read dataLen, the documents say dataSize: both.
            fields.insert("dataLen", json!(len));
            fields.insert("dataSize", json!(len));
        }
        if let Some(md5) = self.md5 {
            fields.insert("dataMd5", json!(md5));
        }
        json!(fields)
    }
}

fn insert_stored(fields: &mut BTreeMap<&str, Value>, stored: &Stored) {
    fields.insert("fileId", json!(stored.file_id));
    if let Some(url) = &stored.url {
        fields.insert("url", json!(url));
    }
}

/// The code of a reply's text, whatever else it says.
#[must_use]
pub fn code_of(text: &str) -> Option<Code> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("code").and_then(as_integer).map(Code)
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
    Ok(Stored { file_id, url })
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
    fn the_documents_resume_example_with_its_copying_error() {
        check(
            Action::InitUpload,
            r#"{"code":1,"message":"","codeDesc":"","canRetry":0,"dataSize":1048576,"listParts":[
                {"offset":0,"dataSize":1048576,"dataMd5":"0bee89b07a248e27c83fc3d5951213c1"},
                {"offset":1048576,"dataSize":1048576,"dataSha":"f5ac8127b3b6b85cdc13f237c6005d80"}]}"#,
            expect![
                "Init(Resume { part_size: 1048576, parts: [ListedPart { offset: 0, len: Some(1048576), md5: Some(Md5(0bee89b07a248e27c83fc3d5951213c1)) }, ListedPart { offset: 1048576, len: Some(1048576), md5: Some(Md5(f5ac8127b3b6b85cdc13f237c6005d80)) }] })"
            ],
        );
    }

    #[test]
    fn numeric_strings_and_unknown_fields_are_taken() {
        check(
            Action::InitUpload,
            r#"{"code":"1","dataSize":"524288","listParts":[{"offset":"0","dataLen":"5","dataMd5":"xxx......"}],"new":1}"#,
            expect![[
                r#"Init(Resume { part_size: 524288, parts: [ListedPart { offset: 0, len: Some(5), md5: None }] }) ignoring ["new"]"#
            ]],
        );
        check(
            Action::InitUpload,
            r#"{"code":1,"dataSize":9,"listParts":[{"offset":0,"dataLen":null,"dataSize":5,"dataMd5":"x","dataSha":"5d41402abc4b2a76b9719d911017c592"}]}"#,
            expect![
                "Init(Resume { part_size: 9, parts: [ListedPart { offset: 0, len: Some(5), md5: Some(Md5(5d41402abc4b2a76b9719d911017c592)) }] })"
            ],
        );
        check(
            Action::FinishUpload,
            r#"{"code":0,"message":"","fileId":16092504232103571364}"#,
            expect![[r#"Finish(Stored { file_id: "16092504232103571364", url: None })"#]],
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
    fn what_is_no_reply_says_where_it_goes_wrong() {
        check(
            Action::InitUpload,
            "<html>",
            expect![[r#"error: not JSON (expected value at line 1 column 1): "<html>""#]],
        );
        check(
            Action::InitUpload,
            "",
            expect![[r#"error: not JSON (EOF while parsing a value at line 1 column 0): """#]],
        );
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
        let stored = Stored { file_id: "7".to_owned(), url: Some("http://x/f0.mp4".to_owned()) };
        let part = ListedPart { offset: 0, len: Some(5), md5: Some(Md5::of(b"hello")) };
        let rejected = Rejected { code: Code::PROTOCOL_PARAMS, can_retry: None, message: "m".to_owned() };
        let written = [
            Reply::Init(InitReply::Fresh),
            Reply::Init(InitReply::Resume { part_size: 524_288, parts: vec![part] }),
            Reply::Init(InitReply::Exists(stored.clone())),
            Reply::Part,
            Reply::Finish(stored),
            Reply::Rejected(rejected),
        ]
        .map(|reply| reply.to_json());
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

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", which in 0..3_usize) {
            let _ = Reply::parse(Action::ALL[which], &text);
            let _ = code_of(&text);
        }
    }
}
