//! The parameters of every action: their names, what they must be, and the code that answers a wrong one.
//!
//! The one list of them: requests are read and written by it, errors quote it, `docs/protocol.md` is printed from it.

use crate::{Action, Code, Family, action::Role};

/// A parameter of the query, or a field of an upload signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name on the wire; `tags.n` and `tag.n` stand for a list that counts from 1.
    pub name: &'static str,
    /// Must it be there?
    pub required: bool,
    /// What is answered where it is missing or wrong.
    pub refusal: Code,
    /// What it must be, as errors and documents say it.
    pub expected: &'static str,
}

const fn required(name: &'static str, refusal: Code, expected: &'static str) -> Param {
    Param { name, required: true, refusal, expected }
}

const fn optional(name: &'static str, refusal: Code, expected: &'static str) -> Param {
    Param { name, required: false, refusal, expected }
}

const C: Code = Code::COMMON_PARAMS;
const P: Code = Code::PROTOCOL_PARAMS;
const S: Code = Code::SIGNATURE;
/// For what the legacy page has no code of its own, the service's common one.
const L: Code = Code::BAD_PARAMETER;

const FILE_NAME: &str = r#"1 to 40 characters, none of \ / : * ? " < >"#;
const FILE_SHA: &str = "the file's SHA-1 in hexadecimal digits";
const FILE_SIZE: &str = "the file's size in bytes, at least 1";
const GRID: &str = "the size of a part in bytes";
const FILE_TYPE: &str = "the file's type, such as mp4";
const TAG: &str = "a tag that is not empty, n counting from 1";
const CLASS_ID: &str = "a class id";
const FLAG: &str = "0 or 1";
const OFFSET: &str = "a byte offset";
const PART_LEN: &str = "the part's length in bytes";
const PART_MD5: &str = "the part's MD5 in hexadecimal digits";
const TOKEN: &str = "an upload signature";
const USAGE: &str = "1, for a video's cover";
const COVERED: &str = "the id of the video that it is the cover of";

/// What every request of the server and legacy families carries.
pub const COMMON: &[Param] = &[
    required("Action", C, "an action's name"),
    required("Region", C, "a region such as gz"),
    required("Timestamp", C, "seconds since 1970"),
    required("Nonce", C, "a positive integer"),
    required("SecretId", C, "the account's SecretId"),
    optional("SignatureMethod", C, "HmacSHA256 or HmacSHA1"),
    required("Signature", C, "the request's signature"),
    optional("Token", C, "the token of temporary keys; not checked"),
];

const INIT_UPLOAD: &[Param] = &[
    required("fileName", P, FILE_NAME),
    required("fileSha", P, FILE_SHA),
    required("fileSize", P, FILE_SIZE),
    required("dataSize", P, GRID),
    required("fileType", P, FILE_TYPE),
    optional("tags.n", P, TAG),
    optional("classId", P, CLASS_ID),
    optional("isTranscode", P, FLAG),
    optional("isScreenshot", P, FLAG),
    optional("isWatermark", P, FLAG),
    optional("extra.usage", P, USAGE),
    optional("extra.fileId", P, COVERED),
];

const UPLOAD_PART: &[Param] = &[
    required("fileSha", P, FILE_SHA),
    required("offset", P, OFFSET),
    required("dataSize", P, PART_LEN),
    required("dataMd5", P, PART_MD5),
];

const FINISH_UPLOAD: &[Param] = &[required("fileSha", P, FILE_SHA)];

const INIT_UPLOAD_EX: &[Param] = &[
    required("fileSha", P, FILE_SHA),
    required("fileSize", P, FILE_SIZE),
    required("dataSize", P, GRID),
    required("signature", S, TOKEN),
];

const UPLOAD_PART_EX: &[Param] = &[
    required("fileSha", P, FILE_SHA),
    required("offset", P, OFFSET),
    required("dataSize", P, PART_LEN),
    required("dataMd5", P, PART_MD5),
    required("signature", S, TOKEN),
];

const FINISH_UPLOAD_EX: &[Param] = &[required("fileSha", P, FILE_SHA), required("signature", S, TOKEN)];

const MULTIPART: &[Param] = &[
    required("fileName", L, FILE_NAME),
    required("fileSha", Code::LEGACY_FILE_SHA, FILE_SHA),
    required("fileSize", Code::LEGACY_FILE_SIZE, FILE_SIZE),
    required("dataSize", Code::LEGACY_DATA_SIZE, PART_LEN),
    required("offset", L, OFFSET),
    required("fileType", Code::LEGACY_FILE_TYPE, FILE_TYPE),
    optional("tags.n", Code::LEGACY_TAG, TAG),
    optional("classId", Code::LEGACY_CLASS_ID, CLASS_ID),
    optional("isTranscode", Code::LEGACY_IS_TRANSCODE, FLAG),
    optional("isScreenshot", Code::LEGACY_IS_SCREENSHOT, FLAG),
    optional("isWatermark", Code::LEGACY_IS_WATERMARK, FLAG),
    optional("notifyUrl", Code::LEGACY_NOTIFY_URL, "an http or https URL"),
];

const SMALL_FILE: &[Param] = &[
    required("fileName", P, FILE_NAME),
    required("fileSha", P, FILE_SHA),
    required("fileSize", P, FILE_SIZE),
    required("dataSize", P, "the file's size again"),
    required("fileType", P, FILE_TYPE),
    required("extra.usage", P, USAGE),
    required("extra.fileId", P, COVERED),
];

/// No document names these: they are what two clients send.
const REPORT: &[Param] = &[
    optional("errCode", P, "how the upload ended; not checked"),
    optional("speed", P, "how fast it was; not checked"),
    optional("fileId", P, "the file's id; not checked"),
    optional("fileSha", P, FILE_SHA),
    optional("platform", P, "which client it was; not checked"),
    optional("version", P, "its version; not checked"),
];

/// The fields of an upload signature.
pub const TOKEN_FIELDS: &[Param] = &[
    required("s", S, "the account's SecretId"),
    required("f", P, FILE_NAME),
    required("fs", S, FILE_SHA),
    required("ft", P, FILE_TYPE),
    required("t", S, "seconds since 1970"),
    required("e", S, "seconds since 1970"),
    required("r", S, "a decimal number of at most 10 digits"),
    required("uid", S, "the user within the application"),
    optional("tc", P, FLAG),
    optional("ss", P, FLAG),
    optional("wm", P, FLAG),
    optional("cid", P, CLASS_ID),
    optional("tag.n", P, TAG),
];

/// What the documents name for an action, beside [`COMMON`].
#[must_use]
pub const fn of(action: Action) -> &'static [Param] {
    match action {
        Action::InitUpload => INIT_UPLOAD,
        Action::UploadPart => UPLOAD_PART,
        Action::FinishUpload => FINISH_UPLOAD,
        Action::InitUploadEx => INIT_UPLOAD_EX,
        Action::UploadPartEx => UPLOAD_PART_EX,
        Action::FinishUploadEx => FINISH_UPLOAD_EX,
        Action::MultipartUploadVodFile => MULTIPART,
        Action::SmallFileUpload => SMALL_FILE,
        Action::Report => REPORT,
    }
}

/// The parameter of an action, or of every action, by its name.
///
/// # Panics
/// If there is none: the name of a parameter that is read is a constant of this crate.
pub(crate) fn named(list: &'static [Param], name: &str) -> &'static Param {
    let found = list.iter().find(|param| param.name == name);
    found.unwrap_or_else(|| panic!("{name} is read, and therefore stands in the list of parameters"))
}

/// Is this a name that the documents know for an action?
#[must_use]
pub fn known(action: Action, name: &str) -> bool {
    let listed = |list: &[Param]| list.iter().any(|param| param.name == name);
    let token = || action.family() == Family::Ugc && name == "Signature";
    let tag = || tag_index(name).is_some() && listed_tags(action);
    listed(COMMON) || listed(of(action)) || token() || tag()
}

/// Does the action take tags in its query?
fn listed_tags(action: Action) -> bool {
    of(action).iter().any(|param| param.name == "tags.n")
}

/// The stem and the n of `tags.n`, or of `tag.n` as most clients call it.
#[must_use]
pub fn tag_index(name: &str) -> Option<(&'static str, &str)> {
    let rest = name.strip_prefix("tag")?;
    let plural = rest.strip_prefix("s.").map(|index| ("tags", index));
    plural.or_else(|| rest.strip_prefix('.').map(|index| ("tag", index)))
}

/// The code for a common parameter: the legacy family has its own for the SecretId, and the common one for the rest,
/// but for `Action`, without which nobody knows the family.
#[must_use]
pub fn common_refusal(family: Family, name: &str) -> Code {
    match (family, name) {
        (_, "Action") => Code::COMMON_PARAMS,
        (Family::Legacy, "SecretId") => Code::LEGACY_SECRET_ID,
        (Family::Legacy, _) => Code::BAD_PARAMETER,
        _ => Code::COMMON_PARAMS,
    }
}

/// The code for a body that is not what the query says.
#[must_use]
pub const fn body_refusal(role: Role) -> Code {
    match role {
        Role::Next => Code::LEGACY_DATA_SIZE,
        _ => Code::BODY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_stands_twice() {
        for list in Action::ALL.map(of).into_iter().chain([COMMON, TOKEN_FIELDS]) {
            for (at, param) in list.iter().enumerate() {
                assert!(list[at + 1..].iter().all(|other| other.name != param.name), "{} stands twice", param.name);
            }
        }
    }

    #[test]
    fn every_refusal_is_a_code_of_the_table() {
        for param in Action::ALL.map(of).into_iter().chain([COMMON, TOKEN_FIELDS]).flatten() {
            assert!(param.refusal.meaning().is_some(), "{} is refused with {}", param.name, param.refusal);
        }
    }

    #[test]
    fn names_are_known_by_action() {
        assert!(known(Action::InitUpload, "tag.7") && known(Action::InitUpload, "tags.7"));
        assert!(!known(Action::InitUploadEx, "tags.7"), "tags stand in the signature there");
        assert!(known(Action::InitUploadEx, "Signature") && known(Action::InitUpload, "Token"));
        assert!(!known(Action::UploadPart, "fileName") && !known(Action::InitUpload, "notifyUrl"));
    }
}
