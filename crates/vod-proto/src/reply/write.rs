//! Writes replies in the one form that every known client reads.

use serde::Serialize;

use super::{InitReply, ListedPart, NextReply, Rejected, Reply, Stored};
use crate::{Code, Family, Md5, Sha1};

/// The fields of a reply, in alphabetical order, as the real service writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    can_retry: Option<u8>,
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_desc: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_parts: Option<Vec<PartFields>>,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_info: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'r str>,
    #[serde(rename = "verify_content", skip_serializing_if = "Option::is_none")]
    verify_content: Option<&'r str>,
}

/// The fields of a listed part.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartFields {
    // Two clients read dataLen, the documents say dataSize: both.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_len: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_md5: Option<Md5>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_sha: Option<Sha1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_size: Option<u64>,
    offset: u64,
}

impl From<&ListedPart> for PartFields {
    fn from(part: &ListedPart) -> Self {
        let ListedPart { offset, len, md5, sha1 } = *part;
        Self { data_len: len, data_md5: md5, data_sha: sha1, data_size: len, offset }
    }
}

impl<'r> Fields<'r> {
    /// What every reply of a family has, and nothing else.
    fn of(family: Family, code: Code) -> Self {
        let newer = family != Family::Legacy;
        Self {
            can_retry: newer.then_some(0),
            code,
            code_desc: newer.then_some(""),
            data_size: None,
            file_id: None,
            flag: None,
            list_parts: None,
            message: "",
            offset: None,
            session_info: None,
            url: None,
            verify_content: None,
        }
    }

    fn with(self, stored: &'r Stored) -> Self {
        let Stored { file_id, url, verify_content } = stored;
        Self { file_id: Some(file_id), url: url.as_deref(), verify_content: verify_content.as_deref(), ..self }
    }
}

impl Reply {
    /// The code that it is written with.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Init(InitReply::Resume { .. }) => Code::RESUME,
            Self::Init(InitReply::Exists(_)) => Code::EXISTS,
            Self::Init(InitReply::Fresh) | Self::Part | Self::Finish(_) | Self::Next(_) => Code::OK,
            Self::Rejected(Rejected { code, .. }) => *code,
        }
    }

    /// Writes the reply: fields in alphabetical order, as the real service does.
    ///
    /// Always with `canRetry`, `code`, `codeDesc` and `message`, because known clients read them with getters that
    /// throw; the legacy family knows `code` and `message` alone.
    #[must_use]
    pub fn to_json(&self, family: Family) -> String {
        serde_json::to_string(&self.fields(family)).expect("numbers and texts can be written")
    }

    fn fields(&self, family: Family) -> Fields<'_> {
        let fields = Fields::of(family, self.code());
        match self {
            Self::Init(InitReply::Fresh) => Fields {
                // What a real server was seen to answer, to the letter.
                code_desc: Some(" 0\n"),
                session_info: Some(r#"{"sessionKey":"xxx"}"#),
                ..fields
            },
            Self::Init(InitReply::Resume { part_size, parts }) => Fields {
                data_size: Some(*part_size),
                list_parts: Some(parts.iter().map(PartFields::from).collect()),
                ..fields
            },
            Self::Init(InitReply::Exists(stored)) => fields.with(stored),
            Self::Part => fields,
            Self::Finish(stored) => Fields { session_info: Some(""), ..fields }.with(stored),
            // A text, as the documents show it: one client reads it in a way that fails on a number.
            Self::Next(NextReply::Continue { offset }) => {
                Fields { flag: Some(0), offset: Some(offset.to_string()), ..fields }
            }
            Self::Next(NextReply::Stored(stored)) => Fields { flag: Some(1), ..fields }.with(stored),
            Self::Rejected(Rejected { code, can_retry, message }) => Fields {
                can_retry: fields.can_retry.map(|_| u8::from(can_retry.unwrap_or(false))),
                code_desc: fields.code_desc.map(|_| code.meaning().map_or("", |row| row.meaning)),
                message,
                ..fields
            },
        }
    }
}
