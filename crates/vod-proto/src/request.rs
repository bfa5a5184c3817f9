//! Requests as types, read from and written to the query.

use crate::{
    Action, Code, Limits, Md5, PartSpan, Query, Sha1,
    rules::{self, Deviation},
};

/// A parameter that breaks a rule no profile forgives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Violation {
    /// What the server answers.
    pub code: Code,
    /// Names the parameter, its value and the rule.
    pub message: String,
}

impl Violation {
    fn missing(code: Code, name: &str, expected: &str) -> Self {
        Self { code, message: format!("parameter {name} is missing: expected {expected}") }
    }

    fn wrong(code: Code, name: &str, value: &str, expected: &str) -> Self {
        let value: String = value.chars().take(80).collect();
        Self { code, message: format!("parameter {name} is {value:?}: expected {expected}") }
    }
}

/// The parameters that every request of the server family carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonParams {
    /// Seconds since 1970; milliseconds, as one client sends them, are brought down to seconds.
    pub timestamp: u64,
    /// The public half of the key pair, which names the account.
    pub secret_id: String,
    /// What deviates from the documents.
    pub deviations: Vec<Deviation>,
}

/// From here on a `Timestamp` can only be meant in milliseconds: as seconds it would be the year 33658.
const MILLISECONDS_FROM: u64 = 1_000_000_000_000;

impl CommonParams {
    /// Reads the common parameters. `Nonce` and `Region` are checked for form alone: no client depends on more.
    ///
    /// # Errors
    /// Names the parameter that is missing or malformed.
    pub fn from_query(query: &Query) -> Result<Self, Violation> {
        let code = Code::COMMON_PARAMS;
        let mut deviations = Vec::new();
        let sent: u64 = number(query, "Timestamp", code, "seconds since 1970")?;
        let timestamp = if sent >= MILLISECONDS_FROM {
            deviations.push(Deviation::new(&rules::TIMESTAMP_SECONDS, format!("Timestamp is {sent}, in milliseconds")));
            sent / 1000
        } else {
            sent
        };
        let nonce = required(query, "Nonce", code, "a positive integer")?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Violation::wrong(code, "Nonce", &nonce, "a positive integer"));
        }
        required(query, "Region", code, "a region such as gz")?;
        let secret_id = required(query, "SecretId", code, "the account's SecretId")?;
        if query.pair("Signature").is_none() {
            return Err(Violation::missing(code, "Signature", "the request's signature"));
        }
        Ok(Self { timestamp, secret_id, deviations })
    }
}

/// `InitUpload`: what the file is and how it will be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitUpload {
    /// `fileName`: up to 40 characters, none of `\ / : * ? " < >`.
    pub file_name: String,
    /// `fileSha`: the upload's identity within its account.
    pub file_sha1: Sha1,
    /// `fileSize` in bytes, at least 1.
    pub file_size: u64,
    /// `dataSize` in bytes: the grid, 524,288 to 1,048,576.
    pub part_size: u64,
    /// `fileType`, without a dot.
    pub file_type: String,
    /// `tags.n`, in order of n.
    pub tags: Vec<String>,
    /// `classId`.
    pub class_id: Option<u64>,
    /// `isTranscode`. Default off.
    pub transcode: bool,
    /// `isScreenshot`. Default off.
    pub screenshot: bool,
    /// `isWatermark`. Default off.
    pub watermark: bool,
}

/// `UploadPart`: one part, whose bytes are the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPart {
    /// `fileSha`: which upload.
    pub file_sha1: Sha1,
    /// `offset` and `dataSize`.
    pub span: PartSpan,
    /// `dataMd5`, of this part.
    pub part_md5: Md5,
}

/// `FinishUpload`: put the parts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishUpload {
    /// `fileSha`: which upload.
    pub file_sha1: Sha1,
}

/// A request of the server family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Open or resume.
    Init(InitUpload),
    /// Send a part.
    Part(UploadPart),
    /// Put together.
    Finish(FinishUpload),
}

/// A request and what deviates from the documents in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What is asked.
    pub request: Request,
    /// What the documents would have had otherwise.
    pub deviations: Vec<Deviation>,
}

/// Characters that a file name must not have, whatever the profile. The documents also ban the pipe, in one version.
const FILE_NAME_BANNED: [char; 8] = ['\\', '/', ':', '*', '?', '"', '<', '>'];

impl Request {
    /// Which action this is.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Init(_) => Action::InitUpload,
            Self::Part(_) => Action::UploadPart,
            Self::Finish(_) => Action::FinishUpload,
        }
    }

    /// Which upload it belongs to, within its account.
    #[must_use]
    pub const fn file_sha1(&self) -> Sha1 {
        match self {
            Self::Init(init) => init.file_sha1,
            Self::Part(part) => part.file_sha1,
            Self::Finish(finish) => finish.file_sha1,
        }
    }

    /// Reads the parameters of an action.
    ///
    /// # Errors
    /// Names the parameter, its value and the rule it breaks.
    pub fn from_query(action: Action, query: &Query, limits: &Limits) -> Result<Parsed, Violation> {
        let mut deviations = unknown_parameters(action, query);
        let file_sha1 = digest(query, "fileSha", "the file's SHA-1 in hexadecimal digits", &mut deviations)?;
        let request = match action {
            Action::InitUpload => Self::Init(read_init(query, limits, file_sha1, &mut deviations)?),
            Action::UploadPart => {
                let offset = protocol_number(query, "offset", "a byte offset")?;
                let len = protocol_number(query, "dataSize", "the part's length in bytes")?;
                let part_md5 = digest(query, "dataMd5", "the part's MD5 in hexadecimal digits", &mut deviations)?;
                Self::Part(UploadPart { file_sha1, span: PartSpan { offset, len }, part_md5 })
            }
            Action::FinishUpload => Self::Finish(FinishUpload { file_sha1 }),
            other => {
                let message = format!("action {other} is not read yet");
                return Err(Violation { code: Code::COMMON_PARAMS, message });
            }
        };
        Ok(Parsed { request, deviations })
    }

    /// Writes the action and its parameters, in the order of the documents.
    #[must_use]
    pub fn to_query(&self) -> Query {
        let mut query = Query::default();
        query.push("Action", self.action());
        match self {
            Self::Init(init) => {
                query.push("fileName", &init.file_name);
                query.push("fileSha", init.file_sha1);
                query.push("fileSize", init.file_size);
                query.push("dataSize", init.part_size);
                query.push("fileType", &init.file_type);
                for (at, tag) in init.tags.iter().enumerate() {
                    query.push(&format!("tags.{}", at + 1), tag);
                }
                if let Some(class_id) = init.class_id {
                    query.push("classId", class_id);
                }
                for (name, on) in flags(init) {
                    if on {
                        query.push(name, 1);
                    }
                }
            }
            Self::Part(part) => {
                query.push("fileSha", part.file_sha1);
                query.push("offset", part.span.offset);
                query.push("dataSize", part.span.len);
                query.push("dataMd5", part.part_md5);
            }
            Self::Finish(finish) => query.push("fileSha", finish.file_sha1),
        }
        query
    }
}

fn flags(init: &InitUpload) -> [(&'static str, bool); 3] {
    [("isTranscode", init.transcode), ("isScreenshot", init.screenshot), ("isWatermark", init.watermark)]
}

fn read_init(
    query: &Query,
    limits: &Limits,
    file_sha1: Sha1,
    deviations: &mut Vec<Deviation>,
) -> Result<InitUpload, Violation> {
    let code = Code::PROTOCOL_PARAMS;
    let file_name = required(query, "fileName", code, "the file's name")?;
    let chars = file_name.chars().count();
    if chars == 0 || chars > limits.file_name_chars {
        let expected = format!("1 to {} characters", limits.file_name_chars);
        return Err(Violation::wrong(code, "fileName", &file_name, &expected));
    }
    if file_name.contains(FILE_NAME_BANNED) {
        return Err(Violation::wrong(code, "fileName", &file_name, r#"none of \ / : * ? " < >"#));
    }
    if file_name.contains('|') {
        deviations.push(Deviation::new(&rules::FILE_NAME_NO_PIPE, format!("fileName is {file_name:?}")));
    }
    let file_size = protocol_number(query, "fileSize", "the file's size in bytes, at least 1")?;
    if file_size == 0 {
        return Err(Violation::wrong(code, "fileSize", "0", "the file's size in bytes, at least 1"));
    }
    let expected = format!("{} to {} bytes", limits.part_size_min, limits.part_size_max);
    let part_size = protocol_number(query, "dataSize", &expected)?;
    if !(limits.part_size_min..=limits.part_size_max).contains(&part_size) {
        return Err(Violation::wrong(code, "dataSize", &part_size.to_string(), &expected));
    }
    let file_type = required(query, "fileType", code, "the file's type, such as mp4")?;
    if file_type.is_empty() {
        return Err(Violation::wrong(code, "fileType", &file_type, "the file's type, such as mp4"));
    }
    let class_id = optional_number(query, "classId", "a class id")?;
    Ok(InitUpload {
        file_name,
        file_sha1,
        file_size,
        part_size,
        file_type,
        tags: read_tags(query, deviations)?,
        class_id,
        transcode: flag(query, "isTranscode")?,
        screenshot: flag(query, "isScreenshot")?,
        watermark: flag(query, "isWatermark")?,
    })
}

/// The n of `tags.n`, or of `tag.n` as most clients call it.
fn tag_index(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(stem, _)| matches!(*stem, "tags" | "tag"))
}

fn read_tags(query: &Query, deviations: &mut Vec<Deviation>) -> Result<Vec<String>, Violation> {
    let mut tags = std::collections::BTreeMap::new();
    let mut singular = false;
    for pair in query.pairs() {
        let name = pair.name();
        let Some((stem, index)) = tag_index(&name) else { continue };
        let index = index.parse::<u32>().ok().filter(|n| *n >= 1).ok_or_else(|| {
            Violation::wrong(
                Code::PROTOCOL_PARAMS,
                &name,
                &pair.value(crate::query::Decoding::Form),
                "an index from 1 in its name",
            )
        })?;
        singular |= stem == "tag";
        tags.entry(index).or_insert_with(|| pair.value(crate::query::Decoding::Form).into_owned());
    }
    if singular {
        deviations.push(Deviation::new(&rules::TAGS_PLURAL, "tags are named tag.n"));
    }
    Ok(tags.into_values().collect())
}

/// What the documents name for every action.
const COMMON: [&str; 8] =
    ["Action", "Region", "Timestamp", "Nonce", "SecretId", "Signature", "SignatureMethod", "Token"];

fn unknown_parameters(action: Action, query: &Query) -> Vec<Deviation> {
    let known: &[&str] = match action {
        Action::InitUpload => &[
            "fileName",
            "fileSha",
            "fileSize",
            "dataSize",
            "fileType",
            "classId",
            "isTranscode",
            "isScreenshot",
            "isWatermark",
        ],
        Action::UploadPart => &["fileSha", "offset", "dataSize", "dataMd5"],
        _ => &["fileSha"],
    };
    query
        .pairs()
        .iter()
        .map(crate::query::Pair::name)
        .filter(|name| {
            let tag = action == Action::InitUpload && tag_index(name).is_some();
            !(tag || COMMON.contains(&name.as_ref()) || known.contains(&name.as_ref()))
        })
        .map(|name| Deviation::new(&rules::KNOWN_PARAMETERS, format!("{action} carries {name}")))
        .collect()
}

fn required(query: &Query, name: &str, code: Code, expected: &str) -> Result<String, Violation> {
    query.get(name).map(std::borrow::Cow::into_owned).ok_or_else(|| Violation::missing(code, name, expected))
}

fn number(query: &Query, name: &str, code: Code, expected: &str) -> Result<u64, Violation> {
    let value = required(query, name, code, expected)?;
    // Digits alone: the standard library's parser would also take a plus sign.
    if value.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = value.parse()
    {
        return Ok(number);
    }
    Err(Violation::wrong(code, name, &value, expected))
}

fn protocol_number(query: &Query, name: &str, expected: &str) -> Result<u64, Violation> {
    number(query, name, Code::PROTOCOL_PARAMS, expected)
}

fn optional_number(query: &Query, name: &str, expected: &str) -> Result<Option<u64>, Violation> {
    query.pair(name).map(|_| protocol_number(query, name, expected)).transpose()
}

fn flag(query: &Query, name: &str) -> Result<bool, Violation> {
    match optional_number(query, name, "0 or 1")? {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(other) => Err(Violation::wrong(Code::PROTOCOL_PARAMS, name, &other.to_string(), "0 or 1")),
    }
}

fn digest<D: std::str::FromStr>(
    query: &Query,
    name: &str,
    expected: &str,
    deviations: &mut Vec<Deviation>,
) -> Result<D, Violation> {
    let value = required(query, name, Code::PROTOCOL_PARAMS, expected)?;
    let digest = value.parse().map_err(|_| Violation::wrong(Code::PROTOCOL_PARAMS, name, &value, expected))?;
    if value.bytes().any(|b| b.is_ascii_uppercase()) {
        deviations.push(Deviation::new(&rules::DIGEST_LOWER_CASE, format!("{name} is {value}")));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const SHA: &str = "b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9";
    const MD5: &str = "0bee89b07a248e27c83fc3d5951213c1";

    #[track_caller]
    fn check(action: Action, raw: &str, expected: Expect) {
        let shown = match Request::from_query(action, &Query::parse(raw), &Limits::default()) {
            Ok(parsed) => {
                let rules: Vec<_> = parsed.deviations.iter().map(|d| d.rule.id).collect();
                format!("ok {rules:?}")
            }
            Err(violation) => format!("{}: {violation}", violation.code),
        };
        expected.assert_eq(&shown);
    }

    fn init(change: impl Fn(String) -> String) -> String {
        change(format!("Action=InitUpload&fileName=test&fileSha={SHA}&fileSize=20350000&dataSize=1048576&fileType=mp4"))
    }

    #[test]
    fn init_upload() {
        let action = Action::InitUpload;
        check(action, &init(|q| q), expect!["ok []"]);
        check(
            action,
            &init(|q| q.replace("fileType=mp4", "")),
            expect!["-10003: parameter fileType is missing: expected the file's type, such as mp4"],
        );
        check(
            action,
            &init(|q| q.replace("=1048576", "=1048577")),
            expect![[r#"-10003: parameter dataSize is "1048577": expected 524288 to 1048576 bytes"#]],
        );
        check(
            action,
            &init(|q| q.replace("=1048576", "=524287")),
            expect![[r#"-10003: parameter dataSize is "524287": expected 524288 to 1048576 bytes"#]],
        );
        check(
            action,
            &init(|q| q.replace("=20350000", "=%2B5")),
            expect![[r#"-10003: parameter fileSize is "+5": expected the file's size in bytes, at least 1"#]],
        );
        check(
            action,
            &init(|q| q.replace("=20350000", "=0")),
            expect![[r#"-10003: parameter fileSize is "0": expected the file's size in bytes, at least 1"#]],
        );
        check(
            action,
            &init(|q| q.replace("=test", "=a%2Fb")),
            expect![[r#"-10003: parameter fileName is "a/b": expected none of \ / : * ? " < >"#]],
        );
        check(action, &init(|q| q.replace("=test", "=a%7Cb")), expect![[r#"ok ["file-name-no-pipe"]"#]]);
        check(action, &init(|q| q.replace("=test", &format!("={}", "%E6%B5%8B".repeat(40)))), expect!["ok []"]);
        check(
            action,
            &init(|q| q.replace("=test", &format!("={}", "a".repeat(41)))),
            expect![[
                r#"-10003: parameter fileName is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": expected 1 to 40 characters"#
            ]],
        );
        check(action, &init(|q| q.replace(SHA, &SHA.to_uppercase())), expect![[r#"ok ["digest-lower-case"]"#]]);
        check(action, &init(|q| q + "&tag.1=a&storeTime=0"), expect![[r#"ok ["known-parameters", "tags-plural"]"#]]);
        check(
            action,
            &init(|q| q + "&isTranscode=2"),
            expect![[r#"-10003: parameter isTranscode is "2": expected 0 or 1"#]],
        );
        check(
            action,
            &init(|q| q + "&tags.0=a"),
            expect![[r#"-10003: parameter tags.0 is "a": expected an index from 1 in its name"#]],
        );
    }

    #[test]
    fn upload_part() {
        let action = Action::UploadPart;
        let good = format!("fileSha={SHA}&offset=0&dataSize=1048576&dataMd5={MD5}");
        check(action, &good, expect!["ok []"]);
        check(
            action,
            &good.replace(MD5, "12"),
            expect![[r#"-10003: parameter dataMd5 is "12": expected the part's MD5 in hexadecimal digits"#]],
        );
        check(
            action,
            &good.replace("offset=0", "offset=-1"),
            expect![[r#"-10003: parameter offset is "-1": expected a byte offset"#]],
        );
        check(
            action,
            &good.replace("offset=0", "offset=99999999999999999999"),
            expect![[r#"-10003: parameter offset is "99999999999999999999": expected a byte offset"#]],
        );
    }

    #[test]
    fn tags_are_read_in_order_of_their_index_under_either_name() {
        let query = Query::parse(&init(|q| q + "&tags.10=c&tag.2=b&tags.1=a"));
        let parsed = Request::from_query(Action::InitUpload, &query, &Limits::default()).unwrap();
        let Request::Init(init) = parsed.request else { panic!("not an InitUpload") };
        assert_eq!(init.tags, ["a", "b", "c"]);
    }

    #[test]
    fn what_is_written_is_read_back_without_deviation() {
        let request = Request::Init(InitUpload {
            file_name: "测试 video+1".to_owned(),
            file_sha1: Sha1::of(b"x"),
            file_size: 3,
            part_size: 524_288,
            file_type: "mp4".to_owned(),
            tags: vec!["a".to_owned(), "b c".to_owned()],
            class_id: Some(7),
            transcode: true,
            screenshot: false,
            watermark: true,
        });
        let line = request.to_query().to_string();
        let parsed = Request::from_query(Action::InitUpload, &Query::parse(&line), &Limits::default()).unwrap();
        assert_eq!(parsed, Parsed { request, deviations: vec![] });
    }

    #[test]
    fn common_parameters() {
        let check = |raw: &str, expected: Expect| {
            let shown = match CommonParams::from_query(&Query::parse(raw)) {
                Ok(common) => format!("{} {} {:?}", common.timestamp, common.secret_id, common.deviations.len()),
                Err(violation) => format!("{}: {violation}", violation.code),
            };
            expected.assert_eq(&shown);
        };
        let good = "Region=gz&Timestamp=1465185768&Nonce=000562251&SecretId=id&Signature=s";
        check(good, expect!["1465185768 id 0"]);
        check(&good.replace("1465185768", "1795226849763"), expect!["1795226849 id 1"]);
        check(
            &good.replace("Nonce=000562251", "Nonce=-1"),
            expect![[r#"-10001: parameter Nonce is "-1": expected a positive integer"#]],
        );
        check(
            &good.replace("SecretId=id&", ""),
            expect!["-10001: parameter SecretId is missing: expected the account's SecretId"],
        );
        check(
            &good.replace("&Signature=s", ""),
            expect!["-10001: parameter Signature is missing: expected the request's signature"],
        );
        check("", expect!["-10001: parameter Timestamp is missing: expected seconds since 1970"]);
    }

    proptest::proptest! {
        #[test]
        fn no_query_panics(raw in "\\PC{0,300}", which in 0..3_usize) {
            let query = Query::parse(&raw);
            let _ = Request::from_query(Action::ALL[which], &query, &Limits::default());
            let _ = CommonParams::from_query(&query);
        }
    }
}
